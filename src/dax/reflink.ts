/**
 * Reflink and dedupe: two ranges, of two files or of one, come to own the same blocks (FICLONERANGE,
 * FIDEDUPERANGE). From then on each is copied before it is written (unshare.ts).
 *
 * Both ranges are broken first, also the source's: its pages may be pinned for writing, shown in windows
 * that write, and known to other threads as blocks of one owner. With the entries gone and both layouts'
 * sequences moved, nobody is left who would write there in place.
 */
import { HoldfastError } from "../base/errors.ts";
import { DEVICE_BYTES_MAX, PAGE_SIZE, roundUp } from "../base/quantities.ts";
import type { BlockSharing, Extent } from "../iomap/contract.ts";
import { type BrokenLayout, type PageRange, withBrokenLayouts } from "../layout/break.ts";
import { inoOf, type Mapping, MappingWord, noteWritten, sizeOf } from "../mapping/mapping.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { copyDirtyHome } from "./copied.ts";
import {
  beginLayoutTransaction,
  changeSize,
  type Dax,
  findExtent,
  isCopied,
  touchTimes,
} from "./dax.ts";
import { assertPagesFree, growTail, sharedTail } from "./layout-change.ts";
import { copyOutHealthy, poisonedError } from "./poison.ts";
import { showAgain } from "./refresh.ts";
import { removePages } from "./remove-pages.ts";

/** Shared in one transaction. */
const REFLINK_BYTES_MAX = 2 ** 26;
/** Compared at once. */
const COMPARE_BYTES = 2 ** 16;

/** Two ranges of the same length, in bytes. */
export interface RangePair {
  readonly sourceOffset: number;
  readonly offset: number;
  /** null: to the end of the source. */
  readonly length: number | null;
}

/** A pair whose length is known, and fits both files as they are. */
interface KnownPair {
  readonly sourceOffset: number;
  readonly offset: number;
  readonly length: number;
  readonly targetSize: number;
}

/** Throws: EOPNOTSUPP where the volume's format cannot share blocks. */
export function requireSharing(dax: Dax): BlockSharing {
  const { sharing } = dax.driver;
  if (sharing !== null) return sharing;
  throw new HoldfastError(
    "EOPNOTSUPP",
    "files of this volume cannot share blocks (its format has no reflink); copy the bytes instead",
  );
}

/**
 * Has `target` own the blocks of a range of `source` as well, in the place of its own. The ranges are
 * whole blocks, but for an end that is the end of the source, and not before that of the target. The
 * target grows where the range ends beyond it. Returns the bytes cloned.
 * Locks: takes io and map of both. Sleeps: for them, for transactions and, holding nothing, for pins.
 * Throws: EOPNOTSUPP, EINVAL, EFBIG, EROFS, EBUSY for windows that cannot fault, the task's abort or
 * deadline: nothing has changed then. ENOSPC: a part from the range's start may have been cloned.
 */
export function* cloneRange(
  task: Task,
  dax: Dax,
  source: Mapping,
  target: Mapping,
  range: RangePair,
): Sleeps<number> {
  let cloned = 0;
  yield* withBothBroken(task, dax, source, target, range, false, function* (pair, broken) {
    yield* shareBroken(task, dax, source, target, pair, broken);
    cloned = pair.length;
  });
  return cloned;
}

/**
 * As `cloneRange`, if both ranges hold the same bytes; else nothing changes. Returns whether they do.
 * The range lies in both files.
 */
export function* dedupeRange(
  task: Task,
  dax: Dax,
  source: Mapping,
  target: Mapping,
  range: RangePair,
): Sleeps<boolean> {
  let same = true;
  yield* withBothBroken(task, dax, source, target, range, true, function* (pair, broken) {
    same = yield* holdSame(task, dax, source, target, pair);
    if (same) yield* shareBroken(task, dax, source, target, pair, broken);
  });
  return same;
}

