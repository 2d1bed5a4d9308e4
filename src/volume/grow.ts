/**
 * Making a volume larger while it is used: the image or device first, then the volume, in steps that each leave it
 * whole; what repair programs need at last, when all else is durable.
 */
import { setImmediate } from "node:timers/promises";
import { AbortError, type ErrorContext } from "../base/errors.ts";
import type { GrowthRun } from "../iomap/contract.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { checkInteger, wrongType } from "./arguments.ts";
import type { VolumeCore } from "./core.ts";
import { beginGrowth, copyPart, takeStep } from "./grow-steps.ts";
import { Scope } from "./paths.ts";

export interface GrowProgress {
  /** Bytes that the volume has now, and is to have. */
  readonly size: number;
  readonly target: number;
}

export interface GrowOptions {
  /** Ends it with an AbortError, after a step: the volume is larger than before, and less than was asked for. */
  readonly signal?: AbortSignal;
  /** Told after each step. */
  readonly onProgress?: (progress: GrowProgress) => void;
}

function checkOptions(options: GrowOptions): void {
  if (typeof options !== "object" || options === null) {
    throw wrongType("options", "an object", options);
  }
  const { onProgress } = options;
  if (onProgress !== undefined && typeof onProgress !== "function") {
    throw wrongType("options.onProgress", "a function", onProgress);
  }
}

/** Bytes of a volume that can grow. */
function sizeOf({ driver }: VolumeCore): number {
  return driver.growth!.size;
}

function tell({ onProgress }: GrowOptions, core: VolumeCore, run: GrowthRun): void {
  onProgress?.({ size: sizeOf(core), target: run.size });
}

function contextOf(core: VolumeCore): ErrorContext {
  return { syscall: "grow", path: core.dax.device.path };
}

/** Gives what keeps the volume mounted: an unmount in another thread is refused as long. */
function* keepMounted(task: Task, core: VolumeCore): Sleeps<Disposable> {
  using scope = new Scope(core, task);
  const root = yield* scope.root();
  return root.again();
}

/** As `growSync`. */
export async function grow(
  core: VolumeCore,
  size: number | undefined,
  options: GrowOptions = {},
): Promise<number> {
  checkOptions(options);
  // Between the steps, too: so this thread does not unmount the volume either.
  return await core.whileRunning(() => growInSteps(core, size, options));
}

async function growInSteps(
  core: VolumeCore,
  size: number | undefined,
  options: GrowOptions,
): Promise<number> {
  const context = contextOf(core);
  using _mounted = await core.runAsync(context, (task) => keepMounted(task, core));
  const bytes = size === undefined ? core.dax.device.size : checkInteger("size", size);
  using run = await core.runAsync(context, (task) => beginGrowth(task, core, bytes));
  const { signal } = options;
  while (!signal?.aborted && (await core.runAsync(context, (task) => takeStep(task, core, run)))) {
    tell(options, core, run);
    await setImmediate();
  }
  await core.persistMetadata(context);
  while (await core.runAsync(context, (task) => copyPart(task, core, run))) await setImmediate();
  await core.persistDeviceAsync();
  const reached = sizeOf(core);
  if (signal?.aborted && reached < run.size) throw new AbortError(undefined, signal.reason);
  return reached;
}

/**
 * Makes the volume as large as `size` bytes, or as its device. Returns the bytes that it has then: whole blocks, and no
 * last group that is smaller than its own structures.
 * Sleeps: for transactions, and for the storage. Throws: as `Volume.grow`.
 */
export function growSync(
  core: VolumeCore,
  size: number | undefined,
  options: GrowOptions = {},
): number {
  checkOptions(options);
  const context = contextOf(core);
  using _mounted = core.runSync(context, (task) => keepMounted(task, core));
  const bytes = size === undefined ? core.dax.device.size : checkInteger("size", size);
  using run = core.runSync(context, (task) => beginGrowth(task, core, bytes));
  const { signal } = options;
  while (!signal?.aborted && core.runSync(context, (task) => takeStep(task, core, run))) {
    tell(options, core, run);
  }
  core.persistMetadataSync(context);
  while (core.runSync(context, (task) => copyPart(task, core, run)));
  core.persistDevice();
  const reached = sizeOf(core);
  if (signal?.aborted && reached < run.size) throw new AbortError(undefined, signal.reason);
  return reached;
}
