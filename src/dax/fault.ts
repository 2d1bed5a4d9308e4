/**
 * Faults: from a page of a file to an entry, and from an entry to a window.
 *
 * Both need the map lock, shared: a layout change holds it exclusively, so the extents found here
 * stay mapped until it is dropped. New blocks are zeroed by the driver before their transaction
 * ends, so nobody ever sees what they held before.
 */
import { HoldfastError } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import { HUGE_PAGES, HUGE_SIZE, PAGE_SIZE, roundUp } from "../base/quantities.ts";
import type { Extent } from "../iomap/contract.ts";
import type { PageRange } from "../layout/break.ts";
import {
  type LockedEntry,
  lockEntry,
  publishAround,
  publishPage,
  publishShared,
  publishZero,
  unlockEntry,
} from "../mapping/entries.ts";
import {
  hasLostUnlisted,
  inoOf,
  type Mapping,
  MappingWord,
  noteLostUnlisted,
  noteWritten,
} from "../mapping/mapping.ts";
import { traceFile } from "../mapping/trace.ts";
import { EntryKind, isPageKind, kindOf, pageOf, entryAt } from "../mapping/tree.ts";
import { lockShared } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { Event } from "../sync/trace.ts";
import type { FaultPort } from "../window/fault-port.ts";
import type { Window } from "../window/window.ts";
import {
  backPages,
  fillPage,
  findCached,
  isHole,
  isKnownHole,
  pageCacheOf,
  piecesOf,
} from "./copied.ts";
import {
  changeInTransaction,
  type Dax,
  findExtent,
  isCopied,
  stableSize,
  touchTimes,
  mapName,
} from "./dax.ts";
import { addressOfPage, loseShown, showDevicePages, showInWindows, showLost } from "./show.ts";
import { persistForSync, persistLayout } from "./sync-fault.ts";
import { findShared, findStillShared, unshareAlone } from "./unshare.ts";

/** Blocks allocated at once for a store into a hole: neighbours are usually stored to next. */
const ALLOCATE_AROUND_PAGES = 16;

/** How many pages from `index` on its entry makes present: 1, the rest of a folio, or none. */
function pagesPresent(dax: Dax, mapping: Mapping, index: number): number {
  const kind = kindOf(entryAt(dax.thread.words, mapping, index));
  if (kind === EntryKind.huge) return HUGE_PAGES - (index % HUGE_PAGES);
  return kind === EntryKind.page ? 1 : 0;
}

/**
 * Makes pages [first, first + count) present, allocating what are holes: the slow path of a pin.
 * Of a copied file they are made so in the page cache, and a read-only volume's holes stay holes.
 * Locks: the map lock, shared. Sleeps: for entries and the transaction.
 * Throws: ENOSPC, ENOMEM, CorruptionError, EROFS for a hole of a read-only volume.
 */
export function* populate(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  first: number,
  count: number,
): Sleeps<void> {
  const end = first + count;
  if (isCopied(dax, mapping)) {
    if (!dax.readOnly) yield* backPages(task, dax, mapping, first, end);
    for (let index = first; index < end; index++) yield* cachePage(task, dax, mapping, index);
    return;
  }
  for (let index = first; index < end; ) {
    const present = pagesPresent(dax, mapping, index);
    if (present > 0) index += present;
    else yield* makePresent(task, dax, mapping, index, end);
  }
}

/**
 * Makes a page of a copied file cached. Locks: the map lock, shared. Sleeps: for its entry.
 * Throws: ENOMEM, EIO, CorruptionError.
 */
function* cachePage(task: Task, dax: Dax, mapping: Mapping, index: number): Sleeps<void> {
  const cache = pageCacheOf(dax);
  const cached = findCached(dax, mapping, index);
  if (cached >= 0) {
    cache.noteUsed(cached);
    return;
  }
  const pieces = yield* piecesOf(task, dax, mapping, index);
  const held = yield* lockEntry(task, mapping, index, false);
  if (isPageKind(kindOf(held.entry))) {
    unlockEntry(dax.thread, held);
    return;
  }
  let page = -1;
  try {
    page = fillPage(dax, mapping, index, pieces);
  } finally {
    if (page < 0) unlockEntry(dax.thread, held);
  }
  try {
    replaceByPage(dax, held, page, false);
  } catch (error) {
    // The windows that were shown it must not keep what is somebody else's next.
    if (dax.isPager) loseShown(dax, mapping, index, index, null);
    cache.giveTaken(page);
    throw error;
  }
  cache.settle(page, mapping);
  if (!dax.windows.port.faults) showInWindows(dax, mapping, index, index + 1, page);
}

