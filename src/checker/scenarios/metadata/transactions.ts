/** Transactions side by side, undone, and of threads that die; readers by sequence beside them. */
import type { Transaction } from "../../../metadata/transaction.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Scenario, type Self } from "../../scenario.ts";
import { type Metadata, type MetadataShared, PAIR, START } from "../../world/metadata.ts";
import { type MetadataStory, metadataStory } from "./play.ts";

/** A node of a tree. */
const NODE = 3;
const UNCACHED = 4;
const BLOCKS = 6;

/** Blocks 1 to 3 are cached from the start. */
function transactionStory(story: MetadataStory): Scenario<MetadataShared, Metadata> {
  return metadataStory({ blocks: BLOCKS, cached: [...PAIR, NODE] }, story);
}

function* raise(metadata: Metadata, self: Self): Sleeps<void> {
  yield* metadata.transaction(self, (transaction) => metadata.raise(self, transaction));
}

/** Raises the blocks, and fails. */
function* raiseInVain(metadata: Metadata, self: Self): Sleeps<void> {
  yield* metadata.undone(self, (transaction) => metadata.raise(self, transaction));
}

const readPair = (metadata: Metadata, self: Self): Sleeps<void> => metadata.readPair(self);

/** What was raised reaches the device; what was undone leaves nothing to write. */
function assertFlushed(metadata: Metadata): void {
  ensure(
    metadata.uncounted(metadata.raised()) >= 0,
    "a transaction that was undone counts as committed",
  );
  metadata.assertFlushed(metadata.raised() === 0 ? [] : PAIR);
}

function assertRaised(metadata: Metadata, times: number): void {
  const raised = metadata.raised();
  ensure(raised === times, `the blocks were raised ${raised} times, not ${times}`);
  assertFlushed(metadata);
}

export const transactions = transactionStory({
  name: "transactions",
  about:
    "Two threads change two blocks and a word, each in a transaction, while a third reads them " +
    "without a lock. They agree whenever they are read, and at the end both changes have happened.",
  from: "metadata/transaction.ts, rule 3; metadata/sequence.ts",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: { first: raise, second: raise, reader: readPair },
  finally: (metadata) => assertRaised(metadata, 2),
});

export const transactionUndone = transactionStory({
  name: "transaction-undone",
  about:
    "Of two threads that change two blocks and a word one fails in the end. Its change is undone as " +
    "if it had never been: not for the reader, not for the other one, and not on the device.",
  from: "DESIGN.md 5.6, invariant 7; metadata/transaction.ts, rule 1",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: { failing: raiseInVain, other: raise, reader: readPair },
  finally: (metadata) => assertRaised(metadata, 1),
});

export const transactionDeath = transactionStory({
  name: "transaction-death",
  about:
    "A thread dies in a transaction, at any point. Whoever waits for the transaction, or for the " +
    "layout that it was changing, undoes what is not committed, and goes on.",
  from: "docs/architecture.md, Transactions; several-processes.md",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: { dying: raise, other: raise, reader: readPair },
  environment: { death: { kill: "dying" } },
  finally: assertFlushed,
});

const openOne = (metadata: Metadata, self: Self): Sleeps<void> =>
  metadata.transaction(self, () => {});

export const transactionAfterDeath = transactionStory({
  name: "transaction-after-death",
  about:
    "A thread dies with the transaction. Two wait for it, and each of them has it for itself, and " +
    "open, however late the one who found the death is.",
  from: "metadata/transaction.ts: `state` tells a recoverer which of the two to finish",
  explore: { strategy: "pct", depth: 4, schedules: 4000 },
  actors: { dying: openOne, second: openOne, third: openOne },
  environment: { death: { kill: "dying" } },
});

export const transactionUndoneTwice = transactionStory({
  name: "transaction-undone-twice",
  about:
    "A thread dies in a transaction that it undoes, and so does one that waits for it, while it " +
    "undoes what is left. A third one finds it undone, or undoes it again.",
  from: "metadata/transaction.ts, rule 2: undoing twice is undoing once",
  explore: { strategy: "pct", depth: 3, schedules: 2000 },
  actors: { dying: raiseInVain, second: raise, third: raise },
  environment: { death: { kill: "dying" }, "death-2": { kill: "second" } },
  finally: assertFlushed,
});

