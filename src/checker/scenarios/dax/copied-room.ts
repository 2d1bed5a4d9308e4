/** Room in the page cache: which pages leave it, which stay, and what a thread that dies leaves of it. */
import { InvariantError } from "../../../base/invariant.ts";
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { evictMapping } from "../../../dax/layout-change.ts";
import { pinRange } from "../../../dax/pins.ts";
import { writeBackCopied } from "../../../dax/write-back.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";
import { contentShown } from "../../world/device.ts";
import {
  drops,
  ensureCached,
  evicts,
  reads,
  readsDirectly,
  writesDirectly,
} from "./copied-play.ts";
import { ensureShown, loads, pinnedIo, refused, volumeStory, writePages } from "./play.ts";

/** What `sync` does with files before it flushes the device. */
function* syncsVolume(volume: Volume, self: Self): Sleeps<void> {
  const { dax, device } = volume.hand(self);
  yield* writeBackCopied(self.task, dax);
  device.persist(0, device.size);
}

export const clock = volumeStory({
  name: "copied-clock",
  about:
    "One thread makes room in a cache of three pages, again and again: a page goes that was not used since " +
    "the clock's hand last passed, one at a time, and none where enough are free.",
  from: "dax/evict.ts, makeRoom; the second chance of a clock",
  blocks: 3,
  cachePages: 3,
  files: [{ name: "A", pages: "###" }],
  actors: {
    *user(volume, self) {
      yield* evicts(volume, self);
      ensureCached(volume, "A", ".##");
      yield* reads(volume, self, 1, ["A"]);
      yield* evicts(volume, self);
      ensureCached(volume, "A", ".#.");
      yield* reads(volume, self, 1, ["A"]);
      ensure(yield* evicts(volume, self, 2), "two pages that are free are not found");
      ensureCached(volume, "A", ".#.");
      ensure(!(yield* evicts(volume, self, 4)), "room for four pages is found in a cache of three");
      ensureCached(volume, "A", ".#.");
    },
  },
  explore: { strategy: "reduced" },
});

export const allPinned = volumeStory({
  name: "copied-all-pinned",
  about:
    "The only page of the cache is pinned: no room is found, a touch of another page finds it lost, and a pin " +
    "of that is refused. When the page is released, both have it.",
  from: "dax/evict.ts, makeRoom; docs/protocol.md: ENOMEM where all is pinned",
  blocks: 2,
  cachePages: 1,
  files: [
    { name: "A", pages: "=" },
    { name: "B", pages: "#" },
  ],
  windows: [{ file: "A", first: 0, pages: 1, writable: true }],
  actors: {
    *user(volume, self) {
      const file = volume.file("B");
      const pin = yield* pinRange(self.task, volume.dax(self), file.mapping, 0, PAGE_SIZE, true);
      ensure(!(yield* evicts(volume, self)), "room is found although all is pinned");
      yield* loads(volume, self, 0, 0, ["."]);
      yield* refused(self, "ENOMEM", () => pinnedIo(volume, self, 0, 1, []));
      volume.io(self, file, pin, "V");
      yield* pinnedIo(volume, self, 0, 1);
      yield* loads(volume, self, 0, 0, ["W"]);
    },
  },
  finally(volume) {
    ensureShown(volume, "A", ["W"]);
    ensureShown(volume, "B", ["V"]);
  },
  explore: { strategy: "reduced" },
});

export const evictForFault = volumeStory({
  name: "copied-evict-for-fault",
  about:
    "A page is touched while another one, which no window shows, has the only page of the cache: it makes " +
    "way. One that the window shows makes way for a pin, whose page is then in the window.",
  from: "dax/evict.ts, serveFault: what the thread that reads fault messages may not revoke",
  blocks: 3,
  cachePages: 1,
  files: [
    { name: "A", pages: "==" },
    { name: "B", pages: "#" },
  ],
  windows: [{ file: "A", first: 0, pages: 2, writable: true }],
  actors: {
    *user(volume, self) {
      yield* loads(volume, self, 0, 0, ["A"]);
      yield* loads(volume, self, 0, 1, ["A", "."]);
      yield* pinnedIo(volume, self, 1, 1);
      yield* loads(volume, self, 0, 1, ["W"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["AW"]),
  explore: { strategy: "reduced" },
});

export const populatedStays = volumeStory({
  name: "copied-populated-stays",
  about:
    "Where windows cannot fault, a page that one shows stays in the cache: it could not come back.",
  from: "dax/evict.ts, evictPage; hosts without userfaultfd",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "=" }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true }],
  faults: false,
  actors: {
    *user(volume, self) {
      ensure(!(yield* evicts(volume, self)), "a page makes way that a window shows");
      ensureCached(volume, "A", "#");
      yield* loads(volume, self, 0, 0, ["A"]);
    },
  },
  explore: { strategy: "reduced" },
});

