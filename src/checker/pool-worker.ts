/** A thread of the pool: does one job after another. */
import { parentPort } from "node:worker_threads";
import { Checked } from "./check.ts";
import type { FromWorker, Job } from "./pool.ts";

let stopped: AbortController | null = null;
/** The last scenario, and the module and variant that its program is linked of. */
let last: { readonly program: string; readonly checked: Checked } | null = null;

function tell(message: FromWorker): void {
  parentPort!.postMessage(message);
}

/** Scenarios of a module come one after another, so their program is linked and compiled once. */
async function load({ module, name, variant }: Job): Promise<Checked> {
  const place = { module: new URL(module), name };
  const program = `${module} ${variant?.name ?? ""}`;
  const known = last?.program === program ? last.checked : null;
  last = null;
  const checked = known?.another(place) ?? (await Checked.load(place, variant));
  last = { program, checked };
  return checked;
}

async function work(job: Job): Promise<void> {
  stopped = new AbortController();
  try {
    const checked = await load(job);
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
