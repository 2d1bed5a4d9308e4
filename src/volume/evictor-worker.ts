/** The evicting thread: see pager.ts. Loaded by a Worker, never imported. */
import { workerData } from "node:worker_threads";
import { runEvictor } from "../dax/evictor.ts";
import { assembleAttached } from "./assemble.ts";
import type { VolumeHandle } from "./handle.ts";
import { EVICTOR } from "./pager.ts";
import { endProcess, endServing, serveAs } from "./service.ts";

const assembled = assembleAttached(workerData as VolumeHandle);
const { core } = assembled;
core.leavesToOthers = true;
try {
  serveAs(EVICTOR, core.thread, (stopped) => {
    runEvictor(core.dax, stopped);
    // Before the place is given up: the pager, which is this thread's parent, ends it then.
    endServing(assembled);
  });
} catch (error) {
  endProcess("the evicting thread", error);
}
core.thread.leave();
