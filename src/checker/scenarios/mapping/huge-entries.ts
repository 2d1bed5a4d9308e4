/** Entries of 2 MiB: 8 slots that are one, beside those of 4 KiB and instead of them. */
import { HUGE_PAGES } from "../../../base/quantities.ts";
import { EntryKind } from "../../../mapping/tree.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import { type Entries, entryStory, faultAt } from "../../world/entries.ts";

/** The 2 MiB of the file that are wanted, a page of them, and where on the device they go. */
const FIRST = 2 * HUGE_PAGES;
const WITHIN = FIRST + 200;
const FOLIO = HUGE_PAGES;
/** The 2 MiB before them are an entry, so that what is beside is not mistaken for free. */
const BEFORE = [{ index: HUGE_PAGES, block: 2 * HUGE_PAGES }];

/** A fault of a folio, where nothing smaller is in the way. */
function* hugeFault(entries: Entries, self: Self, index: number): Sleeps<void> {
  yield* faultAt(entries, self, index, FOLIO, true);
  ensure(entries.kindOf(self, index) === EntryKind.huge, "the folio of the fault is not one");
}

function* hugeGivenUp(entries: Entries, self: Self, index: number): Sleeps<void> {
  const held = yield* entries.lock(self, index, true);
  entries.giveUp(self, held);
}

export const entryHugeAndSmall = entryStory({
  name: "entry-huge-and-small",
  about:
    "One fault wants an entry of 2 MiB, another one of 4 KiB in the same 2 MiB of the file, elsewhere " +
    "than the file's first page. They never hold both.",
  from: "bug 5: missed wakeup with PMD faults, and the conflict of PMD and PTE",
  explore: { strategy: "random", schedules: 10_000 },
  actors: {
    *huge(entries, self) {
      const held = yield* entries.lock(self, 512, true);
      entries.giveUp(self, held);
    },
    *small(entries, self) {
      const held = yield* entries.lock(self, 512 + 200);
      entries.giveUp(self, held);
    },
  },
});

export const entryHugeFaults = entryStory({
  name: "entry-huge-faults",
  about:
    "Two faults, of two pages of the same 2 MiB of a file, make one entry with one folio. The folio " +
    "before it stays what it is.",
  from: "DESIGN.md 5.2; grab_mapping_entry, PMD entries",
  deviceFolios: 3,
  folios: BEFORE,
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    first: (entries, self) => hugeFault(entries, self, FIRST),
    within: (entries, self) => hugeFault(entries, self, WITHIN),
  },
});

export const entryHugeGivenUp = entryStory({
  name: "entry-huge-given-up",
  about:
    "A fault of a folio fails, twice, and leaves nothing. One of a page within it makes an entry of its " +
    "own, for that page alone.",
  from: "invariant 5.6 (7): a failed insertion leaves nothing behind; PMD fallback to PTE",
  explore: { strategy: "bounded", preemptions: 2 },
  deviceFolios: 3,
  folios: BEFORE,
  actors: {
    *failing(entries, self) {
      yield* hugeGivenUp(entries, self, FIRST);
      yield* hugeGivenUp(entries, self, FIRST);
    },
    *fault(entries, self) {
      yield* faultAt(entries, self, WITHIN, FOLIO + 200);
      ensure(entries.kindOf(self, WITHIN) === EntryKind.page, "the page of the fault is not one");
    },
  },
});

export const entryHugeFaultGivenUp = entryStory({
  name: "entry-huge-fault-given-up",
  about:
    "A fault of a folio fails, twice, and leaves nothing; one that waited for it makes the folio.",
  from: "invariant 5.6 (7); bug 5: missed wakeup with PMD faults",
  explore: { strategy: "random", schedules: 10_000 },
  deviceFolios: 3,
  folios: BEFORE,
  actors: {
    *failing(entries, self) {
      yield* hugeGivenUp(entries, self, FIRST);
      yield* hugeGivenUp(entries, self, FIRST);
    },
    fault: (entries, self) => hugeFault(entries, self, WITHIN),
  },
});

export const entryHugeFallBack = entryStory({
  name: "entry-huge-fall-back",
  about:
    "Two faults want a folio; a third one makes the entry of a page in it. Whoever has claimed the folio " +
    "by then falls back to a page, and wakes the one that waits.",
  from: "bug 5: missed wakeup with PMD faults, and the conflict of PMD and PTE",
  deviceFolios: 3,
  folios: BEFORE,
  explore: { strategy: "pct", depth: 3, schedules: 4000 },
  actors: {
    huge: (entries, self) => hugeGivenUp(entries, self, FIRST),
    "huge-2": (entries, self) => hugeGivenUp(entries, self, FIRST + 10),
    small: (entries, self) => faultAt(entries, self, WITHIN, FOLIO + 200),
  },
});

export const entryHugePinned = entryStory({
  name: "entry-huge-pinned",
  about:
    "A fault of a folio fails, and leaves nothing. A pin of a page within it that has found its entry, " +
    "and reads it a moment later, finds no page: it goes by no mark and counts nothing.",
  from: "mapping/tree.ts: whoever reads a slot again may find something else; invariant 5.6 (7)",
  deviceFolios: 3,
  folios: BEFORE,
  actors: {
    failing: (entries, self) => hugeGivenUp(entries, self, FIRST),
    pinner(entries, self) {
      // What would be the marks of this page, in a leaf node, is a slot of the folio before here.
      const pin = entries.tryPin(self, FIRST + 3 * 64, 1);
      ensure(pin === 0, "a page is pinned that is not there");
    },
  },
});
