// A thread that runs what it is sent, and records what it stores. What it runs finds the events, and the clock.

import { workerData } from "node:worker_threads";
import { Device } from "holdfast/device";
import { recordDevice, tick } from "./recording.mjs";

const { image, clock } = workerData;
const { events } = recordDevice(Device, image, clock);
Object.assign(globalThis, { recorded: { events, tick: () => tick(clock) } });
await import("../../volume/workers/runner.mjs");
