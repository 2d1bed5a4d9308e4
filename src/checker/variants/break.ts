/** Variants of what a layout change does before it lets go of blocks. */
import { variant } from "../variant.ts";

export const noEpochWait = variant({
  name: "no-epoch-wait",
  about: "The break is announced, but pins under way are not waited for: no epoch passes.",
  from: "DESIGN.md 5.4, step 2; get_user_pages_fast against a truncate",
  edits: [
    {
      file: "layout/break.ts",
      find: "    if (places.length > 0)\n        synchronize(thread);\n",
      replace: "",
    },
  ],
  caughtBy: { "pin-truncate": "invariant" },
});

export const epochBeforeAnnouncement = variant({
  name: "epoch-before-announcement",
  about: "The epoch passes before the break is announced: a pin that begins in between is missed.",
  from: "DESIGN.md 5.4, step 2, its two halves swapped",
  edits: [
    {
      file: "layout/break.ts",
      find: "    if (places.length > 0)\n        synchronize(thread);\n",
      replace: "",
    },
    {
      file: "layout/break.ts",
      find: "        store(words, mapping + MappingWord.breakHolder, thread.holder);\n",
      replace:
        "        synchronize(thread);\n        store(words, mapping + MappingWord.breakHolder, thread.holder);\n",
    },
  ],
  caughtBy: { "pin-truncate": "invariant" },
});

export const announcementOverlooked = variant({
  name: "announcement-overlooked",
  about: "The fast pin does not look whether a break covers its page.",
  from: "DESIGN.md 5.3: the check of the fast path",
  edits: [
    {
      file: "pin/pin.ts",
      find: "if (load(words, mapping + MappingWord.breakHolder) !== 0) {",
      replace: "if (load(words, mapping + MappingWord.breakHolder) === -1) {",
    },
  ],
  caughtBy: { "pin-truncate": "invariant" },
});

export const busyIsMoreThanOne = variant({
  name: "busy-is-more-than-one",
  about:
    "A page counts as busy when it has more than one reference, as when 1 was idle, on counts where 0 is.",
  from: "[PATCH v7 03/12] dax: dax_page_idle(): page_ref_count(page) == 1; S0, dax_busy_page",
  edits: [
    {
      file: "layout/break.ts",
      find: "if (pages.pinCount(page) > 0)\n",
      replace: "if (pages.pinCount(page) > 1)\n",
    },
  ],
  caughtBy: { "pin-truncate": "invariant" },
});

export const scanOnlyMapped = variant({
  name: "scan-only-mapped-files",
  about:
    "A file that no window shows is not searched for busy pages: pin, unmap, truncate frees the block " +
    "under the I/O.",
  from: "bug 9: fs/dax: return unmapped busy pages from dax_layout_busy_page_range (6.15)",
  edits: [
    {
      file: "layout/break.ts",
      find: "const found = context.protect ? ",
      replace: "const found = context.windows.hasWindows(mapping) ? ",
    },
  ],
  caughtBy: { "pin-truncate": "invariant" },
});

export const noRetryAfterWait = variant({
  name: "no-retry-after-wait",
  about:
    "Once it has waited for the busy page it found, a break goes ahead, though it had dropped its locks.",
  from: "[PATCH v7] review: did_unlock means retry; DESIGN.md 5.4: a lock dropped means everything again",
  edits: [
    { file: "layout/break.ts", find: "        let busy;\n", replace: "        var busy;\n" },
    {
      file: "layout/break.ts",
      find: "const found = findBusyIn(context, ranges);",
      replace: "const found = busy === undefined ? findBusyIn(context, ranges) : null;",
    },
  ],
  caughtBy: { "pin-truncate": "invariant" },
});

export const waitsWithLocks = variant({
  name: "waits-with-locks",
  about:
    "A break waits for a pin with the io and map locks held; the pin's holder needs one of them.",
  from: "invariant 5.6 (5); [PATCH v7 10/12] xfs: prepare xfs_break_layouts() to drop XFS_MMAPLOCK_EXCL",
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
  caughtBy: { "pins-next-page": "deadlock" },
});

export const wholeFileScan = variant({
  name: "whole-file-break",
  about: "A break waits for pins anywhere in the file, not only in its range.",
  from: "Linux's dax_break_layout as filesystems call it: whole file; bug 11",
  edits: [
    {
      file: "layout/break.ts",
      find: "        const index = nextMarked(thread.words, mapping, from, range.last, Mark.pinned);",
      replace:
        "        const index = nextMarked(thread.words, mapping, from, 0xffffffff, Mark.pinned);",
    },
    {
      file: "layout/break.ts",
      find: "    let from = range.first;\n",
      replace: "    let from = 0;\n",
    },
  ],
  caughtBy: {},
  holds:
    "It is slower, not wrong: what it waits for beyond its range is released in the end. The counts of " +
    "schedules of pin-elsewhere show the waits.",
  holdsIn: ["pin-truncate", "batch-punch", "pin-elsewhere"],
});

