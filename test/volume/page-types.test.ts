// Page types of a raw device: a registrar is told when the last pin of a part of it is released, whichever thread
// that is in, and nothing of it is lost while the registrar is busy, closed or dead.

import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { type ByteRange, openRawSync, type RawDevice } from "../../src/index.ts";

const PAGE = 4096;
const UNIT = 2 ** 21;
const open = (units = 8): RawDevice =>
  openRawSync({ size: units * UNIT }, { regionBytes: 2 ** 26 });

/** Starts a thread on the raw device; it answers each message when it has done it. */
async function startThread(raw: RawDevice): Promise<{
  worker: Worker;
  ask(message: unknown): Promise<unknown>;
}> {
  const worker = new Worker(new URL("./workers/page-types.mjs", import.meta.url), {
    workerData: { handle: raw.share() },
  });
  await once(worker, "message");
  return {
    worker,
    async ask(message) {
      worker.postMessage(message);
      return (await once(worker, "message"))[0];
    },
  };
}

async function untilTold(told: readonly ByteRange[], count: number): Promise<void> {
  for (let turn = 0; turn < 500 && told.length < count; turn++) await sleep(10);
}

test("the last release of a pin tells the registrar, and no other release or page does", async () => {
  using raw = open();
  const told: ByteRange[] = [];
  using _type = raw.registerPageType("buffers", { onIdle: (range) => told.push(range) });
  raw.setPageType({ offset: 2 * UNIT, length: 3 * UNIT }, "buffers");
  const first = raw.pinSync(2 * UNIT + PAGE, PAGE);
  const second = raw.pinSync(2 * UNIT + 9 * PAGE, PAGE);
  raw.pinSync(UNIT, PAGE).release();
  first.release();
  await sleep(20);
  expect(told).toEqual([]);
  second.release();
  await untilTold(told, 1);
  expect(told).toEqual([{ offset: 2 * UNIT, length: UNIT }]);

  // Units that are idle together are told as one; what is pinned again by then is left out.
  told.length = 0;
  raw.pinSync(2 * UNIT + PAGE, 2 * UNIT).release();
  raw.pinSync(4 * UNIT, PAGE).release();
  const again = raw.pinSync(4 * UNIT, PAGE);
  await untilTold(told, 1);
  expect(told).toEqual([{ offset: 2 * UNIT, length: 2 * UNIT }]);
  again.release();
  await untilTold(told, 2);
  expect(told[1]).toEqual({ offset: 4 * UNIT, length: UNIT });
});

test("pins that are held when a type is set count, and a type that is taken away tells no more", async () => {
  using raw = open();
  const told: ByteRange[] = [];
  using _type = raw.registerPageType("late", { onIdle: (range) => told.push(range) });
  const pin = raw.pinSync(3 * UNIT, PAGE);
  raw.setPageType({ offset: 3 * UNIT, length: UNIT }, "late");
  pin.release();
  await untilTold(told, 1);
  expect(told).toEqual([{ offset: 3 * UNIT, length: UNIT }]);
  raw.setPageType({ offset: 3 * UNIT, length: UNIT }, null);
  raw.pinSync(3 * UNIT, PAGE).release();
  await sleep(30);
  expect(told).toHaveLength(1);
});

test("a release in another thread tells, and so does the death of a thread that held the last pin", async () => {
  using raw = open();
  const told: ByteRange[] = [];
  using _type = raw.registerPageType("shared", { onIdle: (range) => told.push(range) });
  raw.setPageType({ offset: 0, length: 2 * UNIT }, "shared");
  const thread = await startThread(raw);
  await thread.ask({ pin: 0 });
  await sleep(20);
  expect(told).toEqual([]);
  await thread.ask({ release: true });
  await untilTold(told, 1);
  expect(told).toEqual([{ offset: 0, length: UNIT }]);
  await thread.ask({ pin: UNIT });
  told.length = 0;
  await thread.worker.terminate();
  expect(raw.volume.statistics().pinsHeld).toBe(0); // which gives back what the dead have held
  await untilTold(told, 1);
  expect(told.some(({ offset, length }) => offset <= UNIT && offset + length > UNIT)).toBe(true);
});

test("what nobody was there to be told is told to the next registrar", async () => {
  using raw = open();
  const thread = await startThread(raw);
  await thread.ask({ register: "orphans" });
  expect(() => raw.registerPageType("orphans", { onIdle: () => {} })).toThrow(/EEXIST.*thread/);
  raw.setPageType({ offset: 6 * UNIT, length: 2 * UNIT }, "orphans");
  await thread.worker.terminate();
  raw.pinSync(7 * UNIT, PAGE).release();
  const told: ByteRange[] = [];
  const first = raw.registerPageType("orphans", { onIdle: (range) => told.push(range) });
  await untilTold(told, 1);
  expect(told).toEqual([{ offset: 6 * UNIT, length: 2 * UNIT }]);
  first.close();
  raw.pinSync(6 * UNIT, PAGE).release();
  await sleep(20);
  expect(told).toHaveLength(1);
  using _second = raw.registerPageType("orphans", { onIdle: (range) => told.push(range) });
  await untilTold(told, 2);
  expect(told).toHaveLength(2);
});

test("types are named, whole units of a device, and at most seven", () => {
  using raw = openRawSync({ size: 2 * UNIT + PAGE }, { regionBytes: 2 ** 26 });
  const onIdle = (): void => {};
  expect(() => raw.setPageType({ offset: 0, length: UNIT }, "nobody's")).toThrow(/ENOENT/);
  raw.setPageType({ offset: 0, length: UNIT }, null);
  for (let each = 0; each < 7; each++) raw.registerPageType(`type ${each}`, { onIdle });
  expect(() => raw.registerPageType("one more", { onIdle })).toThrow(/ENOSPC/);
  for (const [offset, length] of [
    [PAGE, UNIT],
    [0, PAGE],
    [0, 0],
    [UNIT, 2 * UNIT],
    [-UNIT, UNIT],
  ] as const) {
    expect(() => raw.setPageType({ offset, length }, "type 0")).toThrow(/EINVAL/);
  }
  expect(() => raw.registerPageType("", { onIdle })).toThrow(TypeError);
  expect(() => raw.registerPageType("x".repeat(49), { onIdle })).toThrow(TypeError);
  expect(() => raw.registerPageType("x", {} as { onIdle: () => void })).toThrow(TypeError);
});