/** Makes the page of `index` present, and those after it up to `end` as far as that is easy. */
function* makePresent(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  index: number,
  end: number,
): Sleeps<void> {
  const extent = yield* mappedExtent(task, dax, mapping, index, end);
  const huge = hugeFits(extent, index);
  if (!huge) {
    const count = Math.min(end, pageEnd(extent)) - index;
    const page = devicePageAt(extent, index);
    const made = publishAround(dax.thread, dax.pages, mapping, index, count, page, extent.shared);
    if (made > 0) {
      hidePoisoned(dax, mapping, index, made, page);
      return;
    }
  }
  const held = yield* lockEntry(task, mapping, index, huge);
  if (isPageKind(kindOf(held.entry))) {
    unlockEntry(dax.thread, held);
    return;
  }
  replaceByPage(dax, held, devicePageAt(extent, held.index), extent.shared);
  hidePoisoned(dax, mapping, held.index, held.pages, devicePageAt(extent, held.index));
}

/**
 * The extent at a page, allocated first if it is a hole. The pager may show it around the page, in all windows
 * that show zeroes there.
 */
function* mappedExtent(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  index: number,
  end: number,
): Sleeps<Extent & { kind: "mapped" | "unwritten" }> {
  for (;;) {
    const extent = yield* extentAround(task, dax, mapping, index);
    if (extent.kind === "mapped") {
      const first = index - (index % HUGE_PAGES);
      yield* persistForSync(task, dax, mapping, first, first + HUGE_PAGES - 1);
      return extent;
    }
    const pages = Math.min(end, pageEnd(extent)) - index;
    const filled = yield* changeInTransaction(task, dax, mapping, (transaction) => {
      const ino = inoOf(dax.thread, mapping);
      const [start, length] = [index * PAGE_SIZE, pages * PAGE_SIZE];
      const extent = dax.driver.allocate(transaction, ino, start, length, "write");
      touchTimes(dax, transaction, mapping);
      // The zeroes of pages that nobody will store to.
      noteWritten(dax.thread, mapping, index, index + pages - 1);
      return extent;
    });
    if (!dax.windows.port.faults) showFilled(dax, mapping, filled);
  }
}

/**
 * The extent at a page, from the beginning of the 2 MiB around it if it reaches as far back. (A driver
 * tells an extent from where it is asked; what is known already is found whole.)
 */
function* extentAround(task: Task, dax: Dax, mapping: Mapping, index: number): Sleeps<Extent> {
  try {
    yield* findExtent(task, dax, mapping, (index - (index % HUGE_PAGES)) * PAGE_SIZE);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    // Damage there is for whoever comes there: this page may be whole.
  }
  return yield* findExtent(task, dax, mapping, index * PAGE_SIZE);
}

/** Shows what was a hole in the windows that cannot fault: they show zeroes there until now. */
function showFilled(dax: Dax, mapping: Mapping, extent: Extent): void {
  invariant(extent.kind === "mapped", () => `what was allocated is ${extent.kind}`);
  const first = Math.ceil(extent.start / PAGE_SIZE);
  showInWindows(dax, mapping, first, pageEnd(extent), devicePageAt(extent, first));
}

/** The page after the extent's last whole one. */
function pageEnd(extent: Extent): number {
  return Math.floor((extent.start + extent.length) / PAGE_SIZE);
}

function devicePageAt(extent: Extent & { kind: "mapped" | "unwritten" }, index: number): number {
  return (extent.address + (index * PAGE_SIZE - extent.start)) / PAGE_SIZE;
}

/**
 * Whether the 2 MiB of the file around `index` are 2 MiB of the device, aligned, and the file's alone: a
 * folio has one owner.
 */
function hugeFits(extent: Extent & { kind: "mapped" | "unwritten" }, index: number): boolean {
  const first = index - (index % HUGE_PAGES);
  return (
    !extent.shared &&
    extent.start <= first * PAGE_SIZE &&
    extent.start + extent.length >= first * PAGE_SIZE + HUGE_SIZE &&
    devicePageAt(extent, first) % HUGE_PAGES === 0
  );
}

