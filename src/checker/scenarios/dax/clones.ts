/** Clones and dedupes by one thread: what they do, and what is refused. */
import { DEVICE_BYTES_MAX, PAGE_SIZE } from "../../../base/quantities.ts";
import { preallocate, punchHole } from "../../../dax/layout-change.ts";
import { pinRange } from "../../../dax/pins.ts";
import { cloneRange, dedupeRange, type RangePair } from "../../../dax/reflink.ts";
import { Inode } from "../../../drivers/ram/layout.ts";
import { beginTransaction } from "../../../metadata/transaction.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import { LONG_AGO } from "../../world/build.ts";
import type { Volume } from "../../world/volume.ts";
import {
  ensureShown,
  loads,
  pinnedIo,
  refused,
  syncsAll,
  truncate,
  volumeStory,
  writePages,
} from "./play.ts";
import { readsFile } from "./sharing-play.ts";

const HALF = PAGE_SIZE / 2;

type Pages = readonly [sourceOffset: number, offset: number, length: number | null];

/** In pages. */
function pairOf([sourceOffset, offset, length]: Pages): RangePair {
  return {
    sourceOffset: sourceOffset * PAGE_SIZE,
    offset: offset * PAGE_SIZE,
    length: length === null ? null : length * PAGE_SIZE,
  };
}

function* clones(
  volume: Volume,
  self: Self,
  source: string,
  target: string,
  pages: Pages,
): Sleeps<number> {
  const [from, to] = [volume.file(source).mapping, volume.file(target).mapping];
  return yield* cloneRange(self.task, volume.dax(self), from, to, pairOf(pages));
}

/** Returns whether the ranges hold the same. */
function* dedupes(
  volume: Volume,
  self: Self,
  source: string,
  target: string,
  pages: Pages,
): Sleeps<boolean> {
  const [from, to] = [volume.file(source).mapping, volume.file(target).mapping];
  return yield* dedupeRange(self.task, volume.dax(self), from, to, pairOf(pages));
}

/** How many blocks are shared. */
function sharedBlocks(volume: Volume, self: Self): number {
  return volume.dax(self).driver.sharing!.sharedBlocks();
}

const FILES = [
  { name: "A", pages: "==" },
  { name: "B", pages: "==" },
] as const;

export const cloneRefused = volumeStory({
  name: "clone-refused",
  about:
    "Ranges that are no whole blocks, overlap, or end where a file does not are not cloned: nothing changes. " +
    "Those that just fit are.",
  from: "ioctl_ficlonerange(2), ioctl_fideduperange(2)",
  blocks: 8,
  files: FILES,
  actors: {
    *user(volume, self) {
      const half = HALF / PAGE_SIZE;
      const end = DEVICE_BYTES_MAX / PAGE_SIZE;
      for (const pages of [
        [half, 0, 1],
        [0, half, 1],
        [0, 0, half],
        [0, 2, half],
        [0, 0, 3],
        [1, 2, 2],
        [3, 0, 1],
      ] as const) {
        const clone = () => clones(volume, self, "A", "B", pages);
        yield* refused(self, "EINVAL", clone, `a clone of ${pages}`);
      }
      const beyond = () => clones(volume, self, "A", "B", [0, end, 1]);
      yield* refused(self, "EFBIG", beyond, "a clone beyond where files end");
      const overlapping = () => clones(volume, self, "A", "A", [0, 1, 2]);
      yield* refused(self, "EINVAL", overlapping, "a clone of a range over itself");
      const longer = () => dedupes(volume, self, "A", "B", [0, 1, 2]);
      yield* refused(self, "EINVAL", longer, "a dedupe beyond the target's end");
      yield* truncate(volume, self, "A", PAGE_SIZE + HALF);
      const inside = () => clones(volume, self, "A", "B", [0, 0, null]);
      yield* refused(self, "EINVAL", inside, "a part of a block inside the target");
      ensure(volume.fileShown(volume.file("B"), 2) === "BB", "what is refused has changed a file");
      ensure(sharedBlocks(volume, self) === 0, "what is refused shares blocks");
      yield* clones(volume, self, "A", "B", [0, 1, null]);
      ensure(volume.sizeOf(volume.file("B")) === 2 * PAGE_SIZE + HALF, "a clone ends elsewhere");
      ensure(volume.fileShown(volume.file("B"), 3) === "BAA.", "a clone holds something else");
      yield* clones(volume, self, "B", "B", [0, 1, 1]);
      ensure(
        volume.fileShown(volume.file("B"), 3) === "BBA.",
        "a page is not cloned beside itself",
      );
    },
  },
  explore: { strategy: "reduced" },
});

