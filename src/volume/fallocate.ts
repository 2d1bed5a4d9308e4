/** The changes of how a range of a file is backed, by the names of fallocate(2)'s modes. */
import {
  collapseRange,
  insertRange,
  preallocate,
  punchHole,
  zeroRange,
} from "../dax/layout-change.ts";
import { requireSharing } from "../dax/reflink.ts";
import type { Mapping } from "../mapping/mapping.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import type { VolumeCore } from "./core.ts";

/** What `fallocate` does to a range; the names of fallocate(2)'s modes. */
export type FallocateMode =
  | "allocate"
  | "keep-size"
  | "punch-hole"
  | "collapse-range"
  | "insert-range"
  | "zero-range"
  | "unshare-range";

export const FALLOCATE: Record<
  FallocateMode,
  (task: Task, core: VolumeCore, mapping: Mapping, offset: number, length: number) => Sleeps<void>
> = {
  allocate: (task, { dax }, mapping, at, length) =>
    preallocate(task, dax, mapping, at, length, false),
  "keep-size": (task, { dax }, mapping, at, length) =>
    preallocate(task, dax, mapping, at, length, true),
  "punch-hole": (task, { dax }, mapping, at, length) => punchHole(task, dax, mapping, at, length),
  "collapse-range": (task, { dax }, mapping, at, length) =>
    collapseRange(task, dax, mapping, at, length),
  "insert-range": (task, { dax }, mapping, at, length) =>
    insertRange(task, dax, mapping, at, length),
  "zero-range": (task, { dax }, mapping, at, length) =>
    zeroRange(task, dax, mapping, at, length, false),
  "unshare-range": (task, { dax }, mapping, at, length) => {
    requireSharing(dax);
    return preallocate(task, dax, mapping, at, length, false, true);
  },
};
