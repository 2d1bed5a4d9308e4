/** What is shown, copied and told when a window is made: where touches cannot fault, and where they can. */
import { mapWindow } from "../../../dax/map-window.ts";
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";
import { removeDevice } from "../../world/removal.ts";
import { ensureCached, evicts } from "./copied-play.ts";
import {
  ensureShown,
  handleReport,
  loads,
  mayFail,
  refused,
  syncsAll,
  volumeStory,
  writePages,
} from "./play.ts";
import { A_IN_B, AB, clone, truncate } from "./sharing-play.ts";

export const copiedWindows = volumeStory({
  name: "copied-populated-map",
  about:
    "Where touches cannot fault, copied files are mapped. A window that reads shows what has blocks, and leaves " +
    "holes; a second one shows what is cached by then. One that writes gives its holes blocks, in which a " +
    "write-back finds room for what was stored.",
  from: "dax/fault.ts, showAllCached; dax/copied.ts, rule 4",
  blocks: 4,
  cachePages: 4,
  faults: false,
  files: [
    { name: "A", pages: "=." },
    { name: "B", pages: "=." },
  ],
  actors: {
    *user(volume, self) {
      const [a, b] = [volume.file("A"), volume.file("B")];
      for (const made of [1, 2]) {
        const { window } = yield* volume.mapFile(self, b, 0, 2, false);
        ensure(
          volume.windowShown(window) === "#x",
          `window ${made} shows another part of the file`,
        );
        yield* loads(volume, self, window, 0, ["B"]);
        yield* loads(volume, self, window, 1, ["."]);
        ensureCached(volume, "B", "#.");
      }
      ensure(volume.blockOf(b, 1) < 0, "a hole is filled for a window that only reads");
      const { window } = yield* volume.mapFile(self, a, 0, 2, true);
      ensure(volume.blockOf(a, 1) >= 0, "a window writes a page that has no block");
      yield* volume.store(self, window, 1, "S");
      yield* syncsAll(volume, self);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["AS"]),
  explore: { strategy: "reduced" },
});

/** The only page of the cache is A's, which nobody uses. */
const ONE_CACHED = {
  blocks: 2,
  cachePages: 1,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "=" },
  ],
  explore: { strategy: "reduced" },
} as const;

export const roomForWindow = volumeStory({
  ...ONE_CACHED,
  name: "copied-populated-room",
  about:
    "Where touches cannot fault, a window over B needs the only page of the cache, which A has: that makes way.",
  from: "dax/map-window.ts, mapWindow",
  faults: false,
  actors: {
    *user(volume, self) {
      const { window } = yield* volume.mapFile(self, volume.file("B"), 0, 1, false);
      yield* loads(volume, self, window, 0, ["B"]);
      ensureCached(volume, "A", ".");
    },
  },
});

export const noRoomForWindow = volumeStory({
  ...ONE_CACHED,
  name: "copied-map-lazily",
  about:
    "Where touches fault, a window takes no room in the cache before it is touched: A's page stays there.",
  from: "dax/map-window.ts, mapWindow",
  actors: {
    *user(volume, self) {
      const { window } = yield* volume.mapFile(self, volume.file("B"), 0, 1, true);
      ensureCached(volume, "A", "#");
      yield* loads(volume, self, window, 0, ["B"]);
      ensureCached(volume, "A", ".");
    },
  },
});

/** A's block is B's, too, and there is no room for a copy. */
const SHARED = {
  blocks: 1,
  files: AB,
  clones: [A_IN_B],
  explore: { strategy: "reduced" },
} as const;

export const sharedReader = volumeStory({
  ...SHARED,
  name: "cow-populated-reads",
  about:
    "Where touches cannot fault, a window that only reads is made over a shared block, on a full volume. It " +
    "shows that block: nothing is copied for it.",
  from: "dax/map-window.ts, mapWindow",
  faults: false,
  actors: {
    *user(volume, self) {
      const { window } = yield* volume.mapFile(self, volume.file("A"), 0, 1, false);
      yield* loads(volume, self, window, 0, ["A"]);
      yield* refused(self, "ENOSPC", () => volume.mapFile(self, volume.file("A"), 0, 1, true));
    },
  },
});

