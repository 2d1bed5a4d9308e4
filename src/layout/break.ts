/**
 * Break: making a part of a file's layout safe to change. When it has succeeded, and until its locks
 * drop, nobody can reach the range: no pin, no window; and nobody relies on it: no lease.
 *
 *         +------------------ locks dropped, wait for a lease's return, or the last pin <------+
 *         v                                                                                    |
 *     take io and map locks -> recall leases -> announce -> one epoch -> a busy page? -- yes -> withdraw
 *                                    |                                        | no
 *                          yes: one to wait for                               v
 *                                                revoke windows -> change the layout -> withdraw, drop locks
 *
 * Rules. (1) What is waited for is what is tested: a page's pin count at zero (pages.ts, 4).
 *        (2) A lock dropped means that everything is looked at again: `plan` runs after every take.
 *        (3) Pins are looked for before windows are revoked: the announcement keeps fast pins out,
 *            the map lock slow ones and faults, so revoking cannot bring a new one; and a break that
 *            has to wait, or is given up, has not disturbed anybody's window.
 *        (4) A break that waits long insists: for a bounded time, new pins of threads that hold none
 *            wait for it. Then it lets pins pass for as long, in case the one it waits for needs
 *            another, and insists twice as long. So it is not starved, and blocks nobody for ever.
 *            However it ends, it no longer insists; if its thread dies, until the time is up.
 *
 *        (5) Leases first, pages second: who returns a lease gives back its long-term pins, and what
 *            is announced holds up pins that it may still need.
 *        (6) Of several files, all io locks are taken, then all map locks, each in the order of their
 *            inodes, and all breaks are announced before the epoch. A lease to wait for, or a busy page,
 *            in any of them drops everything.
 *        (7) Nobody pins a page that several files share (pin/pin.ts, 6). So a copy of one waits for no
 *            pin: a fault may ask for it, in whose thread's hands any pin may be.
 *
 * This is the break for `unmap`. That for `write` concerns leases only (dax/write-lock.ts).
 */
import { invariant } from "../base/invariant.ts";
import { HUGE_PAGES } from "../base/quantities.ts";
import { inoOf, type Mapping, MappingWord } from "../mapping/mapping.ts";
import {
  clearMark,
  findSlot,
  isHugeKind,
  isPageKind,
  kindOf,
  Mark,
  nextMarked,
  pageOf,
} from "../mapping/tree.ts";
import type { Pages } from "../pages/pages.ts";
import { traceFile } from "../mapping/trace.ts";
import { type OwnedPage, stillOwned } from "../pin/pin.ts";
import { describePins, type HeldPin, heldPins, pinHolders } from "../pin/record.ts";
import { add, load, store, wakeAll } from "../sync/atomics.ts";
import { clockMs } from "../sync/clock.ts";
import { enterEpoch, leaveEpoch, synchronize } from "../sync/guard.ts";
import { type Held, lockExclusive } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { Event } from "../sync/trace.ts";
import { Counter, count, counted } from "../sync/statistics.ts";
import { Slot, type Thread } from "../sync/thread.ts";
import { LeaseBreak, longTermText, Reason } from "./lease.ts";
import type { Windows } from "../window/window.ts";

const INSIST_AFTER_MS = 5;
const INSIST_FIRST_MS = 10;
const INSIST_MAX_MS = 2000;

/** Pages [first, last] of a file. `last` may be PAGE_INDEX_MAX, for all to the end. */
export interface PageRange {
  readonly first: number;
  readonly last: number;
}

/** What breaking needs of a volume, in one thread. */
export interface BreakContext {
  readonly thread: Thread;
  readonly pages: Pages;
  readonly windows: Windows;
  /** False: pins are not waited for. Only to show that the checks find what goes wrong then. */
  readonly protect: boolean;
}

/** Proof that the locks of a layout change are held and its range is broken. */
export interface BrokenLayout {
  readonly io: Held<"io">;
  readonly map: Held<"map">;
  /** What was broken, widened to whole folios; null when the plan had nothing to break. */
  readonly range: PageRange | null;
}

/** Breaks that succeeded, and how many waits for pins they took. */
export function breakStatistics(thread: Thread): { breaks: number; waits: number } {
  return {
    breaks: counted(thread, Counter.breaks),
    waits: counted(thread, Counter.breakWaits),
  };
}

/**
 * Takes a file's io and map locks exclusively, breaks the range that `plan` names, and runs `change`
 * with all of it held. `plan` runs with the locks held and may throw; it runs again whenever they
 * had to be dropped.
 * Locks: takes io, then map. Sleeps: for the locks and, holding neither, for leases and pins.
 * Errors: the task's signal or deadline, naming who holds the lease or the pins; EIO when the device is
 * gone. The file is then as it was.
 */
