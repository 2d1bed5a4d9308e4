/** The pager's thread: see pager.ts. Loaded by a Worker, never imported. */
import { workerData } from "node:worker_threads";
import { runPager } from "../dax/pager.ts";
import { FaultPort } from "../window/fault-port.ts";
import { assembleAttached } from "./assemble.ts";
import type { VolumeHandle } from "./handle.ts";
import { PAGER } from "./pager.ts";
import { endProcess, endServing, serveAs } from "./service.ts";

const assembled = assembleAttached(workerData as VolumeHandle);
const { core } = assembled;
const { dax, evictor } = core;
const { port } = dax.windows;
core.leavesToOthers = true;
if (evictor !== null) dax.hasEvictor = () => evictor.isToCome();
if (port instanceof FaultPort) {
  try {
    serveAs(PAGER, core.thread, (stopped) => {
      runPager(dax, port, () => stopped() && (evictor?.hasStopped() ?? true));
    });
  } catch (error) {
    endProcess("the pager", error);
  }
}
endServing(assembled);
core.thread.leave();
