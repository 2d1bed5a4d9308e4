/** Touches that fail, are given up or come too late, over shared blocks and of copied files; pins likewise. */
import { InvariantError } from "../../../base/invariant.ts";
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { pinRange } from "../../../dax/pins.ts";
import { LeaseKind, requestLease, returnLease } from "../../../layout/lease.ts";
import { lockEntry } from "../../../mapping/entries.ts";
import { load, store, wakeAll } from "../../../sync/atomics.ts";
import { ensure } from "../../scenario.ts";
import { reads } from "./copied-play.ts";
import {
  ensureShown,
  loads,
  mayFail,
  pinnedIo,
  refused,
  sync,
  volumeStory,
  writePages,
} from "./play.ts";
import { A_IN_B, AB, truncate } from "./sharing-play.ts";

const reader = { file: "A", first: 0, pages: 1, writable: false };
const writer = { ...reader, writable: true };

export const failedShared = volumeStory({
  name: "cow-failed-touch",
  about:
    "A shared block has its entries, and a touch of A cannot read the file's extents. A window that reads shows " +
    "what the entry names all the same; in one that writes the page is lost until it is A's own.",
  from: "dax/fault.ts, mayShow",
  blocks: 2,
  files: AB,
  clones: [{ ...A_IN_B, present: ["A", "B"] }],
  windows: [writer, reader],
  actors: {
    *user(volume, self) {
      volume.fail(self, "extentAt");
      yield* loads(volume, self, 0, 0, ["."]);
      yield* loads(volume, self, 1, 0, ["A"]);
      volume.mend(self);
      yield* writePages(volume, self, "A", 0, 1, "V");
      for (const window of [0, 1]) yield* loads(volume, self, window, 0, ["V"]);
    },
  },
  finally: (volume) => ensureShown(volume, "B", ["A"]),
  explore: { strategy: "reduced" },
});

