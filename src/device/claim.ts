/**
 * The claim on a device: who writes it is alone, who reads it is among readers.
 *
 * It is an open file description lock on one byte far beyond any image's end, so it lives with the
 * image itself (not with a file beside it), works across processes, and ends with its holder
 * however that ends. A writer of a block device opens it O_EXCL as well: the lock belongs to the
 * device node's inode, O_EXCL to the device, and keeps mounts away too.
 *
 * Not seen: a reader that reaches the same block device through another node, and an image that
 * is also behind a loop device.
 */
import { type BigIntStats, readdirSync, readFileSync } from "node:fs";
import { ERRNO, HoldfastError } from "../base/errors.ts";
import { bindFunction, lastErrno, throwLastError } from "../base/libc.ts";
import { bytes, s32, struct, u16, u64 } from "../base/struct.ts";

const fcntl = bindFunction("int fcntl(int fd, int command, _Inout_ uint8_t *lock)");

/** struct flock of 64-bit Linux. Source: include/uapi/asm-generic/fcntl.h. */
const FileLock = struct(
  "flock",
  { endian: "little", size: 32 },
  {
    type: u16(0),
    whence: u16(2),
    padding: bytes(4, 4),
    start: u64(8),
    length: u64(16),
    pid: s32(24), // must be 0 for locks of an open file description
    paddingEnd: bytes(28, 4),
  },
);

const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;

/** The byte the claim is a lock on. Devices end at 2^44, files at 2^63. */
const CLAIM_BYTE = 2 ** 62;

/** What tells one file from another, as stat gives it. */
export type FileIdentity = Pick<BigIntStats, "dev" | "ino">;

/**
 * Claims the device behind `fd`, which was opened for writing unless `readOnly`.
 * Throws: EBUSY naming the process that holds it; ENOLCK where the filesystem has no locks.
 */
export function claimDevice(
  fd: number,
  path: string,
  identity: FileIdentity,
  readOnly: boolean,
): void {
  if (setClaimLock(fd, readOnly ? F_RDLCK : F_WRLCK) === 0) return;
  const errno = lastErrno();
  if (errno !== ERRNO.EAGAIN && errno !== ERRNO.EACCES) throwLastError("fcntl", { path });
  throw busyError(path, holderOf(identity));
}

/** Ends the claim at once, even while mappings keep the open file alive. */
export function releaseClaim(fd: number): void {
  setClaimLock(fd, F_UNLCK);
}

/** The error of a device that `holder` has, or somebody this process may not see. */
export function busyError(path: string, holder: string | null): HoldfastError {
  const who = holder ?? "another process, which cannot be seen from here";
  return new HoldfastError("EBUSY", `'${path}' is in use by ${who}`, { syscall: "open", path });
}

function setClaimLock(fd: number, type: number): number {
  const lock = new Uint8Array(FileLock.structure.size);
  const view = new DataView(lock.buffer);
  FileLock.type.set(view, 0, type);
  FileLock.start.set(view, 0, CLAIM_BYTE);
  FileLock.length.set(view, 0, 1);
  return fcntl(fd, F_OFD_SETLK, lock);
}

/**
 * Who holds the claim on a file, in words, or null when it cannot be seen. The lock itself does not
 * say (its pid is -1), but /proc shows each descriptor's locks. Only text of /proc is read, never
 * the files behind the descriptors: one of them may be served by this very thread.
 */
export function holderOf(identity: FileIdentity): string | null {
  let likely: string | null = null;
  for (const pid of namesIn("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    for (const fd of namesIn(`/proc/${pid}/fdinfo`)) {
      const match = matchClaim(textOf(`/proc/${pid}/fdinfo/${fd}`), identity);
      if (match === "file") return describeProcess(pid);
      // Some filesystems show another device number here than in stat.
      if (match === "inode") likely ??= describeProcess(pid);
    }
  }
  return likely;
}

/** Whether a descriptor's lock lines hold a claim on this file, or on one of the same inode number. */
function matchClaim(fdinfo: string, identity: FileIdentity): "file" | "inode" | null {
  // lock:	1: OFDLCK  ADVISORY  WRITE -1 fe:00:1843 4611686018427387904 4611686018427387904
  const claim = /^lock:.*\bOFDLCK\b.* ([\da-f]+:[\da-f]+):(\d+) (\d+) \d+$/gm;
  for (const [, device, inode, start] of fdinfo.matchAll(claim)) {
    if (start !== BigInt(CLAIM_BYTE).toString() || inode !== identity.ino.toString()) continue;
    return device === deviceNumber(identity.dev, 16) ? "file" : "inode";
  }
  return null;
}

/**
 * A device number as the kernel prints it: "fe:00" in lock lines (16), "254:0" in mountinfo (10).
 * Source: gnu_dev_major(3).
 */
export function deviceNumber(device: bigint, radix: 10 | 16): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n);
  const digits = radix === 16 ? 2 : 1;
  return [major, minor].map((part) => part.toString(radix).padStart(digits, "0")).join(":");
}

function describeProcess(pid: string): string {
  if (Number(pid) === process.pid) return "this process already";
  const command = textOf(`/proc/${pid}/comm`).trim();
  return `process ${pid}${command === "" ? "" : ` (${command})`}`;
}

/** Entries of a directory under /proc; none where it is gone or not ours to read. */
function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
