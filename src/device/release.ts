/**
 * Taking storage from where a device holds nothing any more: holes in an image file or in memory, discarded
 * sectors of a block device.
 */
import { fstatSync, readFileSync } from "node:fs";
import { ERRNO, HoldfastError, systemError } from "../base/errors.ts";
import { bindFunction, lastErrno } from "../base/libc.ts";
import { PAGE_SIZE, roundUp } from "../base/quantities.ts";
import { deviceNumber } from "./claim.ts";
import type { Device } from "./device.ts";

const fallocate = bindFunction("int fallocate(int fd, int mode, int64_t at, int64_t length)");
const ioctl = bindFunction("int ioctl(int fd, unsigned long request, _Inout_ uint8_t *argument)");

/** Source: linux/falloc.h. */
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
/** Discards a range of a block device: start and length, 64 bits each. Source: include/uapi/linux/fs.h. */
const BLKDISCARD = 0x1277;
const RANGE_BYTES = 16;

type Target = Pick<Device, "kind" | "path" | "fd">;

/**
 * What the storage below says when it is told that [at, at + length), whole pages, holds nothing. Throws:
 * EOPNOTSUPP where it has no use for that, naming the device; EIO, and what else it answers. Sleeps: in the device.
 */
export function releaseRange(target: Target, at: number, length: number): void {
  const isBlock = target.kind === "block";
  while ((isBlock ? discardSectors(target, at, length) : punchHole(target, at, length)) !== 0) {
    const errno = lastErrno();
    if (errno === ERRNO.EINTR) continue;
    if (errno === ERRNO.EOPNOTSUPP || errno === ERRNO.ENOSYS) throw cannotRelease(target);
    throw systemError(errno, isBlock ? "ioctl" : "fallocate", { path: target.path });
  }
}

function punchHole({ fd }: Target, at: number, length: number): number {
  return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, length);
}

function discardSectors({ fd }: Target, at: number, length: number): number {
  const range = new Uint8Array(RANGE_BYTES);
  const view = new DataView(range.buffer);
  view.setBigUint64(0, BigInt(at), true);
  view.setBigUint64(8, BigInt(length), true);
  return ioctl(fd, BLKDISCARD, range);
}

/**
 * Asks the storage of a device that never has more than `most` bytes whether it can do that; nothing is lost. Throws:
 * EOPNOTSUPP naming the device.
 */
export function assertReleases(target: Target, most: number): void {
  if (target.kind === "block") {
    if (discardBytesMax(target) === 0) throw cannotRelease(target);
    return;
  }
  try {
    // Behind the end of a file there is nothing.
    releaseRange(target, roundUp(most, PAGE_SIZE), PAGE_SIZE);
  } catch (error) {
    // No file there is so long: the first range will tell.
    if ((error as { code?: string }).code !== "EFBIG") throw error;
  }
}

/** The most that a block device discards at once; 0: it cannot. Of a partition it is the whole device's to say. */
function discardBytesMax({ fd }: Target): number {
  const number = deviceNumber(fstatSync(fd, { bigint: true }).rdev, 10);
  for (const place of ["queue", "../queue"]) {
    try {
      return Number(readFileSync(`/sys/dev/block/${number}/${place}/discard_max_bytes`, "utf8"));
    } catch {}
  }
  return 0;
}

export function cannotRelease({ kind, path }: Target): HoldfastError {
  const what =
    kind === "block"
      ? `the device '${path}' cannot discard what is told to be free`
      : `the filesystem that holds '${path}' cannot make holes in it`;
  return new HoldfastError("EOPNOTSUPP", what, { path });
}
