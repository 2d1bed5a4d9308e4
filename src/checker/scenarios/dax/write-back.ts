/** Write-back: what was written reaches the device, whatever goes on beside it. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { pinRange } from "../../../dax/pins.ts";
import { noteWritten } from "../../../mapping/mapping.ts";
import type { Self } from "../../scenario.ts";
import { contentOf } from "../../world/device.ts";
import type { Volume } from "../../world/volume.ts";
import {
  ensureShown,
  mayFail,
  pinnedIo,
  punch,
  sync,
  syncsAll,
  truncate,
  volumeStory,
  writePages,
} from "./play.ts";

/** Every story ends with a last write-back, after which all that any file holds is persistent. */
const NOTHING_LOST = "What was written is persistent after a write-back that began later.";

export const syncWrite = volumeStory({
  name: "dax-sync-write",
  about:
    "Two pages are written by calls, and written back, while another thread writes the file back, " +
    `too. ${NOTHING_LOST} Nobody finds nothing to do while another one is not done.`,
  from: "DESIGN.md 5.6, invariant 8; file_write_and_wait_range waits for writeback of others",
  blocks: 2,
  synced: true,
  files: [{ name: "A", pages: "==" }],
  actors: {
    *write(volume, self) {
      yield* writePages(volume, self, "A", 0, 1, "W");
      yield* writePages(volume, self, "A", 1, 1, "W");
      yield* syncsAll(volume, self);
    },
    sync: (volume, self) => sync(volume, self),
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const syncWriteTwice = volumeStory({
  name: "dax-sync-write-twice",
  about:
    "Two threads note pages of one file as written, by a write call and by a window that is taken " +
    `away, while a third one writes the file back. ${NOTHING_LOST}`,
  from: "mapping/mapping.ts, noteWritten; DESIGN.md 5.6, invariant 8",
  blocks: 3,
  synced: true,
  files: [{ name: "A", pages: "===" }],
  windows: [{ file: "A", first: 2, pages: 1, writable: true }],
  actors: {
    *write(volume, self) {
      yield* writePages(volume, self, "A", 0, 1, "W");
      yield* writePages(volume, self, "A", 1, 1, "W");
    },
    *change(volume, self) {
      yield* volume.store(self, 0, 2, "S");
      yield* truncate(volume, self, "A", 2 * PAGE_SIZE + PAGE_SIZE / 2);
      yield* syncsAll(volume, self, 2, 1);
    },
    sync: (volume, self) => sync(volume, self),
  },
  explore: { strategy: "pct", depth: 3, schedules: 2000 },
});

/** A page is written as by a call, and noted. */
function dirty(volume: Volume, self: Self, page: number): void {
  const file = volume.file("A");
  volume.hand(self).device.writeBlock(volume.blockOf(file, page), contentOf("W"));
  noteWritten(self.thread, file.mapping, page, page);
}

export const notes = volumeStory({
  name: "dax-written-notes",
  about:
    "Three pages are written and noted by two threads, while a third one takes the range that is noted " +
    "and persists it. Each page is in what it has taken, or still noted.",
  from: "mapping/mapping.ts, noteWritten: most notes find their pages noted already, and take no guard",
  blocks: 3,
  synced: true,
  files: [{ name: "A", pages: "===" }],
  actors: {
    first(volume, self) {
      dirty(volume, self, 0);
      dirty(volume, self, 1);
    },
    second: (volume, self) => dirty(volume, self, 2),
    sync: (volume, self) => sync(volume, self),
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const syncPin = volumeStory({
  name: "dax-sync-pin",
  about:
    "A page that is marked dirty is pinned and written by an I/O, while the file is written back. " +
    `The pin is seen, or what it wrote is persisted, or the page is marked anew. ${NOTHING_LOST}`,
  from: "pin/pin.ts, invariant 4; DESIGN.md 5.6, invariant 8",
  blocks: 1,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *io(volume, self) {
      yield* pinnedIo(volume, self, 0, 1);
      yield* syncsAll(volume, self);
    },
    sync: (volume, self) => sync(volume, self),
  },
});

export const syncHeldPin = volumeStory({
  name: "dax-sync-held-pin",
  about:
    "A pin is held over a write-back, and its I/O comes afterwards: the page keeps its mark, so that " +
    "the next write-back persists it again.",
  from: "pin/pin.ts, invariant 4; the kernel's folio_maybe_dma_pinned at writeback",
  blocks: 1,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *io(volume, self) {
      const file = volume.file("A");
      const pin = yield* pinRange(self.task, volume.dax(self), file.mapping, 0, PAGE_SIZE, true);
      yield* sync(volume, self);
      volume.io(self, file, pin, "W");
      yield* syncsAll(volume, self);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["W"]),
  explore: { strategy: "reduced" },
});

export const syncWindow = volumeStory({
  name: "dax-sync-window",
  about:
    "A page is stored to through a window and written back, while a hole is punched into the page " +
    `after it, which the window shows, too, and loses. ${NOTHING_LOST}`,
  from: "kernel-facts.md, hazard H2: dirty marks outside the range of a break; DESIGN.md 5.4",
  blocks: 3,
  synced: true,
  files: [{ name: "A", pages: "==" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: true }],
  actors: {
    *user(volume, self) {
      yield* volume.store(self, 0, 0, "S");
      yield* syncsAll(volume, self, 0, 1);
    },
    punch: (volume, self) => punch(volume, self, 1, 1),
  },
  finally: (volume) => ensureShown(volume, "A", ["S."]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const syncZeroes = volumeStory({
  name: "dax-sync-zeroes",
  about:
    "A hole is pinned for reading, which gives it a block that was another file's, zeroed. After a " +
    "write-back the zeroes are persistent: nobody finds the other file's bytes after a crash.",
  from: "DESIGN.md 5.6, invariant 8: never another file's bytes",
  blocks: 2,
  synced: true,
  files: [
    { name: "A", pages: "..." },
    { name: "B", pages: "##" },
  ],
  actors: {
    *reader(volume, self) {
      yield* truncate(volume, self, "B");
      const { mapping } = volume.file("A");
      const pin = yield* pinRange(self.task, volume.dax(self), mapping, 0, PAGE_SIZE, false);
      pin.release();
      yield* syncsAll(volume, self);
      volume.fail(self, "copyIn");
      yield* mayFail(self, ["EIO"], () => writePages(volume, self, "A", 1, 1, "W"));
      yield* syncsAll(volume, self);
    },
  },
  explore: { strategy: "reduced" },
});

export const syncHoles = volumeStory({
  name: "dax-sync-holes",
  about:
    "Pages 0 and 2 of a file with a hole between are written by one call; page 1 stays a hole. A " +
    "write-back persists what is there, and another one finds nothing to do.",
  from: "DESIGN.md 5.6, invariant 8; filemap_fdatawrite over holes",
  blocks: 3,
  synced: true,
  files: [{ name: "A", pages: "=.=u" }],
  actors: {
    *write(volume, self) {
      yield* writePages(volume, self, "A", 2, 1, "W");
      yield* writePages(volume, self, "A", 0, 1, "W");
      yield* syncsAll(volume, self);
      volume.fail(self, "persist");
      yield* sync(volume, self);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["W.W."]),
  explore: { strategy: "reduced" },
});

export const syncTail = volumeStory({
  name: "dax-sync-tail",
  about:
    "An I/O leaves bytes behind the file's end, in its last page, and they are written back. Then the " +
    "file grows over them, so that they become zeroes, while another thread writes it back.",
  from: "dax/file-io.ts, zeroTail; DESIGN.md 5.6, invariant 8",
  blocks: 3,
  synced: true,
  files: [{ name: "A", pages: "##" }],
  actors: {
    *write(volume, self) {
      yield* truncate(volume, self, "A", PAGE_SIZE + PAGE_SIZE / 2);
      yield* pinnedIo(volume, self, 1, 1);
      yield* sync(volume, self);
      yield* writePages(volume, self, "A", 2, 1, "C");
      yield* syncsAll(volume, self);
    },
    sync: (volume, self) => sync(volume, self),
  },
  finally: (volume) => ensureShown(volume, "A", ["AW.C"]),
  explore: { strategy: "bounded", preemptions: 1 },
});
