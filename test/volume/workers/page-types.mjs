// Uses a raw device as it is told: pins a page, releases it, registers a page type.
import { parentPort, workerData } from "node:worker_threads";
import { attachRaw } from "holdfast";

const raw = attachRaw(workerData.handle);
/** @type {import("holdfast").FilePin | null} */
let pin = null;
parentPort?.on("message", (message) => {
  if (message.pin !== undefined) pin = raw.pinSync(message.pin, 4096);
  if (message.release) pin?.release();
  if (message.register !== undefined) raw.registerPageType(message.register, { onIdle: () => {} });
  parentPort?.postMessage("done");
});
parentPort?.postMessage("ready");
