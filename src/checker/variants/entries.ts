/** Variants of entries: their locks, and the order in which they come to be. */
import { variant } from "../variant.ts";

export const deletedEntryWakesNobody = variant({
  name: "deleted-entry-wakes-nobody",
  about: "Who deletes the entry that others wait for wakes none of them.",
  from: "bug 7: Wake up all waiters after invalidating dax entry (2021)",
  edits: [
    {
      file: "mapping/entries.ts",
      find: "    thread.entryLocks.giveOwn(held.record);\n    wakeAll(words, held.slot);\n",
      replace:
        "    thread.entryLocks.giveOwn(held.record);\n    if (entry !== 0)\n        wakeAll(words, held.slot);\n",
    },
  ],
  caughtBy: { "entry-given-up": "lost wake-up" },
});

export const wakesBeforeUnlock = variant({
  name: "entry-wakes-before-unlock",
  about: "The entry's waiters are woken first, and it is unlocked second.",
  from: "bug 3: Avoid losing wakeup in dax_lock_mapping_entry (2018)",
  edits: [
    {
      file: "mapping/entries.ts",
      find: "    const { words } = thread;\n    if (held.pages === 512)\n        storeHugeRest(words, held.slot, entry);\n",
      replace:
        "    const { words } = thread;\n    wakeAll(words, held.slot);\n    if (held.pages === 512)\n" +
        "        storeHugeRest(words, held.slot, entry);\n",
    },
    {
      file: "mapping/entries.ts",
      find: "    thread.entryLocks.giveOwn(held.record);\n    wakeAll(words, held.slot);\n",
      replace: "    thread.entryLocks.giveOwn(held.record);\n",
    },
  ],
  caughtBy: { "entry-given-up": "lost wake-up" },
});

export const lockWithoutLooking = variant({
  name: "entry-lock-not-atomic",
  about: "The entry is looked at, and locked by a store: two threads hold it.",
  from: "dax_lock_entry, its xa_lock left out",
  edits: [
    {
      file: "mapping/entries.ts",
      find: "            if (!casThenStore(words, slot, entry, locked(entry), record, slot))\n                continue;\n",
      replace:
        "            store(words, slot, locked(entry));\n            store(words, record, slot);\n",
    },
  ],
  caughtBy: { "entry-lock": "check" },
});

export const publishedBeforeOwner = variant({
  name: "entry-before-owner",
  about: "The entry is shown before its page has an owner.",
  from: "the reference dropped before insertion, reversed; DESIGN.md 5.2",
  edits: [
    {
      file: "mapping/entries.ts",
      find: "    const page = pages.associate(devicePage, held.pages, held.mapping, held.index, huge);\n    const entry = makeEntry(huge ? EntryKind.huge : EntryKind.page, page);\n    settle(thread, held, entry);\n",
      replace:
        "    const entry = makeEntry(huge ? EntryKind.huge : EntryKind.page, pages.find(devicePage));\n" +
        "    settle(thread, held, entry);\n" +
        "    pages.associate(devicePage, held.pages, held.mapping, held.index, huge);\n",
    },
  ],
  caughtBy: { "entry-death": "check" },
});

export const deadLockerForgotten = variant({
  name: "dead-entry-lock-kept",
  about: "The entries that a dead thread had locked stay locked.",
  from: "several-processes.md: whoever waits recovers what the dead held",
  edits: [
    {
      file: "mapping/entries.ts",
      find: "            recoverRun(thread, pages, record);\n",
      replace: "",
    },
  ],
  caughtBy: { "entry-death": "leak" },
});

export const hugeWithoutRest = variant({
  name: "huge-entry-claims-one-slot",
  about: "An entry of 2 MiB takes its first slot only before it counts as held.",
  from: "bug 5, its follow-up: Fix pmd vs pte conflict detection",
  edits: [
    {
      file: "mapping/entries.ts",
      find: "    if (huge && !claimRest(words, slot, locked(entry))) {",
      replace: "    if (huge && slot < 0) {",
    },
  ],
  caughtBy: { "entry-huge-and-small": "leak" },
});

export const nodeOverHuge = variant({
  name: "node-over-huge-entry",
  about:
    "A node of 4 KiB entries is put into its slot by a plain store, over the entry of 2 MiB that another " +
    "thread has claimed the slot for since it was seen free.",
  from: "our own core, before entry-huge-and-small found it; bug 5, the conflict of PMD and PTE",
  edits: [
    {
      file: "mapping/tree.ts",
      find: "        if (!cas(words, slot, 0, child)) {",
      replace: "        store(words, slot, child);\n        if (level < 0) {",
    },
  ],
  caughtBy: { "entry-huge-and-small": "leak" },
});

