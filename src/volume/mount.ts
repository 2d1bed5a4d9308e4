/** Mounting: from a path to a volume, or to a clear refusal that leaves the image as it was. */
import { randomUUID } from "node:crypto";
import { AbortError, CorruptionError, HoldfastError, withContext } from "../base/errors.ts";
import { DEVICE_BYTES_MAX, PAGE_SIZE } from "../base/quantities.ts";
import { type Device, memoryDevice, openDevice } from "../device/index.ts";
import { EXT_TYPES, type ExtType } from "../drivers/ext/index.ts";
import {
  beginTransaction,
  notePersistent,
  transactionsCommitted,
} from "../metadata/transaction.ts";
import { runBlocking } from "../sync/runners.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { checkInteger, checkPath, pathText, wrongType, wrongValue } from "./arguments.ts";
import { type AccessOptions, checkAccess } from "./access-mode.ts";
import { type Assembled, assembleAttached, assembleMounted } from "./assemble.ts";
import { COMMIT_SECONDS_DEFAULT, Committer, setCommitSeconds } from "./committer.ts";
import type { VolumeCore } from "./core.ts";
import { type DriverFacts, prepareLog, recognise } from "./drivers.ts";
import type { VolumeHandle } from "./handle.ts";
import { settleOrphans } from "./orphans.ts";
import { startRecorder } from "./trace-recorder.ts";
import { Volume } from "./volume.ts";

export interface MountOptions extends AccessOptions {
  /** Change nothing, and share the image with other readers. Default false. */
  readonly readOnly?: boolean;
  /** The type the volume must have; by default any. Features tell which it is, as blkid says it. */
  readonly type?: ExtType;
  /**
   * Bytes of address space to reserve for what threads share, from 16 MiB to 8 GiB; memory is used
   * as it is needed. Default 2 GiB.
   */
  readonly regionBytes?: number;
  /**
   * False: layout changes do not wait for pins. Only to show what goes wrong then; data of one file
   * ends up in another. Default true.
   */
  readonly protect?: boolean;
  /**
   * What has changed is durable about so many seconds later, where nobody asks for it before: the mounting thread
   * sees to it while its event loop turns, and else, a little later, a blocking operation of any thread, before it
   * returns. 0: only when asked. Default 5.
   */
  readonly commitSeconds?: number;
  /**
   * Bytes that the image may grow to while it is mounted (`Volume.grow`), at least what it has: what threads share is
   * made so large. By default what the image or device has when it is mounted.
   */
  readonly growTo?: number;
  /**
   * Blocks that were freed are discarded some time after that is durable: with the commits by time, with `sync`, and when
   * the volume is unmounted. For volumes with a journal, on devices that can. Default false.
   */
  readonly discard?: boolean;
  /** Ends the mount before it begins. */
  readonly signal?: AbortSignal;
}

export interface RamOptions extends AccessOptions {
  /** Bytes of the memory device; it uses memory only where it is written. */
  readonly size: number;
  readonly regionBytes?: number;
  readonly protect?: boolean;
}

/** Volumes that this thread uses, by their mount. */
const inUseHere = new Set<string>();

/** A volume in this thread, and what its operations work with. */
export interface Mounted {
  readonly volume: Volume;
  readonly core: VolumeCore;
}

function openVolume(
  assembled: Assembled,
  isMounter: boolean,
  commitSeconds = COMMIT_SECONDS_DEFAULT,
): Volume {
  const { id } = assembled.handle;
  const { device, core } = assembled;
  const endRecorder = isMounter ? startRecorder(core.thread.region, device.path) : null;
  if (isMounter) setCommitSeconds(core, commitSeconds);
  const committer = new Committer(core, isMounter);
  core.committer = committer;
  inUseHere.add(id);
  return new Volume(assembled, isMounter, () => {
    inUseHere.delete(id);
    committer[Symbol.dispose]();
    endRecorder?.();
  });
}

