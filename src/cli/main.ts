#!/usr/bin/env node
/** The program `holdfast`. */
import { runCommandLine } from "./commands.ts";
import { Terminal } from "./terminal.ts";

process.exitCode = await runCommandLine(process.argv.slice(2), Terminal.ofProcess());
