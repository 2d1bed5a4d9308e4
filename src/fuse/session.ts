/**
 * Serving a mount, in each of its threads: requests are read from /dev/fuse one after the other, each is run to its end,
 * and answered. A thread that waits holds up what it has read, and nothing else, as long as others are left.
 *
 * The thread blocks in the kernel between requests. It ends when the mount does: reading fails with ENODEV then. When another
 * one has ended before, by a failure, what is left fails: the kernel may ask for nodes that are nobody's any more.
 */
import { ERRNO, HoldfastError, systemError } from "../base/errors.ts";
import { lastErrno, readDescriptor, writeDescriptor } from "../base/libc.ts";
import type { SleepOptions, Sleeps, Task, Wait, WaitKind } from "../sync/sleep.ts";
import type { VolumeCore } from "../volume/core.ts";
import { Scope } from "../volume/paths.ts";
import * as attributes from "./attributes.ts";
import * as directories from "./directories.ts";
import * as files from "./files.ts";
import { BODY, TRANSFER_BYTES_MAX } from "./messages.ts";
import { ioctl, isTrim, trim } from "./ioctls.ts";
import * as names from "./names.ts";
import { InodeNotice } from "./notices.ts";
import {
  BatchForgetIn,
  ForgetIn,
  ForgetOne,
  InitFlag,
  InitFlag2,
  InitIn,
  InitOut,
  InterruptIn,
  KERNEL_MAJOR,
  KERNEL_MINOR,
  KERNEL_MINOR_MIN,
  Opcode,
} from "./protocol.ts";
import { type Operation, type ServeOptions, Serving } from "./serving.ts";
import type { SharedMount } from "./shared-mount.ts";

const { ENOENT, EINTR, EIO, EAGAIN, ENODEV, ENOSYS, EPROTO } = ERRNO;

const ATTRIBUTES_NOTICE = new InodeNotice({ pages: false });

/** Requests that the kernel keeps waiting here at a time, beyond those that programs wait for. */
const BACKGROUND_MAX = 32;

/** Of those that nobody waits for, none is answered. */
const UNANSWERED: ReadonlySet<number> = new Set([
  Opcode.FORGET,
  Opcode.BATCH_FORGET,
  Opcode.INTERRUPT,
]);

const OPERATIONS: ReadonlyMap<number, Operation> = new Map<number, Operation>([
  [Opcode.LOOKUP, names.lookup],
  [Opcode.GETATTR, attributes.getattr],
  [Opcode.STATX, attributes.statx],
  [Opcode.SETATTR, attributes.setattr],
  [Opcode.READLINK, names.readlink],
  [Opcode.SYMLINK, names.symlink],
  [Opcode.MKNOD, names.mknod],
  [Opcode.MKDIR, names.mkdir],
  [Opcode.UNLINK, names.unlink],
  [Opcode.RMDIR, names.rmdir],
  [Opcode.RENAME, names.rename],
  [Opcode.RENAME2, names.rename2],
  [Opcode.LINK, names.link],
  [Opcode.CREATE, names.create],
  [Opcode.TMPFILE, names.tmpfile],
  [Opcode.OPEN, files.open],
  [Opcode.READ, files.read],
  [Opcode.WRITE, files.write],
  [Opcode.FALLOCATE, files.fallocate],
  [Opcode.LSEEK, files.lseek],
  [Opcode.COPY_FILE_RANGE, files.copyFileRange],
  [Opcode.STATFS, attributes.statfs],
  [Opcode.GETXATTR, attributes.getxattr],
  [Opcode.SETXATTR, attributes.setxattr],
  [Opcode.LISTXATTR, attributes.listxattr],
  [Opcode.REMOVEXATTR, attributes.removexattr],
  [Opcode.OPENDIR, directories.opendir],
  [Opcode.READDIR, directories.readdir],
  [Opcode.READDIRPLUS, directories.readdirplus],
  [Opcode.RELEASEDIR, directories.releasedir],
  [Opcode.IOCTL, ioctl],
  [Opcode.FORGET, forget],
  [Opcode.BATCH_FORGET, batchForget],
]);