export const evictFails = volumeStory({
  name: "copied-evict-fails",
  about:
    "A page that is dirty cannot be copied home when it is to make way: it stays, and keeps what was written. " +
    "A fault of the core's own comes out.",
  from: "dax/evict.ts, evictPage; folios that fail writeback in reclaim",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *user(volume, self) {
      yield* writePages(volume, self, "A", 0, 1, "W");
      volume.fail(self, "copyIn");
      ensure(!(yield* evicts(volume, self)), "a page makes way that was not copied home");
      ensureCached(volume, "A", "#");
      volume.fail(self, "copyIn", new InvariantError("the device breaks an invariant"));
      let broken: unknown = null;
      try {
        yield* evicts(volume, self);
      } catch (error) {
        broken = error;
      }
      ensure(broken instanceof InvariantError, "a broken invariant does not come out");
      volume.mend(self);
      ensure(yield* evicts(volume, self), "a page that can be copied home stays");
      yield* reads(volume, self, 0, ["W"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["W"]),
  explore: { strategy: "reduced" },
});

export const fillFails = volumeStory({
  name: "copied-fill-fails",
  about:
    "No record can be had for a page that was copied into the cache, for a touch or for a pin: the page of " +
    "the cache is free again.",
  from: "dax/fault.ts, cachePage: after fillPage",
  blocks: 1,
  cachePages: 1,
  exhausted: "page records",
  files: [{ name: "A", pages: "=" }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true }],
  actors: {
    *user(volume, self) {
      yield* loads(volume, self, 0, 0, ["."]);
      yield* refused(self, "ENOMEM", () => pinnedIo(volume, self, 0, 1, []));
    },
  },
  explore: { strategy: "reduced" },
});

export const recordLeaves = volumeStory({
  name: "copied-record-leaves",
  about:
    "Room is to be made while the record of the file that has the only page is being taken out of memory: " +
    "none is found, and the page stays to whoever takes it out.",
  from: "dax/evict.ts: HoldMapping",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *user(volume, self) {
      volume.dax(self).holdMapping = () => null;
      ensure(!(yield* evicts(volume, self)), "room is found that cannot be made");
      ensureCached(volume, "A", "#");
    },
  },
  explore: { strategy: "reduced" },
});

export const bothFindRoom = volumeStory({
  name: "copied-both-find-room",
  about:
    "Two threads make room in a cache of one page, which is free when both have done so: both find that, " +
    "whoever of them has freed it.",
  from: "dax/evict.ts: whether a page is free, by whoever evicted it",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *first(volume, self) {
      ensure(yield* evicts(volume, self), "the first one finds no room");
    },
    *second(volume, self) {
      ensure(yield* evicts(volume, self), "the second one finds no room");
    },
  },
  finally: (volume) => ensureCached(volume, "A", "."),
});

