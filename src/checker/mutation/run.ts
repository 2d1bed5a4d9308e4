/**
 * The mutation run: every mutant against the scenarios that come to its place. The scenario that killed it
 * in an earlier run is tried first. Of the others, those first that are most about the place; shortly, which
 * kills most, and then for as many schedules as a scenario is allowed, so that the verdicts are the same on a
 * busy machine. A mutant that no scenario kills is either the same program in other words, or a gap in the
 * scenarios.
 */
import { inLanes } from "../lanes.ts";
import { type ListedScenario, listScenarios } from "../registry.ts";
import { Board } from "./board.ts";
import type { Depth, LaneData, LaneJob } from "./lane.ts";
import { type Mutant, mutantsOf } from "./mutants.ts";
import { explanationOf } from "./survivors/index.ts";

/** What became of a mutant. */
export interface Verdict {
  readonly mutant: Mutant;
  /** The scenario that failed, or null. */
  readonly killedBy: string | null;
  /** That scenario did not fail, but never ended. */
  readonly hangs: boolean;
  /** Scenarios that come to its place; 0 as well when an earlier killer left nothing to look for. */
  readonly reachedBy: number;
}

export interface MutationLimits {
  /** At most, in each scenario of a mutant that is left. */
  readonly schedules: number;
  /** For the same, in case that a schedule is very long. A scenario that takes twice as long hangs. */
  readonly seconds: number;
  readonly threads: number;
  readonly signal: AbortSignal;
  /** `done` of `all` scenarios of a round, and how many mutants are killed. */
  onProgress(round: string, done: number, all: number, killed: number): void;
}

/** What is known of earlier runs. */
export interface Earlier {
  /** The scenario that killed a mutant, if any. */
  killerOf(mutant: Mutant): string | null;
  /** Whether that is believed; else it is tried first. */
  readonly isTrusted: boolean;
}

/** After the known killers: each mutant in these of the scenarios nearest to it. */
const ROUNDS: readonly { readonly depth: Depth; readonly from: number; readonly to: number }[] = [
  { depth: "short", from: 0, to: 3 },
  { depth: "short", from: 3, to: 15 },
  { depth: "long", from: 0, to: 3 },
  { depth: "long", from: 3, to: 15 },
  { depth: "short", from: 15, to: 60 },
  { depth: "long", from: 15, to: 60 },
];

/** The scenarios of a run, those of a module together; small ones first: they kill what is easily killed. */
export function mutationScenarios(): string[] {
  const all = listScenarios();
  const isLarge = ({ module }: ListedScenario): boolean => module.pathname.includes("/dax/");
  return [...all.filter((each) => !isLarge(each)), ...all.filter(isLarge)].map(
    ({ scenario }) => scenario.name,
  );
}

export class MutationRun {
  readonly #files: readonly string[];
  readonly #limits: MutationLimits;
  readonly #scenarios: readonly string[];
  readonly #all: readonly Mutant[];
  readonly #board: Board;
  #believed: Earlier | null = null;

  constructor(files: readonly string[], limits: MutationLimits, scenarios: readonly string[]) {
    this.#files = files;
    this.#limits = limits;
    this.#scenarios = scenarios;
    this.#all = mutantsOf(files).all;
    this.#board = new Board(this.#all.length, scenarios.length);
  }

  /** Tries all mutants that are not explained. At the signal, the verdicts are those known so far. */
  async run(earlier: Earlier | null): Promise<void> {
    if (earlier?.isTrusted) this.#believed = earlier;
    else if (earlier !== null) await this.#tryKillers(earlier);
    if (this.#left().length === 0) return;
    const reach = this.#scenarios.map(
      (_, scenario): LaneJob => ({ scenario, depth: "short", mutants: null }),
    );
    await this.#round("reach", reach);
    for (const { depth, from, to } of ROUNDS) {
      const jobs = this.#jobs(depth, ({ number }) => this.#board.reaching(number).slice(from, to));
      await this.#round(`nearest ${to}, ${depth}`, jobs);
    }
  }

  async #tryKillers(earlier: Earlier): Promise<void> {
    for (const depth of ["short", "whole"] as const) {
      const jobs = this.#jobs(depth, (mutant) => {
        const killer = this.#scenarios.indexOf(earlier.killerOf(mutant) ?? "");
        return killer < 0 ? [] : [killer];
      });
      await this.#round(`known killers, ${depth}`, jobs);
    }
  }

  get verdicts(): Verdict[] {
    const board = this.#board;
    return this.#all.map((mutant) => {
      const killer = board.killer(mutant.number);
      const believed = this.#believed?.killerOf(mutant) ?? null;
      const killedBy = killer < 0 ? believed : this.#scenarios[killer]!;
      const hangs = board.hangs(mutant.number);
      return { mutant, killedBy, hangs, reachedBy: board.reachedBy(mutant.number) };
    });
  }

  /** The mutants that are neither killed nor explained. */
  #left(): Mutant[] {
    return this.#all.filter(
      (mutant) =>
        this.#board.killer(mutant.number) < 0 &&
        (this.#believed?.killerOf(mutant) ?? null) === null &&
        explanationOf(mutant) === null,
    );
  }

  /** The jobs of a round in which each mutant that is left is tried in the scenarios that `chosen` says. */
  #jobs(depth: Depth, chosen: (mutant: Mutant) => readonly number[]): LaneJob[] {
    const mutants = this.#scenarios.map((): number[] => []);
    for (const mutant of this.#left()) {
      for (const scenario of chosen(mutant)) mutants[scenario]!.push(mutant.number);
    }
    return mutants
      .map((each, scenario): LaneJob => ({ scenario, depth, mutants: each }))
      .filter((job) => job.mutants!.length > 0);
  }

  async #round(name: string, jobs: readonly LaneJob[]): Promise<void> {
    const { schedules, seconds, threads, signal, onProgress } = this.#limits;
    if (jobs.length === 0 || signal.aborted) return;
    const board = this.#board;
    let done = 0;
    const tell = (): void => onProgress(name, done, jobs.length, board.killed);
    tell();
    const since = new Map<number, { mutant: number; time: number }>();
    const data: LaneData = {
      files: this.#files,
      scenarios: this.#scenarios,
      schedules,
      seconds,
      board: board.buffer,
    };
    await inLanes<LaneJob, { error: string | null }>(jobs, {
      worker: new URL("lane.js", import.meta.url),
      workerData: data,
      threads,
      signal,
      onMessage(_job, { error }) {
        if (error !== null) throw new Error(error);
        done++;
        tell();
        return true;
      },
      isStuck(job) {
        tell();
        const { scenario } = jobs[job]!;
        const mutant = board.at(scenario);
        const seen = since.get(scenario);
        if (seen?.mutant !== mutant) since.set(scenario, { mutant, time: performance.now() });
        else if (mutant !== 0 && performance.now() - seen.time > 2 * seconds * 1000) {
          board.kill(mutant, scenario, true);
          board.begin(scenario, 0);
          return true;
        }
        return false;
      },
    });
  }
}
