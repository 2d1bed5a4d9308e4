/** `holdfast mkfs`: makes a volume, and says what it made. */
import { type Filled, type MadeVolume, type MkfsProgress, mkfs } from "../../index.ts";
import { untilInterrupted } from "../interrupt.ts";
import { Progress } from "../progress.ts";
import {
  formatBytes,
  formatCount,
  formatMs,
  plural,
  type Terminal,
  volumeTitle,
} from "../terminal.ts";
import { type CommandBody, EXIT_OK } from "../usage.ts";
import { MKFS_SPEC, parseMkfsOptions } from "./options.ts";

async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { path, options, json } = parseMkfsOptions(args, process.env);
  const begin = performance.now();
  let made: MadeVolume | null = null;
  {
    using bar = new Progress(terminal);
    const onProgress = (progress: MkfsProgress): void => tell(bar, progress);
    await untilInterrupted(async (signal) => {
      made = await mkfs(path, { ...options, onProgress, signal });
    });
  }
  report(made!, json, performance.now() - begin, terminal);
  return EXIT_OK;
}

function tell(bar: Progress, { step, done, total, path }: MkfsProgress): void {
  if (step === "formatting") bar.update("making the volume", done, total, "");
  else bar.update("copying", done, total, `${formatBytes(done)}  ${path}`);
}

function report(made: MadeVolume, json: boolean, tookMs: number, terminal: Terminal): void {
  if (json) terminal.print(JSON.stringify(made));
  else printTable(made, tookMs, terminal);
  if (made.filled !== null) warnSkipped(made.filled, terminal);
}

function printTable(made: MadeVolume, tookMs: number, terminal: Terminal): void {
  const journal =
    made.journalBlocks === 0 ? "none" : formatBytes(made.journalBlocks * made.blockSize);
  terminal.print(terminal.style("bold", volumeTitle(made.path, made)));
  const blocks = `${plural(made.blocks, "block")} of ${made.blockSize} bytes`;
  terminal.print(
    `  blocks    ${blocks} in ${plural(made.groups, "group")}, ${formatCount(made.reservedBlocks)} reserved`,
  );
  terminal.print(`  inodes    ${formatCount(made.inodes)} of ${made.inodeSize} bytes`);
  terminal.print(`  journal   ${journal}`);
  terminal.print(`  features  ${made.features.join(" ")}`);
  terminal.print(`  uuid      ${made.uuid}`);
  if (made.filled !== null) terminal.print(`  filled    ${contentsOf(made.filled)}`);
  terminal.print(`  made in   ${formatMs(tookMs)}`);
  if (made.mountableReason !== null) {
    const how =
      made.mountable === "no" ? "not mounted by Holdfast" : "mounted read-only by Holdfast";
    terminal.note(`${terminal.styleNote("yellow", "note:")} ${how}: ${made.mountableReason}`);
  }
}

function contentsOf(filled: Filled): string {
  const { directories, files, bytes, symlinks, links, special, attributes } = filled;
  const rest = [
    [symlinks, "symlink"],
    [links, "further name"],
    [special, "device or pipe"],
    [attributes, "extended attribute"],
  ] as const;
  return [
    `${plural(files, "file")} of ${formatBytes(bytes)}`,
    plural(directories, "directory", "directories"),
    ...rest
      .filter(([count]) => count > 0)
      .map(([count, what]) => plural(count, what, PLURALS[what])),
  ].join(", ");
}

const PLURALS: Readonly<Record<string, string>> = { "device or pipe": "devices and pipes" };

/** What did not go into the volume. */
function warnSkipped({ attributesSkipped, attributesSkippedOf }: Filled, terminal: Terminal): void {
  if (attributesSkipped === 0) return;
  const names = attributesSkippedOf.map((path) => `'${path}'`).join(", ");
  const what = `${plural(attributesSkipped, "extended attribute")} left out, which ext has no place for, of ${names}`;
  const more = attributesSkipped > attributesSkippedOf.length ? " and others" : "";
  terminal.note(`${terminal.styleNote("yellow", "warning:")} ${what}${more}`);
}

export const mkfsCommand: CommandBody = { spec: MKFS_SPEC, run };
