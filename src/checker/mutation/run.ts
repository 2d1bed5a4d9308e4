/**
 * The mutation run: every mutant against the scenarios that come to its place. First shortly, which
 * kills most of them; then those that are left for as many schedules as a scenario is allowed, so that
 * the verdicts are the same on a busy machine. A mutant that no scenario kills is either the same program
 * in other words, or a gap in the scenarios.
 */
import { load, makeSharedBuffer, or, store, type Words } from "../../sync/atomics.ts";
import { Checked, type CheckOptions } from "../check.ts";
import { inLanes } from "../lanes.ts";
import { type ListedScenario, listScenarios } from "../registry.ts";
import { type Mutant, MutantSwitch, type Mutants, mutantsOf } from "./mutants.ts";
import { explanationOf } from "./survivors/index.ts";

/** What became of a mutant. */
export interface Verdict {
  readonly mutant: Mutant;
  /** The scenario that failed, or null. */
  readonly killedBy: string | null;
  /** That scenario did not fail, but never ended. */
  readonly hangs: boolean;
  /** Scenarios that come to its place. */
  readonly reachedBy: number;
}

export interface MutationLimits {
  /** At most, in each scenario of a mutant that is left. */
  readonly schedules: number;
  /** For the same, in case that a schedule is very long. A scenario that takes twice as long hangs. */
  readonly seconds: number;
  readonly threads: number;
  readonly signal: AbortSignal;
  /** `done` of `all` scenarios, and how many mutants are killed. */
  onProgress(round: number, done: number, all: number, killed: number): void;
}

/** The rounds: schedules at random only, then all that is allowed. What is explained is not tried. */
const ROUNDS = 2;
const SHORT_WARM_UP = 50;

/** What lanes know together, in shared words. */
class Board {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Words;
  readonly #at: number;
  readonly #reached: number;
  readonly #mutants: number;
  readonly #scenarios: number;
  /** Of the mutants that a scenario comes to, a bit each. */
  readonly #rowWords: number;

  constructor(mutants: number, scenarios: number, shared?: SharedArrayBuffer) {
    this.#mutants = mutants;
    this.#scenarios = scenarios;
    this.#at = mutants + 1;
    this.#reached = this.#at + scenarios;
    this.#rowWords = (mutants >>> 5) + 1;
    const words = this.#reached + scenarios * this.#rowWords;
    this.buffer = shared ?? makeSharedBuffer(words * 4);
    this.#words = new Int32Array(this.buffer);
  }

