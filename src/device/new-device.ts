/**
 * A device that is about to be given new contents: claimed as any that is written, looked at, emptied, and
 * written by calls. Nothing maps it, so a full or failing filesystem below is an error and not a signal.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  realpathSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { basename } from "node:path";
import { fromSystem, HoldfastError, openError } from "../base/errors.ts";
import { bindFunction } from "../base/libc.ts";
import { hostFullError } from "./backing.ts";
import { busyError, claimDevice, releaseClaim } from "./claim.ts";
import type { DeviceKind } from "./device.ts";
import { blockDeviceSize } from "./growing.ts";
import { kindOf, openOrThrow, requireSize, statOrNull } from "./open.ts";

const ioctl = bindFunction("int ioctl(int fd, unsigned long request, _Inout_ uint8_t *argument)");

/** Zeroes a range of a block device: start and length, 64 bits each. Source: include/uapi/linux/fs.h. */
const BLKZEROOUT = 0x127f;
const ZERO_RANGE_BYTES = 16;
const BLOCK_DEVICES = "/sys/block";
const ZEROES_BYTES = 2 ** 20;

export class NewDevice implements Disposable {
  readonly path: string;
  readonly kind: DeviceKind;
  /** It was not there before. */
  readonly isMade: boolean;
  #size: number;
  #isBlank: boolean;
  /** -1 while it is let go of. */
  #fd: number;

  private constructor(path: string, kind: DeviceKind, fd: number, size: number, isMade: boolean) {
    this.path = path;
    this.kind = kind;
    this.#fd = fd;
    this.#size = size;
    this.isMade = isMade;
    this.#isBlank = isMade;
  }

  /**
   * Opens and claims what is at `path`; makes an empty file where nothing is, if `mayMake`. Changes nothing
   * that is there.
   * Throws: EBUSY naming who has it, a mount or a loop device included; ENOENT; EACCES, EROFS; EISDIR;
   * EINVAL for what is neither a file nor a block device.
   */
  static open(path: string, mayMake: boolean): NewDevice {
    const stats = statOrNull(path);
    if (stats === null && mayMake) return NewDevice.#make(path);
    if (stats === null) {
      const what = `'${path}' does not exist; give a size, and it is made`;
      throw new HoldfastError("ENOENT", what, { syscall: "open", path });
    }
    const kind = kindOf(stats, path);
    if (kind === "image") assertNotLooped(path);
    const fd = openClaimed(path, kind);
    try {
      const size = kind === "block" ? blockDeviceSize(fd, path) : fstatSync(fd).size;
      return new NewDevice(path, kind, fd, size, false);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  static #make(path: string): NewDevice {
    let fd: number;
    try {
      fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o666);
    } catch (error) {
      throw openError(error, path);
    }
    claimOrClose(fd, path);
    return new NewDevice(path, "image", fd, 0, true);
  }

  /** Bytes. */
  get size(): number {
    return this.#size;
  }

  /** As of devices that are mapped. */
  get exactSize(): number {
    return this.#size;
  }

  /** All of it reads as zeroes. */
  get isBlank(): boolean {
    return this.#isBlank;
  }

  /** Fills `target` from byte `at` on; what lies behind the end reads as zeroes. Throws: EIO. */
  copyOut(at: number, target: Uint8Array): void {
    target.fill(0);
    for (let done = 0; done < target.length; ) {
      const count = this.#call("read", () =>
        readSync(this.#fd, target, done, target.length - done, at + done),
      );
      if (count === 0) return;
      done += count;
    }
  }

  /** Throws: EINVAL, EFBIG for a size that no device has; ENOSPC for a block device that is smaller. */
  assertTakes(size: number): void {
    requireSize(size, this.path);
    if (this.kind !== "block" || size <= this.#size) return;
    const what = `'${this.path}' has ${this.#size} bytes, ${size} are asked for`;
    throw new HoldfastError("ENOSPC", what, { path: this.path });
  }

  /**
   * Lets go of what it held and gives it its size: a file is one large hole from then on, a block device
   * keeps its bytes. Throws: as `assertTakes`, EIO.
   */
  empty(size: number): void {
    this.assertTakes(size);
    if (this.kind === "block") return;
    this.#call("ftruncate", () => {
      ftruncateSync(this.#fd, 0);
      ftruncateSync(this.#fd, size);
    });
    this.#size = size;
    this.#isBlank = true;
  }

  /** Stores `bytes` from byte `at` on. Throws: ENOSPC when the filesystem below is full, EIO. */
  write(at: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      done += this.#call("write", () =>
        writeSync(this.#fd, bytes, done, bytes.length - done, at + done),
      );
    }
  }

  /** Makes [at, at + length) zeroes, by the device itself where it can. Throws: as `write`. */
  zero(at: number, length: number): void {
    if (this.#isBlank || length === 0 || (this.kind === "block" && this.#zeroOut(at, length)))
      return;
    const zeroes = new Uint8Array(Math.min(length, ZEROES_BYTES));
    for (let done = 0; done < length; done += zeroes.length) {
      this.write(at + done, zeroes.subarray(0, Math.min(zeroes.length, length - done)));
    }
  }

  #zeroOut(at: number, length: number): boolean {
    const range = new Uint8Array(ZERO_RANGE_BYTES);
    const view = new DataView(range.buffer);
    view.setBigUint64(0, BigInt(at), true);
    view.setBigUint64(8, BigInt(length), true);
    return ioctl(this.#fd, BLKZEROOUT, range) === 0;
  }

  /** Puts everything on the medium and waits for it. Throws: EIO and what else it answers. */
  persist(): void {
    this.#call("fsync", () => fsyncSync(this.#fd));
  }

  /** Lets go of it, so that it can be mounted, until `resume`. */
  suspend(): void {
    releaseClaim(this.#fd);
    closeSync(this.#fd);
    this.#fd = -1;
  }

  get isSuspended(): boolean {
    return this.#fd < 0;
  }

  /** Opens and claims it again. Throws: EBUSY naming who was quicker, and what open throws. */
  resume(): void {
    this.#fd = openClaimed(this.path, this.kind);
  }

  /** Ends the claim. Idempotent. */
  close(): void {
    if (this.#fd >= 0) this.suspend();
  }

  /** Ends the claim, and takes a file away that was made here. */
  abandon(): void {
    if (this.isMade) unlinkSync(this.path);
    this.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #call<T>(syscall: string, run: () => T): T {
    try {
      return run();
    } catch (error) {
      const { path } = this;
      if ((error as NodeJS.ErrnoException).code === "ENOSPC") {
        throw hostFullError(path, syscall, error);
      }
      throw fromSystem(error, `${syscall} failed on '${path}'`, { syscall, path });
    }
  }
}

function openClaimed(path: string, kind: DeviceKind): number {
  const fd = openOrThrow(path, kind, false);
  claimOrClose(fd, path);
  return fd;
}

function claimOrClose(fd: number, path: string): void {
  try {
    claimDevice(fd, path, fstatSync(fd, { bigint: true }), false);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Throws: EBUSY where a loop device shows the file. */
function assertNotLooped(path: string): void {
  const real = realpathSync(path);
  const names = existsSync(BLOCK_DEVICES) ? readdirSync(BLOCK_DEVICES) : [];
  for (const name of names.filter((each) => each.startsWith("loop"))) {
    let backing: string;
    try {
      backing = readFileSync(`${BLOCK_DEVICES}/${name}/loop/backing_file`, "utf8").trimEnd();
    } catch {
      continue; // It shows nothing.
    }
    if (backing === real) throw busyError(path, `the loop device ${basename(name)}`);
  }
}