export const syncBroken = volumeStory({
  name: "sync-fault-broken",
  about:
    "A pin has filled a hole, and a touch of a sync window cannot read the file's extents. When an invariant " +
    "breaks while it puts the pin's block on the medium, that comes out of the fault, and nothing is shown.",
  from: "dax/fault.ts, mayShow; CONTRIBUTING.md: an invariant that fails is a fault of ours",
  blocks: 1,
  files: [{ name: "A", pages: "." }],
  windows: [{ ...writer, sync: true }],
  actors: {
    *user(volume, self) {
      yield* pinnedIo(volume, self, 0, 1);
      volume.fail(self, "extentAt");
      volume.fail(self, "persist", new InvariantError("the device breaks an invariant"));
      let broken: unknown = null;
      try {
        yield* volume.load(self, 0, 0);
      } catch (error) {
        broken = error;
      }
      ensure(broken instanceof InvariantError, "a broken invariant does not come out of a fault");
      ensure(volume.windowShown(0) === "-", `the window shows ${volume.windowShown(0)}`);
      volume.mend(self);
      yield* volume.store(self, 0, 0, "S");
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["S"]),
  explore: { strategy: "reduced" },
});

export const touchAborted = volumeStory({
  name: "cow-touch-aborted",
  about:
    "A touch of a shared page waits for a lease, before it copies the page, and is aborted: nothing is shown, " +
    "and the touch is not lost. If the lease expires first, what is stored is there.",
  from: "sync/sleep.ts, rule 2; dax/fault.ts, resolveFault",
  blocks: 2,
  files: AB,
  clones: [A_IN_B],
  windows: [writer],
  actors: {
    *holder(volume, self) {
      const { words } = self.thread;
      const { told } = volume.shared;
      const pages = { first: 0, last: 0, kind: LeaseKind.shared, graceMs: 5, returnsOwn: false };
      const lease = yield* requestLease(self.task, volume.file("A").mapping, pages);
      while (load(words, told) === 0) {
        yield { word: told, expected: 0, what: () => "the end of the touch" };
      }
      returnLease(self.thread, lease);
    },
    *user(volume, self) {
      const aborted = yield* mayFail(self, ["ABORT_ERR"], () => volume.store(self, 0, 0, "S"));
      const shown = volume.windowShown(0);
      ensure(shown === (aborted ? "-" : "#"), `the window shows ${shown} after the touch`);
      store(self.thread.words, volume.shared.told, 1);
      wakeAll(self.thread.words, volume.shared.told);
    },
  },
  environment: { abort: { abort: "user" } },
  finally: (volume) => ensureShown(volume, "A", ["A", "S"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const touchClosed = volumeStory({
  name: "cow-touch-closed",
  about:
    "A window is closed while a touch of it is about to copy a shared page: nothing is copied for a window that " +
    "is there no more.",
  from: "dax/fault.ts, unshareTouched: looked at again under the lock",
  blocks: 2,
  files: AB,
  clones: [A_IN_B],
  windows: [writer],
  actors: {
    touch: (volume, self) => volume.store(self, 0, 0, "S"),
    *close(volume, self) {
      const file = volume.file("A");
      yield* volume.viewOf(self, 0).closeWith(self.task);
      store(self.thread.words, volume.shared.told, volume.blockOf(file, 0));
    },
  },
  finally(volume) {
    const before = load(volume.words, volume.shared.told);
    const after = volume.blockOf(volume.file("A"), 0);
    ensure(before === after, `A has block ${after}, and had ${before} when its window was closed`);
    ensureShown(volume, "A", ["A", "S"]);
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const pinOfLost = volumeStory({
  name: "dax-poison-pin-beside",
  about:
    "Two pages are pinned, one of which the storage has lost, and a window is over both that nobody has touched. " +
    "The pin is refused; the window neither shows them nor tells of them.",
  from: "dax/fault.ts, hidePoisoned",
  blocks: 2,
  files: [{ name: "A", pages: "==" }],
  windows: [{ ...writer, pages: 2 }],
  actors: {
    *user(volume, self) {
      const dax = volume.dax(self);
      const { mapping } = volume.file("A");
      dax.pages.bad.add(0, 0);
      const pin = () => pinRange(self.task, dax, mapping, 0, 2 * PAGE_SIZE, false);
      yield* refused(self, "EIO", pin, "a pin of a lost page");
      ensure(volume.windowShown(0) === "--", `the window shows ${volume.windowShown(0)}`);
      ensure(volume.lostIn(self, 0) === null, "a page is told as lost that nobody has touched");
    },
  },
  explore: { strategy: "reduced" },
});

export const filledNoted = volumeStory({
  name: "dax-sync-filled",
  about:
    "A hole is pinned for reading, which gives it a block that was another file's, zeroed, while the file is " +
    "written back. If the block was the file's before, its zeroes are persistent afterwards.",
  from: "dax/fault.ts, mappedExtent; DESIGN.md 5.6, invariant 8: never another file's bytes",
  blocks: 1,
  synced: true,
  files: [
    { name: "A", pages: "." },
    { name: "B", pages: "#" },
  ],
  actors: {
    *reader(volume, self) {
      yield* truncate(volume, self, "B");
      const { mapping } = volume.file("A");
      (yield* pinRange(self.task, volume.dax(self), mapping, 0, PAGE_SIZE, false)).release();
    },
    *sync(volume, self) {
      const file = volume.file("A");
      yield* sync(volume, self);
      const isFilled = volume.blockHeld(file, 0) >= 0;
      yield* sync(volume, self);
      if (isFilled) volume.ensurePersistent(file, "after a write-back of a hole that was filled");
    },
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const pinWithoutBlocks = volumeStory({
  name: "copied-pin-full",
  about:
    "A hole of a copied file is pinned on a full volume: the pin is refused, since what is written there could " +
    "not be copied home later.",
  from: "dax/copied.ts, rule 4: fsync does not meet a full volume",
  blocks: 1,
  cachePages: 1,
  files: [
    { name: "A", pages: "." },
    { name: "B", pages: "=" },
  ],
  actors: {
    *user(volume, self) {
      yield* refused(self, "ENOSPC", () => pinnedIo(volume, self, 0, 1, []), "a pin of a hole");
      yield* truncate(volume, self, "B");
      yield* pinnedIo(volume, self, 0, 1, []);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["W"]),
  explore: { strategy: "reduced" },
});

export const noRecords = volumeStory({
  name: "copied-no-records",
  about:
    "Windows show a copied file's hole as zeroes, and there is no record left for a page of the cache. A pin is " +
    "refused, and the windows show nothing; a store is lost, and no window keeps the page that it was to have.",
  from: "dax/fault.ts, cachePage",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "." }],
  windows: [
    { ...writer, shown: [0] },
    { ...reader, shown: [0] },
  ],
  exhausted: "page records",
  actors: {
    *user(volume, self) {
      const shown = (): string => `${volume.windowShown(0)} ${volume.windowShown(1)}`;
      yield* volume.store(self, 0, 0, "S");
      ensure(shown() === "x x", `after a touch the windows show ${shown()}`);
      yield* refused(self, "ENOMEM", () => pinnedIo(volume, self, 0, 1, []), "a pin");
      ensure(shown() === "- -", `after a pin the windows show ${shown()}`);
    },
  },
  explore: { strategy: "reduced" },
});

export const entryLeft = volumeStory({
  name: "copied-entry-left",
  about:
    "A thread has locked the entry of a page that it brings into the cache, and dies. Another one reads the page " +
    "by a call: it sleeps until the dead one's lock is given back, and finds the block.",
  from: "dax/copied.ts, settledPage; mapping/entries.ts, recoverEntries",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "=" }],
  actors: {
    *victim(volume, self) {
      yield* lockEntry(self.task, volume.file("A").mapping, 0, false);
      yield { word: volume.shared.told, expected: 0, what: () => "its death" };
    },
    other: (volume, self) => reads(volume, self, 0, ["A"]),
  },
  environment: { kill: { kill: "victim" } },
  explore: { strategy: "reduced" },
});
