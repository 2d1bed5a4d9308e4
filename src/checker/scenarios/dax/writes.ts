/** Write calls: how far a file reaches by them, and what a thread leaves that dies in one. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { Inode } from "../../../drivers/ram/layout.ts";
import { ensure } from "../../scenario.ts";
import { LONG_AGO } from "../../world/build.ts";
import { ensureShown, pinnedIo, truncate, volumeStory, writePages } from "./play.ts";

/** The first page behind 4 GiB. */
const FAR_PAGE = 2 ** 20;

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
