/**
 * Leases: the right to rely on the layout of a range of a file until it is recalled.
 *
 * Record, in words: 0 next, an older one | 1 mapping | 2 holder | 3 serial | 4 first page | 5 last page
 * | 6 kind | 7 state | 8 deadline of a recall, ms | 9 grace, ms | 10 reason of the recall | 11 the
 * record of the holder's table that names it.
 *
 *     waiting --grant--> granted --recall--> recalled --deadline--> expired
 *        |                  |                   |                      |
 *        +--given up--------+-----return--------+----------------------+--> (none)
 *
 * A mapping's leases are a list, youngest first. Requests that wait stand in it, and breaks that wait
 * for leases ("breaking"): as exclusive requests that are never granted. Two of them conflict when their ranges overlap and
 * one of them is exclusive.
 *
 * In the holder's table: 0 lease | 1 a long-term pin under it; 0: the lease itself.
 *
 * Rules. (1) The list and all states change under the area's guard, by one store each: a death inside
 *            leaves nothing to repair. Holders read their own lease's state without it.
 *        (2) A lease is granted with the file's io lock held, shared. Whoever breaks a range looks with
 *            it held exclusively: none is granted until that drops.
 *        (3) A request waits for all that conflicts and came before it, granted or not: nobody is
 *            overtaken. What is granted it recalls. A break that has waited once is waited for as well.
 *            A copy for a fault or a pin goes ahead of all of them: a request may wait for a break, and
 *            that for a pin of the very thread that touches. So it waits for what is granted alone, and
 *            by (4) not for ever.
 *        (4) A recalled lease counts until it is returned, or its deadline: then whoever looks at it
 *            makes it expired, for good. So nobody waits for ever, and not in a ring.
 *        (5) Whoever drops a lock to wait for leases looks at everything again (break.ts, rule 2).
 *        (6) A long-term pin is counted and tied to its lease first, and looks at the lease second. A
 *            recall is noted first, and pins are looked for second: one of the two sees the other.
 *        (7) A thread's own lease is recalled by its layout change and not waited for: that thread would
 *            have to return it. Its writes concern its leases as little as Linux's concern those of the
 *            same client. A request that blocks does not wait for what this thread itself has to end: a
 *            lease, and a request or a break that goes on when it does not block.
 */
import { HoldfastError } from "../base/errors.ts";
import { inoOf, type Mapping, MappingWord, PAGE_INDEX_MAX } from "../mapping/mapping.ts";
import type { PinRecord } from "../pin/pin.ts";
import type { HeldPin } from "../pin/record.ts";
import { add, load, loadRelaxed, loadUnsigned, store, wakeAll } from "../sync/atomics.ts";
import { clockMs, remainingMs } from "../sync/clock.ts";
import { enterGuard, leaveGuard } from "../sync/guard.ts";
import { lockShared } from "../sync/lock.ts";
import { Root } from "../sync/region.ts";
import { allocateObject, freeObject, initSlab, SLAB_WORDS } from "../sync/slab.ts";
import type { Sleeps, Task, WaitSubject } from "../sync/sleep.ts";
import { forEachRecord } from "../sync/table.ts";
import { type Holder, Slot, slotOfHolder, type Thread } from "../sync/thread.ts";

export const LeaseRecord = {
  next: 0,
  mapping: 1,
  holder: 2,
  serial: 3,
  first: 4,
  last: 5,
  kind: 6,
  state: 7,
  deadline: 8,
  grace: 9,
  reason: 10,
  tableRecord: 11,
} as const;
export const LEASE_WORDS = 16;

export const LeaseArea = { guard: SLAB_WORDS, serial: 9, recalls: 10, expired: 11 } as const;

export const LeaseKind = { shared: 1, exclusive: 2 } as const;
export type LeaseKind = (typeof LeaseKind)[keyof typeof LeaseKind];

/** What a lease is recalled for: a write call, a layout change, another's request; the device's removal. */
export const Reason = { write: 1, unmap: 2, lease: 3, removal: 4 } as const;
export type Reason = (typeof Reason)[keyof typeof Reason];
const REASONS = ["nothing", "a write", "a layout change", "another lease", "the device's removal"];

