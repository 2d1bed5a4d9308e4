import type { Explanation } from "./explanation.ts";

export const daxSurvivors: readonly Explanation[] = [
  {
    file: "dax/dax.ts",
    function: "keepExtent",
    what: [
      "without endOf(extents[at - 1]) > extent.start",
      "without extents[after].start < endOf(extent)",
    ],
    why:
      "Then a kept extent drives out all that are known before it, or after it. The rest stays sorted, " +
      "so what is found covers the byte; a forgotten extent is read again, which costs time only.",
  },
  {
    file: "dax/dax.ts",
    function: "keepExtent",
    what: ["never: while (after < extents.length"],
    why:
      "Costs time only: of extents that overlap a search may come to the one that does not cover the byte, " +
      "which is read again then. All are true as long as the sequence is the same.",
  },
  {
    file: "dax/dax.ts",
    function: "keepExtent",
    what: ["without cached.extents.length >= CACHED_EXTENTS_MAX"],
    why: "Costs memory only: as many extents are kept as the file has.",
  },
  {
    file: "dax/dax.ts",
    function: "changeSize",
    what: ["swapped: "],
    why:
      "All of it is one transaction. Others read the size under the io lock, which is held exclusively, or " +
      "see the sequence and read it again.",
  },
  {
    file: "dax/dax.ts",
    function: "forget",
    what: ["left out: this.#extents.delete(mapping);"],
    why:
      "Costs memory only: a record that is used again never has a sequence again that it had before " +
      "(mapping/mapping.ts, initMapping), so what was cached of the last file in it is never found.",
  },
  {
    file: "dax/fault.ts",
    function: "makePresent",
    what: ["never: if (!huge)", "never: if (made > 0)"],
    why:
      "Costs time only: entries are made one at a time; or the one that was made just now is locked, found " +
      "to be a page's, and unlocked.",
  },
  {
    file: "dax/fault.ts",
    function: "showLostUnlisted",
    what: ["swapped: showLost("],
    why:
      "Both come before the second look for the entry: whoever has locked it without having seen the note " +
      "is found by that, and whoever sees the note looks at the window afterwards or is found as well.",
  },
  {
    file: "dax/show.ts",
    function: "showLost",
    what: ["swapped: windows.noteShown("],
    why: "The bit and the lost pages have nothing to do with one another; both come before it is shown.",
  },
  {
    file: "dax/fault.ts",
    function: "mappedExtent",
    what: ["swapped: touchTimes(dax, transaction, mapping); noteWritten("],
    why: "The times and the note have nothing to do with one another; both come before the commit.",
  },
  {
    file: "dax/fault.ts",
    function: "showHole",
    what: ['without extent.kind === "mapped"'],
    why:
      "Needs two faults that one thread serves, one of them put aside while the other one reads the " +
      "extent anew. An actor serves one fault at a time; the pager's loop is not instrumented.",
  },
  {
    file: "dax/fault.ts",
    function: "showPage",
    what: ["always: if (yield* showHole(task, dax, window, index))"],
    why: "Costs time only: nothing is shown, so the touch faults again, and then finds the page.",
  },
  {
    file: "dax/fault.ts",
    function: "showAll",
    what: ["swapped: yield* populate("],
    why:
      "Both happen under the map lock, held exclusively here: nobody can see a window that shows a page " +
      "before it has its entry, and a touch in between reaches the file's own block.",
  },
  {
    file: "dax/fault.ts",
    function: "hidePoisoned",
    what: ["without !windows.hasWindows(mapping)"],
    why: "Costs time only: bad pages are looked for, and shown as lost in no window.",
  },
  {
    file: "dax/fault.ts",
    function: "unshareTouched",
    what: ["always: choice (shared?.first === first)"],
    why:
      "Costs time only. The page that is touched is the file's own by now, and those after it are copied that " +
      "were to be copied with it; where there is no room for them, the page is shown all the same.",
  },
  {
    file: "dax/fault.ts",
    function: "healthyAround",
    what: ["never: if (run.first - start > index)", "always: if (run.last - start >= index)"],
    why: "Costs time only: the page that is touched is shown alone, and its neighbours fault when they are touched.",
  },
  {
    file: "dax/fault.ts",
    function: "showAllCached",
    what: ["without writes", "without findCached(", "without !isShown"],
    why:
      "Costs time only: whether a page is a hole is asked of more pages than need be. What a window writes has " +
      "blocks by then, and so has what is cached; but for a hole that is pinned on a volume mounted read-only, " +
      "which reads as zeroes for ever.",
  },
  {
    file: "dax/map-window.ts",
    function: "closeWith",
    what: ["never: if (this.#window === 0)"],
    why:
      "Costs time only: the window is looked at again under the lock. (A second close is told apart before, " +
      "since the file's record may be another file's by then, whose lock is none of its business.)",
  },
  {
    file: "dax/map-window.ts",
    function: "closeWith",
    what: ["closedRanges.register("],
    why:
      "Gives the addresses back when the last view of them is gone, by V8's garbage collector, which no " +
      "schedule has. It never runs between two statements, so their order is nobody's to see.",
  },
  {
    file: "dax/refresh.ts",
    function: "refreshWindows",
    what: ["never: if (!dax.windows.hasWindows(mapping))"],
    why:
      "Costs time only: the lock is taken and there is no window to revoke. Zero entries that go with it " +
      "are made anew when a hole is shown.",
  },
  {
    file: "dax/refresh.ts",
    function: "refreshWindows",
    what: ["left out: dropZeroEntries("],
    why:
      "Costs time only: a zero entry says that windows may show zeroes, and none does any more. Whoever " +
      "makes the page real, or writes it again, looks at the windows once more.",
  },
  {
    file: "dax/refresh.ts",
    function: "refreshWindows",
    what: ["swapped: dax.windows.revoke(", "swapped: dropZeroEntries("],
    why:
      "All of it happens under the map lock, held exclusively, so nobody sees the order; and where windows " +
      "cannot fault there are no zero entries that showing them again could meet.",
  },
  {
    file: "dax/remove-pages.ts",
    function: "removePages",
    what: ["always: if (nextMarked("],
    why: "Costs time only: pages are noted that nobody has written, and persisted once more.",
  },
  {
    file: "dax/layout-change.ts",
    function: "zeroMapped",
    what: ["swapped: zeroHealthy("],
    why:
      "The map lock is held exclusively, so no write-back takes the note before the zeroes are there; and " +
      "who dies in between has noted too much.",
  },
  {
    file: "dax/layout-change.ts",
    function: "collapseRange",
    what: ["swapped: yield* freeBlocks("],
    why: "What is noted stays noted: it only has to be before what follows moves.",
  },
  {
    file: "dax/poison.ts",
    function: "copyOutHealthy",
    what: ["never: choice (healthy === into.length)"],
    why: "Costs time only: a view of all of the target is made.",
  },
  {
    file: "dax/poison.ts",
    function: "zero",
    what: ["always: if (end > first)"],
    why:
      "No whole page is zeroed, and none is taken off the list: at most a range is listed as two that touch, " +
      "where zeroes begin in one page of it and end in the next.",
  },
  {
    file: "dax/file-io.ts",
    function: "writeMapped",
    what: ["never: choice (whole)", "always: if (written > 0)"],
    why: "Costs time only: a view of all of the source is made; windows are shown again what they show.",
  },
  {
    file: "dax/pins.ts",
    function: "poisonedRanges",
    what: ["never: if (!bad.any)"],
    why: "Costs time only: each run is looked for in a list that is empty.",
  },
  {
    file: "dax/pins.ts",
    function: "assertHealthy",
    what: ["never: if (!pages.bad.any)"],
    why: "Costs time only: each page is looked for in a list that is empty.",
  },
  {
    file: "dax/pins.ts",
    function: "tryPinRange",
    what: ["without !bad.any"],
    why: "Costs time only: the ranges of a pin are looked for in a list that is empty.",
  },
  {
    file: "mapping/mapping.ts",
    function: "noteWritten",
    what: ["never: if (isNoted(", "without none: none || last >"],
    why:
      "Costs time only: the guard is taken for nothing; or the range keeps the end of one that was taken " +
      "before, and more is persisted than was written.",
  },
  {
    file: "mapping/mapping.ts",
    function: "isNoted",
    what: [
      "always: if (first < loadUnsigned(",
      "always: if (last > loadUnsigned(",
      "never: return (load(words, mapping + MappingWord.writtenTakes) === takes)",
    ],
    why: "Costs time only: pages that are noted are noted again, under the guard.",
  },
  {
    file: "mapping/mapping.ts",
    function: "takeWritten",
    what: ["never: choice (first === -1)"],
    why: "The range that stands for none begins behind the end of every file: nothing of it is persisted.",
  },
  {
    file: "dax/write-back.ts",
    function: "persistHealthy",
    what: ["always: if (healthy > 0)"],
    why: "Equivalent: a device that is asked to persist no bytes does nothing.",
  },
  {
    file: "dax/owners.ts",
    function: "findOwners",
    what: ["never: if (dax.driver.sharing === null", ": if (cursor !== null)"],
    why: "Costs time only: the search goes on when all are found, pauses once more, or lets others wait for all of it.",
  },
];
