/** Memory failure as programs see it: reports of it, what is lost, and who is told. */
import { HoldfastError } from "../base/errors.ts";
import { PAGE_SIZE, roundDown, roundUp } from "../base/quantities.ts";
import { type Dax, findExtent, isCopied, mapName } from "../dax/dax.ts";
import { populate } from "../dax/fault.ts";
import { handleRemoval, untilRemoved } from "../dax/device-removal.ts";
import { type BadRange, badRanges, handlePoison } from "../dax/poison.ts";
import type { FailedPages, FailureReason } from "../device/failure-events.ts";
import { type Mapping, MappingWord, sizeOf } from "../mapping/mapping.ts";
import type { PoisonReport } from "../pages/bad-pages.ts";
import { lockShared } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { checkInteger, checkPath, pathText, wrongType } from "./arguments.ts";
import { isDirectory } from "./names.ts";
import type { PathLike } from "./calls.ts";
import type { Operation, VolumeCore } from "./core.ts";
import { pathOf, structureOf } from "./owners.ts";
import { parsePath, Scope } from "./paths.ts";

/**
 * Bytes of the device that are lost, rounded to pages of 4096, and where they are in a file. "removed":
 * all of them, for the device is gone.
 */
export interface DeviceFailure {
  readonly reason: FailureReason;
  readonly deviceOffset: number;
  readonly length: number;
  /** Of the file, or whose structure it is; null: of none, or not known (`badRanges`). */
  readonly ino: number | null;
  /** Of the range, in the file; null where no bytes of a file are lost. */
  readonly offset: number | null;
  /** The path by which this thread has the file open, if it has. */
  readonly path: string | null;
  /** What is lost of the filesystem itself, in words: "inode table of group 3"; null: nothing. */
  readonly structure: string | null;
}

/** What is reported: bytes of a file, or bytes of the device. Rounded to pages. */
export type PoisonTarget =
  | { readonly path: PathLike; readonly offset: number; readonly length: number }
  | { readonly deviceOffset: number; readonly length: number };

/** Reports what the storage has lost, and tells of it. Of `Volume.failure`. */
export class VolumeFailure {
  readonly #core: VolumeCore;

  /** Use `Volume.failure`. */
  constructor(core: VolumeCore) {
    this.#core = core;
  }

  /**
   * Reports that bytes of the storage are lost, as a scrubber finds them. From then on they are read and
   * pinned with EIO, windows show them as lost, pins of them say so, and listeners are told. They are
   * whole again when all of their page is written by a write call, or when the page is punched out or
   * truncated and given to somebody anew. What the list has no room for widens it: see `badRanges`.
   * Whose pages are that no file has in memory is searched for, after all else (`Volume.blockOwners`); it
   * returns when that is told as well. Others are not held up.
   * Sleeps: for layout changes of the files that have the pages; for the transaction, for each part of a
   * search. Throws: EINVAL, ENOENT, EISDIR, EFAULT outside the device, EOPNOTSUPP where blocks are smaller than
   * 4096 bytes.
   */
  async poison(target: PoisonTarget): Promise<void> {
    await this.#core.runAsync(contextOf(target), this.#report(target));
  }

  poisonSync(target: PoisonTarget): void {
    this.#core.runSync(contextOf(target), this.#report(target));
  }

  /**
   * Reports that the device is gone (pulled out, unplugged), as it also is once it answers ENODEV or ENXIO.
   * `reason`: for the errors, in some 100 bytes. From then on every operation of every thread fails with
   * EIO, and those that wait for pins or leases end so. Windows show lost pages: loads give zeroes, stores
   * go nowhere, `lost` says `removed`. Leases have expired; what pins hold is lost (`pin.poisoned`).
   * Closing works: files, windows, pins and leases are given back as ever; `Volume.close` unmounts, writes
   * nothing, and tells so by EIO. A volume that is mounted again finds what was persistent.
   * Returns when nobody can reach anything of the device. Twice does nothing.
   * Sleeps: for layout changes of the files that have windows. Throws: EBADF when the volume is closed.
   */
  async removeDevice(reason = ""): Promise<void> {
    await this.#core.runAsync({ syscall: "removeDevice" }, this.#remove(reason));
  }

  removeDeviceSync(reason = ""): void {
    this.#core.runSync({ syscall: "removeDevice" }, this.#remove(reason));
  }

  #remove(reason: string): Operation<void> {
    if (typeof reason !== "string") throw wrongType("reason", "a string", reason);
    const core = this.#core;
    return function* (task) {
      core.dax.device.remove(reason);
      if (yield* untilRemoved(task, core.dax, core.dax.holdMapping)) tellRemoved(core);
    };
  }

  /** Why nothing can be reached any more, if the device was removed; else null. */
  get removed(): HoldfastError | null {
    const { device } = this.#core.dax;
    return device.isGone ? device.goneError() : null;
  }

  /** What is lost now, with the file that has it as far as its pages are in memory. */
  badRanges(): DeviceFailure[] {
    const core = this.#core;
    if (core.dax.device.isGone) return [failureOf(core, removedPages(core))];
    return badRanges(core.dax).map((range) => failureOf(core, failedPages(range)));
  }

  /** Has `listener` told of each failure that any thread reports. Returns how to end that. */
  onFailure(listener: (failure: DeviceFailure) => void): Disposable {
    if (typeof listener !== "function") throw wrongType("listener", "a function", listener);
    const core = this.#core;
    const { failures } = core.dax.device;
    const end = failures.listen((failed) => listener(failureOf(core, failed)));
    return { [Symbol.dispose]: end };
  }

  #report(target: PoisonTarget): Operation<void> {
    const core = this.#core;
    if (typeof target !== "object" || target === null)
      throw wrongType("target", "an object", target);
    const length = checkInteger("target.length", target.length, 1);
    if ("path" in target) {
      const path = checkPath("target.path", target.path);
      const offset = checkInteger("target.offset", target.offset);
      return (task) => reportInFile(task, core, path, offset, length);
    }
    const offset = checkInteger("target.deviceOffset", target.deviceOffset);
    return (task) => reportOnDevice(task, core, offset, length);
  }
}