/** `breaking` is the place of a break that waits. What is granted, or was, comes last. */
export const LeaseState = {
  none: 0,
  waiting: 1,
  breaking: 2,
  granted: 3,
  recalled: 4,
  expired: 5,
} as const;
export type LeaseState = (typeof LeaseState)[keyof typeof LeaseState];

/** A lease by its record's offset. Its holder alone frees the record. */
export type Lease = number;

export function createLeaseArea(thread: Thread): void {
  const { region } = thread;
  const area = region.allocatePages(LeaseArea.expired + 1);
  initSlab(region, area, LEASE_WORDS);
  region.setRoot(Root.leases, area);
}

function areaOf(thread: Thread): number {
  return thread.region.root(Root.leases);
}

function enter(thread: Thread): void {
  enterGuard(thread, areaOf(thread) + LeaseArea.guard);
}

function leave(thread: Thread): void {
  leaveGuard(thread, areaOf(thread) + LeaseArea.guard);
}

/** A lease of a file, or a request that waits, as others see it. */
export interface HeldLease {
  readonly holder: Holder;
  readonly serial: number;
  readonly first: number;
  readonly last: number;
  readonly kind: LeaseKind;
  readonly state: LeaseState;
  /** Of a recalled one: milliseconds until it expires. */
  readonly graceLeftMs: number | null;
}

/** A file's leases, and the requests that wait; the places of breaks, too. Locks: none. Sleeps: never. */
export function leasesOf(thread: Thread, mapping: Mapping): HeldLease[] {
  const { words } = thread;
  const found: HeldLease[] = [];
  enter(thread);
  let lease = load(words, mapping + MappingWord.leases);
  for (; lease !== 0; lease = load(words, lease + LeaseRecord.next)) {
    const state = settle(thread, lease);
    found.push({
      holder: load(words, lease + LeaseRecord.holder),
      serial: load(words, lease + LeaseRecord.serial),
      ...pagesOf(thread, lease),
      kind: load(words, lease + LeaseRecord.kind) as LeaseKind,
      state,
      graceLeftMs: state === LeaseState.recalled ? graceLeft(thread, lease) : null,
    });
  }
  leave(thread);
  return found;
}

/** Leases held now, of all threads; recalls and expiries ever. */
export function leaseStatistics(thread: Thread): {
  held: number;
  recalls: number;
  expired: number;
} {
  const { region, words } = thread;
  let held = 0;
  for (let slot = 0; slot < region.slotsUsed; slot++) {
    forEachRecord(words, region.slotBase(slot) + Slot.leases, 2, (record) => {
      if (load(words, record + 1) !== 0) return;
      if (load(words, load(words, record) + LeaseRecord.state) >= LeaseState.granted) held++;
    });
  }
  const area = areaOf(thread);
  return {
    held,
    recalls: load(words, area + LeaseArea.recalls),
    expired: load(words, area + LeaseArea.expired),
  };
}

/** What is asked for: pages [first, last], as `kind`; how long its holder may take to return it. */
export interface LeaseRequest {
  readonly first: number;
  readonly last: number;
  readonly kind: LeaseKind;
  readonly graceMs: number;
  /** Whether this thread can return its own leases meanwhile, since it does not block. */
  readonly returnsOwn: boolean;
}

/** A lease that stands in somebody's way, as it was when it was found. */
interface Obstacle {
  readonly serial: number;
  readonly holder: Holder;
  readonly first: number;
  readonly last: number;
  readonly kind: LeaseKind;
  readonly state: LeaseState;
  readonly reason: Reason;
  /** Of a recalled one: it is waited for until then at most. */
  readonly deadline: number | null;
  /** What `leaseWake` was. */
  readonly wake: number;
}

/**
 * Puts a request at the end of the mapping's queue, or ahead of all that are in it.
 * Throws: ENOMEM, with nothing changed.
 */
