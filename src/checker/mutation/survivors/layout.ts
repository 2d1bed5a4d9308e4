import type { Explanation } from "./explanation.ts";

export const layoutSurvivors: readonly Explanation[] = [
  {
    file: "layout/break.ts",
    function: "withBrokenLayout",
    what: ["swapped: context.windows.revoke(", "swapped: count(context.thread, Statistic.waits)"],
    why: "A figure is counted a little earlier or later.",
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
    function: "recoverBreaks",
    what: ["never: if (mapping === 0)"],
    why:
      "The word that stands in for the announcement is a root of the region, which is the offset of an " +
      "area and no holder: nothing changes.",
  },
  {
    file: "layout/break.ts",
    function: "recoverBreaks",
    what: ["whatever is there: cas("],
    why:
      "The dead thread had the map lock, and has it until this is done: nobody else can have announced a " +
      "break of the file.",
  },
  {
    file: "layout/break.ts",
    function: "recoverBreaks",
    what: ["swapped: cas("],
    why:
      "Costs time only: when the thread that recovers dies in between, the announcement stays until the " +
      "next break of the file, and pins in its range take the map lock.",
  },
  {
    file: "layout/break.ts",
    function: "Symbol.dispose",
    what: ["never: if (load(words, this.#mapping + MappingWord.breakInsist) === 0)"],
    why: "Costs time only: nobody is held back, and nobody is woken.",
  },
];
