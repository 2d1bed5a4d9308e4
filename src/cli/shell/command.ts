/** `holdfast shell`: commands on one volume, one after the other, with one mount for all. */
import { createInterface, type Interface } from "node:readline";
import { HoldfastError } from "../../base/errors.ts";
import { mountCoreSync } from "../../volume/mount.ts";
import { COMMANDS } from "../command-table.ts";
import { runCommandLine } from "../commands.ts";
import { candidates } from "../completion/candidates.ts";
import { reasonOf } from "../reason.ts";
import type { Session } from "../session.ts";
import { plural, type Terminal } from "../terminal.ts";
import {
  type CommandBody,
  type CommandSpec,
  EXIT_FOUND,
  EXIT_OK,
  EXIT_USAGE,
  nearest,
  readArguments,
  UsageError,
} from "../usage.ts";
import { History, LINES_MAX } from "./history.ts";
import { escaped, expanded, splitLine } from "./words.ts";

const SPEC: CommandSpec = {
  name: "shell",
  about: `Runs commands on one volume, with one mount for all of them: ls, cd, cp and the others, with a current
directory, completion by the Tab key, and a history.`,
  usage: ["[OPTIONS] IMAGE"],
  completes: "image",
  options: [
    ["-r, --read-only", "change nothing, and let others read the volume"],
    ["-c, --command <line>", "run this line and end; may be repeated", null, "repeats"],
  ],
  notes: `Paths are the volume's, from the current directory on; host:PATH is one of the host's. Words may be
quoted as in sh, and *, ? and [] stand for names; there are no pipes, variables or redirections. What
was changed is durable with 'sync', about five seconds later, and when the shell ends. Lines may come
from a pipe: then the exit code is that of the last one that failed. The history is kept in
$XDG_STATE_HOME/holdfast/history, or below ~/.local/state.`,
  examples: [
    "holdfast shell disk.img",
    "holdfast shell -c 'cd /etc' -c 'ls -l' disk.img",
    "holdfast shell disk.img < commands.txt",
  ],
};

/** Commands that a session has from the command line. */
const SHARED = Object.keys(COMMANDS).filter(
  (name) =>
    name !== "shell" &&
    (["Files in volumes", "Storage under files"].includes(COMMANDS[name]!.group) ||
      ["df", "info"].includes(name)),
);
const OWN: Readonly<Record<string, string>> = {
  cd: "make another directory the current one; without a path the root",
  pwd: "print the current directory",
  sync: "put everything written on the medium",
  exit: "unmount the volume, and end; also quit, and Ctrl-D",
};
/** What sh would do something with. */
const SIGNS_OF_SH = new Set(["|", "||", "&", "&&", ";", ">", ">>", "<"]);
const ALL = [...SHARED, ...Object.keys(OWN), "quit"];

class Shell {
  readonly #terminal: Terminal;
  readonly session: Session;
  isDone = false;
  /** Of the last line that failed. */
  code = EXIT_OK;

  constructor(terminal: Terminal, session: Session) {
    this.#terminal = terminal;
    this.session = session;
  }

