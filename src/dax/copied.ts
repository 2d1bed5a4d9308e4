/**
 * Copied files: files that are mapped and pinned through the page cache (page-cache.ts), not as the
 * blocks of the device. Which a file is, its mapping's record says, for as long as that is in memory.
 *
 * A page of such a file is cached, and then its bytes are those of its cache page, or they are those of
 * its blocks. Read and write calls go to where the bytes are, so only what is mapped or pinned is ever
 * cached: the device is memory, and a copy of it would gain a call nothing.
 *
 *     not cached --fault, pin: filled from the blocks--> clean --stored to--> dirty
 *          ^                                              |  ^                  |
 *          +----evicted, or the file's layout broken------+  +---copied home----+
 *
 * Rules. (1) A page becomes cached, and its blocks are read for that, under the map lock, shared, and its
 *            entry's lock. It ceases to be under the map lock, exclusively, after it was copied home if it
 *            is dirty. So under the map lock it is known where the bytes are; under the io lock alone, a
 *            page that is seen not to be cached may be read from its blocks: whatever was stored before
 *            that has been copied home.
 *        (2) Write calls store under the map lock, exclusively: nobody fills a page from blocks that are
 *            being written. What they store has been copied out of the program's memory before, since a
 *            touch of that may need the map lock.
 *        (3) Dirty is what is noted as written, marked by a pin, or shown by a window that writes. A write
 *            call notes before it drops the map lock.
 *        (4) Blocks are allocated by whoever stores first: write calls, pins, touches of windows that
 *            write. New blocks are zeroed. So copying home needs no blocks, fsync does not meet a full
 *            volume, and a crash shows what was copied home, or zeroes, never another file's bytes.
 */
import { PAGE_SIZE, roundUp } from "../base/quantities.ts";
import { untilUnlocked } from "../mapping/entries.ts";
import { inoOf, isNoted, type Mapping, MappingWord } from "../mapping/mapping.ts";
import {
  type Entry,
  entryAt,
  findSlot,
  forEachEntry,
  isLocked,
  isMarked,
  isPageKind,
  kindOf,
  Mark,
  pageOf,
} from "../mapping/tree.ts";
import { load } from "../sync/atomics.ts";
import { type Held, lockExclusive, lockShared } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import {
  changeInTransaction,
  type Dax,
  findExtent,
  isCopied,
  noteWrittenBytes,
  stableSize,
  touchTimes,
  mapName,
} from "./dax.ts";
import type { PageCache } from "./page-cache.ts";
import { isShared } from "./unshare.ts";
import { copyOutHealthy, healthyBytes, overwriteBad, poisonedError } from "./poison.ts";

/** What a write call copies out of the program's memory at once, and stores under one map lock. */
const WRITE_BYTES_MAX = 2 ** 16;

/** The cache of a volume that has copied files. */
export function pageCacheOf(dax: Dax): PageCache {
  return dax.pageCache!;
}

/** The cache page of a page of a copied file, or -1. Locks: the io or the map lock, shared at least. */
export function findCached(dax: Dax, mapping: Mapping, index: number): number {
  const entry = entryAt(dax.thread.words, mapping, index);
  return isPageKind(kindOf(entry)) ? dax.pages.devicePage(pageOf(entry)) : -1;
}

/**
 * As `findCached`, once nobody has the entry locked: a fault that takes the place of a zero page shows its page
 * first, so somebody may have stored to it already. Locks: the map lock. Sleeps: for the entry.
 */
function* settledPage(task: Task, dax: Dax, mapping: Mapping, index: number): Sleeps<number> {
  const { words } = task.thread;
  for (;;) {
    const slot = findSlot(words, mapping, index);
    const entry = slot === 0 ? 0 : load(words, slot);
    if (!isLocked(entry)) return findCached(dax, mapping, index);
    yield untilUnlocked(slot, entry, index);
  }
}

/** Whether an entry's page is cached, or about to be. */
function mayBePage(entry: Entry): boolean {
  return isLocked(entry) || isPageKind(kindOf(entry));
}

