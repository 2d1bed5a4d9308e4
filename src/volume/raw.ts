/** A raw device as programs hold it: a whole device as memory, without a filesystem. */
import { withContext } from "../base/errors.ts";
import { memoryDevice, openDevice } from "../device/index.ts";
import { DEVICE_NAME } from "../drivers/raw/index.ts";
import { checkInteger, checkPath, pathText, type WaitOptions, wrongType } from "./arguments.ts";
import type { ByteRange } from "../dax/pins.ts";
import type { VolumeCore } from "./core.ts";
import type { FileHandle } from "./file.ts";
import type { VolumeHandle } from "./handle.ts";
import type { FileHolders } from "./holders.ts";
import { attachCore, type Mounted, mountUnread } from "./mount.ts";
import { PageType, type PageTypeOptions, setPageType } from "./page-types.ts";
import type { FilePin, PinOptions } from "./pin.ts";
import type { Reclaimed, ReclaimOptions } from "./reclaim.ts";
import type { Volume } from "./volume.ts";
import type { FileWindow, MapOptions } from "./window.ts";

export interface RawOptions {
  /** Change nothing, and share the device with other readers. Default false. */
  readonly readOnly?: boolean;
  /** As `MountOptions.regionBytes`. */
  readonly regionBytes?: number;
}

/** What to open: the path of an image or block device, or a size in bytes: memory of zeroes. */
export type RawTarget = string | Uint8Array | { readonly size: number };

/**
 * A device mapped as it is, as device-dax does: byte n of it is byte n of the device, for windows,
 * pins and calls alike. Whole pages of 4096 bytes: what is left of one at the device's end is not
 * reached. Windows and pins of an aligned 2 MiB are of all of it at once.
 */
export class RawDevice implements Disposable, AsyncDisposable {
  /** Bytes. */
  readonly size: number;
  /**
   * The device as a volume of one file, `/device`: for its statistics, trace, failures, and for who
   * holds what.
   */
  readonly volume: Volume;
  readonly #file: FileHandle;
  readonly #core: VolumeCore;

  /** Use `openRaw` or `attachRaw`. */
  constructor({ volume, core }: Mounted) {
    this.volume = volume;
    this.#core = core;
    try {
      this.#file = volume.openSync(`/${DEVICE_NAME}`, volume.readOnly ? "r" : "r+");
      this.size = this.#file.statSync().size;
    } catch (error) {
      volume.closeSync();
      throw error;
    }
  }

  get readOnly(): boolean {
    return this.volume.readOnly;
  }

  get closed(): boolean {
    return this.volume.closed;
  }

  /**
   * Shows a range of the device as memory; stores of all threads that map it meet there. As
   * `FileHandle.map`. Throws: EBADF, EINVAL, EROFS, ENOMEM, ENFILE.
   */
  map(options?: MapOptions): FileWindow {
    return this.#file.map(options);
  }

  /**
   * Pins [offset, offset + length): its storage as buffers, safe for I/O until `release()`. As
   * `FileHandle.pin`. Throws: EBADF, EINVAL outside the device, EROFS, EIO for lost pages.
   */
  async pin(offset: number, length: number, options?: PinOptions): Promise<FilePin> {
    return this.#file.pin(offset, length, options);
  }

  pinSync(offset: number, length: number, options?: PinOptions): FilePin {
    return this.#file.pinSync(offset, length, options);
  }

  /** Copies from byte `position` into `target`. Answers the bytes read: 0 at the end. Throws: EBADF, EIO. */
  async read(target: Uint8Array, position: number, options?: WaitOptions): Promise<number> {
    return this.#file.read(target, position, options);
  }

  readSync(target: Uint8Array, position: number, options?: WaitOptions): number {
    return this.#file.readSync(target, position, options);
  }

  /**
   * Copies `source` to byte `position`; pages written whole are healed where they were lost. Answers the
   * bytes written: fewer at the device's end. Throws: EBADF, EIO, ENOSPC where nothing fits.
   */
  async write(source: Uint8Array, position: number, options?: WaitOptions): Promise<number> {
    return this.#file.write(source, position, options);
  }

