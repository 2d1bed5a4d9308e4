// The program as people run it: the built one, in a process of its own.

import { fileURLToPath } from "node:url";
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