/** Whether a page is cached, or about to be. Locks: the io or the map lock, shared at least. */
function hasCached(dax: Dax, mapping: Mapping, index: number): boolean {
  return mayBePage(entryAt(dax.thread.words, mapping, index));
}

/** A part of a page, and the device's byte that holds its first one; null where it has no block. */
interface Piece {
  readonly from: number;
  readonly length: number;
  readonly address: number | null;
  /** What it holds without a block; null: zeroes. */
  readonly inline: Uint8Array | null;
  /** Other files own the block, too: nothing was stored there. */
  readonly shared: boolean;
}

/** Where the blocks of a page lie, as far as the file goes. Locks: the map lock. Sleeps: as findExtent. */
export function* piecesOf(task: Task, dax: Dax, mapping: Mapping, index: number): Sleeps<Piece[]> {
  const size = yield* stableSize(task, dax, mapping);
  const start = index * PAGE_SIZE;
  const end = Math.min(start + PAGE_SIZE, roundUp(size, dax.driver.blockSize));
  const pieces: Piece[] = [];
  for (let at = start; at < end; ) {
    const extent = yield* findExtent(task, dax, mapping, at);
    const stop = Math.min(end, extent.start + extent.length);
    const address = extent.kind === "mapped" ? extent.address + (at - extent.start) : null;
    const inline = extent.kind === "inline" ? extent.bytes.subarray(at - extent.start) : null;
    pieces.push({ from: at - start, length: stop - at, address, inline, shared: isShared(extent) });
    at = stop;
  }
  return pieces;
}

/** Whether no block of a page is mapped, and nothing of it inline: it reads as zeroes. Locks: the map lock. */
export function* isHole(task: Task, dax: Dax, mapping: Mapping, index: number): Sleeps<boolean> {
  const pieces = yield* piecesOf(task, dax, mapping, index);
  return pieces.every(({ address, inline }) => address === null && inline === null);
}

/**
 * Whether that is known without a wait, and still so. Locks: the page's entry: who fills the hole, and
 * does not hold the map lock, looks at entries afterwards.
 */
export function isKnownHole(dax: Dax, mapping: Mapping, index: number, size: number): boolean {
  const end = Math.min((index + 1) * PAGE_SIZE, roundUp(size, dax.driver.blockSize));
  for (let at = index * PAGE_SIZE; at < end; ) {
    const extent = dax.cachedExtent(mapping, at);
    if (extent === null || extent.kind === "mapped" || extent.kind === "inline") return false;
    at = extent.start + extent.length;
  }
  return true;
}

/**
 * Gives blocks to what of pages [first, end) has none and lies in the file: somebody is about to store.
 * Locks: the map lock. Sleeps: for transactions. Throws: ENOSPC, EROFS, CorruptionError.
 */
export function* backPages(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  first: number,
  end: number,
): Sleeps<void> {
  const size = yield* stableSize(task, dax, mapping);
  const stop = Math.min(end * PAGE_SIZE, roundUp(size, dax.driver.blockSize));
  for (let at = first * PAGE_SIZE; at < stop; ) {
    const extent = yield* findExtent(task, dax, mapping, at);
    const until = Math.min(stop, extent.start + extent.length);
    if (extent.kind !== "mapped") {
      yield* changeInTransaction(task, dax, mapping, (transaction) => {
        dax.driver.allocate(transaction, inoOf(dax.thread, mapping), at, until - at, "write");
        touchTimes(dax, transaction, mapping);
        noteWrittenBytes(dax, mapping, at, until);
      });
    } else at = until;
  }
}

/**
 * A cache page with what the blocks of a page hold, taken by this thread and not settled. Locks: the
 * page's entry. Sleeps: never. Throws: ENOMEM when no cache page is free; EIO for lost bytes.
 */
export function fillPage(
  dax: Dax,
  mapping: Mapping,
  index: number,
  pieces: readonly Piece[],
): number {
  const { scratch } = dax;
  const cache = pageCacheOf(dax);
  scratch.fill(0);
  for (const { from, length, address, inline } of pieces) {
    if (inline !== null) scratch.set(inline.subarray(0, length), from);
    if (address === null) continue;
    const copied = copyOutHealthy(dax, address, scratch.subarray(from, from + length));
    if (copied === length) continue;
    throw poisonedError(dax, mapping, index * PAGE_SIZE + from + copied, address + copied);
  }
  const page = cache.take();
  cache.memory.copyIn(cache.byteOf(page), scratch);
  return page;
}

