import type { Explanation } from "./explanation.ts";

const INLINE =
  "Needs files whose content lies in their inodes, which the ram filesystem of the scenarios has not. " +
  "(test/volume/inline-data.test.ts reads, maps and pins such files.)";

/** Of copied files and their page cache. */
export const copiedSurvivors: readonly Explanation[] = [
  {
    file: "dax/copied.ts",
    function: "piecesOf",
    what: ['never: choice (extent.kind === "inline")'],
    why: INLINE,
  },
  { file: "dax/copied.ts", function: "isHole", what: ["without inline === null"], why: INLINE },
  {
    file: "dax/copied.ts",
    function: "isKnownHole",
    what: ['without extent.kind === "inline"'],
    why: INLINE,
  },
  {
    file: "dax/copied.ts",
    function: "fillPage",
    what: ["never: if (inline !== null)"],
    why: INLINE,
  },
  {
    file: "dax/file-io.ts",
    function: "readExtents",
    what: ['never: if (extent.kind === "inline")'],
    why: INLINE,
  },
  {
    file: "dax/page-cache.ts",
    function: "create",
    what: ["swapped: store(thread.words"],
    why: "Nobody looks for the root before the cache is made.",
  },
  {
    file: "dax/page-cache.ts",
    function: "take",
    what: ["left out: store(words, this.#area + Area.next"],
    why: "Costs time only: it looks for a free page from another one on.",
  },
  {
    file: "dax/page-cache.ts",
    function: "isFree",
    what: ["always: "],
    why:
      "Then who asked for room tries again although there is none, as he does when another one takes the page " +
      "that was freed for him; and finds what there is by then.",
  },
  {
    file: "dax/page-cache.ts",
    function: "noteUsed",
    what: ["without (value & USED) === 0"],
    why: "Costs time only: the bit is set where it is set.",
  },
  {
    file: "dax/page-cache.ts",
    function: "give",
    what: ["Area.next, page - this.first"],
    why: "Costs time only: where the next `take` begins to look.",
  },
  {
    file: "dax/evict.ts",
    function: "evictPage",
    what: ["always: if (isShown)"],
    why:
      "What no window shows is not touched by a revocation. (Windows of threads that are dead are given back " +
      "earlier.)",
  },
  {
    file: "dax/write-back.ts",
    function: "writeBackCopied",
    what: ["without !isCopied(dax, held.mapping)"],
    why: "Costs time only: direct files are written back as well; the flush of the device that follows has them.",
  },
  {
    file: "dax/copied.ts",
    function: "isKnownHole",
    what: ['without extent.kind === "mapped"'],
    why:
      "Needs two faults that one thread serves, one of them put aside while the other one reads the " +
      "extent anew. An actor serves one fault at a time; the pager's loop is not instrumented.",
  },
  {
    file: "dax/copied.ts",
    function: "backPages",
    what: ["swapped: dax.driver.allocate(", "swapped: touchTimes("],
    why: "All of it is one transaction, and the note comes before its end.",
  },
  {
    file: "dax/copied.ts",
    function: "copyHome",
    what: ["pieces.some(", "piece.address === null", "holdsBytes(", "left out: yield* backPages("],
    why:
      "Needs blocks that are smaller than pages; the scenarios' are as large. Where all of a page has a block, " +
      "nothing is to be had. (test/volume/copied-agrees.test.ts has volumes with blocks of 1 and 2 KiB.)",
  },
  {
    file: "dax/copied.ts",
    function: "holdsBytes",
    why: "As above.",
  },
  {
    file: "dax/copied.ts",
    function: "copyHome",
    what: ["address === null"],
    why: "As above: a page without a block that is cached was not stored to, and is not copied home.",
  },
  {
    file: "dax/copied.ts",
    function: "copyHome",
    what: ["without shared"],
    why:
      "Costs time only: what is cached of a block that has other owners was not stored to since it was shared, so " +
      "the block is given the bytes that it has.",
  },
  {
    file: "dax/copied.ts",
    function: "copyHome",
    what: ["never: if (healthyBytes("],
    why: "Costs time only: a healthy page is looked for in the list of lost ones.",
  },
  {
    file: "dax/copied.ts",
    function: "copyHome",
    what: ["never: if (overwriteBad("],
    why:
      "The storage loses the block again while it is written: as if it were lost a moment later. It is listed, " +
      "and whoever persists it says so.",
  },
  {
    file: "dax/copied.ts",
    function: "cachedPages",
    what: ["always: "],
    why: "Costs time only: entries of zero pages, too, are looked at for nothing, or dropped and made anew.",
  },
  {
    file: "dax/copied.ts",
    function: "readCached",
    what: ["never: if (!hasCached(", "swapped: "],
    why:
      "Costs time only: the map lock is taken for nothing; the bit has nothing to do with the bytes. And the page's " +
      "memory is not the device's: what was copied is true, if the device is gone before or after it.",
  },
  {
    file: "dax/copied.ts",
    function: "uncachedBytes",
    what: ["never: while ("],
    why: "Costs time only: blocks are read page by page.",
  },
  {
    file: "dax/copied.ts",
    function: "writeCopied",
    what: ["always: if (stored < part)"],
    why: "Costs time only: the rest is stored under the map lock anew.",
  },
  {
    file: "dax/copied.ts",
    function: "writeCopied",
    what: ["always: if (done > 0)"],
    why: "Where nothing was stored no page is noted, or one too many.",
  },
  {
    file: "dax/copied.ts",
    function: "zeroCachedTail",
    what: ["without size % PAGE_SIZE === 0"],
    why: "Costs time only: no page behind the end is cached.",
  },
  {
    file: "dax/copied.ts",
    function: "settleHome",
    what: ["without end <= start", "never: if (end <= start"],
    why: "Costs time only: a page that nobody reads is copied home, or none.",
  },
  {
    file: "dax/direct-io.ts",
    function: "writeDirect",
    what: ["swapped: yield* dropCached("],
    why: "What is dropped is copied home for that; what stays is copied home by the other one, before or after it.",
  },
];
