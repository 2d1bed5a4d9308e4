import type { Explanation } from "./explanation.ts";

export const pagesSurvivors: readonly Explanation[] = [
  ...["hasAbandoned", "takeAbandoned", "find", "clear", "list"].map((name) => ({
    file: "pages/bad-pages.ts",
    function: name,
    what: ["never: if (!this.any)"],
    why: "Costs time only: the guard is taken, and there is no range to visit.",
  })),
  {
    file: "pages/bad-pages.ts",
    function: "hasAbandoned",
    what: ["swapped: this.#"],
    why:
      "Each word it looks at holds a handler that was, or is. It is a hint, asked for after each operation: " +
      "whoever goes by it looks again under the guard.",
  },
  {
    file: "pages/bad-pages.ts",
    function: "#renew",
    what: ["swapped: store("],
    why: "All of it is read under the guard, but for the number of the last report, which is higher early.",
  },
  {
    file: "pages/bad-pages.ts",
    function: "#isAbandoned",
    what: ["without handler !== 0"],
    why: "The slot of holder 0 would lie in the region's header, in words that are zero: it is as if alive.",
  },
  {
    file: "pages/bad-pages.ts",
    function: "#put",
    what: ["swapped: store(words, range + Range.first"],
    why: "Nobody visits the range before it is counted.",
  },
  {
    file: "pages/page-types.ts",
    function: "create",
    what: ["swapped: "],
    why: "The area is made by one thread, and nobody can find it before the volume says that it is there.",
  },
  {
    file: "pages/page-types.ts",
    function: "takeIdle",
    what: ["never: if (load(words, idle + word) === 0)"],
    why: "Costs time only: zero is exchanged for zero.",
  },
  {
    file: "pages/page-types.ts",
    function: "recover",
    what: ["always: if (load("],
    why: "Nobody sleeps there, and the next registrar is told of all chunks anyway.",
  },
  {
    file: "pages/pages.ts",
    function: "create",
    what: ["swapped: "],
    why: "The area is made by one thread, and nobody can find it before the volume says that it is there.",
  },
  {
    file: "pages/pages.ts",
    function: "releaseNoting",
    what: [
      "always: if (before > COUNT",
      "without before > COUNT",
      "without (before & COUNT) === 1",
    ],
    why: "A wake-up too many: whoever is woken tests the count again, and announces itself again.",
  },
  {
    file: "pages/pages.ts",
    function: "#lastRelease",
    what: ["always: "],
    why: "A wake-up too many, or a look whether the page is of a type, which says so by itself.",
  },
  {
    file: "pages/pages.ts",
    function: "#disown",
    what: ["left out: and(words, record, ~TELLS);", "swapped: and(words, record, ~TELLS);"],
    why:
      "A registrar is told once too often; the page's next owner marks it as is right for him, and of a page of no " +
      "type nobody is told. Both lie under the guard.",
  },
  {
    file: "pages/pages.ts",
    function: "#markType",
    what: ["without tells", "without load("],
    why: "Costs time only: of a page of no type nobody is told, and a free one is not pinned.",
  },
  {
    file: "pages/pages.ts",
    function: "wakeWaiters",
    what: ["left out: and("],
    why: "The mark stays on an idle page; each later last release wakes, and nobody sleeps there.",
  },
  {
    file: "pages/pages.ts",
    function: "share",
    what: ["whatever is there: casThenStore("],
    why: "Owners change under the guard, which is held: what is there is what was read.",
  },
  {
    file: "pages/pages.ts",
    function: "leave",
    what: ["whatever is there: casThenStore("],
    why: "Owners change under the guard, which is held: what is there is what was read.",
  },
  {
    file: "pages/pages.ts",
    function: "leave",
    what: ["without last: "],
    why: "Of one that is not the last the number is zero, not one.",
  },
  {
    file: "pages/pages.ts",
    function: "#repair",
    what: ["swapped: this.#markType("],
    why:
      "A chunk that the count finds without a page in use has no page that tells afterwards, of whatever type " +
      "it is taken for; any other is the same chunk after it was counted.",
  },
];
