/** A thread of the pool: does one job after another. */
import { parentPort } from "node:worker_threads";
import { Checked } from "./check.ts";
import type { FromWorker, Job } from "./pool.ts";

let stopped: AbortController | null = null;

function tell(message: FromWorker): void {
  parentPort!.postMessage(message);
}

async function work(job: Job): Promise<void> {
  stopped = new AbortController();
  try {
    const checked = await Checked.load(
      { module: new URL(job.module), name: job.name },
      job.variant,
    );
    const report = await checked.check({
      ...job.options,
      signal: stopped.signal,
      onProgress: (figures) => tell({ kind: "progress", figures }),
    });
    tell({ kind: "report", report });
  } catch (error) {
    tell({ kind: "error", message: error instanceof Error ? error.message : String(error) });
  }
}

parentPort!.on("message", (message: Job | "stop") => {
  if (message === "stop") stopped?.abort();
  else void work(message);
});
