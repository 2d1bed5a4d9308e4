// Uses a copied file in another thread: reads it, and stores to it through a window, a pin and a call.
import { parentPort, workerData } from "node:worker_threads";
import { attach } from "holdfast";

const PAGE = 4096;
const volume = attach(workerData);
const file = volume.openSync("/file", "r+");
const window = file.map();
const pin = file.pinSync(PAGE, PAGE, { write: true });
const pinned = pin.buffers[0] ?? new Uint8Array(1);
const target = new Uint8Array(1);
file.readSync(target, 2 * PAGE);
parentPort?.postMessage([window.bytes[0], pinned[0], target[0]]);
window.bytes[0] = 2;
pinned[0] = 3;
file.writeSync(Uint8Array.of(4), 2 * PAGE);
pin.release();
window.close();
file.closeSync();
volume.closeSync();
