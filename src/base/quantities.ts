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
/** A 4 KiB page's place on a device. At most 2^32 - 1, so 16 TiB. */
export type DevicePage = Quantity<"page on device">;
/** A filesystem block's place on a device; its size is the filesystem's. */
export type DeviceBlock = Quantity<"block on device">;
/** A byte's place in a file. */
export type FileByte = Quantity<"byte in file">;
/** A 4 KiB page's place in a file. At most 2^32 - 1. */
export type FilePage = Quantity<"page in file">;
/** A filesystem block's place in a file. */
export type FileBlock = Quantity<"block in file">;
/** An inode number. */
export type Ino = Quantity<"inode number">;
/** A 32-bit word's place in the shared region. */
export type Word = Quantity<"word in region">;
/** An address in this process. Never stored in the shared region as the home of a fact. */
export type Address = Quantity<"address in process">;

export const PAGE_SIZE = 4096;
export const PAGE_SHIFT = 12;
/** Pages in a 2 MiB folio. */
export const HUGE_PAGES = 512;
export const HUGE_SIZE = PAGE_SIZE * HUGE_PAGES;
/** The largest device and the largest mapped file: 2^32 pages. */
export const DEVICE_BYTES_MAX = 2 ** 44;

export function pageOfFileByte(byte: number): FilePage {
  return Math.floor(byte / PAGE_SIZE) as FilePage;
}

/** First page at or after `byte`. */
export function pageCeiling(byte: number): FilePage {
  return Math.ceil(byte / PAGE_SIZE) as FilePage;
}

export function byteOfFilePage(page: FilePage): FileByte {
  return (page * PAGE_SIZE) as FileByte;
}

export function pageOfDeviceByte(byte: DeviceByte): DevicePage {
  return Math.floor(byte / PAGE_SIZE) as DevicePage;
}

export function byteOfDevicePage(page: DevicePage): DeviceByte {
  return (page * PAGE_SIZE) as DeviceByte;
}

export function roundDown(value: number, multiple: number): number {
  return value - (value % multiple);
}

export function roundUp(value: number, multiple: number): number {
  const rest = value % multiple;
  return rest === 0 ? value : value + multiple - rest;
}
