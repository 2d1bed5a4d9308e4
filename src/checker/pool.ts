/** Checks scenarios on worker threads, one job per thread at a time. */
import type { CheckOptions, CheckReport, ScenarioPlace, VariantText } from "./check.ts";
import type { Figures } from "./engine/explore.ts";
import { makeShares } from "./engine/shares.ts";
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

/**
 * Does all jobs, in order, on `threads` threads; jobs that are fewer than these share them. With
 * `signal`, those under way end early.
 */
export async function runJobs(
  jobs: readonly Job[],
  threads: number,
  events: PoolEvents,
  signal?: AbortSignal,
): Promise<void> {
  const isReplay = jobs.some(({ options }) => options.replay !== undefined);
  const parts = isReplay ? 1 : Math.max(1, Math.floor(threads / jobs.length));
  const shared = jobs.flatMap((job) => partsOfJob(job, parts));
  const collected = jobs.map((): CheckReport[] => []);
  await inLanes<Job, FromWorker>(shared, {
    worker: new URL("pool-worker.js", import.meta.url),
    threads,
    signal,
    onBegin: (part) => events.onProgress?.(jobOfPart(part), null),
    onMessage(part, message) {
      const job = jobOfPart(part);
      if (message.kind === "progress") events.onProgress?.(job, message.figures);
      else if (message.kind === "error") {
        // All parts of a job fail alike.
        if (part === job * parts) events.onError(job, message.message);
      } else {
        collected[job]!.push(message.report);
        if (collected[job]!.length === parts) events.onReport(job, merged(collected[job]!));
      }
      return message.kind !== "progress";
    },
    onAbort: (worker) => worker.postMessage("stop"),
  });

  function jobOfPart(part: number): number {
    return Math.floor(part / parts);
  }
}

/** The same job, for so many threads. */
function partsOfJob(job: Job, parts: number): Job[] {
  if (parts === 1) return [job];
  return makeShares(parts).map((share) => ({ ...job, options: { ...job.options, share } }));
}

function merged(reports: readonly CheckReport[]): CheckReport {
  const sum = (value: (report: CheckReport) => number): number =>
    reports.reduce((total, report) => total + value(report), 0);
  return {
    ...reports[0]!,
    schedules: sum(({ schedules }) => schedules),
    redundant: sum(({ redundant }) => redundant),
    turns: sum(({ turns }) => turns),
    contendedWords: Math.max(...reports.map(({ contendedWords }) => contendedWords)),
    seconds: Math.max(...reports.map(({ seconds }) => seconds)),
    complete: reports.every(({ complete }) => complete),
    ended: reports.every(({ ended }) => ended),
    story: reports.find(({ story }) => story !== null)?.story ?? null,
  };
}
