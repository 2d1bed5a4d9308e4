/** Windows that are opened and closed: what is known of them, and by whom they are found. */
import { HUGE_PAGES, PAGE_SIZE } from "../../../base/quantities.ts";
import { resolveFault } from "../../../dax/fault.ts";
import { MappingWord, takeWritten } from "../../../mapping/mapping.ts";
import { store } from "../../../sync/atomics.ts";
import { lockExclusive } from "../../../sync/lock.ts";
import { Root } from "../../../sync/region.ts";
import { objectsInUse } from "../../../sync/slab.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { OWNER_DIED, Slot, slotOfHolder } from "../../../sync/thread.ts";
import { type Window, WindowArea, WINDOWS_MAX } from "../../../window/window.ts";
import { ensure, ensureNoLeak, type Self } from "../../scenario.ts";
import { TableEntry, tableWord, WINDOW_DISTANCE } from "../../world/port.ts";
import type { Volume } from "../../world/volume.ts";
import { ensureShown, refused, truncate, volumeStory } from "./play.ts";

function* openWindow(
  volume: Volume,
  self: Self,
  name: string,
  first: number,
  pages: number,
  writable: boolean,
): Sleeps<Window> {
  const { mapping, ino } = volume.file(name);
  const lock = mapping + MappingWord.mapLock;
  using _map = yield* lockExclusive(self.task, lock, { rankName: "map", order: ino });
  return volume.dax(self).windows.add(mapping, first, pages, writable);
}

function* closeWindow(volume: Volume, self: Self, name: string, window: Window): Sleeps<void> {
  const { mapping, ino } = volume.file(name);
  const lock = mapping + MappingWord.mapLock;
  using _map = yield* lockExclusive(self.task, lock, { rankName: "map", order: ino });
  volume.dax(self).windows.remove(window);
}

/** Demands that the port has all pages of an address range in this state. */
function ensureAll(volume: Volume, address: number, pages: number, state: number): void {
  for (let page = 0; page < pages; page++) {
    const entry = volume.words[tableWord(volume.shared.port, address + page * PAGE_SIZE)]!;
    ensure(entry === state, `page ${page} of the range is in state ${entry}, not ${state}`);
  }
}

/** Demands that exactly these windows are found, from their first byte to their last. */
function ensureFound(volume: Volume, self: Self, open: readonly Window[]): void {
  const { windows } = volume.dax(self);
  for (const window of open) {
    const start = windows.address(window);
    const end = start + windows.pages(window) * PAGE_SIZE;
    ensure(windows.at(start) === window, "a window is not found at its first byte");
    ensure(windows.at(end - 1) === window, "a window is not found at its last byte");
    ensure(windows.at(start - 1) === null, "a window is found before its first byte");
    ensure(windows.at(end) === null, "a window is found after its last byte");
  }
  for (let gibibyte = 0; gibibyte < 64; gibibyte++) {
    const found = windows.at(gibibyte * 2 ** 30 + PAGE_SIZE);
    ensure(found === null || open.includes(found), "a window is found that is not open");
  }
  const area = self.thread.region.root(Root.window);
  const counted = windows.statistics().windows;
  ensure(counted === open.length, `${counted} windows are counted, ${open.length} are open`);
  const used = objectsInUse(self.thread, area);
  ensureNoLeak(used === open.length, `${used} window records are in use, not ${open.length}`);
}

/** Demands that a file has these windows, the last opened first. */
function ensureListed(volume: Volume, self: Self, name: string, open: readonly Window[]): void {
  const found: Window[] = [];
  volume.dax(self).windows.forEachWindow(volume.file(name).mapping, (window) => {
    found.push(window);
  });
  ensure(found.join() === open.join(), `file ${name} lists windows ${found}, not ${open}`);
}

/** The runs that may have been stored to, as "first-last". */
function runsOf(volume: Volume, self: Self, name: string): string {
  const runs: string[] = [];
  volume.dax(self).windows.forEachWritableRun(volume.file(name).mapping, (first, last) => {
    runs.push(`${first}-${last}`);
  });
  return runs.join(" ");
}

const twoFiles = [
  { name: "A", pages: "##" },
  { name: "B", pages: "#" },
];

