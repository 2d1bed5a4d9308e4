// A worker that leases a range, and returns the lease as soon as it is recalled; then it asks for it again.
// It answers messages, too, which is what a recall by hand would be.

import { parentPort, workerData } from "node:worker_threads";
import { attach } from "holdfast";

/** @type {{ handle: import("holdfast").VolumeHandle, path: string, offset: number, length: number, pins: boolean, control: Int32Array }} */
const { handle, path, offset, length, pins, control } = workerData;
const port = /** @type {import("node:worker_threads").MessagePort} */ (parentPort);
const volume = attach(handle);
const file = volume.openSync(path, "r+");

async function hold() {
  let recall = () => {};
  const recalled = new Promise((resolve) => {
    recall = () => resolve(null);
  });
  const lease = await file.lease({ offset, length, kind: "exclusive", onRecall: recall });
  // At the end the lease may be recalled before there is a pin.
  const pin = pins ? pinUnder(lease) : null;
  await recalled;
  pin?.release();
  lease.release();
}

function pinUnder(/** @type {import("holdfast").FileLease} */ lease) {
  try {
    return file.pinSync(offset, length, { write: true, longTerm: true, lease });
  } catch (error) {
    if (/** @type {{ code?: string }} */ (error).code === "EBUSY") return null;
    throw error;
  }
}

port.on("message", (message) => port.postMessage(message));
port.postMessage("ready");
while (Atomics.load(control, 0) === 0) await hold();
file.closeSync();
volume.closeSync();
port.close();
