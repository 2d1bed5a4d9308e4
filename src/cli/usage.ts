/** What a subcommand is, its options, read by node:util, and the errors that end in exit code 2. */
import { type ParseArgsConfig, parseArgs } from "node:util";
import type { Terminal } from "./terminal.ts";

export const EXIT_OK = 0;
export const EXIT_FOUND = 1;
export const EXIT_USAGE = 2;

/** A subcommand's own module. */
export interface CommandBody {
  readonly help: string;
  /** Where the exit codes of errors are not EXIT_USAGE and EXIT_FOUND. */
  readonly exitCodes?: { readonly usage: number; readonly failed: number };
  /** Returns the exit code. Throws: UsageError, or what it met. */
  run(args: readonly string[], terminal: Terminal): Promise<number>;
}

/** The command line is wrong. `message` says what to give instead. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  readonly code = "ERR_HOLDFAST_USAGE";
}

type OptionTable = NonNullable<ParseArgsConfig["options"]>;
export type OptionValues = Readonly<Record<string, string | boolean | undefined>>;

/** The options of a command that takes no other arguments. Throws: UsageError. */
export function readOptions(args: readonly string[], options: OptionTable): OptionValues {
  return readArguments(args, options, false).values;
}

/** The options of a command, and what it is given besides. Throws: UsageError. */
export function readArguments(
  args: readonly string[],
  options: OptionTable,
  allowPositionals = true,
): { readonly values: OptionValues; readonly positionals: readonly string[] } {
  try {
    const read = parseArgs({ args: [...args], options, strict: true, allowPositionals });
    return { values: read.values as OptionValues, positionals: read.positionals };
  } catch (error) {
    throw usageErrorFrom(error, Object.keys(options));
  }
}

/** Node's own message, cut to its first sentence: the rest speaks of positional arguments. */
function usageErrorFrom(error: unknown, known: readonly string[]): unknown {
  if (!(error instanceof Error) || !("code" in error)) return error;
  if (!String(error.code).startsWith("ERR_PARSE_ARGS")) return error;
  const unknownOption = /^Unknown option '(-[^']*)'/.exec(error.message)?.[1];
  if (unknownOption !== undefined) {
    const near = nearest(unknownOption.replace(/^-+/, ""), known);
    const hint = near === null ? "" : `; did you mean '--${near}'?`;
    return new UsageError(`unknown option '${unknownOption}'${hint}`);
  }
  const sentence = error.message.split(/\. |\n/)[0]!.replace(/\.$/, "");
  return new UsageError(sentence.charAt(0).toLowerCase() + sentence.slice(1));
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
