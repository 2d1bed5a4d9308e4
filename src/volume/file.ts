/**
 * Open files.
 *
 * A handle has one counted reference of its inode. It keeps it, also after `close()`, while an
 * operation of it runs, a window of it is open or a pin of it is held (`#uses`): what is counted is
 * in JavaScript because all of these are this thread's own; when the thread dies, the reference and
 * the pins are found in its tables.
 */
import { type ErrorContext, HoldfastError, withContext } from "../base/errors.ts";
import { truncateFile } from "../dax/layout-change.ts";
import { type Pin, pinLongTerm, pinRange, pinRanges, tryPinRange } from "../dax/pins.ts";
import { cloneRange, dedupeRange } from "../dax/reflink.ts";
import { LeaseKind, requestLease } from "../layout/lease.ts";
import type { SleepOptions, Sleeps, Task } from "../sync/sleep.ts";
import {
  checkBytes,
  checkInteger,
  checkMode,
  checkOwner,
  checkTime,
  checkWaitOptions,
  type WaitOptions,
  wrongType,
} from "./arguments.ts";
import { readAt, tryRead, tryWrite, writeAt } from "./access.ts";
import { changeMode, changeOwner, changeTimes } from "./attributes.ts";
import type { AttributeName, AttributeValue, SetAttributeOptions } from "./extended-attributes.ts";
import * as extended from "./extended-attributes.ts";
import type { OpenThing, Operation, VolumeCore } from "./core.ts";
import * as extents from "./extents.ts";
import { checkFallocateMode, type FallocateMode } from "./fallocate.ts";
import { type FileHolders, holdersOf } from "./holders.ts";
import type { InodeReference } from "./inode-reference.ts";
import { changing, isKnownToKernels, recallPages } from "./kernel-pages.ts";
import { assertNotMarked } from "./marks.ts";
import { isDirectory, type OpenFlags } from "./names.ts";
import { checkLeaseOptions, FileLease, type LeaseOptions, returnIfGone } from "./lease.ts";
import { FilePin, type PinOptions, type PinRequest } from "./pin.ts";
import { readStats, type Stats } from "./stats.ts";
import { type Reclaimed, type ReclaimOptions, reclaimRange } from "./reclaim.ts";
import { type SeekTarget, seekFrom } from "./seek.ts";
import { checkRangePair, type CloneOptions, type DedupeOptions } from "./sharing.ts";
import { FileSync, writeBackFile } from "./sync.ts";
import { readWhole, writeWhole } from "./whole-file.ts";
import { checkMapOptions, FileWindow, type MapOptions, showRange } from "./window.ts";

/** An open file. Made by `Volume.open`; used in the thread that opened it. */
export class FileHandle implements OpenThing, Disposable, AsyncDisposable {
  /** The inode's number. */
  readonly ino: number;
  /** The path it was opened by. */
  readonly path: string;
  readonly #core: VolumeCore;
  readonly #inode: InodeReference;
  readonly #flags: OpenFlags;
  #uses = 0;
  /** Asynchronous operations among the uses: `close` waits for them. */
  #running = 0;
  #closed = false;
  #whenIdle: (() => void) | null = null;
  /** Made once: what a use gives back. */
  readonly #endUse = (): void => {
    this.#uses--;
    if (this.#closed && this.#uses === 0) this.#inode.release();
  };

  /** Use `Volume.open`. */
  constructor(core: VolumeCore, inode: InodeReference, flags: OpenFlags, path: string) {
    this.#core = core;
    this.#inode = inode;
    this.#flags = flags;
    this.ino = inode.ino;
    this.path = path;
    core.open.add(this);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** One more use of the inode. Throws: EBADF after `close()`; EIO when the device is gone. */
  #use(syscall: string): void {
    if (this.#closed) throw this.#error("EBADF", "the file is closed", syscall);
    this.#core.assertPresent(this.#context(syscall));
    this.#uses++;
  }

  #error(code: "EBADF" | "EINVAL" | "EOPNOTSUPP", message: string, syscall: string): HoldfastError {
    return new HoldfastError(code, message, { syscall, path: this.path });
  }