/**
 * Copies a page to its blocks, if it is cached. What was stored where it has none (the file has grown
 * over a page that was pinned before) gets some.
 * Locks: the map lock. Sleeps: as findExtent, and for the transaction then. Throws: EIO, ENOSPC.
 */
function* copyHome(task: Task, dax: Dax, mapping: Mapping, index: number): Sleeps<void> {
  const page = yield* settledPage(task, dax, mapping, index);
  if (page < 0) return;
  let pieces = yield* piecesOf(task, dax, mapping, index);
  if (pieces.some((piece) => piece.address === null && holdsBytes(dax, page, piece))) {
    yield* backPages(task, dax, mapping, index, index + 1);
    pieces = yield* piecesOf(task, dax, mapping, index);
  }
  const cache = pageCacheOf(dax);
  const { scratch } = dax;
  cache.memory.copyOut(cache.byteOf(page), scratch);
  for (const { from, length, address, shared } of pieces) {
    if (address === null || shared) continue;
    const bytes = scratch.subarray(from, from + length);
    if (healthyBytes(dax.pages, address, length) === length) dax.device.copyIn(address, bytes);
    else if (overwriteBad(dax, address, bytes, true) === 0) {
      throw poisonedError(dax, mapping, index * PAGE_SIZE + from, address);
    }
  }
}

function holdsBytes(dax: Dax, page: number, { from, length }: Piece): boolean {
  const cache = pageCacheOf(dax);
  const bytes = dax.scratch.subarray(0, length);
  cache.memory.copyOut(cache.byteOf(page) + from, bytes);
  return bytes.some((byte) => byte !== 0);
}

/** The pages of [first, last] that are cached, or about to be. Locks: the map lock. */
export function cachedPages(dax: Dax, mapping: Mapping, first: number, last: number): number[] {
  const cached: number[] = [];
  forEachEntry(dax.thread.words, mapping, first, last, (entry, index) => {
    if (mayBePage(entry)) cached.push(index);
  });
  return cached;
}

/** As `copyHome`, for all pages of [first, last] that are cached: they have been taken for dirty. */
export function* copyRangeHome(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  first: number,
  last: number,
): Sleeps<void> {
  for (const index of cachedPages(dax, mapping, first, last)) {
    yield* copyHome(task, dax, mapping, index);
  }
}

/** As `copyRangeHome`, for those that may be dirty. They stay so: what was copied is to be persisted. */
export function* copyDirtyHome(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  first: number,
  last: number,
): Sleeps<void> {
  for (const index of cachedPages(dax, mapping, first, last)) {
    if (isDirty(dax, mapping, index)) yield* copyHome(task, dax, mapping, index);
  }
}

/**
 * Whether a cached page may differ from its blocks. Where a write-back has not ended, nobody knows what it
 * had taken. Locks: the map lock.
 */
function isDirty(dax: Dax, mapping: Mapping, index: number): boolean {
  const { thread, windows } = dax;
  const { words } = thread;
  if (load(words, mapping + MappingWord.writingBack) !== 0) return true;
  if (isNoted(thread, mapping, index, index) || windows.mayShow(mapping, index, true)) return true;
  const slot = findSlot(words, mapping, index);
  return isMarked(words, slot, load(words, slot), index, Mark.dirty);
}

/**
 * Copies what is cached from byte `at` on, to the end of its page at most. Returns the bytes copied: 0 if
 * the page is not cached. Locks: io, shared; takes the map lock, shared. Sleeps: for it.
 */
export function* readCached(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  target: Uint8Array,
  at: number,
): Sleeps<number> {
  const index = Math.floor(at / PAGE_SIZE);
  if (!hasCached(dax, mapping, index)) return 0;
  const bytes = dax.scratch.subarray(0, Math.min(target.length, PAGE_SIZE - (at % PAGE_SIZE)));
  {
    using _map = yield* lockShared(task, mapping + MappingWord.mapLock, mapName(dax, mapping));
    const page = yield* settledPage(task, dax, mapping, index);
    if (page < 0) return 0;
    const cache = pageCacheOf(dax);
    cache.noteUsed(page);
    cache.memory.copyOut(cache.byteOf(page) + (at % PAGE_SIZE), bytes);
    dax.pages.deviceState.assertPresent();
  }
  target.set(bytes);
  return bytes.length;
}

