/** What every change of a file's content begins with, whoever asks for it: calls on paths, handles, or the kernel. */
import { HoldfastError } from "../base/errors.ts";
import { truncateFile } from "../dax/layout-change.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { moveOutOfInode } from "./access.ts";
import { readAttributes } from "./attributes.ts";
import type { VolumeCore } from "./core.ts";
import type { InodeReference } from "./inode-reference.ts";
import { changing } from "./kernel-pages.ts";
import { assertUnrestricted, isDirectory } from "./names.ts";

/**
 * The file may be changed, and lies where it can be. `appends`: at its end only.
 * Locks: takes the io lock. Sleeps: for it, and for the transaction. Throws: EROFS, EPERM, ENOSPC, CorruptionError.
 */
export function* prepareContent(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  appends: boolean,
): Sleeps<void> {
  core.assertWritable();
  const info = yield* readAttributes(task, core, inode);
  if (!(info.restriction === "append-only" && appends)) assertUnrestricted(info);
  if (info.isInline) yield* moveOutOfInode(task, core, inode);
}

/** Gives a prepared file its size. Sleeps: for its locks, leases and pins. Throws: EFBIG, ENOSPC, CorruptionError. */
export function* setSize(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  size: number,
): Sleeps<void> {
  yield* changing(task, core, inode, truncateFile(task, core.dax, inode.mapping, size));
}

/** truncate(2). Sleeps, throws: as `prepareContent` and `setSize`; EISDIR, EINVAL for what is no file. */
export function* truncateInode(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  size: number,
): Sleeps<void> {
  if (inode.isDirectory) throw isDirectory();
  if (inode.type !== "file") throw new HoldfastError("EINVAL", `is a ${inode.type}`);
  yield* prepareContent(task, core, inode, false);
  yield* setSize(task, core, inode, size);
}
