/** The file that I/O reads from. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { HoldfastError } from "../../base/errors.ts";
import { makeSharedBuffer } from "../../sync/atomics.ts";
import { UsageError } from "../usage.ts";

/** Of the source, at most this much is used, and kept in memory to compare with. */
const SOURCE_BYTES_MAX = 64 * 2 ** 20;
const SOURCE_BYTES_MIN = 2 ** 20;

/** The source's first bytes, shared with the workers. Throws: UsageError when it is too small. */
export function readSource(path: string): SharedArrayBuffer {
  let descriptor: number;
  try {
    descriptor = openSync(path, "r");
  } catch (error) {
    throw new UsageError(`--source: ${error instanceof Error ? error.message : String(error)}`);
  }
  try {
    const status = fstatSync(descriptor);
    if (!status.isFile() || status.size < SOURCE_BYTES_MIN) {
      throw new UsageError(`--source ${path} must be a regular file of at least 1 MiB`);
    }
    const length = Math.min(status.size, SOURCE_BYTES_MAX);
    const shared = makeSharedBuffer(length);
    const bytes = new Uint8Array(shared);
    for (let at = 0; at < length; ) {
      const count = readSync(descriptor, bytes, at, length - at, at);
      if (count === 0)
        throw new HoldfastError("EIO", "the source shrank while it was read", { path });
      at += count;
    }
    return shared;
  } finally {
    closeSync(descriptor);
  }
}
