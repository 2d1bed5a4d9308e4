/** The pager's thread: see pager.ts. Loaded by a Worker, never imported. */
import { writeSync } from "node:fs";
import { workerData } from "node:worker_threads";
import { runPager } from "../dax/pager.ts";
import { FaultPort } from "../window/fault-port.ts";
import { assembleAttached } from "./assemble.ts";
import type { VolumeHandle } from "./handle.ts";
import { notePagerFailure, servePager } from "./pager.ts";

const { core, device } = assembleAttached(workerData as VolumeHandle);
const { port } = core.dax.windows;
try {
  if (port instanceof FaultPort) {
    servePager(core.thread, (stopped) => runPager(core.dax, port, stopped));
  }
} catch (error) {
  writeSync(2, `holdfast: the pager broke: ${(error as Error).stack}\n`);
  notePagerFailure(core.thread);
} finally {
  port?.close();
  device.close();
  core.thread.leave();
}
