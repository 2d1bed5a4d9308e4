/** What faults and pins make of a file's extents and entries: how far, in what pieces, and what not. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { Dax } from "../../../dax/dax.ts";
import { truncateFile } from "../../../dax/layout-change.ts";
import { pinRange } from "../../../dax/pins.ts";
import { ensure } from "../../scenario.ts";
import { ensureShown, loads, pinnedIo, truncate, volumeStory, writePages } from "./play.ts";

export const strayStore = volumeStory({
  name: "dax-stray-store",
  about:
    "Windows that only read show a page, a hole and an unwritten page. Stores to them go nowhere, to " +
    "what was loaded before and to what was not; nothing is allocated for them.",
  from: "DESIGN.md 5.2: read-only windows use private mappings",
  blocks: 4,
  files: [{ name: "A", pages: "=.u" }],
  windows: [0, 1].map(() => ({ file: "A", first: 0, pages: 3, writable: false })),
  actors: {
    *user(volume, self) {
      for (const page of [0, 1, 2]) {
        yield* volume.load(self, 0, page);
        yield* volume.store(self, 0, page, "X");
        yield* volume.store(self, 1, page, "X");
      }
      for (const window of [0, 1]) {
        const shown = volume.windowShown(window);
        ensure(shown === "#..", `window ${window} shows ${shown}`);
      }
      ensure(
        volume.backingOf(volume.file("A")) === "#.u",
        "a store of a window that reads allocates",
      );
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["A.."]),
  explore: { strategy: "reduced" },
});

export const faultAround = volumeStory({
  name: "dax-fault-around",
  about:
    "One touch in the middle of an extent of 200 pages shows all of it, from its first page to " +
    "its last, over several leaves of the tree; and entries are made, so that a pin is fast.",
  from: "DESIGN.md 2, decision 2: faults map whole extents around, not single pages",
  blocks: 205,
  files: [{ name: "A", pages: `.${"=".repeat(200)}.` }],
  windows: [
    { file: "A", first: 0, pages: 202, writable: true },
    { file: "A", first: 1, pages: 1, writable: true },
  ],
  actors: {
    *user(volume, self) {
      yield* loads(volume, self, 1, 1, ["A"]);
      yield* loads(volume, self, 0, 140, ["A"]);
      const shown = volume.windowShown(0);
      ensure(shown === `-${"#".repeat(200)}-`, `the window shows ${shown}`);
      yield* pinnedIo(volume, self, 1, 1);
    },
  },
  explore: { strategy: "reduced" },
});

export const faultBetween = volumeStory({
  name: "dax-fault-between",
  about:
    "Windows over the pages beside a hole are left alone when the hole is stored to: only the windows " +
    "over it lose its zero page.",
  from: "dax/fault.ts, replaceZero; DESIGN.md 5.2",
  blocks: 4,
  files: [{ name: "A", pages: "..." }],
  windows: [0, 1, 2].map((first) => ({
    file: "A",
    first,
    pages: 1,
    writable: true,
    shown: [first],
  })),
  actors: {
    *user(volume, self) {
      yield* volume.store(self, 1, 1, "S");
      yield* loads(volume, self, 0, 0, ["."]);
      yield* loads(volume, self, 2, 2, ["."]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", [".S.", ".S", "SS."]),
  explore: { strategy: "reduced" },
});

export const faultStops = volumeStory({
  name: "dax-fault-stops",
  about:
    "A hole of four pages gets its blocks while a window shows page 2 as zeroes. What a fault shows " +
    "around itself ends there, from either side: page 2 is shown when it is touched itself.",
  from: "dax/fault.ts, around: as far as the entries allow",
  blocks: 4,
  files: [{ name: "A", pages: "...." }],
  windows: [{ file: "A", first: 0, pages: 4, writable: true, shown: [2] }],
  actors: {
    *user(volume, self) {
      yield* volume.store(self, 0, 0, "S");
      yield* volume.store(self, 0, 3, "T");
      ensure(volume.windowShown(0) === "##.#", `the window shows ${volume.windowShown(0)}`);
      yield* volume.store(self, 0, 2, "U");
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["S.UT"]),
  explore: { strategy: "reduced" },
});

export const holeFilled = volumeStory({
  name: "dax-hole-filled",
  about:
    "A hole is touched through a window while a write call fills it, which does not take the map lock. " +
    "Once both are done the window does not show the zero page.",
  from: "dax: fix cache invalidation of hole pages; dax/fault.ts, showHole",
  blocks: 1,
  files: [{ name: "A", pages: "." }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true }],
  actors: {
    reader: (volume, self) => loads(volume, self, 0, 0, [".", "W"]),
    write: (volume, self) => writePages(volume, self, "A", 0, 1, "W"),
  },
  finally: (volume) => ensureShown(volume, "A", ["W"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const holesBetween = volumeStory({
  name: "dax-holes-between",
  about:
    "Pages and holes of a file are loaded through a window in an order in which each extent is found " +
    "between others that are known.",
  from: "dax/dax.ts, keepExtent: sorted, and not overlapping",
  blocks: 4,
  files: [{ name: "A", pages: "=.=.=.=" }],
  windows: [{ file: "A", first: 0, pages: 7, writable: false }],
  actors: {
    *user(volume, self) {
      for (const page of [3, 0, 1, 5, 4, 6, 2]) {
        yield* loads(volume, self, 0, page, [page % 2 === 0 ? "A" : "."]);
      }
    },
  },
  explore: { strategy: "reduced" },
});

export const unreadable = volumeStory({
  name: "dax-unreadable",
  about:
    "A thread cannot read the file's extents. What has an entry it shows all the same; the rest is lost, " +
    "told by the window, and shown when another thread has made it real.",
  from: "DESIGN.md 5.2: a touch never kills; dax/fault.ts, showFailed",
  blocks: 2,
  files: [{ name: "A", pages: "#=" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: true }],
  actors: {
    *user(volume, self) {
      volume.fail(self, "extentAt");
      yield* loads(volume, self, 0, 0, ["A"]);
      yield* loads(volume, self, 0, 1, ["."]);
      const { windows } = volume.dax(self);
      ensure(windows.statistics().pagesLost === 1, "the lost page is not told");
      volume.mend(self);
      yield* pinnedIo(volume, self, 1, 1);
      yield* loads(volume, self, 0, 1, ["W"]);
    },
  },
  explore: { strategy: "reduced" },
});

export const noRecords = volumeStory({
  name: "dax-no-page-records",
  about:
    "There is no memory for page records. The block of a hole that a window shows is pinned, and " +
    "stored to: the pin gets ENOMEM, the store is lost, and no entry stays locked.",
  from: "DESIGN.md 5.2: a failed insertion leaves no entry, no owner, no reference",
  blocks: 2,
  exhausted: "page records",
  files: [{ name: "A", pages: ".=" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: true, shown: [0] }],
  actors: {
    *user(volume, self) {
      yield* pinnedIo(volume, self, 0, 1, ["ENOMEM"]);
      yield* volume.store(self, 0, 0, "X");
      yield* volume.store(self, 0, 1, "X");
      ensure(volume.windowShown(0) === "xx", `the window shows ${volume.windowShown(0)}`);
      yield* pinnedIo(volume, self, 0, 2, ["ENOMEM"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", [".A"]),
  explore: { strategy: "reduced" },
});

export const unlisted = volumeStory({
  name: "dax-lost-unlisted",
  about:
    "A fault of page 1 fails for want of a tree node and is shown as lost. When memory is back, a fault " +
    "of page 0 through another window makes it real: the first window shows it then.",
  from: "mapping/mapping.ts, noteLostUnlisted; DESIGN.md 5.2",
  blocks: 3,
  exhausted: true,
  files: [
    { name: "A", pages: "==" },
    { name: "B", pages: "#" },
  ],
  windows: [0, 1].map(() => ({ file: "A", first: 0, pages: 2, writable: true })),
  actors: {
    *user(volume, self) {
      yield* loads(volume, self, 0, 1, ["."]);
      yield* truncate(volume, self, "B");
      yield* loads(volume, self, 1, 0, ["A"]);
      yield* volume.store(self, 1, 1, "S");
      yield* loads(volume, self, 0, 1, ["S"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["AS"]),
  explore: { strategy: "reduced" },
});

export const unalignedHuge = volumeStory({
  name: "dax-huge-unaligned",
  about:
    "2 MiB of a file lie in one extent of the device, but not at a multiple of 2 MiB: they are pinned " +
    "page by page, in pieces of the device as they lie there.",
  from: "dax/fault.ts, hugeFits; the kernel's dax_iomap_pmd_fault and its alignment checks",
  blocks: 516,
  files: [
    { name: "B", pages: "=" },
    { name: "A", pages: `${"=".repeat(512)}.` },
    { name: "C", pages: "=" },
  ],
  actors: {
    *io(volume, self) {
      const file = volume.file("A");
      using pin = yield* pinRange(self.task, volume.dax(self), file.mapping, 0, 2 ** 21, true);
      ensure(pin.buffers.length === 1, `the pin has ${pin.buffers.length} buffers`);
      using both = yield* pinRange(
        self.task,
        volume.dax(self),
        file.mapping,
        511 * PAGE_SIZE,
        2 * PAGE_SIZE,
        true,
      );
      ensure(both.buffers.length === 2, `the pin of two runs has ${both.buffers.length} buffers`);
      yield* pinnedIo(volume, self, 511, 2);
    },
  },
  explore: { strategy: "reduced" },
});

export const unprotected = volumeStory({
  name: "dax-unprotected",
  about:
    "Where a volume is mounted without protection, a pin counts nothing: a truncate does not wait, and " +
    "the pin's buffers say afterwards that they are the file's no longer.",
  from: "DESIGN.md 8: corruption must be found when the protection is switched off",
  blocks: 1,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *user(volume, self) {
      const dax = new Dax({ ...volume.dax(self), protect: false });
      const { mapping } = volume.file("A");
      const pin = yield* pinRange(self.task, dax, mapping, 0, PAGE_SIZE, true);
      ensure(pin.verify(), "the page is not the file's while nothing has changed");
      yield* truncateFile(self.task, dax, mapping, 0);
      ensure(!pin.verify(), "the page is said to be the file's after its truncate");
      pin.release();
    },
  },
  finally: (volume) => ensureShown(volume, "A", [""]),
  explore: { strategy: "reduced" },
});
