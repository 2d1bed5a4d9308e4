/**
 * Free blocks: finding runs of them near a goal, taking them and giving them back.
 *
 * A search reads the descriptors' counts and looks only into bitmaps that can beat what it has. It
 * ends at the first run as long as was asked, and settles for the longest after a while. What is
 * given back can be taken again when the transaction that does so is durable (pending-frees.ts).
 */
import { HoldfastError } from "../../../base/errors.ts";
import { HUGE_SIZE } from "../../../base/quantities.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { clearBits, findClear, findRun, findSet, type Run, setBits } from "./bitmaps.ts";
import { addToCount, changeBlockBitmap, readBlockBitmap } from "./group-bitmaps.ts";
import { blocksInGroup, firstBlockOfGroup, getGroup, groupOfBlock, readGroup } from "./groups.ts";
import { sumOfGroups } from "./totals.ts";
import { type ExtVolume, noSpace, unownableBlock } from "../volume.ts";

/** Bitmaps looked into before a search settles for what it has; an aligned one, for nothing. */
const SEARCHED_BITMAPS_MAX = 64;

export interface BlockRequest {
  /** The device block the caller would like to begin at. */
  readonly goal: number;
  /** The goal fits the blocks the file has: a run there is taken however short it is. */
  readonly isGoalFitting?: boolean;
  /** Where the goal is taken, room for a file to grow: the run begins a free stretch this long. */
  readonly room?: number;
  /** Blocks wanted. The answer may be shorter, never longer. */
  readonly count: number;
  /** Of no use are blocks of groups that do not end before this. */
  readonly end?: number;
  /** Where to align large runs: the first file block they are for. */
  readonly fileBlock?: number;
}

/** Free blocks of the volume, counted only until `enough` are found. Throws: CorruptionError. */
export function countFreeBlocks(volume: ExtVolume, enough = Number.POSITIVE_INFINITY): number {
  const { clusterBlocks } = volume.facts;
  return sumOfGroups(volume, "freeBlocks", enough / clusterBlocks) * clusterBlocks;
}

/**
 * Takes a run of blocks. Their bytes on the device are whatever they were.
 * Throws: ENOSPC with nothing changed; CorruptionError.
 */
export function allocateBlocks(
  volume: ExtVolume,
  transaction: Transaction,
  request: BlockRequest,
): Run {
  const { firstDataBlock, blocks, blocksPerGroup } = volume.facts;
  const end = Math.min(blocks, firstDataBlock + groupsFor(volume, request) * blocksPerGroup);
  const isGoalUsable = request.goal >= firstDataBlock && request.goal < end;
  const goal = isGoalUsable ? request.goal : firstDataBlock;
  const alignment = alignmentFor(volume, request);
  const isGoalTried = request.isGoalFitting === true && isGoalUsable;
  const run =
    (isGoalTried ? runAtGoal(volume, request, alignment) : null) ??
    (alignment > 1 ? search(volume, goal, request, alignment) : null) ??
    searchRoom(volume, goal, request) ??
    search(volume, goal, request, 1);
  if (run === null) throw noSpace("block");
  const backed = runWithStorage(volume, run);
  takeBlocks(volume, transaction, backed);
  return backed;
}

/**
 * As much of a run, from its start on, as can be stored to: of a sparse image whose filesystem is full, that may be
 * less. Throws: ENOSPC when it is nothing.
 */
function runWithStorage({ storage, blockSize }: ExtVolume, { start, count }: Run): Run {
  for (;;) {
    try {
      storage?.reserve(start * blockSize, count * blockSize);
      return { start, count };
    } catch (error) {
      const isFull = error instanceof HoldfastError && error.code === "ENOSPC";
      if (!isFull || count === 1) throw error;
      count = Math.floor(count / 2);
    }
  }
}

/** How many groups, from the first on, have blocks of use. */
function groupsFor({ facts }: ExtVolume, { end = Number.POSITIVE_INFINITY }: BlockRequest): number {
  return Math.min(facts.groups, Math.floor((end - facts.firstDataBlock) / facts.blocksPerGroup));
}

/** Blocks to which the run should be aligned: those of 2 MiB, for requests of 2 MiB or more. */
function alignmentFor(volume: ExtVolume, request: BlockRequest): number {
  const huge = HUGE_SIZE / volume.blockSize;
  return volume.blockSize === 4096 && request.fileBlock !== undefined && request.count >= huge
    ? huge
    : 1;
}

/** The free run that starts at the goal itself, if it is aligned as it should be. */
function runAtGoal(volume: ExtVolume, request: BlockRequest, alignment: number): Run | null {
  const { goal, count } = request;
  if (((request.fileBlock ?? 0) - goal) % alignment !== 0) return null;
  const group = groupOfBlock(volume, goal);
  const first = firstBlockOfGroup(volume, group);
  const words = allocatableBitmap(volume, group);
  const limit = Math.min(blocksInGroup(volume, group), goal - first + count);
  const end = findSet(words, goal - first, limit);
  return end > goal - first ? { start: goal, count: end - (goal - first) } : null;
}

