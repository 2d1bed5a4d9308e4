/**
 * Sleeping locks in shared memory: shared/exclusive locks and the mutex. Their guards (`Held`) are
 * JavaScript objects to pass to what needs them; the fact that they are held lives in the region, in
 * the lock's words and in the holder's table, where others find it when the holder dies.
 *
 * Shared/exclusive lock, in words:
 *
 *     0 guard | 1 exclusive holder | 2 shared holders | 3 waiting for exclusive
 *     4 waiting for shared | 5 phase | 6 batch | 7 wake
 *
 * Rules. (1) All words change under the guard; `wake` changes with every change that may let a
 *            waiter in. (2) Every holder and every waiter has a record in its thread's table: the
 *            counts are caches of those and can be counted again. (3) New shared holders queue
 *            behind a waiting exclusive one; when an exclusive one leaves, all who then wait for
 *            shared (the batch) go before the next exclusive one. So neither side starves.
 *        (4) `phase` counts exclusive holders gone. The batch are those who have waited for shared
 *            since before the present phase; as no phase ends before its batch is through, a record
 *            tells by one bit, its phase's parity, whether it belongs.
 */
import { HoldfastError } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import { add, cas, exchange, load, store, wakeAll } from "./atomics.ts";
import { enterGuard, leaveGuard } from "./guard.ts";
import { Rank } from "./rank.ts";
import type { Sleeps, Task } from "./sleep.ts";
import { forEachRecord } from "./table.ts";
import { type Holder, Slot, type Thread } from "./thread.ts";

const Lock = {
  guard: 0,
  exclusive: 1,
  shared: 2,
  waitingExclusive: 3,
  waitingShared: 4,
  phase: 5,
  batch: 6,
  wake: 7,
} as const;

/** In a table record: the lock's offset (a multiple of 8) plus one of these. */
export const Mode = {
  shared: 1,
  exclusive: 2,
  waitExclusive: 3,
  /** Waiting for shared since an even phase; since an odd one: one more. */
  waitShared: 4,
} as const;

type RankName = keyof typeof Rank;

/** Proof that a lock is held. `using` or `release()` gives it back. */
export interface Held<R extends RankName = RankName> extends Disposable {
  readonly rankName: R;
  readonly exclusive: boolean;
  /** Drops the lock. Dropping twice does nothing. */
  release(): void;
}

/** What a task keeps of a held lock. */
export class HeldLock<R extends RankName = RankName> implements Held<R> {
  readonly rankName: R;
  readonly rank: number;
  readonly order: number;
  readonly exclusive: boolean;
  readonly #task: Task;
  readonly #lock: number;
  /** The record in the thread's table; 0 for a mutex, -1 once released. */
  #record: number;

  constructor(task: Task, name: LockName<R>, exclusive: boolean, lock: number, record: number) {
    this.rankName = name.rankName;
    this.rank = Rank[name.rankName];
    this.order = name.order;
    this.exclusive = exclusive;
    this.#task = task;
    this.#lock = lock;
    this.#record = record;
    task.held.push(this);
  }

