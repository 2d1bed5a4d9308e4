/** What Node.js does not say of files of the system's own filesystems: their holes, their attributes, their dirty pages. */
import { ERRNO, type ErrorContext } from "../base/errors.ts";
import { bindFunction, lastErrno, throwLastError } from "../base/libc.ts";

const lseek = bindFunction("int64_t lseek(int fd, int64_t offset, int whence)");
const llistxattr = bindFunction(
  "intptr_t llistxattr(const uint8_t *path, _Out_ uint8_t *list, size_t size)",
);
const lgetxattr = bindFunction(
  "intptr_t lgetxattr(const uint8_t *path, const uint8_t *name, _Out_ uint8_t *value, size_t size)",
);

const lsetxattr = bindFunction(
  "int lsetxattr(const uint8_t *path, const uint8_t *name, const uint8_t *value, size_t size, int flags)",
);
const utimensat = bindFunction(
  "int utimensat(int directory, const uint8_t *path, const uint8_t *times, int flags)",
);
const mknod = bindFunction("int mknod(const uint8_t *path, uint32_t mode, uint64_t device)");

/** Source: linux/fcntl.h. */
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;

const syncFileRange = bindFunction(
  "int sync_file_range(int fd, int64_t at, int64_t length, uint32_t flags)",
);

/** struct timespec: seconds and nanoseconds, 64 bits each. */
const TIMESPEC_BYTES = 16;

const SEEK_DATA = 3;
const SEEK_HOLE = 4;
/** Waits for writes of the range that are under way, begins those of what else is dirty, and waits for them. */
const WRITE_AND_WAIT = 1 | 2 | 4;
/** Bytes [start, start + length) of a file. */
export interface ByteRun {
  readonly start: number;
  readonly length: number;
}

/**
 * The parts of bytes [from, size) of a file that are not holes, in order. Moves the descriptor's position.
 * Throws: EIO.
 */
export function dataRuns(fd: number, size: number, from = 0): ByteRun[] {
  const runs: ByteRun[] = [];
  for (let at = from; at < size; ) {
    const start = lseek(fd, at, SEEK_DATA);
    if (start < 0) {
      const errno = lastErrno();
      if (errno === ERRNO.ENXIO) return runs; // Nothing but a hole to the end.
      if (errno === ERRNO.EINVAL) return [{ start: from, length: size - from }]; // No holes are told here.
      throwLastError("lseek");
    }
    const end = Math.min(lseek(fd, start, SEEK_HOLE), size);
    if (start >= size || end <= start) return runs;
    runs.push({ start, length: end - start });
    at = end;
  }
  return runs;
}

/** An extended attribute of a file of the system's, by its whole name. */
export interface HostAttribute {
  readonly name: Uint8Array;
  readonly value: Uint8Array;
}

/**
 * The extended attributes of what is at a path; a symlink's own. None where the filesystem has none; those that
 * this process may not read are not among them. Throws: EIO, EACCES.
 */
export function hostAttributes(path: Uint8Array): HostAttribute[] {
  const terminated = terminate(path);
  const names = readSized((into) => llistxattr(terminated, into, into?.length ?? 0));
  const attributes: HostAttribute[] = [];
  for (let at = 0; at < names.length; ) {
    const end = names.indexOf(0, at);
    const name = names.slice(at, end);
    at = end + 1;
    const nameText = terminate(name);
    const value = readSized((into) => lgetxattr(terminated, nameText, into, into?.length ?? 0));
    attributes.push({ name, value });
  }
  return attributes;
}

function terminate(text: Uint8Array): Uint8Array {
  return Buffer.concat([text, Buffer.of(0)]);
}

/** What a call gives that first says, into null, how many bytes it has: again when they are more by then. */
function readSized(call: (into: Uint8Array | null) => number): Uint8Array {
  for (;;) {
    const wanted = call(null);
    if (wanted === 0) return new Uint8Array(0);
    const bytes = new Uint8Array(Math.max(wanted, 0));
    const length = wanted < 0 ? wanted : call(bytes);
    if (length >= 0) return bytes.subarray(0, length);
    const errno = lastErrno();
    if (errno === ERRNO.EOPNOTSUPP) return new Uint8Array(0);
    if (errno !== ERRNO.ERANGE) throwLastError("lgetxattr");
  }
}

/** Sets an extended attribute of what is at a path; a symlink's own. Throws: EPERM, EOPNOTSUPP, ENOSPC. */
export function setHostAttribute(path: Uint8Array, { name, value }: HostAttribute): void {
  if (lsetxattr(terminate(path), terminate(name), value, value.length, 0) < 0) {
    throwLastError("lsetxattr");
  }
}

/** A time as the system's calls take it. */
export interface HostTime {
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** Sets when what is at a path was read and changed, to the nanosecond; a symlink's own. Throws: EPERM. */
export function setHostTimes(path: Uint8Array, access: HostTime, modify: HostTime): void {
  const times = new Uint8Array(2 * TIMESPEC_BYTES);
  const view = new DataView(times.buffer);
  for (const [index, { seconds, nanoseconds }] of [access, modify].entries()) {
    view.setBigInt64(index * TIMESPEC_BYTES, BigInt(seconds), true);
    view.setBigInt64(index * TIMESPEC_BYTES + 8, BigInt(nanoseconds), true);
  }
  if (utimensat(AT_FDCWD, terminate(path), times, AT_SYMLINK_NOFOLLOW) < 0) {
    throwLastError("utimensat");
  }
}

/** `mode`: type and permission bits. Throws: EPERM where that takes a superuser, EEXIST. */
export function makeHostNode(path: Uint8Array, mode: number, major: number, minor: number): void {
  // Source: gnu_dev_makedev(3). Both are below 2^12 and 2^20, as the kernel has them.
  const device = (minor & 0xff) + major * 2 ** 8 + (minor >>> 8) * 2 ** 20;
  if (mknod(terminate(path), mode, device) < 0) throwLastError("mknod");
}

/**
 * Writes the dirty pages of a range to storage and waits for that. Neither what tells where they lie nor the storage's own cache
 * is on the medium then (sync_file_range(2)). Throws: EIO, ENOSPC.
 */
export function writeOutRange(fd: number, at: number, length: number, context: ErrorContext): void {
  if (syncFileRange(fd, at, length, WRITE_AND_WAIT) !== 0)
    throwLastError("sync_file_range", context);
}
