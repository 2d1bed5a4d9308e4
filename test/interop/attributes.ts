// Extended attributes, for which Node has no call: through the C library.

import { constants } from "node:os";
import koffi from "koffi";

const library = koffi.load("libc.so.6");
const lsetxattr = library.func(
  "int lsetxattr(const char *path, const char *name, const uint8_t *value, size_t size, int flags)",
);
const lgetxattr = library.func(
  "intptr_t lgetxattr(const char *path, const char *name, _Out_ uint8_t *value, size_t size)",
);

const llistxattr = library.func(
  "intptr_t llistxattr(const char *path, _Out_ uint8_t *list, size_t size)",
);
const lremovexattr = library.func("int lremovexattr(const char *path, const char *name)");
const FLAGS = { create: 1, replace: 2 } as const;

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

/** Sets an attribute of a file of the kernel's. */
export function setAttribute(
  path: string,
  name: string,
  value: string | Uint8Array,
  only?: keyof typeof FLAGS,
): void {
  const bytes = Buffer.from(value);
  const flags = only === undefined ? 0 : FLAGS[only];
  checked(lsetxattr(path, name, bytes, bytes.length, flags), `lsetxattr ${path} ${name}`);
}

export function removeAttribute(path: string, name: string): void {
  checked(lremovexattr(path, name), `lremovexattr ${path} ${name}`);
}

export function listAttributes(path: string): string[] {
  const bytes = new Uint8Array(70_000);
  const length = checked(Number(llistxattr(path, bytes, bytes.length)), `llistxattr ${path}`);
  const names = Buffer.from(bytes.subarray(0, length)).toString("utf8").split("\0");
  return names.slice(0, -1);
}

export function readAttribute(path: string, name: string): Uint8Array {
  const bytes = new Uint8Array(70_000);
  const length = Number(lgetxattr(path, name, bytes, bytes.length));
  return bytes.slice(0, checked(length, `lgetxattr ${path} ${name}`));
}

/** An attribute's value as text, or null where there is none. */
export function getAttribute(path: string, name: string): string | null {
  const bytes = new Uint8Array(70_000);
  const length = Number(lgetxattr(path, name, bytes, bytes.length));
  return length < 0 ? null : Buffer.from(bytes.subarray(0, length)).toString();
}