  /** Throws: EXDEV when this is not a file of the volume whose other files a call is about. */
  #assertOf(core: VolumeCore, syscall: string): void {
    if (this.#core === core) return;
    throw new HoldfastError("EXDEV", "the files are of different volumes", this.#context(syscall));
  }

  #context(syscall: string): ErrorContext {
    return { syscall, path: this.path };
  }

  #runSync<T>(syscall: string, operation: Operation<T>, options?: SleepOptions): T {
    this.#use(syscall);
    try {
      return this.#core.runSync(this.#context(syscall), operation, options);
    } finally {
      this.#endUse();
    }
  }

  async #runAsync<T>(syscall: string, operation: Operation<T>, options?: SleepOptions): Promise<T> {
    this.#use(syscall);
    this.#running++;
    try {
      return await this.#core.runAsync(this.#context(syscall), operation, options);
    } finally {
      this.#endUse();
      if (--this.#running === 0) this.#whenIdle?.();
    }
  }

  /** Throws: EISDIR, and EBADF for what the open mode does not allow. */
  #assertMode(mode: "read" | "write", syscall: string): void {
    if (!this.#flags[mode]) {
      const message = `the file was not opened for ${mode === "read" ? "reading" : "writing"}`;
      throw this.#error("EBADF", message, syscall);
    }
    if (this.#inode.isDirectory) throw isDirectory();
  }

  /** Whether reading or writing may be tried at once, without an operation: nothing is to be refused. */
  #mayTry(mode: "read" | "write"): boolean {
    return !this.#closed && this.#flags[mode] && !this.#inode.isDirectory && !this.#core.closing;
  }

  *#changing<T>(task: Task, work: Sleeps<T>): Sleeps<T> {
    yield* assertNotMarked(task, this.#core, this.#inode, false);
    return yield* changing(task, this.#core, this.#inode, work);
  }

  #readAt(target: Uint8Array, position: number): Operation<number> {
    checkBytes("target", target);
    checkInteger("position", position);
    return (task) => {
      this.#assertMode("read", "read");
      return readAt(task, this.#core, this.#inode, this.#flags, target, position);
    };
  }

  /**
   * Reads from byte `position` into `target`, by copy. Answers the bytes read: 0 at the end.
   * Sleeps: while somebody writes the file. Throws: EBADF, EISDIR, EUCLEAN for a damaged file.
   */
  async read(target: Uint8Array, position: number, options?: WaitOptions): Promise<number> {
    return this.#runAsync("read", this.#readAt(target, position), checkWaitOptions(options));
  }

  readSync(target: Uint8Array, position: number, options?: WaitOptions): number {
    checkBytes("target", target);
    checkInteger("position", position);
    if (this.#mayTry("read") && options === undefined) {
      const count = tryRead(this.#core, this.#inode, target, position);
      if (count >= 0) return count;
    }
    return this.#runSync("read", this.#readAt(target, position), checkWaitOptions(options));
  }

  #writeAt(source: Uint8Array, position: number): Operation<number> {
    checkBytes("source", source);
    checkInteger("position", position);
    return (task) => {
      this.#assertMode("write", "write");
      return writeAt(task, this.#core, this.#inode, this.#flags, source, position);
    };
  }

  /**
   * Writes `source` at byte `position`, by copy; at the end, whatever `position` says, if the file was
   * opened for appending. Answers the bytes written: fewer when the volume filled up, or `options` ended it, on the way.
   * Sleeps: while somebody uses the file. Throws: EBADF, EFBIG, ENOSPC.
   */
  async write(source: Uint8Array, position: number, options?: WaitOptions): Promise<number> {
    return this.#runAsync("write", this.#writeAt(source, position), checkWaitOptions(options));
  }

  writeSync(source: Uint8Array, position: number, options?: WaitOptions): number {
    checkBytes("source", source);
    checkInteger("position", position);
    if (this.#mayTry("write") && !this.#flags.append && options === undefined) {
      const count = tryWrite(this.#core, this.#inode, source, position);
      if (count >= 0) return count;
    }
    return this.#runSync("write", this.#writeAt(source, position), checkWaitOptions(options));
  }

  #readAll(): Operation<Uint8Array> {
    return (task) => {
      this.#assertMode("read", "read");
      return readWhole(task, this.#core, this.#inode, this.#flags);
    };
  }

  /** The whole file, copied. */
  async readFile(options?: WaitOptions): Promise<Uint8Array> {
    return this.#runAsync("read", this.#readAll(), checkWaitOptions(options));
  }

  readFileSync(options?: WaitOptions): Uint8Array {
    return this.#runSync("read", this.#readAll(), checkWaitOptions(options));
  }

  #writeAll(data: string | Uint8Array): Operation<void> {
    const source = typeof data === "string" ? Buffer.from(data) : checkBytes("data", data);
    return (task) => {
      this.#assertMode("write", "write");
      return writeWhole(task, this.#core, this.#inode, this.#flags, source);
    };
  }

  /** Makes `data` the file's content (appends it, if the file was opened so). Throws: ENOSPC. */
  async writeFile(data: string | Uint8Array, options?: WaitOptions): Promise<void> {
    return this.#runAsync("write", this.#writeAll(data), checkWaitOptions(options));
  }

  writeFileSync(data: string | Uint8Array, options?: WaitOptions): void {
    this.#runSync("write", this.#writeAll(data), checkWaitOptions(options));
  }

  #truncateTo(size: number): Operation<void> {
    checkInteger("size", size);
    return (task) => {
      if (!this.#flags.write) {
        throw this.#error("EINVAL", "the file was not opened for writing", "ftruncate");
      }
      return this.#changing(task, truncateFile(task, this.#core.dax, this.#inode.mapping, size));
    };
  }

  /**
   * Sets the file's size in bytes. Down: what lies beyond is freed, after the last pin of it is
   * released; windows over it are revoked. Up: a hole.
   * Sleeps: for pins, without limit; end it with a signal or timeoutMs (then the file is as it was,
   * and the error names who holds the pins). Throws: EINVAL when not opened for writing, EFBIG.
   */
  async truncate(size: number, options?: WaitOptions): Promise<void> {
    return this.#runAsync("ftruncate", this.#truncateTo(size), checkWaitOptions(options));
  }

  truncateSync(size: number, options?: WaitOptions): void {
    this.#runSync("ftruncate", this.#truncateTo(size), checkWaitOptions(options));
  }

  #fallocateRange(mode: FallocateMode, offset: number, length: number): Operation<void> {
    const change = checkFallocateMode(mode);
    checkInteger("offset", offset);
    checkInteger("length", length, 1);
    return (task) => {
      this.#assertMode("write", "fallocate");
      return change(task, this.#core, this.#inode, offset, length);
    };
  }

  /**
   * Changes how [offset, offset + length) is backed, as fallocate(2). "allocate" and "keep-size" give
   * it blocks, "punch-hole" takes them away, "zero-range" empties them, "collapse-range" and
   * "insert-range" (whole blocks only) move what follows, "unshare-range" copies what other files own,
   * too, and gives blocks to the rest. All but the first two wait for pins and revoke windows, as
   * `truncate` does. Throws: EBADF, EINVAL, EFBIG, ENOSPC; EOPNOTSUPP for "unshare-range" where the
   * format cannot share blocks, and for all but "punch-hole" of a file that has block pointers, not
   * extents, as those of ext2 and ext3.
   */
  async fallocate(
    mode: FallocateMode,
    offset: number,
    length: number,
    options?: WaitOptions,
  ): Promise<void> {
    const operation = this.#fallocateRange(mode, offset, length);
    return this.#runAsync("fallocate", operation, checkWaitOptions(options));
  }

  fallocateSync(mode: FallocateMode, offset: number, length: number, options?: WaitOptions): void {
    const operation = this.#fallocateRange(mode, offset, length);
    this.#runSync("fallocate", operation, checkWaitOptions(options));
  }

  /** The other file of a call on two, kept in use while the call runs. */
  #withOther<T>(source: FileHandle, syscall: string, operation: Operation<T>): Operation<T> {
    if (!(source instanceof FileHandle)) throw wrongType("source", "an open file", source);
    const file = this;
    return function* (task) {
      source.#assertOf(file.#core, syscall);
      source.#use(syscall);
      try {
        source.#assertMode("read", syscall);
        file.#assertMode("write", syscall);
        return yield* operation(task);
      } finally {
        source.#endUse();
      }
    };
  }

  #clone(source: FileHandle, options: CloneOptions): Operation<number> {
    const range = checkRangePair(options, null);
    return this.#withOther(source, "ioctl", (task) => {
      const [from, to] = [source.#inode.mapping, this.#inode.mapping];
      return this.#changing(task, cloneRange(task, this.#core.dax, from, to, range));
    });
  }

  /**
   * Has this file own the blocks of a range of `source`, too, in the place of its own, as the FICLONE
   * and FICLONERANGE ioctls: no byte is copied, and whichever file is written first gets a copy then. By
   * default all of the source, at byte 0. The range is whole blocks, but for the end of the source where
   * this file does not go on. This file grows as needed. Answers the bytes cloned.
   * Sleeps: for pins of both ranges, and for both files. Throws: EOPNOTSUPP where the format cannot share
   * blocks; EXDEV, EINVAL, EBADF, EFBIG, EROFS; EBUSY on systems without userfaultfd while a window
   * that writes shows a part of either range: nothing has changed then. ENOSPC: a part from the
   * range's start may have been cloned.
   */
  async cloneRange(source: FileHandle, options: CloneOptions = {}): Promise<number> {
    return this.#runAsync("ioctl", this.#clone(source, options), checkWaitOptions(options));
  }

  cloneRangeSync(source: FileHandle, options: CloneOptions = {}): number {
    return this.#runSync("ioctl", this.#clone(source, options), checkWaitOptions(options));
  }

  #dedupe(source: FileHandle, options: DedupeOptions): Operation<boolean> {
    const range = checkRangePair(options, options.length);
    return this.#withOther(source, "ioctl", (task) => {
      const target = this.#inode.mapping;
      return dedupeRange(task, this.#core.dax, source.#inode.mapping, target, range);
    });
  }

  /**
   * Has two ranges that hold the same bytes own the same blocks, those of `source`, as the FIDEDUPERANGE
   * ioctl: compared while nobody can change them. Answers whether they are the same; if not, nothing
   * changes. Sleeps and throws: as `cloneRange`.
   */
  async dedupeRange(source: FileHandle, options: DedupeOptions): Promise<boolean> {
    return this.#runAsync("ioctl", this.#dedupe(source, options), checkWaitOptions(options));
  }

  dedupeRangeSync(source: FileHandle, options: DedupeOptions): boolean {
    return this.#runSync("ioctl", this.#dedupe(source, options), checkWaitOptions(options));
  }

  async stat(): Promise<Stats> {
    return this.#runAsync("fstat", (task) => readStats(task, this.#core, this.#inode));
  }

  statSync(): Stats {
    return this.#runSync("fstat", (task) => readStats(task, this.#core, this.#inode));
  }

  /** Where the file's bytes lie, as FIEMAP tells it: what has blocks, in order. Throws: EISDIR, EUCLEAN. */
  async extents(range?: extents.ExtentRange): Promise<extents.FileExtent[]> {
    return this.#runAsync("fiemap", extents.fileExtents(this.#core, this.#inode, range));
  }

  extentsSync(range?: extents.ExtentRange): extents.FileExtent[] {
    return this.#runSync("fiemap", extents.fileExtents(this.#core, this.#inode, range));
  }

  /**
   * The first byte from `position` on that is data, or lies in a hole, as lseek(2) finds it: what is unwritten is
   * a hole, and so is the file's end. Throws: ENXIO at and behind the end, and where no data follows; EISDIR.
   */
  async seek(position: number, target: SeekTarget): Promise<number> {
    return this.#runAsync("lseek", seekFrom(this.#core, this.#inode, position, target));
  }

  seekSync(position: number, target: SeekTarget): number {
    return this.#runSync("lseek", seekFrom(this.#core, this.#inode, position, target));
  }

  async chmod(mode: number | string): Promise<void> {
    const bits = checkMode("mode", mode, 0);
    return this.#runAsync("fchmod", (task) => changeMode(task, this.#core, this.#inode, bits));
  }

  chmodSync(mode: number | string): void {
    const bits = checkMode("mode", mode, 0);
    this.#runSync("fchmod", (task) => changeMode(task, this.#core, this.#inode, bits));
  }

  #owner(uid: number, gid: number): Operation<void> {
    const [user, group] = [checkOwner("uid", uid), checkOwner("gid", gid)];
    return (task) => changeOwner(task, this.#core, this.#inode, user, group);
  }

  async chown(uid: number, gid: number): Promise<void> {
    return this.#runAsync("fchown", this.#owner(uid, gid));
  }

  chownSync(uid: number, gid: number): void {
    this.#runSync("fchown", this.#owner(uid, gid));
  }

  #times(atime: number | string | Date, mtime: number | string | Date): Operation<void> {
    const [access, modify] = [checkTime("atime", atime), checkTime("mtime", mtime)];
    return (task) => changeTimes(task, this.#core, this.#inode, access, modify);
  }

  async utimes(atime: number | string | Date, mtime: number | string | Date): Promise<void> {
    return this.#runAsync("futime", this.#times(atime, mtime));
  }

  utimesSync(atime: number | string | Date, mtime: number | string | Date): void {
    this.#runSync("futime", this.#times(atime, mtime));
  }

  /** An extended attribute, as `Volume.getxattr`; so the three below. The file may be open in any way. */
  async getxattr(name: AttributeName): Promise<Uint8Array> {
    return this.#runAsync("fgetxattr", extended.getAttribute(name)(this.#core, this.#inode));
  }

  getxattrSync(name: AttributeName): Uint8Array {
    return this.#runSync("fgetxattr", extended.getAttribute(name)(this.#core, this.#inode));
  }

  async setxattr(
    name: AttributeName,
    value: AttributeValue,
    options?: SetAttributeOptions,
  ): Promise<void> {
    const operation = extended.setAttribute(name, value, options)(this.#core, this.#inode);
    return this.#runAsync("fsetxattr", operation);
  }

  setxattrSync(name: AttributeName, value: AttributeValue, options?: SetAttributeOptions): void {
    const operation = extended.setAttribute(name, value, options)(this.#core, this.#inode);
    this.#runSync("fsetxattr", operation);
  }

  async listxattr(): Promise<string[]> {
    return this.#runAsync("flistxattr", extended.listAttributes(this.#core, this.#inode));
  }

  listxattrSync(): string[] {
    return this.#runSync("flistxattr", extended.listAttributes(this.#core, this.#inode));
  }

  async removexattr(name: AttributeName): Promise<void> {
    return this.#runAsync("fremovexattr", extended.removeAttribute(name)(this.#core, this.#inode));
  }

  removexattrSync(name: AttributeName): void {
    this.#runSync("fremovexattr", extended.removeAttribute(name)(this.#core, this.#inode));
  }

  /**
   * Shows a range of the file as memory: `bytes` of the window is the file, and stores of all threads
   * that have it mapped meet there. Pages come in as they are touched.
   * I/O (an asynchronous read into the memory, a socket) goes through `pin` instead.
   * Blocks, briefly: for layout changes of the file, and at a volume's first window for its pager.
   * Throws: EBADF, EINVAL, EROFS, ENOMEM, ENFILE.
   */
  map(options: MapOptions = {}): FileWindow {
    return this.#runSync("mmap", this.#mapRange(options));
  }

  /** As `map`; waits for layout changes without blocking. */
  async mapAsync(options: MapOptions = {}): Promise<FileWindow> {
    return this.#runAsync("mmap", this.#mapRange(options));
  }

  #mapRange(options: MapOptions): Operation<FileWindow> {
    const range = checkMapOptions(options, this.#flags.write);
    const file = this;
    return function* (task) {
      file.#assertMode("read", "mmap");
      if (range.writable) file.#assertMode("write", "mmap");
      yield* recallPages(task, file.#core, file.#inode, range.writable);
      const window = yield* showRange(task, file.#core, file.#inode.mapping, range);
      file.#uses++;
      return new FileWindow(file.#core, window, file.path, file.#endUse);
    };
  }

  #assertPin(offset: number, length: number, write: boolean): void {
    checkInteger("offset", offset);
    checkInteger("length", length, 1);
    this.#assertMode("read", "pin");
    if (write) this.#assertMode("write", "pin");
  }

  /** The pin, if nothing is missing and nobody is in the way. Never sleeps. */
  #tryPin(offset: number, length: number, write: boolean): FilePin | null {
    if (this.#closed) throw this.#error("EBADF", "the file is closed", "pin");
    this.#assertPin(offset, length, write);
    if (this.#core.closing || isKnownToKernels(this.#core, this.#inode)) return null;
    const pin = tryPinRange(this.#core.dax, this.#inode.mapping, offset, length, write);
    if (pin === null) return null;
    this.#uses++;
    return new FilePin(this.#core, pin, this.#endUse);
  }

  #pinSlow(offset: number, length: number, write: boolean): Operation<FilePin> {
    const file = this;
    return function* (task) {
      const { mapping } = file.#inode;
      yield* recallPages(task, file.#core, file.#inode, write);
      const pin: Pin = yield* pinRange(task, file.#core.dax, mapping, offset, length, write);
      file.#uses++;
      return new FilePin(file.#core, pin, file.#endUse);
    };
  }

  #pinLongTerm(offset: number, length: number, options: PinOptions): Operation<FilePin> {
    const { mapping } = this.#inode;
    const { lease, write = false } = options;
    this.#assertPin(offset, length, write);
    if (lease === undefined) {
      const message =
        "a long-term pin would keep layout changes waiting without end; pass a lease of the range, " +
        "which can be recalled";
      throw this.#error("EOPNOTSUPP", message, "pin");
    }
    if (!(lease instanceof FileLease)) throw wrongType("options.lease", "a FileLease", lease);
    const file = this;
    return function* (task) {
      yield* recallPages(task, file.#core, file.#inode, write);
      const under = lease.forPin(mapping, offset, length);
      const pin = yield* pinLongTerm(task, file.#core.dax, mapping, under, offset, length, write);
      const endHold = lease.holdPin();
      file.#uses++;
      return new FilePin(file.#core, pin, () => {
        endHold();
        file.#endUse();
      });
    };
  }

  /**
   * Pins [offset, offset + length), inside the file: its storage as buffers, safe for I/O until
   * `release()` (or `using`). Until then no layout change takes the blocks away: who wants to, waits.
   * So a pin is for as long as an I/O takes; one for longer is `longTerm` and needs a lease.
   * Holes get blocks; what other files own, too, is copied, also to read. Sleeps: to find or copy pages
   * (then for leases, too), and while a layout change that has waited long goes first.
   * Throws: EOPNOTSUPP for a long-term pin without a lease; EBADF, EINVAL outside the file or the lease,
   * EROFS, ENOSPC, ENOMEM where the page cache is full; EBUSY, ESTALE for a recalled, expired lease.
   */
  async pin(offset: number, length: number, options?: PinOptions): Promise<FilePin> {
    const pin = this.#pinning(offset, length, options);
    if (pin instanceof FilePin) return pin;
    return this.#runAsync("pin", pin, checkWaitOptions(options));
  }

  pinSync(offset: number, length: number, options?: PinOptions): FilePin {
    const pin = this.#pinning(offset, length, options);
    if (pin instanceof FilePin) return pin;
    return this.#runSync("pin", pin, checkWaitOptions(options));
  }

  /** The pin, or what it takes to get it. */
  #pinning(offset: number, length: number, options?: PinOptions): FilePin | Operation<FilePin> {
    if (options?.longTerm === true) return this.#pinLongTerm(offset, length, options);
    const write = options?.write ?? false;
    return this.#tryPin(offset, length, write) ?? this.#pinSlow(offset, length, write);
  }

  /** Use `Volume.pinAll`. */
  static pinAll(core: VolumeCore, requests: readonly PinRequest[]): Operation<FilePin[]> {
    const ranges = requests.map(({ file, offset, length, write = false }, at) => {
      if (!(file instanceof FileHandle))
        throw wrongType(`ranges[${at}].file`, "an open file", file);
      file.#assertOf(core, "pin");
      file.#assertPin(offset, length, write);
      return { file, mapping: file.#inode.mapping, offset, length, write };
    });
    return function* (task) {
      let used = 0;
      try {
        for (; used < ranges.length; used++) ranges[used]!.file.#use("pin");
        for (const { file, write } of ranges) yield* recallPages(task, core, file.#inode, write);
        const pins: Pin[] = yield* pinRanges(task, core.dax, ranges);
        for (const { file } of ranges) file.#uses++;
        return pins.map((pin, at) => new FilePin(core, pin, ranges[at]!.file.#endUse));
      } finally {
        while (used > 0) ranges[--used]!.file.#endUse();
      }
    };
  }

  /** Who holds the file now, and where. Never waits. Throws: EBADF. */
  holders(): FileHolders {
    if (this.#closed) throw this.#error("EBADF", "the file is closed", "holders");
    return holdersOf(this.#core, this.#inode.mapping, this.ino, 0);
  }

  #request(options: LeaseOptions, returnsOwn: boolean): Operation<FileLease> {
    const range = checkLeaseOptions(options);
    const { mapping } = this.#inode;
    const file = this;
    return function* (task) {
      file.#assertMode(range.kind === LeaseKind.exclusive ? "write" : "read", "lease");
      const lease = yield* requestLease(task, mapping, { ...range, returnsOwn });
      returnIfGone(file.#core, lease);
      file.#uses++;
      return new FileLease(file.#core, mapping, lease, range, options.onRecall, file.#endUse);
    };
  }

  /**
   * A lease of a range of the file: the right to rely on its layout until it is recalled. Recalls the
   * leases that conflict with it, of this thread too, and waits for their return; and for requests
   * that came before. The file stays in use until the lease is released, also after `close()`.
   * Sleeps: for that; each recall lasts at most its holder's grace. Throws: EBADF, for "exclusive" also
   * when not opened for writing; EISDIR, ENOMEM.
   */
  async lease(options: LeaseOptions = {}): Promise<FileLease> {
    return this.#runAsync("lease", this.#request(options, true), checkWaitOptions(options));
  }

  /** As `lease`, blocking. Throws: EDEADLK when a lease of this thread is in the way. */
  leaseSync(options: LeaseOptions = {}): FileLease {
    return this.#runSync("lease", this.#request(options, false), checkWaitOptions(options));
  }

  #reclaim(options: ReclaimOptions): Operation<Reclaimed> {
    this.#assertMode("read", "reclaim");
    return reclaimRange(this.#core, this.#inode.mapping, options);
  }

  /**
   * Takes a range of the file out of memory, with the file as it was: its page records, and what windows
   * show of it; touches and pins bring it back. It goes by 2 MiB, and leaves those that are pinned; with
   * `wait` it waits for them. For who maps more than there are page records or mappings for.
   * Sleeps: briefly, for layout changes; with `wait`, for pins. Throws: EBADF, EISDIR.
   */
  async reclaim(options: ReclaimOptions = {}): Promise<Reclaimed> {
    return this.#runAsync("reclaim", this.#reclaim(options), checkWaitOptions(options));
  }

  reclaimSync(options: ReclaimOptions = {}): Reclaimed {
    return this.#runSync("reclaim", this.#reclaim(options), checkWaitOptions(options));
  }

  /**
   * Puts what was written to the file, in whatever way, and the volume's metadata, on the medium. Programs that
   * have mapped the file, through a kernel mount, see it. Sleeps: for the storage. Throws: EIO.
   */
  async sync(): Promise<void> {
    await this.#runAsync("fsync", (task) => writeBackFile(task, this.#core, this.#inode));
    if (!this.#core.readOnly) await this.#core.persistMetadata(this.#context("fsync"));
  }

  syncSync(): void {
    const sync = new FileSync(this.#core, this.#inode);
    this.#runSync("fsync", (task) => sync.writeBack(task));
    sync.persistMetadata(this.#context("fsync"));
  }

  #close(): void {
    this.#closed = true;
    this.#core.open.delete(this);
    if (this.#uses === 0) this.#inode.release();
  }

  /**
   * Closes the handle, after the operations that run; closing twice does nothing. Windows and pins
   * stay until they are closed themselves. The last close of a file without a name frees it.
   */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#close();
    if (this.#running > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    try {
      await this.#core.settle();
    } catch (error) {
      throw withContext(error, this.#context("close"));
    }
  }

  closeSync(): void {
    if (this.#closed) return;
    this.#close();
    try {
      this.#core.settleSync();
    } catch (error) {
      throw withContext(error, this.#context("close"));
    }
  }

  [Symbol.dispose](): void {
    this.closeSync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
