/** Variants of copied files: pages of the page cache that are read, written or left with a step forgotten. */
import { variant } from "../variant.ts";

export const writtenBesideFill = variant({
  name: "written-beside-a-fill",
  about:
    "A write call to a copied file takes no map lock: a fault copies the page into the cache meanwhile, from " +
    "the block as it was.",
  from: "dax/copied.ts, rule 2; generic_perform_write without the folio lock",
  edits: [
    {
      file: "dax/copied.ts",
      find:
        "    using _map = yield* lockExclusive(task, mapping + MappingWord.mapLock, mapName(dax, mapping));\n" +
        "    let done = 0;\n",
      replace: "    let done = 0;\n",
    },
  ],
  caughtBy: { "copied-fill-write": "check" },
});

export const readWithoutLock = variant({
  name: "cached-page-read-unheld",
  about:
    "A read call copies out of a cached page without the map lock, which keeps it from being evicted: it may " +
    "be another file's page by then.",
  from: "dax/copied.ts, rule 1; filemap_read without folio_try_get",
  edits: [
    {
      file: "dax/copied.ts",
      find:
        "        using _map = yield* lockShared(task, mapping + MappingWord.mapLock, mapName(dax, mapping));\n" +
        "        const page = yield* settledPage",
      replace: "        const page = yield* settledPage",
    },
  ],
  caughtBy: { "copied-evict-read": "check" },
});

export const evictedWhilePinned = variant({
  name: "evicted-unannounced",
  about:
    "Who evicts a page looks for pins and announces nothing: a fast pin that has seen the entry counts " +
    "afterwards, on a page that is nobody's.",
  from: "dax/evict.ts; __remove_mapping without folio_ref_freeze",
  edits: [
    {
      file: "dax/evict.ts",
      find: "    using _announced = announce(thread, new Map([[mapping, range]]));\n",
      replace: "",
    },
  ],
  caughtBy: { "copied-evict-pin": "check" },
});

export const evictedByMark = variant({
  name: "dirty-by-its-mark-alone",
  about:
    "A page is taken for clean that no pin has marked, though a window may have stored to it, or a write " +
    "call noted it: it leaves the cache with what was stored.",
  from: "dax/copied.ts, rule 3; a dirty bit of a page table that nobody folds into the page",
  edits: [
    {
      file: "dax/copied.ts",
      find:
        "    if (isNoted(thread, mapping, index, index) || windows.mayShow(mapping, index, true))\n" +
        "        return true;\n",
      replace: "",
    },
  ],
  caughtBy: { "copied-evict-fault": "check" },
});

export const failedWriteBackForgotten = variant({
  name: "clean-after-a-failed-write-back",
  about:
    "A page whose note a write-back has taken is taken for clean, though that write-back failed before it " +
    "was copied home.",
  from: "dax/write-back.ts, rule 3; fsyncgate: pages marked clean after a failed writeback",
  edits: [
    {
      file: "dax/copied.ts",
      find: "    if (load(words, mapping + MappingWord.writingBack) !== 0)\n        return true;\n",
      replace: "",
    },
  ],
  caughtBy: { "copied-sync-fails": "check" },
});

export const lockedEntryNotWaitedFor = variant({
  name: "page-about-to-be-cached-overlooked",
  about:
    "A call that comes while a page takes the place of a zero page finds no page yet, and reads the block, " +
    "though the page is shown already and somebody has stored to it.",
  from: "our own core, before a test of sparse files found it",
  edits: [
    {
      file: "dax/copied.ts",
      find: "        if (!isLocked(entry))\n            return findCached(dax, mapping, index);\n",
      replace: "        if (entry !== -1)\n            return findCached(dax, mapping, index);\n",
    },
  ],
  caughtBy: { "copied-store-seen": "check" },
});

export const directReadOfBlocks = variant({
  name: "direct-read-of-old-blocks",
  about: "A direct call reads the blocks while newer bytes are in the page cache.",
  from: "iomap_dio_rw without kiocb_write_and_wait",
  edits: [
    {
      file: "dax/file-io.ts",
      find: "        yield* settleHome(task, dax, mapping, position, position + target.length);\n",
      replace: "",
    },
  ],
  caughtBy: { "copied-direct-read": "check" },
});