export const marksSkipped = variant({
  name: "pinned-mark-forgotten",
  about: "The slow pin counts its page but leaves no mark, so the search by marks does not see it.",
  from: "bug 10: don't skip locked entries when scanning (6.15): a scan that passes over a pin",
  edits: [
    {
      file: "pin/pin.ts",
      find: "    if (!isMarked(words, slot, entry, index, Mark.pinned))\n        setMark(thread, mapping, index, Mark.pinned);\n",
      replace: "",
    },
  ],
  caughtBy: { "pin-slow-truncate": "invariant" },
});

export const scanEndsEarly = variant({
  name: "scan-skips-an-index",
  about: "After an idle page the search goes on one page too far: a pin on the next one is missed.",
  from: "bug 10, its fix of the fix (dd59137bfe70): xas_pause advanced the index, the same skip again",
  edits: [
    {
      file: "layout/break.ts",
      find: "from = index + 1;",
      replace: "from = index + 2;",
    },
  ],
  caughtBy: { "batch-truncate": "invariant" },
});

export const pinOvertakes = variant({
  name: "pin-overtakes",
  about: "A break that insists holds back pins that take the map lock, and no others.",
  from: "our own core, before insisting-break found it; layout/break.ts, rule 4",
  edits: [
    {
      file: "pin/pin.ts",
      find: "    if (load(words, mapping + MappingWord.breakInsist) !== 0 && thread.pins.count === 0)\n        return 0;\n",
      replace: "",
    },
  ],
  caughtBy: { "insisting-break": "check" },
});

export const givenUpInsists = variant({
  name: "given-up-insists",
  about: "A break that is given up goes on insisting until its time is up.",
  from: "our own core, before insisting-abort found it; invariant 5.6 (7)",
  edits: [
    {
      file: "layout/break.ts",
      find: "    using patience = new Patience(",
      replace: "    const patience = new Patience(",
    },
    {
      file: "layout/break.ts",
      find: "            if (found === null) {\n",
      replace: "            if (found === null) {\n                patience[Symbol.dispose]();\n",
    },
  ],
  caughtBy: { "insisting-abort": "check", "insisting-deadline": "check" },
});

export const interruptedBreakKeepsALock = variant({
  name: "interrupted-break-keeps-a-lock",
  about:
    "A break that is interrupted while it waits for the map lock leaves by a path that forgets the io " +
    "lock: the next change of the file waits for ever.",
  from: "hazard H7: open with O_TRUNC in fuse jumps past the release of invalidate_lock",
  edits: [
    {
      file: "layout/break.ts",
      find: "            using ios = new AllHeld();\n",
      replace: "            const ios = new AllHeld();\n",
    },
    {
      file: "layout/break.ts",
      find: "                return yield* change(broken);\n",
      replace:
        "                const done = yield* change(broken);\n                ios.release();\n" +
        "                return done;\n",
    },
    {
      file: "layout/break.ts",
      find: "            busy = found;\n",
      replace: "            busy = found;\n            ios.release();\n",
    },
  ],
  caughtBy: { "aborted-truncate": "leak" },
});

export const evictionDoesNotWait = variant({
  name: "eviction-does-not-wait",
  about:
    "The end of a file's use is no layout change: its pages and blocks go without a look for pins, whose " +
    "I/O ends in what another file has by then.",
  from: "dax: Ensure all pages are idle prior to filesystem unmount (bug 12)",
  edits: [
    {
      file: "dax/layout-change.ts",
      find: "    yield* withBrokenLayout(task, dax, mapping, all, evict);",
      replace: "    yield* withBrokenLayout(task, dax, mapping, () => null, evict);",
    },
    {
      file: "dax/layout-change.ts",
      find: "        removePages(dax, mapping, range);\n    }\n    if (free === null)\n",
      replace:
        "    }\n    removePages(dax, mapping, { first: 0, last: PAGE_INDEX_MAX });\n    if (free === null)\n",
    },
  ],
  caughtBy: { "dax-evict-reuse": "invariant" },
});

export const zeroEntryTakenForAPage = variant({
  name: "zero-entry-taken-for-a-page",
  about:
    "Who removes a zero page's entry takes the owner from the page that it names, which is none.",
  from: "fs/dax: Don't disassociate zero page entries (bug 14)",
  edits: [
    {
      file: "dax/remove-pages.ts",
      find: "        if (!isPageKind(kindOf(entry)))\n            return;\n        // Asked before",
      replace: "        // Asked before",
    },
  ],
  caughtBy: { "dax-kill-removal": "check" },
});
