/**
 * A file's blocks: giving it blocks, taking them away, changing their state and moving them about.
 * All places and lengths here are in blocks of the file.
 */
import { HoldfastError } from "../../base/errors.ts";
import type { Ino } from "../../base/quantities.ts";
import type { Extent } from "../../iomap/contract.ts";
import type { Transaction } from "../../metadata/transaction.ts";
import { allocateBlocks, type BlockRequest, countFreeBlocks, freeBlocks } from "./allocator.ts";
import { ExtentTree, type Path, pieceCountMax, pieceEnd, slicePiece } from "./extent-tree.ts";
import type { Piece } from "./extent-nodes.ts";
import { extentAt } from "./extents.ts";
import {
  DiskSuperblock,
  EXTENT_DEPTH_MAX,
  FILE_BLOCKS_MAX,
  INODE_EXTENTS,
  MODE_DIRECTORY,
  MODE_FILE,
  MODE_TYPE_MASK,
  READ_ONLY,
} from "./format.ts";
import { firstBlockOfGroup, groupOfBlock } from "./groups.ts";
import {
  addInodeBlocks,
  attributeBlock,
  editInode,
  inodeFlags,
  inodeMode,
  inodeSectors,
  isContentCached,
  type RawInode,
  readRaw,
  setInodeSize,
} from "./inode.ts";
import { editSuperblock, type ExtVolume, noSpace, readSuperblock } from "./volume.ts";

/** What one call of removeExtents or unwriteExtents does before it asks to be called again. */
const EXTENTS_PER_CALL = 256;
const EDITED_BLOCKS_PER_CALL = 64;
/** Blocks of cached content are revoked one by one. */
const REVOKED_PER_CALL = 1024;
/** From here on a size needs more than 31 bits, which a feature of the volume announces. */
const LARGE_FILE_SIZE = 2 ** 31;
/** A file gets room to grow from this block of it on, and never more than so many blocks. */
const ROOM_FROM = 16;
const ROOM_MAX = 512;
/** An insertion may need a new node on every level of the tree, and one for a new root. */
const NODES_PER_INSERT_MAX = EXTENT_DEPTH_MAX + 1;

/** See IomapDriver.allocate. */
export function allocate(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  from: number,
  count: number,
  mode: "write" | "preallocate",
): Extent {
  if (from + count > FILE_BLOCKS_MAX) {
    throw new HoldfastError("EFBIG", `a file has at most ${FILE_BLOCKS_MAX} blocks`);
  }
  const found = extentAt(volume, ino, from, from + count);
  const blocks = found.length / volume.blockSize;
  if (found.kind === "hole") {
    fillHole(new ExtentTree(volume, transaction, ino), from, blocks, mode === "write");
  } else if (found.kind === "unwritten" && mode === "write") {
    volume.device.zero(found.address, found.length);
    makeWritten(new ExtentTree(volume, transaction, ino), from, from + blocks);
  } else {
    return found;
  }
  return extentAt(volume, ino, from, from + count);
}

/** Backs the hole at `from`, `length` blocks long, or the start of it, with one run of new blocks. */
function fillHole(tree: ExtentTree, from: number, length: number, isWritten: boolean): void {
  const { volume, transaction, raw } = tree;
  const wanted = Math.min(length, pieceCountMax(isWritten));
  const free = countFreeBlocks(volume, wanted + NODES_PER_INSERT_MAX);
  const isPlenty = free >= wanted + NODES_PER_INSERT_MAX;
  const count = isPlenty ? wanted : Math.min(wanted, free - tree.nodesToInsert(from));
  if (count <= 0) throw noSpace("block");
  const run = allocateBlocks(volume, transaction, requestFor(tree, from, count));
  if (isWritten) volume.device.zero(run.start * volume.blockSize, run.count * volume.blockSize);
  tree.insert({ fileBlock: from, count: run.count, start: run.start, isWritten });
  addInodeBlocks(volume, raw, run.count);
}

/**
 * Backs file block `index`, which is a hole, with a block that the caller fills through the cache.
 * Returns: the block on the device. Throws: ENOSPC.
 */
export function appendBlock(tree: ExtentTree, index: number): number {
  const { volume, transaction, raw } = tree;
  const nodes = tree.nodesToInsert(index);
  if (countFreeBlocks(volume, 1 + nodes) < 1 + nodes) throw noSpace("block");
  const { start } = allocateBlocks(volume, transaction, requestFor(tree, index, 1));
  tree.insert({ fileBlock: index, count: 1, start, isWritten: true });
  addInodeBlocks(volume, raw, 1);
  return start;
}

