/** What Node.js does not say of files of the system's own filesystems: their holes, their attributes. */
import { ERRNO } from "../base/errors.ts";
import { bindFunction, lastErrno, throwLastError } from "../base/libc.ts";

const lseek = bindFunction("int64_t lseek(int fd, int64_t offset, int whence)");
const llistxattr = bindFunction(
  "intptr_t llistxattr(const uint8_t *path, _Out_ uint8_t *list, size_t size)",
);

const SEEK_DATA = 3;
const SEEK_HOLE = 4;
/** Bytes [start, start + length) of a file. */
export interface ByteRun {
  readonly start: number;
  readonly length: number;
}

/** The parts of a file that are not holes, in order. Moves the descriptor's position. Throws: EIO. */
export function dataRuns(fd: number, size: number): ByteRun[] {
  const runs: ByteRun[] = [];
  for (let at = 0; at < size; ) {
    const start = lseek(fd, at, SEEK_DATA);
    if (start < 0) {
      const errno = lastErrno();
      if (errno === ERRNO.ENXIO) return runs; // Nothing but a hole to the end.
      if (errno === ERRNO.EINVAL) return [{ start: 0, length: size }]; // No holes are told here.
      throwLastError("lseek");
    }
    const end = Math.min(lseek(fd, start, SEEK_HOLE), size);
    if (start >= size || end <= start) return runs;
    runs.push({ start, length: end - start });
    at = end;
  }
  return runs;
}

/** The names of the extended attributes of what is at a path; a symlink's own. None where there are none. */
export function attributeNames(path: Uint8Array): string[] {
  const terminated = Buffer.concat([path, Buffer.of(0)]);
  const wanted = llistxattr(terminated, null, 0);
  if (wanted <= 0) return [];
  const list = new Uint8Array(wanted);
  const length = llistxattr(terminated, list, wanted);
  if (length <= 0) return []; // They are others by now.
  return Buffer.from(list.subarray(0, length - 1))
    .toString("utf8")
    .split("\0");
}
