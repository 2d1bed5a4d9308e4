/** Variants of the page count, and of who wakes whom. */
import { variant } from "../variant.ts";

/** The older model: an associated page counts 1, pins count above it, 1 is idle. */
const IDLE_AT_ONE = [
  {
    file: "pages/pages.ts",
    find: "            store(words, record + Record.owner, owner);\n",
    replace:
      "            store(words, record + Record.owner, owner);\n            store(words, record, 1);\n",
  },
  {
    file: "pages/pages.ts",
    find: "        return load(this.thread.words, this.pinWord(page)) & COUNT;",
    replace:
      "        return Math.max(0, (load(this.thread.words, this.pinWord(page)) & COUNT) - 1);",
  },
  {
    file: "pages/pages.ts",
    find: "            invariant((load(words, record) & COUNT) === 0, ",
    replace: "            invariant((load(words, record) & COUNT) === 1, ",
  },
  {
    file: "pages/pages.ts",
    find: "        store(words, record + Record.owner, 0);\n",
    replace: "        store(words, record, 0);\n        store(words, record + Record.owner, 0);\n",
  },
  {
    file: "pages/pages.ts",
    find: "(before & COUNT) === 1)",
    replace: "(before & COUNT) === 2)",
  },
  {
    file: "pages/pages.ts",
    find: "        return pins === 0 ? null : value;",
    replace: "        return pins <= 1 ? null : value;",
  },
] as const;

export const idleAtOne = variant({
  name: "idle-at-one",
  about:
    "The earlier model: an entry holds a reference, 1 is idle, and the release that takes 2 to 1 wakes.",
  from: "[PATCH v7 03/12]: the 2-to-1 transition in put_devmap_managed_page; S0, S2",
  edits: IDLE_AT_ONE,
  caughtBy: {},
  holds:
    "As long as every release goes through the one function that tests for 2. The model is right and " +
    "brittle, which is why Linux left it in 6.15: see idle-at-one-hook-forgotten.",
  holdsIn: ["pin-truncate", "batch-punch", "pin-elsewhere", "dying-io", "entry-death"],
});

export const idleAtOneHookForgotten = variant({
  name: "idle-at-one-hook-forgotten",
  about:
    "The earlier model with one release path, that of a pin of a single entry, that does not know of it: " +
    "it wakes at zero, which never comes.",
  from: "bug 8: mm: fix missing wake-up event for FSDAX pages (2022): unpin through the folio path",
  edits: [
    ...IDLE_AT_ONE,
    {
      file: "pin/pin.ts",
      find: "        pages.releaseNoting(only - 1, record + PinWord.counted, 0);\n",
      replace:
        "        if (addThenNote(thread.words, pages.pinWord(only - 1), -1, record + PinWord.counted, 0) === 1)\n" +
        "            pages.wakeWaiters(only - 1);\n",
    },
  ],
  caughtBy: { "pin-truncate": "deadlock" },
});

export const waitedUnset = variant({
  name: "waiter-unannounced",
  about:
    "The breaker sleeps on the count without saying so in the count: the last release sees no waiter.",
  from: "invariant 5.6 (4); ___wait_var_event without the waiter in the word",
  edits: [
    {
      file: "pages/pages.ts",
      find: "        const pins = or(words, this.pinWord(page), WAITED) & COUNT;\n",
      replace: "        const pins = load(words, this.pinWord(page)) & COUNT;\n",
    },
  ],
  caughtBy: { "pin-truncate": "deadlock" },
});

export const wakesBeforeRelease = variant({
  name: "wakes-before-release",
  about: "The release wakes first and takes its reference away second.",
  from: "invariant 5.6 (4), its two halves swapped",
  edits: [
    {
      file: "pages/pages.ts",
      find: "        const before = addThenNote(words, this.pinWord(page), -1, note, value);\n",
      replace:
        "        if (load(words, this.pinWord(page)) === (WAITED | 1))\n            this.wakeWaiters(page);\n" +
        "        const before = addThenNote(words, this.pinWord(page), -1, note, value);\n",
    },
    {
      file: "pages/pages.ts",
      find: "        if ((before & WAITED) !== 0)\n            this.wakeWaiters(page);",
      replace:
        "        if ((before & WAITED) !== 0)\n            and(this.thread.words, this.pinWord(page), ~WAITED);",
    },
  ],
  caughtBy: { "pin-truncate": "deadlock" },
});

export const sleepsWithoutLookingAgain = variant({
  name: "zero-count-not-looked-at",
  about: "The breaker sleeps although the last pin went between its look and its announcement.",
  from: "invariant 5.6 (4): the test repeated after the waiter is announced",
  edits: [
    {
      file: "pages/pages.ts",
      find: "        return pins === 0 ? null : value;",
      replace: "        return value;",
    },
  ],
  caughtBy: { "pin-truncate": "deadlock" },
});

