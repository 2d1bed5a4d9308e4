// As a user with no rights: what a fault port can do there, as one line of JSON.
import { readSync, openSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { viewMemory } from "../../../dist/base/libc.js";
import { memoryDevice } from "../../../dist/device/open.js";
import { FaultPort } from "../../../dist/window/fault-port.js";
import { Control } from "./control.mjs";

process.setgid?.(65534);
process.setuid?.(65534);
const port = FaultPort.open();
if ("unavailable" in port) {
  console.log(JSON.stringify(port));
} else {
  const device = memoryDevice(2 ** 20);
  device.copyIn(4096, Uint8Array.of(7));
  const base = port.reserveWindow(2 ** 20);
  const control = new Int32Array(new SharedArrayBuffer(64));
  const pager = new Worker(new URL("./pager.mjs", import.meta.url), {
    workerData: { port: port.handle(), device: device.handle(), base, control, plan: "pages" },
  });
  await new Promise((resolve) => pager.once("message", resolve));
  const view = new Uint8Array(viewMemory(base, 2 ** 20));
  const touched = view[4096];
  let systemCall = "served";
  try {
    readSync(openSync("/dev/zero", "r"), view, 8192, 4096, null);
  } catch (error) {
    systemCall = String(/** @type {NodeJS.ErrnoException} */ (error).code);
  }
  Atomics.store(control, Control.stopPager, 1);
  port.kick();
  await new Promise((resolve) => pager.once("exit", resolve));
  console.log(JSON.stringify({ kernelFaults: port.kernelFaults, touched, systemCall }));
}
