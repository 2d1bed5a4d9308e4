/**
 * Which files are direct and which are copied: the mount's choice, each file's flag, and the switch.
 *
 * A file whose content lies in its inode is copied, and so it stays after that was moved out, until its record goes.
 * The flag lies on the volume; what is in effect is in the inode's record (MappingWord.access), from when
 * that is made until it goes. A change of the flag that makes a difference marks the record stale; it leaves
 * the table, copied home, when its last user is gone, and who opens the file next finds the flag.
 */
import { HoldfastError } from "../base/errors.ts";
import { PAGE_SIZE } from "../base/quantities.ts";
import { type Dax, isCopied, noteWrittenBytes } from "../dax/dax.ts";
import { writeDirect } from "../dax/direct-io.ts";
import { readDirect, readFile, tryReadFile, tryWriteFile, writeFile } from "../dax/file-io.ts";
import { firstCachePage, PageCache } from "../dax/page-cache.ts";
import { attachDevice, type Device, type DeviceHandle, memoryDevice } from "../device/index.ts";
import type { InodeInfo } from "../iomap/contract.ts";
import { Access } from "../mapping/mapping.ts";
import type { Transaction } from "../metadata/transaction.ts";
import { Root } from "../sync/region.ts";
import type { Thread } from "../sync/thread.ts";
import type { DaxMode } from "./access-mode.ts";
import { changeAttributes } from "./attributes.ts";
import { ChangeKind } from "./changes.ts";
import { inTransaction, type VolumeCore } from "./core.ts";
import type { InodeReference } from "./inode-reference.ts";
import { changing, isKnownToKernels, reading } from "./kernel-pages.ts";
import { assertNotMarked, hasMarks } from "./marks.ts";
import type { OpenFlags } from "./names.ts";
import { lockInode } from "./paths.ts";
import { SharedSegmentTable } from "./segments.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";

/**
 * The memory of a new volume's page cache; null where no file can be copied. `mayBeInline`: as of `hasInline`
 * (drivers.ts). Throws: ENOMEM, EMFILE.
 */
export function makeCacheMemory(
  mode: DaxMode,
  blockSize: number,
  mayBeInline: boolean,
  bytes: number,
): Device | null {
  const isNever = mode === "always" && blockSize === PAGE_SIZE && !mayBeInline;
  return isNever ? null : memoryDevice(bytes);
}

/** Makes the page cache of a new region. */
export function createPageCache(thread: Thread, memory: Device, deviceBytes: number): PageCache {
  memory.useSegments(SharedSegmentTable.create(thread, memory.segmentCount, Root.cacheDevice));
  return PageCache.create(thread, memory, firstCachePage(deviceBytes));
}

/** The page cache in a thread that attaches. */
export function attachPageCache(
  thread: Thread,
  handle: DeviceHandle,
  deviceBytes: number,
): PageCache {
  const memory = attachDevice(handle, SharedSegmentTable.attach(thread, Root.cacheDevice));
  return PageCache.attach(thread, memory, firstCachePage(deviceBytes));
}

/** What reads a file that was opened so. */
export function readerOf({ direct }: { readonly direct: boolean }): typeof readFile {
  return direct ? readDirect : readFile;
}

/** What writes it. */
export function writerOf({ direct }: { readonly direct: boolean }): typeof writeFile {
  return direct ? writeDirect : writeFile;
}

/** Reads a file that was opened so. Sleeps: while somebody writes it. */
export function readAt(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  flags: OpenFlags,
  target: Uint8Array,
  position: number,
): Sleeps<number> {
  return reading(
    task,
    core,
    inode,
    readerOf(flags)(task, core.dax, inode.mapping, target, position),
  );
}

/** Writes it; at its end, if it was opened for that. Sleeps: while somebody uses it. Throws: EFBIG, ENOSPC, EPERM. */
export function* writeAt(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  flags: OpenFlags,
  source: Uint8Array,
  position: number,
): Sleeps<number> {
  yield* assertNotMarked(task, core, inode, true);
  const at = flags.append ? "append" : position;
  const writing = writerOf(flags)(task, core.dax, inode.mapping, source, at);
  return yield* changing(task, core, inode, writing);
}

/** Of what cannot be had without waiting. */
const NOT_NOW = -1;

/** As `tryReadFile`, where no kernel may have something to add. */
export function tryRead(
  core: VolumeCore,
  inode: InodeReference,
  target: Uint8Array,
  position: number,
): number {
  if (isKnownToKernels(core, inode)) return NOT_NOW;
  return tryReadFile(core.dax, inode.mapping, target, position);
}

/** As `tryWriteFile`, where no kernel may keep what it changes, nor a mark forbid it; that it wrote is told. */
export function tryWrite(
  core: VolumeCore,
  inode: InodeReference,
  source: Uint8Array,
  position: number,
): number {
  if (isKnownToKernels(core, inode) || hasMarks(core)) return NOT_NOW;
  const count = tryWriteFile(core.dax, inode.mapping, source, position);
  if (count >= 0) core.changes.note(ChangeKind.content, inode.ino);
  return count;
}

/**
 * The file is about to be changed: what it has in its inode is moved to a block first. Locks: takes the io lock.
 * Sleeps: for it, and for the transaction. Throws: ENOSPC, CorruptionError.
 */
export function* moveOutOfInode(task: Task, core: VolumeCore, inode: InodeReference): Sleeps<void> {
  using _lock = yield* lockInode(task, inode);
  yield* inTransaction(task, core, [inode], (transaction) => {
    const { isInline, size, dax } = core.driver.readInode(inode.ino);
    if (!isInline) return;
    core.driver.moveOutOfInode(transaction, inode.ino);
    if (size > 0) noteWrittenBytes(core.dax, inode.mapping, 0, core.driver.blockSize);
    inode.setStale(transaction, core.inodes.accessFor(dax) === Access.direct);
  });
}

/** Whether direct access is in effect for an inode: of files only, as statx tells it. */
export function isDirect(dax: Dax, inode: InodeReference): boolean {
  return inode.type === "file" && !isCopied(dax, inode.mapping);
}

/**
 * Sets the flag of a file or directory. Locks: takes the inode's, exclusively. Sleeps: for it.
 * Throws: EINVAL for what is neither, EPERM, EROFS.
 */
export function* changeDax(
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  flag: boolean,
): Sleeps<void> {
  if (inode.type !== "file" && inode.type !== "directory") {
    throw new HoldfastError("EINVAL", `is a ${inode.type}; files and directories have the flag`);
  }
  yield* changeAttributes(task, core, inode, (_info: InodeInfo, transaction) => {
    noteDaxFlag(core, inode, transaction, flag);
    return { dax: flag };
  });
}

/** The transaction gives an inode this flag: its record goes with its last user if it says otherwise. */
export function noteDaxFlag(
  core: VolumeCore,
  inode: InodeReference,
  transaction: Transaction,
  flag: boolean,
): void {
  const wanted = core.inodes.accessFor(flag);
  const isStale = inode.type === "file" && isDirect(core.dax, inode) !== (wanted === Access.direct);
  inode.setStale(transaction, isStale);
}