export const flusherDies = transactionStory({
  name: "flusher-dies",
  about:
    "A thread that writes changed blocks home dies at any point. What it has not written still counts " +
    "as changed.",
  from: "metadata/cache.ts, flush",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *flusher(metadata, self) {
      yield* raise(metadata, self);
      yield* metadata.transaction(self, () => metadata.cache(self).flush());
    },
    other: openOne,
  },
  environment: { death: { kill: "flusher" } },
  finally(metadata) {
    metadata.cache(metadata.survivor()).flush();
    for (const block of PAIR) {
      const value = metadata.value(metadata.survivor(), block);
      ensure(metadata.onDevice(block) === value, `block ${block} never reaches the device`);
    }
  },
});

// A tree of a root and a node: the root is the first of the pair, and names the node or none.

const WITH_NODE = START;
const WITHOUT_NODE = START + 1;
/** What the node was changed to, not long ago: the device has something older. */
const CHANGED = 500;

/** Frees the node: the root names none, and its block is metadata no longer. */
function freeNode(metadata: Metadata, self: Self, transaction: Transaction): void {
  const { sequence, word } = metadata.shared;
  transaction.beginLayoutChange(sequence);
  for (const block of PAIR) metadata.edit(self, transaction, block, WITHOUT_NODE);
  transaction.setWord(word, WITHOUT_NODE);
  transaction.revoke(NODE);
  self.say("frees the node");
}

/** Reads the tree without a lock: with a node, or without. */
function* readTree(metadata: Metadata, self: Self): Sleeps<void> {
  const [root, node] = yield* metadata.stable(self, () => {
    const value = metadata.value(self, PAIR[0]);
    return [value, value === WITH_NODE ? metadata.value(self, NODE) : CHANGED];
  });
  ensure(root === WITH_NODE || root === WITHOUT_NODE, `the root is ${root}`);
  ensure(node === CHANGED, `the tree's node is ${node}, not ${CHANGED}`);
}

export const nodeFreedInVain = transactionStory({
  name: "node-freed-in-vain",
  about:
    "A thread frees a node of a tree and fails after that. The node was changed before, and is not on " +
    "the device yet. A reader that still finds the node in the tree, but not in the cache, reads it " +
    "from the device. That does not undo the change.",
  from: "metadata/cache.ts, rule 4; DESIGN.md 5.6, invariant 7",
  prepare: (metadata) => metadata.changeBefore(NODE, CHANGED),
  explore: { strategy: "bounded", preemptions: 3 },
  actors: {
    changer: (metadata, self) =>
      metadata.undone(self, (transaction) => freeNode(metadata, self, transaction)),
    reader: readTree,
  },
  finally(metadata) {
    const node = metadata.value(metadata.survivor(), NODE);
    ensure(node === CHANGED, `the node is ${node}; it was changed to ${CHANGED}`);
    metadata.assertFlushed([NODE]);
  },
});

export const nodeUsedAgain = transactionStory({
  name: "node-used-again",
  about:
    "A thread frees a node of a tree, and in its next transaction makes its block a node of another " +
    "tree. A reader that still finds the node in the first tree reads it from the device. The new " +
    "node stays what it was made.",
  from: "metadata/cache.ts, rule 4",
  prepare: (metadata) => metadata.changeBefore(NODE, CHANGED),
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    *changer(metadata, self) {
      yield* metadata.transaction(self, (transaction) => freeNode(metadata, self, transaction));
      yield* metadata.transaction(self, (transaction) => metadata.create(transaction, NODE, 700));
    },
    reader: readTree,
  },
  finally(metadata) {
    const node = metadata.value(metadata.survivor(), NODE);
    ensure(node === 700, `the new node is ${node}, not 700`);
    metadata.assertFlushed([...PAIR, NODE]);
  },
});

export const nodeMadeInVain = transactionStory({
  name: "node-made-in-vain",
  about:
    "A thread makes a block new that the device has and nobody has cached, undoes that, and dies at " +
    "any point. A reader finds the block as the device has it, whether it is undone once or twice.",
  from: "metadata/transaction.ts, rule 2: undoing twice is undoing once",
  // It was made and undone before, so that its buffer holds what the device has not.
  prepare: (metadata) => metadata.leaveInvalid(UNCACHED),
  explore: { strategy: "pct", depth: 3, schedules: 8000 },
  actors: {
    dying: (metadata, self) =>
      metadata.undone(self, (transaction) => {
        transaction.beginLayoutChange(metadata.shared.sequence);
        metadata.create(transaction, UNCACHED, CHANGED);
      }),
    *reader(metadata, self) {
      const found = yield* metadata.stable(self, () => metadata.value(self, UNCACHED));
      ensure(found === metadata.onDevice(UNCACHED), `the block is ${found}`);
    },
    other: openOne,
  },
  environment: { death: { kill: "dying" } },
  finally: (metadata) => metadata.assertFlushed([]),
});
