/**
 * Windows: ranges of a process's addresses that show part of a file. What a window shows is kept
 * here, in shared memory, so that any thread of the process can revoke it.
 *
 * Record, in words: 0 next of the mapping | 1 mapping | 2 first page | 3 pages | 4 address, low
 * | 5 address, high | 6 thread that made it | 7 flags | 8 serial | 9 pages shown as lost | 10 first
 * lost page | 11 last one | 16..79 shown: one bit per 2 MiB of the window, set before anything of it
 * is shown.
 *
 * Area, in words: slab | 8 generation | 9 faults | 10 revocations | 11 pages lost now and ever
 * | 12 next serial | 13 places of the table ever used | 16.. table of records, 0 where free.
 *
 * Invariants. (1) A window is in its mapping's list and in the table before it shows a page, and
 *                 shows nothing when it leaves them.
 *             (2) Pages are shown with the map lock held, shared; revoked, added and removed with it
 *                 held exclusively.
 *             (3) A clear bit means that nothing of those 2 MiB is shown.
 * A window holds no count on its pages: what it shows can be taken away at any time, so nobody ever
 * waits for it, and what it shows can be read here.
 */
import { HoldfastError } from "../base/errors.ts";
import { type Address, HUGE_PAGES, PAGE_SIZE } from "../base/quantities.ts";
import { type Mapping, MappingWord, noteWritten } from "../mapping/mapping.ts";
import { add, and, cas, load, loadUnsigned, or, store } from "../sync/atomics.ts";
import { Root } from "../sync/region.ts";
import { allocateZeroed, freeObject, initSlab, SLAB_WORDS } from "../sync/slab.ts";
import type { Holder, Thread } from "../sync/thread.ts";
import { Event } from "../sync/trace.ts";
import type { FaultPort, PopulatedPort } from "./fault-port.ts";
import { tracePages, traceSlice, traceWindow } from "./trace.ts";

const Record = {
  next: 0,
  mapping: 1,
  first: 2,
  pages: 3,
  addressLow: 4,
  addressHigh: 5,
  owner: 6,
  flags: 7,
  serial: 8,
  lost: 9,
  lostFirst: 10,
  lostLast: 11,
  shown: 16,
} as const;
const SHOWN_WORDS = 64;
const RECORD_WORDS = Record.shown + SHOWN_WORDS;
/** A window's bytes: what its bits cover, and what one ArrayBuffer can hold in Node 20. */
export const WINDOW_BYTES_MAX = SHOWN_WORDS * 32 * HUGE_PAGES * PAGE_SIZE - PAGE_SIZE;
const WRITABLE = 1;

/** Why a page shows nothing of the file, other than that it has none there or could not be read. */
export type LostCause = "poisoned" | "removed";
/** In the flags: a page was lost for this cause. */
const LOST_BY: Record<LostCause, number> = { poisoned: 2, removed: 4 };
/** In the flags: it shows only pages whose metadata is on the medium (dax/sync-fault.ts). */
const SYNC = 8;

const Area = {
  generation: SLAB_WORDS,
  faults: 9,
  revocations: 10,
  lost: 11,
  serial: 12,
  used: 13,
  table: 16,
} as const;
export { Area as WindowArea };
export const WINDOWS_MAX = 4096;

/** A window by its record's offset. */
export type Window = number;

export function createWindowArea(thread: Thread): void {
  const { region } = thread;
  const area = region.allocatePages(Area.table + WINDOWS_MAX);
  initSlab(region, area, RECORD_WORDS);
  region.setRoot(Root.window, area);
}

export interface WindowStatistics {
  readonly faults: number;
  readonly revocations: number;
  readonly pagesLost: number;
  readonly windows: number;
}

/** A window, for whoever asks who holds a file. */
export interface WindowUse {
  readonly holder: Holder;
  readonly first: number;
  readonly pages: number;
  readonly writable: boolean;
}

