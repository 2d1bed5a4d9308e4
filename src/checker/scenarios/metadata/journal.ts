/** The journal: threads change metadata and commit, one of them dies, and the power may fail at any point. */
import type { Sleeps } from "../../../sync/sleep.ts";
import type { Scenario, Self } from "../../scenario.ts";
import type { JournaledMetadata, JournalShared } from "../../world/journal.ts";
import { type JournalStory, journalStory } from "./journal-play.ts";

/** A block that is made, freed and given to a file; what that writes there. */
const NODE = 3;
const BYTES = 800;
const OTHER = 4;

/** A log that takes three blocks a transaction: each that raises the pair makes it crowded. */
function story(plot: JournalStory): Scenario<JournalShared, JournaledMetadata> {
  return journalStory({ cached: [OTHER] }, plot);
}

/** One that takes seven: several operations join a transaction. */
function roomyStory(plot: JournalStory): Scenario<JournalShared, JournaledMetadata> {
  return journalStory({ cached: [OTHER], ring: 32 }, plot);
}

const raise = (journaled: JournaledMetadata, self: Self): Sleeps<number> => journaled.raised(self);
const raiseAndCommit = (journaled: JournaledMetadata, self: Self): Sleeps<void> =>
  journaled.raiseAndCommit(self);

/** Changes a block beside the pair, and commits. */
function* changeOther(journaled: JournaledMetadata, self: Self): Sleeps<void> {
  yield* journaled.commit(self, yield* journaled.edited(self, OTHER, 700));
}

export const journalCommit = roomyStory({
  name: "journal-commit",
  about:
    "A thread changes two blocks, twice, while another one changes a third and commits. Whenever the power " +
    "fails, a mount finds each change whole or not at all, and what the commit has promised.",
  from: "metadata/journal.ts, rules 1 to 4",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    writer: [raise, raise],
    committer: changeOther,
  },
});

export const journalCommittedByTwo = roomyStory({
  name: "journal-committed-by-two",
  about:
    "Two threads change the same two blocks and commit. Each waits until its own change is durable, by its " +
    "own steps or the other one's, and nobody holds a lock while the medium is waited for.",
  from: "metadata/journal.ts, rule 2",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: { first: raiseAndCommit, second: raiseAndCommit },
});

export const journalCommittedByThree = story({
  name: "journal-committed-by-three",
  about:
    "Three threads change blocks and commit: a transaction is on its way while the next one runs, which " +
    "somebody waits for already.",
  from: "metadata/journal.ts, rule 2",
  explore: { strategy: "pct", depth: 4, schedules: 1500 },
  actors: { first: raiseAndCommit, second: raiseAndCommit, third: raiseAndCommit },
});

export const journalUndone = roomyStory({
  name: "journal-undone",
  about:
    "A transaction that has joined blocks to the journal's fails. It leaves none there: what commits finds " +
    "the blocks as before, or as another one has changed them.",
  from: "metadata/journal.ts, join; metadata/transaction.ts, rule 1",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *failing(journaled, self) {
      const { metadata } = journaled;
      yield* metadata.undone(self, (transaction) => {
        journaled.raise(self, transaction);
        journaled.create(transaction, 5, 705);
      });
    },
    committer: [raiseAndCommit, raiseAndCommit],
  },
});

export const journalCommitterDies = roomyStory({
  name: "journal-committer-dies",
  about:
    "Of two threads that change blocks and commit one dies at any point: in a change, while it seals, records or " +
    "finishes, or while it waits for the medium. The other one goes on from there.",
  from: "metadata/journal.ts, rules 1 and 2",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: { dying: raiseAndCommit, other: [raiseAndCommit, raiseAndCommit] },
  environment: { death: { kill: "dying" } },
});

/** Frees the node, has that made durable, and gives its block to a file, whose bytes a commit promises, too. */
function* reuseNode(journaled: JournaledMetadata, self: Self): Sleeps<void> {
  const freed = yield* journaled.operate(self, (transaction) => {
    journaled.raise(self, transaction);
    journaled.free(transaction, NODE);
  });
  yield* journaled.commit(self, freed);
  const given = yield* journaled.operate(self, (transaction) => {
    journaled.raise(self, transaction);
    journaled.giveToFile(transaction, NODE, BYTES);
  });
  yield* journaled.commit(self, given);
}

/** Changes the node, so that the log holds an image of it. */
function* changeNode(journaled: JournaledMetadata, self: Self): Sleeps<void> {
  yield* journaled.commit(self, yield* journaled.edited(self, NODE, 703));
}