/**
 * Asks for blocks as far behind the extent before as they are in the file, else near the inode. So
 * what is written in any order comes to lie in one piece. A file past its start that finds others in
 * its way gets room to grow, the more the longer it is; small files lie close together.
 */
function requestFor(tree: ExtentTree, fileBlock: number, count: number): BlockRequest {
  const { volume, ino } = tree;
  const room =
    fileBlock < ROOM_FROM ? 1 : 2 ** Math.floor(Math.log2(Math.min(fileBlock, ROOM_MAX)));
  const before = tree.lastBefore(fileBlock)?.piece;
  if (before !== undefined) {
    const goal = before.start + (fileBlock - before.fileBlock);
    if (goal < volume.facts.blocks) return { goal, isGoalFitting: true, count, fileBlock, room };
  }
  const group = Math.floor((ino - 1) / volume.facts.inodesPerGroup);
  return { goal: firstBlockOfGroup(volume, group), count, fileBlock, room };
}

/** Makes [from, to), which is unwritten, written. */
function makeWritten(tree: ExtentTree, from: number, to: number): void {
  while (from < to) {
    const found = tree.lastBefore(from + 1);
    if (found === null || pieceEnd(found.piece) <= from) return;
    const end = Math.min(pieceEnd(found.piece), to);
    changeState(tree, found.path, found.piece, from, end, true);
    from = end;
  }
}

/** Gives the part [from, to) of a piece another state. */
function changeState(
  tree: ExtentTree,
  path: Path,
  piece: Piece,
  from: number,
  to: number,
  isWritten: boolean,
): void {
  const pieces: Piece[] = [];
  if (piece.fileBlock < from) pieces.push(slicePiece(piece, piece.fileBlock, from));
  // An unwritten extent is a block shorter than a written one may be, so one may become two.
  const countMax = pieceCountMax(isWritten);
  for (let start = from; start < to; start += countMax) {
    pieces.push(slicePiece(piece, start, Math.min(start + countMax, to), isWritten));
  }
  if (to < pieceEnd(piece)) pieces.push(slicePiece(piece, to, pieceEnd(piece)));
  tree.replace(path, pieces);
}

/** Counts what one call has changed. */
class Work {
  #extents = 0;
  #revoked = 0;
  readonly #blocks = new Set<number>();

  /** One more extent: it lies in `leaf`, and a bitmap of each group of [start, start + count) changes. */
  add(volume: ExtVolume, leaf: number, start: number, count: number, revoked: number): void {
    this.#extents += 1;
    this.#revoked += revoked;
    this.#blocks.add(leaf);
    const last = groupOfBlock(volume, start + count - 1);
    for (let group = groupOfBlock(volume, start); group <= last; group++) {
      this.#blocks.add(-1 - group);
    }
  }

  get isEnough(): boolean {
    return (
      this.#extents >= EXTENTS_PER_CALL ||
      this.#blocks.size >= EDITED_BLOCKS_PER_CALL ||
      this.#revoked >= REVOKED_PER_CALL
    );
  }
}

/** See IomapDriver.removeExtents. */
export function removeExtents(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  from: number,
  to: number,
): boolean {
  const raw = readRaw(volume, ino);
  if (!hasExtentTree(volume, raw, ino)) return true;
  const isRevoked = isContentCached(raw);
  const tree = new ExtentTree(volume, transaction, ino);
  const work = new Work();
  let end = Math.min(to, FILE_BLOCKS_MAX);
  let found = lastIn(tree, from, end);
  while (found !== null && !work.isEnough) {
    const { path, piece } = found;
    const cutEnd = Math.min(pieceEnd(piece), end);
    const cutMin = isRevoked ? cutEnd - REVOKED_PER_CALL : 0;
    const cut = slicePiece(piece, Math.max(from, cutMin), cutEnd);
    removePiece(tree, path, piece, cut, isRevoked);
    const leaf = path[path.length - 1]!.node.block.block;
    work.add(volume, leaf, cut.start, cut.count, isRevoked ? cut.count : 0);
    end = cut.fileBlock;
    found = lastIn(tree, from, end);
  }
  tree.collapseRoot();
  return found === null;
}

/** The last extent that has blocks in [from, end), with its path, or null. */
function lastIn(tree: ExtentTree, from: number, end: number): { path: Path; piece: Piece } | null {
  const found = end > from ? tree.lastBefore(end) : null;
  return found !== null && pieceEnd(found.piece) > from ? found : null;
}

