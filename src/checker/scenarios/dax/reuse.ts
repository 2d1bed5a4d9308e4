/** Blocks that go from one file to another while an I/O is under way; several pins, several changes. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { collapseRange, evictMapping } from "../../../dax/layout-change.ts";
import { pinRange, pinRanges } from "../../../dax/pins.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";
import {
  ensureShown,
  mayFail,
  pinnedIo,
  punch,
  truncate,
  volumeStory,
  writePages,
} from "./play.ts";

/** B gets the block that A gives up: what the I/O of A writes must not land in B. */
export const truncateReuse = volumeStory({
  name: "dax-truncate-reuse",
  about:
    "File A has the only block of the device. It is truncated, and file B is written, which takes " +
    "the block, while an I/O of A is under way. What the I/O writes lands in A or nowhere.",
  from: "[PATCH v7 00/12] dax: fix dma vs truncate/hole-punch; DESIGN.md 5.6, invariant 2",
  blocks: 1,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "." },
  ],
  actors: {
    io: (volume, self) => pinnedIo(volume, self, 0, 1),
    truncate: (volume, self) => truncate(volume, self),
    *write(volume, self) {
      yield* mayFail(self, ["ENOSPC"], () => writePages(volume, self, "B", 0, 1));
    },
  },
  finally: (volume) => ensureShown(volume, "B", [".", "B"]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

/** A punched block comes back to the same file, at another place. */
export const punchReuse = volumeStory({
  name: "dax-punch-reuse",
  about:
    "Page 0 of A is punched and page 1, a hole, is written, with one block on the device: the block " +
    "comes back to the same file at another offset, while an I/O of page 0 is under way.",
  from: "DESIGN.md 5.6, invariant 2: the file and the place that the page was pinned for",
  blocks: 1,
  files: [{ name: "A", pages: "#." }],
  actors: {
    io: (volume, self) => pinnedIo(volume, self, 0, 1, ["ENOSPC"]),
    change: [
      (volume, self) => punch(volume, self, 0, 1),
      (volume, self) => mayFail(self, ["ENOSPC"], () => writePages(volume, self, "A", 1, 1, "C")),
    ],
  },
  finally: (volume) => ensureShown(volume, "A", [".C", "W.", ".."]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

/** All holes: a pin has to allocate, in the middle of a truncate. */
export const pinHole = volumeStory({
  name: "dax-pin-hole",
  about:
    "A hole is pinned, which allocates its block, while the file is truncated to nothing. Either the " +
    "pin is first, and the truncate waits for it; or it is told that the page is past the end.",
  from: "DESIGN.md 5.3: the slow path takes the map lock and faults what is missing",
  blocks: 2,
  files: [{ name: "A", pages: "." }],
  actors: {
    io: (volume, self) => pinnedIo(volume, self, 0, 1),
    truncate: (volume, self) => truncate(volume, self),
  },
  finally: (volume) => ensureShown(volume, "A", [""]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

/** A pin held over other work: the truncate waits that long. */
export const truncateWaits = volumeStory({
  name: "dax-truncate-waits",
  about:
    "A pin is held while its thread writes to another file. The truncate waits that long, without a " +
    "lock that the holder needs.",
  from: "DESIGN.md 5.4, step 3: its holder may need the locks",
  blocks: 3,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "." },
  ],
  actors: {
    *holder(volume, self) {
      yield* mayFail(self, ["EINVAL"], function* () {
        const { mapping } = volume.file("A");
        const pin = yield* pinRange(self.task, volume.dax(self), mapping, 0, PAGE_SIZE, true);
        ensure(volume.sizeOf(volume.file("A")) === PAGE_SIZE, "a truncate did not wait for a pin");
        yield* writePages(volume, self, "B", 0, 1);
        yield* volume.read(self, volume.file("A"), 0, 1);
        ensure(volume.sizeOf(volume.file("A")) === PAGE_SIZE, "a truncate did not wait for a pin");
        volume.io(self, volume.file("A"), pin, "W");
      });
    },
    truncate: (volume, self) => truncate(volume, self),
  },
  finally: (volume) => ensureShown(volume, "A", [""]),
});

/** Two of each. */
export const twoAndTwo = volumeStory({
  name: "dax-two-and-two",
  about:
    "Two I/Os pin the two pages of a file; one thread truncates it to its first page, another one " +
    "punches its first page. Each change waits for what it changes.",
  from: "DESIGN.md 5.4; [RFC] fs/dax: wait for each page's last reference",
  blocks: 3,
  files: [{ name: "A", pages: "##" }],
  actors: {
    io: (volume, self) => pinnedIo(volume, self, 0, 2),
    "io-2": (volume, self) => pinnedIo(volume, self, 1, 1),
    truncate: (volume, self) => truncate(volume, self, "A", PAGE_SIZE),
    punch: (volume, self) => punch(volume, self, 0, 1),
  },
  finally: (volume) => ensureShown(volume, "A", [".", "W"]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

/** A wait for one page, and another one is busy still. */
export const twoBusy = volumeStory({
  name: "dax-two-busy",
  about:
    "Two I/Os pin a page of a file each, and the file is truncated to nothing. When the truncate has waited " +
    "for one page, it looks for the other.",
  from: "[PATCH v7 12/12] ext4, dax: one wait in ext4_break_layouts; layout/break.ts, rule 2",
  blocks: 2,
  files: [{ name: "A", pages: "##" }],
  actors: {
    io: (volume, self) => pinnedIo(volume, self, 0, 1),
    "io-2": (volume, self) => pinnedIo(volume, self, 1, 1),
    truncate: (volume, self) => truncate(volume, self),
  },
  finally: (volume) => ensureShown(volume, "A", [""]),
  explore: { strategy: "bounded", preemptions: 1 },
});

/** A pin of three pages holds all of them or none while it waits. */
export const batchPunch = volumeStory({
  name: "dax-batch-punch",
  about:
    "One I/O pins three pages at once, while a hole is punched into the second one. The pin holds " +
    "all three pages or none: it never holds the first while it waits for the second.",
  from: "DESIGN.md 5.3: a batch is all or nothing",
  blocks: 4,
  files: [{ name: "A", pages: "###" }],
  actors: {
    io: (volume, self) => pinnedIo(volume, self, 0, 3),
    punch: (volume, self) => punch(volume, self, 1, 1),
  },
  finally: (volume) => ensureShown(volume, "A", ["WWW", "W.W"]),
});

/** One I/O into the first page of each file, pinned at once. */
function* batchedIo(volume: Volume, self: Self, names: readonly string[]): Sleeps<void> {
  const files = names.map((name) => volume.file(name));
  yield* mayFail(self, ["EINVAL"], function* () {
    const ranges = files.map(({ mapping }) => {
      return { mapping, offset: 0, length: PAGE_SIZE, write: true };
    });
    const pins = yield* pinRanges(self.task, volume.dax(self), ranges);
    ensure(pins.length === names.length, `${pins.length} pins are given for ${names.length} files`);
    for (const [at, pin] of pins.entries()) volume.io(self, files[at]!, pin, "W");
  });
}

export const batchOfFiles = volumeStory({
  name: "dax-batch-files",
  about:
    "Two I/Os pin a page of A and one of B at once, each beginning with another file, while both files are " +
    "truncated. Each has both pages or none, and nobody waits in a circle.",
  from: "DESIGN.md 5.3: a batch is all or nothing; dax/pins.ts, pinRanges",
  blocks: 2,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "#" },
  ],
  actors: {
    "a-b": (volume, self) => batchedIo(volume, self, ["A", "B"]),
    "b-a": (volume, self) => batchedIo(volume, self, ["B", "A"]),
    truncate: [
      (volume, self) => truncate(volume, self, "A"),
      (volume, self) => truncate(volume, self, "B"),
    ],
  },
  explore: { strategy: "pct", depth: 3, schedules: 2000 },
});

/** A pin across a hole, against a punch of what is before it. */
export const batchHole = volumeStory({
  name: "dax-batch-hole",
  about:
    "One I/O pins a page and the hole after it, which is allocated for it, while the page is " +
    "punched. No block is lost, and none is used that is free.",
  from: "DESIGN.md 5.3: a batch is all or nothing",
  blocks: 3,
  files: [{ name: "A", pages: "#." }],
  actors: {
    io: (volume, self) => pinnedIo(volume, self, 0, 2),
    punch: (volume, self) => punch(volume, self, 0, 1),
  },
  finally: (volume) => ensureShown(volume, "A", ["WW", ".W"]),
});

/** The last close of a file without a name. */
export const evictReuse = volumeStory({
  name: "dax-evict-reuse",
  about:
    "File A is evicted with its blocks, and B is written into them, while a last I/O of A ends. The " +
    "eviction waits for it.",
  from: "DESIGN.md 5.4: final inode eviction; truncate_inode_pages_final against DMA",
  blocks: 1,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "." },
  ],
  actors: {
    *io(volume, self) {
      yield* mayFail(self, ["ENOSPC"], () => pinnedIo(volume, self, 0, 1));
    },
    *evict(volume, self) {
      yield* evictMapping(self.task, volume.dax(self), volume.file("A").mapping, () => {});
      yield* mayFail(self, ["ENOSPC"], () => writePages(volume, self, "B", 0, 1));
    },
  },
  finally: (volume) => ensureShown(volume, "B", [".", "B"]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

/** 2 MiB in one entry. */
export const hugeTruncate = volumeStory({
  name: "dax-huge-truncate",
  about:
    "A page in the middle of an entry of 2 MiB is pinned, while the file is truncated to its first " +
    "two pages. The break covers the whole entry; what stays of it is pinned again page by page.",
  from: "DESIGN.md 5.4; [PATCH] fs/dax: properly refcount fs dax pages, PMD entries",
  blocks: 513,
  files: [{ name: "A", pages: "#".repeat(512) }],
  actors: {
    io: (volume, self) => pinnedIo(volume, self, 100, 1),
    "io-2": (volume, self) => pinnedIo(volume, self, 1, 1),
    truncate: (volume, self) => truncate(volume, self, "A", 2 * PAGE_SIZE),
  },
  finally: (volume) => ensureShown(volume, "A", ["AW"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

/** Two pins of one page that is not present yet. */
export const twoPinners = volumeStory({
  name: "dax-two-pinners",
  about:
    "Two I/Os pin the same page, which has a block and no entry yet, so that both make it present. " +
    "One entry is made, and both pins are counted on its page.",
  from: "DESIGN.md 5.2: associate, then show; mapping/entries.ts, the life of an entry",
  blocks: 2,
  files: [{ name: "A", pages: "#=" }],
  actors: {
    io: (volume, self) => pinnedIo(volume, self, 1, 1),
    "io-2": (volume, self) => pinnedIo(volume, self, 1, 1),
  },
  finally: (volume) => ensureShown(volume, "A", ["AW"]),
});

/** The file is smaller when the collapse has its locks again. */
export const collapseTruncate = volumeStory({
  name: "dax-collapse-truncate",
  about:
    "Page 0 of two is cut out of the file while the file is truncated to one page, and an I/O holds " +
    "page 1, so that both wait. A collapse that comes second is refused: it would reach the end.",
  from: "layout/break.ts, rule 2: `plan` runs after every take",
  blocks: 2,
  files: [{ name: "A", pages: "##" }],
  actors: {
    io: (volume, self) => pinnedIo(volume, self, 1, 1),
    *collapse(volume, self) {
      const { mapping } = volume.file("A");
      const refused = yield* mayFail(self, ["EINVAL"], () =>
        collapseRange(self.task, volume.dax(self), mapping, 0, PAGE_SIZE),
      );
      if (refused) self.say("the collapse would reach the end of the file");
    },
    truncate: (volume, self) => truncate(volume, self, "A", PAGE_SIZE),
  },
  finally: (volume) => ensureShown(volume, "A", ["A", "W"]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});
