/** What the threads of a mutation run know together, in shared words. */
import { load, makeSharedBuffer, store, type Words } from "../../sync/atomics.ts";

export class Board {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Words;
  readonly #mutants: number;
  readonly #scenarios: number;
  /** The scenarios' words: the mutant that is tried, turns, schedules, and how often each mutant was come to. */
  readonly #rows: number;

  constructor(mutants: number, scenarios: number, shared?: SharedArrayBuffer) {
    this.#mutants = mutants;
    this.#scenarios = scenarios;
    this.#rows = mutants + 1;
    this.buffer = shared ?? makeSharedBuffer((this.#rows + scenarios * this.#rowWords) * 4);
    this.#words = new Int32Array(this.buffer);
  }

  get #rowWords(): number {
    return this.#mutants + 3;
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

  #row(scenario: number): number {
    return this.#rows + scenario * this.#rowWords;
  }

  begin(scenario: number, mutant: number): void {
    store(this.#words, this.#row(scenario), mutant);
  }

  /** The mutant that a scenario is at; 0: none. */
  at(scenario: number): number {
    return load(this.#words, this.#row(scenario));
  }

  /** A scenario took so many turns in its schedules, and came to each mutant so often (by number). */
  noteReach(scenario: number, turns: number, schedules: number, counts: Int32Array): void {
    const row = this.#row(scenario);
    store(this.#words, row + 1, turns);
    store(this.#words, row + 2, schedules);
    for (let mutant = 1; mutant <= this.#mutants; mutant++) {
      store(this.#words, row + 2 + mutant, counts[mutant]!);
    }
  }

  /** At least 1. */
  turnsPerSchedule(scenario: number): number {
    const row = this.#row(scenario);
    const schedules = Math.max(1, load(this.#words, row + 2));
    return Math.max(1, load(this.#words, row + 1) / schedules);
  }

  /** How much of a scenario is about a mutant: how often it comes there, for each turn; 0: never. */
  nearness(scenario: number, mutant: number): number {
    const row = this.#row(scenario);
    return load(this.#words, row + 2 + mutant) / Math.max(1, load(this.#words, row + 1));
  }

  /** How many scenarios come to it. */
  reachedBy(mutant: number): number {
    let count = 0;
    for (let scenario = 0; scenario < this.#scenarios; scenario++) {
      if (this.nearness(scenario, mutant) > 0) count++;
    }
    return count;
  }

  /** The scenarios that come to it, those first that are most about it. */
  reaching(mutant: number): number[] {
    return Array.from({ length: this.#scenarios }, (_, scenario) => scenario)
      .filter((scenario) => this.nearness(scenario, mutant) > 0)
      .sort((left, right) => this.nearness(right, mutant) - this.nearness(left, mutant));
  }
}
