/**
 * Builds the whole core over the ram filesystem, a simulated device and simulated windows, once for all
 * schedules of a scenario: files with their pages, windows, and what is shown in them.
 */
import type { DriverSpec } from "./watched-driver.ts";
import { HoldfastError } from "../../base/errors.ts";
import { type Ino, PAGE_SIZE } from "../../base/quantities.ts";
import { Dax, type DataDriver } from "../../dax/dax.ts";
import { populate, resolveFault, showAll } from "../../dax/fault.ts";
import { firstCachePage, PageCache } from "../../dax/page-cache.ts";
import { pinRange } from "../../dax/pins.ts";
import { cloneRange } from "../../dax/reflink.ts";
import { writeBack } from "../../dax/write-back.ts";
import type { Device } from "../../device/index.ts";
import { RamDriver } from "../../drivers/ram/driver.ts";
import { createLeaseArea } from "../../layout/lease.ts";
import {
  Access,
  createMappingArea,
  initMapping,
  type Mapping,
  MappingWord,
  mappingSlab,
  noteWritten,
  nodeSlab,
} from "../../mapping/mapping.ts";
import { MetadataCache } from "../../metadata/cache.ts";
import {
  beginTransaction,
  createTransactionArea,
  notePersistent,
  type Transaction,
} from "../../metadata/transaction.ts";
import type { Time } from "../../iomap/contract.ts";
import { Area as PageArea, Pages } from "../../pages/pages.ts";
import { store } from "../../sync/atomics.ts";
import { type Region, Root } from "../../sync/region.ts";
import { allocateZeroed } from "../../sync/slab.ts";
import type { Sleeps, Task } from "../../sync/sleep.ts";
import { createStatistics } from "../../sync/statistics.ts";
import type { Thread } from "../../sync/thread.ts";
import { createWindowArea, type Window, Windows } from "../../window/window.ts";
import { ensure } from "../scenario.ts";
import { contentOf, createDeviceArea, SimulatedDevice } from "./device.ts";
import { createMediumArea, MetadataMedium } from "./metadata-medium.ts";
import { createPortArea, SimulatedPort } from "./port.ts";
import { makeFirstLeases, regionWithThreads, taskOf } from "./threads.ts";

/** The ram filesystem's tables take 21 MB. */
const REGION_BYTES = 2 ** 25;
/** Seconds that no clock shows: they are in the times of a file until a change sets them. */
export const LONG_AGO = 7;
const TIME: Time = { seconds: LONG_AGO, nanoseconds: 0 };

/**
 * A file's pages, a character each: "#" has a block and an entry and was pinned before, "=" has a
 * block only, "u" an unwritten one, "." is a hole.
 */
export interface FileSpec {
  readonly name: string;
  readonly pages: string;
  /** Bytes; without it all of its pages. What lies beyond has blocks, and no entry. */
  readonly size?: number;
  /** Direct although the volume has a page cache. */
  readonly direct?: true;
}

/**
 * Pages of one file that another one owns, too, from the same place on. `present`: files whose entries
 * name them.
 */
export interface CloneSpec {
  readonly source: string;
  readonly target: string;
  readonly first: number;
  readonly count: number;
  readonly present?: readonly string[];
}

/** A window over pages of a file. `shown`: pages that were touched before; all where none can fault. */
export interface WindowSpec {
  readonly file: string;
  readonly first: number;
  readonly pages: number;
  readonly writable: boolean;
  readonly shown?: readonly number[];
  readonly sync?: boolean;
}

export interface VolumeSpec extends DriverSpec {
  readonly actors: number;
  /** Of the device. Those that no file has are free. */
  readonly blocks: number;
  readonly files: readonly FileSpec[];
  readonly clones?: readonly CloneSpec[];
  readonly windows?: readonly WindowSpec[];
  /** Whether touches can fault. Default: true. */
  readonly faults?: boolean;
  readonly readOnly?: boolean;
  /**
   * Whether all files have been written back, so that nothing is noted or marked as written. "noted":
   * and then their last pages were written ("N"). Default: what they hold is persistent, marks are left.
   */
  readonly synced?: true | "noted";
  /** Pages of a page cache: then files are copied. Default: they are direct. */
  readonly cachePages?: number;
  /** Whether the region has no word left to give; or no page record only. */
  readonly exhausted?: boolean | "page records";
}

/** A file, in every schedule the same. */
export interface BuiltFile {
  readonly name: string;
  readonly ino: Ino;
  readonly mapping: Mapping;
}

export interface BuiltWindow {
  readonly window: Window;
  readonly file: BuiltFile;
  readonly address: number;
  readonly first: number;
  readonly pages: number;
  readonly sync: boolean;
}

export interface VolumeShared {
  readonly spec: VolumeSpec;
  readonly region: Region;
  readonly files: readonly BuiltFile[];
  readonly windows: readonly BuiltWindow[];
  readonly device: number;
  /** The memory of the page cache, or 0. */
  readonly cacheMemory: number;
  /** A word in which actors count what has come to pass. */
  readonly told: number;
  readonly port: number;
  /** What of the metadata is on the medium, or 0 (metadata-medium.ts). */
  readonly medium: number;
}

