/** Variants of files that share blocks: what Linux leaves out, and what we might have. */
import { variant } from "../variant.ts";

/** The count of a shared page, loaded and then stored, under each file's own locks. */
const UNLOCKED_COUNT = [
  {
    file: "pages/pages.ts",
    find: "        casThenStore(words, record + Record.owner, before, before - 1, slot, entryOf(page));\n",
    replace:
      "        this.#leave();\n" +
      "        const counted = load(words, record + Record.owner);\n" +
      "        store(words, record + Record.owner, counted - 1);\n" +
      "        store(words, slot, entryOf(page));\n" +
      "        this.#enter();\n",
  },
  {
    file: "pages/pages.ts",
    find: "            casThenStore(words, record + Record.owner, before, before + 1, slot, 0);\n",
    replace:
      "            this.#leave();\n" +
      "            store(words, record + Record.owner, before + 1);\n" +
      "            store(words, slot, 0);\n" +
      "            this.#enter();\n",
  },
] as const;

export const countUnderOwnLocks = variant({
  name: "share-count-under-own-locks",
  about:
    "The owners of a shared page are counted by a plain load and store, each file's under its own lock: two " +
    "files change the count at once, and one change is lost.",
  from: "hazard H3 (read in Linux 6.19, not reported): folio->share++ and -- under two i_pages locks",
  edits: UNLOCKED_COUNT,
  caughtBy: { "shared-owners": "check" },
});

export const countBeforeEntry = variant({
  name: "share-count-before-entry",
  about:
    "The count of a shared page falls first, and the entry that named the page goes second: whoever " +
    "finishes for a thread that died in between counts it down twice.",
  from: "our own pages/pages.ts, invariant 5",
  edits: [
    {
      file: "pages/pages.ts",
      find: "            casThenStore(words, record + Record.owner, before, before + 1, slot, 0);\n",
      replace:
        "            store(words, record + Record.owner, before + 1);\n            load(words, slot);\n",
    },
  ],
  caughtBy: { "shared-kill-leave": "check" },
});

/** Pins that only read are on shared pages. */
const READING_PINS_SHARE = {
  file: "dax/pins.ts",
  find: "    const owns = write || !(dax.readOnly || isCopied(dax, mapping));\n",
  replace: "    const owns = write;\n",
} as const;

export const noBreakBeforeCopy = variant({
  name: "cow-without-break",
  about:
    "A pin that only reads is on a shared page. A write puts a copy in its place and waits for nobody who has " +
    "the old one pinned: it goes to its other owner under an I/O.",
  from: "hazard H4 (read in Linux 6.19, not reported): no dax_break_layout on the copy-on-write path",
  edits: [
    READING_PINS_SHARE,
    {
      file: "layout/break.ts",
      find: "    const busy = findBusyIn(context, ranges);\n",
      replace: "    const busy = null;\n",
    },
  ],
  caughtBy: { "cow-write-pin": "invariant", "cow-fault-pin": "invariant" },
});

export const copyWaitsForPins = variant({
  name: "cow-waits-for-pins",
  about:
    "A pin that only reads is on a shared page, and a copy waits for it. A fault that copies waits for a pin " +
    "of the very thread that touches.",
  from: "our own core, before collide --mix full cloned files: a touch waited for an I/O of its own thread",
  edits: [
    READING_PINS_SHARE,
    {
      file: "dax/unshare.ts",
      find: "    invariant(busy === null, ",
      replace:
        "    if (busy !== null) {\n" +
        "        yield* waitForPage(dax, busy, new Patience(dax.thread));\n" +
        "        return yield* unsharePages(task, dax, mapping, plan);\n" +
        "    }\n" +
        "    invariant(true, ",
    },
    {
      file: "dax/unshare.ts",
      find: 'import { tryWithBrokenPages } from "../layout/break.js";\n',
      replace: 'import { Patience, tryWithBrokenPages, waitForPage } from "../layout/break.js";\n',
    },
  ],
  caughtBy: { "cow-touch-with-pin": "deadlock" },
});

export const readOnce = variant({
  name: "shared-read-once",
  about:
    "A read call does not look again whether the shared block that it has copied was still the file's: a " +
    "fault has made a copy meanwhile, and the other owner has written to the old one.",
  from: "dax/unshare.ts, rule 2; XFS: reads hold the IOLOCK, faults only the MMAPLOCK",
  edits: [
    {
      file: "dax/file-io.ts",
      find: "            if (isStale(dax, mapping, extent, at))\n                continue;\n",
      replace: "",
    },
  ],
  caughtBy: { "cow-fault-read": "check" },
});

