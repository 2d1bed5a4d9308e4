/**
 * Memory failure: pages of the device whose bytes are lost.
 *
 *     report: list the pages -> by owner: map lock, look again, revoke -> tell
 *     healthy --report--> bad --overwritten whole, or zeroed for a new owner--> healthy
 *
 * Rules. (1) A report is listed before owners are looked for; faults and pins look at the list after
 *            their pages have an owner (pages/bad-pages.ts, invariant 2).
 *        (2) Owner and list are looked at again under the owner's map lock: it may have lost the page, and
 *            whoever has it by now has looked at the list; or has had it zeroed, and it is healthy.
 *        (3) What is overwritten is taken off the list last.
 */
import { HoldfastError } from "../base/errors.ts";
import { PAGE_SIZE } from "../base/quantities.ts";
import type { Device } from "../device/index.ts";
import { inoOf, type Mapping, MappingWord } from "../mapping/mapping.ts";
import type { BlockOwner, BlockSharing } from "../iomap/contract.ts";
import { beginTransaction } from "../metadata/transaction.ts";
import type { PageRun, PoisonReport } from "../pages/bad-pages.ts";
import type { Pages } from "../pages/pages.ts";
import { lockExclusive } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { type Dax, findExtent } from "./dax.ts";
import { loseInWindows } from "./show.ts";

/** Bad pages of the device and, where one is known, the file that has them. */
export interface BadRange extends PageRun {
  /** The first page's place, or null: no file that is in memory has the pages, or several share them. */
  readonly owner: { readonly ino: number; readonly index: number } | null;
}

/** Keeps a file's record while it is held. */
export interface HeldMapping extends Disposable {
  readonly mapping: Mapping;
}

/** The record of an inode, kept, if it is in memory and nobody takes it out. */
export type HoldMapping = (ino: number) => HeldMapping | null;

function firstPageOf(address: number): number {
  return Math.floor(address / PAGE_SIZE);
}

function lastPageOf(address: number, length: number): number {
  return Math.floor((address + length - 1) / PAGE_SIZE);
}

/** How many of `length` bytes from a device byte on lie before the first bad page. */
export function healthyBytes(pages: Pages, address: number, length: number): number {
  const bad = pages.bad.find(firstPageOf(address), lastPageOf(address, length));
  return bad === null ? length : Math.max(0, bad.first * PAGE_SIZE - address);
}

/** The error of who needs byte `at` of a file, on a bad page of the device or of one that is gone. */
export function poisonedError(
  dax: Dax,
  mapping: Mapping,
  at: number,
  address: number,
): HoldfastError {
  const { deviceState } = dax.pages;
  if (deviceState.isGone) return deviceState.goneError();
  const page = firstPageOf(address);
  return new HoldfastError(
    "EIO",
    `page ${Math.floor(at / PAGE_SIZE)} of inode ${inoOf(dax.thread, mapping)} is lost (byte ${at}; ` +
      `bytes ${page * PAGE_SIZE} to ${(page + 1) * PAGE_SIZE - 1} of the device are poisoned); ` +
      "write whole pages over it, or punch it out",
  );
}

/**
 * Copies out of the device, and stops before the first bad page. Returns the bytes that are good: it
 * looks again afterwards, since a page may have gone bad while it was copied, or the device.
 */
export function copyOutHealthy(dax: Dax, address: number, into: Uint8Array): number {
  const { device, pages } = dax;
  const healthy = healthyBytes(pages, address, into.length);
  device.copyOut(address, healthy === into.length ? into : into.subarray(0, healthy));
  if (pages.deviceState.isGone) return 0;
  return healthyBytes(pages, address, healthy);
}

/**
 * Copies to the device over bad pages, if all of each is overwritten, and takes them off the list.
 * `isEnd`: the file ends with the source, so that what lies behind it in its page is nobody's and is
 * zeroed. Returns the bytes written, in whole pages but for the end; 0 where a page keeps lost bytes: not
 * all of it is written, or it was lost again meanwhile.
 */
export function overwriteBad(
  dax: Dax,
  address: number,
  source: Uint8Array,
  isEnd: boolean,
): number {
  const { device, pages } = dax;
  const report = pages.bad.lastReport;
  const rest = source.length % PAGE_SIZE;
  const length = isEnd ? source.length : source.length - rest;
  if (address % PAGE_SIZE !== 0 || length === 0) return 0;
  device.copyIn(address, source.subarray(0, length));
  if (isEnd && rest > 0) device.zero(address + length, PAGE_SIZE - rest);
  const healed = pages.bad.clear(firstPageOf(address), lastPageOf(address, length), report);
  return healed ? length : 0;
}

/** Zeroes a part of a block; what lies on a bad page is lost already and stays so. */
export function zeroHealthy(dax: Dax, address: number, length: number): void {
  if (healthyBytes(dax.pages, address, length) === length) dax.device.zero(address, length);
}

/**
 * The device as drivers fill new blocks of it: whole pages that are zeroed or copied to, for their new
 * owner, are healthy again. (Nobody can reach them yet.)
 */
export class HealingDevice {
  readonly size: number;
  readonly #device: Pick<Device, "zero" | "copy">;
  readonly #pages: Pages;

  constructor(device: Pick<Device, "zero" | "copy" | "size">, pages: Pages) {
    this.size = device.size;
    this.#device = device;
    this.#pages = pages;
  }

  zero(at: number, length: number): void {
    const { bad } = this.#pages;
    const report = bad.lastReport;
    this.#device.zero(at, length);
    const first = Math.ceil(at / PAGE_SIZE);
    const end = firstPageOf(at + length);
    if (end > first) bad.clear(first, end - 1, report);
  }

