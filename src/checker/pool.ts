/** Checks scenarios on worker threads, one job per thread at a time. */
import type { CheckOptions, CheckReport, ScenarioPlace, VariantText } from "./check.ts";
import type { Figures } from "./engine/explore.ts";
import { inLanes } from "./lanes.ts";

/** What one worker is asked: plain data. */
export interface Job {
  readonly module: string;
  readonly name: string;
  readonly variant: VariantText | null;
  readonly options: Omit<CheckOptions, "onProgress" | "signal" | "variant">;
}

export type FromWorker =
  | { readonly kind: "progress"; readonly figures: Figures }
  | { readonly kind: "report"; readonly report: CheckReport }
  | { readonly kind: "error"; readonly message: string };

export interface PoolEvents {
  /** A job has begun, or gone on. */
  onProgress?(job: number, figures: Figures | null): void;
  onReport(job: number, report: CheckReport): void;
  /** The job could not be done: its scenario or variant does not load. */
  onError(job: number, message: string): void;
}

export function jobOf(
  place: ScenarioPlace,
  variant: VariantText | null,
  options: Job["options"],
): Job {
  return { module: place.module.href, name: place.name, variant, options };
}

/** Does all jobs, in order, on `threads` threads. With `signal`, those under way end early. */
export async function runJobs(
  jobs: readonly Job[],
  threads: number,
  events: PoolEvents,
  signal?: AbortSignal,
): Promise<void> {
  await inLanes<Job, FromWorker>(jobs, {
    worker: new URL("pool-worker.js", import.meta.url),
    threads,
    signal,
    onBegin: (job) => events.onProgress?.(job, null),
    onMessage(job, message) {
      if (message.kind === "progress") events.onProgress?.(job, message.figures);
      else if (message.kind === "report") events.onReport(job, message.report);
      else events.onError(job, message.message);
      return message.kind !== "progress";
    },
    onAbort: (worker) => worker.postMessage("stop"),
  });
}
