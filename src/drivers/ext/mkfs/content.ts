/**
 * What an inode says of its blocks: an extent tree, or a map of single blocks. Both for files that are made
 * whole and never change their length: directories and the journal.
 *
 * Source: Linux Documentation/filesystems/ext4/ifork.rst.
 */
import { HoldfastError } from "../../../base/errors.ts";
import { invariant } from "../../../base/invariant.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { extentChecksum, extentTailByte, inodeSeed } from "../checksums.ts";
import { entryByte, initializeNode, type Node, ROOT_ENTRIES_MAX } from "../maps/extent-nodes.ts";
import {
  CONTENT_SIZE,
  DiskExtent,
  DiskExtentHeader,
  DiskExtentIndex,
  DiskExtentTail,
  EXTENT_ENTRY_SIZE,
  EXTENT_LENGTH_MAX,
} from "../format.ts";
import { viewOf } from "../superblock.ts";
import type { BlockRun } from "./block-ranges.ts";
import { blankBlock } from "./images.ts";
import type { Layout } from "./layout.ts";
import type { Recipe } from "./recipe.ts";

export interface FileContent {
  /** The 60 bytes that the inode keeps. */
  readonly content: Uint8Array;
  /** Runs of the file's own bytes, in the file's order. */
  readonly data: readonly BlockRun[];
  /** Blocks that say where the others are. */
  readonly index: readonly MetadataBlock[];
}

/** Blocks of a file, those of its map included. */
export function blocksOf({ data, index }: FileContent): number {
  return data.reduce((sum, { count }) => sum + count, 0) + index.length;
}

/** What a file of `count` blocks is made with. */
export interface FileWish {
  readonly ino: number;
  readonly count: number;
  /** Where to look for blocks first. */
  readonly goal: number;
  /** For the error, when there are none. */
  readonly what: string;
  /** The order in which its blocks are taken, of a small file; else its own. */
  readonly order?: readonly number[];
}

/** Takes blocks for a new file, and says where they are. Throws: ENOSPC. */
export function makeContent(recipe: Recipe, layout: Layout, wish: FileWish): FileContent {
  if (wish.order !== undefined) return mapInOrder(recipe, layout, wish, wish.order);
  if (!recipe.features.has("extent")) return mapBlocks(recipe, layout, wish);
  const data = layout.take(wish.goal, wish.count, wish.what);
  return mapExtents(recipe, layout, wish, data);
}

/** A file of a few blocks, which are taken in an order that is not the file's. */
function mapInOrder(
  recipe: Recipe,
  layout: Layout,
  wish: FileWish,
  order: readonly number[],
): FileContent {
  invariant(order.length <= DIRECT, "a file that is taken out of order is small");
  const places: number[] = [];
  let goal = wish.goal;
  for (const block of order) {
    const [{ start }] = layout.take(goal, 1, wish.what) as [BlockRun];
    places[block] = start;
    goal = start + 1;
  }
  const data: BlockRun[] = [];
  for (const start of places) {
    const last = data.at(-1);
    if (last !== undefined && last.start + last.count === start) {
      data[data.length - 1] = { start: last.start, count: last.count + 1 };
    } else data.push({ start, count: 1 });
  }
  if (recipe.features.has("extent")) return mapExtents(recipe, layout, wish, data);
  const content = new Uint8Array(CONTENT_SIZE);
  for (const [slot, start] of places.entries()) viewOf(content).setUint32(slot * 4, start, true);
  return { content, data, index: [] };
}

interface Piece extends BlockRun {
  readonly fileBlock: number;
}

function piecesOf(data: readonly BlockRun[]): Piece[] {
  const pieces: Piece[] = [];
  let fileBlock = 0;
  for (const run of data) {
    for (let done = 0; done < run.count; ) {
      const count = Math.min(run.count - done, EXTENT_LENGTH_MAX);
      pieces.push({ fileBlock, start: run.start + done, count });
      fileBlock += count;
      done += count;
    }
  }
  return pieces;
}

