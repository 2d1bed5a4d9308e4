/** Pins and breaks of a file with a folio of 2 MiB; and what a pin tells of its pages. */
import { HUGE_PAGES } from "../../../base/quantities.ts";
import { breakStatistics, withBrokenLayout } from "../../../layout/break.ts";
import { PAGE_INDEX_MAX } from "../../../mapping/mapping.ts";
import { clearMark, Mark, nextMarked } from "../../../mapping/tree.ts";
import {
  pagesOfPin,
  pinnedPage,
  type PinRecord,
  releasePin,
  stillOwned,
} from "../../../pin/pin.ts";
import { describePins, heldPins, PinWord } from "../../../pin/record.ts";
import { storeOwn } from "../../../sync/atomics.ts";
import { clockMs } from "../../../sync/clock.ts";
import { ensure, type Plot, type Scenario, type Self } from "../../scenario.ts";
import { BareFile, type BareShared, FIRST_BLOCK } from "../../world/bare.ts";
import { AFTER_FOLIO, buildFolio, FOLIO, folioBlock } from "../../world/folio.ts";
import { playedIn } from "../../world/plots.ts";

function folioStory(plot: Plot<BareShared, BareFile>): Scenario<BareShared, BareFile> {
  const begin = (shared: BareShared, actors: readonly Self[]) => new BareFile(shared, actors);
  return playedIn({ build: buildFolio, begin }, plot);
}

/** Pins without a lock, as must be possible where nothing stands in the way. */
function pinFast(file: BareFile, self: Self, first: number, count: number, write = false) {
  const pin = file.tryPin(self, first, count, write);
  ensure(pin !== 0, `pages ${first} to ${first + count - 1} cannot be pinned without a lock`);
  return pin;
}

function ensureCounts(file: BareFile, self: Self, expected: readonly [number, number][]): void {
  const { pages } = file.hand(self);
  for (const [block, pins] of expected) {
    const page = pages.find(block);
    const counted = page === null ? 0 : pages.pinCount(page);
    ensure(counted === pins, `block ${block} has ${counted} pins, not ${pins}`);
  }
}

/** The counts of the pages around the folio. */
function counts(...pins: number[]): [number, number][] {
  const blocks = [30, 31, folioBlock(FOLIO), folioBlock(FOLIO + 1), 32];
  return pins.map((count, at) => [blocks[at]!, count]);
}

export const folioPins = folioStory({
  name: "folio-pins",
  about:
    "Pins that begin, end or lie in a folio count it once, and single pages each. A pin tells which " +
    "blocks its pages are, and whether they are still the file's. All is given back.",
  from: "DESIGN.md 5.3; get_user_pages on a PMD mapping",
  actors: {
    *one(file, self) {
      const { thread, pages } = file.hand(self);
      const around = pinFast(file, self, FOLIO - 2, HUGE_PAGES + 3);
      ensureCounts(file, self, counts(1, 1, 1, 0, 1));
      const inside = pinFast(file, self, FOLIO + 100, 2, true);
      ensureCounts(file, self, counts(1, 1, 2, 0, 1));
      const tail = yield* slowPin(file, self, FOLIO + 500, 13);
      ensureCounts(file, self, counts(1, 1, 3, 0, 2));
      const head = yield* slowPin(file, self, FOLIO - 2, 4);
      ensureCounts(file, self, counts(2, 2, 4, 0, 2));
      ensurePlaces(file, self, around, [
        [1, 31, 1],
        [2, folioBlock(FOLIO), HUGE_PAGES],
        [12, folioBlock(FOLIO + 10), HUGE_PAGES - 10],
        [HUGE_PAGES + 2, 32, 1],
      ]);
      ensurePlaces(file, self, inside, [[1, folioBlock(FOLIO + 101), HUGE_PAGES - 101]]);
      ensurePlaces(file, self, tail, [[12, 32, 1]]);
      const owned = pagesOfPin(thread, pages, around);
      const places = owned.map(({ page, index }) => `${index}:${pages.devicePage(page)}`);
      ensure(
        places.join(" ") === "510:30 511:31 512:512 1024:32",
        `the pin holds ${places.join(" ")}`,
      );
      const within = pagesOfPin(thread, pages, inside);
      ensure(within.length === 1 && within[0]!.index === FOLIO, "a pin holds its folio, once");
      ensure(stillOwned(pages, file.mapping, owned), "pinned pages are not the file's");
      ensure(!stillOwned(pages, file.mapping + 64, owned), "pinned pages are another file's");
      const moved = owned.map(({ page, index }) => ({ page, index: index + 1 }));
      ensure(!stillOwned(pages, file.mapping, moved), "pinned pages are at other places");
      for (const pin of [around, inside, tail, head]) releasePin(thread, pages, pin);
      ensureCounts(file, self, counts(0, 0, 0, 0, 0));
      yield* file.remove(self, FOLIO + 7, FOLIO + 9);
      ensure(!stillOwned(pages, file.mapping, owned), "a folio that is gone is the file's");
      ensureCounts(file, self, counts(0, 0, 0, 0, 0));
      ensure(file.tryPin(self, FOLIO + 511, 2, false) === 0, "a folio that is gone is pinned");
      releasePin(thread, pages, pinFast(file, self, AFTER_FOLIO, 1));
    },
  },
});

