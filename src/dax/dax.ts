/**
 * Direct access: what one thread needs to serve a volume's files, and where their bytes lie.
 *
 * The layer joins mapping, pin, window, layout and the driver's iomap. Its operations are sleeping
 * functions that take a task, this context and a mapping.
 */
import { HoldfastError } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import { type Ino, PAGE_SIZE } from "../base/quantities.ts";
import type { Device } from "../device/index.ts";
import type { Extent, IomapDriver, Time } from "../iomap/contract.ts";
import type { BreakContext } from "../layout/break.ts";
import {
  Access,
  inoOf,
  type Mapping,
  MappingWord,
  noteWritten,
  sizeOf,
} from "../mapping/mapping.ts";
import type { MetadataCache } from "../metadata/cache.ts";
import { readStable } from "../metadata/sequence.ts";
import { beginTransaction, transact, type Transaction } from "../metadata/transaction.ts";
import type { Pages } from "../pages/pages.ts";
import { describePage } from "../pin/record.ts";
import { load } from "../sync/atomics.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import type { Thread } from "../sync/thread.ts";
import type { Windows } from "../window/window.ts";
import { claimedTwice } from "./claims.ts";
import type { PageCache } from "./page-cache.ts";
import type { HeldMapping, HoldMapping } from "./poison.ts";

/** The driver as direct access sees it: placement, and the times that a change of data sets. */
export interface DataDriver extends IomapDriver {
  setAttributes(
    transaction: Transaction,
    ino: Ino,
    change: { modifyTime: Time; changeTime: Time },
  ): void;
}

export interface DaxParts {
  readonly thread: Thread;
  readonly device: Device;
  readonly cache: MetadataCache;
  readonly pages: Pages;
  readonly windows: Windows;
  readonly driver: DataDriver;
  /** Null on a volume that has no copied files. */
  readonly pageCache: PageCache | null;
  readonly readOnly: boolean;
  readonly protect: boolean;
}

/** How far one lookup asks: extents are cached as long as they come. */
const LOOKUP_BYTES = 2 ** 30;
const CACHED_EXTENTS_MAX = 1024;

/** Extents of one file as this thread last read them, valid while the sequence is the same. */
interface CachedExtents {
  sequence: number;
  /** Sorted by start, not overlapping. */
  readonly extents: Extent[];
}

export class Dax implements BreakContext {
  readonly thread: Thread;
  readonly device: Device;
  readonly cache: MetadataCache;
  readonly pages: Pages;
  readonly windows: Windows;
  readonly driver: DataDriver;
  readonly pageCache: PageCache | null;
  readonly readOnly: boolean;
  readonly protect: boolean;
  /** Keeps the record of a file whose page is evicted. Set by the layer that has the records. */
  holdMapping: HoldMapping = () => null;
  /**
   * As `holdMapping`, when nobody takes the record out any more. Null: it is out. Sleeps: until then. Set by
   * the same layer.
   */
  acquireMapping!: (ino: number) => Sleeps<HeldMapping | null>;
  /**
   * Writes all changed metadata home, and returns how many transactions that holds. Locks: takes the transaction.
   * Sleeps: for it. Set by the layer that has the whole driver.
   */
  flushMetadata!: (task: Task) => Sleeps<number>;
  /**
   * Whether a thread evicts what windows show, for the pager (evict.ts); starts one if there is none. Set by
   * the layer that has threads.
   */
  hasEvictor: () => boolean = () => false;
  /** This thread reads the fault messages: it shows pages over others but never revokes. */
  isPager = false;
  readonly #extents = new Map<Mapping, CachedExtents>();
  #scratch: Uint8Array | null = null;

  constructor(parts: DaxParts) {
    this.thread = parts.thread;
    this.device = parts.device;
    this.cache = parts.cache;
    this.pages = parts.pages;
    this.windows = parts.windows;
    this.driver = parts.driver;
    this.pageCache = parts.pageCache;
    this.readOnly = parts.readOnly;
    this.protect = parts.protect;
    this.pages.describe = (owner, index) => describePage(this.thread, owner, index);
    this.pages.judgeBy((page, has, wants) => claimedTwice(this, page, has, wants));
  }

  /** A page's bytes on their way between the cache and the device. Not kept over a wait. */
  get scratch(): Uint8Array {
    this.#scratch ??= new Uint8Array(PAGE_SIZE);
    return this.#scratch;
  }

  /** Throws: EROFS when the volume cannot be changed. */
  assertWritable(): void {
    if (this.readOnly) throw new HoldfastError("EROFS", "the volume is mounted read-only");
  }

  /** The storage behind a page, of the device or the page cache, and the byte at which it begins there. */
  storageOf(page: number): { readonly storage: Device; readonly at: number } {
    const cache = this.pageCache;
    if (cache === null || !cache.contains(page)) {
      return { storage: this.device, at: page * PAGE_SIZE };
    }
    return { storage: cache.memory, at: cache.byteOf(page) };
  }

  /** The cached extent that covers `byte`, or null; one atomic load and a search. */
  cachedExtent(mapping: Mapping, byte: number): Extent | null {
    const cached = this.#extents.get(mapping);
    if (cached === undefined) return null;
    if (cached.sequence !== load(this.thread.words, mapping + MappingWord.sequence)) return null;
    return search(cached.extents, byte);
  }