/** Takes `cut` out of the piece a path leads to, and frees its blocks. */
function removePiece(
  tree: ExtentTree,
  path: Path,
  piece: Piece,
  cut: Piece,
  isRevoked: boolean,
): void {
  const { volume, transaction, raw } = tree;
  // Freed first: on a full volume the tree may need one of these blocks to be split.
  freeBlocks(volume, transaction, { start: cut.start, count: cut.count });
  const revoked = isRevoked ? cut.count : 0;
  for (let index = 0; index < revoked; index++) transaction.revoke(cut.start + index);
  addInodeBlocks(volume, raw, -cut.count);
  const pieces: Piece[] = [];
  if (piece.fileBlock < cut.fileBlock) pieces.push(slicePiece(piece, 0, cut.fileBlock));
  if (pieceEnd(cut) < pieceEnd(piece)) {
    pieces.push(slicePiece(piece, pieceEnd(cut), pieceEnd(piece)));
  }
  tree.replace(path, pieces);
}

/**
 * Whether an inode has a tree: devices, pipes, sockets and short symlinks have none and own nothing.
 * Throws: EOPNOTSUPP for a file that maps its blocks singly.
 */
function hasExtentTree(volume: ExtVolume, raw: RawInode, ino: Ino): boolean {
  if ((inodeFlags(raw) & INODE_EXTENTS) !== 0) return true;
  const type = inodeMode(raw) & MODE_TYPE_MASK;
  const attributeSectors = attributeBlock(volume, raw) === 0 ? 0 : volume.blockSize / 512;
  if (type !== MODE_FILE && type !== MODE_DIRECTORY) {
    if (inodeSectors(volume, raw) <= attributeSectors) return false;
  }
  const message = `inode ${ino} has no extents (ext2 and ext3 files are not supported yet)`;
  throw new HoldfastError("EOPNOTSUPP", message);
}

/** See IomapDriver.unwriteExtents. */
export function unwriteExtents(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  from: number,
  to: number,
): boolean {
  const tree = new ExtentTree(volume, transaction, ino);
  const work = new Work();
  let end = Math.min(to, FILE_BLOCKS_MAX);
  let found = lastIn(tree, from, end);
  while (found !== null && !work.isEnough) {
    const { path, piece } = found;
    const first = Math.max(piece.fileBlock, from);
    if (piece.isWritten) {
      changeState(tree, path, piece, first, Math.min(pieceEnd(piece), end), false);
      work.add(volume, path[path.length - 1]!.node.block.block, piece.start, 1, 0);
    }
    end = first;
    found = lastIn(tree, from, end);
  }
  return found === null;
}

/** See IomapDriver.shiftExtents. */
export function shiftExtents(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  from: number,
  distance: number,
): void {
  const tree = new ExtentTree(volume, transaction, ino);
  const last = tree.lastBefore(FILE_BLOCKS_MAX)?.piece;
  if (last === undefined || pieceEnd(last) <= from) return;
  if (pieceEnd(last) + distance > FILE_BLOCKS_MAX) {
    throw new HoldfastError("EFBIG", `a file has at most ${FILE_BLOCKS_MAX} blocks`);
  }
  if (distance < 0) {
    const before = tree.lastBefore(from)?.piece;
    if (from + distance < 0 || (before !== undefined && pieceEnd(before) > from + distance)) {
      throw new HoldfastError("EINVAL", "the range that a file collapses into is not a hole");
    }
  }
  tree.splitAt(from);
  tree.shift(from, distance);
  tree.joinAt(from + distance);
}

/** See IomapDriver.setSize. Throws: EFBIG. */
export function setSize(volume: ExtVolume, transaction: Transaction, ino: Ino, size: number): void {
  if (size > FILE_BLOCKS_MAX * volume.blockSize) {
    throw new HoldfastError("EFBIG", `a file has at most ${FILE_BLOCKS_MAX} blocks`);
  }
  setInodeSize(editInode(volume, transaction, ino), size);
  if (size >= LARGE_FILE_SIZE) announceLargeFiles(volume, transaction);
}

function announceLargeFiles(volume: ExtVolume, transaction: Transaction): void {
  const { block, at } = readSuperblock(volume);
  const features = DiskSuperblock.featuresReadOnly.get(block.view, at);
  if ((features & READ_ONLY.large_file) !== 0) return;
  editSuperblock(volume, transaction);
  DiskSuperblock.featuresReadOnly.set(block.view, at, features | READ_ONLY.large_file);
}