function enqueue(
  thread: Thread,
  mapping: Mapping,
  { first, last, kind, graceMs }: Omit<LeaseRequest, "returnsOwn">,
  state: LeaseState,
  ahead = false,
): Lease {
  const { words } = thread;
  const area = areaOf(thread);
  const record = thread.leases.take();
  let lease: Lease;
  try {
    lease = allocateObject(thread, area);
  } catch (error) {
    thread.leases.giveEmpty(record);
    throw error;
  }
  store(words, lease + LeaseRecord.mapping, mapping);
  store(words, lease + LeaseRecord.holder, thread.holder);
  store(words, lease + LeaseRecord.serial, add(words, area + LeaseArea.serial, 1) + 1);
  store(words, lease + LeaseRecord.first, first | 0);
  store(words, lease + LeaseRecord.last, last | 0);
  store(words, lease + LeaseRecord.kind, kind);
  store(words, lease + LeaseRecord.state, state);
  store(words, lease + LeaseRecord.grace, graceMs);
  store(words, lease + LeaseRecord.reason, 0);
  store(words, lease + LeaseRecord.tableRecord, record);
  store(words, record + 1, 0);
  store(words, record, lease);
  enter(thread);
  let link = mapping + MappingWord.leases;
  while (ahead && load(words, link) !== 0) link = load(words, link);
  store(words, lease + LeaseRecord.next, load(words, link));
  store(words, link, lease);
  leave(thread);
  return lease;
}

/** Takes a lease, or a request, out of its mapping's list, if it is there, and tells all who wait. */
function unlink(thread: Thread, lease: Lease): void {
  const { words } = thread;
  const mapping = load(words, lease + LeaseRecord.mapping);
  enter(thread);
  let link = mapping + MappingWord.leases;
  while (load(words, link) !== 0 && load(words, link) !== lease) link = load(words, link);
  if (load(words, link) === lease) store(words, link, load(words, lease + LeaseRecord.next));
  store(words, lease + LeaseRecord.state, LeaseState.none);
  add(words, mapping + MappingWord.leaseWake, 1);
  leave(thread);
  wakeAll(words, mapping + MappingWord.leaseWake);
  wakeAll(words, lease + LeaseRecord.state);
}

/**
 * Returns a lease, or gives a request up. The lease is this thread's, and no pin is tied to it.
 * Locks: none. Sleeps: never.
 */
export function returnLease(thread: Thread, lease: Lease): void {
  const record = load(thread.words, lease + LeaseRecord.tableRecord);
  unlink(thread, lease);
  thread.leases.give(record);
  freeObject(thread, areaOf(thread), lease);
}

/** Takes away the leases of dead threads, their requests and the places of their breaks. */
export function recoverLeases(thread: Thread): void {
  const { words } = thread;
  thread.onThreadDeath((_dead, slotBase) => {
    forEachRecord(words, slotBase + Slot.leases, 2, (record) => {
      const lease = load(words, record);
      const isPin = load(words, record + 1) !== 0;
      if (!isPin) unlink(thread, lease);
      store(words, record, 0);
      // A recoverer that dies here has lost one record: a second one would free it twice.
      if (!isPin) freeObject(thread, areaOf(thread), lease);
    });
  });
}

function pagesOf({ words }: Thread, lease: Lease): { first: number; last: number } {
  return {
    first: loadUnsigned(words, lease + LeaseRecord.first),
    last: loadUnsigned(words, lease + LeaseRecord.last),
  };
}

function overlaps(thread: Thread, lease: Lease, first: number, last: number): boolean {
  const pages = pagesOf(thread, lease);
  return pages.first <= last && pages.last >= first;
}

/** Makes a recalled lease expired if its time is up. The guard is held. */
function settle(thread: Thread, lease: Lease): LeaseState {
  const { words } = thread;
  const state = load(words, lease + LeaseRecord.state) as LeaseState;
  if (state !== LeaseState.recalled) return state;
  const rest = remainingMs(load(words, lease + LeaseRecord.deadline), clockMs());
  // More than the grace: the deadline is so long ago that the clock has gone round.
  if (rest > 0 && rest <= load(words, lease + LeaseRecord.grace)) return state;
  store(words, lease + LeaseRecord.state, LeaseState.expired);
  add(words, areaOf(thread) + LeaseArea.expired, 1);
  return LeaseState.expired;
}

