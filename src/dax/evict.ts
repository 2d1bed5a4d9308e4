/**
 * Making room in the page cache: pages that are not pinned are copied home, if they are dirty, and leave
 * the cache, in the order of a clock: those that were used since its hand last passed stay.
 *
 * A page is evicted under the map lock of its file, held exclusively, and announced as a break of it is:
 * a pin that has counted is seen, and no other comes (layout/break.ts, rule 3). Whoever makes room holds
 * no lock, so that it may take that one, whatever file it is: its own as well.
 *
 * The pager cannot evict what windows show: who revokes sleeps until the pager has read of it. It leaves the
 * fault unanswered and asks the evicting thread; the thread that touches sleeps in the kernel.
 *
 *     fault: no room --wantRoom--> parked --answered: room--> served (or no room again: asks again)
 *                                    |------answered: none--> tried once more, then shown as lost
 *                                    +------no thread evicts, or it died and none comes---> the pager's own try
 *
 * Rules. (1) A parked fault holds no lock, and who touches holds io locks at most: the evicting thread takes
 *            map locks, entries, the transaction, never an io lock, so it waits for nobody who waits for it.
 *        (2) A pinned page stays. Where all are pinned, or cannot be copied home, the touch ends as lost.
 *        (3) A request is answered by a pass that began after it was made: what that has found, or not, was
 *            looked at since.
 */
import { HoldfastError } from "../base/errors.ts";
import { announce } from "../layout/break.ts";
import { inoOf, type Mapping, MappingWord } from "../mapping/mapping.ts";
import { findSlot, pageOf } from "../mapping/tree.ts";
import { load } from "../sync/atomics.ts";
import { lockExclusive } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import type { Window } from "../window/window.ts";
import { cachedPages, copyDirtyHome, pageCacheOf } from "./copied.ts";
import { type Dax, mapName } from "./dax.ts";
import { resolveFault } from "./fault.ts";
import type { PageCache } from "./page-cache.ts";
import { removePages } from "./remove-pages.ts";

/** Pages evicted for a fault: the next ones find room. Of a small cache a quarter: the others are in use. */
const RECLAIM_PAGES = 16;

function batchOf({ count }: PageCache): number {
  return Math.min(RECLAIM_PAGES, Math.ceil(count / 4));
}

/**
 * Serves a fault (fault.ts), making room where the page cache has none. Locks: none held. Sleeps: as
 * `resolveFault`, and for map locks.
 */
export function* serveFault(
  task: Task,
  dax: Dax,
  window: Window,
  serial: number,
  address: number,
  write: boolean,
): Sleeps<void> {
  const cache = pageCacheOf(dax);
  for (let hasRoom = true; ; ) {
    if (yield* resolveFault(task, dax, window, serial, address, write, hasRoom)) return;
    hasRoom = (yield* askForRoom(task, dax)) ?? (yield* makeRoom(task, dax, batchOf(cache)));
  }
}

/**
 * Has the evicting thread make room. Returns whether it found some, or null where there is none that evicts.
 * Locks: none held. Sleeps: until it answers, or is gone.
 */
function* askForRoom(task: Task, dax: Dax): Sleeps<boolean | null> {
  const cache = pageCacheOf(dax);
  const request = cache.wantRoom();
  for (;;) {
    const answered = load(task.thread.words, cache.answeredWord);
    const found = cache.answerTo(request, answered);
    if (found !== null) return found;
    if (!dax.hasEvictor()) return null;
    yield {
      word: cache.answeredWord,
      expected: answered,
      kind: "room",
      what: () => "room in the page cache",
    };
  }
}

/**
 * The evicting thread's work: makes room if it was asked for, and answers. Returns whether it was.
 * Locks and sleeps: as `makeRoom`. Throws: EBADF, EIO when the volume is gone; those who asked are answered.
 */
export function* answerRequests(task: Task, dax: Dax): Sleeps<boolean> {
  const cache = pageCacheOf(dax);
  const request = cache.unansweredRequest();
  if (request === null) return false;
  let found = false;
  try {
    found = yield* makeRoom(task, dax, batchOf(cache));
  } finally {
    cache.answer(request, found);
  }
  return true;
}

/**
 * Frees cache pages, up to `count`. Returns whether one was found free, or freed, or was only being filled;
 * where the cache has fewer than `count`, false. The thread that reads fault messages evicts only what no window shows.
 * Locks: none held; takes the map locks of files, exclusively. Sleeps: for them.
 */
export function* makeRoom(task: Task, dax: Dax, count: number): Sleeps<boolean> {
  const cache = pageCacheOf(dax);
  if (count > cache.count) return false;
  let found = 0;
  let filled = -1;
  for (let ticks = 0; ticks < 2 * cache.count && found < count; ticks++) {
    // The second time around it is in need, and comes to those again that it has freed, or found free.
    const isFirst = ticks < cache.count;
    const tick = cache.tick();
    if (tick.state === "free" && (isFirst || found === 0)) found++;
    const isWanted = tick.state === "old" || (tick.state === "used" && !isFirst);
    if (isWanted && (yield* evict(task, dax, tick.page, tick.mapping))) found++;
    if (tick.state === "filling") filled = tick.page;
  }
  if (found > 0 || filled < 0) return found > 0;
  // What is being filled can be evicted next.
  const filling = cache.filling(filled);
  if (filling !== null) {
    yield { ...filling, what: () => "a page of the page cache to be filled" };
  }
  return true;
}

/**
 * Evicts a page that `user` has, or had, if that can be. Returns whether it is free, by whoever evicted it.
 * Locks: none held. Sleeps: for the map lock of its file.
 */
function* evict(task: Task, dax: Dax, page: number, user: Mapping): Sleeps<boolean> {
  const { holdMapping, pages, thread } = dax;
  // None: the record is being taken out, or is another's by now.
  using held = holdMapping(inoOf(thread, user));
  if (held === null) return false;
  const { mapping } = held;
  using _map = yield* lockExclusive(task, mapping + MappingWord.mapLock, mapName(dax, mapping));
  const found = pages.ownerOf(page);
  if (found?.owner !== mapping) return pageCacheOf(dax).isFree(page);
  return yield* evictPage(task, dax, mapping, found.index);
}

/** Evicts a page that is cached. Locks: the map lock, exclusively. */
function* evictPage(task: Task, dax: Dax, mapping: Mapping, index: number): Sleeps<boolean> {
  const { pages, thread, windows } = dax;
  const { words } = thread;
  const isShown = windows.mayShow(mapping, index);
  if (isShown && (dax.isPager || !windows.port.faults)) return false;
  const range = { first: index, last: index };
  using _announced = announce(thread, new Map([[mapping, range]]));
  const entry = load(words, findSlot(words, mapping, index));
  if (pages.pinCount(pageOf(entry)) > 0) return false;
  if (isShown) windows.revoke(mapping, index, index);
  try {
    yield* copyDirtyHome(task, dax, mapping, index, index);
  } catch (error) {
    // It stays until it can be copied home, or is no longer wanted.
    if (error instanceof HoldfastError) return false;
    throw error;
  }
  removePages(dax, mapping, range);
  return true;
}

/**
 * Takes pages [first, last] of a file out of the cache, but for those that are pinned.
 * Locks: none held; takes the map lock, exclusively. Sleeps: for it.
 */
export function* dropCached(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  first: number,
  last: number,
): Sleeps<void> {
  using _map = yield* lockExclusive(task, mapping + MappingWord.mapLock, mapName(dax, mapping));
  for (const index of cachedPages(dax, mapping, first, last)) {
    yield* evictPage(task, dax, mapping, index);
  }
}
