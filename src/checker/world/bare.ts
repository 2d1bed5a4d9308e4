/**
 * A file of present pages, without a driver: mapping, pages, pins and breaks alone. Blocks are freed
 * by the scenario, which keeps who uses them: the truth that the core is held to. The truth lies in
 * words like all else, so that an access to it is a turn that may come before or after another's.
 */
import { HUGE_PAGES, type Ino, PAGE_SIZE } from "../../base/quantities.ts";
import { type BreakContext, recoverBreaks, withBrokenLayout } from "../../layout/break.ts";
import { createLeaseArea, recoverLeases } from "../../layout/lease.ts";
import { publishAround, recoverEntries } from "../../mapping/entries.ts";
import {
  createMappingArea,
  initMapping,
  MappingWord,
  type Mapping,
  mappingSlab,
} from "../../mapping/mapping.ts";
import {
  findSlot,
  isPageKind,
  kindOf,
  Mark,
  pageOf,
  removeEntries,
  setMark,
} from "../../mapping/tree.ts";
import { Pages } from "../../pages/pages.ts";
import {
  type PinRecord,
  pinSlow,
  pinnedPage,
  recoverPins,
  releasePin,
  tryPin,
} from "../../pin/pin.ts";
import { describePage } from "../../pin/record.ts";
import { add, cas, load, type Words } from "../../sync/atomics.ts";
import { lockShared, recoverLocks } from "../../sync/lock.ts";
import type { Region } from "../../sync/region.ts";
import { allocateZeroed } from "../../sync/slab.ts";
import type { Sleeps } from "../../sync/sleep.ts";
import { forEachRecord } from "../../sync/table.ts";
import { createStatistics } from "../../sync/statistics.ts";
import { PIN_RECORD_WORDS, Slot } from "../../sync/thread.ts";
import type { PopulatedPort } from "../../window/fault-port.ts";
import { createWindowArea, Windows } from "../../window/window.ts";
import { ensure, ensureNoLeak, type Self } from "../scenario.ts";
import { wordName } from "./names.ts";
import { regionWithThreads } from "./threads.ts";

export const INO = 2 as Ino;
/** Page i of the file lies in block FIRST_BLOCK + i. */
export const FIRST_BLOCK = 8;

export interface BareShared {
  readonly region: Region;
  readonly mapping: Mapping;
  readonly pageCount: number;
  /** A word per block: I/Os under way, or FREED. */
  readonly truth: number;
}

export const FREED = -1000;
const DEVICE_FOLIOS = 2;
const DEVICE_PAGES = DEVICE_FOLIOS * HUGE_PAGES;

/**
 * A region with a file of `pageCount` present pages; `marked`: they were pinned before. The device
 * has `deviceFolios` times 2 MiB.
 */
export function buildBare(
  actors: number,
  pageCount: number,
  marked = true,
  deviceFolios = DEVICE_FOLIOS,
): BareShared {
  const { region, thread } = regionWithThreads(actors);
  createMappingArea(thread);
  createWindowArea(thread);
  createStatistics(thread);
  createLeaseArea(thread);
  const pages = Pages.create(thread, deviceFolios * HUGE_PAGES * PAGE_SIZE);
  const mapping = allocateZeroed(thread, mappingSlab(thread));
  initMapping(thread, mapping, INO, pageCount * PAGE_SIZE, 1);
  for (let made = 0; made < pageCount; ) {
    made += publishAround(thread, pages, mapping, made, pageCount - made, FIRST_BLOCK + made);
  }
  for (let index = 0; marked && index < pageCount; index++) {
    setMark(thread, mapping, index, Mark.pinned);
    setMark(thread, mapping, index, Mark.dirty);
  }
  return { region, mapping, pageCount, truth: region.allocatePages(DEVICE_PAGES) };
}

/** One actor's use of the file. */
export interface Hand extends BreakContext {
  readonly self: Self;
}

/** The file in one schedule. */
export class BareFile {
  readonly mapping: Mapping;
  readonly pageCount: number;
  readonly hands: readonly Hand[];
  readonly #truth: number;
  readonly #underWay = new Map<Self, number[]>();

  constructor(shared: BareShared, actors: readonly Self[]) {
    this.mapping = shared.mapping;
    this.pageCount = shared.pageCount;
    this.#truth = shared.truth;
    this.hands = actors.map((self) => handOf(self));
  }