/** One thread's use of the volume. */
export interface Hand {
  readonly thread: Thread;
  readonly device: SimulatedDevice;
  readonly port: SimulatedPort;
  /** Addresses where its windows cannot be shown anything. */
  readonly refused: Set<number>;
  readonly dax: Dax;
  /** The same, for faults: as the pager has it. */
  readonly pager: Dax;
}

/** Builds it, alone. */
export function buildVolume(spec: VolumeSpec): VolumeShared {
  // In the checked build a generator that is called runs to its end.
  return build(spec) as unknown as VolumeShared;
}

function* build(spec: VolumeSpec): Sleeps<VolumeShared> {
  const { region, thread } = regionWithThreads(spec.actors, REGION_BYTES);
  const device = createDeviceArea(region, spec.blocks);
  const port = createPortArea(region);
  const medium = createMediumArea(region, spec);
  createTransactionArea(thread);
  createMappingArea(thread);
  createWindowArea(thread);
  createStatistics(thread);
  createLeaseArea(thread);
  makeFirstLeases(thread);
  const simulated = new SimulatedDevice(thread, device, spec.blocks);
  MetadataCache.create(thread, simulated, PAGE_SIZE);
  const { cachePages = 0 } = spec;
  const cacheMemory = cachePages === 0 ? 0 : createDeviceArea(region, cachePages);
  const cached = cachePages === 0 ? null : createCache(thread, spec, cacheMemory);
  Pages.create(thread, cached?.endByte ?? spec.blocks * PAGE_SIZE);
  const ram = RamDriver.create(thread, simulated, spec.blocks * PAGE_SIZE, TIME);
  const files: BuiltFile[] = [];
  const hand = makeHand(thread, { device, cacheMemory, port, medium, spec, files }, ram);
  const { task } = taskOf(thread);
  for (const file of spec.files) files.push(yield* buildFile(task, hand, ram, file));
  for (const clone of spec.clones ?? []) yield* buildClone(task, hand, files, clone);
  simulated.persist(0, simulated.size);
  for (const [index, { mapping, ino }] of files.entries()) {
    if (spec.synced === undefined) continue;
    yield* writeBack(task, hand.dax, mapping);
    if (spec.synced !== "noted") continue;
    const last = spec.files[index]!.pages.length - 1;
    const extent = ram.extentAt(ino, last * PAGE_SIZE, (last + 1) * PAGE_SIZE);
    ensure(extent.kind === "mapped", "the last page is a hole");
    simulated.writeBlock(extent.address / PAGE_SIZE, contentOf("N"));
    noteWritten(thread, mapping, last, last);
  }
  if (medium !== 0) {
    const flushed = yield* hand.dax.flushMetadata(task);
    hand.device.persistAll();
    notePersistent(thread, flushed);
  }
  const windows: BuiltWindow[] = [];
  for (const window of spec.windows ?? []) {
    windows.push(yield* buildWindow(task, hand, files, window));
  }
  const told = region.allocatePages(1);
  if (spec.exhausted) exhaust(thread, spec.exhausted);
  return { spec, region, files, windows, device, cacheMemory, told, port, medium };
}

function createCache(thread: Thread, spec: VolumeSpec, area: number): PageCache {
  const first = firstCachePage(spec.blocks * PAGE_SIZE);
  return PageCache.create(thread, simulatedMemory(thread, spec, area), first);
}

function simulatedMemory(thread: Thread, spec: VolumeSpec, area: number): Device {
  const first = firstCachePage(spec.blocks * PAGE_SIZE);
  return new SimulatedDevice(thread, area, spec.cachePages!, null, first) as unknown as Device;
}

/** Takes all pages that the region could still hand out, and all tree nodes; or all page records. */
function exhaust(thread: Thread, what: true | "page records"): void {
  const { region, words } = thread;
  if (what === "page records") {
    store(words, region.root(Root.pages) + PageArea.chunksMax, 0);
    return;
  }
  region.allocatePages((region.buffer.byteLength - region.bytesUsed) / 4);
  try {
    for (;;) allocateZeroed(thread, nodeSlab(thread));
  } catch (error) {
    if (!(error instanceof HoldfastError && error.code === "ENOMEM")) throw error;
  }
}

