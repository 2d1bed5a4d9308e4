/**
 * What a subcommand is, its options and help, and the errors that end in exit code 2.
 *
 * A command says what it takes as data (`CommandSpec`). commander reads the command line by that and writes the
 * help; the shells' completion scripts come from it as well.
 */
import { Command, CommanderError, Option } from "commander";
import type { Session } from "./session.ts";
import type { Terminal } from "./terminal.ts";

export const EXIT_OK = 0;
export const EXIT_FOUND = 1;
export const EXIT_USAGE = 2;

/** What the shells complete an argument with. */
export type Completes = "image" | "volume path" | "any path" | "host path" | "command" | "nothing";

/**
 * Flags as commander has them ("-s, --size <bytes>"), what the option means, what counts without it, and whether it
 * may be given several times: then its values are a list.
 */
export type OptionSpec = readonly [
  flags: string,
  meaning: string,
  byDefault?: string | null,
  repeats?: "repeats",
];

export interface CommandSpec {
  readonly name: string;
  /** What it does: the first lines of its help. */
  readonly about: string;
  /** Behind "Usage: holdfast NAME", a form of it per line. */
  readonly usage: readonly string[];
  readonly options: readonly OptionSpec[];
  /** What arguments that are no options stand for. */
  readonly completes: Completes;
  /** Between the options and the examples; an empty line ends a paragraph, and lines that are indented stay. */
  readonly notes?: string;
  readonly examples: readonly string[];
  /** The sentence on exit codes; by default that of most commands. */
  readonly exitCodes?: string;
}

/** A subcommand's own module. */
export interface CommandBody {
  readonly spec: CommandSpec;
  /** Where the exit codes of errors are not EXIT_USAGE and EXIT_FOUND. */
  readonly exitCodes?: { readonly usage: number; readonly failed: number };
  /** Returns the exit code. Throws: UsageError, or what it met. `session`: of the shell that runs it, else null. */
  run(args: readonly string[], terminal: Terminal, session: Session | null): Promise<number>;
}

/** The command line is wrong. `message` says what to give instead. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  readonly code = "ERR_HOLDFAST_USAGE";
}

export const JSON_RESULT: OptionSpec = ["--json", "print the result as one line of JSON"];
export const JSON_LINES: OptionSpec = ["--json", "print a line of JSON for each"];
const HELP_WIDTH = 100;
const EXIT_CODES_DEFAULT = "Exit codes: 0 done, 1 failed, 2 wrong usage.";

/** By the names of options, in camelCase; those not given are undefined. */
export type OptionValues = Readonly<
  Record<string, string | boolean | readonly string[] | undefined>
>;

function optionOf([flags, meaning, byDefault, repeats]: OptionSpec): Option {
  const option = new Option(flags, byDefault == null ? meaning : `${meaning} (${byDefault})`);
  if (repeats === undefined) return option;
  return option.argParser((value: string, given?: string[]) => [...(given ?? []), value]);
}

function commandOf(spec: CommandSpec): Command {
  const command = new Command(`holdfast ${spec.name}`)
    .helpOption(false)
    .argument("[arguments...]")
    .exitOverride()
    .configureOutput({ writeOut: () => {}, writeErr: () => {} });
  for (const option of spec.options) command.addOption(optionOf(option));
  return command;
}

/** The text of `holdfast NAME --help`. */
export function helpOf(spec: CommandSpec): string {
  const command = commandOf({
    ...spec,
    options: [...spec.options, ["--help", "this text"]],
  });
  command.configureHelp({
    helpWidth: HELP_WIDTH,
    visibleArguments: () => [],
    commandUsage: () => "",
  });
  const helper = command.createHelp();
  helper.helpWidth = HELP_WIDTH;
  const formatted = helper.formatHelp(command, helper);
  const options = formatted.slice(formatted.indexOf("Options:")).trimEnd();
  const usage = spec.usage.map(
    (form, at) => `${at === 0 ? "Usage:" : "      "} holdfast ${spec.name} ${form}`,
  );
  const examples = ["Examples:", ...spec.examples.map((example) => `  ${example}`)];
  const wrapped = (text: string): string =>
    text
      .replaceAll(/(?<!\n)\n(?![ \n])/g, " ")
      .split("\n")
      .map((line) => (line.startsWith(" ") ? line : helper.boxWrap(line, HELP_WIDTH)))
      .join("\n");
  return [
    wrapped(spec.about),
    usage.join("\n"),
    options,
    ...(spec.notes === undefined ? [] : [wrapped(spec.notes)]),
    examples.join("\n"),
    wrapped(spec.exitCodes ?? EXIT_CODES_DEFAULT),
  ].join("\n\n");
}

