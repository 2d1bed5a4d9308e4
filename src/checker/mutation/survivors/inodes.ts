import type { Explanation } from "./explanation.ts";

const FILE = "volume/inodes.ts";
const UNDER_THE_GUARD =
  "equivalent: both lie under the guard, and who finds its holder dead counts the idle records again";
const NOT_SHARED_YET = "equivalent: nobody comes to the record before it is in its bucket";
const BY_EVICTION = "costs time only: the record leaves a moment later, when its thread settles";
const KEEPS_NO_ROOM =
  "the ram filesystem, with which scenarios run, keeps no room for files to grow; test/volume/growth-rooms.test.ts sees it";
const LOOKS_IN_VAIN = "costs time only: what is not to leave is not claimed";

export const inodeSurvivors: readonly Explanation[] = [
  {
    file: FILE,
    function: "createInodeArea",
    what: ["swapped: "],
    why: "equivalent: the area is made before any other thread shares the region",
  },
  {
    file: FILE,
    function: "#lookUp",
    what: [
      "swapped: store(words, spare + MappingWord.next",
      "swapped: add(words, this.#area + Area.idle, 1)",
    ],
    why: UNDER_THE_GUARD,
  },
  {
    file: FILE,
    function: "#makeRecord",
    what: [
      "swapped: store(thread.words, mapping + Own.type",
      "swapped: store(thread.words, mapping + Own.nameless",
    ],
    why: NOT_SHARED_YET,
  },
  {
    file: FILE,
    function: "drop",
    what: ["swapped: this.#leave(); thread.openFiles.giveEmpty(record);"],
    why: "equivalent: which records of its table are free is the thread's own",
  },
  {
    file: FILE,
    function: "#retire",
    what: ["always: if (this.#needsEviction(mapping))"],
    why: BY_EVICTION,
  },
  {
    file: FILE,
    function: "#needsEviction",
    what: ["always: return"],
    why: BY_EVICTION,
  },
  {
    file: FILE,
    function: "#retire",
    what: ["swapped: this.#unlink(mapping); add("],
    why: UNDER_THE_GUARD,
  },
  {
    file: FILE,
    function: "#nextIdle",
    what: ["left out: store(words, this.#area + Area.hand, bucket);"],
    why: "which of the idle records leaves is nobody's to rely on",
  },
  {
    file: FILE,
    function: "hasDoomed",
    what: ["always: return"],
    why: "costs time only: settles where there is nothing to do",
  },
  {
    file: FILE,
    function: "unsettled",
    what: ["always: return"],
    why: "costs time only: settles where there is nothing to do",
  },
  {
    file: FILE,
    function: "settle",
    what: ["always: if (exchange("],
    why: "costs time only: looks through the table where nobody has left anything",
  },
  {
    file: FILE,
    function: "leaveToOthers",
    what: ["never: if (this.#doomed.length === 0)"],
    why: "costs time only: somebody looks through the table where nobody has left anything",
  },
  {
    file: FILE,
    function: "#doomAbandoned",
    what: ["never: if (!this.#leavesIdle(mapping))"],
    why: "costs time only: records leave that might have stayed, and are made anew for whoever opens the file",
  },
  {
    file: FILE,
    function: "#doomAbandoned",
    what: ["never: if (!this.#isIdle(mapping))"],
    why: LOOKS_IN_VAIN,
  },
  {
    file: FILE,
    function: "evictAll",
    what: ["always: if (this.#isIdle(mapping))"],
    why: LOOKS_IN_VAIN,
  },
  {
    file: FILE,
    function: "evictAll",
    what: ["left out: this.#enter();", "swapped: "],
    why: "equivalent: others are refused while a volume is unmounted, and change nothing under the guard",
  },
  {
    file: FILE,
    function: "#evict",
    what: ["swapped: store(words, mapping + Own.evictor, 0); add("],
    why: UNDER_THE_GUARD,
  },
  {
    file: FILE,
    function: "#evict",
    what: ["swapped: this.#leave(); store(words, mapping + Own.evictor, 0);"],
    why: "equivalent: the record has left the table, and only those look at it who wait for it",
  },
  {
    file: FILE,
    function: "#evict",
    what: ["swapped: this.#leave(); wakeAll("],
    why: "equivalent: who is woken inside the guard waits for it a moment longer",
  },
  {
    file: FILE,
    function: "#evict",
    what: ["swapped: wakeAll(words, mapping + Own.evictor); freeObject("],
    why: "a wake-up too many: who waits sees that the word has changed, whatever the record is now",
  },
  {
    file: FILE,
    function: "#freeInode",
    what: ["swapped: transaction.setWord(mapping + Own.discarded"],
    why: "equivalent: both are of one transaction, and nobody looks at either before it has ended",
  },
  {
    file: FILE,
    function: "#claim",
    what: ["swapped: add("],
    why: UNDER_THE_GUARD,
  },
  {
    file: FILE,
    function: "underGuard",
    what: ["swapped: this.#enter(); change();"],
    why: "equivalent: who is inside has taken his reference when the guard is given, and who comes later sees the change",
  },
  {
    file: FILE,
    function: "dropHeld",
    what: ["left out: this.#driver.noteUnused("],
    why: KEEPS_NO_ROOM,
  },
  {
    file: FILE,
    function: "#recoverReference",
    what: [
      "left out: this.#driver.noteUnused(",
      "swapped: add(words, this.#area + Area.idle, 1); this.",
    ],
    why: KEEPS_NO_ROOM,
  },
  {
    file: FILE,
    function: "recoverInodes",
    what: ["swapped: forEachRecord("],
    why: "equivalent: a record that is about to leave has no references",
  },
  {
    file: FILE,
    function: "count",
    what: ["swapped: this.#enter(); this.visitRecords("],
    why: "figures may miss what changes meanwhile; and the number of idle records is read under the guard",
  },
  {
    file: FILE,
    function: "#recoverEvictions",
    what: [
      "left out: wakeAll(",
      "left out: store(words, mapping + Own.evictor, 0); (2)",
      "swapped: store(words, mapping + Own.evictor, 0); wakeAll(",
      "swapped: wakeAll(",
    ],
    why: "costs time only: who waits looks after a slice of time whether somebody has died, and then for the record again",
  },
  {
    file: FILE,
    function: "#unlink",
    what: ["swapped: store(words, link"],
    why: UNDER_THE_GUARD,
  },
  {
    file: "volume/inode-reference.ts",
    function: "isDirectory",
    why: "what names are looked up in: asked by volume/paths.ts alone, and tested by its tests",
  },
];
