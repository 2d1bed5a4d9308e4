/** Pins against breaks, on a file without a driver: every block has its page, and a truth to hold it to. */
import { AbortError } from "../../../base/errors.ts";
import { MappingWord, PAGE_INDEX_MAX } from "../../../mapping/mapping.ts";
import { load, store } from "../../../sync/atomics.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { OWNER_DIED, Slot } from "../../../sync/thread.ts";
import { type Plot, type Scenario, type Self, scenario } from "../../scenario.ts";
import { BareFile, type BareShared, buildBare, unlessPastTheEnd } from "../../world/bare.ts";
import { playedIn } from "../../world/plots.ts";

interface Story extends Plot<BareShared, BareFile> {
  readonly pages: number;
  /** Whether the pages were pinned before, so that fast pins find them marked. Default: true. */
  readonly marked?: boolean;
}

function pinStory({ pages, marked, ...plot }: Story): Scenario<BareShared, BareFile> {
  return playedIn(
    {
      build: (actors) => buildBare(actors, pages, marked),
      begin: (shared, actors) => new BareFile(shared, actors),
      watch: {
        pins: (file) => file.pinsShown(),
        freed: (file) => file.freedShown(),
      },
    },
    plot,
  );
}

/** One I/O, the pin as the users' call takes it: without a lock, else with the map lock. */
function* pinnedIo(file: BareFile, self: Self, first: number, count: number): Sleeps<void> {
  yield* unlessPastTheEnd(self, function* () {
    const pin = yield* file.pin(self, first, count);
    file.io(self, pin, count);
    file.endIo(self, pin);
  });
}

/** One I/O if its pages can be pinned without a lock, else none. */
function fastIo(file: BareFile, self: Self, first: number, count: number): void {
  const pin = file.tryPin(self, first, count);
  if (pin === 0) return;
  file.io(self, pin, count);
  file.endIo(self, pin);
}

function* truncate(file: BareFile, self: Self): Sleeps<void> {
  yield* file.remove(self, 0, PAGE_INDEX_MAX);
}

/** Two I/Os into the only page of a file, and a truncate to nothing. */
export const pinTruncate = pinStory({
  name: "pin-truncate",
  about:
    "Two I/Os pin the page of a file without a lock, write and release it, while a truncate frees its " +
    "block. The block must not be free while an I/O is under way.",
  from: "[PATCH v7 00/12] dax: fix dma vs truncate/hole-punch",
  pages: 1,
  actors: {
    io: (file, self) => fastIo(file, self, 0, 1),
    "io-2": (file, self) => fastIo(file, self, 0, 1),
    truncate,
  },
});

/** The whole of a pin's way, for one I/O: it gets the page, or learns that it is gone. */
export const pinSlowTruncate = pinStory({
  name: "pin-slow-truncate",
  about:
    "An I/O pins the page of a file that nobody has pinned before, so it needs the map lock, while a " +
    "truncate frees the block. The mark that the pin leaves must be found by the break.",
  from: "DESIGN.md 5.3 and 5.4; get_user_pages, slow path",
  pages: 1,
  marked: false,
  explore: { strategy: "bounded", preemptions: 3 },
  actors: { io: (file, self) => pinnedIo(file, self, 0, 1), truncate },
});

export const twoPinnersTwoBreakers = pinStory({
  name: "two-pinners-two-breakers",
  about:
    "Two I/Os pin the page without a lock, two truncates race to free it. One of them does, once; " +
    "neither waits for ever.",
  from: "several breakers, DESIGN.md 5.4; [PATCH v7 09/12] mm, fs, dax: handle layout changes",
  pages: 1,
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    io: (file, self) => pinnedIo(file, self, 0, 1),
    "io-2": (file, self) => pinnedIo(file, self, 0, 1),
    truncate,
    "truncate-2": truncate,
  },
});

/** The holder of a pin may need the map lock before it lets go: so the breaker must not sleep with it. */
export const pinsNextPage = pinStory({
  name: "pins-next-page",
  about:
    "An I/O holds a pin on page 0 while it pins page 1, which needs the map lock. The truncate that " +
    "waits for page 0 must not hold that lock meanwhile.",
  from: "invariant 5.6 (5); [PATCH v7] BREAK_UNMAPI drops XFS_MMAPLOCK_EXCL to wait",
  pages: 2,
  marked: false,
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    *io(file, self) {
      yield* unlessPastTheEnd(self, function* () {
        const first = yield* file.pin(self, 0, 1);
        file.io(self, first, 1);
        try {
          const next = yield* file.pin(self, 1, 1);
          file.release(self, next);
        } finally {
          file.endIo(self, first);
        }
      });
    },
    truncate,
  },
});

export const batchPunch = pinStory({
  name: "batch-punch",
  about:
    "A pin of three pages races with a punch of the middle one. It gets all three or none, and the " +
    "punch waits for it or comes first.",
  from: "DESIGN.md 5.3, batches; get_user_pages over several pages",
  pages: 3,
  actors: {
    io: (file, self) => fastIo(file, self, 0, 3),
    *punch(file, self) {
      yield* file.remove(self, 1, 1);
    },
  },
});

