/**
 * What the checker tells of one schedule: who did what, step by step, and how it ended. Plain data, so
 * that it can cross threads, be kept as JSON, and be shown as text (text.ts) or as a page (page.ts).
 */

/** How a schedule can fail. */
export type FailureKind =
  | "invariant" // a broken invariant or assertion of the core
  | "check" // a check of the scenario, during the run or at its end
  | "error" // an error that the scenario did not expect
  | "deadlock" // everyone left sleeps, each for what another holds
  | "lost wake-up" // a sleeper whose condition has come true, and nobody woke it
  | "livelock" // steps without end
  | "data race" // a plain write against an access that nothing orders
  | "lock rank"
  | "leak"; // at the end something is still held

export interface Failure {
  readonly kind: FailureKind;
  /** One sentence. */
  readonly message: string;
  /** Index of the actor it happened to, or -1. */
  readonly actor: number;
}

/** Where in the source an access stands. */
export interface Site {
  /** Function or method, for example "tryPin" or "Pages.releaseNoting". */
  readonly function: string;
  /** Relative to the sources, for example "pin/pin.ts". */
  readonly file: string;
}

/**
 * What one step is: an access to a shared word ("read", "write", "update": read and written in one),
 * going to sleep on a word ("sleep"), going on after it ("resume"), waking who sleeps on it ("wake"),
 * an act of the environment upon another actor ("kill", "abort"), or time that it lets pass ("pass").
 */
export type StepKind =
  | "read"
  | "write"
  | "update"
  | "sleep"
  | "resume"
  | "wake"
  | "kill"
  | "abort"
  | "pass";

export interface Step {
  /** Index into `Story.actors`. */
  readonly actor: number;
  readonly kind: StepKind;
  /** The word's name, for example "pins of page 7", "io lock of inode 2: guard". */
  readonly word: string;
  /** The word's value before and after the step; the same where it was only read. */
  readonly before: number;
  readonly after: number;
  /** The innermost functions at the step, outermost first. The last one is where the access stands. */
  readonly stack: readonly Site[];
  /** What the actor said since its step before: sentences of the scenario, "starts its I/O into page 0". */
  readonly said: readonly string[];
  /** Of "kill" and "abort": whom; of "pass": itself. Else -1. */
  readonly target: number;
  /** Values of `Story.watched` after the step, in that order. */
  readonly state: readonly string[];
}

export interface Story {
  readonly scenario: string;
  /** What the scenario says of itself. */
  readonly about: string;
  /** Variant of the core that was checked, or null for the core as it is. */
  readonly variant: string | null;
  readonly variantAbout: string | null;
  readonly actors: readonly string[];
  /** Names of the values shown beside the steps: "pins of page 0", "block 3". */
  readonly watched: readonly string[];
  readonly steps: readonly Step[];
  readonly failure: Failure | null;
  /** The schedule as a string, to replay: "io*12 truncate*40 io". */
  readonly schedule: string;
}