export function withBrokenLayout<T>(
  task: Task,
  context: BreakContext,
  mapping: Mapping,
  plan: () => PageRange | null,
  change: (broken: BrokenLayout) => Sleeps<T>,
): Sleeps<T> {
  return withBrokenLayouts(task, context, [{ mapping, plan }], ([broken]) => change(broken!));
}

/** A file to break, and the range of it (see `withBrokenLayout`). */
export interface FileToBreak {
  readonly mapping: Mapping;
  readonly plan: () => PageRange | null;
}

/**
 * As `withBrokenLayout`, of one or two different files together. `change` gets what is held of each, in
 * their order. A plan runs when the locks of all are held.
 */
export function* withBrokenLayouts<T>(
  task: Task,
  context: BreakContext,
  files: readonly FileToBreak[],
  change: (broken: readonly BrokenLayout[]) => Sleeps<T>,
): Sleeps<T> {
  const { thread } = context;
  const sorted = files
    .map(({ mapping, plan }) => ({ mapping, plan, order: inoOf(thread, mapping) }))
    .sort((a, b) => a.order - b.order);
  using patience = new Patience(thread);
  using leases = new LeaseBreaks(thread);
  for (;;) {
    let busy: BusyPage;
    {
      using ios = new AllHeld<Held<"io">>();
      for (const { mapping, order } of sorted) {
        const lock = mapping + MappingWord.ioLock;
        ios.add(mapping, yield* lockExclusive(task, lock, { rankName: "io", order }));
      }
      using maps = new AllHeld<Held<"map">>();
      for (const { mapping, order } of sorted) {
        const lock = mapping + MappingWord.mapLock;
        maps.add(mapping, yield* lockExclusive(task, lock, { rankName: "map", order }));
      }
      context.pages.deviceState.assertPresent();
      const ranges = new Map<Mapping, PageRange>();
      for (const { mapping, plan } of sorted) {
        const planned = plan();
        if (planned !== null) ranges.set(mapping, wholeFolios(thread, mapping, planned));
      }
      if (leases.recall(ranges)) {
        maps.release();
        ios.release();
        yield* leases.wait();
        continue;
      }
      using _announced = announce(thread, ranges);
      const found = findBusyIn(context, ranges);
      if (found === null) {
        for (const [mapping, { first, last }] of ranges) {
          context.windows.revoke(mapping, first, last);
          count(thread, Counter.breaks);
          traceFile(thread, Event.breakDone, mapping, first, last);
        }
        const broken = files.map(({ mapping }) => ({
          io: ios.of(mapping),
          map: maps.of(mapping),
          range: ranges.get(mapping) ?? null,
        }));
        return yield* change(broken);
      }
      busy = found;
    }
    yield* waitForPage(context, busy, patience);
  }
}

/** What is held of each file; given back in the reverse order. */
class AllHeld<H extends Held> implements Disposable {
  readonly #held: { mapping: Mapping; held: H }[] = [];

  add(mapping: Mapping, held: H): void {
    this.#held.push({ mapping, held });
  }

  of(mapping: Mapping): H {
    return this.#held.find((each) => each.mapping === mapping)!.held;
  }

