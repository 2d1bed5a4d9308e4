/**
 * Reading and writing by copy. The copy runs under the io lock and no other: it may fault on any
 * window, which takes map locks, entries and transactions in the pager. (`using` costs some hundred
 * nanoseconds where the compiler has to spell it out, so these locks are released by hand.)
 */
import { HoldfastError } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import { DEVICE_BYTES_MAX, PAGE_SIZE, roundUp } from "../base/quantities.ts";
import type { Extent } from "../iomap/contract.ts";
import { hasLostUnlisted, inoOf, type Mapping, MappingWord, sizeOf } from "../mapping/mapping.ts";
import { forEachEntry, isPageKind, kindOf } from "../mapping/tree.ts";
import { load } from "../sync/atomics.ts";
import { clockMs } from "../sync/clock.ts";
import {
  type Held,
  lockShared,
  tryExclusive,
  tryShared,
  unlockExclusive,
  unlockShared,
} from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import {
  mayBeCached,
  readCached,
  settleHome,
  uncachedBytes,
  writeCopied,
  zeroCachedTail,
} from "./copied.ts";
import {
  beginLayoutTransaction,
  changeInTransaction,
  changeSize,
  type Dax,
  findExtent,
  ioName,
  isCopied,
  noteWrittenBytes,
  touchTimes,
} from "./dax.ts";
import {
  copyOutHealthy,
  healthyBytes,
  overwriteBad,
  poisonedError,
  zeroHealthy,
} from "./poison.ts";
import { refreshWindows } from "./refresh.ts";
import { type ByteRange, isShared, tailOf } from "./unshare.ts";
import { lockForWrite } from "./write-lock.ts";
import { isTimeStale, noteTimeSet, timeNoted } from "./write-times.ts";

/** Blocks allocated in one transaction. */
const ALLOCATE_BYTES_MAX = 2 ** 26;

/**
 * As `readFile`, if that takes no waiting and one known extent holds the range; else -1.
 * Locks: the io lock, shared, if it is free. Sleeps: never. Throws: EIO.
 */
export function tryReadFile(
  dax: Dax,
  mapping: Mapping,
  target: Uint8Array,
  position: number,
): number {
  const { thread } = dax;
  const lock = mapping + MappingWord.ioLock;
  const record = tryShared(thread, lock);
  if (record === 0) return -1;
  try {
    const length = Math.min(target.length, sizeOf(thread, mapping) - position);
    if (length <= 0) return 0;
    if (mayBeCached(dax, mapping)) return -1;
    const extent = dax.cachedExtent(mapping, position);
    if (extent === null || extent.kind !== "mapped") return -1;
    if (position + length > extent.start + extent.length) return -1;
    const into = length === target.length ? target : target.subarray(0, length);
    const copied = copyOutHealthy(dax, extent.address + (position - extent.start), into);
    return copied === length && !isStale(dax, mapping, extent, position) ? length : -1;
  } finally {
    unlockShared(thread, lock, record);
  }
}

/**
 * Reads from `position` into `target`, as far as the file goes, or to a page whose bytes are lost.
 * Returns the bytes read.
 * Locks: takes the io lock, shared. Sleeps: for it. Throws: CorruptionError; EIO where the first byte is
 * lost, or the device is gone.
 */
export function* readFile(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  target: Uint8Array,
  position: number,
): Sleeps<number> {
  const io = yield* lockShared(task, mapping + MappingWord.ioLock, ioName(dax, mapping));
  try {
    return yield* readExtents(task, dax, mapping, target, position, true);
  } finally {
    io.release();
  }
}

/**
 * As `readFile`, out of the blocks alone: what is dirty in the page cache is copied home first.
 * Locks, also: takes the map lock, shared.
 */
export function* readDirect(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  target: Uint8Array,
  position: number,
): Sleeps<number> {
  const io = yield* lockShared(task, mapping + MappingWord.ioLock, ioName(dax, mapping));
  try {
    yield* settleHome(task, dax, mapping, position, position + target.length);
    return yield* readExtents(task, dax, mapping, target, position, false);
  } finally {
    io.release();
  }
}