/** Takes the mark of the first page away, so that it is pinned under the map lock. */
function* slowPin(file: BareFile, self: Self, first: number, count: number) {
  clearMark(self.thread, file.mapping, first, Mark.pinned);
  ensure(file.tryPin(self, first, count) === 0, "a page that is not marked is pinned");
  return yield* file.pin(self, first, count);
}

function ensurePlaces(
  file: BareFile,
  self: Self,
  pin: PinRecord,
  places: readonly (readonly [number, number, number])[],
): void {
  const { thread, pages } = file.hand(self);
  for (const [offset, block, run] of places) {
    const found = pinnedPage(thread, pages, pin, offset);
    ensure(
      found.devicePage === block && found.run === run,
      `page ${offset} of the pin is block ${found.devicePage}, with ${found.run} in a row`,
    );
  }
}

export const pinBesideBreak = folioStory({
  name: "pin-beside-break",
  about:
    "While a break holds pages 511 to 600, widened to the whole folio, pages around it are pinned " +
    "without a lock, and pages in it are not. A break of a hole waits for no pin of its neighbours.",
  from: "DESIGN.md 5.4: a break covers the range that changes; bug 11, whole-file breaks in fuse",
  actors: {
    *one(file, self) {
      const hand = file.hand(self);
      const { thread, pages } = hand;
      const tried = (first: number, count: number): boolean => {
        const pin = file.tryPin(self, first, count);
        if (pin !== 0) releasePin(thread, pages, pin);
        return pin !== 0;
      };
      const before = breakStatistics(thread);
      yield* withBrokenLayout(
        self.task,
        hand,
        file.mapping,
        () => null,
        function* ({ range }) {
          ensure(
            range === null && tried(0, 1),
            "a change that breaks nothing is in the way of pins",
          );
        },
      );
      const plan = () => ({ first: FOLIO - 1, last: FOLIO + 88 });
      yield* withBrokenLayout(self.task, hand, file.mapping, plan, function* ({ range }) {
        const widened = range!.first === FOLIO - 1 && range!.last === AFTER_FOLIO - 1;
        ensure(widened, `pages ${range!.first} to ${range!.last} are broken`);
        ensure(tried(FOLIO - 2, 1), "the page before a break cannot be pinned");
        ensure(!tried(FOLIO - 2, 2), "the first page of a break is pinned");
        ensure(!tried(FOLIO + 300, 4), "a page of a break is pinned");
        ensure(!tried(AFTER_FOLIO - 1, 1), "the last page of a break is pinned");
        ensure(tried(AFTER_FOLIO, 1), "the page after a break cannot be pinned");
      });
      ensure(file.tryPin(self, FOLIO - 1, 1) === 0, "an idle page keeps its mark in a break");
      const held = yield* file.pin(self, FOLIO - 1, 1);
      const other = pinFast(file, self, AFTER_FOLIO, 1);
      const careless = { ...hand, protect: false };
      yield* withBrokenLayout(self.task, careless, file.mapping, plan, function* () {
        ensureCounts(file, self, counts(0, 1, 0, 0, 1));
      });
      yield* file.remove(self, 5, 500);
      yield* file.remove(self, AFTER_FOLIO + 1, PAGE_INDEX_MAX);
      yield* file.remove(self, FOLIO + 1, FOLIO + 2);
      ensureCounts(file, self, counts(0, 1, 0, 0, 1));
      releasePin(thread, pages, held);
      releasePin(thread, pages, other);
      const { breaks, waits } = breakStatistics(thread);
      const counted = breaks - before.breaks;
      ensure(counted === 5 && waits === before.waits, `${counted} breaks and ${waits} waits`);
    },
  },
});

