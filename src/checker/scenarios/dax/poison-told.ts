/** What is told of pages whose bytes are lost: by a report, by a write-back, by what is to be copied. */
import { HoldfastError } from "../../../base/errors.ts";
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { preallocate } from "../../../dax/layout-change.ts";
import { persistStores } from "../../../dax/write-back.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import { LOST_BYTES } from "../../world/device.ts";
import type { Volume } from "../../world/volume.ts";
import { handleReport, loads, mayFail, refused, sync, volumeStory, writePages } from "./play.ts";

/** The storage loses a block, which is listed, and the report handled. Returns who is told to have it. */
function* lose(volume: Volume, self: Self, block: number): Sleeps<string> {
  const report = volume.dax(self).pages.bad.add(block, block);
  volume.hand(self).device.writeBlock(block, LOST_BYTES);
  const told = yield* handleReport(volume, self, report);
  const names = told.map(({ first, last, owner }) => {
    const name = volume.shared.files.find(({ ino }) => ino === owner?.ino)?.name;
    return `${first}-${last} ${owner === null ? "nobody" : `${owner.use} ${name}${owner.index}`}`;
  });
  return names.join(", ");
}

export const poisonUnwritten = volumeStory({
  name: "dax-poison-unwritten",
  about:
    "The storage loses an unwritten block of a file: it is told as that, and with no page, since no byte of the " +
    "file has gone. The file's other page stays in the window that shows it.",
  from: "dax/poison.ts, rule 4; device/failure-events.ts, PageOwner",
  blocks: 2,
  files: [{ name: "A", pages: "#u" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: false, shown: [0] }],
  actors: {
    *one(volume, self) {
      const told = yield* lose(volume, self, 1);
      ensure(told === "1-1 unwritten A0", `what is told is: ${told}`);
      ensure(volume.windowShown(0).startsWith("#"), "a window loses a page that is healthy");
      yield* loads(volume, self, 0, 1, ["."]);
    },
  },
  explore: { strategy: "reduced" },
});

export const poisonCached = volumeStory({
  name: "copied-lost-shown",
  about:
    "The storage loses the block of a page that is cached and that a window shows. The file is told to have lost " +
    "it; the window goes on showing the page, which is not lost.",
  from: "dax/poison.ts, loseInFile; memory_failure of the block beneath a page of the page cache",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "#" }],
  windows: [{ file: "A", first: 0, pages: 1, writable: false, shown: [0] }],
  actors: {
    *one(volume, self) {
      const told = yield* lose(volume, self, 0);
      ensure(told === "0-0 data A0", `what is told is: ${told}`);
      ensure(volume.windowShown(0) === "#", "a window loses a page that is cached");
      yield* loads(volume, self, 0, 0, ["A"]);
    },
  },
  explore: { strategy: "reduced" },
});

/** Gives a page of A a block of its own. */
function* unshare(volume: Volume, self: Self, page: number): Sleeps<void> {
  const { mapping } = volume.file("A");
  const at = page * PAGE_SIZE;
  yield* preallocate(self.task, volume.dax(self), mapping, at, PAGE_SIZE, true, true);
}

export const poisonCopies = volumeStory({
  name: "dax-poison-copies",
  about:
    "A shared block is copied to one that the storage had lost when it was free: that is healthy then. Another one " +
    "is lost itself: its bytes are not even read, since a processor that does so raises an error.",
  from: "dax/poison.ts, HealingDevice.copy; copy_mc_to_kernel",
  blocks: 4,
  files: [
    { name: "A", pages: "==" },
    { name: "B", pages: ".." },
  ],
  clones: [{ source: "A", target: "B", first: 0, count: 2 }],
  actors: {
    *one(volume, self) {
      const told = yield* lose(volume, self, 2);
      ensure(told === "2-2 nobody", `what is told is: ${told}`);
      yield* unshare(volume, self, 0);
      ensure(volume.blockOf(volume.file("A"), 0) === 2, "the copy is elsewhere");
      ensure(!volume.isBad(2), "a block that was copied to is lost still");
      ensure((yield* volume.read(self, volume.file("A"), 0, 1)) === "A", "the copy is not read");
      yield* lose(volume, self, 1);
      volume.fail(self, "copyIn", new HoldfastError("EFAULT", "lost bytes are read"));
      yield* refused(self, "EIO", () => unshare(volume, self, 1), "a copy of lost bytes");
    },
  },
  explore: { strategy: "reduced" },
});

export const poisonCopiedOver = volumeStory({
  name: "dax-poison-copied-over",
  about:
    "A shared block is lost while it is copied to one that the storage had lost when it was free. Where the copy " +
    "is given up that one stays listed, since what was copied to it is not known.",
  from: "dax/poison.ts, HealingDevice.copy; pages/bad-pages.ts, invariant 3",
  blocks: 3,
  files: [
    { name: "A", pages: "=" },
    { name: "C", pages: "=" },
    { name: "B", pages: "." },
  ],
  clones: [{ source: "A", target: "B", first: 0, count: 1 }],
  actors: {
    *unshare(volume, self) {
      volume.dax(self).pages.bad.add(2, 2);
      const failed = yield* mayFail(self, ["EIO"], () => unshare(volume, self, 0));
      ensure(volume.isBad(2) === failed, `the copy is ${failed ? "healthy" : "lost"}`);
    },
    report: (volume, self) => lose(volume, self, 0),
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const poisonSynced = volumeStory({
  name: "dax-poison-synced",
  about:
    "Of three pages the one in the middle is lost, the others are written. A write-back persists both and tells of " +
    "the lost one; the next one does not tell again.",
  from: "dax/write-back.ts, rule 4; errseq_t",
  blocks: 3,
  synced: true,
  files: [{ name: "A", pages: "===" }],
  actors: {
    *one(volume, self) {
      const writes = function* (letter: string): Sleeps<void> {
        yield* writePages(volume, self, "A", 0, 1, letter);
        yield* writePages(volume, self, "A", 2, 1, letter);
      };
      yield* writes("V");
      yield* lose(volume, self, 1);
      let told = "";
      yield* refused(self, "EIO", function* () {
        try {
          yield* sync(volume, self);
        } catch (error) {
          told = (error as Error).message;
          throw error;
        }
      });
      ensure(told.startsWith("EIO: page 1 of inode "), `a write-back of a lost page says: ${told}`);
      volume.ensurePersistent(volume.file("A"), "after a write-back of a lost page");
      yield* writes("W");
      yield* sync(volume, self);
      volume.ensurePersistent(volume.file("A"), "after the next one");
    },
  },
  explore: { strategy: "reduced" },
});

export const poisonPersisted = volumeStory({
  name: "sync-fault-lost",
  about:
    "A page is stored to through a sync window, and the storage loses it. Whoever persists his store is told that " +
    "it is lost.",
  from: "dax/write-back.ts, persistStores; msync(2), EIO",
  blocks: 1,
  files: [{ name: "A", pages: "=" }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true, sync: true }],
  actors: {
    *one(volume, self) {
      yield* volume.store(self, 0, 0, "S");
      yield* lose(volume, self, 0);
      const { mapping } = volume.file("A");
      const persists = () => persistStores(self.task, volume.dax(self), mapping, 0, 0);
      yield* refused(self, "EIO", persists, "a store to a page that is lost");
    },
  },
  explore: { strategy: "reduced" },
});
