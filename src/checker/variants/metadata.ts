/** Variants of the metadata cache and of transactions, beside readers that fill buffers. */
import { variant } from "../variant.ts";

export const flagsWithoutGuard = variant({
  name: "flags-without-guard",
  about:
    "A transaction changes a buffer's flags while a reader, which saw the buffer not valid, fills it with " +
    "what the device has.",
  from: "our own core, before node-freed-in-vain found it; metadata/cache.ts, rule 4",
  edits: [
    {
      file: "metadata/cache.ts",
      find:
        "        enterGuard(thread, guard);\n        store(thread.words, header + Header.flags, flags);\n" +
        "        leaveGuard(thread, guard);\n",
      replace: "        store(thread.words, header + Header.flags, flags);\n",
    },
  ],
  caughtBy: { "node-freed-in-vain": "check" },
});

export const clearedBeforeValid = variant({
  name: "cleared-before-valid",
  about:
    "A block that becomes metadata is cleared first and made valid second: a reader that finds it not " +
    "valid in between fills it with what the device has.",
  from: "our own core, before node-used-again found it; metadata/cache.ts, rule 4",
  edits: [
    {
      file: "metadata/transaction.ts",
      find:
        "        this.cache.setFlags(cached.header, VALID | DIRTY);\n" +
        "        this.#noteUnsealed(cached.header, seal, argument, seal === NO_SEAL ? 0 : 1);\n" +
        "        cached.bytes.fill(0);\n",
      replace:
        "        cached.bytes.fill(0);\n        this.cache.setFlags(cached.header, VALID | DIRTY);\n" +
        "        this.#noteUnsealed(cached.header, seal, argument, seal === NO_SEAL ? 0 : 1);\n",
    },
  ],
  caughtBy: { "node-used-again": "check" },
});

export const undoneWhateverItWas = variant({
  name: "undone-whatever-it-was",
  about:
    "Whoever undoes a transaction puts the old bytes into a buffer that was not valid before it, too, and " +
    "that a reader may have filled since, from the device.",
  from: "our own core, before node-made-in-vain found it; metadata/transaction.ts, rule 2",
  edits: [
    {
      file: "metadata/transaction.ts",
      find: "            if (b & VALID) {",
      replace: "            {",
    },
  ],
  caughtBy: { "node-made-in-vain": "check" },
});

export const partsForgotten = variant({
  name: "unsealed-parts-forgotten",
  about:
    "An edit of a part of a block notes that part as the one whose checksum is out of date: those that were edited since " +
    "the block left the cache last keep the old one.",
  from: "metadata/transaction.ts, edit; inodes of a table have a checksum each",
  edits: [
    {
      file: "metadata/transaction.ts",
      find: "store(words, header + BufferHeader.unsealed, before | parts);",
      replace: "store(words, header + BufferHeader.unsealed, parts);",
    },
  ],
  caughtBy: { "blocks-sealed": "check" },
});