  writeSync(source: Uint8Array, position: number, options?: WaitOptions): number {
    return this.#file.writeSync(source, position, options);
  }

  /**
   * Makes this thread the registrar of a page type: of what `setPageType` makes of it, it is told when
   * nobody pins it any more. It ends with `close()`, or with the thread; then the pages stay of the type,
   * and who registers it next is told of all of them. While no type is registered, none of it costs anything.
   * Throws: EEXIST naming the thread that has registered the type; ENOSPC when there are 7, ENOMEM.
   */
  registerPageType(name: string, options: PageTypeOptions): PageType {
    this.#core.assertPresent();
    return new PageType(this.#core, name, options);
  }

  /**
   * Makes a range, whole units of 2 MiB, of a type that some thread has registered, or of none (null).
   * Pins that are held already count. Throws: ENOENT for an unknown type, EINVAL.
   */
  setPageType(range: ByteRange, name: string | null): void {
    setPageType(this.#core, range, name);
  }

  /**
   * Takes a range of the device out of memory, 2 MiB at a time, with its bytes as they were: as
   * `FileHandle.reclaim`.
   */
  async reclaim(options?: ReclaimOptions): Promise<Reclaimed> {
    return this.#file.reclaim(options);
  }

  reclaimSync(options?: ReclaimOptions): Reclaimed {
    return this.#file.reclaimSync(options);
  }

  /** Who holds the device now, and where: pins, windows, leases. Never waits. Throws: EBADF. */
  holders(): FileHolders {
    return this.#file.holders();
  }

  /** Puts what was written, by all threads, on the medium. Sleeps: for the storage. Throws: EIO. */
  async sync(): Promise<void> {
    await this.#file.sync();
  }

  syncSync(): void {
    this.#file.syncSync();
  }

  /** What other threads of this process need to use the device: post it to them, for `attachRaw`. */
  share(): VolumeHandle {
    return this.volume.share();
  }

  /**
   * Ends the use of the device, in the thread that opened it for all: what was written is persistent
   * then. Twice does nothing. Throws: EBUSY naming who still uses it, EIO.
   */
  async close(): Promise<void> {
    await this.volume.close();
  }

  closeSync(): void {
    this.volume.closeSync();
  }

  [Symbol.dispose](): void {
    this.closeSync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Opens a device without a filesystem. It is this process's alone, as with `mount`, or, read-only,
 * shared with other readers; whatever it holds is neither looked at nor changed.
 * Throws: EBUSY naming who has it, EINVAL, EFBIG, ENOENT, EACCES, ENOMEM.
 */
export function openRawSync(target: RawTarget, options: RawOptions = {}): RawDevice {
  if (typeof options !== "object" || options === null) {
    throw wrongType("options", "an object", options);
  }
  const { readOnly = false, regionBytes } = options;
  if (regionBytes !== undefined) checkInteger("options.regionBytes", regionBytes);
  const region = regionBytes === undefined ? {} : { regionBytes };
  const path = pathOf(target);
  try {
    const device =
      typeof target === "string" || target instanceof Uint8Array
        ? openDevice(path, { readOnly })
        : memoryDevice(target.size);
    return new RawDevice(mountUnread(device, "raw", region));
  } catch (error) {
    throw withContext(error, { syscall: "open", path });
  }
}

/** Throws: ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE. */
function pathOf(target: RawTarget): string {
  if (typeof target === "string" || target instanceof Uint8Array) {
    checkPath("target", target);
    return pathText(target);
  }
  checkInteger("target.size", target?.size);
  return "memory";
}

/** As `openRawSync`. */
export async function openRaw(target: RawTarget, options: RawOptions = {}): Promise<RawDevice> {
  return openRawSync(target, options);
}

/**
 * The raw device behind a handle, in another thread of the process that opened it. Throws: as `attach`;
 * ERR_INVALID_ARG_TYPE for the handle of a volume.
 */
export function attachRaw(handle: VolumeHandle): RawDevice {
  if (handle?.driver?.type !== "raw") {
    throw wrongType("handle", "what RawDevice.share() gave", handle);
  }
  return new RawDevice(attachCore(handle));
}
