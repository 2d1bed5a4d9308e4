/** The parts of making a volume larger that sleep: its beginning, a step, a part of the copies. */
import { HoldfastError } from "../base/errors.ts";
import { PAGE_SIZE, roundUp } from "../base/quantities.ts";
import type { FilesystemDriver, GrowthRun, VolumeGrowth } from "../iomap/contract.ts";
import type { MetadataCache } from "../metadata/cache.ts";
import { takeTransaction, transact } from "../metadata/transaction.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";

/** What is asked of a volume that is made larger. */
export interface GrowingVolume {
  readonly cache: MetadataCache;
  readonly driver: Pick<FilesystemDriver, "type"> & {
    readonly growth: Pick<VolumeGrowth, "begin"> | null;
  };
  readonly dax: { readonly device: { grow(bytes: number): void } };
  /** Throws: EROFS. */
  assertWritable(): void;
}

/** Begins, and gives the device what the volume is to have. Sleeps: for the transaction. Throws: as `Volume.grow`. */
export function* beginGrowth(task: Task, volume: GrowingVolume, size: number): Sleeps<GrowthRun> {
  volume.assertWritable();
  const run = yield* claimGrowth(task, volume, size);
  try {
    volume.dax.device.grow(roundUp(run.size, PAGE_SIZE));
    return run;
  } catch (error) {
    run[Symbol.dispose]();
    throw error;
  }
}

function* claimGrowth(
  task: Task,
  { cache, driver }: GrowingVolume,
  size: number,
): Sleeps<GrowthRun> {
  const { type, growth } = driver;
  if (growth === null) {
    throw new HoldfastError("EOPNOTSUPP", `a ${type} volume keeps the size it was made with`);
  }
  using _unchanged = yield* takeTransaction(task, cache);
  return growth.begin(size);
}

/** One step. False: there was none left. Sleeps: for the transaction. */
export function* takeStep(task: Task, volume: GrowingVolume, run: GrowthRun): Sleeps<boolean> {
  volume.assertWritable();
  const step = run.prepare();
  if (step === null) return false;
  yield* transact(task, volume.cache, (transaction) => run.apply(transaction, step));
  return true;
}

/** One part of the copies, when all steps are durable. False: there was none left. Sleeps: for the transaction. */
export function* copyPart(task: Task, volume: GrowingVolume, run: GrowthRun): Sleeps<boolean> {
  using _unchanged = yield* takeTransaction(task, volume.cache);
  return run.copy();
}
