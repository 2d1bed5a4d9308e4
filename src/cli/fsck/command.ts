/** `holdfast fsck`: the check of a volume on the command line. */
import { AbortError, type FsckProgress, type FsckReport, fsck } from "../../index.ts";
import { untilInterrupted } from "../interrupt.ts";
import { Progress } from "../progress.ts";
import type { Terminal } from "../terminal.ts";
import type { CommandBody } from "../usage.ts";
import {
  EXIT_CANCELLED,
  EXIT_CLEAN,
  EXIT_ERRORS_LEFT,
  EXIT_FSCK_USAGE,
  EXIT_OPERATIONAL,
  FSCK_SPEC,
  parseFsckOptions,
} from "./options.ts";
import { printReport } from "./report.ts";

const EXIT_OF: Readonly<Record<FsckReport["verdict"], number>> = {
  clean: EXIT_CLEAN,
  errors: EXIT_ERRORS_LEFT,
  "cannot-check": EXIT_OPERATIONAL,
};

async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const { image, json, shownMax, replay } = parseFsckOptions(args);
  using bar = new Progress(terminal);
  const onProgress = ({ pass, done, total }: FsckProgress): void =>
    bar.update(PASSES[pass], done, total, "");
  let exitCode = EXIT_CANCELLED;
  try {
    await untilInterrupted(async (signal) => {
      const report = await fsck(image, { signal, onProgress, replay, findingsMax: shownMax });
      bar[Symbol.dispose]();
      if (json) terminal.print(JSON.stringify(report));
      else printReport(report, terminal);
      exitCode = EXIT_OF[report.verdict];
    });
  } catch (error) {
    if (!(error instanceof AbortError)) throw error;
    terminal.note("holdfast: ended before the whole volume was checked");
  }
  return exitCode;
}

const PASSES: Readonly<Record<FsckProgress["pass"], string>> = {
  groups: "1/5 groups",
  inodes: "2/5 inodes",
  directories: "3/5 directories",
  links: "4/5 links",
  bitmaps: "5/5 bitmaps",
};

export const fsckCommand: CommandBody = {
  spec: FSCK_SPEC,
  exitCodes: { usage: EXIT_FSCK_USAGE, failed: EXIT_OPERATIONAL },
  run,
};
