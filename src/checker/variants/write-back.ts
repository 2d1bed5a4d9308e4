/** Variants of write-back, and of the marks that it goes by. */
import { variant } from "../variant.ts";

export const pinsLookedAtLast = variant({
  name: "pins-looked-at-last",
  about:
    "Write-back clears a page's dirty mark, persists the page, and looks last whether it is pinned: an " +
    "I/O that writes and lets go in between leaves a page that no fsync finds.",
  from: "our own write-back; hazard H2: an fsync that flushes nothing for a page that was written",
  edits: [
    {
      file: "dax/write-back.ts",
      find: "        if (pages.pinCount(page) > 0)\n            setMark(thread, mapping, index, Mark.dirty);\n",
      replace: "",
    },
    {
      file: "dax/write-back.ts",
      find: "        index += count;\n",
      replace:
        "        if (pages.pinCount(page) > 0)\n            setMark(thread, mapping, index, Mark.dirty);\n" +
        "        index += count;\n",
    },
  ],
  caughtBy: { "pin-write-back": "check" },
});

export const dirtyMarkBeforeCount = variant({
  name: "dirty-mark-before-count",
  about:
    "The fast pin looks for the dirty mark before it counts: write-back can take the mark away in " +
    "between and see no pin.",
  from: "pin/pin.ts, invariant 4, its two halves swapped",
  edits: [
    {
      file: "pin/pin.ts",
      find: "        if (write && !isMarked(words, slot, entry, index, Mark.dirty))\n            return before;\n",
      replace: "",
    },
    {
      file: "pin/pin.ts",
      find: "        if (now === count && counted === 0)\n",
      replace:
        "        if (write && !isMarked(words, slot, entry, index, Mark.dirty))\n            return before;\n" +
        "        if (now === count && counted === 0)\n",
    },
  ],
  caughtBy: { "pin-write-back": "check" },
});
