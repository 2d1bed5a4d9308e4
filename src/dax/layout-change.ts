/**
 * Every change of a file's layout: truncate, punch, zero, collapse, insert, preallocate, evict.
 *
 * Those that take blocks away or move them run inside `withBrokenLayout`: locks held, range broken.
 * There they first remove the entries (nobody can reach them), then change the layout in
 * transactions, so that a block is free only when its page is.
 */
import { HoldfastError } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import { DEVICE_BYTES_MAX, PAGE_SIZE, roundDown, roundUp } from "../base/quantities.ts";
import { type BrokenLayout, type PageRange, withBrokenLayout } from "../layout/break.ts";
import {
  inoOf,
  type Mapping,
  MappingWord,
  noteWritten,
  PAGE_INDEX_MAX,
  sizeOf,
} from "../mapping/mapping.ts";
import type { Transaction } from "../metadata/transaction.ts";
import { load } from "../sync/atomics.ts";
import type { Held } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { copyDirtyHome } from "./copied.ts";
import {
  beginLayoutTransaction,
  changeInTransaction,
  changeSize,
  type Dax,
  findExtent,
  isCopied,
  noteWrittenBytes,
  touchTimes,
} from "./dax.ts";
import { zeroTail } from "./file-io.ts";
import { zeroHealthy } from "./poison.ts";
import { refreshWindows, showAgain } from "./refresh.ts";
import { claimedTwice } from "./claims.ts";
import { removePages } from "./remove-pages.ts";
import { isShared, tailOf, unshareBroken } from "./unshare.ts";
import { lockForWrite } from "./write-lock.ts";

/** Blocks preallocated in one transaction. */
const PREALLOCATE_BYTES_MAX = 2 ** 27;

/**
 * Asserts that no page of [start, end) has an owner or a pin, or others have its block, too: its blocks
 * may be freed. `size` is the file's before the change; beyond it nothing was ever a page. Costs a look
 * per 2 MiB of device. Throws: CorruptionError where that is so because the volume is damaged.
 */
export function* assertPagesFree(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  start: number,
  end: number,
  size: number,
): Sleeps<void> {
  if (!dax.protect || dax.driver.blockSize !== PAGE_SIZE) return;
  const last = Math.min(end, roundUp(size, PAGE_SIZE));
  for (let at = start; at < last; ) {
    const extent = yield* findExtent(task, dax, mapping, at);
    const stop = Math.min(last, extent.start + extent.length);
    if (extent.kind === "mapped") {
      const page = (extent.address + (at - extent.start)) / PAGE_SIZE;
      const count = (stop - at) / PAGE_SIZE;
      const free = isShared(extent)
        ? dax.pages.isLeft(page, count, mapping)
        : dax.pages.isFree(page, count);
      if (!free) assertNotClaimed(dax, page, count, mapping, at / PAGE_SIZE);
      invariant(
        free,
        () => `blocks of [${at}, ${stop}) are about to be freed while a page of them is not`,
      );
    }
    at = stop;
  }
}

/** Throws: CorruptionError where other files, or other parts of this one, have in use what is to be freed. */
function assertNotClaimed(
  dax: Dax,
  devicePage: number,
  count: number,
  mapping: Mapping,
  index: number,
): void {
  for (let offset = 0; offset < count; offset++) {
    const has = dax.pages.ownerOf(devicePage + offset);
    if (has === null) continue;
    const wants = { owner: mapping, index: index + offset };
    const damage = claimedTwice(dax, devicePage + offset, has, wants);
    if (damage !== null) throw damage;
  }
}

/**
 * Frees the blocks of [start, end), whose pages must be free already, in as many transactions as it
 * takes; `finish` runs in the last one. `size` is the file's before the change.
 */
function* freeBlocks(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  start: number,
  end: number,
  size: number,
  finish: (transaction: Transaction) => void,
): Sleeps<void> {
  yield* assertPagesFree(task, dax, mapping, start, end, size);
  const ino = inoOf(dax.thread, mapping);
  yield* inTransactions(task, dax, mapping, (transaction) => {
    const done = dax.driver.removeExtents(transaction, ino, start, end);
    if (done) finish(transaction);
    return done;
  });
}

