/** `holdfast map`: which blocks a file has, and what that is good for. */
import { HUGE_SIZE, PAGE_SIZE } from "../../base/quantities.ts";
import { HoldfastError } from "../../base/errors.ts";
import type { FileExtent, Volume } from "../../index.ts";
import { type Job, someOperands, volumeCommand } from "../job.ts";
import { formatBytes, formatCount, plural, type Style, type Terminal } from "../terminal.ts";
import { type CommandSpec, JSON_LINES } from "../usage.ts";

const SPEC: CommandSpec = {
  name: "map",
  about: `Tells which blocks of the volume a file has, how contiguous they are, and which parts of 2 MiB can be
mapped as huge pages; and draws it.`,
  usage: ["[OPTIONS] IMAGE:/PATH..."],
  completes: "volume path",
  options: [["-a, --all", "all pieces; else the first 16"], JSON_LINES],
  notes: `A part of 2 MiB of the file can be a huge page where it lies in one piece whose place on the device is a
multiple of 2 MiB, of volumes with blocks of 4 KiB. The drawing goes from the file's start to its end.`,
  examples: [
    "holdfast map disk.img:/var/lib/data.bin",
    "holdfast map --json disk.img:/boot/vmlinuz | jq .extents",
  ],
};

const SHOWN_MAX = 16;
const DRAWING_WIDTH_MAX = 64;

type Kind = "huge" | "mapped" | "unwritten" | "hole";

const SIGNS: Readonly<Record<Kind, readonly [sign: string, style: Style | null, meaning: string]>> =
  {
    huge: ["█", "green", "can be huge pages"],
    mapped: ["▓", null, "mapped"],
    unwritten: ["░", "yellow", "allocated, not written"],
    hole: ["·", "dim", "hole"],
  };

interface FileMap {
  readonly size: number;
  readonly blockSize: number;
  readonly extents: readonly FileExtent[];
  /** Bytes in all of them. */
  readonly allocated: number;
  /** Parts of 2 MiB that can be huge pages, and how many there are in all. */
  readonly hugeParts: number;
  readonly parts: number;
}

function map(job: Job): void {
  for (const [at, text] of someOperands(job, "a file, as in disk.img:/data").entries()) {
    const place = job.places.volume(text);
    job.attempt(place.shown, () => {
      const { volume, core } = job.places.mounted(place, "read");
      const stats = volume.statSync(place.path);
      if (!stats.isFile()) throw new HoldfastError("EINVAL", `is a ${stats.type}, and no file`);
      if (!volume.readOnly) volume.syncSync();
      const found = mapOf(extentsOf(volume, place.path), stats.size, core.driver.blockSize);
      if (job.json) {
        job.terminal.print(JSON.stringify({ path: place.shown, ino: stats.ino, ...found }));
        return;
      }
      if (at > 0) job.terminal.print();
      print(job, place.shown, found);
    });
  }
}

function extentsOf(volume: Volume, path: string): FileExtent[] {
  using file = volume.openSync(path);
  return file.extentsSync();
}

function mapOf(extents: readonly FileExtent[], size: number, blockSize: number): FileMap {
  const parts = Math.ceil(size / HUGE_SIZE);
  let hugeParts = 0;
  for (const extent of extents) hugeParts += hugeIn(extent, { size, blockSize }).count;
  const allocated = extents.reduce(
    (sum, { length, deviceOffset }) => sum + (deviceOffset === null ? 0 : length),
    0,
  );
  return { size, blockSize, extents, allocated, hugeParts, parts };
}

/** The parts of 2 MiB of the file inside a piece that can be huge pages: from which byte on, and how many. */
function hugeIn(
  { offset, length, deviceOffset }: FileExtent,
  { size, blockSize }: Pick<FileMap, "size" | "blockSize">,
): { readonly from: number; readonly count: number } {
  if (blockSize !== PAGE_SIZE) return { from: 0, count: 0 }; // it is reached through a page cache
  if (deviceOffset === null || (deviceOffset - offset) % HUGE_SIZE !== 0)
    return { from: 0, count: 0 };
  const from = Math.ceil(offset / HUGE_SIZE) * HUGE_SIZE;
  const end = Math.floor(Math.min(offset + length, size) / HUGE_SIZE) * HUGE_SIZE;
  return { from, count: Math.max(0, (end - from) / HUGE_SIZE) };
}

