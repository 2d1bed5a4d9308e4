#!/usr/bin/env node
/** The program `holdfast`. */
import { runCommandLine } from "./commands.ts";
import { Terminal } from "./terminal.ts";

// Whoever read our output has seen enough, as in `holdfast … | head`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});
process.exitCode = await runCommandLine(process.argv.slice(2), Terminal.ofProcess());
