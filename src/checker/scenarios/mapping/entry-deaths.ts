/** Threads that die with entries locked, and whoever gives back what they had. */
import { HUGE_PAGES } from "../../../base/quantities.ts";
import { publishAround } from "../../../mapping/entries.ts";
import { EntryKind } from "../../../mapping/tree.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import { unlessPastTheEnd } from "../../world/bare.ts";
import {
  BLOCK,
  EMPTY,
  type Entries,
  entryStory,
  fault,
  faultAt,
  faultLocked,
  lockAndGiveUp,
} from "../../world/entries.ts";

/** Beside 2 MiB of the file that are an entry: 2 MiB that are wanted, and a page of them. */
const BEFORE = [{ index: HUGE_PAGES, block: 2 * HUGE_PAGES }];
const FOLIO = 2 * HUGE_PAGES;
const WITHIN = FOLIO + 200;

function* hugeFault(entries: Entries, self: Self): Sleeps<void> {
  yield* faultAt(entries, self, FOLIO, HUGE_PAGES, true);
}

export const entryDeath = entryStory({
  name: "entry-death",
  about:
    "A thread dies while it makes the entry of a page, at any point. The other one gets the entry, and " +
    "the page has one owner.",
  from: "several-processes.md: what a dead holder leaves is repaired",
  actors: { dying: fault, fault },
  environment: { death: { kill: "dying" } },
});

export const entryAroundDeath = entryStory({
  name: "entry-around-death",
  about:
    "A thread dies while it makes entries around a fault. Another one makes the page it wants.",
  from: "several-processes.md; DESIGN.md 2 (4)",
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    around(entries, self) {
      const { pages } = entries.hand(self);
      publishAround(self.thread, pages, entries.mapping, EMPTY - 1, 3, BLOCK - 1);
    },
    fault,
  },
  environment: { death: { kill: "around" } },
});

export const entryGivenUpDeath = entryStory({
  name: "entry-given-up-death",
  about:
    "A thread dies while it gives an entry up, at any point. Two others want the entry: once it is " +
    "given up, nobody gives back for the dead thread what one of them has by then.",
  from: "several-processes.md: what a dead holder leaves is repaired, and no more",
  explore: { strategy: "bounded", preemptions: 2 },
  actors: { dying: lockAndGiveUp, b: lockAndGiveUp, c: lockAndGiveUp },
  environment: { death: { kill: "dying" } },
});

export const entryHugeDeath = entryStory({
  name: "entry-huge-death",
  about:
    "A thread dies while it makes an entry of 2 MiB, at any point. Another one makes that of a page in " +
    "the same 2 MiB, and keeps it.",
  from: "several-processes.md; the conflict of PMD and PTE",
  deviceFolios: 3,
  folios: BEFORE,
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    dying: hugeFault,
    *fault(entries, self) {
      yield* faultAt(entries, self, WITHIN, HUGE_PAGES + 200);
    },
  },
  environment: { death: { kill: "dying" } },
});

export const entryHugePublishedDeath = entryStory({
  name: "entry-huge-published-death",
  about:
    "A thread dies while it writes the 8 slots of a folio's entry. Another one pins the folio: then it " +
    "stays the file's.",
  from: "mapping/entries.ts, recoverEntry: entries are read in their first slot, which is written last",
  deviceFolios: 3,
  folios: BEFORE,
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    dying: hugeFault,
    *pinner(entries, self) {
      yield* unlessPastTheEnd(self, function* () {
        const pin = yield* entries.pin(self, WITHIN, 1);
        self.thread.reap();
        entries.ensureOwned(self, pin);
        entries.release(self, pin);
      });
    },
  },
  environment: { death: { kill: "dying" } },
});

export const entryRecovererDies = entryStory({
  name: "entry-recoverer-dies",
  about:
    "A thread dies with two entries locked, and so may the one that gives them back. Who takes that over " +
    "does not take from a third one the entry that it has locked meanwhile.",
  from: "sync/thread.ts: a dead recoverer is replaced in turn; a recovery must be repeatable",
  explore: { strategy: "pct", depth: 4, schedules: 4000 },
  actors: {
    dying(entries, self) {
      const { pages } = entries.hand(self);
      publishAround(self.thread, pages, entries.mapping, EMPTY - 1, 2, BLOCK - 1);
    },
    recoverer: (entries, self) => faultAt(entries, self, EMPTY - 1, BLOCK - 1),
    third: lockAndGiveUp,
    fourth: (entries, self) => faultAt(entries, self, EMPTY - 1, BLOCK - 1),
  },
  environment: { death: { kill: "dying" }, "death-2": { kill: "recoverer" } },
});

export const entryGivenBack = entryStory({
  name: "entry-given-back",
  about:
    "A thread dies with an entry locked. Another one, that does not want it, gives it back, and wakes " +
    "the one that waits.",
  from: "bug 7: Wake up all waiters after invalidating dax entry (2021); sync/thread.ts, reap",
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    dying: lockAndGiveUp,
    recoverer(_entries, self) {
      self.thread.reap();
    },
    waiter: lockAndGiveUp,
  },
  environment: { death: { kill: "dying" } },
});

export const entrySecondDeath = entryStory({
  name: "entry-second-death",
  about:
    "A thread makes a page, gives up an entry near it, then makes entries between, and dies on the way. " +
    "What it was about to make is taken back, and no more: the first page stays the file's.",
  from: "mapping/entries.ts, lock records are used again",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *dying(entries, self) {
      yield* faultAt(entries, self, EMPTY + 5, 1);
      yield* lockAndGiveUp(entries, self);
      const { pages } = entries.hand(self);
      publishAround(self.thread, pages, entries.mapping, EMPTY, 3, BLOCK);
    },
    fault,
  },
  environment: { death: { kill: "dying" } },
});

export const entryRemovalDeath = entryStory({
  name: "entry-removal-death",
  about:
    "A thread dies while it takes all entries out of a file. Another one finishes that, and makes entries: " +
    "no node that is free is in the tree.",
  from: "mapping/tree.ts, rule 2; dax/remove-pages.ts, recoverRemovals",
  deviceFolios: 3,
  folios: BEFORE,
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    dying: (entries, self) => entries.removeAll(self),
    *faults(entries, self) {
      yield* faultLocked(entries, self, EMPTY, BLOCK);
      yield* faultLocked(entries, self, 64 + EMPTY, BLOCK + 1);
    },
  },
  environment: { death: { kill: "dying" } },
});

export const entryLockDeath = entryStory({
  name: "entry-lock-death",
  about: "A thread dies while it has the entry of a page locked that is there. The page stays.",
  from: "several-processes.md: what a dead holder leaves is repaired",
  actors: {
    *dying(entries, self) {
      entries.giveUp(self, yield* entries.lock(self, 0));
    },
    *other(entries, self) {
      entries.giveUp(self, yield* entries.lock(self, 0));
      ensure(entries.kindOf(self, 0) === EntryKind.page, "the page is gone");
    },
  },
  environment: { death: { kill: "dying" } },
});
