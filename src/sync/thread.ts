/**
 * A thread's place in the region: its slot. A worker thread is just another CPU.
 *
 * Slot, in words:
 *
 *     0 state | 1 incarnation | 2 epoch | 3 worker's threadId
 *     4 held locks | 5 entry locks | 6 pins | 7 open files: heads of the thread's tables (table.ts)
 *     8 mapping whose break this thread has announced | 9 a second one's, with it
 *     10 leases: head of a table (layout)
 *     11 trace ring (trace-ring.ts) | 12 waits that are under way: head of a table (waits.ts)
 *     16..25 liveness: a robust pthread mutex that the thread holds for life
 *
 * State: free -> joining -> live -> recovering -> free. A live slot's state is its holder, so that what
 * was found out about one holder is never done to the next. While recovering, it is the negated holder of
 * whoever recovers, so that a dead recoverer is replaced in turn.
 *
 * Rules. (1) A holder is a slot with its incarnation: a slot that is used again is another holder.
 *        (2) The kernel marks the liveness mutex however the thread ends; nobody else writes it.
 *        (3) What a thread holds can be found from its slot, and is given back by `reap`, run by
 *            whoever waits, from the highest layer down to the locks, and its references last.
 *        (4) The epoch in a free slot is even: whoever joins is inside none.
 */
import { threadId } from "node:worker_threads";
import { HoldfastError } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import { addressOf, bindFunction } from "../base/libc.ts";
import { cas, load, store, type Words } from "./atomics.ts";
import { type Region, SLOTS_MAX } from "./region.ts";
import { ThreadTable } from "./table.ts";
import { traceRecovery } from "./trace.ts";

export const Slot = {
  state: 0,
  incarnation: 1,
  epoch: 2,
  threadId: 3,
  heldLocks: 4,
  entryLocks: 5,
  pins: 6,
  openFiles: 7,
  breaking: 8,
  breakingToo: 9,
  leases: 10,
  trace: 11,
  waits: 12,
  liveness: 16,
} as const;

const FREE = 0;
export { FREE as SLOT_FREE };
const JOINING = 1;

/** The kernel's mark in a robust futex whose owner has died (FUTEX_OWNER_DIED). */
export const OWNER_DIED = 0x40000000;
const LIVENESS_BYTES = 40;

const SLOT_BITS = 10;
const INCARNATION_MAX = 2 ** 20 - 1;

const mutexAttributeInit = bindFunction("int pthread_mutexattr_init(uint8_t *attribute)");
const mutexAttributeRobust = bindFunction(
  "int pthread_mutexattr_setrobust(uint8_t *attribute, int robust)",
);
const mutexAttributeShared = bindFunction(
  "int pthread_mutexattr_setpshared(uint8_t *attribute, int shared)",
);
const mutexInit = bindFunction("int pthread_mutex_init(uintptr_t mutex, uint8_t *attribute)");
const mutexLock = bindFunction("int pthread_mutex_lock(uintptr_t mutex)");
const mutexUnlock = bindFunction("int pthread_mutex_unlock(uintptr_t mutex)");

/** Slot and incarnation in one positive word; 0 is nobody. */
export type Holder = number;

function makeHolder(slot: number, incarnation: number): Holder {
  return incarnation * 2 ** SLOT_BITS + slot + 1;
}

export function slotOfHolder(holder: Holder): number {
  return (holder & (2 ** SLOT_BITS - 1)) - 1;
}

/**
 * Threads that have joined and not left. The C library chains a thread's robust mutexes through their
 * memory, so a region must not be collected while its liveness mutex is held.
 */
const joined = new Set<Thread>();

/** Words of a record in a thread's table of pins (pin/record.ts). */
export const PIN_RECORD_WORDS = 6;

/** Notes since when a thread holds its pins (pin/held-clock.ts). */
export interface HeldClock {
  /** Whether the pins without a time will get theirs. */
  readonly armed: boolean;
  /** Has them get it at the end of this turn of the event loop. */
  arm(): void;
  /** Gives it to them now. */
  note(): void;
}

/** Gives back what a dead thread held. Must be repeatable: the recoverer may die, too. */
export type Recovery = (dead: Holder, slotBase: number) => void;

/** One thread's presence in one region. All shared operations of the thread go through it. */
export class Thread {
  readonly region: Region;
  readonly words: Words;
  readonly slot: number;
  readonly base: number;
  readonly holder: Holder;
  readonly epochWord: number;
  readonly traceWord: number;
  readonly heldLocks: ThreadTable;
  readonly entryLocks: ThreadTable;
  readonly pins: ThreadTable;
  readonly openFiles: ThreadTable;
  readonly leases: ThreadTable;
  /** Counts this thread's epochs; odd inside one. The shared word is its copy. */
  epochCount = 0;
  /** Tells this thread's pins apart. */
  pinSerial = 0;
  /** Null where nobody asks since when pins are held. */
  heldClock: HeldClock | null = null;
  /** Operations of this thread that are suspended in a wait (sleep.ts). */
  readonly suspended = new Set<{ resumeIfDue(): boolean }>();
  readonly #recoveries: Recovery[] = [];
  #joined = true;