/** What touches of a window found lost. */
export interface LostPages {
  readonly pages: number;
  readonly first: number;
  readonly last: number;
  readonly poisoned: boolean;
  readonly removed: boolean;
}

/** One thread's use of the windows of a volume. */
export class Windows {
  readonly thread: Thread;
  readonly port: FaultPort | PopulatedPort;
  readonly #area: number;
  /** The pager's sorted copy of the table, and the generation that it was made from. */
  #sorted: { start: number; end: number; window: Window }[] = [];
  #sortedGeneration = -1;

  constructor(thread: Thread, port: FaultPort | PopulatedPort) {
    this.thread = thread;
    this.port = port;
    this.#area = thread.region.root(Root.window);
  }

  /**
   * Makes a window over pages of a file. Locks: the mapping's map lock, exclusively.
   * Throws: ENOMEM, ENFILE when 4,096 windows are open; nothing is left behind.
   */
  add(mapping: Mapping, first: number, pages: number, writable: boolean, sync = false): Window {
    const { thread, port } = this;
    const { words } = thread;
    this.pruneDead(mapping);
    const congruence = (first % HUGE_PAGES) * PAGE_SIZE;
    const address = port.reserveWindow(pages * PAGE_SIZE, HUGE_PAGES * PAGE_SIZE, congruence);
    let window = 0;
    try {
      window = allocateZeroed(thread, this.#area);
      store(words, window + Record.mapping, mapping);
      store(words, window + Record.first, first | 0);
      store(words, window + Record.pages, pages);
      store(words, window + Record.addressLow, address | 0);
      store(words, window + Record.addressHigh, Math.floor(address / 2 ** 32));
      store(words, window + Record.owner, thread.holder);
      store(words, window + Record.flags, (writable ? WRITABLE : 0) | (sync ? SYNC : 0));
      store(words, window + Record.serial, add(words, this.#area + Area.serial, 1) + 1);
      store(words, window + Record.next, load(words, mapping + MappingWord.windows));
      this.#enterTable(window);
    } catch (error) {
      if (window !== 0) freeObject(thread, this.#area, window);
      port.release(address, pages * PAGE_SIZE);
      throw error;
    }
    store(words, mapping + MappingWord.windows, window);
    add(words, this.#area + Area.generation, 1);
    traceWindow(thread, Event.map, window, writable);
    return window;
  }

  #enterTable(window: Window): void {
    const { words } = this.thread;
    for (let index = 0; index < WINDOWS_MAX; index++) {
      for (let used = this.#tableEnd(); used <= index; used = this.#tableEnd()) {
        cas(words, this.#area + Area.used, used, index + 1);
      }
      if (cas(words, this.#area + Area.table + index, 0, window)) return;
    }
    throw new HoldfastError("ENFILE", `${WINDOWS_MAX} windows are open; close some first`);
  }

  /** How many places of the table were ever used: as far as a scan has to look. */
  #tableEnd(): number {
    return load(this.thread.words, this.#area + Area.used);
  }

  /**
   * Takes a window away: its range becomes zeroes that belong to no file, and stays reserved.
   * Locks: the mapping's map lock, exclusively.
   */
  remove(window: Window): void {
    const { thread } = this;
    const { words } = thread;
    traceWindow(thread, Event.unmap, window);
    this.port.retire(this.address(window), this.pages(window) * PAGE_SIZE);
    const mapping = this.mappingOf(window);
    if (this.isWritable(window)) {
      const first = this.firstPage(window);
      noteWritten(thread, mapping, first, first + this.pages(window) - 1);
    }
    let link = mapping + MappingWord.windows;
    while (load(words, link) !== window) link = load(words, link) + Record.next;
    store(words, link, load(words, window + Record.next));
    for (let index = 0; index < WINDOWS_MAX; index++) {
      if (cas(words, this.#area + Area.table + index, window, 0)) break;
    }
    add(words, this.#area + Area.generation, 1);
    store(words, window + Record.serial, 0);
    freeObject(thread, this.#area, window);
  }

  /** Removes the windows of threads that have died. Locks: the map lock, exclusively. */
  pruneDead(mapping: Mapping): void {
    const { words } = this.thread;
    let window = load(words, mapping + MappingWord.windows);
    while (window !== 0) {
      const next = load(words, window + Record.next);
      if (!this.thread.isAlive(load(words, window + Record.owner))) {
        const address = this.address(window);
        const length = this.pages(window) * PAGE_SIZE;
        this.remove(window);
        this.port.release(address, length);
      }
      window = next;
    }
  }

  address(window: Window): Address {
    const low = loadUnsigned(this.thread.words, window + Record.addressLow);
    return (load(this.thread.words, window + Record.addressHigh) * 2 ** 32 + low) as Address;
  }

  mappingOf(window: Window): Mapping {
    return load(this.thread.words, window + Record.mapping);
  }

  firstPage(window: Window): number {
    return loadUnsigned(this.thread.words, window + Record.first);
  }

  pages(window: Window): number {
    return load(this.thread.words, window + Record.pages);
  }

  isWritable(window: Window): boolean {
    return (load(this.thread.words, window + Record.flags) & WRITABLE) !== 0;
  }

  isSync(window: Window): boolean {
    return (load(this.thread.words, window + Record.flags) & SYNC) !== 0;
  }

  /** Tells a window from a later one in the same record; 0 when it has been removed. */
  serial(window: Window): number {
    return load(this.thread.words, window + Record.serial);
  }

  /**
   * Whether a window that was looked up without a lock is still there, and over the address: both it
   * and its serial may have been read when it was gone, and another one in its record. Locks: the map
   * lock of its mapping, shared.
   */
  isOver(window: Window, serial: number, address: number): boolean {
    if (serial === 0 || this.serial(window) !== serial) return false;
    const within = address - this.address(window);
    return within >= 0 && within < this.pages(window) * PAGE_SIZE;
  }

  hasWindows(mapping: Mapping): boolean {
    return load(this.thread.words, mapping + MappingWord.windows) !== 0;
  }

  /** Whether a window, or one that `wanted` says, is over one of pages [first, last]. Locks: the map lock. */
  hasWindowOver(
    mapping: Mapping,
    first: number,
    last: number,
    wanted: (window: Window) => boolean = () => true,
  ): boolean {
    let found = false;
    this.forEachWindow(mapping, (window) => {
      const base = this.firstPage(window);
      if (base <= last && base + this.pages(window) > first && wanted(window)) found = true;
    });
    return found;
  }

  forEachWindow(mapping: Mapping, visit: (window: Window) => void): void {
    const { words } = this.thread;
    let window = load(words, mapping + MappingWord.windows);
    while (window !== 0) {
      const next = load(words, window + Record.next);
      visit(window);
      window = next;
    }
  }

  /**
   * The windows over a file, told from the table: without a lock, so one that comes or goes meanwhile
   * is among them or not.
   */
  windowsOf(mapping: Mapping): WindowUse[] {
    const { words } = this.thread;
    const found: WindowUse[] = [];
    const end = this.#tableEnd();
    for (let index = 0; index < end; index++) {
      const window = load(words, this.#area + Area.table + index);
      if (window === 0) continue;
      const serial = this.serial(window);
      const use = {
        holder: load(words, window + Record.owner),
        first: this.firstPage(window),
        pages: this.pages(window),
        writable: this.isWritable(window),
      };
      const isOver = serial !== 0 && this.mappingOf(window) === mapping;
      if (isOver && this.serial(window) === serial) found.push(use);
    }
    return found;
  }

  /** The mappings that have windows: without a lock, so of one that comes or goes meanwhile or not. */
  mappings(): Set<Mapping> {
    const { words } = this.thread;
    const found = new Set<Mapping>();
    const end = this.#tableEnd();
    for (let index = 0; index < end; index++) {
      const window = load(words, this.#area + Area.table + index);
      if (window !== 0) found.add(this.mappingOf(window));
    }
    return found;
  }

  /** Before pages [first, last] of the file are shown in the window. Locks: the map lock, shared. */
  noteShown(window: Window, first: number, last: number): void {
    const base = this.firstPage(window);
    const lastSlice = Math.floor((last - base) / HUGE_PAGES);
    for (let slice = Math.floor((first - base) / HUGE_PAGES); slice <= lastSlice; slice++) {
      const word = window + Record.shown + (slice >>> 5);
      const bit = 1 << (slice & 31);
      if ((load(this.thread.words, word) & bit) === 0) or(this.thread.words, word, bit);
    }
  }

  /**
   * Revokes pages [first, last] of the file in every window: the next touch faults again. What shows
   * nothing is not touched, so the cost follows what is shown.
   * Locks: the map lock, exclusively. Sleeps: in the kernel, until the pager has read of it.
   */
  revoke(mapping: Mapping, first: number, last: number): void {
    this.pruneDead(mapping);
    this.forEachWindow(mapping, (window) => {
      const base = this.firstPage(window);
      const from = Math.max(first, base) - base;
      const to = Math.min(last, base + this.pages(window) - 1) - base;
      if (from <= to) this.#revokeIn(window, from, to);
    });
  }

  /** Revokes pages [from, to] of a window, counted from its start, run by run of what is shown. */
  #revokeIn(window: Window, from: number, to: number): void {
    const lastSlice = Math.floor(to / HUGE_PAGES);
    let slice = Math.floor(from / HUGE_PAGES);
    while (slice <= lastSlice) {
      if (!this.#isShown(window, slice)) {
        slice++;
        continue;
      }
      const start = slice;
      while (slice <= lastSlice && this.#isShown(window, slice)) slice++;
      const runFrom = Math.max(from, start * HUGE_PAGES);
      const runTo = Math.min(to, slice * HUGE_PAGES - 1);
      const address = (this.address(window) + runFrom * PAGE_SIZE) as Address;
      if (this.isWritable(window)) {
        const base = this.firstPage(window);
        noteWritten(this.thread, this.mappingOf(window), base + runFrom, base + runTo);
      }
      this.port.revoke(address, (runTo - runFrom + 1) * PAGE_SIZE);
      add(this.thread.words, this.#area + Area.revocations, 1);
      traceSlice(this.thread, Event.revoke, window, runFrom, runTo - runFrom + 1);
      this.#clearShown(window, runFrom, runTo);
    }
  }

  /** Whether a window, or one that writes, may show page `index` of the file. Locks: the map lock. */
  mayShow(mapping: Mapping, index: number, writes = false): boolean {
    let shown = false;
    this.forEachWindow(mapping, (window) => {
      const within = index - this.firstPage(window);
      if (within < 0 || within >= this.pages(window)) return;
      if (writes && !this.isWritable(window)) return;
      if (this.#isShown(window, Math.floor(within / HUGE_PAGES))) shown = true;
    });
    return shown;
  }

  #isShown(window: Window, slice: number): boolean {
    const word = load(this.thread.words, window + Record.shown + (slice >>> 5));
    return ((word >>> (slice & 31)) & 1) !== 0;
  }

  /** Clears the bits of the 2 MiB that lie wholly in the range. */
  #clearShown(window: Window, from: number, to: number): void {
    const pages = this.pages(window);
    for (let slice = Math.ceil(from / HUGE_PAGES); slice * HUGE_PAGES <= to; slice++) {
      const end = Math.min(pages, (slice + 1) * HUGE_PAGES) - 1;
      if (end > to) return;
      and(this.thread.words, window + Record.shown + (slice >>> 5), ~(1 << (slice & 31)));
    }
  }

  /** The window over an address, or null. For the pager; locks: none, so look again under them. */
  at(address: number): Window | null {
    const { words } = this.thread;
    const generation = load(words, this.#area + Area.generation);
    if (generation !== this.#sortedGeneration) this.#sortTable(generation);
    let low = 0;
    let high = this.#sorted.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const candidate = this.#sorted[middle]!;
      if (address < candidate.start) high = middle - 1;
      else if (address >= candidate.end) low = middle + 1;
      else return candidate.window;
    }
    return null;
  }

  #sortTable(generation: number): void {
    const sorted: { start: number; end: number; window: Window }[] = [];
    const end = this.#tableEnd();
    for (let index = 0; index < end; index++) {
      const window = load(this.thread.words, this.#area + Area.table + index);
      if (window === 0) continue;
      const start = this.address(window);
      sorted.push({ start, end: start + this.pages(window) * PAGE_SIZE, window });
    }
    this.#sorted = sorted.sort((a, b) => a.start - b.start);
    this.#sortedGeneration = generation;
  }

  countFault(): void {
    add(this.thread.words, this.#area + Area.faults, 1);
  }

  /**
   * Notes that a page of the window shows zeroes that belong to no file. Only the pager notes (where
   * nothing faults: who has the map lock, exclusively), so the words need no lock.
   */
  noteLost(window: Window, index: number, cause: LostCause | null): void {
    const { words } = this.thread;
    tracePages(this.thread, Event.lost, window, index, 1);
    if (cause !== null) or(words, window + Record.flags, LOST_BY[cause]);
    add(words, this.#area + Area.lost, 1);
    const none = load(words, window + Record.lost) === 0;
    if (none || index < loadUnsigned(words, window + Record.lostFirst)) {
      store(words, window + Record.lostFirst, index | 0);
    }
    if (index > loadUnsigned(words, window + Record.lostLast)) {
      store(words, window + Record.lostLast, index | 0);
    }
    add(words, window + Record.lost, 1);
  }

  /** What touches of the window found lost so far: how many pages, the first and the last. */
  lost(window: Window): LostPages | null {
    const { words } = this.thread;
    const pages = load(words, window + Record.lost);
    if (pages === 0) return null;
    return {
      pages,
      poisoned: (load(words, window + Record.flags) & LOST_BY.poisoned) !== 0,
      removed: (load(words, window + Record.flags) & LOST_BY.removed) !== 0,
      first: loadUnsigned(words, window + Record.lostFirst),
      last: loadUnsigned(words, window + Record.lostLast),
    };
  }

  /**
   * Revokes one page in every window, for a zero page that is about to be replaced. Locks: the map
   * lock, shared, and the page's entry. Not for the pager, which shows the new page over it.
   */
  revokePage(mapping: Mapping, index: number): void {
    this.forEachWindow(mapping, (window) => {
      const within = index - this.firstPage(window);
      if (within >= 0 && within < this.pages(window)) this.#revokeIn(window, within, within);
    });
  }

  /** The 2 MiB runs of pages that writable windows show: what may have been stored to. */
  forEachWritableRun(mapping: Mapping, visit: (first: number, last: number) => void): void {
    this.forEachWindow(mapping, (window) => {
      if (!this.isWritable(window)) return;
      const base = this.firstPage(window);
      const pages = this.pages(window);
      for (let slice = 0; slice * HUGE_PAGES < pages; slice++) {
        if (!this.#isShown(window, slice)) continue;
        visit(base + slice * HUGE_PAGES, base + Math.min(pages, (slice + 1) * HUGE_PAGES) - 1);
      }
    });
  }

  statistics(): WindowStatistics {
    const { words } = this.thread;
    let windows = 0;
    const end = this.#tableEnd();
    for (let index = 0; index < end; index++) {
      if (load(words, this.#area + Area.table + index) !== 0) windows++;
    }
    return {
      faults: load(words, this.#area + Area.faults),
      revocations: load(words, this.#area + Area.revocations),
      pagesLost: load(words, this.#area + Area.lost),
      windows,
    };
  }
}
