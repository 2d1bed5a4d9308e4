/** One thread's calls to the cache and to a transaction, one after the other: what they promise. */
import { HoldfastError } from "../../../base/errors.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { readStable, tryReadStable } from "../../../metadata/sequence.ts";
import { NO_SEAL, type Transaction } from "../../../metadata/transaction.ts";
import { add, load } from "../../../sync/atomics.ts";
import { ensure, type Operation, type Scenario, type Self } from "../../scenario.ts";
import { type Metadata, type MetadataShared, PAIR, SEALED, START } from "../../world/metadata.ts";
import { type MetadataStory, metadataStory } from "./play.ts";

const [ONE, TWO] = PAIR;
const BLOCK = 3;
const UNCACHED = 4;

interface CallStory extends Omit<MetadataStory, "actors"> {
  readonly blocks?: number;
  readonly play: Operation<Metadata>;
}

/** Blocks 1 to 3 are cached from the start. */
function callStory({ blocks = 8, play, ...story }: CallStory): Scenario<MetadataShared, Metadata> {
  const cached = [ONE, TWO, BLOCK];
  return metadataStory({ blocks, cached }, { ...story, actors: { thread: play } });
}

/** The code with which something fails; "" when it does not. */
function codeOf(operation: () => unknown): string {
  try {
    operation();
    return "";
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    return error.code;
  }
}

function ensureValue(metadata: Metadata, self: Self, block: number, expected: number): void {
  const value = metadata.value(self, block);
  ensure(value === expected, `block ${block} is ${value}, not ${expected}`);
}

export const blocksBeyondTheDevice = callStory({
  name: "blocks-beyond-the-device",
  about:
    "Numbers that come from damaged blocks are refused as damage, before anything asks the device.",
  from: "metadata/cache.ts, read: CorruptionError, also for a block beyond the device",
  *play(metadata, self) {
    for (const block of [2 ** 33, 2 ** 40, -1, 1.5, Number.NaN]) {
      const code = codeOf(() => metadata.read(self, block));
      ensure(code === "EUCLEAN", `block ${block} is read`);
      yield* metadata.undone(self, (transaction) => {
        const made = codeOf(() => transaction.create(block, SEALED));
        ensure(made === "EUCLEAN", `block ${block} is made`);
        const copied = codeOf(() => metadata.valueOfCopy(self, block));
        ensure(copied === "EUCLEAN", `block ${block} is copied`);
      });
    }
  },
});

export const blockCopied = callStory({
  name: "block-copied",
  about:
    "A block is read without being cached: as the device has it each time, or refused as damage. The copy " +
    "is its reader's own.",
  from: "metadata/cache.ts, readCopy",
  *play(metadata, self) {
    yield* metadata.undone(self, () => {
      const before = metadata.onDevice(UNCACHED);
      ensure(metadata.valueOfCopy(self, UNCACHED) === before, "a copy is not what the device has");
      metadata.writeDevice(UNCACHED, 500);
      ensure(metadata.valueOfCopy(self, UNCACHED) === 500, "what was copied is kept");
      metadata.damage(UNCACHED);
      const code = codeOf(() => metadata.valueOfCopy(self, UNCACHED));
      ensure(code === "EUCLEAN", "damage is copied");
      metadata.writeDevice(UNCACHED, 900);
    });
    ensureValue(metadata, self, UNCACHED, 900);
  },
});

export const manyBlocks = callStory({
  name: "many-blocks",
  about: "More blocks than one lot of buffers holds are read, by two caches, and each is itself.",
  from: "metadata/cache.ts",
  blocks: 150,
  *play(metadata, self) {
    const later = metadata.attach(self.thread);
    for (const block of metadata.shared.blocks) {
      const value = metadata.value(self, block);
      ensure(value === metadata.onDevice(block), `block ${block} is read as ${value}`);
    }
    const read = metadata.verified;
    for (const block of metadata.shared.blocks) {
      metadata.damage(block); // which nobody sees: what is cached is not read again
      const found = later.read(block, () => ensure(false, `block ${block} is read twice`));
      const same = found.bytes.byteOffset === metadata.read(self, block).bytes.byteOffset;
      ensure(same, `block ${block} has two buffers`);
      metadata.writeDevice(block, metadata.value(self, block));
    }
    ensure(metadata.verified === read, "what is cached is read twice");
  },
});

