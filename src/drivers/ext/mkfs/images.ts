/** Blocks that are to be written: bytes, and where they belong. */
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { viewOf } from "../superblock.ts";

/** What takes a new volume. Places and lengths are bytes, multiples of 512. */
export interface FormatTarget {
  /** All of it reads as zeroes, so zeroes need not be written. */
  readonly isBlank: boolean;
  write(at: number, bytes: Uint8Array): void;
  zero(at: number, length: number): void;
}

/** A block of zeroes for block `block`: of the shape that the driver's own functions edit. */
export function blankBlock(block: number, blockSize: number): MetadataBlock {
  const bytes = new Uint8Array(blockSize);
  return { block, bytes, view: viewOf(bytes) };
}