/**
 * Recalls a granted lease, from now on for its grace. One that is recalled is told again, in case that
 * who recalled it died before he told. The guard is held.
 */
function recall(thread: Thread, lease: Lease, reason: Reason): void {
  const { words } = thread;
  if (load(words, lease + LeaseRecord.state) === LeaseState.granted) {
    const until = clockMs() + load(words, lease + LeaseRecord.grace);
    store(words, lease + LeaseRecord.deadline, until);
    store(words, lease + LeaseRecord.reason, reason);
    store(words, lease + LeaseRecord.state, LeaseState.recalled);
    add(words, areaOf(thread) + LeaseArea.recalls, 1);
  }
  wakeAll(words, lease + LeaseRecord.state);
}

/**
 * Makes all leases of all files expired, since there is nothing left to rely on, and tells their holders.
 * Locks: none. Sleeps: never.
 */
export function expireLeases(thread: Thread): void {
  const { region, words } = thread;
  enter(thread);
  for (let slot = 0; slot < region.slotsUsed; slot++) {
    forEachRecord(words, region.slotBase(slot) + Slot.leases, 2, (record) => {
      const lease = load(words, record);
      const state = load(words, lease + LeaseRecord.state);
      if (state !== LeaseState.granted && state !== LeaseState.recalled) return;
      if (state === LeaseState.granted) store(words, lease + LeaseRecord.reason, Reason.removal);
      store(words, lease + LeaseRecord.deadline, clockMs());
      store(words, lease + LeaseRecord.state, LeaseState.expired);
      add(words, areaOf(thread) + LeaseArea.expired, 1);
      const mapping = load(words, lease + LeaseRecord.mapping);
      add(words, mapping + MappingWord.leaseWake, 1);
      wakeAll(words, mapping + MappingWord.leaseWake);
      wakeAll(words, lease + LeaseRecord.state);
    });
  }
  leave(thread);
}

/** Who recalls leases, and which: see rule 7 for those of this thread. */
interface Claim {
  readonly first: number;
  readonly last: number;
  /** Shared leases conflict as well. */
  readonly isExclusive: boolean;
  readonly reason: Reason;
  /** Of a request: whether this thread's own leases are recalled for it. */
  readonly returnsOwn?: boolean;
}

/**
 * Recalls the leases from `start` on (the list's head, or what is older than a request) that conflict
 * with a claim. Answers one that has to be waited for, the oldest, or null. The guard is held.
 */
function recallFrom(thread: Thread, mapping: Mapping, start: Lease, claim: Claim): Obstacle | null {
  const { words } = thread;
  const { reason } = claim;
  let oldest: Lease = 0;
  for (let lease = start; lease !== 0; lease = load(words, lease + LeaseRecord.next)) {
    const isExclusive = load(words, lease + LeaseRecord.kind) === LeaseKind.exclusive;
    if (!(claim.isExclusive || isExclusive)) continue;
    if (!overlaps(thread, lease, claim.first, claim.last)) continue;
    const state = settle(thread, lease);
    if (state === LeaseState.expired) continue;
    const isGranted = state >= LeaseState.granted;
    const isOwn = load(words, lease + LeaseRecord.holder) === thread.holder;
    if (!isGranted && reason !== Reason.lease) continue;
    if (isOwn && reason === Reason.write) continue;
    if (isOwn && reason === Reason.lease && !claim.returnsOwn) {
      return obstacleAt(thread, mapping, lease);
    }
    if (isGranted) recall(thread, lease, reason);
    if (isOwn && reason === Reason.unmap) continue;
    oldest = lease;
  }
  return oldest === 0 ? null : obstacleAt(thread, mapping, oldest);
}

