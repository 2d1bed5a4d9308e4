/** Reads and writes that never wait: where they are enough, and where they must leave it to the others. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { findExtent } from "../../../dax/dax.ts";
import { tryReadFile, tryWriteFile, writeFile } from "../../../dax/file-io.ts";
import { takeWritten } from "../../../mapping/mapping.ts";
import { ensure } from "../../scenario.ts";
import { contentOf } from "../../world/device.ts";
import { removeDevice } from "../../world/removal.ts";
import { ModelledFile } from "./model.ts";
import { ensureShown, loads, refused, volumeStory, writePages } from "./play.ts";
import { AB, A_IN_B } from "./sharing-play.ts";

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

export const tryWriteCopied = volumeStory({
  name: "dax-try-write-copied",
  about:
    "A page of a copied file is cached: a write that does not wait is left to the one that looks there.",
  from: "dax/copied.ts, rule 2",
  blocks: 2,
  cachePages: 1,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *user(volume, self) {
      const file = new ModelledFile(volume, self);
      const { mapping } = volume.file("A");
      yield* findExtent(self.task, volume.dax(self), mapping, 0);
      file.timeIsSet();
      yield* file.tryWrite(0, "B", false);
    },
  },
  explore: { strategy: "reduced" },
});

export const tryUnwritten = volumeStory({
  name: "dax-try-unwritten",
  about:
    "An unwritten block that another file had before is read by a call that does not wait, which leaves it " +
    "to the one that may: what the block holds is not shown.",
  from: "dax/file-io.ts, tryReadFile; DESIGN.md 5.6, invariant 1",
  blocks: 2,
  files: [{ name: "A", pages: "u" }],
  actors: {
    *user(volume, self) {
      const { device, dax } = volume.hand(self);
      const file = volume.file("A");
      device.writeBlock(volume.blockOf(file, 0), contentOf("X"));
      yield* findExtent(self.task, dax, file.mapping, 0);
      const target = new Uint8Array(PAGE_SIZE);
      const length = tryReadFile(dax, file.mapping, target, 0);
      ensure(length < 0 && target[0] === 0, "a read shows what an unwritten block holds");
    },
  },
  explore: { strategy: "reduced" },
});

export const tryShared = volumeStory({
  name: "dax-try-shared",
  about:
    "A block that two files share is read by a call that does not wait. A write that does not wait is " +
    "left to the one that copies it.",
  from: "dax/file-io.ts, tryWriteFile; DESIGN.md 5.6, invariant 2",
  blocks: 2,
  files: AB,
  clones: [A_IN_B],
  actors: {
    *user(volume, self) {
      const dax = volume.dax(self);
      const { mapping } = volume.file("A");
      yield* findExtent(self.task, dax, mapping, 0);
      new ModelledFile(volume, self).timeIsSet();
      const target = new Uint8Array(PAGE_SIZE);
      ensure(tryReadFile(dax, mapping, target, 0) === PAGE_SIZE, "a read would have to wait");
      const written = tryWriteFile(dax, mapping, LETTERS.subarray(0, PAGE_SIZE), 0);
      ensure(written < 0, "a shared block is written in place");
    },
  },
  finally: (volume) => ensureShown(volume, "B", ["A"]),
  explore: { strategy: "reduced" },
});

export const trySharedRead = volumeStory({
  name: "dax-try-shared-read",
  about:
    "A shared block of A is read by a call that does not wait, while a touch gives A a copy of it and B is " +
    "written in the old block: the call finds what A holds, or is left to the one that reads again.",
  from: "dax/unshare.ts, rule 2; dax/file-io.ts, isStale",
  blocks: 2,
  files: AB,
  clones: [A_IN_B],
  windows: [{ file: "A", first: 0, pages: 1, writable: true }],
  actors: {
    *read(volume, self) {
      const dax = volume.dax(self);
      const { mapping } = volume.file("A");
      yield* findExtent(self.task, dax, mapping, 0);
      const target = new Uint8Array(PAGE_SIZE);
      const length = tryReadFile(dax, mapping, target, 0);
      ensure(length < 0 || target[0] === "A".charCodeAt(0), "a read of A finds what B holds");
    },
    load: [
      (volume, self) => loads(volume, self, 0, 0, ["A"]),
      (volume, self) => writePages(volume, self, "B", 0, 1, "B"),
    ],
  },
  finally: (volume) => ensureShown(volume, "A", ["A"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const tryGone = volumeStory({
  name: "dax-try-gone",
  about:
    "A page is read and written by calls that do not wait, and could until the device was removed: both are " +
    "left to those that say so.",
  from: "dax/device-removal.ts, rule 2",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *user(volume, self) {
      const dax = volume.dax(self);
      const { mapping } = volume.file("A");
      yield* findExtent(self.task, dax, mapping, 0);
      new ModelledFile(volume, self).timeIsSet();
      const page = new Uint8Array(PAGE_SIZE);
      ensure(tryReadFile(dax, mapping, page, 0) === PAGE_SIZE, "a read would have to wait");
      yield* removeDevice(volume, self);
      ensure(tryReadFile(dax, mapping, page, 0) < 0, "a removed device is read");
      ensure(tryWriteFile(dax, mapping, page, 0) < 0, "a removed device is written");
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

export const writeGone = volumeStory({
  name: "dax-write-gone",
  about:
    "A page is written in place, where that changes neither size nor time and no lease is to be looked at, when " +
    "the device is removed: the write is refused like any other.",
  from: "dax/device-removal.ts, rule 2; DESIGN.md 5.6, invariant 7",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  shares: false,
  actors: {
    *user(volume, self) {
      yield* findExtent(self.task, volume.dax(self), volume.file("A").mapping, 0);
      new ModelledFile(volume, self).timeIsSet();
      yield* removeDevice(volume, self);
      yield* refused(self, "EIO", () => writePages(volume, self, "A", 0, 1, "W"), "a write");
    },
  },
  explore: { strategy: "reduced" },
});
