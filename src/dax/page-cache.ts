/**
 * The page cache: memory in which pages of copied files lie while they are mapped or pinned. It stands
 * behind the pages of the device, so that records, entries, windows and pins name its pages as they
 * name the device's.
 *
 * Area, in words: 0 pages | 1 where `take` looks next | 2 clock hand | 3 requests for room | 4 the last
 * request that was answered, doubled, and 1 if room was found | 16..: state of each page.
 *
 * State of a page: 0 free; -holder, filled by that thread; or the mapping that has it, its lowest bit
 * set when the page was used since the clock hand passed.
 *
 *     free -- take --> filling -- settle --> in use -- give --> free
 *                         |                              (evicted, or its file's layout was broken)
 *                         +-- giveTaken, its thread dies --> free
 *
 * Invariants. (1) A page in use has an owner in its record, and one entry names it, but for the time in
 *                 which the map lock of its file is held. (2) It is settled while the map lock is held,
 *                 and given back while that is held exclusively.
 */
import { HoldfastError } from "../base/errors.ts";
import { HUGE_PAGES, PAGE_SIZE, roundUp } from "../base/quantities.ts";
import type { Device } from "../device/index.ts";
import type { Mapping } from "../mapping/mapping.ts";
import type { Pages } from "../pages/pages.ts";
import { add, cas, load, or, store, wakeAll } from "../sync/atomics.ts";
import { Root } from "../sync/region.ts";
import type { Thread } from "../sync/thread.ts";

const Area = { pages: 0, next: 1, hand: 2, wanted: 3, answered: 4, states: 16 } as const;
export { Area as PageCacheArea };
const USED = 1;

/** The first page of a cache behind a device of so many bytes: it shares no chunk of page records. */
export function firstCachePage(deviceBytes: number): number {
  return roundUp(Math.ceil(deviceBytes / PAGE_SIZE), HUGE_PAGES);
}

/** What the clock hand came to. */
export type Tick =
  | { readonly page: number; readonly state: "free" | "filling" }
  | { readonly page: number; readonly state: "used" | "old"; readonly mapping: Mapping };

/** One thread's use of the volume's page cache. Pages are named by their place behind the device's. */
export class PageCache {
  readonly thread: Thread;
  readonly memory: Device;
  /** The number of the first page. */
  readonly first: number;
  /** How many pages there are. */
  readonly count: number;
  /** What the last `take` that found no free page threw. */
  fullError: HoldfastError | null = null;
  readonly #area: number;

  private constructor(thread: Thread, memory: Device, first: number) {
    this.thread = thread;
    this.memory = memory;
    this.first = first;
    this.#area = thread.region.root(Root.pageCache);
    this.count = load(thread.words, this.#area + Area.pages);
  }

  /** Makes the area for all of `memory`. */
  static create(thread: Thread, memory: Device, first: number): PageCache {
    const count = memory.size / PAGE_SIZE;
    const area = thread.region.allocatePages(Area.states + count);
    store(thread.words, area + Area.pages, count);
    thread.region.setRoot(Root.pageCache, area);
    return new PageCache(thread, memory, first);
  }

  static attach(thread: Thread, memory: Device, first: number): PageCache {
    return new PageCache(thread, memory, first);
  }

  /** Whether a page is the cache's, not the device's. */
  contains(page: number): boolean {
    return page >= this.first;
  }

  /** Where the addresses of pages end, in bytes. */
  get endByte(): number {
    return (this.first + this.count) * PAGE_SIZE;
  }

  /** Where a page begins in the cache's memory. */
  byteOf(page: number): number {
    return (page - this.first) * PAGE_SIZE;
  }

  #state(page: number): number {
    return this.#area + Area.states + (page - this.first);
  }

  /** Changes, and is woken, when room is wanted: what the evicting thread sleeps on. */
  get wantedWord(): number {
    return this.#area + Area.wanted;
  }

  /** Changes, and is woken, when requests for room are answered. */
  get answeredWord(): number {
    return this.#area + Area.answered;
  }

  /** Asks the evicting thread for room. Returns the request's number, for `answerTo`. */
  wantRoom(): number {
    const request = (add(this.thread.words, this.wantedWord, 1) + 1) | 0;
    wakeAll(this.thread.words, this.wantedWord);
    return request;
  }

  /** Whether room was found for a request, by `answered`, what the word of answers holds; null: not yet known. */
  answerTo(request: number, answered: number): boolean | null {
    // Numbers of 31 bits, which may wrap.
    return ((answered - (request << 1)) | 0) >= 0 ? (answered & 1) !== 0 : null;
  }

