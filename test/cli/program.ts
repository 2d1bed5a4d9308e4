// The program as people run it: the built one, in a process of its own. Or that of the sources, in this process.

import { fileURLToPath } from "node:url";
import { runCommandLine } from "../../src/cli/commands.ts";
import { type Output, Terminal } from "../../src/cli/terminal.ts";
import { builtModule, type Outcome, run } from "../support/tools.ts";

export const program = fileURLToPath(builtModule("cli/main.ts"));

export function holdfast(...args: string[]): Outcome {
  return run(process.execPath, [program, ...args]);
}

/** What it printed. Throws where it did not end with 0, or said anything else. */
export function holdfastOk(...args: string[]): string {
  const { code, stdout, stderr } = holdfast(...args);
  if (code === 0 && stderr === "") return stdout;
  throw new Error(`holdfast ${args.join(" ")} ended with ${code}\n${stdout}${stderr}`);
}

/** With something on standard input. */
export function holdfastWith(input: string | Uint8Array, ...args: string[]): Outcome {
  return run(process.execPath, [program, ...args], input);
}

export interface Captured extends Output {
  text: string;
}

export function capture(isTTY = false, columns = 100): Captured {
  const captured: Captured = {
    text: "",
    isTTY,
    columns,
    write(text: string) {
      captured.text += text;
    },
  };
  return captured;
}

/** Runs it in this process, as it is in the sources. */
export async function inProcess(
  args: readonly string[],
  isTTY = false,
  environment: NodeJS.ProcessEnv = {},
) {
  const [out, error] = [capture(isTTY), capture(isTTY)];
  const code = await runCommandLine(args, new Terminal(out, error, environment));
  return { code, out: out.text, error: error.text };
}

/** Lines of JSON. */
// biome-ignore lint/suspicious/noExplicitAny: each test says what it expects
export function jsonLines(text: string): any[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

/** Runs it on a terminal of its own, and gives what that shows. */
export function onTerminal(args: readonly string[], columns = 80): string {
  const command = [process.execPath, program, ...args].map((each) => `'${each}'`).join(" ");
  const { stdout } = run("script", ["-qec", `stty cols ${columns}; ${command}`, "/dev/null"]);
  return stdout.replace(/\r\n/g, "\n");
}