export const waitsWithFirstLocks = variant({
  name: "clone-waits-with-locks",
  about:
    "A break of two files that finds a busy page sleeps with the locks of both: the pin's holder needs one.",
  from: "hazard H9; xfs_mmaplock_two_inodes_and_break_dax_layout holds ip1 while it breaks ip2",
  edits: [
    {
      file: "layout/break.ts",
      find: "            busy = found;\n",
      replace:
        "            busy = found;\n" +
        "            _announced[Symbol.dispose]();\n" +
        "            yield* waitForPage(context, busy, patience);\n",
    },
  ],
  caughtBy: { "clone-holder-needs-locks": "deadlock" },
});

export const spinsOnBusy = variant({
  name: "clone-spins",
  about:
    "A break of two files that finds a busy page drops everything and tries again at once, without a sleep: " +
    "it never ends while the pin's holder waits for it to let go of the processor.",
  from: "hazard H9 (read in Linux 6.19, not reported): a retry loop with a NULL callback for the second inode",
  edits: [
    {
      file: "layout/break.ts",
      find: "        yield* waitForPage(context, busy, patience);\n    }\n}\n/** What is held",
      replace: "        void busy;\n    }\n}\n/** What is held",
    },
  ],
  caughtBy: { "clone-pinned-over-time": "livelock" },
});

export const sourceNotBroken = variant({
  name: "clone-leaves-the-source",
  about:
    "A clone breaks the range that it changes, and not that of its source: pins and windows that write go on " +
    "writing to blocks that are two files' by then.",
  from: "DESIGN.md 5.4: reflink into a range; bug 17: set the shared flag",
  edits: [
    {
      file: "dax/reflink.ts",
      find: "{ mapping: source, plan: planned(ofSource) }",
      replace: "{ mapping: source, plan: () => null }",
    },
    {
      file: "dax/reflink.ts",
      find: "    removePages(dax, source, broken[0].range);\n",
      replace: "",
    },
  ],
  caughtBy: { "clone-write-pin": "check", "clone-window": "check" },
});

export const oldBlockShown = variant({
  name: "cow-windows-keep-the-old-block",
  about:
    "A fault that makes a copy shows it in its own window. Windows that read the file keep the old block, and " +
    "show what its other owner writes there.",
  from: "bug 17: fsdax: invalidate pages when CoW (6.2): mapped readers keep the old block",
  edits: [
    {
      file: "dax/unshare.ts",
      find: "        const shown = isDirect && showOwn(dax, mapping, own);\n",
      replace: "        const shown = false;\n",
    },
  ],
  caughtBy: { "cow-fault-windows": "check" },
});

export const entriesGoFirst = variant({
  name: "cow-entries-go-first",
  about:
    "The entries of what is to be copied are taken out of the file before it is known whether there is room. If " +
    "not, windows go on to show blocks that no entry names, and no report of lost pages finds them there.",
  from: "our own core, before cow-full-shown found it",
  edits: [
    {
      file: "dax/unshare.ts",
      find: "        const own = sharing.unshare(transaction, { ino, start }, length);\n",
      replace:
        "        if (!isCopied(dax, mapping))\n" +
        "            removePages(dax, mapping, shared);\n" +
        "        const own = sharing.unshare(transaction, { ino, start }, length);\n",
    },
  ],
  caughtBy: { "cow-full-shown": "check", "cow-full-populated": "check" },
});

export const undoneCopyShown = variant({
  name: "undone-copy-shown",
  about:
    "Where touches cannot fault, a thread dies between showing a copy and the end of its transaction. Windows " +
    "go on to show the block, which is free, and another file's next.",
  from: "our own core, before cow-kill-populated found it",
  edits: [
    {
      file: "dax/remove-pages.ts",
      find: "    if (!dax.windows.port.faults)\n        loseShown(dax, mapping, first, last, null);\n",
      replace: "",
    },
  ],
  caughtBy: { "cow-kill-populated": "check" },
});

export const shownWithoutEntry = variant({
  name: "shown-without-an-entry",
  about:
    "With no record left for the page of a copy, windows show it all the same, without an entry.",
  from: "our own core, before cow-no-records found it",
  edits: [
    {
      file: "dax/unshare.ts",
      find: "        loseShown(dax, mapping, index, end - 1, null);\n",
      replace: "",
    },
  ],
  caughtBy: { "cow-no-records": "check" },
});

