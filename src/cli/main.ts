#!/usr/bin/env node
/** The program `holdfast`. */
import { runCommandLine } from "./commands.ts";
import { reasonOf } from "./reason.ts";
import { Terminal } from "./terminal.ts";
import { EXIT_FOUND } from "./usage.ts";

const terminal = Terminal.ofProcess();
let outputError: Error | null = null;
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  terminal.isGone = true;
  if (error.code === "EPIPE" || outputError !== null) return;
  outputError = error;
  terminal.note(`${terminal.styleNote("red", "holdfast:")} standard output: ${reasonOf(error)}`);
  process.exitCode = EXIT_FOUND;
});
const code = await runCommandLine(process.argv.slice(2), terminal);
process.exitCode = outputError === null ? code : EXIT_FOUND;
