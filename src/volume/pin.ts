/** Pins as programs hold them. */
import type { ByteRange, Pin } from "../dax/pins.ts";
import type { WaitOptions } from "./arguments.ts";
import type { VolumeCore } from "./core.ts";
import type { FileHandle } from "./file.ts";
import type { FileLease } from "./lease.ts";

export interface PinOptions extends WaitOptions {
  /** Whether the program, or a device, will store into the buffers. Default false. */
  readonly write?: boolean;
  /**
   * Whether the pin may be held for longer than an I/O takes: memory registered with a device, or with
   * another program. Needs a `lease`, whose recall asks for it back.
   */
  readonly longTerm?: boolean;
  /** Of this file and over the range. Held by this thread and not recalled. */
  readonly lease?: FileLease;
}

/** A range of an open file, to be pinned with others. */
export interface PinRequest {
  readonly file: FileHandle;
  readonly offset: number;
  readonly length: number;
  /** As `PinOptions.write`. Default false. */
  readonly write?: boolean;
}

/**
 * A pinned range of a file. `buffers` are the storage itself: what is written to them, by anybody, is
 * in the file. Until `release()` they stay the file's blocks at this offset, whatever others do.
 */
export class FilePin implements Disposable {
  readonly #core: VolumeCore;
  readonly #pin: Pin;
  #endUse: (() => void) | null;

  /** Use `FileHandle.pin`. */
  constructor(core: VolumeCore, pin: Pin, endUse: () => void) {
    this.#core = core;
    this.#pin = pin;
    this.#endUse = endUse;
  }

  /** First byte of the range in the file. */
  get offset(): number {
    return this.#pin.offset;
  }

  /** Bytes. */
  get length(): number {
    return this.#pin.length;
  }

  /**
   * The range's bytes in order, one buffer for each run of the device.
   * Throws: EBADF after the release; ESTALE for a long-term pin whose lease has expired. Buffers that
   * were taken before stay usable: the layout change waits until the pin is released.
   */
  get buffers(): readonly Uint8Array[] {
    return this.#pin.buffers;
  }

  get released(): boolean {
    return this.#endUse === null;
  }

  /** Whether the buffers still are the same file at the same offset: true while pinned. */
  verify(): boolean {
    return this.#pin.verify();
  }

  /**
   * Which bytes of the file, of those pinned, the storage has lost since they were pinned: what the
   * buffers hold there means nothing, and what is written there is not kept. Throws: EBADF after the
   * release.
   */
  get poisoned(): readonly ByteRange[] {
    return this.#pin.poisonedRanges;
  }

  /**
   * Gives the range back. No I/O into the buffers may be under way any more. Twice does nothing.
   * Blocks only when this was the last use of a file without a name, to free it.
   */
  release(): void {
    const endUse = this.#endUse;
    if (endUse === null) return;
    this.#endUse = null;
    this.#pin.release();
    endUse();
    if (this.#core.inodes.hasDoomed) this.#core.settleSync();
  }

  [Symbol.dispose](): void {
    this.release();
  }
}
