/**
 * What kernels keep of a file for programs that have mapped it, when this process uses the file as well: they give it up
 * (kernel-recalls.ts). It is only kept while a program has the file open (`Lookups.opens`).
 *
 * A page that a program stores to while this process writes to another part of it is changed by two at once: one of them is
 * lost, whole, as with any filesystem over a network.
 */
import { load } from "../sync/atomics.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { ChangeKind } from "./changes.ts";
import type { VolumeCore } from "./core.ts";
import { Own, type InodeReference } from "./inode-reference.ts";
import { isOpenInKernels } from "./lookups.ts";

/** Whether a kernel knows of an inode, and must perhaps be asked. One load. */
export function isKnownToKernels(core: VolumeCore, { mapping }: InodeReference): boolean {
  return core.recalls !== null && load(core.thread.words, mapping + Own.lookups) !== 0;
}

/**
 * Has kernels give up what they keep of a file. `toChange`: all of it; else what programs may have stored. What they
 * have stored is in the file then. Locks: none may be held. Sleeps: until they have.
 */
export function* recallPages(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  toChange: boolean,
): Sleeps<void> {
  if (!isKnownToKernels(core, inode)) return;
  let isOpen = false;
  core.inodes.underGuard(() => {
    isOpen = isOpenInKernels(core.thread.words, inode.mapping, !toChange);
  });
  if (isOpen) yield* core.recalls!.recall(task, inode.ino);
}

/** Reads of a file, with what programs have stored. */
export function* reading<T>(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  work: Sleeps<T>,
): Sleeps<T> {
  yield* recallPages(task, core, inode, false);
  return yield* work;
}

/**
 * Does something that programs are to see which have mapped the file, and that what they have stored is a part of.
 * Locks: none may be held. Sleeps: as `work`, and for kernels.
 */
export function* betweenRecalls<T>(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  work: Sleeps<T>,
): Sleeps<T> {
  // Who serves programs comes here with each of their writes.
  if (core.recalls === null) return yield* work;
  yield* recallPages(task, core, inode, true);
  try {
    return yield* work;
  } finally {
    try {
      yield* recallPages(task, core, inode, true);
    } catch {
      // Who does not wait any more is told all the same what has come of it: the kernel has been asked.
    }
  }
}

/** As `betweenRecalls`, of what changes the file's content: who watches is told, too. To write no byte is nothing. */
export function* changing<T>(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  work: Sleeps<T>,
): Sleeps<T> {
  const result = yield* betweenRecalls(task, core, inode, work);
  if (result !== 0) core.changes.note(ChangeKind.content, inode.ino);
  return result;
}
