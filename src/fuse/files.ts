/** Files: OPEN, READ, WRITE, FSYNC, FALLOCATE, LSEEK, COPY_FILE_RANGE. What is written is in the volume when it is answered. */
import { ERRNO, HoldfastError } from "../base/errors.ts";
import { readFile, tryReadFile, writeFile } from "../dax/file-io.ts";
import { zeroRange } from "../dax/layout-change.ts";
import type { InodeInfo } from "../iomap/contract.ts";
import { DEVICE_BYTES_MAX } from "../base/quantities.ts";
import { MappingWord } from "../mapping/mapping.ts";
import { readStable } from "../metadata/sequence.ts";
import type { Sleeps } from "../sync/sleep.ts";
import { changeAttributes, readAttributes, withoutSetId } from "../volume/attributes.ts";
import { ChangeKind } from "../volume/changes.ts";
import { prepareContent, setSize } from "../volume/content-change.ts";
import { checkFallocateMode, type FallocateMode } from "../volume/fallocate.ts";
import type { InodeReference } from "../volume/inode-reference.ts";
import { changing } from "../volume/kernel-pages.ts";
import { assertNotMarked } from "../volume/marks.ts";
import { PERMISSIONS, SET_GROUP_ID } from "../volume/mode-bits.ts";
import { isDirectory } from "../volume/names.ts";
import type { Scope } from "../volume/paths.ts";
import { seek } from "../volume/seek.ts";
import { FileSync } from "../volume/sync.ts";
import { isAccessDue, noteAccess } from "./access-times.ts";
import { isWithout, knownOfCapabilities, noteWithout } from "./capabilities.ts";
import { BODY, TRANSFER_BYTES_MAX } from "./messages.ts";
import {
  CopyFileRangeIn,
  type CreateIn,
  FallocateIn,
  LseekIn,
  LseekOut,
  OPEN_KILL_SUIDGID,
  OPEN_SIZE,
  OpenFlag,
  OpenIn,
  OpenOut,
  ReadIn,
  ReleaseIn,
  WRITE_CACHE,
  WRITE_KILL_SUIDGID,
  WriteIn,
  WriteOut,
} from "./protocol.ts";
import { type Operation, opensToRead, opensToWrite, type Serving } from "./serving.ts";

const O_TRUNC = 0o1000;
const O_APPEND = 0o2000;
/** Also a part of O_SYNC. */
const O_DSYNC = 0o10000;
const CAPABILITIES = Buffer.from("security.capability");
/** Bytes that one COPY_FILE_RANGE copies, at most: others wait meanwhile. */
const COPY_BYTES_MAX = 16 * TRANSFER_BYTES_MAX;

/** Whether these flags of open(2), or a file's handle, have what is changed be durable when it is answered. */
const isSynced = (flags: number): boolean => (flags & O_DSYNC) !== 0;

/** How the kernel is to treat a file that is opened with these flags of open(2). Throws: CorruptionError. */
function* openFlagsOf(
  serving: Serving,
  scope: Scope,
  inode: InodeReference,
  flags: number,
): Sleeps<number> {
  if (!serving.options.isAlone) return OpenFlag.DIRECT_IO;
  return opensToRead(flags) && (yield* isAccessDue(serving, scope, inode, flags))
    ? 0
    : OpenFlag.KEEP_CACHE;
}

/** A file is opened with the flags of the request, perhaps to be changed, or emptied now. Throws: EROFS, EPERM, EISDIR, ENOSPC. */
export function* prepareOpen(
  serving: Serving,
  scope: Scope,
  inode: InodeReference,
  asked: typeof OpenIn | typeof CreateIn,
): Sleeps<void> {
  const { view } = serving.request;
  const flags = asked.flags.get(view, BODY);
  const isEmptied = (flags & O_TRUNC) !== 0;
  if (!opensToWrite(flags) && !isEmptied) return;
  if (inode.isDirectory) throw isDirectory();
  const appends = (flags & O_APPEND) !== 0 && !isEmptied;
  yield* prepareContent(scope.task, serving.core, inode, appends);
  if (!isEmptied) return;
  const killsSetId = (asked.openFlags.get(view, BODY) & OPEN_KILL_SUIDGID) !== 0;
  yield* dropPrivileges(serving, scope, inode, killsSetId);
  yield* setSize(scope.task, serving.core, inode, 0);
  serving.noteChange();
}

export const open: Operation = function* (serving, scope) {
  const { reply, request } = serving;
  const inode = yield* serving.inode(scope);
  yield* prepareOpen(serving, scope, inode, OpenIn);
  return yield* answerOpen(serving, scope, inode, OpenIn.flags.get(request.view, BODY), reply.body);
};

/**
 * Answers, at byte `at`, that a file is open by these flags of open(2). Its handle says what requests without flags need
 * to know of them: whether what is changed by it is to be durable. Throws: CorruptionError.
 */
