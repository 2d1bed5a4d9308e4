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
        "    dax.pages.deviceState.assertPresent();\n",
      replace: "    dax.pages.deviceState.assertPresent();\n",
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
  caughtBy: { "copied-fill-killed": "leak" },
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
  caughtBy: { "copied-evict-killed": "deadlock" },
});
