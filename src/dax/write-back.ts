/**
 * Write-back: what was written to a file reaches the device. Written means: noted by a write call or
 * by a window that was revoked (mapping.ts, noteWritten), shown by a window that writes, or marked
 * dirty by a pin that writes.
 */
import { PAGE_SIZE } from "../base/quantities.ts";
import { inoOf, type Mapping, MappingWord, noteWritten, takeWritten } from "../mapping/mapping.ts";
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
import { load } from "../sync/atomics.ts";
import { lockShared } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { type Dax, findExtent, stableSize } from "./dax.ts";

/**
 * Persists the file's data (its metadata is the cache's to flush). What a pin writes after this has
 * begun may or may not be included.
 * Locks: takes the map lock, shared. Sleeps: for it, and in the device. Throws: EIO; what was not
 * persisted is still noted then.
 */
export function* writeBack(task: Task, dax: Dax, mapping: Mapping): Sleeps<void> {
  const { thread, windows } = dax;
  const order = inoOf(thread, mapping);
  using _map = yield* lockShared(task, mapping + MappingWord.mapLock, { rankName: "map", order });
  const written = takeWritten(thread, mapping);
  try {
    if (written !== null) yield* persistRange(task, dax, mapping, written.first, written.last);
    const runs: { first: number; last: number }[] = [];
    windows.forEachWritableRun(mapping, (first, last) => runs.push({ first, last }));
    for (const run of runs) yield* persistRange(task, dax, mapping, run.first, run.last);
    persistMarked(dax, mapping);
  } catch (error) {
    if (written !== null) noteWritten(thread, mapping, written.first, written.last);
    throw error;
  }
}

/** Persists the mapped extents of pages [first, last] of the file. */
function* persistRange(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  first: number,
  last: number,
): Sleeps<void> {
  const size = yield* stableSize(task, dax, mapping);
  const end = Math.min((last + 1) * PAGE_SIZE, Math.ceil(size / PAGE_SIZE) * PAGE_SIZE);
  for (let at = first * PAGE_SIZE; at < end; ) {
    const extent = yield* findExtent(task, dax, mapping, at);
    const stop = Math.min(end, extent.start + extent.length);
    if (extent.kind === "mapped") {
      dax.device.persist(extent.address + (at - extent.start), stop - at);
    }
    at = stop;
  }
}

/**
 * Persists the pages marked dirty. The mark goes first, the pins are looked at second and the page is
 * persisted third, while a pin is counted first, marks second, writes third and is released last
 * (pin/pin.ts, invariant 4). So a page pinned for writing keeps its mark, and what a pin wrote that
 * is not counted any more is persisted.
 */
function persistMarked(dax: Dax, mapping: Mapping): void {
  const { thread, pages } = dax;
  const { words } = thread;
  for (let index = 0; ; ) {
    index = nextMarked(words, mapping, index, 0xffffffff, Mark.dirty);
    if (index < 0) return;
    const entry = load(words, findSlot(words, mapping, index));
    const count = isHugeKind(kindOf(entry)) ? 512 : 1;
    const page = pageOf(entry);
    clearMark(thread, mapping, index, Mark.dirty);
    if (pages.pinCount(page) > 0) setMark(thread, mapping, index, Mark.dirty);
    try {
      dax.device.persist(pages.devicePage(page) * PAGE_SIZE, count * PAGE_SIZE);
    } catch (error) {
      setMark(thread, mapping, index, Mark.dirty);
      throw error;
    }
    index += count;
  }
}