export const takenMeanwhile = volumeStory({
  name: "copied-taken-meanwhile",
  about:
    "A page of the cache becomes another file's while a third thread waits to evict it: the other file keeps " +
    "it, though the file that had it has nothing there any more.",
  from: "dax/evict.ts: whose a page is, is looked at again under the map lock",
  blocks: 2,
  cachePages: 1,
  files: [
    { name: "A", pages: "=" },
    { name: "B", pages: "#" },
  ],
  actors: {
    *io(volume, self) {
      yield* drops(volume, self, "B");
      yield* pinnedIo(volume, self, 0, 1, ["ENOMEM"]);
    },
    evict: (volume, self) => evicts(volume, self),
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const directBeside = volumeStory({
  name: "copied-direct-beside",
  about:
    "A volume has a copied file and a direct one: I/Os on pins of both, and a window over the direct one, " +
    "reach the page of the cache and the block.",
  from: "dax/dax.ts, storageOf; FS_XFLAG_DAX per file",
  blocks: 2,
  cachePages: 1,
  files: [
    { name: "A", pages: "=" },
    { name: "B", pages: "#", direct: true },
  ],
  windows: [{ file: "B", first: 0, pages: 1, writable: true }],
  actors: {
    *user(volume, self) {
      yield* pinnedIo(volume, self, 0, 1, [], "B");
      yield* loads(volume, self, 0, 0, ["W"]);
      const read = yield* volume.read(self, volume.file("B"), 0, 1);
      ensure(read === "W", `a read of the direct file finds "${read}"`);
      yield* readsDirectly(volume, self, 0, ["W"], "B");
      yield* writesDirectly(volume, self, 0, "B");
      yield* loads(volume, self, 0, 0, ["D"]);
    },
    io: (volume, self) => pinnedIo(volume, self, 0, 1),
  },
  finally(volume) {
    ensureShown(volume, "A", ["W"]);
    ensureShown(volume, "B", ["D"]);
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const killedBesideEviction = volumeStory({
  name: "copied-evict-killed-beside",
  about:
    "A thread dies while it takes a page of a file out of the cache, another one takes out a page of another " +
    "file, and who finishes the removal takes a page: that was given back once.",
  from: "dax/page-cache.ts, giveOrphans: of one mapping",
  blocks: 3,
  cachePages: 2,
  files: [
    { name: "A", pages: "#=" },
    { name: "B", pages: "#" },
  ],
  environment: { kill: { kill: "victim" } },
  actors: {
    victim: (volume, self) => drops(volume, self, "A"),
    other: (volume, self) => drops(volume, self, "B"),
    io: (volume, self) => pinnedIo(volume, self, 1, 1),
  },
  finally: (volume) => ensureShown(volume, "A", ["AW"]),
  explore: { strategy: "pct", depth: 3, schedules: 1500 },
});

export const killedBesideFill = volumeStory({
  name: "copied-fill-killed-beside",
  about:
    "A thread dies while it copies a page into the cache, another one copies a page of another file, and who " +
    "finds the first one dead takes a page: not the one that is being filled.",
  from: "dax/page-cache.ts, recoverFilling: of the dead thread",
  blocks: 3,
  cachePages: 3,
  files: [
    { name: "A", pages: "==" },
    { name: "B", pages: "=" },
  ],
  environment: { kill: { kill: "victim" } },
  actors: {
    victim: (volume, self) => pinnedIo(volume, self, 0, 1),
    other: (volume, self) => pinnedIo(volume, self, 0, 1, [], "B"),
    io: (volume, self) => writePages(volume, self, "A", 1, 1, "W"),
  },
  explore: { strategy: "pct", depth: 3, schedules: 1500 },
});

/** The bit is set in the number of the thread that dies: a second actor has an even one. */
export const usedWhileFilled = volumeStory({
  name: "copied-used-while-filled",
  about:
    "A page is read by a call while a thread that has copied it into the cache dies, before it has noted " +
    "whose the page is: that is noted, by whoever finds it dead.",
  from: "dax/page-cache.ts, noteUsed",
  blocks: 2,
  cachePages: 2,
  files: [{ name: "A", pages: "#=" }],
  environment: { kill: { kill: "victim" } },
  actors: {
    *reader(volume, self) {
      yield* reads(volume, self, 0, ["A"]);
      yield* reads(volume, self, 1, ["A", "W"]);
    },
    victim: (volume, self) => pinnedIo(volume, self, 1, 1),
  },
  explore: { strategy: "pct", depth: 2, schedules: 1500 },
});

/** It is cleared of it: a first actor has an odd one. */
export const passedWhileTaken = volumeStory({
  name: "copied-passed-while-taken",
  about:
    "The clock's hand passes a page of the cache while that is evicted, and taken by a thread that dies: the " +
    "page is free afterwards.",
  from: "dax/page-cache.ts, tick",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "#" }],
  environment: { kill: { kill: "victim" } },
  actors: {
    *victim(volume, self) {
      const { pageCache } = volume.dax(self);
      yield* drops(volume, self, "A");
      pageCache!.giveTaken(pageCache!.take());
    },
    hand(volume, self) {
      volume.dax(self).pageCache!.tick();
    },
  },
});

export const syncBesideFault = volumeStory({
  name: "copied-sync-beside-fault",
  about:
    "One thread's touch takes the place of a zero page; another one, which has the window too, stores as soon " +
    "as it can, and has the whole volume written back: what it stored is persistent.",
  from: "dax/write-back.ts, writeBackCopied; sync(2)",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "." }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true, shown: [0] }],
  actors: {
    first: (volume, self) => volume.store(self, 0, 0, "S"),
    *second(volume, self) {
      yield* volume.store(self, 0, 0, "S");
      yield* syncsVolume(volume, self);
      const kept = contentShown(volume.persistent(volume.blockOf(volume.file("A"), 0)));
      ensure(kept === "S", `after a sync, "${kept}" is persistent of what was stored`);
    },
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const syncBesidePin = volumeStory({
  name: "copied-sync-beside-pin",
  about:
    "One thread's pin brings a page into the cache; another one pins it as soon as it can, writes to it, and " +
    "has the whole volume written back: what it wrote is persistent.",
  from: "dax/write-back.ts, writeBackCopied; sync(2)",
  blocks: 1,
  cachePages: 1,
  synced: true,
  files: [{ name: "A", pages: "=" }],
  actors: {
    first: (volume, self) => pinnedIo(volume, self, 0, 1),
    *second(volume, self) {
      yield* pinnedIo(volume, self, 0, 1);
      yield* syncsVolume(volume, self);
      volume.ensurePersistent(volume.file("A"), "after a sync");
    },
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const syncAll = volumeStory({
  name: "copied-sync-all",
  about:
    "A volume of two copied files and a direct one is written back: when one of them cannot be, the other ones " +
    "are all the same, and the error comes out then.",
  from: "dax/write-back.ts, writeBackCopied; sync_filesystem",
  blocks: 3,
  cachePages: 2,
  synced: true,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "#" },
    { name: "C", pages: "=", direct: true },
  ],
  windows: [{ file: "C", first: 0, pages: 1, writable: true }],
  actors: {
    *user(volume, self) {
      yield* pinnedIo(volume, self, 0, 1);
      yield* pinnedIo(volume, self, 0, 1, [], "B");
      const dax = volume.dax(self);
      const { acquireMapping } = dax;
      const first = volume.file("A").ino;
      dax.acquireMapping = function* (ino) {
        if (ino === first) volume.fail(self, "copyIn");
        else volume.mend(self);
        return yield* acquireMapping(ino);
      };
      yield* refused(self, "EIO", () => syncsVolume(volume, self), "a sync that cannot copy home");
      volume.ensurePersistent(volume.file("B"), "after a sync that has failed");
      volume.mend(self);
      // Its record has been taken out.
      yield* pinnedIo(volume, self, 0, 1, [], "B");
      dax.acquireMapping = function* (ino) {
        return ino === first ? null : yield* acquireMapping(ino);
      };
      yield* syncsVolume(volume, self);
      volume.ensurePersistent(volume.file("B"), "after a sync");
    },
  },
  explore: { strategy: "reduced" },
});

export const unnamed = volumeStory({
  name: "copied-unnamed",
  about:
    "A file without a name goes with its blocks, while the device fails at whatever is written to it. What was " +
    "stored to its cached page is nobody's, and is not copied home.",
  from: "dax/layout-change.ts, evictMapping; truncate_inode_pages_final: dirty pages of it are dropped",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *user(volume, self) {
      yield* pinnedIo(volume, self, 0, 1);
      volume.fail(self, "copyIn");
      yield* evictMapping(self.task, volume.dax(self), volume.file("A").mapping, () => {});
      ensureCached(volume, "A", ".");
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["."]),
  explore: { strategy: "reduced" },
});