/** Runs `step` in one transaction after another until it says that all is done. */
function* inTransactions(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  step: (transaction: Transaction) => boolean,
): Sleeps<void> {
  for (let done = false; !done; ) {
    using transaction = yield* beginLayoutTransaction(task, dax, mapping);
    done = step(transaction);
    transaction.commit();
  }
}

/** Zeroes [start, end) where it is mapped. The range is broken, or nothing can reach it. */
function* zeroMapped(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  start: number,
  end: number,
): Sleeps<void> {
  for (let at = start; at < end; ) {
    const extent = yield* findExtent(task, dax, mapping, at);
    const stop = Math.min(end, extent.start + extent.length);
    if (extent.kind === "mapped") {
      zeroHealthy(dax, extent.address + (at - extent.start), stop - at);
      noteWrittenBytes(dax, mapping, at, stop);
    }
    at = stop;
  }
}

/**
 * The shape of every breaking change: refuse, break, remove the pages, change, show again.
 * `range` gives the bytes from which on, and up to which, the layout changes, or blocks are written that
 * have to be the file's own; null for nothing. `kept`: what begins before this of the range stays in the
 * file. (Cached pages of it are copied home.)
 */
function* changeLayout(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  range: (size: number) => { start: number; end: number } | null,
  change: (size: number, map: Held<"map">) => Sleeps<void>,
  kept = Number.POSITIVE_INFINITY,
): Sleeps<void> {
  dax.assertWritable();
  const plan = (): PageRange | null => {
    const bytes = range(sizeOf(dax.thread, mapping));
    if (bytes === null) return null;
    const last = Math.ceil(bytes.end / PAGE_SIZE) - 1;
    return { first: Math.floor(bytes.start / PAGE_SIZE), last: Math.min(last, PAGE_INDEX_MAX) };
  };
  yield* withBrokenLayout(task, dax, mapping, plan, function* (broken: BrokenLayout) {
    try {
      if (broken.range !== null && isCopied(dax, mapping)) {
        const { first, last } = broken.range;
        yield* copyDirtyHome(
          task,
          dax,
          mapping,
          first,
          Math.min(last, Math.ceil(kept / PAGE_SIZE) - 1),
        );
      }
      if (broken.range !== null) removePages(dax, mapping, broken.range);
      yield* change(sizeOf(dax.thread, mapping), broken.map);
    } finally {
      // Also what has failed has revoked what windows showed.
      yield* showAgain(task, dax, mapping, broken.map);
    }
  });
}

/**
 * Whether a file whose size of `before` bytes becomes `size` gives blocks back. A file that keeps its size does so
 * where it has some beyond its end: as in Linux, where a truncate to the same size is how to be rid of them.
 * Locks: io and map are held.
 */
function givesBack(dax: Dax, mapping: Mapping, before: number, size: number): boolean {
  if (size !== before) return size < before;
  const from = roundUp(size, dax.driver.blockSize);
  // Nothing but the hole behind the last block has no end.
  return dax.driver.extentAt(inoOf(dax.thread, mapping), from, Infinity).length !== Infinity;
}

/**
 * Sets the file's size. Down: waits for pins from the page of the new end on, then frees; to the size it has: the same
 * where it has blocks beyond its end. Up: a hole.
 * Locks: takes io and map. Sleeps: for them, for pins holding neither, and for transactions.
 * Throws: EFBIG, EROFS, the task's abort or deadline (then nothing has changed).
 */
