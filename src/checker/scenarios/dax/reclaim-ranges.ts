/** Reclaim by ranges, one thread alone: which pages go, which stay, and what is told of them. */
import { HUGE_PAGES, PAGE_SIZE } from "../../../base/quantities.ts";
import { pinRange } from "../../../dax/pins.ts";
import { reclaimPages } from "../../../dax/reclaim.ts";
import type { PageRange } from "../../../layout/break.ts";
import { entryAt, isPageKind, kindOf } from "../../../mapping/tree.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";
import { ensureCached } from "./copied-play.ts";
import { ensureShown, loads, pinnedIo, syncsAll, volumeStory } from "./play.ts";
import { takesTime } from "./sharing-play.ts";

const FROM = "dax/reclaim.ts, reclaimPages; invalidate_mapping_pages: what it counts";

/** Reclaims pages of file A without waiting; demands how many go, and what stays. */
function* reclaims(
  volume: Volume,
  self: Self,
  range: PageRange,
  pages: number,
  kept: readonly PageRange[] = [],
): Sleeps<void> {
  const dax = volume.dax(self);
  const { mapping } = volume.file("A");
  const told = yield* reclaimPages(self.task, dax, mapping, range, false);
  ensure(told.pages === pages, `${told.pages} pages are reclaimed, not ${pages}`);
  const text = (ranges: readonly PageRange[]): string =>
    ranges.map(({ first, last }) => `${first} to ${last}`).join(", ");
  ensure(text(told.kept) === text(kept), `"${text(told.kept)}" is kept, not "${text(kept)}"`);
}

/** Which pages of file A have an entry that names them: "#", or "." for the others. */
function ensurePresent(volume: Volume, expected: string): void {
  const { mapping } = volume.file("A");
  let present = "";
  for (let page = 0; page < expected.length; page++) {
    present += isPageKind(kindOf(entryAt(volume.words, mapping, page))) ? "#" : ".";
  }
  ensure(present === expected, `"${present}" is in memory, not "${expected}"`);
}

export const ranges = volumeStory({
  name: "dax-reclaim-ranges",
  about:
    "Parts of a file are reclaimed: so many pages go as were in memory there, zero pages not counted, and no " +
    "other one; what is pinned is told, and stays until it is not.",
  from: FROM,
  blocks: 4,
  files: [{ name: "A", pages: "###.=" }],
  windows: [{ file: "A", first: 3, pages: 1, writable: true, shown: [3] }],
  actors: {
    *user(volume, self) {
      yield* reclaims(volume, self, { first: 2, last: 1 }, 0);
      yield* reclaims(volume, self, { first: 4, last: 4 }, 0);
      yield* reclaims(volume, self, { first: 1, last: 1 }, 1);
      ensurePresent(volume, "#.#..");
      const file = volume.file("A");
      const pin = yield* pinRange(self.task, volume.dax(self), file.mapping, 0, PAGE_SIZE, true);
      yield* reclaims(volume, self, { first: 0, last: 4 }, 0, [{ first: 0, last: 4 }]);
      ensurePresent(volume, "#.#..");
      volume.io(self, file, pin, "W");
      yield* reclaims(volume, self, { first: 0, last: 4 }, 2);
      ensurePresent(volume, ".....");
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["WAA.A"]),
  explore: { strategy: "reduced" },
});

export const pinnedThenNot = volumeStory({
  name: "dax-reclaim-two-ranges",
  about:
    "A file has pages in two ranges of 2 MiB, one of which is pinned: that one is kept, and the other one goes.",
  from: FROM,
  blocks: 2,
  files: [{ name: "A", pages: `#${".".repeat(HUGE_PAGES - 1)}#` }],
  actors: {
    *user(volume, self) {
      const file = volume.file("A");
      const all = { first: 0, last: HUGE_PAGES };
      const pin = yield* pinRange(self.task, volume.dax(self), file.mapping, 0, PAGE_SIZE, true);
      yield* reclaims(volume, self, all, 1, [{ first: 0, last: HUGE_PAGES - 1 }]);
      volume.io(self, file, pin, "W");
      yield* reclaims(volume, self, all, 1);
    },
  },
  explore: { strategy: "reduced" },
});

export const populatedKept = volumeStory({
  name: "dax-reclaim-populated",
  about:
    "Where windows cannot fault, what a window is over stays in memory and is told; what lies before it, or " +
    "behind it, goes.",
  from: FROM,
  blocks: 4,
  files: [{ name: "A", pages: "####" }],
  windows: [{ file: "A", first: 1, pages: 2, writable: true }],
  faults: false,
  actors: {
    *user(volume, self) {
      yield* reclaims(volume, self, { first: 0, last: 0 }, 1);
      yield* reclaims(volume, self, { first: 3, last: 3 }, 1);
      yield* reclaims(volume, self, { first: 1, last: 1 }, 0, [{ first: 1, last: 1 }]);
      yield* reclaims(volume, self, { first: 2, last: 3 }, 0, [{ first: 2, last: 3 }]);
      ensurePresent(volume, ".##.");
      yield* loads(volume, self, 0, 1, ["A"]);
    },
  },
  explore: { strategy: "reduced" },
});

export const copiedReclaimed = volumeStory({
  name: "dax-reclaim-copied",
  about: "Of a copied file, what was stored to a page is copied home before the page is reclaimed.",
  from: "dax/reclaim.ts; dax/copied.ts, rule 1",
  blocks: 2,
  cachePages: 2,
  files: [{ name: "A", pages: "#=" }],
  actors: {
    *user(volume, self) {
      yield* pinnedIo(volume, self, 0, 2);
      yield* reclaims(volume, self, { first: 0, last: 1 }, 2);
      ensureCached(volume, "A", "..");
      yield* syncsAll(volume, self);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["WW"]),
  explore: { strategy: "reduced" },
});

export const longIo = volumeStory({
  name: "dax-reclaim-long-io",
  about: "A reclaim waits for a pin whose I/O takes its time, and lets others go on meanwhile.",
  from: "layout/break.ts, waitForPage; a loop around invalidate_inode_pages2",
  blocks: 1,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *io(volume, self) {
      const file = volume.file("A");
      const pin = yield* pinRange(self.task, volume.dax(self), file.mapping, 0, PAGE_SIZE, true);
      yield* takesTime(volume, 20);
      volume.io(self, file, pin, "W");
    },
    *reclaim(volume, self) {
      const { mapping } = volume.file("A");
      yield* reclaimPages(self.task, volume.dax(self), mapping, { first: 0, last: 0 }, true);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["W"]),
  explore: { strategy: "bounded", preemptions: 1 },
});
