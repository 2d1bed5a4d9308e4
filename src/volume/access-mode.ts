/** Which files a mount wants direct, and which copied. */
import { PAGE_SIZE } from "../base/quantities.ts";
import { Access } from "../mapping/mapping.ts";
import { checkInteger, wrongValue } from "./arguments.ts";

/** How files are reached: all directly, all by copying, or each as its flag says. */
export type DaxMode = "always" | "inode" | "never";
const MODES: readonly DaxMode[] = ["always", "inode", "never"];

const CACHE_BYTES_DEFAULT = 2 ** 28;
const CACHE_BYTES_MIN = 16 * PAGE_SIZE;
const CACHE_BYTES_MAX = 2 ** 36;

/** What a mount says of it. */
export interface AccessOptions {
  /**
   * Whether files are reached directly, their pages being the blocks of the device: "always" (the default),
   * "never" (they are copied to and from a page cache), or as each file's own flag says ("inode"; see
   * `Volume.setDax`). Where blocks are smaller than 4096 bytes all files are copied.
   */
  readonly dax?: DaxMode;
  /**
   * Bytes of the page cache, which holds what is mapped or pinned of copied files: 64 KiB to 64 GiB. Memory is
   * used as it is needed. Default 256 MiB.
   */
  readonly cacheBytes?: number;
}

/** Throws: ERR_INVALID_ARG_VALUE, ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE. */
export function checkAccess(options: AccessOptions): { dax: DaxMode; cacheBytes: number } {
  const { dax = "always", cacheBytes = CACHE_BYTES_DEFAULT } = options;
  if (!MODES.includes(dax)) throw wrongValue("options.dax", `must be ${MODES.join(", ")}`, dax);
  checkInteger("options.cacheBytes", cacheBytes, CACHE_BYTES_MIN, CACHE_BYTES_MAX);
  return { dax, cacheBytes: cacheBytes - (cacheBytes % PAGE_SIZE) };
}

/** How a file is reached that nobody uses yet. `isInline`: of InodeInfo. */
export function accessOf(
  mode: DaxMode,
  blockSize: number,
  flag: boolean,
  isInline: boolean,
): Access {
  if (blockSize !== PAGE_SIZE || mode === "never" || isInline) return Access.copied;
  return mode === "always" || flag ? Access.direct : Access.copied;
}
