/** `holdfast stat`. */
import type { Time } from "../../iomap/contract.ts";
import type { Stats } from "../../volume/stats.ts";
import { type Job, someOperands, volumeCommand } from "../job.ts";
import { formatCount, type Terminal } from "../terminal.ts";
import { type CommandSpec, JSON_LINES } from "../usage.ts";
import { factsOf, modeText, nameFor, octal, printLine } from "./lines.ts";

const SPEC: CommandSpec = {
  name: "stat",
  about: "Tells all that is known of files of a volume: attributes, times, extended attributes.",
  usage: ["[OPTIONS] IMAGE:/PATH..."],
  completes: "volume path",
  options: [["-L, --dereference", "of what a symlink leads to"], JSON_LINES],
  examples: ["holdfast stat disk.img:/etc/passwd", "holdfast stat --json disk.img:/ | jq .mtime"],
};

function stat(job: Job): void {
  for (const text of someOperands(job, "a path, as in disk.img:/etc/hosts")) {
    const place = job.places.volume(text, "image");
    job.attempt(place.shown, () => {
      const { volume } = job.places.mounted(place, "read");
      const follow = job.has("dereference");
      const stats = follow ? volume.statSync(place.path) : volume.lstatSync(place.path);
      const options = { followSymlinks: follow };
      const names = volume.listxattrSync(place.path, options).sort();
      const attributes = names.map((name) => ({
        name,
        value: volume.getxattrSync(place.path, name, options),
      }));
      const target = stats.isSymbolicLink() ? volume.readlinkSync(place.path) : null;
      const seen: Seen = { shown: place.shown, stats, target, attributes };
      if (job.json) printJson(job.terminal, seen);
      else print(job.terminal, seen);
    });
  }
}

interface Seen {
  readonly shown: string;
  readonly stats: Stats;
  /** Of a symlink. */
  readonly target: string | null;
  readonly attributes: readonly { readonly name: string; readonly value: Uint8Array }[];
}

function printJson(terminal: Terminal, { shown, stats, target, attributes }: Seen): void {
  const { access, modify, change, birth } = stats.times;
  const facts = {
    ...factsOf(Buffer.from(shown), stats),
    ...(target === null ? {} : { target }),
    generation: stats.generation,
    project: stats.project,
    atime: timeText(access),
    mtime: timeText(modify),
    ctime: timeText(change),
    birthtime: timeText(birth),
    xattrs: Object.fromEntries(
      attributes.map(({ name, value }) => [name, Buffer.from(value).toString("base64")]),
    ),
  };
  terminal.print(JSON.stringify(facts));
}

function print(terminal: Terminal, { shown, stats, target, attributes }: Seen): void {
  const { type } = stats;
  const row = (name: string, value: string): void =>
    terminal.print(`  ${name.padEnd(10)} ${value}`);
  printLine(terminal, terminal.style("bold", String(nameFor(terminal, Buffer.from(shown)))));
  if (target !== null) row("leads to", target);
  row("type", type);
  row("size", `${formatCount(stats.size)} bytes, ${formatCount(stats.blocks * 512)} allocated`);
  if (type.endsWith("device")) {
    const { major, minor } = stats.device;
    row("device", `${major}, ${minor}`);
  }
  row("inode", `${stats.ino}, generation ${stats.generation}`);
  row("links", String(stats.nlink));
  row("mode", `${octal(stats.mode)} ${modeText(type, stats.mode)}`);
  row("owner", `user ${stats.uid}, group ${stats.gid}, project ${stats.project}`);
  const { access, modify, change, birth } = stats.times;
  row("accessed", timeText(access));
  row("modified", timeText(modify));
  row("changed", timeText(change));
  row("born", timeText(birth));
  for (const { name, value } of attributes) row("attribute", `${name} = ${valueText(value)}`);
}

/** In UTC, to the nanosecond. */
function timeText({ seconds, nanoseconds }: Time): string {
  const whole = new Date(seconds * 1000).toISOString().slice(0, 19);
  return `${whole}.${String(nanoseconds).padStart(9, "0")}Z`;
}

/** Text in quotes, else hexadecimal digits, as getfattr has them. */
function valueText(value: Uint8Array): string {
  const text = Buffer.from(value).toString("utf8");
  return /^[\x20-\x7e\u00a0-\ufffc]*$/.test(text)
    ? JSON.stringify(text)
    : `0x${Buffer.from(value).toString("hex")}`;
}

export const statCommand = volumeCommand(SPEC, stat);