  hand(self: Self): Hand {
    return this.hands.find((hand) => hand.self === self)!;
  }

  /** Pins without a lock; 0 when that cannot be. */
  tryPin(self: Self, first: number, count: number, write = false): PinRecord {
    const { thread, pages } = this.hand(self);
    return tryPin(thread, pages, this.mapping, first, count, write);
  }

  /** Pins, waiting where it must. Throws "past the end" when the pages are gone. */
  *pin(self: Self, first: number, count: number, write = false): Sleeps<PinRecord> {
    const fast = this.tryPin(self, first, count, write);
    if (fast !== 0) return fast;
    const { thread, pages } = this.hand(self);
    const { mapping } = this;
    function* populate(): Sleeps<boolean> {
      for (let index = first; index < first + count; index++) {
        const slot = findSlot(thread.words, mapping, index);
        const present = slot !== 0 && isPageKind(kindOf(load(thread.words, slot)));
        if (!present) throw new PastTheEnd();
      }
      return true;
    }
    return yield* pinSlow(self.task, pages, mapping, INO, first, count, write, populate);
  }

  /** An I/O into pinned pages: begins, and ends some time later. */
  io(self: Self, record: PinRecord, count: number): void {
    const { thread, pages } = this.hand(self);
    const blocks: number[] = [];
    this.#underWay.set(self, blocks);
    for (let offset = 0; offset < count; offset++) {
      const block = pinnedPage(thread, pages, record, offset).devicePage;
      const before = add(thread.words, this.#truth + block, 1);
      ensure(before >= 0, `an I/O begins in block ${block}, which is free`);
      blocks.push(block);
    }
    self.say(`I/O into block${count > 1 ? "s" : ""} ${blocks.join(", ")} begins`);
  }

  /** A fault of a window: shows the page, if it is there, under the map lock. */
  *show(self: Self, index: number): Sleeps<void> {
    const { thread, pages } = this.hand(self);
    const { mapping } = this;
    using _map = yield* lockShared(self.task, mapping + MappingWord.mapLock, {
      rankName: "map",
      order: INO,
    });
    const slot = findSlot(thread.words, mapping, index);
    if (slot === 0 || !isPageKind(kindOf(load(thread.words, slot)))) return;
    countShown(thread.words, pages.pinWord(pageOf(load(thread.words, slot))));
    self.say(`page ${index} is shown in a window`);
  }

  /** Gives a pin back into which no I/O was done. */
  release(self: Self, record: PinRecord): void {
    const { thread, pages } = this.hand(self);
    releasePin(thread, pages, record);
  }

  /** Demands that a page's block was given back. */
  ensureFreed(index: number): void {
    ensure(this.isFreed(index), `the block of page ${index} is not free`);
  }

  /** Whether a page's block was given back. */
  isFreed(index: number): boolean {
    return this.#isFreed(FIRST_BLOCK + index);
  }

  /** I/Os of threads that have died, which ended with them. */
  #usesOfTheDead(block: number): number {
    let uses = 0;
    for (const [{ thread }, blocks] of this.#underWay) {
      if (blocks.includes(block) && !thread.isAlive(thread.holder)) uses++;
    }
    return uses;
  }

  /** The word in which a block's truth lies. */
  truthOf(block: number): number {
    return this.#truth + block;
  }

  #isFreed(block: number): boolean {
    return load(this.hands[0]!.thread.words, this.#truth + block) < 0;
  }

