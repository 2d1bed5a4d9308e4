/**
 * Copy-on-write: a file gets blocks of its own where it shares them with others, before anything is
 * written there.
 *
 * Nothing is ever written to a block in place while its extent says that it may be shared: not by a
 * call, a pin, a window or the zeroing of part of a block. Each of them comes here first.
 *
 *     map lock, exclusively -> still shared? -> announce a break of the pages, one epoch
 *     -> take the old pages out of the windows -> in one transaction: new blocks, a copy, the old pages
 *     out of the file, one owner less of the old blocks
 *
 * A pin that only reads comes here as well, so what is copied is pinned by nobody, and a copy waits for no
 * pin. In Linux it may be pinned, and the old block goes to its other owners, or is freed, under that I/O.
 * To wait for it here would not do: a fault asks for copies, in a thread that may hold the pin itself, or
 * whose event loop has to end the I/O.
 *
 * Rules. (1) An extent that is not shared stays so as long as the file's io lock or map lock is held:
 *            `reflink` takes both, exclusively. So what has been made the file's own may be written.
 *        (2) The map lock alone is enough to unshare: a fault comes from a thread that may hold io locks.
 *            So a reader of a shared extent, who holds the io lock, looks at the layout's sequence again
 *            after its copy (file-io.ts).
 *        (3) Where leases are waited for, no lock is held; then everything is looked at again.
 *        (4) A copy moves blocks, so leases over them are recalled: by who holds the io lock as for every
 *            change (write-lock.ts), by who does not ahead of requests (layout/lease.ts, recallAhead).
 */
import { invariant } from "../base/invariant.ts";
import { PAGE_SIZE, roundDown, roundUp } from "../base/quantities.ts";
import type { BlockSharing, Extent } from "../iomap/contract.ts";
import { lockEntry, publishPage, unlockEntry } from "../mapping/entries.ts";
import { type PageRange, tryWithBrokenPages } from "../layout/break.ts";
import { LeaseBreak } from "../layout/lease.ts";
import {
  hasLostUnlisted,
  inoOf,
  type Mapping,
  MappingWord,
  noteLostUnlisted,
  noteWritten,
} from "../mapping/mapping.ts";
import { lockExclusive, lockShared } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import type { Window } from "../window/window.ts";
import { beginLayoutTransaction, type Dax, findExtent, isCopied, mapName } from "./dax.ts";
import { removePages } from "./remove-pages.ts";
import { loseIn, loseShown, showInWindows } from "./show.ts";
import { persistForSync } from "./sync-fault.ts";

/** Copied in one transaction. */
const UNSHARE_BYTES_MAX = 2 ** 24;

/** Bytes [start, end) of a file. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The first run of pages in a range of bytes whose extents may be shared, or null.
 * Locks: io or map, shared at least. Sleeps: while a transaction changes the layout.
 */
export function* findShared(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  { start, end }: ByteRange,
): Sleeps<PageRange | null> {
  if (dax.driver.sharing === null) return null;
  for (let at = roundDown(start, PAGE_SIZE); at < end; ) {
    const extent = yield* findExtent(task, dax, mapping, at);
    const stop = Math.min(roundUp(end, PAGE_SIZE), extent.start + extent.length);
    if (isShared(extent)) return { first: at / PAGE_SIZE, last: stop / PAGE_SIZE - 1 };
    at = stop;
  }
  return null;
}

export function isShared(extent: Extent): boolean {
  return extent.kind === "mapped" && extent.shared;
}

/**
 * As `findShared`, after what has no other owner any more has ceased to count as shared: that takes no
 * copy, so no window is disturbed.
 * Locks: map, exclusively. Sleeps: for transactions.
 */
export function* findStillShared(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  range: ByteRange,
): Sleeps<PageRange | null> {
  const sharing = dax.driver.sharing as BlockSharing;
  const ino = inoOf(dax.thread, mapping);
  // Where a window may have lost a page, whoever copies it looks at the windows.
  for (let { start, end } = range; !hasLostUnlisted(dax.thread, mapping); ) {
    const shared = yield* findShared(task, dax, mapping, { start, end });
    if (shared === null) break;
    start = shared.first * PAGE_SIZE;
    const length = (shared.last + 1) * PAGE_SIZE - start;
    using transaction = yield* beginLayoutTransaction(task, dax, mapping);
    const extent = sharing.reclaim(transaction, { ino, start }, length);
    transaction.commit();
    start += extent.length;
  }
  return yield* findShared(task, dax, mapping, range);
}

