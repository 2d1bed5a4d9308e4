/**
 * Discarding free blocks, on request and as they become free: when, and for how long others wait for it. What may be
 * discarded is the driver's to say (iomap/contract.ts, Discarding).
 *
 * A part holds the volume's transaction while the device works, for some milliseconds. Behind each, who works steps
 * back for PAUSE_MS, so that others get it.
 */
import { setTimeout } from "node:timers/promises";
import { AbortError, type ErrorContext, HoldfastError } from "../base/errors.ts";
import type { DiscardedPart, Discarding, DiscardRange } from "../iomap/contract.ts";
import { takeTransaction } from "../metadata/transaction.ts";
import { load, sleepWhile } from "../sync/atomics.ts";
import { runAsync } from "../sync/runners.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { checkInteger, wrongType } from "./arguments.ts";
import type { Operation, VolumeCore } from "./core.ts";
import { Scope } from "./paths.ts";

const PAUSE_MS = 1;

export interface TrimProgress {
  /** Bytes of the volume that were looked at, of so many. */
  readonly done: number;
  readonly total: number;
  /** Bytes discarded. */
  readonly discarded: number;
}

/** As the system's FITRIM has them: bytes of the volume. */
export interface TrimOptions {
  /** The first byte to look at. Default 0. */
  readonly start?: number;
  /** How many. Default: to the volume's end. */
  readonly length?: number;
  /** Runs of free blocks that are shorter are left alone. Default 0. */
  readonly minimum?: number;
  /** Ends it with an AbortError: what was discarded is. */
  readonly signal?: AbortSignal;
  /** Told after each part, of some milliseconds. */
  readonly onProgress?: (progress: TrimProgress) => void;
}

/** One trim on its way. */
class Trim {
  readonly #core: VolumeCore;
  readonly #discarding: Discarding;
  readonly #range: DiscardRange;
  readonly #options: TrimOptions;
  #cursor: number | null = 0;
  discarded = 0;

  /** Throws: EOPNOTSUPP where the volume or its device does not discard, EROFS, EINVAL; for wrong options. */
  constructor(core: VolumeCore, options: TrimOptions) {
    if (typeof options !== "object" || options === null) {
      throw wrongType("options", "an object", options);
    }
    const { start = 0, length = Number.POSITIVE_INFINITY, minimum = 0, onProgress } = options;
    checkInteger("options.start", start);
    if (length !== Number.POSITIVE_INFINITY) checkInteger("options.length", length);
    checkInteger("options.minimum", minimum);
    if (onProgress !== undefined && typeof onProgress !== "function") {
      throw wrongType("options.onProgress", "a function", onProgress);
    }
    core.assertWritable();
    const { device } = core.dax;
    const { blockSize, discarding, type } = core.driver;
    if (discarding === null) {
      throw new HoldfastError("EOPNOTSUPP", `free space of a ${type} volume is not discarded`);
    }
    if (start >= device.size || length < blockSize) {
      const what = `[${start}, ${start + length}) holds no block of the device of ${device.size} bytes`;
      throw new HoldfastError("EINVAL", what);
    }
    device.assertReleases();
    this.#core = core;
    this.#discarding = discarding;
    this.#range = { start, end: Math.min(start + length, device.size), minimum };
    this.#options = options;
  }

  get isDone(): boolean {
    return this.#cursor === null;
  }

  /** The next part. */
  part(): Operation<void> {
    const core = this.#core;
    return function* (this: Trim, task: Task): Sleeps<void> {
      using scope = new Scope(core, task);
      yield* scope.root(); // which keeps the volume mounted
      core.assertWritable();
      using transaction = yield* takeTransaction(task, core.cache);
      const cursor = this.#cursor ?? 0;
      const part = this.#discarding.discardFree(transaction, this.#range, cursor);
      this.discarded += part.bytes;
      this.#cursor = part.cursor;
    }.bind(this);
  }

  /** After a part. Throws: AbortError. */
  tell(): void {
    const { signal, onProgress } = this.#options;
    const { start, end } = this.#range;
    const done = (this.#cursor ?? end) - start;
    onProgress?.({ done: Math.max(done, 0), total: end - start, discarded: this.discarded });
    if (signal?.aborted) throw new AbortError(undefined, signal.reason);
  }
}

/** See Volume.trim. */
export async function trim(
  core: VolumeCore,
  context: ErrorContext,
  options: TrimOptions,
): Promise<number> {
  const run = await core.runAsync(context, function* () {
    return new Trim(core, options);
  });
  await core.persistMetadata(context);
  while (!run.isDone) {
    await core.runAsync(context, run.part());
    run.tell();
    if (!run.isDone) await setTimeout(PAUSE_MS);
  }
  return run.discarded;
}

/** As `trim`, blocking. */
export function trimSync(core: VolumeCore, context: ErrorContext, options: TrimOptions): number {
  const run = core.runSync(context, function* () {
    return new Trim(core, options);
  });
  core.persistMetadataSync(context);
  const { words } = core.thread;
  while (!run.isDone) {
    core.runSync(context, run.part());
    run.tell();
    // Nobody changes the region's first word.
    if (!run.isDone) sleepWhile(words, 0, load(words, 0), PAUSE_MS);
  }
  return run.discarded;
}

/** Discards some of what durable transactions have freed. Sleeps: for the transaction, and in the device. */
function* discardFreedPart(task: Task, core: VolumeCore, cursor: number): Sleeps<DiscardedPart> {
  const { discarding } = core.driver;
  try {
    using transaction = yield* takeTransaction(task, core.cache);
    if (discarding?.discardsFreed) return discarding.discardFreed(transaction, cursor);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    // Nothing is lost but room below: no operation fails for it.
    discarding?.endDiscards();
    if (!core.dax.device.isGone) {
      error.message += "; freed blocks are not discarded any more";
      process.emitWarning(error);
    }
  }
  return { bytes: 0, cursor: null };
}

/** Where the mount has asked for it: discards what durable transactions have freed. Sleeps: as its parts. */
export function* discardFreed(task: Task, core: VolumeCore): Sleeps<void> {
  if (!core.driver.discarding?.discardsFreed) return;
  for (let cursor: number | null = 0; cursor !== null; ) {
    ({ cursor } = yield* discardFreedPart(task, core, cursor));
  }
}

/** As `discardFreed`, on the event loop, which turns between the parts: until the volume is being closed. */
export async function discardFreedAsync(core: VolumeCore): Promise<void> {
  if (!core.driver.discarding?.discardsFreed) return;
  for (let cursor: number | null = 0; cursor !== null && !core.closing; ) {
    const from: number = cursor;
    ({ cursor } = await core.whileRunning(() =>
      runAsync(core.thread, (task) => discardFreedPart(task, core, from)),
    ));
    if (cursor !== null) await setTimeout(PAUSE_MS);
  }
}
