/**
 * Where the structures of each group lie, and which blocks they take.
 *
 * With flex_bg the bitmaps and tables of 16 groups lie together in the first of them: all block bitmaps, all
 * inode bitmaps, all tables. Where copies of the superblock are in the way a table goes behind them.
 * Otherwise each group has its own, behind the copies.
 */
import { HoldfastError } from "../../../base/errors.ts";
import { blocksInGroup, firstBlockOfGroup, headBlocks } from "../space/groups.ts";
import { BlockRanges, type BlockRun } from "./block-ranges.ts";
import type { Geometry } from "./geometry.ts";

export class Layout {
  readonly geometry: Geometry;
  /** The first group that is laid out: 0, or the first of those that a volume grows by. */
  readonly first: number;
  readonly used = new BlockRanges();
  /** By group, from the first on: a block each. */
  readonly blockBitmaps: Float64Array;
  readonly inodeBitmaps: Float64Array;
  readonly inodeTables: Float64Array;
  /** Blocks of all of them, and of superblocks and descriptors. */
  structureBlocks = 0;

  /** Throws: ENOSPC when the structures do not fit. */
  constructor(geometry: Geometry, first = 0) {
    const { groups, flexGroups } = geometry;
    this.geometry = geometry;
    this.first = first;
    this.blockBitmaps = new Float64Array(groups - first);
    this.inodeBitmaps = new Float64Array(groups - first);
    this.inodeTables = new Float64Array(groups - first);
    for (let from = first; from < groups; ) {
      const end = Math.min(from - (from % flexGroups) + flexGroups, groups);
      this.#placeTogether(from, end);
      from = end;
    }
  }

  /** The first block of a group, and the one after its last. */
  boundsOf(group: number): { readonly from: number; readonly to: number } {
    const at = { facts: this.geometry };
    const from = firstBlockOfGroup(at, group);
    return { from, to: from + blocksInGroup(at, group) };
  }

  /** Places the structures of groups [first, end). */
  #placeTogether(first: number, end: number): void {
    const { flexGroups, tableBlocks } = this.geometry;
    const bounds = { from: this.boundsOf(first).from, to: this.boundsOf(end - 1).to };
    for (let group = first; group < end; group++) {
      const head = headBlocks({ facts: this.geometry }, group);
      this.used.add(this.boundsOf(group).from, head);
      this.structureBlocks += head + 2 + tableBlocks;
    }
    // A flexible group of one group leaves room for those that growing the volume would add.
    const room = end - first === 1 ? flexGroups : end - first;
    const start = this.used.firstFree(bounds.from, bounds.to)?.start ?? bounds.from;
    let table = start + 2 * room;
    for (let group = first; group < end; group++) {
      const index = group - first;
      const slot = group - this.first;
      this.blockBitmaps[slot] = this.#place(start + index, 1, bounds);
      this.inodeBitmaps[slot] = this.#place(start + room + index, 1, bounds);
      this.inodeTables[slot] = this.#place(table, tableBlocks, bounds);
      table = this.inodeTables[slot]! + tableBlocks;
    }
  }

  /** Takes `count` blocks at `wanted`, else where they first fit. */
  #place(wanted: number, count: number, { from, to }: { from: number; to: number }): number {
    const start =
      this.used.findFree(wanted, Math.min(wanted + count, to), count) ??
      this.used.findFree(from, to, count) ??
      this.used.findFree(this.boundsOf(this.first).from, to, count);
    if (start === null) throw noRoom("the inode tables and bitmaps");
    this.used.add(start, count);
    return start;
  }

  /**
   * Takes `count` free blocks, in runs: the first ones from `goal` on, then from the volume's start.
   * Throws: ENOSPC. `what` they are for.
   */
  take(goal: number, count: number, what: string): BlockRun[] {
    const { blocks, firstDataBlock } = this.geometry;
    const runs: BlockRun[] = [];
    let [at, end] = [goal, blocks];
    for (let left = count; left > 0; ) {
      const run = this.used.firstFree(at, end);
      if (run === null) {
        if (end !== blocks || at <= firstDataBlock) throw noRoom(what);
        [at, end] = [firstDataBlock, goal];
        continue;
      }
      const taken = { start: run.start, count: Math.min(run.count, left) };
      this.used.add(taken.start, taken.count);
      runs.push(taken);
      left -= taken.count;
      at = taken.start + taken.count;
    }
    return runs;
  }

  freeBlocksOf(group: number): number {
    const { from, to } = this.boundsOf(group);
    return to - from - this.#usedOf(group);
  }

  #usedOf(group: number): number {
    const { from, to } = this.boundsOf(group);
    return this.used.usedWithin(from, to).reduce((sum, { count }) => sum + count, 0);
  }

  /** Whether nothing lies in a group but its own structures: its block bitmap need not be written. */
  holdsOnlyItsOwn(group: number): boolean {
    const { from, to } = this.boundsOf(group);
    const within = (start: number, count: number): number =>
      Math.max(0, Math.min(start + count, to) - Math.max(start, from));
    const slot = group - this.first;
    const own =
      headBlocks({ facts: this.geometry }, group) +
      within(this.blockBitmaps[slot]!, 1) +
      within(this.inodeBitmaps[slot]!, 1) +
      within(this.inodeTables[slot]!, this.geometry.tableBlocks);
    return this.#usedOf(group) === own;
  }
}

function noRoom(what: string): HoldfastError {
  return new HoldfastError(
    "ENOSPC",
    `the volume has no room for ${what}; make it larger, or with fewer inodes or a smaller journal`,
  );
}
