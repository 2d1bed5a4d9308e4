// Attaches a raw device, stores through a window and holds a pin until it is told to end.
import { parentPort, workerData } from "node:worker_threads";
import { attachRaw } from "holdfast";

const raw = attachRaw(workerData.handle);
const window = raw.map({ offset: 2 ** 21, length: 4096 });
window.bytes[1] = 77;
raw.pinSync(0, 4096);
parentPort?.postMessage({ size: raw.size, pins: raw.volume.statistics().pinsHeld });
parentPort?.on("message", () => process.exit(0));
