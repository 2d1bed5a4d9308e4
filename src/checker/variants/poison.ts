/** Variants of memory failure: lost pages, and who finds them when. */
import { variant } from "../variant.ts";

export const clearedBeforeWritten = variant({
  name: "cleared-before-written",
  about: "A write over a lost page takes it off the list before the new bytes are there.",
  from: "pmem: the badblock record goes before the data; pages/bad-pages.ts, invariant 3",
  edits: [
    {
      file: "dax/poison.ts",
      find: "    device.copyIn(address, source.subarray(0, length)",
      replace:
        "    pages.bad.clear(firstPageOf(address), lastPageOf(address, length), report);\n" +
        "    device.copyIn(address, source.subarray(0, length)",
    },
  ],
  caughtBy: { "dax-poison-overwritten": "check" },
});

export const lossLookedAtFirst = variant({
  name: "loss-looked-at-first",
  about: "A read looks for lost pages before it copies, and not again afterwards.",
  from: "dax_direct_access answers -EHWPOISON before the copy; dax/poison.ts, copyOutHealthy",
  edits: [
    {
      file: "dax/poison.ts",
      find: "    return healthyBytes(pages, address, healthy);\n",
      replace: "    return healthy;\n",
    },
  ],
  caughtBy: { "dax-poison-read": "check" },
});

export const laterReportCleared = variant({
  name: "later-report-cleared",
  about:
    "What overwrites a lost page takes every report of it off the list, also one from meanwhile.",
  from: "badblocks_clear by range alone; pages/bad-pages.ts, invariant 3",
  edits: [
    {
      file: "pages/bad-pages.ts",
      find: "if (later || !this.#cut",
      replace: "if (!this.#cut",
    },
  ],
  caughtBy: { "dax-poison-twice": "check" },
});

export const lossLeftMapped = variant({
  name: "loss-left-mapped",
  about: "A lost page is listed, and stays in the windows that show it.",
  from: "hazard H11: no task asks for early kill, so nothing is unmapped",
  edits: [
    {
      file: "dax/poison.ts",
      find: "    loseInWindows(dax, mapping, index, index + (end - first) - 1);\n",
      replace: "",
    },
  ],
  caughtBy: { "dax-poison-fault": "check" },
});

export const ownerTrusted = variant({
  name: "lost-page-owner-trusted",
  about:
    "After its wait for the owner's lock, a report does not look whether the page is still there.",
  from: "dax: Don't access a freed inode; dax: Check page->mapping isn't NULL (bug 2)",
  edits: [
    {
      file: "dax/poison.ts",
      find: "    const index = pages.ownerOf(first)?.index ?? 0;\n    let end = first;\n",
      replace: "    const { index } = found;\n    let end = first + 1;\n",
    },
  ],
  caughtBy: { "dax-poison-moved": "check" },
});

export const listTrusted = variant({
  name: "lost-page-list-trusted",
  about:
    "After its wait for the owner's lock, a report does not look whether the page is still lost: its " +
    "next owner had it zeroed.",
  from: "our own core, before dax-poison-reuse found it",
  edits: [
    {
      file: "dax/poison.ts",
      find: "    if (bad?.first !== first)\n        return 0;\n",
      replace: "",
    },
    {
      file: "dax/poison.ts",
      find: "    while (end <= bad.last && isPageOf",
      replace: "    while (end <= last && isPageOf",
    },
  ],
  caughtBy: { "dax-poison-reuse": "check", "dax-poison-punched": "check" },
});

export const ownerAskedUnheld = variant({
  name: "owner-asked-unheld",
  about:
    "Who looks whether a file still has a lost page holds nothing that keeps it there: it is named after it was " +
    "truncated.",
  from: "debugfs icheck of a mounted volume; dax/poison.ts, rule 4",
  edits: [
    {
      file: "dax/poison.ts",
      find:
        "    using transaction = yield* beginTransaction(task, dax.cache);\n" +
        "    const owned = dax.driver.ownedBy(transaction,",
      replace: "    const owned = dax.driver.ownedBy(null,",
    },
  ],
  caughtBy: { "dax-poison-searched": "check" },
});