function checkOptions(path: string | Uint8Array, options: MountOptions): string {
  checkPath("path", path);
  if (typeof options !== "object" || options === null) {
    throw wrongType("options", "an object", options);
  }
  if (options.type !== undefined && !EXT_TYPES.includes(options.type)) {
    const expected = `must be one of ${EXT_TYPES.join(", ")}, or left out`;
    throw wrongValue("options.type", expected, options.type);
  }
  if (options.regionBytes !== undefined) checkInteger("options.regionBytes", options.regionBytes);
  const { commitSeconds, growTo } = options;
  if (growTo !== undefined) checkInteger("options.growTo", growTo, 0, DEVICE_BYTES_MAX);
  if (commitSeconds !== undefined) checkInteger("options.commitSeconds", commitSeconds, 0, 86_400);
  checkAccess(options);
  if (options.discard !== undefined && typeof options.discard !== "boolean") {
    throw wrongType("options.discard", "a boolean", options.discard);
  }
  if (options.signal?.aborted) throw new AbortError(undefined, options.signal.reason);
  return pathText(path);
}

interface Opened {
  readonly device: Device;
  readonly facts: DriverFacts;
  readonly reason: string | null;
}

/** Opens and recognises the device: for reading only, where the volume cannot be written. */
function openAndRecognise(path: string, options: MountOptions): Opened {
  const { readOnly = false, type, growTo = 0 } = options;
  let device = openDevice(path, { readOnly, growTo });
  try {
    const { facts, readOnlyReason } = recognise(device, type);
    if (readOnly) return { device, facts, reason: readOnlyReason ?? "it was mounted read-only" };
    if (readOnlyReason === null) return { device, facts, reason: null };
    device.close();
    device = openDevice(path, { readOnly: true });
    return { device, facts: recognise(device).facts, reason: readOnlyReason };
  } catch (error) {
    device.close();
    throw error;
  }
}

/** Everything of a mount that changes nothing on the device. */
function assembleOn(opened: Opened, options: Omit<MountOptions, "readOnly">): Assembled {
  const { device, facts, reason } = opened;
  const { dax, cacheBytes } = checkAccess(options);
  const about = {
    id: randomUUID(),
    driver: facts,
    readOnly: reason !== null,
    readOnlyReason: reason,
    protect: options.protect ?? true,
    dax,
  };
  const discards = options.discard === true && reason === null;
  if (discards) assertDiscards(opened);
  const assembled = assembleMounted(device, about, options.regionBytes, cacheBytes, discards);
  try {
    const { driver } = assembled.core;
    const root = driver.readInode(driver.rootIno);
    if (root.type !== "directory") {
      throw new CorruptionError({
        structure: "root inode",
        field: "type",
        value: root.type,
        expected: "expected a directory",
      });
    }
    return assembled;
  } catch (error) {
    abandon(assembled);
    throw error;
  }
}

/** Throws: EOPNOTSUPP where what is freed cannot be discarded in time. */
function assertDiscards({ device, facts }: Opened): void {
  if (facts.type === "ext" && facts.journal === null) {
    const what = "blocks are discarded as they are freed where there is a journal; use trim() here";
    throw new HoldfastError("EOPNOTSUPP", what);
  }
  device.assertReleases();
}

/** Gives up an assembled volume that nobody has used. */
function abandon({ core }: Assembled): void {
  core.closing = true;
  core.closed = true;
  core.holding?.[Symbol.dispose]();
  core.dax.windows.port.close();
  core.dax.pageCache?.memory.close();
  core.thread.leave();
}

/** The first change: the superblock says that the volume is in use. The journal is used from then on. */
function* markInUse(task: Task, core: VolumeCore, driver: DriverFacts): Sleeps<void> {
  {
    using transaction = yield* beginTransaction(task, core.cache);
    core.driver.markInUse(transaction);
    transaction.commit();
  }
  using _unchanged = yield* beginTransaction(task, core.cache);
  core.cache.flush();
  prepareLog(driver, core.dax.device);
  core.cache.journal?.start(driver.type === "ext" ? driver.sequence : 0);
}

function prepare(path: string | Uint8Array, options: MountOptions): Assembled {
  const name = checkOptions(path, options);
  const opened = openAndRecognise(name, options);
  try {
    return assembleOn(opened, options);
  } catch (error) {
    opened.device.close();
    throw error;
  }
}

function begin({ core, handle }: Assembled): void {
  if (!handle.readOnly) runBlocking(core.thread, (task) => markInUse(task, core, handle.driver));
}