  private constructor(region: Region, slot: number, incarnation: number) {
    this.region = region;
    this.words = region.words;
    this.slot = slot;
    this.base = region.slotBase(slot);
    this.holder = makeHolder(slot, incarnation);
    this.epochWord = this.base + Slot.epoch;
    this.traceWord = this.base + Slot.trace;
    this.heldLocks = new ThreadTable(region, this.base + Slot.heldLocks, 1);
    this.entryLocks = new ThreadTable(region, this.base + Slot.entryLocks, 4);
    this.pins = new ThreadTable(region, this.base + Slot.pins, PIN_RECORD_WORDS);
    this.openFiles = new ThreadTable(region, this.base + Slot.openFiles, 1);
    this.leases = new ThreadTable(region, this.base + Slot.leases, 2);
  }

  /**
   * Takes a slot for the calling thread, until `leave` or its death.
   * Throws: ENFILE when all slots are in use.
   */
  static join(region: Region): Thread {
    const { words } = region;
    for (let slot = 0; slot < SLOTS_MAX; slot++) {
      const base = region.slotBase(slot);
      if (!cas(words, base + Slot.state, FREE, JOINING)) continue;
      const incarnation = (load(words, base + Slot.incarnation) % INCARNATION_MAX) + 1;
      store(words, base + Slot.incarnation, incarnation);
      store(words, base + Slot.threadId, threadId);
      holdLiveness(region, base);
      region.noteSlotUsed(slot);
      store(words, base + Slot.state, makeHolder(slot, incarnation));
      const thread = new Thread(region, slot, incarnation);
      joined.add(thread);
      return thread;
    }
    throw new HoldfastError(
      "ENFILE",
      `all ${SLOTS_MAX} thread slots of the volume are in use; let threads detach first`,
    );
  }

  /** Registers how a layer gives back what a dead thread held: what is registered last goes first. */
  onThreadDeath(recovery: Recovery): void {
    this.#recoveries.push(recovery);
  }

  /** Leaves the region. The thread must hold nothing. */
  leave(): void {
    if (!this.#joined) return;
    this.#joined = false;
    invariant(this.heldLocks.count === 0, "a thread leaves the region holding a lock");
    invariant(this.entryLocks.count === 0, "a thread leaves the region holding an entry");
    const failed = mutexUnlock(livenessAddress(this.region, this.base));
    invariant(failed === 0, () => `the liveness mutex is not this thread's: errno ${failed}`);
    store(this.words, this.base + Slot.state, FREE);
    joined.delete(this);
  }

  /** Whether the thread behind `holder` still runs. Costs two loads. */
  isAlive(holder: Holder): boolean {
    const base = this.region.slotBase(slotOfHolder(holder));
    return (
      load(this.words, base + Slot.state) === holder &&
      (load(this.words, base + Slot.liveness) & OWNER_DIED) === 0
    );
  }

  /** The holder in a slot whose owner is live, or being recovered; 0 when the slot is free. */
  holderIn(slot: number): Holder {
    const base = this.region.slotBase(slot);
    const state = load(this.words, base + Slot.state);
    if (state === FREE || state === JOINING) return 0;
    return makeHolder(slot, load(this.words, base + Slot.incarnation));
  }

  /** The worker's id of a holder. */
  idOf(holder: Holder): number {
    return load(this.words, this.region.slotBase(slotOfHolder(holder)) + Slot.threadId);
  }

  /** For messages: "thread 3", with "(this one)" where it is. */
  describe(holder: Holder): string {
    if (holder === 0) return "nobody";
    return `thread ${this.idOf(holder)}${holder === this.holder ? " (this one)" : ""}`;
  }

  /**
   * Finds threads that have died and gives back what they held. Called by everyone who waits.
   * Sleeps: never (guards only). Returns how many were recovered.
   */
  reap(): number {
    const { region, words } = this;
    let reaped = 0;
    for (let slot = 0; slot < region.slotsUsed; slot++) {
      const base = region.slotBase(slot);
      const state = load(words, base + Slot.state);
      if (state > JOINING) {
        if ((load(words, base + Slot.liveness) & OWNER_DIED) === 0) continue;
      } else if (state >= 0 || this.isAlive(-state)) {
        continue;
      }
      if (!cas(words, base + Slot.state, state, -this.holder)) continue;
      const dead = makeHolder(slot, load(words, base + Slot.incarnation));
      for (let index = this.#recoveries.length - 1; index >= 0; index--) {
        this.#recoveries[index]!(dead, base);
      }
      store(words, base + Slot.epoch, 0);
      traceRecovery(this, base + Slot.threadId);
      store(words, base + Slot.state, FREE);
      reaped++;
    }
    return reaped;
  }
}

function livenessAddress(region: Region, base: number): number {
  return addressOf(region.bytes(base + Slot.liveness, LIVENESS_BYTES));
}

/** Locks the slot's robust mutex in this thread, for life. */
function holdLiveness(region: Region, base: number): void {
  const attribute = new Uint8Array(8);
  const address = livenessAddress(region, base);
  const failed =
    mutexAttributeInit(attribute) ||
    mutexAttributeRobust(attribute, 1) ||
    mutexAttributeShared(attribute, 1) ||
    mutexInit(address, attribute) ||
    mutexLock(address);
  invariant(failed === 0, () => `the liveness mutex cannot be taken: errno ${failed}`);
}