  /** The last request, or null where all are answered. */
  unansweredRequest(): number | null {
    const request = load(this.thread.words, this.wantedWord);
    const answered = load(this.thread.words, this.answeredWord);
    return this.answerTo(request, answered) === null ? request : null;
  }

  /** Answers a request and all before it. The evicting thread alone. */
  answer(request: number, found: boolean): void {
    store(this.thread.words, this.answeredWord, (request << 1) | (found ? 1 : 0));
    wakeAll(this.thread.words, this.answeredWord);
  }

  /**
   * A free page, for this thread to fill: one after another as far as they are free, so that pages that
   * are filled together lie together. Sleeps: never. Throws: ENOMEM when none is free.
   */
  take(): number {
    const { words } = this.thread;
    const start = load(words, this.#area + Area.next);
    for (let step = 0; step < this.count; step++) {
      const within = (start + step) % this.count;
      if (!cas(words, this.#area + Area.states + within, 0, -this.thread.holder)) continue;
      store(words, this.#area + Area.next, (within + 1) % this.count);
      return this.first + within;
    }
    this.fullError = new HoldfastError(
      "ENOMEM",
      `the page cache of ${this.count * PAGE_SIZE} bytes is full of pages that are pinned or shown; ` +
        "release pins, close windows, or mount with larger cacheBytes",
    );
    throw this.fullError;
  }

  /** Gives back a page that this thread has taken and not settled. */
  giveTaken(page: number): void {
    this.#endFilling(page, 0);
  }

  #endFilling(page: number, state: number): void {
    store(this.thread.words, this.#state(page), state);
    wakeAll(this.thread.words, this.#state(page));
  }

  /** The state of a page while a thread fills it, and the word that has it, to be slept on; null: none does. */
  filling(page: number): { readonly word: number; readonly expected: number } | null {
    const word = this.#state(page);
    const expected = load(this.thread.words, word);
    return expected < 0 ? { word, expected } : null;
  }

  isFree(page: number): boolean {
    return load(this.thread.words, this.#state(page)) === 0;
  }

  /** The page that was taken is the mapping's, and its entry names it. Locks: its map lock. */
  settle(page: number, mapping: Mapping): void {
    this.#endFilling(page, mapping | USED);
  }

  /** Notes that a page is used, unless it is not settled yet. Locks: the map lock of its file. */
  noteUsed(page: number): void {
    const { words } = this.thread;
    const state = this.#state(page);
    const value = load(words, state);
    if (value > 0 && (value & USED) === 0) or(words, state, USED);
  }

  /** Frees a page whose owner has been taken from it. Locks: the map lock of its file, exclusively. */
  give(page: number): void {
    const { words } = this.thread;
    store(words, this.#state(page), 0);
    store(words, this.#area + Area.next, page - this.first);
  }

  /**
   * Frees the pages of a mapping that have no owner any more: a thread that died has taken it. Locks: the
   * mapping's map lock, exclusively, which that thread has.
   */
  giveOrphans(mapping: Mapping, pages: Pages): void {
    this.#forEach((page, state) => {
      if ((state & ~USED) === mapping && pages.ownerOf(page) === null) this.give(page);
    });
  }

  /**
   * Moves the clock hand on by one page: whether that is free, being filled, or in use, then by which
   * mapping, and whether it was used since the hand last passed.
   */
  tick(): Tick {
    const { words } = this.thread;
    const within = (add(words, this.#area + Area.hand, 1) >>> 0) % this.count;
    const page = this.first + within;
    const value = load(words, this.#state(page));
    if (value === 0) return { page, state: "free" };
    if (value < 0) return { page, state: "filling" };
    if ((value & USED) === 0) return { page, state: "old", mapping: value };
    const mapping = value & ~USED;
    cas(words, this.#state(page), value, mapping);
    return { page, state: "used", mapping };
  }

  /** The mappings that own pages here, those included that entries name and nobody has settled. Locks: none. */
  mappings(pages: Pages): Set<Mapping> {
    const found = new Set<Mapping>();
    this.#forEach((page) => {
      const owned = pages.ownerOf(page);
      if (owned !== null) found.add(owned.owner);
    });
    return found;
  }

  #forEach(visit: (page: number, state: number) => void): void {
    for (let within = 0; within < this.count; within++) {
      visit(this.first + within, load(this.thread.words, this.#area + Area.states + within));
    }
  }

  /**
   * Has this thread settle, or free, the pages that threads that die were filling. After the entries
   * of these have been recovered.
   */
  recoverFilling(pages: Pages): void {
    const { thread } = this;
    thread.onThreadDeath((dead) => {
      this.#forEach((page, state) => {
        if (state !== -dead) return;
        const owner = pages.ownerOf(page)?.owner;
        this.#endFilling(page, owner === undefined ? 0 : owner | USED);
      });
    });
  }
}
