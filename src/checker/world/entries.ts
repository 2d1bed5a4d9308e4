/** A file whose entries several threads want, and who holds which of them: the truth. */
import { HUGE_PAGES } from "../../base/quantities.ts";
import {
  lockEntry,
  type LockedEntry,
  publishPage,
  publishZero,
  unlockEntry,
} from "../../mapping/entries.ts";
import { MappingWord, nodeSlab, PAGE_INDEX_MAX } from "../../mapping/mapping.ts";
import {
  EntryKind,
  findSlot,
  forEachEntry,
  HUGE_LEVEL,
  isLocked,
  isPageKind,
  kindOf,
  makeEntry,
  makeSlot,
  pageOf,
  removeEntries,
  storeHuge,
} from "../../mapping/tree.ts";
import { pagesOfPin, type PinRecord } from "../../pin/pin.ts";
import { load, store } from "../../sync/atomics.ts";
import { lockExclusive, lockShared } from "../../sync/lock.ts";
import { objectsInUse } from "../../sync/slab.ts";
import type { Sleeps } from "../../sync/sleep.ts";
import { forEachRecord } from "../../sync/table.ts";
import { Slot } from "../../sync/thread.ts";
import { ensure, ensureNoLeak, type Plot, type Scenario, type Self } from "../scenario.ts";
import { BareFile, type BareShared, buildBare, type Hand } from "./bare.ts";
import { playedIn } from "./plots.ts";

/** A page of the file that has no entry, in the leaf node of page 0. */
export const EMPTY = 5;
/** Its block, when it gets one. */
export const BLOCK = 40;

const MAP_LOCK = { rankName: "map", order: 2 } as const;

interface Story extends Plot<BareShared, Entries> {
  /** First pages of the 2 MiB that are one entry beforehand, and where they lie. Beside page 0. */
  readonly folios?: readonly { readonly index: number; readonly block: number }[];
  /** Of the device, in 2 MiB. Default: 1. */
  readonly deviceFolios?: number;
}

/** The file with who holds which of its entries, as its truth. */
export class Entries extends BareFile {
  readonly #holders = new Map<number, Self>();

  constructor(shared: BareShared, selves: readonly Self[]) {
    super(shared, selves);
    for (const hand of this.hands) this.#recoverRemovals(hand);
  }

  /** Locks the entry of a page; nobody else holds a page of it. */
  *lock(self: Self, index: number, huge = false): Sleeps<LockedEntry> {
    const held = yield* lockEntry(self.task, this.mapping, index, huge);
    for (let page = held.index; page < held.index + held.pages; page++) {
      const other = this.#holders.get(page);
      const free = other === undefined || !self.thread.isAlive(other.thread.holder);
      ensure(free, `the entry of page ${page} is locked by ${other?.name} and ${self.name}`);
      this.#holders.set(page, self);
    }
    const beside = findSlot(self.thread.words, this.mapping, held.index ^ held.pages);
    ensure(beside !== held.slot, `the entry of page ${index} is its neighbour's as well`);
    return held;
  }

  /** Before the entry is given back: until here nobody else may have come to hold it. */
  letGo(self: Self, held: LockedEntry): void {
    ensure(isLocked(load(self.thread.words, held.slot)), "an entry that is held is not locked");
    for (let page = held.index; page < held.index + held.pages; page++) this.#holders.delete(page);
  }

  giveUp(self: Self, held: LockedEntry): void {
    self.say("gives the entry up");
    this.letGo(self, held);
    unlockEntry(self.thread, held);
  }

  publish(self: Self, held: LockedEntry, block: number): void {
    self.say("makes the entry a page");
    this.letGo(self, held);
    publishPage(self.thread, this.hand(self).pages, held, block);
  }

  publishZero(self: Self, held: LockedEntry): void {
    self.say("makes the entry a zero page");
    this.letGo(self, held);
    publishZero(self.thread, held);
  }

  /** Has an entry of 2 MiB there. Runs alone. */
  addFolio(index: number, block: number): void {
    const { thread, pages } = this.hands[0]!;
    const slot = makeSlot(thread, this.mapping, index, HUGE_LEVEL);
    const page = pages.associate(block, HUGE_PAGES, this.mapping, index, true);
    storeHuge(thread.words, slot, makeEntry(EntryKind.huge, page));
  }

  /** Takes all entries out of the file, as a truncate does. */
  *removeAll(self: Self): Sleeps<void> {
    const { thread, pages } = this.hand(self);
    const { mapping } = this;
    using _map = yield* lockExclusive(self.task, mapping + MappingWord.mapLock, MAP_LOCK);
    store(thread.words, mapping + MappingWord.removing, thread.holder);
    removeEntries(thread, mapping, 0, PAGE_INDEX_MAX, (entry, _index, count) =>
      pages.disassociate(pageOf(entry), count, mapping),
    );
    store(thread.words, mapping + MappingWord.removing, 0);
  }