  async run(line: string): Promise<void> {
    const { words, open } = splitLine(line);
    const [name, ...rest] = words;
    if (name === undefined) return;
    if (open !== null) {
      this.code = this.#complain(`the quote ${open} does not end`, EXIT_USAGE);
      return;
    }
    const sign = words.find(({ text, quoted }) => !quoted[0] && SIGNS_OF_SH.has(text));
    if (sign !== undefined) {
      this.code = this.#complain(
        `there is no '${sign.text}' here; quote it if it is a name`,
        EXIT_USAGE,
      );
      return;
    }
    const { volume } = this.session.mounted;
    const args = rest.flatMap((word) => expanded(word, volume, this.session.directory));
    const code = await this.#dispatch(name.text, args);
    if (code !== EXIT_OK) this.code = code;
  }

  async #dispatch(name: string, args: readonly string[]): Promise<number> {
    if (name === "help" || name === "?") return this.#help(args);
    if (name === "exit" || name === "quit") {
      this.isDone = true;
      return EXIT_OK;
    }
    if (Object.hasOwn(OWN, name)) return this.#own(name, args);
    if (SHARED.includes(name)) return runCommandLine([name, ...args], this.#terminal, this.session);
    const near = nearest(name, ALL);
    const hint = near === null ? "; 'help' lists them" : `; did you mean '${near}'?`;
    return this.#complain(`there is no command '${name}' here${hint}`, EXIT_USAGE);
  }

  async #help(args: readonly string[]): Promise<number> {
    const [topic] = args;
    if (topic !== undefined && SHARED.includes(topic)) {
      return runCommandLine(["help", topic], this.#terminal, this.session);
    }
    const rows = [
      ...SHARED.map((name) => [name, COMMANDS[name]!.summary]),
      ...Object.entries(OWN),
      ["help", "this text; with a command's name, that command's"],
    ];
    for (const [name, summary] of rows) this.#terminal.print(`  ${name!.padEnd(8)} ${summary}`);
    return EXIT_OK;
  }

  #own(name: string, args: readonly string[]): number {
    const { session } = this;
    try {
      if (name === "pwd") this.#terminal.print(session.directory);
      else if (name === "cd") this.#change(args[0] ?? "/");
      else session.mounted.volume.syncSync();
      return EXIT_OK;
    } catch (error) {
      return this.#complain(`${args[0] ?? name}: ${reasonOf(error)}`, EXIT_FOUND);
    }
  }

  #change(path: string): void {
    const { volume } = this.session.mounted;
    const whole = path.startsWith("/") ? path : `${this.session.directory}/${path}`;
    const real = volume.fs.realpathSync(whole);
    if (!volume.statSync(real).isDirectory()) throw new HoldfastError("ENOTDIR", "is no directory");
    this.session.directory = real;
  }

  #complain(message: string, code: number): number {
    this.#terminal.note(`${this.#terminal.styleNote("red", "holdfast:")} ${message}`);
    return code;
  }

  /** As node:readline asks for it: what the word before the cursor may become, and that word. */
  async complete(line: string): Promise<[string[], string]> {
    const { words } = splitLine(line);
    // What is typed next would begin a word of its own.
    const isNew = splitLine(`${line}x`).words.length > words.length;
    const texts = [...words.map(({ text }) => text), ...(isNew ? [""] : [])];
    const raw = isNew ? "" : line.slice(words.at(-1)?.start ?? line.length);
    const found =
      texts[0] === "cd" && texts.length > 1
        ? (await candidates(["ls", texts.at(-1)!], this.session, SHARED)).filter((path) =>
            path.endsWith("/"),
          )
        : await candidates(texts, this.session, texts.length <= 1 ? ALL : SHARED);
    const isOne = found.length === 1 && !found[0]!.endsWith("/");
    return [found.map((each) => `${escaped(each)}${isOne ? " " : ""}`), raw];
  }
}

async function runShell(
  args: readonly string[],
  terminal: Terminal,
  session: Session | null,
): Promise<number> {
  if (session !== null) throw new UsageError("this is a shell already");
  const { values, positionals } = readArguments(args, SPEC);
  const [image, ...rest] = positionals;
  if (image === undefined || rest.length > 0)
    throw new UsageError("give one image, or block device");
  const mounted = mountCoreSync(image, { readOnly: values["readOnly"] === true });
  const shell = new Shell(terminal, { mounted, image, directory: "/" });
  const ended = new AbortController();
  const end = (): void => ended.abort();
  const ignore = (): void => {};
  process.on("SIGTERM", end);
  process.on("SIGHUP", end);
  process.on("SIGINT", ignore); // the command that runs ends by it
  try {
    const lines = values["command"] as readonly string[] | undefined;
    if (lines !== undefined) await runLines(shell, lines);
    else if (process.stdin.isTTY) await converse(shell, terminal, ended.signal);
    else await runPipe(shell, ended.signal);
  } finally {
    process.off("SIGTERM", end);
    process.off("SIGHUP", end);
    process.off("SIGINT", ignore);
    mounted.volume.closeSync();
  }
  return shell.code;
}

