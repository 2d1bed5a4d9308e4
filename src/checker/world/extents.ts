/** A file of the ram driver's, beside a plain list of where its pages are: what it is held to. */
import { HoldfastError } from "../../base/errors.ts";
import { type Ino, PAGE_SIZE } from "../../base/quantities.ts";
import { RamDriver } from "../../drivers/ram/driver.ts";
import { Header, Inode, INODE_WORDS, Node } from "../../drivers/ram/layout.ts";
import type { Extent } from "../../iomap/contract.ts";
import { MetadataCache } from "../../metadata/cache.ts";
import {
  beginTransaction,
  createTransactionArea,
  type Transaction,
} from "../../metadata/transaction.ts";
import { store } from "../../sync/atomics.ts";
import { type Region, Root } from "../../sync/region.ts";
import type { Sleeps } from "../../sync/sleep.ts";
import { ensure, ensureNoLeak, type Self } from "../scenario.ts";
import { contentOf, createDeviceArea, SimulatedDevice } from "./device.ts";
import { regionWithThreads } from "./threads.ts";

/** The tables take 21 MB. */
const REGION_BYTES = 2 ** 25;
/** Two words of the bitmap and a part of a third one. */
export const DEVICE_BLOCKS = 70;
/** Pages of the file that are looked at. */
export const FILE_PAGES = 120;
const TIME = { seconds: 0, nanoseconds: 0 };
/** The file is the first after the root. */
const INO = 2 as Ino;
const WRITTEN = contentOf("W");

export interface ExtentsShared {
  readonly region: Region;
  readonly device: number;
}

export function buildExtents(): ExtentsShared {
  const { region, thread } = regionWithThreads(1, REGION_BYTES);
  const device = createDeviceArea(region, DEVICE_BLOCKS);
  const simulated = new SimulatedDevice(thread, device, DEVICE_BLOCKS);
  createTransactionArea(thread);
  MetadataCache.create(thread, simulated, PAGE_SIZE);
  RamDriver.create(thread, simulated, simulated.size, TIME);
  return { region, device };
}

/** Where a page of the file is. */
interface Place {
  readonly block: number;
  readonly unwritten: boolean;
}

type Mode = "write" | "preallocate";

/** The file, and beside it the list. Positions and lengths are in pages. */
export class ExtentsFile {
  readonly #self: Self;
  readonly #cache: MetadataCache;
  readonly #driver: RamDriver;
  readonly #device: SimulatedDevice;
  #places = new Map<number, Place>();
  /** Blocks that the operation under way must zero, and no others. */
  readonly #zeroed = new Set<number>();

  constructor({ device }: ExtentsShared, self: Self) {
    const { thread } = self;
    this.#self = self;
    this.#device = new SimulatedDevice(thread, device, DEVICE_BLOCKS);
    this.#cache = MetadataCache.attach(thread, this.#device);
    this.#driver = RamDriver.attach(thread, this.#device);
  }

