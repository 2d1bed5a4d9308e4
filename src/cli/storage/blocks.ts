/** `holdfast blocks`: who owns blocks of a volume. */
import { HoldfastError } from "../../base/errors.ts";
import type { DeviceOwner } from "../../volume/owners.ts";
import type { Mounted } from "../../volume/mount.ts";
import type { VolumePlace } from "../places.ts";
import { type Job, volumeCommand } from "../job.ts";
import { textOf } from "../files/lines.ts";
import { walk } from "../files/walk.ts";
import { formatCount } from "../terminal.ts";
import { type CommandSpec, JSON_LINES, UsageError } from "../usage.ts";

const SPEC: CommandSpec = {
  name: "blocks",
  about: "Tells who owns blocks of a volume: which file, and where in it, or which structure.",
  usage: ["[OPTIONS] IMAGE BLOCK[-BLOCK]..."],
  completes: "image",
  options: [["-b, --bytes", "the numbers are bytes of the volume, not blocks"], JSON_LINES],
  notes: `The format keeps no such list, so all inodes are searched, and all directories for the names of what
is found; of large volumes that takes a while.`,
  examples: [
    "holdfast blocks disk.img 8193",
    "holdfast blocks disk.img 1000-1999 40000",
    "holdfast blocks --bytes disk.img 1048576",
  ],
};

/** Blocks, the last among them. */
interface Range {
  readonly first: number;
  readonly last: number;
}

/** What is told of a run of blocks. */
interface Owned extends Range {
  /** "free" where nobody owns them. */
  readonly use: string;
  readonly ino: number | null;
  /** In the file, in bytes. */
  readonly offset: number | null;
  readonly structure: string | null;
  readonly paths: readonly string[];
}

/** Throws: UsageError. */
function rangeOf(text: string, unit: number): Range {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text);
  if (match === null)
    throw new UsageError(`a block is a number, or two with a dash between, not '${text}'`);
  const [from, to] = [Number(match[1]), Number(match[2] ?? match[1])];
  if (to < from) throw new UsageError(`'${text}' ends before it begins`);
  return { first: Math.floor(from / unit), last: Math.floor(to / unit) };
}

async function blocks(job: Job): Promise<void> {
  const isInShell = job.places.session !== null;
  const [image, ...numbers] = isInShell ? ["/", ...job.operands] : job.operands;
  if (image === undefined || numbers.length === 0) {
    throw new UsageError(isInShell ? "give blocks" : "give an image, and blocks");
  }
  for (const text of numbers) rangeOf(text, 1);
  const place = job.places.volume(image, "image");
  const mounted = job.places.mounted(place, "read");
  const { blockSize } = mounted.core.driver;
  const unit = job.has("bytes") ? blockSize : 1;
  const found: Owned[] = [];
  for (const text of numbers) found.push(...(await ownersOf(job, mounted, rangeOf(text, unit))));
  const names = await namesOf(job, mounted, place, new Set(found.map(({ ino }) => ino)));
  for (const each of found) {
    const paths = each.ino === null ? [] : (names.get(each.ino) ?? []);
    if (job.json) job.terminal.print(JSON.stringify({ ...each, paths }));
    else job.terminal.print(lineOf({ ...each, paths }, blockSize));
  }
}

async function ownersOf(job: Job, { volume, core }: Mounted, range: Range): Promise<Owned[]> {
  const { blockSize } = core.driver;
  const blocks = Math.floor(volume.size / blockSize);
  if (range.last >= blocks) {
    throw new HoldfastError(
      "EFAULT",
      `the volume has ${blocks} blocks; there is no block ${range.last}`,
    );
  }
  const deviceOffset = range.first * blockSize;
  const length = (range.last - range.first + 1) * blockSize;
  const owners = await volume.blockOwners({ deviceOffset, length }, { signal: job.signal });
  const owned = owners
    .map((owner) => within(owner, range, blockSize))
    .filter(({ first, last }) => first <= last);
  return withFree(owned, range);
}

/** Cut to the blocks that were asked for. */
function within(owner: DeviceOwner, range: Range, blockSize: number): Owned {
  const { deviceOffset, length, use, ino, offset, structure } = owner;
  const start = deviceOffset / blockSize;
  const first = Math.max(start, range.first);
  const last = Math.min(start + Math.ceil(length / blockSize) - 1, range.last);
  const skipped = (first - start) * blockSize;
  return {
    first,
    last,
    use,
    ino,
    offset: offset === null ? null : offset + skipped,
    structure,
    paths: [],
  };
}

/** With the runs between that nobody owns. */
function withFree(owned: readonly Owned[], { first, last }: Range): Owned[] {
  const free = (from: number, to: number): Owned[] =>
    from > to
      ? []
      : [
          {
            first: from,
            last: to,
            use: "free",
            ino: null,
            offset: null,
            structure: null,
            paths: [],
          },
        ];
  const all: Owned[] = [];
  let next = first;
  for (const each of owned) {
    all.push(...free(next, each.first - 1), each);
    next = Math.max(next, each.last + 1);
  }
  return [...all, ...free(next, last)];
}

/** All names of these inodes, with the directories searched only where there are any. */
async function namesOf(
  job: Job,
  { volume }: Mounted,
  place: VolumePlace,
  inos: ReadonlySet<number | null>,
): Promise<Map<number, string[]>> {
  const names = new Map<number, string[]>();
  if ([...inos].every((ino) => ino === null)) return names;
  for (const { path, stats } of walk(job, volume, place)) {
    await job.breathe();
    if (!inos.has(stats.ino)) continue;
    names.set(stats.ino, [...(names.get(stats.ino) ?? []), textOf(path)]);
  }
  return names;
}

function lineOf(
  { first, last, use, ino, offset, structure, paths }: Owned,
  blockSize: number,
): string {
  const range = first === last ? String(first) : `${first}-${last}`;
  if (use === "free") return `${range}: free`;
  if (ino === null) return `${range}: ${structure ?? use}`;
  const what = structure ?? `block ${formatCount(offset! / blockSize)} on of inode ${ino}`;
  if (paths.length > 0) return `${range}: ${what}, ${paths.join(", ")}`;
  return structure === null ? `${range}: ${what}, which has no name` : `${range}: ${what}`;
}

export const blocksCommand = volumeCommand(SPEC, blocks);
