/** One call of umount2(2), which may last. Loaded by a Worker, never imported. */
import { parentPort, workerData } from "node:worker_threads";
import { bindFunction, lastErrno } from "../base/libc.ts";

const umount2 = bindFunction("int umount2(const char *target, int flags)");

const { directory, flags } = workerData as { directory: string; flags: number };
parentPort?.postMessage(umount2(directory, flags) < 0 ? lastErrno() : 0);
