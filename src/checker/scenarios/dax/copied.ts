/** Copied files: pages that come into the page cache and leave it, whatever goes on beside. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { tryPinRange } from "../../../dax/pins.ts";
import { punchHole } from "../../../dax/layout-change.ts";
import { ensure } from "../../scenario.ts";
import { evicts, reads, readsDirectly, writesDirectly } from "./copied-play.ts";
import {
  ensureShown,
  loads,
  mayFail,
  pinnedIo,
  punch,
  sync,
  syncsAll,
  truncate,
  volumeStory,
  writePages,
} from "./play.ts";

export const fillTruncate = volumeStory({
  name: "copied-fill-truncate",
  about:
    "A page is touched through a window, and so copied into the cache, while the file is truncated to " +
    "nothing. It is shown before, and gone with the truncate, or lost.",
  from: "dax/copied.ts, rule 1; filemap_fault against truncate_pagecache",
  blocks: 2,
  cachePages: 2,
  files: [{ name: "A", pages: "==" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: true }],
  actors: {
    user: (volume, self) => loads(volume, self, 0, 1, ["A", "."]),
    truncate: (volume, self) => truncate(volume, self),
  },
});

export const fillTwice = volumeStory({
  name: "copied-two-faults",
  about:
    "A page is touched through a window and pinned by another thread's I/O at once: one copy of it comes " +
    "into the cache, which both use, and the other cache page is free again.",
  from: "dax/fault.ts, cachePage; two readers of one page in filemap_get_pages",
  blocks: 1,
  cachePages: 2,
  files: [{ name: "A", pages: "=" }],
  windows: [{ file: "A", first: 0, pages: 1, writable: false }],
  actors: {
    user: (volume, self) => loads(volume, self, 0, 0, ["A", "W"]),
    io: (volume, self) => pinnedIo(volume, self, 0, 1),
  },
  finally: (volume) => ensureShown(volume, "A", ["W"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const fillWrite = volumeStory({
  name: "copied-fill-write",
  about:
    "A write call stores to a page while it is copied into the cache by a touch: it goes where the bytes " +
    "are, so that whoever reads afterwards, in whatever way, finds it.",
  from: "dax/copied.ts, rule 2; generic_file_write_iter and the page lock",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "=" }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true }],
  actors: {
    user: (volume, self) => loads(volume, self, 0, 0, ["A", "W"]),
    *write(volume, self) {
      yield* writePages(volume, self, "A", 0, 1, "W");
      yield* reads(volume, self, 0, ["W"]);
      yield* loads(volume, self, 0, 0, ["W"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["W"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const writeBackStore = volumeStory({
  name: "copied-write-back-store",
  about:
    "A page is stored to through a window, and written back, while another thread stores to it, too, and " +
    "the window is taken away by a punch of the page after it: nothing that was stored is forgotten.",
  from: "dax/write-back.ts, rule 1; folio_clear_dirty_for_io before the copy",
  blocks: 2,
  cachePages: 2,
  synced: true,
  files: [{ name: "A", pages: "==" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: true, shown: [0] }],
  actors: {
    *user(volume, self) {
      yield* volume.store(self, 0, 0, "S");
      yield* syncsAll(volume, self, 0, 1);
    },
    *punch(volume, self) {
      yield* sync(volume, self);
      yield* punch(volume, self, 1, 1);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["S."]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const writeBackPin = volumeStory({
  name: "copied-write-back-pin",
  about:
    "A page is pinned and written by an I/O while the file is written back: the pin is seen and the page " +
    "keeps its mark, or what it wrote is copied home and persistent.",
  from: "pin/pin.ts, invariant 4, over the page cache",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *io(volume, self) {
      yield* pinnedIo(volume, self, 0, 1);
      yield* syncsAll(volume, self);
    },
    sync: (volume, self) => sync(volume, self),
  },
});

export const evictPin = volumeStory({
  name: "copied-evict-pin",
  about:
    "The only page of the cache is evicted while it is pinned and written by an I/O, on the fast path where " +
    "it can: the pin is seen, and the page stays, or it comes back from the blocks.",
  from: "dax/evict.ts; shrink_folio_list: folio_maybe_dma_pinned after the unmap",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *io(volume, self) {
      const file = volume.file("A");
      const pin = tryPinRange(volume.dax(self), file.mapping, 0, PAGE_SIZE, true);
      if (pin !== null) volume.io(self, file, pin, "V");
      yield* pinnedIo(volume, self, 0, 1);
      yield* reads(volume, self, 0, ["W"]);
    },
    evict: (volume, self) => evicts(volume, self),
  },
  finally: (volume) => ensureShown(volume, "A", ["W"]),
});

export const evictFault = volumeStory({
  name: "copied-evict-fault",
  about:
    "A page is stored to through a window, while the pages of the cache are evicted: what was stored is " +
    "copied home first, and found again by the next touch and by a call.",
  from: "dax/evict.ts, evictPage; page_mkclean and try_to_unmap against a store",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "=" }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true }],
  actors: {
    *user(volume, self) {
      yield* volume.store(self, 0, 0, "S");
      yield* loads(volume, self, 0, 0, ["S"]);
      yield* reads(volume, self, 0, ["S"]);
    },
    evict: (volume, self) => evicts(volume, self),
  },
  finally: (volume) => ensureShown(volume, "A", ["S"]),
});

export const evictRead = volumeStory({
  name: "copied-evict-read",
  about:
    "A page that was written is read by a call while it is evicted, and its cache page becomes another " +
    "file's: the reader finds what was written, in the cache or in the block.",
  from: "dax/copied.ts, rule 1: readers of cached pages hold the map lock; folio_try_get",
  blocks: 2,
  cachePages: 1,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "=" },
  ],
  windows: [{ file: "B", first: 0, pages: 1, writable: false }],
  actors: {
    *reader(volume, self) {
      yield* writePages(volume, self, "A", 0, 1, "W");
      yield* reads(volume, self, 0, ["W"]);
    },
    *user(volume, self) {
      yield* evicts(volume, self);
      yield* mayFail(self, ["ENOMEM"], () => loads(volume, self, 0, 0, ["B", "."]));
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["W"]),
});

export const evictWriteBack = volumeStory({
  name: "copied-evict-write-back",
  about:
    "A page that was written is evicted while the file is written back, after the note of it was taken: it " +
    "is copied home by one of the two.",
  from: "dax/copied.ts, isDirty: a write-back that has not ended; writeback and reclaim",
  blocks: 1,
  cachePages: 1,
  synced: true,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *write(volume, self) {
      yield* writePages(volume, self, "A", 0, 1, "W");
      yield* sync(volume, self);
    },
    *evict(volume, self) {
      yield* evicts(volume, self);
      yield* reads(volume, self, 0, ["A", "W"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["W"]),
});

export const evictTwice = volumeStory({
  name: "copied-evict-twice",
  about: "Two threads evict the pages of a cache at once: each page leaves it once.",
  from: "dax/evict.ts: whose a page is, is looked at again under the map lock",
  blocks: 2,
  cachePages: 2,
  files: [{ name: "A", pages: "##" }],
  actors: {
    *first(volume, self) {
      yield* evicts(volume, self);
      yield* evicts(volume, self);
    },
    second: (volume, self) => evicts(volume, self),
  },
  finally: (volume) => ensureShown(volume, "A", ["AA"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const directWrite = volumeStory({
  name: "copied-direct-write",
  about:
    "A page that a window shows is written by a direct call while another thread stores to it and loads it: " +
    "after the call, the block and the window hold the same.",
  from: "kiocb_invalidate_pages; iomap_dio_rw on a mapped file",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "=" }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true }],
  actors: {
    *user(volume, self) {
      yield* loads(volume, self, 0, 0, ["A", "D"]);
      yield* loads(volume, self, 0, 0, ["A", "D"]);
    },
    *direct(volume, self) {
      yield* writesDirectly(volume, self, 0);
      yield* readsDirectly(volume, self, 0, ["D"]);
      yield* loads(volume, self, 0, 0, ["D"]);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["D"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const directRead = volumeStory({
  name: "copied-direct-read",
  about:
    "A hole that a window shows as zeroes is stored to, and read by a direct call by the same thread, while " +
    "another one pins it: the call finds what was stored.",
  from: "dax/copied.ts, settledPage: a page that takes the place of a zero page is shown first",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "." }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true, shown: [0] }],
  actors: {
    *user(volume, self) {
      yield* volume.store(self, 0, 0, "S");
      yield* readsDirectly(volume, self, 0, ["S"]);
      yield* reads(volume, self, 0, ["S"]);
    },
    *other(volume, self) {
      yield* reads(volume, self, 0, [".", "S"]);
      yield* sync(volume, self);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["S"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const storeSeen = volumeStory({
  name: "copied-store-seen",
  about:
    "One thread's touch takes the place of a zero page; another one, which has the window too, stores as soon " +
    "as it can and reads the file by a call, and then writes it back: both find what was stored.",
  from: "our own core, before a test of sparse files found it; dax/copied.ts, settledPage",
  blocks: 1,
  cachePages: 1,
  files: [{ name: "A", pages: "." }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true, shown: [0] }],
  actors: {
    first: (volume, self) => volume.store(self, 0, 0, "F"),
    *second(volume, self) {
      yield* volume.store(self, 0, 0, "S");
      yield* reads(volume, self, 0, ["S", "F"]);
      yield* sync(volume, self);
    },
  },
  explore: { strategy: "pct", depth: 3, schedules: 2000 },
});

export const fillKilled = volumeStory({
  name: "copied-fill-killed",
  about:
    "A thread dies while it copies a page into the cache, or takes one out of it: no page of the cache is " +
    "lost, and the file is whole.",
  from: "dax/page-cache.ts, recoverFilling and giveOrphans",
  blocks: 2,
  cachePages: 2,
  files: [{ name: "A", pages: "#=" }],
  environment: { kill: { kill: "victim" } },
  actors: {
    *victim(volume, self) {
      yield* pinnedIo(volume, self, 1, 1);
      yield* evicts(volume, self);
    },
    other: (volume, self) => reads(volume, self, 0, ["A"]),
  },
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

export const syncFails = volumeStory({
  name: "copied-sync-fails",
  about:
    "A cached page is written, and the write-back that has taken the note of it fails before it is copied " +
    "home. Then the page is evicted: what was written is found in the block.",
  from: "dax/copied.ts, isDirty; dax/write-back.ts, rule 3; errseq and a page that stays dirty",
  blocks: 1,
  cachePages: 1,
  synced: true,
  files: [{ name: "A", pages: "#" }],
  actors: {
    *user(volume, self) {
      yield* writePages(volume, self, "A", 0, 1, "W");
      volume.fail(self, "copyIn");
      const failed = yield* mayFail(self, ["EIO"], () => sync(volume, self));
      ensure(failed, "a write-back that cannot copy home does not fail");
      volume.mend(self);
      yield* evicts(volume, self);
      yield* reads(volume, self, 0, ["W"]);
      yield* syncsAll(volume, self);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["W"]),
  explore: { strategy: "reduced" },
});

export const partialTruncate = volumeStory({
  name: "copied-truncate-inside",
  about:
    "A page that is cached and dirty is cut by a truncate, and the one before it by a punch: what stays of " +
    "both is copied home before they leave the cache.",
  from: "dax/layout-change.ts: kept; truncate_inode_partial_folio",
  blocks: 3,
  cachePages: 3,
  files: [{ name: "A", pages: "###" }],
  actors: {
    *user(volume, self) {
      yield* writePages(volume, self, "A", 0, 3, "W");
      yield* truncate(volume, self, "A", 2 * PAGE_SIZE + PAGE_SIZE / 2);
      const { mapping } = volume.file("A");
      const half = PAGE_SIZE / 2;
      yield* punchHole(self.task, volume.dax(self), mapping, PAGE_SIZE + half, half);
      yield* reads(volume, self, 1, ["W"]);
      yield* syncsAll(volume, self);
    },
  },
  finally: (volume) => {
    const shown = volume.fileShown(volume.file("A"), 3);
    ensure(shown === "WW.W.", `the file holds "${shown}"`);
  },
  explore: { strategy: "reduced" },
});

export const evictKilled = volumeStory({
  name: "copied-evict-killed",
  about:
    "A thread dies at any point while it evicts the only page of the cache, which is dirty: the file keeps " +
    "what was written, and the page of the cache can be had again.",
  from: "dax/remove-pages.ts, finishRemoval; dax/page-cache.ts, giveOrphans",
  blocks: 2,
  cachePages: 1,
  files: [{ name: "A", pages: "#=" }],
  environment: { kill: { kill: "victim" } },
  actors: {
    victim: (volume, self) => evicts(volume, self),
    *other(volume, self) {
      yield* reads(volume, self, 0, ["A"]);
      yield* pinnedIo(volume, self, 1, 1);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["AW"]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});
