import type { Explanation } from "./explanation.ts";

export const layoutSurvivors: readonly Explanation[] = [
  {
    file: "layout/break.ts",
    function: "withBrokenLayouts",
    what: ["swapped: context.windows.revoke("],
    why: "A figure is counted a little earlier or later.",
  },
  {
    file: "layout/break.ts",
    function: "withBrokenLayouts",
    what: ["swapped: maps.release(); ios.release();"],
    why: "Both are dropped before it sleeps; who waits for one of them alone goes on a little later.",
  },
  {
    file: "layout/break.ts",
    function: "isHugeAt",
    what: ["without slot !== 0"],
    why: "Word 0 of the region, its magic number, does not look like an entry of 2 MiB.",
  },
  {
    file: "layout/break.ts",
    function: "announce",
    what: [
      "swapped: store(words, mapping + MappingWord.breakFirst",
      "swapped: store(words, mapping + MappingWord.breakLast",
    ],
    why: "Nobody reads the range, or withdraws the announcement, before its holder is there.",
  },
  {
    file: "layout/break.ts",
    function: "#relent",
    what: ["never: if (load(words, this.#mapping + MappingWord.breakInsist) === 0)"],
    why: "Costs time only: nobody is held back, and nobody is woken.",
  },
  {
    file: "layout/lease.ts",
    function: "createLeaseArea",
    what: ["swapped: initSlab("],
    why: "It runs alone, before anybody joins.",
  },
  {
    file: "layout/lease.ts",
    function: "enqueue",
    what: [
      "swapped: store(words, lease + ",
      "left out: store(words, lease + LeaseRecord.serial",
      "left out: store(words, lease + LeaseRecord.reason",
      "left out: store(words, lease + LeaseRecord.state",
    ],
    why:
      "Nobody reads the record before it is in the list. The serial is for messages; the reason is set " +
      "before a state that tells to read it; a request without a state is waited for like another one.",
  },
  {
    file: "layout/lease.ts",
    function: "unlink",
    what: [
      "left out: store(words, lease + LeaseRecord.state",
      "left out: wakeAll(words, lease + LeaseRecord.state",
    ],
    why: "For the holder's event loop (volume/lease.ts), which ends its watch then, and is not explored.",
  },
  {
    file: "layout/lease.ts",
    function: "enqueue",
    what: ["swapped: store(words, record"],
    why:
      "The request is not in the list yet: whoever dies here loses one record, whether his table names it, " +
      "as a lease or as a pin, or not.",
  },
  {
    file: "layout/lease.ts",
    function: "unlink",
    what: ["swapped: "],
    why: "Changed and told: in which order is decided by the guard, and a wake for no reason is allowed.",
  },
  {
    file: "layout/lease.ts",
    function: "recoverLeases",
    what: ["always: if (!isPin)"],
    why: "The lease of a dead thread's pin is taken out in any case: once more changes nothing.",
  },
  {
    file: "layout/lease.ts",
    function: "settle",
    what: ["swapped: store("],
    why: "A figure is counted a little earlier or later.",
  },
  {
    file: "layout/lease.ts",
    function: "recall",
    what: [
      "swapped: store(words, lease + LeaseRecord.deadline",
      "swapped: store(words, lease + LeaseRecord.state",
    ],
    why: "Both are there before the state that tells to read them; a figure is counted a little later.",
  },
  {
    file: "layout/lease.ts",
    function: "recallFrom",
    what: ["always: if (isGranted)"],
    why: "A request is not changed by a recall, and nobody sleeps on its state.",
  },
  {
    file: "layout/lease.ts",
    function: "obstacleText",
    what: ["always: ", "never: "],
    why: "The wording of a message.",
  },
  {
    file: "layout/lease.ts",
    function: "tryGrant",
    what: ["swapped: store(", "always: if (obstacle === null) (2)"],
    why: "Both happen under the guard; a wake too many.",
  },
  {
    file: "layout/lease.ts",
    function: "recall",
    what: ["never: if (load(thread.words, mapping + MappingWord.leases) === 0)"],
    why: "Costs time only: there is nothing to look at.",
  },
  {
    file: "layout/lease.ts",
    function: "wait",
    what: ["never: if (obstacle === null)"],
    why: "It is called after something was found in the way.",
  },
  {
    file: "layout/lease.ts",
    function: "stateOfLease",
    what: ["never: if ("],
    why: "Costs time only: the guard is taken for nothing.",
  },
  {
    file: "layout/break.ts",
    function: "wait",
    what: ["always: if (this.#waiting !== null)"],
    why: "It is asked to wait when there is one to wait for.",
  },
  {
    file: "layout/break.ts",
    function: "tryWithBrokenPages",
    what: ["swapped: count(thread, Counter.breaks)"],
    why: "A figure is counted a little later.",
  },
  {
    file: "layout/break.ts",
    function: "announce",
    what: ["swapped: store(words, mapping + MappingWord.breakHolder"],
    why: "The list is this call's own, and used when the break is withdrawn.",
  },
  {
    file: "layout/break.ts",
    function: "announce",
    what: ["always: if (places.length > 0)"],
    why: "Costs time only: an epoch is waited for when nothing is announced.",
  },
  {
    file: "layout/break.ts",
    function: "isStillOf",
    what: ["never: if (pages.sharers(page) === 0)"],
    why:
      "Of a page with one owner its entry tells as well. Where a break is announced, so that nobody may look, " +
      "it costs time: all is looked at again, with the locks.",
  },
  {
    file: "layout/break.ts",
    function: "isStillOf",
    what: ["never: choice (slot === 0)"],
    why: "Word 0 of the region, its magic number, does not look like a page's entry.",
  },
];