export const pinsThatOnlyRead = folioStory({
  name: "pins-that-only-read",
  about:
    "A pin that only reads needs no dirty mark and leaves none: an fsync has nothing to do for it. One " +
    "that writes leaves it.",
  from: "pin/pin.ts, invariant 4",
  actors: {
    *one(file, self) {
      const { thread, pages } = file.hand(self);
      const isDirty = (index: number): boolean =>
        nextMarked(thread.words, file.mapping, index, index, Mark.dirty) >= 0;
      clearMark(thread, file.mapping, FOLIO - 1, Mark.dirty);
      const fast = pinFast(file, self, FOLIO - 1, 1);
      const slow = yield* slowPin(file, self, FOLIO - 1, 1);
      ensure(!isDirty(FOLIO - 1), "a pin that reads has marked its page dirty");
      ensure(file.tryPin(self, FOLIO - 1, 1, true) === 0, "a page written is not marked dirty");
      ensureCounts(file, self, counts(0, 2));
      const write = yield* file.pin(self, FOLIO - 1, 1, true);
      ensure(isDirty(FOLIO - 1), "a pin that writes has not marked its page dirty");
      for (const pin of [fast, slow, write]) releasePin(thread, pages, pin);
    },
  },
});

export const pinHoldersNamed = folioStory({
  name: "pin-holders-named",
  about:
    "Who asks for the holders of a range is told of each pin that touches it, and of no other: nor of the " +
    "time of one that was held before it.",
  from: "DESIGN.md 5.3: whoever waits can be told for whom",
  actors: {
    one(file, self) {
      const { thread, pages } = file.hand(self);
      const told = (first: number, last: number, limit?: number): string =>
        describePins(thread, heldPins(thread, file.mapping, first, last), undefined, limit);
      ensure(told(0, PAGE_INDEX_MAX) === "no pin", "holders are told of, with no pin");
      const pins = [
        pinFast(file, self, 0, 1),
        pinFast(file, self, FOLIO - 2, 2),
        pinFast(file, self, FOLIO + 3, 4),
      ];
      const by = ` by ${thread.describe(thread.holder)}`;
      const [first, second, third] = [
        `pages 0 to 0${by}`,
        `pages 510 to 511${by}`,
        `515 to 518${by}`,
      ];
      ensure(told(0, 0) === `pinned: ${first}`, `told of page 0: ${told(0, 0)}`);
      ensure(told(1, 509) === "no pin", `told of a hole: ${told(1, 509)}`);
      ensure(told(511, 514) === `pinned: ${second}`, `told of page 511: ${told(511, 514)}`);
      ensure(told(0, 510) === `pinned: ${first}, ${second}`, `told of two: ${told(0, 510)}`);
      const all = told(0, PAGE_INDEX_MAX, 2);
      ensure(all === `pinned: ${first}, ${second} and 1 more`, `told of three, two named: ${all}`);
      ensure(told(0, PAGE_INDEX_MAX, 3).endsWith(third), "the third is not named");
      ensure(!told(0, PAGE_INDEX_MAX, 3).includes("more"), "more are told of than there are");
      const other = heldPins(thread, file.mapping + 64, 0, PAGE_INDEX_MAX);
      ensure(other.length === 0, "told of another file");
      storeOwn(thread.words, pins[0]! + PinWord.since, clockMs() + 1);
      ensure(told(0, 0) === `pinned: ${first} for 0 ms`, `told of a time: ${told(0, 0)}`);
      for (const pin of pins) storeOwn(thread.words, pin + PinWord.since, clockMs() + 1);
      for (const pin of pins) releasePin(thread, pages, pin);
      ensure(told(0, PAGE_INDEX_MAX) === "no pin", "a pin that was given back is told of");
      const next = pinFast(file, self, 0, 1);
      ensure(told(0, 0) === `pinned: ${first}`, `told of another's time: ${told(0, 0)}`);
      releasePin(thread, pages, next);
    },
  },
});

export const folioPunch = folioStory({
  name: "folio-punch",
  about:
    "An I/O into two pages of a folio races with a punch elsewhere in it, and with an I/O that dies " +
    "and holds the page before it, too. The folio goes as a whole, and not under an I/O.",
  from: "hazard H5: a shared PMD folio loses its state while it is pinned; DESIGN.md 5.4",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    io(file, self) {
      const pin = file.tryPin(self, FOLIO + 100, 2);
      if (pin === 0) return;
      file.io(self, pin, 2);
      file.endIo(self, pin);
    },
    dying(file, self) {
      const pin = file.tryPin(self, FOLIO - 1, 3);
      if (pin === 0) return;
      file.io(self, pin, 3);
      file.endIo(self, pin);
    },
    *punch(file, self) {
      yield* file.remove(self, FOLIO + 200, FOLIO + 300);
      ensure(file.isFreed(folioBlock(FOLIO) - FIRST_BLOCK), "the folio is not free");
    },
  },
  environment: { death: { kill: "dying" } },
});