/**
 * Gives the shared extents of a range blocks of their own, and takes the entries of what it copies out of
 * the file. The range is broken.
 * Locks: map, exclusively. Sleeps: for the transaction. Throws: ENOSPC; what was copied so far stays
 * the file's own, with the same bytes.
 */
export function* unshareBroken(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  range: ByteRange,
): Sleeps<void> {
  const sharing = dax.driver.sharing as BlockSharing;
  const ino = inoOf(dax.thread, mapping);
  for (;;) {
    const shared = yield* findShared(task, dax, mapping, range);
    if (shared === null) return;
    const start = shared.first * PAGE_SIZE;
    const length = Math.min((shared.last + 1) * PAGE_SIZE - start, UNSHARE_BYTES_MAX);
    using transaction = yield* beginLayoutTransaction(task, dax, mapping);
    const own = sharing.unshare(transaction, { ino, start }, length);
    // The copy, in case that nothing is written over it.
    const last = (own.start + own.length) / PAGE_SIZE - 1;
    noteWritten(dax.thread, mapping, shared.first, last);
    // What windows show of a copied file, and entries name, are not the blocks.
    const isDirect = !isCopied(dax, mapping);
    const shown = isDirect && showOwn(dax, mapping, own);
    // Only now: where there is no room for a copy, what windows go on to show is the file's as before.
    if (isDirect) removePages(dax, mapping, { first: shared.first, last });
    transaction.commit();
    if (shown) yield* makeEntries(task, dax, mapping, own);
  }
}

/**
 * Whether windows are shown new blocks over the old ones, in one step: the pager must not revoke them,
 * and where touches cannot fault what is revoked would be zeroes for a moment.
 */
function showsOver(dax: Dax): boolean {
  return dax.isPager || !dax.windows.port.faults;
}

/**
 * Shows the new blocks in the windows that may show the old ones, before those are left to their other
 * owners: the transaction is open, so nobody finds out before it has ended. Only windows that do not
 * write show shared blocks, and only those can be shown what may yet be undone. If one of them cannot be
 * shown the new ones, the others lose the page. Returns whether any was shown them.
 */
function showOwn(dax: Dax, mapping: Mapping, own: Extent): boolean {
  const { windows } = dax;
  if (!showsOver(dax) || own.kind !== "mapped" || !windows.hasWindows(mapping)) return false;
  const [first, end] = [own.start / PAGE_SIZE, (own.start + own.length) / PAGE_SIZE];
  const shown: Window[] = [];
  const isReader = (window: Window): boolean => {
    if (windows.isWritable(window)) return false;
    shown.push(window);
    return true;
  };
  try {
    showInWindows(dax, mapping, first, end, own.address / PAGE_SIZE, isReader);
  } catch (error) {
    shown.pop(); // it shows the old ones
    for (const window of shown) loseIn(dax, window, first, end, null);
    throw error;
  }
  return shown.length > 0;
}

/**
 * Has entries name the blocks that windows show. A page that is lost in others, without its entry, is
 * shown there as well: nobody would come to look.
 * Locks: map, exclusively. Sleeps: for the transaction at most, to flush. Throws: ENOMEM, EIO; windows lose
 * what has no entry.
 */
function* makeEntries(task: Task, dax: Dax, mapping: Mapping, own: Extent): Sleeps<void> {
  if (own.kind !== "mapped") return;
  const [first, end] = [own.start / PAGE_SIZE, (own.start + own.length) / PAGE_SIZE];
  const page = own.address / PAGE_SIZE;
  let index = first;
  try {
    for (; index < end; index++) {
      yield* makeEntry(task, dax, mapping, index, page + (index - first));
    }
  } catch (error) {
    // A report of lost pages would not find them.
    loseShown(dax, mapping, index, end - 1, null);
    noteLostUnlisted(dax.thread, mapping);
    throw error;
  }
  if (!hasLostUnlisted(dax.thread, mapping)) return;
  yield* persistForSync(task, dax, mapping, first, end - 1);
  showInWindows(dax, mapping, first, end, page);
}

