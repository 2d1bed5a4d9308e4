/** `holdfast df`. */
import { type Job, someOperands, volumeCommand } from "../job.ts";
import { type CommandSpec, JSON_LINES } from "../usage.ts";
import { humanSize } from "./lines.ts";

const SPEC: CommandSpec = {
  name: "df",
  about: "Tells how much room volumes have, and how much of it is used.",
  usage: ["[OPTIONS] IMAGE..."],
  completes: "image",
  options: [
    ["-h, --human-readable", "sizes as 1.5K, 20M, not in KiB"],
    ["-i, --inodes", "inodes, not room"],
    JSON_LINES,
  ],
  examples: [
    "holdfast df -h disk.img",
    "holdfast df --json *.img | jq -r '[.image, .free] | @tsv'",
  ],
};

const HEADINGS = {
  room: ["Volume", "Type", "1K-blocks", "Used", "Available", "Use%"],
  human: ["Volume", "Type", "Size", "Used", "Avail", "Use%"],
  inodes: ["Volume", "Type", "Inodes", "IUsed", "IFree", "IUse%"],
};

function df(job: Job): void {
  const { session } = job.places;
  const images = session === null ? someOperands(job, "an image file or a block device") : ["/"];
  const rows: string[][] = [];
  for (const text of images) {
    const place = job.places.volume(text, "image");
    const space = job.attempt(place.shown, () => {
      const { volume } = job.places.mounted(place, "read");
      return { ...volume.statfsSync(), type: volume.type };
    });
    if (space === null) continue;
    const { type, bsize, blocks, bfree, bavail, files, ffree } = space;
    if (job.json) {
      const room = { size: blocks * bsize, free: bfree * bsize, available: bavail * bsize };
      const facts = { image: place.image, type, ...room, blockSize: bsize, inodes: files };
      job.terminal.print(JSON.stringify({ ...facts, inodesFree: ffree }));
    } else if (job.has("inodes")) {
      rows.push(row(place.image, type, [files, files - ffree, ffree], String));
    } else {
      const amounts = [blocks, blocks - bfree, bavail].map((count) => count * bsize);
      const shown = job.has("human-readable")
        ? humanSize
        : (bytes: number): string => String(Math.ceil(bytes / 1024));
      rows.push(row(place.image, type, amounts, shown));
    }
  }
  if (rows.length === 0) return;
  const which = job.has("inodes") ? "inodes" : job.has("human-readable") ? "human" : "room";
  const table = [HEADINGS[which], ...rows];
  const widths = table[0]!.map((_, at) => Math.max(...table.map((each) => each[at]!.length)));
  for (const each of table) {
    const cells = each.map((cell, at) =>
      at < 2 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!),
    );
    job.terminal.print(cells.join(" "));
  }
}

/** The share is of what anybody may use, rounded up, as df has it. */
function row(
  image: string,
  type: string,
  [total, used, free]: readonly number[],
  shown: (amount: number) => string,
): string[] {
  const usable = used! + free!;
  const share = usable === 0 ? "-" : `${Math.ceil((used! / usable) * 100)}%`;
  return [image, type, shown(total!), shown(used!), shown(free!), share];
}

export const dfCommand = volumeCommand(SPEC, df);