/** Runs `change` with both ranges broken, unless they are empty. */
function* withBothBroken(
  task: Task,
  dax: Dax,
  source: Mapping,
  target: Mapping,
  range: RangePair,
  dedupe: boolean,
  change: (pair: KnownPair, broken: readonly BrokenLayout[]) => Sleeps<void>,
): Sleeps<void> {
  requireSharing(dax);
  dax.assertWritable();
  // Plans run when the locks of both are held, and again whenever they had to be dropped.
  const known = (): KnownPair => knownPair(dax, source, target, range, dedupe);
  const planned = (rangeOf: (pair: KnownPair) => PageRange) => (): PageRange | null => {
    const pair = known();
    return pair.length === 0 ? null : rangeOf(pair);
  };
  const ofSource = ({ sourceOffset, length }: KnownPair): PageRange =>
    pagesOf(sourceOffset, sourceOffset + length);
  const ofTarget = ({ offset, length, targetSize }: KnownPair): PageRange => {
    const tail = offset > targetSize ? sharedTail(dax, target, targetSize) : null;
    return pagesOf(tail?.start ?? offset, offset + length);
  };
  const files =
    source === target
      ? [{ mapping: source, plan: planned((pair) => hull(ofSource(pair), ofTarget(pair))) }]
      : [
          { mapping: source, plan: planned(ofSource) },
          { mapping: target, plan: planned(ofTarget) },
        ];
  yield* withBrokenLayouts(task, dax, files, function* (broken) {
    const pair = known();
    try {
      for (const [index, { mapping }] of files.entries()) {
        const broke = broken[index]!.range;
        if (broke === null || !isCopied(dax, mapping)) continue;
        yield* copyDirtyHome(task, dax, mapping, broke.first, broke.last);
      }
      if (pair.length > 0) yield* change(pair, broken);
    } finally {
      for (const [index, { mapping }] of files.entries()) {
        yield* showAgain(task, dax, mapping, broken[index]!.map);
      }
    }
  });
}

function pagesOf(start: number, end: number): PageRange {
  return { first: start / PAGE_SIZE, last: Math.ceil(end / PAGE_SIZE) - 1 };
}

/** The smallest range with both in it: one file has one break at a time. */
function hull(a: PageRange, b: PageRange): PageRange {
  return { first: Math.min(a.first, b.first), last: Math.max(a.last, b.last) };
}

/** Throws: EINVAL, EFBIG, EBUSY. The locks of both files are held. */
function knownPair(
  dax: Dax,
  source: Mapping,
  target: Mapping,
  range: RangePair,
  dedupe: boolean,
): KnownPair {
  const { sourceOffset, offset } = range;
  const sourceSize = sizeOf(dax.thread, source);
  const targetSize = sizeOf(dax.thread, target);
  const length = range.length ?? Math.max(0, sourceSize - sourceOffset);
  const { blockSize } = dax.driver;
  const invalid = (why: string) => new HoldfastError("EINVAL", why);
  if (sourceOffset % blockSize !== 0 || offset % blockSize !== 0) {
    throw invalid(
      `offsets ${sourceOffset} and ${offset} must be multiples of the block size ${blockSize}`,
    );
  }
  if (sourceOffset + length > sourceSize) {
    throw invalid(
      `the range ends at ${sourceOffset + length}, and the source, of ${sourceSize} bytes, before that`,
    );
  }
  if (dedupe && offset + length > targetSize) {
    throw invalid(
      `the range ends at ${offset + length}, and the file, of ${targetSize} bytes, before that`,
    );
  }
  const isEnd = sourceOffset + length === sourceSize && offset + length >= targetSize;
  if (length % blockSize !== 0 && !isEnd) {
    throw invalid(
      `a length of ${length} bytes is no multiple of the block size ${blockSize}, and not both files ` +
        "end there",
    );
  }
  if (offset + length > DEVICE_BYTES_MAX) {
    throw new HoldfastError("EFBIG", `a file ends at ${DEVICE_BYTES_MAX} bytes at most`);
  }
  if (source === target && Math.abs(sourceOffset - offset) < roundUp(length, blockSize)) {
    throw invalid(`[${sourceOffset}, +${length}) and [${offset}, +${length}) of one file overlap`);
  }
  assertNoWriters(dax, source, sourceOffset, length);
  assertNoWriters(dax, target, offset, length);
  return { sourceOffset, offset, length, targetSize };
}

