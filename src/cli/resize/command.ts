/** `holdfast resize`: makes a volume larger, and says how large it is. */
import { type GrowProgress, HoldfastError, mount } from "../../index.ts";
import { untilInterrupted } from "../interrupt.ts";
import { Progress } from "../progress.ts";
import { formatBytes, formatMs, type Terminal } from "../terminal.ts";
import { type CommandBody, EXIT_OK } from "../usage.ts";
import { parseResizeOptions, RESIZE_SPEC, type ResizeCommandOptions } from "./options.ts";

/** What was done. */
interface Resized {
  readonly path: string;
  readonly type: string;
  /** Bytes of the volume. */
  readonly sizeBefore: number;
  readonly size: number;
  readonly elapsedMs: number;
}

async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const options = parseResizeOptions(args);
  const begin = performance.now();
  let resized: Resized | null = null;
  {
    using bar = new Progress(terminal);
    const onProgress = ({ size, target }: GrowProgress): void =>
      bar.update("growing", size, target, formatBytes(size));
    await untilInterrupted(async (signal) => {
      resized = await resize(options, signal, onProgress, begin);
    });
  }
  report(resized!, options.json, terminal);
  return EXIT_OK;
}

async function resize(
  { image, size }: ResizeCommandOptions,
  signal: AbortSignal,
  onProgress: (progress: GrowProgress) => void,
  begin: number,
): Promise<Resized> {
  const growTo = size === undefined ? {} : { growTo: size };
  await using volume = await mount(image, { ...growTo, signal });
  if (volume.readOnly) {
    throw new HoldfastError("EROFS", `the volume cannot be written: ${volume.readOnlyReason}`, {
      syscall: "grow",
      path: image,
    });
  }
  const sizeBefore = volume.size;
  const reached = await volume.grow(size, { signal, onProgress });
  const elapsedMs = performance.now() - begin;
  return { path: image, type: volume.type, sizeBefore, size: reached, elapsedMs };
}

function report(resized: Resized, json: boolean, terminal: Terminal): void {
  if (json) {
    terminal.print(JSON.stringify(resized));
    return;
  }
  const { path, type, sizeBefore, size, elapsedMs } = resized;
  const title = terminal.style("bold", `${path}: ${type}, ${formatBytes(size)}`);
  const before =
    size === sizeBefore
      ? "as before"
      : `${formatBytes(sizeBefore)} before, made larger in ${formatMs(elapsedMs)}`;
  terminal.print(`${title} (${before})`);
}

export const resizeCommand: CommandBody = { spec: RESIZE_SPEC, run };
