/** The pager's thread: see pager.ts. Loaded by a Worker, never imported. */
import { writeSync } from "node:fs";
import { workerData } from "node:worker_threads";
import { runPager } from "../dax/pager.ts";
import { FaultPort } from "../window/fault-port.ts";
import { assembleAttached } from "./assemble.ts";
import type { VolumeHandle } from "./handle.ts";
import { servePager } from "./pager.ts";

const { core, device } = assembleAttached(workerData as VolumeHandle);
const { port } = core.dax.windows;
if (port instanceof FaultPort) {
  try {
    servePager(core.thread, (stopped) => runPager(core.dax, port, stopped));
  } catch (error) {
    // Whoever touches a window would wait in the kernel for ever, this thread's parent perhaps among
    // them. So the process ends, as by any error that nobody catches; the volume stays marked in use.
    writeSync(2, `holdfast: the pager broke: ${(error as Error).stack}\n`);
    process.kill(process.pid, "SIGABRT");
  }
}
port?.close();
core.dax.pageCache?.memory.close();
device.close();
core.thread.leave();