export const journalRevoked = story({
  name: "journal-revoked",
  about:
    "A node is changed, freed, and its block given to a file, with a commit after each. A mount after a crash " +
    "does not put the node's image over the file's bytes; nor does what goes home from the log.",
  from: "jbd2's revoke records; metadata/journal.ts, rule 4",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    changer: [changeNode, reuseNode],
    other: raise,
  },
});

export const journalRevokedAndRead = story({
  name: "journal-revoked-and-read",
  about:
    "As a node is freed, a reader without a lock that still has its number reads it from the device, and so " +
    "fills its buffer. The block counts as revoked nevertheless, and is not written to the log as if it had changed.",
  from: "metadata/journal.ts, seal: a block that was revoked may be valid again",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    changer: [changeNode, reuseNode],
    reader(journaled, self) {
      journaled.metadata.read(self, NODE);
    },
  },
});

export const journalRevokedAndMade = roomyStory({
  name: "journal-revoked-and-made",
  about:
    "A node is freed and its block made a node again: in one operation, in two of one transaction of the journal, " +
    "and in two transactions. Each time a mount finds the new one.",
  from: "metadata/journal.ts, seal",
  actors: {
    *changer(journaled, self) {
      yield* changeNode(journaled, self);
      const inOne = yield* journaled.operate(self, (transaction) => {
        journaled.free(transaction, NODE);
        journaled.create(transaction, NODE, 704);
      });
      yield* journaled.commit(self, inOne);
      const free = (): Sleeps<number> =>
        journaled.operate(self, (transaction) => journaled.free(transaction, NODE));
      const make = (value: number): Sleeps<number> =>
        journaled.operate(self, (transaction) => journaled.create(transaction, NODE, value));
      yield* free();
      yield* journaled.commit(self, yield* make(705));
      yield* journaled.commit(self, yield* free());
      yield* journaled.commit(self, yield* make(706));
      // What was made is freed before anybody has committed it.
      yield* journaled.edited(self, NODE, 707);
      yield* journaled.commit(self, yield* free());
    },
  },
});

function* fourTimes(journaled: JournaledMetadata, self: Self): Sleeps<void> {
  for (let turn = 0; turn < 4; turn++) yield* journaled.raiseAndCommit(self);
}

export const journalGoesRound = story({
  name: "journal-goes-round",
  about:
    "The log's ring is used up and begun anew, twice, while another thread changes a block and commits. What " +
    "is overwritten is home by then, and the note on the medium says that the log begins later.",
  from: "metadata/journal.ts, rules 4 and 5",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    committer: [fourTimes, fourTimes, fourTimes],
    other: changeOther,
  },
});

export const journalGoesRoundAndDies = story({
  name: "journal-goes-round-and-dies",
  about:
    "A thread dies at any point while it moves the log's beginning on. The next one does that again, or goes on.",
  from: "metadata/journal.ts, rules 1 and 4",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: { dying: fourTimes, other: fourTimes },
  environment: { death: { kill: "dying" } },
});

export const journalBeginsAtZero = journalStory(
  { sequence: 0, cached: [OTHER] },
  {
    name: "journal-begins-at-0",
    about:
      "The first transaction has the number 0, which words have that nobody has written to. It is one like others.",
    from: "metadata/journal.ts: sequence numbers go round after 2^32",
    actors: { committer: [changeOther, fourTimes] },
  },
);

export const journalNumbersGoRound = journalStory(
  { sequence: 0xffff_ffff, cached: [OTHER] },
  {
    name: "journal-numbers-go-round",
    about:
      "The numbers of transactions come to their end and go on from 0. A block that no transaction has changed " +
      "before joins the one with that number, too.",
    from: "metadata/journal.ts: sequence numbers go round after 2^32",
    actors: {
      *committer(journaled, self) {
        yield* journaled.raiseAndCommit(self);
        yield* changeOther(journaled, self);
        yield* fourTimes(journaled, self);
      },
    },
  },
);

/** Changes blocks of its own, one more than half of what a transaction of the journal may change. */
const changesMany =
  (blocks: readonly number[]) =>
  (journaled: JournaledMetadata, self: Self): Sleeps<number> =>
    journaled.operate(self, (transaction) => {
      for (const block of blocks) journaled.edit(self, transaction, block, 700 + block);
    });

export const journalCrowded = journalStory(
  { cached: [4, 5, 6] },
  {
    name: "journal-crowded",
    about:
      "Two threads change two blocks each, where a transaction of the journal takes three. Both find it empty " +
      "before they begin; one of them commits first what the other one has changed.",
    from: "metadata/journal.ts, makeRoom: each operation finds room for as much again",
    explore: { strategy: "reduced" },
    actors: { first: changesMany([3, 4]), second: changesMany([5, 6]) },
  },
);
