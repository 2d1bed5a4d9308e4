// Loads one word of a window without end and checks that it is never zero and never stale.
import { parentPort, workerData } from "node:worker_threads";
import { viewMemory } from "../../../dist/base/libc.js";
import { Control, GENERATIONS } from "./control.mjs";

/** @type {Int32Array} */
const control = workerData.control;
const words = new Int32Array(viewMemory(workerData.base, 4096));

parentPort?.postMessage("ready");
while (Atomics.load(control, Control.stop) === 0) {
  for (let turn = 0; turn < 100; turn++) {
    const earliest = Atomics.load(control, Control.settled);
    // Each page of the device begins with its own number plus one.
    const found = Number(words[0]) - 1;
    const latest = Atomics.load(control, Control.generation);
    const age = (((found - earliest) % GENERATIONS) + GENERATIONS) % GENERATIONS;
    if (found < 0 || age > latest - earliest) Atomics.add(control, Control.wrong, 1);
    Atomics.add(control, Control.touches, 1);
  }
}