export function* truncateFile(task: Task, dax: Dax, mapping: Mapping, size: number): Sleeps<void> {
  if (size > DEVICE_BYTES_MAX) {
    throw new HoldfastError("EFBIG", `a file ends at ${DEVICE_BYTES_MAX} bytes at most`);
  }
  const range = (before: number) =>
    givesBack(dax, mapping, before, size)
      ? { start: size, end: Infinity }
      : sharedTail(dax, mapping, before);
  const change = function* (before: number, map: Held<"map">): Sleeps<void> {
    if (size > before) yield* growTail(task, dax, mapping, before, map);
    const setSize = (transaction: Transaction): void => {
      changeSize(dax, transaction, mapping, size);
      touchTimes(dax, transaction, mapping);
    };
    if (givesBack(dax, mapping, before, size)) {
      // The size changes with the last blocks: should this thread die on the way, the file has holes
      // at its end, but never blocks beyond it.
      const from = roundUp(size, dax.driver.blockSize);
      yield* unshareBroken(task, dax, mapping, tailOf(size));
      yield* freeBlocks(task, dax, mapping, from, Infinity, before, setSize);
      yield* zeroTail(task, dax, mapping, size, map);
      return;
    }
    yield* inTransactions(task, dax, mapping, (transaction) => {
      setSize(transaction);
      return true;
    });
  };
  yield* changeLayout(task, dax, mapping, range, change, size);
}

/** The last block of a file about to grow, if zeroing it beyond the file's end takes a copy first. */
export function sharedTail(
  dax: Dax,
  mapping: Mapping,
  size: number,
): { start: number; end: number } | null {
  const { blockSize, sharing } = dax.driver;
  if (sharing === null || size % blockSize === 0) return null;
  const start = roundDown(size, blockSize);
  const extent = dax.driver.extentAt(inoOf(dax.thread, mapping), start, start + blockSize);
  return isShared(extent) ? { start, end: start + blockSize } : null;
}

/** Zeroes the last block beyond the file's end. Both locks are held, and it is broken if it is shared. */
export function* growTail(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  size: number,
  map: Held<"map">,
): Sleeps<void> {
  yield* unshareBroken(task, dax, mapping, tailOf(size));
  yield* zeroTail(task, dax, mapping, size, map);
  revokeFrom(dax, mapping, size);
}

/** Of a file that grows: takes out of windows what they show from its end on, such as lost pages. */
function revokeFrom({ windows }: Dax, mapping: Mapping, size: number): void {
  windows.revoke(mapping, Math.floor(size / PAGE_SIZE), PAGE_INDEX_MAX);
}

function assertRange(offset: number, length: number): void {
  if (offset + length > DEVICE_BYTES_MAX) {
    throw new HoldfastError("EFBIG", `a file ends at ${DEVICE_BYTES_MAX} bytes at most`);
  }
}

/**
 * Zeroes [offset, end) of a broken range: part blocks in place, which become the file's own, whole ones
 * by `clear`, which sets the times as well, unless that is done.
 */
function* clearRange(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  offset: number,
  end: number,
  clear: (first: number, last: number) => Sleeps<void>,
): Sleeps<void> {
  const { blockSize } = dax.driver;
  const first = roundUp(offset, blockSize);
  const last = roundDown(end, blockSize);
  const [head, tail] = [Math.min(first, end), Math.max(first, last)];
  yield* unshareBroken(task, dax, mapping, { start: offset, end: head });
  yield* unshareBroken(task, dax, mapping, { start: tail, end });
  yield* zeroMapped(task, dax, mapping, offset, head);
  if (last > first) yield* clear(first, last);
  else {
    yield* inTransactions(task, dax, mapping, (transaction) => {
      touchTimes(dax, transaction, mapping);
      return true;
    });
  }
  yield* zeroMapped(task, dax, mapping, tail, end);
}

/** As FALLOC_FL_PUNCH_HOLE with KEEP_SIZE: the range reads as zeroes and its whole blocks are free. */
export function* punchHole(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  offset: number,
  length: number,
): Sleeps<void> {
  assertRange(offset, length);
  const end = offset + length;
  // Where it goes past the file's end, there is nothing to keep of the last page (as in Linux).
  const endOf = (size: number): number =>
    offset < size && size < end ? Math.max(end, roundUp(size, PAGE_SIZE)) : end;
  const range = (size: number) => ({ start: offset, end: endOf(size) });
  const touch = (transaction: Transaction): void => touchTimes(dax, transaction, mapping);
  yield* changeLayout(task, dax, mapping, range, (size) =>
    clearRange(task, dax, mapping, offset, endOf(size), (first, last) =>
      freeBlocks(task, dax, mapping, first, last, size, touch),
    ),
  );
}

