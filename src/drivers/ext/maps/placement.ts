/**
 * A file's blocks: giving it blocks, taking them away, changing their state and moving them about.
 * All places and lengths here are in blocks of the file.
 */
import type { Ino } from "../../../base/quantities.ts";
import type { Extent } from "../../../iomap/contract.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { allocateBlocks, type BlockRequest, freeBlocks } from "../space/allocator.ts";
import { countUsableBlocks, noUsableBlock } from "../space/free-blocks.ts";
import {
  type FileMap,
  fileTooLarge,
  type FoundPiece,
  type Piece,
  pieceEnd,
  slicePiece,
} from "./file-map.ts";
import { DiskSuperblock, READ_ONLY } from "../format.ts";
import { firstBlockOfGroup, groupOfBlock, groupOfInode } from "../space/groups.ts";
import { dropInline, inlineContent, isInline } from "./inline-data.ts";
import {
  addInodeBlocks,
  editInode,
  hasMap,
  isContentCached,
  readRaw,
  setInodeSize,
} from "../inodes/inode.ts";
import { extentAt, fileBlocksMax, openMap } from "./inode-map.ts";
import { editSuperblock, type ExtVolume, readSuperblock } from "../volume.ts";

/**
 * What one call of removeExtents or unwriteExtents does before it asks to be called again: so many pieces, or
 * changed blocks of metadata, those that are revoked among them. It gives up as many nodes at most. Together with
 * the inode, the superblock and descriptors that is no more than an operation may change on a volume with the
 * smallest journal, of 1,024 blocks: 111.
 */
const PIECES_PER_CALL = 256;
const BLOCKS_PER_CALL = 48;
/** From here on a size needs more than 31 bits, which a feature of the volume announces. */
const LARGE_FILE_SIZE = 2 ** 31;

/** See IomapDriver.allocate. */
export function allocate(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  from: number,
  count: number,
  mode: "write" | "preallocate",
): Extent {
  moveOutOfInode(volume, transaction, ino);
  const blocksMax = fileBlocksMax(volume, readRaw(volume, ino));
  if (from >= blocksMax) throw fileTooLarge(blocksMax);
  const limit = Math.min(from + count, blocksMax);
  const found = extentAt(volume, ino, from, limit);
  const end = from + found.length / volume.blockSize;
  if (found.kind === "hole") {
    fillHole(openMap(volume, transaction, ino), from, end - from, mode === "write");
  } else if (found.kind === "unwritten" && mode === "write") {
    volume.device.zero(found.address, found.length);
    makeWritten(openMap(volume, transaction, ino), from, end);
  } else {
    return found;
  }
  return extentAt(volume, ino, from, limit);
}

/** See FilesystemDriver.moveOutOfInode. */
export function moveOutOfInode(volume: ExtVolume, transaction: Transaction, ino: Ino): void {
  if (!isInline(volume, readRaw(volume, ino))) return;
  const raw = editInode(volume, transaction, ino);
  const content = inlineContent(volume, raw);
  dropInline(volume, raw);
  if (content.length === 0) return;
  const at = appendBlock(openMap(volume, transaction, ino), 0) * volume.blockSize;
  volume.device.zero(at, volume.blockSize);
  volume.device.copyIn(at, content);
}

/** Backs the hole at `from`, `length` blocks long, or the start of it, with one run of new blocks. */
function fillHole(map: FileMap, from: number, length: number, isWritten: boolean): void {
  const { volume, transaction } = map;
  const wanted = Math.min(length, map.insertMax(isWritten));
  const count = countThatFits(map, from, wanted);
  if (count === 0) throw noUsableBlock(volume);
  const run = allocateBlocks(volume, transaction, requestFor(map, from, count));
  if (isWritten) volume.device.zero(run.start * volume.blockSize, run.count * volume.blockSize);
  map.insert({ fileBlock: from, count: run.count, start: run.start, isWritten });
  addInodeBlocks(map, run.count);
}