export const recordOutlivesLock = variant({
  name: "lock-record-outlives-lock",
  about:
    "The entry is unlocked first, and its thread's record of the lock goes second. If the thread dies in " +
    "between, what another one has locked since is taken for the dead thread's.",
  from: "our own core, before entry-given-up-death found it",
  edits: [
    {
      file: "mapping/entries.ts",
      find: "    casThenStore(words, held.slot, locked(held.entry), entry, held.record, 0);\n",
      replace: "    store(words, held.slot, entry);\n    store(words, held.record, 0);\n",
    },
  ],
  caughtBy: { "entry-given-up-death": "check" },
});

export const nodesOfOthersFreed = variant({
  name: "recovery-frees-nodes",
  about:
    "Who gives back the entry of 2 MiB that a dead thread was making empties all of its slots, also those " +
    "under which another thread has put entries of 4 KiB.",
  from: "our own core, before entry-huge-death found it",
  edits: [
    {
      file: "mapping/entries.ts",
      find: "        if (isEntry(load(words, later)))\n            store(words, later, 0);\n",
      replace: "        store(words, later, 0);\n",
    },
  ],
  caughtBy: { "entry-huge-death": "leak" },
});

export const smallInHugeSlot = variant({
  name: "small-entry-in-huge-slot",
  about:
    "A slot that was seen to hold an entry of 2 MiB, and is free a moment later, is used for one of 4 KiB: " +
    "it counts for 64 pages.",
  from: "our own core, before entry-huge-given-up found it; the conflict of PMD and PTE",
  edits: [
    {
      file: "mapping/tree.ts",
      find: "        if (value & ENTRY)\n            return 0;\n",
      replace: "        if (value & ENTRY)\n            return slot;\n",
    },
  ],
  caughtBy: { "entry-huge-given-up": "lost wake-up" },
});

export const laterSlotLocked = variant({
  name: "huge-entry-by-its-page",
  about: "The entry of 2 MiB is looked up, and locked, in the slot of the page that was asked for.",
  from: "our own core, before entry-huge-faults found it: the first slot taken for a later one",
  edits: [
    {
      file: "mapping/tree.ts",
      find: "            return level === HUGE_LEVEL ? slot - (slot & (HUGE_SLOTS - 1)) : slot;",
      replace: "            return slot;",
    },
  ],
  caughtBy: { "entry-huge-faults": "check" },
});

export const writtenWithoutGuard = variant({
  name: "written-range-without-guard",
  about:
    "The two ends of the range that was written change without a guard: what is noted while write-back " +
    "takes the range is lost, and not persisted.",
  from: "our own core, before written-together found it; DESIGN.md 5.6, invariant 8",
  edits: [
    {
      file: "mapping/mapping.ts",
      find: "    enterGuard(thread, mapping + MappingWord.treeGuard);\n    const none",
      replace: "    const none",
    },
    {
      file: "mapping/mapping.ts",
      find:
        "        store(words, mapping + MappingWord.writtenFirst, from | 0);\n    }\n" +
        "    leaveGuard(thread, mapping + MappingWord.treeGuard);\n",
      replace: "        store(words, mapping + MappingWord.writtenFirst, from | 0);\n    }\n",
    },
  ],
  caughtBy: { "written-together": "check" },
});

export const takeCountedFirst = variant({
  name: "take-counted-first",
  about:
    "Write-back counts that it takes the written range, and takes it then. Who reads the count in between, one " +
    "end of the range before it is taken, and the other end of the next one, finds pages noted that lie " +
    "between the two: no fsync persists them.",
  from: "our own core, before written-across-take found it; DESIGN.md 5.6, invariant 8",
  edits: [
    {
      file: "mapping/mapping.ts",
      find: "    add(words, mapping + MappingWord.writtenTakes, 1);\n",
      replace: "",
    },
    {
      file: "mapping/mapping.ts",
      find: "    const first = load(words, mapping + MappingWord.writtenFirst);\n",
      replace:
        "    add(words, mapping + MappingWord.writtenTakes, 1);\n" +
        "    const first = load(words, mapping + MappingWord.writtenFirst);\n",
    },
  ],
  caughtBy: { "written-across-take": "check" },
});
