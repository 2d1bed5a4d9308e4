/**
 * A simulated window port, with the page tables that it fills. A page's table entry is one word of
 * the region:
 *
 *     0 empty | 1 zero page | 2 zero page, guarded | 3 lost | 4 retired | 5 released
 *     8 + 2 * block, + 1 when it is shared
 *
 * A touch reads the table and uses the block in one step, as far as a revocation can tell: whoever
 * takes a page out of a table waits until every touch under way has ended, as a processor does that
 * has others flush their translations. (A thread that is in a touch has an odd word.)
 */
import { HoldfastError } from "../../base/errors.ts";
import { HUGE_PAGES, PAGE_SIZE } from "../../base/quantities.ts";
import { add, exchange, load, sleepWhile, store } from "../../sync/atomics.ts";
import type { Region } from "../../sync/region.ts";
import type { Thread } from "../../sync/thread.ts";
import type { FaultPort, PopulatedPort } from "../../window/fault-port.ts";
import type { Content, SimulatedDevice } from "./device.ts";

const Area = { reserved: 0, touching: 8, lengths: 32, tables: 64 } as const;
const TOUCHERS_MAX = 16;
const WINDOWS_MAX = 8;
const TABLE_PAGES = 2 * HUGE_PAGES;
/** Windows lie this far from one another, the first one as far from 0: above 4 GiB, as addresses do. */
export const WINDOW_DISTANCE = 5 * 2 ** 30;

export const TableEntry = {
  empty: 0,
  zero: 1,
  guarded: 2,
  lost: 3,
  retired: 4,
  released: 5,
  block: 8,
} as const;

export function createPortArea(region: Region): number {
  return region.allocatePages(Area.tables + WINDOWS_MAX * TABLE_PAGES);
}

/** The block that a table entry shows, or -1. */
export function blockShown(entry: number): number {
  return entry < TableEntry.block ? -1 : (entry - TableEntry.block) >>> 1;
}

/** Whether what is stored to a table entry's page is stored to its block. */
export function writesShown(entry: number): boolean {
  return entry >= TableEntry.block && (entry & 1) !== 0;
}

/** Where the windows lie, in the order in which their addresses are reserved. */
export function windowAddress(number: number): number {
  return (number + 1) * WINDOW_DISTANCE;
}

/** The word of the table entry at an address. */
export function tableWord(area: number, address: number): number {
  const window = Math.floor(address / WINDOW_DISTANCE) - 1;
  const page = Math.floor((address % WINDOW_DISTANCE) / PAGE_SIZE);
  return area + Area.tables + window * TABLE_PAGES + page;
}

/** What the port's words are called in stories, or null. */
export function portWordName(area: number, word: number): string | null {
  const offset = word - area;
  if (offset < 0 || offset >= Area.tables + WINDOWS_MAX * TABLE_PAGES) return null;
  if (offset >= Area.tables) {
    const at = offset - Area.tables;
    return `window ${Math.floor(at / TABLE_PAGES)}: table entry ${at % TABLE_PAGES}`;
  }
  return offset >= Area.touching
    ? `thread ${offset - Area.touching}: touching`
    : "windows reserved";
}

/** Told before and after each use of a block through a window. */
export type OnTouch = (block: number) => void;

/** What a touch found: the content of a page (0 for zeroes), or that it must fault. */
export type Touched = Content | "fault";

export class SimulatedPort {
  readonly faults: boolean;
  readonly #reads: boolean;
  /** Addresses where nothing can be shown: the process has too many mappings. */
  readonly #refused: ReadonlySet<number>;
  readonly #thread: Thread;
  readonly #area: number;
  readonly #touching: number;
  /** Told before a block is shown at an address. */
  onShow: (address: number, block: number) => void = () => {};

  /** `reads`: for the thread that reads fault messages, which must not revoke. */
  constructor(
    thread: Thread,
    area: number,
    {
      faults,
      reads,
      refused,
    }: {
      readonly faults: boolean;
      readonly reads: boolean;
      readonly refused: ReadonlySet<number>;
    },
  ) {
    this.#thread = thread;
    this.#area = area;
    this.#touching = area + Area.touching + thread.slot;
    this.faults = faults;
    this.#reads = reads;
    this.#refused = refused;
  }

