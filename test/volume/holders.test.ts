// Who holds a file: told while it is held, by whom it concerns, and not after.

import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { startRunner } from "./threads.ts";
import { volumeKinds } from "./volumes.ts";

const PAGE = 4096;

describe.each(volumeKinds)("$name", (kind) => {
  test("the holders of a file are its open handles, by thread, and the asker is none of them", async () => {
    using made = kind.make();
    made.volume.writeFileSync("/data", new Uint8Array(10_000));
    expect(made.volume.holdersSync("/data").handles).toEqual([]);
    using file = made.volume.openSync("/data", "r");
    await using runner = await startRunner(made.volume.share());
    await runner.run((volume, kept) => {
      Object.assign(kept, { files: [volume.openSync("/data"), volume.openSync("/data")] });
    });
    const holders = await made.volume.holders("/data");
    expect(holders.ino).toBe(file.ino);
    expect(holders.handles).toContainEqual({ threadId: runner.worker.threadId, count: 2 });
    expect(holders.handles.reduce((sum, { count }) => sum + count, 0)).toBe(3);
    expect(file.holders()).toEqual(holders);
    await runner.terminate();
    expect(file.holders().handles).toHaveLength(1);
  });

  test("a file that is not there, or is closed, has no holders to tell of", () => {
    using made = kind.make();
    expect(() => made.volume.holdersSync("/none")).toThrow(
      expect.objectContaining({ code: "ENOENT", syscall: "holders" }),
    );
    const file = made.volume.openSync("/data", "w");
    file.closeSync();
    expect(() => file.holders()).toThrow(expect.objectContaining({ code: "EBADF" }));
  });
});

