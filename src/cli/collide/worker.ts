/** A worker thread of a run: all roles at once, each in lanes of its own. */
import { parentPort, workerData } from "node:worker_threads";
import {
  Context,
  Lane,
  type MainMessage,
  type WorkerMessage,
  type WorkerSetup,
} from "./context.ts";
import { cpuLane } from "./cpu-lane.ts";
import { cutterLane } from "./cutters.ts";
import { Files } from "./files.ts";
import {
  fileToPagesLane,
  pagesToFileLane,
  pagesToSocketLane,
  socketToPagesLane,
} from "./io-lanes.ts";
import { LANES } from "./lanes.ts";
import { Loopback } from "./loopback.ts";

const TALLY_EVERY_MS = 250;

function post(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

async function work(context: Context): Promise<void> {
  const files = new Files(context);
  const loopbacks: Loopback[] = [];
  const connect = async (): Promise<Loopback> => {
    const loopback = await Loopback.open();
    loopbacks.push(loopback);
    return loopback;
  };
  const makeStep = {
    fileToPages: async () => fileToPagesLane(files),
    socketToPages: async () => socketToPagesLane(files, await connect()),
    pagesToFile: async () => pagesToFileLane(files),
    pagesToSocket: async () => pagesToSocketLane(files, await connect()),
    cpu: async () => cpuLane(files),
    cutter: async () => cutterLane(files),
  };
  const steps = await Promise.all(LANES.map((role) => makeStep[role]()));
  await Promise.all(steps.map((step, number) => new Lane(context, number).run(step)));
  for (const loopback of loopbacks) loopback.close();
  await files.closeAll();
}

const context = new Context(workerData as WorkerSetup, post);
parentPort?.on("message", (message: MainMessage) => {
  if (message.kind === "explain") context.explain.abort(new Error("nothing moves"));
});
const ticker = setInterval(() => context.postTally(), TALLY_EVERY_MS);
await work(context);
clearInterval(ticker);
context.finish();
parentPort?.close();