/** The root holds four extents; of more it holds nodes, each a block. */
function mapExtents(
  recipe: Recipe,
  layout: Layout,
  { ino, goal, what }: FileWish,
  data: readonly BlockRun[],
): FileContent {
  const pieces = piecesOf(data);
  const content = new Uint8Array(CONTENT_SIZE);
  const root: Node = { block: { block: 0, bytes: content, view: viewOf(content) }, at: 0 };
  if (pieces.length <= ROOT_ENTRIES_MAX) {
    initializeNode(root, ROOT_ENTRIES_MAX, 0);
    putPieces(root, pieces);
    return { content, data, index: [] };
  }
  initializeNode(root, ROOT_ENTRIES_MAX, 1);
  const { blockSize } = recipe.geometry;
  const room = Math.floor((blockSize - DiskExtentHeader.structure.size) / EXTENT_ENTRY_SIZE);
  const index: MetadataBlock[] = [];
  for (let first = 0; first < pieces.length; first += room) {
    if (index.length === ROOT_ENTRIES_MAX) {
      throw new HoldfastError("EINVAL", `${what} would lie in too many pieces; make it smaller`);
    }
    const [place] = layout.take(Math.max(goal - 1, 0), 1, what);
    const leaf: Node = { block: blankBlock(place!.start, blockSize), at: 0 };
    initializeNode(leaf, room, 0);
    putPieces(leaf, pieces.slice(first, first + room));
    sealNode(recipe, ino, leaf, room);
    putIndexEntry(root, index.length, pieces[first]!.fileBlock, place!.start);
    index.push(leaf.block);
  }
  DiskExtentHeader.entries.set(root.block.view, 0, index.length);
  return { content, data, index };
}

function putPieces(node: Node, pieces: readonly Piece[]): void {
  const { view } = node.block;
  for (const [index, { fileBlock, start, count }] of pieces.entries()) {
    const at = entryByte(node, index);
    DiskExtent.fileBlock.set(view, at, fileBlock);
    DiskExtent.length.set(view, at, count);
    DiskExtent.startLow.set(view, at, start % 2 ** 32);
    DiskExtent.startHigh.set(view, at, Math.floor(start / 2 ** 32));
  }
  DiskExtentHeader.entries.set(view, node.at, pieces.length);
}

function putIndexEntry(root: Node, index: number, fileBlock: number, child: number): void {
  const { view } = root.block;
  const at = entryByte(root, index);
  DiskExtentIndex.fileBlock.set(view, at, fileBlock);
  DiskExtentIndex.nodeLow.set(view, at, child % 2 ** 32);
  DiskExtentIndex.nodeHigh.set(view, at, Math.floor(child / 2 ** 32));
}

function sealNode(recipe: Recipe, ino: number, { block }: Node, room: number): void {
  if (!recipe.metadataChecksums) return;
  const checksum = extentChecksum(inodeSeed(recipe.checksumSeed, ino, 0), block.bytes, room);
  DiskExtentTail.checksum.set(block.view, extentTailByte(room), checksum);
}

/** Places in the inode: for blocks of the file, then one each for maps of one, two and three levels. */
const DIRECT = 12;
const LEVELS = 3;

/** The place in an inode's content of the map of `level` levels, from 1. */
export function mapPlace(level: number): number {
  return DIRECT + level - 1;
}

/** A map of single blocks: each block of it lies before the blocks that it names. */
function mapBlocks(recipe: Recipe, layout: Layout, wish: FileWish): FileContent {
  const { blockSize } = recipe.geometry;
  const perBlock = blockSize / 4;
  const content = new Uint8Array(CONTENT_SIZE);
  const root = viewOf(content);
  const data: BlockRun[] = [];
  const index: MetadataBlock[] = [];
  let left = wish.count;
  let next = wish.goal;
  const takeOne = (): number => {
    const [{ start }] = layout.take(next, 1, wish.what) as [BlockRun];
    next = start + 1;
    return start;
  };
  const addData = (): number => {
    const start = takeOne();
    const last = data.at(-1);
    if (last !== undefined && last.start + last.count === start) {
      data[data.length - 1] = { start: last.start, count: last.count + 1 };
    } else data.push({ start, count: 1 });
    left--;
    return start;
  };
  const addMap = (level: number): number => {
    const map = blankBlock(takeOne(), blockSize);
    index.push(map);
    for (let slot = 0; slot < perBlock && left > 0; slot++) {
      map.view.setUint32(slot * 4, level === 1 ? addData() : addMap(level - 1), true);
    }
    return map.block;
  };
  for (let slot = 0; slot < DIRECT && left > 0; slot++) root.setUint32(slot * 4, addData(), true);
  for (let level = 1; level <= LEVELS && left > 0; level++) {
    root.setUint32(mapPlace(level) * 4, addMap(level), true);
  }
  invariant(left === 0, "a block map reaches further than any journal");
  return { content, data, index };
}
