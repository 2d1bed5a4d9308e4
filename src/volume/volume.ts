/** A mounted volume, as programs see it. */
import { type ErrorContext, HoldfastError } from "../base/errors.ts";
import { requireSharing } from "../dax/reflink.ts";
import { writeBackCopied } from "../dax/write-back.ts";
import type { Device } from "../device/index.ts";
import { checkWaitOptions, pathText, type WaitOptions, wrongValue } from "./arguments.ts";
import type { Assembled } from "./assemble.ts";
import * as calls from "./calls.ts";
import type {
  Call,
  FollowSymlinks,
  MkdirOptions,
  MknodOptions,
  OpenMode,
  OpenOptions,
  PathLike,
  SpecialType,
} from "./calls.ts";
import { detach, forgetAtExit, rememberAtExit, unmount, unmountSync } from "./close.ts";
import type { Operation, VolumeCore } from "./core.ts";
import type { AttributeName, AttributeValue, SetAttributeOptions } from "./extended-attributes.ts";
import { VolumeFailure } from "./failure.ts";
import { discardFreed, discardFreedAsync, trim, type TrimOptions, trimSync } from "./discard.ts";
import { FileHandle } from "./file.ts";
import { type GrowOptions, grow, growSync } from "./grow.ts";
import { makeFs, type VolumeFs } from "./fs/face.ts";
import type { VolumeHandle } from "./handle.ts";
import type { FileHolders } from "./holders.ts";
import { blockOwners, type DeviceOwner, type DeviceRange } from "./owners.ts";
import { Scope } from "./paths.ts";
import type { FilePin, PinRequest } from "./pin.ts";
import { type VolumeStatistics, volumeStatistics } from "./statistics.ts";
import { type DirectoryEntry, type Stats, textOfName, type VolumeSpace } from "./stats.ts";
import { updateSuperblock } from "./sync.ts";
import { VolumeTrace } from "./trace.ts";

/** Seconds since 1970 (fractions allowed), or a Date. */
export type TimeLike = number | string | Date;

/** The operations' answers that need a second look at the arguments. */
export interface ReaddirOptions {
  readonly withFileTypes?: boolean;
}

/** Throws: EINVAL for a file that would be emptied to become a clone of itself. */
function assertOther(source: FileHandle, target: Stats): void {
  if (source.ino !== target.ino) return;
  const context = { syscall: "reflink", path: source.path };
  throw new HoldfastError("EINVAL", "a file is not cloned into itself", context);
}

/**
 * A mounted volume. Its paths begin at its root, with a slash or without. Every operation has a form
 * that returns a promise and one, ending in Sync, that blocks the thread while it waits. Errors have
 * `code`, `errno`, `syscall` and `path`, as Node's own.
 *
 * Permission bits and access control lists are kept and not enforced: whoever can open the image can do everything. Reading
 * does not change access times.
 */
export class Volume implements Disposable, AsyncDisposable {
  /** "ext2", "ext3", "ext4", "ram", or "raw". */
  readonly type: string;
  readonly label: string;
  readonly uuid: string;
  /** What the volume's threads do, event by event. Off until it is started. */
  readonly trace: VolumeTrace;
  /** Loss of what the storage holds: reports of it, and who is told. */
  readonly failure: VolumeFailure;
  readonly #core: VolumeCore;
  readonly #device: Device;
  readonly #handle: VolumeHandle;
  readonly #isMounter: boolean;
  readonly #onClosed: () => void;
  #closing: Promise<void> | null = null;
  #fs: VolumeFs | null = null;

  /** Use `mount` or `attach`. */
  constructor(assembled: Assembled, isMounter: boolean, onClosed: () => void) {
    const { core, device, handle } = assembled;
    this.#core = core;
    this.#device = device;
    this.#handle = handle;
    this.#isMounter = isMounter;
    this.#onClosed = onClosed;
    this.failure = new VolumeFailure(core);
    this.type = core.driver.type;
    this.label = core.driver.label;
    this.uuid = core.driver.uuid;
    this.trace = new VolumeTrace(core.thread.region);
    if (isMounter) rememberAtExit(core);
  }

  get closed(): boolean {
    return this.#core.closed;
  }

