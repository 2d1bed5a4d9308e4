// A thread that runs what it is sent, and records what it stores.

import { workerData } from "node:worker_threads";
import { Device } from "holdfast/device";
import { recordDevice } from "./recording.mjs";

Object.assign(globalThis, { recorded: recordDevice(Device, workerData.image).events });
await import("../../volume/workers/runner.mjs");
