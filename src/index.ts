/**
 * Holdfast: real ext2, ext3 and ext4 volumes mounted inside this process, their storage handed out as
 * memory that stays the file's for as long as anybody can reach it.
 *
 *     import { mount } from "holdfast";
 *     await using volume = await mount("disk.img");
 */
export {
  AbortError,
  CorruptionError,
  type Damage,
  type ErrorCode,
  HoldfastError,
  type PinHolder,
} from "./base/errors.ts";
export type { LostRange } from "./dax/map-window.ts";
export type { BlockUse } from "./base/block-use.ts";
export type { FileType, Time } from "./iomap/contract.ts";
export type { WaitKind } from "./sync/sleep.ts";
export type { WaitSummary } from "./sync/wait-histograms.ts";
export type { TraceClassName } from "./sync/trace.ts";
export type { WaitOptions } from "./volume/arguments.ts";
export type { AccessOptions, DaxMode } from "./volume/access-mode.ts";
export type {
  MkdirOptions,
  MknodOptions,
  OpenMode,
  OpenOptions,
  PathLike,
  SpecialType,
  FollowSymlinks,
} from "./volume/calls.ts";
export type {
  AttributeName,
  AttributeValue,
  SetAttributeOptions,
} from "./volume/extended-attributes.ts";
export type { ByteRange } from "./dax/pins.ts";
export type { DeviceFailure, PoisonTarget, VolumeFailure } from "./volume/failure.ts";
export type { ExtType } from "./drivers/ext/index.ts";
export type { TrimOptions, TrimProgress } from "./volume/discard.ts";
export type { ExtentRange, FileExtent } from "./volume/extents.ts";
export type { FallocateMode } from "./volume/fallocate.ts";
export type {
  Finding,
  FindingCode,
  FsckNotice,
  FsckProgress,
  FsckVolume,
} from "./drivers/ext/index.ts";
export { type FsckOptions, type FsckReport, fsck, fsckSync } from "./volume/fsck.ts";
export type { FileHandle } from "./volume/file.ts";
export type { GrowOptions, GrowProgress } from "./volume/grow.ts";
export type { VolumeHandle } from "./volume/handle.ts";
export type {
  BreakHolder,
  FileHolders,
  HandleHolder,
  LeaseHolder,
  LockHolder,
  WindowHolder,
} from "./volume/holders.ts";
export type { FileLease, LeaseOptions, RecallReason } from "./volume/lease.ts";
export { type MadeVolume, mkfs, mkfsSync } from "./volume/mkfs/mkfs.ts";
export type { Filled } from "./volume/trees/fill.ts";
export type { MkfsOptions, MkfsProgress } from "./volume/mkfs/options.ts";
export {
  attach,
  type MountOptions,
  mount,
  mountRam,
  mountRamSync,
  mountSync,
  type RamOptions,
} from "./volume/mount.ts";
export type { PageType, PageTypeOptions } from "./volume/page-types.ts";
export type { DeviceOwner, DeviceRange } from "./volume/owners.ts";
export type { FilePin, PinOptions, PinRequest } from "./volume/pin.ts";
export {
  attachRaw,
  openRaw,
  openRawSync,
  type RawDevice,
  type RawOptions,
  type RawTarget,
} from "./volume/raw.ts";
export type { Reclaimed, ReclaimOptions } from "./volume/reclaim.ts";
export type { CloneOptions, DedupeOptions } from "./volume/sharing.ts";
export type { DirectoryEntry, ExactTimes, Stats, VolumeSpace } from "./volume/stats.ts";
export type { FollowOptions, TraceOptions, VolumeTrace } from "./volume/trace.ts";
export type { TraceRecord } from "./volume/trace-events.ts";
export type { VolumeStatistics } from "./volume/statistics.ts";
export type { ReaddirOptions, TimeLike, Volume } from "./volume/volume.ts";
export type { VolumeFs, VolumeFsFileHandle, VolumeFsPromises } from "./volume/fs/face.ts";
export type { TransferOptions, TransferSource, TransferTarget } from "./volume/fs/transfer.ts";
export type { FileWindow, MapOptions } from "./volume/window.ts";