function contextOf(target: PoisonTarget): { syscall: string; path?: string } {
  return "path" in target
    ? { syscall: "poison", path: pathText(target.path) }
    : { syscall: "poison" };
}

function failedPages({ first, last, owner }: BadRange): FailedPages {
  return { reason: "poisoned", owner, devicePage: first, pages: last - first + 1 };
}

/** All of the device. */
function removedPages(core: VolumeCore): FailedPages {
  const pages = core.dax.device.size / PAGE_SIZE;
  return { reason: "removed", owner: null, devicePage: 0, pages };
}

function failureOf(
  core: VolumeCore,
  { reason, owner, devicePage, pages }: FailedPages,
): DeviceFailure {
  const ino = owner?.ino ?? null;
  return {
    reason,
    deviceOffset: devicePage * PAGE_SIZE,
    length: pages * PAGE_SIZE,
    ino,
    offset: owner?.use === "data" ? owner.index * PAGE_SIZE : null,
    path: pathOf(core, ino),
    structure: owner === null ? null : structureOf(owner),
  };
}

function assertKept(core: VolumeCore): void {
  const { blockSize } = core.driver;
  if (blockSize === PAGE_SIZE) return;
  throw new HoldfastError(
    "EOPNOTSUPP",
    `lost pages of ${PAGE_SIZE} bytes are not kept where blocks have ${blockSize}`,
  );
}

function* reportOnDevice(
  task: Task,
  core: VolumeCore,
  deviceOffset: number,
  length: number,
): Sleeps<void> {
  assertKept(core);
  using scope = new Scope(core, task);
  yield* scope.root();
  const { size } = core.dax.device;
  if (deviceOffset + length > size) {
    const range = `[${deviceOffset}, ${deviceOffset + length})`;
    throw new HoldfastError("EFAULT", `${range} is not inside the device of ${size} bytes`);
  }
  const first = Math.floor(deviceOffset / PAGE_SIZE);
  const last = Math.ceil((deviceOffset + length) / PAGE_SIZE) - 1;
  yield* handleReport(task, core, core.dax.pages.bad.add(first, last));
}

function* reportInFile(
  task: Task,
  core: VolumeCore,
  path: Uint8Array,
  offset: number,
  length: number,
): Sleeps<void> {
  assertKept(core);
  using scope = new Scope(core, task);
  const inode = yield* scope.find(parsePath(path), true);
  if (inode.isDirectory) throw isDirectory();
  const reports = yield* listInFile(task, core.dax, inode.mapping, offset, offset + length);
  for (const report of reports) yield* handleReport(task, core, report);
}

/**
 * Lists the pages of [start, end) of a file that have blocks, and makes them present, so that it is
 * known whose they are. The map lock keeps the blocks with the file meanwhile.
 */
function* listInFile(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  start: number,
  end: number,
): Sleeps<PoisonReport[]> {
  const reports: PoisonReport[] = [];
  using _map = yield* lockShared(task, mapping + MappingWord.mapLock, mapName(dax, mapping));
  const stop = roundUp(Math.min(end, sizeOf(dax.thread, mapping)), PAGE_SIZE);
  for (let at = roundDown(start, PAGE_SIZE); at < stop; ) {
    const extent = yield* findExtent(task, dax, mapping, at);
    const to = Math.min(stop, extent.start + extent.length);
    if (extent.kind === "mapped") {
      const count = (to - at) / PAGE_SIZE;
      const first = (extent.address + (at - extent.start)) / PAGE_SIZE;
      // What is cached of a copied file is not lost with its blocks.
      if (!isCopied(dax, mapping)) yield* populate(task, dax, mapping, at / PAGE_SIZE, count);
      reports.push(dax.pages.bad.add(first, first + count - 1));
    }
    at = to;
  }
  return reports;
}

/** Handles a report that is listed, and tells of it. */
function* handleReport(task: Task, core: VolumeCore, report: PoisonReport): Sleeps<void> {
  const { device, holdMapping } = core.dax;
  const tell = (range: BadRange): void => device.failures.tell(failedPages(range));
  yield* handlePoison(task, core.dax, report, holdMapping, tell);
}

function tellRemoved(core: VolumeCore): void {
  core.dax.device.failures.tell(removedPages(core));
}

/** Handles the removal of the device, where it was only noted, or its handler has died. */
export function* finishRemoval(task: Task, core: VolumeCore): Sleeps<void> {
  if (yield* handleRemoval(task, core.dax, core.dax.holdMapping)) tellRemoved(core);
}

/** Handles the reports of threads that have died before they had done so. */
export function* finishReports(task: Task, core: VolumeCore): Sleeps<void> {
  const { bad } = core.dax.pages;
  for (let report = bad.takeAbandoned(); report !== null; report = bad.takeAbandoned()) {
    yield* handleReport(task, core, report);
  }
}