/** Those that wait for the medium, and so are no part of one operation on the volume. Return the answer's bytes. */
const STEPS: ReadonlyMap<number, (serving: Serving) => number> = new Map([
  [Opcode.INIT, init],
  [Opcode.FSYNC, files.fsync],
  [Opcode.FSYNCDIR, files.fsync],
  [Opcode.SYNCFS, files.fsync],
  [Opcode.RELEASE, files.release],
  [Opcode.DESTROY, nothing],
  [Opcode.INTERRUPT, interrupt],
] as [number, (serving: Serving) => number][]);

/** Requests that may last: for the medium, or by what there is to do. */
const LASTING: ReadonlySet<number> = new Set([
  Opcode.FSYNC,
  Opcode.FSYNCDIR,
  Opcode.SYNCFS,
  Opcode.FALLOCATE,
  Opcode.COPY_FILE_RANGE,
]);

/** Requests that change names. */
const NAME_CHANGES: ReadonlySet<number> = new Set([
  Opcode.SYMLINK,
  Opcode.MKNOD,
  Opcode.MKDIR,
  Opcode.UNLINK,
  Opcode.RMDIR,
  Opcode.RENAME,
  Opcode.RENAME2,
  Opcode.LINK,
  Opcode.CREATE,
]);

/**
 * Those that change something else; others may (`Serving.noteChange`). WRITE is none: what is written the kernel asks for
 * itself, or by a flag.
 */
const OTHER_CHANGES: ReadonlySet<number> = new Set([
  Opcode.SETATTR,
  Opcode.FALLOCATE,
  Opcode.COPY_FILE_RANGE,
  Opcode.SETXATTR,
  Opcode.REMOVEXATTR,
]);

export interface SessionEvents {
  /** The kernel was answered what it asks first: the mount can be used. */
  readonly onReady: () => void;
  /** Something went wrong that is no answer to a program: a mistake of ours, or damage that was met. */
  readonly onError: (error: unknown, opcode: number) => void;
}

/**
 * Serves what `fd`, of /dev/fuse, is mounted as, until it is unmounted. Blocks.
 * Throws: EIO for what the kernel does not understand.
 */
export function serve(
  core: VolumeCore,
  fd: number,
  mount: SharedMount,
  options: ServeOptions,
  events: SessionEvents,
): void {
  const serving = new Serving(core, fd, mount, options);
  try {
    while (serveNext(serving, fd, events));
  } finally {
    serving.turns.endAll();
    serving.nodes[Symbol.dispose]();
    core.settleSync();
  }
}

/** Serves one request. Returns false at the end. */
function serveNext(serving: Serving, fd: number, events: SessionEvents): boolean {
  const { request, turns } = serving;
  turns.begin();
  const isRead = readDescriptor(fd, request.bytes, request.bytes.length) >= 0;
  turns.end();
  if (!isRead) {
    const errno = lastErrno();
    if (errno === ENODEV) return false;
    // ENOENT: the request was taken back meanwhile.
    if (errno === ENOENT || errno === EINTR || errno === EAGAIN) return true;
    throw systemError(errno, "read", { path: "/dev/fuse" });
  }
  request.parse();
  const { opcode } = request;
  serving.begin();
  const answer = perform(serving, events);
  // Before the answer: who has changed a program does not run it with set-id bits that it has lost.
  if (serving.outdated !== 0) ATTRIBUTES_NOTICE.send(fd, serving.outdated);
  if (UNANSWERED.has(opcode)) return true;
  const length = serving.reply.finish(request, answer < 0 ? -answer : 0, answer);
  if (writeDescriptor(fd, serving.reply.bytes, length) < 0) {
    // ENOENT: whoever asked is gone, so the kernel has not heard of these nodes.
    const errno = lastErrno();
    serving.takeBack();
    if (errno === ENODEV) return false;
    if (errno !== ENOENT) throw systemError(errno, "write", { path: "/dev/fuse" });
  }
  if (opcode === Opcode.INIT && answer >= 0) events.onReady();
  turns.noteAnswer();
  return true;
}

