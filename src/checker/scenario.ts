/**
 * Scenarios: small programs of a few actors over the core, or over code of one's own built on `sync`.
 * A scenario is written as ordinary code: what sleeps is a generator, everything else a function. It
 * is run from the checked build, where every access to shared memory is a scheduling point.
 */
import type { Region } from "../sync/region.ts";
import type { Task } from "../sync/sleep.ts";
import type { Thread } from "../sync/thread.ts";

/** One actor, in one schedule. */
export interface Self {
  readonly name: string;
  readonly thread: Thread;
  /** The operation it runs: its locks, its signal. */
  readonly task: Task;
  /** Says something for the story. */
  say(sentence: string): void;
}

/** What an actor does: what sleeps is a generator. */
export type Operation<Local> = (local: Local, self: Self) => unknown;

export interface Scenario<Shared = unknown, Local = unknown> {
  readonly name: string;
  /** What happens and what must hold, for whoever reads a counterexample. */
  readonly about: string;
  /** Where it comes from: a discussion, a commit's subject, a hazard's number. */
  readonly from: string;
  /** Makes the shared memory. Runs once, alone. */
  build(): Shared;
  /** Where the threads of the actors have joined. */
  region(shared: Shared): Region;
  /** Makes the JavaScript objects of one schedule. Runs alone; everything shared is as `build` left it. */
  begin(shared: Shared, actors: readonly Self[]): Local;
  /**
   * Each with a thread of its own. At most 8, with the environment's. Of several operations, one
   * after another, those that do not matter are left out of a counterexample.
   */
  readonly actors: Readonly<Record<string, Operation<Local> | readonly Operation<Local>[]>>;
  /** What the environment may do to an actor, at any point; or how many milliseconds pass at once. */
  readonly environment?: Readonly<
    Record<
      string,
      { readonly kill: string } | { readonly abort: string } | { readonly passMs: number }
    >
  >;
  /** Actors whose operation has a deadline: milliseconds from the beginning. */
  readonly timeoutMs?: Readonly<Record<string, number>>;
  /** After all actors have ended: nothing may be left behind. Runs alone. */
  end(local: Local): void;
  /** Names of words, for stories; null for a word without a name. */
  nameOf?(local: Local, word: number): string | null;
  /** Values worth seeing beside each step. */
  readonly watch?: Readonly<Record<string, (local: Local) => string | number>>;
  /** How it is explored by default; "reduced" where all of it can be. */
  readonly explore?: Exploration;
}

/** What happens in a scenario, and how it is explored: all but the memory and the objects it happens to. */
export type Plot<Shared, Local> = Pick<
  Scenario<Shared, Local>,
  "name" | "about" | "from" | "actors" | "environment" | "timeoutMs" | "explore"
>;

/** A way to explore, with its bounds. */
export type Exploration =
  | { readonly strategy: "reduced" | "cached" }
  | { readonly strategy: "every" }
  | { readonly strategy: "bounded"; readonly preemptions: number }
  | { readonly strategy: "pct"; readonly depth: number; readonly schedules: number }
  | { readonly strategy: "random"; readonly schedules: number };

/** States the type of a scenario, and is it. */
export function scenario<Shared, Local>(
  definition: Scenario<Shared, Local>,
): Scenario<Shared, Local> {
  return definition;
}

/** What a scenario demands does not hold. */
export class CheckError extends Error {
  readonly kind: "check" | "leak";

  constructor(message: string, kind: "check" | "leak") {
    super(message);
    this.kind = kind;
  }
}

/** Demands that something holds. Throws: CheckError, which is a counterexample. */
export function ensure(condition: unknown, message: string): asserts condition {
  if (!condition) throw new CheckError(message, "check");
}

/** Demands, at the end, that nothing is left behind. */
export function ensureNoLeak(condition: unknown, message: string): asserts condition {
  if (!condition) throw new CheckError(message, "leak");
}
