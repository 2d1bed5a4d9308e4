// Extended attributes, for which Node has no call: through the C library.

import koffi from "koffi";

const library = koffi.load("libc.so.6");
const lsetxattr = library.func(
  "int lsetxattr(const char *path, const char *name, const uint8_t *value, size_t size, int flags)",
);
const lgetxattr = library.func(
  "intptr_t lgetxattr(const char *path, const char *name, _Out_ uint8_t *value, size_t size)",
);

/** Sets an attribute of a file of the kernel's. */
export function setAttribute(path: string, name: string, value: string): void {
  const bytes = Buffer.from(value);
  const result: number = lsetxattr(path, name, bytes, bytes.length, 0);
  if (result !== 0) throw new Error(`lsetxattr ${path} ${name} failed with ${koffi.errno()}`);
}

/** An attribute's value, or null where there is none. */
export function getAttribute(path: string, name: string): string | null {
  const bytes = new Uint8Array(70_000);
  const length = Number(lgetxattr(path, name, bytes, bytes.length));
  return length < 0 ? null : Buffer.from(bytes.subarray(0, length)).toString();
}
