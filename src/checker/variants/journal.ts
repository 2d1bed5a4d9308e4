/** Variants of the journal: each loses what was promised, or leaves half of a change, when the power fails. */
import { variant } from "../variant.ts";

const JOURNAL = "metadata/journal.ts";

export const recordUnpersisted = variant({
  name: "record-before-its-blocks",
  about:
    "A transaction's commit record is written together with its blocks, and one persist puts both on the medium: " +
    "the record may get there first. (jbd2 does so with checksums over all blocks only.)",
  from: "metadata/journal.ts, rule 3; jbd2's asynchronous commit",
  edits: [
    {
      file: JOURNAL,
      find: "            if (!isPersisted) {",
      replace: "            if (!isPersisted && isRecorded) {",
    },
    {
      file: JOURNAL,
      find:
        "                journal.seal();\n                this.#stage = journal.committing;\n" +
        "                return true;",
      replace: "                journal.seal();\n                continue;",
    },
  ],
  caughtBy: { "journal-commit": "check" },
});

export const recordNotPersisted = variant({
  name: "record-not-waited-for",
  about:
    "A transaction counts as durable when its commit record is written, without a persist after that.",
  from: "metadata/journal.ts, rule 2",
  edits: [
    {
      file: JOURNAL,
      find:
        "                journal.record(sequence);\n                this.#stage = journal.committing;\n" +
        "                return true;",
      replace: "                journal.record(sequence);",
    },
  ],
  caughtBy: { "journal-commit": "check" },
});

export const persistOfAnother = variant({
  name: "persist-begun-too-early",
  about:
    "Who has persisted the device for a transaction goes on with it, whatever stage it was in when he began: the " +
    "record that another one has written since counts as persisted, too.",
  from: "metadata/journal.ts, rule 2: after it was reached",
  edits: [
    {
      file: JOURNAL,
      find: "this.#stage?.sequence === sequence && this.#stage.isRecorded === isRecorded;",
      replace: "this.#stage?.sequence === sequence;",
    },
  ],
  caughtBy: { "journal-committed-by-three": "check" },
});

export const startMovedFirst = variant({
  name: "start-moved-before-home",
  about:
    "The note where the log begins moves when home blocks are copied, with the same persist: it may be on the " +
    "medium before they are.",
  from: "metadata/journal.ts, rule 4",
  edits: [
    {
      file: JOURNAL,
      find: '            log.copyHome(tailSequence >>> 0, tail, this.#word("durable") >>> 0);',
      replace:
        '            log.copyHome(tailSequence >>> 0, tail, this.#word("durable") >>> 0);\n' +
        "        if (isFull)\n            log.setStart(sequence >>> 0, at);",
    },
  ],
  caughtBy: { "journal-goes-round": "check" },
});

export const roomReusedEarly = variant({
  name: "log-reused-too-early",
  about:
    "Home blocks are not copied until the log is full to its last block: what is sealed then overwrites its beginning.",
  from: "metadata/journal.ts, rule 5",
  edits: [
    {
      file: JOURNAL,
      find: "log.distance(tail, at) + blocks > log.blocks / 2;",
      replace: "log.distance(tail, at) + blocks > log.blocks;",
    },
  ],
  caughtBy: { "journal-goes-round": "check" },
});

export const revokesLeftOut = variant({
  name: "revokes-left-out",
  about:
    "What was revoked is not written to the log: a mount puts a node's old image over a file's bytes.",
  from: "jbd2's revoke records",
  edits: [{ file: JOURNAL, find: "revoked.push(block.block);", replace: "void revoked;" }],
  caughtBy: { "journal-revoked": "check" },
});

export const revokedWrittenAgain = variant({
  name: "revoked-written-again",
  about:
    "A transaction's valid blocks are written to the log, dirty or not: also one that was revoked, and that a " +
    "reader without a lock has filled again.",
  from: "metadata/journal.ts, seal",
  edits: [
    {
      file: JOURNAL,
      find: "this.cache.flagsOf(header) & DIRTY",
      replace: "this.cache.flagsOf(header) & 1",
    },
  ],
  caughtBy: { "journal-revoked-and-read": "check" },
});

export const listNotCleared = variant({
  name: "list-not-cleared",
  about:
    "A sealed transaction's list of blocks stays, and that after the next one finds it as its own.",
  from: "metadata/journal.ts, seal",
  edits: [
    { file: JOURNAL, find: '        store(words, this.#of(before, "list"), 0);\n', replace: "" },
  ],
  caughtBy: { "journal-begins-at-0": "livelock" },
});

export const goalTooEarly = variant({
  name: "goal-is-what-was-sealed",
  about: "A commit waits for what was sealed before it began, and not for what runs.",
  from: "metadata/journal.ts, Commit.step",
  edits: [
    {
      file: JOURNAL,
      find: "journal.hasChanges ? journal.runningSequence : (journal.runningSequence - 1) | 0",
      replace: "(journal.runningSequence - 1) | 0",
    },
  ],
  caughtBy: { "journal-commit": "check" },
});