export function* answerOpen(
  serving: Serving,
  scope: Scope,
  inode: InodeReference,
  flags: number,
  at: number,
): Sleeps<number> {
  const { reply } = serving;
  reply.clear(at, OPEN_SIZE);
  OpenOut.handle.set(reply.view, at, flags & O_DSYNC);
  OpenOut.openFlags.set(reply.view, at, yield* openFlagsOf(serving, scope, inode, flags));
  serving.noteOpen(inode, flags);
  return OPEN_SIZE;
}

/** RELEASE. */
export function release(serving: Serving): number {
  const { node, view } = serving.request;
  serving.noteClose(node, ReleaseIn.flags.get(view, BODY));
  return 0;
}

export const read: Operation = function* (serving, scope) {
  const { request, reply, core, options } = serving;
  const size = Math.min(ReadIn.size.get(request.view, BODY), TRANSFER_BYTES_MAX);
  const offset = ReadIn.offset.get(request.view, BODY);
  const inode = yield* serving.inode(scope);
  const { mapping } = inode;
  const target = reply.bytes.subarray(reply.body, reply.body + size);
  let count = tryReadFile(core.dax, mapping, target, offset);
  if (count < 0) count = yield* readFile(scope.task, core.dax, mapping, target, offset);
  if (options.accessTimes !== "never") {
    yield* noteAccess(serving, scope, inode, ReadIn.flags.get(request.view, BODY));
  }
  return count;
};

export const write: Operation = function* (serving, scope) {
  const { request, reply, core, options } = serving;
  const { view } = request;
  const size = WriteIn.size.get(view, BODY);
  const inode = yield* serving.inode(scope);
  const killsSetId = (WriteIn.writeFlags.get(view, BODY) & WRITE_KILL_SUIDGID) !== 0;
  yield* dropPrivileges(serving, scope, inode, killsSetId);
  const source = request.bytesAt(WriteIn.structure.size, size);
  const appends = !options.isAlone && (WriteIn.flags.get(view, BODY) & O_APPEND) !== 0;
  const position = appends ? "append" : WriteIn.offset.get(view, BODY);
  // Where it keeps no pages, the kernel itself does not ask for what these flags promise.
  if (!options.isAlone && isSynced(WriteIn.flags.get(view, BODY))) serving.durable = request.node;
  // What the kernel has accepted before is written all the same.
  const isLate = (WriteIn.writeFlags.get(view, BODY) & WRITE_CACHE) !== 0;
  if (!isLate) yield* assertNotMarked(scope.task, core, inode, true);
  const writing = writeFile(scope.task, core.dax, inode.mapping, source, position);
  const count = yield* changing(scope.task, core, inode, writing);
  reply.clear(reply.body, WriteOut.structure.size);
  WriteOut.size.set(reply.view, reply.body, count);
  return WriteOut.structure.size;
};

/** Whether who asks keeps set-id bits where the request does not say: who has CAP_FSETID, taken to be root. */
export function keepsSetId({ request }: Serving): boolean {
  return request.uid === 0;
}

/** The content or the owner is about to be changed: capabilities go, and set-id bits where the kernel says so. */
export function* dropPrivileges(
  serving: Serving,
  scope: Scope,
  inode: InodeReference,
  killsSetId: boolean,
): Sleeps<void> {
  const { core } = serving;
  const { words } = core.thread;
  const attributes = core.driver.extendedAttributes;
  const known = knownOfCapabilities(words, inode);
  let capable = false;
  if (attributes !== null && !(serving.options.isAlone && isWithout(known))) {
    const sequence = inode.mapping + MappingWord.sequence;
    const value = yield* readStable(scope.task, sequence, () =>
      attributes.get(inode.ino, CAPABILITIES),
    );
    capable = value !== null;
    if (!capable) noteWithout(words, inode, known);
  }
  let losesBits = false;
  if (killsSetId) {
    const info = yield* readAttributes(scope.task, core, inode);
    losesBits = modeAfterChange(serving, info) !== info.mode;
  }
  if (!losesBits && !capable) return;
  yield* changeAttributes(scope.task, core, inode, (info, transaction) => {
    if (capable) attributes?.remove(transaction, inode.ino, CAPABILITIES);
    return losesBits ? { mode: modeAfterChange(serving, info) } : {};
  });
  if (losesBits) serving.outdated = serving.nodes.nodeOf(inode.ino);
}

/**
 * The mode of a file that somebody has changed who may not keep its set-id bits. Set-group-id without group execution
 * is no right; it stays for the superuser, and for those whose group it names. (Of the caller's other groups the kernel
 * does not tell.)
 */
export function modeAfterChange(serving: Serving, { mode, gid }: InodeInfo): number {
  const mayMark = keepsSetId(serving) || serving.request.gid === gid;
  return withoutSetId(mode) & (mayMark ? PERMISSIONS : ~SET_GROUP_ID);
}

/** FSYNC, FSYNCDIR and SYNCFS: what they are asked for, and the metadata of all. No operation: it waits for the medium. */
export function fsync(serving: Serving): number {
  return persist(serving, serving.request.node);
}