/** Publishes a locked entry as this page, which may be shared; a zero page is taken away first. */
function replaceByPage(dax: Dax, held: LockedEntry, devicePage: number, shared: boolean): void {
  try {
    const zero = kindOf(held.entry) === EntryKind.zero;
    if (zero || hasLostUnlisted(dax.thread, held.mapping)) {
      for (let offset = 0; offset < held.pages; offset++) {
        replaceZero(dax, held.mapping, held.index + offset, devicePage + offset);
      }
    }
    if (shared) publishShared(dax.thread, dax.pages, held, devicePage);
    else publishPage(dax.thread, dax.pages, held, devicePage);
  } catch (error) {
    unlockEntry(dax.thread, held);
    throw error;
  }
}

/**
 * Shows pages as lost that went bad after they had been shown in place of zeroes, before they had an
 * owner by whom to find them. Elsewhere they were only revoked, and the next touch looks.
 */
function hidePoisoned(
  dax: Dax,
  mapping: Mapping,
  index: number,
  count: number,
  devicePage: number,
): void {
  const { pages, windows } = dax;
  if (!pages.bad.any || !windows.hasWindows(mapping)) return;
  if (!dax.isPager && windows.port.faults) return;
  const bad = pages.bad.find(devicePage, devicePage + count - 1);
  if (bad === null) return;
  showInWindows(dax, mapping, index + (bad.first - devicePage), index + count, bad.first);
}

/** Takes the zero or lost page out of every window that shows it. The entry is locked. */
function replaceZero(dax: Dax, mapping: Mapping, index: number, devicePage: number): void {
  if (dax.isPager) showInWindows(dax, mapping, index, index + 1, devicePage);
  else dax.windows.revokePage(mapping, index);
}

/** A touch of a window that was found without a lock (`Windows.isOver`). */
interface Touch {
  readonly window: Window;
  readonly serial: number;
  readonly address: number;
  readonly write: boolean;
  /** Whether it is tried again where the page cache is full. */
  readonly mayRetry: boolean;
}

/** In place of a number of pages: no page of the page cache is free. */
const NO_ROOM = -1;

/**
 * Serves a fault of a window: shows the file there, or a lost page. A touch never fails: what goes
 * wrong (a full volume, a damaged extent) is shown as lost and reported by the window. Returns false, with
 * nothing shown, where no page of the page cache is free and `mayRetry`: after room was made.
 *
 * A window that writes never shows blocks that other files own, too, not even to a load: its stores
 * could not be told apart any more. They are copied first.
 * Locks: takes the map lock, shared; exclusively for a copy. Sleeps: for it, for entries and for the
 * transaction; for a copy also, holding nothing, for leases. Never for a pin: the thread that touches may
 * hold it.
 */
export function* resolveFault(
  task: Task,
  dax: Dax,
  window: Window,
  serial: number,
  address: number,
  write: boolean,
  mayRetry = false,
): Sleeps<boolean> {
  const mapping = dax.windows.mappingOf(window);
  const touch = { window, serial, address, write, mayRetry };
  let failed = false;
  for (;;) {
    const shared = yield* tryResolve(task, dax, mapping, touch, failed);
    if (shared === NO_ROOM) return false;
    if (shared === 0) return true;
    failed = false;
    try {
      yield* unshareTouched(task, dax, mapping, touch, shared);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      failed = true;
    }
  }
}

/** The page of the file that is touched. */
function touchedPage({ windows }: Dax, { window, address }: Touch): number {
  return windows.firstPage(window) + Math.floor((address - windows.address(window)) / PAGE_SIZE);
}

/**
 * Returns how many pages must be the file's own first, or 0: it is done; NO_ROOM where it
 * may be tried again. `failed`: that they cannot be.
 */
