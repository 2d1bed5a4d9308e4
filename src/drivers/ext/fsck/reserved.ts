/**
 * Inodes that are the volume's own: those below the first that files have, and those that the superblock names. No
 * directory names them, and most of their fields mean nothing; e2fsck looks at what is told of here.
 */
import type { IntegerField } from "../../../base/struct.ts";
import {
  COMPATIBLE,
  CONTENT_BYTE,
  CONTENT_SIZE,
  DiskInode,
  DiskSuperblock,
  INCOMPATIBLE,
  INO_BAD_BLOCKS,
  INO_BOOT_LOADER,
  INO_GROUP_QUOTA,
  INO_JOURNAL,
  INO_RESIZE,
  INO_ROOT,
  INO_USER_QUOTA,
  INODE_EXTENTS,
  INODE_INDEXED_DIRECTORY,
  INODE_INLINE_DATA,
  MODE_DIRECTORY,
  MODE_FILE,
  MODE_TYPE_MASK,
  READ_ONLY,
} from "../format.ts";
import { inodeFlags, inodeMode, linkCount, type RawInode } from "../inodes/inode.ts";
import type { Check } from "./check.ts";
import type { InodeCheck } from "./inodes.ts";

/** Inodes that no directory names, whatever their links. */
export function isReservedIno(check: Check, ino: number): boolean {
  const { firstIno } = check.volume.facts;
  return ino < firstIno ? ino !== INO_ROOT : isNamedBySuperblock(check, ino);
}

/** Whether the superblock says that the volume keeps something there. */
function isNamedBySuperblock({ volume, superblock }: Check, ino: number): boolean {
  const { features } = volume.facts;
  const isFor = (has: number, field: IntegerField) => has !== 0 && field.get(superblock, 0) === ino;
  return (
    isFor(features.compatible & COMPATIBLE.orphanFile, DiskSuperblock.orphanFileIno) ||
    isFor(features.compatible & COMPATIBLE.hasJournal, DiskSuperblock.journalIno) ||
    isFor(features.readOnly & READ_ONLY.quota, DiskSuperblock.userQuotaIno) ||
    isFor(features.readOnly & READ_ONLY.quota, DiskSuperblock.groupQuotaIno) ||
    isFor(features.readOnly & READ_ONLY.project, DiskSuperblock.projectQuotaIno)
  );
}

/** Whether an inode's content, or its map, is all zeroes. */
export function isEmpty({ block, at }: RawInode): boolean {
  const start = at + CONTENT_BYTE;
  return block.bytes.subarray(start, start + CONTENT_SIZE).every((byte) => byte === 0);
}

/**
 * Whether a reserved inode is kept for a journal, or quotas, that the volume does not have there: nothing of it is looked
 * at but whether it has anything.
 */
export function isIdleIno(check: Check, ino: number): boolean {
  const isKept = ino === INO_JOURNAL || ino === INO_USER_QUOTA || ino === INO_GROUP_QUOTA;
  return isKept && !isNamedBySuperblock(check, ino);
}

/** Tells what is wrong with the fields of a reserved inode. */
export function checkReserved(inode: InodeCheck): void {
  const { raw, ino, check } = inode;
  const mode = inodeMode(raw);
  const type = mode & MODE_TYPE_MASK;
  if (ino === INO_BAD_BLOCKS) checkBadBlocks(inode);
  else if (isIdleIno(check, ino)) checkIdle(inode);
  else if (ino === INO_BOOT_LOADER) {
    if (type === MODE_DIRECTORY) tellMode(inode, mode, "but it is no directory");
  } else if (ino === INO_RESIZE || isNamedBySuperblock(check, ino)) {
    if (mode !== 0 && type !== MODE_FILE) {
      tellMode(inode, mode, "expected a regular file, or no type at all");
    }
  } else if (mode !== 0) tellMode(inode, mode, "expected no type, as nothing is kept there");
  const orphanFile = DiskSuperblock.orphanFileIno.get(check.superblock, 0);
  if (ino === orphanFile && linkCount(raw) === 0) {
    inode.tell("inode-reserved", "i_links_count", 0, "but the superblock names the inode");
  }
  if (!isIdleIno(check, ino)) checkFlags(inode);
}

function tellMode(inode: InodeCheck, mode: number, expected: string): void {
  inode.tell("inode-reserved", "i_mode", mode, expected);
}

/** The inode that has the bad blocks, and nothing else. */
function checkBadBlocks(inode: InodeCheck): void {
  const { block, at } = inode.raw;
  const fields = [
    ["i_mode", DiskInode.mode],
    ["i_uid", DiskInode.uidLow],
    ["i_links_count", DiskInode.linkCount],
    ["i_file_acl", DiskInode.attributeBlockLow],
  ] as const;
  for (const [name, field] of fields) {
    const value = field.get(block.view, at);
    if (value !== 0) inode.tell("inode-reserved", name, value, 0);
  }
  const flags = inodeFlags(inode.raw);
  if ((flags & INODE_INLINE_DATA) === 0) return;
  const expected = "which says inline data, where bad blocks are kept";
  inode.tell("inode-reserved", "i_flags", `0x${flags.toString(16)}`, expected);
}

function checkIdle(inode: InodeCheck): void {
  const { raw } = inode;
  const { view } = raw.block;
  const fields = [
    ["i_links_count", linkCount(raw)],
    ["i_blocks_lo", DiskInode.blocksLow.get(view, raw.at)],
    ["i_block[0]", view.getUint32(raw.at + CONTENT_BYTE, true)],
  ] as const;
  for (const [name, value] of fields) {
    if (value === 0) continue;
    inode.tell("inode-reserved", name, value, "expected 0, as nothing is kept there");
    return;
  }
}

function checkFlags(inode: InodeCheck): void {
  const { raw, ino, check } = inode;
  const { features } = check.volume.facts;
  const flags = inodeFlags(raw);
  const tellFlags = (why: string) =>
    inode.tell("inode-flags", "i_flags", `0x${flags.toString(16)}`, why);
  const isBadBlocks = ino === INO_BAD_BLOCKS;
  if ((flags & INODE_INDEXED_DIRECTORY) !== 0 && !isBadBlocks) {
    tellFlags("which says indexed, of what is no directory");
  }
  const mayHaveExtents = (features.incompatible & INCOMPATIBLE.extents) !== 0;
  if ((flags & INODE_EXTENTS) !== 0 && !mayHaveExtents && (isBadBlocks || !isEmpty(raw))) {
    tellFlags("which says extents on a volume without them");
  }
}
