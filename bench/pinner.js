// A worker that saturates a page with pins: it pins, holds for a while, releases, and begins again at
// once, until it is told to stop. It says how long its longest pin was held.

import { parentPort, workerData } from "node:worker_threads";
import { attach } from "holdfast";

/** @type {{ handle: import("holdfast").VolumeHandle, path: string, offset: number, length: number, holdMs: number, control: Int32Array }} */
const { handle, path, offset, length, holdMs, control } = workerData;
const port = /** @type {import("node:worker_threads").MessagePort} */ (parentPort);
const volume = attach(handle);
const file = volume.openSync(path, "r+");
const never = new Int32Array(new SharedArrayBuffer(4));
let longestMs = 0;
let pins = 0;
port.postMessage(null);
while (Atomics.load(control, 0) === 0) {
  const pin = file.pinSync(offset, length, { write: true });
  const start = performance.now();
  if (holdMs > 0) Atomics.wait(never, 0, 0, holdMs);
  pin.release();
  longestMs = Math.max(longestMs, performance.now() - start);
  pins++;
}
file.closeSync();
volume.closeSync();
port.postMessage({ longestMs, pins });
