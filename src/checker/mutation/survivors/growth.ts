import type { Explanation } from "./explanation.ts";

const STEPS = "volume/grow-steps.ts";
const SIZE = "drivers/ext/resize/volume-size.ts";

export const growthSurvivors: readonly Explanation[] = [
  {
    file: STEPS,
    function: "claimGrowth",
    what: ["never: if (growth === null)"],
    why: "the volume of the scenarios can grow; test/volume/grow.test.ts asks one that cannot",
  },
  {
    file: STEPS,
    function: "takeStep",
    what: ["left out: volume.assertWritable()"],
    why: "costs time only: the transaction is refused a moment later, and what was stored before it is nobody's",
  },
  {
    file: SIZE,
    function: "hasChanged",
    what: ["always: return"],
    why: "costs time only: what is known is read again",
  },
  {
    file: SIZE,
    function: "claim",
    what: ["whatever is there: cas(thread.words, word, thread.holder, 0)"],
    why: "equivalent: as long as its thread lives, nobody else takes the word",
  },
];
