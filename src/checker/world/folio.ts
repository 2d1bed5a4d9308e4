/**
 * The file of `bare.ts` with a folio of 2 MiB in it: pages 510 and 511, the folio of pages 512 to
 * 1023, page 1024. All were pinned and written before.
 */
import { HUGE_PAGES } from "../../base/quantities.ts";
import { lockEntry, type LockedEntry, publishAround, publishPage } from "../../mapping/entries.ts";
import { Mark, setMark } from "../../mapping/tree.ts";
import { Pages } from "../../pages/pages.ts";
import { Thread } from "../../sync/thread.ts";
import { type BareShared, buildBare } from "./bare.ts";
import { taskOf } from "./threads.ts";

export const FOLIO = HUGE_PAGES;
export const AFTER_FOLIO = 2 * HUGE_PAGES;
/** Blocks of pages 510, 511 and 1024; the folio lies in the device's second 2 MiB. */
const SMALL_BLOCKS = 30;

export function buildFolio(actors: number): BareShared {
  const shared = buildBare(actors, 1);
  const { region, mapping } = shared;
  const thread = Thread.join(region);
  const pages = Pages.attach(thread);
  publishAround(thread, pages, mapping, FOLIO - 2, 2, SMALL_BLOCKS);
  publishAround(thread, pages, mapping, AFTER_FOLIO, 1, SMALL_BLOCKS + 2);
  // In the checked build it runs to its end.
  const { task } = taskOf(thread);
  const held = lockEntry(task, mapping, FOLIO, true) as unknown as LockedEntry;
  publishPage(thread, pages, held, HUGE_PAGES);
  for (const index of [FOLIO - 2, FOLIO - 1, FOLIO, AFTER_FOLIO]) {
    setMark(thread, mapping, index, Mark.pinned);
    setMark(thread, mapping, index, Mark.dirty);
  }
  return shared;
}

/** The block of a page of the folio. */
export const folioBlock = (index: number): number => HUGE_PAGES + (index - FOLIO);
