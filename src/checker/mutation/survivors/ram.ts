import type { Explanation } from "./explanation.ts";

const ONE_TRANSACTION =
  "Different words, changed in one transaction: all or none of it stays, and whoever reads without " +
  "its lock reads again when it has ended.";

export const ramSurvivors: readonly Explanation[] = [
  {
    file: "drivers/ram/extents.ts",
    function: "findFree",
    what: ["never: if ((block & 31) === 0 && tables.get", "without (block & 31) === 0"],
    why: "Costs time only, or saves some: words without a free block are passed over as a whole, and such a word is always come to at its first block.",
  },
  {
    file: "drivers/ram/extents.ts",
    function: "insertExtent",
    what: [
      "swapped: transaction.setWord(node + Node.a",
      "swapped: transaction.setWord(node + Node.b",
      "swapped: transaction.setWord(node + Node.c",
      "swapped: transaction.setWord(node + Node.d",
    ],
    why: ONE_TRANSACTION,
  },
  {
    file: "drivers/ram/extents.ts",
    function: "splitAt",
    what: ["swapped: transaction.setWord"],
    why: ONE_TRANSACTION,
  },
  {
    file: "drivers/ram/extents.ts",
    function: "allocate",
    what: ["swapped: setBlocks(tables, transaction, run, true)"],
    why: ONE_TRANSACTION,
  },
  {
    file: "drivers/ram/extents.ts",
    function: "removeExtents",
    what: ["swapped: dropBlocks(tables, transaction, run)"],
    why: ONE_TRANSACTION,
  },
  {
    file: "drivers/ram/extents.ts",
    function: "allocate",
    what: ["swapped: device.zero(found.address, found.length); forEachInside"],
    why: "Nobody uses the extent as mapped before the transaction has ended, by which time the blocks are zeroed; and if zeroing fails, it is unwritten again.",
  },
  {
    file: "drivers/ram/extents.ts",
    function: "forEachInside",
    what: ["swapped: splitAt(tables, transaction, inode, first)"],
    why: "Two cuts at two places give the same extents in either order.",
  },
  {
    file: "drivers/ram/sharing.ts",
    function: "reflink",
    what: ["swapped: insertExtent("],
    why: ONE_TRANSACTION,
  },
  {
    file: "drivers/ram/sharing.ts",
    function: "reflink",
    what: ["swapped: transaction.setWord(node + Node.d, ExtentFlag.shared); shared.push("],
    why: "Equivalent: the list is the call's own, and has nothing of the word that is set.",
  },
  {
    file: "drivers/ram/sharing.ts",
    function: "reclaim",
    what: ["always: if (run.shared)"],
    why: "Costs time only: what has no other owner any more is broken, and unshared without a copy.",
  },
  {
    file: "drivers/ram/sharing.ts",
    function: "#runAlike",
    what: ["never: while (alike * BLOCK_SIZE < found.length"],
    why: "Costs time only: a transaction for each block.",
  },
  {
    file: "drivers/ram/sharing.ts",
    function: "#own",
    what: ["swapped: transaction.setWord"],
    why: ONE_TRANSACTION,
  },
  {
    file: "drivers/ram/sharing.ts",
    function: "#copy",
    what: ["swapped: setBlocks(tables, transaction, run, true); this.#device.copy("],
    why: "Nobody reaches the new blocks before the transaction has ended; and if the copy fails, it is undone.",
  },
];
