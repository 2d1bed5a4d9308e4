// Attaches to a device and a table of segments that another thread shares, and copies a byte.
import { parentPort, workerData } from "node:worker_threads";
import { attachDevice } from "../../../dist/device/device.js";

/** @type {BigInt64Array} */
const addresses = workerData.addresses;

/** A table in shared memory, as the volume has one. */
const segments = {
  /** @param {number} index */
  get: (index) => Number(Atomics.load(addresses, index)),
  /** @param {number} index @param {number} address */
  publish(index, address) {
    const present = Number(Atomics.compareExchange(addresses, index, 0n, BigInt(address)));
    return present === 0 ? address : present;
  },
};

const device = attachDevice(
  workerData.device,
  /** @type {import("../../../dist/device/segments.js").SegmentTable} */ (segments),
);
const { from, to } = workerData;
const byte = new Uint8Array(1);
device.copyOut(from, byte);
device.copyIn(to, byte);
device.close();
parentPort?.postMessage("done");
