/**
 * `mkfs`: a new ext2, ext3 or ext4 volume on an image file or a block device, filled if wanted.
 *
 * Everything that can be found wrong is, before the target changes: the options, who has the target, what it
 * holds, and the whole plan of the volume. From then on the old contents are gone; a failure leaves a file
 * that was made here removed, and anything else without a volume on it.
 */
import { type Stats, statfsSync, statSync } from "node:fs";
import { AbortError, HoldfastError, systemError, withContext } from "../../base/errors.ts";
import { HUGE_SIZE, roundUp } from "../../base/quantities.ts";
import { NewDevice } from "../../device/index.ts";
import {
  formatUuid,
  formatVolume,
  type LaidOut,
  layOutVolume,
  parseSuperblock,
  planVolume,
  previewSuperblock,
  type Recipe,
  SUPERBLOCK_BYTE,
  SUPERBLOCK_SIZE,
  withCountsOf,
  withoutJournal,
} from "../../drivers/ext/index.ts";
import { pathText } from "../arguments.ts";
import { contentOf } from "../drivers.ts";
import { mountCoreSync } from "../mount.ts";
import { type Filled, Filler } from "../trees/fill.ts";
import {
  type CheckedOptions,
  checkMkfsOptions,
  type MkfsOptions,
  type MkfsProgress,
} from "./options.ts";
import type { Source } from "../trees/source.ts";
import { DirectorySource } from "../trees/source-directory.ts";
import { TarSource } from "../trees/source-tar.ts";
import { planToFit, type Survey, surveyOf } from "./survey.ts";
import { wipeMarks } from "./wipe.ts";

/** A volume as it was made. Sizes are bytes. */
export interface MadeVolume {
  readonly path: string;
  readonly type: string;
  readonly label: string;
  readonly uuid: string;
  readonly size: number;
  readonly blockSize: number;
  readonly blocks: number;
  readonly reservedBlocks: number;
  readonly groups: number;
  readonly inodes: number;
  readonly inodeSize: number;
  /** Blocks; 0: it has none. */
  readonly journalBlocks: number;
  /** By mke2fs's names. */
  readonly features: readonly string[];
  /** How `mount` takes it, and why if that is not for writing. */
  readonly mountable: "read-write" | "read-only" | "no";
  readonly mountableReason: string | null;
  /** What went into it; null without `from`. */
  readonly filled: Filled | null;
}

type Made = Omit<MadeVolume, "filled">;

/** Milliseconds of work between two looks at the event loop. */
const BREATH_MS = 20;
const START_BYTES = 65536;
/** Shared memory of the mount that fills: what it needs at least, and at most. */
const REGION_BYTES_MIN = 2 ** 28;
const REGION_BYTES_MAX = 2 ** 33;
/** For each inode its table entry, its name and its record; for a page of data its record. */
const REGION_BYTES_PER_INODE = 2048;
const DATA_BYTES_PER_REGION_BYTE = 64;

/**
 * Makes a volume. Without `size` it takes the whole of what is at `path`.
 * Throws: EINVAL naming the option, feature or combination that cannot be; EEXIST naming what the target
 * holds, without `force`; EBUSY naming who has it; ENOSPC, EFBIG, ENOENT, EACCES; AbortError.
 */
export async function mkfs(
  path: string | Uint8Array,
  options: MkfsOptions = {},
): Promise<MadeVolume> {
  const steps = stepsOf(path, options);
  let breath = performance.now();
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    options.onProgress?.(step.value);
    if (options.signal?.aborted === true) {
      steps.return(undefined as never);
      throw new AbortError(undefined, options.signal.reason);
    }
    if (performance.now() - breath < BREATH_MS) continue;
    await new Promise((resolve) => setImmediate(resolve));
    breath = performance.now();
  }
}

/** As `mkfs`, blocking. */
export function mkfsSync(path: string | Uint8Array, options: MkfsOptions = {}): MadeVolume {
  const steps = stepsOf(path, options);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    options.onProgress?.(step.value);
  }
}

type Steps<T> = Generator<MkfsProgress, T>;

