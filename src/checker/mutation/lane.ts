/** A thread of the mutation run: tries mutants on one scenario after another. */
import { parentPort, workerData } from "node:worker_threads";
import { Checked, type CheckOptions } from "../check.ts";
import { type ListedScenario, listScenarios } from "../registry.ts";
import { Board } from "./board.ts";
import { MutantSwitch, type Mutants, mutantsOf } from "./mutants.ts";

/**
 * How long a mutant is tried in a scenario: in the beginning's schedules, in as many as are allowed, or in
 * all that the scenario asks for.
 */
export type Depth = "short" | "long" | "whole";

/** What is done with one scenario. */
export interface LaneJob {
  readonly scenario: number;
  readonly depth: Depth;
  /** Mutants to try, by number; null: none, but notes which of them the scenario comes to. */
  readonly mutants: readonly number[] | null;
}

/** What the threads of a run are given. */
export interface LaneData {
  readonly files: readonly string[];
  readonly scenarios: readonly string[];
  /** Of `long`. */
  readonly schedules: number;
  readonly seconds: number;
  readonly board: SharedArrayBuffer;
}

/** Schedules at random, of each of three ways, before those of the scenario's own. */
const WARM_UP = 50;
/** Of a scenario whose schedules are long, so many turns at most are tried, and fewer schedules. */
const TURNS_MAX = 500_000;

class Lane {
  readonly #places: readonly ListedScenario[];
  readonly #mutants: Mutants;
  readonly #board: Board;
  readonly #limits: Readonly<Record<Depth, CheckOptions>>;
  readonly #tried: MutantSwitch;
  /** The scenario before this one, whose program this one may belong to as well. */
  #last: { readonly module: string; readonly checked: Checked } | null = null;

  constructor({ files, scenarios, schedules, seconds, board }: LaneData) {
    const listed = listScenarios();
    this.#places = scenarios.map((name) => listed.find(({ scenario }) => scenario.name === name)!);
    this.#mutants = mutantsOf(files);
    this.#board = new Board(this.#mutants.all.length, scenarios.length, board);
    this.#limits = {
      short: { warmUp: WARM_UP, schedules: 1, races: false, seconds },
      long: { warmUp: WARM_UP, schedules, seconds },
      whole: { seconds },
    };
    this.#tried = new MutantSwitch(this.#mutants.all.length);
  }

  async do({ scenario, depth, mutants }: LaneJob): Promise<void> {
    const board = this.#board;
    const left = mutants?.filter((mutant) => board.killer(mutant) < 0);
    if (left?.length === 0) return;
    const checked = await this.#checked(scenario);
    if (left === undefined) return await this.#reach(scenario, checked);
    for (const mutant of left) {
      if (board.killer(mutant) >= 0) continue; // by another thread, by now
      board.begin(scenario, mutant);
      this.#tried.active = mutant;
      if (await fails(checked, this.#limitsFor(scenario, depth))) board.kill(mutant, scenario);
      this.#tried.active = 0;
    }
    board.begin(scenario, 0);
  }

  #limitsFor(scenario: number, depth: Depth): CheckOptions {
    const limits = this.#limits[depth];
    if (depth !== "long") return limits;
    const most = Math.ceil(TURNS_MAX / this.#board.turnsPerSchedule(scenario));
    return { ...limits, schedules: Math.min(most, limits.schedules!) };
  }

  /** Throws: an error when the scenario fails as it is. */
  async #reach(scenario: number, checked: Checked): Promise<void> {
    this.#tried.counts.fill(0);
    const { failed, turns, schedules } = await checked.outcome(this.#limits.short);
    if (failed) throw new Error(`${this.#places[scenario]!.scenario.name} fails without a mutant`);
    this.#board.noteReach(scenario, turns, schedules, this.#tried.counts);
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
    return (await checked.outcome(options)).failed;
  } catch {
    return true; // it does not even set up
  }
}

const lane = new Lane(workerData as LaneData);

parentPort!.on("message", (job: LaneJob) => {
  lane.do(job).then(
    () => parentPort!.postMessage({ error: null }),
    (error: unknown) => parentPort!.postMessage({ error: String(error) }),
  );
});
