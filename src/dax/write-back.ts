/**
 * Write-back: what was written to a file reaches the device. Written means: noted by a write call or
 * by a window that was revoked (mapping.ts, noteWritten), shown by a window that writes, or marked
 * dirty by a pin that writes.
 *
 * Rules. (1) Notes and marks are taken before what they tell of is persisted, so that what is written
 *            meanwhile is noted anew. (2) One write-back of a file runs at a time: nobody finds
 *            nothing to do while another one has taken it, and not yet persisted it. (3) Whoever finds
 *            that the last one did not end (it failed, or its thread died) persists the whole file.
 *        (4) Pages whose bytes are lost are left out. The first one that meets a report of them fails when
 *            all else is persistent.
 */
import type { HoldfastError } from "../base/errors.ts";
import { HUGE_PAGES, PAGE_SIZE } from "../base/quantities.ts";
import {
  inoOf,
  type Mapping,
  MappingWord,
  noteWritten,
  PAGE_INDEX_MAX,
  takeWritten,
} from "../mapping/mapping.ts";
import {
  clearMark,
  findSlot,
  isHugeKind,
  kindOf,
  Mark,
  nextMarked,
  pageOf,
  setMark,
} from "../mapping/tree.ts";
import { traceFile } from "../mapping/trace.ts";
import type { PageId } from "../pages/pages.ts";
import { exchange, load, store } from "../sync/atomics.ts";
import { lockExclusive, lockShared } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { Event } from "../sync/trace.ts";
import { copyRangeHome } from "./copied.ts";
import { type Dax, findExtent, isCopied, mapName, stableSize } from "./dax.ts";
import { healthyBytes, poisonedError } from "./poison.ts";
import { persistLayout } from "./sync-fault.ts";

/** What persists ranges of the device: the device, or something that persists more. Throws: EIO. */
export interface RangeStorage {
  persist(at: number, length: number): void;
}

/**
 * Persists the file's data (its metadata is the cache's to flush), by `storage`, with its locks held. What a pin
 * writes after this has begun may or may not be included.
 * Locks: takes the write-back lock, then the map lock, shared. Sleeps: for them, and in the device.
 * Throws: EIO; what was not persisted is persisted by the next one. EIO once for pages whose bytes are lost.
 */
export function* writeBack(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  storage: RangeStorage = dax.device,
): Sleeps<void> {
  const { thread, windows } = dax;
  const { words } = thread;
  const order = inoOf(thread, mapping);
  using _turn = yield* lockExclusive(task, mapping + MappingWord.writeBackLock, {
    rankName: "writeBack",
    order,
  });
  using _map = yield* lockShared(task, mapping + MappingWord.mapLock, { rankName: "map", order });
  traceFile(thread, Event.writebackRange, mapping);
  if (exchange(words, mapping + MappingWord.writingBack, 1) !== 0) {
    noteWritten(thread, mapping, 0, PAGE_INDEX_MAX);
  }
  const written = takeWritten(thread, mapping);
  let lost: HoldfastError | null = null;
  if (written !== null)
    lost = yield* persistRange(task, dax, mapping, storage, written.first, written.last);
  const runs: { first: number; last: number }[] = [];
  windows.forEachWritableRun(mapping, (first, last) => runs.push({ first, last }));
  for (const run of runs)
    lost = (yield* persistRange(task, dax, mapping, storage, run.first, run.last)) ?? lost;
  lost = isCopied(dax, mapping)
    ? ((yield* persistMarkedCopies(task, dax, mapping, storage)) ?? lost)
    : (persistMarked(dax, mapping, storage) ?? lost);
  store(words, mapping + MappingWord.writingBack, 0);
  traceFile(thread, Event.writebackRangeDone, mapping);
  if (lost !== null) throw lost;
}

/**
 * Writes back all copied files of which something may be cached. A fault shows a page in the place of a zero
 * page before that has its owner: so those count that windows show. Locks: takes those of `writeBack`.
 * Sleeps: for them, and while a record is being taken out. Throws: as `writeBack`, when all have been tried.
 */
export function* writeBackCopied(task: Task, dax: Dax): Sleeps<void> {
  const { pages, thread, windows } = dax;
  const owners = dax.pageCache?.mappings(pages) ?? [];
  let failure: { error: unknown } | null = null;
  for (const used of new Set([...windows.mappings(), ...owners])) {
    try {
      // None: it has been taken out, and copied home for that.
      using held = yield* dax.acquireMapping(inoOf(thread, used));
      if (held === null || !isCopied(dax, held.mapping)) continue;
      yield* writeBack(task, dax, held.mapping);
    } catch (error) {
      failure ??= { error };
    }
  }
  if (failure !== null) throw failure.error;
}

/**
 * Persists a range of the device but for bad pages. Returns the error to tell of these, if no write-back
 * has; `at`: the file's byte there.
 */