/** The device has been persisted, and nobody else has used the volume: what was committed has been flushed. */
function finishBegin({ core, handle }: Assembled): void {
  notePersistent(core.thread, transactionsCommitted(core.thread));
  if (handle.readOnly) return;
  try {
    runBlocking(core.thread, (task) => settleOrphans(task, core));
  } catch (error) {
    // A damaged file stays as it is: whoever unmounts the volume is told.
    if (!(error instanceof CorruptionError)) throw error;
  }
}

/**
 * Mounts the ext2, ext3 or ext4 volume on an image file or block device. It is this process's alone,
 * or, read-only, shared with other readers. A volume that this version cannot write safely is
 * mounted read-only (see `readOnlyReason`).
 * Throws: EBUSY naming who has the image, EINVAL naming what it holds instead, EOPNOTSUPP naming the
 * feature, EUCLEAN naming the damaged field, ENOENT, EACCES; the image is unchanged then.
 */
export async function mount(
  path: string | Uint8Array,
  options: MountOptions = {},
): Promise<Volume> {
  try {
    const assembled = prepare(path, options);
    try {
      begin(assembled);
      if (!assembled.handle.readOnly) await assembled.device.persistAllAsync();
      finishBegin(assembled);
    } catch (error) {
      abandon(assembled);
      assembled.device.close();
      throw error;
    }
    return openVolume(assembled, true, options.commitSeconds);
  } catch (error) {
    throw withContext(error, { syscall: "mount", path: pathText(path) });
  }
}

/** As `mount`, blocking. */
export function mountSync(path: string | Uint8Array, options: MountOptions = {}): Volume {
  return mountCoreSync(path, options).volume;
}

/** As `mountSync`, with what the layers above a volume need. */
export function mountCoreSync(path: string | Uint8Array, options: MountOptions = {}): Mounted {
  try {
    const assembled = prepare(path, options);
    try {
      begin(assembled);
      if (!assembled.handle.readOnly) assembled.device.persistAll();
      finishBegin(assembled);
    } catch (error) {
      abandon(assembled);
      assembled.device.close();
      throw error;
    }
    return {
      volume: openVolume(assembled, true, options.commitSeconds),
      core: assembled.core,
    };
  } catch (error) {
    throw withContext(error, { syscall: "mount", path: pathText(path) });
  }
}

/**
 * A volume on a device whose content is not looked at: a new ram filesystem, or the device itself.
 * Closes the device when it throws.
 */
export function mountUnread(
  device: Device,
  type: "ram" | "raw",
  options: Omit<RamOptions, "size">,
): Mounted {
  try {
    const reason = device.readOnly ? "it was opened read-only" : null;
    const facts: DriverFacts = { type, blockSize: PAGE_SIZE };
    const assembled = assembleOn({ device, facts, reason }, options);
    return { volume: openVolume(assembled, true, 0), core: assembled.core };
  } catch (error) {
    device.close();
    throw error;
  }
}

/** A new, empty volume in memory, gone when it is closed. Throws: EINVAL, EFBIG, ENOMEM. */
export function mountRamSync(options: RamOptions): Volume {
  try {
    checkInteger("options.size", options?.size);
    checkAccess(options);
    return mountUnread(memoryDevice(options.size), "ram", options).volume;
  } catch (error) {
    throw withContext(error, { syscall: "mount", path: "memory" });
  }
}

/** As `mountRamSync`. */
export async function mountRam(options: RamOptions): Promise<Volume> {
  return mountRamSync(options);
}

/**
 * The volume behind a handle, in another thread of the process that mounted it. Close it before the
 * thread ends, or let the thread end: what it had open is given back then.
 * Throws: EBUSY when this thread uses the volume already, EBADF when it is closed, ENFILE when 256
 * threads use it, EINVAL for a handle of another build.
 */
export function attach(handle: VolumeHandle): Volume {
  return attachCore(handle).volume;
}

/** As `attach`, with what the layers above a volume need. */
export function attachCore(handle: VolumeHandle): Mounted {
  try {
    if (!(handle?.region instanceof SharedArrayBuffer)) {
      throw wrongType("handle", "what Volume.share() gave", handle);
    }
    if (inUseHere.has(handle.id)) {
      throw new HoldfastError("EBUSY", "this thread uses the volume already; use that object");
    }
    const assembled = assembleAttached(handle);
    return { volume: openVolume(assembled, false), core: assembled.core };
  } catch (error) {
    throw withContext(error, { syscall: "attach", path: handle?.device?.path });
  }
}
