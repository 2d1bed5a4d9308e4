import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, it } from "vitest";
import { load, store } from "../../src/sync/atomics.ts";
import { lockExclusive, lockMutex, lockShared, recoverLocks } from "../../src/sync/lock.ts";
import { Region } from "../../src/sync/region.ts";
import { runAsync, runBlocking } from "../../src/sync/runners.ts";
import { Thread } from "../../src/sync/thread.ts";

const io = { rankName: "io", order: 1 } as const;
const workers: Worker[] = [];
const joined = new Map<Worker, Promise<unknown>>();

function setUp(): { region: Region; thread: Thread; lock: number; counters: number } {
  const region = Region.create(2 ** 26);
  const thread = Thread.join(region);
  recoverLocks(thread);
  const lock = region.allocatePages(1024);
  return { region, thread, lock, counters: lock + 64 };
}

function contend(
  region: Region,
  lock: number,
  options: { asynchronous?: boolean; sharedPart?: number; turns?: number },
): Worker {
  const worker = new Worker(new URL("./workers/contender.mjs", import.meta.url), {
    workerData: {
      buffer: region.buffer,
      lock,
      counters: lock + 64,
      asynchronous: false,
      sharedPart: 0.5,
      turns: Infinity,
      ...options,
    },
  });
  workers.push(worker);
  // A worker terminated while it still loads native code can take the process down with it.
  joined.set(worker, once(worker, "message"));
  return worker;
}

afterEach(async () => {
  await Promise.all(
    workers.splice(0).map(async (worker) => {
      await joined.get(worker);
      await worker.terminate();
    }),
  );
});

describe("a shared/exclusive lock", () => {
  it("excludes across threads, blocking and asynchronous, and every turn comes", async () => {
    const { region, thread, lock, counters } = setUp();
    const turns = 5000;
    const started = [false, true, false, true].map((asynchronous) =>
      contend(region, lock, { asynchronous, turns }),
    );
    await Promise.all(started.map((worker) => once(worker, "exit")));
    expect(load(thread.words, counters)).toBe(0);
    const done = load(thread.words, counters + 1) + load(thread.words, counters + 2);
    expect(done).toBe(4 * turns);
    expect(load(thread.words, counters + 3)).toBe(load(thread.words, counters + 1));
  });

  it("starves neither side: an exclusive holder gets in among readers, a reader among writers", async () => {
    const { region, thread, lock } = setUp();
    for (const sharedPart of [1, 0]) {
      const crowd = [1, 2, 3].map(() => contend(region, lock, { sharedPart }));
      await new Promise((resolve) => setTimeout(resolve, 300));
      for (let turn = 0; turn < 50; turn++) {
        const take = sharedPart === 1 ? lockExclusive : lockShared;
        const work = function* (task: Parameters<typeof lockExclusive>[0]) {
          using _held = yield* take(task, lock, io);
        };
        if (turn % 2 === 0) runBlocking(thread, work, { timeoutMs: 5000 });
        else await runAsync(thread, work, { timeoutMs: 5000 });
      }
      for (const worker of crowd) {
        await joined.get(worker);
        await worker.terminate();
      }
    }
  });

  it("is given back when its holder is terminated: 300 deaths, nobody hangs", async () => {
    const { region, thread, lock, counters } = setUp();
    contend(region, lock, { asynchronous: true });
    const victims: Worker[] = [];
    for (let death = 0; death < 300; death++) {
      victims.push(contend(region, lock, { sharedPart: death % 3 === 0 ? 1 : 0.3 }));
      if (victims.length < 3) continue;
      const victim = victims.shift()!;
      if (death % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      await joined.get(victim);
      await victim.terminate();
      const before = load(thread.words, counters + 1) + load(thread.words, counters + 2);
      runBlocking(
        thread,
        function* (task) {
          using _held = yield* lockExclusive(task, lock, io);
        },
        { timeoutMs: 10_000 },
      );
      expect(before).toBeGreaterThanOrEqual(0);
    }
    for (const worker of workers.splice(0)) {
      await joined.get(worker);
      await worker.terminate();
    }
    thread.reap();
    runBlocking(
      thread,
      function* (task) {
        using _held = yield* lockExclusive(task, lock, io);
      },
      { timeoutMs: 1000 },
    );
    expect(load(thread.words, counters)).toBe(0);
    // Nothing is counted that nobody holds: guard, holders and waiters are all zero.
    for (const word of [0, 1, 2, 3, 4, 6]) expect(load(thread.words, lock + word)).toBe(0);
  });

  it("ends a wait at its deadline or signal, naming the holder, and leaves the queue", async () => {
    const { thread, lock } = setUp();
    await runAsync(thread, function* (task) {
      using _held = yield* lockExclusive(task, lock, io);
      const wait = function* (inner: typeof task) {
        using _second = yield* lockShared(inner, lock, io);
      };
      expect(() => runBlocking(thread, wait, { timeoutMs: 20 })).toThrow(
        /ETIMEDOUT.*io lock of inode 1, held by thread 0 \(this one\)/,
      );
      const controller = new AbortController();
      const waiting = runAsync(thread, wait, { signal: controller.signal });
      controller.abort();
      waiting.catch(() => {});
      expect(() => runBlocking(thread, wait, { signal: AbortSignal.abort() })).toThrow(/aborted/);
    });
    for (const word of [0, 1, 2, 3, 4, 6]) expect(load(thread.words, lock + word)).toBe(0);
  });

  it("is never taken against the lock order", () => {
    const { thread, lock } = setUp();
    const work = (): void =>
      runBlocking(thread, function* (task) {
        using _map = yield* lockExclusive(task, lock, { rankName: "map", order: 1 });
        using _io = yield* lockExclusive(task, lock + 8, { rankName: "io", order: 2 });
      });
    expect(work).toThrow(/lock order: io 2 is taken while map 1 is held/);
  });
});

describe("a thread that blocks", () => {
  it("goes on with its own suspended operations, which may hold what it waits for", async () => {
    const { thread, lock } = setUp();
    const gate = lock + 32;
    const suspended = runAsync(thread, function* (task) {
      using _held = yield* lockExclusive(task, lock, io);
      while (load(thread.words, gate) === 0) {
        yield { word: gate, expected: 0, what: () => "the gate" };
      }
    });
    store(thread.words, gate, 1);
    // The asynchronous operation holds the lock and cannot be resumed by the event loop now.
    runBlocking(
      thread,
      function* (task) {
        using _held = yield* lockExclusive(task, lock, io);
      },
      { timeoutMs: 1000 },
    );
    await suspended;
  });

  it("takes a mutex in turn and refuses to take it twice", () => {
    const { thread, lock } = setUp();
    const twice = (): void =>
      runBlocking(thread, function* (task) {
        using _first = yield* lockMutex(task, lock + 40, "transaction");
        runBlocking(thread, function* (inner) {
          using _second = yield* lockMutex(inner, lock + 40, "transaction");
        });
      });
    expect(twice).toThrow(/EDEADLK/);
    expect(load(thread.words, lock + 40)).toBe(0);
  });
});