export const windowTable = volumeStory({
  name: "dax-window-table",
  about:
    "One thread alone opens and closes windows over two files. Each is found at its addresses and in " +
    "its file's list while it is open, and nothing of it is left when it is closed.",
  from: "window/window.ts, invariant 1",
  blocks: 4,
  files: twoFiles,
  actors: {
    *user(volume, self) {
      const { windows } = volume.dax(self);
      ensureFound(volume, self, []);
      const a = yield* openWindow(volume, self, "A", 0, 3, true);
      const a2 = yield* openWindow(volume, self, "A", 5, 2, false);
      const b = yield* openWindow(volume, self, "B", 1, 1, true);
      ensureFound(volume, self, [a, a2, b]);
      ensureListed(volume, self, "A", [a2, a]);
      const told = windows.windowsOf(volume.file("A").mapping);
      const shown = told.map(({ first, pages, writable }) => `${first}+${pages} ${writable}`);
      ensure(shown.join() === "0+3 true,5+2 false", `told of the windows ${shown.join()}`);
      ensure(told[0]!.holder === self.thread.holder, "another thread is named");
      const address = windows.address(a);
      const serial = windows.serial(a);
      yield* closeWindow(volume, self, "A", a);
      ensureAll(volume, address, 3, TableEntry.retired);
      ensure(windows.serial(a) === 0, "a window that was closed has a serial");
      ensure(windows.at(address) === null, "a window that was closed is found");
      ensureFound(volume, self, [a2, b]);
      const mapped = [volume.file("A").mapping, volume.file("B").mapping].join();
      ensure(
        [...windows.mappings()].join() === mapped,
        "the files that have windows are told wrong",
      );
      ensureListed(volume, self, "A", [a2]);
      const b2 = yield* openWindow(volume, self, "B", 0, 2, true);
      const b3 = yield* openWindow(volume, self, "B", 0, 1, false);
      ensure(windows.serial(b2) > serial, "two windows have the same serial");
      ensureFound(volume, self, [a2, b, b2, b3]);
      yield* closeWindow(volume, self, "B", b2);
      ensureListed(volume, self, "B", [b3, b]);
      ensureFound(volume, self, [a2, b, b3]);
      yield* closeWindow(volume, self, "B", b);
      yield* closeWindow(volume, self, "B", b3);
      yield* closeWindow(volume, self, "A", a2);
      ensureFound(volume, self, []);
      ensureListed(volume, self, "A", []);
    },
  },
  explore: { strategy: "reduced" },
});

export const windowMarks = volumeStory({
  name: "dax-window-marks",
  about:
    "One thread alone: what windows that write have shown counts as stored to, by runs of 2 MiB, " +
    "while they are open and when they are closed; and touches that were lost are told.",
  from: "window/window.ts; dax/write-back.ts",
  blocks: 4,
  files: twoFiles,
  actors: {
    *user(volume, self) {
      const { windows } = volume.dax(self);
      const { mapping } = volume.file("A");
      const large = yield* openWindow(volume, self, "A", 3, HUGE_PAGES + 100, true);
      const small = yield* openWindow(volume, self, "A", 0, 2, false);
      ensure(runsOf(volume, self, "A") === "", "a window that shows nothing counts as stored to");
      windows.noteShown(large, 3 + HUGE_PAGES, 3 + HUGE_PAGES);
      windows.noteShown(small, 0, 1);
      ensure(runsOf(volume, self, "A") === "515-614", "the second run of a window is told wrong");
      windows.noteShown(large, 4, 4);
      ensure(runsOf(volume, self, "A") === "3-514 515-614", "the runs of a window are told wrong");

      ensure(windows.lost(large) === null, "a window tells of lost pages that are none");
      for (const page of [9, 7, 12, 10]) windows.noteLost(large, page, null);
      const lost = windows.lost(large);
      const told = `${lost?.pages}: ${lost?.first}-${lost?.last}`;
      ensure(told === "4: 7-12", `four lost pages are told as ${told}`);
      ensure(windows.statistics().pagesLost === 4, "lost pages are counted wrong");

      yield* closeWindow(volume, self, "A", small);
      ensure(takeWritten(self.thread, mapping) === null, "a window that reads counts as stored to");
      yield* closeWindow(volume, self, "A", large);
      const written = takeWritten(self.thread, mapping);
      const noted = `${written?.first}-${written?.last}`;
      ensure(noted === "3-614", `of a window that writes, ${noted} is noted when it is closed`);
    },
  },
  explore: { strategy: "reduced" },
});