  /** Giving back twice does nothing. */
  release(): void {
    for (const { held } of this.#held.toReversed()) held.release();
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/** What a break of several files has to do with their leases. */
class LeaseBreaks implements Disposable {
  readonly #thread: Thread;
  readonly #ofFiles = new Map<Mapping, LeaseBreak>();
  /** The one that has something to wait for. */
  #waiting: LeaseBreak | null = null;

  constructor(thread: Thread) {
    this.#thread = thread;
  }

  /** Recalls the leases of all ranges. Whether one has to be waited for. */
  recall(ranges: ReadonlyMap<Mapping, PageRange>): boolean {
    this.#waiting = null;
    for (const [mapping, { first, last }] of ranges) {
      let leases = this.#ofFiles.get(mapping);
      if (leases === undefined) {
        leases = new LeaseBreak(this.#thread, mapping);
        this.#ofFiles.set(mapping, leases);
      }
      if (leases.recall(first, last, Reason.unmap)) this.#waiting ??= leases;
    }
    return this.#waiting !== null;
  }

  /** Sleeps for one of them. No lock is held. */
  *wait(): Sleeps<void> {
    if (this.#waiting !== null) yield* this.#waiting.wait();
  }

  [Symbol.dispose](): void {
    for (const leases of this.#ofFiles.values()) leases[Symbol.dispose]();
  }
}

/**
 * Breaks, once, the range that `plan` names with the map lock alone, and runs `change` with that held:
 * for what takes a file's pages to other blocks and leaves its bytes as they are, so that calls that
 * hold the io lock, shared, may go on. `change` revokes what windows show. Returns the busy page that
 * stands in the way, with nothing held and nothing done: then `waitForPage`, and try again. Leases are
 * the caller's to recall.
 * Locks: takes map; the caller may hold io. Sleeps: for the lock.
 */
export function* tryWithBrokenPages(
  task: Task,
  context: BreakContext,
  mapping: Mapping,
  plan: () => Sleeps<PageRange | null>,
  change: (range: PageRange) => Sleeps<void>,
): Sleeps<BusyPage | null> {
  const { thread } = context;
  using _map = yield* lockExclusive(task, mapping + MappingWord.mapLock, {
    rankName: "map",
    order: inoOf(thread, mapping),
  });
  context.pages.deviceState.assertPresent();
  const planned = yield* plan();
  if (planned === null) return null;
  const range = wholeFolios(thread, mapping, planned);
  const ranges = new Map([[mapping, range]]);
  using _announced = announce(thread, ranges);
  const busy = findBusyIn(context, ranges);
  if (busy !== null) return busy;
  count(thread, Counter.breaks);
  traceFile(thread, Event.breakDone, mapping, range.first, range.last);
  yield* change(range);
  return null;
}

/** A page that a break has to wait for. */
export interface BusyPage extends OwnedPage {
  readonly mapping: Mapping;
  readonly range: PageRange;
}

/** Widens a range so that no entry of 2 MiB sticks out of it. The map lock is held exclusively. */
function wholeFolios(thread: Thread, mapping: Mapping, range: PageRange): PageRange {
  let { first, last } = range;
  if (isHugeAt(thread, mapping, first)) first -= first % HUGE_PAGES;
  if (isHugeAt(thread, mapping, last)) last += HUGE_PAGES - 1 - (last % HUGE_PAGES);
  return { first, last };
}

function isHugeAt(thread: Thread, mapping: Mapping, index: number): boolean {
  const slot = findSlot(thread.words, mapping, index);
  return slot !== 0 && isHugeKind(kindOf(load(thread.words, slot)));
}

/** Where a thread tells of the breaks that it has announced together. */
const ANNOUNCED = [Slot.breaking, Slot.breakingToo] as const;

/**
 * Announces the break of a range of each file and waits one epoch: from then on no fast pin in them is
 * under way. The map locks, held exclusively, are what makes the announcer the only one.
 */
export function announce(thread: Thread, ranges: ReadonlyMap<Mapping, PageRange>): Disposable {
  const { words } = thread;
  const places: BreakPlace[] = [];
  for (const [mapping, range] of ranges) {
    const slot = thread.base + ANNOUNCED[places.length]!;
    store(words, mapping + MappingWord.breakFirst, range.first | 0);
    store(words, mapping + MappingWord.breakLast, range.last | 0);
    store(words, slot, mapping);
    store(words, mapping + MappingWord.breakHolder, thread.holder);
    places.push({ mapping, slot });
  }
  if (places.length > 0) synchronize(thread);
  for (const [mapping, { first, last }] of ranges) {
    traceFile(thread, Event.breakAnnounce, mapping, first, last);
  }
  return new Announced(words, places);
}

/** A file whose break is announced, and the word of the thread's slot that says so. */
interface BreakPlace {
  readonly mapping: Mapping;
  readonly slot: number;
}

class Announced implements Disposable {
  readonly #words: Int32Array;
  readonly #places: readonly BreakPlace[];

  constructor(words: Int32Array, places: readonly BreakPlace[]) {
    this.#words = words;
    this.#places = places;
  }

  [Symbol.dispose](): void {
    for (const { mapping, slot } of this.#places) withdraw(this.#words, mapping, slot);
  }
}

function withdraw(words: Int32Array, mapping: Mapping, slot: number): void {
  store(words, mapping + MappingWord.breakHolder, 0);
  store(words, slot, 0);
}

/** Withdraws what dead threads had announced: each still has its map lock, which goes after this. */
export function recoverBreaks(thread: Thread): void {
  const { words } = thread;
  thread.onThreadDeath((_dead, slotBase) => {
    for (const { mapping, slot } of announcedIn(words, slotBase)) withdraw(words, mapping, slot);
  });
}

/** The breaks that a thread which has died had announced: of which files, and where it told so. */
export function announcedIn(words: Int32Array, slotBase: number): BreakPlace[] {
  return ANNOUNCED.map((word) => ({
    mapping: load(words, slotBase + word),
    slot: slotBase + word,
  })).filter(({ mapping }) => mapping !== 0);
}

/** A busy page in one of the ranges, or null. */
function findBusyIn(
  context: BreakContext,
  ranges: ReadonlyMap<Mapping, PageRange>,
): BusyPage | null {
  for (const [mapping, range] of ranges) {
    const found = context.protect ? findBusy(context, mapping, range) : null;
    if (found === null) continue;
    traceFile(context.thread, Event.breakBusy, mapping, range.first, range.last, found.index);
    return found;
  }
  return null;
}

/**
 * A busy page in the range, or null. Visits marked entries only; marks of idle ones are cleared, so
 * that they are looked at once. Locks: the range is announced.
 */
function findBusy(context: BreakContext, mapping: Mapping, range: PageRange): BusyPage | null {
  const { thread, pages } = context;
  let from = range.first;
  for (;;) {
    const index = nextMarked(thread.words, mapping, from, range.last, Mark.pinned);
    if (index < 0) return null;
    const entry = load(thread.words, findSlot(thread.words, mapping, index));
    // Pins mark pages alone, and a break clears the mark here before an entry is removed.
    invariant(isPageKind(kindOf(entry)), () => `page ${index} is marked pinned and has no page`);
    const page = pageOf(entry);
    if (pages.pinCount(page) > 0) return { mapping, page, index, range };
    clearMark(thread, mapping, index, Mark.pinned);
    from = index + 1;
  }
}

/** Sleeps until the page's last pin is released. No lock is held. */
export function* waitForPage(
  context: BreakContext,
  busy: BusyPage,
  patience: Patience,
): Sleeps<void> {
  const { thread, pages } = context;
  const { mapping, index } = busy;
  const { first, last } = busy.range;
  count(thread, Counter.breakWaits);
  const about = (pin: HeldPin): string => longTermText(thread, pin);
  for (;;) {
    patience.press(mapping);
    const value = pages.prepareWait(busy.page);
    // After its mark is set: whoever notes that the device is gone wakes all who have one.
    pages.deviceState.assertPresent();
    // The record may belong to another page by now: whoever holds that one is not waited for.
    if (value === null || !isStillOf(context, busy)) break;
    yield {
      word: pages.wakeWord(busy.page),
      expected: value,
      kind: "pins",
      subject: { mapping, first, last },
      holders: () => pinHolders(thread, heldPins(thread, mapping, first, last)),
      what: () =>
        `the pins of pages ${first} to ${last} of inode ${inoOf(thread, mapping)} ` +
        `(${describePins(thread, heldPins(thread, mapping, first, last), about)})`,
    };
  }
  traceFile(thread, Event.breakWake, mapping, first, last, index);
}

/** Whether the record is still that of the file's page. Of a shared one its entry tells. */
function isStillOf({ thread, pages }: BreakContext, busy: BusyPage): boolean {
  const { words } = thread;
  const { mapping, page, index } = busy;
  if (pages.sharers(page) === 0) return stillOwned(pages, mapping, [busy]);
  enterEpoch(thread);
  // A node is freed only inside an announced break: then look again, with the locks.
  const mayLook = load(words, mapping + MappingWord.breakHolder) === 0;
  const slot = mayLook ? findSlot(words, mapping, index) : 0;
  const entry = slot === 0 ? 0 : load(words, slot);
  leaveEpoch(thread);
  return isPageKind(kindOf(entry)) && pageOf(entry) === page;
}

/** How hard a break presses: rule 4. */
export class Patience {
  readonly #thread: Thread;
  #mapping: Mapping = 0;
  #since = -1;
  #phaseMs = INSIST_FIRST_MS;
  #phaseEnd = 0;
  #insisting = false;

  constructor(thread: Thread) {
    this.#thread = thread;
  }

  /** Called at every turn of the wait for a page of `mapping`. */
  press(mapping: Mapping): void {
    if (mapping !== this.#mapping) this.#begin(mapping);
    const now = performance.now();
    if (this.#since < 0) this.#since = now;
    if (now - this.#since < INSIST_AFTER_MS || now < this.#phaseEnd) return;
    this.#insisting = !this.#insisting;
    this.#phaseEnd = now + this.#phaseMs;
    if (this.#insisting) {
      const until = (clockMs() + this.#phaseMs) | 1;
      store(this.#thread.words, this.#mapping + MappingWord.breakInsist, until);
    } else {
      this.#phaseMs = Math.min(INSIST_MAX_MS, this.#phaseMs * 2); // and the time of the last is up
    }
  }

  /** Of two files, insists on pins of the one that is waited for. */
  #begin(mapping: Mapping): void {
    this.#relent();
    this.#mapping = mapping;
    this.#phaseEnd = 0;
    this.#insisting = false;
  }

  [Symbol.dispose](): void {
    this.#relent();
  }

  /** Lets new pins go on. */
  #relent(): void {
    const { words } = this.#thread;
    if (this.#mapping === 0) return;
    if (load(words, this.#mapping + MappingWord.breakInsist) === 0) return;
    store(words, this.#mapping + MappingWord.breakInsist, 0);
    add(words, this.#mapping + MappingWord.breakWake, 1);
    wakeAll(words, this.#mapping + MappingWord.breakWake);
  }
}
