/**
 * Entry locks, and making entries real: from nothing, empty or zero to a page with an owner.
 *
 * Lock record, in its thread's table: 0 first slot | 1 slots | 2 device page + 1, about to get its
 * owner, or 0 | 3 mapping.
 * It is written before, or together with, the lock bits it tells of, so that a thread that dies
 * leaves no entry locked.
 *
 * Entry life:
 *
 *     (none) -- lock --> empty, locked -- publish --> page, dirty marks, pins ... -- break --> (none)
 *     (none) -- lock --> empty, locked -- publish zero --> zero -- lock, publish --> page
 *     empty, locked -- give up --> (none)
 */
import { HoldfastError } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import type { Pages } from "../pages/pages.ts";
import { cas, casThenStore, load, store, wakeAll } from "../sync/atomics.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { forEachRecord } from "../sync/table.ts";
import { Slot, type Thread } from "../sync/thread.ts";
import type { Mapping } from "./mapping.ts";
import {
  type Entry,
  EntryKind,
  findSlot,
  firstSlot,
  HUGE_LEVEL,
  isHugeKind,
  isLocked,
  kindOf,
  locked,
  makeEntry,
  makeSlot,
  storeHuge,
  unlocked,
} from "./tree.ts";

const LockRecord = { slot: 0, count: 1, page: 2, mapping: 3 } as const;

/** A locked entry. Give it back with `publish...` or `unlockEntry`. */
export interface LockedEntry {
  readonly mapping: Mapping;
  /** First page it covers. */
  readonly index: number;
  /** 1 or 512. */
  readonly pages: number;
  readonly slot: number;
  /** What it was when it was locked, unlocked: empty when it was made for this. */
  readonly entry: Entry;
  readonly record: number;
}

/**
 * Locks the entry of page `index`, making an empty one where there is none. `huge`: as one of 2 MiB
 * where nothing of 4 KiB is in the way. An entry that is there keeps its size, whatever was asked.
 * Locks: the map lock, shared. Sleeps: while another thread has the entry locked. Throws: ENOMEM.
 */
export function* lockEntry(
  task: Task,
  mapping: Mapping,
  index: number,
  huge: boolean,
): Sleeps<LockedEntry> {
  const { thread } = task;
  const { words } = thread;
  const record = thread.entryLocks.take();
  store(words, record + LockRecord.page, 0);
  store(words, record + LockRecord.mapping, mapping);
  try {
    for (;;) {
      const at = findSlot(words, mapping, index) || makeAnySlot(thread, mapping, index, huge);
      const value = load(words, at);
      const taken = value === 0 ? lockNew(thread, mapping, index, huge, at, record) : null;
      if (taken !== null) return taken;
      const entry = load(words, at);
      if (entry === 0 || (entry & 1) === 0) continue;
      const slot = firstSlot(at, entry, index);
      const current = load(words, slot);
      if (isLocked(current)) {
        yield { word: slot, expected: current, what: () => `the entry of page ${index}` };
        continue;
      }
      if (current === 0 || kindOf(current) !== kindOf(entry)) continue;
      store(words, record + LockRecord.count, 1);
      if (!casThenStore(words, slot, current, locked(current), record, slot)) continue;
      const pages = isHugeKind(kindOf(current)) ? 512 : 1;
      const first = index - (index % pages);
      return { mapping, index: first, pages, slot, entry: current, record };
    }
  } catch (error) {
    thread.entryLocks.give(record);
    throw error;
  }
}

/** The slot to put a new entry in: of 2 MiB if asked and possible, else of 4 KiB. */
function makeAnySlot(thread: Thread, mapping: Mapping, index: number, huge: boolean): number {
  const slot = huge ? makeSlot(thread, mapping, index, HUGE_LEVEL) : 0;
  return slot || makeSlot(thread, mapping, index, 0);
}

/** Puts a locked empty entry into a free slot; null when another thread was first. */
function lockNew(
  thread: Thread,
  mapping: Mapping,
  index: number,
  huge: boolean,
  slot: number,
  record: number,
): LockedEntry | null {
  const { words } = thread;
  const asHuge = huge && makeSlot(thread, mapping, index, HUGE_LEVEL) === slot;
  const kind = asHuge ? EntryKind.emptyHuge : EntryKind.empty;
  const entry = makeEntry(kind, 0);
  const pages = asHuge ? 512 : 1;
  store(words, record + LockRecord.count, asHuge ? 8 : 1);
  if (!casThenStore(words, slot, 0, locked(entry), record, slot)) return null;
  if (asHuge && !claimRest(thread, slot, locked(entry))) {
    // Somebody put a node of 4 KiB entries under a later slot: back to 4 KiB.
    storeHuge8(thread, slot, locked(entry));
    store(words, record, 0);
    return null;
  }
  return { mapping, index: index - (index % pages), pages, slot, entry, record };
}

/** Takes the other 7 slots of an entry of 2 MiB. */
function claimRest(thread: Thread, first: number, entry: Entry): boolean {
  for (let slot = first + 1; slot < first + 8; slot++) {
    if (!cas(thread.words, slot, 0, entry)) return false;
  }
  return true;
}

/** Frees those of 8 slots that hold `entry`, the first one last. */
function storeHuge8(thread: Thread, first: number, entry: Entry): void {
  for (let slot = first + 7; slot >= first; slot--) {
    if (cas(thread.words, slot, entry, 0)) wakeAll(thread.words, slot);
  }
}