/** Runs the request. Returns the bytes of the answer, or an error, negative. */
function perform(serving: Serving, { onError }: SessionEvents): number {
  const { core, request } = serving;
  const { opcode } = request;
  const isTrimming = opcode === Opcode.IOCTL && isTrim(serving);
  if (isTrimming || LASTING.has(opcode)) serving.turns.relieve();
  try {
    const step = isTrimming ? trim : STEPS.get(opcode);
    if (step !== undefined) return step(serving);
    const operation = OPERATIONS.get(opcode);
    if (operation === undefined) return -ENOSYS;
    if (serving.mount.isOver && !UNANSWERED.has(opcode)) return -EIO;
    serving.actForCaller();
    if (serving.options.synchronous !== "nothing") {
      if (NAME_CHANGES.has(opcode)) serving.durable = request.node;
      else if (OTHER_CHANGES.has(opcode)) serving.noteChange();
    }
    const answer = core.runSync(
      {},
      (task) => runOperation(serving, task, operation),
      waitingFor(serving, opcode),
    );
    if (serving.durable !== 0 && answer >= 0) {
      serving.turns.relieve();
      files.persist(serving, serving.durable);
    }
    return answer;
  } catch (error) {
    serving.takeBack();
    if (!(error instanceof HoldfastError)) {
      onError(error, opcode);
      return -EIO;
    }
    if (error.code === "EUCLEAN" || error.code === "EIO") onError(error, opcode);
    return error.errno;
  }
}

function* runOperation(serving: Serving, task: Task, operation: Operation): Sleeps<number> {
  const scope = new Scope(serving.core, task);
  try {
    return yield* operation(serving, scope);
  } finally {
    scope[Symbol.dispose]();
  }
}

/** Waits for what programs or this process hold: they may last. */
const LONG_WAITS: ReadonlySet<WaitKind | undefined> = new Set(["pins", "leases", "insisting"]);
/** Any wait has lasted, of a request that is served for as long. Signals that programs handle are to end none before. */
const LONG_MS = 1000;

/**
 * A request's waits end when its program is interrupted, or the mount is over. What gives lookups back is asked by nobody,
 * and always done.
 */
function waitingFor({ mount, request, turns }: Serving, opcode: number): SleepOptions {
  if (UNANSWERED.has(opcode)) return {};
  const { uniqueLow, uniqueHigh } = request;
  const begin = performance.now();
  return {
    isInterrupted({ kind }: Wait): boolean {
      turns.relieve();
      if (!LONG_WAITS.has(kind) && performance.now() - begin < LONG_MS) return false;
      return mount.isInterrupted(uniqueLow, uniqueHigh) || mount.isOver;
    },
  };
}

function interrupt({ mount, request }: Serving): number {
  const { view } = request;
  mount.interrupt(InterruptIn.uniqueLow.get(view, BODY), InterruptIn.uniqueHigh.get(view, BODY));
  return 0;
}

function nothing(): number {
  return 0;
}

function* forget(serving: Serving): Sleeps<number> {
  const { request, nodes } = serving;
  nodes.forget(request.node, ForgetIn.lookups.get(request.view, BODY));
  return 0;
}

function* batchForget(serving: Serving): Sleeps<number> {
  const { view } = serving.request;
  const count = BatchForgetIn.count.get(view, BODY);
  const { size } = ForgetOne.structure;
  for (
    let index = 0, at = BODY + BatchForgetIn.structure.size;
    index < count;
    index++, at += size
  ) {
    serving.nodes.forget(ForgetOne.node.get(view, at), ForgetOne.lookups.get(view, at));
  }
  return 0;
}

