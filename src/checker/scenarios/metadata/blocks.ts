/** Cached blocks that threads share: read by several at once, refused, and read by threads that die. */
import { HoldfastError } from "../../../base/errors.ts";
import { ensure, type Scenario, type Self } from "../../scenario.ts";
import { FAR_BLOCK, type Metadata, type MetadataShared, PAIR } from "../../world/metadata.ts";
import { type MetadataStory, metadataStory } from "./play.ts";

/** Blocks 0 to 7, and the far one, which is in the bucket of block 0. */
const BLOCKS = 9;
const SOME = 5;
const OTHER = 6;

interface BlockStory extends MetadataStory {
  /** Blocks that are cached from the start. */
  readonly cached: readonly number[];
}

function blockStory({ cached, ...story }: BlockStory): Scenario<MetadataShared, Metadata> {
  return metadataStory({ blocks: BLOCKS, cached }, story);
}

/** Reads blocks, each of which is as the device has it. */
function readAll(metadata: Metadata, self: Self, blocks: readonly number[]): void {
  for (const block of blocks) {
    const value = metadata.value(self, block);
    self.say(`has read block ${block}`);
    ensure(value === metadata.onDevice(block), `block ${block} is read as ${value}`);
  }
}

/** Whether a block is refused. */
function isRefused(metadata: Metadata, self: Self, block: number): boolean {
  try {
    metadata.value(self, block);
    return false;
  } catch (error) {
    if (!(error instanceof HoldfastError && error.code === "EUCLEAN")) throw error;
    self.say("is told that the block is damaged");
    return true;
  }
}

/** What a read gives; null when the device is gone. Damage is none that the reader may be told of. */
function readUnlessGone(self: Self, read: () => number): number | null {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof HoldfastError && error.code === "EIO")) throw error;
    self.say("is told that the device is gone");
    return null;
  }
}

export const blockReadAndGone = metadataStory(
  { blocks: BLOCKS, cached: [...PAIR, SOME], removable: true },
  {
    name: "block-read-and-gone",
    about:
      "A device is removed while a block is read, and while another one is read as a copy. Each is as the " +
      "device had it, or the reader is told that the device is gone: never that the block is damaged, as " +
      "what can be copied by then would have it.",
    from: "metadata/cache.ts, read: EIO when the device is gone",
    explore: { strategy: "reduced" },
    actors: {
      *reader(metadata, self) {
        const read = readUnlessGone(self, () => metadata.value(self, OTHER));
        ensure(read === null || read === metadata.onDevice(OTHER), `the block is ${read}`);
        yield* metadata.undone(self, () => {
          const copied = readUnlessGone(self, () => metadata.valueOfCopy(self, 0));
          ensure(copied === null || copied === metadata.onDevice(0), `the copy is ${copied}`);
          ensure(read !== null || copied === null, "a device that is gone is read");
        });
      },
      remover: (metadata) => metadata.removeDevice(),
    },
    finally: (metadata) => metadata.putBack(),
  },
);

export const blocksReadByTwo = blockStory({
  name: "blocks-read-by-two",
  about:
    "Two threads read the same blocks, of which two are in one bucket. Each block has one buffer in " +
    "the end, and each buffer that was not needed is there for another block.",
  from: "metadata/cache.ts, rule 1",
  cached: [SOME],
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    first: (metadata, self) => readAll(metadata, self, [0, FAR_BLOCK, OTHER]),
    second: (metadata, self) => readAll(metadata, self, [FAR_BLOCK, 0]),
  },
});

export const firstBlocks = blockStory({
  name: "first-blocks",
  about:
    "Two threads read the first blocks, so that both make buffers. One of them changes its blocks and " +
    "writes them home while the other one is at it.",
  from: "metadata/cache.ts",
  cached: [],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *changer(metadata, self) {
      yield* metadata.transaction(self, (transaction) => metadata.raise(self, transaction));
      yield* metadata.transaction(self, () => {
        const written = metadata.cache(self).flush();
        ensure(written === PAIR.length, `${written} blocks are written home`);
      });
    },
    reader: (metadata, self) => readAll(metadata, self, [OTHER]),
  },
});

export const blockReadAndChanged = blockStory({
  name: "block-read-and-changed",
  about:
    "A thread reads a block from the device while another one does the same, and changes it. What " +
    "the first one has read does not undo the change.",
  from: "metadata/cache.ts, rule 3",
  cached: [SOME],
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    *changer(metadata, self) {
      yield* metadata.transaction(self, (transaction) =>
        metadata.edit(self, transaction, OTHER, 500),
      );
    },
    reader(metadata, self) {
      metadata.read(self, OTHER);
    },
  },
  finally(metadata) {
    const value = metadata.value(metadata.survivor(), OTHER);
    ensure(value === 500, `the block is ${value}; it was changed to 500`);
    metadata.assertFlushed([OTHER]);
  },
});

export const blockRefused = blockStory({
  name: "block-refused",
  about:
    "Two threads read a block that is damaged. Both are told, and nothing of it is cached: when the " +
    "device has something else, that is read.",
  from: "metadata/cache.ts, read: then nothing is cached",
  cached: [SOME],
  prepare: (metadata) => metadata.damage(OTHER),
  actors: {
    first: (metadata, self) => ensure(isRefused(metadata, self, OTHER), "damage is accepted"),
    second: (metadata, self) => ensure(isRefused(metadata, self, OTHER), "damage is accepted"),
  },
  finally(metadata) {
    metadata.writeDevice(OTHER, 500);
    const value = metadata.value(metadata.survivor(), OTHER);
    ensure(value === 500, `the block is read as ${value}`);
  },
});

export const blockReaderDies = blockStory({
  name: "block-reader-dies",
  about:
    "Of two threads that read the same blocks one dies at any point. Each block has one buffer, which " +
    "it shares with no other, and what was cached before still is.",
  from: "metadata/cache.ts, rule 1: readers walk buckets without a lock",
  cached: [0],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    dying: (metadata, self) => readAll(metadata, self, [FAR_BLOCK, OTHER]),
    other: (metadata, self) => readAll(metadata, self, [OTHER, FAR_BLOCK]),
  },
  environment: { death: { kill: "dying" } },
});

export const firstReaderDies = blockStory({
  name: "first-reader-dies",
  about:
    "A thread dies at any point while it makes the first buffers. Another one changes blocks, which " +
    "reach the device.",
  from: "metadata/cache.ts",
  cached: [],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    dying: (metadata, self) => readAll(metadata, self, [OTHER]),
    *changer(metadata, self) {
      yield* metadata.transaction(self, (transaction) => metadata.raise(self, transaction));
    },
  },
  environment: { death: { kill: "dying" } },
  finally: (metadata) => metadata.assertFlushed(PAIR),
});

export const blockFilledAgain = blockStory({
  name: "block-filled-again",
  about:
    "Two threads read a block whose buffer is not valid, and one of them dies at any point. The other " +
    "one is shown what the device has, and not what the buffer held before.",
  from: "metadata/cache.ts, rule 4",
  cached: [SOME],
  prepare: (metadata) => metadata.leaveInvalid(OTHER),
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    dying: (metadata, self) => readAll(metadata, self, [OTHER]),
    other: (metadata, self) => readAll(metadata, self, [OTHER]),
  },
  environment: { death: { kill: "dying" } },
  finally(metadata) {
    const read = metadata.verified;
    readAll(metadata, metadata.survivor(), [OTHER]);
    ensure(metadata.verified === read, "the block is not cached");
  },
});