/** The options of a command that takes no other arguments. Throws: UsageError. */
export function readOptions(args: readonly string[], spec: CommandSpec): OptionValues {
  const { values, positionals } = readArguments(args, spec);
  if (positionals.length > 0) throw new UsageError(`unexpected argument '${positionals[0]}'`);
  return values;
}

/** The options of a command, and what it is given besides. Throws: UsageError. */
export function readArguments(
  args: readonly string[],
  spec: CommandSpec,
): { readonly values: OptionValues; readonly positionals: readonly string[] } {
  const command = commandOf(spec);
  try {
    command.parse([...args], { from: "user" });
  } catch (error) {
    throw usageErrorFrom(error, command);
  }
  return { values: command.opts() as OptionValues, positionals: command.args };
}

/** commander's own message, in one line. */
function usageErrorFrom(error: unknown, command: Command): unknown {
  if (!(error instanceof CommanderError)) return error;
  const withValue = /^error: unknown option '(--[^=']+)=/.exec(error.message)?.[1];
  if (withValue !== undefined && command.options.some(({ long }) => long === withValue)) {
    return new UsageError(`option '${withValue}' does not take an argument`);
  }
  return new UsageError(
    error.message
      .replace(/^error: /, "")
      .replace(/\s*\n\(Did you mean (.*)\?\)$/s, "; did you mean '$1'?")
      .replace(/\s*\n\s*/g, " "),
  );
}

/** The name of an option's value: "block-size" is `blockSize`. */
export function keyOf(option: string): string {
  return option.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** Whether a command has an option of this short name. */
export function hasShort({ options }: CommandSpec, short: string): boolean {
  return options.some(([flags]) => flags.startsWith(`${short},`));
}

/** The known name that a mistyped one was probably meant to be: at most two letters differ. */
export function nearest(typed: string, known: readonly string[]): string | null {
  let best: string | null = null;
  let bestDistance = 3;
  for (const name of known) {
    const distance = editDistance(typed, name);
    if (distance < bestDistance) [best, bestDistance] = [name, distance];
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/** A whole number in [least, most]. Throws: UsageError naming the option. */
export function wholeNumber(option: string, text: string, least: number, most: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most)) {
    throw new UsageError(
      `--${option} takes a whole number from ${least} to ${most}, not '${text}'`,
    );
  }
  return value;
}

/** A number above 0, at most `most`. Throws: UsageError naming the option. */
export function positiveNumber(option: string, text: string, most: number): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (!(value > 0 && value <= most)) {
    throw new UsageError(`--${option} takes a number above 0, at most ${most}, not '${text}'`);
  }
  return value;
}

/** One of the names. Throws: UsageError listing them. */
export function oneOf<Name extends string>(
  option: string,
  text: string,
  names: readonly Name[],
): Name {
  const found = names.find((name) => name === text);
  if (found !== undefined) return found;
  throw new UsageError(`--${option} is ${names.join(" or ")}, not '${text}'`);
}

const SUFFIXES: Readonly<Record<string, number>> = {
  "": 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
};

/** Bytes, as in "64M": K, M, G and T are powers of 1024. Throws: UsageError naming the option. */
export function byteSize(option: string, text: string, least: number, most: number): number {
  return sizeArgument(`--${option}`, text, least, most);
}

/** As `byteSize`, of an argument that is no option. */
export function sizeArgument(name: string, text: string, least: number, most: number): number {
  const match = /^(\d+)([KMGT]?)(?:i?B)?$/i.exec(text);
  const value = match === null ? Number.NaN : Number(match[1]) * SUFFIXES[match[2]!.toUpperCase()]!;
  if (!(value >= least && value <= most)) {
    const range = `from ${shortSize(least)} to ${shortSize(most)}`;
    throw new UsageError(`${name} takes a size ${range} (such as 64M), not '${text}'`);
  }
  return value;
}

/** As `byteSize` reads it: in the largest unit that leaves it whole, apart from G. */
function shortSize(bytes: number): string {
  const unit = ["T", "M", "K"].find((each) => bytes % SUFFIXES[each]! === 0) ?? "";
  return `${bytes / SUFFIXES[unit]!}${unit}`;
}
