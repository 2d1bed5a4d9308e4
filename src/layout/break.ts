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
import { synchronize } from "../sync/guard.ts";
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
export function* withBrokenLayout<T>(
  task: Task,
  context: BreakContext,
  mapping: Mapping,
  plan: () => PageRange | null,
  change: (broken: BrokenLayout) => Sleeps<T>,
): Sleeps<T> {
  const order = inoOf(context.thread, mapping);
  using patience = new Patience(context.thread, mapping);
  using leases = new LeaseBreak(context.thread, mapping);
  for (;;) {
    let busy: BusyPage;
    {
      using io = yield* lockExclusive(task, mapping + MappingWord.ioLock, {
        rankName: "io",
        order,
      });
      using map = yield* lockExclusive(task, mapping + MappingWord.mapLock, {
        rankName: "map",
        order,
      });
      context.pages.deviceState.assertPresent();
      const planned = plan();
      if (planned === null) return yield* change({ io, map, range: null });
      const range = wholeFolios(context.thread, mapping, planned);
      if (leases.recall(range.first, range.last, Reason.unmap)) {
        map.release();
        io.release();
        yield* leases.wait();
        continue;
      }
      using _announced = announce(context.thread, mapping, range);
      const found = context.protect ? findBusy(context, mapping, range) : null;
      if (found === null) {
        context.windows.revoke(mapping, range.first, range.last);
        count(context.thread, Counter.breaks);
        traceFile(context.thread, Event.breakDone, mapping, range.first, range.last);
        return yield* change({ io, map, range });
      }
      busy = found;
      traceFile(context.thread, Event.breakBusy, mapping, range.first, range.last, found.index);
    }
    count(context.thread, Counter.breakWaits);
    yield* waitForPage(context, mapping, busy, patience);
    traceFile(
      context.thread,
      Event.breakWake,
      mapping,
      busy.range.first,
      busy.range.last,
      busy.index,
    );
  }
}

interface BusyPage extends OwnedPage {
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

/**
 * Announces a break and waits one epoch: from then on no fast pin in the range is under way. The map
 * lock, held exclusively, is what makes the announcer the only one.
 */
function announce(thread: Thread, mapping: Mapping, range: PageRange): Disposable {
  const { words } = thread;
  store(words, mapping + MappingWord.breakFirst, range.first | 0);
  store(words, mapping + MappingWord.breakLast, range.last | 0);
  store(words, thread.base + Slot.breaking, mapping);
  store(words, mapping + MappingWord.breakHolder, thread.holder);
  synchronize(thread);
  traceFile(thread, Event.breakAnnounce, mapping, range.first, range.last);
  return {
    [Symbol.dispose]: () => {
      store(words, mapping + MappingWord.breakHolder, 0);
      store(words, thread.base + Slot.breaking, 0);
    },
  };
}

/** Withdraws what dead threads had announced: each still has its map lock, which goes after this. */
export function recoverBreaks(thread: Thread): void {
  const { words } = thread;
  thread.onThreadDeath((_dead, slotBase) => {
    const mapping = load(words, slotBase + Slot.breaking);
    if (mapping === 0) return;
    store(words, mapping + MappingWord.breakHolder, 0);
    store(words, slotBase + Slot.breaking, 0);
  });
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
    if (pages.pinCount(page) > 0) return { page, index, range };
    clearMark(thread, mapping, index, Mark.pinned);
    from = index + 1;
  }
}

/** Sleeps until the page's last pin is released. No lock is held. */
function* waitForPage(
  context: BreakContext,
  mapping: Mapping,
  busy: BusyPage,
  patience: Patience,
): Sleeps<void> {
  const { thread, pages } = context;
  const { first, last } = busy.range;
  const about = (pin: HeldPin): string => longTermText(thread, pin);
  for (;;) {
    patience.press();
    const value = pages.prepareWait(busy.page);
    // After its mark is set: whoever notes that the device is gone wakes all who have one.
    pages.deviceState.assertPresent();
    // The record may belong to another page by now: whoever holds that one is not waited for.
    if (value === null || !stillOwned(pages, mapping, [busy])) return;
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
}

/** How hard a break presses: rule 4. */
class Patience {
  readonly #thread: Thread;
  readonly #mapping: Mapping;
  #since = -1;
  #phaseMs = INSIST_FIRST_MS;
  #phaseEnd = 0;
  #insisting = false;

  constructor(thread: Thread, mapping: Mapping) {
    this.#thread = thread;
    this.#mapping = mapping;
  }

  /** Called at every turn of the wait. */
  press(): void {
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

  /** Lets new pins go on. */
  [Symbol.dispose](): void {
    const { words } = this.#thread;
    if (load(words, this.#mapping + MappingWord.breakInsist) === 0) return;
    store(words, this.#mapping + MappingWord.breakInsist, 0);
    add(words, this.#mapping + MappingWord.breakWake, 1);
    wakeAll(words, this.#mapping + MappingWord.breakWake);
  }
}
