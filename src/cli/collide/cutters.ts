/** The cutters: every way to change a file's layout, aimed at ranges that are under I/O. */
import { HUGE_PAGES, HUGE_SIZE } from "../../base/quantities.ts";
import type { Activity } from "./board.ts";
import { codeOf, type Lane } from "./context.ts";
import type { Files, OpenFile } from "./files.ts";
import { BLOCK_BYTES, type Side, STAMP_BYTES } from "./stamp.ts";

const BLOCKS_MAX = 48;
/** Every second cut goes where another lane is at work. */
const AIM_ONE_IN = 2;
/** Once in so many cuts there is a deadline, so that giving up is tried as well. */
const DEADLINE_ONE_IN = 12;

/** Once in so many cuts of the full mix the cut is aborted. */
const ABORT_ONE_IN = 10;

/** Ranges that hold the same are short. */
const DEDUPE_BLOCKS_MAX = 4;
/** Once in so many truncations much of the file goes. */
const DEEP_ONE_IN = 4;
/** Once in so many allocations a whole 2 MiB is asked for. */
const HUGE_ONE_IN = 4;

const CUTS = {
  truncate: 12,
  punch: 20,
  collapse: 12,
  insert: 10,
  zero: 12,
  allocate: 5,
  unlink: 1,
  rename: 2,
  create: 1,
  clone: 0,
  dedupe: 0,
  unshare: 0,
} as const;

/** What comes to it where files share blocks. */
const SHARING_CUTS = { ...CUTS, clone: 3, dedupe: 5, unshare: 4 } as const;

/** What a cut may meet: a full volume, our deadline, a range that is no longer in the file. */
const CUT_CODES = ["ENOSPC", "ETIMEDOUT", "EINVAL"];

/** A part of a file, in bytes. */
export interface CutRange {
  readonly start: number;
  readonly end: number;
}

/**
 * Moves the edges of a cut so that it never takes a stamp without its body (stamp.ts, rule 2): the
 * rule leaves one edge of the cut free in each half of the files.
 */
export function legalRange(side: Side, start: number, end: number): CutRange {
  const startBlock = Math.floor(start / BLOCK_BYTES);
  const endBlock = Math.floor(end / BLOCK_BYTES);
  const startWithin = start % BLOCK_BYTES;
  const endWithin = end % BLOCK_BYTES;
  if (side === "head") {
    const keepsStamp = startWithin === 0 || startWithin >= STAMP_BYTES;
    const legalStart = keepsStamp ? start : startBlock * BLOCK_BYTES;
    const sameBlock = startBlock === endBlock && legalStart % BLOCK_BYTES !== 0;
    return { start: legalStart, end: sameBlock || endWithin === 0 ? end : nextBlock(end) };
  }
  const keepsStamp = endWithin <= BLOCK_BYTES - STAMP_BYTES;
  const legalEnd = keepsStamp ? end : nextBlock(end);
  const sameBlock = startBlock === endBlock && legalEnd % BLOCK_BYTES !== 0;
  return { start: sameBlock ? start : startBlock * BLOCK_BYTES, end: legalEnd };
}

/** Where a truncation may end: it zeroes the rest of the last block. */
export function legalSize(side: Side, size: number): number {
  const within = size % BLOCK_BYTES;
  if (side === "head" && within >= STAMP_BYTES) return size;
  return size - within;
}

function nextBlock(byte: number): number {
  return (Math.floor(byte / BLOCK_BYTES) + 1) * BLOCK_BYTES;
}

interface Target {
  readonly name: number;
  readonly first: number;
  readonly count: number;
}

/** A range that some lane of any thread works on, or any range. */
export function chooseTarget(lane: Lane): Target {
  const { random, context } = lane;
  const { board, names, claims } = context;
  if (random.oneIn(AIM_ONE_IN)) {
    const seen = board.lane(random.below(board.threads * board.lanesPerThread));
    if (seen.count > 0 && seen.name < names.length) {
      const first = Math.max(0, seen.first + random.between(-4, seen.count));
      return { name: seen.name, first, count: random.between(1, BLOCKS_MAX) };
    }
  }
  return {
    name: random.below(names.length),
    first: random.below(claims.blocksMax),
    count: random.between(1, BLOCKS_MAX),
  };
}

