/** Who holds a page, asked while pins come and go; and the last release on its rarer ways. */
import { PAGE_INDEX_MAX } from "../../../mapping/mapping.ts";
import { Mark, setMark } from "../../../mapping/tree.ts";
import { heldPins } from "../../../pin/record.ts";
import { add, load } from "../../../sync/atomics.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Plot, type Scenario, type Self } from "../../scenario.ts";
import { BareFile, type BareShared, buildBare } from "../../world/bare.ts";
import { playedIn } from "../../world/plots.ts";

interface Story extends Plot<BareShared, BareFile> {
  readonly pages: number;
  /** Pages that were pinned before, from the first. Default: all. */
  readonly marked?: number;
}

function holderStory({ pages, marked, ...plot }: Story): Scenario<BareShared, BareFile> {
  return playedIn(
    {
      build: (actors) => buildBare(actors, pages, marked === undefined),
      begin: (shared, actors) => {
        const file = new BareFile(shared, actors);
        for (let index = 0; index < (marked ?? 0); index++) {
          setMark(file.hands[0]!.thread, file.mapping, index, Mark.pinned);
        }
        return file;
      },
      watch: {
        pins: (file) => file.pinsShown(),
        freed: (file) => file.freedShown(),
      },
    },
    plot,
  );
}

/** Words of the truth that count pins begun and ended: of blocks that the file has not. */
const BEGUN = 100;
const ENDED = 101;

function pinnedFor(file: BareFile, self: Self, first: number, count: number, write: boolean): void {
  const { words } = self.thread;
  add(words, file.truthOf(BEGUN), 1);
  const pin = file.tryPin(self, first, count, write);
  ensure(pin !== 0, "a page that is there is not pinned");
  file.release(self, pin);
  add(words, file.truthOf(ENDED), 1);
}

/** The pins that the holder takes, one after the other, in one record. */
const TAKEN = ["0+1 read", "1+1 write", "1+2 write"];

export const holdersAsked = holderStory({
  name: "holders-asked",
  about:
    "A thread pins page 0, then pages 1 and 2 for writing, in the same record, while another one asks who " +
    "holds what. It is told of pins that were held, as they were, or of none.",
  from: "pin/record.ts: the rule of the serial",
  pages: 3,
  actors: {
    io(file, self) {
      pinnedFor(file, self, 0, 1, false);
      pinnedFor(file, self, 1, 2, true);
    },
    asker(file, self) {
      const { words } = self.thread;
      const ended = load(words, file.truthOf(ENDED));
      const told = heldPins(self.thread, file.mapping, 0, PAGE_INDEX_MAX);
      const begun = load(words, file.truthOf(BEGUN));
      ensure(told.length <= 1, "one record is told of twice");
      for (const { first, pages, write, holder } of told) {
        const pin = `${first}+${pages} ${write ? "write" : "read"}`;
        ensure(TAKEN.includes(pin), `told of a pin that nobody took: ${pin}`);
        ensure(begun > ended, "told of a pin when none was held");
        ensure(holder === file.hands[0]!.thread.holder, "another thread is named");
      }
    },
  },
});

function* truncate(file: BareFile, self: Self): Sleeps<void> {
  yield* file.remove(self, 0, PAGE_INDEX_MAX);
}

export const releaseUnwound = holderStory({
  name: "release-unwound",
  about:
    "An I/O has counted page 0 and finds that it cannot have page 1 without a lock, so it takes back " +
    "what it has counted. A truncate that found page 0 busy meanwhile is woken by that.",
  from: "bug 8: every release path wakes; DESIGN.md 5.1: the release of the last pin wakes",
  pages: 2,
  marked: 1,
  actors: {
    io(file, self) {
      ensure(file.tryPin(self, 0, 2) === 0, "page 1 is pinned without a mark");
    },
    truncate,
  },
});

export const releaseBatch = holderStory({
  name: "release-batch",
  about:
    "An I/O into two pages ends and gives both back. A truncate that waits for one of them is woken, " +
    "whichever it is.",
  from: "bug 8: every release path wakes; DESIGN.md 5.3, batches",
  pages: 2,
  actors: {
    io(file, self) {
      const pin = file.tryPin(self, 0, 2);
      if (pin === 0) return;
      file.io(self, pin, 2);
      file.endIo(self, pin);
    },
    truncate,
  },
});

export const releaseBatchDead = holderStory({
  name: "release-batch-dead",
  about:
    "The thread that does an I/O into two pages dies at any point. Whoever takes back its pins wakes the " +
    "truncates that wait for them.",
  from: "bug 8: every release path wakes; DESIGN.md 5.3: a worker that dies releases its pins",
  pages: 2,
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    io(file, self) {
      const pin = file.tryPin(self, 0, 2);
      if (pin !== 0) file.release(self, pin);
    },
    truncate,
    *punch(file, self) {
      yield* file.remove(self, 1, 1);
    },
  },
  environment: { death: { kill: "io" } },
});
