/** Opening devices: what a path holds, how large it is, and whether it may be used. */
import { type BigIntStats, closeSync, constants, fstatSync, ftruncateSync } from "node:fs";
import { openSync, readFileSync, statSync } from "node:fs";
import { type ErrorCode, fromSystem, HoldfastError, openError } from "../base/errors.ts";
import { bindFunction, closeDescriptor, throwLastError } from "../base/libc.ts";
import { DEVICE_BYTES_MAX, PAGE_SIZE, roundDown } from "../base/quantities.ts";
import { systemPageSize } from "./address-space.ts";
import { sparsenessOf } from "./backing.ts";
import { busyError, claimDevice, deviceNumber, holderOf } from "./claim.ts";
import { Device, type DeviceKind } from "./device.ts";
import { blockDeviceSize } from "./growing.ts";

const ioctl = bindFunction("int ioctl(int fd, unsigned long request, _Inout_ uint8_t *argument)");
const fcntlNumber = bindFunction("int fcntl(int fd, int command, int argument)");
const memfdCreate = bindFunction("int memfd_create(const char *name, unsigned int flags)");

/** Source: include/uapi/linux/fs.h. */
const BLKROGET = 0x125e;
const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
const F_SEAL_SEAL = 1;
const F_SEAL_SHRINK = 2;
const F_SEAL_GROW = 4;

export interface OpenDeviceOptions {
  /** Share the device with other readers, and never change it. */
  readonly readOnly?: boolean;
  /** Bytes that a device which is written may grow to while it is open. By default what it has. */
  readonly growTo?: number;
}

/**
 * Opens and claims an image file or a block device: for itself alone, or with `readOnly` together
 * with other readers.
 * Throws: EBUSY naming who holds it; EINVAL for an empty or odd file; EFBIG above 16 TiB; EISDIR;
 * ENOENT, EACCES, EROFS and what else open answers.
 */
export function openDevice(path: string, options: OpenDeviceOptions = {}): Device {
  const readOnly = options.readOnly ?? false;
  requirePageSize();
  // Looked at before it is opened: opening a FIFO would wait for a writer.
  const kind = kindOf(statOrThrow(path), path);
  const fd = openOrThrow(path, kind, readOnly);
  try {
    const stats = fstatSync(fd, { bigint: true });
    if (kindOf(stats, path) !== kind) throw refusal("EBUSY", path, "was replaced while it opened");
    claimDevice(fd, path, stats, readOnly);
    const exactSize = kind === "block" ? blockDeviceSize(fd, path) : Number(stats.size);
    requireSize(exactSize, path);
    const growTo = readOnly ? 0 : roundDown(options.growTo ?? 0, PAGE_SIZE);
    const capacity = Math.max(growTo, roundDown(exactSize, PAGE_SIZE));
    const mayBeSparse = kind === "image" && !readOnly;
    const sparseness = mayBeSparse ? sparsenessOf(fd) : "whole";
    return new Device({ kind, path, fd, exactSize, capacity, readOnly, sparseness }, null, true);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * A device of zeroes in memory, of `size` bytes, gone with the process. Costs memory only where it
 * is written.
 * Throws: EINVAL, EFBIG for the size; ENOMEM, EMFILE.
 */
export function memoryDevice(size: number): Device {
  const path = "memory";
  requirePageSize();
  requireSize(size, path);
  const fd = memfdCreate("holdfast", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) throwLastError("memfd_create");
  try {
    ftruncateSync(fd, size);
    const seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    if (fcntlNumber(fd, F_ADD_SEALS, seals) !== 0) throwLastError("fcntl");
    const facts = { kind: "memory", path, fd, exactSize: size, readOnly: false } as const;
    const capacity = roundDown(size, PAGE_SIZE);
    return new Device({ ...facts, capacity, sparseness: "whole" }, null, true);
  } catch (error) {
    closeDescriptor(fd);
    throw error;
  }
}

export function kindOf(stats: BigIntStats, path: string): DeviceKind {
  if (stats.isFile()) return "image";
  if (stats.isBlockDevice()) return "block";
  if (stats.isDirectory()) throw refusal("EISDIR", path, "is a directory");
  throw refusal("EINVAL", path, "is neither an image file nor a block device");
}

function statOrThrow(path: string): BigIntStats {
  try {
    return statSync(path, { bigint: true });
  } catch (error) {
    throw openError(error, path);
  }
}

/** What is at a path, or null. Throws: what else stat answers. */
export function statOrNull(path: string): BigIntStats | null {
  try {
    return statOrThrow(path);
  } catch (error) {
    if (error instanceof HoldfastError && error.code === "ENOENT") return null;
    throw error;
  }
}

export function openOrThrow(path: string, kind: DeviceKind, readOnly: boolean): number {
  const access = readOnly ? constants.O_RDONLY : constants.O_RDWR;
  const exclusive = kind === "block" && !readOnly ? constants.O_EXCL : 0;
  let fd: number;
  try {
    fd = openSync(path, access | exclusive);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "EBUSY") throw busyError(path, holderOfBlockDevice(path));
    const advice = code === "EACCES" || code === "EROFS" || code === "EPERM";
    if (!advice || readOnly) throw openError(error, path);
    const what = `'${path}' cannot be opened for writing; open it read-only if that is enough`;
    throw fromSystem(error, what, { syscall: "open", path });
  }
  if (kind === "block" && !readOnly && isReadOnlyDevice(fd)) {
    closeSync(fd);
    throw refusal("EROFS", path, "is a read-only device; open it read-only if that is enough");
  }
  return fd;
}

/** Of a block device: it may be opened for writing all the same. */
function isReadOnlyDevice(fd: number): boolean {
  const answer = new Uint8Array(4);
  return ioctl(fd, BLKROGET, answer) === 0 && answer[0] !== 0;
}

/** Who has a block device open O_EXCL: one of ours, a mount, or null. */
function holderOfBlockDevice(path: string): string | null {
  const stats = statOrThrow(path);
  const holder = holderOf(stats);
  if (holder !== null) return holder;
  const number = deviceNumber(stats.rdev, 10);
  for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
    const [, , device, , mountPoint] = line.split(" ");
    if (device === number) return `the mount at ${mountPoint}`;
  }
  return null;
}

export function requireSize(size: number, path: string): void {
  if (size === 0) throw refusal("EINVAL", path, "is empty");
  if (!(Number.isSafeInteger(size) && size >= PAGE_SIZE)) {
    throw refusal("EINVAL", path, `of ${size} bytes is smaller than a page (${PAGE_SIZE})`);
  }
  if (size > DEVICE_BYTES_MAX) {
    throw refusal("EFBIG", path, `of ${size} bytes is larger than ${DEVICE_BYTES_MAX}`);
  }
}

function requirePageSize(): void {
  const pageSize = systemPageSize();
  if (pageSize === PAGE_SIZE) return;
  throw new HoldfastError("EOPNOTSUPP", `this system's pages have ${pageSize} bytes, not 4096`);
}

function refusal(code: ErrorCode, path: string, what: string): HoldfastError {
  return new HoldfastError(code, `'${path}' ${what}`, { syscall: "open", path });
}