const CUT_ACTIVITIES: ReadonlySet<Activity> = new Set<Activity>([
  "truncating",
  "punching a hole",
  "collapsing a range",
  "inserting a range",
  "zeroing a range",
]);

/** A range that a cutter of another thread changes now, or waits to change; null when none does. */
export function chooseCutTarget(lane: Lane): Target | null {
  const { board, setup } = lane.context;
  const lanes = board.threads * board.lanesPerThread;
  const start = lane.random.below(lanes);
  for (let step = 0; step < lanes; step++) {
    const index = (start + step) % lanes;
    if (Math.floor(index / board.lanesPerThread) === setup.thread) continue;
    const { activity, name, first, count } = board.lane(index);
    if (count > 0 && CUT_ACTIVITIES.has(activity)) {
      return { name, first: first + lane.random.below(count), count };
    }
  }
  return null;
}

export function cutterLane(files: Files): (lane: Lane) => Promise<void> {
  return async (lane) => {
    const kind = lane.random.weighted(lane.context.setup.shares ? SHARING_CUTS : CUTS);
    const target = chooseTarget(lane);
    const { names } = lane.context;
    if (kind === "unlink" || kind === "rename") {
      await cutName(lane, kind, target.name);
      return;
    }
    if (kind === "create") {
      await files.replace(lane, target.name);
      return;
    }
    const file = await files.take(lane, target.name);
    if (file === null) return;
    try {
      if (kind === "clone") await files.replace(lane, lane.random.below(names.length), file);
      else if (kind === "dedupe") await dedupe(lane, files, file, target);
      else await cut(lane, file, kind, target);
    } finally {
      await files.giveBack(lane, file);
    }
  };
}

/** Has a range of a file own the blocks of another one's, at the same place, if they hold the same. */
async function dedupe(lane: Lane, files: Files, file: OpenFile, target: Target): Promise<void> {
  const { random, context } = lane;
  const source = await files.take(lane, random.below(context.names.length));
  if (source === null) return;
  try {
    const sizes = [file, source].map(({ handle }) => handle.statSync().size);
    const blocks = Math.floor(Math.min(...sizes) / BLOCK_BYTES);
    const first = Math.min(target.first, blocks - 1);
    const count = Math.min(random.between(1, DEDUPE_BLOCKS_MAX), blocks - first);
    if (first < 0 || source.handle.ino === file.handle.ino) return;
    lane.enterRange(file.name, first, count);
    const [offset, length] = [first * BLOCK_BYTES, count * BLOCK_BYTES];
    const isSame = await lane.attempt("deduping a range", CUT_CODES, () =>
      file.handle.dedupeRange(source.handle, {
        sourceOffset: offset,
        offset,
        length,
        ...context.waits,
      }),
    );
    if (isSame === true) context.tally.countCut("dedupe");
  } finally {
    await files.giveBack(lane, source);
  }
}

async function cutName(lane: Lane, kind: "unlink" | "rename", name: number): Promise<void> {
  const { volume, names, tally } = lane.context;
  const other = lane.random.below(names.length);
  const done = await lane.attempt(
    kind === "unlink" ? "unlinking" : "renaming",
    ["ENOENT", "ENOSPC"],
    async () => {
      if (kind === "unlink") await volume.unlink(names[name]!);
      else await volume.rename(names[name]!, names[other]!);
      return true;
    },
  );
  if (done !== null) tally.countCut(kind);
}

const MODES = {
  punch: "punch-hole",
  collapse: "collapse-range",
  insert: "insert-range",
  zero: "zero-range",
  allocate: "allocate",
  unshare: "unshare-range",
} as const;

const ACTIVITY_OF: Readonly<Record<FileCut, Activity>> = {
  truncate: "truncating",
  punch: "punching a hole",
  collapse: "collapsing a range",
  insert: "inserting a range",
  zero: "zeroing a range",
  allocate: "allocating",
  unshare: "unsharing a range",
};

type FileCut = "truncate" | "punch" | "collapse" | "insert" | "zero" | "allocate" | "unshare";