/** As FALLOC_FL_ZERO_RANGE: reads as zeroes, its blocks stay (unwritten), holes get some. */
export function* zeroRange(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  offset: number,
  length: number,
  keepSize: boolean,
): Sleeps<void> {
  assertRange(offset, length);
  const ino = inoOf(dax.thread, mapping);
  const end = offset + length;
  const grows = (size: number): boolean => end > size && !keepSize;
  const range = (size: number) => {
    const tail = grows(size) && offset > size ? sharedTail(dax, mapping, size) : null;
    return { start: tail?.start ?? offset, end };
  };
  const unwrite = (first: number, last: number): Sleeps<void> =>
    inTransactions(task, dax, mapping, (transaction) =>
      dax.driver.unwriteExtents(transaction, ino, first, last),
    );
  yield* changeLayout(task, dax, mapping, range, function* (size, map) {
    // Blocks first: when there is no room for them, what the file holds is as it was.
    if (grows(size)) yield* unshareBroken(task, dax, mapping, tailOf(size));
    yield* unshareBroken(task, dax, mapping, { start: offset, end });
    yield* backWithBlocks(task, dax, mapping, offset, end); // which sets the times
    yield* clearRange(task, dax, mapping, offset, end, unwrite);
    if (!grows(size)) return;
    // First: should this thread die on the way, no window goes on hiding what the file has then.
    revokeFrom(dax, mapping, size);
    yield* growTo(task, dax, mapping, size, end, map);
  });
}

/** As FALLOC_FL_COLLAPSE_RANGE: the range is cut out and what follows moves down. */
export function* collapseRange(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  offset: number,
  length: number,
): Sleeps<void> {
  const ino = inoOf(dax.thread, mapping);
  assertBlocks(dax, offset, length);
  const range = (size: number) => {
    if (offset + length >= size) {
      throw new HoldfastError(
        "EINVAL",
        `collapse of [${offset}, ${offset + length}) reaches the file's end at ${size}; truncate it`,
      );
    }
    return { start: offset, end: Infinity };
  };
  yield* changeLayout(task, dax, mapping, range, function* (size) {
    yield* freeBlocks(task, dax, mapping, offset, offset + length, size, (transaction) =>
      touchTimes(dax, transaction, mapping),
    );
    noteMoved(dax, mapping, offset);
    yield* inTransactions(task, dax, mapping, (transaction) => {
      dax.driver.shiftExtents(transaction, ino, offset + length, -length);
      changeSize(dax, transaction, mapping, size - length);
      return true;
    });
  });
}

/** As FALLOC_FL_INSERT_RANGE: a hole is put in and what follows moves up. */
export function* insertRange(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  offset: number,
  length: number,
): Sleeps<void> {
  const ino = inoOf(dax.thread, mapping);
  assertBlocks(dax, offset, length);
  const range = (size: number) => {
    if (offset >= size) {
      throw new HoldfastError(
        "EINVAL",
        `insert at ${offset} is not before the file's end at ${size}; truncate or allocate instead`,
      );
    }
    assertRange(size, length);
    return { start: offset, end: Infinity };
  };
  yield* changeLayout(task, dax, mapping, range, function* (size) {
    noteMoved(dax, mapping, offset);
    yield* inTransactions(task, dax, mapping, (transaction) => {
      dax.driver.shiftExtents(transaction, ino, offset, length);
      changeSize(dax, transaction, mapping, size + length);
      touchTimes(dax, transaction, mapping);
      return true;
    });
  });
}

/** What was written from `offset` on is noted where it was: after a move all of it may be. */
function noteMoved(dax: Dax, mapping: Mapping, offset: number): void {
  noteWritten(dax.thread, mapping, Math.floor(offset / PAGE_SIZE), PAGE_INDEX_MAX);
}

function assertBlocks(dax: Dax, offset: number, length: number): void {
  const { blockSize } = dax.driver;
  if (offset % blockSize !== 0 || length % blockSize !== 0 || length === 0) {
    throw new HoldfastError(
      "EINVAL",
      `offset ${offset} and length ${length} must be multiples of the block size ${blockSize}`,
    );
  }
}