/** Copies out of the file's blocks, and out of the page cache where it is `cached`. The io lock is held. */
function* readExtents(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  target: Uint8Array,
  position: number,
  cached: boolean,
): Sleeps<number> {
  const length = Math.min(target.length, sizeOf(dax.thread, mapping) - position);
  for (let done = 0; done < length; ) {
    const at = position + done;
    const isCached = cached && mayBeCached(dax, mapping);
    if (isCached) {
      const copied = yield* readCached(task, dax, mapping, target.subarray(done, length), at);
      done += copied;
      if (copied > 0) continue;
    }
    const extent = dax.cachedExtent(mapping, at) ?? (yield* findExtent(task, dax, mapping, at));
    const held = Math.min(length - done, extent.start + extent.length - at);
    const part = isCached ? uncachedBytes(dax, mapping, at, held) : held;
    const whole = done === 0 && part === target.length;
    const into = whole ? target : target.subarray(done, done + part);
    if (extent.kind === "mapped") {
      const address = extent.address + (at - extent.start);
      const copied = copyOutHealthy(dax, address, into);
      if (isStale(dax, mapping, extent, at)) continue;
      done += copied;
      if (copied === part) continue;
      if (done === 0) throw poisonedError(dax, mapping, at, address);
      return done;
    }
    into.fill(0);
    if (extent.kind === "inline")
      into.set(extent.bytes.subarray(at - extent.start).subarray(0, part));
    done += part;
  }
  return Math.max(0, length);
}

/**
 * Whether blocks that were just copied out, and may have other owners, may have been left to those
 * meanwhile: a fault does that without the io lock.
 */
function isStale(dax: Dax, mapping: Mapping, extent: Extent, byte: number): boolean {
  return isShared(extent) && dax.cachedExtent(mapping, byte) !== extent;
}

/**
 * As `writeFile`, if that takes no waiting, changes neither size nor time, one known extent holds the
 * range, and no lease is to be looked at; else -1.
 * Locks: the io lock, exclusively, if it is free. Sleeps: never. Throws: EIO.
 */
export function tryWriteFile(
  dax: Dax,
  mapping: Mapping,
  source: Uint8Array,
  position: number,
): number {
  const { thread } = dax;
  const { length } = source;
  if (length === 0 || dax.readOnly || dax.windows.hasWindows(mapping)) return -1;
  if (isCopied(dax, mapping)) return -1;
  const lock = mapping + MappingWord.ioLock;
  const record = tryExclusive(thread, lock);
  if (record === 0) return -1;
  try {
    if (load(thread.words, mapping + MappingWord.leases) !== 0) return -1;
    const end = position + length;
    if (end > sizeOf(thread, mapping) || isTimeStale(thread, mapping)) return -1;
    const extent = dax.cachedExtent(mapping, position);
    if (extent === null || extent.kind !== "mapped" || extent.shared) return -1;
    if (end > extent.start + extent.length) return -1;
    const address = extent.address + (position - extent.start);
    const { pages } = dax;
    if (pages.deviceState.isGone || healthyBytes(pages, address, length) < length) return -1;
    dax.device.copyIn(address, source);
    noteWrittenBytes(dax, mapping, position, end);
    return length;
  } finally {
    unlockExclusive(thread, lock, record);
  }
}

/**
 * Writes `source` at `position`, or at the file's end, growing the file and filling holes. Pages whose
 * bytes were lost are whole again when all of them is written. Returns the bytes written: fewer than
 * asked when the volume filled up on the way, the operation was ended there by its signal, its deadline or its
 * program, or a lost page is written in part.
 * Blocks that other files own, too, are copied first: all of the range, or nothing is written.
 * Locks: takes the io lock, exclusively. Sleeps: for it, for leases and, holding nothing, for pins of
 * blocks that must be copied (write-lock.ts), for transactions, and for the map lock where windows must
 * be shown new blocks. Throws: ENOSPC, EFBIG, EROFS, CorruptionError, EIO at a lost page.
 */
