/**
 * `holdfast/sync`: shared memory, sleeping locks, guards, epochs and slabs, for code that is to run in
 * worker threads and under the checker (docs/checker.md).
 */
export {
  add,
  addThenNote,
  addThenStore,
  and,
  cas,
  casThenStore,
  exchange,
  load,
  loadOwn,
  loadRelaxed,
  loadUnsigned,
  or,
  sleepWhile,
  store,
  storeOwn,
  type Words,
  wakeAll,
} from "./atomics.ts";
export { enterEpoch, enterGuard, leaveEpoch, leaveGuard, synchronize } from "./guard.ts";
export {
  breakMutex,
  type Held,
  type LockName,
  lockExclusive,
  lockMutex,
  lockShared,
  recoverLocks,
  tryLockExclusive,
  tryLockShared,
} from "./lock.ts";
export { Rank } from "./rank.ts";
export { Region, Root } from "./region.ts";
export { runAsync, runBlocking } from "./runners.ts";
export {
  allocateObject,
  allocateZeroed,
  freeObject,
  initSlab,
  objectsInUse,
  SLAB_WORDS,
} from "./slab.ts";
export { type SleepOptions, type Sleeps, Task, type Wait } from "./sleep.ts";
export { type Holder, Slot, Thread } from "./thread.ts";
