/**
 * The break for `write`: leases only, where it writes in place. That moves no block, so it disturbs nobody
 * but the holders of exclusive leases; where it needs blocks, those as well who rely on a hole, or on an
 * unwritten extent that reads as zeroes. Blocks that other files own, too, are copied first, which is a
 * layout change (unshare.ts): all leases over them are recalled.
 *
 * Faults and pins that fill holes recall nobody. They hold the map lock and cannot wait; and what a
 * holder relies on stays: a hole that is filled moves no block of his, and the blocks of his long-term
 * pins are there. Whoever keeps extents sees the filled hole by the layout sequence.
 */
import { PAGE_SIZE } from "../base/quantities.ts";
import type { Extent } from "../iomap/contract.ts";
import { LeaseBreak, Reason } from "../layout/lease.ts";
import { type Mapping, MappingWord, sizeOf } from "../mapping/mapping.ts";
import { load } from "../sync/atomics.ts";
import { type Held, lockExclusive } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { type Dax, findExtent, ioName } from "./dax.ts";
import { type ByteRange, findShared, unshareBytes } from "./unshare.ts";

/** What a change does to the bytes: store to all of them, or give blocks to what is a hole. */
export type WriteKind = "write" | "preallocate";

/**
 * Takes the io lock exclusively, with no lease of others left in the way of a write to the bytes that
 * `plan` answers for the file's size; and with the blocks of those that `own` answers the file's own, as
 * long as the lock is held.
 * Locks: takes io, and map while blocks are copied. Sleeps: for them, for the transaction and, without
 * them, for leases. Throws: CorruptionError, ENOMEM, ENOSPC, EIO for a lost page to be copied, or when the
 * device is gone.
 */
export function* lockForWrite(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  kind: WriteKind,
  plan: (size: number) => ByteRange,
  own: (size: number) => readonly ByteRange[],
): Sleeps<Held<"io">> {
  const { thread } = dax;
  const io = yield* lockIo(task, dax, mapping);
  const hasLeases = load(thread.words, mapping + MappingWord.leases) !== 0;
  if (!hasLeases && dax.driver.sharing === null) return io;
  using leases = new LeaseBreak(thread, mapping);
  for (let held = io; ; held = yield* lockIo(task, dax, mapping)) {
    let isFree = false;
    try {
      const size = sizeOf(thread, mapping);
      const ranges = own(size);
      if (!(yield* recallForWrite(task, dax, mapping, leases, kind, plan(size), ranges))) {
        for (const range of ranges) yield* unshareBytes(task, dax, mapping, range);
        isFree = true;
        return held;
      }
    } finally {
      if (!isFree) held.release();
    }
    yield* leases.wait();
  }
}

/** Takes the io lock exclusively. Throws: EIO when the device is gone. */
function* lockIo(task: Task, dax: Dax, mapping: Mapping): Sleeps<Held<"io">> {
  const io = yield* lockExclusive(task, mapping + MappingWord.ioLock, ioName(dax, mapping));
  try {
    dax.pages.deviceState.assertPresent();
  } catch (error) {
    io.release();
    throw error;
  }
  return io;
}

/**
 * Recalls what the write conflicts with, extent by extent; whether one is to be waited for. `own`: what
 * is copied where it is shared.
 */
function* recallForWrite(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  leases: LeaseBreak,
  kind: WriteKind,
  range: ByteRange,
  own: readonly ByteRange[],
): Sleeps<boolean> {
  if (load(dax.thread.words, mapping + MappingWord.leases) === 0) return false;
  let mustWait = false;
  for (const { start, end } of own) {
    let shared = yield* findShared(task, dax, mapping, { start, end });
    while (shared !== null) {
      mustWait = leases.recall(shared.first, shared.last, Reason.unmap) || mustWait;
      const next = (shared.last + 1) * PAGE_SIZE;
      shared = yield* findShared(task, dax, mapping, { start: next, end });
    }
  }
  for (let at = range.start; at < range.end; ) {
    const extent = yield* findExtent(task, dax, mapping, at);
    const stop = Math.min(range.end, extent.start + extent.length);
    const allocates = needsBlocks(extent, kind);
    if (allocates || kind === "write") {
      const [first, last] = [Math.floor(at / PAGE_SIZE), Math.ceil(stop / PAGE_SIZE) - 1];
      mustWait = leases.recall(first, last, Reason.write, allocates) || mustWait;
    }
    at = stop;
  }
  return mustWait;
}

function needsBlocks({ kind }: Extent, write: WriteKind): boolean {
  return kind === "hole" || (kind === "unwritten" && write === "write");
}
