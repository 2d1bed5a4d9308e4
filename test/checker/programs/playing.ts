// Plays programs that are given as lists of operations (machine.mjs), schedule after schedule, and
// collects the states that they end in. Unlike the explorer it goes on after a failure.
import { Door } from "../../../src/checker/engine/door.ts";
import { Reduced } from "../../../src/checker/engine/dpor.ts";
import {
  type Actor,
  type Environment,
  type Outcome,
  Run,
  type Stage,
  type Strategy,
} from "../../../src/checker/engine/run.ts";
import { Beginnings, makeShares } from "../../../src/checker/engine/shares.ts";
import { Random } from "../../../src/checker/engine/strategies.ts";
import { drain, Linker } from "../../../src/checker/instrument/linker.ts";
import type { FailureKind } from "../../../src/checker/report/story.ts";
import type * as Machine from "./machine.mjs";

export interface Program {
  readonly actors: readonly (readonly Machine.Operation[])[];
  readonly environment?: Environment | null | undefined;
}

/** Words that a program uses, and the one that tells of its dead. */
export const WORDS = 4;

/** How a program can end. As text, so that sets of them can be compared. */
export function finalState(
  words: ArrayLike<number>,
  seen: readonly (readonly number[])[],
  asleep: readonly number[],
  failure: FailureKind | null,
): string {
  const read = seen.map((values) => values.join(",")).join(" | ");
  const end = failure === null ? "all end" : `${failure}: ${asleep.join(" and ")} sleep`;
  return `words ${Array.from(words).join(" ")}; seen ${read}; ${end}`;
}

/** The machine, linked to a door. */
const machines = new WeakMap<Door, typeof Machine>();

async function linkMachine(door: Door): Promise<typeof Machine> {
  const linked = await new Linker(door).link(new URL("./machine.mjs", import.meta.url));
  const machine = linked.exports as unknown as typeof Machine;
  machines.set(door, machine);
  return machine;
}

/** A program on its stage. */
export class MachineStage implements Stage {
  readonly #door: Door;
  readonly #machine: typeof Machine;
  readonly #program: Program;
  #seen: number[][] = [];
  #aborted = new Set<number>();

  private constructor(door: Door, machine: typeof Machine, program: Program) {
    this.#door = door;
    this.#machine = machine;
    this.#program = program;
    door.makeBuffer(WORDS * 4);
    door.mark();
  }

  /** A program on a door where others were before: what was contended there still is. */
  static async build(door: Door, program: Program): Promise<MachineStage> {
    const machine = machines.get(door) ?? (await linkMachine(door));
    return new MachineStage(door, machine, program);
  }

  begin(): Actor[] {
    const { actors, environment } = this.#program;
    this.#aborted = new Set();
    this.#seen = actors.map(() => []);
    const all: Actor[] = actors.map((operations, index) => ({
      name: String.fromCharCode(97 + index),
      body: this.#machine.act(this.#door.words, operations, this.#seen[index]!),
    }));
    if (environment) all.push({ name: environment.act, body: environment });
    return all;
  }

  *reap(): Generator<unknown, void> {
    yield* this.#machine.reap(this.#door.words);
  }

  hasUnreaped(): boolean {
    return this.#door.words[this.#machine.DEAD] === 1;
  }

  kill(): number {
    this.#door.write(this.#machine.DEAD, 1);
    return this.#machine.DEAD;
  }

  describeRace(): string {
    return "a race";
  }

  abort(target: number): void {
    this.#aborted.add(target);
  }

  deadlineMs(): number {
    return Infinity;
  }

  interruption(actor: number): Error | null {
    return this.#aborted.has(actor) ? new Error("aborted") : null;
  }

  end(): void {}

  classify(error: unknown): { kind: FailureKind; message: string } {
    throw error;
  }

  stateAfter(run: Run, { failure }: Outcome): string {
    const asleep = this.#seen
      .map((_seen, actor) => actor)
      .filter((actor) => run.live & (1 << actor));
    return drain(finalState(this.#door.words, this.#seen, asleep, failure?.kind ?? null));
  }
}

const commonDoor = new Door();

export interface Played {
  /** The states in which schedules ended. */
  readonly states: ReadonlySet<string>;
  /** Schedules run to their end. */
  readonly complete: number;
  /** Those given up since others stand for them. */
  readonly redundant: number;
}

/**
 * Plays every schedule of a strategy; again from the beginning whenever a further word proves
 * contended. `warmUp`: schedules at random before, which tell of contended words.
 */
export async function playAll(
  program: Program,
  makeStrategy: () => Strategy,
  { warmUp = 0, schedulesMax = 500_000 } = {},
): Promise<Played> {
  // With memory of another size, all that is known of words is forgotten.
  commonDoor.makeBuffer(4);
  const stage = await MachineStage.build(commonDoor, program);
  return playOn(commonDoor, stage, makeStrategy, warmUp, schedulesMax);
}

export function playOn(
  door: Door,
  stage: MachineStage,
  makeStrategy: () => Strategy,
  warmUp = 0,
  schedulesMax = 500_000,
): Played {
  const stepsMax = 1000;
  const first = new Run(door, stage, new Random(1), { stepsMax });
  for (let count = 0; count < warmUp; count++) first.schedule();
  for (;;) {
    door.discovered = 0;
    const states = new Set<string>();
    const strategy = makeStrategy();
    const run = new Run(door, stage, strategy, { stepsMax });
    let complete = 0;
    let redundant = 0;
    for (let more = true; more && door.discovered === 0; ) {
      const outcome = run.schedule();
      if (outcome.redundant) redundant++;
      else {
        complete++;
        states.add(stage.stateAfter(run, outcome));
      }
      more = strategy.end(outcome);
      if (complete + redundant > schedulesMax) throw new Error("the program is too large");
    }
    if (door.discovered === 0) return { states, complete, redundant };
  }
}

/** As `playOn`, by several that take turns, each with its part of the exploration. */
export async function playShared(
  program: Program,
  makeStrategy: (beginnings: Beginnings) => Strategy,
  parts: number,
): Promise<Played[]> {
  const players = await Promise.all(
    makeShares(parts).map(async (share) => {
      const door = new Door();
      const stage = await MachineStage.build(door, program);
      playOn(door, stage, () => new Reduced()); // from here on it is known what is contended
      const beginnings = new Beginnings(share);
      const strategy = makeStrategy(beginnings);
      const run = new Run(door, stage, strategy, { stepsMax: 1000 });
      const played = { states: new Set<string>(), complete: 0, redundant: 0 };
      return { stage, beginnings, strategy, run, played, more: true };
    }),
  );
  while (players.some(({ more }) => more)) {
    for (const player of players) {
      if (!player.more) continue;
      const { stage, beginnings, strategy, run, played } = player;
      const outcome = run.schedule();
      if (beginnings.isMine() && outcome.redundant) played.redundant++;
      else if (beginnings.isMine()) {
        played.complete++;
        played.states.add(stage.stateAfter(run, outcome));
      }
      player.more = strategy.end(outcome);
    }
  }
  return players.map(({ played }) => played);
}
