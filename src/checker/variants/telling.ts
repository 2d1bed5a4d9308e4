/** Variants of what is told to whoever asks or watches, and of the rarer ways of the last release. */
import { variant } from "../variant.ts";

export const unwoundWakesNobody = variant({
  name: "unwound-wakes-nobody",
  about:
    "What a pin has counted is taken back, one entry after the other, past the function that wakes: only " +
    "the release of a pin of one entry wakes.",
  from: "bug 8: mm: fix missing wake-up event for FSDAX pages (2022): a release path without the hook",
  edits: [
    {
      file: "pin/pin.ts",
      find: "        pages.releaseNoting(pageOf(entry), record + PinWord.counted, counted);",
      replace:
        "        addThenNote(words, pages.pinWord(pageOf(entry)), -1, record + PinWord.counted, counted);",
    },
  ],
  caughtBy: {
    "release-unwound": "deadlock",
    "release-batch": "deadlock",
    "release-batch-dead": "deadlock",
  },
});

export const holdersUnchecked = variant({
  name: "holders-unchecked",
  about:
    "Who asks for holders reads a pin's record once and believes it, though it is another pin by then.",
  from: "pin/record.ts: the rule of the serial",
  edits: [
    {
      file: "pin/record.ts",
      find: "if (loadRelaxed(words, record + PinWord.serial) !== serial || !same || pages === 0)",
      replace: "if (!same || pages === 0)",
    },
  ],
  caughtBy: { "holders-asked": "check" },
});

export const serialLast = variant({
  name: "serial-last",
  about: "A pin's record gets its new serial after the rest of it.",
  from: "pin/record.ts: the rule of the serial",
  edits: [
    {
      file: "pin/pin.ts",
      find: "    storeOwn(thread.words, record + PinWord.serial, (++thread.pinSerial << 1) | (write ? 1 : 0));\n",
      replace: "",
    },
    {
      file: "pin/pin.ts",
      find: "    storeOwn(thread.words, record, mapping);\n",
      replace:
        "    storeOwn(thread.words, record, mapping);\n" +
        "    storeOwn(thread.words, record + PinWord.serial, (++thread.pinSerial << 1) | (write ? 1 : 0));\n",
    },
  ],
  caughtBy: { "holders-asked": "check" },
});

export const numberKept = variant({
  name: "trace-number-kept",
  about: "A trace record keeps its number while the next one is written over it.",
  from: "sync/trace-ring.ts, rule 1",
  edits: [{ file: "sync/trace-ring.ts", find: "    store(words, record, 0);\n", replace: "" }],
  caughtBy: { "trace-ring": "check" },
});

export const traceUnchecked = variant({
  name: "trace-unchecked",
  about: "A reader of the trace does not look whether a record was overwritten while it copied it.",
  from: "sync/trace-ring.ts, rule 1",
  edits: [
    {
      file: "sync/trace-ring.ts",
      find: "if (load(words, record) === ((number + 1) | 0))\n            records.push(fields);",
      replace: "records.push(fields);",
    },
  ],
  caughtBy: { "trace-ring": "check" },
});

export const windowsUnchecked = variant({
  name: "windows-unchecked",
  about:
    "Who asks for a file's windows takes what stands in a record for a window's, though it is one that is being made.",
  from: "window/window.ts, windowsOf",
  edits: [
    {
      file: "window/window.ts",
      find: "const isOver = serial !== 0 && this.mappingOf(window) === mapping;",
      replace: "const isOver = this.mappingOf(window) === mapping;",
    },
  ],
  caughtBy: { "dax-windows-asked": "check" },
});
