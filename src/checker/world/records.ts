/**
 * Page records alone: device pages that get an owner and lose it. A note per actor tells whoever
 * recovers it what it was about to do, as entries and removals do (mapping/entries.ts).
 */
import { HUGE_PAGES, PAGE_SIZE } from "../../base/quantities.ts";
import { type PageId, Pages } from "../../pages/pages.ts";
import { add, load, store } from "../../sync/atomics.ts";
import type { Region } from "../../sync/region.ts";
import type { Sleeps } from "../../sync/sleep.ts";
import { forEachRecord } from "../../sync/table.ts";
import { Slot, type Thread } from "../../sync/thread.ts";
import { ensure, ensureNoLeak, type Self } from "../scenario.ts";
import { wordName } from "./names.ts";
import { regionWithThreads } from "./threads.ts";

/** An actor's note: the device page it gives an owner + 1 | the record it takes it from + 1 | pages | owner. */
const Note = { device: 0, page: 1, count: 2, owner: 3 } as const;
const NOTE_WORDS = 4;
/** Where on their page the words of entries begin, that name shared pages: a record's id + 1, or 0. */
const ENTRIES = 768;
const ENTRIES_MAX = 16;

export interface RecordsShared {
  readonly region: Region;
  readonly chunks: number;
  /** The notes, then a word per chunk of the device: 1 when its page was given back. */
  readonly notes: number;
  readonly kept: readonly Owned[];
}

/** Device pages with an owner, from before the schedule begins until after it has ended. */
export interface Owned {
  readonly device: number;
  readonly count: number;
  readonly owner: number;
  readonly index: number;
}

/** Records of a device of so many chunks of 2 MiB, with pages that have an owner. */
export function buildRecords(
  actors: number,
  chunks: number,
  kept: readonly Owned[] = [],
): RecordsShared {
  const { region, thread } = regionWithThreads(actors);
  const pages = Pages.create(thread, chunks * HUGE_PAGES * PAGE_SIZE);
  for (const each of kept) give(pages, each);
  return { region, chunks, notes: region.allocatePages(1024), kept };
}

function give(pages: Pages, { device, count, owner, index }: Owned): number {
  return pages.associate(device, count, owner, index, count === HUGE_PAGES);
}

/** The records in one schedule. */
export class Records {
  readonly #shared: RecordsShared;
  readonly #hands: readonly { self: Self; pages: Pages }[];

