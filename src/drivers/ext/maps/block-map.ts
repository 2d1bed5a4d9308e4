/**
 * Maps of block pointers, changed: pointers set and cleared, blocks of pointers made and given up. The
 * reading half, and what a map looks like, is block-pointers.ts.
 *
 * (1) A block of pointers goes with its last pointer. (Others leave empty ones, which are as good as a
 *     hole, and go when what lies there is removed.)
 *
 * The format has no unwritten state, and the kernel moves no blocks of such files; neither do we.
 */
import { HoldfastError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import { NO_SEAL, type Transaction } from "../../../metadata/transaction.ts";
import { allocateBlocks, freeBlocks } from "../space/allocator.ts";
import {
  indexIn,
  nodesBelow,
  POINTER_SIZE,
  pointerAt,
  type PointerRow,
  pointersMax,
  pointersPerBlock,
  rootRows,
  rowBelow,
  rowEnd,
} from "./block-pointers.ts";
import type { FileMap, FoundPiece, Piece } from "./file-map.ts";
import { goalForNodes, groupOfBlock } from "../space/groups.ts";
import { addInodeBlocks, editInode, type RawInode } from "../inodes/inode.ts";
import { type ExtVolume, unownableBlock } from "../volume.ts";

/** Full blocks of pointers that one insertion makes at most, so that it fits in a small journal. */
const NODES_PER_INSERT = 32;
/** Pointers have 32 bits. */
const DEVICE_BLOCKS_MAX = 2 ** 32;

/** A row on the way to a file block, and the pointer taken in it. */
interface Step {
  readonly row: PointerRow;
  readonly index: number;
}

/** One inode's pointers, to be changed in one transaction. */
export class BlockMap implements FileMap {
  readonly volume: ExtVolume;
  readonly transaction: Transaction;
  readonly ino: Ino;
  readonly raw: RawInode;
  readonly blocksMax: number;
  readonly deviceBlocksMax = DEVICE_BLOCKS_MAX;
  readonly #roots: readonly PointerRow[];

  constructor(volume: ExtVolume, transaction: Transaction, ino: Ino) {
    this.volume = volume;
    this.transaction = transaction;
    this.ino = ino;
    this.raw = editInode(volume, transaction, ino);
    this.blocksMax = pointersMax(volume);
    this.#roots = rootRows(volume, this.raw);
  }

  insertMax(isWritten: boolean): number {
    if (!isWritten) throw this.#unsupported("its blocks cannot be allocated without being written");
    return NODES_PER_INSERT * pointersPerBlock(this.volume);
  }

  lastBefore(end: number): FoundPiece | null {
    for (let root = this.#roots.length - 1; root >= 0; root--) {
      const found = this.#lastIn(this.#roots[root]!, end);
      if (found !== null) return found;
    }
    return null;
  }

  #lastIn(row: PointerRow, end: number): FoundPiece | null {
    for (let index = Math.min(row.count - 1, indexIn(row, end - 1)); index >= 0; index--) {
      if (pointerAt(row, index) === 0) continue;
      if (row.span === 1) return this.#pieceUpTo(row, index);
      const below = rowBelow(this.volume, row, index, this.ino);
      const found = below === null ? null : this.#lastIn(below, end);
      if (found !== null) return found;
    }
    return null;
  }

  /** What of a row goes with the pointer `index` up to it. Throws: CorruptionError. */
  #pieceUpTo(row: PointerRow, last: number): FoundPiece {
    let index = last;
    while (index > 0 && pointerAt(row, index - 1) === pointerAt(row, index) - 1) index--;
    const start = pointerAt(row, index);
    const count = last - index + 1;
    if (start === 0 || !this.volume.isOwnable(start, count)) {
      throw unownableBlock(this.volume, start, `a run of blocks of inode ${this.ino} begins with`);
    }
    const piece = { fileBlock: row.first + index, count, start, isWritten: true };
    return { piece, node: row.block.block };
  }

  nodesToInsert(fileBlock: number, count: number): number {
    let nodes = 0;
    for (const root of this.#roots) nodes += this.#missingIn(root, fileBlock, fileBlock + count);
    return nodes;
  }

  /** Blocks of pointers that are not there yet for [from, to), below the pointers of a row. */
  #missingIn(row: PointerRow, from: number, to: number): number {
    if (row.span === 1) return 0;
    let nodes = 0;
    let at = Math.max(from, row.first);
    const end = Math.min(to, rowEnd(row));
    while (at < end) {
      const index = indexIn(row, at);
      const first = row.first + index * row.span;
      const next = Math.min(end, first + row.span);
      const below = rowBelow(this.volume, row, index, this.ino);
      nodes +=
        below === null
          ? nodesBelow(this.volume, row.span, at - first, next - first)
          : this.#missingIn(below, at, next);
      at = next;
    }
    return nodes;
  }

  insert({ fileBlock, count, start }: Piece): void {
    for (let done = 0; done < count; ) {
      const { row, index } = this.#makeWay(fileBlock + done, start + done).at(-1)!;
      const end = Math.min(count, done + row.count - index);
      this.#edit(row);
      for (let place = index; done < end; place++, done++) setPointer(row, place, start + done);
    }
  }

  /** The way to a file block, from the inode down; ends where a pointer is 0. */
  #way(fileBlock: number): Step[] {
    let row = this.#roots.find((root) => fileBlock < rowEnd(root)) ?? null;
    const way: Step[] = [];
    while (row !== null) {
      const step: Step = { row, index: indexIn(row, fileBlock) };
      way.push(step);
      row = row.span === 1 ? null : rowBelow(this.volume, row, step.index, this.ino);
    }
    return way;
  }

  /** As `#way`, to the end: makes the blocks of pointers that are missing, for content at `near`. */
  #makeWay(fileBlock: number, near: number): readonly Step[] {
    let way = this.#way(fileBlock);
    for (let last = way.at(-1)!; last.row.span > 1; last = way.at(-1)!) {
      const node = this.#createNode(near);
      this.#edit(last.row);
      setPointer(last.row, last.index, node);
      way = this.#way(fileBlock);
    }
    return way;
  }

  /**
   * Blocks of pointers lie in the group of what they name, and at its end: between the blocks of the file
   * they would break it into pieces, and 2 MiB in one piece can be mapped as one page.
   */
  #createNode(near: number): number {
    const { volume, transaction } = this;
    const goal = goalForNodes(volume, groupOfBlock(volume, near));
    const { start } = allocateBlocks(volume, transaction, {
      goal,
      count: 1,
      end: DEVICE_BLOCKS_MAX,
    });
    addInodeBlocks(this, 1);
    transaction.create(start, NO_SEAL);
    return start;
  }

  remove(_piece: Piece, cut: Piece): void {
    const { row, index } = this.#way(cut.fileBlock).at(-1)!;
    this.#edit(row);
    for (let place = index; place < index + cut.count; place++) setPointer(row, place, 0);
  }

  tidy(from: number, to: number, nodesMax: number): boolean {
    let left = nodesMax;
    const prune = (row: PointerRow): void => {
      if (row.span === 1) return;
      const first = Math.max(0, indexIn(row, from));
      for (let index = Math.min(row.count - 1, indexIn(row, to - 1)); index >= first; index--) {
        const below = rowBelow(this.volume, row, index, this.ino);
        if (below === null) continue;
        prune(below);
        if (left === 0) return;
        if (!isEmpty(below)) continue;
        this.#edit(row);
        setPointer(row, index, 0);
        this.#freeNode(below.block.block);
        left--;
      }
    };
    for (const root of this.#roots) prune(root);
    return left > 0;
  }

  #freeNode(block: number): void {
    freeBlocks(this.volume, this.transaction, { start: block, count: 1 });
    this.transaction.revoke(block);
    addInodeBlocks(this, -1);
  }

  setWritten(): void {
    throw this.#unsupported("its blocks cannot be made unwritten");
  }

  shift(): void {
    throw this.#unsupported("its blocks cannot be moved");
  }

  #unsupported(what: string): HoldfastError {
    const message = `inode ${this.ino} has block pointers, not extents, so ${what}`;
    return new HoldfastError("EOPNOTSUPP", message);
  }

  /** Write access to a row's pointers. Those in the inode are being edited already. */
  #edit({ block }: PointerRow): void {
    if (block !== this.raw.block) this.transaction.edit(block, NO_SEAL);
  }
}

function setPointer({ block, at }: PointerRow, index: number, pointer: number): void {
  block.view.setUint32(at + POINTER_SIZE * index, pointer, true);
}

function isEmpty(row: PointerRow): boolean {
  for (let index = 0; index < row.count; index++) if (pointerAt(row, index) !== 0) return false;
  return true;
}
