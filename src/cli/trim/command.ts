/** `holdfast trim`: discards a volume's free space, and says how much, and what that gave back. */
import { statSync } from "node:fs";
import { AbortError, mount, type TrimOptions, type TrimProgress } from "../../index.ts";
import { untilInterrupted } from "../interrupt.ts";
import { Progress } from "../progress.ts";
import { formatBytes, formatMs, type Terminal } from "../terminal.ts";
import { type CommandBody, EXIT_FOUND, EXIT_OK } from "../usage.ts";
import { parseTrimOptions, TRIM_SPEC } from "./options.ts";

/** Of `st_blocks`. */
const SECTOR_BYTES = 512;

interface Trimmed {
  readonly path: string;
  /** Bytes of free blocks that were discarded. */
  readonly discarded: number;
  /** What an image file takes of the filesystem that holds it; null of a block device. */
  readonly storedBefore: number | null;
  readonly storedAfter: number | null;
}

async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { image, options, json } = parseTrimOptions(args);
  const begin = performance.now();
  using bar = new Progress(terminal);
  const onProgress = ({ done, total, discarded }: TrimProgress): void =>
    bar.update("discarding", done, total, formatBytes(discarded));
  try {
    await untilInterrupted(async (signal) => {
      const storedBefore = storedBytes(image);
      const discarded = await trimImage(image, { ...options, signal, onProgress });
      bar[Symbol.dispose]();
      const trimmed = { path: image, discarded, storedBefore, storedAfter: storedBytes(image) };
      if (json) terminal.print(JSON.stringify(trimmed));
      else print(trimmed, performance.now() - begin, terminal);
    });
    return EXIT_OK;
  } catch (error) {
    if (!(error instanceof AbortError)) throw error;
    terminal.note("holdfast: ended before all of the volume was looked at");
    return EXIT_FOUND;
  }
}

async function trimImage(image: string, options: TrimOptions): Promise<number> {
  await using volume = await mount(image);
  if (volume.readOnlyReason !== null) {
    throw new Error(`'${image}' can only be read: ${volume.readOnlyReason}`);
  }
  return await volume.trim(options);
}

/** What a file takes; null of what is none. */
function storedBytes(path: string): number | null {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats?.isFile() ? stats.blocks * SECTOR_BYTES : null;
}

function print({ path, discarded, storedBefore, storedAfter }: Trimmed, ms: number, to: Terminal) {
  const takes =
    storedBefore === null || storedAfter === null
      ? ""
      : `; the file takes ${formatBytes(storedAfter)}, ${formatBytes(storedBefore)} before`;
  to.print(`${path}: ${formatBytes(discarded)} discarded${takes} (${formatMs(ms)})`);
}

export const trimCommand: CommandBody = { spec: TRIM_SPEC, run };
