/** The options of `holdfast trace`. */
import type { TraceClassName } from "../../sync/trace.ts";
import { TRACE_CLASSES } from "../../volume/trace-events.ts";
import { type CommandSpec, nearest, readOptions, UsageError, wholeNumber } from "../usage.ts";

export interface TraceCommandOptions {
  readonly events: readonly TraceClassName[];
  readonly recordsPerThread: number;
  /** Where the records go; null: they are printed while the program runs. */
  readonly output: string | null;
  readonly json: boolean;
  /** A file to print; else a program to run. */
  readonly read: string | null;
  readonly program: readonly string[];
}

const RECORDS_DEFAULT = 4096;
const RECORDS_MAX = 2 ** 20;

export const TRACE_SPEC: CommandSpec = {
  name: "trace",
  about: "Runs a program, and tells what the volumes that it mounts do, event by event.",
  usage: ["[OPTIONS] -- PROGRAM [ARGUMENTS]", "--read FILE [--json]"],
  completes: "host path",
  options: [
    [
      "--events <list>",
      `classes of events, with commas between: ${TRACE_CLASSES.join(", ")}`,
      "all",
    ],
    [
      "--records <n>",
      "what each thread keeps until it is read; more is lost",
      String(RECORDS_DEFAULT),
    ],
    [
      "-o, --output <file>",
      "write the records there, a line of JSON each, and print the counts only",
    ],
    ["--read <file>", "print what was written so"],
    ["--json", "print records as JSON, a line each"],
  ],
  notes: `Without --output, records are printed on standard error while the program runs; standard input and
output are the program's. Times are seconds since the first record. Names are those of the kernel's
fs_dax tracepoints where there are such; docs/protocol.md tells what each event means.

The program may mount its volumes in any thread and in any child process: the package records where
the environment variable HOLDFAST_TRACE names a file.`,
  examples: [
    "holdfast trace -- node program.mjs",
    "holdfast trace --events break,pin -- node program.mjs disk.img",
    "holdfast trace -o run.trace -- npm test",
    "holdfast trace --read run.trace | grep break_busy",
  ],
  exitCodes: `Exit codes: the program's; 128 and the signal's number where a signal ended it; 1 where it cannot be
run or FILE cannot be read; 2 wrong usage.`,
};

/** Throws: UsageError. */
export function parseTraceOptions(args: readonly string[]): TraceCommandOptions {
  const end = args.indexOf("--");
  const values = readOptions(end < 0 ? args : args.slice(0, end), TRACE_SPEC);
  const program = end < 0 ? [] : args.slice(end + 1);
  const read = values["read"] === undefined ? null : String(values["read"]);
  if (read === null && program.length === 0) {
    throw new UsageError("give a program after '--', or a file with --read");
  }
  if (read !== null && program.length > 0) {
    throw new UsageError("--read prints a file; it runs no program");
  }
  const output = values["output"] === undefined ? null : String(values["output"]);
  if (read !== null && output !== null) throw new UsageError("--read writes no file");
  return {
    events: eventsOf(String(values["events"] ?? TRACE_CLASSES.join(","))),
    recordsPerThread: wholeNumber(
      "records",
      String(values["records"] ?? RECORDS_DEFAULT),
      1,
      RECORDS_MAX,
    ),
    output,
    json: values["json"] === true,
    read,
    program,
  };
}

function eventsOf(text: string): TraceClassName[] {
  return text.split(",").map((name) => {
    const found = TRACE_CLASSES.find((each) => each === name);
    if (found !== undefined) return found;
    const near = nearest(name, TRACE_CLASSES);
    const hint = near === null ? "" : `; did you mean '${near}'?`;
    throw new UsageError(`--events takes ${TRACE_CLASSES.join(", ")}, not '${name}'${hint}`);
  });
}