export const windowRefused = volumeStory({
  name: "dax-window-refused",
  about:
    "The table of windows is full: one more is refused, and its addresses and its record are given " +
    "back.",
  from: "window/window.ts, add: nothing is left behind",
  blocks: 4,
  files: twoFiles,
  actors: {
    *user(volume, self) {
      const { words } = volume;
      const { windows } = volume.dax(self);
      const one = yield* openWindow(volume, self, "A", 0, 1, true);
      const table = self.thread.region.root(Root.window) + WindowArea.table;
      for (let index = 1; index < WINDOWS_MAX; index++) store(words, table + index, one);
      const open = () => openWindow(volume, self, "A", 0, 2, true);
      yield* refused(self, "ENFILE", open, "one window too many");
      for (let index = 1; index < WINDOWS_MAX; index++) store(words, table + index, 0);
      // Windows lie as far from one another as the second one from the first.
      const next = windows.address(one) + WINDOW_DISTANCE;
      ensureAll(volume, next, 2, TableEntry.released);
      ensureFound(volume, self, [one]);
      ensureListed(volume, self, "A", [one]);
      yield* closeWindow(volume, self, "A", one);
    },
  },
  explore: { strategy: "reduced" },
});

export const windowNoMemory = volumeStory({
  name: "dax-window-no-memory",
  about: "No word is left for a window's record: it is refused, and its addresses are given back.",
  from: "window/window.ts, add: nothing is left behind",
  blocks: 4,
  files: twoFiles,
  exhausted: true,
  actors: {
    *user(volume, self) {
      const open = () => openWindow(volume, self, "A", 0, 2, true);
      yield* refused(self, "ENOMEM", open, "a window without a record");
      ensureAll(volume, WINDOW_DISTANCE, 2, TableEntry.released);
      ensureFound(volume, self, []);
    },
  },
  explore: { strategy: "reduced" },
});

export const windowsTwice = volumeStory({
  name: "dax-windows-twice",
  about:
    "Two threads open and close windows, each over its own file, in the same table and with the same " +
    "records. Each finds its own while it is open.",
  from: "window/window.ts, invariant 1",
  blocks: 4,
  files: twoFiles,
  // So that there are records of windows already.
  windows: [{ file: "B", first: 0, pages: 1, writable: false }],
  actors: {
    *one(volume, self) {
      yield* openAndClose(volume, self, "A");
    },
    *other(volume, self) {
      yield* openAndClose(volume, self, "B");
    },
  },
  finally(volume) {
    ensureFound(volume, volume.actors[0]!, [volume.shared.windows[0]!.window]);
  },
  explore: { strategy: "pct", depth: 3, schedules: 2000 },
});

function* openAndClose(volume: Volume, self: Self, name: string): Sleeps<void> {
  const { windows } = volume.dax(self);
  const window = yield* openWindow(volume, self, name, 0, 1, true);
  const serial = windows.serial(window);
  const address = windows.address(window);
  ensure(windows.isOver(window, serial, address), `the window over ${name} is not open`);
  yield* closeWindow(volume, self, name, window);
}