/** How many of the blocks wanted may be taken, besides those that the map needs to name them. */
function countThatFits(map: FileMap, from: number, wanted: number): number {
  const nodes = map.nodesToInsert(from, wanted);
  const free = countUsableBlocks(map.volume, wanted + nodes);
  if (free >= wanted + nodes) return wanted;
  let fits = 0;
  let tooMany = Math.min(wanted, free + 1);
  while (tooMany - fits > 1) {
    const middle = Math.floor((fits + tooMany) / 2);
    if (middle + map.nodesToInsert(from, middle) <= free) fits = middle;
    else tooMany = middle;
  }
  return fits;
}

/**
 * Backs file block `index`, which is a hole, with a block that the caller fills through the cache.
 * Returns: the block on the device. Throws: ENOSPC, EFBIG.
 */
export function appendBlock(map: FileMap, index: number): number {
  const { volume, transaction } = map;
  if (index >= map.blocksMax) throw fileTooLarge(map.blocksMax);
  if (countThatFits(map, index, 1) === 0) throw noUsableBlock(volume);
  const { start } = allocateBlocks(volume, transaction, requestFor(map, index, 1));
  map.insert({ fileBlock: index, count: 1, start, isWritten: true });
  addInodeBlocks(map, 1);
  return start;
}

/**
 * Asks for blocks as far behind the piece before as they are in the file, else near the inode. So
 * what is written in any order comes to lie in one piece. A file that grows from its end gets room for more.
 */
function requestFor(map: FileMap, fileBlock: number, count: number): BlockRequest {
  const { volume, ino, raw, deviceBlocksMax } = map;
  const last = map.lastBefore(map.blocksMax)?.piece;
  const isAtEnd = fileBlock === (last === undefined ? 0 : pieceEnd(last));
  const isGrowing = isAtEnd && !isContentCached(raw);
  const isBefore = last === undefined || last.fileBlock < fileBlock;
  const before = isBefore ? last : map.lastBefore(fileBlock)?.piece;
  const follows = before === undefined ? 0 : before.start + (fileBlock - before.fileBlock);
  const isGoalFitting = before !== undefined && follows < volume.facts.blocks;
  const goal = isGoalFitting ? follows : firstBlockOfGroup(volume, groupOfInode(volume, ino));
  return { goal, isGoalFitting, count, end: deviceBlocksMax, fileBlock, ino, isGrowing };
}

/** Makes [from, to), which is unwritten, written. */
function makeWritten(map: FileMap, from: number, to: number): void {
  while (from < to) {
    const piece = map.lastBefore(from + 1)?.piece;
    if (piece === undefined || pieceEnd(piece) <= from) return;
    const end = Math.min(pieceEnd(piece), to);
    map.setWritten(piece, from, end, true);
    from = end;
  }
}

/** Counts what one call has changed. */
class Work {
  #pieces = 0;
  #revoked = 0;
  readonly #blocks = new Set<number>();
  readonly #blocksMax: number;

  constructor(volume: ExtVolume) {
    // In each quota file the owner's usage changes.
    this.#blocksMax = BLOCKS_PER_CALL - (volume.usage?.fileCount ?? 0);
  }

  /** One more piece: it is named in block `node`, and a bitmap of each group of [start, start + count) changes. */
  add(volume: ExtVolume, node: number, start: number, count: number, revoked: number): void {
    this.#pieces += 1;
    this.#revoked += revoked;
    this.#blocks.add(node);
    const last = groupOfBlock(volume, start + count - 1);
    for (let group = groupOfBlock(volume, start); group <= last; group++) {
      this.#blocks.add(-1 - group);
    }
  }

  /** Blocks that may still be changed. */
  get blocksLeft(): number {
    return this.#blocksMax - this.#blocks.size - this.#revoked;
  }

  get isEnough(): boolean {
    return this.#pieces >= PIECES_PER_CALL || this.blocksLeft <= 0;
  }
}

