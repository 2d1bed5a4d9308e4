/** Shared blocks that are copied before they are written: by calls, pins and faults. */
import { DEVICE_BYTES_MAX, PAGE_SIZE } from "../../../base/quantities.ts";
import { preallocate, punchHole, truncateFile, zeroRange } from "../../../dax/layout-change.ts";
import { pinRange } from "../../../dax/pins.ts";
import { cloneRange } from "../../../dax/reflink.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";
import { ensureShown, loads, mayFail, refused, syncsAll, volumeStory, writePages } from "./play.ts";

import {
  AB,
  A_IN_B,
  clone,
  readPinned,
  readsFile,
  takesTime,
  truncate,
  writePinned,
} from "./sharing-play.ts";

export const writeAgainstPin = volumeStory({
  name: "cow-write-pin",
  about:
    "An I/O reads a page through A. A is written, then B, which has the old block alone by then. Whichever " +
    "comes first, the pin or the write, gives A a block of its own: B is written where no I/O reads.",
  from: "hazard H4: copy-on-write hands a block over with a live pin; no break on that path in Linux",
  blocks: 2,
  files: AB,
  clones: [{ ...A_IN_B, present: ["A"] }],
  actors: {
    io: (volume, self) => readPinned(volume, self, "A", ["A", "V"]),
    write: [
      (volume, self) => writePages(volume, self, "A", 0, 1, "V"),
      (volume, self) => writePages(volume, self, "B", 0, 1, "B"),
    ],
  },
  finally(volume) {
    ensureShown(volume, "A", ["V"]);
    ensureShown(volume, "B", ["B"]);
  },
  explore: { strategy: "pct", depth: 3, schedules: 1500 },
});

