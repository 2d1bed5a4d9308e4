/** One run of a command on volumes: its arguments, its volumes, its errors, its end. */
import { AbortError } from "../base/errors.ts";
import { untilInterrupted } from "./interrupt.ts";
import { Places } from "./places.ts";
import { reasonOf } from "./reason.ts";
import type { Terminal } from "./terminal.ts";
import {
  type CommandBody,
  type CommandSpec,
  EXIT_FOUND,
  EXIT_OK,
  keyOf,
  type OptionValues,
  readArguments,
  UsageError,
} from "./usage.ts";

/** Milliseconds of work between two looks at the event loop, where Ctrl-C is. */
const TURN_MS = 20;

/** Nobody reads what is printed any more. */
class OutputGone extends Error {}

export class Job {
  readonly terminal: Terminal;
  readonly places: Places;
  readonly operands: readonly string[];
  readonly signal: AbortSignal;
  readonly #values: OptionValues;
  #turnEnds = performance.now() + TURN_MS;
  code = EXIT_OK;

  constructor(
    terminal: Terminal,
    places: Places,
    given: { readonly values: OptionValues; readonly positionals: readonly string[] },
    signal: AbortSignal,
  ) {
    this.terminal = terminal;
    this.places = places;
    this.#values = given.values;
    this.operands = given.positionals;
    this.signal = signal;
  }

  /** Whether an option without a value was given. */
  has(option: string): boolean {
    // commander takes "--no-clobber" for the opposite of "--clobber".
    if (option.startsWith("no-")) return this.#values[keyOf(option.slice(3))] === false;
    return this.#values[keyOf(option)] === true;
  }

  /** An option's value, or null. */
  value(option: string): string | null {
    const value = this.#values[keyOf(option)];
    return typeof value === "string" ? value : null;
  }

  /** The values of an option that repeats. */
  values(option: string): readonly string[] {
    const value = this.#values[keyOf(option)];
    return Array.isArray(value) ? value : [];
  }

  get json(): boolean {
    return this.has("json");
  }

  /** A line about one thing; the command goes on, and ends with 1. */
  complain(shown: string, error: unknown): void {
    this.code = EXIT_FOUND;
    const reason = reasonOf(error);
    const named = reason.startsWith(`'${shown}' `) ? reason : `${shown}: ${reason}`;
    this.terminal.note(`${this.terminal.styleNote("red", "holdfast:")} ${named}`);
  }

  /** Runs it; an error of the world's is told as one of this thing, and is the answer null. */
  attempt<T>(shown: string, run: () => T): T | null {
    try {
      return run();
    } catch (error) {
      if (!isOfWorld(error)) throw error;
      this.complain(shown, error);
      return null;
    }
  }

  /** To be called often: lets the event loop turn. Throws: AbortError after Ctrl-C. */
  async breathe(): Promise<void> {
    if (performance.now() < this.#turnEnds) return;
    await new Promise((resolve) => setImmediate(resolve));
    if (this.signal.aborted) throw new AbortError("interrupted");
    if (this.terminal.isGone) throw new OutputGone();
    this.#turnEnds = performance.now() + TURN_MS;
  }
}

/** Whether it is an error of the world's, about something that can be named: not of usage, or ours. */
export function isOfWorld(error: unknown): error is Error & { readonly code: string } {
  if (error instanceof UsageError || error instanceof AbortError) return false;
  const { code } = error as { code?: unknown };
  return error instanceof Error && typeof code === "string" && /^E[A-Z0-9]+$/.test(code);
}

/** A command on volumes: they are unmounted however it ends. */
export function volumeCommand(
  spec: CommandSpec,
  work: (job: Job) => Promise<void> | void,
  translate: (args: readonly string[]) => readonly string[] = (args) => args,
): CommandBody {
  return {
    spec,
    async run(args, terminal, session) {
      const given = readArguments(translate(args), spec);
      let code = EXIT_OK;
      await untilInterrupted(async (signal) => {
        using places = new Places(session);
        const job = new Job(terminal, places, given, signal);
        try {
          await work(job);
          code = job.code;
        } catch (error) {
          if (error instanceof OutputGone) return;
          if (!(error instanceof AbortError)) throw error;
          terminal.note("holdfast: interrupted; what was done until then stays");
          code = EXIT_FOUND;
        }
      });
      return code;
    },
  };
}

/** The operands, at least one. Throws: UsageError. */
export function someOperands(job: Job, what: string): readonly [string, ...string[]] {
  const [first, ...rest] = job.operands;
  if (first === undefined) throw new UsageError(`give ${what}`);
  return [first, ...rest];
}

/** The one operand. Throws: UsageError. */
export function oneOperand(job: Job, what: string): string {
  const [first, ...rest] = someOperands(job, what);
  if (rest.length > 0) throw new UsageError(`give ${what}, and only one: '${rest[0]}' is too many`);
  return first;
}
