/** Inodes of a new volume, as bytes. */
import { hasChecksumHigh, inodeChecksum, inodeSeed } from "../checksums.ts";
import { ATTRIBUTE_MAGIC, CONTENT_BYTE, DiskInode, INODE_SIZE_OLD, setPair } from "../format.ts";
import { viewOf } from "../superblock.ts";
import type { Recipe } from "./recipe.ts";

export interface NewInode {
  /** Type and permissions; 0: a reserved inode that is not in use. */
  readonly mode: number;
  readonly linkCount: number;
  /** Bytes. */
  readonly size: number;
  /** Blocks of the volume, maps included. */
  readonly blocks: number;
  readonly flags: number;
  /** 60 bytes. */
  readonly content: Uint8Array;
  /** Its content lay inside before: the place of its attributes is marked as used, and empty. */
  readonly wasInline?: boolean;
}

/** An inode that is used: owned by root, all its times those of the volume. */
export function encodeInode(recipe: Recipe, ino: number, inode: NewInode): Uint8Array {
  const { geometry, time, extraInodeSize } = recipe;
  const bytes = new Uint8Array(geometry.inodeSize);
  const view = viewOf(bytes);
  DiskInode.mode.set(view, 0, inode.mode);
  setPair(view, 0, DiskInode.sizeLow, DiskInode.sizeHigh, inode.size);
  setTimes(view, time);
  DiskInode.linkCount.set(view, 0, inode.linkCount);
  const sectors = inode.blocks * (geometry.blockSize / 512);
  setPair(view, 0, DiskInode.blocksLow, DiskInode.blocksHigh, sectors);
  DiskInode.flags.set(view, 0, inode.flags);
  bytes.set(inode.content, CONTENT_BYTE);
  if (extraInodeSize > 0) {
    DiskInode.extraSize.set(view, 0, extraInodeSize);
    DiskInode.birthTime.set(view, 0, time | 0);
    for (const field of EXTRAS) field.set(view, 0, epochOf(time));
    if (inode.wasInline) view.setUint32(INODE_SIZE_OLD + extraInodeSize, ATTRIBUTE_MAGIC, true);
  }
  return sealInode(recipe, ino, bytes);
}

/** The inode of bad blocks: it has none, so nothing but times. */
export function encodeBadBlocks(recipe: Recipe, ino: number): Uint8Array {
  const bytes = new Uint8Array(recipe.geometry.inodeSize);
  setTimes(viewOf(bytes), recipe.time);
  return sealInode(recipe, ino, bytes);
}

/** A reserved inode without a use. */
export function encodeUnused(recipe: Recipe, ino: number): Uint8Array {
  return sealInode(recipe, ino, new Uint8Array(recipe.geometry.inodeSize));
}

const EXTRAS = [
  DiskInode.accessTimeExtra,
  DiskInode.changeTimeExtra,
  DiskInode.modifyTimeExtra,
  DiskInode.birthTimeExtra,
];

/** The high bits of a time, where its low half is signed: 0 until 2038. */
function epochOf(time: number): number {
  return (time - (time | 0)) / 2 ** 32;
}

function setTimes(view: DataView, time: number): void {
  for (const field of [DiskInode.accessTime, DiskInode.changeTime, DiskInode.modifyTime]) {
    field.set(view, 0, time | 0);
  }
}

function sealInode(recipe: Recipe, ino: number, bytes: Uint8Array): Uint8Array {
  if (!recipe.metadataChecksums) return bytes;
  const view = viewOf(bytes);
  const { inodeSize } = recipe.geometry;
  const extraSize = inodeSize > INODE_SIZE_OLD ? DiskInode.extraSize.get(view, 0) : 0;
  const hasHigh = hasChecksumHigh(inodeSize, extraSize);
  const checksum = inodeChecksum(inodeSeed(recipe.checksumSeed, ino, 0), bytes, hasHigh);
  DiskInode.checksumLow.set(view, 0, checksum % 2 ** 16);
  if (hasHigh) DiskInode.checksumHigh.set(view, 0, Math.floor(checksum / 2 ** 16));
  return bytes;
}
