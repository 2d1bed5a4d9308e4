import type { Explanation } from "./explanation.ts";

export const layoutSurvivors: readonly Explanation[] = [
  {
    file: "layout/break.ts",
    function: "withBrokenLayout",
    what: [
      "swapped: context.windows.revoke(",
      "swapped: count(context.thread, Counter.breakWaits)",
    ],
    why: "A figure is counted a little earlier or later.",
  },
  {
    file: "layout/break.ts",
    function: "isHugeAt",
    what: ["without slot !== 0"],
    why: "Word 0 of the region, its magic number, does not look like an entry of 2 MiB.",
  },
  {
    file: "layout/break.ts",
    function: "announce",
    what: [
      "swapped: store(words, mapping + MappingWord.breakFirst",
      "swapped: store(words, mapping + MappingWord.breakLast",
    ],
    why: "Nobody reads the range, or withdraws the announcement, before its holder is there.",
  },
  {
    file: "layout/break.ts",
    function: "Symbol.dispose",
    what: ["never: if (load(words, this.#mapping + MappingWord.breakInsist) === 0)"],
    why: "Costs time only: nobody is held back, and nobody is woken.",
  },
];
