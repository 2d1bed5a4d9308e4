/**
 * The subcommands, and what runs one: help, errors as one line, exit codes.
 *
 * Exit codes: 0 all is well; 1 the command found or met something wrong; 2 wrong usage. A command that stands
 * for one of the system's has that one's instead.
 */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { COMMANDS, GROUPS } from "./command-table.ts";
import type { Session } from "./session.ts";
import type { Terminal } from "./terminal.ts";
import {
  type CommandBody,
  EXIT_FOUND,
  EXIT_OK,
  EXIT_USAGE,
  hasShort,
  helpOf,
  nearest,
  UsageError,
} from "./usage.ts";

export function overview(): string {
  const names = Object.keys(COMMANDS);
  const width = Math.max(...names.map((name) => name.length));
  const groups = GROUPS.map((group) => {
    const inside = names.filter((name) => COMMANDS[name]!.group === group);
    const lines = inside.map((name) => `  ${name.padEnd(width)}  ${COMMANDS[name]!.summary}`);
    return [`${group}:`, ...lines, ""].join("\n");
  });
  return [
    "holdfast: a direct-access filesystem runtime for Node.js",
    "",
    "Usage: holdfast COMMAND [OPTIONS]",
    "",
    "A path in a volume is written IMAGE:/PATH, as in disk.img:/etc/hosts.",
    "",
    ...groups,
    "Options:",
    "  --help     this text; after a command, that command's options",
    "  --version  the version",
    "",
    "Environment:",
    "  HOLDFAST_DEBUG=1  print stacks with errors",
    "  NO_COLOR=1        print no colours",
  ].join("\n");
}

/** Runs a command line, without the program's name. Returns the exit code; never throws. */
export async function runCommandLine(
  args: readonly string[],
  terminal: Terminal,
  session: Session | null = null,
): Promise<number> {
  let codes = { usage: EXIT_USAGE, failed: EXIT_FOUND };
  try {
    return await dispatch(args, terminal, session, (body) => {
      codes = body.exitCodes ?? codes;
    });
  } catch (error) {
    reportError(error, terminal, args[0]);
    return error instanceof UsageError ? codes.usage : codes.failed;
  }
}

/** `onBody` is told which command it is, before that runs. */
async function dispatch(
  args: readonly string[],
  terminal: Terminal,
  session: Session | null,
  onBody: (body: CommandBody) => void,
): Promise<number> {
  const [name, ...rest] = isOfMount(args) ? ["mount", ...args] : args;
  if (name === undefined) throw new UsageError("give a command");
  if (name === "--help" || name === "-h" || name === "help") {
    const topic = name === "help" ? rest[0] : undefined;
    terminal.print(topic === undefined ? overview() : helpOf((await bodyOf(topic)).spec));
    return EXIT_OK;
  }
  if (name === "--version") {
    terminal.print(packageVersion());
    return EXIT_OK;
  }
  const body = await bodyOf(name);
  const optionsEnd = rest.indexOf("--");
  const options = optionsEnd < 0 ? rest : rest.slice(0, optionsEnd);
  const asksShort = options.includes("-h") && !hasShort(body.spec, "-h");
  if (options.includes("--help") || asksShort) {
    terminal.print(helpOf(body.spec));
    return EXIT_OK;
  }
  onBody(body);
  return await body.run(rest, terminal, session);
}

/** By `mount -t fuse.holdfast`, and from /etc/fstab, mount.fuse(8) calls: IMAGE DIRECTORY -o OPTIONS. */
function isOfMount([image = "", , option]: readonly string[]): boolean {
  return option === "-o" && !Object.hasOwn(COMMANDS, image);
}

export async function bodyOf(name: string): Promise<CommandBody> {
  if (Object.hasOwn(COMMANDS, name)) return await COMMANDS[name]!.load();
  const near = nearest(name, Object.keys(COMMANDS));
  const hint = near === null ? "" : `; did you mean '${near}'?`;
  const what = name.startsWith("-") ? "option" : "command";
  throw new UsageError(`unknown ${what} '${name}'${hint}`);
}

function packageVersion(): string {
  const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  return String(version);
}

function reportError(error: unknown, terminal: Terminal, command: string | undefined): void {
  const message = error instanceof Error ? error.message : String(error);
  terminal.note(`${terminal.styleNote("red", "holdfast:")} ${message.replace(/\s*\n\s*/g, " ")}`);
  if (error instanceof UsageError) {
    const known = command !== undefined && Object.hasOwn(COMMANDS, command);
    terminal.note(`Try 'holdfast ${known ? `${command} ` : ""}--help'.`);
  }
  if (terminal.debugs && error instanceof Error && error.stack !== undefined) {
    terminal.note(error.stack);
  }
}
