/**
 * Branded numbers: every address space has its own type, and a value moves from one to another
 * only through a named function. All are whole, non-negative and at most 2^53 - 1.
 *
 * `<<` and `|` are 32-bit in JavaScript and are never used on byte addresses.
 */
declare const unit: unique symbol;
export type Quantity<Unit extends string> = number & { readonly [unit]: Unit };

/** A byte's place on a device. */
export type DeviceByte = Quantity<"byte on device">;
/** An inode number. */
export type Ino = Quantity<"inode number">;
/** An address in this process. Never stored in the shared region as the home of a fact. */
export type Address = Quantity<"address in process">;

export const PAGE_SIZE = 4096;
/** Pages in a 2 MiB folio. */
export const HUGE_PAGES = 512;
export const HUGE_SIZE = PAGE_SIZE * HUGE_PAGES;
/** The largest device and the largest mapped file: 2^32 pages. */
export const DEVICE_BYTES_MAX = 2 ** 44;

export function roundDown(value: number, multiple: number): number {
  return value - (value % multiple);
}

export function roundUp(value: number, multiple: number): number {
  const rest = value % multiple;
  return rest === 0 ? value : value + multiple - rest;
}