export const oneTransactionOfWords = variant({
  name: "one-set-of-words",
  about:
    "The running transaction has the same words as the one before it. That does as long as nobody dies: who dies in " +
    "a seal leaves a list that is empty, or a log that seems to end later than it does.",
  from: "metadata/journal.ts: a transaction with an even, an odd number",
  edits: [
    {
      file: JOURNAL,
      find: "((sequence & 1) === 0 ? Area.even : Area.odd)",
      replace: "Area.even",
    },
  ],
  caughtBy: { "journal-committer-dies": "check" },
});

export const joinNotUndone = variant({
  name: "join-not-undone",
  about:
    "A block joins the journal's transaction by plain stores, which nobody undoes when the thread dies or fails: " +
    "a block that was not changed is taken for revoked.",
  from: "metadata/journal.ts, join; metadata/transaction.ts, rule 1",
  edits: [
    {
      file: JOURNAL,
      find: "transaction.setWord(list, header);",
      replace: "store(this.thread.words, list, header);",
    },
  ],
  caughtBy: { "journal-undone": "check" },
});

export const runningFirst = variant({
  name: "sealed-before-it-is-copied",
  about:
    "A seal begins the next transaction first, and copies the blocks after that: who dies in between has sealed nothing.",
  from: "metadata/journal.ts, rule 1",
  edits: [
    {
      file: JOURNAL,
      find: "        const { changed, revoked } = this.#collect(sequence);\n",
      replace:
        "        store(words, this.#area + Area.running, (sequence + 1) | 0);\n" +
        "        const { changed, revoked } = this.#collect(sequence);\n",
    },
  ],
  caughtBy: { "journal-committer-dies": "check" },
});

export const failedPersistIgnored = variant({
  name: "failed-persist-ignored",
  about:
    "A commit whose persist fails goes on as if it had not, as fsync did that told nobody of an error.",
  from: "metadata/journal.ts, abort; Linux's fsync before errseq_t",
  edits: [
    {
      file: JOURNAL,
      find: "                this.abort();\n                throw error;\n",
      replace: "                void error;\n",
    },
  ],
  caughtBy: { "journal-persist-fails": "check" },
});

export const numberZeroHasJoined = variant({
  name: "never-joined-is-0",
  about:
    "A block that has never joined a transaction counts as one of the transaction with the number 0: its changes " +
    "never come to the log.",
  from: "our own core, before journal-numbers-go-round found it",
  edits: [
    {
      file: JOURNAL,
      find: " &&\n            transaction.getWord(header + BufferHeader.nextJoined) !== 0",
      replace: "",
    },
  ],
  caughtBy: { "journal-numbers-go-round": "check" },
});

export const roomLookedAtOnce = variant({
  name: "room-looked-at-once",
  about:
    "Whether the running transaction has room is looked at before the volume's transaction is waited for, and not " +
    "again: two threads take the same room, and an operation is refused that is small enough.",
  from: "our own core, before journal-crowded found it",
  edits: [
    {
      file: "metadata/transaction.ts",
      find: "        if (journal === null || !journal.isCrowded)\n            return transaction;\n        transaction.abort();",
      replace: "        return transaction;",
    },
  ],
  caughtBy: { "journal-crowded": "error" },
});

export const notesUnguarded = variant({
  name: "notes-together",
  about:
    "The journal's superblock is read, changed and written back by a thread that notes where the log begins, and by " +
    "another one that gives the journal up, at the same time.",
  from: "our own core, before journal-persist-fails found it",
  edits: [
    {
      file: JOURNAL,
      find:
        "        enterGuard(this.thread, this.#area + Area.guard);\n        try {\n" +
        "            this.#log.setAborted(-EIO);\n        }\n        catch {\n" +
        "            // Where the storage is gone, nothing can be noted there.\n        }\n" +
        "        leaveGuard(this.thread, this.#area + Area.guard);\n",
      replace: "        this.#log.setAborted(-EIO);\n",
    },
  ],
  caughtBy: { "journal-persist-fails": "check" },
});

export const durableLookedAtLate = variant({
  name: "durable-looked-at-late",
  about:
    "Whether a commit may make space is looked at when the operation has failed, and has let go of the transaction: " +
    "another thread has made durable meanwhile what freed the blocks, and nobody tries again.",
  from: "our own core, before journal-room-when-durable found it",
  edits: [
    {
      file: "metadata/transaction.ts",
      find: "if (!isFull || journal === null || isAllDurable)",
      replace: "if (!isFull || journal === null || isAllPersistent(cache.thread))",
    },
  ],
  caughtBy: { "journal-room-when-durable": "check" },
});

export const loggedUnsealed = variant({
  name: "logged-without-checksum",
  about:
    "A block's checksum is written when the block goes home, and not when it is copied into the log: a mount puts home from " +
    "there what fails its check.",
  from: "metadata/journal.ts, seal; metadata/cache.ts, rule 5",
  edits: [{ file: JOURNAL, find: "                this.cache.seal(block);\n", replace: "" }],
  caughtBy: { "journal-commit": "check" },
});
