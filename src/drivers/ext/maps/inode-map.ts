/** Which kind of map an inode has: this file alone asks its flag. */
import type { Ino } from "../../../base/quantities.ts";
import type { Extent } from "../../../iomap/contract.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { BlockMap } from "./block-map.ts";
import { extentOfPointers, pointersMax } from "./block-pointers.ts";
import { ExtentTree } from "./extent-tree.ts";
import { extentOfTree } from "./extents.ts";
import type { FileMap } from "./file-map.ts";
import { FILE_BLOCKS_MAX, INODE_EXTENTS } from "../format.ts";
import { inlineExtent, isInline } from "./inline-data.ts";
import { inodeFlags, type RawInode, readRaw } from "../inodes/inode.ts";
import type { ExtVolume } from "../volume.ts";

/** Whether an inode's blocks are named by extents, else each by a pointer. */
export function hasExtents(raw: RawInode): boolean {
  return (inodeFlags(raw) & INODE_EXTENTS) !== 0;
}

/**
 * The extent of `ino` at file block `from`, cut at `limit`: see IomapDriver.extentAt. `from` and
 * `limit` are in blocks, the answer is in bytes.
 */
export function extentAt(volume: ExtVolume, ino: Ino, from: number, limit: number): Extent {
  const raw = readRaw(volume, ino);
  if (isInline(volume, raw)) return inlineExtent(volume, raw, from, limit);
  return hasExtents(raw)
    ? extentOfTree(volume, raw, ino, from, limit)
    : extentOfPointers(volume, raw, ino, from, limit);
}

/** The map of an inode that has one, to be changed in `transaction`. Throws: CorruptionError. */
export function openMap(volume: ExtVolume, transaction: Transaction, ino: Ino): FileMap {
  return hasExtents(readRaw(volume, ino))
    ? new ExtentTree(volume, transaction, ino)
    : new BlockMap(volume, transaction, ino);
}

/** The file blocks of an inode are numbered below this. */
export function fileBlocksMax(volume: ExtVolume, raw: RawInode): number {
  return hasExtents(raw) ? FILE_BLOCKS_MAX : pointersMax(volume);
}