/**
 * How many bytes from `at` on a read may take from the blocks: up to the next page that is cached.
 * Locks: io, shared.
 */
export function uncachedBytes(dax: Dax, mapping: Mapping, at: number, length: number): number {
  let index = Math.floor(at / PAGE_SIZE) + 1;
  const end = at + length;
  while (index * PAGE_SIZE < end && !hasCached(dax, mapping, index)) index++;
  return Math.min(length, index * PAGE_SIZE - at);
}

/** Whether a page of the file may be cached: of a copied file that has entries. */
export function mayBeCached(dax: Dax, mapping: Mapping): boolean {
  return isCopied(dax, mapping) && load(dax.thread.words, mapping + MappingWord.root) !== 0;
}

/**
 * Stores the beginning of `source`, for byte `at` of a copied file: in the pages that are cached, and
 * where they are not, by `writeBlocks`, in the blocks. Returns the bytes
 * stored: fewer than of one call where `writeBlocks` stores fewer.
 * Locks: io, exclusively; takes the map lock, exclusively (rule 2). Sleeps: for it.
 */
export function* writeCopied(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  source: Uint8Array,
  at: number,
  writeBlocks: (offset: number, bytes: Uint8Array) => number,
): Sleeps<number> {
  const bytes = source.slice(0, WRITE_BYTES_MAX);
  const cache = pageCacheOf(dax);
  using _map = yield* lockExclusive(task, mapping + MappingWord.mapLock, mapName(dax, mapping));
  let done = 0;
  try {
    while (done < bytes.length) {
      const from = at + done;
      const page = findCached(dax, mapping, Math.floor(from / PAGE_SIZE));
      const rest = bytes.length - done;
      if (page >= 0) {
        const within = from % PAGE_SIZE;
        const part = Math.min(rest, PAGE_SIZE - within);
        cache.memory.copyIn(cache.byteOf(page) + within, bytes.subarray(done, done + part));
        done += part;
        continue;
      }
      const part = uncachedBytes(dax, mapping, from, rest);
      const stored = writeBlocks(done, bytes.subarray(done, done + part));
      done += stored;
      if (stored < part) break;
    }
  } finally {
    if (done > 0) noteWrittenBytes(dax, mapping, at, at + done);
  }
  return done;
}

/**
 * Zeroes what lies behind the file's end in its last page, if that is cached, before the file grows over
 * it. Locks: io, exclusively; `map`: the map lock, held exclusively, or null: then it is taken.
 */
export function* zeroCachedTail(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  size: number,
  map: Held<"map"> | null,
): Sleeps<void> {
  if (size % PAGE_SIZE === 0 || !mayBeCached(dax, mapping)) return;
  using _map =
    map === null
      ? yield* lockExclusive(task, mapping + MappingWord.mapLock, mapName(dax, mapping))
      : null;
  const page = findCached(dax, mapping, Math.floor(size / PAGE_SIZE));
  if (page < 0) return;
  const cache = pageCacheOf(dax);
  cache.memory.zero(cache.byteOf(page) + (size % PAGE_SIZE), PAGE_SIZE - (size % PAGE_SIZE));
}

/**
 * Copies home what is cached of a file's bytes [start, end), so that its blocks hold what the file holds.
 * Locks: io, shared at least; takes the map lock, shared. Sleeps: for it, and as `copyHome`.
 */
export function* settleHome(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  start: number,
  end: number,
): Sleeps<void> {
  if (end <= start || !mayBeCached(dax, mapping)) return;
  using _map = yield* lockShared(task, mapping + MappingWord.mapLock, mapName(dax, mapping));
  const last = Math.ceil(end / PAGE_SIZE) - 1;
  yield* copyDirtyHome(task, dax, mapping, Math.floor(start / PAGE_SIZE), last);
}
