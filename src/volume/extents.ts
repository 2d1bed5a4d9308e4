/** Where a file's bytes lie, as programs ask for it. */
import { DEVICE_BYTES_MAX } from "../base/quantities.ts";
import { type Dax, ioName } from "../dax/dax.ts";
import type { Extent } from "../iomap/contract.ts";
import { inoOf, type Mapping, MappingWord, sizeOf } from "../mapping/mapping.ts";
import { readStable } from "../metadata/sequence.ts";
import { lockShared } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { checkInteger, wrongType } from "./arguments.ts";
import type { Operation, VolumeCore } from "./core.ts";
import type { InodeReference } from "./inode-reference.ts";
import { isDirectory } from "./names.ts";

/** Bytes of a file. */
export interface ExtentRange {
  /** Default 0. */
  readonly offset?: number;
  /** Default: to the last block that the file has, also behind its end. */
  readonly length?: number;
}

/** A run of a file that lies in one piece. Bytes. */
export interface FileExtent {
  readonly offset: number;
  readonly length: number;
  /** On the device; null where the bytes lie in the inode. */
  readonly deviceOffset: number | null;
  /** Has blocks, and reads as zeroes until it is written. */
  readonly unwritten: boolean;
  /** Another file may own the blocks, too. */
  readonly shared: boolean;
}

/** Blocks of a file are numbered in 32 bits. Source: Linux Documentation/filesystems/ext4/ifork.rst. */
const FILE_BLOCKS_MAX = 2 ** 32 - 1;

/** The extents of a range, from the one that has its first byte on; the file's io lock is held. */
function* extentsFrom(
  task: Task,
  { driver, thread }: Dax,
  mapping: Mapping,
  start: number,
  end: number,
): Sleeps<Extent> {
  const ino = inoOf(thread, mapping);
  const first = start - (start % driver.blockSize);
  const limit = Math.min(
    Math.ceil(end / driver.blockSize) * driver.blockSize,
    DEVICE_BYTES_MAX,
    FILE_BLOCKS_MAX * driver.blockSize,
  );
  return yield* readStable(task, mapping + MappingWord.sequence, () =>
    driver.extentAt(ino, first, limit),
  );
}

/**
 * FIEMAP: what of the range has blocks, in order; runs that go on from one another are one. Each is told as it was
 * when it was looked at. Locks: takes the io lock, shared. Sleeps: for it. Throws: EUCLEAN, EISDIR,
 * ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE.
 */
export function fileExtents(
  { dax }: VolumeCore,
  { mapping, isDirectory: isRefused }: InodeReference,
  range: ExtentRange = {},
): Operation<FileExtent[]> {
  if (typeof range !== "object" || range === null) throw wrongType("range", "an object", range);
  const offset = checkInteger("range.offset", range.offset ?? 0);
  const most = Math.min(DEVICE_BYTES_MAX, FILE_BLOCKS_MAX * dax.driver.blockSize);
  const length = checkInteger("range.length", range.length ?? Math.max(most - offset, 0));
  const end = Math.min(offset + length, most);
  return function* (task) {
    if (isRefused) throw isDirectory();
    using _io = yield* lockShared(task, mapping + MappingWord.ioLock, ioName(dax, mapping));
    const found: FileExtent[] = [];
    for (let at = offset; at < end; ) {
      const extent = yield* extentsFrom(task, dax, mapping, at, end);
      at = extent.start + extent.length;
      if (extent.kind === "hole") continue;
      const next = shown(extent, sizeOf(dax.thread, mapping));
      const last = found.at(-1);
      if (last !== undefined && goesOn(last, next)) {
        found[found.length - 1] = { ...last, length: last.length + next.length };
      } else found.push(next);
      if (extent.kind === "inline") break;
    }
    return found;
  };
}

function shown(extent: Exclude<Extent, { kind: "hole" }>, size: number): FileExtent {
  const { start: offset, length } = extent;
  if (extent.kind === "inline") {
    return { offset: 0, length: size, deviceOffset: null, unwritten: false, shared: false };
  }
  const { address: deviceOffset, kind, shared } = extent;
  return { offset, length, deviceOffset, unwritten: kind === "unwritten", shared };
}

function goesOn(last: FileExtent, next: FileExtent): boolean {
  return (
    last.deviceOffset !== null &&
    next.deviceOffset === last.deviceOffset + last.length &&
    next.offset === last.offset + last.length &&
    next.unwritten === last.unwritten &&
    next.shared === last.shared
  );
}
