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
 *        (4) Whose pages are that no one file has in memory, the driver's reverse mapping answers: files that
 *            share them, a file of which no window shows them (nor will, by 1), or the filesystem itself.
 *            That may be a long search, so it comes last, when all others are told of. A file that it
 *            finds is asked again, with its map lock held if it is in memory, before it is named.
 */
import { HoldfastError } from "../base/errors.ts";
import { type Ino, PAGE_SIZE } from "../base/quantities.ts";
import type { PageOwner } from "../device/failure-events.ts";
import type { Device } from "../device/index.ts";
import { inoOf, type Mapping, MappingWord } from "../mapping/mapping.ts";
import type { BlockOwner, OwnerSearch } from "../iomap/contract.ts";
import { beginTransaction } from "../metadata/transaction.ts";
import type { PageRun, PoisonReport } from "../pages/bad-pages.ts";
import type { Pages } from "../pages/pages.ts";
import { lockExclusive } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { type Dax, isCopied, mapName } from "./dax.ts";
import { findOwners, searchFor } from "./owners.ts";
import { loseInWindows } from "./show.ts";

/** Bad pages of the device and, where one is known, who has them. */
export interface BadRange extends PageRun {
  /** The first page's place. Null: nobody has the pages, or nobody in memory has, as far as that was asked. */
  readonly owner: PageOwner | null;
}

function inFile(ino: number, index: number): PageOwner {
  return { use: "data", ino, index, group: null };
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

/** Told of bad pages: of those that a file has, while its locks keep them with it. */
export type TellBad = (range: BadRange) => void;

/**
 * Handles a report that is listed: takes its pages out of all windows, whatever file has them, and tells of
 * them with their owners. Those that no file in memory has are told of last, when they have been searched.
 * Locks: takes the map lock of each owner, exclusively. Sleeps: for them, and as `findOwners`.
 */
export function* handlePoison(
  task: Task,
  dax: Dax,
  { first, last, report }: PoisonReport,
  hold: HoldMapping,
  tell: TellBad,
): Sleeps<void> {
  const unknown: PageRun[] = [];
  for (let page = first; page <= last; ) {
    const lost = yield* loseRun(task, dax, page, last, hold, tell);
    const before = unknown.at(-1);
    if (lost === 0) {
      if (before?.last === page - 1) unknown[unknown.length - 1] = { ...before, last: page };
      else unknown.push({ first: page, last: page });
    }
    page += Math.max(lost, 1);
  }
  for (const run of unknown) yield* loseSearched(task, dax, run, hold, tell);
  dax.pages.bad.noteHandled(report);
}

/** Loses pages whose owners the driver knows, or is to find: in each file, and as the volume's own. */
function* loseSearched(
  task: Task,
  dax: Dax,
  run: PageRun,
  hold: HoldMapping,
  tell: TellBad,
): Sleeps<void> {
  const pages = run.last - run.first + 1;
  const search = searchFor(dax, run.first * PAGE_SIZE, pages * PAGE_SIZE);
  const owners = yield* findOwners(task, dax, search);
  const named: BadRange[] = [];
  for (const ino of new Set(owners.filter(isData).map((owner) => owner.ino))) {
    named.push(...(yield* loseInFile(task, dax, search, ino, hold, tell)));
  }
  const others = owners.filter((owner) => !isData(owner)).flatMap((owner) => badOf(dax, owner));
  for (const range of [...others, ...restOf(run, [...named, ...others])]) tell(range);
}

function isData(owner: BlockOwner): owner is BlockOwner & { ino: Ino } {
  return owner.use === "data";
}

/** Loses what one file has of the searched pages now. Where it is not in memory, no window shows it. */
function* loseInFile(
  task: Task,
  dax: Dax,
  search: OwnerSearch,
  ino: Ino,
  hold: HoldMapping,
  tell: TellBad,
): Sleeps<BadRange[]> {
  using held = hold(ino);
  using _map =
    held === null
      ? null
      : yield* lockExclusive(task, held.mapping + MappingWord.mapLock, mapName(dax, held.mapping));
  using transaction = yield* beginTransaction(task, dax.cache);
  const owned = dax.driver.ownedBy(transaction, search, ino).filter(isData);
  const lost = owned.flatMap((owner) => badOf(dax, owner));
  for (const range of lost) {
    // What is cached of a copied file is not lost with its blocks.
    if (held !== null && !isCopied(dax, held.mapping)) {
      const index = range.owner.index;
      loseInWindows(dax, held.mapping, index, index + (range.last - range.first));
    }
    tell(range);
  }
  return lost;
}

/** What is bad of the blocks of an owner. */
function badOf(
  dax: Dax,
  { address, length, use, ino, start, group }: BlockOwner,
): (BadRange & { owner: PageOwner })[] {
  const ranges: (BadRange & { owner: PageOwner })[] = [];
  const end = lastPageOf(address, length);
  for (let page = firstPageOf(address); page <= end; ) {
    const bad = dax.pages.bad.find(page, end);
    if (bad === null) break;
    const index = use === "data" ? firstPageOf((start ?? 0) + bad.first * PAGE_SIZE - address) : 0;
    ranges.push({ first: bad.first, last: bad.last, owner: { use, ino, index, group } });
    page = bad.last + 1;
  }
  return ranges;
}

/** The parts of a run that are in none of these ranges. */
function restOf(run: PageRun, ranges: readonly PageRun[]): BadRange[] {
  const rest: BadRange[] = [];
  let page = run.first;
  const sorted = [...ranges].sort((a, b) => a.first - b.first);
  for (const { first, last } of [...sorted, { first: run.last + 1, last: run.last }]) {
    if (first > page) rest.push({ first: page, last: first - 1, owner: null });
    page = Math.max(page, last + 1);
  }
  return rest;
}

/**
 * Loses the pages from `first` on that one file in memory has alone, one after another, and tells of them.
 * Returns how many.
 */
function* loseRun(
  task: Task,
  dax: Dax,
  first: number,
  last: number,
  hold: HoldMapping,
  tell: TellBad,
): Sleeps<number> {
  const { pages, thread } = dax;
  const found = pages.ownerOf(first);
  if (found === null) return 0;
  // None: its record is being taken out, when no window is left, or is another's by now.
  using held = hold(inoOf(thread, found.owner));
  if (held === null) return 0;
  const { mapping } = held;
  using _map = yield* lockExclusive(task, mapping + MappingWord.mapLock, mapName(dax, mapping));
  const bad = pages.bad.find(first, last);
  if (bad?.first !== first) return 0;
  const index = pages.ownerOf(first)?.index ?? 0;
  let end = first;
  while (end <= bad.last && isPageOf(pages, end, mapping, index + (end - first))) end++;
  if (end === first) return 0;
  loseInWindows(dax, mapping, index, index + (end - first) - 1);
  tell({ first, last: end - 1, owner: inFile(inoOf(thread, mapping), index) });
  return end - first;
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
      const owner = found === null ? null : inFile(inoOf(thread, found.owner), found.index);
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