describe.each(volumeKinds.filter((kind) => kind.mappable))("$name, mapped", (kind) => {
  test("pins and windows are told with their range, their thread and since when", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(20 * PAGE).fill(1), 0);
    using _window = file.map({ offset: PAGE, length: 3 * PAGE });
    await using runner = await startRunner(made.volume.share());
    await runner.run((volume, kept) => {
      const inner = volume.openSync("/data", "r+");
      // The second pin of a page is the one without a lock.
      inner.pinSync(2 * 4096, 4096, { write: true }).release();
      Object.assign(kept, {
        pins: [inner.pinSync(2 * 4096, 4096, { write: true }), inner.pinSync(10 * 4096, 8192)],
      });
    });
    const { threadId } = runner.worker;
    await sleep(30);
    const { pins, windows } = file.holders();
    expect(pins).toEqual([
      { threadId, offset: 2 * PAGE, length: PAGE, write: true, heldMs: expect.any(Number) },
      { threadId, offset: 10 * PAGE, length: 2 * PAGE, write: false, heldMs: expect.any(Number) },
    ]);
    for (const { heldMs } of pins) {
      expect(heldMs).toBeGreaterThanOrEqual(29);
      expect(heldMs).toBeLessThan(20_000);
    }
    expect(windows).toEqual([
      { threadId: expect.any(Number), offset: PAGE, length: 3 * PAGE, writable: true },
    ]);
    await runner.terminate();
    expect(file.holders().pins).toEqual([]);
  });

  test("a wait that a deadline or a signal ends says who held what, and since when", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(100_000).fill(5), 0);
    await using runner = await startRunner(made.volume.share());
    await runner.run((volume, kept) => {
      Object.assign(kept, {
        pin: volume.openSync("/data", "r+").pinSync(0, 8192, { write: true }),
      });
    });
    const { threadId } = runner.worker;
    const held = { threadId, offset: 0, length: 8192, write: true };
    await expect(file.truncate(0, { timeoutMs: 40 })).rejects.toMatchObject({
      code: "ETIMEDOUT",
      message: expect.stringMatching(
        new RegExp(`pinned: pages 0 to 1 by thread ${threadId} for \\d+ ms`),
      ),
      holders: [held],
    });
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 40);
    await expect(file.truncate(0, { signal: abort.signal })).rejects.toMatchObject({
      name: "AbortError",
      message: expect.stringContaining(`by thread ${threadId} for `),
      holders: [held],
    });
    expect(file.statSync().size).toBe(100_000);
    expect(made.volume.statistics().waits.pins).toMatchObject({ count: 2 });
  });

  test("a layout change that waits is told with its range and how long it waits; so are locks", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(16 * PAGE).fill(5), 0);
    const pin = file.pinSync(4 * PAGE, PAGE);
    const truncated = file.truncate(2 * PAGE);
    await sleep(40);
    const { breaks, locks } = file.holders();
    expect(breaks).toEqual([
      {
        threadId: expect.any(Number),
        offset: 2 * PAGE,
        length: Infinity,
        waitingMs: expect.any(Number),
      },
    ]);
    expect(breaks[0]!.waitingMs).toBeGreaterThanOrEqual(30);
    expect(locks).toEqual([]); // it waits without its locks
    pin.release();
    await truncated;
    expect(file.holders().breaks).toEqual([]);
    const { pins } = made.volume.statistics().waits;
    expect(pins.count).toBe(1);
    expect(pins.maxMs).toBeGreaterThanOrEqual(30);
    expect(pins.p50Ms).toBe(pins.maxMs);
    expect(pins.totalMs).toBeCloseTo(pins.maxMs, 1);
  });

  test("holders are read while pins come and go, and none is named that held nothing", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(64 * PAGE).fill(5), 0);
    const runners = await Promise.all([1, 2].map(() => startRunner(made.volume.share())));
    const stop = new Int32Array(new SharedArrayBuffer(4));
    const churns = runners.map((runner, index) =>
      runner.run(
        (volume, _kept, from: number, halt) => {
          const inner = volume.openSync("/data", "r+");
          for (let turn = 0; Atomics.load(halt, 0) === 0; turn++) {
            const page = from + (turn % 8) * 4;
            const pin = inner.pinSync(page * 4096, ((turn % 3) + 1) * 4096);
            const next = inner.pinSync(from * 4096, 4096);
            pin.release();
            next.release();
          }
        },
        index * 32,
        stop,
      ),
    );
    const ids = runners.map(({ worker }) => worker.threadId);
    const until = performance.now() + 300;
    let seen = 0;
    while (performance.now() < until || seen === 0) {
      for (const { threadId, offset, length, write } of file.holders().pins) {
        const index = ids.indexOf(threadId);
        const page = offset / PAGE - index * 32;
        expect(index).toBeGreaterThanOrEqual(0);
        expect(page % 4).toBe(0);
        expect(page).toBeLessThan(32);
        expect([1, 2, 3]).toContain(length / PAGE);
        expect(write).toBe(false);
        seen++;
      }
    }
    Atomics.store(stop, 0, 1);
    await Promise.all(churns);
    for (const runner of runners) await runner.terminate();
    expect(seen).toBeGreaterThan(0);
    expect(file.holders().pins).toEqual([]);
  });
});

test("waits for a lock are counted by the lock, and percentiles are in order", async () => {
  using made = volumeKinds[0]!.make();
  using file = made.volume.openSync("/data", "w+");
  file.writeSync(new Uint8Array(2 ** 20), 0);
  const { waits } = made.volume.statistics();
  expect(Object.keys(waits)).toEqual(
    expect.arrayContaining(["directory", "io", "map", "transaction", "entry", "pins", "layout"]),
  );
  expect(waits.pins).toEqual({ count: 0, totalMs: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 });
  await using runner = await startRunner(made.volume.share());
  const path = "/data";
  const writing = runner.run((volume, _kept, name: string) => {
    const inner = volume.openSync(name, "r+");
    for (let turn = 0; turn < 60; turn++) inner.writeSync(new Uint8Array(2 ** 20), 0);
  }, path);
  while (made.volume.statistics().waits.io.count === 0) {
    file.writeSync(new Uint8Array(2 ** 20), 0);
    await sleep(0);
  }
  await writing;
  const { io } = made.volume.statistics().waits;
  expect(io.p50Ms).toBeLessThanOrEqual(io.p99Ms);
  expect(io.p99Ms).toBeLessThanOrEqual(io.maxMs);
  expect(io.maxMs).toBeLessThanOrEqual(io.totalMs);
});
