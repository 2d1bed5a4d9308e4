/** Blocks that are used again while somebody is about to wait for pins of their last page. */
import { publishAround } from "../../../mapping/entries.ts";
import { MAPPING_WORDS, MappingWord, PAGE_INDEX_MAX } from "../../../mapping/mapping.ts";
import { add, cas, load, store, wakeAll } from "../../../sync/atomics.ts";
import { lockShared } from "../../../sync/lock.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Plot, type Scenario, type Self } from "../../scenario.ts";
import { BareFile, type BareShared, buildBare, FIRST_BLOCK, FREED, INO } from "../../world/bare.ts";
import { playedIn } from "../../world/plots.ts";

interface ReuseShared extends BareShared {
  /** 0: whether the layout change has ended | 1: the other file's pin. */
  readonly told: number;
}

/** The file whose block another place of it gets, or another file. */
class ReusedFile extends BareFile {
  readonly #done: number;

  constructor(shared: ReuseShared, actors: readonly Self[]) {
    super(shared, actors);
    this.#done = shared.told;
  }

  /** A layout change of pages [0, last], whose end is told. */
  *change(self: Self, last: number): Sleeps<void> {
    yield* this.remove(self, 0, last);
    const { words } = self.thread;
    store(words, this.#done, 1);
    wakeAll(words, this.#done);
  }

  /** Looks whether page 0 has to be waited for. If it is idle by then, the mark of a waiter stays. */
  comeLate(self: Self): void {
    const { pages } = this.hand(self);
    const page = pages.find(FIRST_BLOCK);
    if (page !== null) pages.prepareWait(page);
  }

  /** Makes the freed block a page of the file. */
  *reuse(self: Self, index: number): Sleeps<void> {
    const { thread, pages } = this.hand(self);
    const lock = this.mapping + MappingWord.mapLock;
    using _map = yield* lockShared(self.task, lock, { rankName: "map", order: INO });
    this.#take(self);
    publishAround(thread, pages, this.mapping, index, 1, FIRST_BLOCK);
    self.say(`block ${FIRST_BLOCK} is page ${index} now`);
  }

  #take({ thread }: Self): void {
    const mine = cas(thread.words, this.truthOf(FIRST_BLOCK), FREED, 0);
    ensure(mine, `block ${FIRST_BLOCK} is used again while it is not free`);
  }

  /** Makes the freed block another file's, and pins it there until the layout change has ended. */
  *pinForeign(self: Self): Sleeps<void> {
    const { thread, pages } = this.hand(self);
    const { words } = thread;
    this.#take(self);
    const other = this.mapping + MAPPING_WORDS;
    const page = pages.associate(FIRST_BLOCK, 1, other, 0, false);
    add(words, pages.pinWord(page), 1);
    self.say(`block ${FIRST_BLOCK} is another file's, and pinned there`);
    yield* this.#waitForEnd(self);
    pages.releaseNoting(page, this.#done + 1, 0);
    pages.disassociate(page, 1, other);
  }

  /** Makes it another page of the file, and pins it there for as long. */
  *pinElsewhere(self: Self, index: number): Sleeps<void> {
    yield* this.reuse(self, index);
    const pin = yield* this.pin(self, index, 1);
    yield* this.#waitForEnd(self);
    this.release(self, pin);
  }

  *#waitForEnd({ thread }: Self): Sleeps<void> {
    while (load(thread.words, this.#done) === 0) {
      yield { word: this.#done, expected: 0, what: () => "the end of the layout change" };
    }
  }
}

function reuseStory(plot: Plot<ReuseShared, ReusedFile>): Scenario<ReuseShared, ReusedFile> {
  return playedIn(
    {
      build(actors) {
        const bare = buildBare(actors, 1);
        return { ...bare, told: bare.region.allocatePages(2) };
      },
      begin: (shared, actors) => new ReusedFile(shared, actors),
      watch: {
        pins: (file) => file.pinsShown(),
        freed: (file) => file.freedShown(),
      },
    },
    plot,
  );
}

/** One I/O if the page can be pinned without a lock, else none. */
function io(file: ReusedFile, self: Self): void {
  const pin = file.tryPin(self, 0, 1);
  if (pin === 0) return;
  file.io(self, pin, 1);
  file.endIo(self, pin);
}

const truncate = (file: ReusedFile, self: Self): Sleeps<void> => file.change(self, PAGE_INDEX_MAX);

export const pageUsedAgain = reuseStory({
  name: "page-used-again",
  about:
    "A truncate has found a page busy and is about to wait for its pin. Meanwhile the pin ends, the page " +
    "is punched, and its block is used for another page of the file. The late waiter is no pin: it waits " +
    "for nobody, or looks again.",
  from: "pages/pages.ts, invariants 1 and 4: a waiter marks a record that is no longer its page's",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    io,
    truncate,
    *reuse(file, self) {
      yield* file.remove(self, 0, 0);
      if (file.isFreed(0)) yield* file.reuse(self, 5);
    },
  },
});

export const foreignPin = reuseStory({
  name: "foreign-pin",
  about:
    "As page-used-again, but the block becomes another file's, and is pinned there for as long as the " +
    "truncate takes, with the mark of a late waiter on it. The truncate does not wait for a pin of another " +
    "file.",
  from: "layout/break.ts: whoever holds another page by now is not waited for; invariant 5.6 (5)",
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    truncate,
    *other(file, self) {
      io(file, self);
      file.comeLate(self);
      yield* file.remove(self, 0, 0);
      if (file.isFreed(0)) yield* file.pinForeign(self);
    },
  },
});

export const movedPin = reuseStory({
  name: "moved-pin",
  about:
    "As foreign-pin, but it is page 0 that is punched, and the block becomes page 5 of the file, where it " +
    "is pinned for as long as that takes. The punch does not wait for a pin of a page that it leaves alone.",
  from: "DESIGN.md 5.4: a break covers the range that changes; invariant 5.6 (5)",
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    punch: (file, self) => file.change(self, 0),
    *other(file, self) {
      io(file, self);
      yield* file.remove(self, 0, 0);
      if (file.isFreed(0)) yield* file.pinElsewhere(self, 5);
    },
  },
});
