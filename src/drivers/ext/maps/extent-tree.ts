/**
 * Extent trees, changed: entries replaced, nodes split, grown and given up. This file knows the shape
 * of the tree; which blocks a file gets and loses is placement.ts's business.
 *
 * (1) The key of an index entry is the key of the first entry below it.
 * (2) No node but the root is empty. An empty root has depth 0.
 * (3) Extents are sorted and do not overlap. Neighbours in one leaf that continue each other on the
 *     device in the same state are one extent, as far as its length allows.
 */
import { HoldfastError } from "../../../base/errors.ts";
import { invariant } from "../../../base/invariant.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { allocateBlocks, freeBlocks } from "../space/allocator.ts";
import { extentChecksum, extentTailByte } from "../checksums.ts";
import {
  type FileMap,
  fileTooLarge,
  type FoundPiece,
  type Piece,
  pieceEnd,
  slicePiece,
} from "./file-map.ts";
import {
  CONTENT_BYTE,
  DiskExtent,
  DiskExtentHeader,
  DiskExtentIndex,
  DiskExtentTail,
  EXTENT_DEPTH_MAX,
  EXTENT_ENTRY_SIZE,
  EXTENT_LENGTH_MAX,
  FILE_BLOCKS_MAX,
  setPair,
} from "../format.ts";
import {
  assertSorted,
  checkedPiece,
  entryByte,
  entryCount,
  entryKey,
  findEntry,
  initializeNode,
  type Node,
  nodeDepth,
  nodeEntriesMax,
  ROOT_ENTRIES_MAX,
  readChild,
  readPiece,
  rootDepth,
  rootOf,
} from "./extent-nodes.ts";
import { goalForNodes, groupOfInode } from "../space/groups.ts";
import { addInodeBlocks, editInode, inodeChecksumSeed, type RawInode } from "../inodes/inode.ts";
import { type ExtVolume, SEAL } from "../volume.ts";

/** Extents name blocks by 48 bits. */
const DEVICE_BLOCKS_MAX = 2 ** 48;

/** A node on the way to an extent, and the entry taken in it (in the leaf: -1 before the first). */
interface Step {
  readonly node: Node;
  readonly index: number;
}

/** From the root to a leaf. */
type Path = readonly Step[];

/** Blocks in the longest extent: an unwritten one is a block shorter. */
function pieceCountMax(isWritten: boolean): number {
  return isWritten ? EXTENT_LENGTH_MAX : EXTENT_LENGTH_MAX - 1;
}

/** The piece with `next` joined to its end, or null when the two cannot be one extent. */
function join(piece: Piece, next: Piece): Piece | null {
  const continues =
    pieceEnd(piece) === next.fileBlock &&
    piece.start + piece.count === next.start &&
    piece.isWritten === next.isWritten &&
    piece.count + next.count <= pieceCountMax(piece.isWritten);
  return continues ? { ...piece, count: piece.count + next.count } : null;
}

function leafOf(path: Path): Step {
  return path[path.length - 1]!;
}

/** One inode's tree, to be changed in one transaction. */
export class ExtentTree implements FileMap {
  readonly volume: ExtVolume;
  readonly transaction: Transaction;
  readonly ino: Ino;
  readonly raw: RawInode;
  readonly blocksMax = FILE_BLOCKS_MAX;
  readonly deviceBlocksMax = DEVICE_BLOCKS_MAX;
  readonly #seed: number;

  constructor(volume: ExtVolume, transaction: Transaction, ino: Ino) {
    this.volume = volume;
    this.transaction = transaction;
    this.ino = ino;
    this.raw = editInode(volume, transaction, ino);
    assertSorted(volume, rootOf(this.raw));
    this.#seed = volume.metadataChecksums ? inodeChecksumSeed(volume, ino) : 0;
  }

  insertMax(isWritten: boolean): number {
    return pieceCountMax(isWritten);
  }

