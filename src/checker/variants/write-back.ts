/** Variants of write-back, and of the marks that it goes by. */
import { variant } from "../variant.ts";

export const pinsLookedAtLast = variant({
  name: "pins-looked-at-last",
  about:
    "Write-back clears a page's dirty mark, persists the page, and looks last whether it is pinned: an " +
    "I/O that writes and lets go in between leaves a page that no fsync finds.",
  from: "our own write-back; hazard H2: an fsync that flushes nothing for a page that was written",
  edits: [
    {
      file: "dax/write-back.ts",
      find: "    if (pages.pinCount(page) > 0)\n        setMark(thread, mapping, index, Mark.dirty);\n",
      replace: "",
    },
    {
      file: "dax/write-back.ts",
      find: "        index += count;\n",
      replace:
        "        if (pages.pinCount(page) > 0)\n            setMark(thread, mapping, index, Mark.dirty);\n" +
        "        index += count;\n",
    },
  ],
  caughtBy: { "pin-write-back": "check" },
});

export const dirtyMarkBeforeCount = variant({
  name: "dirty-mark-before-count",
  about:
    "The fast pin looks for the dirty mark before it counts: write-back can take the mark away in " +
    "between and see no pin.",
  from: "pin/pin.ts, invariant 4, its two halves swapped",
  edits: [
    {
      file: "pin/pin.ts",
      find: "        if (write && !isMarked(words, slot, entry, index, Mark.dirty))\n            return before;\n",
      replace: "",
    },
    {
      file: "pin/pin.ts",
      find: "        if (now === count && counted === 0)\n",
      replace:
        "        if (write && !isMarked(words, slot, entry, index, Mark.dirty))\n            return before;\n" +
        "        if (now === count && counted === 0)\n",
    },
  ],
  caughtBy: { "pin-write-back": "check" },
});

export const writeBacksTogether = variant({
  name: "write-backs-together",
  about:
    "Several write-backs of a file run at a time: one finds nothing to do, as another one has taken the " +
    "written range, and returns before that is persisted.",
  from: "our own write-back, before dax-sync-write found it; DESIGN.md 5.6, invariant 8",
  edits: [
    {
      file: "dax/write-back.ts",
      find: 'using _turn = yield* lockExclusive(task, mapping + MappingWord.writeBackLock, {\n        rankName: "writeBack",\n        order,\n    });\n',
      replace: "",
    },
    {
      file: "dax/write-back.ts",
      find: "        noteWritten(thread, mapping, 0, PAGE_INDEX_MAX);\n",
      replace: "        void 0;\n",
    },
  ],
  caughtBy: { "dax-sync-write": "check" },
});

export const marksDropped = variant({
  name: "marks-dropped",
  about:
    "A layout change takes the entries out of its range with their dirty marks, and notes nothing: pages " +
    "that stay in the file are never persisted.",
  from: "hazard H2: an invalidation that deletes entries without a flush; our own core, before dax-sync-huge",
  edits: [
    {
      file: "dax/remove-pages.ts",
      find: "        noteWritten(thread, mapping, range.first, range.last);\n",
      replace: "        void 0;\n",
    },
  ],
  caughtBy: { "dax-sync-huge": "check" },
});

export const moveNotNoted = variant({
  name: "move-not-noted",
  about: "A collapse or an insertion moves written pages out of the range that is noted.",
  from: "our own core, before dax-sync-collapsed and dax-sync-inserted found it",
  edits: [
    {
      file: "dax/layout-change.ts",
      find: "    noteWritten(dax.thread, mapping, Math.floor(offset / PAGE_SIZE), PAGE_INDEX_MAX);\n",
      replace: "",
    },
  ],
  caughtBy: { "dax-sync-collapsed": "check", "dax-sync-inserted": "check" },
});

export const zeroesNotNoted = variant({
  name: "zeroes-not-noted",
  about:
    "Zeroes that are put into new blocks, into a cleared range and behind the file's end do not count as " +
    "written: the device keeps what was there.",
  from: "our own core, before dax-sync-zeroes found it; DESIGN.md 5.6, invariant 8",
  edits: [
    {
      file: "dax/fault.ts",
      find: "        noteWritten(dax.thread, mapping, index, index + pages - 1);\n",
      replace: "",
    },
    {
      file: "dax/layout-change.ts",
      find: "            noteWrittenBytes(dax, mapping, at, stop);\n",
      replace: "",
    },
    {
      file: "dax/file-io.ts",
      find: "    noteWrittenBytes(dax, mapping, size, size + 1);\n",
      replace: "",
    },
  ],
  caughtBy: {
    "dax-sync-zeroes": "check",
    "dax-sync-zeroed": "check",
    "dax-sync-truncated": "check",
    "dax-sync-tail": "check",
  },
});

export const writeBackForgotten = variant({
  name: "write-back-forgotten",
  about:
    "What a write-back had taken when its thread died, or the device failed, is nobody's to persist.",
  from: "our own write-back, before dax-sync-killed found it; Linux's errseq_t, and fsync after EIO",
  edits: [
    {
      file: "dax/write-back.ts",
      find: "if (exchange(words, mapping + MappingWord.writingBack, 1) !== 0) {",
      replace: "if (exchange(words, mapping + MappingWord.writingBack, 1) === -1) {",
    },
  ],
  caughtBy: { "dax-sync-killed": "check", "dax-sync-fails": "check" },
});

export const reclaimForgetsDirty = variant({
  name: "reclaim-forgets-dirty",
  about: "Reclaim takes a page out of memory with its dirty mark, which nobody has noted.",
  from: "invalidation of dirty entries: they are skipped, EBUSY; hazard H2",
  edits: [
    {
      file: "dax/reclaim.ts",
      find: "        removePages(dax, mapping, broken);\n",
      replace:
        "        removeEntries(dax.thread, mapping, broken.first, broken.last, (entry, _index, count) => {\n" +
        "            if (isPageKind(kindOf(entry)))\n" +
        "                dax.pages.disassociate(pageOf(entry), count, mapping);\n        });\n",
    },
    {
      file: "dax/reclaim.ts",
      find: "import { forEachEntry, ",
      replace: "import { pageOf, removeEntries, forEachEntry, ",
    },
  ],
  caughtBy: { "dax-reclaim-sync": "check" },
});
