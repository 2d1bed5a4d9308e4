/** Threads that die while files come to share blocks, or cease to. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { truncateFile } from "../../../dax/layout-change.ts";
import { pinRange } from "../../../dax/pins.ts";
import { cloneRange } from "../../../dax/reflink.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";
import { ensureShown, loads, volumeStory, writePages } from "./play.ts";
import { A_AND_B_SHOWN, A_IN_B } from "./sharing-play.ts";

function* clone(volume: Volume, self: Self): Sleeps<void> {
  const [a, b] = [volume.file("A").mapping, volume.file("B").mapping];
  const range = { sourceOffset: 0, offset: 0, length: PAGE_SIZE };
  yield* cloneRange(self.task, volume.dax(self), a, b, range);
}

export const killShare = volumeStory({
  name: "shared-kill-share",
  about:
    "A thread dies while it makes A's entry name a shared page, at any point. B's entry comes and goes: the " +
    "count of the page is that of its entries, and when both files are truncated the block is free.",
  from: "pages/pages.ts, invariant 5; several-processes.md: what a dead holder leaves is repaired",
  blocks: 1,
  files: [
    { name: "A", pages: "=" },
    { name: "B", pages: "." },
  ],
  clones: [A_IN_B],
  windows: A_AND_B_SHOWN,
  actors: {
    dying: (volume, self) => loads(volume, self, 0, 0, ["A", "."]),
    *other(volume, self) {
      yield* loads(volume, self, 1, 0, ["A"]);
      for (const name of ["B", "A"]) {
        yield* truncateFile(self.task, volume.dax(self), volume.file(name).mapping, 0);
      }
      yield* writePages(volume, self, "B", 0, 1, "N");
    },
  },
  environment: { kill: { kill: "dying" } },
  explore: { strategy: "pct", depth: 3, schedules: 1500 },
});

export const killLeave = volumeStory({
  name: "shared-kill-leave",
  about:
    "A thread dies while it truncates B, at any point, also between the entry of a shared page and its " +
    "count. A still has the page, once.",
  from: "pages/pages.ts, invariant 5; dax/remove-pages.ts, recoverRemovals",
  blocks: 1,
  files: [
    { name: "A", pages: "=" },
    { name: "B", pages: "." },
  ],
  clones: [{ ...A_IN_B, present: ["A", "B"] }],
  windows: A_AND_B_SHOWN,
  actors: {
    dying: (volume, self) => truncateFile(self.task, volume.dax(self), volume.file("B").mapping, 0),
    *other(volume, self) {
      yield* loads(volume, self, 0, 0, ["A"]);
      yield* volume.read(self, volume.file("B"), 0, 1);
    },
  },
  environment: { kill: { kill: "dying" } },
  finally: (volume) => ensureShown(volume, "A", ["A"]),
  explore: { strategy: "pct", depth: 3, schedules: 1500 },
});

export const killClone = volumeStory({
  name: "clone-kill",
  about:
    "A thread dies while it clones A to B, at any point. Both announcements and all locks are taken back, " +
    "and B is as it was or a clone: a write of either is its own.",
  from: "sync/thread.ts, Slot.breakingToo; DESIGN.md 5.6, invariant 7",
  blocks: 4,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "#" },
  ],
  actors: {
    dying: (volume, self) => clone(volume, self),
    *other(volume, self) {
      const read = yield* volume.read(self, volume.file("B"), 0, 1);
      ensure(read === "A" || read === "B", `file B holds "${read}"`);
      yield* writePages(volume, self, "A", 0, 1, "V");
      const file = volume.file("B");
      const pin = yield* pinRange(self.task, volume.dax(self), file.mapping, 0, PAGE_SIZE, true);
      volume.io(self, file, pin, "W");
    },
  },
  environment: { kill: { kill: "dying" } },
  finally(volume) {
    ensureShown(volume, "A", ["V"]);
    ensureShown(volume, "B", ["W", "A", "V"]);
  },
  explore: { strategy: "pct", depth: 3, schedules: 1500 },
});

export const killCloneMarks = volumeStory({
  name: "clone-kill-marks",
  about:
    "A thread dies while it clones A, whose page was written through a pin, to B. Another one clones it " +
    "again, loads the page through a window and writes it through a pin: in a block of A's own.",
  from: "pin/pin.ts, invariant 6; mapping/tree.ts, removeEntries: marks go first",
  blocks: 4,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "." },
  ],
  windows: A_AND_B_SHOWN,
  actors: {
    dying: (volume, self) => clone(volume, self),
    *other(volume, self) {
      yield* clone(volume, self);
      yield* loads(volume, self, 0, 0, ["A"]);
      const file = volume.file("A");
      const pin = yield* pinRange(self.task, volume.dax(self), file.mapping, 0, PAGE_SIZE, true);
      volume.io(self, file, pin, "W");
    },
  },
  environment: { kill: { kill: "dying" } },
  finally: (volume) => ensureShown(volume, "A", ["W"]),
  explore: { strategy: "pct", depth: 3, schedules: 2000 },
});

export const killCopy = volumeStory({
  name: "cow-kill",
  about:
    "A thread dies while its write to A takes a copy of a shared block, at any point. A holds what it held " +
    "or what was written, B what it held; no block is lost.",
  from: "DESIGN.md 5.6, invariants 1, 6 and 7",
  blocks: 2,
  files: [
    { name: "A", pages: "=" },
    { name: "B", pages: "." },
  ],
  clones: [{ ...A_IN_B, present: ["A", "B"] }],
  actors: {
    dying: (volume, self) => writePages(volume, self, "A", 0, 1, "V"),
    *other(volume, self) {
      const read = yield* volume.read(self, volume.file("A"), 0, 1);
      ensure(read === "A" || read === "V", `file A holds "${read}"`);
      yield* writePages(volume, self, "B", 0, 1, "B");
    },
  },
  environment: { kill: { kill: "dying" } },
  finally(volume) {
    ensureShown(volume, "A", ["A", "V"]);
    ensureShown(volume, "B", ["B"]);
  },
  explore: { strategy: "pct", depth: 3, schedules: 1500 },
});
