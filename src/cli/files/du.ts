/** `holdfast du`. */
import type { Volume } from "../../volume/volume.ts";
import { type Job, someOperands, volumeCommand } from "../job.ts";
import { type CommandSpec, JSON_LINES, wholeNumber } from "../usage.ts";
import { humanSize, nameFor, printLine, textOf } from "./lines.ts";
import { type Found, walk } from "./walk.ts";

const SPEC: CommandSpec = {
  name: "du",
  about: "Tells how much room the directories of a volume take, with all below them.",
  usage: ["[OPTIONS] IMAGE[:/PATH]..."],
  completes: "volume path",
  options: [
    ["-s, --summarize", "only what is given itself"],
    ["-a, --all", "files as well"],
    ["-h, --human-readable", "sizes as 1.5K, 20M, not in KiB"],
    ["-b, --bytes", "bytes that files have, not the room that they take"],
    ["-d, --max-depth <n>", "so many levels, at most"],
    JSON_LINES,
  ],
  notes: "A file with several names is counted once.",
  examples: ["holdfast du -sh disk.img", "holdfast du -h --max-depth 1 disk.img:/usr"],
};

const DEPTH_MAX = 1000;

async function du(job: Job): Promise<void> {
  const depth = job.value("max-depth");
  const depthMax = job.has("summarize")
    ? 0
    : depth === null
      ? Infinity
      : wholeNumber("max-depth", depth, 0, DEPTH_MAX);
  const given = job.operands.length === 0 && job.places.session !== null ? ["."] : null;
  /** Files with several names that were counted, by volume. */
  const counted = new Map<Volume, Set<number>>();
  for (const text of given ?? someOperands(job, "an image, or IMAGE:/PATH")) {
    const place = job.places.volume(text, "image");
    const volume = job.attempt(place.shown, () => job.places.mounted(place, "read").volume);
    if (volume === null) continue;
    const seen = counted.get(volume) ?? new Set();
    counted.set(volume, seen);
    const sums: number[] = []; // by depth
    for (const found of walk(job, volume, place, { order: "after" })) {
      await job.breathe();
      const own = amountOf(job, found, seen);
      if (own === null) continue;
      const amount = own + (sums[found.depth + 1] ?? 0);
      sums[found.depth + 1] = 0;
      sums[found.depth] = (sums[found.depth] ?? 0) + amount;
      const isTold = found.stats.isDirectory() || job.has("all") || found.depth === 0;
      if (isTold && found.depth <= depthMax) tell(job, found, amount);
    }
  }
}

/** Null: it was counted by another name. */
function amountOf(job: Job, { stats }: Found, seen: Set<number>): number | null {
  if (stats.nlink > 1 && !stats.isDirectory()) {
    if (seen.has(stats.ino)) return null;
    seen.add(stats.ino);
  }
  return job.has("bytes") ? stats.size : stats.blocks * 512;
}

function tell(job: Job, { shown }: Found, amount: number): void {
  if (job.json) {
    job.terminal.print(JSON.stringify({ path: textOf(shown), bytes: amount }));
    return;
  }
  const size = job.has("human-readable")
    ? humanSize(amount)
    : String(job.has("bytes") ? amount : Math.ceil(amount / 1024));
  printLine(job.terminal, `${size}\t`, nameFor(job.terminal, shown));
}

export const duCommand = volumeCommand(SPEC, du);
