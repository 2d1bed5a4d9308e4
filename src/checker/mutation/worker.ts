/** A thread of the mutation run: tries mutants on one scenario after another. */
import { parentPort, workerData } from "node:worker_threads";
import { type LaneData, MutationLane } from "./run.ts";

const lane = new MutationLane(workerData as LaneData);

parentPort!.on("message", (job: Parameters<MutationLane["do"]>[0]) => {
  lane.do(job).then(
    () => parentPort!.postMessage({ error: null }),
    (error: unknown) => parentPort!.postMessage({ error: String(error) }),
  );
});
