/** Files that come to share blocks, and to own them alone. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { punchHole } from "../../../dax/layout-change.ts";
import { pinRange } from "../../../dax/pins.ts";
import { dedupeRange } from "../../../dax/reflink.ts";
import { ensure } from "../../scenario.ts";
import { ensureShown, loads, mayFail, volumeStory, writePages } from "./play.ts";

import {
  A_AND_B_SHOWN,
  AB,
  A_IN_B,
  clone,
  readPinned,
  readsFile,
  takesTime,
  truncate,
  writePinned,
} from "./sharing-play.ts";

export const ownersComeAndGo = volumeStory({
  name: "shared-owners",
  about:
    "Files A and B share a block. It is loaded through a window of A, so that A's entry comes to name it, " +
    "while B, whose entry names it already, is truncated. The page counts the entries that name it, whichever " +
    "file they are of.",
  from: "hazard H3: share++ and share-- under two different locks; DESIGN.md 5.6, invariant 6",
  blocks: 2,
  files: AB,
  clones: [{ ...A_IN_B, present: ["B"] }],
  windows: A_AND_B_SHOWN,
  actors: {
    load: (volume, self) => loads(volume, self, 0, 0, ["A"]),
    truncate: (volume, self) => truncate(volume, self, "B"),
  },
  finally: (volume) => ensureShown(volume, "A", ["A"]),
  explore: { strategy: "bounded", preemptions: 2 },
});

export const ownersTogether = volumeStory({
  name: "shared-owners-together",
  about:
    "Three files share a block. Two of them come to name it at once, and the third one, which did, lets go " +
    "of it.",
  from: "hazard H3; pages/pages.ts, invariant 5",
  blocks: 2,
  files: [...AB, { name: "C", pages: "." }],
  clones: [A_IN_B, { ...A_IN_B, target: "C", present: ["C"] }],
  windows: A_AND_B_SHOWN,
  actors: {
    a: (volume, self) => loads(volume, self, 0, 0, ["A"]),
    b: (volume, self) => loads(volume, self, 1, 0, ["A"]),
    truncate: (volume, self) => truncate(volume, self, "C"),
  },
  explore: { strategy: "pct", depth: 3, schedules: 1500 },
});

export const pinAcrossTruncate = volumeStory({
  name: "shared-pin-truncate",
  about:
    "An I/O reads a page that it has pinned through A, while B, which shares its block, is truncated, and " +
    "the freed room is written by C. The pin is on a block of A's own: a copy, or the old one when B has gone.",
  from: "hazard H4, its second half: the truncate of owner B does not see a pin through owner A",
  blocks: 2,
  files: [...AB, { name: "C", pages: "." }],
  clones: [{ ...A_IN_B, present: ["A", "B"] }],
  actors: {
    io: (volume, self) => readPinned(volume, self, "A", ["A"]),
    *truncate(volume, self) {
      yield* truncate(volume, self, "B");
      yield* mayFail(self, ["ENOSPC"], () => writePages(volume, self, "C", 0, 1));
    },
  },
  finally(volume) {
    ensureShown(volume, "A", ["A"]);
    ensureShown(volume, "C", ["C"]);
  },
  explore: { strategy: "pct", depth: 3, schedules: 2000 },
});

export const lastOwnerPinned = volumeStory({
  name: "shared-last-owner",
  about:
    "Both owners of a block are truncated, and C is written into it, while an I/O reads it through A. There " +
    "is no room for a copy, so it is pinned only when B has gone. It is free when A has gone, too, which " +
    "waits for the I/O.",
  from: "DESIGN.md 5.6, invariant 1; pages/pages.ts, invariant 3",
  blocks: 1,
  files: [...AB, { name: "C", pages: "." }],
  clones: [{ ...A_IN_B, present: ["A", "B"] }],
  actors: {
    io: (volume, self) => readPinned(volume, self, "A", ["A"], ["EINVAL", "ENOSPC"]),
    "truncate-a": (volume, self) => truncate(volume, self, "A"),
    *"truncate-b"(volume, self) {
      yield* truncate(volume, self, "B");
      yield* mayFail(self, ["ENOSPC"], () => writePages(volume, self, "C", 0, 1));
    },
  },
  finally: (volume) => ensureShown(volume, "C", [".", "C"]),
  explore: { strategy: "pct", depth: 3, schedules: 1500 },
});

export const writePinAgainstClone = volumeStory({
  name: "clone-write-pin",
  about:
    "A is cloned to B while an I/O writes into a page that it has pinned through A. The clone waits for " +
    "it, or the pin comes second and gets a block of A's own. The I/O never writes into a shared block.",
  from: "DESIGN.md 5.4: reflink breaks; pin/pin.ts, invariant 6",
  blocks: 3,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "." },
  ],
  actors: {
    io: (volume, self) => writePinned(volume, self, "A"),
    clone: (volume, self) => clone(volume, self, "A", "B"),
  },
  finally(volume) {
    ensureShown(volume, "A", ["W"]);
    ensureShown(volume, "B", ["A", "W"]);
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const cloneAgainstBoth = volumeStory({
  name: "clone-both-pinned",
  about:
    "Pages of both files are pinned while one is cloned into the other. The clone sleeps until the page " +
    "that it has found busy is idle, in whichever file, and holds nothing meanwhile.",
  from: "hazard H9: a two-inode break spins, and holds the first inode's lock, with a pin on the second",
  blocks: 3,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "#" },
  ],
  actors: {
    a: (volume, self) => writePinned(volume, self, "A"),
    b: (volume, self) => writePinned(volume, self, "B"),
    clone: (volume, self) => clone(volume, self, "A", "B"),
  },
  finally(volume) {
    ensureShown(volume, "A", ["W"]);
    ensureShown(volume, "B", ["A", "W"]);
  },
  explore: { strategy: "pct", depth: 3, schedules: 800 },
});

export const holderNeedsLocks = volumeStory({
  name: "clone-holder-needs-locks",
  about:
    "The holder of a pin of B reads and writes both files before it lets go, while A is cloned to B. The " +
    "clone has no lock of either while it waits.",
  from: "hazard H9; DESIGN.md 5.6, invariant 5",
  blocks: 6,
  files: [
    { name: "A", pages: "==" },
    { name: "B", pages: "#=" },
  ],
  actors: {
    *holder(volume, self) {
      const file = volume.file("B");
      const pin = yield* pinRange(self.task, volume.dax(self), file.mapping, 0, PAGE_SIZE, true);
      yield* writePages(volume, self, "A", 1, 1, "X");
      yield* volume.read(self, volume.file("B"), 1, 1);
      volume.io(self, file, pin, "W");
    },
    clone: (volume, self) => clone(volume, self, "A", "B"),
  },
  finally(volume) {
    ensureShown(volume, "A", ["AX"]);
    ensureShown(volume, "B", ["AB", "WB"]);
  },
  explore: { strategy: "pct", depth: 3, schedules: 600 },
});

export const pinnedOverTime = volumeStory({
  name: "clone-pinned-over-time",
  about:
    "An I/O into a page of B takes its time, while A is cloned to B. The clone sleeps until it ends: it does " +
    "not try again and again meanwhile.",
  from: "hazard H9: two inodes, a long pin on the second",
  blocks: 3,
  files: [
    { name: "A", pages: "=" },
    { name: "B", pages: "#" },
  ],
  actors: {
    *io(volume, self) {
      const file = volume.file("B");
      const pin = yield* pinRange(self.task, volume.dax(self), file.mapping, 0, PAGE_SIZE, true);
      yield* takesTime(volume, 5);
      volume.io(self, file, pin, "W");
    },
    clone: (volume, self) => clone(volume, self, "A", "B"),
  },
  finally: (volume) => ensureShown(volume, "B", ["A", "W"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const sharedHuge = volumeStory({
  name: "shared-huge",
  about:
    "Files A and B share 2 MiB that lie as one folio on the device. A page of each is loaded, and a part of " +
    "A is punched. What is shared is never a folio: each page counts its owners for itself.",
  from: "hazard H5: shared PMD folios",
  blocks: 513,
  files: [
    { name: "A", pages: "=".repeat(512) },
    { name: "B", pages: "." },
  ],
  clones: [{ ...A_IN_B, count: 512 }],
  windows: A_AND_B_SHOWN,
  actors: {
    a: (volume, self) => loads(volume, self, 0, 0, ["A", "."]),
    b: (volume, self) => loads(volume, self, 1, 0, ["A"]),
    *punch(volume, self) {
      const { mapping } = volume.file("A");
      yield* punchHole(self.task, volume.dax(self), mapping, 0, PAGE_SIZE);
    },
  },
  explore: { strategy: "pct", depth: 2, schedules: 5 },
});

export const clonesCross = volumeStory({
  name: "clones-cross",
  about: "A is cloned to B while B is cloned to A. One goes first, and both end with its content.",
  from: "DESIGN.md 5.5: all io locks, then all map locks, each in inode order; hazard H9",
  blocks: 2,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "#" },
  ],
  actors: {
    a: (volume, self) => clone(volume, self, "A", "B"),
    b: (volume, self) => clone(volume, self, "B", "A"),
  },
  finally(volume) {
    const shown = volume.fileShown(volume.file("A"), 1);
    ensure(volume.fileShown(volume.file("B"), 1) === shown, "the files differ after clones");
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const dedupeAgainstWrite = volumeStory({
  name: "dedupe-write",
  about:
    "Two blocks that hold the same are to be shared while one of them is written. They are compared while " +
    "nobody can write: either they are the same and shared, or neither.",
  from: "bug 17: fsdax: dedupe: iter two files at the same time; FIDEDUPERANGE",
  blocks: 3,
  files: [
    { name: "A", pages: "#" },
    { name: "Aa", pages: "#" },
  ],
  actors: {
    *dedupe(volume, self) {
      const [a, b] = [volume.file("A").mapping, volume.file("Aa").mapping];
      const range = { sourceOffset: 0, offset: 0, length: PAGE_SIZE };
      const same = yield* dedupeRange(self.task, volume.dax(self), a, b, range);
      self.say(same ? "the two are the same" : "the two differ");
    },
    write: (volume, self) => writePinned(volume, self, "A"),
  },
  finally(volume) {
    ensureShown(volume, "A", ["W"]);
    ensureShown(volume, "Aa", ["A"]);
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const cloneAgainstStore = volumeStory({
  name: "clone-window",
  about:
    "A is cloned to B while a window stores to A. The window shows the block at first: what is stored " +
    "before the clone is in both, what is stored after it in A alone.",
  from: "DESIGN.md 5.4: reflink breaks the source as well",
  blocks: 3,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "." },
  ],
  windows: [{ file: "A", first: 0, pages: 1, writable: true, shown: [0] }],
  actors: {
    store: (volume, self) => volume.store(self, 0, 0, "S"),
    *clone(volume, self) {
      yield* clone(volume, self, "A", "B");
      const before = volume.fileShown(volume.file("B"), 1);
      yield* readsFile(volume, self, "B", [before]);
    },
  },
  finally(volume) {
    ensureShown(volume, "A", ["S"]);
    ensureShown(volume, "B", ["A", "S"]);
  },
  explore: { strategy: "bounded", preemptions: 1 },
});
