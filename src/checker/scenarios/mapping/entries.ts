/** Entry locks and who waits for them; entries made by several at once, of 4 KiB and of 2 MiB. */
import { AbortError, HoldfastError } from "../../../base/errors.ts";
import { HUGE_PAGES } from "../../../base/quantities.ts";
import {
  publishAround,
  publishPage,
  publishShared,
  publishZero,
} from "../../../mapping/entries.ts";
import { noteLostUnlisted } from "../../../mapping/mapping.ts";
import { EntryKind, kindOf } from "../../../mapping/tree.ts";
import { stillOwned } from "../../../pin/pin.ts";
import { ensure } from "../../scenario.ts";
import { BLOCK, EMPTY, entryStory, fault, lockAndGiveUp } from "../../world/entries.ts";

export const entryGivenUp = entryStory({
  name: "entry-given-up",
  about:
    "Three threads want the entry of a page that has none. Each that gets it gives it up, so that it is " +
    "gone; everyone who waits must be woken all the same.",
  from: "bug 7: Wake up all waiters after invalidating dax entry (2021)",
  explore: { strategy: "bounded", preemptions: 3 },
  actors: { a: lockAndGiveUp, b: lockAndGiveUp, c: lockAndGiveUp },
});

export const entryLock = entryStory({
  name: "entry-lock",
  about: "Two threads lock the entry of a page that is there. One has it at a time.",
  from: "dax_lock_entry; DESIGN.md 5.2",
  actors: {
    *a(entries, self) {
      entries.giveUp(self, yield* entries.lock(self, 0));
    },
    *b(entries, self) {
      entries.giveUp(self, yield* entries.lock(self, 0));
    },
  },
});

export const entryFaults = entryStory({
  name: "entry-faults",
  about: "Two faults of one page make one entry with one page; the second finds the first's.",
  from: "DESIGN.md 5.2; dax_insert_entry",
  actors: { a: fault, b: fault },
});

export const entryFaultGivenUp = entryStory({
  name: "entry-fault-given-up",
  about: "A fault fails and leaves nothing; one that waited for it makes the page.",
  from: "invariant 5.6 (7): a failed insertion leaves nothing behind",
  actors: { failing: lockAndGiveUp, fault },
});

export const entryZeroThenPage = entryStory({
  name: "entry-zero-then-page",
  about:
    "A reading fault makes a zero entry, a writing one a page. Whoever is first, it ends as a page.",
  from: "DESIGN.md 5.2, holes; bug 14: don't disassociate zero page entries",
  actors: {
    *reader(entries, self) {
      const held = yield* entries.lock(self, EMPTY);
      if (kindOf(held.entry) === EntryKind.empty) {
        entries.letGo(self, held);
        publishZero(self.thread, held);
      } else {
        entries.giveUp(self, held);
      }
    },
    *writer(entries, self) {
      yield* fault(entries, self);
      ensure(entries.kindOf(self, EMPTY) === EntryKind.page, "the written page is not one");
    },
  },
});

export const entryAround = entryStory({
  name: "entry-around",
  about:
    "A fault makes entries for the pages around it while another one makes one of these. No page gets " +
    "two owners, and every entry ends as a page.",
  from: "fault-around; bug 4: entry association for mixed mappings",
  actors: {
    around(entries, self) {
      const { pages } = entries.hand(self);
      publishAround(self.thread, pages, entries.mapping, EMPTY - 1, 3, BLOCK - 1);
    },
    fault,
  },
});

export const entryAborted = entryStory({
  name: "entry-aborted",
  about: "Of two threads that want an entry one is aborted, at any point. It is left with nothing.",
  from: "DESIGN.md 5.4: waits can be aborted; sync/sleep.ts, rule 2",
  actors: {
    a: lockAndGiveUp,
    *aborted(entries, self) {
      try {
        yield* lockAndGiveUp(entries, self);
      } catch (error) {
        if (!(error instanceof AbortError)) throw error;
        self.say("is aborted");
      }
    },
  },
  environment: { abort: { abort: "aborted" } },
});

