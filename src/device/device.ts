/**
 * A direct-access device: storage mapped into this process and reached as memory.
 *
 * It is an image file, a block device, or memory that ends with the process. It is mapped segment
 * by segment on first use, so a sparse 16 TiB image costs nothing until it is touched.
 *
 * A device opened for writing is mapped MAP_SHARED: a store is on the device at once, and on the
 * medium after `persist`. A device opened read-only is mapped MAP_PRIVATE and writable: a stray
 * store by a program that holds a view changes a private copy of the page, where a read-only
 * mapping would end the process with SIGSEGV.
 *
 * What nobody can prevent: an image file that is shrunk by somebody else, or whose medium fails under a
 * read, ends the process with SIGBUS. Memory devices are sealed against resizing. Holes of an image get storage
 * before they are written, so that a full filesystem below is an error and no signal (backing.ts); but a
 * read-only device has no say in that, and in tmpfs even reading a hole takes storage.
 */
import { closeSync, fdatasync, fdatasyncSync } from "node:fs";
import { type ErrorCode, HoldfastError, systemError, withContext } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import { closeDescriptor, viewMemory } from "../base/libc.ts";
import { type Address, HUGE_SIZE, PAGE_SIZE, roundDown, roundUp } from "../base/quantities.ts";
import { untilChanged } from "../sync/runners.ts";
import type { Thread } from "../sync/thread.ts";
import {
  type MapMode,
  mapStorageOver,
  mapZeroesOver,
  reserveAddresses,
  synchronizeAddresses,
  unmapAddresses,
} from "./address-space.ts";
import { Backing, type Sparseness } from "./backing.ts";
import { releaseClaim } from "./claim.ts";
import { assertReleases, cannotRelease, releaseRange } from "./release.ts";
import { ReleasedRanges } from "./released.ts";
import { type FailedPages, FailureEvents } from "./failure-events.ts";
import { growStorage } from "./growing.ts";
import { dataRuns, writeOutRange } from "./host-file.ts";
import {
  CLOSED_SEGMENT,
  LocalSegmentTable,
  SEGMENT_SIZE,
  VIEW_SIZE,
  type SegmentTable,
  segmentCountOf,
} from "./segments.ts";
import { DeviceState } from "./state.ts";

export type DeviceKind = "image" | "block" | "memory";

/** What another thread of this process needs to use the device. Plain data. */
export interface DeviceHandle {
  readonly kind: DeviceKind;
  /** As given to openDevice; "memory" for memory devices. */
  readonly path: string;
  /** Open in the whole process. The thread that opened the device closes it. */
  readonly fd: number;
  /** Bytes, before rounding down to whole pages. */
  readonly exactSize: number;
  /** Bytes that it may have while it is open: whole pages, at least those of `exactSize`. */
  readonly capacity: number;
  readonly readOnly: boolean;
  readonly sparseness: Sparseness;
}

/** The device behind `handle`, in a thread that did not open it. `segments` is the opener's. */
export function attachDevice(handle: DeviceHandle, segments: SegmentTable): Device {
  return new Device(handle, segments, false);
}

/** What the holder of a device is told, on the event loop of the thread that claimed it. */
export interface HolderCallbacks {
  /** Bytes of it are lost. */
  readonly onFailure: (failed: FailedPages) => void;
  /** It is gone: all that is asked of it fails from now on. */
  readonly onRemoval: () => void;
}

/** What this thread shares with the others that use the device. */
interface SharedState {
  readonly thread: Thread;
  readonly state: DeviceState;
  readonly failures: FailureEvents;
  readonly released: ReleasedRanges;
}

export class Device {
  readonly kind: DeviceKind;
  readonly path: string;
  readonly fd: number;
  readonly readOnly: boolean;
  /** Bytes the storage had when it was opened; up to a page less one more than `size` was. */
  readonly exactSize: number;
  /** Bytes that `size` may grow to: what is mapped, and what is dimensioned, reaches so far. */
  readonly capacity: number;
  readonly segmentCount: number;

