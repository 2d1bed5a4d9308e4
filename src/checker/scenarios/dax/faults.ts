/** Touches through windows: faults, the zero page, lost pages, revocation. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { ensure } from "../../scenario.ts";
import {
  ensureShown,
  loads,
  mayFail,
  pinnedIo,
  punch,
  truncate,
  volumeStory,
  writePages,
} from "./play.ts";

const oneWindow = { file: "A", first: 0, pages: 1, writable: true };
const twoWindows = [{ ...oneWindow, writable: false }, oneWindow];

export const holeReadWrite = volumeStory({
  name: "dax-hole-read-write",
  about:
    "One thread reads a hole through a window, another one stores to it through another window. The " +
    "zero page that the reader was shown is replaced: the reader sees what was stored.",
  from: "DESIGN.md 5.2; dax_load_hole against dax_insert_entry, 'dax: fix race between reads and faults'",
  blocks: 2,
  files: [{ name: "A", pages: "." }],
  windows: twoWindows,
  actors: {
    *reader(volume, self) {
      yield* loads(volume, self, 0, 0, [".", "S"]);
      yield* loads(volume, self, 0, 0, [".", "S"]);
    },
    *writer(volume, self) {
      yield* volume.store(self, 1, 0, "S");
      yield* loads(volume, self, 1, 0, ["S"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["S"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const holeShownPin = volumeStory({
  name: "dax-hole-shown-pin",
  about:
    "A window shows a hole as the zero page, when an I/O pins the page: its block takes the zero " +
    "page's place in every window, and what the I/O wrote is found there.",
  from: "DESIGN.md 5.2: a later write replaces the zero page and revokes it everywhere first",
  blocks: 2,
  files: [{ name: "A", pages: "." }],
  windows: [{ ...oneWindow, shown: [0] }],
  actors: {
    *reader(volume, self) {
      yield* loads(volume, self, 0, 0, [".", "W"]);
    },
    *io(volume, self) {
      yield* pinnedIo(volume, self, 0, 1);
      yield* loads(volume, self, 0, 0, ["W"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["W"]),
});

export const holeWriteWindow = volumeStory({
  name: "dax-hole-write-window",
  about:
    "A hole that a window may show is filled by a write call. A touch after the call finds what was " +
    "written, whenever the zero page was shown.",
  from: "dax: fix cache invalidation of hole pages; DESIGN.md 5.2",
  blocks: 2,
  files: [{ name: "A", pages: "." }],
  windows: [oneWindow],
  actors: {
    *reader(volume, self) {
      yield* loads(volume, self, 0, 0, [".", "W"]);
    },
    *write(volume, self) {
      yield* writePages(volume, self, "A", 0, 1, "W");
      yield* loads(volume, self, 0, 0, ["W"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["W"]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

export const faultTruncate = volumeStory({
  name: "dax-fault-truncate",
  about:
    "A store through a window, whose page must be faulted in or is shown already, against a truncate. " +
    "It reaches the file's block or is lost.",
  from: "DESIGN.md 5.2; 'dax: fix truncate vs fault', filemap_fault and i_size",
  blocks: 2,
  files: [{ name: "A", pages: "=" }],
  windows: [oneWindow],
  actors: {
    *user(volume, self) {
      yield* volume.store(self, 0, 0, "S");
      yield* loads(volume, self, 0, 0, ["S", "."]);
    },
    truncate: (volume, self) => truncate(volume, self),
  },
  finally: (volume) => ensureShown(volume, "A", [""]),
});

export const windowReuse = volumeStory({
  name: "dax-window-reuse",
  about:
    "A window shows the only block of the device when its file is truncated and another file is " +
    "written, which gets the block. A store through the window reaches A's block while it is A's, " +
    "and never B's.",
  from: "DESIGN.md 5.6, invariant 1: no window shows a free block",
  blocks: 1,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "." },
  ],
  windows: [{ ...oneWindow, shown: [0] }],
  actors: {
    *user(volume, self) {
      yield* volume.store(self, 0, 0, "S");
      yield* loads(volume, self, 0, 0, ["S", "."]);
    },
    *change(volume, self) {
      yield* truncate(volume, self);
      yield* mayFail(self, ["ENOSPC"], () => writePages(volume, self, "B", 0, 1));
    },
  },
  finally: (volume) => ensureShown(volume, "B", ["B"]),
});

export const holeFaultReuse = volumeStory({
  name: "dax-hole-fault-reuse",
  about:
    "File B gives its block up and a fault of a hole of A takes it. What B held is zeroed before " +
    "anybody can read it through A.",
  from: "DESIGN.md 5.2: new blocks are zeroed before anyone sees them; dax: zero new blocks, not after",
  blocks: 1,
  files: [
    { name: "A", pages: "." },
    { name: "B", pages: "#" },
  ],
  windows: twoWindows,
  actors: {
    *reader(volume, self) {
      yield* loads(volume, self, 0, 0, [".", "W"]);
      const read = yield* volume.read(self, volume.file("A"), 0, 1);
      ensure(read === "." || read === "W", `a read of A finds ${read}`);
    },
    *change(volume, self) {
      yield* truncate(volume, self, "B");
      yield* pinnedIo(volume, self, 0, 1);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["W"]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

export const punchWindow = volumeStory({
  name: "dax-punch-window",
  about:
    "A page that a window shows is punched, while it is stored to and pinned. Store and I/O reach the " +
    "file's block, the old one or a new one, or the hole is filled again.",
  from: "DESIGN.md 5.4; [PATCH v7 00/12] dax: fix dma vs truncate/hole-punch",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  windows: [{ ...oneWindow, shown: [0] }],
  actors: {
    user: (volume, self) => volume.store(self, 0, 0, "S"),
    io: (volume, self) => pinnedIo(volume, self, 0, 1),
    punch: (volume, self) => punch(volume, self, 0, 1),
  },
  finally: (volume) => ensureShown(volume, "A", ["S", "W", "."]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

export const extendWindow = volumeStory({
  name: "dax-extend-window",
  about:
    "A page beyond the file's end is touched through a window and shown as lost, while the file is " +
    "extended over it. A touch after that finds the file.",
  from: "DESIGN.md 5.2: when the range becomes valid again it is revoked",
  blocks: 3,
  files: [{ name: "A", pages: "#" }],
  windows: [{ ...oneWindow, pages: 2 }],
  actors: {
    *reader(volume, self) {
      yield* loads(volume, self, 0, 1, [".", "W"]);
    },
    *write(volume, self) {
      yield* writePages(volume, self, "A", 1, 1, "W");
      yield* loads(volume, self, 0, 1, ["W"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["AW"]),
});

export const growWindow = volumeStory({
  name: "dax-grow-window",
  about:
    "As dax-extend-window, but the file grows by a truncate upwards: the page becomes a hole, and a " +
    "store to it reaches the file.",
  from: "DESIGN.md 5.2: when the range becomes valid again it is revoked",
  blocks: 3,
  files: [{ name: "A", pages: "#" }],
  windows: [{ ...oneWindow, pages: 2 }],
  actors: {
    *reader(volume, self) {
      yield* loads(volume, self, 0, 1, [".", "S"]);
    },
    *grow(volume, self) {
      yield* truncate(volume, self, "A", 2 * PAGE_SIZE);
      yield* volume.store(self, 0, 1, "S");
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["AS"]),
});

export const populatedWindow = volumeStory({
  name: "dax-populated-window",
  about:
    "Where touches cannot fault, a window is shown whole again after a layout change: page 1 is " +
    "punched, and page 0 can be loaded and stored to afterwards, as page 1 can.",
  from: "DESIGN.md 2, decision 3: where userfaultfd is missing, windows are populated",
  blocks: 4,
  faults: false,
  files: [{ name: "A", pages: "##" }],
  windows: [{ ...oneWindow, pages: 2, shown: [0, 1] }],
  actors: {
    user: (volume, self) => volume.store(self, 0, 0, "S"),
    *punch(volume, self) {
      yield* punch(volume, self, 1, 1);
      yield* volume.store(self, 0, 1, "T");
      yield* loads(volume, self, 0, 1, ["T"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["ST", "AT"]),
});

export const failedZero = volumeStory({
  name: "dax-failed-zero",
  about:
    "The device fails when a new block is zeroed for a fault: the transaction is undone, the touch " +
    "is lost, and nothing stays behind. A second thread pins the page, and succeeds.",
  from: "DESIGN.md 5.2: a failed insertion leaves nothing behind; hazards of dax_insert_entry's ENOMEM",
  blocks: 2,
  files: [{ name: "A", pages: "." }],
  windows: [oneWindow],
  actors: {
    *user(volume, self) {
      volume.fail(self, "zero");
      yield* volume.store(self, 0, 0, "S");
    },
    io: (volume, self) => pinnedIo(volume, self, 0, 1),
  },
  finally: (volume) => ensureShown(volume, "A", ["W", "S"]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

export const failedPin = volumeStory({
  name: "dax-failed-pin",
  about:
    "The device fails when a new block is zeroed for a pin, which gets the error; a fault of another " +
    "thread allocates the block in its place.",
  from: "DESIGN.md 5.6, invariant 7: a failed operation changes nothing",
  blocks: 1,
  files: [{ name: "A", pages: "." }],
  windows: [oneWindow],
  actors: {
    user: (volume, self) => volume.store(self, 0, 0, "S"),
    *io(volume, self) {
      volume.fail(self, "zero");
      yield* pinnedIo(volume, self, 0, 1, ["EIO"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["S", "W"]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

export const outOfMemory = volumeStory({
  name: "dax-out-of-memory",
  about:
    "The region has no word left: a pin and a fault of a mapped page fail for want of a tree node. " +
    "The pin gets ENOMEM, the touch is lost, and nothing stays behind.",
  from: "DESIGN.md 5.2: a failed insertion leaves no entry, no owner, no reference",
  blocks: 1,
  exhausted: true,
  files: [{ name: "A", pages: "=" }],
  windows: [oneWindow],
  actors: {
    user: (volume, self) => volume.store(self, 0, 0, "S"),
    io: (volume, self) => pinnedIo(volume, self, 0, 1, ["ENOMEM"]),
  },
  finally: (volume) => ensureShown(volume, "A", ["A"]),
});

export const fullFault = volumeStory({
  name: "dax-full-fault",
  about:
    "A store through a window finds the volume full and is lost; meanwhile another file gives its " +
    "block up, and a pin of the page gets it. No window hides the page then.",
  from: "DESIGN.md 5.2: a touch never kills; the zero entry of showFailed",
  blocks: 1,
  files: [
    { name: "A", pages: "." },
    { name: "B", pages: "#" },
  ],
  windows: [oneWindow],
  actors: {
    user: (volume, self) => volume.store(self, 0, 0, "S"),
    *change(volume, self) {
      yield* truncate(volume, self, "B");
      yield* pinnedIo(volume, self, 0, 1);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["S", "W"]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});