export const writersOfBoth = volumeStory({
  name: "cow-both-write",
  about:
    "Both owners of a block are written at once. One of them gets a copy, the other keeps the block, and " +
    "each holds what was written to it.",
  from: "bug 17: fsdax: invalidate pages when CoW; DESIGN.md 5.6, invariant 2",
  blocks: 3,
  files: AB,
  clones: [{ ...A_IN_B, present: ["A", "B"] }],
  actors: {
    a: (volume, self) => writePages(volume, self, "A", 0, 1, "V"),
    b: (volume, self) => writePages(volume, self, "B", 0, 1, "B"),
  },
  finally(volume) {
    ensureShown(volume, "A", ["V"]);
    ensureShown(volume, "B", ["B"]);
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const copiesOverTime = volumeStory({
  name: "cow-pinned-over-time",
  about:
    "An I/O that reads a page of A takes its time, while a write, a pin that writes and a store through a " +
    "window all want it to be A's own. Nobody waits for another one's pin.",
  from: "hazard H4; pin/pin.ts, invariant 6",
  blocks: 3,
  files: AB,
  clones: [{ ...A_IN_B, present: ["A", "B"] }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true }],
  actors: {
    *io(volume, self) {
      const file = volume.file("A");
      const pin = yield* pinRange(self.task, volume.dax(self), file.mapping, 0, PAGE_SIZE, false);
      yield* takesTime(volume, 5);
      volume.io(self, file, pin, null);
    },
    write: (volume, self) => writePages(volume, self, "A", 0, 1, "V"),
    pin: (volume, self) => writePinned(volume, self, "A"),
    store: (volume, self) => volume.store(self, 0, 0, "S"),
  },
  finally(volume) {
    ensureShown(volume, "A", ["V", "W", "S"]);
    ensureShown(volume, "B", ["A"]);
  },
  explore: { strategy: "pct", depth: 2, schedules: 400 },
});

export const copiedBeforehand = volumeStory({
  name: "cow-range",
  about:
    "A range of A is made its own without a write. What was copied is persisted with the file; then B is " +
    "written in its blocks, with no room for any other.",
  from: "fallocate(2), FALLOC_FL_UNSHARE_RANGE; DESIGN.md 5.6, invariant 8",
  blocks: 5,
  synced: true,
  files: [
    { name: "A", pages: "=.=" },
    { name: "B", pages: "..." },
  ],
  clones: [{ ...A_IN_B, count: 3, present: [] }],
  actors: {
    *user(volume, self) {
      const { mapping } = volume.file("A");
      yield* preallocate(self.task, volume.dax(self), mapping, 0, 3 * PAGE_SIZE, false, true);
      yield* syncsAll(volume, self);
      yield* writePages(volume, self, "B", 0, 1, "B");
      yield* writePages(volume, self, "A", 1, 1, "V");
    },
  },
  finally(volume) {
    ensureShown(volume, "A", ["AVA"]);
    ensureShown(volume, "B", ["B.A"]);
  },
  explore: { strategy: "reduced" },
});

export const faultAgainstPin = volumeStory({
  name: "cow-fault-pin",
  about:
    "An I/O reads a page through A while A is stored to through a window, and then B is written in the block " +
    "that it has alone. The pin takes a copy, or the fault: it waits for no pin.",
  from: "hazard H4: copy-on-write by a fault with a live pin",
  blocks: 2,
  files: AB,
  clones: [{ ...A_IN_B, present: ["A"] }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true }],
  actors: {
    io: (volume, self) => readPinned(volume, self, "A", ["A", "S"]),
    store: [
      (volume, self) => volume.store(self, 0, 0, "S"),
      (volume, self) => writePages(volume, self, "B", 0, 1, "B"),
    ],
  },
  finally(volume) {
    ensureShown(volume, "A", ["S"]);
    ensureShown(volume, "B", ["B"]);
  },
  explore: { strategy: "pct", depth: 3, schedules: 1000 },
});

export const touchWithPin = volumeStory({
  name: "cow-touch-with-pin",
  about:
    "Two threads have a page of A each pinned for reading, and store to both pages through a window before " +
    "they let go. Both pages are A's own since they were pinned: no touch waits for a pin, which might be " +
    "its own thread's.",
  from: "pin/pin.ts, invariant 6; FAULT_FLAG_UNSHARE for pins of anonymous pages (Linux 5.19)",
  blocks: 4,
  files: [
    { name: "A", pages: "==" },
    { name: "B", pages: ".." },
  ],
  clones: [{ ...A_IN_B, count: 2, present: ["A", "B"] }],
  windows: [{ file: "A", first: 0, pages: 2, writable: true }],
  actors: {
    first: (volume, self) => storesWithPin(volume, self, 0, "S"),
    second: (volume, self) => storesWithPin(volume, self, 1, "T"),
  },
  finally(volume) {
    ensureShown(volume, "A", ["SS", "ST", "TS", "TT"]);
    ensureShown(volume, "B", ["AA"]);
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

function* storesWithPin(volume: Volume, self: Self, page: number, letter: string): Sleeps<void> {
  const file = volume.file("A");
  const dax = volume.dax(self);
  const pin = yield* pinRange(self.task, dax, file.mapping, page * PAGE_SIZE, PAGE_SIZE, false);
  yield* volume.store(self, 0, 1 - page, letter);
  yield* volume.store(self, 0, page, letter);
  volume.io(self, file, pin, null);
}

export const faultAgainstRead = volumeStory({
  name: "cow-fault-read",
  about:
    "A read call copies a block of A while a fault of a window makes A a copy of it, and B is written in " +
    "the old block. The fault has no io lock; the read finds that the layout has moved, and reads again.",
  from: "dax/unshare.ts, rule 2; DESIGN.md 5.5: a fault may come from a thread that holds io locks",
  blocks: 2,
  files: AB,
  clones: [A_IN_B],
  windows: [{ file: "A", first: 0, pages: 1, writable: true }],
  actors: {
    read: (volume, self) => readsFile(volume, self, "A", ["A"]),
    load: [
      (volume, self) => loads(volume, self, 0, 0, ["A"]),
      (volume, self) => writePages(volume, self, "B", 0, 1, "B"),
    ],
  },
  finally: (volume) => ensureShown(volume, "A", ["A"]),
  explore: { strategy: "bounded", preemptions: 2 },
});

export const faultAgainstOther = volumeStory({
  name: "cow-fault-truncate",
  about:
    "A is stored to through a window while B, which shares the block, is truncated and C written. The " +
    "block is A's alone by then, or A has a copy: the store lands in A.",
  from: "DESIGN.md 5.2: a shared extent is copied before a writable window shows it",
  blocks: 2,
  files: [...AB, { name: "C", pages: "." }],
  clones: [{ ...A_IN_B, present: ["A", "B"] }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true }],
  actors: {
    store: (volume, self) => volume.store(self, 0, 0, "S"),
    *truncate(volume, self) {
      yield* truncate(volume, self, "B");
      yield* mayFail(self, ["ENOSPC"], () => writePages(volume, self, "C", 0, 1));
    },
  },
  finally(volume) {
    ensureShown(volume, "A", ["S"]);
    ensureShown(volume, "C", [".", "C"]);
  },
  explore: { strategy: "pct", depth: 3, schedules: 1500 },
});

export const faultAgainstReader = volumeStory({
  name: "cow-fault-windows",
  about:
    "A window that reads A shows a shared block. A store through another window gives A a copy, which both " +
    "show from then on; B is written in the old block, which no window of A shows any more.",
  from: "DESIGN.md 5.2; bug 17: mapped readers keep the old block after CoW",
  blocks: 2,
  files: AB,
  clones: [A_IN_B],
  windows: [
    { file: "A", first: 0, pages: 1, writable: false, shown: [0] },
    { file: "A", first: 0, pages: 1, writable: true },
  ],
  actors: {
    *store(volume, self) {
      yield* volume.store(self, 1, 0, "S");
      yield* loads(volume, self, 0, 0, ["S"]);
    },
    load: (volume, self) => loads(volume, self, 0, 0, ["A", "S"]),
    write: (volume, self) => writePages(volume, self, "B", 0, 1, "B"),
  },
  finally: (volume) => ensureShown(volume, "A", ["S"]),
  explore: { strategy: "pct", depth: 3, schedules: 1500 },
});

export const loadThenStore = volumeStory({
  name: "cow-load-store",
  about:
    "A shared block of A is loaded through a window that writes, and stored to. The load already takes a " +
    "copy: a store to what it shows could not be caught.",
  from: "DESIGN.md 5.2: a shared extent is copied before a writable window shows it",
  blocks: 2,
  files: AB,
  clones: [{ ...A_IN_B, present: ["A", "B"] }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true }],
  actors: {
    *user(volume, self) {
      yield* loads(volume, self, 0, 0, ["A"]);
      yield* volume.store(self, 0, 0, "S");
      ensureShown(volume, "B", ["A"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["S"]),
  explore: { strategy: "reduced" },
});

export const cowFull = volumeStory({
  name: "cow-full",
  about:
    "There is no room for a copy. A store through a window is lost there, a write and a pin that writes are " +
    "refused, and both files hold what they held. When B has gone, a write of A succeeds, and the window " +
    "shows it.",
  from: "DESIGN.md 5.2: a touch never kills the process; 5.6, invariant 7",
  blocks: 1,
  files: AB,
  clones: [{ ...A_IN_B, present: ["A"] }],
  windows: [
    { file: "A", first: 0, pages: 1, writable: true },
    { file: "A", first: 0, pages: 1, writable: true },
  ],
  actors: {
    *user(volume, self) {
      const full = ["ENOSPC"];
      yield* loads(volume, self, 0, 0, ["."]);
      yield* loads(volume, self, 1, 0, ["."]);
      yield* volume.store(self, 0, 0, "S");
      const refused = yield* mayFail(self, full, () => writePages(volume, self, "A", 0, 1, "V"));
      ensure(refused, "a write finds room on a full volume");
      yield* writePinned(volume, self, "A", full);
      const zeroed = yield* mayFail(self, full, () =>
        zeroRange(self.task, volume.dax(self), volume.file("A").mapping, 0, PAGE_SIZE, true),
      );
      ensure(zeroed, "a shared block is zeroed without room for another one");
      ensureShown(volume, "A", ["A"]);
      ensureShown(volume, "B", ["A"]);
      yield* truncate(volume, self, "B");
      yield* writePages(volume, self, "A", 0, 1, "V");
      yield* loads(volume, self, 0, 0, ["V"]);
      yield* loads(volume, self, 1, 0, ["V"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["V"]),
  explore: { strategy: "reduced" },
});

const LOST_AGAIN = {
  from: "mapping/mapping.ts, noteLostUnlisted; DESIGN.md 5.2",
  blocks: 2,
  files: [...AB, { name: "C", pages: "=" }],
  clones: [A_IN_B],
  actors: {
    *user(volume: Volume, self: Self) {
      yield* loads(volume, self, 0, 0, ["."]);
      yield* loads(volume, self, 1, 0, ["."]);
      yield* truncate(volume, self, "C");
      yield* loads(volume, self, 2, 0, ["A"]);
      yield* loads(volume, self, 0, 0, ["A"]);
      yield* loads(volume, self, 1, 0, ["A"]);
    },
  },
  explore: { strategy: "reduced" },
} as const;
const WRITES_A = { file: "A", first: 0, pages: 1, writable: true } as const;

export const cowLostAgain = volumeStory({
  ...LOST_AGAIN,
  name: "cow-lost-again",
  about:
    "A page is lost in two windows for want of room. When there is room, a touch of a third window has the " +
    "file copied, and the page is found in all of them.",
  windows: [WRITES_A, WRITES_A, WRITES_A],
});

export const cowLostShown = volumeStory({
  ...LOST_AGAIN,
  name: "cow-lost-shown",
  about: "The same, beside a window that reads, which is shown the copy before its entry is made.",
  windows: [WRITES_A, WRITES_A, WRITES_A, { ...WRITES_A, writable: false, shown: [0] }],
});

export const cowParts = volumeStory({
  name: "cow-parts",
  about:
    "Parts of blocks that B shares with A are zeroed in B: by punches, by a zeroed range, at the end of " +
    "the file as it shrinks and grows. A holds what it held.",
  from: "fallocate(2), ftruncate(2): part blocks are zeroed in place; bug 17: zero the edges",
  blocks: 16,
  files: [
    { name: "A", pages: "======" },
    { name: "B", pages: "......" },
  ],
  clones: [{ source: "A", target: "B", first: 0, count: 6, present: ["A", "B"] }],
  windows: [{ file: "B", first: 0, pages: 6, writable: false, shown: [0, 3] }],
  actors: {
    *user(volume, self) {
      const { mapping } = volume.file("B");
      const dax = volume.dax(self);
      const half = PAGE_SIZE / 2;
      yield* punchHole(self.task, dax, mapping, half, PAGE_SIZE);
      ensureShown(volume, "B", ["A..AAAAA"]);
      yield* zeroRange(self.task, dax, mapping, 2 * PAGE_SIZE + half, PAGE_SIZE, true);
      ensureShown(volume, "B", ["A..AA..AAA"]);
      yield* truncateFile(self.task, dax, mapping, 4 * PAGE_SIZE + half);
      yield* truncateFile(self.task, dax, mapping, 5 * PAGE_SIZE);
      ensureShown(volume, "B", ["A..AA..AA."]);
      yield* truncateFile(
        self.task,
        volume.dax(self),
        volume.file("A").mapping,
        5 * PAGE_SIZE + half,
      );
      yield* cloneRange(self.task, dax, volume.file("A").mapping, mapping, {
        sourceOffset: 5 * PAGE_SIZE,
        offset: 5 * PAGE_SIZE,
        length: half,
      });
      yield* preallocate(self.task, dax, mapping, 6 * PAGE_SIZE, PAGE_SIZE, false);
      ensureShown(volume, "B", ["A..AA..AA.A.."]);
    },
  },
  finally: (volume) =>
    ensure(volume.fileShown(volume.file("A"), 6) === "AAAAAA.", "file A has changed"),
  explore: { strategy: "reduced" },
});

export const populatedWindows = volumeStory({
  name: "cow-populated",
  about:
    "Where touches cannot fault: a window that reads A shows a shared block, then the copy that a write of A " +
    "takes. A window that writes B is made, for which B gets a copy; as long as it is there, B is not " +
    "shared again.",
  from: "window/fault-port.ts, PopulatedPort; dax/reflink.ts",
  blocks: 3,
  files: AB,
  clones: [A_IN_B],
  faults: false,
  windows: [{ file: "A", first: 0, pages: 1, writable: false }],
  actors: {
    *user(volume, self) {
      yield* loads(volume, self, 0, 0, ["A"]);
      const { window, view } = yield* volume.mapFile(self, volume.file("B"), 0, 1, true);
      yield* volume.store(self, window, 0, "S");
      yield* loads(volume, self, 0, 0, ["A"]);
      for (const [from, to] of [
        ["A", "B"],
        ["B", "A"],
      ] as const) {
        const refused = yield* mayFail(self, ["EBUSY"], () => clone(volume, self, from, to));
        ensure(refused, "a range is shared that a window writes");
      }
      yield* view.closeWith(self.task);
      yield* clone(volume, self, "B", "A");
      yield* loads(volume, self, 0, 0, ["S"]);
      yield* writePages(volume, self, "A", 0, 1, "V");
      yield* loads(volume, self, 0, 0, ["V"]);
    },
  },
  finally(volume) {
    ensureShown(volume, "A", ["V"]);
    ensureShown(volume, "B", ["S"]);
  },
  explore: { strategy: "reduced" },
});

export const cowTail = volumeStory({
  name: "cow-tail",
  about:
    "A file of a page and a half shares both blocks. A write of its first page, one of nothing behind its end " +
    "and one that is refused leave the last block shared.",
  from: "dax/file-io.ts, writeFile: what is copied is what is written, and zeroed",
  blocks: 6,
  files: [
    { name: "A", pages: "" },
    { name: "B", pages: "==" },
  ],
  actors: {
    *user(volume, self) {
      const dax = volume.dax(self);
      const [a, b] = [volume.file("A"), volume.file("B")];
      yield* truncateFile(self.task, dax, b.mapping, PAGE_SIZE + PAGE_SIZE / 2);
      const whole = { sourceOffset: 0, offset: 0, length: null };
      yield* cloneRange(self.task, dax, b.mapping, a.mapping, whole);
      const isTailShared = (): boolean => volume.blockOf(a, 1) === volume.blockOf(b, 1);
      yield* writePages(volume, self, "A", 0, 1, "V");
      yield* writePages(volume, self, "A", 3, 0);
      const far = () => writePages(volume, self, "A", DEVICE_BYTES_MAX / PAGE_SIZE, 1);
      yield* refused(self, "EFBIG", far, "a write too far");
      ensure(isTailShared(), "a block that is not written is copied");
      yield* writePages(volume, self, "A", 3, 1, "W");
      ensure(!isTailShared(), "the rest of a shared block is zeroed in place");
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["VB..W"]),
  explore: { strategy: "reduced" },
});