function* makeEntry(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  index: number,
  page: number,
): Sleeps<void> {
  const held = yield* lockEntry(task, mapping, index, false);
  try {
    publishPage(dax.thread, dax.pages, held, page);
  } catch (error) {
    unlockEntry(dax.thread, held);
    throw error;
  }
}

/**
 * Breaks the pages that `plan` names, if any, and makes them the file's own. Invariant: none is pinned.
 * Locks: takes map; the caller may hold io. Sleeps: for it and for the transaction. Throws: as above.
 */
function* unsharePages(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  plan: () => Sleeps<PageRange | null>,
): Sleeps<void> {
  if (isCopied(dax, mapping)) {
    yield* unshareBeneath(task, dax, mapping, plan);
    return;
  }
  const busy = yield* tryWithBrokenPages(task, dax, mapping, plan, function* (range) {
    if (!showsOver(dax)) dax.windows.revoke(mapping, range.first, range.last);
    const bytes = { start: range.first * PAGE_SIZE, end: (range.last + 1) * PAGE_SIZE };
    yield* unshareBroken(task, dax, mapping, bytes);
  });
  invariant(busy === null, () => `page ${busy!.index} is pinned, and other files own its block`);
}

/** As `unsharePages`, of a copied file: its pages are in the cache, whoever uses them, and stay there. */
function* unshareBeneath(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  plan: () => Sleeps<PageRange | null>,
): Sleeps<void> {
  using _map = yield* lockExclusive(task, mapping + MappingWord.mapLock, mapName(dax, mapping));
  const range = yield* plan();
  if (range === null) return;
  const bytes = { start: range.first * PAGE_SIZE, end: (range.last + 1) * PAGE_SIZE };
  yield* unshareBroken(task, dax, mapping, bytes);
}

/** As `unsharePages`, run by run of a range of bytes, for who holds the io lock exclusively. */
export function* unshareBytes(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  range: ByteRange,
): Sleeps<void> {
  const plan = () => findStillShared(task, dax, mapping, range);
  while ((yield* findShared(task, dax, mapping, range)) !== null) {
    yield* unsharePages(task, dax, mapping, plan);
  }
}

/**
 * Makes the pages that `plan` names the file's own, for who holds no lock. `pages`: those that it may
 * name, whose leases are recalled. By the time that it returns they may be shared again: look, with a
 * lock.
 * Locks: takes map. Sleeps: for it, for transactions and, holding nothing, for leases.
 * Throws: ENOSPC, EIO for a lost page, the task's abort or deadline.
 */
export function* unshareAlone(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  pages: PageRange,
  plan: () => Sleeps<PageRange | null>,
): Sleeps<void> {
  using leases = new LeaseBreak(dax.thread, mapping);
  while (leases.recallAhead(pages.first, pages.last)) yield* leases.wait();
  yield* unsharePages(task, dax, mapping, plan);
}

/** As `unshareAlone`, run by run of a range of bytes. Locks: takes map, also shared. */
export function* unshareRange(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  range: ByteRange,
): Sleeps<void> {
  for (;;) {
    const shared = yield* findSharedAlone(task, dax, mapping, range);
    if (shared === null) return;
    const bytes = { start: shared.first * PAGE_SIZE, end: (shared.last + 1) * PAGE_SIZE };
    const plan = () => findStillShared(task, dax, mapping, bytes);
    yield* unshareAlone(task, dax, mapping, shared, plan);
  }
}

function* findSharedAlone(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  range: ByteRange,
): Sleeps<PageRange | null> {
  using _map = yield* lockShared(task, mapping + MappingWord.mapLock, mapName(dax, mapping));
  return yield* findShared(task, dax, mapping, range);
}

/** The bytes of the file's last block that lie beyond its end: they are zeroed when it grows. */
export function tailOf(size: number): ByteRange {
  return { start: size, end: roundUp(size, PAGE_SIZE) };
}
