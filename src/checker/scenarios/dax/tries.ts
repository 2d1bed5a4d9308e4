/** Reads and writes that never wait: where they are enough, and where they must leave it to the others. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { tryReadFile, tryWriteFile, writeFile } from "../../../dax/file-io.ts";
import { takeWritten } from "../../../mapping/mapping.ts";
import { ensure } from "../../scenario.ts";
import { contentOf } from "../../world/device.ts";
import { ModelledFile } from "./model.ts";
import { ensureShown, volumeStory, writePages } from "./play.ts";

export const tryWrite = volumeStory({
  name: "dax-try-write",
  about:
    "Writes that do not wait: done where one known extent has the range and neither size nor time " +
    "changes, as after a write that has set it; else nothing has happened.",
  from: "dax/file-io.ts, tryWriteFile",
  blocks: 8,
  files: [{ name: "A", pages: "##.u#" }],
  actors: {
    *user(volume, self) {
      const file = new ModelledFile(volume, self);
      // No extent is known yet.
      file.timeIsSet();
      yield* file.tryWrite(0, "B", false);
      yield* file.truncate(9);
      yield* file.tryWrite(1, "DDD", true);
      yield* file.tryWrite(2, "EEE", false);
      yield* file.tryWrite(4, "E", false);
      yield* file.tryWrite(6, "E", false);
      yield* file.tryWrite(8, "E", true);
      yield* file.tryWrite(8, "FF", false);
      yield* file.tryWrite(1, "", false);
      file.letTimePass();
      yield* file.tryWrite(1, "G", false);
      yield* file.write(1, "G");
      yield* file.tryWrite(1, "H", true);
    },
  },
  explore: { strategy: "reduced" },
});

export const tryWriteShown = volumeStory({
  name: "dax-try-write-shown",
  about:
    "A file with a window over it: a write that does not wait is left to the one that looks at the " +
    "windows.",
  from: "dax/file-io.ts, tryWriteFile",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  windows: [{ file: "A", first: 0, pages: 1, writable: false, shown: [0] }],
  actors: {
    *user(volume, self) {
      const file = new ModelledFile(volume, self);
      yield* file.write(0, "B");
      yield* file.check();
      yield* file.tryWrite(1, "C", false);
    },
  },
  explore: { strategy: "reduced" },
});

const LETTERS = new Uint8Array(2 * PAGE_SIZE).fill("W".charCodeAt(0));

export const tryReadWrite = volumeStory({
  name: "dax-try-read-write",
  about:
    "Two pages are written by a call that may not wait, or by one that may, and read by a call that " +
    "may not: the reader finds both as they were, both written, or that it would have to wait.",
  from: "write(2): a read sees all of a write or nothing; dax_iomap_rw under the inode lock",
  blocks: 2,
  files: [{ name: "A", pages: "##" }],
  actors: {
    *write(volume, self) {
      const dax = volume.dax(self);
      const { mapping } = volume.file("A");
      // So that its extent is known and its time is set.
      yield* writePages(volume, self, "A", 0, 2, "V");
      yield* volume.read(self, volume.file("A"), 0, 2);
      const written = tryWriteFile(dax, mapping, LETTERS, 0);
      if (written < 0) yield* writeFile(self.task, dax, mapping, LETTERS, 0);
    },
    *read(volume, self) {
      const dax = volume.dax(self);
      const { mapping } = volume.file("A");
      yield* volume.read(self, volume.file("A"), 0, 2);
      const target = new Uint8Array(2 * PAGE_SIZE);
      const length = tryReadFile(dax, mapping, target, 0);
      const both = String.fromCharCode(target[0]!, target[PAGE_SIZE]!);
      ensure(length < 0 || ["AA", "VV", "WW"].includes(both), `a read finds "${both}"`);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["WW"]),
  explore: { strategy: "bounded", preemptions: 2 },
});

export const writtenNoted = volumeStory({
  name: "dax-written-noted",
  about:
    "A page is written by a call that may not wait, while write-back takes what is noted as written. " +
    "What it takes has been written: it would not look at the page again.",
  from: "DESIGN.md 5.6, invariant 8; dax/write-back.ts",
  blocks: 1,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *write(volume, self) {
      const dax = volume.dax(self);
      const { mapping } = volume.file("A");
      new ModelledFile(volume, self).timeIsSet();
      yield* volume.read(self, volume.file("A"), 0, 1);
      const source = LETTERS.subarray(0, PAGE_SIZE);
      const written = tryWriteFile(dax, mapping, source, 0);
      ensure(written === source.length, "the write would have to wait");
    },
    writeBack(volume, self) {
      const { mapping } = volume.file("A");
      const noted = takeWritten(self.thread, mapping);
      const found = volume.hand(self).device.readBlock(volume.blockOf(volume.file("A"), 0));
      ensure(noted === null || found === contentOf("W"), "what is noted is not written yet");
    },
  },
  explore: { strategy: "reduced" },
});