  release(): void {
    const record = this.#record;
    if (record < 0) return;
    this.#record = -1;
    const { held, thread } = this.#task;
    if (held[held.length - 1] === this) held.pop();
    else held.splice(held.lastIndexOf(this), 1);
    if (record === 0) unlockMutex(thread, this.#lock);
    else if (this.exclusive) unlockExclusive(thread, this.#lock, record);
    else unlockShared(thread, this.#lock, record);
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/** Asserts the lock order for a lock about to be taken. `order` sorts locks of one rank. */
export function assertRank(task: Task, rankName: RankName, order: number): void {
  const rank = Rank[rankName];
  for (const lock of task.held) {
    invariant(
      lock.rank < rank || (lock.rank === rank && lock.order < order),
      () =>
        `lock order: ${rankName} ${order} is taken while ${lock.rankName} ${lock.order} is held`,
    );
  }
}

/** Takes the lock's guard, counting again when a thread died inside. */
function enter(thread: Thread, lock: number): void {
  if (enterGuard(thread, lock + Lock.guard)) recount(thread, lock);
}

function leave(thread: Thread, lock: number): void {
  leaveGuard(thread, lock + Lock.guard);
}

function wake(thread: Thread, lock: number): void {
  add(thread.words, lock + Lock.wake, 1);
  wakeAll(thread.words, lock + Lock.wake);
}

/** Works out the lock's words from the threads' tables. The guard is held. */
function recount(thread: Thread, lock: number): void {
  const { region, words } = thread;
  const counts = [0, 0, 0, 0, 0, 0];
  let exclusive: Holder = 0;
  for (let slot = 0; slot < region.slotsUsed; slot++) {
    const holder = thread.holderIn(slot);
    if (holder === 0) continue;
    forEachRecord(words, region.slotBase(slot) + Slot.heldLocks, 1, (record) => {
      const value = load(words, record);
      const mode = value & 7;
      if (value - mode !== lock) return;
      counts[mode]!++;
      if (mode === Mode.exclusive) exclusive = holder;
    });
  }
  store(words, lock + Lock.exclusive, exclusive);
  store(words, lock + Lock.shared, counts[Mode.shared]!);
  const [even, odd] = [counts[Mode.waitShared]!, counts[Mode.waitShared + 1]!];
  store(words, lock + Lock.waitingShared, even + odd);
  store(words, lock + Lock.waitingExclusive, counts[Mode.waitExclusive]!);
  store(words, lock + Lock.batch, load(words, lock + Lock.phase) & 1 ? even : odd);
  wake(thread, lock);
}

/** Gives back the locks of a dead thread, and its places in their queues. */
export function recoverLocks(thread: Thread): void {
  const { words } = thread;
  thread.onThreadDeath((_dead, slotBase) => {
    forEachRecord(words, slotBase + Slot.heldLocks, 1, (record) => {
      const value = load(words, record);
      const lock = value - (value & 7);
      enter(thread, lock);
      store(words, record, 0);
      recount(thread, lock);
      leave(thread, lock);
    });
  });
}

function admitsShared(thread: Thread, lock: number, phase: number | null): boolean {
  const { words } = thread;
  if (load(words, lock + Lock.exclusive) !== 0) return false;
  if (phase !== null && phase !== load(words, lock + Lock.phase)) return true;
  return load(words, lock + Lock.waitingExclusive) === 0;
}

function admitsExclusive(thread: Thread, lock: number): boolean {
  const { words } = thread;
  return (
    load(words, lock + Lock.exclusive) === 0 &&
    load(words, lock + Lock.shared) === 0 &&
    load(words, lock + Lock.batch) === 0
  );
}

/**
 * Takes the lock shared if nobody stands in the way. Returns the held record, or 0. For a few plain
 * statements between this and `unlockShared`, where no other lock is taken: the rank is not asserted.
 */
export function tryShared(thread: Thread, lock: number): number {
  const record = thread.heldLocks.take();
  enter(thread, lock);
  const admitted = admitsShared(thread, lock, null);
  if (admitted) {
    add(thread.words, lock + Lock.shared, 1);
    store(thread.words, record, lock + Mode.shared);
  }
  leave(thread, lock);
  if (admitted) return record;
  thread.heldLocks.giveEmpty(record);
  return 0;
}

/** As `tryShared`, exclusively. */
export function tryExclusive(thread: Thread, lock: number): number {
  const record = thread.heldLocks.take();
  enter(thread, lock);
  const admitted = admitsExclusive(thread, lock);
  if (admitted) {
    store(thread.words, lock + Lock.exclusive, thread.holder);
    store(thread.words, record, lock + Mode.exclusive);
  }
  leave(thread, lock);
  if (admitted) return record;
  thread.heldLocks.giveEmpty(record);
  return 0;
}

export function unlockShared(thread: Thread, lock: number, record: number): void {
  const { words } = thread;
  enter(thread, lock);
  store(words, record, 0);
  const others = add(words, lock + Lock.shared, -1) - 1;
  if (others === 0 && load(words, lock + Lock.waitingExclusive) > 0) wake(thread, lock);
  leave(thread, lock);
  thread.heldLocks.giveEmpty(record);
}

export function unlockExclusive(thread: Thread, lock: number, record: number): void {
  const { words } = thread;
  enter(thread, lock);
  store(words, record, 0);
  store(words, lock + Lock.exclusive, 0);
  const waitingShared = load(words, lock + Lock.waitingShared);
  store(words, lock + Lock.batch, waitingShared);
  add(words, lock + Lock.phase, 1);
  if (waitingShared + load(words, lock + Lock.waitingExclusive) > 0) wake(thread, lock);
  leave(thread, lock);
  thread.heldLocks.giveEmpty(record);
}

/** Leaves the queue for shared: as a holder when `admitted`, else for good. The guard is held. */
function leaveSharedQueue(thread: Thread, lock: number, record: number, phase: number): void {
  const { words } = thread;
  store(words, record, 0);
  add(words, lock + Lock.waitingShared, -1);
  if (phase === load(words, lock + Lock.phase)) return;
  if (add(words, lock + Lock.batch, -1) === 1) wake(thread, lock);
}

function* waitShared(task: Task, lock: number, name: LockName<RankName>): Sleeps<number> {
  const { thread } = task;
  const { words } = thread;
  const record = thread.heldLocks.take();
  enter(thread, lock);
  const phase = load(words, lock + Lock.phase);
  store(words, record, lock + Mode.waitShared + (phase & 1));
  add(words, lock + Lock.waitingShared, 1);
  leave(thread, lock);
  try {
    for (;;) {
      enter(thread, lock);
      const admitted = admitsShared(thread, lock, phase);
      if (admitted) {
        leaveSharedQueue(thread, lock, record, phase);
        add(words, lock + Lock.shared, 1);
        store(words, record, lock + Mode.shared);
      }
      const expected = load(words, lock + Lock.wake);
      leave(thread, lock);
      if (admitted) return record;
      yield {
        word: lock + Lock.wake,
        expected,
        what: () => describe(thread, lock, name),
        rank: Rank[name.rankName],
      };
    }
  } catch (error) {
    enter(thread, lock);
    leaveSharedQueue(thread, lock, record, phase);
    leave(thread, lock);
    thread.heldLocks.giveEmpty(record);
    throw error;
  }
}

function* waitExclusive(task: Task, lock: number, name: LockName<RankName>): Sleeps<number> {
  const { thread } = task;
  const { words } = thread;
  const record = thread.heldLocks.take();
  enter(thread, lock);
  store(words, record, lock + Mode.waitExclusive);
  add(words, lock + Lock.waitingExclusive, 1);
  leave(thread, lock);
  try {
    for (;;) {
      enter(thread, lock);
      const admitted = admitsExclusive(thread, lock);
      if (admitted) {
        add(words, lock + Lock.waitingExclusive, -1);
        store(words, lock + Lock.exclusive, thread.holder);
        store(words, record, lock + Mode.exclusive);
      }
      const expected = load(words, lock + Lock.wake);
      leave(thread, lock);
      if (admitted) return record;
      yield {
        word: lock + Lock.wake,
        expected,
        what: () => describe(thread, lock, name),
        rank: Rank[name.rankName],
      };
    }
  } catch (error) {
    enter(thread, lock);
    store(words, record, 0);
    // Those who queued for shared behind this one may go on now.
    add(words, lock + Lock.waitingExclusive, -1);
    wake(thread, lock);
    leave(thread, lock);
    thread.heldLocks.giveEmpty(record);
    throw error;
  }
}

function describe(thread: Thread, lock: number, name: LockName<RankName>): string {
  const named = `the ${name.rankName} lock of inode ${name.order}`;
  const exclusive = load(thread.words, lock + Lock.exclusive);
  if (exclusive !== 0) return `${named}, held by ${thread.describe(exclusive)}`;
  const shared = load(thread.words, lock + Lock.shared);
  return `${named}, held by ${shared} readers`;
}

/** A lock's identity for the order and for messages. */
export interface LockName<R extends RankName> {
  readonly rankName: R;
  /** Sorts locks of one rank: the inode number. */
  readonly order: number;
}

/**
 * Takes the lock shared.
 * Sleeps: while it is held, or waited for, exclusively. Errors: the task's signal and deadline.
 */
export function* lockShared<R extends RankName>(
  task: Task,
  lock: number,
  name: LockName<R>,
): Sleeps<Held<R>> {
  const held = tryLockShared(task, lock, name);
  if (held !== null) return held;
  return new HeldLock(task, name, false, lock, yield* waitShared(task, lock, name));
}

/** Takes the lock exclusively. Sleeps: while anybody holds it. Errors: signal and deadline. */
export function* lockExclusive<R extends RankName>(
  task: Task,
  lock: number,
  name: LockName<R>,
): Sleeps<Held<R>> {
  const held = tryLockExclusive(task, lock, name);
  if (held !== null) return held;
  return new HeldLock(task, name, true, lock, yield* waitExclusive(task, lock, name));
}

/** As `lockShared`, or null at once when it would sleep. */
export function tryLockShared<R extends RankName>(
  task: Task,
  lock: number,
  name: LockName<R>,
): Held<R> | null {
  assertRank(task, name.rankName, name.order);
  const record = tryShared(task.thread, lock);
  return record === 0 ? null : new HeldLock(task, name, false, lock, record);
}

export function tryLockExclusive<R extends RankName>(
  task: Task,
  lock: number,
  name: LockName<R>,
): Held<R> | null {
  assertRank(task, name.rankName, name.order);
  const record = tryExclusive(task.thread, lock);
  return record === 0 ? null : new HeldLock(task, name, true, lock, record);
}

/**
 * Takes a mutex: one word, its holder, negated when somebody waits. A dead holder's mutex is released
 * by the layer that owns it, in its recovery, with `breakMutex`.
 * Sleeps: while another holds it.
 */
export function* lockMutex<R extends RankName>(
  task: Task,
  word: number,
  rankName: R,
): Sleeps<Held<R>> {
  const { thread } = task;
  const { words, holder } = thread;
  assertRank(task, rankName, 0);
  let mine: number = holder;
  while (!cas(words, word, 0, mine)) {
    const value = load(words, word);
    if (value === 0) continue;
    if (Math.abs(value) === holder) {
      throw new HoldfastError("EDEADLK", `this thread already holds the volume's ${rankName}`);
    }
    if (value > 0 && !cas(words, word, value, -value)) continue;
    yield {
      word,
      expected: -Math.abs(value),
      rank: Rank[rankName],
      what: () => `the ${rankName}, held by ${thread.describe(Math.abs(value))}`,
    };
    mine = -holder;
  }
  return new HeldLock(task, { rankName, order: 0 }, true, word, 0);
}

function unlockMutex(thread: Thread, word: number): void {
  if (exchange(thread.words, word, 0) < 0) wakeAll(thread.words, word);
}

/** Releases the mutex of a dead holder. */
export function breakMutex(thread: Thread, word: number, dead: Holder): void {
  const { words } = thread;
  if (cas(words, word, dead, 0) || cas(words, word, -dead, 0)) wakeAll(words, word);
}
