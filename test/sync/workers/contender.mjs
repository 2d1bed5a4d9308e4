// Takes a lock again and again, shared or exclusively, and checks that nobody else is inside.
import { parentPort, workerData } from "node:worker_threads";
import { add, load, store } from "../../../dist/sync/atomics.js";
import { lockExclusive, lockShared, recoverLocks } from "../../../dist/sync/lock.js";
import { Region } from "../../../dist/sync/region.js";
import { runAsync, runBlocking } from "../../../dist/sync/runners.js";
import { Thread } from "../../../dist/sync/thread.js";

const { buffer, lock, counters, asynchronous, sharedPart, turns } = workerData;
const region = Region.attach(buffer);
const thread = Thread.join(region);
recoverLocks(thread);
parentPort?.postMessage("joined");
const { words } = region;
const name = { rankName: /** @type {const} */ ("io"), order: 1 };
/** @typedef {import("../../../dist/sync/sleep.js").Task} Task */

// counters: 0 bad | 1 exclusive turns | 2 shared turns | 3, 4 a pair that must agree | 5 inside
/** @param {Task} task */
function* exclusiveTurn(task) {
  const held = yield* lockExclusive(task, lock, name);
  // The pair may disagree here only because a holder died between the two stores.
  store(words, counters + 4, load(words, counters + 3));
  const value = load(words, counters + 3);
  store(words, counters + 3, value + 1);
  for (let spin = 0; spin < 50; spin++) {
    if (load(words, counters + 3) !== value + 1) add(words, counters, 1);
  }
  store(words, counters + 4, value + 1);
  add(words, counters + 1, 1);
  held.release();
}

/** @param {Task} task */
function* sharedTurn(task) {
  const held = yield* lockShared(task, lock, name);
  const value = load(words, counters + 3);
  for (let spin = 0; spin < 50; spin++) {
    if (load(words, counters + 3) !== value) add(words, counters, 1);
  }
  add(words, counters + 2, 1);
  held.release();
}

let random = thread.holder;
for (let turn = 0; turn < turns; turn++) {
  random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
  const work = random / 2 ** 32 < sharedPart ? sharedTurn : exclusiveTurn;
  if (asynchronous) await runAsync(thread, work);
  else runBlocking(thread, work);
}
thread.leave();