export const blocksSealed = callStory({
  name: "blocks-sealed",
  about:
    "Transactions edit a block part by part, as they do with inodes of a table. All its parts are sealed at once, when " +
    "the block is written home, as the last edit that stayed has it; what is revoked is not sealed.",
  from: "metadata/cache.ts, seal",
  *play(metadata, self) {
    const cache = metadata.cache(self);
    const sealed: string[] = [];
    cache.sealBy((block, seal, argument, parts) => {
      sealed.push(`${block.block} as ${seal} with ${argument}: ${parts.toString(2)}`);
      metadata.seal(block);
    });
    const expectSealed = (expected: string) => {
      const found = sealed.splice(0).sort().join(", ");
      ensure(found === expected, `sealed were ${found}`);
    };
    yield* metadata.transaction(self, (transaction) => {
      metadata.write(transaction.edit(metadata.read(self, BLOCK), 1, 7), 500);
      transaction.edit(metadata.read(self, BLOCK), 1, 7, 3);
      metadata.write(transaction.edit(metadata.read(self, ONE), 1, -8), START);
    });
    yield* metadata.undone(self, (transaction) => {
      transaction.edit(metadata.read(self, BLOCK), 2, 9);
      transaction.revoke(ONE);
      metadata.write(transaction.create(ONE, 3, 4), 501);
    });
    expectSealed("");
    metadata.assertFlushed([BLOCK, ONE]);
    expectSealed(`${ONE} as 1 with -8: 1, ${BLOCK} as 1 with 7: 1001`);
    yield* metadata.transaction(self, (transaction) => {
      metadata.write(transaction.edit(metadata.read(self, BLOCK), 1, 7), 500);
      transaction.edit(metadata.read(self, ONE), 1, -8);
      transaction.revoke(ONE);
      metadata.write(transaction.create(ONE, 3, 4), START);
    });
    metadata.assertFlushed([BLOCK, ONE]);
    expectSealed(`${ONE} as 3 with 4: 1, ${BLOCK} as 1 with 7: 1`);
    yield* metadata.transaction(self, (transaction) => {
      transaction.edit(metadata.read(self, BLOCK), 1, 7);
      transaction.revoke(BLOCK);
    });
    metadata.assertFlushed([]);
    expectSealed("");
  },
});

export const blocksSealedOtherwise = callStory({
  name: "blocks-sealed-otherwise",
  about:
    "A block becomes another sort of block, or another file's, with what of it was changed before: it is sealed as " +
    "what it is last. Blocks of sorts that have no checksum are not sealed, whatever they were.",
  from: "metadata/transaction.ts, edit, create, revoke",
  *play(metadata, self) {
    const cache = metadata.cache(self);
    const sealed: string[] = [];
    cache.sealBy((block, seal, argument, parts) => {
      sealed.push(`${seal} with ${argument}: ${parts.toString(2)}`);
      metadata.seal(block);
    });
    const change = function* (operation: (transaction: Transaction) => void) {
      yield* metadata.transaction(self, operation);
      metadata.assertFlushed([BLOCK]);
      return sealed.splice(0).join(", ");
    };
    const edit = (transaction: Transaction, seal: number, argument: number, part = 0) =>
      metadata.write(transaction.edit(metadata.read(self, BLOCK), seal, argument, part), 500);
    const writeUnsealed = (block: MetadataBlock) => {
      metadata.write(block, 501);
      metadata.seal(block);
    };
    const asOther = yield* change((transaction) => {
      edit(transaction, 1, 7);
      edit(transaction, 2, 7, 1);
    });
    ensure(asOther === "2 with 7: 10", `another sort of block was sealed: ${asOther}`);
    const ofOther = yield* change((transaction) => {
      edit(transaction, 2, 7);
      edit(transaction, 2, 9, 1);
    });
    ensure(ofOther === "2 with 9: 10", `another file's block was sealed: ${ofOther}`);
    const edited = yield* change((transaction) => {
      writeUnsealed(transaction.edit(metadata.read(self, BLOCK), NO_SEAL));
    });
    ensure(edited === "", `an edited block without a checksum was sealed: ${edited}`);
    const made = yield* change((transaction) => {
      edit(transaction, 1, 7);
      transaction.revoke(BLOCK);
      writeUnsealed(transaction.create(BLOCK, NO_SEAL));
    });
    ensure(made === "", `a new block without a checksum was sealed: ${made}`);
    yield* metadata.transaction(self, (transaction) => {
      edit(transaction, 1, 7);
      transaction.revoke(BLOCK);
    });
    const readAgain = yield* change((transaction) => {
      writeUnsealed(transaction.edit(metadata.read(self, BLOCK), NO_SEAL));
    });
    ensure(readAgain === "", `a block that was revoked was sealed: ${readAgain}`);
  },
});

export const blockRevoked = callStory({
  name: "block-revoked",
  about:
    "A changed block is revoked: it never reaches the device, and whoever reads it after that reads " +
    "what the device has. A block that nobody has cached can be revoked, too.",
  from: "metadata/transaction.ts, revoke",
  *play(metadata, self) {
    yield* metadata.transaction(self, (transaction) => {
      metadata.edit(self, transaction, BLOCK, 500);
    });
    yield* metadata.transaction(self, (transaction) => {
      transaction.revoke(BLOCK);
      transaction.revoke(UNCACHED);
    });
    metadata.writeDevice(BLOCK, 900);
    metadata.assertFlushed([]);
    ensureValue(metadata, self, BLOCK, 900);
    ensureValue(metadata, self, UNCACHED, metadata.onDevice(UNCACHED));
  },
});

