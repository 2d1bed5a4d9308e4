/**
 * Free blocks: finding runs of them near a goal, taking them and giving them back. Files that grow get room for it
 * (growth-rooms.ts); docs/allocation.md tells how blocks are chosen.
 *
 * A search reads the descriptors' counts and looks only into bitmaps that can beat what it has. It
 * ends at the first run as long as was asked, and settles for the longest after a while. What is
 * given back can be taken again when the transaction that does so is durable (pending-frees.ts).
 */
import { HoldfastError } from "../../../base/errors.ts";
import { HUGE_SIZE, type Ino } from "../../../base/quantities.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { clearBits, findClear, findRun, findSet, type Run, setBits } from "./bitmaps.ts";
import { addToCount, changeBlockBitmap, readBlockBitmap } from "./group-bitmaps.ts";
import { blocksInGroup, firstBlockOfGroup, getGroup, groupOfBlock, readGroup } from "./groups.ts";
import { freeTotal } from "./free-blocks.ts";
import { type ExtVolume, noSpace, unownableBlock } from "../volume.ts";

/** Bitmaps looked into before a search settles for what it has; an aligned one, for nothing. */
const SEARCHED_BITMAPS_MAX = 64;
/** Room for a file to grow: blocks at least, bytes at most, and in a group, and of what is free, so many at least. */
const ROOM_MIN = 16;
const ROOM_BYTES_MAX = 8 * 2 ** 20;
const ROOMS_PER_GROUP = 8;
const ROOMS_OF_FREE = 32;
/** Where there is no room of a size, one that is so many times smaller is looked for. */
const ROOM_STEP = 8;

export interface BlockRequest {
  /** The device block the caller would like to begin at. */
  readonly goal: number;
  /** The goal fits the blocks the file has: a run there is taken however short it is. */
  readonly isGoalFitting?: boolean;
  /** Blocks wanted. The answer may be shorter, never longer. */
  readonly count: number;
  /** Of no use are blocks of groups that do not end before this. */
  readonly end?: number;
  /** The first file block they are for, by which large runs, and room to grow, are aligned. */
  readonly fileBlock?: number;
  /** The file they are for, whose room to grow is used. */
  readonly ino?: Ino;
  /** It grows at its end: what is free behind the run is kept for it. */
  readonly isGrowing?: boolean;
}

/** A request, while blocks are looked for. */
interface Search {
  readonly volume: ExtVolume;
  readonly request: BlockRequest;
  /** Inside the volume. */
  readonly goal: number;
  /** How many groups, from the first on, have blocks of use. */
  readonly groups: number;
  /** Whether others' room to grow is left to them: that which was found when the search began. */
  isSparing: boolean;
  /** The group whose bitmap was looked into last, -1: none, and that bitmap. */
  group: number;
  words: Uint32Array;
}

const NO_WORDS = new Uint32Array(0);

/**
 * Takes a run of blocks. Their bytes on the device are whatever they were.
 * Throws: ENOSPC with nothing changed; CorruptionError.
 */
export function allocateBlocks(
  volume: ExtVolume,
  transaction: Transaction,
  request: BlockRequest,
): Run {
  const found = inOwnRoom(volume, request) ?? find(volume, request);
  if (found === null) throw noSpace("block");
  const count = Math.min(found.count, request.count);
  const run = runWithStorage(volume, { start: found.start, count });
  takeBlocks(volume, transaction, run);
  if (request.ino !== undefined && request.isGrowing === true) {
    const group = groupOfBlock(volume, run.start);
    const first = firstBlockOfGroup(volume, group);
    const [from, to] = [run.start + run.count - first, found.start + found.count - first];
    volume.growthRooms?.keep(request.ino, group, from, to);
  }
  return run;
}

