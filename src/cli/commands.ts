/**
 * The subcommands, and what runs one: help, errors as one line, exit codes.
 *
 * Exit codes: 0 all is well; 1 the command found or met something wrong; 2 wrong usage. A command that stands
 * for one of the system's has that one's instead.
 */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Terminal } from "./terminal.ts";
import { type CommandBody, EXIT_FOUND, EXIT_OK, EXIT_USAGE, nearest, UsageError } from "./usage.ts";

interface Command {
  /** One line for `holdfast --help`. */
  readonly summary: string;
  load(): Promise<CommandBody>;
}

export const COMMANDS: Readonly<Record<string, Command>> = {
  collide: {
    summary: "run I/O into mapped files against layout changes, and check every block",
    load: async () => (await import("./collide/command.ts")).collide,
  },
  mkfs: {
    summary: "make an ext2, ext3 or ext4 volume on an image or device, filled if wanted",
    load: async () => (await import("./mkfs/command.ts")).mkfsCommand,
  },
  check: {
    summary: "explore the interleavings of the core's scenarios, and of its variants",
    load: async () => (await import("./check/command.ts")).check,
  },
  fsck: {
    summary: "check an ext2, ext3 or ext4 volume, and say what is wrong with it",
    load: async () => (await import("./fsck/command.ts")).fsckCommand,
  },
  trim: {
    summary: "tell what is below a volume which of its blocks are free: holes in an image file",
    load: async () => (await import("./trim/command.ts")).trimCommand,
  },
  resize: {
    summary: "make an ext2, ext3 or ext4 volume larger",
    load: async () => (await import("./resize/command.ts")).resizeCommand,
  },
  mount: {
    summary: "mount an ext2, ext3 or ext4 volume in the system's tree of files",
    load: async () => (await import("./mount/command.ts")).mountCommand,
  },
  umount: {
    summary: "unmount what 'holdfast mount' has mounted",
    load: async () => (await import("./mount/command.ts")).umountCommand,
  },
  trace: {
    summary: "run a program and tell what its volumes do: faults, pins, layout changes, write-back",
    load: async () => (await import("./trace/command.ts")).trace,
  },
};

export function overview(): string {
  const names = Object.keys(COMMANDS);
  const width = Math.max(...names.map((name) => name.length));
  return [
    "holdfast: a direct-access filesystem runtime for Node.js",
    "",
    "Usage: holdfast COMMAND [OPTIONS]",
    "",
    "Commands:",
    ...names.map((name) => `  ${name.padEnd(width)}  ${COMMANDS[name]!.summary}`),
    "",
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
export async function runCommandLine(args: readonly string[], terminal: Terminal): Promise<number> {
  let codes = { usage: EXIT_USAGE, failed: EXIT_FOUND };
  try {
    return await dispatch(args, terminal, (body) => {
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
  onBody: (body: CommandBody) => void,
): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined) throw new UsageError("give a command");
  if (name === "--help" || name === "-h" || name === "help") {
    const topic = name === "help" ? rest[0] : undefined;
    terminal.print(topic === undefined ? overview() : (await bodyOf(topic)).help);
    return EXIT_OK;
  }
  if (name === "--version") {
    terminal.print(packageVersion());
    return EXIT_OK;
  }
  const body = await bodyOf(name);
  const optionsEnd = rest.indexOf("--");
  const options = optionsEnd < 0 ? rest : rest.slice(0, optionsEnd);
  if (options.includes("--help") || options.includes("-h")) {
    terminal.print(body.help);
    return EXIT_OK;
  }
  onBody(body);
  return await body.run(rest, terminal);
}

async function bodyOf(name: string): Promise<CommandBody> {
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
