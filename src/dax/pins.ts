/** Pins as a program holds them: the storage of a range of a file as buffers, until the release. */
import { HoldfastError } from "../base/errors.ts";
import { PAGE_SIZE, roundUp } from "../base/quantities.ts";
import { assertGranted, assertNotExpired, type Lease, tiePin, untiePin } from "../layout/lease.ts";
import { inoOf, type Mapping } from "../mapping/mapping.ts";
import {
  type OwnedPage,
  pagesOfPin,
  type PinRecord,
  pinnedPage,
  pinSlow,
  presentPage,
  releasePin,
  stillOwned,
  tryPin,
} from "../pin/pin.ts";
import { tracePin } from "../pin/trace.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { Event } from "../sync/trace.ts";
import { type Dax, isCopied, stableSize } from "./dax.ts";
import { populate } from "./fault.ts";
import { poisonedError } from "./poison.ts";
import { makeRoom } from "./evict.ts";
import { findShared, unshareRange } from "./unshare.ts";

/** How often a pin makes room for all its pages in the page cache, where others take it away again. */
const ROOM_TRIES_MAX = 4;

/**
 * A pinned range. `buffers` are views of the device itself: I/O into them is I/O to the file. They
 * are the file's until `release()`; what is written to them later goes into whatever owns the blocks
 * then, so let go of them first.
 */
export class Pin implements Disposable {
  /** First byte of the range in the file. */
  readonly offset: number;
  readonly length: number;
  readonly #dax: Dax;
  readonly #mapping: Mapping;
  #record: PinRecord;
  #buffers: Uint8Array[] | null = null;
  /** Set where the volume is mounted without protection: then nothing is counted. */
  #unprotected: OwnedPage[] | null = null;
  /** Of a long-term pin: its lease, and the note that ties it to that. */
  #tie: { readonly lease: Lease; readonly note: number } | null = null;

  constructor(dax: Dax, mapping: Mapping, record: PinRecord, offset: number, length: number) {
    this.#dax = dax;
    this.#mapping = mapping;
    this.#record = record;
    this.offset = offset;
    this.length = length;
    if (!dax.protect) this.#dropCount();
  }

  /** What `protect: false` means: the buffers stay in use while nothing keeps the blocks. */
  #dropCount(): void {
    const { thread, pages } = this.#dax;
    this.#buffers = this.#makeBuffers();
    this.#unprotected = pagesOfPin(thread, pages, this.#record);
    releasePin(thread, pages, this.#record);
  }

  /**
   * The range's bytes in order, one buffer for each run of the device.
   * Throws: EBADF when released; ESTALE when it is a long-term pin whose lease has expired; EIO when the
   * device is gone. Buffers that were taken before are zeroes of nobody then.
   */
  get buffers(): readonly Uint8Array[] {
    this.#dax.pages.deviceState.assertPresent();
    if (this.#tie !== null) assertNotExpired(this.#dax.thread, this.#tie.lease);
    if (this.#buffers === null) {
      this.#assertHeld();
      this.#buffers = this.#makeBuffers();
    }
    return this.#buffers;
  }

  /**
   * Makes this a long-term pin under a lease of this thread. Throws: EBUSY or ESTALE when that is
   * recalled; release the pin then.
   */
  tieTo(lease: Lease): void {
    this.#tie = { lease, note: tiePin(this.#dax.thread, lease, this.#record) };
  }

  /** Whether every page still belongs to the same file at the same offset. True while pinned. */
  verify(): boolean {
    this.#assertHeld();
    const { thread, pages } = this.#dax;
    const owned = this.#unprotected ?? pagesOfPin(thread, pages, this.#record);
    return stillOwned(pages, this.#mapping, owned);
  }

  /**
   * Which bytes of the file, of those pinned, have been lost on the device since: what is in the buffers
   * there means nothing, and what is written there is not kept. All of them when the device is gone.
   * Throws: EBADF when released.
   */
  get poisonedRanges(): readonly ByteRange[] {
    this.#assertHeld();
    const { bad, deviceState } = this.#dax.pages;
    if (deviceState.isGone) return [{ offset: this.offset, length: this.length }];
    const lost: ByteRange[] = [];
    if (!bad.any) return lost;
    const end = this.offset + this.length;
    this.#forEachRun((offset, devicePage, pages) => {
      const last = devicePage + pages - 1;
      for (let run = bad.find(devicePage, last); run !== null; run = bad.find(run.last + 1, last)) {
        const from = Math.max(this.offset, offset + (run.first - devicePage) * PAGE_SIZE);
        const to = Math.min(end, offset + (run.last + 1 - devicePage) * PAGE_SIZE);
        lost.push({ offset: from, length: to - from });
        if (run.last === last) return;
      }
    });
    return lost;
  }

