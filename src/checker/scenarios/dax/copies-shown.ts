/** Shared blocks that are copied while windows show them, and where files are copied files. */
import { pinRange } from "../../../dax/pins.ts";
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";
import { ensureShown, loads, mayFail, refused, syncsAll, volumeStory, writePages } from "./play.ts";
import { A_IN_B, AB, readsFile, truncate, writePinned } from "./sharing-play.ts";

export const copiedOwners = volumeStory({
  name: "cow-copied",
  about:
    "Copied files share blocks. A store through a window, a write and a pin give A blocks of its own beneath its " +
    "cached pages, which windows go on to show and pins to use. When B has gone nothing has to be copied.",
  from: "dax/unshare.ts, unshareBeneath",
  blocks: 6,
  cachePages: 4,
  files: [
    { name: "A", pages: "====" },
    { name: "B", pages: "...." },
  ],
  clones: [{ ...A_IN_B, count: 4 }],
  windows: [
    { file: "A", first: 0, pages: 4, writable: false },
    { file: "A", first: 0, pages: 4, writable: true },
  ],
  actors: {
    *user(volume, self) {
      const file = volume.file("A");
      for (let page = 0; page < 4; page++) yield* loads(volume, self, 0, page, ["A"]);
      const read = yield* pinRange(self.task, volume.dax(self), file.mapping, 0, PAGE_SIZE, false);
      yield* volume.store(self, 1, 0, "S");
      yield* loads(volume, self, 0, 0, ["S"]);
      ensure(volume.io(self, file, read, null) === "S", "a pinned page is another by now");
      yield* writePages(volume, self, "A", 1, 1, "V");
      yield* loads(volume, self, 0, 1, ["V"]);
      yield* readsFile(volume, self, "B", ["AAAA"]);
      yield* truncate(volume, self, "B");
      const pin = yield* pinRange(
        self.task,
        volume.dax(self),
        file.mapping,
        2 * PAGE_SIZE,
        PAGE_SIZE,
        true,
      );
      volume.io(self, file, pin, "W");
      yield* loads(volume, self, 0, 2, ["W"]);
      yield* volume.store(self, 1, 3, "T");
      yield* syncsAll(volume, self);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["SVWT"]),
  explore: { strategy: "reduced" },
});

export const notShown = volumeStory({
  name: "cow-not-shown",
  about:
    "A store through a window takes a copy, and one of the windows that read cannot be shown it. Nothing is " +
    "copied: that window shows what it did, in the others the page is lost. When it can be, all show what is written.",
  from: "dax/unshare.ts, showOwn; DESIGN.md 5.6, invariant 7",
  blocks: 2,
  files: AB,
  clones: [A_IN_B],
  windows: [
    { file: "A", first: 0, pages: 1, writable: false, shown: [0] },
    { file: "A", first: 0, pages: 1, writable: false, shown: [0] },
    { file: "A", first: 0, pages: 1, writable: true },
    { file: "A", first: 0, pages: 1, writable: true },
  ],
  actors: {
    *user(volume, self) {
      const { refused: addresses } = volume.hand(self);
      addresses.add(volume.shared.windows[0]!.address);
      yield* volume.store(self, 2, 0, "S");
      yield* loads(volume, self, 0, 0, ["A"]);
      yield* loads(volume, self, 1, 0, ["."]);
      yield* readsFile(volume, self, "A", ["A"]);
      addresses.clear();
      yield* loads(volume, self, 3, 0, ["A"]);
      yield* writePages(volume, self, "A", 0, 1, "V");
      for (let window = 0; window < 4; window++) yield* loads(volume, self, window, 0, ["V"]);
    },
  },
  finally: (volume) => ensureShown(volume, "B", ["A"]),
  explore: { strategy: "reduced" },
});

/** A thread dies while its write to A takes a copy of a block that B has, too, and windows that read A show. */
const KILL_SHOWN = {
  from: "dax/unshare.ts, showOwn; DESIGN.md 5.6, invariants 1 and 2",
  blocks: 2,
  files: [...AB, { name: "C", pages: "." }],
  clones: [A_IN_B],
  actors: {
    *dying(volume: Volume, self: Self) {
      yield* mayFail(self, ["ENOSPC"], () => writePages(volume, self, "A", 0, 1, "V"));
    },
    *other(volume: Volume, self: Self) {
      yield* readsFile(volume, self, "A", ["A", "V"]);
      yield* writePinned(volume, self, "C", ["ENOSPC"]);
      yield* loads(volume, self, 0, 0, ["A", "V", "."]);
    },
  },
  environment: { kill: { kill: "dying" } },
  finally: (volume: Volume) => ensureShown(volume, "B", ["A"]),
} as const;

export const killShown = volumeStory({
  ...KILL_SHOWN,
  name: "cow-kill-shown",
  about:
    "A thread dies while its write to A takes a copy of a shared block, at any point. No window shows the copy " +
    "before it is A's for good: it may be C's next.",
  windows: [{ file: "A", first: 0, pages: 1, writable: false, shown: [0] }],
  explore: { strategy: "pct", depth: 3, schedules: 1500 },
});

export const killPopulated = volumeStory({
  ...KILL_SHOWN,
  name: "cow-kill-populated",
  about:
    "The same where touches cannot fault. The copy is shown by then, and undone: windows of A do not show it " +
    "when it is C's.",
  faults: false,
  windows: [{ file: "A", first: 0, pages: 1, writable: false }],
  explore: { strategy: "pct", depth: 3, schedules: 1500 },
});

/** A reads a block that B has, too, in windows; there is no room for a copy. */
const FULL = {
  blocks: 1,
  files: AB,
  clones: [A_IN_B],
  explore: { strategy: "reduced" },
} as const;

export const fullShown = volumeStory({
  ...FULL,
  name: "cow-full-shown",
  about:
    "A window that reads A shows a block that B has, too. A store through another one, and a write, find no " +
    "room for a copy. The first one shows the block as before, which is A's page all the time.",
  from: "dax/unshare.ts, unshareBroken; DESIGN.md 5.6, invariants 6 and 7",
  windows: [
    { file: "A", first: 0, pages: 1, writable: false, shown: [0] },
    { file: "A", first: 0, pages: 1, writable: true },
  ],
  actors: {
    *user(volume, self) {
      const { pages } = volume.dax(self);
      yield* volume.store(self, 1, 0, "S");
      yield* loads(volume, self, 0, 0, ["A"]);
      ensure(pages.sharers(pages.find(0)!) === 1, "a window shows a page that no entry names");
      yield* truncate(volume, self, "B");
      yield* writePages(volume, self, "A", 0, 1, "V");
      for (const window of [0, 1]) yield* loads(volume, self, window, 0, ["V"]);
    },
  },
});

export const fullPopulated = volumeStory({
  ...FULL,
  name: "cow-full-populated",
  about:
    "Where touches cannot fault, a window that reads A shows a block that B has, too. A write of A finds no " +
    "room for a copy. The window shows the block as before, which is A's page all the time.",
  from: "dax/unshare.ts, unshareBroken; DESIGN.md 5.6, invariants 6 and 7",
  faults: false,
  windows: [{ file: "A", first: 0, pages: 1, writable: false }],
  actors: {
    *user(volume, self) {
      const write = () => writePages(volume, self, "A", 0, 1, "V");
      yield* refused(self, "ENOSPC", write, "a write that has no room for a copy");
      yield* loads(volume, self, 0, 0, ["A"]);
    },
  },
});

export const noEntry = volumeStory({
  name: "cow-no-records",
  about:
    "A write of A takes a copy, which windows are shown, and there is no record left for its page. The write " +
    "is refused, and the page lost in windows until it is there again.",
  from: "dax/unshare.ts, makeEntries; DESIGN.md 5.6, invariant 6",
  blocks: 513,
  files: [...AB, { name: "F", pages: "=".repeat(511) }],
  clones: [{ ...A_IN_B, present: ["A", "B"] }],
  faults: false,
  windows: [{ file: "A", first: 0, pages: 1, writable: false }],
  exhausted: "page records",
  actors: {
    *user(volume, self) {
      const write = () => writePages(volume, self, "A", 0, 1, "V");
      yield* refused(self, "ENOMEM", write, "a write that finds no record for its page");
      yield* loads(volume, self, 0, 0, ["."]);
      yield* readsFile(volume, self, "A", ["A"]);
      yield* truncate(volume, self, "B");
      yield* write();
      yield* readsFile(volume, self, "A", ["V"]);
      yield* loads(volume, self, 0, 0, ["V"]);
    },
  },
  explore: { strategy: "reduced" },
});
