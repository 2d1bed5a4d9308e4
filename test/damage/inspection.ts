// Damaged images inspected in child processes: one that says nothing for too long is killed, and one that
// dies is replaced; either way the image it had is known.

import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { ImageShape } from "./filled-image.ts";
import type { Damaged } from "./mutations.ts";

export interface InspectionReport {
  readonly number: number;
  /** How often each error code came while the image was read, and while it was changed. */
  readonly reading: Readonly<Record<string, number>>;
  readonly changing: Readonly<Record<string, number>>;
  /** Answers that no damage excuses. */
  readonly problems: readonly string[];
  /** The read-only mount was refused. */
  readonly refused: boolean;
}

const INSPECTOR = fileURLToPath(new URL("./workers/inspect.mjs", import.meta.url));
const SILENCE_MS_MAX = 30_000;

/** What a child is sent, beside the damage. */
export interface Job {
  readonly baseImage: string;
  readonly image: string;
  readonly shape: ImageShape;
}

/**
 * One child's run: it reports once when it has read the undamaged image, then for each damaged one, until
 * it is done or gone. Answers how it ended.
 */
function runChild(
  job: Job,
  damaged: readonly Damaged[],
  onReport: (report: InspectionReport) => void,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = fork(INSPECTOR, { serialization: "advanced", stdio: "inherit" });
    let hung = false;
    let ready = false;
    const watch = (): NodeJS.Timeout =>
      setTimeout(() => {
        hung = true;
        child.kill("SIGKILL");
      }, SILENCE_MS_MAX);
    let watchdog = watch();
    child.on("message", (message) => {
      clearTimeout(watchdog);
      watchdog = watch();
      if (ready) onReport(message as InspectionReport);
      ready = true;
    });
    child.on("error", reject);
    child.on("exit", (code, signal) => {
      clearTimeout(watchdog);
      if (!ready) reject(new Error("the undamaged image could not be read"));
      else if (hung) resolve(`hung for ${SILENCE_MS_MAX} ms`);
      else resolve(code === 0 ? "done" : `ended with ${code ?? signal}`);
    });
    child.send({ ...job, damaged });
  });
}

/** Inspects the images one after another, in as many children as it takes. */
async function inspectInTurn(job: Job, damaged: readonly Damaged[]): Promise<InspectionReport[]> {
  const reports: InspectionReport[] = [];
  for (;;) {
    const left = damaged.slice(reports.length);
    if (left.length === 0) return reports;
    const end = await runChild(job, left, (report) => reports.push(report));
    const culprit = damaged[reports.length];
    if (culprit === undefined) continue;
    const problems = [`the process ${end}`];
    reports.push({ number: culprit.number, reading: {}, changing: {}, problems, refused: false });
  }
}

/** Inspects damaged forms of `baseImage` in two processes at once. `scratch` makes names of files. */
export async function inspectAll(
  baseImage: string,
  shape: ImageShape,
  damaged: readonly Damaged[],
  scratch: (name: string) => string,
): Promise<InspectionReport[]> {
  const halves = [0, 1].map((half) =>
    inspectInTurn(
      { baseImage, image: scratch(`damaged-${half}`), shape },
      damaged.filter((_, index) => index % 2 === half),
    ),
  );
  return (await Promise.all(halves)).flat().sort((a, b) => a.number - b.number);
}
