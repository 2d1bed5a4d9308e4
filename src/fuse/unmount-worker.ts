/** umount2(2) and syncfs(2), which may last. Loaded by a Worker, never imported. */
import { parentPort, workerData } from "node:worker_threads";
import { bindFunction, closeDescriptor, lastErrno } from "../base/libc.ts";
import type { SlowCall } from "./worker-messages.ts";

const umount2 = bindFunction("int umount2(const char *target, int flags)");
const openPath = bindFunction("int open(const char *path, int flags)");
const syncfs = bindFunction("int syncfs(int fd)");

const O_DIRECTORY = 0o200000;
const O_CLOEXEC = 0o2000000;

function syncDirectory(directory: string): number {
  const fd = openPath(directory, O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return lastErrno();
  const errno = syncfs(fd) < 0 ? lastErrno() : 0;
  closeDescriptor(fd);
  return errno;
}

function unmount(directory: string, flags: number): number {
  return umount2(directory, flags) < 0 ? lastErrno() : 0;
}

const call = workerData as SlowCall;
const { directory } = call;
const errno = call.what === "sync" ? syncDirectory(directory) : unmount(directory, call.flags);
parentPort?.postMessage(errno);
