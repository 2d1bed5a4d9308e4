/** Ranges that are zeroed, punched or preallocated over blocks that other files own, too: what is copied, and when. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { preallocate, punchHole, zeroRange } from "../../../dax/layout-change.ts";
import { cloneRange } from "../../../dax/reflink.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";
import { ensureShown, loads, refused, truncate, volumeStory } from "./play.ts";

const PAGE = PAGE_SIZE;
const HALF = PAGE / 2;

export const punchFull = volumeStory({
  name: "cow-punch-full",
  about:
    "A hole is punched from the middle of one shared page to the middle of another one, and there is room for a " +
    "copy of one of them only. The punch is refused, and no byte of either has gone.",
  from: "DESIGN.md 5.6, invariant 7; fallocate(2), FALLOC_FL_PUNCH_HOLE over shared blocks",
  blocks: 4,
  files: [
    { name: "A", pages: "===" },
    { name: "B", pages: "..." },
  ],
  clones: [{ source: "A", target: "B", first: 0, count: 3 }],
  actors: {
    *user(volume, self) {
      const { mapping } = volume.file("A");
      const punch = () => punchHole(self.task, volume.dax(self), mapping, HALF, 2 * PAGE);
      yield* refused(self, "ENOSPC", punch, "a punch with room for one copy of two");
    },
  },
  finally(volume) {
    ensureShown(volume, "A", ["AAA"]);
    ensureShown(volume, "B", ["AAA"]);
  },
  explore: { strategy: "reduced" },
});

/** Makes B of a page and a half, and A a clone of all of it, which a window over it has loaded. */
function* sharesTail(volume: Volume, self: Self): Sleeps<void> {
  const [a, b] = [volume.file("A").mapping, volume.file("B").mapping];
  yield* truncate(volume, self, "A", 0);
  yield* truncate(volume, self, "B", PAGE + HALF);
  const whole = { sourceOffset: 0, offset: 0, length: null };
  yield* cloneRange(self.task, volume.dax(self), b, a, whole);
}

function isShared(volume: Volume, page: number): boolean {
  return volume.blockOf(volume.file("A"), page) === volume.blockOf(volume.file("B"), page);
}

export const zeroTail = volumeStory({
  name: "cow-zero-tail",
  about:
    "A file of a page and a half, which a window shows, shares both blocks. Ranges of it are zeroed: before its " +
    "end, across it and beyond it, with its size and without. What has to be copied for that is taken out of the " +
    "window first; its last block is copied where the file grows over it, and not otherwise.",
  from: "dax/layout-change.ts, zeroRange; fallocate(2), FALLOC_FL_ZERO_RANGE over shared blocks",
  blocks: 12,
  files: [
    { name: "A", pages: "" },
    { name: "B", pages: "==" },
  ],
  windows: [{ file: "A", first: 0, pages: 4, writable: false }],
  actors: {
    *user(volume, self) {
      const dax = volume.dax(self);
      const { mapping } = volume.file("A");
      const ranges = [
        { from: 0, end: 1, keepSize: true, shows: [".", "B."], tail: true },
        { from: 2, end: 3, keepSize: true, shows: ["B", "B."], tail: true },
        { from: 0, end: 3, keepSize: false, shows: [".", ".", "."], tail: false },
        { from: 3, end: 4, keepSize: false, shows: ["B", "B.", ".", "."], tail: false },
      ];
      for (const { from, end, keepSize, shows, tail } of ranges) {
        yield* sharesTail(volume, self);
        yield* loads(volume, self, 0, 0, ["B"]);
        yield* loads(volume, self, 0, 1, ["B."]);
        yield* zeroRange(self.task, dax, mapping, from * PAGE, (end - from) * PAGE, keepSize);
        ensure(isShared(volume, 1) === tail, `the last block is ${tail ? "" : "not "}copied`);
        for (const [page, held] of shows.entries()) yield* loads(volume, self, 0, page, [held]);
      }
    },
  },
  finally: (volume) => ensureShown(volume, "B", ["BB."]),
  explore: { strategy: "reduced" },
});

export const preallocateFull = volumeStory({
  name: "cow-preallocate-full",
  about:
    "A file of a page and a half shares both blocks, and there is room for no other one. What has blocks is " +
    "preallocated, in the file and up to the end of its last block: that takes none, and nothing is copied.",
  from: "dax/layout-change.ts, preallocate; fallocate(2): without FALLOC_FL_UNSHARE_RANGE blocks stay shared",
  blocks: 2,
  files: [
    { name: "A", pages: "" },
    { name: "B", pages: "==" },
  ],
  actors: {
    *user(volume, self) {
      const { mapping } = volume.file("A");
      yield* sharesTail(volume, self);
      for (const [length, keepSize] of [
        [PAGE, true],
        [PAGE, false],
        [2 * PAGE, true],
      ] as const) {
        yield* preallocate(self.task, volume.dax(self), mapping, 0, length, keepSize);
        ensure(isShared(volume, 0) && isShared(volume, 1), "a block is copied for nothing");
      }
      const grow = () => preallocate(self.task, volume.dax(self), mapping, 0, 2 * PAGE, false);
      yield* refused(self, "ENOSPC", grow, "a preallocation beyond the end of a shared block");
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["BB."]),
  explore: { strategy: "reduced" },
});