export function* writeFile(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  source: Uint8Array,
  position: number | "append",
): Sleeps<number> {
  dax.assertWritable();
  const { length } = source;
  const rangeOf = (size: number): ByteRange => {
    const start = position === "append" ? size : position;
    const end = start + length;
    return { start, end: end > DEVICE_BYTES_MAX ? start : end }; // too long: it writes nothing
  };
  const io = yield* lockForWrite(task, dax, mapping, "write", rangeOf, (size) => {
    const range = rangeOf(size);
    if (range.start === range.end) return [];
    return range.start > size ? [tailOf(size), range] : [range];
  });
  try {
    const size = sizeOf(dax.thread, mapping);
    const start = position === "append" ? size : position;
    if (start + source.length > DEVICE_BYTES_MAX) {
      throw new HoldfastError("EFBIG", `a file ends at ${DEVICE_BYTES_MAX} bytes at most`);
    }
    if (source.length === 0) return 0;
    if (start > size) yield* zeroTail(task, dax, mapping, size, null);
    const change = { filled: false, healed: false };
    let end = start + source.length;
    try {
      end = start + (yield* writeExtents(task, dax, mapping, source, start, change));
      if (end > size || isTimeStale(dax.thread, mapping)) {
        yield* finishWrite(task, dax, mapping, end, size);
      }
    } finally {
      // Also what has failed on the way may have filled holes, and the file may have grown.
      if (dax.windows.hasWindows(mapping)) {
        yield* showWritten(task, dax, mapping, start, end, size, change);
      }
    }
    return end - start;
  } finally {
    io.release();
  }
}

/** What a write did beside copying: whether it allocated blocks, and healed lost pages. */
interface Change {
  filled: boolean;
  healed: boolean;
}

/**
 * Copies into the file's blocks, allocating, and notes in `change` what it does. Returns the bytes written.
 * The io lock is held exclusively.
 */
function* writeExtents(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  source: Uint8Array,
  start: number,
  change: Change,
): Sleeps<number> {
  let done = 0;
  try {
    while (done < source.length) {
      const at = start + done;
      const extent = dax.cachedExtent(mapping, at) ?? (yield* findExtent(task, dax, mapping, at));
      if (extent.kind !== "mapped") {
        yield* allocateFor(task, dax, mapping, at, source.length - done, extent);
        change.filled = true;
        continue;
      }
      invariant(
        !extent.shared,
        () => `byte ${at} is written in a block that may have other owners`,
      );
      const part = Math.min(source.length - done, extent.start + extent.length - at);
      const whole = part === source.length;
      const from = whole ? source : source.subarray(done, done + part);
      const address = extent.address + (at - extent.start);
      const copied = isCopied(dax, mapping)
        ? yield* writeCopied(task, dax, mapping, from, at, (offset, bytes) =>
            writeMapped(dax, mapping, address + offset, bytes, at + offset, change),
          )
        : writeMapped(dax, mapping, address, from, at, change);
      if (copied === 0) {
        if (done === 0) throw poisonedError(dax, mapping, at, address);
        break;
      }
      noteWrittenBytes(dax, mapping, at, at + copied);
      done += copied;
    }
  } catch (error) {
    const full = error instanceof HoldfastError && error.code === "ENOSPC";
    if (done === 0 || !(full || error === task.ended)) throw error;
  }
  return done;
}

/**
 * Copies `source`, for byte `at` of the file, to the device: as far as the first lost page or, from one
 * on, over it. Returns the bytes written; 0 where a lost page would not be written whole.
 */
function writeMapped(
  dax: Dax,
  mapping: Mapping,
  address: number,
  source: Uint8Array,
  at: number,
  change: Change,
): number {
  const healthy = healthyBytes(dax.pages, address, source.length);
  if (healthy > 0) {
    const whole = healthy === source.length;
    dax.device.copyIn(address, whole ? source : source.subarray(0, healthy));
    return healthy;
  }
  const isEnd = at + source.length >= sizeOf(dax.thread, mapping);
  const written = overwriteBad(dax, address, source, isEnd);
  if (written > 0) change.healed = true;
  return written;
}

