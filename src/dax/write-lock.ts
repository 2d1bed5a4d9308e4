/**
 * The break for `write`: leases only. Writing in place moves no block, so it disturbs nobody but the
 * holders of exclusive leases; where it needs blocks, those as well who rely on a hole, or on an
 * unwritten extent that reads as zeroes.
 *
 * Faults and pins that fill holes recall nobody. They hold the map lock and cannot wait; and what a
 * holder relies on stays: a hole that is filled moves no block of his, and the blocks of his long-term
 * pins are there. Whoever keeps extents sees the filled hole by the layout sequence.
 */
import { PAGE_SIZE } from "../base/quantities.ts";
import type { Extent } from "../iomap/contract.ts";
import { LeaseBreak, Reason } from "../layout/lease.ts";
import { inoOf, type Mapping, MappingWord, sizeOf } from "../mapping/mapping.ts";
import { load } from "../sync/atomics.ts";
import { type Held, lockExclusive } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { type Dax, findExtent } from "./dax.ts";

/** Bytes [start, end) of a file. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** What a change does to the bytes: store to all of them, or give blocks to what is a hole. */
export type WriteKind = "write" | "preallocate";

/**
 * Takes the io lock exclusively, with no lease of others left in the way of a write to the bytes that
 * `plan` answers for the file's size.
 * Locks: takes io. Sleeps: for it and, without it, for leases. Throws: CorruptionError, ENOMEM.
 */
export function* lockForWrite(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  kind: WriteKind,
  plan: (size: number) => ByteRange,
): Sleeps<Held<"io">> {
  const { thread } = dax;
  const io = yield* lockIo(task, dax, mapping);
  if (load(thread.words, mapping + MappingWord.leases) === 0) return io;
  using leases = new LeaseBreak(thread, mapping);
  for (let held = io; ; held = yield* lockIo(task, dax, mapping)) {
    let isFree = false;
    try {
      dax.pages.deviceState.assertPresent();
      const range = plan(sizeOf(thread, mapping));
      isFree = !(yield* recallForWrite(task, dax, mapping, leases, kind, range));
      if (isFree) return held;
    } finally {
      if (!isFree) held.release();
    }
    yield* leases.wait();
  }
}

function* lockIo(task: Task, dax: Dax, mapping: Mapping): Sleeps<Held<"io">> {
  const name = { rankName: "io", order: inoOf(dax.thread, mapping) } as const;
  return yield* lockExclusive(task, mapping + MappingWord.ioLock, name);
}

/** Recalls what the write conflicts with, extent by extent; whether one is to be waited for. */
function* recallForWrite(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  leases: LeaseBreak,
  kind: WriteKind,
  { start, end }: ByteRange,
): Sleeps<boolean> {
  let mustWait = false;
  for (let at = start; at < end; ) {
    const extent = yield* findExtent(task, dax, mapping, at);
    const stop = Math.min(end, extent.start + extent.length);
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