  *make(): Sleeps<void> {
    const name = new TextEncoder().encode("file");
    const made = { type: "file", mode: 0o644, uid: 0, gid: 0, time: TIME } as const;
    using transaction = yield* beginTransaction(this.#self.task, this.#cache);
    const ino = this.#driver.create(transaction, this.#driver.rootIno, name, made);
    ensure(ino === INO, `the file is inode ${ino}`);
    transaction.commit();
  }

  /** Does something in a transaction, first in vain, and looks at everything after each. */
  *change(what: string, operation: (transaction: Transaction) => void): Sleeps<void> {
    this.#self.say(what);
    const before = this.#places;
    for (const commits of [false, true]) {
      for (let block = 0; block < DEVICE_BLOCKS; block++) this.#device.writeBlock(block, WRITTEN);
      this.#places = new Map(before);
      this.#zeroed.clear();
      using transaction = yield* beginTransaction(this.#self.task, this.#cache);
      operation(transaction);
      if (commits) transaction.commit();
      else transaction.abort();
      if (!commits) this.#places = before;
      this.#assertSame(commits ? what : `${what}, undone`);
    }
  }

  /** Does something that fails, so that nothing has happened. */
  *refused(expected: string, operation: (transaction: Transaction) => void): Sleeps<void> {
    let code = "";
    try {
      using transaction = yield* beginTransaction(this.#self.task, this.#cache);
      operation(transaction);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      code = error.code;
    }
    ensure(code === expected, `the code is '${code}', not ${expected}`);
    this.#assertSame(`after ${code}`);
  }

  /** The lowest free blocks of the device that follow one another, at most so many. */
  #firstFree(wanted: number): { start: number; count: number } {
    const used = new Set([...this.#places.values()].map(({ block }) => block));
    let start = 0;
    while (used.has(start)) start++;
    let count = 0;
    while (count < wanted && start + count < DEVICE_BLOCKS && !used.has(start + count)) count++;
    return { start, count };
  }

  /** Has blocks given to all of a range, or to as much of it as the device has room for. */
  allocate(transaction: Transaction, first: number, count: number, mode: Mode): void {
    for (let page = first; page < first + count; ) {
      const left = first + count - page;
      const isHole = !this.#places.has(page);
      const free = this.#firstFree(this.#pagesAlike(page, left));
      const extent = this.#ask(transaction, page, left, mode);
      ensure((extent === null) === (isHole && free.count === 0), "blocks are refused, or are not");
      if (extent === null) return;
      const length = extent.length / PAGE_SIZE;
      ensure(length >= 1 && length <= left, `${length} blocks are given, of ${left}`);
      ensure(!isHole || length === free.count, `${length} blocks are given, not ${free.count}`);
      for (let at = 0; at < length; at++) this.#note(page + at, free.start + at, mode);
      this.#assertExtent(extent, page, "where blocks were given");
      page += length;
    }
  }

  #ask(transaction: Transaction, page: number, count: number, mode: Mode): Extent | null {
    const [start, length] = [page * PAGE_SIZE, count * PAGE_SIZE];
    try {
      return this.#driver.allocate(transaction, INO, start, length, mode);
    } catch (error) {
      if (error instanceof HoldfastError && error.code === "ENOSPC") return null;
      throw error;
    }
  }

  /** Notes what an allocation does to a page. */
  #note(page: number, freeBlock: number, mode: Mode): void {
    const { block, unwritten } = this.#places.get(page) ?? { block: freeBlock, unwritten: true };
    if (unwritten && mode === "write") this.#zeroed.add(block);
    this.#places.set(page, { block, unwritten: unwritten && mode === "preallocate" });
  }

  /** How many pages from `page` on are holes, or are not, as it is; at most so many. */
  #pagesAlike(page: number, most: number): number {
    let count = 1;
    while (count < most && this.#places.has(page) === this.#places.has(page + count)) count++;
    return count;
  }

  /** Frees the blocks of a range. Returns how many calls it took. */
  remove(transaction: Transaction, first: number, count: number): number {
    const [start, end] = [first * PAGE_SIZE, (first + count) * PAGE_SIZE];
    let calls = 1;
    while (!this.#driver.removeExtents(transaction, INO, start, end)) calls++;
    for (const page of [...this.#places.keys()]) {
      if (page >= first && page < first + count) this.#places.delete(page);
    }
    return calls;
  }

  unwrite(transaction: Transaction, first: number, count: number): void {
    this.#driver.unwriteExtents(transaction, INO, first * PAGE_SIZE, (first + count) * PAGE_SIZE);
    for (const [page, { block }] of this.#places) {
      if (page >= first && page < first + count) this.#places.set(page, { block, unwritten: true });
    }
  }

  /** Moves everything from `first` on. */
  shift(transaction: Transaction, first: number, distance: number): void {
    this.#driver.shiftExtents(transaction, INO, first * PAGE_SIZE, distance * PAGE_SIZE);
    const places = [...this.#places].map(
      ([page, place]) => [page >= first ? page + distance : page, place] as const,
    );
    this.#places = new Map(places);
  }

  /** The page after the last one that has a block. */
  get end(): number {
    return Math.max(0, ...this.#places.keys()) + 1;
  }

  /** Looks for a page while the chain of extents goes round in a circle. */
  findInCircle(page: number): Extent {
    const { words } = this.#self.thread;
    const nodes = this.extents();
    const last = nodes[nodes.length - 1]! + Node.next;
    store(words, last, nodes[0]!);
    const extent = this.#driver.extentAt(INO, page * PAGE_SIZE, FILE_PAGES * PAGE_SIZE);
    store(words, last, 0);
    return extent;
  }

  // What must hold.

  #assertSame(when: string): void {
    for (let page = 0; page < FILE_PAGES; ) {
      const extent = this.#driver.extentAt(INO, page * PAGE_SIZE, FILE_PAGES * PAGE_SIZE);
      this.#assertExtent(extent, page, when);
      const alike = this.#pagesAlike(page, FILE_PAGES - page);
      const whole = extent.kind !== "hole" || extent.length === alike * PAGE_SIZE;
      ensure(whole, `${when}: a hole of ${alike} pages at ${page} is told in parts`);
      page += extent.length / PAGE_SIZE;
    }
    const used = this.#places.size;
    const { blocksFree } = this.#driver.spaceInfo();
    ensure(blocksFree === DEVICE_BLOCKS - used, `${when}: ${blocksFree} blocks count as free`);
    const { sectors } = this.#driver.readInode(INO);
    ensure(sectors === used * 8, `${when}: the file counts ${sectors} sectors, has ${used} blocks`);
    for (let block = 0; block < DEVICE_BLOCKS; block++) {
      const zero = this.#device.readBlock(block) === 0;
      if (this.#zeroed.has(block)) ensure(zero, `${when}: new block ${block} is not zeroed`);
      else ensure(!zero, `${when}: block ${block} is zeroed`);
    }
    this.#assertNodes(when);
  }

  #assertExtent(extent: Extent, page: number, when: string): void {
    ensure(extent.start === page * PAGE_SIZE && extent.length > 0, `${when}: an extent elsewhere`);
    for (let at = 0; at * PAGE_SIZE < extent.length; at++) {
      const place = this.#places.get(page + at);
      const [kind, block] =
        extent.kind === "mapped" || extent.kind === "unwritten"
          ? [extent.kind, extent.address / PAGE_SIZE + at]
          : [extent.kind, -1];
      const expected = place === undefined ? "hole" : place.unwritten ? "unwritten" : "mapped";
      ensure(
        kind === expected && block === (place?.block ?? -1),
        `${when}: page ${page + at} is ${kind} in block ${block}, not ${expected}, ${place?.block}`,
      );
    }
  }

  /** The driver's extents, in the order of its chain. Looked at in the words themselves. */
  extents(): number[] {
    const { words, region } = this.#self.thread;
    const inodes = words[region.root(Root.ram) + Header.inodeTable]!;
    const nodes: number[] = [];
    for (let node = words[inodes + INO * INODE_WORDS + Inode.nodes]!; node !== 0; ) {
      ensure(nodes.length < 1000, "the file's extents go round in a circle");
      nodes.push(node);
      node = words[node + Node.next]!;
    }
    return nodes;
  }

  /** Every node is an extent, the file's name, or free. */
  #assertNodes(when: string): void {
    const { words, region } = this.#self.thread;
    const header = region.root(Root.ram);
    const used = words[header + Header.nodesUsed]!;
    let free = 0;
    for (let node = words[header + Header.freeNodes]!; node !== 0; free++) {
      ensure(free < used, `${when}: free nodes go round in a circle`);
      node = words[node + Node.next]!;
    }
    const lost = used - free - this.extents().length - 1;
    ensureNoLeak(lost === 0, `${when}: ${lost} nodes are lost`);
  }
}
