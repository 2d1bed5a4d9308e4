/**
 * The nodes of extent trees: their entries, and the checks on them.
 *
 * The root lies in the inode, deeper nodes are blocks of their own. A node that is a block is checked
 * as a whole when it comes into the cache. Since reading takes no lock and another thread may be
 * changing the very bytes, every count, depth and place is also checked where it is used:
 *
 * (1) The depth falls by one with every step down and starts at 5 at most, so a walk down ends.
 * (2) The entries of a node are those its block has room for, whatever its count says.
 * (3) A node lies in a block that can belong to a file, and so does what an extent names.
 */
import type { Ino } from "../../../base/quantities.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { extentChecksum, extentTailByte, inodeSeed } from "../checksums.ts";
import type { Piece } from "./file-map.ts";
import {
  CONTENT_BYTE,
  CONTENT_SIZE,
  DiskExtent,
  DiskExtentHeader,
  DiskExtentIndex,
  DiskExtentTail,
  DiskInode,
  EXTENT_DEPTH_MAX,
  EXTENT_ENTRY_SIZE,
  EXTENT_LENGTH_MAX,
  EXTENT_MAGIC,
} from "../format.ts";
import { type ExtVolume, type Located, unownableBlock } from "../volume.ts";

const HEADER_SIZE = DiskExtentHeader.structure.size;
export const ROOT_ENTRIES_MAX = (CONTENT_SIZE - HEADER_SIZE) / EXTENT_ENTRY_SIZE;

/** A node of the tree: its header is at byte `at` of the block. The root is inside its inode. */
export type Node = Located;

/** Entries that fit in a node that is a block. */
export function nodeEntriesMax(volume: ExtVolume): number {
  return Math.floor((volume.blockSize - HEADER_SIZE) / EXTENT_ENTRY_SIZE);
}

/** Makes an empty root in an inode. */
export function initializeRoot({ block, at }: Located): void {
  const node = { block, at: at + CONTENT_BYTE };
  block.bytes.fill(0, node.at, node.at + CONTENT_SIZE);
  initializeNode(node, ROOT_ENTRIES_MAX, 0);
}

export function initializeNode({ block, at }: Node, entriesMax: number, depth: number): void {
  DiskExtentHeader.magic.set(block.view, at, EXTENT_MAGIC);
  DiskExtentHeader.entries.set(block.view, at, 0);
  DiskExtentHeader.entriesMax.set(block.view, at, entriesMax);
  DiskExtentHeader.depth.set(block.view, at, depth);
}

/** Never more than the block has room for, whatever is written there meanwhile. */
export function entryCount({ block, at }: Node): number {
  const room = Math.floor((block.view.byteLength - at - HEADER_SIZE) / EXTENT_ENTRY_SIZE);
  return Math.min(DiskExtentHeader.entries.get(block.view, at), room);
}

export function nodeDepth({ block, at }: Node): number {
  return DiskExtentHeader.depth.get(block.view, at);
}

export function entryByte(node: Node, index: number): number {
  return node.at + HEADER_SIZE + index * EXTENT_ENTRY_SIZE;
}

/** The first file block of an entry: extents and index entries keep it in the same place. */
export function entryKey(node: Node, index: number): number {
  return DiskExtent.fileBlock.get(node.block.view, entryByte(node, index));
}

/** The block of the node below an index entry. */
export function entryChild(node: Node, index: number): number {
  const { view } = node.block;
  const at = entryByte(node, index);
  return DiskExtentIndex.nodeHigh.get(view, at) * 2 ** 32 + DiskExtentIndex.nodeLow.get(view, at);
}

/** The extent at byte `at`. A stored length above 32,768 means unwritten, and so many blocks more than that. */
export function extentOf(view: DataView, at: number): Piece {
  const length = DiskExtent.length.get(view, at);
  const isWritten = length <= EXTENT_LENGTH_MAX;
  return new ExtentPiece(
    DiskExtent.fileBlock.get(view, at),
    isWritten ? length : length - EXTENT_LENGTH_MAX,
    DiskExtent.startHigh.get(view, at) * 2 ** 32 + DiskExtent.startLow.get(view, at),
    isWritten,
  );
}

/** A class, since a literal's shape would change with the first number that is above 2^31. */
class ExtentPiece implements Piece {
  readonly fileBlock: number;
  readonly count: number;
  readonly start: number;
  readonly isWritten: boolean;

  constructor(fileBlock: number, count: number, start: number, isWritten: boolean) {
    this.fileBlock = fileBlock;
    this.count = count;
    this.start = start;
    this.isWritten = isWritten;
  }
}

export function readPiece(node: Node, index: number): Piece {
  return extentOf(node.block.view, entryByte(node, index));
}

/** The root of an inode's tree. */
export function rootOf({ block, at }: Located): Node {
  return { block, at: at + CONTENT_BYTE };
}

