/** Putting metadata on the device, and the volume in order. */
import { timeNow } from "../dax/dax.ts";
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
