/** Entry locks and who waits for them; entries made by several at once, of 4 KiB and of 2 MiB. */
import {
  lockEntry,
  type LockedEntry,
  publishAround,
  publishPage,
  publishZero,
  unlockEntry,
} from "../../mapping/entries.ts";
import { EntryKind, findSlot, isLocked, isPageKind, kindOf, pageOf } from "../../mapping/tree.ts";
import { load } from "../../sync/atomics.ts";
import type { Sleeps } from "../../sync/sleep.ts";
import { ensure, ensureNoLeak, type Scenario, type Self, scenario } from "../scenario.ts";
import { BareFile, type BareShared, buildBare } from "../world/bare.ts";

/** A page of the file that has no entry, in the leaf node of page 0. */
const EMPTY = 5;
/** Its block, when it gets one. */
const BLOCK = 40;

type Play = Pick<Scenario<BareShared, Entries>, "actors" | "environment" | "explore">;

interface Story extends Play {
  readonly name: string;
  readonly about: string;
  readonly from: string;
}

/** The file with who holds which of its entries, as its truth. */
class Entries extends BareFile {
  readonly #holders = new Map<number, Self>();

  /** Locks the entry of a page; nobody else holds a page of it. */
  *lock(self: Self, index: number, huge = false): Sleeps<LockedEntry> {
    const held = yield* lockEntry(self.task, this.mapping, index, huge);
    for (let page = held.index; page < held.index + held.pages; page++) {
      const other = this.#holders.get(page);
      const free = other === undefined || !self.thread.isAlive(other.thread.holder);
      ensure(free, `the entry of page ${page} is locked by ${other?.name} and ${self.name}`);
      this.#holders.set(page, self);
    }
    return held;
  }

  /** Before the entry is given back: until here nobody else may have come to hold it. */
  letGo(self: Self, held: LockedEntry): void {
    ensure(isLocked(load(self.thread.words, held.slot)), "an entry that is held is not locked");
    for (let page = held.index; page < held.index + held.pages; page++) this.#holders.delete(page);
  }

  giveUp(self: Self, held: LockedEntry): void {
    self.say("gives the entry up");
    this.letGo(self, held);
    unlockEntry(self.thread, held);
  }

  publish(self: Self, held: LockedEntry, block: number): void {
    self.say("makes the entry a page");
    this.letGo(self, held);
    publishPage(self.thread, this.hand(self).pages, held, block);
  }

  kindOf(self: Self, index: number): EntryKind | null {
    const { words } = self.thread;
    const slot = findSlot(words, this.mapping, index);
    return slot === 0 ? null : kindOf(load(words, slot));
  }

  override end(): void {
    super.end();
    const alive = this.hands.find(({ thread }) => thread.isAlive(thread.holder));
    if (alive === undefined) return;
    const { words } = alive.thread;
    for (let index = 0; index < 64; index++) {
      const slot = findSlot(words, this.mapping, index);
      const entry = slot === 0 ? 0 : load(words, slot);
      ensureNoLeak(!isLocked(entry), `the entry of page ${index} is left locked`);
      ensureNoLeak(
        entry === 0 || kindOf(entry) !== EntryKind.empty,
        `the entry of page ${index} is left empty`,
      );
      if (entry === 0 || !isPageKind(kindOf(entry))) continue;
      ensure(
        alive.pages.owner(pageOf(entry)) === this.mapping &&
          alive.pages.index(pageOf(entry)) === index,
        `the page that the entry of page ${index} names is not the file's`,
      );
    }
  }
}

function entryStory(story: Story): Scenario<BareShared, Entries> {
  return scenario({
    ...story,
    build: () => buildBare(Object.keys(story.actors).length, 1),
    region: (shared: BareShared) => shared.region,
    begin: (shared, actors) => new Entries(shared, actors),
    end: (entries) => entries.end(),
    nameOf: (entries, word) => entries.nameOf(word),
  });
}

function* lockAndGiveUp(entries: Entries, self: Self): Sleeps<void> {
  const held = yield* entries.lock(self, EMPTY);
  entries.giveUp(self, held);
}

/** A fault: finds the page, or makes it. */
function* fault(entries: Entries, self: Self): Sleeps<void> {
  const held = yield* entries.lock(self, EMPTY);
  if (isPageKind(kindOf(held.entry))) entries.giveUp(self, held);
  else entries.publish(self, held, BLOCK);
}

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