/** Makes a node's content durable, and the metadata of all. No operation: it waits for the medium. Returns 0. */
export function persist(serving: Serving, node: number): number {
  const { core } = serving;
  const context = { syscall: "fsync" };
  const ino = serving.nodes.inoOf(node);
  const sync = core.runSync(context, function* (task) {
    using inode = yield* core.inodes.acquire(ino);
    if (inode.type !== "file") return null;
    const begun = new FileSync(core, inode);
    yield* begun.writeBack(task);
    return begun;
  });
  if (sync !== null) sync.persistMetadata(context);
  else if (!core.readOnly) core.persistMetadataSync(context);
  return 0;
}

const MODES: ReadonlyMap<number, FallocateMode> = new Map([
  [0x00, "allocate"],
  [0x01, "keep-size"],
  [0x03, "punch-hole"],
  [0x08, "collapse-range"],
  [0x10, "zero-range"],
  [0x20, "insert-range"],
  [0x40, "unshare-range"],
]);
const ZERO_KEEPING_SIZE = 0x11;

export const fallocate: Operation = function* (serving, scope) {
  const { core, request } = serving;
  const { view } = request;
  const mode = FallocateIn.mode.get(view, BODY);
  const offset = FallocateIn.offset.get(view, BODY);
  const length = FallocateIn.length.get(view, BODY);
  const inode = yield* serving.inode(scope);
  core.assertWritable();
  if (isSynced(FallocateIn.handle.get(view, BODY))) serving.durable = request.node;
  yield* dropPrivileges(serving, scope, inode, !keepsSetId(serving));
  if (mode === ZERO_KEEPING_SIZE) {
    yield* assertNotMarked(scope.task, core, inode, false);
    const { hasExtents } = yield* readAttributes(scope.task, core, inode);
    if (!hasExtents) throw unsupported(mode);
    const zeroing = zeroRange(scope.task, core.dax, inode.mapping, offset, length, true);
    yield* changing(scope.task, core, inode, zeroing);
    return 0;
  }
  const name = MODES.get(mode);
  if (name === undefined) throw unsupported(mode);
  if (offset + length > DEVICE_BYTES_MAX) {
    throw new HoldfastError("EFBIG", `a file ends at ${DEVICE_BYTES_MAX} bytes at most`);
  }
  yield* checkFallocateMode(name)(scope.task, core, inode, offset, length);
  return 0;
};

function unsupported(mode: number): HoldfastError {
  return new HoldfastError("EOPNOTSUPP", `fallocate's mode ${mode} is not done for this file`);
}

const SEEK_DATA = 3;
const SEEK_HOLE = 4;

export const lseek: Operation = function* (serving, scope) {
  const { request, reply, core } = serving;
  // What the kernel has collected is not here yet: it is to say itself that all is data.
  if (serving.options.writeback) return -ERRNO.ENOSYS;
  const { view } = request;
  const whence = LseekIn.whence.get(view, BODY);
  if (whence !== SEEK_DATA && whence !== SEEK_HOLE) {
    throw new HoldfastError("EINVAL", `lseek by ${whence}`);
  }
  const offset = LseekIn.offset.get(view, BODY);
  const { mapping } = yield* serving.inode(scope);
  const kind = whence === SEEK_DATA ? "data" : "hole";
  const found = yield* seek(scope.task, core.dax, mapping, offset, kind);
  LseekOut.offset.set(reply.view, reply.body, found);
  return LseekOut.structure.size;
};

export const copyFileRange: Operation = function* (serving, scope) {
  const { request, reply, core } = serving;
  const { view } = request;
  const { task } = scope;
  const from = CopyFileRangeIn.offsetIn.get(view, BODY);
  const to = CopyFileRangeIn.offsetOut.get(view, BODY);
  const length = Math.min(CopyFileRangeIn.length.get(view, BODY), COPY_BYTES_MAX);
  const source = yield* serving.inode(scope);
  const target = yield* serving.nodes.find(scope, CopyFileRangeIn.nodeOut.get(view, BODY));
  yield* assertNotMarked(task, core, target, true);
  yield* dropPrivileges(serving, scope, target, !keepsSetId(serving));
  // The answer is short: the rest of its buffer is free.
  const buffer = reply.bytes.subarray(reply.body + WriteOut.structure.size);
  let done = 0;
  try {
    while (done < length) {
      const wanted = buffer.subarray(0, Math.min(TRANSFER_BYTES_MAX, length - done));
      const count = yield* readFile(task, core.dax, source.mapping, wanted, from + done);
      if (count === 0) break;
      const bytes = wanted.subarray(0, count);
      const written = yield* writeFile(task, core.dax, target.mapping, bytes, to + done);
      done += written;
      if (written < count) break;
    }
  } catch (error) {
    // What is copied is told, and what ended it is met by the next call.
    if (done === 0 || !(error instanceof HoldfastError)) throw error;
  }
  if (done > 0) core.changes.note(ChangeKind.content, target.ino);
  if (serving.durable !== 0 || isSynced(CopyFileRangeIn.handleOut.get(view, BODY))) {
    serving.durable = CopyFileRangeIn.nodeOut.get(view, BODY);
  }
  reply.clear(reply.body, WriteOut.structure.size);
  WriteOut.size.set(reply.view, reply.body, done);
  return WriteOut.structure.size;
};
