/** Touches that cannot be served: what is shown in their place, who is told, and until when. */
import { InvariantError } from "../../../base/invariant.ts";
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { preallocate, zeroRange } from "../../../dax/layout-change.ts";
import { lockEntry, unlockEntry } from "../../../mapping/entries.ts";
import { MappingWord } from "../../../mapping/mapping.ts";
import { add, load, store, wakeAll } from "../../../sync/atomics.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Scenario, type Self } from "../../scenario.ts";
import type { VolumeShared } from "../../world/build.ts";
import { taskOf } from "../../world/threads.ts";
import type { Volume } from "../../world/volume.ts";
import {
  ensureShown,
  loads,
  mayFail,
  pinnedIo,
  refused,
  truncate,
  volumeStory,
  writePages,
} from "./play.ts";

const oneWindow = { file: "A", first: 0, pages: 1, writable: true };

export const lostMeanwhile = volumeStory({
  name: "dax-lost-meanwhile",
  about:
    "A fault fails for want of a tree node, and is about to show its page as lost. A truncate of another " +
    "file gives nodes back, and a pin makes the page real. The window does not go on hiding it.",
  from: "DESIGN.md 5.2: when the range becomes valid again it is revoked; dax/fault.ts, showFailed",
  blocks: 2,
  exhausted: true,
  files: [
    { name: "A", pages: "=" },
    { name: "B", pages: "#" },
  ],
  windows: [oneWindow],
  actors: {
    user: (volume, self) => loads(volume, self, 0, 0, [".", "A", "W"]),
    *io(volume, self) {
      yield* truncate(volume, self, "B");
      yield* pinnedIo(volume, self, 0, 1, ["ENOMEM"]);
    },
  },
  finally(volume) {
    const pinned = volume.fileShown(volume.file("A"), 1) === "W";
    ensure(!pinned || volume.windowShown(0) !== "x", "the window hides what was pinned");
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const failedMeanwhile = volumeStory({
  name: "dax-failed-meanwhile",
  about:
    "A thread cannot read the file's extents, and its fault is about to show the page as lost, when " +
    "another thread makes the page real through another window. The first one does not go on hiding it.",
  from: "DESIGN.md 5.2: a touch never kills; dax/fault.ts, showFailed",
  blocks: 1,
  files: [{ name: "A", pages: "=" }],
  windows: [oneWindow, oneWindow],
  actors: {
    *user(volume, self) {
      volume.fail(self, "extentAt");
      yield* loads(volume, self, 0, 0, [".", "A"]);
    },
    other: (volume, self) => loads(volume, self, 1, 0, ["A"]),
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const lostTold = volumeStory({
  name: "dax-lost-told",
  about:
    "Two threads touch the page behind the file's end through one window. Whichever finds zeroes there " +
    "finds that the window tells of the page.",
  from: "DESIGN.md 5.2: the window reports the lost range",
  blocks: 1,
  files: [{ name: "A", pages: "=" }],
  windows: [{ ...oneWindow, pages: 2 }],
  actors: { one: touchBehindEnd, other: touchBehindEnd },
  explore: { strategy: "bounded", preemptions: 1 },
});

function* touchBehindEnd(volume: Volume, self: Self): Sleeps<void> {
  yield* loads(volume, self, 0, 1, ["."]);
  const lost = volume.viewOf(self, 0).lostRange();
  ensure(lost?.offset === PAGE_SIZE, "the window does not tell of a page that it shows as lost");
}

export const damagedBefore = volumeStory({
  name: "dax-damaged-before",
  about:
    "A thread cannot read the extent of a file's first page. What lies behind is touched and pinned all " +
    "the same. If it is an invariant that breaks there, it comes out of the fault: nobody catches that.",
  from: "dax/fault.ts, extentAround; CONTRIBUTING.md: an invariant that fails is a fault of ours",
  blocks: 3,
  files: [{ name: "A", pages: "==.=" }],
  windows: [{ ...oneWindow, pages: 4 }],
  actors: {
    *user(volume, self) {
      volume.fail(self, "extentAt 0");
      yield* loads(volume, self, 0, 1, ["A"]);
      yield* pinnedIo(volume, self, 1, 1);
      volume.fail(self, "extentAt 0", new InvariantError("the driver breaks an invariant"));
      let broken: unknown = null;
      try {
        yield* volume.load(self, 0, 3);
      } catch (error) {
        broken = error;
      }
      ensure(broken instanceof InvariantError, "a broken invariant does not come out of a fault");
      ensure(volume.windowShown(0) === "-#--", `the window shows ${volume.windowShown(0)}`);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["AW.A"]),
  explore: { strategy: "reduced" },
});

/** A store through a window whose fault waits, until it is aborted. */
function* givesUp(volume: Volume, self: Self): Sleeps<void> {
  const aborted = yield* mayFail(self, ["ABORT_ERR"], () => volume.store(self, 0, 0, "S"));
  ensure(aborted, "a fault does not wait");
  ensure(volume.windowShown(0) === "-", "a fault that was given up shows something");
}

export const faultAborted = volumeStory({
  name: "dax-fault-aborted",
  about:
    "A fault waits for the end of a transaction that changes the file's layout, and is aborted. Nothing " +
    "is shown: a touch that was given up is not lost.",
  from: "sync/sleep.ts, rule 2: every wait ends by its operation's signal",
  blocks: 1,
  files: [{ name: "A", pages: "." }],
  windows: [oneWindow],
  actors: {
    *user(volume, self) {
      const { mapping } = volume.file("A");
      add(volume.words, mapping + MappingWord.sequence, 1); // odd, as long as a transaction is open
      yield* givesUp(volume, self);
      add(volume.words, mapping + MappingWord.sequence, 1);
    },
  },
  environment: { abort: { abort: "user" } },
  explore: { strategy: "reduced" },
});

export const failedAborted = volumeStory({
  name: "dax-failed-aborted",
  about:
    "The same for a fault that cannot read the file's extents, and waits for the page's entry to see " +
    "whether somebody else makes the page real.",
  from: "sync/sleep.ts, rule 2; dax/fault.ts, showFailed",
  blocks: 1,
  files: [{ name: "A", pages: "=" }],
  windows: [oneWindow],
  actors: {
    *user(volume, self) {
      volume.fail(self, "extentAt");
      const { task } = taskOf(self.thread);
      const held = yield* lockEntry(task, volume.file("A").mapping, 0, false);
      yield* givesUp(volume, self);
      unlockEntry(self.thread, held);
    },
  },
  environment: { abort: { abort: "user" } },
  explore: { strategy: "reduced" },
});

/** Page 1 was touched when the file ended before it. It has it now: what is stored there is the file's. */
function* storesToGrown(volume: Volume, self: Self): Sleeps<void> {
  yield* volume.store(self, 0, 1, "S");
  const read = yield* volume.read(self, volume.file("A"), 1, 1);
  ensure(read === "S", `a page that the file has grown over stays lost: a read finds "${read}"`);
}

/** A page behind a file's end is touched, and found lost. Then the file grows over it, and that is aborted. */
function abortedGrowth(
  name: string,
  what: string,
  grow: (volume: Volume, self: Self) => Sleeps<unknown>,
): Scenario<VolumeShared, Volume> {
  return volumeStory({
    name: `dax-aborted-${name}`,
    about:
      `A page behind a file's end is lost in a window. ${what} the file grow over it, and is aborted when another ` +
      "thread's fault keeps it waiting: by then the file may have grown. The window does not go on hiding the page.",
    from: "dax/refresh.ts: what is committed is shown; DESIGN.md 5.2: when the range becomes valid it is revoked",
    blocks: 2,
    files: [{ name: "A", pages: "=" }],
    windows: [{ ...oneWindow, pages: 2 }],
    actors: {
      *grow(volume, self) {
        const aborted = ["ABORT_ERR"];
        yield* mayFail(self, aborted, () => loads(volume, self, 0, 1, ["."]));
        yield* mayFail(self, aborted, () => grow(volume, self));
        if (volume.sizeOf(volume.file("A")) === PAGE_SIZE) return;
        yield* mayFail(self, aborted, () => storesToGrown(volume, self));
      },
      touch: (volume, self) => loads(volume, self, 0, 0, ["A"]),
    },
    environment: { abort: { abort: "grow" } },
    explore: { strategy: "pct", depth: 3, schedules: 1500 },
  });
}

export const abortedWrite = abortedGrowth("write", "A write makes", (volume, self) =>
  writePages(volume, self, "A", 1, 1, "W"),
);

export const abortedPreallocation = abortedGrowth(
  "preallocation",
  "A preallocation makes",
  (volume, self) => {
    const { mapping } = volume.file("A");
    return preallocate(self.task, volume.dax(self), mapping, PAGE_SIZE, PAGE_SIZE, false);
  },
);

export const failedWrite = volumeStory({
  name: "dax-failed-write",
  about:
    "A page behind a file's end is lost in a window. A write makes the file grow over it, and the device fails at " +
    "the copy: the write is refused, and the page is the file's. The window does not go on hiding it.",
  from: "dax/file-io.ts, writeFile; DESIGN.md 5.2: when the range becomes valid again it is revoked",
  blocks: 2,
  files: [{ name: "A", pages: "=" }],
  windows: [{ ...oneWindow, pages: 2 }],
  actors: {
    *user(volume, self) {
      yield* loads(volume, self, 0, 1, ["."]);
      volume.fail(self, "copyIn");
      yield* refused(self, "EIO", () => writePages(volume, self, "A", 1, 1, "W"), "a write");
      volume.mend(self);
      if (volume.sizeOf(volume.file("A")) > PAGE_SIZE) yield* storesToGrown(volume, self);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["AS"]),
  explore: { strategy: "reduced" },
});

export const killZeroGrows = volumeStory({
  name: "dax-kill-zero-grows",
  about:
    "A page behind a file's end is lost in a window. The thread that makes the file grow over it, by a range of " +
    "zeroes behind it, dies at any point. Where the file has grown, the window does not go on hiding the page.",
  from: "dax/layout-change.ts, zeroRange; DESIGN.md 2, decision 4: worker threads that die",
  blocks: 3,
  files: [{ name: "A", pages: "=" }],
  windows: [{ ...oneWindow, pages: 2, shown: [1] }],
  actors: {
    *grow(volume, self) {
      const { mapping } = volume.file("A");
      yield* zeroRange(self.task, volume.dax(self), mapping, 2 * PAGE_SIZE, PAGE_SIZE, false);
      store(volume.words, volume.shared.told, 1);
      wakeAll(volume.words, volume.shared.told);
    },
    *next(volume, self) {
      const word = volume.shared.told;
      while (load(volume.words, word) === 0 && !volume.isKilled("grow")) {
        yield { word, expected: 0, what: () => "the file's growth" };
      }
      // Takes from the dead thread what it held.
      yield* volume.read(self, volume.file("A"), 0, 1);
      if (volume.sizeOf(volume.file("A")) > PAGE_SIZE) yield* storesToGrown(volume, self);
      // Blocks beyond the end may be left, as by fallocate with KEEP_SIZE.
      yield* truncate(volume, self);
    },
  },
  environment: { kill: { kill: "grow" } },
  explore: { strategy: "bounded", preemptions: 1 },
});
