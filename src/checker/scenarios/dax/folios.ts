/** Files whose blocks are whole 2 MiB of the device: one entry, faulted, pinned and taken away as one. */
import { HUGE_PAGES } from "../../../base/quantities.ts";
import { forEachEntry } from "../../../mapping/tree.ts";
import { ensure } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";
import { ensureShown, loads, pinnedIo, punch, volumeStory } from "./play.ts";

/** Demands that the pages of file A have these entries, each "first+pages". */
function ensureEntries(volume: Volume, expected: string): void {
  const found: string[] = [];
  const { mapping } = volume.file("A");
  forEachEntry(volume.words, mapping, 0, 2 * HUGE_PAGES, (_entry, index, pages) => {
    found.push(`${index}+${pages}`);
  });
  ensure(found.join(" ") === expected, `there are entries "${found.join(" ")}", not "${expected}"`);
}

const SHOWN = "#".repeat(HUGE_PAGES);

export const folioFaulted = volumeStory({
  name: "dax-folio-faulted",
  about:
    "The first 2 MiB of a file are an aligned 2 MiB of the device. A touch in their middle makes one " +
    "entry of them and shows them all; a window over a part shows that part. When a page is punched the " +
    "entry is gone, and the others are shown page by page.",
  from: "dax_iomap_pmd_fault; DESIGN.md 2, decision 2: faults map whole extents around",
  blocks: HUGE_PAGES + 1,
  files: [{ name: "A", pages: "=".repeat(HUGE_PAGES + 1) }],
  windows: [
    { file: "A", first: 0, pages: HUGE_PAGES + 1, writable: true },
    { file: "A", first: 100, pages: 200, writable: true },
  ],
  actors: {
    *user(volume, self) {
      yield* volume.store(self, 0, 300, "S");
      ensureEntries(volume, `0+${HUGE_PAGES}`);
      ensure(volume.windowShown(0) === `${SHOWN}-`, `window 0 shows ${volume.windowShown(0)}`);
      yield* loads(volume, self, 1, 200, ["A"]);
      ensure(volume.windowShown(1) === SHOWN.slice(0, 200), "window 1 does not show its part");
      yield* punch(volume, self, 7, 1);
      ensureEntries(volume, "");
      yield* loads(volume, self, 1, 299, ["A"]);
      yield* loads(volume, self, 0, 300, ["S"]);
    },
  },
  explore: { strategy: "reduced" },
});

export const folioPinned = volumeStory({
  name: "dax-folio-pinned",
  about:
    "The same 2 MiB and a page more are pinned at once: one entry is made of the 2 MiB, one of the page.",
  from: "dax/fault.ts, populate",
  blocks: HUGE_PAGES + 1,
  files: [{ name: "A", pages: "=".repeat(HUGE_PAGES + 1) }],
  actors: {
    *io(volume, self) {
      yield* pinnedIo(volume, self, 0, HUGE_PAGES + 1);
      ensureEntries(volume, `0+${HUGE_PAGES} ${HUGE_PAGES}+1`);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["W".repeat(HUGE_PAGES + 1)]),
  explore: { strategy: "reduced" },
});

export const folioCut = volumeStory({
  name: "dax-folio-cut",
  about:
    "A file has an aligned 2 MiB of the device but for its first page, which is a hole: its block is " +
    "another file's. What is touched and pinned there gets entries of pages.",
  from: "dax/fault.ts, hugeFits; dax_iomap_pmd_fault falls back where the extent does not cover the PMD",
  blocks: HUGE_PAGES,
  files: [
    { name: "B", pages: "=" },
    { name: "A", pages: `.${"=".repeat(HUGE_PAGES - 1)}` },
  ],
  windows: [{ file: "A", first: 0, pages: HUGE_PAGES, writable: true }],
  actors: {
    *user(volume, self) {
      yield* pinnedIo(volume, self, 5, 1);
      yield* loads(volume, self, 0, 6, ["A"]);
      yield* loads(volume, self, 0, 0, ["."]);
    },
  },
  finally: (volume) => ensureShown(volume, "B", ["B"]),
  explore: { strategy: "reduced" },
});

export const folioBeside = volumeStory({
  name: "dax-folio-beside",
  about:
    "A window shows the second 2 MiB of a file, from its first 2 MiB on, which are pinned then. No " +
    "window shows anything of those: nothing is revoked for them.",
  from: "dax/fault.ts, replaceByPage: only zero pages and lost pages are taken out of windows",
  blocks: 2 * HUGE_PAGES,
  files: [{ name: "A", pages: "=".repeat(2 * HUGE_PAGES) }],
  windows: [{ file: "A", first: 100, pages: HUGE_PAGES, writable: true }],
  actors: {
    *user(volume, self) {
      yield* loads(volume, self, 0, 600, ["A"]);
      yield* pinnedIo(volume, self, 5, 1);
      ensureEntries(volume, `0+${HUGE_PAGES} ${HUGE_PAGES}+${HUGE_PAGES}`);
      const { revocations } = volume.dax(self).windows.statistics();
      ensure(revocations === 0, `${revocations} revocations for a pin of what no window shows`);
      const shown = "-".repeat(HUGE_PAGES - 100) + "#".repeat(100);
      ensure(volume.windowShown(0) === shown, `the window shows ${volume.windowShown(0)}`);
    },
  },
  explore: { strategy: "reduced" },
});