  /** The way to the leaf where `fileBlock` is or would be. Throws: CorruptionError. */
  #find(fileBlock: number): Path {
    let node = rootOf(this.raw);
    let depth = rootDepth(this.volume, node);
    const path: Step[] = [];
    for (; depth > 0; depth--) {
      const index = Math.max(findEntry(node, fileBlock), 0);
      path.push({ node, index });
      node = readChild(this.volume, node, index, this.raw, this.ino);
    }
    path.push({ node, index: findEntry(node, fileBlock) });
    return path;
  }

  /** The way to a piece that was found. Throws: CorruptionError where its own key leads to another leaf. */
  #pathTo({ fileBlock }: Piece): Path {
    const path = this.#find(fileBlock);
    const { node, index } = leafOf(path);
    if (index >= 0 && entryKey(node, index) === fileBlock) return path;
    const expected = `expected ${fileBlock}, which a leaf has that keys above it say is for others`;
    const found = index < 0 ? "missing" : entryKey(node, index);
    throw this.volume.damage(node, DiskExtent.structure, "ee_block", found, expected);
  }

  /** The extent a path leads to, checked, or null. */
  #pieceAt(path: Path): Piece | null {
    const { node, index } = leafOf(path);
    if (index < 0) return null;
    const isLast = index + 1 >= entryCount(node);
    const ceiling = isLast ? FILE_BLOCKS_MAX : entryKey(node, index + 1);
    return checkedPiece(this.volume, node, index, ceiling);
  }

  lastBefore(end: number): FoundPiece | null {
    while (end > 0) {
      const path = this.#find(end - 1);
      const piece = this.#pieceAt(path);
      if (piece !== null) return { piece, node: leafOf(path).node.block.block };
      // A leaf that begins after its key (rule 1 is not ours alone to keep): look before the key.
      const above = path[path.length - 2];
      const key = above === undefined ? 0 : entryKey(above.node, above.index);
      if (key >= end) return null;
      end = key;
    }
    return null;
  }

  /** See FileMap.insert: the new extent is joined to its neighbours where they continue each other. */
  insert(piece: Piece): void {
    const path = this.#find(piece.fileBlock);
    const { node, index } = leafOf(path);
    const left = index >= 0 ? join(readPiece(node, index), piece) : null;
    const hasRight = index + 1 < entryCount(node);
    const right = hasRight ? join(left ?? piece, readPiece(node, index + 1)) : null;
    if (left !== null) {
      this.#replace(path, index, right === null ? 1 : 2, [right ?? left]);
    } else if (right !== null) {
      this.#replace(path, index + 1, 1, [right]);
    } else {
      const roomy = this.#makeRoom(piece.fileBlock, 1);
      this.#replace(roomy, leafOf(roomy).index + 1, 0, [piece]);
    }
  }

  remove(piece: Piece, cut: Piece): void {
    const left: Piece[] = [];
    if (piece.fileBlock < cut.fileBlock) left.push(slicePiece(piece, 0, cut.fileBlock));
    const end = pieceEnd(cut);
    if (end < pieceEnd(piece)) left.push(slicePiece(piece, end, pieceEnd(piece)));
    this.#replaceExtent(this.#pathTo(piece), left);
  }

  setWritten(piece: Piece, from: number, to: number, isWritten: boolean): void {
    const pieces: Piece[] = [];
    if (piece.fileBlock < from) pieces.push(slicePiece(piece, piece.fileBlock, from));
    // An unwritten extent is a block shorter than a written one may be, so one may become two.
    const countMax = pieceCountMax(isWritten);
    for (let start = from; start < to; start += countMax) {
      pieces.push(slicePiece(piece, start, Math.min(start + countMax, to), isWritten));
    }
    if (to < pieceEnd(piece)) pieces.push(slicePiece(piece, to, pieceEnd(piece)));
    this.#replaceExtent(this.#pathTo(piece), pieces);
  }

  /**
   * Puts `pieces` (sorted, inside the range of the extent the path leads to) in that extent's place,
   * and joins them to their neighbours. Throws: ENOSPC when a new node finds no block.
   */
  #replaceExtent(path: Path, pieces: readonly Piece[]): void {
    let { node, index } = leafOf(path);
    if (pieces.length > 1) {
      path = this.#makeRoom(entryKey(node, index), pieces.length - 1);
      ({ node, index } = leafOf(path));
    }
    const before = index > 0 ? [readPiece(node, index - 1)] : [];
    const after = index + 1 < entryCount(node) ? [readPiece(node, index + 1)] : [];
    const joined: Piece[] = [];
    for (const piece of [...before, ...pieces, ...after]) {
      const last = joined.pop();
      const both = last === undefined ? piece : join(last, piece);
      if (last !== undefined && both === null) joined.push(last);
      joined.push(both ?? piece);
    }
    this.#replace(path, index - before.length, before.length + 1 + after.length, joined);
  }

  /** Makes two extents of the one that has file block `at` inside it, if one has. */
  #splitAt(at: number): void {
    const piece = this.lastBefore(at)?.piece;
    if (piece === undefined || pieceEnd(piece) <= at) return;
    const path = this.#makeRoom(piece.fileBlock, 1);
    const halves = [slicePiece(piece, 0, at), slicePiece(piece, at, pieceEnd(piece))];
    this.#replace(path, leafOf(path).index, 1, halves);
  }

  /** Joins the extent at file block `at`, if there is one, to its neighbours. */
  #joinAt(at: number): void {
    const path = this.#find(at);
    const piece = this.#pieceAt(path);
    if (piece !== null) this.#replaceExtent(path, [piece]);
  }

  shift(from: number, distance: number): void {
    const last = this.lastBefore(FILE_BLOCKS_MAX)?.piece;
    if (last === undefined || pieceEnd(last) <= from) return;
    if (pieceEnd(last) + distance > FILE_BLOCKS_MAX) throw fileTooLarge(FILE_BLOCKS_MAX);
    if (distance < 0) {
      const before = this.lastBefore(from)?.piece;
      if (from + distance < 0 || (before !== undefined && pieceEnd(before) > from + distance)) {
        throw new HoldfastError("EINVAL", "the range that a file collapses into is not a hole");
      }
    }
    this.#splitAt(from);
    const root = rootOf(this.raw);
    rootDepth(this.volume, root);
    this.#shiftNode(root, from, distance);
    this.#joinAt(from + distance);
  }

  /** Moves every extent from file block `from` on, where none straddles it. */
  #shiftNode(node: Node, from: number, distance: number): void {
    const count = entryCount(node);
    const first = Math.max(findEntry(node, from), 0);
    this.#edit(node);
    for (let index = first; index < count; index++) {
      let key = entryKey(node, index);
      if (nodeDepth(node) > 0) {
        const child = readChild(this.volume, node, index, this.raw, this.ino);
        this.#shiftNode(child, from, distance);
        key = entryKey(child, 0);
      } else if (key >= from) {
        key += distance;
      }
      DiskExtent.fileBlock.set(node.block.view, entryByte(node, index), key);
    }
  }

  /** Write access to a node's bytes. The root's inode is being edited already. */
  #edit(node: Node): void {
    if (this.#isRoot(node)) return;
    this.transaction.edit(node.block, SEAL.extents, this.#seed);
  }

  #isRoot(node: Node): boolean {
    return node.block === this.raw.block && node.at === this.raw.at + CONTENT_BYTE;
  }

  /** Entries [index, index + removed) of a leaf become `pieces`. There is room. */
  #replace(path: Path, index: number, removed: number, pieces: readonly Piece[]): void {
    const { node } = leafOf(path);
    this.#edit(node);
    this.#moveTail(node, index + removed, pieces.length - removed);
    for (const [i, piece] of pieces.entries()) writePiece(node, index + i, piece);
    if (entryCount(node) === 0) this.#giveUp(path, path.length - 1);
    else if (index === 0) this.#correctKeys(path, path.length - 1);
  }

  /** Moves the entries from `index` on by `distance` places, and changes the count to match. */
  #moveTail(node: Node, index: number, distance: number): void {
    const count = entryCount(node);
    const from = entryByte(node, index);
    const max = this.#isRoot(node) ? ROOT_ENTRIES_MAX : nodeEntriesMax(this.volume);
    invariant(count + distance <= max, "a node of an extent tree overflows");
    node.block.bytes.copyWithin(
      entryByte(node, index + distance),
      from,
      from + (count - index) * EXTENT_ENTRY_SIZE,
    );
    DiskExtentHeader.entries.set(node.block.view, node.at, count + distance);
  }

  /** Brings the keys above level `level` in line with that node's first key: rule 1. */
  #correctKeys(path: Path, level: number): void {
    const key = entryKey(path[level]!.node, 0);
    for (let above = level - 1; above >= 0; above--) {
      const { node, index } = path[above]!;
      this.#edit(node);
      DiskExtentIndex.fileBlock.set(node.block.view, entryByte(node, index), key);
      if (index > 0) return;
    }
  }

  /** Takes the empty node at `level` out of the tree, and those above it that become empty: rule 2. */
  #giveUp(path: Path, level: number): void {
    const { node } = path[level]!;
    if (level === 0) {
      initializeNode(node, ROOT_ENTRIES_MAX, 0);
      return;
    }
    const above = path[level - 1]!;
    this.#freeNode(node.block.block);
    this.#edit(above.node);
    this.#moveTail(above.node, above.index + 1, -1);
    if (entryCount(above.node) === 0) this.#giveUp(path, level - 1);
    else if (above.index === 0) this.#correctKeys(path, level - 1);
  }

  /** While the root has one child whose entries fit into the root, they move there. */
  tidy(): boolean {
    const root = rootOf(this.raw);
    while (rootDepth(this.volume, root) > 0 && entryCount(root) === 1) {
      const child = readChild(this.volume, root, 0, this.raw, this.ino);
      const count = entryCount(child);
      if (count > ROOT_ENTRIES_MAX) break;
      initializeNode(root, ROOT_ENTRIES_MAX, nodeDepth(child));
      copyEntries(child, 0, root, count);
      this.#freeNode(child.block.block);
    }
    return true;
  }

  /** Whether the node at `level` of a path can take `extra` more entries. */
  #hasRoom(path: Path, level: number, extra: number): boolean {
    const max = level === 0 ? ROOT_ENTRIES_MAX : nodeEntriesMax(this.volume);
    return entryCount(path[level]!.node) + extra <= max;
  }

  /** However many blocks there are: they are one extent. */
  nodesToInsert(fileBlock: number): number {
    const path = this.#find(fileBlock);
    let nodes = 0;
    for (let level = path.length - 1; level >= 0 && !this.#hasRoom(path, level, 1); level--)
      nodes++;
    return nodes;
  }

  /** A path to the leaf of `fileBlock`, which has room for `extra` more entries. */
  #makeRoom(fileBlock: number, extra: number): Path {
    for (;;) {
      const path = this.#find(fileBlock);
      let level = path.length - 1;
      if (this.#hasRoom(path, level, extra)) return path;
      do level--;
      while (level >= 0 && !this.#hasRoom(path, level, 1));
      if (level < 0) this.#growRoot(path);
      else this.#split(path, level + 1);
    }
  }

  /** The root's entries move into a new node, which becomes the root's only child. */
  #growRoot(path: Path): void {
    const root = path[0]!.node;
    const depth = nodeDepth(root);
    if (depth >= EXTENT_DEPTH_MAX) {
      throw new HoldfastError("EFBIG", `the extent tree of inode ${this.ino} is as deep as can be`);
    }
    const child = this.#createNode(depth);
    copyEntries(root, 0, child, entryCount(root));
    initializeNode(root, ROOT_ENTRIES_MAX, depth + 1);
    this.#writeIndex(root, 0, entryKey(child, 0), child.block.block);
  }

  /**
   * Moves the upper half of the node at `level` into a new node beside it; its parent has room. At
   * its end only the last entry moves, so that a file that grows fills its nodes.
   */
  #split(path: Path, level: number): void {
    const { node, index } = path[level]!;
    const parent = path[level - 1]!;
    const count = entryCount(node);
    const kept = index === count - 1 ? count - 1 : count >>> 1;
    invariant(kept > 0 && kept < count, "a node of an extent tree is split into nothing");
    const sibling = this.#createNode(nodeDepth(node));
    copyEntries(node, kept, sibling, count - kept);
    this.#edit(node);
    DiskExtentHeader.entries.set(node.block.view, node.at, kept);
    this.#edit(parent.node);
    this.#writeIndex(parent.node, parent.index + 1, entryKey(sibling, 0), sibling.block.block);
  }

  /** Inserts an index entry at place `index`. */
  #writeIndex(node: Node, index: number, key: number, child: number): void {
    this.#moveTail(node, index, 1);
    const at = entryByte(node, index);
    const { view } = node.block;
    DiskExtentIndex.fileBlock.set(view, at, key);
    setPair(view, at, DiskExtentIndex.nodeLow, DiskExtentIndex.nodeHigh, child);
    DiskExtentIndex.unused.set(view, at, 0);
  }

  /** Nodes lie at the end of the inode's group. */
  #createNode(depth: number): Node {
    const { volume, transaction } = this;
    const goal = goalForNodes(volume, groupOfInode(volume, this.ino));
    const run = allocateBlocks(volume, transaction, { goal, count: 1 });
    addInodeBlocks(this, 1);
    const block = transaction.create(run.start, SEAL.extents, this.#seed);
    const node = { block, at: 0 };
    initializeNode(node, nodeEntriesMax(volume), depth);
    return node;
  }

  #freeNode(block: number): void {
    freeBlocks(this.volume, this.transaction, { start: block, count: 1 });
    this.transaction.revoke(block);
    addInodeBlocks(this, -1);
  }
}

/** Writes the checksum of a node that is a block; `seed` is the inode's. */
export function sealExtents({ bytes, view }: MetadataBlock, seed: number): void {
  const max = DiskExtentHeader.entriesMax.get(view, 0);
  DiskExtentTail.checksum.set(view, extentTailByte(max), extentChecksum(seed, bytes, max));
}

function writePiece(node: Node, index: number, piece: Piece): void {
  const { view } = node.block;
  const at = entryByte(node, index);
  DiskExtent.fileBlock.set(view, at, piece.fileBlock);
  DiskExtent.length.set(view, at, piece.count + (piece.isWritten ? 0 : EXTENT_LENGTH_MAX));
  setPair(view, at, DiskExtent.startLow, DiskExtent.startHigh, piece.start);
}

/** Copies `count` entries, from place `index` of one node to the start of another. */
function copyEntries(from: Node, index: number, to: Node, count: number): void {
  const start = entryByte(from, index);
  const source = from.block.bytes.subarray(start, start + count * EXTENT_ENTRY_SIZE);
  to.block.bytes.set(source, entryByte(to, 0));
  DiskExtentHeader.entries.set(to.block.view, to.at, count);
}
