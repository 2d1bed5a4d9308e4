/**
 * Sync faults (MAP_SYNC): windows in which a program makes its stores persistent by itself, without fsync.
 *
 * What such a window shows is a page of the file on the medium as well: its block, allocated and written,
 * the file's size, its inode. So stores that are put on the medium there (`persistStores` of write-back.ts; on persistent
 * memory the processor's flush instructions will do) are found after a crash.
 *
 *     touch -> extent, allocated and zeroed if it is a hole -> is the layout on the medium?
 *         no: data, with those zeroes -> metadata home -> the device persisted -> note the layout's sequence
 *         -> show
 *
 * Windows are not write-protected, so every touch that shows a page counts as a store, and the flush comes
 * before the page is shown, not before it is made writable.
 *
 * Rules. (1) Only the pager shows pages where touches fault, and it flushes between the lookup of an extent
 *            and the showing of its pages, in whatever window was touched: a new page takes the place of
 *            zeroes in all of them. All others revoke; so do calls that fill holes or extend the file.
 *        (2) The sequence is read before the flush and noted after it: what changes meanwhile has another one.
 *        (3) New blocks are zeroed before their metadata is on the medium: data is persisted first, metadata
 *            second. What a crash leaves is never another file's bytes.
 */
import { HoldfastError } from "../base/errors.ts";
import { type Mapping, MappingWord } from "../mapping/mapping.ts";
import { isAllPersistent, notePersistent } from "../metadata/transaction.ts";
import { load, store } from "../sync/atomics.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import type { Window } from "../window/window.ts";
import { type Dax, isCopied } from "./dax.ts";

/** Throws: EOPNOTSUPP for a file, or on a system, that cannot have windows with `sync`. */
export function assertSync(dax: Dax, mapping: Mapping): void {
  if (isCopied(dax, mapping)) {
    throw new HoldfastError(
      "EOPNOTSUPP",
      "the file's access is copied: windows show pages of a cache, and a persisted store to those is not " +
        "in the file; make it direct (dax: always, or setDax), or map without sync and call sync()",
    );
  }
  if (!dax.windows.port.faults) {
    throw new HoldfastError(
      "EOPNOTSUPP",
      "this system has no userfaultfd, so metadata cannot be persisted before a touch returns; map without " +
        "sync and call sync()",
    );
  }
}

/**
 * Has the metadata by which the file's pages are found on the medium, if it is not: blocks, allocated and
 * written, and the size. Locks: the map lock, shared at least: what is mapped stays. Sleeps: for the
 * transaction, and in the device. Throws: EIO.
 */
export function* persistLayout(task: Task, dax: Dax, mapping: Mapping): Sleeps<void> {
  const { device, thread } = dax;
  const { words } = thread;
  const sequence = load(words, mapping + MappingWord.sequence);
  // An odd one, of a change under way, is never found again.
  if (load(words, mapping + MappingWord.persistentSequence) === sequence) return;
  if (!isAllPersistent(thread)) {
    device.persistAll();
    const flushed = yield* dax.flushMetadata(task);
    device.persistAll();
    notePersistent(thread, flushed);
  }
  store(words, mapping + MappingWord.persistentSequence, sequence);
}

/**
 * Before the pager shows pages of [first, last], in whatever windows: `persistLayout`, if one with `sync` is
 * over them. Locks, sleeps, throws: as that.
 */
export function* persistForSync(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  first: number,
  last: number,
): Sleeps<void> {
  const { windows } = dax;
  if (!dax.isPager) return;
  const isSync = (window: Window): boolean => windows.isSync(window);
  if (windows.hasWindowOver(mapping, first, last, isSync)) yield* persistLayout(task, dax, mapping);
}
