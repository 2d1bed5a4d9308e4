/**
 * Inodes that a mount has left in the middle of something: those without a name that were open, and those whose
 * file was being cut. The format lists them.
 */
import { roundUp } from "../base/quantities.ts";
import { beginTransaction } from "../metadata/transaction.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import type { VolumeCore } from "./core.ts";
import type { InodeReference } from "./inode-reference.ts";
import { freeUnusedValues } from "./unused-values.ts";

/**
 * Frees what has no name, and cuts what has one at its size. Nobody else uses these inodes.
 * Sleeps: for transactions. Throws: CorruptionError, EIO.
 */
export function* settleOrphans(task: Task, core: VolumeCore): Sleeps<void> {
  for (const ino of core.driver.orphans()) {
    using inode = yield* core.inodes.acquire(ino);
    if (!inode.isNameless) yield* finishTruncate(task, core, inode);
  }
  yield* core.inodes.settle(task);
  yield* freeUnusedValues(task, core, true);
}

/** What lies beyond a file's end goes, and the file from the list. */
function* finishTruncate(task: Task, core: VolumeCore, { ino }: InodeReference): Sleeps<void> {
  const { cache, driver } = core;
  for (let done = false; !done; ) {
    using transaction = yield* beginTransaction(task, cache);
    const end = roundUp(driver.readInode(ino).size, driver.blockSize);
    done = driver.removeExtents(transaction, ino, end, Number.POSITIVE_INFINITY);
    if (done) driver.removeOrphan(transaction, ino);
    transaction.commit();
  }
}