  /** As the core knows ports. */
  get asPort(): FaultPort | PopulatedPort {
    return this as unknown as FaultPort;
  }

  reserveWindow(length: number, _alignment: number, congruence: number): number {
    const { words } = this.#thread;
    const number = add(words, this.#area + Area.reserved, 1);
    store(words, this.#area + Area.lengths + number, congruence + length);
    const address = windowAddress(number) + congruence;
    if (!this.faults) this.#fill(address, length, TableEntry.lost);
    return address;
  }

  show(
    address: number,
    { first, size }: SimulatedDevice,
    at: number,
    length: number,
    mode: "shared" | "private",
  ): void {
    const entry = TableEntry.block + (mode === "shared" ? 1 : 0);
    if (length <= 0) throw new Error(`the simulated port shows a range of ${length} bytes`);
    if (!(at >= 0 && at + length <= size)) throw new Error(`no bytes from ${at} on to show`);
    if (this.#refused.has(address)) {
      throw new HoldfastError("ENOMEM", "the simulated process has too many mappings");
    }
    const block = first + at / PAGE_SIZE;
    for (let page = 0; page * PAGE_SIZE < length; page++) {
      this.onShow(address + page * PAGE_SIZE, block + page);
      this.#set(address + page * PAGE_SIZE, entry + (block + page) * 2);
    }
    this.#flush();
  }

  showZero(address: number, length: number): void {
    this.#fill(address, length, TableEntry.zero);
  }

  showZeroProtected(address: number, length: number): void {
    this.#fill(address, length, TableEntry.guarded);
  }

  showLost(address: number, length: number): void {
    this.#fill(address, length, TableEntry.lost);
  }

  revoke(address: number, length: number): void {
    if (this.#reads) throw new Error("who reads fault messages revokes: it would wait for itself");
    const number = Math.floor(address / WINDOW_DISTANCE) - 1;
    const end = load(this.#thread.words, this.#area + Area.lengths + number);
    if ((address % WINDOW_DISTANCE) + length > end) throw new Error("revoked beyond a window");
    this.#fill(address, length, this.faults ? TableEntry.empty : TableEntry.lost);
  }

  retire(address: number, length: number): void {
    this.#fill(address, length, TableEntry.retired);
  }

  release(address: number, length: number): void {
    this.#fill(address, length, TableEntry.released);
  }

  /** A thread touches a page: loads from it, or stores `stored` to it. Sleeps: never. */
  touch(
    device: SimulatedDevice,
    address: number,
    stored: Content | null,
    onTouch: OnTouch,
  ): Touched {
    const { words } = this.#thread;
    add(words, this.#touching, 1);
    try {
      const entry = load(words, tableWord(this.#area, address));
      if (entry === TableEntry.empty && this.faults) return "fault";
      if (entry === TableEntry.guarded && stored !== null) return "fault";
      if (entry === TableEntry.released) throw new Error("a touch of an address range given back");
      // What is stored to another page of zeroes goes nowhere.
      if (entry < TableEntry.block) return 0;
      const block = blockShown(entry);
      onTouch(block);
      const content = device.readBlock(block);
      if (stored !== null && writesShown(entry)) device.writeBlock(block, stored);
      onTouch(block);
      return content;
    } finally {
      add(words, this.#touching, 1);
    }
  }

  #fill(address: number, length: number, entry: number): void {
    if (length <= 0) throw new Error(`the simulated port is given a range of ${length} bytes`);
    for (let at = 0; at < length; at += PAGE_SIZE) this.#set(address + at, entry);
    this.#flush();
  }

  #set(address: number, entry: number): void {
    const word = tableWord(this.#area, address);
    if (exchange(this.#thread.words, word, entry) === TableEntry.released) {
      throw new Error(`address ${address} is used after it was given back`);
    }
  }

  /** Waits until every touch that may still use what a table held has ended. */
  #flush(): void {
    const { words } = this.#thread;
    for (let slot = 0; slot < TOUCHERS_MAX; slot++) {
      if (slot === this.#thread.slot) continue;
      const word = this.#area + Area.touching + slot;
      const value = load(words, word);
      if ((value & 1) === 0) continue;
      while (load(words, word) === value) {
        if (!this.#thread.isAlive(this.#thread.holderIn(slot))) break;
        sleepWhile(words, word, value, 1);
      }
    }
  }
}
