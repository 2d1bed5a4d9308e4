/**
 * Runs of blocks as sets, and what the block bitmaps say of them. Sorted runs begin in order, and neither overlap
 * nor touch.
 */
import type { Transaction } from "../../../metadata/transaction.ts";
import { clearBits, findClear, findSet, type Run, setBits } from "../bitmaps.ts";
import { addToCount, changeBlockBitmap, readBlockBitmap } from "../group-bitmaps.ts";
import { blocksInGroup, firstBlockOfGroup, groupOfBlock } from "../groups.ts";
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

/** Has the block bitmaps say that blocks are used, or free; whatever they said. Throws: CorruptionError. */
export function markBlocks(
  volume: ExtVolume,
  transaction: Transaction,
  runs: readonly Run[],
  isUsed: boolean,
): void {
  for (const { start, count } of runs) {
    if (!volume.isOwnable(start, count)) throw unownableBlock(volume, start, "a file owns");
    for (let from = start; from < start + count; ) {
      const group = groupOfBlock(volume, from);
      const first = firstBlockOfGroup(volume, group);
      const to = Math.min(start + count, first + blocksInGroup(volume, group));
      markInGroup(volume, transaction, group, from - first, to - first, isUsed);
      from = to;
    }
  }
}

/** Bits [from, to) of a group's bitmap. One that says so already is not changed. */
function markInGroup(
  volume: ExtVolume,
  transaction: Transaction,
  group: number,
  from: number,
  to: number,
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
