/** Lost pages in part: which files have them, what is read and written around them, and no room to list them. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { readFile, tryReadFile, tryWriteFile, writeFile } from "../../../dax/file-io.ts";
import { punchHole } from "../../../dax/layout-change.ts";
import { findOwners, searchFor } from "../../../dax/owners.ts";
import { pinRange, tryPinRange } from "../../../dax/pins.ts";
import { badRanges, type BadRange, type HoldMapping } from "../../../dax/poison.ts";
import { Area, type PoisonReport, Range } from "../../../pages/bad-pages.ts";
import { load } from "../../../sync/atomics.ts";
import { Root } from "../../../sync/region.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import { contentShown, LOST_BYTES } from "../../world/device.ts";
import type { Volume } from "../../world/volume.ts";
import { handleReport, punch, refused, truncate, volumeStory, writePages } from "./play.ts";

const PAGE = PAGE_SIZE;
const HALF = PAGE / 2;

/** The storage loses blocks, and that is listed. */
function lose(volume: Volume, self: Self, first: number, last: number): void {
  for (let block = first; block <= last; block++) {
    volume.hand(self).device.writeBlock(block, LOST_BYTES);
  }
  volume.dax(self).pages.bad.add(first, last);
}

function shown(volume: Volume, ranges: readonly BadRange[]): string {
  const told = ranges.map(({ first, last, owner }) => {
    const file = volume.shared.files.find(({ ino }) => ino === owner?.ino);
    return `${first}-${last}:${owner === null ? "nobody" : `${file?.name}${owner.index}`}`;
  });
  return told.join(" ");
}

export const poisonOwners = volumeStory({
  name: "dax-poison-owners",
  about:
    "One report is of pages of several files, and of nobody's: each run is told with the file that has it, and " +
    "pages that are healthy are not.",
  from: "dax/poison.ts: by owner",
  blocks: 8,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: ".#" },
    { name: "C", pages: "#.#" },
    { name: "D", pages: "##" },
  ],
  explore: { strategy: "reduced" },
  actors: {
    *one(volume, self) {
      const dax = volume.dax(self);
      const { bad } = dax.pages;
      const told = function* (report: PoisonReport, hold?: HoldMapping): Sleeps<string> {
        return shown(volume, yield* handleReport(volume, self, report, hold));
      };
      const all = "0-0:A0 1-1:B1 2-2:C0 3-3:C2 4-5:D0 6-7:nobody";
      const report = bad.add(0, 7);
      const handled = yield* told(report);
      ensure(handled === all, `${handled} are told`);
      const listed = shown(volume, badRanges(dax));
      ensure(listed === all, `${listed} are listed`);
      const { region, words } = self.thread;
      const handler = load(words, region.root(Root.failure) + Area.table + Range.handler);
      ensure(handler === 0, "a report that is handled is not noted so");
      const unheld = yield* told(report, () => null);
      ensure(unheld === all, `${unheld} are told, and no file is in memory`);
      bad.clear(0, 7, bad.lastReport);
      const part = yield* told(bad.add(4, 4));
      ensure(part === "4-4:D0", `${part} is told, of one page that is lost`);
      ensure(shown(volume, badRanges(dax)) === "4-4:D0", "more is listed than one page");
      yield* truncate(volume, self);
      const freed = yield* told(bad.add(0, 1));
      ensure(freed === "0-0:nobody 1-1:B1", `${freed} are told`);
      const left = shown(volume, badRanges(dax));
      ensure(left === `${freed} 4-4:D0`, `${left} are listed`);
    },
  },
});

/** Who has the blocks of the device, as the search comes to them, and whether the first page is lost. */
function* ownersFound(volume: Volume, self: Self): Sleeps<string> {
  const dax = volume.dax(self);
  const search = searchFor(dax, 0, volume.shared.spec.blocks * PAGE);
  const owners = yield* findOwners(self.task, dax, search);
  const names = owners.map(
    (owner) => volume.shared.files.find(({ ino }) => ino === owner.ino)?.name,
  );
  return `${names.join("")}${search.isLost(0, PAGE) ? " !" : ""}`;
}

export const ownersByParts = volumeStory({
  name: "dax-owners-by-parts",
  about:
    "The owners of two blocks are searched for, a part of the volume after the other: both are found.",
  from: "dax/owners.ts; xfs_rmap_query_range, where there is one",
  blocks: 2,
  files: [
    { name: "A", pages: "=" },
    { name: "B", pages: "=" },
  ],
  shares: false,
  ownersAtOnce: 1,
  explore: { strategy: "reduced" },
  actors: {
    *one(volume, self) {
      const found = yield* ownersFound(volume, self);
      ensure(found === "AB", `"${found}" are found`);
      lose(volume, self, 0, 0);
      const lost = yield* ownersFound(volume, self);
      ensure(lost === "AB !", `"${lost}" are found, and a page is lost`);
    },
  },
});

export const ownersShared = volumeStory({
  name: "dax-owners-shared",
  about: "A block has two owners, in two parts of the volume: both are found.",
  from: "dax/owners.ts, where blocks may have several owners",
  blocks: 2,
  files: [
    { name: "A", pages: "==" },
    { name: "B", pages: "..." },
  ],
  clones: [{ source: "A", target: "B", first: 0, count: 2 }],
  ownersAtOnce: 1,
  explore: { strategy: "reduced" },
  actors: {
    *one(volume, self) {
      const found = yield* ownersFound(volume, self);
      ensure(found === "AB", `"${found}" are found`);
    },
  },
});

