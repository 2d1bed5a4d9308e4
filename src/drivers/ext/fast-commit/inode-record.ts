/** What a fast commit says of an inode's fields, put into the inode table. */
import { CorruptionError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { initializeRoot } from "../maps/extent-nodes.ts";
import {
  CONTENT_BYTE,
  CONTENT_SIZE,
  DiskInode,
  INODE_EXTENTS,
  INODE_HUGE_FILE,
  INODE_INDEXED_DIRECTORY,
  INODE_SIZE_OLD,
  MODE_DIRECTORY,
  MODE_FILE,
  MODE_TYPE_MASK,
} from "../format.ts";
import { isInodeUsed } from "../space/group-bitmaps.ts";
import {
  editInode,
  inodeFlags,
  inodeSize,
  type RawInode,
  readRaw,
  setInodeFlags,
  typeOfMode,
} from "../inodes/inode.ts";
import { hasExtents } from "../maps/inode-map.ts";
import { freeInode, takeInode } from "../inodes/inode-pool.ts";
import { setSize } from "../maps/placement.ts";
import type { ExtVolume } from "../volume.ts";

/** Where the content ends, and the fields after it begin. */
const REST_BYTE = CONTENT_BYTE + CONTENT_SIZE;

/** What the driver itself keeps right while records are applied, and what they say of it is about other blocks. */
const KEPT = [DiskInode.blocksLow, DiskInode.blocksHigh, DiskInode.deletionTime] as const;
/** And of a directory, whose blocks no record names: it grows with its names. */
const KEPT_OF_DIRECTORY = [DiskInode.sizeLow, DiskInode.sizeHigh, DiskInode.linkCount] as const;

/**
 * Makes an inode what `inode` says, but for its map. A file with another generation had the number before: it was
 * deleted, and its inode begins anew; the blocks that it had stay marked as used.
 * Throws: CorruptionError.
 */
export function writeInode(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  inode: Uint8Array,
  deviceByte: number,
): void {
  const view = new DataView(inode.buffer, inode.byteOffset, inode.byteLength);
  const mode = DiskInode.mode.get(view, 0);
  if (typeOfMode(mode) === null) {
    throw new CorruptionError({
      structure: "fast commit",
      field: "i_mode",
      value: mode,
      expected: "expected a type of file",
      deviceByte,
    });
  }
  const isDirectory = (mode & MODE_TYPE_MASK) === MODE_DIRECTORY;
  if (isInodeUsed(volume, ino) && !isSame(readRaw(volume, ino), view)) {
    freeInode(volume, transaction, ino);
  }
  const isNew = !isInodeUsed(volume, ino);
  if (isNew) takeInode(volume, transaction, ino, isDirectory);
  const raw = editInode(volume, transaction, ino);
  if (isNew) raw.block.bytes.fill(0, raw.at, raw.at + volume.facts.inodeSize);
  copyFields(raw, inode, view, isDirectory);
  if (isNew && volume.facts.inodeSize > INODE_SIZE_OLD && inode.length === INODE_SIZE_OLD) {
    DiskInode.extraSize.set(raw.block.view, raw.at, volume.facts.extraInodeSizeWanted);
  }
  if (isNew && hasExtents(raw)) initializeRoot(raw);
  else if (!hasExtents(raw) && !isDirectory && (mode & MODE_TYPE_MASK) !== MODE_FILE) {
    // A symlink's target, or a device number.
    raw.block.bytes.set(inode.subarray(CONTENT_BYTE, REST_BYTE), raw.at + CONTENT_BYTE);
  }
  if ((mode & MODE_TYPE_MASK) === MODE_FILE) setSize(volume, transaction, ino, inodeSize(raw));
}

/** Whether an inode is of the file that `view` is of, and has a map of the same kind. */
function isSame(raw: RawInode, view: DataView): boolean {
  const { block, at } = raw;
  const flags = DiskInode.flags.get(view, 0);
  return (
    DiskInode.generation.get(block.view, at) === DiskInode.generation.get(view, 0) &&
    ((DiskInode.mode.get(block.view, at) ^ DiskInode.mode.get(view, 0)) & MODE_TYPE_MASK) === 0 &&
    ((inodeFlags(raw) ^ flags) & INODE_EXTENTS) === 0
  );
}

function copyFields(raw: RawInode, inode: Uint8Array, view: DataView, isDirectory: boolean): void {
  const { block, at } = raw;
  const kept = isDirectory ? [...KEPT, ...KEPT_OF_DIRECTORY] : KEPT;
  const values = kept.map((field) => field.get(block.view, at));
  const flagsKept = INODE_HUGE_FILE | (isDirectory ? INODE_INDEXED_DIRECTORY : 0);
  const flags = (inodeFlags(raw) & flagsKept) | (DiskInode.flags.get(view, 0) & ~flagsKept);
  block.bytes.set(inode.subarray(0, CONTENT_BYTE), at);
  block.bytes.set(inode.subarray(REST_BYTE), at + REST_BYTE);
  for (const [index, field] of kept.entries()) field.set(block.view, at, values[index]!);
  setInodeFlags(raw, flags);
}