export const cloneOfThree = volumeStory({
  name: "clone-of-three",
  about:
    "A file is cloned twice. Its blocks count as shared once each, however many files have them, until one " +
    "has them for its own.",
  from: "drivers/ram/extents.ts, addSharer; statfs",
  blocks: 8,
  files: [...FILES, { name: "C", pages: "==" }],
  actors: {
    *user(volume, self) {
      const ensureCounted = (expected: number): void => {
        const counted = sharedBlocks(volume, self);
        ensure(counted === expected, `${counted} blocks count as shared, not ${expected}`);
      };
      yield* clones(volume, self, "A", "B", [0, 0, 2]);
      ensureCounted(2);
      yield* clones(volume, self, "A", "C", [0, 0, 2]);
      ensureCounted(2);
      yield* truncate(volume, self, "B", PAGE_SIZE);
      ensureCounted(2);
      yield* truncate(volume, self, "A", 0);
      ensureCounted(1);
    },
  },
  explore: { strategy: "reduced" },
});

export const cloneReadOnly = volumeStory({
  name: "clone-read-only",
  about: "On a volume that is read only nothing is cloned, and no pin is waited for.",
  from: "ioctl_ficlonerange(2): EROFS",
  blocks: 4,
  files: FILES,
  readOnly: true,
  actors: {
    *user(volume, self) {
      const { mapping } = volume.file("A");
      const pin = yield* pinRange(self.task, volume.dax(self), mapping, 0, PAGE_SIZE, false);
      const clone = () => clones(volume, self, "A", "B", [0, 0, 1]);
      yield* refused(self, "EROFS", clone, "a clone on a volume that is read only");
      pin.release();
    },
  },
  explore: { strategy: "reduced" },
});