function* tryResolve(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  touch: Touch,
  failed: boolean,
): Sleeps<number> {
  const { windows } = dax;
  const { window, serial, address, write } = touch;
  using _map = yield* lockShared(task, mapping + MappingWord.mapLock, mapName(dax, mapping));
  if (!windows.isOver(window, serial, address)) return 0;
  const index = touchedPage(dax, touch);
  windows.countFault();
  traceFile(dax.thread, Event.pteFault, mapping, index, write ? 1 : 0);
  try {
    if (dax.pages.deviceState.isGone) {
      showLost(dax, window, index, "removed");
      return 0;
    }
    const size = yield* stableSize(task, dax, mapping);
    if (index * PAGE_SIZE >= size) {
      showLost(dax, window, index);
      return 0;
    }
    const shared = yield* showPage(task, dax, window, index, write, size);
    if (shared === 0 || !failed) return shared;
    showLostUnlisted(dax, window, index);
    return 0;
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    if (touch.mayRetry && dax.pageCache?.fullError === error) return NO_ROOM;
    yield* showFailed(task, dax, window, index);
    return 0;
  } finally {
    traceFile(dax.thread, Event.pteFaultDone, mapping, index, write ? 1 : 0);
  }
}

/** Makes the page that is touched the file's own, and up to `count` pages from it on. */
function* unshareTouched(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  touch: Touch,
  count: number,
): Sleeps<void> {
  const { windows } = dax;
  const first = touchedPage(dax, touch);
  const end = first + count;
  function* plan(): Sleeps<PageRange | null> {
    if (!windows.isOver(touch.window, touch.serial, touch.address)) return null;
    const range = { start: first * PAGE_SIZE, end: end * PAGE_SIZE };
    const shared = yield* findStillShared(task, dax, mapping, range);
    return shared?.first === first ? shared : null;
  }
  yield* unshareAlone(task, dax, mapping, { first, last: end - 1 }, plan);
}

/**
 * Shows a page that could not be allocated or read as lost. Its entry becomes a zero page's, so that
 * whoever makes the page real later takes it out of the windows first.
 */
function* showFailed(task: Task, dax: Dax, window: Window, index: number): Sleeps<void> {
  const mapping = dax.windows.mappingOf(window);
  let held = yield* lockIfRoom(task, mapping, index);
  if (held === null) {
    // From now on whoever makes a page real looks at the windows first. Who is doing so already, and has
    // not seen the note, has its entry locked, or there, by now: so that is looked for again.
    showLostUnlisted(dax, window, index);
    held = yield* lockIfRoom(task, mapping, index);
    if (held === null) return;
  }
  if (isPageKind(kindOf(held.entry))) {
    // Somebody made the page real meanwhile.
    yield* showLockedPage(task, dax, window, index, held);
    return;
  }
  showLost(dax, window, index);
  publishZero(dax.thread, held);
}

/** Locks the entry of a page; null when there is no memory for one. */
function* lockIfRoom(task: Task, mapping: Mapping, index: number): Sleeps<LockedEntry | null> {
  try {
    return yield* lockEntry(task, mapping, index, false);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    return null;
  }
}

/** Shows a page as lost whose entry does not say so: who makes it real looks at the windows from now on. */
function showLostUnlisted(dax: Dax, window: Window, index: number): void {
  showLost(dax, window, index);
  noteLostUnlisted(dax.thread, dax.windows.mappingOf(window));
}

/** Shows the page of a locked entry, and unlocks it. */
function* showLockedPage(
  task: Task,
  dax: Dax,
  window: Window,
  index: number,
  held: LockedEntry,
): Sleeps<void> {
  unlockEntry(dax.thread, held);
  if (!(yield* mayShow(task, dax, window, held))) {
    showLostUnlisted(dax, window, index);
    return;
  }
  const devicePage = dax.pages.devicePage(pageOf(held.entry)) + (index - held.index);
  showDevicePages(dax, window, index, 1, devicePage);
}

/** Whether a window may show what an entry names: its own alone if it writes, on the medium if it is `sync`. */
function* mayShow(task: Task, dax: Dax, window: Window, held: LockedEntry): Sleeps<boolean> {
  const { pages, windows } = dax;
  if (windows.isWritable(window) && pages.sharers(pageOf(held.entry)) > 0) return false;
  if (!windows.isSync(window)) return true;
  try {
    yield* persistLayout(task, dax, held.mapping);
    return true;
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    return false;
  }
}