async function cut(lane: Lane, file: OpenFile, kind: FileCut, target: Target): Promise<void> {
  const { random, context } = lane;
  const { size } = await file.handle.stat();
  const abort =
    context.setup.mix === "full" && random.oneIn(ABORT_ONE_IN) ? new AbortController() : null;
  const options = {
    signal:
      abort === null ? context.waits.signal : AbortSignal.any([context.waits.signal, abort.signal]),
    ...(random.oneIn(DEADLINE_ONE_IN) ? { timeoutMs: random.between(1, 20) } : {}),
  };
  const { handle } = file;
  const bytes = chooseRange(lane, file, kind, target, size);
  if (bytes === null) return;
  const { start, end } = bytes;
  const count = Math.max(1, Math.ceil((end - start) / BLOCK_BYTES));
  lane.enterRange(file.name, Math.floor(start / BLOCK_BYTES), count);
  const timer = abort && setTimeout(() => abort.abort(), random.below(8));
  await change(lane, kind, abort?.signal ?? null, () =>
    kind === "truncate"
      ? handle.truncate(start, options)
      : handle.fallocate(
          kind === "allocate" && random.oneIn(2) ? "keep-size" : MODES[kind],
          start,
          end - start,
          options,
        ),
  );
  if (timer !== null) clearTimeout(timer);
}

/** The bytes of a cut, or null when the file has none such. */
function chooseRange(
  lane: Lane,
  file: OpenFile,
  kind: FileCut,
  target: Target,
  size: number,
): CutRange | null {
  const { side } = file.mark;
  const { random, context } = lane;
  const sizeBlocks = Math.floor(size / BLOCK_BYTES);
  const limit = kind === "allocate" ? context.claims.blocksMax : sizeBlocks;
  const first = Math.min(target.first, Math.max(0, limit - 1));
  const count = Math.min(target.count, Math.max(1, limit - first));
  const start = first * BLOCK_BYTES;
  const end = start + count * BLOCK_BYTES;
  const ragged = random.oneIn(2);
  switch (kind) {
    case "truncate": {
      // Mostly a little off the end, so that files grow and the volume stays full.
      const block = random.oneIn(DEEP_ONE_IN) ? first : Math.max(0, sizeBlocks - target.count);
      const within = ragged ? random.below(BLOCK_BYTES) : 0;
      const to = legalSize(side, block * BLOCK_BYTES + within);
      return { start: to, end: to };
    }
    case "punch":
    case "zero": {
      if (limit === 0) return null;
      if (!ragged) return { start, end };
      const from = start + random.below(BLOCK_BYTES);
      return legalRange(side, from, from + random.between(1, end - start));
    }
    case "unshare":
      return limit === 0 ? null : { start, end };
    case "collapse":
      return end < size ? { start, end } : null;
    case "insert": {
      const fits = sizeBlocks + count <= context.claims.blocksMax;
      return fits && start < size ? { start, end } : null;
    }
    case "allocate":
      return random.oneIn(HUGE_ONE_IN) ? hugeRange(random.below(limit)) : { start, end };
  }
}

/** The 2 MiB around a block, aligned: what one huge entry can map. */
function hugeRange(block: number): CutRange {
  const start = (block - (block % HUGE_PAGES)) * BLOCK_BYTES;
  return { start, end: start + HUGE_SIZE };
}

/** Makes one change; a change that could not be made at once is counted among the waits. */
async function change(
  lane: Lane,
  kind: FileCut,
  abort: AbortSignal | null,
  operation: () => Promise<void>,
): Promise<void> {
  const { tally, explain } = lane.context;
  const startMs = performance.now();
  let isDone = false;
  let waited = false;
  const done = await lane.attempt(ACTIVITY_OF[kind], CUT_CODES, async () => {
    const running = operation().finally(() => {
      isDone = true;
    });
    running.catch(() => {});
    await settled();
    waited = !isDone;
    try {
      await running;
    } catch (error) {
      if (codeOf(error) !== "ABORT_ERR" || !abort?.aborted || explain.signal.aborted) throw error;
      tally.countTrouble("cutsAborted");
      return null;
    }
    return true;
  });
  if (waited) tally.waits.record(performance.now() - startMs);
  if (done !== null) tally.countCut(kind);
}

/** Lets promises that are resolved already have their turn. */
async function settled(): Promise<void> {
  for (let turns = 0; turns < 8; turns++) await null;
}