export const cloneUnknown = volumeStory({
  name: "clone-unknown",
  about:
    "Where the format cannot share blocks nothing is cloned or deduped, however that would end, and no pin is " +
    "waited for.",
  from: "ioctl_ficlonerange(2): EOPNOTSUPP",
  blocks: 4,
  files: FILES,
  shares: false,
  actors: {
    *user(volume, self) {
      const clone = () => clones(volume, self, "A", "B", [0, 0, 1]);
      yield* refused(self, "EOPNOTSUPP", clone, "a clone");
      const dedupe = () => dedupes(volume, self, "A", "B", [0, 0, 1]);
      yield* refused(self, "EOPNOTSUPP", dedupe, "a dedupe of what differs");
      yield* writePages(volume, self, "A", 0, 1, "V");
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["VA"]),
  explore: { strategy: "reduced" },
});

export const cloneParts = volumeStory({
  name: "clone-parts",
  about:
    "A range with a hole is cloned into the middle of a file and beyond its end, whose last block is shared and " +
    "half the file's. It holds the same, is persisted with the file, and sets its times; nothing else changes.",
  from: "ioctl_ficlonerange(2); DESIGN.md 5.6, invariant 8",
  blocks: 12,
  synced: true,
  files: [
    { name: "B", pages: "#=.=" },
    { name: "A", pages: "####" },
    { name: "C", pages: "==" },
  ],
  windows: [
    { file: "A", first: 0, pages: 4, writable: false, shown: [1] },
    { file: "A", first: 4, pages: 2, writable: false },
  ],
  actors: {
    *user(volume, self) {
      const [a, c] = [volume.file("A"), volume.file("C")];
      const changed = (): number => volume.words[volume.inodeWord(a) + Inode.modifyTime]!;
      ensure((yield* clones(volume, self, "B", "A", [0, 0, 0])) === 0, "nothing is cloned");
      yield* clones(volume, self, "A", "A", [0, 1, 0]);
      ensure(sharedBlocks(volume, self) === 0, "a clone of nothing shares blocks");
      yield* writePages(volume, self, "B", 1, 1, "V");
      ensure((yield* clones(volume, self, "B", "A", [1, 1, 2])) === 2 * PAGE_SIZE, "a clone");
      ensureShown(volume, "A", ["AV.A"]);
      ensure(changed() !== LONG_AGO, "a clone does not set the times");
      yield* loads(volume, self, 0, 1, ["V"]);
      yield* syncsAll(volume, self);
      yield* truncate(volume, self, "C", PAGE_SIZE + HALF);
      yield* clones(volume, self, "C", "A", [0, 4, null]);
      ensure(volume.sizeOf(a) === 5 * PAGE_SIZE + HALF, "a clone does not end with its source");
      yield* loads(volume, self, 1, 5, ["C."]);
      yield* clones(volume, self, "B", "A", [0, 7, 1]);
      yield* loads(volume, self, 1, 5, ["C."]);
      ensureShown(volume, "A", ["AV.ACC..B"]);
      yield* writePages(volume, self, "C", 2, 1, "C");
      ensureShown(volume, "C", ["CC.C"]);
      ensure(volume.sizeOf(c) === 3 * PAGE_SIZE, "a file has another size");
      yield* syncsAll(volume, self);
    },
  },
  finally: (volume) => ensureShown(volume, "B", ["BV.B"]),
  explore: { strategy: "reduced" },
});

export const dedupeParts = volumeStory({
  name: "dedupe-parts",
  about:
    "Ranges of several extents are shared where they hold the same: blocks, zeroes in blocks, and holes. Where " +
    "any page differs nothing is.",
  from: "ioctl_fideduperange(2); generic_remap_file_range_prep",
  blocks: 12,
  files: [
    { name: "A", pages: "=u.=" },
    { name: "Aa", pages: "=.u=" },
    { name: "AA", pages: "==.." },
  ],
  actors: {
    *user(volume, self) {
      ensure(yield* dedupes(volume, self, "A", "Aa", [0, 0, 4]), "the same is not the same");
      ensure(sharedBlocks(volume, self) === 2, "what is the same is not shared");
      ensure(
        !(yield* dedupes(volume, self, "A", "AA", [0, 0, 2])),
        "a block is the same as zeroes",
      );
      ensure(
        !(yield* dedupes(volume, self, "AA", "A", [1, 1, 2])),
        "zeroes are the same as a block",
      );
      ensure(sharedBlocks(volume, self) === 2, "what differs is shared");
    },
  },
  finally(volume) {
    ensureShown(volume, "A", ["A..A"]);
    ensureShown(volume, "AA", ["AA.."]);
  },
  explore: { strategy: "reduced" },
});

export const cloneShown = volumeStory({
  name: "clone-populated",
  about:
    "Where touches cannot fault, windows that read both files show a clone, and what was cloned. What a window " +
    "writes, of either file, is not cloned.",
  from: "window/fault-port.ts, PopulatedPort; dax/refresh.ts",
  blocks: 6,
  files: [
    { name: "A", pages: "===" },
    { name: "B", pages: "===" },
  ],
  faults: false,
  windows: [
    { file: "A", first: 0, pages: 3, writable: false },
    { file: "B", first: 0, pages: 3, writable: false },
    { file: "A", first: 1, pages: 1, writable: true },
    { file: "B", first: 2, pages: 1, writable: true },
  ],
  actors: {
    *user(volume, self) {
      yield* clones(volume, self, "A", "B", [0, 0, 1]);
      yield* clones(volume, self, "A", "B", [2, 1, 1]);
      for (const window of [0, 1]) yield* loads(volume, self, window, 0, ["A"]);
      yield* loads(volume, self, 1, 2, ["B"]);
      for (const pages of [
        [1, 0, 1],
        [0, 2, 1],
      ] as const) {
        const clone = () => clones(volume, self, "A", "B", pages);
        yield* refused(self, "EBUSY", clone, `a clone of ${pages}, which a window writes`);
      }
      yield* readsFile(volume, self, "B", ["AAB"]);
    },
  },
  explore: { strategy: "reduced" },
});

export const cloneCopied = volumeStory({
  name: "clone-copied",
  about:
    "Copied files are cloned while their pages are cached, and dirty: the clone holds what was written.",
  from: "dax/copied.ts, copyDirtyHome; filemap_write_and_wait_range before a remap",
  blocks: 6,
  cachePages: 4,
  files: [
    { name: "A", pages: "##" },
    { name: "B", pages: "##" },
  ],
  windows: [{ file: "B", first: 0, pages: 2, writable: false, shown: [0] }],
  actors: {
    *user(volume, self) {
      yield* writePages(volume, self, "A", 0, 2, "V");
      yield* writePages(volume, self, "B", 1, 1, "W");
      yield* clones(volume, self, "A", "B", [0, 0, 0]);
      yield* clones(volume, self, "A", "B", [0, 0, 1]);
      yield* loads(volume, self, 0, 0, ["V"]);
      yield* pinnedIo(volume, self, 0, 1);
      yield* readsFile(volume, self, "B", ["VW"]);
      yield* readsFile(volume, self, "A", ["WV"]);
      yield* syncsAll(volume, self);
    },
  },
  explore: { strategy: "reduced" },
});

export const cloneFull = volumeStory({
  name: "clone-full-populated",
  about:
    "Where touches cannot fault, a clone beyond a file's end finds no room for a copy of its last block, which is " +
    "shared. Windows of both files show what they did.",
  from: "DESIGN.md 5.6, invariant 7; dax/refresh.ts",
  blocks: 3,
  files: [
    { name: "A", pages: "==" },
    { name: "B", pages: ".." },
    { name: "C", pages: "=" },
  ],
  faults: false,
  windows: [
    { file: "B", first: 0, pages: 2, writable: false },
    { file: "C", first: 0, pages: 1, writable: false },
  ],
  actors: {
    *user(volume, self) {
      yield* truncate(volume, self, "A", PAGE_SIZE + HALF);
      yield* truncate(volume, self, "B");
      yield* clones(volume, self, "A", "B", [0, 0, null]);
      const clone = () => clones(volume, self, "C", "B", [0, 2, 1]);
      yield* refused(self, "ENOSPC", clone, "a clone without room for a copy");
      yield* loads(volume, self, 0, 0, ["A"]);
      yield* loads(volume, self, 0, 1, ["A."]);
      yield* loads(volume, self, 1, 0, ["C"]);
      // Before its end, whose block stays as it is.
      yield* clones(volume, self, "C", "B", [0, 0, 1]);
      yield* loads(volume, self, 0, 0, ["C"]);
    },
  },
  explore: { strategy: "reduced" },
});

export const killSynced = volumeStory({
  name: "clone-kill-synced",
  about:
    "A thread dies at any point while it writes B and clones it to A. If A is the clone, an fsync of A persists " +
    "what was written.",
  from: "DESIGN.md 5.6, invariant 8",
  blocks: 4,
  synced: true,
  files: [
    { name: "A", pages: "=" },
    { name: "B", pages: "=" },
  ],
  actors: {
    *dying(volume, self) {
      yield* writePages(volume, self, "B", 0, 1, "V");
      yield* clones(volume, self, "B", "A", [0, 0, 1]);
    },
    *other(volume, self) {
      yield* readsFile(volume, self, "A", ["A", "V", "B"]);
      if (volume.isKilled("dying")) yield* syncsAll(volume, self);
    },
  },
  environment: { kill: { kill: "dying" } },
  explore: { strategy: "pct", depth: 3, schedules: 2000 },
});

/** The owners of blocks, as the driver tells them: "A1+2 in 5" are two pages of A from page 1 on, in block 5 on. */
function* ownersTold(volume: Volume, self: Self, first: number, count: number): Sleeps<string> {
  const dax = volume.dax(self);
  using transaction = yield* beginTransaction(self.task, dax.cache);
  const [address, length] = [first * PAGE_SIZE, count * PAGE_SIZE];
  const search = { address, length, isLost: () => false };
  return dax.driver
    .ownersOf(transaction, search, 0)
    .owners.map(({ ino, start, address, length }) => {
      const name = volume.shared.files.find((file) => file.ino === ino)?.name ?? "?";
      const [page, block, pages] = [start!, address, length].map((bytes) => bytes / PAGE_SIZE);
      return `${name}${page}+${pages} in ${block}`;
    })
    .join(", ");
}

export const sharedRuns = volumeStory({
  name: "shared-runs",
  about:
    "B has some of A's blocks, and has let go of others: each has the owners that are told. Made A's own, those of " +
    "A alone stay where they are, and the others are copied; then B's are B's alone, and are not copied either.",
  from: "drivers/ram/sharing.ts; iomap/contract.ts, BlockSharing",
  blocks: 10,
  files: [
    { name: "A", pages: "======" },
    { name: "B", pages: "......" },
  ],
  clones: [{ source: "A", target: "B", first: 0, count: 6 }],
  actors: {
    *user(volume, self) {
      const [a, b] = [volume.file("A"), volume.file("B")];
      const dax = volume.dax(self);
      for (const page of [1, 4]) {
        yield* punchHole(self.task, dax, b.mapping, page * PAGE_SIZE, PAGE_SIZE);
      }
      const first = volume.blockHeld(a, 0);
      ensure(first === 0, "A does not begin where the device does");
      const all = yield* ownersTold(volume, self, 0, 10);
      ensure(all === "A0+6 in 0, B0+1 in 0, B2+2 in 2, B5+1 in 5", `the owners are ${all}`);
      const middle = yield* ownersTold(volume, self, 1, 2);
      ensure(middle === "A1+2 in 1, B2+1 in 2", `the owners in the middle are ${middle}`);
      yield* preallocate(self.task, dax, a.mapping, 0, 6 * PAGE_SIZE, false, true);
      const stays = [1, 4].every((page) => volume.blockHeld(a, page) === page);
      ensure(stays, "what is A's alone is copied");
      ensure(sharedBlocks(volume, self) === 0, "a block has two owners");
      yield* writePages(volume, self, "B", 2, 2, "V");
      ensure(volume.blockHeld(b, 2) === 2, "what is B's alone is copied");
      yield* truncate(volume, self, "B", 5 * PAGE_SIZE + HALF);
    },
  },
  finally(volume) {
    ensureShown(volume, "A", ["AAAAAA"]);
    ensure(volume.fileShown(volume.file("B"), 6) === "A.VV.A.", "file B holds something else");
  },
  explore: { strategy: "reduced" },
});