/** Returns 0; where the window writes and blocks have other owners, too, how many should be copied first. */
function* showPage(
  task: Task,
  dax: Dax,
  window: Window,
  index: number,
  write: boolean,
  size: number,
): Sleeps<number> {
  const { windows } = dax;
  const mapping = windows.mappingOf(window);
  const stores = write && windows.isWritable(window);
  if (isCopied(dax, mapping)) {
    return yield* showCached(task, dax, window, index, stores, size);
  }
  while (!stores) {
    const known = yield* findExtent(task, dax, mapping, index * PAGE_SIZE);
    if (known.kind === "mapped") break;
    if (yield* showHole(task, dax, window, index)) return 0;
  }
  const fileEnd = roundUp(size, PAGE_SIZE) / PAGE_SIZE;
  const wanted = Math.min(fileEnd, index + ALLOCATE_AROUND_PAGES);
  const extent = yield* mappedExtent(task, dax, mapping, index, wanted);
  if (extent.shared && windows.isWritable(window)) return Math.min(wanted, pageEnd(extent)) - index;
  yield* populate(task, dax, mapping, index, 1);
  const shown = around(dax, window, extent, index, fileEnd);
  const [first, end] = healthyAround(dax, shown, index, extent);
  showDevicePages(dax, window, first, end - first, devicePageAt(extent, first));
  return 0;
}

/**
 * Shows a page of a copied file: where it is a hole, and nobody stores to it, the zero page. What a window
 * that writes shows otherwise has its blocks, since nothing tells of a later store. Returns 1 where these have
 * other owners, too, else 0.
 */
function* showCached(
  task: Task,
  dax: Dax,
  window: Window,
  index: number,
  stores: boolean,
  size: number,
): Sleeps<number> {
  const { windows } = dax;
  const mapping = windows.mappingOf(window);
  while (!stores && findCached(dax, mapping, index) < 0) {
    if (!(yield* isHole(task, dax, mapping, index))) break;
    const held = yield* lockEntry(task, mapping, index, false);
    if (!isPageKind(kindOf(held.entry)) && isKnownHole(dax, mapping, index, size)) {
      showZeroPage(dax, window, held);
      return 0;
    }
    unlockEntry(dax.thread, held);
  }
  if (windows.isWritable(window)) {
    yield* backPages(task, dax, mapping, index, index + 1);
    const bytes = { start: index * PAGE_SIZE, end: (index + 1) * PAGE_SIZE };
    if ((yield* findShared(task, dax, mapping, bytes)) !== null) return 1;
  }
  yield* cachePage(task, dax, mapping, index);
  showDevicePages(dax, window, index, 1, findCached(dax, mapping, index));
  return 0;
}

/**
 * Shows a hole: the zero page, so that in a window that writes the first store faults again. Returns
 * false, with nothing done, when the hole may have been filled: then look again.
 */
function* showHole(task: Task, dax: Dax, window: Window, index: number): Sleeps<boolean> {
  const { windows } = dax;
  const mapping = windows.mappingOf(window);
  const held = yield* lockEntry(task, mapping, index, false);
  // A write call fills holes without the map lock, and looks for entries afterwards. So the extent is
  // looked at again after the entry is there: one of the two sees the other. (It may have been read
  // anew meanwhile, by another fault that this thread serves. A page's entry has a mapped one.)
  const extent = dax.cachedExtent(mapping, index * PAGE_SIZE);
  if (extent === null || extent.kind === "mapped") {
    unlockEntry(dax.thread, held);
    return false;
  }
  showZeroPage(dax, window, held);
  return true;
}

/** Shows the zero page where a locked entry is, and makes that a zero page's. */
function showZeroPage(dax: Dax, window: Window, held: LockedEntry): void {
  const { windows } = dax;
  const { index } = held;
  windows.noteShown(window, index, index);
  traceFile(dax.thread, Event.loadHole, held.mapping, index);
  const port = windows.port as FaultPort; // another one has no faults
  const address = addressOfPage(dax, window, index);
  if (windows.isWritable(window)) port.showZeroProtected(address, PAGE_SIZE);
  else port.showZero(address, PAGE_SIZE);
  publishZero(dax.thread, held);
}

/**
 * The pages to show for a fault at `index`: as far as the extent, the 2 MiB of the window around it,
 * the file and the entries allow. Entries are made for those that have none.
 */
