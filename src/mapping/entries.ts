/**
 * Entry locks, and making entries real: from nothing, empty or zero to a page with an owner.
 *
 * Lock record, in its thread's table: 0 first slot | 1 lock bits set from there on | 2 device page + 1,
 * about to get its owner, or 0 | 3 mapping.
 * It tells of a lock bit from the moment at which that is set until the moment at which it is cleared
 * (sync/atomics.ts, casThenStore): a thread that dies leaves no entry locked, and nobody takes for its
 * entry what another one has locked since.
 *
 * Entry life:
 *
 *     (none) -- lock --> empty, locked -- publish --> page, dirty marks, pins ... -- break --> (none)
 *     (none) -- lock --> empty, locked -- share --> page, locked -- unlock --> page ...
 *     (none) -- lock --> empty, locked -- publish zero --> zero -- lock, publish --> page
 *     empty, locked -- give up --> (none)
 */
import { invariant } from "../base/invariant.ts";
import type { PageId, Pages } from "../pages/pages.ts";
import { cas, casThenStore, load, store, type Words, wakeAll } from "../sync/atomics.ts";
import type { Sleeps, Task, Wait } from "../sync/sleep.ts";
import { forEachRecord } from "../sync/table.ts";
import { Slot, type Thread } from "../sync/thread.ts";
import { hasLostUnlisted, type Mapping } from "./mapping.ts";
import {
  type Entry,
  EntryKind,
  findSlot,
  HUGE_LEVEL,
  isEntry,
  isHugeKind,
  isLocked,
  kindOf,
  locked,
  makeEntry,
  makeSlot,
  storeHugeRest,
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
  const record = takeRecord(thread, mapping, 1);
  try {
    for (;;) {
      let slot = findSlot(words, mapping, index);
      if (slot === 0) {
        const first = huge ? makeSlot(thread, mapping, index, HUGE_LEVEL) : 0;
        slot = first || makeSlot(thread, mapping, index, 0);
        if (slot === 0) continue;
        const taken = lockNew(thread, mapping, index, slot, first !== 0, record);
        if (taken !== null) return taken;
      }
      const entry = load(words, slot);
      if (!isEntry(entry)) continue;
      if (isLocked(entry)) {
        yield untilUnlocked(slot, entry, index);
        continue;
      }
      if (!casThenStore(words, slot, entry, locked(entry), record, slot)) continue;
      const pages = isHugeKind(kindOf(entry)) ? 512 : 1;
      return { mapping, index: index - (index % pages), pages, slot, entry, record };
    }
  } catch (error) {
    thread.entryLocks.give(record);
    throw error;
  }
}

/** The wait until another thread has unlocked an entry. */
export function untilUnlocked(slot: number, entry: Entry, index: number): Wait {
  return { word: slot, expected: entry, kind: "entry", what: () => `the entry of page ${index}` };
}

/** A record that tells of nothing yet, and of `count` lock bits when it gets its slot. */
function takeRecord(thread: Thread, mapping: Mapping, count: number): number {
  const { words } = thread;
  const record = thread.entryLocks.take();
  store(words, record + LockRecord.count, count);
  store(words, record + LockRecord.page, 0);
  store(words, record + LockRecord.mapping, mapping);
  return record;
}

/** Puts a locked empty entry into a free slot, or 8 of them; null when something else is there. */
function lockNew(
  thread: Thread,
  mapping: Mapping,
  index: number,
  slot: number,
  huge: boolean,
  record: number,
): LockedEntry | null {
  const { words } = thread;
  const entry = makeEntry(huge ? EntryKind.emptyHuge : EntryKind.empty, 0);
  if (!casThenStore(words, slot, 0, locked(entry), record, slot)) return null;
  if (huge && !claimRest(words, slot, locked(entry))) {
    // Somebody put a node of 4 KiB entries under a later slot: back to 4 KiB.
    for (let later = slot + 7; later > slot; later--) cas(words, later, locked(entry), 0);
    casThenStore(words, slot, locked(entry), 0, record, 0);
    wakeAll(words, slot);
    return null;
  }
  const pages = huge ? 512 : 1;
  return { mapping, index: index - (index % pages), pages, slot, entry, record };
}