function print(job: Job, shown: string, found: FileMap): void {
  const { terminal } = job;
  const { size, extents, allocated, blockSize, hugeParts, parts } = found;
  terminal.print(terminal.style("bold", `${shown}: ${formatBytes(size)}`));
  const inline = extents.find(({ deviceOffset }) => deviceOffset === null);
  if (inline !== undefined) {
    terminal.print("  its content lies in its inode");
    return;
  }
  if (extents.length === 0) {
    terminal.print("  no blocks");
    return;
  }
  const mean = formatBytes(allocated / extents.length);
  const pieces = `${plural(extents.length, "piece")}, ${mean} each on average`;
  terminal.print(
    `  ${formatBytes(allocated)} in ${plural(allocated / blockSize, "block")}: ${pieces}`,
  );
  terminal.print(
    blockSize === PAGE_SIZE
      ? `  ${formatCount(hugeParts)} of ${plural(parts, "part")} of 2 MiB can be huge pages`
      : `  no huge pages: blocks of ${blockSize} bytes are reached through a page cache`,
  );
  terminal.print();
  draw(terminal, found);
  terminal.print();
  printPieces(terminal, found, job.has("all"));
}

/** What most of the bytes [from, to) are. */
function kindOf(found: FileMap, from: number, to: number): Kind {
  const sums: Record<Kind, number> = { huge: 0, mapped: 0, unwritten: 0, hole: to - from };
  const overlap = (start: number, end: number): number =>
    Math.max(0, Math.min(end, to) - Math.max(start, from));
  for (const extent of found.extents) {
    const own = overlap(extent.offset, extent.offset + extent.length);
    if (own === 0) continue;
    sums.hole -= own;
    if (extent.unwritten) {
      sums.unwritten += own;
      continue;
    }
    const { from: begin, count } = hugeIn(extent, found);
    const huge = overlap(begin, begin + count * HUGE_SIZE);
    sums.huge += huge;
    sums.mapped += own - huge;
  }
  return (Object.keys(sums) as Kind[]).reduce((most, kind) =>
    sums[kind] > sums[most] ? kind : most,
  );
}

function draw(terminal: Terminal, found: FileMap): void {
  const { size, blockSize, extents } = found;
  const last = extents.at(-1)!;
  const end = Math.max(size, last.offset + last.length);
  const width = Math.min(DRAWING_WIDTH_MAX, Math.ceil(end / blockSize));
  const kinds = Array.from({ length: width }, (_, at) =>
    kindOf(found, (end * at) / width, (end * (at + 1)) / width),
  );
  const cells = kinds.map((kind) => styled(terminal, kind, SIGNS[kind][0]));
  terminal.print(`  ${cells.join("")}  ${formatBytes(end / width)} each`);
  const used = (Object.keys(SIGNS) as Kind[]).filter((kind) => kinds.includes(kind));
  const legend = used.map((kind) => `${styled(terminal, kind, SIGNS[kind][0])} ${SIGNS[kind][2]}`);
  terminal.print(`  ${legend.join("   ")}`);
}

function styled(terminal: Terminal, kind: Kind, text: string): string {
  const style = SIGNS[kind][1];
  return style === null ? text : terminal.style(style, text);
}

function printPieces(terminal: Terminal, found: FileMap, all: boolean): void {
  const { extents, blockSize } = found;
  const rows = extents.slice(0, all ? undefined : SHOWN_MAX).map((extent) => {
    const { offset, length, deviceOffset, unwritten, shared } = extent;
    const flags = [
      ...(unwritten ? ["not written"] : []),
      ...(shared ? ["shared"] : []),
      ...(hugeIn(extent, found).count > 0 ? ["huge"] : []),
    ];
    const cells = [offset, deviceOffset!, length].map((bytes) => formatCount(bytes / blockSize));
    return [...cells, formatBytes(length), flags.join(", ")];
  });
  const titles = ["File block", "Volume block", "Blocks", "Size"];
  const widths = titles.map((title, at) =>
    Math.max(title.length, ...rows.map((row) => row[at]!.length)),
  );
  const line = (cells: readonly string[]): string =>
    `  ${titles.map((_, at) => cells[at]!.padStart(widths[at]!)).join("  ")}  ${cells[4] ?? ""}`.trimEnd();
  terminal.print(terminal.style("dim", line(titles)));
  for (const row of rows) terminal.print(line(row));
  const more = extents.length - rows.length;
  if (more > 0)
    terminal.print(terminal.style("dim", `  and ${formatCount(more)} more; --all prints them`));
}

export const mapCommand = volumeCommand(SPEC, map);
