/** Putting metadata on the device, and the volume in order. */
import { timeNow } from "../dax/dax.ts";
import { beginTransaction, transactionsCommitted } from "../metadata/transaction.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import type { VolumeCore } from "./core.ts";

/**
 * Writes all changed metadata home, the superblock's counters with it; `clean` says in it that the
 * volume is in order. It is on the medium after the device is persisted (`persistAll`, with what this returns:
 * the transactions that it holds).
 * Locks: takes the transaction. Sleeps: for it, and in the device.
 */
export function* flushMetadata(task: Task, core: VolumeCore, clean = false): Sleeps<number> {
  const { cache, driver } = core;
  {
    using transaction = yield* beginTransaction(task, cache);
    driver.updateSuperblock(transaction, { clean, time: timeNow() });
    transaction.commit();
  }
  using _unchanged = yield* beginTransaction(task, cache);
  cache.flush();
  return transactionsCommitted(core.thread);
}