/** The guard is held. */
function obstacleAt(thread: Thread, mapping: Mapping, lease: Lease): Obstacle {
  const { words } = thread;
  const state = load(words, lease + LeaseRecord.state) as LeaseState;
  return {
    serial: load(words, lease + LeaseRecord.serial),
    holder: load(words, lease + LeaseRecord.holder),
    ...pagesOf(thread, lease),
    kind: load(words, lease + LeaseRecord.kind) as LeaseKind,
    state,
    reason: load(words, lease + LeaseRecord.reason) as Reason,
    deadline: state === LeaseState.recalled ? load(words, lease + LeaseRecord.deadline) : null,
    wake: load(words, mapping + MappingWord.leaseWake),
  };
}

/**
 * Sleeps until a lease of the mapping goes, or the obstacle's time is up. `about`: of a break, what it
 * breaks. No lock is held.
 */
function* waitForReturn(
  thread: Thread,
  mapping: Mapping,
  obstacle: Obstacle,
  about: { readonly subject?: WaitSubject },
): Sleeps<void> {
  const { words } = thread;
  const word = mapping + MappingWord.leaseWake;
  const { wake, deadline } = obstacle;
  while (load(words, word) === wake) {
    const rest = deadline === null ? Infinity : remainingMs(deadline, clockMs());
    if (rest <= 0) return;
    yield {
      word,
      expected: wake,
      what: () => obstacleText(thread, mapping, obstacle),
      kind: "leases",
      ...about,
      sliceMs: rest,
    };
  }
}

function obstacleText(thread: Thread, mapping: Mapping, obstacle: Obstacle): string {
  const { serial, holder, first, last, kind, state, reason, deadline } = obstacle;
  const range = last === PAGE_INDEX_MAX ? `from page ${first} on` : `of pages ${first} to ${last}`;
  const place = `${range} of inode ${inoOf(thread, mapping)}`;
  const who = thread.describe(holder);
  if (state === LeaseState.breaking) return `a write or layout change ${place} by ${who}`;
  const name = kind === LeaseKind.exclusive ? "exclusive" : "shared";
  const lease = `the ${name} lease ${serial} ${place}, of ${who}`;
  if (state === LeaseState.waiting) return `${lease}, which was asked for before`;
  if (deadline === null) return lease;
  const rest = Math.max(0, remainingMs(deadline, clockMs()));
  return `the return of ${lease}, recalled for ${REASONS[reason]}, which expires in ${rest} ms`;
}

/**
 * Asks for a lease of pages of a file, recalling what conflicts with it.
 * Locks: takes the io lock, shared, to look and to be granted; none while it waits. Sleeps: for it, and
 * for leases and requests that came before. Throws: EDEADLK when a lease, request or break of this thread
 * is in the way and nobody could end it; ENOMEM; the task's abort or deadline. Nothing is left then.
 */
export function* requestLease(task: Task, mapping: Mapping, request: LeaseRequest): Sleeps<Lease> {
  const { thread } = task;
  const lease = enqueue(thread, mapping, request, LeaseState.waiting);
  try {
    for (;;) {
      const obstacle = yield* tryGrant(task, mapping, lease, request);
      if (obstacle === null) return lease;
      const isOwn = obstacle.holder === thread.holder && !request.returnsOwn;
      if (isOwn && obstacle.deadline === null) {
        const text = obstacleText(thread, mapping, obstacle);
        throw new HoldfastError(
          "EDEADLK",
          `this thread would wait for itself: for ${text}; end that first, or ask without blocking`,
        );
      }
      yield* waitForReturn(thread, mapping, obstacle, {});
    }
  } catch (error) {
    returnLease(thread, lease);
    throw error;
  }
}

/** Grants the request if nothing before it conflicts; else answers what does. */
function* tryGrant(
  task: Task,
  mapping: Mapping,
  lease: Lease,
  { first, last, kind, returnsOwn }: LeaseRequest,
): Sleeps<Obstacle | null> {
  const { thread } = task;
  const { words } = thread;
  using _io = yield* lockShared(task, mapping + MappingWord.ioLock, {
    rankName: "io",
    order: inoOf(thread, mapping),
  });
  const isExclusive = kind === LeaseKind.exclusive;
  const claim = { first, last, isExclusive, reason: Reason.lease, returnsOwn };
  enter(thread);
  const obstacle = recallFrom(thread, mapping, load(words, lease + LeaseRecord.next), claim);
  if (obstacle === null) {
    store(words, lease + LeaseRecord.state, LeaseState.granted);
    // Those who wait for this request have a lease to recall now.
    add(words, mapping + MappingWord.leaseWake, 1);
  }
  leave(thread);
  if (obstacle === null) wakeAll(words, mapping + MappingWord.leaseWake);
  return obstacle;
}