export const droppedDirty = variant({
  name: "dropped-before-copied-home",
  about:
    "A layout change drops the cached pages of its range, and with them what was stored to the parts that " +
    "stay in the file.",
  from: "truncate_pagecache without truncate_inode_partial_folio; xfs: collapse without flushing",
  edits: [
    {
      file: "dax/layout-change.ts",
      find:
        "            yield* copyDirtyHome(task, dax, mapping, first, " +
        "Math.min(last, Math.ceil(kept / PAGE_SIZE) - 1));\n",
      replace: "",
    },
  ],
  caughtBy: { "copied-truncate-inside": "check" },
});

export const fillingForgotten = variant({
  name: "filling-page-forgotten",
  about: "A thread dies while it fills a page of the cache; nobody frees it, or notes whose it is.",
  from: "dax/page-cache.ts, recoverFilling",
  edits: [
    {
      file: "dax/page-cache.ts",
      find: "                if (state !== -dead)\n                    return;\n",
      replace: "                if (dead !== 0)\n                    return;\n",
    },
  ],
  caughtBy: { "copied-fill-killed": "check" },
});

export const orphansForgotten = variant({
  name: "evicted-page-forgotten",
  about:
    "A thread dies while it takes a page out of the cache: the removal is finished, but the page is not freed.",
  from: "dax/remove-pages.ts, finishRemoval",
  edits: [
    {
      file: "dax/remove-pages.ts",
      find: "    dax.pageCache?.giveOrphans(mapping, pages);\n",
      replace: "",
    },
  ],
  caughtBy: { "copied-evict-killed": "leak" },
});

export const usedWhileFilling = variant({
  name: "used-while-filling",
  about:
    "A page is noted as used that has its owner and is not settled yet: the note changes the number of the " +
    "thread that fills it, and when that dies, nobody knows that it was its page.",
  from: "our own core, found by reading for mutants",
  edits: [
    {
      file: "dax/page-cache.ts",
      find: "value > 0 && (value & USED) === 0",
      replace: "(value & USED) === 0",
    },
  ],
  caughtBy: { "copied-used-while-filled": "check" },
});

export const handPassesWhateverIsThere = variant({
  name: "hand-passes-whatever-is-there",
  about:
    "The clock's hand clears a bit of whatever a page's state is by then: if the page has been evicted and " +
    "taken meanwhile, of the number of the thread that fills it.",
  from: "our own core, found by reading for mutants",
  edits: [
    {
      file: "dax/page-cache.ts",
      find: "import { add, cas, load, or, store, wakeAll }",
      replace: "import { add, and, cas, load, or, store, wakeAll }",
    },
    {
      file: "dax/page-cache.ts",
      find: "cas(words, this.#state(page), value, mapping);",
      replace: "and(words, this.#state(page), ~USED);",
    },
  ],
  caughtBy: { "copied-passed-while-taken": "leak" },
});

export const syncOverlooksFaults = variant({
  name: "sync-overlooks-faults",
  about:
    "A write-back of all files looks for those that own pages of the cache, and not for those that windows " +
    "show: a page takes the place of a zero page, and has no owner yet.",
  from: "our own core, before mutants of it were tried",
  edits: [{ file: "dax/write-back.ts", find: "...windows.mappings(), ", replace: "" }],
  caughtBy: { "copied-sync-beside-fault": "check" },
});

export const syncOverlooksPins = variant({
  name: "sync-overlooks-pins",
  about:
    "It looks for the files whose pages are settled: one that an entry names already, and a pin has written " +
    "to, may not be.",
  from: "our own core, before mutants of it were tried",
  edits: [
    {
      file: "dax/page-cache.ts",
      find: "            const owned = pages.ownerOf(page);\n            if (owned !== null)\n",
      replace:
        "            const owned = pages.ownerOf(page);\n" +
        "            if (owned !== null && load(this.thread.words, this.#state(page)) > 0)\n",
    },
  ],
  caughtBy: { "copied-sync-beside-pin": "check" },
});

