import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { CorruptionError } from "../../src/base/errors.ts";
import { type MetadataBlock, MetadataCache } from "../../src/metadata/cache.ts";
import { readStable } from "../../src/metadata/sequence.ts";
import {
  beginTransaction,
  createTransactionArea,
  NO_SEAL,
  recoverTransactions,
  type Transaction,
} from "../../src/metadata/transaction.ts";
import { load, makeSharedBuffer } from "../../src/sync/atomics.ts";
import { recoverLocks } from "../../src/sync/lock.ts";
import { Region } from "../../src/sync/region.ts";
import { runBlocking } from "../../src/sync/runners.ts";
import { Thread } from "../../src/sync/thread.ts";
import { memoryStore } from "./memory-store.mjs";

const BLOCKS = 64;
/** What this file's edits have; its workers' have another one. */
const SEAL = 1;

function setUp() {
  const region = Region.create(2 ** 27);
  const thread = Thread.join(region);
  recoverLocks(thread);
  createTransactionArea(thread);
  const store = makeSharedBuffer(BLOCKS * 4096);
  const cache = MetadataCache.create(thread, memoryStore(store), 4096);
  cache.sealBy((block, seal, argument) => {
    if (seal === SEAL) block.bytes[4095] = argument;
    else sealAsWorkers(block);
  });
  recoverTransactions(cache);
  const words = region.allocatePages(16);
  return {
    region,
    thread,
    cache,
    store,
    disk: new Uint8Array(store),
    word: words,
    sequence: words + 1,
  };
}

function sealAsWorkers({ view }: MetadataBlock): void {
  view.setUint32(4092, view.getUint32(0) ^ 0xffffffff);
}

const accept = (): void => {};

function inTransaction(
  state: ReturnType<typeof setUp>,
  change: (transaction: Transaction) => void,
): void {
  runBlocking(state.thread, function* (task) {
    using transaction = yield* beginTransaction(task, state.cache);
    change(transaction);
    transaction.commit();
  });
}

describe("a transaction", () => {
  it("keeps its changes at commit, and they reach the device only by a flush", () => {
    const state = setUp();
    inTransaction(state, (transaction) => {
      const block = transaction.edit(state.cache.read(3, accept), SEAL, 9);
      block.bytes.fill(5, 0, 100);
      transaction.setWord(state.word, 77);
    });
    expect(state.cache.read(3, accept).bytes[50]).toBe(5);
    expect(load(state.thread.words, state.word)).toBe(77);
    expect(state.disk[3 * 4096 + 50]).toBe(0);
    runBlocking(state.thread, function* (task) {
      using _transaction = yield* beginTransaction(task, state.cache);
      expect(state.cache.flush()).toBe(1);
    });
    expect(state.disk[3 * 4096 + 50]).toBe(5);
    expect(state.disk[3 * 4096 + 4095]).toBe(9);
  });

  it("undoes edits, created and revoked blocks and words when its operation throws", () => {
    const state = setUp();
    state.disk.fill(1, 3 * 4096, 5 * 4096);
    inTransaction(state, (transaction) => {
      transaction.edit(state.cache.read(4, accept), NO_SEAL).bytes.fill(2);
      transaction.setWord(state.word, 1);
    });
    expect(() =>
      inTransaction(state, (transaction) => {
        transaction.edit(state.cache.read(3, accept), NO_SEAL).bytes.fill(8);
        transaction.revoke(4);
        transaction.create(4, NO_SEAL).bytes.fill(9);
        transaction.create(5, NO_SEAL).bytes.fill(9);
        transaction.setWord(state.word, 2);
        transaction.setWord(state.word, 3);
        throw new Error("no room");
      }),
    ).toThrow("no room");
    expect(state.cache.read(3, accept).bytes.every((byte) => byte === 1)).toBe(true);
    expect(state.cache.read(4, accept).bytes.every((byte) => byte === 2)).toBe(true);
    expect(load(state.thread.words, state.word)).toBe(1);
    runBlocking(state.thread, function* (task) {
      using _transaction = yield* beginTransaction(task, state.cache);
      expect(state.cache.flush()).toBe(1);
    });
    expect(state.disk[5 * 4096]).toBe(0);
  });

  it("never writes a revoked block home", () => {
    const state = setUp();
    inTransaction(state, (transaction) => {
      transaction.edit(state.cache.read(6, accept), NO_SEAL).bytes.fill(4);
    });
    inTransaction(state, (transaction) => transaction.revoke(6));
    state.disk.fill(7, 6 * 4096, 7 * 4096);
    runBlocking(state.thread, function* (task) {
      using _transaction = yield* beginTransaction(task, state.cache);
      expect(state.cache.flush()).toBe(0);
    });
    expect(state.disk[6 * 4096]).toBe(7);
  });

  it("refuses a change too large for its log with EOVERFLOW, undone", () => {
    const state = setUp();
    expect(() =>
      inTransaction(state, (transaction) => {
        for (let turn = 0; turn < 10_000; turn++) transaction.create(7, NO_SEAL);
      }),
    ).toThrow(/EOVERFLOW/);
    expect(load(state.thread.words, state.word)).toBe(0);
  });
});

describe("the metadata cache", () => {
  it("caches nothing that its verifier refuses, and nothing beyond the device", () => {
    const state = setUp();
    const refuse = (block: MetadataBlock): void => {
      throw new CorruptionError({
        structure: "test",
        field: "first byte",
        value: block.bytes[0]!,
        expected: "another",
      });
    };
    expect(() => state.cache.read(2, refuse)).toThrow(/EUCLEAN: test: first byte is 0/);
    let verified = 0;
    for (let turn = 0; turn < 3; turn++) state.cache.read(2, () => void verified++);
    expect(verified).toBe(1);
    for (const block of [BLOCKS, -1, 1.5, 2 ** 40, Number.NaN]) {
      expect(() => state.cache.read(block, accept)).toThrow(/EUCLEAN: metadata block/);
    }
  });
});

describe("a thread that is terminated inside a transaction", () => {
  it("leaves all of it or nothing: 150 deaths", async () => {
    const state = setUp();
    const { thread, cache, region, store, word, sequence } = state;
    const start = async (): Promise<Worker> => {
      const worker = new Worker(new URL("./workers/changer.mjs", import.meta.url), {
        workerData: { buffer: region.buffer, store, word, sequence },
      });
      await once(worker, "message");
      return worker;
    };
    for (let death = 0; death < 150; death++) {
      const worker = await start();
      await new Promise((resolve) => setTimeout(resolve, death % 4));
      await worker.terminate();
      const [one, two, value] = runBlocking(
        thread,
        function* (task) {
          const stable = yield* readStable(task, sequence, () => [
            cache.read(1, accept).view.getUint32(0),
            cache.read(2, accept).view.getUint32(4088),
            load(thread.words, word),
          ]);
          using _transaction = yield* beginTransaction(task, cache);
          return stable;
        },
        { timeoutMs: 5000 },
      );
      expect(one).toBe(two);
      expect(one).toBe(value);
      runBlocking(thread, function* (task) {
        using _transaction = yield* beginTransaction(task, cache);
        cache.flush();
      });
      const home = new DataView(store, 4096, 4096);
      expect(home.getUint32(0)).toBe(value);
      if (value !== 0) expect(home.getUint32(4092)).toBe((value! ^ -1) >>> 0);
    }
  });
});