/**
 * What a break has to do with leases: it recalls them, and once it has to wait it stands in the
 * mapping's queue until it ends, so that later requests cannot overtake it for ever.
 */
export class LeaseBreak implements Disposable {
  readonly #thread: Thread;
  readonly #mapping: Mapping;
  #place: Lease = 0;
  #obstacle: Obstacle | null = null;

  constructor(thread: Thread, mapping: Mapping) {
    this.#thread = thread;
    this.#mapping = mapping;
  }

  /**
   * Recalls the leases of pages [first, last]: all of them for `unmap`; for `write` those of other
   * threads, and shared ones only if `allocates`. Whether one has to be waited for: then drop the
   * locks, `wait`, take them, and look at everything again.
   * Locks: io, exclusively. Sleeps: never. Throws: ENOMEM for its place in the queue.
   */
  recall(first: number, last: number, reason: Reason, allocates = true): boolean {
    const thread = this.#thread;
    const mapping = this.#mapping;
    if (load(thread.words, mapping + MappingWord.leases) === 0) return false;
    enter(thread);
    const start = load(thread.words, mapping + MappingWord.leases);
    const claim = { first, last, isExclusive: allocates, reason };
    const obstacle = recallFrom(thread, mapping, start, claim);
    leave(thread);
    if (obstacle === null) return false;
    this.#obstacle = obstacle;
    this.#queue(first, last);
    return true;
  }

  /**
   * As `recall`, for a layout change of pages [first, last] that does not hold the io lock, and waits for no
   * request: it takes a place ahead of them first, so that none is granted there. Whether a lease has to be
   * waited for. Every time the same pages.
   * Locks: none needed. Sleeps: never. Throws: ENOMEM.
   */
  recallAhead(first: number, last: number): boolean {
    const thread = this.#thread;
    const mapping = this.#mapping;
    if (this.#place === 0) this.#takePlace(first, last, true);
    enter(thread);
    const start = load(thread.words, mapping + MappingWord.leases);
    const claim = { first, last, isExclusive: true, reason: Reason.unmap };
    this.#obstacle = recallFrom(thread, mapping, start, claim);
    leave(thread);
    return this.#obstacle !== null;
  }

  #takePlace(first: number, last: number, ahead: boolean): void {
    const request = { first, last, kind: LeaseKind.exclusive, graceMs: 0 };
    this.#place = enqueue(this.#thread, this.#mapping, request, LeaseState.breaking, ahead);
  }

