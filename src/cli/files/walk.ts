/** Going through the directories of a volume, in the order of the names' bytes. */
import type { DirectoryEntry, Stats } from "../../volume/stats.ts";
import type { Volume } from "../../volume/volume.ts";
import type { Job } from "../job.ts";
import type { VolumePlace } from "../places.ts";

const SLASH = 0x2f;

/** A path one name longer. */
export function below(path: Uint8Array, name: Uint8Array): Buffer {
  const slash = path.at(-1) === SLASH ? [] : [Buffer.of(SLASH)];
  return Buffer.concat([path, ...slash, name]);
}

/** The last name of a path; of the root "/". */
export function nameOf(path: Uint8Array): Buffer {
  let end = path.length;
  while (end > 1 && path[end - 1] === SLASH) end--;
  const start = Buffer.from(path.subarray(0, end)).lastIndexOf(SLASH) + 1;
  return Buffer.from(path.subarray(start === end ? 0 : start, end));
}

export function sortedEntries(volume: Volume, path: Uint8Array): DirectoryEntry[] {
  return volume
    .readdirSync(path, { withFileTypes: true })
    .sort((a, b) => Buffer.compare(a.nameBytes, b.nameBytes));
}

/** A place as it was given; of an image alone its root, so that names can follow. */
export function shownOf({ shown, image }: VolumePlace): Buffer {
  return Buffer.from(shown === image ? `${image}:/` : shown);
}

export interface Found {
  /** In the volume. */
  readonly path: Uint8Array;
  /** As the command shows it: with what was given. */
  readonly shown: Uint8Array;
  /** 0: what was given itself. */
  readonly depth: number;
  readonly stats: Stats;
}

/**
 * A place and all below it; directories before what is in them, or after it. What cannot be read is complained of and
 * left out.
 */
export function* walk(
  job: Job,
  volume: Volume,
  place: VolumePlace,
  { order = "before", depthMax = Infinity }: { order?: "before" | "after"; depthMax?: number } = {},
): Generator<Found, void> {
  yield* walkFrom(job, volume, Buffer.from(place.path), shownOf(place), 0, order, depthMax);
}

function* walkFrom(
  job: Job,
  volume: Volume,
  path: Uint8Array,
  shown: Uint8Array,
  depth: number,
  order: "before" | "after",
  depthMax: number,
): Generator<Found, void> {
  const text = Buffer.from(shown).toString("utf8");
  const stats = job.attempt(text, () => volume.lstatSync(path));
  if (stats === null) return;
  const found = { path, shown, depth, stats };
  if (order === "before") yield found;
  if (stats.isDirectory() && depth < depthMax) {
    for (const { nameBytes } of job.attempt(text, () => sortedEntries(volume, path)) ?? []) {
      const under = below(shown, nameBytes);
      yield* walkFrom(job, volume, below(path, nameBytes), under, depth + 1, order, depthMax);
    }
  }
  if (order === "after") yield found;
}