/**
 * As fallocate without a mode: backs the range with unwritten blocks. Nothing moves, so only leases over
 * its holes are recalled.
 * On ENOSPC what was allocated so far stays, as in Linux. `own`: as FALLOC_FL_UNSHARE_RANGE, blocks that
 * other files own, too, are copied, so that no later write there needs room.
 */
export function* preallocate(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  offset: number,
  length: number,
  keepSize: boolean,
  own = false,
): Sleeps<void> {
  assertRange(offset, length);
  const end = offset + length;
  const range = () => ({ start: offset, end });
  using _io = yield* lockForWrite(task, dax, mapping, "preallocate", range, (size) => [
    ...(end > size && !keepSize ? [tailOf(size)] : []),
    ...(own ? [range()] : []),
  ]);
  const size = sizeOf(dax.thread, mapping);
  yield* backWithBlocks(task, dax, mapping, offset, end);
  if (end <= size || keepSize) return;
  yield* growTo(task, dax, mapping, size, end, null);
  const last = Math.floor((end - 1) / PAGE_SIZE);
  yield* refreshWindows(task, dax, mapping, Math.floor(size / PAGE_SIZE), last);
}

/** Backs the holes of [start, end) with unwritten blocks, and sets the times, also where there are none. */
function* backWithBlocks(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  start: number,
  end: number,
): Sleeps<void> {
  const { blockSize } = dax.driver;
  const ino = inoOf(dax.thread, mapping);
  for (let at = roundDown(start, blockSize); at < end; ) {
    const length = Math.min(PREALLOCATE_BYTES_MAX, roundUp(end, blockSize) - at);
    const extent = yield* changeInTransaction(task, dax, mapping, (transaction) => {
      const backed = dax.driver.allocate(transaction, ino, at, length, "preallocate");
      if (backed.start + backed.length >= end) touchTimes(dax, transaction, mapping);
      return backed;
    });
    at = extent.start + extent.length;
  }
}

/**
 * Makes the file larger, its times set already; what is between reads as zeroes. The io lock is held
 * exclusively, and the last block is the file's own. `map`: as for `zeroCachedTail`.
 */
function* growTo(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  size: number,
  end: number,
  map: Held<"map"> | null,
): Sleeps<void> {
  yield* zeroTail(task, dax, mapping, size, map);
  using transaction = yield* beginLayoutTransaction(task, dax, mapping);
  changeSize(dax, transaction, mapping, end);
  transaction.commit();
}

/**
 * Takes all pages of a file that nobody has open any more out of memory, waiting for the last pins;
 * with `free`, for a file without a name, its blocks too: that runs in the transaction that frees the last of them.
 * Whoever has a lease of it has it open; the windows of a thread that died are left, and go with the record.
 */
export function* evictMapping(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  free: ((transaction: Transaction) => void) | null,
): Sleeps<void> {
  const all = () => (isReached(dax, mapping) ? { first: 0, last: PAGE_INDEX_MAX } : null);
  const evict = (broken: BrokenLayout) => evictBroken(task, dax, mapping, free, broken);
  yield* withBrokenLayout(task, dax, mapping, all, evict);
  dax.forget(mapping);
}

/** Whether anything leads to the pages of a file that nobody has open. */
function isReached({ thread }: Dax, mapping: Mapping): boolean {
  const { words } = thread;
  return (
    load(words, mapping + MappingWord.root) !== 0 ||
    load(words, mapping + MappingWord.windows) !== 0
  );
}

function* evictBroken(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  free: ((transaction: Transaction) => void) | null,
  { range }: BrokenLayout,
): Sleeps<void> {
  if (range !== null) {
    if (free === null && isCopied(dax, mapping)) {
      yield* copyDirtyHome(task, dax, mapping, 0, PAGE_INDEX_MAX);
    }
    removePages(dax, mapping, range);
  }
  if (free === null) return;
  yield* freeBlocks(task, dax, mapping, 0, Infinity, sizeOf(dax.thread, mapping), free);
}