function around(
  dax: Dax,
  window: Window,
  extent: Extent & { kind: "mapped" | "unwritten" },
  index: number,
  fileEnd: number,
): [first: number, end: number] {
  const { windows } = dax;
  const base = windows.firstPage(window);
  const slice = base + Math.floor((index - base) / HUGE_PAGES) * HUGE_PAGES;
  const low = Math.max(slice, Math.ceil(extent.start / PAGE_SIZE));
  const high = Math.min(slice + HUGE_PAGES, base + windows.pages(window), pageEnd(extent), fileEnd);
  const mapping = windows.mappingOf(window);
  let end = index;
  while (end < high) {
    const made = presentFrom(dax, mapping, extent, end, high);
    if (made === 0) break;
    end += made;
  }
  let first = index;
  while (first > low) {
    // Towards the start, leaf node by leaf node: a run that stops before `first` is not joined.
    const from = Math.max(low, first - 1 - ((first - 1) % 64));
    let reached = from;
    while (reached < first) {
      const made = presentFrom(dax, mapping, extent, reached, first);
      if (made === 0) break;
      reached += made;
    }
    if (reached < first) break;
    first = from;
  }
  return [first, Math.max(end, index + 1)];
}

/** Cuts a range around `index` before the bad pages in it: of these only the touched one is shown, as lost. */
function healthyAround(
  dax: Dax,
  [first, end]: [first: number, end: number],
  index: number,
  extent: Extent & { kind: "mapped" | "unwritten" },
): [first: number, end: number] {
  const { bad } = dax.pages;
  const start = devicePageAt(extent, 0);
  let from = first;
  while (from < end) {
    const run = bad.find(start + from, start + end - 1);
    if (run === null) return [from, end];
    if (run.first - start > index) return [from, run.first - start];
    if (run.last - start >= index) return [index, index + 1];
    from = run.last - start + 1;
  }
  return [index, index + 1];
}

/** How many pages from `index` on are present, or were made so now; 0 where something is in the way. */
function presentFrom(
  dax: Dax,
  mapping: Mapping,
  extent: Extent & { kind: "mapped" | "unwritten" },
  index: number,
  end: number,
): number {
  const present = pagesPresent(dax, mapping, index);
  if (present > 0) return Math.min(end - index, present);
  const page = devicePageAt(extent, index);
  return publishAround(dax.thread, dax.pages, mapping, index, end - index, page, extent.shared);
}

/**
 * Shows a whole window that cannot fault: after it was made and after each layout change. If it writes,
 * all that it shows is the file's own (map-window.ts, reflink.ts).
 */
export function* showAll(task: Task, dax: Dax, window: Window): Sleeps<void> {
  const { windows } = dax;
  const mapping = windows.mappingOf(window);
  const base = windows.firstPage(window);
  const size = yield* stableSize(task, dax, mapping);
  const fileEnd = Math.ceil(size / PAGE_SIZE);
  const end = Math.min(base + windows.pages(window), fileEnd);
  if (isCopied(dax, mapping)) {
    yield* showAllCached(task, dax, window, base, end);
    return;
  }
  for (let index = base; index < end; ) {
    const extent = windows.isWritable(window)
      ? yield* mappedExtent(task, dax, mapping, index, end)
      : yield* findExtent(task, dax, mapping, index * PAGE_SIZE);
    const stop = Math.min(end, pageEnd(extent), index + HUGE_PAGES - ((index - base) % HUGE_PAGES));
    if (extent.kind === "mapped") {
      const own = !extent.shared || !windows.isWritable(window);
      invariant(own, () => `a window writes page ${index}, whose block may have other owners`);
      yield* populate(task, dax, mapping, index, stop - index);
      showDevicePages(dax, window, index, stop - index, devicePageAt(extent, index));
    }
    index = stop;
  }
}

/** As `showAll`, pages [first, end) of a copied file: but for holes, where the window only reads. */
function* showAllCached(
  task: Task,
  dax: Dax,
  window: Window,
  first: number,
  end: number,
): Sleeps<void> {
  const { windows } = dax;
  const mapping = windows.mappingOf(window);
  const writes = windows.isWritable(window);
  if (writes) yield* backPages(task, dax, mapping, first, end);
  for (let index = first; index < end; index++) {
    const isShown = writes || findCached(dax, mapping, index) >= 0;
    if (!isShown && (yield* isHole(task, dax, mapping, index))) continue;
    yield* cachePage(task, dax, mapping, index);
    showDevicePages(dax, window, index, 1, findCached(dax, mapping, index));
  }
}
