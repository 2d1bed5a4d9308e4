/**
 * Pins: counted references held by I/O. A pinned page's block stays with its file and offset until
 * the release, and nothing can take it away meanwhile.
 *
 * Record, in the holder's table: 0 mapping | 1 first page | 2 pages counted so far | 3 page record's
 * id + 1 when one entry holds all of the pin, else 0 | 4 serial, and in its lowest bit whether the pin
 * writes | 5 since when it is held, ms + 1; 0 when that is not known yet (held-clock.ts).
 *
 * Invariants. (1) A page's pins are the records that cover it: a record's `counted` moves together
 *                 with the page's count, one entry at a time (sync/atomics.ts, addThenNote).
 *             (2) Once a break is announced and an epoch has passed, no count in its range rises:
 *                 the fast path looks for the announcement inside the epoch that it counts in, and
 *                 the slow path holds the map lock. (So an entry need not be read again after the
 *                 count: it cannot have gone within the epoch.)
 *             (3) A pinned entry is marked pinned before it is counted, so that a search by marks
 *                 finds it; marks are cleared only inside a broken range.
 *             (4) A page pinned for writing is marked dirty, and was so after it was counted:
 *                 write-back clears the mark first, looks at the count second and persists third.
 *             (5) A pin of many pages holds all of them or none while it waits.
 *             (6) No page of an extent that may be shared is pinned, or marked so: the slow path makes it
 *                 the file's own first (dax/pins.ts), and entries go when it comes to be shared. But on a
 *                 volume mounted read-only, where nothing is ever copied, and of copied files, whose
 *                 pages are not those of their extents.
 *
 * An entry of 2 MiB is counted once for all its pages that one pin covers.
 */
import { invariant } from "../base/invariant.ts";
import { HUGE_PAGES } from "../base/quantities.ts";
import { type Mapping, MappingWord } from "../mapping/mapping.ts";
import {
  EntryKind,
  findSlot,
  isHugeKind,
  isPageKind,
  isMarked,
  isMarkedRelaxed,
  kindOf,
  makeEntry,
  Mark,
  pageOf,
  setMark,
  unlocked,
} from "../mapping/tree.ts";
import type { PageId, Pages } from "../pages/pages.ts";
import {
  addThenNote,
  cas,
  load,
  loadOwn,
  loadRelaxed,
  loadUnsigned,
  store,
  storeOwn,
  type Words,
} from "../sync/atomics.ts";
import { clockMs, remainingMs } from "../sync/clock.ts";
import { enterEpoch, leaveEpoch } from "../sync/guard.ts";
import { lockShared } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { forEachRecord } from "../sync/table.ts";
import { PIN_RECORD_WORDS, Slot, type Thread } from "../sync/thread.ts";
import { Event } from "../sync/trace.ts";
import { PinWord } from "./record.ts";
import { traceHeld, tracePin } from "./trace.ts";

/** Entries counted in one epoch: a breaker waits for no more than this. */
const EPOCH_ENTRIES = 64;

/** A pin by its record's offset. */
export type PinRecord = number;

/**
 * Makes every page of a range present, with the map lock held shared: the slow path's fault. False:
 * something has to be done without that lock first, and the pin tried again.
 */
export type Populate = (first: number, count: number, write: boolean) => Sleeps<boolean>;

/**
 * Pins pages [first, first + count) if all are present and nothing stands in the way: no break of
 * the range, and none of the file that insists (unless this thread holds pins, see `letBreakPass`).
 * Locks: none. Sleeps: never. Returns the record, or 0: then `pinSlow`.
 */
export function tryPin(
  thread: Thread,
  pages: Pages,
  mapping: Mapping,
  first: number,
  count: number,
  write: boolean,
): PinRecord {
  const { words } = thread;
  if (load(words, mapping + MappingWord.breakInsist) !== 0 && thread.pins.count === 0) return 0;
  const record = takeRecord(thread, mapping, first, write);
  let counted = 0;
  while (counted < count) {
    enterEpoch(thread);
    const next = countInEpoch(words, pages, mapping, record, first, counted, count, write);
    leaveEpoch(thread);
    if (next === counted) {
      releasePin(thread, pages, record);
      return 0;
    }
    counted = next;
  }
  traceHeld(thread);
  tracePin(thread, Event.pin, record);
  return record;
}

/** A record that counts nothing yet; the first count shows it to others. */
function takeRecord(thread: Thread, mapping: Mapping, first: number, write: boolean): PinRecord {
  const record = thread.pins.take();
  storeOwn(thread.words, record + PinWord.serial, (++thread.pinSerial << 1) | (write ? 1 : 0));
  storeOwn(thread.words, record + PinWord.since, 0);
  storeOwn(thread.words, record + PinWord.first, first | 0);
  storeOwn(thread.words, record + PinWord.only, 0);
  storeOwn(thread.words, record, mapping);
  return record;
}