  /**
   * Takes a place in the queue, for all pages that were recalled so far. It only grows, and requests look
   * at it under the io lock: no guard is needed for that.
   */
  #queue(first: number, last: number): void {
    const { words } = this.#thread;
    if (this.#place === 0) {
      this.#takePlace(first, last, false);
      return;
    }
    const before = loadUnsigned(words, this.#place + LeaseRecord.first);
    store(words, this.#place + LeaseRecord.first, Math.min(before, first) | 0);
    const after = loadUnsigned(words, this.#place + LeaseRecord.last);
    store(words, this.#place + LeaseRecord.last, Math.max(after, last) | 0);
  }

  /** Sleeps until one of the leases in the way is returned, or expires. No lock is held. */
  *wait(): Sleeps<void> {
    const obstacle = this.#obstacle;
    this.#obstacle = null;
    if (obstacle === null) return;
    const mapping = this.#mapping;
    const subject = { mapping, ...pagesOf(this.#thread, this.#place) };
    yield* waitForReturn(this.#thread, mapping, obstacle, { subject });
  }

  [Symbol.dispose](): void {
    if (this.#place !== 0) returnLease(this.#thread, this.#place);
    this.#place = 0;
  }
}

// What the holder sees of its lease.

/** The word that changes when the lease is recalled: it holds `LeaseState.granted` until then. */
export function recallWord(lease: Lease): number {
  return lease + LeaseRecord.state;
}

/** The state of this thread's lease as it is now: one whose time is up is expired. */
export function stateOfLease(thread: Thread, lease: Lease): LeaseState {
  if (load(thread.words, lease + LeaseRecord.state) !== LeaseState.recalled) {
    return load(thread.words, lease + LeaseRecord.state) as LeaseState;
  }
  enter(thread);
  const state = settle(thread, lease);
  leave(thread);
  return state;
}

export function serialOfLease(thread: Thread, lease: Lease): number {
  return load(thread.words, lease + LeaseRecord.serial);
}

/** Why the lease was recalled; null when it was not. */
export function reasonOfRecall(thread: Thread, lease: Lease): Reason | null {
  const state = load(thread.words, lease + LeaseRecord.state);
  if (state < LeaseState.recalled) return null;
  return load(thread.words, lease + LeaseRecord.reason) as Reason;
}

/** Milliseconds until a recalled lease expires; negative: since it has. */
export function graceLeft(thread: Thread, lease: Lease): number {
  return remainingMs(load(thread.words, lease + LeaseRecord.deadline), clockMs());
}

// Long-term pins.

/** Throws: EBUSY when the lease is recalled, ESTALE when it has expired. */
export function assertGranted(thread: Thread, lease: Lease): void {
  const state = stateOfLease(thread, lease);
  if (state === LeaseState.granted) return;
  assertNotExpired(thread, lease);
  const reason = REASONS[load(thread.words, lease + LeaseRecord.reason)];
  throw new HoldfastError(
    "EBUSY",
    `lease ${serialOfLease(thread, lease)} was recalled for ${reason} and takes no new long-term pins; ` +
      `release those it has and return it, within ${graceLeft(thread, lease)} ms`,
  );
}

/** Throws: ESTALE, naming the lease and when it expired. */
export function assertNotExpired(thread: Thread, lease: Lease): void {
  if (stateOfLease(thread, lease) !== LeaseState.expired) return;
  throw new HoldfastError(
    "ESTALE",
    `lease ${serialOfLease(thread, lease)} was recalled and expired ${ago(thread, lease)} ago; ` +
      "end the I/O under it, release its pins, return it and ask for another",
  );
}

function ago(thread: Thread, lease: Lease): string {
  return `${(Math.max(0, -graceLeft(thread, lease)) / 1000).toFixed(1)} s`;
}

/**
 * Ties a pin of this thread to a lease of it: rule 6. Returns the note of it, for `untiePin`.
 * Throws: EBUSY when the lease is recalled, ESTALE when it has expired; the pin is not tied then.
 */
export function tiePin(thread: Thread, lease: Lease, pin: PinRecord): number {
  const record = thread.leases.take();
  store(thread.words, record + 1, pin);
  store(thread.words, record, lease);
  try {
    assertGranted(thread, lease);
  } catch (error) {
    thread.leases.give(record);
    throw error;
  }
  return record;
}

export function untiePin(thread: Thread, record: number): void {
  thread.leases.give(record);
}

/** For whoever waits for a pin: under which lease it is held; "" for none. */
export function longTermText(thread: Thread, { holder, record: pin }: HeldPin): string {
  const { region, words } = thread;
  let text = "";
  forEachRecord(words, region.slotBase(slotOfHolder(holder)) + Slot.leases, 2, (record) => {
    if (load(words, record + 1) !== pin) return;
    const lease = loadRelaxed(words, record);
    const serial = load(words, lease + LeaseRecord.serial);
    const left = graceLeft(thread, lease);
    const state = load(words, lease + LeaseRecord.state);
    const isOver = state === LeaseState.expired || (state === LeaseState.recalled && left <= 0);
    if (isOver) text = `, long-term under lease ${serial}, which expired ${ago(thread, lease)} ago`;
    else if (state !== LeaseState.recalled) text = `, long-term under lease ${serial}`;
    else text = `, long-term under lease ${serial}, recalled, which expires in ${left} ms`;
  });
  return text;
}