/** The file's own room, from the goal on, if that is in it and all that is wanted is free there; else null. */
function inOwnRoom(volume: ExtVolume, request: BlockRequest): Run | null {
  const { goal, count, ino } = request;
  const { growthRooms } = volume;
  if (ino === undefined || growthRooms === null) return null;
  if (request.isGrowing !== true || request.isGoalFitting !== true) return null;
  const group = groupOfBlock(volume, goal);
  const from = goal - firstBlockOfGroup(volume, group);
  const to = growthRooms.endOf(ino, group, from);
  if (to < from + count) return null;
  const isFree = findSet(committedBitmap(volume, group), from, from + count) === from + count;
  return isFree ? { start: goal, count: to - from } : null;
}

/**
 * A run for a request, and behind it the room that is found for a file that grows. Others' room is spared: until
 * nothing else is found, and as long as it is not most of what is free.
 */
function find(volume: ExtVolume, request: BlockRequest): Run | null {
  const { firstDataBlock, blocks, blocksPerGroup } = volume.facts;
  const groups = groupsFor(volume, request);
  const end = Math.min(blocks, firstDataBlock + groups * blocksPerGroup);
  const isGoalUsable = request.goal >= firstDataBlock && request.goal < end;
  const goal = isGoalUsable ? request.goal : firstDataBlock;
  const free = freeTotal(volume);
  const kept = volume.growthRooms?.survey(request.ino ?? 0) ?? 0;
  const isSparing = kept > 0 && kept <= free / 2;
  const search: Search = { volume, request, goal, groups, isSparing, group: -1, words: NO_WORDS };
  const size = roomSize(volume, request, free);
  const isGoalTried = request.isGoalFitting === true && isGoalUsable;
  const run = findFor(search, size, isGoalTried);
  if (run !== null || !isSparing) return run;
  search.isSparing = false;
  search.group = -1;
  return findFor(search, size, isGoalTried);
}

/** As `find`. `size`: of the room. */
function findFor(search: Search, size: number, isGoalTried: boolean): Run | null {
  const { volume, request, goal } = search;
  const { count, fileBlock = 0, isGoalFitting = false, isGrowing } = request;
  const wanted = Math.max(count, roomFrom(fileBlock, size));
  const alignment = alignmentFor(volume, request, isGrowing === true ? wanted : count);
  const near = isGoalTried ? runAtGoal(search, wanted) : null;
  const isAligned = (fileBlock - goal) % alignment === 0;
  if (near !== null && isAligned && (alignment === 1 || near.count === wanted)) return near;
  if (alignment > 1) {
    const aligned = searchRun(search, wanted, alignment);
    if (aligned !== null) return aligned;
  }
  if (near !== null && (alignment === 1 || near.count >= count)) return near;
  if (isGoalFitting) {
    const stretch = searchRoom(search, alignment > 1 ? size / ROOM_STEP : size);
    if (stretch !== null) return stretch;
  }
  const run = searchRun(search, count, 1);
  return run === null ? null : withRoom(search, run, wanted);
}

/**
 * Of the room that a file's next blocks get, a power of two: as much as the file has already, or the next one where it
 * has nearly that, and no more than a small part of what is free, so that many files have theirs. 1: none.
 */
function roomSize(volume: ExtVolume, { fileBlock, isGrowing }: BlockRequest, free: number): number {
  if (fileBlock === undefined || (isGrowing !== true && fileBlock < ROOM_MIN)) return 1;
  const { blockSize, facts } = volume;
  const most = Math.min(
    ROOM_BYTES_MAX / blockSize,
    facts.blocksPerGroup / ROOMS_PER_GROUP,
    free / ROOMS_OF_FREE,
  );
  if (most < ROOM_MIN) return 1;
  return 2 ** Math.floor(Math.log2(Math.min(Math.max((fileBlock * 4) / 3, ROOM_MIN), most)));
}