export const windowTableEnd = volumeStory({
  name: "dax-window-table-end",
  about:
    "A thread opens a window, which may get the first place of the table, while another one opens two and closes " +
    "the first of them: the second, which lies behind that, is found all the same.",
  from: "window/window.ts: places of the table ever used",
  blocks: 4,
  files: twoFiles,
  actors: {
    one: (volume, self) => openWindow(volume, self, "A", 0, 1, true),
    *other(volume, self) {
      const first = yield* openWindow(volume, self, "B", 0, 1, true);
      yield* openWindow(volume, self, "B", 0, 1, true);
      yield* closeWindow(volume, self, "B", first);
    },
  },
  finally(volume) {
    const { windows } = volume.dax(volume.actors[0]!);
    const counted = windows.statistics().windows;
    ensure(counted === 2, `${counted} windows are counted, 2 are open`);
    for (const name of ["A", "B"]) {
      const found = windows.windowsOf(volume.file(name).mapping).length;
      ensure(found === 1, `${found} windows are told over file ${name}`);
    }
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

/** A fault message is about a window that was there when it was sent: here, page 1 of window 0. */
function* faultsLate(volume: Volume, self: Self): Sleeps<void> {
  const { pager } = volume.hand(self);
  const { windows } = pager;
  const address = volume.shared.windows[0]!.address + PAGE_SIZE;
  const window = windows.at(address);
  if (window === null) return;
  const serial = windows.serial(window);
  yield* resolveFault(self.task, pager, window, serial, address, true);
}

export const windowClosed = volumeStory({
  name: "dax-window-closed",
  about:
    "A touch of a window has faulted, and the window is closed before its fault is served; another " +
    "one is opened, which may get its record. Nothing is shown at the addresses that were closed.",
  from: "dax/pager.ts: windows are looked up without a lock",
  blocks: 4,
  files: twoFiles,
  windows: [{ file: "A", first: 0, pages: 2, writable: true }],
  actors: {
    pager: faultsLate,
    *close(volume, self) {
      yield* closeWindow(volume, self, "A", volume.shared.windows[0]!.window);
      yield* openWindow(volume, self, "B", 0, 1, true);
    },
  },
  finally(volume) {
    const { address } = volume.shared.windows[0]!;
    ensureAll(volume, address, 2, TableEntry.retired);
    ensureAll(volume, address + WINDOW_DISTANCE, 1, TableEntry.empty);
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

/** As above, with nobody in the record of the window that was closed. */
export const windowGone = volumeStory({
  name: "dax-window-gone",
  about:
    "A touch of a window has faulted, and the window is closed before its fault is served, or looked " +
    "up: it is gone, and nothing is shown at its addresses.",
  from: "dax/pager.ts: windows are looked up without a lock",
  blocks: 4,
  files: twoFiles,
  windows: [{ file: "A", first: 0, pages: 2, writable: true }],
  actors: {
    pager: faultsLate,
    close: (volume, self) => closeWindow(volume, self, "A", volume.shared.windows[0]!.window),
  },
  finally: (volume) => ensureAll(volume, volume.shared.windows[0]!.address, 2, TableEntry.retired),
  explore: { strategy: "bounded", preemptions: 2 },
});

export const windowRecordReused = volumeStory({
  name: "dax-window-record-reused",
  about:
    "A thread closes a window while another one opens one over another file, which may get its record. " +
    "The new window is not taken for the one that is gone.",
  from: "window/window.ts: a serial tells a window from a later one in the same record",
  blocks: 4,
  files: twoFiles,
  windows: [{ file: "A", first: 0, pages: 2, writable: true }],
  actors: {
    close: (volume, self) => closeWindow(volume, self, "A", volume.shared.windows[0]!.window),
    open: (volume, self) => openWindow(volume, self, "B", 0, 1, true),
  },
  finally(volume) {
    const { windows } = volume.dax(volume.actors[0]!);
    const window = windows.at(2 * WINDOW_DISTANCE);
    ensure(
      window !== null && windows.serial(window) > 1,
      "the window that was opened is not there",
    );
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

/** Its memory is gone with it, so nobody touches what it had open. */
export const windowOwnerDies = volumeStory({
  name: "dax-window-owner-dies",
  about:
    "A thread opens a window, touches it and dies, at any point or later. Who truncates the file takes its " +
    "window away: it is found no longer, and its addresses are given back.",
  from: "DESIGN.md 2, decision 4: worker threads that die; window/window.ts, pruneDead",
  blocks: 4,
  files: twoFiles,
  // So that there are records of windows already.
  windows: [{ file: "B", first: 0, pages: 1, writable: false }],
  actors: {
    *owner(volume, self) {
      const { pager } = volume.hand(self);
      const window = yield* openWindow(volume, self, "A", 0, 2, true);
      const address = pager.windows.address(window);
      const serial = pager.windows.serial(window);
      yield* resolveFault(self.task, pager, window, serial, address, true);
      // It has other things to do in which it may die.
      for (let look = 0; look < 400; look++) pager.windows.serial(window);
    },
    *truncate(volume, self) {
      const { mapping } = volume.file("A");
      const { windows } = volume.dax(self);
      yield* truncate(volume, self, "A", PAGE_SIZE);
      if (!volume.isKilled("owner")) return;
      // Now, if not before.
      yield* truncate(volume, self);
      ensure(!windows.hasWindows(mapping), "the window of a dead thread is still open");
      // If it died before the window was anybody's, the addresses are all that is left of it.
      const state = volume.words[tableWord(volume.shared.port, 2 * WINDOW_DISTANCE)];
      if (state !== TableEntry.empty) {
        ensureAll(volume, 2 * WINDOW_DISTANCE, 2, TableEntry.released);
        ensure(windows.at(2 * WINDOW_DISTANCE) === null, "the window of a dead thread is found");
      }
    },
  },
  environment: { kill: { kill: "owner" } },
  finally: (volume) => ensureShown(volume, "A", ["", "A"]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

/** The thread that built the volume and opened its windows: its slot is the one after the only actor's. */
function builderDies(volume: Volume, self: Self): void {
  const builder = slotOfHolder(self.thread.holder) + 1;
  store(volume.words, self.thread.region.slotBase(builder) + Slot.liveness, OWNER_DIED);
}

export const windowAfterDeath = volumeStory({
  name: "dax-window-after-death",
  about:
    "A thread that had a window open has died. Who maps the same file takes that window away: " +
    "threads that map a file and die do not use windows up.",
  from: "window/window.ts, pruneDead",
  blocks: 4,
  files: twoFiles,
  windows: [{ file: "A", first: 0, pages: 2, writable: true, shown: [0] }],
  actors: {
    *user(volume, self) {
      const { address } = volume.shared.windows[0]!;
      builderDies(volume, self);
      const window = yield* openWindow(volume, self, "A", 0, 1, true);
      ensureListed(volume, self, "A", [window]);
      ensureFound(volume, self, [window]);
      ensureAll(volume, address, 2, TableEntry.released);
    },
  },
  explore: { strategy: "reduced" },
});

/** As above, without chance: the thread that built the volume is the dead one. */
export const windowOfTheDead = volumeStory({
  name: "dax-window-of-the-dead",
  about:
    "A thread that had a window open has died. Who truncates the file takes the window away, and " +
    "gives its addresses back.",
  from: "window/window.ts, pruneDead",
  blocks: 4,
  files: twoFiles,
  windows: [{ file: "A", first: 0, pages: 2, writable: true, shown: [0] }],
  actors: {
    *truncate(volume, self) {
      const { window, address } = volume.shared.windows[0]!;
      builderDies(volume, self);
      yield* truncate(volume, self);
      ensureListed(volume, self, "A", []);
      ensureFound(volume, self, []);
      ensureAll(volume, address, 2, TableEntry.released);
      ensure(volume.dax(self).windows.serial(window) === 0, "the window still has its serial");
    },
  },
  explore: { strategy: "reduced" },
});

/** What the asker may be told of the windows that the opener has, one after the other. */
const OPENED = ["0+1 writable", "1+2"];

export const windowsAsked = volumeStory({
  name: "dax-windows-asked",
  about:
    "A thread opens and closes one window after the other, in the same record, while another one asks " +
    "which windows there are over the file. It is told of windows that were there, as they were, or of none.",
  from: "window/window.ts, windowsOf",
  blocks: 4,
  files: twoFiles,
  explore: { strategy: "bounded", preemptions: 3 },
  actors: {
    *opener(volume, self) {
      const first = yield* openWindow(volume, self, "A", 0, 1, true);
      yield* closeWindow(volume, self, "A", first);
      const second = yield* openWindow(volume, self, "A", 1, 2, false);
      yield* closeWindow(volume, self, "A", second);
    },
    asker(volume, self) {
      const told = volume.dax(self).windows.windowsOf(volume.file("A").mapping);
      for (const { holder, first, pages, writable } of told) {
        const window = `${first}+${pages}${writable ? " writable" : ""}`;
        ensure(OPENED.includes(window), `told of a window that nobody opened: ${window}`);
        ensure(holder === volume.actors[0]!.thread.holder, "another thread is named");
      }
    },
  },
});
