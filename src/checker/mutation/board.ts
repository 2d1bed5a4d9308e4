/** What the threads of a mutation run know together, in shared words. */
import { load, makeSharedBuffer, store, type Words } from "../../sync/atomics.ts";

export class Board {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Words;
  readonly #mutants: number;
  readonly #scenarios: number;
  /** The scenarios' words: the mutant that is tried, turns, and of each mutant how often it was come to. */
  readonly #rows: number;

  constructor(mutants: number, scenarios: number, shared?: SharedArrayBuffer) {
    this.#mutants = mutants;
    this.#scenarios = scenarios;
    this.#rows = mutants + 1;
    this.buffer = shared ?? makeSharedBuffer((this.#rows + scenarios * this.#rowWords) * 4);
    this.#words = new Int32Array(this.buffer);
  }

  get #rowWords(): number {
    return this.#mutants + 2;
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

  /** A scenario took so many turns, and came to each mutant so often (by number). */
  noteReach(scenario: number, turns: number, counts: Int32Array): void {
    store(this.#words, this.#row(scenario) + 1, turns);
    for (let mutant = 1; mutant <= this.#mutants; mutant++) {
      store(this.#words, this.#row(scenario) + 1 + mutant, counts[mutant]!);
    }
  }

  /** How much of a scenario is about a mutant: how often it comes there, for each turn; 0: never. */
  nearness(scenario: number, mutant: number): number {
    const row = this.#row(scenario) + 1;
    return load(this.#words, row + mutant) / Math.max(1, load(this.#words, row));
  }

  /** The scenarios that come to it, those first that are most about it. */
  reaching(mutant: number): number[] {
    return Array.from({ length: this.#scenarios }, (_, scenario) => scenario)
      .filter((scenario) => this.nearness(scenario, mutant) > 0)
      .sort((left, right) => this.nearness(right, mutant) - this.nearness(left, mutant));
  }
}
