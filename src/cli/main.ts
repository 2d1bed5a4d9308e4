#!/usr/bin/env node
/** The program `holdfast`. */
import { runCommandLine } from "./commands.ts";
import { Terminal } from "./terminal.ts";

const terminal = Terminal.ofProcess();
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  terminal.isGone = true;
});
process.exitCode = await runCommandLine(process.argv.slice(2), terminal);
