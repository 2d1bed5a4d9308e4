/** Where a file has data, and where holes: SEEK_DATA and SEEK_HOLE of lseek(2). */
import { HoldfastError } from "../base/errors.ts";
import { PAGE_SIZE } from "../base/quantities.ts";
import { cachedPages, mayBeCached } from "../dax/copied.ts";
import { type Dax, findExtent, ioName, mapName } from "../dax/dax.ts";
import { type Mapping, MappingWord, sizeOf } from "../mapping/mapping.ts";
import { lockShared } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { checkInteger, wrongValue } from "./arguments.ts";
import type { Operation, VolumeCore } from "./core.ts";
import type { InodeReference } from "./inode-reference.ts";
import { isDirectory } from "./names.ts";

export type SeekTarget = "data" | "hole";

/** lseek(2) with SEEK_DATA or SEEK_HOLE: as `seek`. Throws, also: EISDIR, ERR_INVALID_ARG_VALUE, ERR_OUT_OF_RANGE. */
export function seekFrom(
  { dax }: VolumeCore,
  { mapping, isDirectory: isRefused }: InodeReference,
  position: number,
  target: SeekTarget,
): Operation<number> {
  checkInteger("position", position);
  if (target !== "data" && target !== "hole") {
    throw wrongValue("target", "must be 'data' or 'hole'", target);
  }
  return function* (task) {
    if (isRefused) throw isDirectory();
    return yield* seek(task, dax, mapping, position, target);
  };
}

/**
 * The first byte from `offset` on that is data, or in a hole: the end of the file is one. What is allocated and was never
 * written is a hole, unless the page cache holds some of it.
 * Locks: takes the io lock, and where pages may be cached the map lock, shared. Sleeps: for them. Throws: ENXIO at
 * the file's end and beyond, and without data before it; CorruptionError.
 */
export function* seek(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  offset: number,
  kind: SeekTarget,
): Sleeps<number> {
  const io = yield* lockShared(task, mapping + MappingWord.ioLock, ioName(dax, mapping));
  const isCached = mayBeCached(dax, mapping);
  const map = isCached
    ? yield* lockShared(task, mapping + MappingWord.mapLock, mapName(dax, mapping))
    : null;
  try {
    const size = sizeOf(dax.thread, mapping);
    for (let at = offset; at < size; ) {
      const extent = yield* findExtent(task, dax, mapping, at);
      const end = Math.min(extent.start + extent.length, size);
      const isData = extent.kind === "mapped" || extent.kind === "inline";
      if (isData && kind === "data") return at;
      const found = isData ? null : seekInHole(dax, mapping, at, end, kind, isCached);
      if (found !== null) return found;
      at = end;
    }
    if (kind === "hole" && offset < size) return size;
  } finally {
    map?.release();
    io.release();
  }
  throw new HoldfastError("ENXIO", `the file has no ${kind} from byte ${offset} on`);
}

/** As `seek`, in [at, end), which has no data but what the page cache holds. Null: nothing. Locks: where `isCached`, the map lock. */
function seekInHole(
  dax: Dax,
  mapping: Mapping,
  at: number,
  end: number,
  kind: SeekTarget,
  isCached: boolean,
): number | null {
  const last = Math.floor((end - 1) / PAGE_SIZE);
  const pages = isCached ? cachedPages(dax, mapping, Math.floor(at / PAGE_SIZE), last) : [];
  if (kind === "data") return pages.length === 0 ? null : Math.max(at, pages[0]! * PAGE_SIZE);
  let hole = at;
  for (const page of pages) {
    if (page * PAGE_SIZE > hole) return hole;
    hole = (page + 1) * PAGE_SIZE;
  }
  return hole < end ? hole : null;
}
