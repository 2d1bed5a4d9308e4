// A thread that attaches a volume and runs the functions it is sent, as text, with (volume, kept, ...args).
import { parentPort, workerData } from "node:worker_threads";
import { attach } from "holdfast";

const port = /** @type {import("node:worker_threads").MessagePort} */ (parentPort);
const volume = attach(workerData.handle);
/** What the functions keep between calls. @type {Record<string, unknown>} */
const kept = {};

port.on("message", async ({ id, code, args }) => {
  try {
    const run = new Function(`return (${code});`)();
    port.postMessage({ id, value: await run(volume, kept, ...args) });
  } catch (thrown) {
    const error = /** @type {Error & { code?: string }} */ (thrown);
    port.postMessage({
      id,
      error: { code: error.code, message: error.message, stack: error.stack },
    });
  }
});
port.postMessage({ id: 0 });