function* stepsOf(path: string | Uint8Array, options: MkfsOptions): Steps<MadeVolume> {
  const checked = checkMkfsOptions(path, options);
  try {
    return yield* make(checked);
  } catch (error) {
    throw withContext(error, { syscall: "mkfs", path: pathText(path) });
  }
}

function* make(options: CheckedOptions): Steps<MadeVolume> {
  if (options.from === null) return yield* makeOn(options, null);
  using source = sourceAt(options.from);
  return yield* makeOn(options, { source, survey: surveyOf(source) });
}

function sourceAt(path: string): Source {
  let stats: Stats;
  try {
    stats = statSync(path);
  } catch (error) {
    const { errno } = error as NodeJS.ErrnoException;
    if (errno === undefined) throw error;
    const { code } = systemError(-errno, "stat");
    const what = `'${path}', whose contents are to go into the volume, cannot be looked at`;
    throw new HoldfastError(code, what, { syscall: "stat", path, cause: error });
  }
  return stats.isDirectory() ? new DirectorySource(path) : new TarSource(path);
}

/** What goes into the volume. */
interface Filling {
  readonly source: Source;
  readonly survey: Survey;
}

function* makeOn(options: CheckedOptions, filling: Filling | null): Steps<MadeVolume> {
  const mayMake = options.size !== null || filling !== null;
  const device = NewDevice.open(options.path, mayMake);
  let isEmptied = false;
  let isDone = false;
  try {
    if (!options.force) assertUnused(device);
    if (typeof options.size === "number") device.assertTakes(options.size);
    const laidOut = layOutVolume(planOn(device, options, filling));
    const made = describe(options.path, laidOut);
    if (filling !== null) assertFillable(device, made, filling.survey);
    device.empty(sizeOn(device, options, made.size));
    isEmptied = true;
    if (!device.isBlank) wipeMarks(device);
    for (const { done, total } of formatVolume(laidOut, device)) {
      yield { step: "formatting", done, total, path: "" };
    }
    device.persist();
    const filled = filling === null ? null : yield* fill(device, options, filling);
    isDone = true;
    return { ...made, filled };
  } finally {
    if (!isDone && isEmptied && !device.isMade) spoil(device);
    if (isDone) device.close();
    else device.abandon();
  }
}

/** Leaves no volume on a device whose own was not finished, as far as that can be written at all. */
function spoil(device: NewDevice): void {
  try {
    if (device.isSuspended) device.resume();
    device.write(SUPERBLOCK_BYTE, new Uint8Array(SUPERBLOCK_SIZE));
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
  }
}

/** The volume that is to be made; without a size, one that `filling` fits in. */
function planOn(device: NewDevice, options: CheckedOptions, filling: Filling | null): Recipe {
  const { size, request } = options;
  const isOpen = size === "auto" || (size === null && device.size === 0);
  if (isOpen && filling !== null) return planToFit(request, filling.survey);
  return planVolume({ ...request, bytes: typeof size === "number" ? size : device.size });
}

/** Bytes that the device is to have. */
function sizeOn(device: NewDevice, { size }: CheckedOptions, planned: number): number {
  if (typeof size === "number") return size;
  return size === null && device.size > 0 ? device.size : planned;
}

/**
 * Throws: EOPNOTSUPP for a volume that is not mounted here; ENOSPC where the filesystem that holds a file has
 * less room than what goes into it: a mapped file that finds none ends the process.
 */
function assertFillable(device: NewDevice, made: Made, { bytes }: Survey): void {
  if (made.mountable !== "read-write") {
    const what = "the volume cannot be filled, since it is not mounted for writing here";
    throw new HoldfastError("EOPNOTSUPP", `${what}: ${made.mountableReason}`);
  }
  if (device.kind !== "image") return;
  const { bavail, bsize } = statfsSync(device.path);
  if (bavail * bsize > bytes) return;
  const what = `the filesystem that holds '${device.path}' has ${bavail * bsize} bytes free`;
  throw new HoldfastError("ENOSPC", `${what}, and ${bytes} are to go into the volume`);
}

