/** Putting metadata on the device, and the volume in order. */
import { timeNow } from "../dax/dax.ts";
import { writeBack } from "../dax/write-back.ts";
import { inoOf } from "../mapping/mapping.ts";
import { beginTransaction } from "../metadata/transaction.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import type { VolumeCore } from "./core.ts";

/**
 * Writes all changed metadata home, the superblock's counters with it; `clean` says in it that the
 * volume is in order. It is on the medium after the device is persisted.
 * Locks: takes the transaction. Sleeps: for it, and in the device.
 */
export function* flushMetadata(task: Task, core: VolumeCore, clean = false): Sleeps<void> {
  const { cache, driver } = core;
  {
    using transaction = yield* beginTransaction(task, cache);
    driver.updateSuperblock(transaction, { clean, time: timeNow() });
    transaction.commit();
  }
  using _unchanged = yield* beginTransaction(task, cache);
  cache.flush();
}

/**
 * Writes back all copied files of which something is cached. Locks: takes those of `writeBack`. Sleeps: for
 * them. Throws: as `writeBack`, when all have been tried.
 */
export function* writeBackCopied(task: Task, core: VolumeCore): Sleeps<void> {
  const { dax, thread } = core;
  let failure: { error: unknown } | null = null;
  for (const mapping of dax.pageCache?.mappings() ?? []) {
    // None: it is being taken out, and copied home for that.
    using held = dax.holdMapping(inoOf(thread, mapping));
    if (held === null) continue;
    try {
      yield* writeBack(task, dax, held.mapping);
    } catch (error) {
      failure ??= { error };
    }
  }
  if (failure !== null) throw failure.error;
}