  /** Gives the range back. Releasing twice does nothing. Sleeps: never. */
  release(): void {
    if (this.#record === 0) return;
    const record = this.#record;
    this.#record = 0;
    if (this.#tie !== null) untiePin(this.#dax.thread, this.#tie.note);
    this.#tie = null;
    if (this.#unprotected !== null) return;
    tracePin(this.#dax.thread, Event.unpin, record);
    releasePin(this.#dax.thread, this.#dax.pages, record);
  }

  [Symbol.dispose](): void {
    this.release();
  }

  #assertHeld(): void {
    if (this.#record === 0) throw new HoldfastError("EBADF", "the pin has been released");
  }

  #makeBuffers(): Uint8Array[] {
    const buffers: Uint8Array[] = [];
    let skip = this.offset % PAGE_SIZE;
    let rest = this.length;
    this.#forEachRun((_offset, devicePage, pages) => {
      const { storage, at: start } = this.#dax.storageOf(devicePage);
      let at = start + skip;
      let left = Math.min(rest, pages * PAGE_SIZE - skip);
      rest -= left;
      skip = 0;
      while (left > 0) {
        const bytes = storage.bytesUpTo(at, left);
        buffers.push(bytes);
        at += bytes.length;
        left -= bytes.length;
      }
    });
    return buffers;
  }

  /** Visits the pages of the range in runs of the device: the first one's byte in the file, and on the device. */
  #forEachRun(visit: (offset: number, devicePage: number, pages: number) => void): void {
    const { thread, pages } = this.#dax;
    const first = Math.floor(this.offset / PAGE_SIZE);
    const end = Math.ceil((this.offset + this.length) / PAGE_SIZE);
    for (let page = first; page < end; ) {
      const offset = page * PAGE_SIZE;
      let { devicePage, run } = pinnedPage(thread, pages, this.#record, page - first);
      const start = devicePage;
      page += run;
      while (page < end) {
        const next = pinnedPage(thread, pages, this.#record, page - first);
        if (next.devicePage !== start + run) break;
        run += next.run;
        page += next.run;
      }
      visit(offset, start, run);
    }
  }
}

/** Bytes of a file. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/**
 * Pins [offset, offset + length) of a file, all of it in the file's pages; holes are allocated, and
 * blocks that other files own, too, are copied, also for a pin that only reads: a fault that had to copy a
 * pinned page would wait for that pin, perhaps in the thread that is to release it. (Linux does the same
 * for pins of anonymous pages, FAULT_FLAG_UNSHARE.) A pin that only reads copies nothing on a volume mounted
 * read-only, nor of a copied file, whose pages are nobody else's.
 * Locks: none when all is present (the fast path), else the map lock, shared; exclusively for copies.
 * Sleeps: then; for copies also, holding nothing, for leases.
 * Throws: EINVAL for a range outside the file, ENOSPC, EROFS, EIO for a page whose bytes are lost, or when
 * the device is gone; ENOMEM where the page cache has no room for a copied file's pages.
 */
export function* pinRange(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  offset: number,
  length: number,
  write: boolean,
): Sleeps<Pin> {
  const pin = tryPinRange(dax, mapping, offset, length, write);
  if (pin !== null) return pin;
  for (let tries = 1; ; tries++) {
    try {
      return yield* pinPages(task, dax, mapping, offset, length, write);
    } catch (error) {
      if (error !== dax.pageCache?.fullError || tries === ROOM_TRIES_MAX) throw error;
      const count = Math.ceil((offset + length) / PAGE_SIZE) - Math.floor(offset / PAGE_SIZE);
      if (!(yield* makeRoom(task, dax, count))) throw error;
    }
  }
}

/** Pins as `pinRange`, where not all is present. Throws: ENOMEM when no page of the page cache is free. */
function* pinPages(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  offset: number,
  length: number,
  write: boolean,
): Sleeps<Pin> {
  const { thread, pages } = dax;
  if (write) dax.assertWritable();
  const first = Math.floor(offset / PAGE_SIZE);
  const count = Math.ceil((offset + length) / PAGE_SIZE) - first;
  const ino = inoOf(thread, mapping);
  const bytes = { start: offset, end: offset + length };
  const owns = write || !(dax.readOnly || isCopied(dax, mapping));
  function* populateRange(): Sleeps<boolean> {
    pages.deviceState.assertPresent();
    const size = yield* stableSize(task, dax, mapping);
    if (length <= 0 || offset + length > roundUp(size, PAGE_SIZE)) {
      throw new HoldfastError(
        "EINVAL",
        `the range [${offset}, ${offset + length}) is not inside the file of ${size} bytes`,
      );
    }
    if (owns && (yield* findShared(task, dax, mapping, bytes)) !== null) return false;
    yield* populate(task, dax, mapping, first, count);
    assertHealthy(dax, mapping, first, count);
    return true;
  }
  for (;;) {
    const record = yield* pinSlow(task, pages, mapping, ino, first, count, write, populateRange);
    if (record !== 0) return new Pin(dax, mapping, record, offset, length);
    yield* unshareRange(task, dax, mapping, bytes);
  }
}

/** A range of a file, to be pinned with others. */
export interface PinRange extends ByteRange {
  readonly mapping: Mapping;
  readonly write: boolean;
}

/**
 * Pins ranges of several files, all or none: while it waits for one of them it holds no other, and none
 * when it throws. Locks, sleeps and throws: as `pinRange`.
 */
export function* pinRanges(task: Task, dax: Dax, ranges: readonly PinRange[]): Sleeps<Pin[]> {
  if (ranges.length === 0) return [];
  for (let waitsFor = 0; ; ) {
    const { mapping, offset, length, write } = ranges[waitsFor]!;
    const first = yield* pinRange(task, dax, mapping, offset, length, write);
    const pins = ranges.map((range, at) =>
      at === waitsFor
        ? first
        : tryPinRange(dax, range.mapping, range.offset, range.length, range.write),
    );
    const missing = pins.indexOf(null);
    if (missing < 0) return pins as Pin[];
    for (const pin of pins) pin?.release();
    waitsFor = missing;
  }
}

/** The pages are present, and the map lock is held. Throws: EIO. */
function assertHealthy(dax: Dax, mapping: Mapping, first: number, count: number): void {
  const { pages, thread } = dax;
  if (!pages.bad.any) return;
  for (let index = first; index < first + count; index++) {
    const page = presentPage(thread, pages, mapping, index).devicePage;
    if (pages.bad.find(page, page) === null) continue;
    throw poisonedError(dax, mapping, index * PAGE_SIZE, page * PAGE_SIZE);
  }
}

/**
 * As `pinRange`, for as long as a lease of this thread over the range lasts: until it is recalled, and
 * its holder releases the pin and returns it. (Rule 6 of layout/lease.ts.)
 * Throws: EBUSY, ESTALE for a lease that is recalled.
 */
export function* pinLongTerm(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  lease: Lease,
  offset: number,
  length: number,
  write: boolean,
): Sleeps<Pin> {
  assertGranted(dax.thread, lease); // before holes get blocks in vain
  const pin = yield* pinRange(task, dax, mapping, offset, length, write);
  try {
    pin.tieTo(lease);
  } catch (error) {
    pin.release();
    throw error;
  }
  return pin;
}

/**
 * As `pinRange`, or null when something is missing or in the way. A page that is present lies inside
 * the file, but for the last one's tail. Sleeps: never.
 */
export function tryPinRange(
  dax: Dax,
  mapping: Mapping,
  offset: number,
  length: number,
  write: boolean,
): Pin | null {
  if (length <= 0 || (write && dax.readOnly)) return null;
  const first = Math.floor(offset / PAGE_SIZE);
  const count = Math.ceil((offset + length) / PAGE_SIZE) - first;
  const record = tryPin(dax.thread, dax.pages, mapping, first, count, write);
  if (record === 0) return null;
  const pin = new Pin(dax, mapping, record, offset, length);
  // After it is counted, so that whoever has listed a bad page before finds no new pin of it; nor
  // whoever has noted that the device is gone.
  const { bad, deviceState } = dax.pages;
  if (!deviceState.isGone && (!bad.any || pin.poisonedRanges.length === 0)) return pin;
  pin.release();
  return null;
}