/** Counts up to EPOCH_ENTRIES entries. Returns the pages counted so far; no more than before: give up. */
function countInEpoch(
  words: Words,
  pages: Pages,
  mapping: Mapping,
  record: PinRecord,
  first: number,
  before: number,
  count: number,
  write: boolean,
): number {
  // The ordered read after which relaxed ones see everything from before an announcement's end.
  if (load(words, mapping + MappingWord.breakHolder) !== 0) {
    const breakFirst = loadUnsigned(words, mapping + MappingWord.breakFirst);
    const breakLast = loadUnsigned(words, mapping + MappingWord.breakLast);
    if (first <= breakLast && first + count - 1 >= breakFirst) return before;
  }
  let counted = before;
  for (let entries = 0; entries < EPOCH_ENTRIES && counted < count; entries++) {
    const index = first + counted;
    const slot = findSlot(words, mapping, index);
    if (slot === 0) return before;
    const entry = loadRelaxed(words, slot);
    const kind = kindOf(entry);
    if (!isPageKind(kind)) return before;
    if (!isMarkedRelaxed(words, slot, entry, index, Mark.pinned)) return before;
    const covered = kind === EntryKind.huge ? HUGE_PAGES - (index % HUGE_PAGES) : 1;
    const now = Math.min(count, counted + covered);
    if (now === count && counted === 0) storeOwn(words, record + PinWord.only, pageOf(entry) + 1);
    addThenNote(words, pages.pinWord(pageOf(entry)), 1, record + PinWord.counted, now);
    counted = now;
    if (write && !isMarked(words, slot, entry, index, Mark.dirty)) return before;
  }
  return counted;
}

/**
 * Pins pages [first, first + count), making present what is not. Returns 0 if `populate` cannot.
 * Locks: takes the map lock, shared. Sleeps: for that lock, in `populate`, and while a break that
 * has waited long lets no new pins in (unless this thread holds pins, which the break may wait for).
 */
export function* pinSlow(
  task: Task,
  pages: Pages,
  mapping: Mapping,
  ino: number,
  first: number,
  count: number,
  write: boolean,
  populate: Populate,
): Sleeps<PinRecord> {
  const { thread } = task;
  yield* letBreakPass(task, mapping);
  using _map = yield* lockShared(task, mapping + MappingWord.mapLock, {
    rankName: "map",
    order: ino,
  });
  if (!(yield* populate(first, count, write))) return 0;
  const record = takeRecord(thread, mapping, first, write);
  for (let counted = 0; counted < count; ) {
    counted = countUnderLock(thread, pages, mapping, record, first, counted, count, write);
  }
  traceHeld(thread);
  tracePin(thread, Event.pinSlow, record);
  return record;
}

/** Marks and counts one entry. The map lock is held shared and the entry is present. */
function countUnderLock(
  thread: Thread,
  pages: Pages,
  mapping: Mapping,
  record: PinRecord,
  first: number,
  counted: number,
  count: number,
  write: boolean,
): number {
  const { words } = thread;
  const index = first + counted;
  const slot = findSlot(words, mapping, index);
  invariant(slot !== 0, () => `page ${index} is not present after it was made so`);
  const entry = load(words, slot);
  const kind = kindOf(entry);
  invariant(isPageKind(kind), () => `the entry of page ${index} has no page to pin`);
  if (!isMarked(words, slot, entry, index, Mark.pinned))
    setMark(thread, mapping, index, Mark.pinned);
  const covered = kind === EntryKind.huge ? HUGE_PAGES - (index % HUGE_PAGES) : 1;
  const now = Math.min(count, counted + covered);
  addThenNote(words, pages.pinWord(pageOf(entry)), 1, record + PinWord.counted, now);
  if (write && !isMarked(words, slot, entry, index, Mark.dirty)) {
    setMark(thread, mapping, index, Mark.dirty);
  }
  return now;
}

/**
 * Holds a new pin back while a break insists, so that new pins cannot starve it. The word of one
 * whose time is up goes, should its thread have died.
 */