/**
 * What is agreed on.
 *
 * - ASYNC_READ, BIG_WRITES, MAX_PAGES: as much at a time as there is.
 * - ASYNC_DIO: only where others use the volume, too. When a write past the page cache ends that nobody waited for, the
 *   kernel leaves the pages that others have read meanwhile, and keeps them for good.
 * - DONT_MASK: new files are cut by the umask of who makes them, or by their directory's default list; that is ours to say.
 * - POSIX_ACL: the kernel checks permissions by the lists, which it asks for and keeps. Implies default_permissions.
 * - HANDLE_KILLPRIV_V2, SETXATTR_EXT: set-id bits and capabilities go here, so that the kernel need not look at each write.
 * - DO_READDIRPLUS, READDIRPLUS_AUTO: attributes with the names, where a program seems to want them.
 * - PARALLEL_DIROPS: names are looked up side by side; the directory's lock is ours.
 * - CACHE_SYMLINKS: targets never change. Not where each reading is to be seen.
 * - ATOMIC_O_TRUNC: a file is opened and emptied by one request, and not emptied where it may not be opened.
 * - EXPORT_SUPPORT: nodes can be found again by number, for file handles.
 * - AUTO_INVAL_DATA, DIRECT_IO_ALLOW_MMAP: only where others use the volume, too: pages of mapped files go when the
 *   file is seen to have changed; and files that are else read past the page cache can be mapped as shared.
 * - WRITEBACK_CACHE: only where asked for.
 *
 * Not: POSIX_LOCKS, FLOCK_LOCKS (the kernel keeps locks itself: all who lock are its processes), NO_OPEN_SUPPORT
 * (opening may fail), EXPLICIT_INVAL_DATA, SECURITY_CTX, HAS_INODE_DAX.
 */
function init(serving: Serving): number {
  const { request, reply, options } = serving;
  const { view } = request;
  const { view: out, body } = reply;
  const [major, minor] = [InitIn.major.get(view, BODY), InitIn.minor.get(view, BODY)];
  reply.clear(body, InitOut.structure.size);
  InitOut.major.set(out, body, KERNEL_MAJOR);
  InitOut.minor.set(out, body, KERNEL_MINOR);
  // A kernel of a later major version asks again, in ours.
  if (major > KERNEL_MAJOR) return InitOut.structure.size;
  if (major < KERNEL_MAJOR || minor < KERNEL_MINOR_MIN) return -EPROTO;
  const offered = InitIn.flags.get(view, BODY);
  const extended = (offered & InitFlag.INIT_EXT) !== 0;
  const offered2 = extended ? InitIn.flags2.get(view, BODY) : 0;
  const wanted = ALWAYS | (options.isAlone ? 0 : InitFlag.AUTO_INVAL_DATA | InitFlag.ASYNC_DIO);
  const chosen =
    (options.writeback ? InitFlag.WRITEBACK_CACHE : 0) |
    (options.accessTimes === "always" ? 0 : InitFlag.CACHE_SYMLINKS);
  const flags = (wanted | chosen) & offered;
  const flags2 = (options.isAlone ? 0 : InitFlag2.DIRECT_IO_ALLOW_MMAP) & offered2;
  if ((flags & NEEDED) !== NEEDED) return -EPROTO;
  InitOut.maxReadahead.set(out, body, InitIn.maxReadahead.get(view, BODY));
  InitOut.flags.set(out, body, flags >>> 0);
  InitOut.flags2.set(out, body, flags2);
  InitOut.maxBackground.set(out, body, BACKGROUND_MAX);
  InitOut.congestionThreshold.set(out, body, (BACKGROUND_MAX * 3) / 4);
  InitOut.maxWrite.set(out, body, TRANSFER_BYTES_MAX);
  InitOut.maxPages.set(out, body, TRANSFER_BYTES_MAX / 4096);
  InitOut.timeGranularity.set(out, body, 1);
  return InitOut.structure.size;
}

const NEEDED =
  InitFlag.BIG_WRITES | InitFlag.DONT_MASK | InitFlag.MAX_PAGES | InitFlag.SETXATTR_EXT;
const ALWAYS =
  NEEDED |
  InitFlag.ASYNC_READ |
  InitFlag.ATOMIC_O_TRUNC |
  InitFlag.EXPORT_SUPPORT |
  InitFlag.DO_READDIRPLUS |
  InitFlag.READDIRPLUS_AUTO |
  InitFlag.PARALLEL_DIROPS |
  InitFlag.POSIX_ACL |
  InitFlag.HANDLE_KILLPRIV_V2 |
  InitFlag.INIT_EXT;
