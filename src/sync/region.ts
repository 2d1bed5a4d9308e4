/**
 * The shared region: one fixed-size SharedArrayBuffer in which all shared facts of a volume live,
 * as words at offsets. It is reserved generously; the system commits its pages when they are touched.
 *
 * Header, in words:
 *
 *     0 magic | 1 layout version | 2 region size, pages | 3 next page never handed out
 *     4 state | 5 highest thread slot ever used + 1 | 6 event classes that are traced, a bit each
 *     7 records of a new trace ring | 8..71 roots: where each layer's area begins
 *
 * then the thread slots (thread.ts), then pages handed out by `allocatePages` and never taken
 * back: what is allocated and freed goes through slabs (slab.ts).
 */
import { HoldfastError } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import { cas, load, makeSharedBuffer, store, type Words } from "./atomics.ts";

const MAGIC = 0x48464453;
/** Changes with every change of any layout in the region: threads of two builds never mix. */
const LAYOUT_VERSION = 10;

const Header = {
  magic: 0,
  version: 1,
  pages: 2,
  nextPage: 3,
  state: 4,
  slots: 5,
  tracing: 6,
  traceRecords: 7,
  roots: 8,
} as const;
/** The words of the header that belong to tracing (trace.ts). */
export const TRACING_WORD = Header.tracing;
export const TRACE_RECORDS_WORD = Header.traceRecords;
const HEADER_WORDS = 1024;

export const SLOT_WORDS = 128;
/** Threads of one volume at a time. */
export const SLOTS_MAX = 256;
const PAGE_WORDS = 1024;

export const REGION_BYTES_DEFAULT = 2 ** 31;
export const REGION_BYTES_MIN = 2 ** 24;
export const REGION_BYTES_MAX = 2 ** 33;

/** Where each layer keeps the offset of its area. One row per layer; never reused for another. */
export const Root = {
  metadata: 0,
  transaction: 1,
  pages: 2,
  mapping: 3,
  inodes: 4,
  window: 5,
  device: 6,
  ram: 7,
  volume: 8,
  statistics: 9,
  leases: 11,
  failure: 12,
  pageTypes: 13,
  deviceState: 14,
  failureEvents: 15,
  pageCache: 16,
  cacheDevice: 17,
  journal: 18,
  pendingFrees: 19,
  volumeSize: 20,
  released: 21,
  growthRooms: 22,
} as const;

export class Region {
  readonly buffer: SharedArrayBuffer;
  readonly words: Words;

  private constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.words = new Int32Array(buffer);
  }

  /** A new region. Throws: EINVAL for a size out of range, ENOMEM when the system has no room. */
  static create(byteLength: number = REGION_BYTES_DEFAULT): Region {
    if (!(byteLength >= REGION_BYTES_MIN && byteLength <= REGION_BYTES_MAX)) {
      throw new HoldfastError(
        "EINVAL",
        `regionBytes is ${byteLength}; give ${REGION_BYTES_MIN} to ${REGION_BYTES_MAX}`,
      );
    }
    const pages = Math.floor(byteLength / (PAGE_WORDS * 4));
    let buffer: SharedArrayBuffer;
    try {
      buffer = makeSharedBuffer(pages * PAGE_WORDS * 4);
    } catch (cause) {
      throw new HoldfastError(
        "ENOMEM",
        `cannot reserve a shared region of ${byteLength} bytes; mount with a smaller regionBytes`,
        { cause },
      );
    }
    const region = new Region(buffer);
    const { words } = region;
    store(words, Header.pages, pages);
    store(words, Header.nextPage, (HEADER_WORDS + SLOTS_MAX * SLOT_WORDS) / PAGE_WORDS);
    store(words, Header.version, LAYOUT_VERSION);
    store(words, Header.magic, MAGIC);
    return region;
  }

  /** Joins a region that another thread made. Throws: EINVAL when it is not one, or another build's. */
  static attach(buffer: SharedArrayBuffer): Region {
    const region = new Region(buffer);
    const magic = load(region.words, Header.magic);
    const version = load(region.words, Header.version);
    if (magic !== MAGIC || version !== LAYOUT_VERSION) {
      throw new HoldfastError(
        "EINVAL",
        `the shared buffer is not a region of this version (magic ${magic}, version ${version}); ` +
          "load the same holdfast in every thread",
      );
    }
    return region;
  }

  /** Word offset of a thread slot. */
  slotBase(slot: number): number {
    return HEADER_WORDS + slot * SLOT_WORDS;
  }

  get slotsUsed(): number {
    return load(this.words, Header.slots);
  }

  /** Makes scans of the slots reach `slot`. */
  noteSlotUsed(slot: number): void {
    for (;;) {
      const used = load(this.words, Header.slots);
      if (used > slot || cas(this.words, Header.slots, used, slot + 1)) return;
    }
  }

  root(index: number): number {
    const offset = load(this.words, Header.roots + index);
    invariant(offset !== 0, () => `region root ${index} is not set`);
    return offset;
  }

  /** As `root`, or 0 where the region has no such area. */
  findRoot(index: number): number {
    return load(this.words, Header.roots + index);
  }

  setRoot(index: number, offset: number): void {
    invariant(
      cas(this.words, Header.roots + index, 0, offset),
      () => `region root ${index} is set twice`,
    );
  }

  /**
   * `wordCount` zeroed words, page-aligned, never given back.
   * Throws: ENOMEM when the region is used up; nothing is taken then.
   */
  allocatePages(wordCount: number): number {
    const pages = Math.ceil(wordCount / PAGE_WORDS);
    for (;;) {
      const next = load(this.words, Header.nextPage);
      if (next + pages > load(this.words, Header.pages)) {
        throw new HoldfastError(
          "ENOMEM",
          `the shared region of ${this.buffer.byteLength} bytes is used up; ` +
            "mount with a larger regionBytes",
        );
      }
      if (cas(this.words, Header.nextPage, next, next + pages)) return next * PAGE_WORDS;
    }
  }

  /** Bytes handed out so far. */
  get bytesUsed(): number {
    return load(this.words, Header.nextPage) * PAGE_WORDS * 4;
  }

  /** Bytes of the region at a word offset: only for data that a lock guards. */
  bytes(word: number, byteLength: number): Uint8Array {
    return new Uint8Array(this.buffer, word * 4, byteLength);
  }

  view(word: number, byteLength: number): DataView {
    return new DataView(this.buffer, word * 4, byteLength);
  }
}
