/** A thread of the mutation run: tries one mutant after another. */
import { parentPort, workerData } from "node:worker_threads";
import { type Mutant, MutationRun, type Verdict } from "./mutation.ts";
import { listScenarios } from "./registry.ts";

const { seconds } = workerData as { readonly seconds: number };
const run = new MutationRun(listScenarios(), seconds);
const ready = run.prepare();

async function work(mutant: Mutant): Promise<Verdict> {
  await ready;
  return await run.try(mutant);
}

parentPort!.on("message", (mutant: Mutant) => {
  void work(mutant).then((verdict) => parentPort!.postMessage(verdict));
});
