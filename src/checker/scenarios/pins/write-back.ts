/** Pins that write, against write-back: what they wrote is found by an fsync after them. */
import { PAGE_INDEX_MAX } from "../../../mapping/mapping.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import type { Plot, Scenario, Self } from "../../scenario.ts";
import { unlessPastTheEnd } from "../../world/bare.ts";
import { buildDurable, DurableFile, type DurableShared } from "../../world/durable.ts";
import { playedIn } from "../../world/plots.ts";

interface Story extends Plot<DurableShared, DurableFile> {
  readonly pages: number;
  /** Whether the pages were written through pins before, so that they are marked. Default: true. */
  readonly marked?: boolean;
}

function writeBackStory({ pages, marked, ...plot }: Story): Scenario<DurableShared, DurableFile> {
  return playedIn(
    {
      build: (actors) => buildDurable(actors, pages, marked),
      begin: (shared, actors) => new DurableFile(shared, actors),
      watch: { pins: (file) => file.pinsShown() },
    },
    plot,
  );
}

const fsync = (file: DurableFile, self: Self): Sleeps<void> => file.fsync(self);

/** Pins pages for writing, writes them and gives them back. */
function* write(file: DurableFile, self: Self, first: number, count: number): Sleeps<void> {
  yield* unlessPastTheEnd(self, function* () {
    const pin = yield* file.pin(self, first, count, true);
    file.write(self, pin, first, count);
  });
}

/** The same if its pages can be pinned without a lock, else nothing. */
function fastWrite(file: DurableFile, self: Self, first: number, count: number): void {
  const pin = file.tryPin(self, first, count, true);
  if (pin !== 0) file.write(self, pin, first, count);
}

export const pinWriteBack = writeBackStory({
  name: "pin-write-back",
  about:
    "An I/O pins a page without a lock, since it was written before and is marked dirty, and writes it, " +
    "while an fsync takes the mark away. What the I/O wrote is on the medium, or the page is dirty again.",
  from: "hazard H2, dirty marks that vanish; pin/pin.ts, invariant 4",
  pages: 1,
  actors: { io: (file, self) => fastWrite(file, self, 0, 1), fsync },
});

export const pinWriteBackSlow = writeBackStory({
  name: "pin-write-back-slow",
  about:
    "A page that nobody has written yet is pinned for writing under the map lock, written twice over, " +
    "while an fsync runs. The pin leaves the mark, and whoever takes it away persists what was written.",
  from: "hazard H2; pin/pin.ts, invariant 4",
  pages: 1,
  marked: false,
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    *io(file, self) {
      yield* write(file, self, 0, 1);
      yield* write(file, self, 0, 1);
    },
    fsync,
  },
});

export const pinWriteBackBatch = writeBackStory({
  name: "pin-write-back-batch",
  about:
    "Two I/Os write overlapping pages through pins while an fsync runs. Each page that was written is " +
    "found, whoever else held a pin on it.",
  from: "hazard H2; pin/pin.ts, invariants 4 and 5",
  pages: 2,
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    io: (file, self) => write(file, self, 0, 2),
    "io-2": (file, self) => write(file, self, 1, 1),
    fsync,
  },
});

export const pinWriteBackPunch = writeBackStory({
  name: "pin-write-back-punch",
  about:
    "Pages 0 and 1 are written through pins while page 1 is punched and an fsync runs. The break takes " +
    "the marks of its range away, and no other page's.",
  from: "hazard H2: a break deletes the file's entries without flushing, dirty marks outside vanish",
  pages: 2,
  marked: false,
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *io(file, self) {
      yield* write(file, self, 0, 1);
      yield* write(file, self, 1, 1);
    },
    *punch(file, self) {
      yield* file.remove(self, 1, PAGE_INDEX_MAX);
    },
    fsync,
  },
});