  /** The scenario that killed it, from 0; -1: none. */
  killer(mutant: number): number {
    return Math.abs(load(this.#words, mutant)) - 1;
  }

  /** The killer failed with it, or never ended. */
  hangs(mutant: number): boolean {
    return load(this.#words, mutant) < 0;
  }

  kill(mutant: number, scenario: number, hangs = false): void {
    store(this.#words, mutant, hangs ? -(scenario + 1) : scenario + 1);
  }

  get killed(): number {
    let killed = 0;
    for (let mutant = 1; mutant <= this.#mutants; mutant++) {
      if (this.killer(mutant) >= 0) killed++;
    }
    return killed;
  }

  #reachedWord(scenario: number, mutant: number): number {
    return this.#reached + scenario * this.#rowWords + (mutant >>> 5);
  }

  reach(scenario: number, mutant: number): void {
    or(this.#words, this.#reachedWord(scenario, mutant), 1 << (mutant & 31));
  }

  isReached(scenario: number, mutant: number): boolean {
    return (load(this.#words, this.#reachedWord(scenario, mutant)) & (1 << (mutant & 31))) !== 0;
  }

  /** How many scenarios come to it. */
  reachedBy(mutant: number): number {
    let count = 0;
    for (let scenario = 0; scenario < this.#scenarios; scenario++) {
      if (this.isReached(scenario, mutant)) count++;
    }
    return count;
  }

  begin(scenario: number, mutant: number): void {
    store(this.#words, this.#at + scenario, mutant);
  }

  /** The mutant that a scenario is at; 0: none. */
  at(scenario: number): number {
    return load(this.#words, this.#at + scenario);
  }
}

interface Job {
  readonly scenario: number;
  readonly round: number;
}

/** What the threads of a run are given. */
export interface LaneData {
  readonly files: readonly string[];
  readonly scenarios: readonly string[];
  readonly schedules: number;
  readonly seconds: number;
  readonly board: SharedArrayBuffer;
}

/** The scenarios of a run, small ones first: they kill what is easily killed. */
export function mutationScenarios(): string[] {
  const names = listScenarios().map(({ scenario }) => scenario.name);
  const isLarge = (name: string): boolean => name.startsWith("dax-");
  return [...names.filter((name) => !isLarge(name)), ...names.filter(isLarge)];
}

/** Tries all mutants of the files. At the signal, the verdicts are those known so far. */
export async function tryMutants(
  files: readonly string[],
  { schedules, seconds, threads, signal, onProgress }: MutationLimits,
  scenarios: readonly string[],
): Promise<Verdict[]> {
  const { all } = mutantsOf(files);
  const board = new Board(all.length, scenarios.length);
  for (let round = 1; round <= ROUNDS; round++) {
    let done = 0;
    const tell = (): void => onProgress(round, done, scenarios.length, board.killed);
    tell();
    const since = new Map<number, { mutant: number; time: number }>();
    const jobs = scenarios.map((_, scenario): Job => ({ scenario, round }));
    const data: LaneData = { files, scenarios, schedules, seconds, board: board.buffer };
    await inLanes<Job, { error: string | null }>(jobs, {
      worker: new URL("worker.js", import.meta.url),
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
        const mutant = board.at(job);
        const seen = since.get(job);
        if (seen?.mutant !== mutant) since.set(job, { mutant, time: performance.now() });
        else if (mutant !== 0 && performance.now() - seen.time > 2 * seconds * 1000) {
          board.kill(mutant, job, true);
          board.begin(job, 0);
          return true;
        }
        return false;
      },
    });
  }
  return all.map((mutant) => {
    const killer = board.killer(mutant.number);
    const killedBy = killer < 0 ? null : scenarios[killer]!;
    const hangs = board.hangs(mutant.number);
    return { mutant, killedBy, hangs, reachedBy: board.reachedBy(mutant.number) };
  });
}

/** What a thread of the run has. */
export class MutationLane {
  readonly #places: readonly ListedScenario[];
  readonly #mutants: Mutants;
  readonly #board: Board;
  readonly #limits: Pick<MutationLimits, "schedules" | "seconds">;
  readonly #tried: MutantSwitch;
  /** The scenario before this one, whose program this one may belong to as well. */
  #last: { readonly module: string; readonly checked: Checked } | null = null;

  constructor({ files, scenarios, schedules, seconds, board }: LaneData) {
    const listed = listScenarios();
    this.#places = scenarios.map((name) => listed.find(({ scenario }) => scenario.name === name)!);
    this.#mutants = mutantsOf(files);
    this.#board = new Board(this.#mutants.all.length, scenarios.length, board);
    this.#limits = { schedules, seconds };
    this.#tried = new MutantSwitch(this.#mutants.all.length);
  }

  /** Tries the mutants that a scenario comes to and that nobody has killed. */
  async do({ scenario, round }: Job): Promise<void> {
    const board = this.#board;
    if (round > 1 && this.#left(scenario).length === 0) return;
    const tried = this.#tried;
    const checked = await this.#checked(scenario);
    const { seconds } = this.#limits;
    const short = { warmUp: SHORT_WARM_UP, schedules: 1, races: false, seconds };
    if (round === 1) {
      tried.seen.fill(0);
      if (await fails(checked, short))
        throw new Error(`${this.#places[scenario]!.scenario.name} fails without a mutant`);
      for (const { number } of this.#mutants.all) {
        if (tried.seen[number]) board.reach(scenario, number);
      }
    }
    for (const { number } of this.#left(scenario)) {
      if (board.killer(number) >= 0) continue;
      board.begin(scenario, number);
      tried.active = number;
      if (await fails(checked, round === 1 ? short : this.#limits)) board.kill(number, scenario);
      tried.active = 0;
    }
    board.begin(scenario, 0);
  }

  /** The mutants that a scenario comes to, and that are neither killed nor explained. */
  #left(scenario: number): Mutant[] {
    const board = this.#board;
    return this.#mutants.all.filter(
      (mutant) =>
        board.isReached(scenario, mutant.number) &&
        board.killer(mutant.number) < 0 &&
        explanationOf(mutant) === null,
    );
  }

  async #checked(scenario: number): Promise<Checked> {
    const place = this.#places[scenario]!;
    const module = place.module.href;
    const schemas = { texts: this.#mutants.schemas, isTried: this.#tried.is };
    const checked =
      this.#last?.module === module
        ? this.#last.checked.another(place)
        : await Checked.load(place, null, schemas);
    this.#last = { module, checked };
    return checked;
  }
}

async function fails(checked: Checked, options: CheckOptions): Promise<boolean> {
  try {
    return await checked.fails(options);
  } catch {
    return true; // it does not even set up
  }
}
