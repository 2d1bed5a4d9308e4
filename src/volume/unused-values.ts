/** Values of extended attributes that no inode has any more: they are freed after what has left them. */
import { CorruptionError } from "../base/errors.ts";
import { beginTransaction } from "../metadata/transaction.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import type { VolumeCore } from "./core.ts";

type Core = Pick<VolumeCore, "cache" | "driver">;

/**
 * Frees all of them; `everywhere`: also those that another mount has left.
 * Locks: ranks below map. Sleeps: for transactions. Throws: CorruptionError, EIO.
 */
export function* freeUnusedValues(
  task: Task,
  { cache, driver }: Core,
  everywhere: boolean,
): Sleeps<void> {
  const attributes = driver.extendedAttributes;
  if (attributes === null) return;
  while (attributes.hasUnused(everywhere)) {
    using transaction = yield* beginTransaction(task, cache);
    attributes.freeUnused(transaction, everywhere);
    transaction.commit();
  }
}

/** As `freeUnusedValues`, for who has done already what was asked: damage waits for the end of the mount. */
export function* freeUnusedValuesLeft(task: Task, core: Core): Sleeps<void> {
  try {
    yield* freeUnusedValues(task, core, false);
  } catch (error) {
    if (!(error instanceof CorruptionError)) throw error;
  }
}