export const syncOverlooksLeaving = variant({
  name: "sync-overlooks-leaving",
  about:
    "A write-back of all files passes over one whose record is being taken out of memory: the device is flushed " +
    "before its pages are copied home.",
  from: "our own core, found by reading for mutants",
  edits: [
    {
      file: "dax/write-back.ts",
      find: "yield* dax.acquireMapping(",
      replace: "yield* dax.holdMapping(",
    },
  ],
  caughtBy: { "inode-sync-while-leaving": "check" },
});

export const evictorTakesIoLock = variant({
  name: "evictor-takes-io-lock",
  about:
    "Who evicts a page of a file takes its io lock, as a layout change does. A call that copies to a window holds " +
    "it, and waits for the room.",
  from: "dax/evict.ts, rule 1; reclaim that takes i_rwsem under a fault in generic_file_read_iter",
  edits: [
    {
      file: "dax/evict.ts",
      find:
        "    const { mapping } = held;\n" +
        "    using _map = yield* lockExclusive(task, mapping + MappingWord.mapLock, mapName(dax, mapping));\n",
      replace:
        "    const { mapping } = held;\n" +
        "    const order = inoOf(thread, mapping);\n" +
        "    using _io = yield* lockExclusive(task, mapping + MappingWord.ioLock, { rankName: 'io', order });\n" +
        "    using _map = yield* lockExclusive(task, mapping + MappingWord.mapLock, mapName(dax, mapping));\n",
    },
  ],
  caughtBy: { "room-under-a-call": "deadlock" },
});

export const answeredByAnEarlierPass = variant({
  name: "answered-by-an-earlier-pass",
  about:
    "The evicting thread answers all who have asked by the end of a pass, also who asked when it had looked at the " +
    "pages already: a touch is lost although its page of the cache has been given back.",
  from: "dax/evict.ts, rule 3; a wake-up of waiters that came after the work was looked at",
  edits: [
    {
      file: "dax/evict.ts",
      find: "        cache.answer(request, found);\n",
      replace: "        cache.answer(load(task.thread.words, cache.wantedWord), found);\n",
    },
  ],
  caughtBy: { "room-after-a-pin": "check" },
});

export const deadEvictorWaitedFor = variant({
  name: "dead-evictor-waited-for",
  about: "A touch waits for room, and nobody looks whether the thread that was asked still lives.",
  from: "dax/evict.ts, askForRoom; a wait for kswapd that has gone",
  edits: [
    {
      file: "dax/evict.ts",
      find: "        if (!dax.hasEvictor())\n            return null;\n        yield {\n            word: cache.answeredWord,",
      replace: "        yield {\n            word: cache.answeredWord,",
    },
  ],
  caughtBy: { "room-evictor-killed": "deadlock" },
});

export const roomPagerAlone = variant({
  name: "pager-evicts-alone",
  about:
    "The pager asks nobody for room: it evicts what no window shows, and where all is shown the touch is lost, " +
    "though nobody pins a page.",
  from: "our own core, before it had an evicting thread",
  edits: [
    {
      file: "dax/evict.ts",
      find: "    const request = cache.wantRoom();\n",
      replace:
        "    if (dax !== null)\n        return null;\n    const request = cache.wantRoom();\n",
    },
  ],
  caughtBy: { "room-asked": "check" },
});

export const fillingTakenForFull = variant({
  name: "filling-taken-for-full",
  about:
    "Whoever makes room finds only pages that are being filled, and says that there is none to be had: a touch is " +
    "lost beside another one that ends a moment later.",
  from: "dax/evict.ts, makeRoom; shrink_folio_list: locked folios are tried again",
  edits: [
    {
      file: "dax/evict.ts",
      find: "    if (found > 0 || filled < 0)\n",
      replace: "    if (found > 0 || filled !== null)\n",
    },
  ],
  caughtBy: { "room-for-two": "check" },
});
