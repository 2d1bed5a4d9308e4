/** Windows with `sync`: what is stored to them is found after a crash, without an fsync. */
import { HUGE_PAGES, PAGE_SIZE } from "../../../base/quantities.ts";
import { cloneRange } from "../../../dax/reflink.ts";
import { collapseRange, insertRange, zeroRange } from "../../../dax/layout-change.ts";
import { assertSync } from "../../../dax/sync-fault.ts";
import { mapWindow } from "../../../dax/map-window.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";
import {
  ensureShown,
  loads,
  pinnedIo,
  punch,
  refused,
  truncate,
  volumeStory,
  writePages,
} from "./play.ts";
import { A_IN_B, AB, clone } from "./sharing-play.ts";

const plain = { file: "A", first: 0, pages: 1, writable: true };
const synced = { ...plain, sync: true };

/** In every story: a store through such a window goes to a page that a crash leaves where it is. */
const FOUND = "Whatever is stored through a sync window is found after a crash.";

/** Puts what was stored to a page of A on the medium, as a program does. Nobody else writes there. */
function* persists(volume: Volume, self: Self, page: number): Sleeps<void> {
  const file = volume.file("A");
  yield* volume.viewOf(self, 0).persistWith(self.task, page * PAGE_SIZE, PAGE_SIZE);
  volume.ensurePersistent(file, `after ${self.name} has persisted it`, page, 1);
}

function* refusesSync(volume: Volume, self: Self, name: string): Sleeps<void> {
  const { mapping } = volume.file(name);
  yield* refused(self, "EOPNOTSUPP", function* () {
    assertSync(volume.dax(self), mapping);
  });
  const map = () => mapWindow(self.task, volume.dax(self), mapping, 0, PAGE_SIZE, true, true);
  yield* refused(self, "EOPNOTSUPP", map, "a window with sync");
}