  /** Keeps an extent read while the sequence was `sequence`. */
  keepExtent(mapping: Mapping, sequence: number, extent: Extent): void {
    let cached = this.#extents.get(mapping);
    if (cached === undefined) {
      cached = { sequence, extents: [] };
      this.#extents.set(mapping, cached);
    }
    if (cached.sequence !== sequence || cached.extents.length >= CACHED_EXTENTS_MAX) {
      cached.sequence = sequence;
      cached.extents.length = 0;
    }
    // What it overlaps goes: a lookup further back gives an extent that continues into it.
    const { extents } = cached;
    let at = extents.length;
    while (at > 0 && endOf(extents[at - 1]!) > extent.start) at--;
    let after = at;
    while (after < extents.length && extents[after]!.start < endOf(extent)) after++;
    extents.splice(at, after - at, extent);
  }

  /** Forgets what is cached of a mapping whose record is given back. */
  forget(mapping: Mapping): void {
    this.#extents.delete(mapping);
  }
}

function endOf(extent: Extent): number {
  return extent.start + extent.length;
}

function search(extents: readonly Extent[], byte: number): Extent | null {
  let low = 0;
  let high = extents.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const extent = extents[middle]!;
    if (byte < extent.start) high = middle - 1;
    else if (byte >= endOf(extent)) low = middle + 1;
    else return extent;
  }
  return null;
}

/**
 * The extent that covers `byte`: what it holds now. Under the io lock, or the map lock, mapped
 * extents stay; holes may fill.
 * Locks: io or map, shared at least. Sleeps: while a transaction changes the layout.
 * Throws: CorruptionError.
 */
export function* findExtent(task: Task, dax: Dax, mapping: Mapping, byte: number): Sleeps<Extent> {
  const known = dax.cachedExtent(mapping, byte);
  if (known !== null) return known;
  const { driver, thread } = dax;
  const ino = inoOf(thread, mapping);
  const start = byte - (byte % driver.blockSize);
  const sequenceWord = mapping + MappingWord.sequence;
  let sequence = 0;
  const extent = yield* readStable(task, sequenceWord, () => {
    sequence = load(thread.words, sequenceWord);
    return driver.extentAt(ino, start, start + LOOKUP_BYTES);
  });
  invariant(
    extent.start <= byte && endOf(extent) > byte,
    () => `the driver's extent [${extent.start}, +${extent.length}) does not cover byte ${byte}`,
  );
  dax.keepExtent(mapping, sequence, extent);
  return extent;
}

/** What a file's io lock is called, and its place among those of other files. */
export function ioName(dax: Dax, mapping: Mapping) {
  return { rankName: "io", order: inoOf(dax.thread, mapping) } as const;
}

/** The same of its map lock. */
export function mapName(dax: Dax, mapping: Mapping) {
  return { rankName: "map", order: inoOf(dax.thread, mapping) } as const;
}

/** Whether the file is copied (copied.ts). It is so as long as its record is in memory. */
export function isCopied(dax: Dax, mapping: Mapping): boolean {
  if (dax.pageCache === null) return false;
  return load(dax.thread.words, mapping + MappingWord.access) === Access.copied;
}

/** The file's size, read under neither of its locks. */
export function* stableSize(task: Task, dax: Dax, mapping: Mapping): Sleeps<number> {
  return yield* readStable(task, mapping + MappingWord.sequence, () => sizeOf(dax.thread, mapping));
}

/** Notes for write-back that bytes [start, end), not none, were written. */
export function noteWrittenBytes(dax: Dax, mapping: Mapping, start: number, end: number): void {
  const last = Math.floor((end - 1) / PAGE_SIZE);
  noteWritten(dax.thread, mapping, Math.floor(start / PAGE_SIZE), last);
}

/** Opens a transaction that changes the layout or size of a file that may be written. */
export function* beginLayoutTransaction(
  task: Task,
  dax: Dax,
  mapping: Mapping,
): Sleeps<Transaction> {
  const transaction = yield* beginTransaction(task, dax.cache);
  transaction.beginLayoutChange(mapping + MappingWord.sequence);
  return transaction;
}

/** Has `change` change a file's layout in one transaction, as `transact` of metadata/transaction.ts. */
export function* changeInTransaction<T>(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  change: (transaction: Transaction) => T,
): Sleeps<T> {
  dax.assertWritable();
  return yield* transact(task, dax.cache, (transaction) => {
    transaction.beginLayoutChange(mapping + MappingWord.sequence);
    return change(transaction);
  });
}

/** Sets the size on the device and in the mapping, in one transaction. */
export function changeSize(
  dax: Dax,
  transaction: Transaction,
  mapping: Mapping,
  size: number,
): void {
  dax.driver.setSize(transaction, inoOf(dax.thread, mapping), size);
  transaction.setWord(mapping + MappingWord.sizeLow, size | 0);
  transaction.setWord(mapping + MappingWord.sizeHigh, Math.floor(size / 2 ** 32));
}

/** Now, as filesystems keep it. */
export function timeNow(): Time {
  const milliseconds = performance.timeOrigin + performance.now();
  const seconds = Math.floor(milliseconds / 1000);
  return { seconds, nanoseconds: Math.floor((milliseconds - seconds * 1000) * 1e6) };
}

/** Sets the modification and change times to now. */
export function touchTimes(dax: Dax, transaction: Transaction, mapping: Mapping): void {
  const time = timeNow();
  dax.driver.setAttributes(transaction, inoOf(dax.thread, mapping), {
    modifyTime: time,
    changeTime: time,
  });
}
