/**
 * Where a file's blocks lie: the extent tree, looked into without a lock (see extent-nodes.ts).
 *
 * (1) A leaf's keys lie in the range its parents give it, so a walk along the leaves moves on.
 * (2) An extent ends where the next one, or the next leaf, begins, or before.
 */
import type { Ino } from "../../../base/quantities.ts";
import type { Extent } from "../../../iomap/contract.ts";
import {
  checkedPiece,
  entryCount,
  entryKey,
  findEntry,
  type Node,
  readChild,
  rootDepth,
  rootOf,
} from "./extent-nodes.ts";
import type { Piece } from "./file-map.ts";
import { DiskExtent, FILE_BLOCKS_MAX } from "../format.ts";
import type { ExtVolume, Located } from "../volume.ts";

/** A place in a leaf. */
interface LeafPlace {
  readonly leaf: Node;
  readonly count: number;
  /** The last entry that starts at or before the block looked for, or -1. */
  readonly index: number;
  /** File blocks from here on belong to the leaves that follow. */
  readonly ceiling: number;
}

/** Goes down to the leaf for `fileBlock`. Throws: CorruptionError. */
function findLeaf(volume: ExtVolume, raw: Located, ino: Ino, fileBlock: number): LeafPlace {
  let node = rootOf(raw);
  let depth = rootDepth(volume, node);
  let floor = 0;
  let ceiling = FILE_BLOCKS_MAX;
  for (;;) {
    const count = entryCount(node);
    if (count > 0 && entryKey(node, 0) < floor) {
      const expected = `expected at least ${floor}, which its parent says`;
      throw volume.damage(node, DiskExtent.structure, "ee_block", entryKey(node, 0), expected);
    }
    const index = findEntry(node, fileBlock);
    if (depth === 0) return { leaf: node, count, index, ceiling };
    const taken = Math.max(index, 0);
    if (taken + 1 < count) ceiling = Math.min(ceiling, entryKey(node, taken + 1));
    floor = Math.max(floor, index < 0 ? 0 : entryKey(node, taken));
    node = readChild(volume, node, taken, raw, ino);
    depth -= 1;
  }
}

/** The piece that covers `fileBlock`, or null. Throws: CorruptionError. */
function pieceAt(volume: ExtVolume, place: LeafPlace, fileBlock: number): Piece | null {
  const { leaf, index } = place;
  if (index < 0) return null;
  const piece = checkedPiece(volume, leaf, index, nextKey(place, index));
  return fileBlock < piece.fileBlock + piece.count ? piece : null;
}

/** Where the next piece may begin, if none covers the block that was looked for. */
function holeEndAt({ leaf, index, count, ceiling }: LeafPlace): number {
  return index + 1 < count ? entryKey(leaf, index + 1) : ceiling;
}

/** The key after entry `index`, or the end of the leaf's range. */
function nextKey({ leaf, count, ceiling }: LeafPlace, index: number): number {
  return index + 1 < count ? Math.min(entryKey(leaf, index + 1), ceiling) : ceiling;
}

/** As `extentAt` in inode-map.ts, of an inode with extents. */
export function extentOfTree(
  volume: ExtVolume,
  raw: Located,
  ino: Ino,
  from: number,
  limit: number,
): Extent {
  const { blockSize } = volume;
  const start = from * blockSize;
  const place = findLeaf(volume, raw, ino, from);
  const piece = pieceAt(volume, place, from);
  if (piece === null) {
    const end = findHoleEnd(volume, raw, ino, place, holeEndAt(place), limit);
    return { start, length: (end - from) * blockSize, kind: "hole" };
  }
  const end = findMergedEnd(volume, raw, ino, place, piece, limit);
  return {
    start,
    length: (end - from) * blockSize,
    kind: piece.isWritten ? "mapped" : "unwritten",
    address: (piece.start + (from - piece.fileBlock)) * blockSize,
    shared: false,
  };
}

/** The end of a hole that goes on until `end` at least; looks into the leaves that follow. */
function findHoleEnd(
  volume: ExtVolume,
  raw: Located,
  ino: Ino,
  place: LeafPlace,
  end: number,
  limit: number,
): number {
  while (end < limit) {
    if (end < place.ceiling) return end;
    if (end >= FILE_BLOCKS_MAX) return limit;
    place = findLeaf(volume, raw, ino, end);
    if (pieceAt(volume, place, end) !== null) return end;
    end = holeEndAt(place);
  }
  return limit;
}

/** The end of the pieces that continue `piece` in the file and on the device, cut at `limit`. */
function findMergedEnd(
  volume: ExtVolume,
  raw: Located,
  ino: Ino,
  place: LeafPlace,
  piece: Piece,
  limit: number,
): number {
  let { index } = place;
  let end = piece.fileBlock + piece.count;
  const distance = piece.start - piece.fileBlock;
  while (end < limit) {
    index += 1;
    if (index >= place.count) {
      if (end !== place.ceiling || end >= FILE_BLOCKS_MAX) return end;
      place = findLeaf(volume, raw, ino, end);
      index = place.index;
      if (index < 0) return end;
    }
    if (entryKey(place.leaf, index) !== end) return end;
    const next = checkedPiece(volume, place.leaf, index, nextKey(place, index));
    const continues =
      next.start - next.fileBlock === distance && next.isWritten === piece.isWritten;
    if (!continues) return end;
    end += next.count;
  }
  return limit;
}