export const waitsByTheCount = variant({
  name: "waits-by-the-count",
  about:
    "The breaker sleeps while the count is what it was. It is so again when the block is another file's and " +
    "pinned there.",
  from: "invariant 5.6 (5); our own prepareWait",
  edits: [
    {
      file: "pages/pages.ts",
      find: "        return pins === 0 ? null : value;",
      replace: "        return pins === 0 ? null : pins | WAITED;",
    },
    {
      file: "pages/pages.ts",
      find: "        wakeAll(words, this.wakeWord(page));",
      replace: "        wakeAll(words, this.pinWord(page));",
    },
    {
      file: "layout/break.ts",
      find: "            word: pages.wakeWord(busy.page),",
      replace: "            word: pages.pinWord(busy.page),",
    },
  ],
  caughtBy: { "foreign-pin": "deadlock" },
});

export const waitsForAMovedPage = variant({
  name: "waits-for-a-moved-page",
  about:
    "The breaker looks whether the page it waits for is the file's still, and not at which place.",
  from: "invariant 5.6 (5); DESIGN.md 5.4: a break covers the range that changes",
  edits: [
    {
      file: "layout/break.ts",
      find: "return stillOwned(pages, mapping, [busy]);",
      replace: "return pages.owner(busy.page) === mapping;",
    },
  ],
  caughtBy: { "moved-pin": "deadlock" },
});

export const countedTwice = variant({
  name: "failed-pin-keeps-its-count",
  about:
    "A fast pin that gives up after it has counted some pages of its batch does not take them back.",
  from: "invariant 5.6 (7); the reference dropped on a failed insertion, reversed",
  edits: [
    {
      file: "pin/pin.ts",
      find: "        if (next === counted) {\n            releasePin(thread, pages, record);\n",
      replace: "        if (next === counted) {\n            thread.pins.giveOwn(record);\n",
    },
  ],
  caughtBy: { "batch-punch": "leak" },
});

export const waitsForNoReference = variant({
  name: "waits-for-no-reference",
  about:
    "Windows hold references on the pages they show, as in Linux. The break unmaps, then tests for pins, " +
    "and waits until there is no reference at all.",
  from: "hazard H1 (read in Linux 6.19, not reported): generic/503 misses it, as it needs a third thread",
  edits: [
    {
      file: "checker/world/bare.ts",
      find: "function countShown(words, word) {\n    load(words, word);\n}",
      replace: "function countShown(words, word) {\n    add(words, word, 0x10000);\n}",
    },
    {
      file: "layout/break.ts",
      find: "        const page = pageOf(entry);\n        if (pages.pinCount",
      replace:
        "        const page = pageOf(entry);\n" +
        "        and(thread.words, pages.pinWord(page), 0x4000ffff);\n        if (pages.pinCount",
    },
    {
      file: "layout/break.ts",
      find: "import { add, load,",
      replace: "import { add, and, load,",
    },
  ],
  caughtBy: { "refault-during-wait": "deadlock" },
});

export const waiterCountsAsPin = variant({
  name: "waiter-counts-as-a-pin",
  about:
    "A page that gets an owner must not be pinned, and the mark of somebody who waits for pins of its " +
    "last owner counts as one.",
  from: "our own pages/pages.ts: the mark and the count share a word",
  edits: [
    {
      file: "pages/pages.ts",
      find: "const pins = load(words, record) & COUNT; //",
      replace: "const pins = load(words, record); //",
    },
  ],
  caughtBy: { "page-used-again": "invariant" },
});

export const idleAndGoneUntold = variant({
  name: "idle-and-gone-untold",
  about:
    "Only the last release tells that a page is idle, not the loss of its owner. Its record may be another " +
    "page's by the time that its thread looks which one it has released.",
  from: "pages/pages.ts, invariant 6",
  edits: [
    {
      file: "pages/pages.ts",
      find: "            and(words, record, ~TELLS);\n            this.types.tell(this.#deviceChunk(page));\n",
      replace: "            and(words, record, ~TELLS);\n",
    },
  ],
  caughtBy: { "type-reused": "deadlock" },
});

export const idleWokenFirst = variant({
  name: "idle-woken-first",
  about:
    "The last release wakes the registrar of the page's type first and says which page second.",
  from: "pages/page-types.ts, invariant 1",
  edits: [
    {
      file: "pages/page-types.ts",
      find: "        if ((or(words, idle, bit) & bit) === 0)\n            this.#wake(type);",
      replace:
        "        if ((load(words, idle) & bit) === 0)\n            this.#wake(type);\n        or(words, idle, bit);",
    },
  ],
  caughtBy: { "type-told": "deadlock" },
});

export const idleOfTheDead = variant({
  name: "idle-of-the-dead",
  about: "What a thread that has died was about to tell is told by nobody.",
  from: "pages/page-types.ts, invariant 2",
  edits: [
    {
      file: "pages/page-types.ts",
      find: "                    this.#tellAll(type);\n            }\n        });",
      replace: "                    this.of(0);\n            }\n        });",
    },
  ],
  caughtBy: { "type-pinner-dies": "deadlock" },
});