function* buildFile(task: Task, hand: Hand, ram: RamDriver, spec: FileSpec): Sleeps<BuiltFile> {
  const { thread, dax } = hand;
  let ino = 0 as Ino;
  const size = spec.size ?? spec.pages.length * PAGE_SIZE;
  {
    using transaction = yield* beginTransaction(task, dax.cache);
    const name = new TextEncoder().encode(spec.name);
    const made = { type: "file", mode: 0o644, uid: 0, gid: 0, time: TIME } as const;
    ino = ram.create(transaction, ram.rootIno, name, made);
    placePages(hand, ram, transaction, ino, spec);
    ram.setSize(transaction, ino, size);
    transaction.commit();
  }
  const mapping = allocateZeroed(thread, mappingSlab(thread));
  initMapping(thread, mapping, ino, size, 1);
  const isCopied = dax.pageCache !== null && spec.direct === undefined;
  if (isCopied) store(thread.words, mapping + MappingWord.access, Access.copied);
  for (const { code, first, count } of runsOf(spec.pages)) {
    if (code !== "#") continue;
    const [at, length] = [first * PAGE_SIZE, count * PAGE_SIZE];
    const pin = yield* pinRange(task, dax, mapping, at, length, !dax.readOnly);
    pin.release();
  }
  return { name: spec.name, ino, mapping };
}

function placePages(
  { device }: Hand,
  ram: RamDriver,
  transaction: Transaction,
  ino: Ino,
  spec: FileSpec,
): void {
  for (const { code, first, count } of runsOf(spec.pages)) {
    if (code === ".") continue;
    const mode = code === "u" ? "preallocate" : "write";
    const extent = ram.allocate(transaction, ino, first * PAGE_SIZE, count * PAGE_SIZE, mode);
    const hasBlocks = extent.kind === "mapped" || extent.kind === "unwritten";
    ensure(hasBlocks && extent.length >= count * PAGE_SIZE, "no room for the file");
    const start = extent.address / PAGE_SIZE;
    const content = contentOf(code === "u" ? "?" : spec.name);
    for (let page = 0; page < count; page++) device.writeBlock(start + page, content);
  }
}

function runsOf(pages: string): { code: string; first: number; count: number }[] {
  const runs: { code: string; first: number; count: number }[] = [];
  for (let first = 0; first < pages.length; ) {
    const code = pages[first]!;
    let count = 1;
    while (pages[first + count] === code) count++;
    runs.push({ code, first, count });
    first += count;
  }
  return runs;
}

function* buildClone(
  task: Task,
  { dax }: Hand,
  files: readonly BuiltFile[],
  { source, target, first, count, present = [] }: CloneSpec,
): Sleeps<void> {
  const named = (name: string): Mapping => files.find((file) => file.name === name)!.mapping;
  const [offset, length] = [first * PAGE_SIZE, count * PAGE_SIZE];
  const range = { sourceOffset: offset, offset, length };
  yield* cloneRange(task, dax, named(source), named(target), range);
  for (const name of present) {
    yield* populate(task, dax, named(name), first, count); // alone, so without its lock
  }
}

function* buildWindow(
  task: Task,
  { dax, pager }: Hand,
  files: readonly BuiltFile[],
  spec: WindowSpec,
): Sleeps<BuiltWindow> {
  const file = files.find(({ name }) => name === spec.file)!;
  const { windows } = dax;
  const { first, pages, writable, sync = false } = spec;
  const window = windows.add(file.mapping, first, pages, writable, sync);
  const address = windows.address(window);
  const serial = windows.serial(window);
  if (!windows.port.faults) yield* showAll(task, dax, window);
  for (const page of spec.shown ?? []) {
    const at = address + (page - first) * PAGE_SIZE;
    yield* resolveFault(task, pager, window, serial, at, false);
  }
  return { window, file, address, first, pages, sync };
}

export function makeHand(
  thread: Thread,
  shared: Omit<VolumeShared, "region" | "windows" | "told">,
  driver: DataDriver | ((device: SimulatedDevice, pages: Pages) => DataDriver),
): Hand {
  const { device, cacheMemory, port, spec } = shared;
  const first = firstCachePage(spec.blocks * PAGE_SIZE);
  const behind = cacheMemory === 0 ? null : { area: cacheMemory, first };
  const simulated = new SimulatedDevice(thread, device, spec.blocks, behind);
  const faults = spec.faults ?? true;
  const refused = new Set<number>();
  const simulatedPort = new SimulatedPort(thread, port, { faults, refused, reads: false });
  const pagersPort = new SimulatedPort(thread, port, { faults, refused, reads: true });
  const pages = Pages.attach(thread);
  const parts = {
    thread,
    device: simulated as unknown as Device,
    cache: MetadataCache.attach(thread, simulated),
    pages,
    windows: new Windows(thread, simulatedPort.asPort),
    driver: typeof driver === "function" ? driver(simulated, pages) : driver,
    pageCache:
      cacheMemory === 0
        ? null
        : PageCache.attach(thread, simulatedMemory(thread, spec, cacheMemory), first),
    readOnly: spec.readOnly ?? false,
    protect: true,
  };
  const dax = new Dax(parts);
  const pager = new Dax({ ...parts, windows: new Windows(thread, pagersPort.asPort) });
  pager.isPager = true;
  if (shared.medium !== 0) {
    const medium = new MetadataMedium(thread.region, shared);
    simulated.metadata = medium;
    dax.flushMetadata = (task) => medium.flush(task, parts.cache);
    pager.flushMetadata = dax.flushMetadata;
  }
  return { thread, device: simulated, port: simulatedPort, refused, dax, pager };
}