export const poisonParts = volumeStory({
  name: "dax-poison-parts",
  about:
    "Lost pages are written in part: what would leave some of their bytes lost is refused or stops before, " +
    "whole pages are healthy again, and so is the last one to the file's end. A read stops before a lost page.",
  from: "pmem_recovery_write: page alignment; dax/poison.ts, overwriteBad",
  blocks: 4,
  files: [{ name: "A", pages: "####" }],
  explore: { strategy: "reduced" },
  actors: {
    *one(volume, self) {
      const dax = volume.dax(self);
      const { bad } = dax.pages;
      const { mapping } = volume.file("A");
      const write = (from: number, to: number): Sleeps<number> => {
        const bytes = new Uint8Array((to - from) * PAGE).fill("W".charCodeAt(0));
        return writeFile(self.task, dax, mapping, bytes, from * PAGE);
      };
      const ensureHolds = (blocks: string, lost: string): void => {
        const held = [0, 1, 2, 3].map((block) => contentShown(volume.content(block))).join(" ");
        const list = bad.list().map(({ first, last }) => `${first}-${last}`);
        ensure(held === blocks, `the blocks hold ${held}, and not ${blocks}`);
        ensure(list.join(" ") === lost, `pages ${list.join(" ")} are listed, and not ${lost}`);
      };
      yield* truncate(volume, self, "A", 3 * PAGE + HALF);
      lose(volume, self, 0, 3);
      yield* refused(self, "EIO", () => write(1, 1.5), "a write of a part");
      yield* refused(self, "EIO", () => write(1.5, 3), "a write from a part on");
      ensureHolds("! ! ! !", "0-3");
      ensure((yield* write(0, 1.5)) === PAGE, "half of a lost page is written");
      ensureHolds("W ! ! !", "1-3");
      ensure((yield* write(3, 3.5)) === HALF, "a file's end is not written");
      ensure((yield* write(0, 1.5)) === PAGE, "half of a lost page is written");
      ensureHolds("W ! ! W.", "1-2");
      const page = new Uint8Array(PAGE);
      ensure(tryWriteFile(dax, mapping, page, PAGE) < 0, "a lost page is written without a look");
      ensureHolds("W ! ! W.", "1-2");
      const target = new Uint8Array(2 * PAGE).fill(1);
      const read = yield* readFile(self.task, dax, mapping, target, 0);
      ensure(read === PAGE && target[0] === "W".charCodeAt(0), "a healthy page is not read");
      ensure(target[PAGE] === 1, "a lost page is read");
      ensure(tryReadFile(dax, mapping, target, 0) < 0, "a part is read for the whole");
      for (const from of [PAGE, 0]) yield* punchHole(self.task, dax, mapping, from, HALF);
      ensureHolds(".W ! ! W.", "1-2");
      yield* punch(volume, self, 2, 1);
      ensure((yield* write(2, 2.5)) === HALF, "a new block is lost already");
      ensureHolds(".W ! W. W.", "1-1");
      yield* writePages(volume, self, "A", 1, 1, "V");
      ensureHolds(".W V W. W.", "");
      yield* truncate(volume, self, "A", 3 * PAGE);
      lose(volume, self, 2, 2);
      ensure((yield* write(2, 3)) === PAGE, "a file's last page is not written");
      ensureHolds(".W V W W.", "");
    },
  },
});

export const poisonNoRoom = volumeStory({
  name: "dax-poison-no-room",
  about:
    "A page in the middle of lost ones is overwritten, and there is no room in the list for the halves: the write " +
    "is refused, since the page stays lost.",
  from: "pages/bad-pages.ts, clear; dax/poison.ts, overwriteBad",
  blocks: 3,
  files: [{ name: "A", pages: "###" }],
  explore: { strategy: "reduced" },
  actors: {
    *one(volume, self) {
      const { bad } = volume.dax(self).pages;
      lose(volume, self, 0, 2);
      for (let at = 1; at < 120; at++) bad.add(at * 16, at * 16 + 6);
      for (let at = 1; at < 120; at++) bad.clear(at * 16 + 3, at * 16 + 3, bad.lastReport);
      bad.clear(17, 17, bad.lastReport);
      const write = () => writePages(volume, self, "A", 1, 1, "W");
      yield* refused(self, "EIO", write, "a write of a page that stays lost");
      ensure(volume.isBad(1), "a page is healthy, and the list has no room for its neighbours");
    },
  },
});

export const poisonPinParts = volumeStory({
  name: "dax-poison-pin-parts",
  about:
    "Pages of a pin are lost, and one behind it. The pin says which of its bytes those are; a pin of healthy pages " +
    "is not refused for them.",
  from: "dax/pins.ts, poisonedRanges",
  blocks: 5,
  files: [{ name: "A", pages: "###==" }],
  explore: { strategy: "reduced" },
  actors: {
    *one(volume, self) {
      const dax = volume.dax(self);
      const { mapping } = volume.file("A");
      const pin = yield* pinRange(self.task, dax, mapping, HALF, 2 * PAGE, true);
      lose(volume, self, 0, 0);
      lose(volume, self, 2, 3);
      const lost = pin.poisonedRanges.map(({ offset, length }) => `${offset}+${length}`);
      const expected = `${HALF}+${HALF} ${2 * PAGE}+${HALF}`;
      ensure(lost.join(" ") === expected, `bytes ${lost.join(" ")} are lost, and not ${expected}`);
      pin.release();
      yield* refused(self, "EBADF", function* () {
        ensure(pin.poisonedRanges.length === 0, "a pin that is released tells of bytes");
      });
      (yield* pinRange(self.task, dax, mapping, 4 * PAGE, PAGE, true)).release();
      const second = tryPinRange(dax, mapping, PAGE, PAGE, true);
      ensure(second !== null, "a healthy page is not pinned");
      second.release();
    },
  },
});