/**
 * Backs the blocks of [at, at + length) within a hole or an unwritten extent. Beyond the file's end
 * the size grows with them, in one transaction: should this thread die before the copy, the file ends
 * in zeroes, but no block lies beyond its end.
 */
function* allocateFor(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  at: number,
  length: number,
  extent: Extent,
): Sleeps<void> {
  const { blockSize } = dax.driver;
  const first = at - (at % blockSize);
  const wanted = roundUp(at + Math.min(length, ALLOCATE_BYTES_MAX), blockSize);
  const end = Math.min(wanted, extent.start + extent.length);
  yield* changeInTransaction(task, dax, mapping, (transaction) => {
    const ino = inoOf(dax.thread, mapping);
    const backed = dax.driver.allocate(transaction, ino, first, end - first, "write");
    const size = Math.min(at + length, backed.start + backed.length);
    if (size > sizeOf(dax.thread, mapping)) changeSize(dax, transaction, mapping, size);
    // The zeroes, in case that nothing is copied over them.
    noteWrittenBytes(dax, mapping, first, backed.start + backed.length);
  });
}

/** After the copy: the size and the times. What has been written is finished, though the operation end. */
function* finishWrite(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  end: number,
  size: number,
): Sleeps<void> {
  using _enduring = task.endure();
  const now = clockMs();
  using transaction = yield* beginLayoutTransaction(task, dax, mapping);
  const noted = timeNoted(dax.thread, mapping);
  if (end > size) changeSize(dax, transaction, mapping, end);
  touchTimes(dax, transaction, mapping);
  transaction.commit();
  noteTimeSet(dax.thread, mapping, noted, now);
}

/** After the copy: the windows over what was a hole or lost, or past the end. */
function* showWritten(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  start: number,
  end: number,
  size: number,
  change: Change,
): Sleeps<void> {
  const first = Math.floor(start / PAGE_SIZE);
  const last = Math.floor((end - 1) / PAGE_SIZE);
  if (end > size) {
    const from = Math.min(first, Math.floor(size / PAGE_SIZE));
    yield* refreshWindows(task, dax, mapping, from, last);
    return;
  }
  // Where touches cannot fault, windows show holes as zeroes without an entry.
  const isHidden = change.filled && !dax.windows.port.faults;
  if (change.healed || isHidden || mayShowZeroes(dax, mapping, first, last)) {
    yield* refreshWindows(task, dax, mapping, first, last);
  }
}

/**
 * Whether a window may show zeroes for one of the pages: an entry without a page is the zero page's, or
 * that of a fault under way, which may show it.
 */
function mayShowZeroes(dax: Dax, mapping: Mapping, first: number, last: number): boolean {
  let found = hasLostUnlisted(dax.thread, mapping);
  forEachEntry(dax.thread.words, mapping, first, last, (entry) => {
    if (!isPageKind(kindOf(entry))) found = true;
  });
  return found;
}

/**
 * Zeroes what lies between the file's end and the end of its last block, before the file grows over
 * it: stores through windows may have left bytes there. The io lock is held exclusively, and that block
 * is the file's own; `map`: as for `zeroCachedTail`.
 */
export function* zeroTail(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  size: number,
  map: Held<"map"> | null,
): Sleeps<void> {
  yield* zeroCachedTail(task, dax, mapping, size, map);
  const rest = size % dax.driver.blockSize;
  if (rest === 0) return;
  const extent = yield* findExtent(task, dax, mapping, size);
  if (extent.kind !== "mapped") return;
  invariant(!extent.shared, () => `byte ${size} is zeroed in a block that may have other owners`);
  zeroHealthy(dax, extent.address + (size - extent.start), dax.driver.blockSize - rest);
  noteWrittenBytes(dax, mapping, size, size + 1);
}
