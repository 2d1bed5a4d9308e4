/** `holdfast trace`: what a program's volumes do, told while it runs or recorded. */
import { spawn } from "node:child_process";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { constants, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { TRACE_EVENTS, TRACE_FILE, TRACE_RECORDS } from "../../volume/trace-recorder.ts";
import type { Terminal } from "../terminal.ts";
import { type CommandBody, EXIT_OK } from "../usage.ts";
import { parseTraceOptions, TRACE_SPEC, type TraceCommandOptions } from "./options.ts";
import { TracePrinter } from "./printer.ts";

const LOOK_MS = 50;

async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const options = parseTraceOptions(args);
  if (options.read !== null) {
    const printer = new TracePrinter(terminal, { beside: false, json: options.json, quiet: false });
    printer.take(readFileSync(options.read, "utf8"));
    printer.finish();
    return EXIT_OK;
  }
  if (options.output !== null) {
    writeFileSync(options.output, ""); // what was recorded there before goes
    return await runTraced(options, resolve(options.output), terminal);
  }
  const directory = mkdtempSync(join(tmpdir(), "holdfast-trace-"));
  try {
    const file = join(directory, "trace");
    writeFileSync(file, "");
    return await runTraced(options, file, terminal);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Runs the program with its trace going to `file`, and prints that. Returns its exit code. */
async function runTraced(
  options: TraceCommandOptions,
  file: string,
  terminal: Terminal,
): Promise<number> {
  const printer = new TracePrinter(terminal, {
    beside: true,
    json: options.json,
    quiet: options.output !== null,
  });
  const tail = new Tail(file);
  const timer = setInterval(() => printer.take(tail.read()), LOOK_MS);
  try {
    const code = await runProgram(options, file);
    printer.take(tail.read());
    printer.finish();
    return code;
  } finally {
    clearInterval(timer);
    tail.close();
  }
}

/** What is appended to a file. */
class Tail {
  readonly #fd: number;
  readonly #decoder = new TextDecoder();
  readonly #buffer = new Uint8Array(2 ** 20);

  constructor(file: string) {
    this.#fd = openSync(file, "r");
  }

  read(): string {
    let text = "";
    for (;;) {
      const count = readSync(this.#fd, this.#buffer, 0, this.#buffer.length, null);
      if (count === 0) return text;
      text += this.#decoder.decode(this.#buffer.subarray(0, count), { stream: true });
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Throws: the error for a program that cannot be run. */
function runProgram(options: TraceCommandOptions, file: string): Promise<number> {
  const [command, ...args] = options.program as [string, ...string[]];
  const env = {
    ...process.env,
    [TRACE_FILE]: file,
    [TRACE_EVENTS]: options.events.join(","),
    [TRACE_RECORDS]: String(options.recordsPerThread),
  };
  return new Promise((finish, reject) => {
    const child = spawn(command, args, { stdio: "inherit", env });
    // A terminal sends these to the program as well: whether it ends is the program's to say.
    const onInterrupt = (): void => {};
    const onTerminate = (): void => {
      child.kill("SIGTERM");
    };
    process.on("SIGINT", onInterrupt);
    process.on("SIGTERM", onTerminate);
    const settled = (): void => {
      process.off("SIGINT", onInterrupt);
      process.off("SIGTERM", onTerminate);
    };
    child.on("error", (error) => {
      settled();
      reject(new Error(`cannot run '${command}': ${error.message}`));
    });
    child.on("close", (code, signal) => {
      settled();
      finish(signal === null ? (code ?? EXIT_OK) : 128 + constants.signals[signal]);
    });
  });
}

export const trace: CommandBody = { spec: TRACE_SPEC, run };
