/** The storage behind an open device: how large it is, and making it larger. */
import { fstatSync, ftruncateSync } from "node:fs";
import { HoldfastError, systemError } from "../base/errors.ts";
import { bindFunction, throwLastError } from "../base/libc.ts";
import type { Device } from "./device.ts";

const ioctl = bindFunction("int ioctl(int fd, unsigned long request, _Inout_ uint8_t *argument)");

/** Source: include/uapi/linux/fs.h. */
const BLKGETSIZE64 = 0x80081272;

export function blockDeviceSize(fd: number, path: string): number {
  const answer = new Uint8Array(8);
  if (ioctl(fd, BLKGETSIZE64, answer) !== 0) throwLastError("ioctl", { path });
  return Number(new DataView(answer.buffer).getBigUint64(0, true));
}

/**
 * Sees to it that the storage has `bytes`: a file is made larger, with a hole. One thread at a time.
 * Throws: ENOSPC for a block device that is smaller, EPERM for a memory device; what ftruncate answers.
 */
export function growStorage(
  { kind, path, fd }: Pick<Device, "kind" | "path" | "fd">,
  bytes: number,
) {
  if (kind === "memory") {
    const what = "a memory device keeps the size it was made with";
    throw new HoldfastError("EPERM", what, { path, syscall: "ftruncate" });
  }
  if (kind === "block") {
    const size = blockDeviceSize(fd, path);
    if (size >= bytes) return;
    const what = `'${path}' has ${size} bytes, ${bytes} are asked for`;
    throw new HoldfastError("ENOSPC", what, { path });
  }
  if (fstatSync(fd).size >= bytes) return;
  try {
    ftruncateSync(fd, bytes);
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException;
    if (errno === undefined) throw error;
    throw systemError(-errno, "ftruncate", { path, cause: error });
  }
}