/** Checks a node's header, cheaply, each time it is visited. Throws: CorruptionError. */
function assertHeader(volume: ExtVolume, node: Node, entriesMax: number, depth: number): void {
  const { view } = node.block;
  const magic = DiskExtentHeader.magic.get(view, node.at);
  const { structure } = DiskExtentHeader;
  if (magic !== EXTENT_MAGIC) {
    throw volume.damage(node, structure, "eh_magic", magic, `expected ${EXTENT_MAGIC}`);
  }
  const max = DiskExtentHeader.entriesMax.get(view, node.at);
  if (max === 0 || max > entriesMax) {
    throw volume.damage(node, structure, "eh_max", max, `expected 1 to ${entriesMax}`);
  }
  const entries = DiskExtentHeader.entries.get(view, node.at);
  const min = depth > 0 ? 1 : 0;
  if (entries < min || entries > max) {
    throw volume.damage(node, structure, "eh_entries", entries, `expected ${min} to ${max}`);
  }
  const found = DiskExtentHeader.depth.get(view, node.at);
  if (found !== depth) {
    throw volume.damage(node, structure, "eh_depth", found, `expected ${depth}`);
  }
}

/** The depth of a root, checked with the rest of its header. */
export function rootDepth(volume: ExtVolume, root: Node): number {
  const depth = nodeDepth(root);
  if (depth > EXTENT_DEPTH_MAX) {
    const expected = `expected at most ${EXTENT_DEPTH_MAX}`;
    throw volume.damage(root, DiskExtentHeader.structure, "eh_depth", depth, expected);
  }
  assertHeader(volume, root, ROOT_ENTRIES_MAX, depth);
  return depth;
}

/** Checks a node that is a block as a whole, once, when it is read. Throws: CorruptionError. */
function verifyNode(volume: ExtVolume, block: MetadataBlock, depth: number, seed: number): void {
  const node = { block, at: 0 };
  assertHeader(volume, node, nodeEntriesMax(volume), depth);
  const count = entryCount(node);
  if (count === 0) {
    throw volume.damage(node, DiskExtentHeader.structure, "eh_entries", 0, "expected at least 1");
  }
  if (volume.metadataChecksums) {
    const max = DiskExtentHeader.entriesMax.get(block.view, 0);
    const stored = DiskExtentTail.checksum.get(block.view, extentTailByte(max));
    const computed = extentChecksum(seed, block.bytes, max);
    if (stored !== computed) {
      const expected = `but the node's bytes give ${computed}`;
      throw volume.damage(node, DiskExtentTail.structure, "et_checksum", stored, expected);
    }
  }
  assertSorted(volume, node);
}

/** Throws: CorruptionError unless a node's entries are in order and do not overlap. */
export function assertSorted(volume: ExtVolume, node: Node): void {
  const isLeaf = nodeDepth(node) === 0;
  let next = 0;
  for (let index = 0; index < entryCount(node); index++) {
    const key = entryKey(node, index);
    if (key < next) {
      const where = { block: node.block, at: entryByte(node, index) };
      const expected = `expected at least ${next}: entries are sorted and apart`;
      throw volume.damage(where, DiskExtent.structure, "ee_block", key, expected);
    }
    next = key + (isLeaf ? Math.max(readPiece(node, index).count, 1) : 1);
  }
}

/** The child of an index entry. `seed` is the inode's. Throws: CorruptionError. */
export function readChild(
  volume: ExtVolume,
  parent: Node,
  index: number,
  raw: Located,
  ino: Ino,
): Node {
  const depth = nodeDepth(parent) - 1;
  const childBlock = entryChild(parent, index);
  const block = volume.cache.read(childBlock, (filled) => {
    if (!volume.isOwnable(childBlock, 1)) {
      throw unownableBlock(volume, childBlock, `holds extents of inode ${ino}`);
    }
    const generation = DiskInode.generation.get(raw.block.view, raw.at);
    verifyNode(volume, filled, depth, inodeSeed(volume.checksumSeed, ino, generation));
  });
  const child = { block, at: 0 };
  assertHeader(volume, child, nodeEntriesMax(volume), depth);
  return child;
}

/** The last entry whose key is at most `fileBlock`, or -1. */
export function findEntry(node: Node, fileBlock: number): number {
  let low = 0;
  let high = entryCount(node);
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (entryKey(node, middle) <= fileBlock) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** An extent of a leaf, checked. Throws: CorruptionError. */
export function checkedPiece(volume: ExtVolume, leaf: Node, index: number, ceiling: number): Piece {
  const piece = readPiece(leaf, index);
  const end = piece.fileBlock + piece.count;
  if (piece.count === 0 || end > ceiling) {
    const where = { block: leaf.block, at: entryByte(leaf, index) };
    const expected = `expected a length that ends at or before file block ${ceiling}`;
    throw volume.damage(where, DiskExtent.structure, "ee_len", piece.count, expected);
  }
  if (!volume.isOwnable(piece.start, piece.count)) {
    throw unownableBlock(volume, piece.start, `an extent of ${piece.count} blocks begins with`);
  }
  return piece;
}