  /** The volume as programs know a filesystem: node:fs, in all its forms. See docs/fs.md. */
  get fs(): VolumeFs {
    this.#fs ??= makeFs(this.#core);
    return this.#fs;
  }

  get readOnly(): boolean {
    return this.readOnlyReason !== null;
  }

  /** Bytes of the volume: fewer than its device has where that is larger. */
  get size(): number {
    const { driver, dax } = this.#core;
    return driver.growth?.size ?? dax.device.size;
  }

  /** Why nothing can be changed, or null. */
  get readOnlyReason(): string | null {
    const { journal } = this.#core.cache;
    return this.#handle.readOnlyReason ?? (journal?.isAborted ? journal.abortedReason : null);
  }

  #sync<T>({ context, run, options }: Call<T>): T {
    return this.#core.runSync(context, this.#operation(run), options);
  }

  #async<T>({ context, run, options }: Call<T>): Promise<T> {
    return this.#core.runAsync(context, this.#operation(run), options);
  }

  #operation<T>(run: Call<T>["run"]): Operation<T> {
    // A generator function made for each call would cost more than most calls.
    return (task) => calls.runScoped(this.#core, task, run);
  }

  /**
   * What other threads of this process need to use the volume: post it to them, and `attach` it there.
   * Starts the thread that serves windows.
   */
  share(): VolumeHandle {
    this.#core.pager?.start();
    return this.#handle;
  }

  /**
   * Opens a file or directory. `flags` as in Node; `mode`: permission bits of a file that is made.
   * "w" truncates, and so waits for pins of the file: end the wait with a signal or timeoutMs.
   * Throws: ENOENT, EEXIST, EISDIR, ENOTDIR, ELOOP, EROFS, EPERM, ENOSPC, ENXIO for what is not a file.
   */
  async open(
    path: PathLike,
    flags: OpenMode = "r",
    mode?: number | string,
    options?: OpenOptions,
  ): Promise<FileHandle> {
    const parsed = calls.parseOpenMode(flags, options);
    const inode = await this.#async(calls.open(path, parsed, mode, options));
    return new FileHandle(this.#core, inode, parsed, pathText(path));
  }

  openSync(
    path: PathLike,
    flags: OpenMode = "r",
    mode?: number | string,
    options?: OpenOptions,
  ): FileHandle {
    const parsed = calls.parseOpenMode(flags, options);
    const inode = this.#sync(calls.open(path, parsed, mode, options));
    return new FileHandle(this.#core, inode, parsed, pathText(path));
  }

  /** A file's whole content: bytes, or text with "utf8". */
  async readFile(path: PathLike): Promise<Uint8Array>;
  async readFile(path: PathLike, encoding: "utf8"): Promise<string>;
  async readFile(path: PathLike, encoding?: "utf8"): Promise<Uint8Array | string> {
    await using file = await this.open(path, "r");
    return decoded(await file.readFile(), encoding);
  }

  readFileSync(path: PathLike): Uint8Array;
  readFileSync(path: PathLike, encoding: "utf8"): string;
  readFileSync(path: PathLike, encoding?: "utf8"): Uint8Array | string {
    using file = this.openSync(path, "r");
    return decoded(file.readFileSync(), encoding);
  }

  /** Makes `data` the file's whole content; makes the file if there is none. */
  async writeFile(path: PathLike, data: string | Uint8Array, options?: WaitOptions): Promise<void> {
    await using file = await this.open(path, "w", undefined, options);
    await file.writeFile(data, options);
  }

  writeFileSync(path: PathLike, data: string | Uint8Array, options?: WaitOptions): void {
    using file = this.openSync(path, "w", undefined, options);
    file.writeFileSync(data, options);
  }

  /** A directory's names, without "." and "..", in no order; with their types if asked. */
  async readdir(path: PathLike, options?: { readonly withFileTypes?: false }): Promise<string[]>;
  async readdir(
    path: PathLike,
    options: { readonly withFileTypes: true },
  ): Promise<DirectoryEntry[]>;
  async readdir(path: PathLike, options?: ReaddirOptions): Promise<string[] | DirectoryEntry[]> {
    if (options?.withFileTypes === true) return this.#async(calls.readdirEntries(path));
    return this.#async(calls.readdir(path));
  }

  readdirSync(path: PathLike, options?: { readonly withFileTypes?: false }): string[];
  readdirSync(path: PathLike, options: { readonly withFileTypes: true }): DirectoryEntry[];
  readdirSync(path: PathLike, options?: ReaddirOptions): string[] | DirectoryEntry[] {
    if (options?.withFileTypes === true) return this.#sync(calls.readdirEntries(path));
    return this.#sync(calls.readdir(path));
  }

  /** Makes a directory. With `recursive`: also its parents, and answers the first one made. */
  async mkdir(path: PathLike, options?: MkdirOptions): Promise<string | undefined> {
    return this.#async(calls.mkdir(path, options));
  }

  mkdirSync(path: PathLike, options?: MkdirOptions): string | undefined {
    return this.#sync(calls.mkdir(path, options));
  }

  /** Removes a name of a file. The file goes with its last name and its last user. */
  async unlink(path: PathLike): Promise<void> {
    return this.#async(calls.unlink(path));
  }

  unlinkSync(path: PathLike): void {
    this.#sync(calls.unlink(path));
  }

  /** Removes an empty directory. Throws: ENOTEMPTY, ENOTDIR, EBUSY for the root. */
  async rmdir(path: PathLike): Promise<void> {
    return this.#async(calls.rmdir(path));
  }

  rmdirSync(path: PathLike): void {
    this.#sync(calls.rmdir(path));
  }

  /** Renames, replacing what has the new name: nobody ever finds neither. Throws: EINVAL into itself. */
  async rename(from: PathLike, to: PathLike): Promise<void> {
    return this.#async(calls.renamePath(from, to));
  }

  renameSync(from: PathLike, to: PathLike): void {
    this.#sync(calls.renamePath(from, to));
  }

  /** Gives a file another name. */
  async link(existing: PathLike, path: PathLike): Promise<void> {
    return this.#async(calls.link(existing, path));
  }

  linkSync(existing: PathLike, path: PathLike): void {
    this.#sync(calls.link(existing, path));
  }

  /** Makes a device, a FIFO or a socket: a name for others to open, not for this library. */
  async mknod(path: PathLike, type: SpecialType, options?: MknodOptions): Promise<void> {
    return this.#async(calls.mknod(path, type, options));
  }

  mknodSync(path: PathLike, type: SpecialType, options?: MknodOptions): void {
    this.#sync(calls.mknod(path, type, options));
  }

  async symlink(target: PathLike, path: PathLike): Promise<void> {
    return this.#async(calls.symlink(target, path));
  }

  symlinkSync(target: PathLike, path: PathLike): void {
    this.#sync(calls.symlink(target, path));
  }

  async readlink(path: PathLike): Promise<string> {
    return textOfName(await this.#async(calls.readlink(path)));
  }

  readlinkSync(path: PathLike): string {
    return textOfName(this.#sync(calls.readlink(path)));
  }

  async stat(path: PathLike): Promise<Stats> {
    return this.#async(calls.stat(path, true));
  }

  statSync(path: PathLike): Stats {
    return this.#sync(calls.stat(path, true));
  }

  /** As `stat`, of a symlink itself. */
  async lstat(path: PathLike): Promise<Stats> {
    return this.#async(calls.stat(path, false));
  }

  lstatSync(path: PathLike): Stats {
    return this.#sync(calls.stat(path, false));
  }

  /** Whether the path leads to something; false also where the way there fails. */
  async exists(path: PathLike): Promise<boolean> {
    return this.stat(path).then(
      () => true,
      () => false,
    );
  }

  existsSync(path: PathLike): boolean {
    try {
      this.statSync(path);
      return true;
    } catch {
      return false;
    }
  }

  async statfs(): Promise<VolumeSpace> {
    return this.#async(calls.statfs());
  }

  statfsSync(): VolumeSpace {
    return this.#sync(calls.statfs());
  }

  /**
   * Makes an ext volume larger while it is used: to `size` bytes at most, or as large as its device. An image file
   * grows first, as far as the mount has room for (`MountOptions.growTo`). Returns the bytes that the volume has
   * then, when that is durable. After a crash it has its old size, or another one on the way. It is not unmounted meanwhile.
   * Throws: EINVAL for less than it has; EFBIG beyond `growTo`, or the format; EBUSY when another thread does so;
   * ENOSPC where the device, or what holds the image, has no room; EOPNOTSUPP for other volumes; EROFS, EIO.
   */
  async grow(size?: number, options?: GrowOptions): Promise<number> {
    return grow(this.#core, size, options);
  }

  growSync(size?: number, options?: GrowOptions): number {
    return growSync(this.#core, size, options);
  }

  async chmod(path: PathLike, mode: number | string): Promise<void> {
    return this.#async(calls.chmod(path, mode));
  }

  chmodSync(path: PathLike, mode: number | string): void {
    this.#sync(calls.chmod(path, mode));
  }

  /**
   * Sets or clears the flag that asks for direct access (chattr +x) of a file, or of a directory, whose new files
   * and directories then have it. It counts where the volume is mounted with `dax: "inode"`, and takes effect
   * when the file's last user (handle, window, pin) is gone and it is opened again: see `Stats.dax`.
   * Throws: EINVAL for other types, EPERM, EROFS.
   */
  async setDax(path: PathLike, flag: boolean): Promise<void> {
    return this.#async(calls.setDax(path, flag));
  }

  setDaxSync(path: PathLike, flag: boolean): void {
    this.#sync(calls.setDax(path, flag));
  }

  /** Sets owner and group; -1 leaves one as it is. */
  async chown(path: PathLike, uid: number, gid: number): Promise<void> {
    return this.#async(calls.chown(path, uid, gid, true));
  }

  chownSync(path: PathLike, uid: number, gid: number): void {
    this.#sync(calls.chown(path, uid, gid, true));
  }

  async lchown(path: PathLike, uid: number, gid: number): Promise<void> {
    return this.#async(calls.chown(path, uid, gid, false));
  }

  lchownSync(path: PathLike, uid: number, gid: number): void {
    this.#sync(calls.chown(path, uid, gid, false));
  }

  /** Sets access and modification times. */
  async utimes(path: PathLike, atime: TimeLike, mtime: TimeLike): Promise<void> {
    return this.#async(calls.utimes(path, atime, mtime, true));
  }

  utimesSync(path: PathLike, atime: TimeLike, mtime: TimeLike): void {
    this.#sync(calls.utimes(path, atime, mtime, true));
  }

  async lutimes(path: PathLike, atime: TimeLike, mtime: TimeLike): Promise<void> {
    return this.#async(calls.utimes(path, atime, mtime, false));
  }

  lutimesSync(path: PathLike, atime: TimeLike, mtime: TimeLike): void {
    this.#sync(calls.utimes(path, atime, mtime, false));
  }

  /**
   * The value of an extended attribute, by its whole name ("user.comment"). Of a symlink itself with
   * `followSymlinks: false`. Throws: ENODATA where there is none; EOPNOTSUPP for other prefixes than user.,
   * trusted., security. and the two access control lists, and where the format has no attributes.
   */
  async getxattr(
    path: PathLike,
    name: AttributeName,
    options?: FollowSymlinks,
  ): Promise<Uint8Array> {
    return this.#async(calls.getxattr(path, name, options));
  }

  getxattrSync(path: PathLike, name: AttributeName, options?: FollowSymlinks): Uint8Array {
    return this.#sync(calls.getxattr(path, name, options));
  }

  /**
   * Sets an extended attribute. An access control list ("system.posix_acl_access") changes the permission bits
   * with it. Throws: EEXIST, ENODATA by `only`; ENOSPC when they are too many for the inode and its one block of
   * them; E2BIG above 64 KiB; EPERM for user. of what is no file or directory, and for trusted. without being
   * root; EINVAL for an unsound list; EROFS.
   */
  async setxattr(
    path: PathLike,
    name: AttributeName,
    value: AttributeValue,
    options?: FollowSymlinks & SetAttributeOptions,
  ): Promise<void> {
    return this.#async(calls.setxattr(path, name, value, options));
  }

  setxattrSync(
    path: PathLike,
    name: AttributeName,
    value: AttributeValue,
    options?: FollowSymlinks & SetAttributeOptions,
  ): void {
    this.#sync(calls.setxattr(path, name, value, options));
  }

  /** The names of extended attributes, in no order. */
  async listxattr(path: PathLike, options?: FollowSymlinks): Promise<string[]> {
    return this.#async(calls.listxattr(path, options));
  }

  listxattrSync(path: PathLike, options?: FollowSymlinks): string[] {
    return this.#sync(calls.listxattr(path, options));
  }

  /** Removes an extended attribute. Throws: ENODATA where there is none, EPERM as `setxattr`, EROFS. */
  async removexattr(path: PathLike, name: AttributeName, options?: FollowSymlinks): Promise<void> {
    return this.#async(calls.removexattr(path, name, options));
  }

  removexattrSync(path: PathLike, name: AttributeName, options?: FollowSymlinks): void {
    this.#sync(calls.removexattr(path, name, options));
  }

  /** Sets a file's size in bytes; waits for pins as `FileHandle.truncate`. */
  async truncate(path: PathLike, size = 0, options?: WaitOptions): Promise<void> {
    return this.#async(calls.truncate(path, size, options));
  }

  truncateSync(path: PathLike, size = 0, options?: WaitOptions): void {
    this.#sync(calls.truncate(path, size, options));
  }

  /**
   * Who holds a file now, and where: pins, windows and handles of all threads, layout changes under
   * way, and locks. What changes meanwhile is told as it was or as it is.
   * Sleeps: for directories on the path. Throws: ENOENT, ENOTDIR, ELOOP.
   */
  async holders(path: PathLike): Promise<FileHolders> {
    return this.#async(calls.holders(path));
  }

  holdersSync(path: PathLike): FileHolders {
    return this.#sync(calls.holders(path));
  }

  /**
   * Makes `to` a file with the content of `from` that owns the same blocks, replacing what it held; they
   * are copied when one of the two is written. As `cp --reflink=always`.
   * Sleeps and throws: as `FileHandle.cloneRange`, and as `open`. If the clone fails, `to` is left empty.
   */
  async reflink(from: PathLike, to: PathLike, options?: WaitOptions): Promise<void> {
    requireSharing(this.#core.dax);
    await using source = await this.open(from, "r");
    if (await this.exists(to)) assertOther(source, await this.stat(to));
    await using target = await this.open(to, "w", source.statSync().mode & 0o777, options);
    await target.cloneRange(source, options);
  }

  reflinkSync(from: PathLike, to: PathLike, options?: WaitOptions): void {
    requireSharing(this.#core.dax);
    using source = this.openSync(from, "r");
    if (this.existsSync(to)) assertOther(source, this.statSync(to));
    using target = this.openSync(to, "w", source.statSync().mode & 0o777, options);
    target.cloneRangeSync(source, options);
  }

  /**
   * Pins ranges of several files, or several ranges of one: all of them, or none. While it waits for one
   * it holds no other, so that batches and layout changes never wait for each other in a circle.
   * Holes, and blocks that other files own, too: as `FileHandle.pin`, also when it ends with an error.
   * Sleeps and throws: as `FileHandle.pin`; EXDEV for files of other volumes.
   */
  async pinAll(ranges: readonly PinRequest[], options?: WaitOptions): Promise<FilePin[]> {
    const operation = FileHandle.pinAll(this.#core, ranges);
    return this.#core.runAsync({ syscall: "pin" }, operation, checkWaitOptions(options));
  }

  pinAllSync(ranges: readonly PinRequest[], options?: WaitOptions): FilePin[] {
    const operation = FileHandle.pinAll(this.#core, ranges);
    return this.#core.runSync({ syscall: "pin" }, operation, checkWaitOptions(options));
  }

  /**
   * Who has bytes of the device: files, structures of the filesystem. What nobody has (it is free) is left
   * out; what files share has several owners. Where the format keeps no such map (ext) all inodes are
   * searched, in parts, while others go on: what is said of each owner was true when its part was looked
   * at. What is damaged is passed over.
   * Sleeps: for the transaction, for each part. Throws: EFAULT outside the device, EIO, EBADF.
   */
  async blockOwners(range: DeviceRange, options?: WaitOptions): Promise<DeviceOwner[]> {
    const operation = blockOwners(this.#core, range);
    return this.#core.runAsync({ syscall: "blockOwners" }, operation, checkWaitOptions(options));
  }

  blockOwnersSync(range: DeviceRange, options?: WaitOptions): DeviceOwner[] {
    const operation = blockOwners(this.#core, range);
    return this.#core.runSync({ syscall: "blockOwners" }, operation, checkWaitOptions(options));
  }

  /** Figures of the volume, by all threads. What threads that have died held is given back first. */
  statistics(): VolumeStatistics {
    return volumeStatistics(this.#core);
  }

  /** Gives what keeps the volume mounted: an unmount in another thread is refused as long. */
  #flush(): Operation<Disposable> {
    const core = this.#core;
    return function* (task) {
      using scope = new Scope(core, task);
      const root = yield* scope.root();
      if (!core.readOnly) {
        yield* writeBackCopied(task, core.dax);
        yield* updateSuperblock(task, core, "in use");
      }
      return root.again();
    };
  }

  get #context(): ErrorContext {
    return { syscall: "sync", path: this.#device.path };
  }

  /** Puts everything written so far, of all threads, on the medium. Throws: EIO. */
  async sync(options?: WaitOptions): Promise<void> {
    const flush = this.#flush();
    using _mounted = await this.#core.runAsync(this.#context, flush, checkWaitOptions(options));
    if (this.#core.readOnly) return;
    await this.#core.persistMetadata(this.#context);
    await discardFreedAsync(this.#core);
  }

  syncSync(options?: WaitOptions): void {
    const flush = this.#flush();
    using _mounted = this.#core.runSync(this.#context, flush, checkWaitOptions(options));
    if (this.#core.readOnly) return;
    this.#core.persistMetadataSync(this.#context);
    this.#core.runSync(this.#context, (task) => discardFreed(task, this.#core));
  }

  /**
   * Tells the device which blocks are free, those freed before the call among them, as the system's FITRIM does: an image
   * file has holes there then. Returns the bytes told so; those that were told before, and not written since, count as
   * well. Others go on meanwhile; what they free may be left out.
   * Sleeps: for the transaction and the device, in each part. Throws: EOPNOTSUPP where the device does not discard,
   * naming it, and for volumes that are not ext; EINVAL for a range without a block, EROFS, EIO, EUCLEAN.
   */
  async trim(options: TrimOptions = {}): Promise<number> {
    return trim(this.#core, { ...this.#context, syscall: "trim" }, options);
  }

  trimSync(options: TrimOptions = {}): number {
    return trimSync(this.#core, { ...this.#context, syscall: "trim" }, options);
  }

  /**
   * In the thread that mounted the volume: unmounts it for all, marked clean. In one that attached it:
   * detaches. This thread's files and windows are closed; its pins must have been released.
   * Closing twice does nothing. A volume that is never closed is flushed when the process ends, and
   * stays marked as in use.
   * Throws: EBUSY naming who still uses it, EIO: then it is still mounted. EUCLEAN for damage that was
   * met on the way, EIO when the device was removed: then it is unmounted, and stays marked as in use.
   */
  async close(): Promise<void> {
    if (this.#closing !== null) return this.#closing;
    if (this.closed) return;
    if (!this.#isMounter) {
      this.closeSync();
      return;
    }
    this.#closing = unmount(this.#core, this.#device, this.#closeContext);
    try {
      await this.#closing;
    } finally {
      this.#closing = null;
      this.#noteEnd();
    }
  }

  closeSync(): void {
    if (this.closed) return;
    if (this.#closing !== null) {
      throw wrongValue("close", "is running already; await it", "closeSync");
    }
    try {
      if (this.#isMounter) unmountSync(this.#core, this.#device, this.#closeContext);
      else detach(this.#core, this.#device, this.#closeContext);
    } finally {
      this.#noteEnd();
    }
  }

  get #closeContext(): ErrorContext {
    return { syscall: this.#isMounter ? "unmount" : "detach", path: this.#device.path };
  }

  #noteEnd(): void {
    if (!this.closed) return;
    if (this.#isMounter) forgetAtExit(this.#core);
    this.#onClosed();
  }

  [Symbol.dispose](): void {
    this.closeSync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function decoded(bytes: Uint8Array, encoding: "utf8" | undefined): Uint8Array | string {
  if (encoding === undefined) return bytes;
  if (encoding !== "utf8") throw wrongValue("encoding", "must be 'utf8', or left out", encoding);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
}