/** Drops the lock, the entry unchanged; one that was made for it disappears. */
export function unlockEntry(thread: Thread, held: LockedEntry): void {
  const kind = kindOf(held.entry);
  const made = kind === EntryKind.empty || kind === EntryKind.emptyHuge;
  settle(thread, held, made ? 0 : held.entry);
}

/**
 * Makes the locked entry a page (or a folio of 2 MiB) and drops the lock: gives the device pages
 * their owner, then shows the entry to everyone.
 * Throws: ENOMEM; the entry is then still locked and unchanged.
 */
export function publishPage(
  thread: Thread,
  pages: Pages,
  held: LockedEntry,
  devicePage: number,
): Entry {
  const huge = held.pages === 512;
  store(thread.words, held.record + LockRecord.page, (devicePage + 1) | 0);
  const page = pages.associate(devicePage, held.pages, held.mapping, held.index, huge);
  const entry = makeEntry(huge ? EntryKind.huge : EntryKind.page, page);
  settle(thread, held, entry);
  return entry;
}

/** Makes the locked entry, of 4 KiB, a zero page and drops the lock. */
export function publishZero(thread: Thread, held: LockedEntry): Entry {
  invariant(held.pages === 1, "a zero entry covers one page");
  const entry = makeEntry(EntryKind.zero, 0);
  settle(thread, held, entry);
  return entry;
}

function settle(thread: Thread, held: LockedEntry, entry: Entry): void {
  const { words } = thread;
  if (held.pages === 512) storeHuge(words, held.slot, entry);
  else store(words, held.slot, entry);
  thread.entryLocks.give(held.record);
  wakeAll(words, held.slot);
}

/**
 * Makes entries of 4 KiB for the free pages right after `index`, as far as `count` pages, one leaf
 * node and the first page that already has an entry allow. The device pages follow one another.
 * Returns how many were made. For mapping around a fault: never sleeps. Locks: the map lock, shared.
 */
export function publishAround(
  thread: Thread,
  pages: Pages,
  mapping: Mapping,
  index: number,
  count: number,
  devicePage: number,
): number {
  const { words } = thread;
  const first = makeSlot(thread, mapping, index, 0);
  const room = Math.min(count, 64 - (index & 63), 512 - (devicePage % 512));
  const empty = locked(makeEntry(EntryKind.empty, 0));
  if (load(words, first) !== 0) return 0;
  const record = thread.entryLocks.take();
  store(words, record + LockRecord.count, 0);
  store(words, record + LockRecord.page, 0);
  store(words, record + LockRecord.mapping, mapping);
  store(words, record, first);
  let claimed = 0;
  while (
    claimed < room &&
    casThenStore(words, first + claimed, 0, empty, record + LockRecord.count, claimed + 1)
  ) {
    claimed++;
  }
  let page = -1;
  try {
    if (claimed > 0) {
      store(words, record + LockRecord.page, (devicePage + 1) | 0);
      page = pages.associate(devicePage, claimed, mapping, index, false);
    }
  } finally {
    for (let offset = 0; offset < claimed; offset++) {
      store(words, first + offset, page < 0 ? 0 : makeEntry(EntryKind.page, page + offset));
      wakeAll(words, first + offset);
    }
    thread.entryLocks.give(record);
  }
  return claimed;
}

/** Gives back the entries that dead threads had locked. */
export function recoverEntries(thread: Thread, pages: Pages): void {
  thread.onThreadDeath((_dead, slotBase) => {
    forEachRecord(thread.words, slotBase + Slot.entryLocks, 4, (record) => {
      recoverRun(thread, pages, record);
      store(thread.words, record, 0);
    });
  });
}

/**
 * Frees what a lock record tells of: entries that were made for it disappear, and pages that had got
 * an owner for them lose it; entries that were real before stay, unlocked. Of an entry of 2 MiB the
 * first slot decides, since it is written last.
 */
function recoverRun(thread: Thread, pages: Pages, record: number): void {
  const { words } = thread;
  const first = load(words, record);
  const count = load(words, record + LockRecord.count);
  const devicePage = load(words, record + LockRecord.page) >>> 0;
  const mapping = load(words, record + LockRecord.mapping);
  const takeBack = (offset: number, pageCount: number): void => {
    if (devicePage !== 0) pages.takeBackDevicePages(devicePage - 1 + offset, pageCount, mapping);
  };
  const huge = kindOf(load(words, first)) === EntryKind.emptyHuge;
  const unpublished = isLocked(load(words, first));
  for (let offset = count - 1; offset >= 0; offset--) {
    const slot = first + offset;
    const value = load(words, slot);
    if (huge && unpublished) {
      if (offset === 0) takeBack(0, 512);
      store(words, slot, 0);
    } else if ((value & 1) !== 0 && isLocked(value)) {
      const kind = kindOf(value);
      const real = kind === EntryKind.page || kind === EntryKind.huge;
      if (!real) takeBack(offset, 1);
      store(words, slot, kind === EntryKind.empty ? 0 : unlocked(value));
    }
    wakeAll(words, slot);
  }
}

/** The error for a file whose blocks cannot be pages. */
export function notMappable(blockSize: number): HoldfastError {
  return new HoldfastError(
    "EOPNOTSUPP",
    `the volume's blocks are ${blockSize} bytes; only blocks of 4096 bytes can be mapped or pinned, ` +
      "so use read and write, or make the volume with 4096-byte blocks",
  );
}
