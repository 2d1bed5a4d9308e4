import type { Explanation } from "./explanation.ts";

export const mappingSurvivors: readonly Explanation[] = [
  {
    file: "mapping/entries.ts",
    function: "takeRecord",
    what: ["swapped"],
    why: "the record tells of nothing until its first word is set, so the order in which the others are does not matter",
  },
  {
    file: "mapping/entries.ts",
    function: "lockNew",
    what: ["whatever is there: casThenStore(words, slot, locked(entry), 0, record, 0)"],
    why: "nobody but its holder, this thread, changes a locked entry: the comparison always holds",
  },
  {
    file: "mapping/entries.ts",
    function: "settle",
    what: ["whatever is there: casThenStore"],
    why: "nobody but its holder, this thread, changes a locked entry: the comparison always holds",
  },
  {
    file: "mapping/entries.ts",
    function: "settle",
    what: ["swapped: thread.entryLocks.giveOwn(held.record); wakeAll(words, held.slot);"],
    why: "the record was cleared together with the lock bit; giving it back is this thread's own affair",
  },
  {
    file: "mapping/entries.ts",
    function: "publishAround",
    what: ["whatever is there: casThenStore(words, first + offset, before, entry"],
    why: "nobody but its holder, this thread, changes a locked entry: the comparison always holds",
  },
  {
    file: "mapping/entries.ts",
    function: "publishAround",
    what: ["never: if (first === 0)"],
    why: "slot 0 is the region's magic number, which is never free to be claimed: no entry is made, either",
  },
  {
    file: "mapping/entries.ts",
    function: "recoverRun",
    what: ["whatever is there: casThenStore"],
    why: "the dead thread's lock is still set and only one thread recovers it: nobody else changes the entry",
  },
  {
    file: "mapping/mapping.ts",
    function: "createMappingArea",
    what: ["swapped"],
    why: "the area is made by one thread, alone, before anybody can attach to it",
  },
  {
    file: "mapping/mapping.ts",
    function: "initMapping",
    what: ["swapped"],
    why: "nobody finds the record before it is in the inode table, which is after it is set up",
  },
  {
    file: "mapping/tree.ts",
    function: "isHugeKind",
    what: ["without kind === EntryKind.emptyHuge"],
    why: "an empty entry of 2 MiB is always locked, so it has no marks and is not removed; a walk that meets one visits it page by page, which costs time only",
  },
  {
    file: "mapping/tree.ts",
    function: "findSlot",
    what: ["without root === 0"],
    why: "without a root the way would lead into the region's header, where there are page-aligned offsets and zeroes, and no word that looks like an entry: nothing is found, either",
  },
  {
    file: "mapping/tree.ts",
    function: "entryAt",
    what: ["never: choice (slot === 0)"],
    why:
      "Word 0 of the region is its magic number, which read as an entry is locked, and of no kind that there " +
      "is: no page is present, either way; who reads a copied file looks once more, with the map lock.",
  },
  {
    file: "mapping/tree.ts",
    function: "descend",
    what: [
      "swapped: store(words, child + Node.parent, node); store(words, child + Node.slotInParent, within);",
    ],
    why: "the node is not linked yet, so nobody sees it",
  },
  {
    file: "mapping/tree.ts",
    function: "storeHuge",
    what: ["swapped"],
    why: "it is called for entries that are removed, under the map lock held exclusively and in a broken range, where nobody looks; what is published goes through storeHugeRest",
  },
  {
    file: "mapping/tree.ts",
    function: "nextMarked",
    what: ["never: if (root === 0)"],
    why: "without a root the search would look at the region's header, which has no entries, and find none, either",
  },
  {
    file: "mapping/tree.ts",
    function: "nextMarkedBelow",
    what: ["never: if (bits === 0)"],
    why: "it costs time only: 32 unmarked slots are looked at one by one",
  },
];