  constructor(shared: RecordsShared, actors: readonly Self[]) {
    this.#shared = shared;
    this.#hands = actors.map((self) => {
      const pages = Pages.attach(self.thread);
      this.#recover(self.thread, pages);
      return { self, pages };
    });
  }

  #noteOf(thread: Thread): number {
    return this.#shared.notes + thread.slot * NOTE_WORDS;
  }

  #recover(thread: Thread, pages: Pages): void {
    const { words } = thread;
    thread.onThreadDeath((_dead, slotBase) => {
      forEachRecord(words, slotBase + Slot.entryLocks, 4, (record) => {
        const note = load(words, record);
        if (note === 0) return;
        const count = load(words, note + Note.count);
        const owner = load(words, note + Note.owner);
        const device = load(words, note + Note.device) - 1;
        const page = load(words, note + Note.page) - 1;
        if (device >= 0) pages.takeBackDevicePages(device, count, owner);
        if (page >= 0) pages.takeBack(page, count, owner);
        store(words, record, 0);
      });
    });
  }

  /** Recovers who has died by now: by the time that the notes are read, so that it is a turn of its own. */
  reap(self: Self): void {
    const { words } = self.thread;
    for (const other of this.#hands) load(words, this.#noteOf(other.self.thread) + Note.device);
    self.thread.reap();
  }

  pages(self: Self): Pages {
    return this.#hands.find((hand) => hand.self === self)!.pages;
  }

  /** Pins a page of the device that has an owner, and releases it. */
  pinOnce(self: Self, device: number): void {
    const pages = this.pages(self);
    const page = pages.find(device)!;
    add(self.thread.words, pages.pinWord(page), 1);
    pages.releaseNoting(page, this.#noteOf(self.thread), 0);
  }

  /** Waits as a break does, until the page is not pinned. */
  *waitForPins(self: Self, device: number): Sleeps<void> {
    const pages = this.pages(self);
    const page = pages.find(device)!;
    for (;;) {
      const expected = pages.prepareWait(page);
      if (expected === null) return;
      yield { word: pages.wakeWord(page), expected, what: () => `the pins of page ${device}` };
    }
  }

  /** Gives pages their owner. Should the actor die meanwhile, or later, they lose it. */
  give(self: Self, owned: Owned): number {
    const { words } = self.thread;
    const note = this.#noteOf(self.thread);
    store(words, note + Note.device, owned.device + 1);
    store(words, note + Note.page, 0);
    store(words, note + Note.count, owned.count);
    store(words, note + Note.owner, owned.owner);
    const record = self.thread.entryLocks.take();
    store(words, record, note);
    const page = give(this.pages(self), owned);
    self.say(`page ${owned.device} of the device has an owner`);
    store(words, note + Note.page, page + 1);
    store(words, note + Note.device, 0);
    return record;
  }

  /** Takes the owner from pages again. */
  take(self: Self, record: number, { device, count, owner }: Owned): void {
    const { words } = self.thread;
    const pages = this.pages(self);
    pages.disassociate(pages.find(device)!, count, owner);
    self.say(`page ${device} of the device is free`);
    store(words, this.#freedWord(device), 1);
    self.thread.entryLocks.give(record);
  }

  giveAndTake(self: Self, owned: Owned): void {
    this.take(self, this.give(self, owned), owned);
  }

  /** The word of an entry. */
  entryWord(at: number): number {
    return this.#shared.notes + ENTRIES + at;
  }

  /** Has one more entry name a page of the device. Who dies leaves it as it is. */
  share(self: Self, device: number, at: number): PageId {
    const page = this.pages(self).share(device, this.entryWord(at), (record) => record + 1);
    self.say(`entry ${at} names page ${device} of the device`);
    return page;
  }

  /** An entry that names a page names it no longer. */
  leave(self: Self, at: number): void {
    const word = this.entryWord(at);
    const entry = load(self.thread.words, word);
    if (entry === 0) return;
    this.pages(self).leave(entry - 1, word);
    self.say(`entry ${at} names no page`);
  }

  #freedWord(device: number): number {
    return this.#shared.notes + 512 + Math.floor(device / HUGE_PAGES);
  }

  /** Whether the page that somebody took the owner from may be used for something else. */
  isFreed(self: Self, device: number): boolean {
    return load(self.thread.words, this.#freedWord(device)) !== 0;
  }

  /** At the end: what was kept is as it was, everything else is free, and no chunk is lost. */
  end(kept: readonly Owned[] = []): void {
    const survivor = this.#hands.find(({ self }) => self.thread.isAlive(self.thread.holder));
    if (survivor === undefined) return;
    const { self, pages } = survivor;
    self.thread.reap();
    const { chunks } = this.#shared;
    // A guard that somebody died in is repaired by whoever takes it next.
    pages.takeBackDevicePages(0, 0, -1);
    for (let at = 0; at < ENTRIES_MAX; at++) this.leave(self, at);
    const owned = [...this.#shared.kept, ...kept];
    this.#assertOwned(pages, owned);
    this.#assertOthersFree(pages, owned);
    for (const each of owned) pages.disassociate(pages.find(each.device)!, each.count, each.owner);
    ensureNoLeak(pages.chunksInUse() === 0, "page records of nobody are in use");
    for (let round = 0; round < 2; round++) {
      for (let chunk = 0; chunk < chunks; chunk++) {
        give(pages, { device: chunk * HUGE_PAGES, count: 1, owner: 8, index: chunk });
      }
      ensure(pages.chunksInUse() === chunks, "a chunk of page records is used twice");
      for (let chunk = 0; chunk < chunks; chunk++) {
        pages.disassociate(pages.find(chunk * HUGE_PAGES)!, 1, 8);
      }
    }
    this.#assertOthersFree(pages, []);
  }

  #assertOwned(pages: Pages, owned: readonly Owned[]): void {
    for (const { device, count, owner, index } of owned) {
      const page = pages.find(device);
      const theirs = page !== null && pages.owner(page) === owner && pages.index(page) === index;
      ensure(theirs, `page ${device} of the device has lost its owner`);
      const huge = count === HUGE_PAGES;
      ensure(pages.isHuge(page!) === huge, `page ${device} of the device has another size`);
      ensure(pages.devicePage(page!) === device, `page ${device} of the device is another`);
      ensure(!pages.isFree(device, count), `page ${device} of the device counts as free`);
    }
    const used = new Set(owned.map(({ device }) => Math.floor(device / HUGE_PAGES)));
    ensureNoLeak(
      pages.chunksInUse() === used.size,
      "chunks of page records in use are not counted",
    );
  }

  #assertOthersFree(pages: Pages, owned: readonly Owned[]): void {
    for (let chunk = 0; chunk < this.#shared.chunks; chunk++) {
      const first = chunk * HUGE_PAGES;
      const within = owned.filter(({ device }) => Math.floor(device / HUGE_PAGES) === chunk);
      if (within.length === 0) {
        ensureNoLeak(pages.find(first) === null, `chunk ${chunk} of the device has page records`);
        ensureNoLeak(pages.isFree(first, HUGE_PAGES), `pages of chunk ${chunk} are in use`);
      }
    }
  }

  nameOf(word: number): string | null {
    const { self, pages } = this.#hands[0]!;
    const at = word - this.#shared.notes;
    if (at >= 0 && at < 512) return `note of thread ${Math.floor(at / NOTE_WORDS)}`;
    if (at >= ENTRIES && at < ENTRIES + ENTRIES_MAX) return `entry ${at - ENTRIES}`;
    if (at >= 512 && at < 1024) return `pages of chunk ${at - 512}, given back`;
    return wordName(self.thread, pages, [], word);
  }
}
