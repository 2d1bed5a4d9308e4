/**
 * `mkfs`: a new ext2, ext3 or ext4 volume on an image file or a block device, filled if wanted.
 *
 * Everything that can be found wrong is, before the target changes: the options, who has the target, what it
 * holds, and the whole plan of the volume. From then on the old contents are gone; a failure leaves a file
 * that was made here removed, and anything else without a volume on it.
 */
import { AbortError, HoldfastError, withContext } from "../../base/errors.ts";
import { NewDevice } from "../../device/index.ts";
import {
  formatUuid,
  formatVolume,
  parseSuperblock,
  planVolume,
  type Recipe,
  SUPERBLOCK_BYTE,
  SUPERBLOCK_SIZE,
} from "../../drivers/ext/index.ts";
import { pathText } from "../arguments.ts";
import { contentOf } from "../drivers.ts";
import {
  type CheckedOptions,
  checkMkfsOptions,
  type MkfsOptions,
  type MkfsProgress,
} from "./options.ts";
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
}

/** Milliseconds of work between two looks at the event loop. */
const BREATH_MS = 20;
const START_BYTES = 65536;

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
  const device = NewDevice.open(options.path, options.size !== null);
  let isDone = false;
  try {
    if (!options.force) assertUnused(device);
    const size = typeof options.size === "number" ? options.size : device.size;
    const recipe = planVolume({ ...options.request, bytes: size });
    device.empty(size);
    if (!device.isBlank) wipeMarks(device);
    for (const { done, total } of formatVolume(recipe, device)) {
      yield { step: "formatting", done, total, path: "" };
    }
    device.persist();
    const made = describe(device, recipe);
    isDone = true;
    return made;
  } finally {
    if (isDone) device.close();
    else device.abandon();
  }
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

function describe(device: NewDevice, recipe: Recipe): MadeVolume {
  const { geometry, features } = recipe;
  return {
    path: device.path,
    type: recipe.type,
    label: Buffer.from(recipe.label).toString("utf8").replace(/\0+$/, ""),
    uuid: formatUuid(recipe.uuid),
    size: geometry.blocks * geometry.blockSize,
    blockSize: geometry.blockSize,
    blocks: geometry.blocks,
    reservedBlocks: recipe.reservedBlocks,
    groups: geometry.groups,
    inodes: geometry.inodes,
    inodeSize: geometry.inodeSize,
    journalBlocks: recipe.journalBlocks,
    features: features.names,
    ...mountability(device),
  };
}

/** What mounting would say. */
function mountability(device: NewDevice): Pick<MadeVolume, "mountable" | "mountableReason"> {
  const superblock = new Uint8Array(SUPERBLOCK_SIZE);
  device.copyOut(SUPERBLOCK_BYTE, superblock);
  try {
    const { readOnlyReason } = parseSuperblock(superblock, device.size);
    const mountable = readOnlyReason === null ? "read-write" : "read-only";
    return { mountable, mountableReason: readOnlyReason };
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== "EOPNOTSUPP") throw error;
    return { mountable: "no", mountableReason: error.message.replace(`${error.code}: `, "") };
  }
}
