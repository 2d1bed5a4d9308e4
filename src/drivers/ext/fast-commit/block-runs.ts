/**
 * Runs of blocks as sets, and what the block bitmaps say of them. Sorted runs begin in order, and neither overlap
 * nor touch.
 */
import type { Transaction } from "../../../metadata/transaction.ts";
import { clearBits, findClear, findSet, type Run, setBits } from "../space/bitmaps.ts";
import { addToCount, changeBlockBitmap, readBlockBitmap } from "../space/group-bitmaps.ts";
import { blocksInGroup, firstBlockOfGroup, groupOfBlock } from "../space/groups.ts";
import { type ExtVolume, unownableBlock } from "../volume.ts";

/** All blocks of the runs. */
export function sortRuns(runs: readonly Run[]): Run[] {
  const sorted: Run[] = [];
  for (const run of runs.toSorted((a, b) => a.start - b.start)) {
    const last = sorted.at(-1);
    if (last === undefined || run.start > last.start + last.count) sorted.push(run);
    else {
      const end = Math.max(last.start + last.count, run.start + run.count);
      sorted[sorted.length - 1] = { start: last.start, count: end - last.start };
    }
  }
  return sorted;
}

/** The blocks of `runs` that are not in `others`; both are sorted. */
export function runsWithout(runs: readonly Run[], others: readonly Run[]): Run[] {
  const left: Run[] = [];
  let index = 0;
  for (const { start, count } of runs) {
    const end = start + count;
    let from = start;
    while (index < others.length && others[index]!.start + others[index]!.count <= from) index++;
    for (let next = index; next < others.length && others[next]!.start < end; next++) {
      const other = others[next]!;
      if (other.start > from) left.push({ start: from, count: other.start - from });
      from = Math.max(from, other.start + other.count);
    }
    if (from < end) left.push({ start: from, count: end - from });
  }
  return left;
}

/** A part of a run that lies in one group. */
interface GroupRun {
  readonly group: number;
  /** Bits of its bitmap: [from, to). */
  readonly from: number;
  readonly to: number;
}

/** A run, group by group. Throws: CorruptionError where no file can have its blocks. */
function* partsOf(volume: ExtVolume, { start, count }: Run): Generator<GroupRun, void, void> {
  if (!volume.isOwnable(start, count)) throw unownableBlock(volume, start, "a file owns");
  for (let block = start; block < start + count; ) {
    const group = groupOfBlock(volume, block);
    const first = firstBlockOfGroup(volume, group);
    const end = Math.min(start + count, first + blocksInGroup(volume, group));
    yield { group, from: block - first, to: end - first };
    block = end;
  }
}

/** The first block of a run that its block bitmap says is used, or null. Throws: CorruptionError. */
export function firstUsedBlock(volume: ExtVolume, run: Run): number | null {
  for (const { group, from, to } of partsOf(volume, run)) {
    const bit = findSet(readBlockBitmap(volume, group), from, to);
    if (bit < to) return firstBlockOfGroup(volume, group) + bit;
  }
  return null;
}

/** Has the block bitmaps say that blocks are used, or free; whatever they said. Throws: CorruptionError. */
export function markBlocks(
  volume: ExtVolume,
  transaction: Transaction,
  runs: readonly Run[],
  isUsed: boolean,
): void {
  for (const run of runs) {
    for (const part of partsOf(volume, run)) markInGroup(volume, transaction, part, isUsed);
  }
}

/** A bitmap that says so already is not changed. */
function markInGroup(
  volume: ExtVolume,
  transaction: Transaction,
  { group, from, to }: GroupRun,
  isUsed: boolean,
): void {
  const findOther = isUsed ? findClear : findSet;
  const findSame = isUsed ? findSet : findClear;
  let bit = findOther(readBlockBitmap(volume, group), from, to);
  if (bit === to) return;
  changeBlockBitmap(volume, transaction, group, (bitmap) => {
    while (bit < to) {
      const end = findSame(bitmap.words, bit, to);
      if (isUsed) setBits(bitmap.words, bit, end);
      else clearBits(bitmap.words, bit, end);
      addToCount(volume, bitmap, "freeBlocks", isUsed ? bit - end : end - bit);
      bit = findOther(bitmap.words, end, to);
    }
  });
}