  /**
   * Whole pages. Throws: EIO where what is to be copied is lost. It looks again afterwards, since a page
   * may have gone bad while it was copied.
   */
  copy(from: number, to: number, length: number): void {
    const { bad } = this.#pages;
    const report = bad.lastReport;
    this.#assertHealthy(from, length);
    this.#device.copy(from, to, length);
    this.#assertHealthy(from, length);
    bad.clear(firstPageOf(to), lastPageOf(to, length), report);
  }

  #assertHealthy(at: number, length: number): void {
    const lost = this.#pages.bad.find(firstPageOf(at), lastPageOf(at, length));
    if (lost === null) return;
    throw new HoldfastError(
      "EIO",
      `what several files share in bytes ${lost.first * PAGE_SIZE} to ` +
        `${(lost.last + 1) * PAGE_SIZE - 1} of the device is poisoned and cannot be copied; punch it out`,
    );
  }
}

/**
 * Handles a report that is listed: takes its pages out of all windows, whatever file has them. Returns
 * them with their owners, for those who are to be told.
 * Locks: takes the map lock of each owner, exclusively. Sleeps: for them.
 */
export function* handlePoison(
  task: Task,
  dax: Dax,
  { first, last, report }: PoisonReport,
  hold: HoldMapping,
): Sleeps<BadRange[]> {
  const handled: BadRange[] = [];
  for (let page = first; page <= last; ) {
    const shared = yield* loseShared(task, dax, page, hold);
    if (shared.length > 0) {
      handled.push(...shared);
      page++;
      continue;
    }
    const run = yield* loseRun(task, dax, page, last, hold);
    const before = handled.at(-1);
    if (run.owner === null && before?.owner === null) {
      handled[handled.length - 1] = { ...before, last: run.last };
    } else handled.push(run);
    page = run.last + 1;
  }
  dax.pages.bad.noteHandled(report);
  return handled;
}

/** Loses a page that several files share, in each of those that is in memory: the driver knows them. */
function* loseShared(
  task: Task,
  dax: Dax,
  devicePage: number,
  hold: HoldMapping,
): Sleeps<BadRange[]> {
  const { pages } = dax;
  const { sharing } = dax.driver;
  const record = pages.find(devicePage);
  if (sharing === null || record === null || pages.sharers(record) === 0) return [];
  const ranges: BadRange[] = [];
  for (const { ino, start } of yield* ownersOf(task, dax, sharing, devicePage)) {
    using held = hold(ino);
    if (held === null) continue;
    const { mapping } = held;
    using _map = yield* lockExclusive(task, mapping + MappingWord.mapLock, {
      rankName: "map",
      order: ino,
    });
    const extent = yield* findExtent(task, dax, mapping, start);
    const isThere =
      extent.kind === "mapped" && extent.address + start - extent.start === devicePage * PAGE_SIZE;
    if (!isThere || pages.bad.find(devicePage, devicePage) === null) continue;
    const index = start / PAGE_SIZE;
    loseInWindows(dax, mapping, index, index);
    ranges.push({ first: devicePage, last: devicePage, owner: { ino, index } });
  }
  return ranges;
}

function* ownersOf(
  task: Task,
  dax: Dax,
  sharing: BlockSharing,
  devicePage: number,
): Sleeps<BlockOwner[]> {
  using transaction = yield* beginTransaction(task, dax.cache);
  return sharing.ownersOf(transaction, devicePage * PAGE_SIZE, PAGE_SIZE);
}

/** Loses the pages from `first` on that one file has, one after another; or one page of nobody's. */
function* loseRun(
  task: Task,
  dax: Dax,
  first: number,
  last: number,
  hold: HoldMapping,
): Sleeps<BadRange> {
  const { pages, thread } = dax;
  const nobody: BadRange = { first, last: first, owner: null };
  const found = pages.ownerOf(first);
  if (found === null) return nobody;
  // None: its record is being taken out, when no window is left, or is another's by now.
  using held = hold(inoOf(thread, found.owner));
  if (held === null) return nobody;
  const { mapping } = held;
  const ino = inoOf(thread, mapping);
  using _map = yield* lockExclusive(task, mapping + MappingWord.mapLock, {
    rankName: "map",
    order: ino,
  });
  const bad = pages.bad.find(first, last);
  if (bad?.first !== first) return nobody;
  const index = pages.ownerOf(first)?.index ?? 0;
  let end = first;
  while (end <= bad.last && isPageOf(pages, end, mapping, index + (end - first))) end++;
  if (end === first) return nobody;
  loseInWindows(dax, mapping, index, index + (end - first) - 1);
  return { first, last: end - 1, owner: { ino, index } };
}

function isPageOf(pages: Pages, devicePage: number, mapping: Mapping, index: number): boolean {
  const found = pages.ownerOf(devicePage);
  return found !== null && found.owner === mapping && found.index === index;
}

/** All bad pages, by range of the device and owner, as far as one is in memory. */
export function badRanges(dax: Dax): BadRange[] {
  const { pages, thread } = dax;
  const ranges: BadRange[] = [];
  for (const { first, last } of pages.bad.list()) {
    for (let page = first; page <= last; ) {
      const found = pages.ownerOf(page);
      let end = page + 1;
      while (end <= last && continues(pages, end, found, end - page)) end++;
      const owner = found === null ? null : { ino: inoOf(thread, found.owner), index: found.index };
      ranges.push({ first: page, last: end - 1, owner });
      page = end;
    }
  }
  return ranges;
}

function continues(
  pages: Pages,
  devicePage: number,
  from: ReturnType<Pages["ownerOf"]>,
  distance: number,
): boolean {
  if (from === null) return pages.ownerOf(devicePage) === null;
  return isPageOf(pages, devicePage, from.owner, from.index + distance);
}