export const refaultDuringWait = pinStory({
  name: "refault-during-wait",
  about:
    "While a truncate waits for an I/O, holding no lock, a window shows the page again. The end of the " +
    "I/O wakes the truncate all the same: windows can be revoked, so they are never waited for.",
  from: "hazard H1: the waiter needs no reference, the scan tests for no pin, and only 1 to 0 wakes",
  pages: 1,
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    io: (file, self) => fastIo(file, self, 0, 1),
    reader: (file, self) => file.show(self, 0),
    truncate,
  },
});

export const batchTruncate = pinStory({
  name: "batch-truncate",
  about:
    "Two I/Os, into pages 0 and 1, race with a truncate of both. The search for busy pages misses neither.",
  from: "bug 10: fs/dax: don't skip locked entries when scanning; generic/068",
  pages: 2,
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    io: (file, self) => fastIo(file, self, 0, 1),
    "io-2": (file, self) => fastIo(file, self, 1, 1),
    truncate,
  },
});

/** I/O elsewhere in the file goes on: the punch of another page must neither wait for it nor stop it. */
export const elsewhere = pinStory({
  name: "pin-elsewhere",
  about: "An I/O holds page 0 while page 2 is punched. The punch does not wait for it.",
  from: "DESIGN.md 5.4: a break covers the range that changes; bug 11, whole-file breaks in fuse",
  pages: 3,
  actors: {
    io: (file, self) => fastIo(file, self, 0, 1),
    *punch(file, self) {
      yield* file.remove(self, 2, 2);
      file.ensureFreed(2);
    },
  },
});

export const abortedTruncate = pinStory({
  name: "aborted-truncate",
  about:
    "A truncate that waits for an I/O is aborted at any point. It changes everything or nothing, holds " +
    "nothing afterwards, and a second truncate gets through.",
  from: "invariant 5.6 (7); DESIGN.md 5.4, waits can be aborted",
  pages: 1,
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    io: (file, self) => pinnedIo(file, self, 0, 1),
    *truncate(file, self) {
      try {
        yield* truncate(file, self);
      } catch (error) {
        if (!(error instanceof AbortError)) throw error;
        self.say("is aborted");
      }
    },
    "truncate-2": truncate,
  },
  environment: { abort: { abort: "truncate" } },
});

export const dyingIo = pinStory({
  name: "dying-io",
  about:
    "The thread that does the I/O dies at any point. Its pin is given back by whoever waits for it, and " +
    "the truncate goes on.",
  from: "DESIGN.md 5.3: a worker that dies releases its pins; several-processes.md",
  pages: 1,
  actors: {
    io: (file, self) => fastIo(file, self, 0, 1),
    truncate,
  },
  environment: { death: { kill: "io" } },
});

export const dyingTruncate = pinStory({
  name: "dying-truncate",
  about:
    "The thread that truncates dies at any point. Its locks and its announcement are taken back, and a " +
    "slow pin gets through or learns that the page is gone.",
  from: "several-processes.md: what a holder leaves is repaired; DESIGN.md 2 (4)",
  pages: 1,
  explore: { strategy: "bounded", preemptions: 2 },
  marked: false,
  actors: {
    io: (file, self) => pinnedIo(file, self, 0, 1),
    truncate,
  },
  environment: { death: { kill: "truncate" } },
});

export const dyingTwice = pinStory({
  name: "dying-twice",
  about:
    "The thread that truncates dies at any point, and so does the one that takes back what it had " +
    "announced. A third one takes back the rest.",
  from: "several-processes.md: a repair can be repeated",
  pages: 1,
  explore: { strategy: "pct", depth: 3, schedules: 1000 },
  actors: {
    *truncate(file, self) {
      yield* file.remove(self, 3, 3); // a hole: what matters is the announcement
    },
    reaper(_file, self) {
      self.thread.reap();
    },
    survivor: () => {}, // it takes back the rest at the end
  },
  environment: { death: { kill: "truncate" }, "death-2": { kill: "reaper" } },
});

/** Has the thread that made the file be one that has died with a break of it announced. */
function leaveAnnounced({ region, mapping }: BareShared): void {
  const { words } = region;
  const dead = region.slotBase(region.slotsUsed - 1);
  store(words, mapping + MappingWord.breakHolder, load(words, dead + Slot.state));
  store(words, dead + Slot.breaking, mapping);
  store(words, dead + Slot.liveness, OWNER_DIED);
}

export const announcementLeftBehind = scenario({
  ...pinStory({
    name: "announcement-left-behind",
    about:
      "A thread has died with a break announced. One that takes the announcement back dies at any point. " +
      "Another one takes back the rest, so that pins in the range need no lock again.",
    from: "layout/break.ts, recoverBreaks; several-processes.md: a repair can be repeated",
    pages: 1,
    actors: {
      reaper(_file, self) {
        self.thread.reap();
      },
      survivor: () => {}, // it takes back the rest at the end
    },
    environment: { death: { kill: "reaper" } },
  }),
  begin(shared, actors): BareFile {
    leaveAnnounced(shared);
    return new BareFile(shared, actors);
  },
});
