/** Checking one scenario, of the core as it is or of a variant of it. */
import { Door } from "./engine/door.ts";
import { Explorer, type Figures, type Found, type Limits, STEPS_MAX } from "./engine/explore.ts";
import { parseSchedule, record, scheduleString, segmentsOf } from "./engine/record.ts";
import { hasFailed, type Share, tellFailed } from "./engine/shares.ts";
import { partsOf, ScenarioStage } from "./engine/stage.ts";
import type { Segment } from "./engine/strategies.ts";
import { type Edit, Linker, type Program, type Schemas } from "./instrument/linker.ts";
import type { Failure, Story } from "./report/story.ts";
import type { Exploration, Scenario } from "./scenario.ts";

/** Where a scenario is: a module, and the name of its export. */
export interface ScenarioPlace {
  readonly module: URL;
  readonly name: string;
}

/** A change of the core that scenarios are expected to catch. */
export interface VariantText {
  readonly name: string;
  readonly about: string;
  readonly edits: readonly Edit[];
}

export interface CheckOptions {
  /** Instead of the scenario's own. */
  readonly exploration?: Exploration | undefined;
  readonly variant?: VariantText | undefined;
  readonly schedules?: number | undefined;
  readonly seconds?: number | undefined;
  readonly seed?: number | undefined;
  /** The part of this thread, of an exploration that several share. */
  readonly share?: Share | undefined;
  /** Plays this one schedule. */
  readonly replay?: string | undefined;
  /** Schedules of the beginning, for each of its three ways. Default: 150. */
  readonly warmUp?: number | undefined;
  /** Whether data races are looked for, in the schedules of the beginning. Default: true. */
  readonly races?: boolean | undefined;
  /** Whether a counterexample is made as short as can be. Default: true. */
  readonly shrink?: boolean | undefined;
  /** Seconds that shrinking may take. Default: 20. */
  readonly shrinkSeconds?: number | undefined;
  readonly onProgress?: ((figures: Figures) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface CheckReport extends Figures {
  readonly scenario: string;
  readonly variant: string | null;
  readonly exploration: string;
  /** The counterexample, or the schedule that was replayed; null when nothing failed. */
  readonly story: Story | null;
}

/** Of an exploration that nobody wants the story of. */
export interface Outcome {
  readonly failed: boolean;
  readonly turns: number;
  readonly schedules: number;
}

const PROGRESS_MS = 100;
/** Between two looks at whether the other threads have ended. */
const OTHERS_MS = 2;
const SHRINK_SECONDS = 20;
const DEFAULT_EXPLORATION: Exploration = { strategy: "reduced" };

/** How an exploration covers schedules, in words. */
export function describeExploration(exploration: Exploration): string {
  switch (exploration.strategy) {
    case "reduced":
      return "all";
    case "cached":
      return "all, by states";
    case "every":
      return "all, unreduced";
    case "bounded":
      return `all, ${exploration.preemptions} preemption${exploration.preemptions === 1 ? "" : "s"}`;
    case "pct":
      return `PCT, depth ${exploration.depth}`;
    case "random":
      return "random";
  }
}

function scenarioOf({ exports }: Program, module: URL, name: string): Scenario {
  const scenario = exports[name];
  if (scenario === undefined)
    throw new Error(`the module ${module.pathname} exports no scenario '${name}'`);
  return scenario as Scenario;
}

/** A scenario with the program that it belongs to, ready to be explored. */
export class Checked {
  readonly scenario: Scenario;
  readonly #program: Program;
  readonly #door: Door;
  readonly #variant: VariantText | null;

  private constructor(
    scenario: Scenario,
    program: Program,
    door: Door,
    variant: VariantText | null,
  ) {
    this.scenario = scenario;
    this.#program = program;
    this.#door = door;
    this.#variant = variant;
  }

  /** Throws: an error when the module has no such scenario, or an edit does not apply. */
  static async load(
    { module, name }: ScenarioPlace,
    variant: VariantText | null = null,
    schemas?: Schemas,
  ): Promise<Checked> {
    const door = new Door();
    const program = await new Linker(door, variant?.edits ?? [], schemas).link(module);
    return new Checked(scenarioOf(program, module, name), program, door, variant);
  }

  /**
   * Another scenario of the same module, in the same program, which is compiled by now. This one must not be
   * used any more. Throws: an error when there is none of that name.
   */
  another({ module, name }: ScenarioPlace): Checked {
    this.#door.forget();
    const scenario = scenarioOf(this.#program, module, name);
    return new Checked(scenario, this.#program, this.#door, this.#variant);
  }

  /** Explores. Sleeps: gives the event loop a turn now and then. */
  async check(options: CheckOptions = {}): Promise<CheckReport> {
    const exploration = this.#explorationOf(options);
    if (options.replay !== undefined) return this.#replay(exploration, options.replay);
    const { stage, explorer } = await this.#explore(exploration, options);
    const figures = explorer.figures();
    const { found } = explorer;
    let story: Story | null = null;
    if (found !== null) {
      const first = this.#foundOn(stage, found);
      // A race is found in any schedule that has its two accesses: there is no shorter one to look for.
      const asFound = options.shrink === false || found.failure.kind === "data race";
      const end = performance.now() + (options.shrinkSeconds ?? SHRINK_SECONDS) * 1000;
      const shown = asFound ? first : this.#shrink(first, end);
      story = this.#story(shown.stage, shown.segments);
      if (story.failure === null) {
        throw new Error(`the schedule that failed does not fail again: ${found.failure.message}`);
      }
    }
    return this.#report(exploration, figures, story);
  }

  /** Whether a schedule fails, and what was played in all. */
  async outcome(options: CheckOptions): Promise<Outcome> {
    const { explorer } = await this.#explore(this.#explorationOf(options), options);
    const { found, turnsInAll, schedulesInAll } = explorer;
    return { failed: found !== null, turns: turnsInAll, schedules: schedulesInAll };
  }

  #explorationOf({ exploration }: CheckOptions): Exploration {
    return exploration ?? this.scenario.explore ?? DEFAULT_EXPLORATION;
  }

  async #explore(
    exploration: Exploration,
    options: CheckOptions,
  ): Promise<{ stage: ScenarioStage; explorer: Explorer }> {
    const stage = new ScenarioStage(this.#door, this.#program, this.scenario);
    const limits: Limits = {
      schedules: options.schedules ?? Infinity,
      seconds: options.seconds ?? Infinity,
      seed: options.seed ?? 1,
      races: options.races ?? true,
      share: options.share,
    };
    const explorer = new Explorer(this.#door, stage, exploration, limits, options.warmUp);
    const start = performance.now();
    const { share } = options;
    while (!options.signal?.aborted && !(share && hasFailed(share))) {
      const hasEnded = explorer.advance(PROGRESS_MS);
      if (share && explorer.found !== null) tellFailed(share);
      if (hasEnded && explorer.haveAllEnded()) break;
      options.onProgress?.(explorer.figures());
      // Others of a shared exploration may still find that all have to begin again.
      if (hasEnded) await new Promise((resolve) => setTimeout(resolve, OTHERS_MS));
      else await new Promise((resolve) => setImmediate(resolve));
      if (hasEnded && performance.now() - start > limits.seconds * 1000) break;
    }
    return { stage, explorer };
  }

  #report(exploration: Exploration, figures: Figures, story: Story | null): CheckReport {
    return {
      ...figures,
      scenario: this.scenario.name,
      variant: this.#variant?.name ?? null,
      exploration: describeExploration(exploration),
      story,
    };
  }

  #replay(exploration: Exploration, replay: string): CheckReport {
    const { schedule, without } = leftOut(replay);
    const stage = new ScenarioStage(this.#door, this.#program, this.scenario, without);
    // What is contended is not known yet, and says which turns the story shows.
    const warmUp = new Explorer(
      this.#door,
      stage,
      { strategy: "random", schedules: 300 },
      { schedules: 300, seconds: 10, seed: 1, races: true },
    );
    while (!warmUp.advance(PROGRESS_MS));
    const story = this.#story(stage, parseSchedule(schedule, stage.actorNames));
    const figures = { ...warmUp.figures(), schedules: 1, redundant: 0, turns: story.steps.length };
    return this.#report(
      exploration,
      { ...figures, complete: false, ended: true, progress: null },
      story,
    );
  }

  #story(stage: ScenarioStage, segments: readonly Segment[]): Story {
    const { steps, failure } = record(this.#door, stage, this.#program, segments, STEPS_MAX);
    return {
      scenario: this.scenario.name,
      about: this.scenario.about,
      variant: this.#variant?.name ?? null,
      variantAbout: this.#variant?.about ?? null,
      actors: stage.actorNames,
      watched: Object.keys(this.scenario.watch ?? {}),
      steps,
      failure,
      schedule: [
        ...stage.leftOut.map((name) => `-${name}`),
        scheduleString(segments, stage.actorNames),
      ].join(" "),
    };
  }

  /** The same kind of failure with fewer actors and operations, then with the fewest preemptions. */
  #shrink(found: FoundOn, end: number): FoundOn {
    let best = found;
    let without: string[] = [];
    for (const name of partsOf(this.scenario)) {
      if (!this.#canDoWithout(name, without)) continue;
      const fewer = [...without, name];
      const stage = new ScenarioStage(this.#door, this.#program, this.scenario, fewer);
      // What fails although nobody gets in anybody's way misses the actor, not the bug.
      if (this.#failsInOrder(stage)) continue;
      const smaller = this.#firstWith(
        stage,
        found.failure,
        3,
        Math.min(end, performance.now() + 2000),
      );
      if (smaller === null) continue;
      without = fewer;
      best = smaller;
    }
    const most = best.segments.length - 1;
    // The stage of the best may have been replaced on the door by a later one: build it again.
    const stage = new ScenarioStage(this.#door, this.#program, this.scenario, without);
    best = { ...best, stage };
    return this.#firstWith(stage, found.failure, Math.min(most - 1, 6), end) ?? best;
  }

  /** An actor is left, that has something to do. */
  #canDoWithout(name: string, without: readonly string[]): boolean {
    const [actor, operation] = name.split(".");
    const left = Object.keys(this.scenario.actors).filter((each) => !without.includes(each));
    if (operation === undefined) return left.length > 1;
    const others = partsOf(this.scenario).filter((each) => each.startsWith(`${actor}.`));
    return left.includes(actor!) && others.some((each) => each !== name && !without.includes(each));
  }

  /** At once: what is known to be contended, on which the turns depend, grows with every schedule. */
  #foundOn(stage: ScenarioStage, { failure, turns }: Found): FoundOn {
    return { stage, failure, segments: segmentsOf(this.#door, stage, turns, STEPS_MAX) };
  }

  /** Whether the actors fail one after another, uninterrupted. */
  #failsInOrder(stage: ScenarioStage): boolean {
    const limits = { schedules: 1, seconds: 2, seed: 1, races: false };
    const inOrder: Exploration = { strategy: "bounded", preemptions: 0 };
    const explorer = new Explorer(this.#door, stage, inOrder, limits, 0);
    while (!explorer.advance(PROGRESS_MS));
    return explorer.found !== null;
  }

  /** The first schedule with so few preemptions as can be, at most `bound`, that fails in the same way. */
  #firstWith(stage: ScenarioStage, failure: Failure, bound: number, end: number): FoundOn | null {
    for (let preemptions = 0; preemptions <= bound; preemptions++) {
      const left = (end - performance.now()) / 1000;
      if (left <= 0) return null;
      const limits = { schedules: Infinity, seconds: left, seed: 1, races: false };
      const explorer = new Explorer(
        this.#door,
        stage,
        { strategy: "bounded", preemptions },
        limits,
        0,
      );
      while (!explorer.advance(PROGRESS_MS));
      const { found } = explorer;
      if (found !== null && found.failure.kind === failure.kind) return this.#foundOn(stage, found);
      if (found !== null) return null;
    }
    return null;
  }
}

interface FoundOn {
  readonly stage: ScenarioStage;
  readonly failure: Failure;
  readonly segments: readonly Segment[];
}

/** What a schedule leaves out ("-reader -io.2"), and the rest of it. */
function leftOut(text: string): { schedule: string; without: string[] } {
  const parts = text.trim().split(/\s+/);
  const without = parts.filter((part) => part.startsWith("-")).map((part) => part.slice(1));
  return { schedule: parts.filter((part) => !part.startsWith("-")).join(" "), without };
}
