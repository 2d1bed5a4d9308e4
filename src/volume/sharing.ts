/** What programs say of two ranges that share blocks. */
import type { RangePair } from "../dax/reflink.ts";
import { checkInteger, type WaitOptions } from "./arguments.ts";

/** Bytes; offsets are multiples of the block size. */
export interface CloneOptions extends WaitOptions {
  /** First byte in the source. Default 0. */
  readonly sourceOffset?: number;
  /** First byte in the file that is changed. Default 0. */
  readonly offset?: number;
  /** Default: to the end of the source. */
  readonly length?: number;
}

export interface DedupeOptions extends CloneOptions {
  readonly length: number;
}

/** Throws: ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE. `length`: where it has no default. */
export function checkRangePair(options: CloneOptions, length: number | null): RangePair {
  const wanted = length ?? options.length ?? null;
  return {
    sourceOffset: checkInteger("options.sourceOffset", options.sourceOffset ?? 0),
    offset: checkInteger("options.offset", options.offset ?? 0),
    length: wanted === null ? null : checkInteger("options.length", wanted),
  };
}
