/** Entry locks and who waits for them; entries made by several at once, of 4 KiB and of 2 MiB. */
import { publishAround, publishZero } from "../../mapping/entries.ts";
import { EntryKind, kindOf } from "../../mapping/tree.ts";
import { ensure } from "../scenario.ts";
import { BLOCK, EMPTY, entryStory, fault, lockAndGiveUp } from "../world/entries.ts";

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
