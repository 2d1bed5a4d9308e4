/** Operations that end before their time: aborted, killed, or for want of room. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { pinRange } from "../../../dax/pins.ts";
import { Inode } from "../../../drivers/ram/layout.ts";
import { load, store } from "../../../sync/atomics.ts";
import { ensure } from "../../scenario.ts";
import { LONG_AGO } from "../../world/build.ts";
import {
  ensureShown,
  mayFail,
  pinnedIo,
  punch,
  truncate,
  volumeStory,
  writePages,
} from "./play.ts";

const oneWindow = { file: "A", first: 0, pages: 1, writable: true };

export const abortTruncate = volumeStory({
  name: "dax-abort-truncate",
  about:
    "A truncate that waits for a pin, or for a lock, is aborted: the file is as it was, and nothing " +
    "is left announced or held.",
  from: "DESIGN.md 5.4: an aborted break leaves the file as it was",
  blocks: 2,
  files: [{ name: "A", pages: "##" }],
  actors: {
    io: (volume, self) => pinnedIo(volume, self, 0, 1),
    *truncate(volume, self) {
      const aborted = yield* mayFail(self, ["ABORT_ERR"], () => truncate(volume, self));
      const size = volume.sizeOf(volume.file("A"));
      ensure(size === (aborted ? 2 * PAGE_SIZE : 0), `the file has ${size} bytes afterwards`);
    },
  },
  environment: { abort: { abort: "truncate" } },
  finally: (volume) => ensureShown(volume, "A", ["", "WA"]),
});

export const endWrite = volumeStory({
  name: "dax-end-write",
  about:
    "A write into a block and the hole after it is aborted while it waits for the transaction. It tells what it has " +
    "written, and has set the time of modification; or it has written nothing.",
  from: "write(2): a call that is interrupted after it has written some data tells how much",
  blocks: 3,
  files: [
    { name: "A", pages: "#." },
    { name: "B", pages: "#" },
  ],
  actors: {
    *write(volume, self) {
      const file = volume.file("A");
      const modifyTime = volume.inodeWord(file) + Inode.modifyTime;
      store(volume.words, modifyTime, LONG_AGO);
      let written = 0;
      yield* mayFail(self, ["ABORT_ERR"], function* () {
        written = yield* writePages(volume, self, "A", 0, 2, "W");
      });
      const shown = volume.fileShown(file, 2);
      const expected = "W".repeat(written / PAGE_SIZE) + "A.".slice(written / PAGE_SIZE);
      ensure(shown === expected, `${written} bytes are told to be written: the file is "${shown}"`);
      const isTouched = load(volume.words, modifyTime) !== LONG_AGO;
      ensure(isTouched === written > 0, `${written} bytes are written at the time before`);
    },
    *other(volume, self) {
      yield* truncate(volume, self, "B");
    },
  },
  environment: { abort: { abort: "write" } },
  finally: (volume) => ensureShown(volume, "A", ["A.", "W.", "WW"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const killTruncate = volumeStory({
  name: "dax-kill-truncate",
  about:
    "The thread that truncates a file dies at any point. An I/O goes on, before it or after it, and " +
    "a second truncate ends what the first has begun: nothing stays locked, announced or lost.",
  from: "DESIGN.md 2, decision 4: worker threads that die; MappingWord.removing",
  blocks: 3,
  files: [
    { name: "A", pages: "##" },
    { name: "B", pages: "#" },
  ],
  actors: {
    truncate: (volume, self) => truncate(volume, self),
    *next(volume, self) {
      yield* pinnedIo(volume, self, 1, 1);
      yield* truncate(volume, self);
    },
  },
  environment: { kill: { kill: "truncate" } },
  finally: (volume) => ensureShown(volume, "A", [""]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

export const killPinner = volumeStory({
  name: "dax-kill-pinner",
  about:
    "A thread that pins a page and a hole after it dies at any point. The truncate that waits for its " +
    "pins, its lock or its transaction gives back what it held, and ends.",
  from: "DESIGN.md 5.3: a worker that dies releases its pins",
  blocks: 3,
  files: [{ name: "A", pages: "#." }],
  actors: {
    *io(volume, self) {
      yield* pinnedIo(volume, self, 0, 2);
    },
    truncate: (volume, self) => truncate(volume, self),
  },
  environment: { kill: { kill: "io" } },
  finally: (volume) => ensureShown(volume, "A", [""]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const killFault = volumeStory({
  name: "dax-kill-fault",
  about:
    "A thread that serves a fault of a hole dies at any point. Another one touches the same page, " +
    "and one pins it: each finds the file's block, and nothing is lost.",
  from: "DESIGN.md 2, decision 4; mapping/entries.ts, lock records",
  blocks: 2,
  files: [{ name: "A", pages: "#." }],
  windows: [{ ...oneWindow, pages: 2 }],
  actors: {
    user: (volume, self) => volume.store(self, 0, 1, "S"),
    *io(volume, self) {
      yield* pinnedIo(volume, self, 1, 1);
      yield* truncate(volume, self);
    },
  },
  environment: { kill: { kill: "user" } },
  finally: (volume) => ensureShown(volume, "A", [""]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

export const killWriter = volumeStory({
  name: "dax-kill-writer",
  about:
    "A thread that extends a file dies at any point. The file then ends before what it wrote, in it, " +
    "or after it; no block lies beyond its end, and a reader never sees another file's bytes.",
  from: "dax/file-io.ts, allocateFor: the size grows with the blocks",
  blocks: 3,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "#" },
  ],
  actors: {
    write: (volume, self) => writePages(volume, self, "A", 1, 1, "W"),
    *read(volume, self) {
      yield* truncate(volume, self, "B");
      const read = yield* volume.read(self, volume.file("A"), 0, 2);
      ensure(["A", "A.", "AW"].includes(read), `a read of A finds "${read}"`);
    },
  },
  environment: { kill: { kill: "write" } },
  finally: (volume) => ensureShown(volume, "A", ["A", "A.", "AW"]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

export const readTruncate = volumeStory({
  name: "dax-read-truncate",
  about:
    "A file is read by copy while it is truncated and its block goes to another file. The read finds " +
    "the file as it was, or its end; never the other file's bytes.",
  from: "DESIGN.md 5.6, invariant 8; dax_iomap_rw under the inode lock",
  blocks: 1,
  files: [
    { name: "A", pages: "=" },
    { name: "B", pages: "." },
  ],
  actors: {
    *read(volume, self) {
      for (const _again of [1, 2]) {
        const read = yield* volume.read(self, volume.file("A"), 0, 1);
        ensure(read === "A" || read === "", `a read of A finds "${read}"`);
      }
    },
    *change(volume, self) {
      yield* truncate(volume, self);
      yield* writePages(volume, self, "B", 0, 1);
    },
  },
  finally: (volume) => ensureShown(volume, "B", ["B"]),
});

export const faultWrite = volumeStory({
  name: "dax-fault-write",
  about:
    "Two pages of a hole are filled, one by a store through a window, one by a write call: both " +
    "allocate in the same file, one under the map lock and one under the io lock, and each finds " +
    "the extents as they are.",
  from: "metadata/sequence.ts: layouts are read without their lock",
  blocks: 3,
  files: [{ name: "A", pages: ".." }],
  windows: [{ ...oneWindow, pages: 2 }],
  actors: {
    *user(volume, self) {
      yield* volume.store(self, 0, 0, "S");
      const found = yield* volume.load(self, 0, 1);
      ensure(found === "." || found === "W", `it loads "${found}" from page 1`);
    },
    write: (volume, self) => writePages(volume, self, "A", 1, 1, "W"),
  },
  finally: (volume) => ensureShown(volume, "A", ["SW"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const diskFull = volumeStory({
  name: "dax-disk-full",
  about:
    "Two threads fill holes of two files, by a pin and by a write, with one block left. One gets " +
    "ENOSPC, and has changed nothing.",
  from: "DESIGN.md 5.6, invariant 7",
  blocks: 1,
  files: [
    { name: "A", pages: "." },
    { name: "B", pages: "." },
  ],
  actors: {
    io: (volume, self) => pinnedIo(volume, self, 0, 1, ["ENOSPC"]),
    *write(volume, self) {
      yield* mayFail(self, ["ENOSPC"], () => writePages(volume, self, "B", 0, 1));
    },
  },
  finally(volume) {
    ensureShown(volume, "A", [".", "W"]);
    ensureShown(volume, "B", [".", "B"]);
    const both = volume.fileShown(volume.file("A"), 1) + volume.fileShown(volume.file("B"), 1);
    ensure(both.length === 2 && both.includes("."), "both files got the only block");
    ensure(both !== "..", "nobody got the only block");
  },
});

/** A hole allocated, a pin that ends, and what was announced in between. */
export const punchTwice = volumeStory({
  name: "dax-punch-twice",
  about:
    "Two threads punch the same page while a third one pins it with its hole filled again. No block " +
    "is freed twice.",
  from: "layout/break.ts, rule 2: a lock dropped means that everything is looked at again",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  actors: {
    io: (volume, self) => pinnedIo(volume, self, 0, 1),
    punch: (volume, self) => punch(volume, self, 0, 1),
    truncate: (volume, self) => truncate(volume, self),
  },
  finally: (volume) => ensureShown(volume, "A", [""]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

/** The region's last nodes come back after a fault has failed for want of one. */
export const lostForMemory = volumeStory({
  name: "dax-lost-for-memory",
  about:
    "A fault fails for want of a tree node and its touch is lost. Then a truncate of another file " +
    "gives nodes back, and the page is pinned and written: a touch after that finds the file.",
  from: "DESIGN.md 5.2: when the range becomes valid again it is revoked; dax/pager.ts, showLost",
  blocks: 2,
  exhausted: true,
  files: [
    { name: "A", pages: "=" },
    { name: "B", pages: "#" },
  ],
  windows: [oneWindow],
  actors: {
    *user(volume, self) {
      yield* volume.store(self, 0, 0, "S");
      yield* truncate(volume, self, "B");
      const { mapping } = volume.file("A");
      yield* mayFail(self, ["ENOMEM"], function* () {
        const pin = yield* pinRange(self.task, volume.dax(self), mapping, 0, PAGE_SIZE, true);
        volume.io(self, volume.file("A"), pin, "W");
      });
      const found = yield* volume.load(self, 0, 0);
      ensure(found === "W", `after the pin it loads "${found}"`);
    },
  },
  explore: { strategy: "reduced" },
});

/** A layout that was read while it was changed, and the change undone. */
export const undoneAllocation = volumeStory({
  name: "dax-undone-allocation",
  about:
    "A pin of a hole fails after the driver has placed a block, so that its transaction is undone, " +
    "while another one looks up the same page. Nobody uses the block that was never the file's.",
  from: "metadata/sequence.ts: layouts are read without their lock; DESIGN.md 5.6, invariant 7",
  blocks: 2,
  files: [{ name: "A", pages: "#." }],
  actors: {
    io: (volume, self) => pinnedIo(volume, self, 1, 1),
    *fails(volume, self) {
      volume.fail(self, "allocate");
      yield* pinnedIo(volume, self, 1, 1, ["EIO"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["AW"]),
});

/** The page records of 2 MiB are made, or given back, by a thread that dies. */
export const killLastPage = volumeStory({
  name: "dax-kill-last-page",
  about:
    "The thread that takes the only page in use out of its file dies at any point, also while the " +
    "page records of its 2 MiB are given back. Another file's page can be pinned afterwards.",
  from: "sync/guard.ts: what a dead thread left under a guard is repaired; pages/pages.ts",
  blocks: 2,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "=" },
  ],
  actors: {
    truncate: (volume, self) => truncate(volume, self),
    *next(volume, self) {
      yield* truncate(volume, self);
      const { mapping } = volume.file("B");
      const pin = yield* pinRange(self.task, volume.dax(self), mapping, 0, PAGE_SIZE, true);
      volume.io(self, volume.file("B"), pin, "W");
    },
  },
  environment: { kill: { kill: "truncate" } },
  finally: (volume) => ensureShown(volume, "B", ["W"]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});
