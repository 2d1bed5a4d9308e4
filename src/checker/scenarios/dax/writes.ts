/** Write calls: how far a file reaches by them, and what a thread leaves that dies in one. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { changeInTransaction } from "../../../dax/dax.ts";
import { noteTimeChanged } from "../../../dax/write-times.ts";
import { Inode } from "../../../drivers/ram/layout.ts";
import { load } from "../../../sync/atomics.ts";
import { ensure } from "../../scenario.ts";
import { LONG_AGO } from "../../world/build.ts";
import { ensureShown, pinnedIo, truncate, volumeStory, writePages } from "./play.ts";

/** The first page behind 4 GiB. */
const FAR_PAGE = 2 ** 20;
/** A time that is set. */
const SET = { seconds: 99, nanoseconds: 0 };

export const farWrite = volumeStory({
  name: "dax-far-write",
  about:
    "A page is written behind the first 4 GiB of a file, read, and pinned; then the file is cut before " +
    "it. Its size is right each time, in both its words.",
  from: "mapping/mapping.ts: a size has a low and a high word",
  blocks: 2,
  files: [{ name: "A", pages: "=" }],
  actors: {
    *user(volume, self) {
      const file = volume.file("A");
      yield* writePages(volume, self, "A", FAR_PAGE, 1, "V");
      const size = volume.sizeOf(file);
      ensure(size === (FAR_PAGE + 1) * PAGE_SIZE, `the file has ${size} bytes after the write`);
      const read = yield* volume.read(self, file, FAR_PAGE, 2);
      ensure(read === "V", `a read of the page finds "${read}"`);
      yield* pinnedIo(volume, self, FAR_PAGE, 1, []);
      yield* truncate(volume, self, "A", FAR_PAGE * PAGE_SIZE);
      yield* pinnedIo(volume, self, FAR_PAGE - 1, 1, []);
      yield* truncate(volume, self, "A", PAGE_SIZE);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["A"]),
  explore: { strategy: "reduced" },
});

export const writeBesideTimes = volumeStory({
  name: "dax-write-beside-times",
  about:
    "A file is written while another thread sets its time of modification, and writes then. The second write sets the " +
    "time again: what the first one notes does not hide that it was set otherwise.",
  from: "utimensat(2), write(2); dax/write-times.ts",
  blocks: 1,
  files: [{ name: "A", pages: "=" }],
  actors: {
    write: (volume, self) => writePages(volume, self, "A", 0, 1, "V"),
    *times(volume, self) {
      const { ino, mapping } = volume.file("A");
      const dax = volume.dax(self);
      yield* changeInTransaction(self.task, dax, mapping, (transaction) => {
        dax.driver.setAttributes(transaction, ino, { modifyTime: SET, changeTime: SET });
        noteTimeChanged(dax.thread, mapping);
      });
      yield* writePages(volume, self, "A", 0, 1, "W");
      const time = load(volume.words, volume.inodeWord(volume.file("A")) + Inode.modifyTime);
      ensure(
        time !== 99,
        "the file was written, and its modification time is one that was set before",
      );
    },
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const killWriteTime = volumeStory({
  name: "dax-kill-write-time",
  about:
    "A thread dies at any point of a write call. If it has not set the modification time by then, the " +
    "next write sets it: it is not taken for set a moment ago.",
  from: "dax/file-io.ts, finishWrite; DESIGN.md 5.6, invariant 7",
  blocks: 1,
  files: [{ name: "A", pages: "=" }],
  actors: {
    write: (volume, self) => writePages(volume, self, "A", 0, 1, "V"),
    next: (volume, self) => writePages(volume, self, "A", 0, 1, "W"),
  },
  environment: { kill: { kill: "write" } },
  finally(volume) {
    const time = volume.words[volume.inodeWord(volume.file("A")) + Inode.modifyTime];
    ensure(time !== LONG_AGO, "the file was written, and its modification time is as it was");
  },
  explore: { strategy: "bounded", preemptions: 1 },
});
