/** Taking the entries of a broken range out of a file, with the pages that they name. */
import { announcedIn, type PageRange } from "../layout/break.ts";
import { type Mapping, MappingWord, noteWritten } from "../mapping/mapping.ts";
import { isPageKind, kindOf, Mark, nextMarked, pageOf, removeEntries } from "../mapping/tree.ts";
import { load, loadUnsigned, store } from "../sync/atomics.ts";
import { type Dax, isCopied } from "./dax.ts";
import { loseShown } from "./show.ts";

/**
 * Removes the entries of a broken range and frees their pages; their dirty marks, which go with them,
 * become a note, since not every page of the range goes from the file. `removing` tells those who find
 * this thread dead in the middle to finish it. Locks: the map lock, exclusively.
 */
export function removePages(dax: Dax, mapping: Mapping, range: PageRange): void {
  const { pages, thread } = dax;
  const { words } = thread;
  if (nextMarked(words, mapping, range.first, range.last, Mark.dirty) >= 0) {
    noteWritten(thread, mapping, range.first, range.last);
  }
  store(words, mapping + MappingWord.removing, 1);
  removeEntries(thread, mapping, range.first, range.last, (entry, _index, count, slot) => {
    if (!isPageKind(kindOf(entry))) return;
    // Asked before: the record may go with its owner.
    const cached = isCopied(dax, mapping) ? pages.devicePage(pageOf(entry)) : -1;
    if (pages.sharers(pageOf(entry)) > 0) pages.leave(pageOf(entry), slot);
    else pages.disassociate(pageOf(entry), count, mapping);
    if (cached >= 0) dax.pageCache?.give(cached);
  });
  store(words, mapping + MappingWord.removing, 0);
}

/**
 * Has this thread finish the removals of entries that threads that die have begun. Where touches cannot
 * fault, what they broke is lost in windows: these may show a copy that is about to be undone (unshare.ts).
 */
export function recoverRemovals(dax: Dax): void {
  const { thread } = dax;
  thread.onThreadDeath((_dead, slotBase) => {
    for (const { mapping } of announcedIn(thread.words, slotBase)) finishRemoval(dax, mapping);
  });
}

function finishRemoval(dax: Dax, mapping: Mapping): void {
  const { pages, thread } = dax;
  const { words } = thread;
  const first = loadUnsigned(words, mapping + MappingWord.breakFirst);
  const last = loadUnsigned(words, mapping + MappingWord.breakLast);
  if (!dax.windows.port.faults) loseShown(dax, mapping, first, last, null);
  if (load(words, mapping + MappingWord.removing) === 0) return;
  removeEntries(thread, mapping, first, last, (entry, _index, count, slot) => {
    if (!isPageKind(kindOf(entry))) return;
    if (pages.sharers(pageOf(entry)) > 0) pages.leave(pageOf(entry), slot);
    else pages.takeBack(pageOf(entry), count, mapping);
  });
  dax.pageCache?.giveOrphans(mapping, pages);
  store(words, mapping + MappingWord.removing, 0);
}