export const holes = volumeStory({
  name: "sync-fault-holes",
  about:
    "Two threads store to two holes beside one another, and persist what they have stored: one fault gives " +
    `both of them blocks. ${FOUND}`,
  from: "dax_finish_sync_fault; IOMAP_F_DIRTY: the other fault's allocation, not yet committed",
  blocks: 2,
  files: [{ name: "A", pages: ".." }],
  windows: [{ ...synced, pages: 2 }],
  actors: {
    *one(volume, self) {
      yield* volume.store(self, 0, 0, "S");
      yield* persists(volume, self, 0);
    },
    *other(volume, self) {
      yield* volume.store(self, 0, 1, "T");
      yield* persists(volume, self, 1);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["ST"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const shownByAnother = volumeStory({
  name: "sync-fault-shown-by-another",
  about:
    "A sync window shows a hole as zeroes, when it is filled through a window without sync: the page takes " +
    `the place of the zeroes in both. ${FOUND}`,
  from: "dax_insert_entry unmaps the zero page, and the next fault is a sync fault; here it is shown in its place",
  blocks: 1,
  files: [{ name: "A", pages: "." }],
  windows: [synced, plain],
  actors: {
    *user(volume, self) {
      yield* loads(volume, self, 0, 0, [".", "T"]);
      yield* volume.store(self, 0, 0, "S");
    },
    other: (volume, self) => volume.store(self, 1, 0, "T"),
  },
  finally: (volume) => ensureShown(volume, "A", ["S", "T"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const pinned = volumeStory({
  name: "sync-fault-pin",
  about:
    "A hole that a sync window shows as zeroes is pinned, which gives it a block, and written by an I/O. It is " +
    `taken out of the window, so that the next touch is a fault. ${FOUND}`,
  from: "pin_user_pages of a hole, and a MAP_SYNC mapping of it",
  blocks: 1,
  files: [{ name: "A", pages: "." }],
  windows: [{ ...synced, shown: [0] }],
  actors: {
    user: (volume, self) => volume.store(self, 0, 0, "S"),
    io: (volume, self) => pinnedIo(volume, self, 0, 1),
  },
  finally: (volume) => ensureShown(volume, "A", ["S", "W"]),
  explore: { strategy: "pct", depth: 3, schedules: 2000 },
});

export const written = volumeStory({
  name: "sync-fault-write",
  about:
    "Page 0, a hole that a sync window shows as zeroes, is filled by a write call, which also extends the " +
    `file by page 1. ${FOUND}`,
  from: "ext4_dax_write_iter extends i_size beside a MAP_SYNC mapping",
  blocks: 2,
  files: [{ name: "A", pages: "." }],
  windows: [{ ...synced, pages: 2, shown: [0] }],
  actors: {
    *user(volume, self) {
      yield* volume.store(self, 0, 0, "S");
      yield* volume.store(self, 0, 1, "S");
    },
    write: (volume, self) => writePages(volume, self, "A", 0, 2, "W"),
  },
  explore: { strategy: "pct", depth: 3, schedules: 2000 },
});

/** Stores to the file's last page, after which a crash leaves all of it. */
function* storesToLast(volume: Volume, self: Self, name: string): Sleeps<void> {
  const file = volume.file(name);
  yield* volume.store(self, 0, Math.ceil(volume.sizeOf(file) / PAGE_SIZE) - 1, "S");
  volume.ensureSizeKept(file, `when ${self.name} has stored to its last page`);
}

export const grown = volumeStory({
  name: "sync-fault-grown",
  about:
    "A file grows in every way there is, over its last page, which a sync window shows, and by others, which " +
    "were touched before. What is stored to its last page afterwards lies inside it after a crash.",
  from: "MAP_SYNC promises the offset of what is mapped; i_size of an extending write is not flushed by it",
  blocks: 12,
  files: [{ name: "A", pages: "=" }],
  windows: [{ ...synced, pages: 8 }],
  actors: {
    *user(volume, self) {
      const dax = volume.dax(self);
      const { mapping } = volume.file("A");
      yield* truncate(volume, self, "A", PAGE_SIZE / 2);
      yield* storesToLast(volume, self, "A");
      yield* truncate(volume, self, "A", PAGE_SIZE);
      yield* storesToLast(volume, self, "A");
      yield* loads(volume, self, 0, 1, ["."]);
      yield* writePages(volume, self, "A", 1, 1, "W");
      yield* storesToLast(volume, self, "A");
      yield* loads(volume, self, 0, 2, ["."]);
      yield* zeroRange(self.task, dax, mapping, 3 * PAGE_SIZE, PAGE_SIZE / 2, false);
      yield* volume.store(self, 0, 2, "S");
      yield* storesToLast(volume, self, "A");
      yield* loads(volume, self, 0, 4, ["."]);
      const range = { sourceOffset: 0, offset: 5 * PAGE_SIZE, length: PAGE_SIZE };
      yield* cloneRange(self.task, dax, mapping, mapping, range);
      yield* volume.store(self, 0, 3, "S");
      yield* volume.store(self, 0, 4, "S");
      yield* storesToLast(volume, self, "A");
      yield* collapseRange(self.task, dax, mapping, 0, PAGE_SIZE);
      yield* storesToLast(volume, self, "A");
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["SSSSS"]),
  explore: { strategy: "reduced" },
});

export const copied = volumeStory({
  name: "sync-fault-copied",
  about:
    "A shares its block with B. It is stored to through a sync window, which copies it first, while it is " +
    `cloned to C. ${FOUND}`,
  from: "dax_iomap_pte_fault of a shared extent under MAP_SYNC: the CoW fork's remap has to be logged",
  blocks: 4,
  files: [...AB, { name: "C", pages: "." }],
  clones: [A_IN_B],
  windows: [synced],
  actors: {
    *user(volume, self) {
      yield* volume.store(self, 0, 0, "S");
      yield* persists(volume, self, 0);
      yield* volume.store(self, 0, 0, "S");
    },
    clone: (volume, self) => clone(volume, self, "A", "C"),
  },
  finally: (volume) => ensureShown(volume, "A", ["S"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const copiedLost = volumeStory({
  name: "sync-fault-copied-lost",
  about:
    "A shared page is lost in a sync window, for want of room for a copy. When there is room, a touch of " +
    `another window has it copied, and it is found in all, also in one that only reads. ${FOUND}`,
  from: "dax/unshare.ts, makeEntries: a copy is shown where it was lost",
  blocks: 2,
  files: [...AB, { name: "C", pages: "=" }],
  clones: [A_IN_B],
  windows: [synced, plain, { ...plain, writable: false }],
  actors: {
    *user(volume, self) {
      yield* loads(volume, self, 0, 0, ["."]);
      yield* truncate(volume, self, "C");
      yield* loads(volume, self, 1, 0, ["A"]);
      yield* volume.store(self, 0, 0, "S");
      yield* loads(volume, self, 1, 0, ["S"]);
      yield* loads(volume, self, 2, 0, ["S"]);
    },
  },
  explore: { strategy: "reduced" },
});

export const folio = volumeStory({
  name: "sync-fault-folio",
  about:
    "The first 2 MiB of a file are one folio but for their last page, which is written while a touch of a sync " +
    `window shows the others. ${FOUND}`,
  from: "dax_iomap_pmd_fault under MAP_SYNC; dax_finish_sync_fault looks for the entry again",
  blocks: HUGE_PAGES,
  files: [{ name: "A", pages: `${"=".repeat(HUGE_PAGES - 1)}.` }],
  windows: [{ ...synced, pages: HUGE_PAGES }],
  actors: {
    *user(volume, self) {
      yield* volume.store(self, 0, 5, "S");
      yield* volume.store(self, 0, HUGE_PAGES - 1, "S");
    },
    write: (volume, self) => writePages(volume, self, "A", HUGE_PAGES - 1, 1, "W"),
  },
  explore: { strategy: "pct", depth: 2, schedules: 60 },
});

export const zeroed = volumeStory({
  name: "sync-fault-zeroed",
  about:
    "A's hole gets the block that B has given up. When its place in A is on the medium, so are its zeroes: " +
    "a crash does not show B's bytes in A.",
  from: "DESIGN.md 5.6, invariant 8: never another file's bytes",
  blocks: 1,
  files: [
    { name: "A", pages: "." },
    { name: "B", pages: "=" },
  ],
  windows: [synced],
  actors: {
    *user(volume, self) {
      yield* truncate(volume, self, "B");
      yield* volume.store(self, 0, 0, "S");
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["S"]),
  explore: { strategy: "reduced" },
});

export const clean = volumeStory({
  name: "sync-fault-clean",
  about:
    "What is on the medium is shown without a flush: at first, when nothing has changed at all; and later, when " +
    "another file has changed. What is allocated is flushed once, with all that has changed, and not for a window " +
    "without sync.",
  from: "IOMAP_F_DIRTY; dax/sync-fault.ts: a layout's sequence",
  blocks: 6,
  files: [
    { name: "A", pages: "==." },
    { name: "B", pages: ".." },
    { name: "C", pages: "=" },
  ],
  windows: [
    { ...synced, pages: 3 },
    { ...synced, pages: 3 },
    { ...plain, file: "B", pages: 2 },
    { ...synced, file: "C" },
  ],
  actors: {
    *user(volume, self) {
      volume.fail(self, "persist");
      yield* volume.store(self, 0, 0, "S");
      yield* writePages(volume, self, "B", 0, 1);
      yield* volume.store(self, 0, 1, "S");
      volume.mend(self);
      yield* volume.store(self, 0, 2, "S");
      volume.fail(self, "persist");
      yield* loads(volume, self, 3, 0, ["C"]);
      yield* writePages(volume, self, "B", 1, 1);
      yield* loads(volume, self, 2, 1, ["B"]);
      yield* loads(volume, self, 1, 2, ["S"]);
      ensure(volume.lostIn(self, 0) === null, "a touch was flushed for that has no need of it");
      ensure(volume.lostIn(self, 1) === null, "a page was flushed for twice");
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["SSS"]),
  explore: { strategy: "reduced" },
});

export const refusedCopied = volumeStory({
  name: "sync-window-copied",
  about: "A file that is copied cannot have windows with sync, and a direct one beside it can.",
  from: "dax/sync-fault.ts, assertSync; mmap(2): EOPNOTSUPP for MAP_SYNC",
  blocks: 2,
  cachePages: 1,
  files: [
    { name: "A", pages: "=" },
    { name: "B", pages: "=", direct: true },
  ],
  actors: {
    *user(volume, self) {
      yield* refusesSync(volume, self, "A");
      const { mapping } = volume.file("B");
      assertSync(volume.dax(self), mapping);
      const view = yield* mapWindow(self.task, volume.dax(self), mapping, 0, PAGE_SIZE, true, true);
      ensure(view.sync, "a window with sync says that it is none");
    },
  },
  explore: { strategy: "reduced" },
});

export const refusedPopulated = volumeStory({
  name: "sync-window-populated",
  about: "Where windows cannot fault, no file can have those with sync.",
  from: "dax/sync-fault.ts, assertSync; hosts without userfaultfd",
  blocks: 1,
  files: [{ name: "A", pages: "=" }],
  faults: false,
  actors: { user: (volume, self) => refusesSync(volume, self, "A") },
  explore: { strategy: "reduced" },
});

export const fails = volumeStory({
  name: "sync-fault-fails",
  about:
    "The medium fails while pages are touched through a sync window: they are lost there, and the window tells " +
    "of them. A pin fills a hole there all the same. The next fault of one that has no entry brings it back, by whatever window; one whose entry is " +
    `there is brought back by a write call. ${FOUND}`,
  from: "DESIGN.md 5.2: a touch never kills; dax_finish_sync_fault answers VM_FAULT_SIGBUS",
  blocks: 2,
  files: [{ name: "A", pages: ".." }],
  windows: [
    { ...synced, pages: 2 },
    { ...plain, pages: 2 },
  ],
  actors: {
    *user(volume, self) {
      volume.fail(self, "persist");
      yield* pinnedIo(volume, self, 1, 1);
      yield* volume.store(self, 0, 0, "S");
      yield* volume.store(self, 0, 1, "S");
      ensure(volume.windowShown(0) === "xx", `the window shows ${volume.windowShown(0)}`);
      ensure(volume.lostIn(self, 0)?.pages === 2, "the window does not tell of its lost pages");
      volume.mend(self);
      yield* loads(volume, self, 1, 0, ["."]);
      yield* volume.store(self, 0, 0, "S");
      yield* writePages(volume, self, "A", 1, 1, "V");
      yield* volume.store(self, 0, 1, "S");
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["SS"]),
  explore: { strategy: "reduced" },
});

export const killed = volumeStory({
  name: "sync-fault-killed",
  about:
    "A thread dies while it serves a sync fault. Another one touches the page: what the dead one had not put on " +
    `the medium, this one does. ${FOUND}`,
  from: "dax/sync-fault.ts, rule 2: noted when it is done; metadata/transaction.ts: counted once too often",
  blocks: 1,
  files: [{ name: "A", pages: "." }],
  windows: [synced],
  actors: {
    victim: (volume, self) => volume.store(self, 0, 0, "S"),
    user: (volume, self) => volume.store(self, 0, 0, "T"),
  },
  environment: { death: { kill: "victim" } },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const persisted = volumeStory({
  name: "sync-fault-persist",
  about:
    "A page is stored to through a sync window, and persisted, while the page before it is cut out of the file, " +
    "or a page after it punched.",
  from: "msync of a range; pmem_persist; DESIGN.md 5.6, invariant 8",
  blocks: 4,
  files: [{ name: "A", pages: "===" }],
  windows: [{ ...synced, pages: 3 }],
  actors: {
    *user(volume, self) {
      yield* volume.store(self, 0, 1, "S");
      yield* persists(volume, self, 1);
    },
    *change(volume, self) {
      yield* punch(volume, self, 2, 1);
      const { mapping } = volume.file("A");
      yield* collapseRange(self.task, volume.dax(self), mapping, 0, PAGE_SIZE);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["S.", "A.", "AS"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const movedMeanwhile = volumeStory({
  name: "sync-fault-moved",
  about:
    "A page is stored to through a sync window. Then a hole is put before it, and its program persists its store " +
    `where the page is now. ${FOUND}`,
  from: "dax/write-back.ts, persistStores: and what a layout change has moved meanwhile",
  blocks: 2,
  files: [{ name: "A", pages: "=" }],
  windows: [{ ...synced, pages: 2 }],
  actors: {
    *user(volume, self) {
      const file = volume.file("A");
      yield* volume.store(self, 0, 0, "S");
      yield* insertRange(self.task, volume.dax(self), file.mapping, 0, PAGE_SIZE);
      yield* persists(volume, self, 1);
      volume.ensureSizeKept(file, `when ${self.name} has persisted its store`);
    },
  },
  finally: (volume) => ensureShown(volume, "A", [".S"]),
  explore: { strategy: "reduced" },
});
