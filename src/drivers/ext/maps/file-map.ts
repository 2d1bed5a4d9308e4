/**
 * A file's map: which of its blocks lie where on the device. There are two kinds, and the inode's flag
 * says which it has (inode-map.ts): a tree of extents (extent-tree.ts), or a pointer for each block
 * (block-map.ts). A map knows its shape; which blocks a file gets and loses is placement.ts's business.
 *
 * All places and lengths here are in blocks.
 */
import { HoldfastError } from "../../../base/errors.ts";
import type { EditedInode } from "../inodes/inode.ts";

/** A run of blocks that lie in one piece in the file and on the device, where it begins at `start`. */
export interface Piece {
  readonly fileBlock: number;
  readonly count: number;
  readonly start: number;
  readonly isWritten: boolean;
}

export interface FoundPiece {
  readonly piece: Piece;
  /** The block of metadata that says so. */
  readonly node: number;
}

/** One inode's map, to be changed in one transaction. Whoever holds one is editing the inode. */
export interface FileMap extends EditedInode {
  /** File blocks are numbered below this. */
  readonly blocksMax: number;
  /** Device blocks that the map can name are numbered below this. */
  readonly deviceBlocksMax: number;
  /** Blocks that one `insert` takes at most. Throws: EOPNOTSUPP where nothing can be unwritten. */
  insertMax(isWritten: boolean): number;
  /** The last piece that begins before `end`, or null. Throws: CorruptionError. */
  lastBefore(end: number): FoundPiece | null;
  /** The most blocks of metadata that inserting `count` blocks at `fileBlock` can need. */
  nodesToInsert(fileBlock: number, count: number): number;
  /** Adds a piece where there is a hole. Throws: ENOSPC when a new node finds no block. */
  insert(piece: Piece): void;
  /** Takes `cut`, a part of a piece that was found, out of the map. Throws: ENOSPC, as `insert`. */
  remove(piece: Piece, cut: Piece): void;
  /**
   * After all of [from, to) was removed: gives up nodes that the map can do without, `nodesMax` at most.
   * Returns false when more may be left.
   */
  tidy(from: number, to: number, nodesMax: number): boolean;
  /**
   * Gives [from, to), a part of a piece that was found, another state.
   * Throws: ENOSPC, as `insert`; EOPNOTSUPP where nothing can be unwritten.
   */
  setWritten(piece: Piece, from: number, to: number, isWritten: boolean): void;
  /**
   * Moves all blocks from file block `from` on by `distance`; see IomapDriver.shiftExtents.
   * Throws: EFBIG, EINVAL, ENOSPC; EOPNOTSUPP where blocks cannot be moved.
   */
  shift(from: number, distance: number): void;
}

export function fileTooLarge(blocksMax: number): HoldfastError {
  return new HoldfastError("EFBIG", `a file with this map has at most ${blocksMax} blocks`);
}

export function pieceEnd(piece: Piece): number {
  return piece.fileBlock + piece.count;
}

/** The part of a piece in [from, to), which must not be empty; `isWritten` may differ. */
export function slicePiece(
  piece: Piece,
  from: number,
  to: number,
  isWritten = piece.isWritten,
): Piece {
  const fileBlock = Math.max(piece.fileBlock, from);
  const count = Math.min(pieceEnd(piece), to) - fileBlock;
  return { fileBlock, count, start: piece.start + (fileBlock - piece.fileBlock), isWritten };
}