function persistHealthy(
  dax: Dax,
  mapping: Mapping,
  storage: RangeStorage,
  at: number,
  address: number,
  length: number,
): HoldfastError | null {
  const { pages } = dax;
  const end = address + length;
  let lost: HoldfastError | null = null;
  for (let from = address; from < end; ) {
    const healthy = healthyBytes(pages, from, end - from);
    if (healthy > 0) storage.persist(from, healthy);
    from += healthy;
    if (from === end) break;
    const page = from / PAGE_SIZE;
    if (pages.bad.takeUntold(page, page))
      lost = poisonedError(dax, mapping, at + (from - address), from);
    from += PAGE_SIZE;
  }
  return lost;
}

/**
 * Persists the mapped extents of pages [first, last] of the file; of a copied file, what is cached is copied
 * home first. Returns the error to tell, as `persistHealthy`.
 */
function* persistRange(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  storage: RangeStorage,
  first: number,
  last: number,
): Sleeps<HoldfastError | null> {
  let lost: HoldfastError | null = null;
  if (isCopied(dax, mapping)) yield* copyRangeHome(task, dax, mapping, first, last);
  const size = yield* stableSize(task, dax, mapping);
  const end = Math.min((last + 1) * PAGE_SIZE, Math.ceil(size / PAGE_SIZE) * PAGE_SIZE);
  for (let at = first * PAGE_SIZE; at < end; ) {
    const extent = yield* findExtent(task, dax, mapping, at);
    const stop = Math.min(end, extent.start + extent.length);
    if (extent.kind === "mapped") {
      const address = extent.address + (at - extent.start);
      traceFile(dax.thread, Event.writebackOne, mapping, at / PAGE_SIZE, (stop - at) / PAGE_SIZE);
      lost = persistHealthy(dax, mapping, storage, at, address, stop - at) ?? lost;
    }
    at = stop;
  }
  return lost;
}

/**
 * Persists the pages marked dirty. A pin is counted first and looks at the mark second (pin/pin.ts,
 * invariant 4); here the mark goes first, the pins are looked at second, and the page is persisted
 * last. So a pin that writes has been seen, and the page keeps its mark; or it has been released and
 * what it wrote is persisted; or it marks the page anew.
 */
function persistMarked(dax: Dax, mapping: Mapping, storage: RangeStorage): HoldfastError | null {
  const { pages, thread } = dax;
  const { words } = thread;
  let lost: HoldfastError | null = null;
  for (let index = 0; ; ) {
    index = nextMarked(words, mapping, index, PAGE_INDEX_MAX, Mark.dirty);
    if (index < 0) return lost;
    const entry = load(words, findSlot(words, mapping, index));
    const count = isHugeKind(kindOf(entry)) ? HUGE_PAGES : 1;
    const page = pageOf(entry);
    takeMark(dax, mapping, index, page);
    const address = pages.devicePage(page) * PAGE_SIZE;
    traceFile(thread, Event.writebackOne, mapping, index, count);
    const [at, length] = [index * PAGE_SIZE, count * PAGE_SIZE];
    lost = persistHealthy(dax, mapping, storage, at, address, length) ?? lost;
    index += count;
  }
}

/** Takes a page's dirty mark, but from one that is pinned. */
function takeMark({ pages, thread }: Dax, mapping: Mapping, index: number, page: PageId): void {
  clearMark(thread, mapping, index, Mark.dirty);
  if (pages.pinCount(page) > 0) setMark(thread, mapping, index, Mark.dirty);
}

/** As `persistMarked`, of a copied file: a marked page is copied home before it is persisted. */
function* persistMarkedCopies(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  storage: RangeStorage,
): Sleeps<HoldfastError | null> {
  const { words } = dax.thread;
  let lost: HoldfastError | null = null;
  for (let from = 0; ; ) {
    const index = nextMarked(words, mapping, from, PAGE_INDEX_MAX, Mark.dirty);
    if (index < 0) return lost;
    const page = pageOf(load(words, findSlot(words, mapping, index)));
    takeMark(dax, mapping, index, page);
    lost = (yield* persistRange(task, dax, mapping, storage, index, index)) ?? lost;
    from = index + 1;
  }
}

/**
 * Puts what was stored to pages [first, last] of the file on the medium, and what a layout change has moved of
 * them meanwhile. Locks: takes the map lock, shared. Sleeps: for it, and in the device.
 * Throws: EIO, also where bytes are lost.
 */
export function* persistStores(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  first: number,
  last: number,
): Sleeps<void> {
  using _map = yield* lockShared(task, mapping + MappingWord.mapLock, mapName(dax, mapping));
  const lost = yield* persistRange(task, dax, mapping, dax.device, first, last);
  if (lost !== null) throw lost;
  yield* persistLayout(task, dax, mapping);
}