async function runLines(shell: Shell, lines: readonly string[]): Promise<void> {
  for (const line of lines) {
    if (shell.isDone) return;
    await shell.run(line);
  }
}

async function runPipe(shell: Shell, signal: AbortSignal): Promise<void> {
  for await (const line of createInterface({ input: process.stdin, signal })) {
    await shell.run(line);
    if (shell.isDone || signal.aborted) return;
  }
}

/**
 * At a terminal. While a command runs the terminal is as the shell's user has it: an editor has its keys, and Ctrl-C is
 * a signal. Lines that came meanwhile are kept.
 */
async function converse(shell: Shell, terminal: Terminal, signal: AbortSignal): Promise<void> {
  const history = new History(process.env);
  const { volume } = shell.session.mounted;
  const reason = volume.readOnlyReason;
  const how = reason === null ? "" : `, which can only be read: ${reason}`;
  terminal.note(`${volume.type} volume${how}; 'help' lists ${plural(ALL.length, "command")}`);
  const lines = new TypedLines(shell, history, terminal, signal);
  try {
    while (!shell.isDone) {
      const { image, directory } = shell.session;
      const line = await lines.next(`${terminal.style("bold", `${image}:${directory}`)}> `);
      if (line === null) break;
      await lines.without(() => shell.run(line));
    }
  } finally {
    lines.close();
    history.save();
  }
  shell.code = EXIT_OK; // who typed the lines has seen what failed
}

class TypedLines {
  readonly #lines: Interface;
  readonly #terminal: Terminal;
  /** Those that nobody has asked for yet; null: the end. */
  readonly #typed: (string | null)[] = [];
  #wanted: ((line: string | null) => void) | null = null;

  constructor(shell: Shell, history: History, terminal: Terminal, signal: AbortSignal) {
    this.#terminal = terminal;
    this.#lines = createInterface({
      input: process.stdin,
      output: process.stdout,
      history: [...history.lines],
      historySize: LINES_MAX,
      removeHistoryDuplicates: true,
      completer: (line: string, callback: (error: null, result: [string[], string]) => void) => {
        void shell.complete(line).then(
          (result) => callback(null, result),
          () => callback(null, [[], line]),
        );
      },
    });
    this.#lines.on("history", (kept: string[]) => {
      history.lines = [...kept];
    });
    this.#lines.on("line", (line: string) => this.#take(line));
    this.#lines.on("close", () => this.#take(null));
    this.#lines.on("SIGINT", () => this.#dropLine());
    signal.addEventListener("abort", () => this.#lines.close(), { once: true });
  }

  #take(line: string | null): void {
    const wanted = this.#wanted;
    this.#wanted = null;
    if (wanted === null) this.#typed.push(line);
    else wanted(line);
  }

  /** Ctrl-C: the line that was begun goes. */
  #dropLine(): void {
    for (const name of ["e", "u"]) this.#lines.write(null, { ctrl: true, name });
    this.#terminal.print("^C");
    this.#lines.prompt();
  }

  /** The next line; null at the end. */
  async next(prompt: string): Promise<string | null> {
    this.#lines.setPrompt(prompt);
    const kept = this.#typed.shift();
    if (kept !== undefined) return kept;
    this.#lines.prompt();
    const line = await new Promise<string | null>((resolve) => {
      this.#wanted = resolve;
    });
    if (line === null) this.#terminal.print();
    return line;
  }

  /** Runs it with the terminal as it was before. */
  async without(run: () => Promise<void>): Promise<void> {
    this.#lines.pause();
    process.stdin.setRawMode(false);
    try {
      await run();
    } finally {
      process.stdin.setRawMode(true);
      this.#lines.resume();
    }
  }

  close(): void {
    this.#lines.close();
  }
}

export const shellCommand: CommandBody = { spec: SPEC, run: runShell };