/** Takes the other 7 slots of an entry of 2 MiB. */
function claimRest(words: Words, first: number, entry: Entry): boolean {
  for (let slot = first + 1; slot < first + 8; slot++) {
    if (!cas(words, slot, 0, entry)) return false;
  }
  return true;
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

/**
 * As `publishPage`, of 4 KiB, for a device page that other files' entries may name as well: the entry
 * names it from the moment at which it is counted, still locked (pages/pages.ts, invariant 5).
 */
export function publishShared(
  thread: Thread,
  pages: Pages,
  held: LockedEntry,
  devicePage: number,
): Entry {
  invariant(held.pages === 1, "a shared entry covers one page");
  const page = pages.share(devicePage, held.slot, lockedPageEntry);
  const entry = makeEntry(EntryKind.page, page);
  settle(thread, { ...held, entry }, entry);
  return entry;
}

function lockedPageEntry(page: PageId): Entry {
  return locked(makeEntry(EntryKind.page, page));
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
  if (held.pages === 512) storeHugeRest(words, held.slot, entry);
  casThenStore(words, held.slot, locked(held.entry), entry, held.record, 0);
  thread.entryLocks.giveOwn(held.record);
  wakeAll(words, held.slot);
}

/**
 * Makes entries of 4 KiB for the free pages right after `index`, as far as `count` pages, one leaf
 * node and the first page that already has an entry allow. The device pages follow one another;
 * `shared`: other files' entries may name them as well.
 * Returns how many were made: none where a window may show a page as lost without its entry, which is
 * for whoever locks that entry to find out. For mapping around a fault: never sleeps. Locks: the map
 * lock, shared.
 */
export function publishAround(
  thread: Thread,
  pages: Pages,
  mapping: Mapping,
  index: number,
  count: number,
  devicePage: number,
  shared = false,
): number {
  const { words } = thread;
  const first = makeSlot(thread, mapping, index, 0);
  if (first === 0) return 0;
  const room = Math.min(count, 64 - (index & 63), 512 - (devicePage % 512));
  const empty = locked(makeEntry(EntryKind.empty, 0));
  const record = takeRecord(thread, mapping, 0);
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
    // Looked at after the claim: who notes such a page looks for the entry afterwards.
    const isFree = claimed > 0 && !hasLostUnlisted(thread, mapping);
    if (isFree && shared) {
      for (let offset = 0; offset < claimed; offset++) {
        page = pages.share(devicePage + offset, first + offset, lockedPageEntry) - offset;
      }
    } else if (isFree) {
      store(words, record + LockRecord.page, (devicePage + 1) | 0);
      page = pages.associate(devicePage, claimed, mapping, index, false);
    }
  } finally {
    for (let offset = claimed - 1; offset >= 0; offset--) {
      const entry = page < 0 ? 0 : makeEntry(EntryKind.page, page + offset);
      const before = shared && page >= 0 ? locked(entry) : empty;
      casThenStore(words, first + offset, before, entry, record + LockRecord.count, offset);
      wakeAll(words, first + offset);
    }
    thread.entryLocks.give(record);
  }
  return page < 0 ? 0 : claimed;
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
 * an owner for them lose it; entries that were there before stay, unlocked. Repeatable: the record no
 * longer tells of what is free, so whoever has locked that by now keeps it.
 */
function recoverRun(thread: Thread, pages: Pages, record: number): void {
  const { words } = thread;
  const first = load(words, record);
  const devicePage = load(words, record + LockRecord.page) >>> 0;
  const mapping = load(words, record + LockRecord.mapping);
  for (let offset = load(words, record + LockRecord.count) - 1; offset >= 0; offset--) {
    const slot = first + offset;
    const value = load(words, slot);
    const entry = recoverEntry(words, slot, value);
    if (devicePage !== 0) {
      // Of a folio, too, it is the first page's record that has the owner.
      pages.takeBackDevicePages(devicePage - 1 + offset, 1, mapping);
    }
    casThenStore(words, slot, value, entry, record + LockRecord.count, offset);
    wakeAll(words, slot);
  }
}

/**
 * What the locked entry of a dead thread becomes. Of one of 2 MiB that was being made, the other 7
 * slots are freed here; nodes that others put under such slots stay. (Nobody has used it, though its
 * later slots may be written: entries are read in their first slot, which is written last.)
 */
function recoverEntry(words: Words, slot: number, value: Entry): Entry {
  const kind = kindOf(value);
  if (kind === EntryKind.empty) return 0;
  if (kind !== EntryKind.emptyHuge) return unlocked(value);
  for (let later = slot + 7; later > slot; later--) {
    if (isEntry(load(words, later))) store(words, later, 0);
  }
  return 0;
}
