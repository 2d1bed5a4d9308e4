/** Copied files: what is filled into the page cache and copied home, where something is in the way. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { copyWindow } from "../../../dax/copied-window.ts";
import { readDirect, writeFile } from "../../../dax/file-io.ts";
import { writeDirect } from "../../../dax/direct-io.ts";
import { pinRange } from "../../../dax/pins.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import { contentShown, LOST_BYTES } from "../../world/device.ts";
import { removeDevice } from "../../world/removal.ts";
import type { Volume } from "../../world/volume.ts";
import {
  drops,
  ensureCached,
  evicts,
  reads,
  readsDirectly,
  writesDirectly,
} from "./copied-play.ts";
import {
  ensureShown,
  handleReport,
  loads,
  pinnedIo,
  refused,
  sync,
  syncsAll,
  truncate,
  volumeStory,
  writePages,
} from "./play.ts";

/** The storage loses a block, which is listed, and the report handled. */
function* lose(volume: Volume, self: Self, block: number): Sleeps<void> {
  const report = volume.dax(self).pages.bad.add(block, block);
  volume.hand(self).device.writeBlock(block, LOST_BYTES);
  yield* handleReport(volume, self, report);
}

/** Pins a page of A to read it: what it holds. */
function* readsPinned(volume: Volume, self: Self, page: number): Sleeps<string> {
  const file = volume.file("A");
  const at = page * PAGE_SIZE;
  const pin = yield* pinRange(self.task, volume.dax(self), file.mapping, at, PAGE_SIZE, false);
  return volume.io(self, file, pin, null);
}

