/** The changes of how a range of a file is backed, by the names of fallocate(2)'s modes. */
import { HoldfastError } from "../base/errors.ts";
import {
  collapseRange,
  insertRange,
  preallocate,
  punchHole,
  zeroRange,
} from "../dax/layout-change.ts";
import { requireSharing } from "../dax/reflink.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { wrongValue } from "./arguments.ts";
import { readAttributes } from "./attributes.ts";
import type { VolumeCore } from "./core.ts";
import type { InodeReference } from "./inode-reference.ts";
import { changing } from "./kernel-pages.ts";
import { assertNotMarked } from "./marks.ts";

/** What `fallocate` does to a range; the names of fallocate(2)'s modes. */
export type FallocateMode =
  | "allocate"
  | "keep-size"
  | "punch-hole"
  | "collapse-range"
  | "insert-range"
  | "zero-range"
  | "unshare-range";

type Change = (
  task: Task,
  core: VolumeCore,
  inode: InodeReference,
  offset: number,
  length: number,
) => Sleeps<void>;

/** Those that an append-only file takes. */
const ADDING: ReadonlySet<FallocateMode> = new Set(["allocate", "keep-size"]);

/** Those that take a file's blocks away, and no more, are for every file; the others for some. */
const FALLOCATE: Record<FallocateMode, Change> = {
  allocate: needExtents((task, { dax }, { mapping }, at, length) =>
    preallocate(task, dax, mapping, at, length, false),
  ),
  "keep-size": needExtents((task, { dax }, { mapping }, at, length) =>
    preallocate(task, dax, mapping, at, length, true),
  ),
  "punch-hole": (task, { dax }, { mapping }, at, length) =>
    punchHole(task, dax, mapping, at, length),
  "collapse-range": needExtents((task, { dax }, { mapping }, at, length) =>
    collapseRange(task, dax, mapping, at, length),
  ),
  "insert-range": needExtents((task, { dax }, { mapping }, at, length) =>
    insertRange(task, dax, mapping, at, length),
  ),
  "zero-range": needExtents((task, { dax }, { mapping }, at, length) =>
    zeroRange(task, dax, mapping, at, length, false),
  ),
  "unshare-range": (task, { dax }, { mapping }, at, length) => {
    requireSharing(dax);
    return preallocate(task, dax, mapping, at, length, false, true);
  },
};

/**
 * A change that makes blocks unwritten or moves them, refused before anything is done where the file's
 * format can do neither. Throws: EOPNOTSUPP.
 */
function needExtents(change: Change): Change {
  return function* (task, core, inode, offset, length) {
    const { ino, hasExtents } = yield* readAttributes(task, core, inode);
    if (!hasExtents) {
      throw new HoldfastError(
        "EOPNOTSUPP",
        `inode ${ino} has block pointers, as files of ext2 and ext3, not extents; write zeroes instead, ` +
          "or punch a hole",
      );
    }
    yield* change(task, core, inode, offset, length);
  };
}

/** Throws: ERR_INVALID_ARG_VALUE. The change: EPERM where the file has been marked since it was opened. */
export function checkFallocateMode(mode: FallocateMode): Change {
  if (!Object.hasOwn(FALLOCATE, mode)) {
    throw wrongValue("mode", `must be one of ${Object.keys(FALLOCATE).join(", ")}`, mode);
  }
  return function* (task, core, inode, offset, length) {
    yield* assertNotMarked(task, core, inode, ADDING.has(mode));
    yield* changing(task, core, inode, FALLOCATE[mode](task, core, inode, offset, length));
  };
}
