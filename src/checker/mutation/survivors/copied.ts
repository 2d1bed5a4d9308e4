import type { Explanation } from "./explanation.ts";

/** Of copied files and their page cache. */
export const copiedSurvivors: readonly Explanation[] = [
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
];