/** Blocks of a room for file block `fileBlock`: to where the file's next room of this size begins, or the one behind. */
function roomFrom(fileBlock: number, size: number): number {
  const room = size - (fileBlock % size);
  return 2 * room < size ? room + size : room;
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

/** Blocks to which the run should be aligned: those of 2 MiB, for runs of 2 MiB or more. */
function alignmentFor(volume: ExtVolume, request: BlockRequest, wanted: number): number {
  const huge = HUGE_SIZE / volume.blockSize;
  return volume.blockSize === 4096 && request.fileBlock !== undefined && wanted >= huge ? huge : 1;
}

/** The free run that starts at the goal itself. */
function runAtGoal(search: Search, wanted: number): Run | null {
  const { volume, goal } = search;
  const group = groupOfBlock(volume, goal);
  const first = firstBlockOfGroup(volume, group);
  const words = allocatableBitmap(search, group);
  const limit = Math.min(blocksInGroup(volume, group), goal - first + wanted);
  const end = findSet(words, goal - first, limit);
  return end > goal - first ? { start: goal, count: end - (goal - first) } : null;
}

/** A run that was found, longer where what follows is free, up to `wanted` blocks. */
function withRoom(search: Search, { start, count }: Run, wanted: number): Run {
  if (count < search.request.count || count >= wanted) return { start, count };
  const { volume } = search;
  const group = groupOfBlock(volume, start);
  const from = start - firstBlockOfGroup(volume, group);
  const limit = Math.min(blocksInGroup(volume, group), from + wanted);
  return { start, count: findSet(allocatableBitmap(search, group), from + count, limit) - from };
}

/**
 * A group's block bitmap, in which freed blocks count as used until nobody can want them back. It is good until that
 * of another group is asked for.
 */
export function committedBitmap(volume: ExtVolume, group: number): Uint32Array {
  const words = readBlockBitmap(volume, group);
  return volume.pendingFrees?.mask(group, words) ?? words;
}

/** The same, in which others' room counts as used, too, where that is spared. */
function allocatableBitmap(search: Search, group: number): Uint32Array {
  if (search.group === group) return search.words;
  const { volume, isSparing } = search;
  const committed = committedBitmap(volume, group);
  const rooms = isSparing ? volume.growthRooms : null;
  search.words = rooms?.mask(group, committed) ?? committed;
  search.group = group;
  return search.words;
}

/** A free stretch, aligned in the file and on the device alike, as room of this size, or of a smaller one; else null. */
function searchRoom(search: Search, sizeMax: number): Run | null {
  const { fileBlock = 0, count } = search.request;
  for (let size = sizeMax; size >= ROOM_MIN; size /= ROOM_STEP) {
    const room = roomFrom(fileBlock, size);
    if (room < count) return null;
    const stretch = searchRun(search, room, size);
    if (stretch !== null) return stretch;
  }
  return null;
}

/** The first run long enough, from the goal's group on, else the longest one seen, else null. */
function searchRun(search: Search, wanted: number, alignment: number): Run | null {
  const { volume, goal, groups } = search;
  const goalGroup = groupOfBlock(volume, goal);
  let best: Run | null = null;
  let searched = 0;
  for (let step = 0; step < groups; step++) {
    const group = (goalGroup + step) % groups;
    const free = getGroup(volume, readGroup(volume, group), "freeBlocks");
    if (free <= (best?.count ?? 0) || (alignment > 1 && free < alignment)) continue;
    const from = step === 0 ? goal - firstBlockOfGroup(volume, group) : 0;
    const run = searchGroup(search, group, from, wanted, alignment);
    if (run !== null && run.count > (best?.count ?? 0)) best = run;
    searched++;
    const mayStop = best !== null || alignment > 1;
    if (best?.count === wanted || (mayStop && searched >= SEARCHED_BITMAPS_MAX)) break;
  }
  return best;
}

/** The best run of a group: after bit `from`, or in the whole group where that is longer. */
function searchGroup(
  search: Search,
  group: number,
  from: number,
  wanted: number,
  alignment: number,
): Run | null {
  const { volume, request } = search;
  const words = allocatableBitmap(search, group);
  const limit = blocksInGroup(volume, group);
  const first = firstBlockOfGroup(volume, group);
  const difference = ((request.fileBlock ?? 0) - first) % alignment;
  const align =
    alignment > 1 ? { phase: (difference + alignment) % alignment, alignment } : undefined;
  let run = findRun(words, from, limit, wanted, align);
  if (from > 0 && run?.count !== wanted) {
    const other = findRun(words, 0, limit, wanted, align);
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