  readonly #sparseness: Sparseness;
  /** Which holes have got storage; null where it has none to get. */
  readonly #backing: Backing | null;
  readonly #owner: boolean;
  #segments: SegmentTable;
  /** Null before a region is made for the device: until then one thread uses it, which claims nothing. */
  #shared: SharedState | null = null;
  /** This thread's views of the segments, made on first use. */
  readonly #views: (Uint8Array<ArrayBuffer> | undefined)[];
  /** Bytes that can be reached, as far as this thread knows. */
  #size: number;
  /** `#size`, or -1 once closed: one comparison tests both. */
  #limit: number;

  /** Use openDevice, memoryDevice or attachDevice. */
  constructor(handle: DeviceHandle, segments: SegmentTable | null, owner: boolean) {
    this.kind = handle.kind;
    this.path = handle.path;
    this.fd = handle.fd;
    this.readOnly = handle.readOnly;
    this.exactSize = handle.exactSize;
    this.capacity = handle.capacity;
    this.segmentCount = segmentCountOf(this.capacity);
    this.#sparseness = handle.sparseness;
    const isWhole = handle.sparseness === "whole";
    this.#backing = isWhole ? null : new Backing(handle.fd, handle.path, this.capacity);
    this.#owner = owner;
    this.#segments = segments ?? new LocalSegmentTable(this.segmentCount);
    this.#views = new Array(Math.ceil(this.capacity / VIEW_SIZE)).fill(undefined);
    this.#size = roundDown(handle.exactSize, PAGE_SIZE);
    this.#limit = this.#size;
  }

