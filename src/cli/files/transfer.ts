/** What `cp` and `tar` share: a source is read, and written somewhere, with a bar and until Ctrl-C. */
import { surveyOf } from "../../volume/mkfs/survey.ts";
import type { MkfsProgress } from "../../volume/mkfs/options.ts";
import type { Mounted } from "../../volume/mount.ts";
import type { ReadOptions, Source } from "../../volume/trees/source.ts";
import { DirectorySource } from "../../volume/trees/source-directory.ts";
import { VolumeSource } from "../../volume/trees/source-volume.ts";
import { isOfWorld, type Job } from "../job.ts";
import type { Place } from "../places.ts";
import { Progress } from "../progress.ts";
import { formatBytes } from "../terminal.ts";

/** A place's tree. Throws: ENOENT, EACCES. */
export function sourceAt(job: Job, place: Place, options: ReadOptions): Source {
  if (place.kind === "host") return new DirectorySource(place.path, options);
  return new VolumeSource(job.places.mounted(place, "read"), place.path, options);
}

/** What is to be said of a path of a source that cannot be copied. */
export function complainer(job: Job, shown: string): (error: unknown, path: string) => void {
  return (error, path) => {
    if (!isOfWorld(error)) throw error;
    job.complain(path === "" ? shown : `${shown.replace(/\/+$/, "")}/${path}`, error);
  };
}

/** Bytes of files, where a bar shows how far it is; else nobody asks. */
export function bytesOfAll(job: Job, makeSource: () => Source): number {
  if (!job.terminal.isLive) return 0;
  using source = makeSource();
  return surveyOf(source).bytes;
}

/** Goes through the steps. Throws: AbortError after Ctrl-C, with the file that was under way left short. */
export async function runSteps<T>(job: Job, steps: Generator<MkfsProgress, T>): Promise<T> {
  using bar = new Progress(job.terminal);
  try {
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
      const { done, total, path } = step.value;
      if (total > 0) bar.update("copying", done, total, `${formatBytes(done)}  ${path}`);
      await job.breathe();
    }
  } finally {
    steps.return(undefined as never);
  }
}

/** Seconds. */
export function now(): number {
  return Math.floor(Date.now() / 1000);
}

/** The names of a path in a volume, which has no links in it. */
export function namesIn(mounted: Mounted, path: string): Uint8Array[] {
  const real = mounted.volume.fs.realpathSync(path, { encoding: "buffer" });
  return splitNames(real);
}

export function splitNames(path: Uint8Array): Uint8Array[] {
  const names: Uint8Array[] = [];
  let start = 0;
  for (let at = 0; at <= path.length; at++) {
    if (at < path.length && path[at] !== 0x2f) continue;
    if (at > start) names.push(path.subarray(start, at));
    start = at + 1;
  }
  return names;
}
