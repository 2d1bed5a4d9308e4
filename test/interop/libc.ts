// Calls of the kernel's for which Node has none, through the C library. They throw errors with a `code`.

import { constants } from "node:os";
import koffi from "koffi";
import type { FallocateMode as AnyFallocateMode } from "../../src/index.ts";

const library = koffi.load("libc.so.6");
const lsetxattr = library.func(
  "int lsetxattr(const uint8_t *path, const char *name, const uint8_t *value, size_t size, int flags)",
);
const lgetxattr = library.func(
  "intptr_t lgetxattr(const uint8_t *path, const char *name, _Out_ uint8_t *value, size_t size)",
);
const llistxattr = library.func(
  "intptr_t llistxattr(const uint8_t *path, _Out_ uint8_t *list, size_t size)",
);
const lremovexattr = library.func("int lremovexattr(const uint8_t *path, const char *name)");
const lseek = library.func("int64_t lseek(int fd, int64_t offset, int whence)");
const fallocate = library.func("int fallocate(int fd, int mode, int64_t offset, int64_t length)");

const FLAGS = { create: 1, replace: 2 } as const;

/** What ext4 can do. */
export type FallocateMode = Exclude<AnyFallocateMode, "unshare-range">;

/** Source: linux/falloc.h. */
const FALLOCATE_FLAGS: Record<FallocateMode, number> = {
  allocate: 0,
  "keep-size": 1,
  "punch-hole": 3,
  "collapse-range": 8,
  "zero-range": 16,
  "insert-range": 32,
};

const codeOfErrno = new Map(
  Object.entries(constants.errno).map(([code, errno]) => [errno as number, code]),
);
codeOfErrno.set(constants.errno.EOPNOTSUPP, "EOPNOTSUPP");

/** Throws an error with the `code` that the last call left, if it failed. */
function checked(result: number, call: string): number {
  if (result >= 0) return result;
  const code = codeOfErrno.get(koffi.errno()) ?? `errno ${koffi.errno()}`;
  throw Object.assign(new Error(`${call} failed with ${code}`), { code });
}

/** Changes how a range of an open file of the kernel's is backed. */
export function allocateFile(
  file: number,
  mode: FallocateMode,
  offset: number,
  length: number,
): void {
  checked(fallocate(file, FALLOCATE_FLAGS[mode], offset, length), `fallocate ${mode}`);
}

/** Source: linux/fs.h. */
const WHENCE = { data: 3, hole: 4 } as const;

/** The first byte from `offset` on of an open file of the kernel's that is data, or lies in a hole. */
export function seekFile(file: number, offset: number, target: keyof typeof WHENCE): number {
  return checked(Number(lseek(file, offset, WHENCE[target])), `lseek for ${target}`);
}

/** A path as the calls take it, which need not be UTF-8. */
const ended = (path: string | Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from(path), Buffer.of(0)]);

/** Sets an attribute of a file of the kernel's. */
export function setAttribute(
  path: string | Uint8Array,
  name: string,
  value: string | Uint8Array,
  only?: keyof typeof FLAGS,
): void {
  const bytes = Buffer.from(value);
  const flags = only === undefined ? 0 : FLAGS[only];
  checked(lsetxattr(ended(path), name, bytes, bytes.length, flags), `lsetxattr ${path} ${name}`);
}

export function removeAttribute(path: string | Uint8Array, name: string): void {
  checked(lremovexattr(ended(path), name), `lremovexattr ${path} ${name}`);
}

export function listAttributes(path: string | Uint8Array): string[] {
  const bytes = new Uint8Array(70_000);
  const length = checked(
    Number(llistxattr(ended(path), bytes, bytes.length)),
    `llistxattr ${path}`,
  );
  const names = Buffer.from(bytes.subarray(0, length)).toString("utf8").split("\0");
  return names.slice(0, -1);
}

export function readAttribute(path: string | Uint8Array, name: string): Uint8Array {
  const bytes = new Uint8Array(70_000);
  const length = Number(lgetxattr(ended(path), name, bytes, bytes.length));
  return bytes.slice(0, checked(length, `lgetxattr ${path} ${name}`));
}

/** An attribute's value as text, or null where there is none. */
export function getAttribute(path: string | Uint8Array, name: string): string | null {
  const bytes = new Uint8Array(70_000);
  const length = Number(lgetxattr(ended(path), name, bytes, bytes.length));
  return length < 0 ? null : Buffer.from(bytes.subarray(0, length)).toString();
}

const renameat2 = library.func(
  "int renameat2(int from, const char *old, int to, const char *new, unsigned int flags)",
);
const linkat = library.func(
  "int linkat(int from, const char *old, int to, const char *new, int flags)",
);
const opendir = library.func("void *opendir(const char *path)");
const closedir = library.func("int closedir(void *directory)");
const telldir = library.func("long telldir(void *directory)");
const seekdir = library.func("void seekdir(void *directory, long position)");
const readdir = library.func("void *readdir(void *directory)");

const AT_FDCWD = -100;
const AT_SYMLINK_FOLLOW = 0x400;
const RENAME_FLAGS = { noreplace: 1, exchange: 2, whiteout: 4 } as const;

export function renameWith(
  from: string,
  to: string,
  flag: keyof typeof RENAME_FLAGS | "unknown",
): void {
  const flags = flag === "unknown" ? 0x100 : RENAME_FLAGS[flag];
  checked(renameat2(AT_FDCWD, from, AT_FDCWD, to, flags), "renameat2");
}

/** Gives an open file a name. */
export function linkOpenFile(fd: number, path: string): void {
  checked(linkat(AT_FDCWD, `/proc/self/fd/${fd}`, AT_FDCWD, path, AT_SYMLINK_FOLLOW), "linkat");
}

/** A directory that is read name by name. */
export class OpenDirectory implements Disposable {
  readonly #directory: unknown;

  constructor(path: string) {
    this.#directory = opendir(path);
    checked(this.#directory === null ? -1 : 0, "opendir");
  }

  get position(): number {
    return telldir(this.#directory) as number;
  }

  set position(position: number) {
    seekdir(this.#directory, position);
  }

  /** The next name; null at the end. Source of its place in struct dirent: readdir(3), on 64 bits. */
  next(): string | null {
    const entry: unknown = readdir(this.#directory);
    return entry === null ? null : (koffi.decode(entry, 19, "char", 256) as unknown as string);
  }

  [Symbol.dispose](): void {
    closedir(this.#directory);
  }
}
