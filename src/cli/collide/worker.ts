/** A worker thread of a run: all activities at once, each in lanes of its own. */
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
import { longTermLane } from "./long-term-lane.ts";
import { Loopback } from "./loopback.ts";
import { scrubberLane } from "./scrubber-lane.ts";
import { surveyVolume } from "./survey.ts";

const TALLY_EVERY_MS = 250;

function post(message: WorkerMessage): void {
  parentPort?.postMessage(message);
}

async function work(context: Context): Promise<void> {
  const files = new Files(context);
  using _told = context.volume.failure.onFailure(() => context.tally.countTrouble("lossesTold"));
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
    longTerm: async () => longTermLane(files),
    scrubber: async () => scrubberLane(files),
  };
  const roles = LANES[context.setup.mix];
  const steps = await Promise.all(roles.map((role) => makeStep[role]()));
  await Promise.all(steps.map((step, number) => new Lane(context, number).run(step)));
  for (const loopback of loopbacks) loopback.close();
  const last = new Lane(context, 0);
  last.enter("closing");
  await files.closeAll();
  last.enter("idle");
}

/** The check after the run: one thread, one lane. */
async function survey(context: Context, when: string): Promise<void> {
  const lane = new Lane(context, 0);
  try {
    context.postSurvey(await surveyVolume(lane, when));
  } catch (error) {
    lane.reportFailure(error);
  }
  lane.enter("idle");
}

const context = new Context(workerData as WorkerSetup, post);
parentPort?.on("message", (message: MainMessage) => {
  if (message.kind === "explain") context.explain.abort(new Error("nothing moves"));
});
const ticker = setInterval(() => context.postTally(), TALLY_EVERY_MS);
const { role } = context.setup;
await ("survey" in role ? survey(context, role.survey) : work(context));
clearInterval(ticker);
context.finish();
parentPort?.close();
