/** Reclaim as programs ask for it. */
import { PAGE_SIZE } from "../base/quantities.ts";
import type { ByteRange } from "../dax/pins.ts";
import { reclaimPages } from "../dax/reclaim.ts";
import { type Mapping, PAGE_INDEX_MAX } from "../mapping/mapping.ts";
import { checkInteger, type WaitOptions, wrongType } from "./arguments.ts";
import type { Operation, VolumeCore } from "./core.ts";

export interface ReclaimOptions extends WaitOptions {
  /** First byte. Default 0. The range is widened to whole pages. */
  readonly offset?: number;
  /** Bytes. Default: to the file's end. */
  readonly length?: number;
  /** Whether to wait for pins, instead of leaving in memory what is pinned. Default false. */
  readonly wait?: boolean;
}

export interface Reclaimed {
  /** Bytes of the file that were in memory and are no more. */
  readonly length: number;
  /** What was left, since it is pinned (on systems without userfaultfd also: shown by a window). */
  readonly kept: readonly ByteRange[];
}

/** Sleeps and throws: as `reclaimPages`. Throws: ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE. */
export function reclaimRange(
  core: VolumeCore,
  mapping: Mapping,
  options: ReclaimOptions,
): Operation<Reclaimed> {
  const { offset = 0, length = Infinity, wait = false } = options;
  checkInteger("options.offset", offset);
  if (length !== Infinity) checkInteger("options.length", length, 1);
  if (typeof wait !== "boolean") throw wrongType("options.wait", "a boolean", wait);
  const end = Math.ceil((offset + length) / PAGE_SIZE);
  const range = { first: Math.floor(offset / PAGE_SIZE), last: Math.min(end - 1, PAGE_INDEX_MAX) };
  return function* (task) {
    const { pages, kept } = yield* reclaimPages(task, core.dax, mapping, range, wait);
    return {
      length: pages * PAGE_SIZE,
      kept: kept.map(({ first, last }) => ({
        offset: first * PAGE_SIZE,
        length: (last + 1 - first) * PAGE_SIZE,
      })),
    };
  };
}
