import type { Explanation } from "./explanation.ts";

const NO_SHARED_EXTENTS =
  "costs time only: where the format cannot share blocks no extent says that it may be shared";

export const sharingSurvivors: readonly Explanation[] = [
  {
    file: "dax/unshare.ts",
    function: "findShared",
    what: ["never: if (dax.driver.sharing === null)"],
    why: NO_SHARED_EXTENTS,
  },
  {
    file: "dax/unshare.ts",
    function: "isShared",
    what: ['without extent.kind === "mapped"'],
    why: "equivalent: reflink shares mapped extents alone, and none becomes unwritten before it is unshared",
  },
  {
    file: "dax/unshare.ts",
    function: "findStillShared",
    what: ["always: if (shared === null)", "left out: transaction.commit();"],
    why: "costs time only: what has no other owner any more is broken, and unshared without a copy",
  },
  {
    file: "dax/unshare.ts",
    function: "showOwn",
    what: [
      'never: if (!showsOver(dax) || own.kind !== "mapped" || !windows.hasWindows(mapping))',
      "without !showsOver(dax)",
      'without own.kind !== "mapped"',
      "without !windows.hasWindows(mapping)",
    ],
    why:
      "costs time only: what is unshared is mapped, a file without windows has none to show it in, and to " +
      "windows that were revoked it is shown before they are touched",
  },
  {
    file: "dax/unshare.ts",
    function: "showOwn",
    what: ["always: return (shown.length > 0)"],
    why: "costs time and memory only: entries are made before somebody wants them",
  },
  {
    file: "dax/unshare.ts",
    function: "makeEntries",
    what: ["never: if (!hasLostUnlisted(dax.thread, mapping))"],
    why: "costs time only: windows are shown what is the file's own before they are touched",
  },
  {
    file: "dax/unshare.ts",
    function: "makeEntries",
    what: ["swapped: loseShown("],
    why: "equivalent: who looks at either holds the map lock, which is held exclusively",
  },
  {
    file: "dax/unshare.ts",
    function: "makeEntries",
    what: ['never: if (own.kind !== "mapped")'],
    why: "equivalent: what is unshared is mapped",
  },
  {
    file: "dax/reflink.ts",
    function: "withBothBroken",
    what: ["swapped: requireSharing(dax); dax.assertWritable();"],
    why: "which of two reasons is told, where a volume is read-only and its format cannot share",
  },
  {
    file: "dax/reflink.ts",
    function: "withBothBroken",
    what: ["never: choice (pair.length === 0)"],
    why: "costs time only: an empty range is broken, or the last block of a file that stays as it is",
  },
  {
    file: "dax/reflink.ts",
    function: "knownPair",
    what: ["swapped: assertNoWriters("],
    why: "the wording of a message: in both cases a window that writes is in the way",
  },
  {
    file: "dax/reflink.ts",
    function: "shareBroken",
    what: ["left out: yield* assertPagesFree("],
    why: "an assertion of the core about itself",
  },
  {
    file: "dax/reflink.ts",
    function: "shareBroken",
    what: ["swapped: touchTimes(dax, transaction, target);"],
    why: "equivalent: the note is no part of the transaction, and only who holds a lock looks at the times",
  },
  {
    file: "dax/reflink.ts",
    function: "holdSame",
    what: ["swapped: readPart("],
    why: "which of two errors is told, where both files have lost bytes",
  },
  {
    file: "dax/write-lock.ts",
    function: "lockForWrite",
    what: ["never: if (!hasLeases && dax.driver.sharing === null)"],
    why: "costs time only: leases and shared extents are looked for in vain",
  },
];
