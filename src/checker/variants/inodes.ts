/** Variants of the inode table: when a record may be used, and when it leaves. */
import { variant } from "../variant.ts";

export const discardedBeforeItIsFreed = variant({
  name: "discarded-before-it-is-freed",
  about:
    "Who frees a file without a name marks its record as done with before the transaction that frees it has " +
    "committed. When he dies in between the inode is not free, and nobody knows of it.",
  from: "our own core, before inode-unlink-dies found it; volume/inodes.ts, invariant 3",
  edits: [
    {
      file: "volume/inodes.ts",
      find: "transaction.setWord(mapping + Own.discarded, 1);",
      replace: "store(this.thread.words, mapping + Own.discarded, 1);",
    },
  ],
  caughtBy: { "inode-unlink-dies": "leak" },
});

export const recordMadeOfOldInode = variant({
  name: "record-made-of-an-old-inode",
  about:
    "Who has read an inode to make its record does not look whether a record of the inode has left the " +
    "table since then: the inode may have changed meanwhile.",
  from: "volume/inodes.ts, invariant 4",
  edits: [
    {
      file: "volume/inodes.ts",
      find: "load(words, this.#area + Area.left) === left",
      replace: "true",
    },
  ],
  caughtBy: { "inode-stale-record": "check" },
});

export const leavingRecordUsed = variant({
  name: "leaving-record-used",
  about: "Who finds a record that is about to leave uses it, instead of waiting until it has left.",
  from: "volume/inodes.ts, invariant 2",
  edits: [
    {
      file: "volume/inodes.ts",
      find: "const free = mapping !== 0 && load(words, mapping + Own.evictor) === 0;",
      replace: "const free = mapping !== 0;",
    },
  ],
  caughtBy: { "inode-used-again": "check" },
});

export const referencesOfTheDeadFirst = variant({
  name: "references-of-the-dead-first",
  about:
    "A dead thread's references are given back before its transaction is undone: a file that it was " +
    "unlinking is nobody's, and without a name for a moment.",
  from: "our own core, before test/volume/dead-threads.test.ts found it; volume/assemble.ts",
  edits: [
    {
      file: "checker/world/inodes.ts",
      find: "            user.table.recoverInodes();\n",
      replace: "",
    },
    {
      file: "checker/world/inodes.ts",
      find: "            recoverRemovals(user.dax);\n",
      replace: "            recoverRemovals(user.dax);\n            user.table.recoverInodes();\n",
    },
  ],
  caughtBy: { "inode-unlink-dies": "leak" },
});

export const lentReferenceFoundBefore = variant({
  name: "lent-reference-found-before",
  about:
    "Who gives back a dead thread's references looks which they are before he has the table's guard. One that was " +
    "lent for lookups is given back meanwhile, with the last of them.",
  from: "our own core, when no reference was lent; volume/lookups.ts, rule 3",
  edits: [
    {
      file: "volume/inodes.ts",
      find: "this.#enter();\n                const mapping = load(words, record);",
      replace: "const mapping = load(words, record);\n                this.#enter();",
    },
  ],
  caughtBy: { "inode-lookups-found-late": "check" },
});

export const recallNotWaitedFor = variant({
  name: "recall-not-waited-for",
  about:
    "Who has asked for a recall goes on, and kernels give up what they keep when they come to it.",
  from: "volume/kernel-recalls.ts, rule 1",
  edits: [
    {
      file: "volume/kernel-recalls.ts",
      find: "for (let index = 0; index < RECALLERS_MAX; index++) {\n            yield*",
      replace: "for (let index = 0; index < 0; index++) {\n            yield*",
    },
  ],
  caughtBy: { "recall-passed-on": "check" },
});

export const recallWrittenOver = variant({
  name: "recall-written-over",
  about:
    "Who asks for a recall writes it where another one is that has not been passed on to all yet.",
  from: "volume/kernel-recalls.ts, rule 2",
  edits: [
    {
      file: "volume/kernel-recalls.ts",
      find: "behind = area.find((place)",
      replace: "behind = 0 * area.find((place)",
    },
  ],
  caughtBy: { "recalls-of-two": "check" },
});
