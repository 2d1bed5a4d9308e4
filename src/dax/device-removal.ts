/**
 * Device removal: the storage is gone, whoever uses it.
 *
 *     remove: note it -> by file: map lock, revoke -> expire leases -> wake who waits for pins -> zeroes in
 *     the place of what was mapped -> handled
 *
 * Rules. (1) It is noted first, by one word (device/state.ts). Whoever shows, pins or leases looks at that
 *            word after what he does can be found: he sees it, or is found here.
 *        (2) Nobody touches what is gone: windows are revoked, and what is mapped for copies and pins
 *            becomes zeroes in place, last. So whoever copies out looks at the word after his copy.
 *        (3) No block is freed or reused on account of the removal. Who waits for pins ends with EIO, and
 *            the file is as it was.
 */
import { HANDLED } from "../device/state.ts";
import { inoOf, MappingWord, PAGE_INDEX_MAX } from "../mapping/mapping.ts";
import { expireLeases } from "../layout/lease.ts";
import { load } from "../sync/atomics.ts";
import { lockExclusive } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { type Dax, mapName } from "./dax.ts";
import { loseAllInWindows } from "./show.ts";
import type { HoldMapping } from "./poison.ts";

/**
 * Does all that a removal means, if nobody alive does or has done so. Returns whether it was this thread.
 * Locks: takes the map lock of each file that has windows, exclusively. Sleeps: for them.
 * Throws: what `hold` throws; then the next one tries.
 */
export function* handleRemoval(task: Task, dax: Dax, hold: HoldMapping): Sleeps<boolean> {
  const { deviceState } = dax.pages;
  if (!deviceState.takeHandling()) return false;
  let isHandled = false;
  try {
    yield* takeAway(task, dax, hold);
    isHandled = true;
  } finally {
    deviceState.endHandling(isHandled);
  }
  return true;
}

function* takeAway(task: Task, dax: Dax, hold: HoldMapping): Sleeps<void> {
  const { device, pages, thread, windows } = dax;
  for (const mapped of windows.mappings()) {
    // None: its record is being taken out, when no window is left.
    using held = hold(inoOf(thread, mapped));
    if (held === null) continue;
    const { mapping } = held;
    using _map = yield* lockExclusive(task, mapping + MappingWord.mapLock, mapName(dax, mapping));
    windows.revoke(mapping, 0, PAGE_INDEX_MAX);
    if (!windows.port.faults) loseAllInWindows(dax, mapping);
  }
  expireLeases(thread);
  pages.wakeAllWaiters();
  device.discard();
}

/** Sleeps until whoever handles the removal has done so. Returns whether this thread has. */
export function* untilRemoved(task: Task, dax: Dax, hold: HoldMapping): Sleeps<boolean> {
  const word = dax.pages.deviceState.handlerWord;
  for (;;) {
    // Before it is tried: who has it may give it up in between, and wakes nobody who is not asleep yet.
    const handler = load(dax.thread.words, word);
    if (handler === HANDLED) return false;
    if (yield* handleRemoval(task, dax, hold)) return true;
    if (handler === 0) continue; // another one was quicker
    yield {
      word,
      expected: handler,
      what: () => `${dax.thread.describe(handler)} to take the removed device away`,
    };
  }
}
