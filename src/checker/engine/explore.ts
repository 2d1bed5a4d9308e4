/**
 * Exploring a scenario: first at random, to find which words are contended and what is easily found;
 * then by its strategy, from the beginning again whenever a further word proves contended.
 */
import type { Failure } from "../report/story.ts";
import type { Exploration } from "../scenario.ts";
import type { Door } from "./door.ts";
import { Reduced } from "./dpor.ts";
import { Races } from "./races.ts";
import { Run, type Strategy } from "./run.ts";
import type { ScenarioStage } from "./stage.ts";
import { Bounded, Prioritised, Random } from "./strategies.ts";

/** Turns after which a schedule counts as endless. */
export const STEPS_MAX = 5000;
/** Schedules of the beginning, for each of its ways. */
const WARM_UP_SCHEDULES = 150;

/** At first, looking for data races as well: at random, which mixes actors well, and by priorities, which lets some run far ahead. */
function warmUpStrategies(seed: number): Strategy[] {
  return [new Prioritised(seed, 2), new Prioritised(seed, 3), new Random(seed)];
}

export interface Limits {
  /** Schedules at most. */
  readonly schedules: number;
  readonly seconds: number;
  readonly seed: number;
  /** Whether data races are looked for at first. */
  readonly races: boolean;
}

export interface Figures {
  /** Schedules run to their end, and those given up since others stand for them. */
  readonly schedules: number;
  readonly redundant: number;
  readonly turns: number;
  readonly contendedWords: number;
  readonly seconds: number;
  /** Whether nothing is left to explore within the strategy's bounds. */
  readonly complete: boolean;
  /** Whether it has done what it was to do: explored all, or run so many schedules. */
  readonly ended: boolean;
  /** 0 to 1, by estimate; null when that cannot be told. */
  readonly progress: number | null;
}

/** A schedule that failed: who had each turn. */
export interface Found {
  readonly failure: Failure;
  readonly turns: Uint8Array;
}

function strategyFor(exploration: Exploration, seed: number): Strategy {
  switch (exploration.strategy) {
    case "reduced":
      return new Reduced();
    case "every":
      return new Bounded(Infinity);
    case "bounded":
      return new Bounded(exploration.preemptions);
    case "pct":
      return new Prioritised(seed, exploration.depth);
    case "random":
      return new Random(seed);
  }
}

export class Explorer {
  readonly #door: Door;
  readonly #stage: ScenarioStage;
  readonly #exploration: Exploration;
  readonly #limits: Limits;
  #run: Run;
  #strategy: Strategy;
  #warmUp: number;
  readonly #warmUps: Strategy[];
  #schedules = 0;
  #redundant = 0;
  #turns = 0;
  #milliseconds = 0;
  #complete = false;
  #done = false;
  found: Found | null = null;

  /** `warmUp`: schedules at random at first; 0 when it is known which words are contended. */
  constructor(
    door: Door,
    stage: ScenarioStage,
    exploration: Exploration,
    limits: Limits,
    warmUp = WARM_UP_SCHEDULES,
  ) {
    // A single actor has a single schedule.
    const isSingle = stage.actorNames.length === 1;
    this.#warmUp = isSingle ? Math.min(warmUp, 1) : warmUp;
    this.#door = door;
    this.#stage = stage;
    this.#exploration = exploration;
    this.#limits = limits;
    this.#warmUps = warmUp > 0 ? warmUpStrategies(limits.seed).slice(0, isSingle ? 1 : 3) : [];
    this.#strategy = this.#warmUps.shift() ?? strategyFor(exploration, limits.seed);
    this.#run = new Run(door, stage, this.#strategy, { stepsMax: STEPS_MAX });
    this.#use(this.#strategy, warmUp > 0 && limits.races);
  }

  #use(strategy: Strategy, looksForRaces: boolean): void {
    this.#strategy = strategy;
    this.#door.observe = null;
    this.#run = new Run(this.#door, this.#stage, strategy, { stepsMax: STEPS_MAX });
    if (looksForRaces) this.#run.races = new Races(this.#stage.isRelaxed);
  }

  /** Explores for about so long. Returns whether the exploration has ended. */
  advance(milliseconds: number): boolean {
    const start = performance.now();
    const end = Math.min(
      start + milliseconds,
      start + this.#limits.seconds * 1000 - this.#milliseconds,
    );
    while (!this.#done && performance.now() < end) {
      for (let count = 0; count < 64 && !this.#done; count++) this.#one();
    }
    this.#milliseconds += performance.now() - start;
    if (this.#milliseconds >= this.#limits.seconds * 1000) this.#done = true;
    return this.#done;
  }

  #one(): void {
    const outcome = this.#run.schedule();
    this.#schedules++;
    this.#turns += outcome.steps;
    if (outcome.redundant) this.#redundant++;
    if (outcome.failure !== null) {
      const turns = this.#run.trace.slice(0, this.#run.steps);
      this.found = { failure: outcome.failure, turns };
      this.#door.observe = null;
      this.#done = true;
      return;
    }
    const more = this.#strategy.end(outcome);
    if (this.#warmUp > 0) {
      if (--this.#warmUp === 0) this.#afterWarmUp();
      return;
    }
    if (this.#door.discovered > 0 && this.#isExhaustive()) {
      this.#restart();
      return;
    }
    if (!more) this.#complete = true;
    if (!more || this.#schedules >= this.#schedulesMax()) this.#done = true;
  }

  #afterWarmUp(): void {
    const next = this.#warmUps.shift();
    if (next === undefined) {
      this.#restart();
      return;
    }
    this.#warmUp = WARM_UP_SCHEDULES;
    this.#use(next, this.#limits.races);
  }

  #isExhaustive(): boolean {
    const { strategy } = this.#exploration;
    return strategy === "reduced" || strategy === "every" || strategy === "bounded";
  }

  #schedulesMax(): number {
    const own = "schedules" in this.#exploration ? this.#exploration.schedules : Infinity;
    return Math.min(own, this.#limits.schedules);
  }

  #restart(): void {
    this.#door.discovered = 0;
    this.#use(strategyFor(this.#exploration, this.#limits.seed), false);
    this.#schedules = 0;
    this.#redundant = 0;
    this.#turns = 0;
  }

  figures(): Figures {
    const limited = this.#schedulesMax();
    const byCount = limited === Infinity ? null : Math.min(1, this.#schedules / limited);
    return {
      schedules: this.#schedules - this.#redundant,
      redundant: this.#redundant,
      turns: this.#turns,
      contendedWords: this.#door.contendedCount,
      seconds: this.#milliseconds / 1000,
      complete: this.#complete,
      ended: this.#complete || this.#schedules >= this.#schedulesMax(),
      progress: this.#complete ? 1 : (this.#strategy.progress() ?? byCount),
    };
  }
}
