import type { Explanation } from "./explanation.ts";

const LISTS = "volume/lookups.ts";
const RECALLS = "volume/kernel-recalls.ts";
const COUNTS = "volume/kernel-lookups.ts";

export const lookupSurvivors: readonly Explanation[] = [
  {
    file: LISTS,
    function: "makeLookups",
    what: ["swapped: "],
    why: "equivalent: the entry is in no list yet",
  },
  {
    file: LISTS,
    function: "addLookups",
    what: ["swapped: "],
    why: "equivalent: both lie under the guard, and the mount of a server that dies there is over (fuse/shared-mount.ts, rule 2)",
  },
  {
    file: LISTS,
    function: "add",
    what: ["always: return (this.#lent.length", "never: return (this.#lent.length"],
    why: "costs time, or memory: when the thread ends all records are given back",
  },
  {
    file: COUNTS,
    function: "note",
    what: ["never: if (this.#add(mapping, 0))"],
    why: "costs time only: what was made in vain is given back",
  },
  {
    file: COUNTS,
    function: "forget",
    what: ["never: if (mapping === 0)"],
    why: "equivalent: the word of the region that is looked at then is a root of no layer, and 0",
  },
  {
    file: COUNTS,
    function: "countOpen",
    what: ["never: choice (mapping === 0)"],
    why: "equivalent: as in forget",
  },
  {
    file: RECALLS,
    function: "#ask",
    what: ["always: if (behind === 0) (2)"],
    why: "costs time only: the recallers look in vain",
  },
  {
    file: RECALLS,
    function: "constructor",
    what: ["swapped: "],
    why: "costs time only: who waits for the place's last owner finds the new one there for a moment, and looks again",
  },
  {
    file: RECALLS,
    function: "end",
    what: ["swapped: "],
    why: "equivalent: either of the two lets go who waits, and places are taken under the guard",
  },
];