export const healedLossNamed = variant({
  name: "healed-loss-named",
  about:
    "A file that is found to have a lost page is told of without a look whether the page is still lost: it was " +
    "zeroed for that file meanwhile.",
  from: "dax/poison.ts, rule 2",
  edits: [
    {
      file: "dax/poison.ts",
      find: "const bad = dax.pages.bad.find(page, end);",
      replace: "const bad = { first: page, last: end };",
    },
  ],
  caughtBy: { "dax-poison-searched": "check" },
});

export const pinOverlooksLoss = variant({
  name: "pin-overlooks-loss",
  about: "A pin that takes no lock does not look for lost pages.",
  from: "get_user_pages_fast and HWPoison; dax/pins.ts, tryPinRange",
  edits: [
    {
      file: "dax/pins.ts",
      find: "(!bad.any || pin.poisonedRanges.length === 0)",
      replace: "true",
    },
  ],
  caughtBy: { "dax-poison-pin": "check" },
});

export const filledLossShown = variant({
  name: "filled-loss-shown",
  about:
    "A block that fills a hole is shown before it has an owner, and nobody looks afterwards whether it " +
    "was lost in between.",
  from: "our own core, before dax-poison-hole-populated found it",
  edits: [
    {
      file: "dax/fault.ts",
      find: "            hidePoisoned(dax, mapping, index, made, page);\n",
      replace: "",
    },
  ],
  caughtBy: { "dax-poison-hole-populated": "check" },
});

export const abandonedReport = variant({
  name: "abandoned-report",
  about: "A report whose thread dies while it lists it is nobody's to handle.",
  from: "our own core, before dax-poison-killed found it",
  edits: [
    {
      file: "pages/bad-pages.ts",
      find: "this.#forEach((range) => this.#renew(range, ABANDONED));",
      replace: "",
    },
  ],
  caughtBy: { "dax-poison-killed": "check" },
});

export const deadReportKeepsNumber = variant({
  name: "dead-report-keeps-its-number",
  about:
    "Where a thread died inside the list of bad pages, ranges keep the number and the note of what they were " +
    "before: a page that has been joined, and not yet numbered, is taken off or not told of.",
  from: "our own core, before bad-pages-reporter-dies found it",
  edits: [
    {
      file: "pages/bad-pages.ts",
      find: "this.#forEach((range) => this.#renew(range, ABANDONED));",
      replace:
        "this.#forEach((range) => store(this.#thread.words, range + Range.handler, ABANDONED));",
    },
  ],
  caughtBy: { "bad-pages-reporter-dies": "check" },
});

export const halfHandled = variant({
  name: "half-of-a-report-handled",
  about:
    "Whoever handles the report of a dead thread keeps its number, which the other half of its range has, " +
    "too, if it has been cut: that half counts as handled with it.",
  from: "our own core, before bad-pages-reporter-dies found it",
  edits: [
    {
      file: "pages/bad-pages.ts",
      find: "this.#renew(range, this.#thread.holder);\n            taken",
      replace: "store(words, range + Range.handler, this.#thread.holder);\n            taken",
    },
  ],
  caughtBy: { "bad-pages-reporter-dies": "check" },
});

export const healedNotShown = variant({
  name: "healed-not-shown",
  about: "Windows that show a page as lost go on to do so when it has been overwritten.",
  from: "dax/file-io.ts, showWritten",
  edits: [{ file: "dax/file-io.ts", find: "change.healed || isHidden", replace: "isHidden" }],
  caughtBy: { "dax-poison-healed": "check" },
});

export const sharersTakenForAnOwner = variant({
  name: "sharers-taken-for-an-owner",
  about:
    "A report takes what a shared page's owner word holds, which is how many owners it has, for the one " +
    "owner's record.",
  from: "hazard H8: in 6.12, memory failure dereferences PAGE_MAPPING_DAX_SHARED as a mapping",
  edits: [
    {
      file: "pages/pages.ts",
      find: "return owner <= 0 ? null : {",
      replace: "return owner === 0 ? null : {",
    },
  ],
  caughtBy: { "dax-poison-cloned": "error" },
});
