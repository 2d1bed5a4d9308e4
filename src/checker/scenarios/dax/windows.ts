/** Windows that programs make and close; windows that cannot fault. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { Dax } from "../../../dax/dax.ts";
import { mapWindow } from "../../../dax/map-window.ts";
import { pinRange } from "../../../dax/pins.ts";
import { WINDOW_BYTES_MAX } from "../../../window/window.ts";
import { ensure } from "../../scenario.ts";
import { ensureShown, loads, punch, refused, truncate, volumeStory, writePages } from "./play.ts";

export const mapAndClose = volumeStory({
  name: "dax-map-close",
  about:
    "A file is mapped, stored to, and the window closed, while a hole is punched into the file. After " +
    "the close the window is zeroes of nobody. What was stored is in the file, and is written back.",
  from: "DESIGN.md 6, file.map; dax/map-window.ts",
  blocks: 3,
  synced: true,
  files: [{ name: "A", pages: "==" }],
  actors: {
    *user(volume, self) {
      const { window, view } = yield* volume.mapFile(self, volume.file("A"), 0, 2, true);
      yield* volume.store(self, window, 0, "S");
      ensure(
        !view.closed && view.lostRange() === null && view.writable,
        "the window is not as it was made",
      );
      yield* view.closeWith(self.task);
      ensure(view.closed && view.lostRange() === null, "the window says that it is not closed");
      yield* volume.store(self, window, 0, "X");
      yield* loads(volume, self, window, 0, ["."]);
      yield* view.closeWith(self.task);
    },
    punch: (volume, self) => punch(volume, self, 1, 1),
  },
  finally: (volume) => ensureShown(volume, "A", ["S."]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const mapReused = volumeStory({
  name: "dax-map-reused",
  about:
    "A thread touches a window that another one closes, and another file is mapped then, whose window " +
    "gets the record of the one that is gone. The touch finds its own file, or zeroes of nobody.",
  from: "dax/pager.ts: a window is looked for by its address, without a lock",
  blocks: 2,
  files: [
    { name: "A", pages: "=" },
    { name: "B", pages: "=" },
  ],
  windows: [{ file: "A", first: 0, pages: 1, writable: true }],
  actors: {
    user: (volume, self) => loads(volume, self, 0, 0, ["A", "."]),
    *close(volume, self) {
      yield* volume.viewOf(self, 0).closeWith(self.task);
      yield* volume.mapFile(self, volume.file("B"), 0, 1, true);
    },
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const closedTwice = volumeStory({
  name: "dax-closed-twice",
  about:
    "Two operations close one window at the same time, as a program's two awaits may. It is taken " +
    "away once, and the file's other window stays.",
  from: "dax/map-window.ts, closeWith: looked at again under the lock",
  blocks: 1,
  files: [{ name: "A", pages: "=" }],
  windows: [0, 1].map(() => ({ file: "A", first: 0, pages: 1, writable: true })),
  actors: {
    *user(volume, self) {
      yield* volume.viewOf(self, 0).closeWith(self.task);
      yield* volume.store(self, 1, 0, "S");
    },
    *other(volume, self) {
      yield* volume.store(self, 1, 0, "T");
      yield* volume.viewOf(self, 0).closeWith(self.task);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["S", "T"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const mapBeyond = volumeStory({
  name: "dax-map-beyond",
  about:
    "A window reaches beyond the file's end: what is touched there is lost, and the window tells which " +
    "pages. When the file has grown over them the window shows them.",
  from: "DESIGN.md 5.2: a touch never kills the process; the window reports the lost range",
  blocks: 4,
  files: [{ name: "A", pages: "=" }],
  actors: {
    *user(volume, self) {
      const file = volume.file("A");
      const { window, view } = yield* volume.mapFile(self, file, 0, 4, true);
      ensure(volume.windowShown(window) === "----", "the window shows what nobody has touched");
      yield* volume.store(self, window, 2, "X");
      yield* loads(volume, self, window, 1, ["."]);
      const { offset, length, pages } = view.lostRange()!;
      ensure(
        offset === PAGE_SIZE && length === 2 * PAGE_SIZE && pages === 2,
        "the lost are not told",
      );
      yield* truncate(volume, self, "A", 3 * PAGE_SIZE);
      yield* volume.store(self, window, 2, "S");
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["A.S"]),
  explore: { strategy: "reduced" },
});

export const refusals = volumeStory({
  name: "dax-refused",
  about:
    "What cannot be mapped or pinned is refused, and leaves nothing behind: an offset inside a page, " +
    "no bytes, too many, a window or a pin that writes where nothing may.",
  from: "DESIGN.md 6: bad input gets a clear error",
  blocks: 2,
  files: [{ name: "A", pages: "=." }],
  actors: {
    *user(volume, self) {
      const { task } = self;
      const dax = volume.dax(self);
      const { mapping } = volume.file("A");
      yield* refused(self, "EINVAL", () => mapWindow(task, dax, mapping, 100, PAGE_SIZE, false));
      yield* refused(self, "EINVAL", () => mapWindow(task, dax, mapping, 0, 0, false));
      const tooLong = WINDOW_BYTES_MAX + 1;
      yield* refused(self, "EINVAL", () => mapWindow(task, dax, mapping, 0, tooLong, false));
      const fixed = new Dax({ ...dax, readOnly: true });
      yield* refused(self, "EROFS", () => mapWindow(task, fixed, mapping, 0, PAGE_SIZE, true));
      yield* refused(self, "EROFS", () => pinRange(task, fixed, mapping, 0, PAGE_SIZE, true));
      const { windows } = dax.windows.statistics();
      ensure(windows === 0, "a window is left of a refused call");
      const view = yield* mapWindow(task, fixed, mapping, 0, 100, false);
      ensure(view.bytes.length === 100 && !view.writable, "the window is not as it was asked for");
    },
  },
  explore: { strategy: "reduced" },
});

export const populatedMap = volumeStory({
  name: "dax-populated-map",
  about:
    "Where touches cannot fault, a window that writes has its holes allocated when it is made, and one " +
    "that only reads shows them as zeroes, until a write call fills them or the file grows.",
  from: "DESIGN.md 2, decision 3: where userfaultfd is missing, windows are populated",
  blocks: 6,
  faults: false,
  files: [
    { name: "A", pages: "=." },
    { name: "B", pages: "=.u" },
  ],
  actors: {
    *user(volume, self) {
      const { window } = yield* volume.mapFile(self, volume.file("A"), 0, 3, true);
      yield* volume.store(self, window, 1, "S");
      yield* writePages(volume, self, "A", 2, 1, "W");
      yield* loads(volume, self, window, 2, ["W"]);
      const reading = yield* volume.mapFile(self, volume.file("B"), 0, 3, false);
      yield* loads(volume, self, reading.window, 0, ["B"]);
      yield* loads(volume, self, reading.window, 1, ["."]);
      ensure(volume.windowShown(reading.window) === "#xx", "more than page 0 is shown");
      ensure(
        volume.blockOf(volume.file("B"), 1) < 0,
        "a hole is filled for a window that only reads",
      );
      yield* writePages(volume, self, "B", 1, 1, "W");
      yield* loads(volume, self, reading.window, 1, [".", "W"]);
    },
  },
  finally(volume) {
    ensureShown(volume, "A", ["ASW"]);
    ensureShown(volume, "B", ["BW."]);
  },
  explore: { strategy: "reduced" },
});

export const populatedFull = volumeStory({
  name: "dax-populated-full",
  about:
    "Where touches cannot fault, a window that writes is made over more holes than the volume has " +
    "blocks for. The call fails, and no window is left.",
  from: "DESIGN.md 5.6, invariant 7: a failed operation changes nothing",
  blocks: 1,
  faults: false,
  files: [{ name: "A", pages: ".." }],
  actors: {
    *user(volume, self) {
      yield* refused(self, "ENOSPC", () => volume.mapFile(self, volume.file("A"), 0, 2, true));
      const { windows } = volume.dax(self);
      ensure(!windows.hasWindows(volume.file("A").mapping), "the window is still there");
      ensure(windows.statistics().windows === 0, "the window is still in the table");
      ensure(volume.isGivenBack(0), "the window's addresses are still taken");
    },
  },
  explore: { strategy: "reduced" },
});