export const sharedLazily = volumeStory({
  ...SHARED,
  name: "cow-map-lazily",
  about:
    "Where touches fault, a window that writes is made over a shared block, on a full volume. Nothing is copied " +
    "before it is touched; by then the other owner has gone.",
  from: "dax/map-window.ts, mapWindow",
  actors: {
    *user(volume, self) {
      const { window } = yield* volume.mapFile(self, volume.file("A"), 0, 1, true);
      yield* truncate(volume, self, "B");
      yield* volume.store(self, window, 0, "S");
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["S"]),
});

export const sharedAgain = volumeStory({
  name: "cow-populated-clone",
  about:
    "Where touches cannot fault, a window that writes A is made, and what A shares is copied for it first. " +
    "Another thread clones A to C meanwhile, before the window is there, or is refused.",
  from: "dax/map-window.ts, mapWindow: looked at again under the lock",
  blocks: 4,
  files: [...AB, { name: "C", pages: "." }],
  clones: [A_IN_B],
  faults: false,
  actors: {
    *user(volume, self) {
      const { window } = yield* volume.mapFile(self, volume.file("A"), 0, 1, true);
      yield* volume.store(self, window, 0, "S");
    },
    *other(volume, self) {
      yield* mayFail(self, ["EBUSY"], () => clone(volume, self, "A", "C"));
    },
  },
  finally(volume) {
    ensureShown(volume, "A", ["S"]);
    ensureShown(volume, "B", ["A"]);
    ensureShown(volume, "C", [".", "A"]);
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

/** The storage loses A's first block, which is A's page 0. */
function* losesFirst(volume: Volume, self: Self) {
  const { bad } = volume.dax(self).pages;
  yield* handleReport(volume, self, bad.add(0, 0));
}

export const lostWhy = volumeStory({
  name: "dax-lost-why",
  about:
    "A window tells why pages are lost in it: nothing of a page behind the file's end; that bytes are lost, when " +
    "one is touched whose block the storage has lost, not before; and that the device is gone.",
  from: "dax/map-window.ts, LostRange",
  blocks: 2,
  files: [{ name: "A", pages: "##" }],
  windows: [{ file: "A", first: 0, pages: 3, writable: true, shown: [0] }],
  actors: {
    *user(volume, self) {
      const told = (): string => {
        const { poisoned, removed } = volume.viewOf(self, 0).lostRange()!;
        return `${poisoned ?? "-"} ${removed ?? "-"}`;
      };
      yield* loads(volume, self, 0, 2, ["."]);
      ensure(told() === "- -", `of a page behind the end, "${told()}" is told`);
      yield* losesFirst(volume, self);
      ensure(told() === "- -", `of a page that nobody has touched, "${told()}" is told`);
      ensure(volume.windowShown(0) === "-#x", `the window shows ${volume.windowShown(0)}`);
      yield* loads(volume, self, 0, 0, ["."]);
      ensure(told() === "true -", `of a page whose bytes are lost, "${told()}" is told`);
      yield* removeDevice(volume, self);
      yield* loads(volume, self, 0, 1, ["."]);
      ensure(told() === "true true", `of a device that is gone, "${told()}" is told`);
    },
  },
  explore: { strategy: "reduced" },
});

export const lostPopulated = volumeStory({
  name: "dax-lost-populated",
  about:
    "Where touches cannot fault, a window tells of a lost page as soon as it shows it no more: nobody comes to " +
    "look later. When the page is written, the window shows it again.",
  from: "dax/show.ts, loseInWindows",
  blocks: 2,
  files: [{ name: "A", pages: "##" }],
  faults: false,
  windows: [{ file: "A", first: 0, pages: 2, writable: true }],
  actors: {
    *user(volume, self) {
      ensure(
        volume.viewOf(self, 0).lostRange() === null,
        "a window tells of lost pages that are none",
      );
      yield* losesFirst(volume, self);
      ensure(volume.windowShown(0) === "x#", `the window shows ${volume.windowShown(0)}`);
      const lost = volume.viewOf(self, 0).lostRange();
      ensure(lost?.poisoned && lost.pages === 1, "a window does not tell of a page that is lost");
      yield* writePages(volume, self, "A", 0, 1, "V");
      yield* loads(volume, self, 0, 0, ["V"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["VA"]),
  explore: { strategy: "reduced" },
});

export const removedMap = volumeStory({
  name: "dax-removal-map-later",
  about: "A file is mapped when the device is gone: that is refused, and no window is left.",
  from: "issue 4, row 17; dax/map-window.ts, showFirst",
  blocks: 1,
  files: [{ name: "A", pages: "=" }],
  actors: {
    *user(volume, self) {
      yield* removeDevice(volume, self);
      const { mapping } = volume.file("A");
      const dax = volume.dax(self);
      const map = () => mapWindow(self.task, dax, mapping, 0, PAGE_SIZE, false);
      yield* refused(self, "EIO", map, "a window of a device that is gone");
      ensure(dax.windows.statistics().windows === 0, "a window is left of a refused call");
    },
  },
  explore: { strategy: "reduced" },
});

export const besideWindow = volumeStory({
  name: "copied-populated-beside",
  about:
    "Where touches cannot fault, the pages before and after a window make way in the cache; the one that it shows " +
    "stays.",
  from: "dax/evict.ts, evictPage; window/window.ts, mayShow",
  blocks: 3,
  cachePages: 3,
  faults: false,
  files: [{ name: "A", pages: "#=#" }],
  windows: [{ file: "A", first: 1, pages: 1, writable: false }],
  actors: {
    *user(volume, self) {
      ensureCached(volume, "A", "###");
      ensure(yield* evicts(volume, self, 2), "no room is found where no window is");
      ensureCached(volume, "A", ".#.");
    },
  },
  explore: { strategy: "reduced" },
});

export const cleanShown = volumeStory({
  name: "copied-clean-shown",
  about:
    "A page that a window shows, which only reads, makes way in the cache. Nobody has written it: it is not " +
    "copied home, which would fail here.",
  from: "dax/copied.ts, isDirty; window/window.ts, mayShow",
  blocks: 2,
  cachePages: 1,
  synced: true,
  files: [{ name: "A", pages: "==" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: false, shown: [0] }],
  actors: {
    *user(volume, self) {
      volume.fail(self, "copyIn");
      ensure(yield* evicts(volume, self), "a page that nobody has written is copied home");
      ensureCached(volume, "A", "..");
      yield* loads(volume, self, 0, 1, ["A"]);
      volume.mend(self);
    },
  },
  explore: { strategy: "reduced" },
});

export const notTouched = volumeStory({
  name: "copied-evict-not-touched",
  about:
    "The only page of the cache is A's, over which a window is, and nobody has touched that. A touch of B takes " +
    "the page: no window shows it, so whoever serves the touch may.",
  from: "dax/evict.ts, evictPage; window/window.ts, mayShow",
  blocks: 2,
  cachePages: 1,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "=" },
  ],
  windows: [
    { file: "A", first: 0, pages: 1, writable: false },
    { file: "B", first: 0, pages: 1, writable: false },
  ],
  actors: {
    *user(volume, self) {
      yield* loads(volume, self, 1, 0, ["B"]);
      ensureCached(volume, "A", ".");
    },
  },
  explore: { strategy: "reduced" },
});