/**
 * A group's block bitmap, in which freed blocks count as used until nobody can want them back. It is good until that
 * of another group is asked for.
 */
export function allocatableBitmap(volume: ExtVolume, group: number): Uint32Array {
  const words = readBlockBitmap(volume, group);
  return volume.pendingFrees?.mask(group, words) ?? words;
}

/** The start of a free stretch of `room` blocks, aligned to its length, else null. */
function searchRoom(volume: ExtVolume, goal: number, request: BlockRequest): Run | null {
  const { room = 1, count } = request;
  if (room <= count) return null;
  const stretch = search(volume, goal, { ...request, count: room, fileBlock: 0 }, room);
  return stretch === null ? null : { start: stretch.start, count };
}

/** The first run long enough, from the goal's group on, else the longest one seen, else null. */
function search(
  volume: ExtVolume,
  goal: number,
  request: BlockRequest,
  alignment: number,
): Run | null {
  const groups = groupsFor(volume, request);
  const goalGroup = groupOfBlock(volume, goal);
  let best: Run | null = null;
  let searched = 0;
  for (let step = 0; step < groups; step++) {
    const group = (goalGroup + step) % groups;
    const free = getGroup(volume, readGroup(volume, group), "freeBlocks");
    if (free <= (best?.count ?? 0) || (alignment > 1 && free < alignment)) continue;
    const from = step === 0 ? goal - firstBlockOfGroup(volume, group) : 0;
    const run = searchGroup(volume, group, from, request, alignment);
    if (run !== null && run.count > (best?.count ?? 0)) best = run;
    searched++;
    const mayStop = best !== null || alignment > 1;
    if (best?.count === request.count || (mayStop && searched >= SEARCHED_BITMAPS_MAX)) break;
  }
  return best;
}

/** The best run of a group: after bit `from`, or in the whole group where that is longer. */
function searchGroup(
  volume: ExtVolume,
  group: number,
  from: number,
  request: BlockRequest,
  alignment: number,
): Run | null {
  const words = allocatableBitmap(volume, group);
  const limit = blocksInGroup(volume, group);
  const first = firstBlockOfGroup(volume, group);
  const difference = ((request.fileBlock ?? 0) - first) % alignment;
  const align =
    alignment > 1 ? { phase: (difference + alignment) % alignment, alignment } : undefined;
  let run = findRun(words, from, limit, request.count, align);
  if (from > 0 && run?.count !== request.count) {
    const other = findRun(words, 0, limit, request.count, align);
    if (other !== null && other.count > (run?.count ?? 0)) run = other;
  }
  return run === null ? null : { start: first + run.start, count: run.count };
}

/** Marks a free run as used. Throws: CorruptionError when it holds the volume's own structures. */
function takeBlocks(volume: ExtVolume, transaction: Transaction, run: Run): void {
  assertOwnable(volume, run, "is free in its block bitmap");
  const group = groupOfBlock(volume, run.start);
  const from = run.start - firstBlockOfGroup(volume, group);
  changeBlockBitmap(volume, transaction, group, (bitmap) => {
    setBits(bitmap.words, from, from + run.count);
    addToCount(volume, bitmap, "freeBlocks", -run.count);
  });
}

/**
 * Gives blocks back; they may lie in several groups. Those that held metadata must be revoked too.
 * Throws: CorruptionError when one of them is free already or cannot belong to a file.
 */
export function freeBlocks(volume: ExtVolume, transaction: Transaction, run: Run): void {
  assertOwnable(volume, run, "is owned by a file");
  const end = run.start + run.count;
  let start = run.start;
  while (start < end) {
    const group = groupOfBlock(volume, start);
    const first = firstBlockOfGroup(volume, group);
    const stop = Math.min(end, first + blocksInGroup(volume, group));
    const [from, to] = [start - first, stop - first];
    changeBlockBitmap(volume, transaction, group, (bitmap) => {
      const clear = findClear(bitmap.words, from, to);
      if (clear !== to) {
        const where = { block: bitmap.group.block, at: bitmap.group.at };
        const expected = `but a file owns block ${first + clear}`;
        throw volume.damage(where, { name: "block bitmap" }, `bit ${clear}`, 0, expected);
      }
      volume.pendingFrees?.note(group, from, to);
      clearBits(bitmap.words, from, to);
      addToCount(volume, bitmap, "freeBlocks", to - from);
    });
    start = stop;
  }
}

function assertOwnable(volume: ExtVolume, run: Run, claim: string): void {
  if (volume.isOwnable(run.start, run.count)) return;
  throw unownableBlock(volume, run.start, claim);
}