export const sharedAtLoad = variant({
  name: "cow-at-store-only",
  about:
    "A load through a window that writes shows the shared block itself. The store that follows is not caught.",
  from: "DESIGN.md 5.2; Linux write-protects the entry, which userfaultfd cannot for a shared file mapping",
  edits: [
    {
      file: "dax/fault.ts",
      find: "    if (extent.shared && windows.isWritable(window))\n        return Math.min(",
      replace: "    if (extent.shared && stores)\n        return Math.min(",
    },
  ],
  caughtBy: { "cow-load-store": "check" },
});

export const comparedUnlocked = variant({
  name: "dedupe-compares-first",
  about:
    "What is the same is shared although the comparison is of what both files held before their break.",
  from: "bug 17: dedupe: compare did nothing; FIDEDUPERANGE compares under both locks",
  edits: [
    {
      file: "dax/reflink.ts",
      find: "        same = yield* holdSame(task, dax, source, target, pair);\n",
      replace: "",
    },
    {
      file: "dax/reflink.ts",
      find: "    let same = true;\n",
      replace:
        "    let same = yield* holdSame(task, dax, source, target, { ...range, targetSize: 0 });\n",
    },
  ],
  caughtBy: { "dedupe-write": "check" },
});

export const sharedFolio = variant({
  name: "folio-of-several-owners",
  about:
    "2 MiB that two files share are one folio, whose record has one owner: the second file's entry takes " +
    "it for its own.",
  from: "hazard H5: a shared PMD folio is disassociated, and its order reset, under the other file's pin",
  edits: [
    {
      file: "dax/fault.ts",
      find: "    return (!extent.shared &&\n        extent.start",
      replace: "    return (extent.start",
    },
    {
      file: "dax/fault.ts",
      find: "        if (shared)\n            publishShared(",
      replace: "        if (shared && held.pages === 1)\n            publishShared(",
    },
  ],
  caughtBy: { "shared-huge": "check" },
});

export const lostInOneOwner = variant({
  name: "lost-page-of-one-owner",
  about:
    "Of the files that share a lost page, the first that the driver names loses it: the windows of the others " +
    "go on showing it.",
  from: "xfs_dax_notify_failure asks the reverse mapping; before 6.0 a page had one mapping to be found by",
  edits: [
    {
      file: "dax/poison.ts",
      find: "    const owners = yield* findOwners(task, dax, search);\n",
      replace: "    const owners = (yield* findOwners(task, dax, search)).slice(0, 1);\n",
    },
  ],
  caughtBy: { "dax-poison-shared": "check" },
});

export const copyNotLookedAtAgain = variant({
  name: "copied-while-lost",
  about:
    "A copy for copy-on-write looks for lost pages before it copies, and not after it: what is lost in " +
    "between is the content of a healthy block.",
  from: "our own core, before dax-poison-copied found it",
  edits: [
    {
      file: "dax/poison.ts",
      find: "        this.#device.copy(from, to, length);\n        this.#assertHealthy(from, length);\n",
      replace: "        this.#device.copy(from, to, length);\n",
    },
  ],
  caughtBy: { "dax-poison-copied": "check" },
});

export const secondOwnerOverwrites = variant({
  name: "second-owner-overwrites",
  about:
    "A page that a second file comes to own gets that one as its owner, in the place of the first: there " +
    "is no count of owners.",
  from: "fsdax: introduce page->share for fsdax in reflink mode (bug 18): before it, a warning and this",
  edits: [
    {
      file: "mapping/entries.ts",
      find: "    const page = pages.share(devicePage, held.slot, lockedPageEntry);\n",
      replace:
        "    const page = pages.associate(devicePage, held.pages, held.mapping, held.index, false);\n",
    },
    {
      file: "mapping/entries.ts",
      find: "    settle(thread, { ...held, entry }, entry);\n",
      replace: "    settle(thread, held, entry);\n",
    },
    { file: "mapping/entries.ts", find: "if (isFree && shared) {", replace: "if (false) {" },
    {
      file: "mapping/entries.ts",
      find: "const before = shared && page >= 0 ? locked(entry) : empty;",
      replace: "const before = empty;",
    },
    {
      file: "pages/pages.ts",
      find: "        invariant(taken === null, () => {\n            const { offset, pins, owner",
      replace: "        invariant(true, () => {\n            const { offset, pins, owner",
    },
  ],
  caughtBy: { "shared-owners": "check" },
});