export const lostBlock = volumeStory({
  name: "copied-lost-block",
  about:
    "The storage loses the blocks of two pages, one of which is cached and dirty. That one is whole again when " +
    "it has been copied home; the other one is not filled, read, or written in part, until all of it is written.",
  from: "dax/copied.ts, fillPage and copyHome; memory_failure of a clean and a dirty page",
  blocks: 2,
  cachePages: 2,
  files: [{ name: "A", pages: "#=" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: false }],
  actors: {
    *user(volume, self) {
      const dax = volume.dax(self);
      const { bad } = dax.pages;
      yield* pinnedIo(volume, self, 0, 1);
      yield* lose(volume, self, 0);
      yield* lose(volume, self, 1);
      yield* refused(self, "EIO", () => pinnedIo(volume, self, 1, 1), "a pin of a lost page");
      yield* refused(self, "EIO", () => reads(volume, self, 1, []), "a read of a lost page");
      yield* loads(volume, self, 0, 1, ["."]);
      yield* sync(volume, self);
      ensure(bad.find(0, 0) === null, "a page that was copied home is lost still");
      yield* reads(volume, self, 0, ["W"]);
      const half = new Uint8Array(PAGE_SIZE / 2);
      const { mapping } = volume.file("A");
      const writesHalf = (): Sleeps<number> => writeFile(self.task, dax, mapping, half, PAGE_SIZE);
      yield* refused(self, "EIO", writesHalf, "a write of half a lost page");
      yield* writePages(volume, self, "A", 1, 1, "V");
      ensure(!bad.any, "a page that was written is lost still");
      yield* reads(volume, self, 1, ["V"]);
      yield* loads(volume, self, 0, 1, ["V"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["WV"]),
  explore: { strategy: "reduced" },
});

export const directLost = volumeStory({
  name: "copied-direct-lost",
  about:
    "The storage loses the block of a page that is cached and clean. A direct call reads the block, and so " +
    "finds it lost; another one reads the page.",
  from: "dax/file-io.ts, readDirect; kiocb_write_and_wait, then the blocks alone",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *user(volume, self) {
      yield* sync(volume, self);
      yield* lose(volume, self, 0);
      const direct = (): Sleeps<void> => readsDirectly(volume, self, 0, []);
      yield* refused(self, "EIO", direct, "a direct read of a lost block");
      yield* reads(volume, self, 0, ["A"]);
    },
  },
  explore: { strategy: "reduced" },
});

export const readOnlyHole = volumeStory({
  name: "copied-read-only-hole",
  about:
    "A hole of a volume that is mounted read-only is pinned to be read, after a page that has bytes: it holds " +
    "zeroes, and has no blocks afterwards. Both pages make way, and nothing is copied home.",
  from: "dax/fault.ts, populate: a read-only volume's holes stay holes; dax/copied.ts, fillPage",
  blocks: 1,
  cachePages: 2,
  files: [{ name: "A", pages: "=." }],
  readOnly: true,
  actors: {
    *user(volume, self) {
      ensure((yield* readsPinned(volume, self, 0)) === "A", "a page does not hold its block");
      ensure((yield* readsPinned(volume, self, 1)) === ".", "a hole does not hold zeroes");
      volume.fail(self, "copyIn");
      yield* evicts(volume, self, 2);
      ensureCached(volume, "A", "..");
    },
  },
  explore: { strategy: "reduced" },
});

export const newBlock = volumeStory({
  name: "copied-new-block",
  about:
    "A hole is pinned to be read, and gets a block that was another file's. After a write-back zeroes are " +
    "persistent there.",
  from: "dax/copied.ts, rule 4: a crash never shows another file's bytes",
  blocks: 1,
  cachePages: 1,
  files: [
    { name: "A", pages: "." },
    { name: "B", pages: "=" },
  ],
  actors: {
    *user(volume, self) {
      yield* truncate(volume, self, "B");
      ensure((yield* readsPinned(volume, self, 0)) === ".", "a hole does not hold zeroes");
      yield* syncsAll(volume, self);
    },
  },
  explore: { strategy: "reduced" },
});

export const newBlockKilled = volumeStory({
  name: "copied-new-block-killed",
  about:
    "The same, while the thread that pins the hole dies at any point: if the file has the block, the next " +
    "write-back makes its zeroes persistent.",
  from: "dax/copied.ts, backPages: noted before the transaction ends",
  blocks: 1,
  cachePages: 1,
  files: [
    { name: "A", pages: "." },
    { name: "B", pages: "=" },
  ],
  environment: { kill: { kill: "victim" } },
  actors: {
    *victim(volume, self) {
      yield* truncate(volume, self, "B");
      yield* readsPinned(volume, self, 0);
    },
    *other(volume, self) {
      const file = volume.file("A");
      yield* volume.read(self, file, 0, 1);
      // A block that comes while it writes back is for the next one.
      const hasBlock = volume.blockHeld(file, 0) >= 0;
      yield* syncsAll(volume, self, 0, hasBlock ? 1 : 0);
    },
  },
  explore: { strategy: "pct", depth: 2, schedules: 1500 },
});

export const holeWrite = volumeStory({
  name: "copied-hole-write",
  about:
    "A hole is shown by a window that only reads, while a write call fills it: the window shows what was " +
    "written, to whoever comes afterwards.",
  from: "dax/copied.ts, isKnownHole; dax_load_hole against a write",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "." }],
  windows: [{ file: "A", first: 0, pages: 1, writable: false }],
  actors: {
    user: (volume, self) => loads(volume, self, 0, 0, [".", "W"]),
    *write(volume, self) {
      yield* writePages(volume, self, "A", 0, 1, "W");
      yield* loads(volume, self, 0, 0, ["W"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["W"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const gone = volumeStory({
  name: "copied-gone",
  about: "The device is removed. Its cached pages are read and written no more, by whatever call.",
  from: "dax/copied.ts; dax/device-removal.ts, rule 2",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *user(volume, self) {
      yield* writePages(volume, self, "A", 0, 1);
      yield* removeDevice(volume, self);
      const { mapping } = volume.file("A");
      const page = new Uint8Array(PAGE_SIZE);
      const dax = volume.dax(self);
      yield* refused(self, "EIO", () => volume.read(self, volume.file("A"), 0, 1), "a read");
      yield* refused(self, "EIO", () => writePages(volume, self, "A", 0, 1), "a write");
      yield* refused(
        self,
        "EIO",
        () => readDirect(self.task, dax, mapping, page, 0),
        "a direct read",
      );
    },
  },
  explore: { strategy: "reduced" },
});

export const partlyCached = volumeStory({
  name: "copied-partly-cached",
  about:
    "Of two pages the second one is cached and was stored to. Both are read by one call, and written by one: the " +
    "bytes are those of the block and of the page, and all are persistent after a write-back.",
  from: "dax/copied.ts, uncachedBytes",
  blocks: 2,
  cachePages: 1,
  files: [{ name: "A", pages: "==" }],
  actors: {
    *user(volume, self) {
      yield* pinnedIo(volume, self, 1, 1);
      const read = yield* volume.read(self, volume.file("A"), 0, 2);
      ensure(read === "AW", `"${read}" is read`);
      yield* writePages(volume, self, "A", 0, 2, "V");
      ensureCached(volume, "A", ".#");
      yield* syncsAll(volume, self);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["VV"]),
  explore: { strategy: "reduced" },
});

export const growEvict = volumeStory({
  name: "copied-grow-evict",
  about:
    "A file grows over the end of its last page, which is cached, while that page makes way for another file's: " +
    "what is zeroed behind the old end is this file's.",
  from: "dax/copied.ts, zeroCachedTail: under the map lock",
  blocks: 3,
  cachePages: 1,
  files: [
    { name: "A", pages: "=" },
    { name: "B", pages: "=" },
  ],
  actors: {
    *grow(volume, self) {
      yield* truncate(volume, self, "A", PAGE_SIZE / 2);
      yield* pinnedIo(volume, self, 0, 1, ["ENOMEM"]);
      yield* writePages(volume, self, "A", 1, 1, "V");
    },
    *other(volume, self) {
      yield* drops(volume, self, "A");
      yield* pinnedIo(volume, self, 0, 1, ["ENOMEM"], "B");
    },
  },
  finally: (volume) => ensureShown(volume, "B", ["W", "B"]),
  explore: { strategy: "pct", depth: 2, schedules: 600 },
});

export const holeSync = volumeStory({
  name: "copied-hole-sync",
  about:
    "A hole comes to be shown as zeroes while the file is written back, which waits for the hole's entry: there " +
    "is no page to be copied home.",
  from: "dax/copied.ts, cachedPages: or about to be",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: ".." }],
  windows: [{ file: "A", first: 0, pages: 2, writable: true, shown: [0] }],
  actors: {
    user: (volume, self) => loads(volume, self, 0, 1, ["."]),
    sync: (volume, self) => sync(volume, self),
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const windowOfItsOwn = volumeStory({
  name: "copied-window",
  about:
    "A window of memory of its own is filled with a file that ends before it does: the rest are zeroes. One over " +
    "a page whose bytes are lost is refused, though what is before that could be read.",
  from: "dax/copied-window.ts; mmap(2), MAP_PRIVATE",
  blocks: 2,
  files: [{ name: "A", pages: "==" }],
  actors: {
    *user(volume, self) {
      const { mapping } = volume.file("A");
      const bytes = new Uint8Array(3 * PAGE_SIZE);
      const dax = volume.dax(self);
      yield* copyWindow(self.task, dax, mapping, 0, bytes);
      const letters = [...bytes].filter((_, at) => at % PAGE_SIZE === 0);
      ensure(String.fromCharCode(...letters) === "AA\0", `the window holds ${letters}`);
      yield* lose(volume, self, 1);
      yield* refused(self, "EIO", () => copyWindow(self.task, dax, mapping, 0, bytes), "a window");
    },
  },
  explore: { strategy: "reduced" },
});

export const directDrops = volumeStory({
  name: "copied-direct-drops",
  about:
    "Direct writes by one thread: the pages that they pass by leave the cache, and no other one; one that is " +
    "pinned stays, and the block holds what was written all the same.",
  from: "dax/direct-io.ts, writeDirect; kiocb_invalidate_pages",
  blocks: 2,
  cachePages: 2,
  files: [{ name: "A", pages: "##" }],
  actors: {
    *user(volume, self) {
      const file = volume.file("A");
      const dax = volume.dax(self);
      const half = new Uint8Array(PAGE_SIZE / 2).fill("D".charCodeAt(0));
      const ensureBlock = (page: number, expected: string): void => {
        const held = contentShown(volume.content(volume.blockOf(file, page)));
        ensure(held === expected, `the block of page ${page} holds "${held}", not "${expected}"`);
      };
      yield* writeDirect(self.task, dax, file.mapping, half.subarray(0, 0), PAGE_SIZE / 2);
      ensureCached(volume, "A", "##");
      yield* writesDirectly(volume, self, 0);
      ensureCached(volume, "A", ".#");
      const pin = yield* pinRange(self.task, dax, file.mapping, PAGE_SIZE, PAGE_SIZE, true);
      yield* writesDirectly(volume, self, 1);
      ensureCached(volume, "A", ".#");
      ensureBlock(1, "D");
      volume.io(self, file, pin, "W");
      yield* pinnedIo(volume, self, 0, 1);
      yield* writesDirectly(volume, self, 1);
      ensureCached(volume, "A", "#.");
      yield* truncate(volume, self, "A", PAGE_SIZE + PAGE_SIZE / 2);
      yield* pinnedIo(volume, self, 1, 1);
      yield* writeDirect(self.task, dax, file.mapping, half, "append");
      ensureCached(volume, "A", "..");
      ensureBlock(1, "WD");
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["WWD"]),
  explore: { strategy: "reduced" },
});
