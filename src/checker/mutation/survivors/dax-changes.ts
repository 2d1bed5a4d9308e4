import type { Explanation } from "./explanation.ts";

const ONE_TRANSACTION =
  "equivalent: both are changes of one transaction, which others see as a whole or not at all";

const ONLY_OF_DAMAGE =
  "Then a punch of a block that another file has in use, too, is told as a fault of the core. Only a damaged volume has " +
  "such a block, and no driver here makes one; test/damage/claimed-twice.test.ts does.";

export const daxChangeSurvivors: readonly Explanation[] = [
  {
    file: "dax/claims.ts",
    function: "addressOf",
    what: ["always: if (error instanceof HoldfastError)"],
    why: "A driver throws nothing else but for its own faults, and then the page is told of as a fault as well.",
  },
  {
    file: "dax/layout-change.ts",
    function: "assertPagesFree",
    what: ["always: if (!free)"],
    why: "Costs time only: of pages that are free none has an owner.",
  },
  {
    file: "dax/layout-change.ts",
    function: "assertPagesFree",
    what: ["never: if (!free)"],
    why: ONLY_OF_DAMAGE,
  },
  {
    file: "dax/layout-change.ts",
    function: "assertNotClaimed",
    what: ["always: if (has === null)", "never: if (damage !== null)"],
    why: ONLY_OF_DAMAGE,
  },
  {
    file: "dax/layout-change.ts",
    function: "punchHole",
    what: ["never: choice (offset < size && size < end)", "without offset < size"],
    why:
      "The first costs space only: the last block stays, with zeroes in it; test/interop/differential.test.ts " +
      "compares it with the kernel's. The other zeroes more of what lies past the file's end, which nobody sees.",
  },
  {
    file: "dax/layout-change.ts",
    function: "assertPagesFree",
    what: [
      "never: if (!dax.protect ||",
      "without !dax.protect",
      "without dax.driver.blockSize !== PAGE_SIZE",
    ],
    why:
      "Nothing here goes without protection: that is for a demonstration, which test/cli/collide.test.ts " +
      "runs. Blocks of another size are never pages, so looking at them costs time only.",
  },
  {
    file: "dax/layout-change.ts",
    function: "assertPagesFree",
    what: ['always: if (extent.kind === "mapped")'],
    why:
      "Costs time only: a hole has no device pages to look at, and no entry names those of an unwritten " +
      "extent.",
  },
  {
    file: "dax/layout-change.ts",
    function: "truncateFile",
    what: ["always: if (size > before)"],
    why:
      "costs time only: of a truncate downwards the bytes beyond the old end are zeroed as well, " +
      "which nobody has; of one to the same size the windows past it are revoked, and fault again",
  },
  {
    file: "dax/layout-change.ts",
    function: "truncateFile",
    what: ["swapped: changeSize(dax, transaction, mapping, size); touchTimes("],
    why: ONE_TRANSACTION,
  },
  {
    file: "dax/layout-change.ts",
    function: "clearRange",
    what: ["always: if (last > first)"],
    why:
      "equivalent: for a range without a whole block the driver finds nothing to free or to unwrite, " +
      "and the times are set in either branch",
  },
  {
    file: "dax/layout-change.ts",
    function: "clearRange",
    what: ["swapped: yield* unshareBroken(task, dax, mapping, { start: offset, end: head })"],
    why:
      "equivalent: which of the two parts is copied first, before anything is zeroed; where there is room for " +
      "one only, the other's want of it ends the change, and the file holds what it held",
  },
  {
    file: "dax/layout-change.ts",
    function: "zeroRange",
    what: ["without grows(size)"],
    why:
      "costs time only: where the size stays, the shared last block is broken as well, so a window's next touch of " +
      "it faults; nobody pins it, and it is not copied",
  },
  {
    file: "dax/layout-change.ts",
    function: "zeroRange",
    what: ["swapped: yield* unshareBroken(task, dax, mapping, { start: offset, end });"],
    why:
      "equivalent: blocks for what is shared and blocks for holes, before anything is zeroed; where there is no " +
      "room for all, what has been given stays, and the file holds what it held",
  },
  {
    file: "dax/layout-change.ts",
    function: "collapseRange",
    what: ["swapped: dax.driver.shiftExtents("],
    why: ONE_TRANSACTION,
  },
  {
    file: "dax/layout-change.ts",
    function: "insertRange",
    what: [
      "swapped: dax.driver.shiftExtents(",
      "swapped: changeSize(dax, transaction, mapping, size + length); touchTimes(",
    ],
    why: ONE_TRANSACTION,
  },
  {
    file: "dax/layout-change.ts",
    function: "evictMapping",
    what: ["always: choice (isReached(dax, mapping))"],
    why: "costs time only: a range that nothing leads to is broken",
  },
  {
    file: "dax/layout-change.ts",
    function: "isReached",
    what: ["always: return "],
    why: "costs time only: a range that nothing leads to is broken",
  },
  {
    file: "dax/layout-change.ts",
    function: "evictMapping",
    what: ["dax.forget(mapping);"],
    why:
      "costs memory only: extents that stay cached are told stale by the layout sequence, which a " +
      "later file of the record goes on with (mapping/mapping.ts, initMapping)",
  },
  {
    file: "dax/file-io.ts",
    function: "tryReadFile",
    what: ["never: choice (length === target.length)"],
    why: "equivalent: a subarray of the whole target is the target",
  },
  {
    file: "dax/file-io.ts",
    function: "readExtents",
    what: ["without done === 0: done === 0 && part === target.length", "never: choice (whole)"],
    why:
      "equivalent: a subarray of the whole target is the target, and a part as long as the target " +
      "begins at its beginning",
  },
  {
    file: "dax/file-io.ts",
    function: "readExtents",
    what: ["always: choice (isCached)"],
    why:
      "costs time only: blocks are read in parts that end before pages with an entry, also where nothing is " +
      "cached",
  },
  {
    file: "dax/write-lock.ts",
    function: "recallForWrite",
    what: ["never: if (load(dax.thread.words, mapping + MappingWord.leases) === 0)"],
    why: "costs time only: leases are looked for where there are none",
  },
  {
    file: "dax/file-io.ts",
    function: "isStale",
    what: ["without isShared(extent)"],
    why:
      "costs time only: what nobody else owns is read again, too, when the layout has moved meanwhile, or " +
      "left to the call that may wait",
  },
  {
    file: "dax/file-io.ts",
    function: "writeExtents",
    what: ["never: choice (whole)"],
    why: "equivalent: a subarray of the whole source is the source",
  },
  {
    file: "dax/file-io.ts",
    function: "writeFile",
    what: ["always: if (start > size)"],
    why:
      "costs time only: bytes behind the file's end are zeroed, which are nobody's, before what is " +
      "written is copied over them",
  },
  {
    file: "dax/file-io.ts",
    function: "writeFile",
    what: ["always: if (dax.windows.hasWindows(mapping))"],
    why: "costs time only: without windows there is nothing to show, and refreshWindows says so",
  },
  {
    file: "dax/file-io.ts",
    function: "zeroTail",
    what: ["never: if (rest === 0)"],
    why:
      "costs time only: where the file ends with a block, what follows is a hole or unwritten, which is " +
      "left alone",
  },
  {
    file: "dax/file-io.ts",
    function: "writeExtents",
    what: ["without error instanceof HoldfastError: error instanceof"],
    why: "equivalent: no other error has the code ENOSPC; the class is named for its type",
  },
  {
    file: "dax/file-io.ts",
    function: "mayShowZeroes",
    what: ["always: if (!isPageKind(kindOf(entry)))"],
    why: "costs time only: windows are revoked after writes to pages that they show, and fault again",
  },
  {
    file: "dax/file-io.ts",
    function: "showWritten",
    what: [
      "always: if (end > size)",
      "always: if (change.healed || isHidden || mayShowZeroes(dax, mapping, first, last))",
      "without change.filled: change.filled && !dax.windows.port.faults",
      "without !dax.windows.port.faults: change.filled &&",
    ],
    why: "costs time only: windows are revoked that show what was written, and fault again",
  },
  {
    file: "dax/fault.ts",
    function: "mappedExtent",
    what: ["always: if (!dax.windows.port.faults)"],
    why:
      "costs time only: new blocks are shown before they are touched, noted as shown and under the " +
      "map lock, as for a fault",
  },
];
