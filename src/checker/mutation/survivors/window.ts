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
  {
    file: "window/window.ts",
    function: "createWindowArea",
    what: ["swapped"],
    why: "the area is made by one thread, alone, before anybody can attach to it",
  },
  {
    file: "window/window.ts",
    function: "add",
    what: ["swapped"],
    why:
      "nobody looks for the window before its program has its address: revocations and other windows " +
      "of the file wait for the map lock, and the pager looks where a touch has faulted",
  },
  {
    file: "window/window.ts",
    function: "#revokeIn",
    what: ["without slice <= lastSlice"],
    why: "costs time only: the run is cut at the end of the range",
  },
  {
    file: "window/window.ts",
    function: "#revokeIn",
    what: ["always: if (this.isWritable(window))"],
    why: "costs time only: what is noted without having been written is persisted once more",
  },
  {
    file: "window/window.ts",
    function: "#revokeIn",
    what: [
      "swapped: this.port.revoke(",
      "swapped: add(this.thread.words, this.#area + Area.revocations, 1);",
    ],
    why: "the counter is for statistics: nobody goes by it",
  },
  {
    file: "window/window.ts",
    function: "noteShown",
    what: ["always: if ((load(this.thread.words, word) & bit) === 0)"],
    why: "costs time only: a bit that is set is set again",
  },
  {
    file: "window/window.ts",
    function: "isOver",
    what: ["without within < this.pages(window) * PAGE_SIZE"],
    why:
      "a later window in the same record has a higher address here, so that what is within is negative; " +
      "the system may also give a lower one. The same line guards both, and dax-map-reused the one.",
  },
  {
    file: "window/window.ts",
    function: "windowsOf",
    what: ["never: if (window === 0)"],
    why: "At the region's beginning, where a window would have its mapping, stands the version: no mapping's name.",
  },
];