/** Where touches cannot fault, a window that writes would go on writing to shared blocks. */
function assertNoWriters(dax: Dax, mapping: Mapping, start: number, length: number): void {
  const { windows } = dax;
  if (windows.port.faults) return;
  windows.forEachWindow(mapping, (window) => {
    const from = windows.firstPage(window) * PAGE_SIZE;
    const to = from + windows.pages(window) * PAGE_SIZE;
    if (!windows.isWritable(window) || from >= start + length || to <= start) return;
    throw new HoldfastError(
      "EBUSY",
      "a window that writes shows a part of the range, and this system has no userfaultfd to catch its " +
        "stores; close the window first",
    );
  });
}

/** Shares the blocks of two broken ranges. */
function* shareBroken(
  task: Task,
  dax: Dax,
  source: Mapping,
  target: Mapping,
  pair: KnownPair,
  broken: readonly BrokenLayout[],
): Sleeps<void> {
  const sharing = requireSharing(dax);
  const { sourceOffset, offset, length, targetSize } = pair;
  removePages(dax, source, broken[0]!.range!);
  if (source !== target) removePages(dax, target, broken[1]!.range!);
  if (offset > targetSize) yield* growTail(task, dax, target, targetSize, broken.at(-1)!.map);
  const from = inoOf(dax.thread, source);
  const to = inoOf(dax.thread, target);
  const end = offset + roundUp(length, dax.driver.blockSize);
  yield* assertPagesFree(task, dax, target, offset, end, targetSize);
  for (let at = offset; at < end; ) {
    const part = Math.min(end - at, REFLINK_BYTES_MAX);
    using transaction = yield* beginLayoutTransaction(task, dax, target);
    transaction.beginLayoutChange(source + MappingWord.sequence);
    while (!dax.driver.removeExtents(transaction, to, at, at + part));
    const start = sourceOffset + (at - offset);
    sharing.reflink(transaction, { ino: from, start }, { ino: to, start: at }, part);
    at += part;
    const size = Math.min(at, offset + length);
    if (size > sizeOf(dax.thread, target)) changeSize(dax, transaction, target, size);
    touchTimes(dax, transaction, target);
    // What the source has not persisted yet is the target's to persist as well.
    noteWritten(dax.thread, target, (at - part) / PAGE_SIZE, at / PAGE_SIZE - 1);
    transaction.commit();
  }
}

/** Whether both ranges hold the same bytes. They are broken: nobody writes there. */
function* holdSame(
  task: Task,
  dax: Dax,
  source: Mapping,
  target: Mapping,
  { sourceOffset, offset, length }: KnownPair,
): Sleeps<boolean> {
  const a = new Uint8Array(COMPARE_BYTES);
  const b = new Uint8Array(COMPARE_BYTES);
  for (let done = 0; done < length; ) {
    const [atA, atB] = [sourceOffset + done, offset + done];
    const extentA = yield* findExtent(task, dax, source, atA);
    const extentB = yield* findExtent(task, dax, target, atB);
    const part = Math.min(
      length - done,
      COMPARE_BYTES,
      extentA.start + extentA.length - atA,
      extentB.start + extentB.length - atB,
    );
    readPart(dax, source, extentA, atA, a.subarray(0, part));
    readPart(dax, target, extentB, atB, b.subarray(0, part));
    for (let at = 0; at < part; at++) if (a[at] !== b[at]) return false;
    done += part;
  }
  return true;
}

/** Throws: EIO for a lost page. */
function readPart(dax: Dax, mapping: Mapping, extent: Extent, at: number, into: Uint8Array): void {
  if (extent.kind !== "mapped") {
    into.fill(0);
    return;
  }
  const address = extent.address + (at - extent.start);
  const copied = copyOutHealthy(dax, address, into);
  if (copied < into.length) throw poisonedError(dax, mapping, at + copied, address + copied);
}