  /** For attachDevice in other threads of this process. */
  handle(): DeviceHandle {
    const { kind, path, fd, exactSize, capacity, readOnly } = this;
    return { kind, path, fd, exactSize, capacity, readOnly, sparseness: this.#sparseness };
  }

  /** Bytes that can be reached: whole pages. */
  get size(): number {
    this.#follow();
    return this.#size;
  }

  /** Takes note of what another thread has made the device larger to. */
  #follow(): void {
    const size = (this.#shared?.state.grownPages ?? 0) * PAGE_SIZE;
    if (size <= this.#size) return;
    this.#size = size;
    if (!this.closed) this.#limit = size;
  }

  /**
   * Makes the device larger, for all threads: an image file grows, and what is new of it is a hole. A block
   * device must have the bytes already. What is not larger than `size` changes nothing. `bytes`: whole pages.
   * One thread at a time. Sleeps: in the system's call.
   * Throws: EFBIG beyond `capacity`; ENOSPC for a block device that is smaller; EPERM for a memory device, EROFS;
   * what else ftruncate answers.
   */
  grow(bytes: number): void {
    this.assertPresent();
    if (bytes <= this.size) return;
    if (this.readOnly) this.#refuseWrite("ftruncate");
    if (bytes > this.capacity) {
      const most = `can grow to ${this.capacity} bytes while it is open, not to ${bytes}`;
      throw this.#error("EFBIG", `${most}; mount it with growTo: ${bytes}`, "ftruncate");
    }
    growStorage(this, bytes);
    this.state.notePages(bytes / PAGE_SIZE);
    this.#follow();
  }

  get closed(): boolean {
    return this.#limit < 0;
  }

  /**
   * Moves to a table that other threads know. What is mapped already is published there.
   * Call it once, before another thread attaches.
   */
  useSegments(table: SegmentTable): void {
    for (let index = 0; index < this.segmentCount; index++) {
      const address = this.#segments.get(index);
      if (address === 0) continue;
      invariant(
        table.publish(index, address) === address,
        () => `segment ${index} was mapped twice`,
      );
    }
    this.#segments = table;
  }

  /** From now on other threads know whether the device is there, who holds it, what of it fails and what is a hole. */
  useState(thread: Thread): void {
    const [state, failures] = [new DeviceState(thread), new FailureEvents(thread)];
    const released = new ReleasedRanges(thread);
    this.#shared = { thread, state, failures, released };
    this.#backing?.useReleased(released);
  }

  /** Who is told of failures in this thread. */
  get failures(): FailureEvents {
    return this.#share().failures;
  }

  /** Whether the device is there, and who holds it. */
  get state(): DeviceState {
    return this.#share().state;
  }

  #share(): SharedState {
    invariant(this.#shared !== null, "the device is not shared yet");
    return this.#shared;
  }

  /** Whether the storage was removed. One load. */
  get isGone(): boolean {
    return this.#shared?.state.isGone ?? false;
  }

  /** Throws: EIO when the storage was removed. */
  assertPresent(): void {
    if (this.isGone) throw this.goneError();
  }

  /** The error of an operation on a device that was removed. */
  goneError(cause?: unknown): HoldfastError {
    return this.state.goneError({ cause });
  }

  /**
   * Makes this thread the device's holder in this process, until the disposal: no other claim succeeds,
   * and it is told of failures and removal. A holder that is told of the removal may release before or
   * after it has done something about it; nobody waits for that. `name`: for whoever is refused.
   * Sleeps: never. Throws: EBUSY naming the holder, EIO when the device was removed.
   */
  claim(name: string, { onFailure, onRemoval }: HolderCallbacks): Disposable {
    const { thread, state, failures } = this.#share();
    const endListening = failures.listen((failed) => {
      if (failed.reason !== "removed") onFailure(failed);
    });
    try {
      state.claim(name);
    } catch (error) {
      endListening();
      throw withContext(error, { path: this.path });
    }
    let released = false;
    void untilChanged(thread, state.word, thread.holder).then(() => {
      if (!released) onRemoval();
    });
    return {
      [Symbol.dispose]: () => {
        if (released) return;
        released = true;
        endListening();
        state.release();
      },
    };
  }

  /**
   * Notes that the storage is gone, from whatever thread and place: from now on what is asked of the
   * device fails with EIO. What is mapped stays until `discard`. Returns false when it was gone already.
   * Locks: none needed. Sleeps: never.
   */
  remove(reason: string): boolean {
    return this.state.remove(reason);
  }

  /**
   * After the removal: all that was mapped of the device becomes private zeroes in place, for every
   * thread. Whoever copies, or holds views, touches nothing that is gone.
   */
  discard(): void {
    for (let index = 0; index < this.segmentCount; index++) {
      const address = this.#segments.publish(index, CLOSED_SEGMENT);
      if (address !== CLOSED_SEGMENT) mapZeroesOver(address, this.#segmentLength(index));
    }
  }

  /**
   * A view of [at, at + length), which lies within one view.
   * Throws: EBADF once closed, EIO once removed, EFAULT or EINVAL outside the device; ENOSPC where it was a hole
   * of an image whose filesystem is full.
   */
  bytes(at: number, length: number): Uint8Array<ArrayBuffer> {
    this.assertPresent();
    if (!(at >= 0 && length >= 0 && at + length <= this.#limit)) this.#refuse(at, length);
    const index = Math.floor(at / VIEW_SIZE);
    const start = at - index * VIEW_SIZE;
    invariant(start + length <= VIEW_SIZE, "bytes cross a view's boundary");
    this.#backing?.give(at, length);
    const view = this.#views[index] ?? this.#makeView(index);
    return view.subarray(start, start + length);
  }

  /** As `bytes`, cut at the end of the view that holds `at`. Loop to reach the rest. */
  bytesUpTo(at: number, length: number): Uint8Array<ArrayBuffer> {
    return this.bytes(at, Math.min(length, VIEW_SIZE - (at % VIEW_SIZE)));
  }

  /**
   * Sees to it that [at, at + length) can be stored to. What is written through `copyIn` and `zero`, or shown to
   * others by `bytes` and `mapFixed`, has been seen to. Throws: ENOSPC, EIO; as `bytes`.
   */
  reserve(at: number, length: number): void {
    this.assertPresent();
    if (!(at >= 0 && length >= 0 && at + length <= this.#limit)) this.#refuse(at, length);
    this.#backing?.give(at, length);
  }

  /** Fills `target` from byte `at` on. Throws: as `bytes`, but for ENOSPC. */
  copyOut(at: number, target: Uint8Array): void {
    const length = target.length;
    if (!(at >= 0 && at + length <= this.#limit)) this.#refuse(at, length);
    if (this.#sparseness === "holes in memory" && this.#backing?.has(at, length) === false) {
      this.#backing.read(at, target);
      return;
    }
    const index = Math.floor(at / VIEW_SIZE);
    const start = at - index * VIEW_SIZE;
    const view = this.#views[index] ?? this.#makeView(index);
    if (start + length <= VIEW_SIZE) {
      target.set(view.subarray(start, start + length));
      return;
    }
    const first = VIEW_SIZE - start;
    target.set(view.subarray(start));
    this.copyOut(at + first, target.subarray(first));
  }

  /** Stores `source` from byte `at` on. Throws: as `bytes`; EROFS on a read-only device. */
  copyIn(at: number, source: Uint8Array): void {
    const length = source.length;
    if (!(at >= 0 && at + length <= this.#limit)) this.#refuse(at, length);
    if (this.readOnly) this.#refuseWrite("write");
    this.#backing?.give(at, length);
    const index = Math.floor(at / VIEW_SIZE);
    const start = at - index * VIEW_SIZE;
    const view = this.#views[index] ?? this.#makeView(index);
    if (start + length <= VIEW_SIZE) {
      view.set(source, start);
      return;
    }
    const first = VIEW_SIZE - start;
    view.set(source.subarray(0, first), start);
    this.copyIn(at + first, source.subarray(first));
  }

  /**
   * Stores `source` from byte `at` on, of a read-only device, where it stays in this process: whoever reads
   * the device here sees it, but for windows mapped from now on. Throws: as `bytes`.
   */
  changeView(at: number, source: Uint8Array): void {
    invariant(this.readOnly, "the view of a device that can be written is the device");
    for (let done = 0; done < source.length; ) {
      const piece = this.bytesUpTo(at + done, source.length - done);
      piece.set(source.subarray(done, done + piece.length));
      done += piece.length;
    }
  }

  /** Stores zeroes over [at, at + length). Throws: as `copyIn`. */
  zero(at: number, length: number): void {
    if (!(at >= 0 && length >= 0 && at + length <= this.#limit)) this.#refuse(at, length);
    if (this.readOnly) this.#refuseWrite("write");
    const end = at + length;
    while (at < end) {
      const piece = this.bytesUpTo(at, end - at);
      piece.fill(0);
      at += piece.length;
    }
  }

  /** As `zero`, but what is a hole of an image stays one. Throws: as `copyIn`. */
  clear(at: number, length: number): void {
    this.assertPresent();
    if (!(at >= 0 && length >= 0 && at + length <= this.#limit)) this.#refuse(at, length);
    if (this.#backing === null) {
      this.zero(at, length);
      return;
    }
    for (const run of dataRuns(this.fd, at + length, at)) this.zero(run.start, run.length);
  }

  /** Stores what [from, from + length) holds at `to`; the two do not overlap. Throws: as `copyIn`. */
  copy(from: number, to: number, length: number): void {
    if (!(from >= 0 && length >= 0 && from + length <= this.#limit)) this.#refuse(from, length);
    for (let done = 0; done < length; ) {
      const piece = this.bytesUpTo(from + done, length - done);
      this.copyIn(to + done, piece);
      done += piece.length;
    }
  }

  /**
   * Whether the storage can be told that ranges of it hold nothing. Throws: EOPNOTSUPP naming the device; EROFS on
   * a read-only one.
   */
  assertReleases(): void {
    this.assertPresent();
    if (this.readOnly) this.#refuseWrite("discard");
    if (this.kind === "image" && this.#backing === null) throw cannotRelease(this);
    // It may grow meanwhile, as far as that.
    assertReleases(this, Math.max(this.exactSize, this.capacity));
  }

  /**
   * Takes the storage from under [at, at + length), whole pages that hold nothing: they read as zeroes from now on,
   * or, on a block device, as whatever that has for them. Who stores there next is given storage before.
   * Locks: the volume's transaction, so that nobody gets them meanwhile. Sleeps: in the device.
   * Throws: as `assertReleases`, EIO; as `bytes`.
   */
  release(at: number, length: number): void {
    const { released } = this.#share();
    this.assertPresent();
    if (!(at >= 0 && length > 0 && at + length <= this.#limit)) this.#refuse(at, length);
    invariant(at % PAGE_SIZE === 0 && length % PAGE_SIZE === 0, "storage goes by whole pages");
    if (this.readOnly) this.#refuseWrite("discard");
    released.begin(at / PAGE_SIZE, length / PAGE_SIZE);
    try {
      releaseRange(this, at, length);
    } catch (error) {
      throw this.#storageError(error, "discard");
    } finally {
      released.end();
    }
  }

  /**
   * Puts [at, at + length), rounded out to pages, on the medium and waits for it, whichever mapping
   * it was stored through. Nothing to do on a read-only device.
   * Throws: EIO and whatever else the medium answers, after ENODEV and ENXIO also from then on; as
   * `bytes`.
   */
  persist(at: number, length: number): void {
    this.assertPresent();
    if (!(at >= 0 && length >= 0 && at + length <= this.#limit)) this.#refuse(at, length);
    if (this.readOnly || length === 0) return;
    const end = roundUp(at + length, PAGE_SIZE);
    at = roundDown(at, PAGE_SIZE);
    while (at < end) {
      const index = Math.floor(at / SEGMENT_SIZE);
      const start = at - index * SEGMENT_SIZE;
      const piece = Math.min(end - at, SEGMENT_SIZE - start);
      const address = (this.#mapSegment(index) + start) as Address;
      try {
        synchronizeAddresses(address, piece, { path: this.path });
      } catch (error) {
        throw this.#storageError(error, "msync");
      }
      at += piece;
    }
  }

  /**
   * Writes what was stored to [at, at + length) to the storage and waits for it, but for the storage's own cache: on the
   * medium it is after `persistAll`. It tells whether that range fails. Throws: as `persist`.
   */
  writeOut(at: number, length: number): void {
    this.assertPresent();
    if (!(at >= 0 && length >= 0 && at + length <= this.#limit)) this.#refuse(at, length);
    try {
      writeOutRange(this.fd, at, length, { path: this.path });
    } catch (error) {
      throw this.#storageError(error, "sync_file_range");
    }
  }

  /** Puts the whole device on the medium and waits for it. Throws: EIO and other answers. */
  persistAll(): void {
    if (this.closed) this.#refuse(0, 0);
    this.assertPresent();
    try {
      fdatasyncSync(this.fd);
    } catch (error) {
      throw this.#storageError(error, "fdatasync");
    }
  }

  /** As `persistAll`, on the thread pool. The device must not be closed meanwhile. */
  persistAllAsync(): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.closed) this.#refuse(0, 0);
      this.assertPresent();
      fdatasync(this.fd, (error) => {
        if (error === null) resolve();
        else reject(this.#storageError(error, "fdatasync"));
      });
    });
  }

  /**
   * Maps the device's [at, at + length) over the addresses from `address` on, whole pages. What was
   * there is gone in one step. "private" keeps every store from the storage.
   * Throws: ENOMEM naming vm.max_map_count; as `bytes`.
   */
  mapFixed(address: Address, at: number, length: number, mode: MapMode, writable: boolean): void {
    this.assertPresent();
    if (!(at >= 0 && length > 0 && at + length <= this.#limit)) this.#refuse(at, length);
    invariant(at % PAGE_SIZE === 0 && length % PAGE_SIZE === 0, "a window shows whole pages");
    invariant(mode === "private" || !writable || !this.readOnly, "a read-only device is shared");
    const takes = mode === "shared" || this.#sparseness === "holes in memory";
    if (takes) this.#backing?.give(at, length);
    mapStorageOver(address, length, this.fd, at, mode, writable);
  }

  /**
   * Ends the use of the device. In the thread that opened it: every segment becomes private zeroes,
   * for views of it may live on in a program's hands and must not end the process; then the
   * descriptor is closed and the claim gone. Windows are retired and other threads have stopped
   * using the device before. In a thread that attached: only this object is closed. Idempotent.
   */
  close(): void {
    if (this.closed) return;
    this.#limit = -1;
    this.#views.fill(undefined);
    if (!this.#owner) return;
    this.discard();
    if (this.kind === "memory") {
      closeDescriptor(this.fd);
      return;
    }
    releaseClaim(this.fd);
    closeSync(this.fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #segmentLength(index: number): number {
    return Math.min(SEGMENT_SIZE, this.capacity - index * SEGMENT_SIZE);
  }

  #makeView(index: number): Uint8Array<ArrayBuffer> {
    const start = index * VIEW_SIZE;
    // No bytes at the very end of a device of whole views.
    if (start === this.capacity) return new Uint8Array(0);
    const segment = Math.floor(start / SEGMENT_SIZE);
    const address = this.#mapSegment(segment) + (start - segment * SEGMENT_SIZE);
    const buffer = viewMemory(address as Address, Math.min(VIEW_SIZE, this.capacity - start));
    const view = new Uint8Array(buffer);
    this.#views[index] = view;
    return view;
  }

  /** The segment's address in this process, mapped now if nobody has. */
  #mapSegment(index: number): Address {
    let address = this.#segments.get(index);
    if (address === 0) {
      const own = this.#mapOwn(index);
      address = this.#segments.publish(index, own);
      // Another thread was quicker, or the device has been closed.
      if (address !== own) unmapAddresses(own, this.#segmentLength(index));
    }
    if (address === CLOSED_SEGMENT) {
      this.assertPresent();
      throw this.#error("EBADF", "is closed");
    }
    return address;
  }

  #mapOwn(index: number): Address {
    const length = this.#segmentLength(index);
    const own = reserveAddresses(length, HUGE_SIZE);
    try {
      const mode = this.readOnly ? "private" : "shared";
      mapStorageOver(own, length, this.fd, index * SEGMENT_SIZE, mode, true);
      return own;
    } catch (error) {
      unmapAddresses(own, length);
      throw error;
    }
  }

  /** The error of storage that does not persist. Where it says that it is not there, it is removed. */
  #storageError(error: unknown, syscall: string): unknown {
    const { errno } = error as NodeJS.ErrnoException;
    if (errno === undefined || (error as HoldfastError).code === "EOPNOTSUPP") return error;
    const failed = systemError(-errno, syscall, { path: this.path, cause: error });
    const isRemoved = failed.code === "ENODEV" || failed.code === "ENXIO";
    if (!isRemoved || this.#shared === null) return failed;
    this.remove(`${syscall} answered ${failed.code}`);
    return this.goneError(failed);
  }

  /** Returns if the device has become larger, and has the range now. */
  #refuse(at: number, length: number): void {
    if (this.closed) throw this.#error("EBADF", "is closed");
    this.#follow();
    if (at >= 0 && length >= 0 && at + length <= this.#limit) return;
    const range = `${length} bytes from byte ${at}`;
    if (!Number.isSafeInteger(at) || !Number.isSafeInteger(length) || at < 0 || length < 0) {
      throw this.#error("EINVAL", `cannot be asked for ${range}`);
    }
    throw this.#error("EFAULT", `is asked for ${range}, but has ${this.#size}`);
  }

  #refuseWrite(syscall: string): never {
    throw this.#error("EROFS", "was opened read-only", syscall);
  }

  #error(code: ErrorCode, what: string, syscall?: string): HoldfastError {
    return new HoldfastError(code, `device '${this.path}' ${what}`, { path: this.path, syscall });
  }
}