/** Everything that a transaction can do, to blocks that are cached, changed, and neither. */
function changeAll(metadata: Metadata, self: Self, transaction: Transaction): void {
  const { sequence, word } = metadata.shared;
  transaction.beginLayoutChange(sequence);
  transaction.beginLayoutChange(sequence);
  ensure(load(metadata.words, sequence) & 1, "the layout's sequence does not tell of the change");
  metadata.edit(self, transaction, ONE, 501);
  metadata.edit(self, transaction, ONE, 502);
  transaction.revoke(BLOCK);
  metadata.create(transaction, BLOCK, 503);
  metadata.create(transaction, UNCACHED, 504);
  metadata.create(transaction, TWO, 505);
  transaction.revoke(TWO);
  transaction.setWord(word, 506);
  transaction.setWord(word, 507);
}

export const allUndone = callStory({
  name: "all-undone",
  about:
    "A transaction edits, makes and revokes blocks and sets words, and fails. All are as before: what " +
    "was changed before still is, what was not is not, and what was not cached is on the device.",
  from: "DESIGN.md 5.6, invariant 7",
  *play(metadata, self) {
    metadata.changeBefore(BLOCK, 500);
    yield* metadata.undone(self, (transaction) => changeAll(metadata, self, transaction));
    ensureValue(metadata, self, BLOCK, 500);
    ensureValue(metadata, self, UNCACHED, metadata.onDevice(UNCACHED));
    metadata.assertFlushed([BLOCK]);
    yield* metadata.transaction(self, (transaction) => metadata.raise(self, transaction));
    metadata.assertFlushed(PAIR);
  },
});

export const transactionTooLarge = callStory({
  name: "transaction-too-large",
  about:
    "A transaction that changes more than its log can undo is refused, and undone. How often it changes a block " +
    "does not matter.",
  from: "metadata/transaction.ts: EOVERFLOW",
  *play(metadata, self) {
    yield* metadata.undone(self, (transaction) => {
      const block = metadata.read(self, BLOCK);
      for (let turn = 0; turn < 10_000; turn++) transaction.edit(block, SEALED);
    });
    yield* metadata.undone(self, (transaction) => {
      const code = codeOf(() => {
        for (let turn = 0; turn < 10_000; turn++) transaction.create(BLOCK, SEALED);
      });
      ensure(code === "EOVERFLOW", "a transaction has no end");
    });
    ensureValue(metadata, self, BLOCK, metadata.onDevice(BLOCK));
    metadata.assertFlushed([]);
  },
});

/** Reads something, while which the layout changes so many times. */
function changing(metadata: Metadata, times: number, read: () => number): () => number {
  let left = times;
  return () => {
    if (left-- > 0) add(metadata.words, metadata.shared.sequence, 2);
    return read();
  };
}

export const readWhileItChanges = callStory({
  name: "read-while-it-changes",
  about:
    "What is read without a lock counts only when nothing has changed meanwhile, and so does the " +
    "damage that it meets.",
  from: "metadata/sequence.ts",
  *play(metadata, self) {
    const { words } = metadata;
    const { sequence } = metadata.shared;
    const good = (): number => metadata.value(self, ONE);
    const bad = (): number => metadata.value(self, UNCACHED);
    let turns = 0;
    const atFirstBad = (): number => (turns++ === 0 ? bad() : good());
    metadata.damage(UNCACHED);
    const once = (read: () => number): number | undefined => tryReadStable(words, sequence, read);
    ensure(once(good) === START, "what does not change cannot be read");
    ensure(once(changing(metadata, 1, good)) === undefined, "a change is overlooked");
    ensure(once(changing(metadata, 1, bad)) === undefined, "damage counts that is none");
    ensure(codeOf(() => once(bad)) === "EUCLEAN", "damage is not told");
    add(words, sequence, 1);
    ensure(once(good) === undefined, "a change that is under way is overlooked");
    add(words, sequence, 1);
    const stable = yield* readStable(self.task, sequence, changing(metadata, 2, good));
    ensure(stable === START, "what has changed twice cannot be read");
    const later = yield* readStable(self.task, sequence, changing(metadata, 1, atFirstBad));
    ensure(later === START, "damage counts that is none");
    let told = false;
    try {
      yield* readStable(self.task, sequence, bad);
    } catch (error) {
      told = error instanceof HoldfastError && error.code === "EUCLEAN";
    }
    ensure(told, "damage is not told");
    metadata.writeDevice(UNCACHED, 900);
  },
});
