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
import { Beginnings, type Share } from "./shares.ts";
import type { ScenarioStage } from "./stage.ts";
import { Bounded, Prioritised, Random } from "./strategies.ts";

/** Turns after which a schedule counts as endless. */
export const STEPS_MAX = 5000;
/** Between the seeds of the threads that share an exploration. */
const SEEDS_BETWEEN = 0x10001;
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
  /** This thread's part, of an exploration that several share. */
  readonly share?: Share | undefined;
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

function strategyFor(
  exploration: Exploration,
  seed: number,
  beginnings: Beginnings | null,
): Strategy {
  switch (exploration.strategy) {
    case "reduced":
      return new Reduced(beginnings);
    case "cached":
      return new Reduced(beginnings, true);
    case "every":
      return new Bounded(Infinity, beginnings);
    case "bounded":
      return new Bounded(exploration.preemptions, beginnings);
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
  readonly #beginnings: Beginnings | null;
  #run: Run;
  #strategy: Strategy;
  readonly #warmUpSchedules: number;
  /** Schedules of the beginning that are left, of the present way. */
  #warmUp: number;
  readonly #warmUps: Strategy[];
  #schedules = 0;
  #redundant = 0;
  #turns = 0;
  #milliseconds = 0;
  #complete = false;
  #done = false;
  found: Found | null = null;
  /** With those of beginnings that were begun again. */
  schedulesInAll = 0;
  turnsInAll = 0;

  /** `warmUp`: schedules at random at first; 0 when it is known which words are contended. */
  constructor(
    door: Door,
    stage: ScenarioStage,
    exploration: Exploration,
    limits: Limits,
    warmUp = WARM_UP_SCHEDULES,
  ) {
    // One actor alone has one schedule, with nobody to share a word with.
    this.#warmUpSchedules = stage.actorNames.length > 1 ? warmUp : 0;
    this.#warmUp = this.#warmUpSchedules;
    this.#door = door;
    this.#stage = stage;
    this.#exploration = exploration;
    this.#limits = limits;
    this.#warmUps = this.#warmUp > 0 ? warmUpStrategies(limits.seed) : [];
    const isShared = limits.share !== undefined && this.#isExhaustive();
    this.#beginnings = isShared ? new Beginnings(limits.share) : null;
    this.#strategy = this.#warmUps.shift() ?? this.#ownStrategy();
    this.#run = new Run(door, stage, this.#strategy, { stepsMax: STEPS_MAX });
    this.#use(this.#strategy, this.#warmUp > 0 && limits.races);
  }

  #ownStrategy(): Strategy {
    const { seed, share } = this.#limits;
    // What is random is shared by having other schedules.
    const ownSeed = seed + (share?.part ?? 0) * SEEDS_BETWEEN;
    return strategyFor(this.#exploration, ownSeed, this.#beginnings);
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
    this.schedulesInAll++;
    this.turnsInAll += outcome.steps;
    // In a shared exploration the beginnings of others count there.
    const counts = this.#warmUp > 0 || (this.#beginnings?.isMine() ?? true);
    if (counts) {
      this.#schedules++;
      this.#turns += outcome.steps;
      if (outcome.redundant) this.#redundant++;
    }
    if (outcome.failure !== null) {
      const turns = this.#run.trace.slice(0, this.#run.steps);
      this.found = { failure: outcome.failure, turns };
      this.#door.observe = null;
      this.#done = true;
      return;
    }
    const more = this.#strategy.end(outcome);
    if (this.#warmUp > 0) {
      if (this.#run.count === 1) this.#skipWarmUp();
      if (--this.#warmUp === 0) this.#afterWarmUp();
      return;
    }
    if (this.#door.discovered > 0 && this.#isExhaustive()) {
      this.#beginnings?.tell(this.#door.found);
      this.#restart();
      return;
    }
    if (this.#beginnings?.isOver === true) {
      this.#restart();
      return;
    }
    if (!more) {
      this.#complete = true;
      this.#beginnings?.end();
    }
    if (!more || this.#schedules >= this.#schedulesMax()) this.#done = true;
  }

  /** Of one actor alone there is one schedule. */
  #skipWarmUp(): void {
    this.#warmUp = 1;
    this.#warmUps.length = 0;
  }

  #afterWarmUp(): void {
    const next = this.#warmUps.shift();
    if (next === undefined) {
      this.#restart();
      return;
    }
    this.#warmUp = this.#warmUpSchedules;
    this.#use(next, this.#limits.races);
  }

  #isExhaustive(): boolean {
    const { strategy } = this.#exploration;
    return strategy !== "pct" && strategy !== "random";
  }

  #schedulesMax(): number {
    const own = "schedules" in this.#exploration ? this.#exploration.schedules : Infinity;
    const all = Math.min(own, this.#limits.schedules);
    const { share } = this.#limits;
    return share === undefined ? all : Math.ceil(all / share.parts);
  }

  /**
   * Of a shared exploration that this thread has ended: whether the others have, too. If one of them
   * found a further contended word, it goes on.
   */
  haveAllEnded(): boolean {
    if (!this.#complete || this.#beginnings === null) return true;
    if (this.#beginnings.isOver) {
      this.#complete = false;
      this.#done = false;
      this.#restart();
    }
    return this.#complete && this.#beginnings.haveAllEnded;
  }

  #restart(): void {
    if (this.#beginnings !== null) this.#door.learn(this.#beginnings.again());
    this.#door.discovered = 0;
    this.#use(this.#ownStrategy(), false);
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
