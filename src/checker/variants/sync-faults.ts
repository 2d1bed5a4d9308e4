/** Variants of sync faults: what a window shows before it is on the medium. */
import { variant } from "../variant.ts";

const flushOfAFault =
  "            yield* persistForSync(task, dax, mapping, first, first + HUGE_PAGES - 1);\n";

export const syncFaultUnflushed = variant({
  name: "sync-fault-unflushed",
  about:
    "A sync window shows pages as any other does: MAP_SYNC is accepted and nothing is done for it.",
  from: "MAP_SYNC ignored by mmap without MAP_SHARED_VALIDATE",
  edits: [{ file: "dax/fault.ts", find: flushOfAFault, replace: "" }],
  caughtBy: { "sync-fault-holes": "check" },
});

export const syncFaultOfItsWindow = variant({
  name: "sync-fault-of-its-window",
  about:
    "A fault flushes if the window that was touched is a sync window, though the page takes the place of " +
    "zeroes in others as well.",
  from: "dax_iomap_fault looks at the vma of the fault; there the zero page is unmapped, here it is replaced",
  edits: [
    { file: "dax/fault.ts", find: flushOfAFault, replace: "" },
    {
      file: "dax/fault.ts",
      find: "    if (extent.shared && windows.isWritable(window))\n",
      replace:
        "    if (windows.isSync(window))\n        yield* persistLayout(task, dax, mapping);\n" +
        "    if (extent.shared && windows.isWritable(window))\n",
    },
  ],
  caughtBy: { "sync-fault-shown-by-another": "check" },
});

export const syncFaultFlushesFirst = variant({
  name: "sync-fault-flushes-first",
  about: "A sync fault flushes what is dirty first, and looks for blocks second.",
  from: "file_write_and_wait_range before dax_iomap_fault, instead of dax_finish_sync_fault after it",
  edits: [
    { file: "dax/fault.ts", find: flushOfAFault, replace: "" },
    {
      file: "dax/fault.ts",
      find: "    const fileEnd = roundUp(size, PAGE_SIZE) / PAGE_SIZE;\n",
      replace:
        "    yield* persistForSync(task, dax, mapping, index, index);\n" +
        "    const fileEnd = roundUp(size, PAGE_SIZE) / PAGE_SIZE;\n",
    },
  ],
  caughtBy: { "sync-fault-holes": "check" },
});

export const sequenceReadAfterFlush = variant({
  name: "sequence-read-after-flush",
  about: "What is noted as being on the medium is the layout as it is after the flush.",
  from: "dax/sync-fault.ts, rule 2; a datasync tid that is read after the commit",
  edits: [
    {
      file: "dax/sync-fault.ts",
      find: "    store(words, mapping + MappingWord.persistentSequence, sequence);\n",
      replace:
        "    store(words, mapping + MappingWord.persistentSequence, load(words, mapping + MappingWord.sequence));\n",
    },
  ],
  caughtBy: { "sync-fault-write": "check" },
});

export const metadataBeforeZeroes = variant({
  name: "metadata-before-zeroes",
  about: "A sync fault writes metadata home while the zeroes of new blocks are not on the medium.",
  from: "dax: zero new blocks, and flush, before the extent is converted; DESIGN.md 5.6, invariant 8",
  edits: [
    {
      file: "dax/sync-fault.ts",
      find: "        device.persistAll();\n        const flushed",
      replace: "        const flushed",
    },
  ],
  caughtBy: { "sync-fault-zeroed": "check" },
});

export const homeIsEnough = variant({
  name: "home-is-enough",
  about:
    "A sync fault writes metadata home, and returns before the device has put it on the medium.",
  from: "a journal commit without its flush of the device's cache",
  edits: [
    {
      file: "dax/sync-fault.ts",
      find: "        device.persistAll();\n        notePersistent",
      replace: "        notePersistent",
    },
  ],
  caughtBy: { "sync-fault-holes": "check" },
});

export const grownUnderWindows = variant({
  name: "grown-under-windows",
  about:
    "A file that grows leaves its windows as they are: what they show of its last page, and lost pages.",
  from: "our own core: a range that is zeroed, or cloned, behind the file's end left pages before it lost",
  edits: [
    {
      file: "dax/layout-change.ts",
      find: "    windows.revoke(mapping, Math.floor(size / PAGE_SIZE), PAGE_INDEX_MAX);\n",
      replace: "",
    },
  ],
  caughtBy: { "sync-fault-grown": "check" },
});

export const copyShownUnflushed = variant({
  name: "copy-shown-unflushed",
  about:
    "A copy of a shared page is shown where the page was lost, before its place is on the medium.",
  from: "dax/unshare.ts, makeEntries",
  edits: [
    {
      file: "dax/unshare.ts",
      find: "    yield* persistForSync(task, dax, mapping, first, end - 1);\n",
      replace: "",
    },
  ],
  caughtBy: { "sync-fault-copied-lost": "check" },
});

export const shownAfterFailedFlush = variant({
  name: "shown-after-failed-flush",
  about:
    "The flush of a sync fault fails, and the page is shown all the same, since its entry is there.",
  from: "dax/fault.ts, showFailed: who fails shows what others have made real",
  edits: [
    {
      file: "dax/fault.ts",
      find: "    if (!windows.isSync(window))\n        return true;\n",
      replace: "    return true;\n",
    },
  ],
  caughtBy: { "sync-fault-fails": "check" },
});

export const deathUncounted = variant({
  name: "commit-of-the-dead-uncounted",
  about:
    "A transaction is committed first and counted second. A thread that dies in between leaves one that " +
    "nobody counts: what is on the medium counts for all there is.",
  from: "metadata/transaction.ts, commit",
  edits: [
    {
      file: "metadata/transaction.ts",
      find: "        addThenStore(words, this.#area + Area.committed, 1, this.#area + Area.state, State.committed);\n",
      replace:
        "        store(words, this.#area + Area.state, State.committed);\n" +
        "        add(words, this.#area + Area.committed, 1);\n",
    },
  ],
  caughtBy: { "sync-fault-killed": "check" },
});
