// Reads fault messages and answers them: page n of the window is page n of the device, plus the
// generation when the plan is "generations". Holes get guarded zeroes until they are stored to.
import { parentPort, workerData } from "node:worker_threads";
import { LocalSegmentTable } from "../../../dist/device/segments.js";
import { attachDevice } from "../../../dist/device/device.js";
import { FaultPort } from "../../../dist/window/fault-port.js";
import { Control, GENERATIONS } from "./control.mjs";

const { base, plan } = workerData;
/** @type {Int32Array} */
const control = workerData.control;
const port = FaultPort.attach(workerData.port);
const device = attachDevice(workerData.device, new LocalSegmentTable(64));

/** @type {import("../../../dist/window/userfaultfd.js").FaultHandler} */
function onFault(address, write, writeProtected) {
  Atomics.add(control, writeProtected ? Control.guardedFaults : Control.faults, 1);
  const page = (address - base) / 4096;
  if (plan === "holes" && !write) {
    port.showZeroProtected(address, 4096);
  } else if (plan === "read-only holes") {
    port.showZero(address, 4096);
  } else if (plan === "lost") {
    port.showLost(address, 4096);
  } else if (plan === "generations") {
    showGeneration(address);
  } else {
    port.show(address, device, page * 4096, 4096, "shared");
  }
}

/**
 * The generation is announced before a revocation begins, and the revoker waits for this thread: so
 * what is shown when this function returns is right, or is about to be revoked.
 * @param {import("../../../dist/base/quantities.js").Address} address
 */
function showGeneration(address) {
  let generation;
  do {
    generation = Atomics.load(control, Control.generation);
    port.show(address, device, (generation % GENERATIONS) * 4096, 4096, "shared");
  } while (generation !== Atomics.load(control, Control.generation));
}

parentPort?.postMessage("ready");
while (Atomics.load(control, Control.stopPager) === 0) {
  port.waitForEvents(-1);
  for (;;) {
    const count = port.readEvents(onFault);
    Atomics.add(control, Control.messages, count);
    if (count === 0) break;
  }
}
port.close();
device.close();
