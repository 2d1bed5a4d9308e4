/** Checks scenarios on worker threads, one job per thread at a time. */
import { Worker } from "node:worker_threads";
import type { CheckOptions, CheckReport, ScenarioPlace, VariantText } from "./check.ts";
import type { Figures } from "./engine/explore.ts";

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
  let next = 0;
  const lane = async (): Promise<void> => {
    const worker = new Worker(new URL("pool-worker.js", import.meta.url));
    const stop = (): void => worker.postMessage("stop");
    signal?.addEventListener("abort", stop);
    try {
      while (next < jobs.length && !signal?.aborted) {
        const index = next++;
        events.onProgress?.(index, null);
        await one(worker, jobs[index]!, index, events);
      }
    } catch (error) {
      next = jobs.length;
      throw error;
    } finally {
      signal?.removeEventListener("abort", stop);
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: Math.min(threads, jobs.length) }, lane));
}

function one(worker: Worker, job: Job, index: number, events: PoolEvents): Promise<void> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: FromWorker): void => {
      if (message.kind === "progress") {
        events.onProgress?.(index, message.figures);
        return;
      }
      worker.off("message", onMessage);
      worker.off("error", reject);
      try {
        if (message.kind === "report") events.onReport(index, message.report);
        else events.onError(index, message.message);
        resolve();
      } catch (error) {
        reject(error);
      }
    };
    worker.on("message", onMessage);
    worker.once("error", reject);
    worker.postMessage(job);
  });
}
