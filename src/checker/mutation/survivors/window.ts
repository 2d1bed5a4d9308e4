import type { Explanation } from "./explanation.ts";

export const windowSurvivors: readonly Explanation[] = [
  {
    file: "window/window.ts",
    function: "remove",
    what: ["swapped: add(words, this.#area + Area.generation, 1); store(words, window"],
    why:
      "equivalent: the window is out of the table before both, so a table sorted after either has it " +
      "no longer, and serials are compared under the map lock that is held here",
  },
  {
    file: "window/window.ts",
    function: "revoke",
    what: ["swapped: this.pruneDead(mapping); this.forEachWindow("],
    why: "costs time only: the windows of the dead are revoked before they are removed as a whole",
  },
  {
    file: "window/window.ts",
    function: "at",
    what: ["always: if (generation !== this.#sortedGeneration)"],
    why: "costs time only: the table is sorted again for each lookup",
  },
];