  /** As `removeAll`, of pages that other files' entries may name as well. Runs alone. */
  leaveAll(self: Self): void {
    const { thread, pages } = this.hand(self);
    removeEntries(thread, this.mapping, 0, PAGE_INDEX_MAX, (entry, _index, count, slot) => {
      const page = pageOf(entry);
      if (pages.sharers(page) > 0) pages.leave(page, slot);
      else pages.disassociate(page, count, this.mapping);
    });
  }

  /** Has a hand's thread finish a removal that a thread that dies has begun. */
  #recoverRemovals({ thread, pages }: Hand): void {
    const { mapping } = this;
    thread.onThreadDeath((dead) => {
      if (load(thread.words, mapping + MappingWord.removing) !== dead) return;
      removeEntries(thread, mapping, 0, PAGE_INDEX_MAX, (entry, _index, count) =>
        pages.takeBack(pageOf(entry), count, mapping),
      );
      store(thread.words, mapping + MappingWord.removing, 0);
    });
  }

  /** Demands that what a pin holds is the file's. */
  ensureOwned(self: Self, pin: PinRecord): void {
    const { thread, pages } = this.hand(self);
    for (const { page, index } of pagesOfPin(thread, pages, pin)) {
      const owned = pages.owner(page) === this.mapping && pages.index(page) === index;
      ensure(owned, `page ${index} is pinned, but not the file's`);
    }
  }

  kindOf(self: Self, index: number): EntryKind | null {
    const { words } = self.thread;
    const slot = findSlot(words, this.mapping, index);
    return slot === 0 ? null : kindOf(load(words, slot));
  }

  override end(): void {
    super.end();
    const alive = this.hands.filter(({ thread }) => thread.isAlive(thread.holder));
    if (alive.length === 0) return;
    const { thread, pages } = alive[0]!;
    const { words } = thread;
    forEachEntry(words, this.mapping, 0, PAGE_INDEX_MAX, (entry, index, count) => {
      ensureNoLeak(!isLocked(entry), `the entry of page ${index} is left locked`);
      const kind = kindOf(entry);
      const empty = kind === EntryKind.empty || kind === EntryKind.emptyHuge;
      ensureNoLeak(!empty, `the entry of page ${index} is left empty`);
      if (!isPageKind(kind)) return;
      const page = pageOf(entry);
      ensure(
        pages.owner(page) === this.mapping &&
          pages.index(page) === index &&
          pages.isHuge(page) === count > 1,
        `the page that the entry of page ${index} names is not the file's`,
      );
    });
    removeEntries(thread, this.mapping, 0, PAGE_INDEX_MAX, (entry, _index, count) => {
      if (isPageKind(kindOf(entry))) pages.disassociate(pageOf(entry), count, this.mapping);
    });
    ensureNoLeak(pages.chunksInUse() === 0, "a page without an entry has an owner");
    const nodes = objectsInUse(thread, nodeSlab(thread));
    const lost = this.hands.length - alive.length;
    for (const hand of this.hands) {
      if (alive.includes(hand)) continue;
      forEachRecord(words, hand.thread.base + Slot.entryLocks, 4, () =>
        ensureNoLeak(false, `${hand.self.name} is dead and still holds an entry`),
      );
    }
    ensureNoLeak(nodes <= lost, `${nodes} nodes are left of a tree without entries`);
  }
}

export function entryStory({
  folios = [],
  deviceFolios,
  ...plot
}: Story): Scenario<BareShared, Entries> {
  return playedIn(
    {
      build: (actors) => buildBare(actors, 1, true, deviceFolios),
      begin(shared, selves) {
        const entries = new Entries(shared, selves);
        for (const { index, block } of folios) entries.addFolio(index, block);
        return entries;
      },
    },
    plot,
  );
}

export function* lockAndGiveUp(entries: Entries, self: Self): Sleeps<void> {
  const held = yield* entries.lock(self, EMPTY);
  entries.giveUp(self, held);
}

/** A fault: finds the page, or makes it. */
export function* fault(entries: Entries, self: Self): Sleeps<void> {
  yield* faultAt(entries, self, EMPTY, BLOCK);
}

export function* faultAt(
  entries: Entries,
  self: Self,
  index: number,
  block: number,
  huge = false,
): Sleeps<void> {
  const held = yield* entries.lock(self, index, huge);
  if (isPageKind(kindOf(held.entry))) entries.giveUp(self, held);
  else entries.publish(self, held, block);
}

/** As `faultAt`, where entries are taken out of the file as well: under the map lock. */
export function* faultLocked(
  entries: Entries,
  self: Self,
  index: number,
  block: number,
): Sleeps<void> {
  using _map = yield* lockShared(self.task, entries.mapping + MappingWord.mapLock, MAP_LOCK);
  yield* faultAt(entries, self, index, block);
}