export const entryAroundEnds = entryStory({
  name: "entry-around-ends",
  about:
    "Entries are made around a fault: as many as were asked for, up to the end of a node, of 2 MiB of " +
    "the device and to the next entry, and none over a folio.",
  from: "fault-around, filemap_map_pages; mapping/entries.ts, publishAround",
  deviceFolios: 3,
  folios: [{ index: HUGE_PAGES, block: HUGE_PAGES }],
  actors: {
    file(entries, self) {
      const { pages } = entries.hand(self);
      const around = (index: number, count: number, block: number, made: number): void => {
        const { thread } = self;
        const found = publishAround(thread, pages, entries.mapping, index, count, block);
        ensure(found === made, `${found} entries are made from page ${index}, not ${made}`);
        for (let page = index; page < index + made; page++) {
          const kind = entries.kindOf(self, page);
          ensure(kind === EntryKind.page, `page ${page} is not there after it was made so`);
        }
      };
      around(10, 3, BLOCK, 3);
      ensure(entries.kindOf(self, 13) === null, "a page is made that was not asked for");
      around(8, 9, BLOCK + 10, 2);
      around(10, 2, 2 * HUGE_PAGES, 0);
      ensure(pages.find(2 * HUGE_PAGES) === null, "page records are made for no page");
      around(60, 9, BLOCK + 12, 4);
      around(20, 9, HUGE_PAGES - 2, 2);
      around(HUGE_PAGES + 70, 2, BLOCK + 16, 0);
    },
  },
});

export const entriesShared = entryStory({
  name: "entries-shared",
  about:
    "Entries come to name pages that other files may have as well: one, then several around it, of which none " +
    "is left where a window may show a page as lost. Each can be locked again, and tells whose page it is.",
  from: "mapping/entries.ts, publishShared and publishAround; pages/pages.ts, invariant 5",
  actors: {
    *file(entries, self) {
      const { thread, pages } = entries.hand(self);
      const { mapping } = entries;
      const held = yield* entries.lock(self, EMPTY);
      entries.letGo(self, held);
      publishShared(thread, pages, held, BLOCK);
      const again = yield* entries.lock(self, EMPTY);
      ensure(kindOf(again.entry) === EntryKind.page, "a shared page's entry is none of a page");
      entries.giveUp(self, again);
      const around = (index: number): number =>
        publishAround(thread, pages, mapping, index, 2, BLOCK + index, true);
      ensure(around(EMPTY + 1) === 2, "entries around a shared one are not made");
      noteLostUnlisted(thread, mapping);
      ensure(around(EMPTY + 9) === 0, "entries are made where a page may be shown as lost");
      const left = entries.kindOf(self, EMPTY + 9) ?? entries.kindOf(self, EMPTY + 10);
      ensure(left === null, "an entry is left that was not made");
      const page = pages.find(BLOCK)!;
      const isOwn = (index: number): boolean => stillOwned(pages, mapping, [{ page, index }]);
      ensure(isOwn(EMPTY), "a shared page is not the file's");
      ensure(!isOwn(EMPTY + 1), "a shared page is the file's at another's place");
      ensure(!isOwn(HUGE_PAGES + 3), "a shared page is the file's where it has no entry");
      entries.leaveAll(self);
    },
  },
});

function failsForMemory(make: () => void): boolean {
  try {
    make();
    return false;
  } catch (error) {
    if (!(error instanceof HoldfastError && error.code === "ENOMEM")) throw error;
    return true;
  }
}

/** So many folios of the device can have page records in a region of the smallest size. */
const RECORDS = 256;

export const entryOutOfRecords = entryStory({
  name: "entry-out-of-records",
  about:
    "There is no memory for the records of further pages. A fault that needs one fails, for one page and " +
    "for several; no entry is left of it.",
  from: "invariant 5.6 (7): a failed insertion leaves nothing behind; dax_insert_entry's ENOMEM",
  deviceFolios: RECORDS + 1,
  actors: {
    *file(entries, self) {
      const { pages } = entries.hand(self);
      const { mapping } = entries;
      const others: number[] = [];
      for (let folio = 1; folio < RECORDS; folio++) {
        others.push(pages.associate(folio * HUGE_PAGES, 1, mapping + 1, 0, false));
      }
      const block = RECORDS * HUGE_PAGES;
      ensure(
        failsForMemory(() => publishAround(self.thread, pages, mapping, EMPTY, 3, block)),
        "pages are made without records",
      );
      for (let index = EMPTY; index < EMPTY + 3; index++) {
        ensure(entries.kindOf(self, index) === null, `an entry of page ${index} is left`);
      }
      const held = yield* entries.lock(self, EMPTY);
      ensure(
        failsForMemory(() => publishPage(self.thread, pages, held, block)),
        "a page is made without a record",
      );
      entries.giveUp(self, held);
      ensure(entries.kindOf(self, EMPTY) === null, "the entry is left");
      for (const page of others) pages.disassociate(page, 1, mapping + 1);
    },
  },
});
