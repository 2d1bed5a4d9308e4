/** The options of `holdfast check`. */
import { availableParallelism } from "node:os";
import type { Exploration } from "../../checker/scenario.ts";
import {
  type CommandSpec,
  type OptionValues,
  oneOf,
  positiveNumber,
  readArguments,
  UsageError,
  wholeNumber,
} from "../usage.ts";

export interface CheckCommandOptions {
  /** Names given; none: all. */
  readonly scenarios: readonly string[];
  /** Lists instead of running. */
  readonly list: boolean;
  /** Names of variants; "all" is one. */
  readonly variants: readonly string[];
  readonly exploration: Exploration | undefined;
  readonly schedules: number | undefined;
  readonly seconds: number;
  readonly seed: number;
  readonly replay: string | undefined;
  readonly raw: boolean;
  readonly html: string | undefined;
  readonly stories: string | undefined;
  /** A file of the core, or "all". */
  readonly mutate: string | undefined;
  /** Which scenario killed which mutant: read, and written at the end. */
  readonly kills: string | undefined;
  /** Of mutants, only those without a killer there. */
  readonly open: boolean;
  readonly json: boolean;
  readonly threads: number;
  readonly shrink: boolean;
}

const SECONDS_DEFAULT = 60;
const SCHEDULES_MAX = 1e12;
const STRATEGIES = ["reduced", "cached", "every", "bounded", "pct", "random"] as const;

const DEFAULTS = { preemptions: "2", depth: "3", seconds: String(SECONDS_DEFAULT), seed: "1" };

export const CHECK_SPEC: CommandSpec = {
  name: "check",
  about: `Runs scenarios of the concurrency core, from its production source, through the interleavings
of their actors, and tells the first schedule in which something breaks.`,
  usage: ["[OPTIONS] [SCENARIO...]"],
  completes: "nothing",
  options: [
    ["--list", "list the scenarios and the variants, and run nothing"],
    [
      "--variant <name>",
      "the core with one decision replaced; may be repeated; all: each variant in the scenarios that must catch it",
      null,
      "repeats",
    ],
    [
      "--strategy <name>",
      "reduced: every interleaving, up to swaps that change nothing; cached: what follows from a state once; " +
        "every: without that reduction; bounded: at most --preemptions; pct: by random priorities, bugs up to " +
        "--depth; random",
      "the scenario's own",
    ],
    [
      "--preemptions <n>",
      "of bounded: interruptions of an actor that could go on",
      DEFAULTS.preemptions,
    ],
    ["--depth <n>", "of pct: ordering constraints that a bug may need", DEFAULTS.depth],
    ["--schedules <n>", "of each scenario, at most"],
    ["--seconds <n>", "of each scenario, at most", DEFAULTS.seconds],
    ["--seed <n>", "of pct and random", DEFAULTS.seed],
    ["--replay <schedule>", "play this one schedule of one scenario, and tell its story"],
    ["--raw", "tell stories access by access"],
    ["--no-shrink", "tell the failing schedule that was found first"],
    ["--html <file>", "write the story as a page that can be stepped through"],
    ["--stories <dir>", "write each story as text, to keep: DIR/VARIANT.SCENARIO.txt"],
    [
      "--mutate <place>",
      "weaken a file of the core (pin/pin.ts), a folder, or all of it, in one place at a time, and list what no " +
        "scenario notices and nobody explains; --schedules is 2000 then, unless given",
    ],
    ["--kills <file>", "which scenario killed which mutant: tried first, and brought up to date"],
    ["--open", "with --kills: believe what it holds, and try the others only"],
    ["--threads <n>", "scenarios at a time; fewer scenarios share them", "one per core"],
    ["--json", "print the result as JSON, a line per scenario"],
  ],
  notes: `A scenario ends after --seconds even if more is left; the table says so. With --mutate that is for each
mutant, and one that takes twice as long is told as hanging. Ctrl-C ends early and
prints what is known. How it works and what it proves: docs/checker.md.`,
  examples: [
    "holdfast check                                  every scenario, each by its own strategy",
    "holdfast check pin-truncate --strategy every    one, without reduction",
    "holdfast check --variant no-epoch-wait          what happens without the epoch wait",
    "holdfast check --variant all                    each variant is caught, or known to hold",
  ],
  exitCodes:
    "Exit codes: 0 nothing failed (with variants: each as expected), 1 something did, 2 wrong usage.",
};

/** Reads the command line. Throws: UsageError. */
export function parseCheckOptions(args: readonly string[]): CheckCommandOptions {
  const { values: read, positionals } = readArguments(args, CHECK_SPEC);
  const values: OptionValues = { ...DEFAULTS, ...read };
  const given = (name: string): string | undefined =>
    values[name] === undefined ? undefined : String(values[name]);
  const replay = given("replay");
  if (replay !== undefined && positionals.length !== 1) {
    throw new UsageError("--replay takes one scenario: the one that the schedule is of");
  }
  for (const [name, needed] of [
    ["kills", "mutate"],
    ["open", "kills"],
  ] as const) {
    const isGiven = values[name] !== undefined && values[name] !== false;
    if (isGiven && values[needed] === undefined)
      throw new UsageError(`--${name} needs --${needed}`);
  }
  const schedules = given("schedules");
  const threads = given("threads");
  return {
    scenarios: positionals,
    list: values["list"] === true,
    variants: (values["variant"] as string[] | undefined) ?? [],
    exploration: explorationOf(values),
    schedules:
      schedules === undefined ? undefined : wholeNumber("schedules", schedules, 1, SCHEDULES_MAX),
    seconds: positiveNumber("seconds", String(values["seconds"]), 86_400),
    seed: wholeNumber("seed", String(values["seed"]), 0, 2 ** 31),
    replay,
    raw: values["raw"] === true,
    html: given("html"),
    stories: given("stories"),
    mutate: given("mutate"),
    kills: given("kills"),
    open: values["open"] === true,
    json: values["json"] === true,
    threads:
      threads === undefined ? availableParallelism() : wholeNumber("threads", threads, 1, 256),
    shrink: values["shrink"] !== false,
  };
}

function explorationOf(values: OptionValues): Exploration | undefined {
  if (values["strategy"] === undefined) return undefined;
  const strategy = oneOf("strategy", String(values["strategy"]), STRATEGIES);
  const number = (name: string, least: number, most: number): number =>
    wholeNumber(name, String(values[name]), least, most);
  if (strategy === "bounded") return { strategy, preemptions: number("preemptions", 0, 100) };
  const schedules =
    values["schedules"] === undefined ? Infinity : number("schedules", 1, SCHEDULES_MAX);
  if (strategy === "pct") return { strategy, depth: number("depth", 1, 20), schedules };
  if (strategy === "random") return { strategy, schedules };
  return { strategy };
}