/** See IomapDriver.removeExtents. What is inline (it is to be freed), devices, pipes, sockets and short symlinks have nothing to remove. */
export function removeExtents(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  from: number,
  to: number,
): boolean {
  const raw = readRaw(volume, ino);
  if (!hasMap(raw)) return true;
  const isRevoked = isContentCached(raw);
  if (to === Number.POSITIVE_INFINITY) volume.growthRooms?.drop(ino);
  const map = openMap(volume, transaction, ino);
  const work = new Work(volume);
  let end = Math.min(to, map.blocksMax);
  let found = lastIn(map, from, end);
  while (found !== null && !work.isEnough) {
    const { piece, node } = found;
    const cutEnd = Math.min(pieceEnd(piece), end);
    const cutMin = isRevoked ? cutEnd - work.blocksLeft : 0;
    const cut = slicePiece(piece, Math.max(from, cutMin), cutEnd);
    removePiece(map, piece, cut, isRevoked);
    work.add(volume, node, cut.start, cut.count, isRevoked ? cut.count : 0);
    end = cut.fileBlock;
    found = lastIn(map, from, end);
  }
  const isTidy = map.tidy(found === null ? from : end, to, BLOCKS_PER_CALL);
  return found === null && isTidy;
}

/** The last piece that has blocks in [from, end), or null. */
export function lastIn(map: FileMap, from: number, end: number): FoundPiece | null {
  const found = end > from ? map.lastBefore(end) : null;
  return found !== null && pieceEnd(found.piece) > from ? found : null;
}

/** Takes `cut` out of a piece of the map, and frees its blocks. */
function removePiece(map: FileMap, piece: Piece, cut: Piece, isRevoked: boolean): void {
  const { volume, transaction } = map;
  // Freed first: on a full volume the map may need one of these blocks to be split.
  freeBlocks(volume, transaction, { start: cut.start, count: cut.count });
  const revoked = isRevoked ? cut.count : 0;
  for (let index = 0; index < revoked; index++) transaction.revoke(cut.start + index);
  addInodeBlocks(map, -cut.count);
  map.remove(piece, cut);
}

/** See IomapDriver.unwriteExtents. */
export function unwriteExtents(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  from: number,
  to: number,
): boolean {
  const map = openMap(volume, transaction, ino);
  const work = new Work(volume);
  let end = Math.min(to, map.blocksMax);
  let found = lastIn(map, from, end);
  while (found !== null && !work.isEnough) {
    const { piece, node } = found;
    const first = Math.max(piece.fileBlock, from);
    if (piece.isWritten) {
      map.setWritten(piece, first, Math.min(pieceEnd(piece), end), false);
      work.add(volume, node, piece.start, 1, 0);
    }
    end = first;
    found = lastIn(map, from, end);
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
  openMap(volume, transaction, ino).shift(from, distance);
}

/** See IomapDriver.setSize. Throws: EFBIG. */
export function setSize(volume: ExtVolume, transaction: Transaction, ino: Ino, size: number): void {
  moveOutOfInode(volume, transaction, ino);
  const blocksMax = fileBlocksMax(volume, readRaw(volume, ino));
  if (size > blocksMax * volume.blockSize) throw fileTooLarge(blocksMax);
  setInodeSize(editInode(volume, transaction, ino), size);
  if (size >= LARGE_FILE_SIZE) announceLargeFiles(volume, transaction);
}

function announceLargeFiles(volume: ExtVolume, transaction: Transaction): void {
  const { block, at } = readSuperblock(volume);
  const features = DiskSuperblock.featuresReadOnly.get(block.view, at);
  if ((features & READ_ONLY.large_file) !== 0) return;
  editSuperblock(volume, transaction);
  DiskSuperblock.featuresReadOnly.set(block.view, at, features | READ_ONLY.large_file);
  if (DiskSuperblock.revision.get(block.view, at) > 0) return;
  // Features came with revision 1, as did these fields.
  DiskSuperblock.firstIno.set(block.view, at, volume.facts.firstIno);
  DiskSuperblock.inodeSize.set(block.view, at, volume.facts.inodeSize);
  DiskSuperblock.revision.set(block.view, at, 1);
}