function* letBreakPass(task: Task, mapping: Mapping): Sleeps<void> {
  const { thread } = task;
  const { words } = thread;
  if (thread.pins.count > 0) return;
  for (;;) {
    const wake = load(words, mapping + MappingWord.breakWake);
    const until = load(words, mapping + MappingWord.breakInsist);
    if (until === 0) return;
    const rest = remainingMs(until, clockMs());
    if (rest <= 0) {
      cas(words, mapping + MappingWord.breakInsist, until, 0);
      return;
    }
    yield {
      word: mapping + MappingWord.breakWake,
      expected: wake,
      kind: "insisting",
      what: () => "a layout change that has waited long for pins",
      sliceMs: rest,
    };
  }
}

/**
 * Gives a pin back; the release of a page's last pin wakes whoever waits for it.
 * Locks: none. Sleeps: never.
 */
export function releasePin(thread: Thread, pages: Pages, record: PinRecord): void {
  const only = loadOwn(thread.words, record + PinWord.only);
  if (only !== 0) pages.releaseNoting(only - 1, record + PinWord.counted, 0);
  else uncount(thread, pages, record);
  thread.pins.giveOwn(record);
}

/** Takes back what a record has counted, from its end. Repeatable: goes on from what is left. */
function uncount(thread: Thread, pages: Pages, record: PinRecord): void {
  const { words } = thread;
  const mapping = load(words, record);
  const first = loadUnsigned(words, record + PinWord.first);
  let counted = load(words, record + PinWord.counted);
  while (counted > 0) {
    const index = first + counted - 1;
    const slot = findSlot(words, mapping, index);
    invariant(slot !== 0, () => `the entry of pinned page ${index} is gone`);
    const entry = load(words, slot);
    const before = isHugeKind(kindOf(entry))
      ? Math.max(first, index - (index % HUGE_PAGES))
      : index;
    counted = before - first;
    pages.releaseNoting(pageOf(entry), record + PinWord.counted, counted);
  }
}

/** The page record and the page's place in its entry, for a page of a pin. */
export function pinnedPage(
  thread: Thread,
  pages: Pages,
  record: PinRecord,
  offset: number,
): { devicePage: number; run: number } {
  const { words } = thread;
  const index = loadUnsigned(words, record + PinWord.first) + offset;
  return presentPage(thread, pages, load(words, record), index);
}

/** Where a page of a file is, of which it is known that it has an entry, and how much of a folio follows. */
export function presentPage(
  thread: Thread,
  pages: Pages,
  mapping: Mapping,
  index: number,
): { devicePage: number; run: number } {
  const slot = findSlot(thread.words, mapping, index);
  invariant(slot !== 0, () => `the entry of page ${index} is gone`);
  const entry = load(thread.words, slot);
  const huge = isHugeKind(kindOf(entry));
  const within = huge ? index % HUGE_PAGES : 0;
  const devicePage = pages.devicePage(pageOf(entry)) + within;
  return { devicePage, run: huge ? HUGE_PAGES - within : 1 };
}

/** A page, or a folio's first one, with its place in the file. */
export interface OwnedPage {
  readonly page: PageId;
  readonly index: number;
}

/** The pages that a pin holds. */
export function pagesOfPin(thread: Thread, pages: Pages, record: PinRecord): OwnedPage[] {
  const { words } = thread;
  const mapping = load(words, record);
  const first = loadUnsigned(words, record + PinWord.first);
  const end = first + load(words, record + PinWord.counted);
  const owned: OwnedPage[] = [];
  for (let index = first; index < end; ) {
    const slot = findSlot(words, mapping, index);
    invariant(slot !== 0, () => `the entry of pinned page ${index} is gone`);
    const entry = load(words, slot);
    const within = isHugeKind(kindOf(entry)) ? index % HUGE_PAGES : 0;
    owned.push({ page: pageOf(entry), index: index - within });
    index += pages.isHuge(pageOf(entry)) ? HUGE_PAGES - within : 1;
  }
  return owned;
}

/** Whether pages still belong to `mapping`, at the same places. Of shared ones the entries tell. */
export function stillOwned(pages: Pages, mapping: Mapping, owned: readonly OwnedPage[]): boolean {
  const { words } = pages.thread;
  return owned.every(({ page, index }) => {
    const owner = pages.owner(page);
    if (owner >= 0) return owner === mapping && pages.index(page) === index;
    const slot = findSlot(words, mapping, index);
    return slot !== 0 && unlocked(load(words, slot)) === makeEntry(EntryKind.page, page);
  });
}

/** Gives back the pins of dead threads. (Node ends a thread only when its requests have ended.) */
export function recoverPins(thread: Thread, pages: Pages): void {
  thread.onThreadDeath((_dead, slotBase) => {
    forEachRecord(thread.words, slotBase + Slot.pins, PIN_RECORD_WORDS, (record) => {
      uncount(thread, pages, record);
      store(thread.words, record, 0);
    });
  });
}
