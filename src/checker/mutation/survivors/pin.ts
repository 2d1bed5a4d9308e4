import type { Explanation } from "./explanation.ts";

export const pinSurvivors: readonly Explanation[] = [
  {
    file: "pin/pin.ts",
    function: "takeRecord",
    what: ["swapped: "],
    why: "Nobody looks at a record before it has counted a page, and a dead thread's gives back what it counted.",
  },
  {
    file: "pin/pin.ts",
    function: "countInEpoch",
    what: ["without entries < EPOCH_ENTRIES"],
    why: "Costs time only: a break waits for a longer epoch. All of it is one epoch, as 64 entries are.",
  },
  {
    file: "pin/pin.ts",
    function: "countInEpoch",
    what: ["never: if (slot === 0)"],
    why:
      "Word 0 of the region is its magic number, which read as an entry has no page: the next condition " +
      "gives up as well.",
  },
  {
    file: "pin/pin.ts",
    function: "countInEpoch",
    what: ["never: if (now === count && counted === 0)"],
    why: "Costs time only: the release finds the page by its entry, as it does for a pin of several.",
  },
  {
    file: "pin/pin.ts",
    function: "releasePin",
    what: ["never: if (only !== 0)"],
    why: "Costs time only: the page is found by its entry, as for a pin of several.",
  },
  {
    file: "pin/pin.ts",
    function: "countUnderLock",
    what: [
      "always: if (!isMarked(words, slot, entry, index, Mark.pinned))",
      "without !isMarked(words, slot, entry, index, Mark.dirty)",
    ],
    why: "Costs time only: a mark is set that is there.",
  },
  {
    file: "pin/record.ts",
    function: "heldPins",
    what: ["never: if (holder === 0)"],
    why: "A slot without a thread has no records of pins.",
  },
  {
    file: "pin/pin.ts",
    function: "stillOwned",
    what: ["without slot !== 0"],
    why: "Word 0 of the region, its magic number, is no page's entry.",
  },
];