  /** The blocks given back, for stories. */
  freedShown(): string {
    const freed: number[] = [];
    for (let block = 0; block < DEVICE_PAGES; block++) if (this.#isFreed(block)) freed.push(block);
    return freed.join(" ") || "none";
  }

  /** The pins of each page, for stories. */
  pinsShown(): string {
    const { pages } = this.hands[0]!;
    const counts: number[] = [];
    for (let index = 0; index < this.pageCount; index++) {
      const page = pages.find(FIRST_BLOCK + index);
      counts.push(page === null ? 0 : pages.pinCount(page));
    }
    return counts.join(" ");
  }

  /** The I/O ends and the pin is given back. */
  endIo(self: Self, record: PinRecord): void {
    const { thread, pages } = this.hand(self);
    const blocks = this.#underWay.get(self)!;
    while (blocks.length > 0) {
      const block = blocks[blocks.length - 1]!;
      const before = add(thread.words, this.#truth + block, -1);
      ensure(before > 0, `block ${block} was freed under an I/O`);
      blocks.pop();
    }
    releasePin(thread, pages, record);
  }

  /** Takes the pages of a range out of the file and frees their blocks, as a truncate does. */
  *remove(self: Self, first: number, last: number): Sleeps<void> {
    const hand = this.hand(self);
    const { thread, pages } = hand;
    const plan = () => ({ first, last });
    const { mapping } = this;
    const truth = this.#truth;
    const usesOfTheDead = (block: number): number => this.#usesOfTheDead(block);
    yield* withBrokenLayout(self.task, hand, mapping, plan, function* ({ range }) {
      const blocks: number[] = [];
      removeEntries(thread, mapping, range!.first, range!.last, (entry, _index, count) => {
        if (!isPageKind(kindOf(entry))) return;
        const first = pages.devicePage(pageOf(entry));
        for (let block = first; block < first + count; block++) blocks.push(block);
        pages.disassociate(pageOf(entry), count, mapping);
      });
      for (const block of blocks) {
        ensure(pages.isFree(block, 1), `block ${block} is freed while its page is not`);
        const unused = cas(thread.words, truth + block, usesOfTheDead(block), FREED);
        ensure(unused, `block ${block} is freed under an I/O`);
        self.say(`block ${block} is free`);
      }
    });
  }

  /** At the end: nobody holds anything. */
  end(): void {
    const survivor = this.hands.find(({ thread }) => thread.isAlive(thread.holder));
    if (survivor === undefined) return; // and nobody is left to give back what they held
    survivor.thread.reap();
    const { pages } = survivor;
    for (let index = 0; index < this.pageCount; index++) {
      const page = pages.find(FIRST_BLOCK + index);
      ensureNoLeak(page === null || pages.pinCount(page) === 0, `page ${index} is left pinned`);
    }
    const { words } = survivor.thread;
    ensureNoLeak(load(words, this.mapping + MappingWord.breakHolder) === 0, "a break is announced");
    ensureNoLeak(load(words, this.mapping + MappingWord.leases) === 0, "a lease is left");
    for (const { thread, self } of this.hands) {
      ensureNoLeak(load(words, thread.base + Slot.breaking) === 0, `${self.name} still breaks`);
      if (!thread.isAlive(thread.holder)) {
        const pins = thread.base + Slot.pins;
        forEachRecord(words, pins, PIN_RECORD_WORDS, () =>
          ensureNoLeak(false, `${self.name} still holds a pin`),
        );
      }
      if (!thread.isAlive(thread.holder)) continue;
      ensureNoLeak(thread.heldLocks.count === 0, `${self.name} still holds a lock`);
      ensureNoLeak(thread.pins.count === 0, `${self.name} still holds a pin`);
      ensureNoLeak(thread.entryLocks.count === 0, `${self.name} still holds an entry`);
      ensureNoLeak(thread.leases.count === 0, `${self.name} still holds a lease`);
    }
  }

  nameOf(word: number): string | null {
    const { thread, pages } = this.hands[0]!;
    const block = word - this.#truth;
    if (block >= 0 && block < DEVICE_PAGES) return `truth of block ${block}`;
    return wordName(thread, pages, [this.mapping], word);
  }
}

/** What a window that shows a page adds to its count: nothing. (In Linux a mapping is a reference.) */
function countShown(words: Words, word: number): void {
  load(words, word);
}

/** A page that was asked for is not in the file any more. */
export class PastTheEnd extends Error {}

/** Runs what may find that its pages are gone. */
export function* unlessPastTheEnd(self: Self, operation: () => Sleeps<void>): Sleeps<void> {
  try {
    yield* operation();
  } catch (error) {
    if (!(error instanceof PastTheEnd)) throw error;
    self.say("the page is past the end of the file");
  }
}

function handOf(self: Self): Hand {
  const { thread } = self;
  const pages = Pages.attach(thread);
  pages.describe = (owner, index) => describePage(thread, owner, index);
  const windows = new Windows(thread, null as unknown as PopulatedPort);
  recoverLocks(thread);
  recoverEntries(thread, pages);
  recoverPins(thread, pages);
  recoverBreaks(thread);
  recoverLeases(thread);
  return { self, thread, pages, windows, protect: true };
}