/** Fills the volume by a mount of it. The device is let go of for so long. */
function* fill(
  device: NewDevice,
  options: CheckedOptions,
  { source, survey }: Filling,
): Steps<Filled> {
  const superblock = readSuperblock(device);
  device.write(SUPERBLOCK_BYTE, withoutJournal(superblock));
  device.suspend();
  const mounted = mountCoreSync(device.path, { regionBytes: regionBytesFor(survey) });
  let filled: Filled;
  try {
    filled = yield* new Filler(mounted, source, {
      at: [],
      time: options.time,
      bytesTotal: survey.bytes,
      preserve: true,
      keepsExisting: false,
      onError: null,
    }).run();
  } catch (error) {
    throw withSizeNeeded(error, options, survey);
  } finally {
    mounted.volume.closeSync();
  }
  device.resume();
  device.write(SUPERBLOCK_BYTE, withCountsOf(superblock, readSuperblock(device)));
  device.persist();
  return filled;
}

function readSuperblock(device: NewDevice): Uint8Array {
  const superblock = new Uint8Array(SUPERBLOCK_SIZE);
  device.copyOut(SUPERBLOCK_BYTE, superblock);
  return superblock;
}

/** Metadata that was touched stays in memory until the volume is closed. */
function regionBytesFor({ inodes, bytes }: Survey): number {
  const needed = inodes * REGION_BYTES_PER_INODE + bytes / DATA_BYTES_PER_REGION_BYTE;
  return Math.min(roundUp(REGION_BYTES_MIN + Math.ceil(needed), HUGE_SIZE), REGION_BYTES_MAX);
}

/** To the error of a full volume: how large one would have to be. */
function withSizeNeeded(error: unknown, { request }: CheckedOptions, survey: Survey): unknown {
  if (!(error instanceof HoldfastError && error.code === "ENOSPC")) return error;
  const { blocks, blockSize } = planToFit(request, survey).geometry;
  const needed = Math.ceil((blocks * blockSize) / 2 ** 20);
  const what = `the volume is too small for what goes into it; with a size of ${needed}M it is not`;
  return new HoldfastError("ENOSPC", what, { cause: error });
}

/**
 * Throws: EEXIST where a filesystem or another known format is found; for a file also where it begins with
 * anything but zeroes, since a path is easily mistyped.
 */
function assertUnused(device: NewDevice): void {
  const start = new Uint8Array(Math.min(device.size, START_BYTES));
  device.copyOut(0, start);
  const isUnknown = device.kind === "image" && !start.every((byte) => byte === 0);
  const content = contentOf(device) ?? (isUnknown ? "something unknown" : null);
  if (content === null) return;
  throw new HoldfastError(
    "EEXIST",
    `'${device.path}' holds ${content}; to make a new volume over it, ask with force`,
    { path: device.path },
  );
}

function describe(path: string, laidOut: LaidOut): Made {
  const { recipe } = laidOut;
  const { geometry, features } = recipe;
  return {
    path,
    type: recipe.type,
    label: Buffer.from(recipe.label).toString("utf8").replace(/\0+$/, ""),
    uuid: formatUuid(recipe.uuid),
    size: geometry.blocks * geometry.blockSize,
    blockSize: geometry.blockSize,
    blocks: geometry.blocks,
    reservedBlocks: geometry.reservedBlocks,
    groups: geometry.groups,
    inodes: geometry.inodes,
    inodeSize: geometry.inodeSize,
    journalBlocks: recipe.journalBlocks,
    features: features.names,
    ...mountability(laidOut, geometry.blocks * geometry.blockSize),
  };
}

/** What mounting would say. */
function mountability(
  laidOut: LaidOut,
  bytes: number,
): Pick<MadeVolume, "mountable" | "mountableReason"> {
  try {
    const { readOnlyReason } = parseSuperblock(previewSuperblock(laidOut), bytes);
    const mountable = readOnlyReason === null ? "read-write" : "read-only";
    return { mountable, mountableReason: readOnlyReason };
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== "EOPNOTSUPP") throw error;
    return { mountable: "no", mountableReason: error.message.replace(`${error.code}: `, "") };
  }
}
