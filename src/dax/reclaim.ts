/**
 * Reclaim: taking a part of a file out of memory, with the file as it was. Its page records, its entries and
 * the mappings of windows over it go; the next touch, pin or fault brings them back, of the same blocks.
 *
 * It goes by ranges of 2 MiB, each with the map lock held by itself, so faults, pins and calls elsewhere in
 * the file go on, and those in the range wait for one of them at most. No lock is held while it waits
 * for a pin. Nobody's layout changes, so no lease is recalled; a long-term pin is a pin.
 */
import { HUGE_PAGES, roundDown } from "../base/quantities.ts";
import { type PageRange, Patience, tryWithBrokenPages, waitForPage } from "../layout/break.ts";
import type { Mapping } from "../mapping/mapping.ts";
import { forEachEntry, isPageKind, kindOf, nextPresent } from "../mapping/tree.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { copyDirtyHome } from "./copied.ts";
import { type Dax, isCopied } from "./dax.ts";
import { removePages } from "./remove-pages.ts";

export interface ReclaimedPages {
  /** Pages whose records were given back. */
  readonly pages: number;
  /** What was left in memory, since it is in use: at most 2 MiB each. */
  readonly kept: readonly PageRange[];
}

/**
 * Takes pages of [first, last] out of memory, as far as nobody has them pinned; those that are pinned it
 * leaves, or, if it `waits`, waits for. Where windows cannot fault, what they show is left as well.
 * Locks: takes map. Sleeps: for it and, holding nothing, for pins.
 * Errors: the task's signal or deadline, naming who holds the pins; what was reclaimed so far is. EIO when
 * the device is gone.
 */
export function* reclaimPages(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  { first, last }: PageRange,
  waits: boolean,
): Sleeps<ReclaimedPages> {
  const { words } = dax.thread;
  using patience = new Patience(dax.thread);
  const kept: PageRange[] = [];
  let pages = 0;
  let range: PageRange | null = null;
  let at = first;
  function* plan(): Sleeps<PageRange | null> {
    range = null;
    while (at <= last) {
      const present = nextPresent(words, mapping, at, last);
      if (present < 0) return null;
      const end = roundDown(present, HUGE_PAGES) + HUGE_PAGES;
      range = { first: present, last: Math.min(last, end - 1) };
      const { windows } = dax;
      const isShown = windows.hasWindowOver(mapping, range.first, range.last);
      if (windows.port.faults || !isShown) return range;
      kept.push(range);
      range = null;
      at = end;
    }
    return null;
  }
  function* take(broken: PageRange): Sleeps<void> {
    dax.windows.revoke(mapping, broken.first, broken.last);
    if (isCopied(dax, mapping)) {
      yield* copyDirtyHome(task, dax, mapping, broken.first, broken.last);
    }
    forEachEntry(words, mapping, broken.first, broken.last, (entry, _index, count) => {
      if (isPageKind(kindOf(entry))) pages += count;
    });
    removePages(dax, mapping, broken);
  }
  for (;;) {
    const busy = yield* tryWithBrokenPages(task, dax, mapping, plan, take);
    if (range === null) return { pages, kept };
    const planned: PageRange = range;
    if (busy !== null && waits) {
      yield* waitForPage(dax, busy, patience);
      continue;
    }
    if (busy !== null) kept.push(planned);
    at = planned.last + 1;
  }
}
