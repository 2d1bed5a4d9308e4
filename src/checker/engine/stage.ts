/** A scenario on its stage: what a run needs to play its schedules. */
import { InvariantError } from "../../base/invariant.ts";
import { callAlone, drain, isChecked, type Program } from "../instrument/linker.ts";
import { shownPath } from "../instrument/places.ts";
import type { AccessSite } from "../instrument/forms.ts";
import type { FailureKind } from "../report/story.ts";
import { CheckError, type Operation, type Scenario, type Self } from "../scenario.ts";
import type * as Threads from "../world/threads.ts";
import type { Door } from "./door.ts";
import type { Race } from "./races.ts";
import { type Actor, EndlessSchedule, type Stage } from "./run.ts";
import { endOfThread } from "./system.ts";

/** One of the actors with a thread. */
interface Player extends Self {
  readonly abort: () => void;
  /** The word that tells of its thread's end. */
  readonly liveness: number;
}

/** Whom the environment does something to. */
function targetOf(act: { readonly kill: string } | { readonly abort: string }): string {
  return "kill" in act ? act.kill : act.abort;
}

function* idle(): Generator<unknown, void> {}

/** What a call of an operation is: a function under way, or it has done all at once. */
function started(called: unknown): Generator<unknown, void> {
  return isChecked(called) ? called : idle();
}

function* inTurn(
  operations: readonly Operation<unknown>[],
  local: unknown,
  player: Player,
): Generator<unknown, void> {
  for (const operation of operations) yield* started(operation(local, player));
}

function operationName(actor: string, index: number): string {
  return `${actor}.${index + 1}`;
}

/** What of a scenario can be left out: its actors, and each of several operations of one: "io.2". */
export function partsOf({ actors }: Scenario): string[] {
  const operations = Object.entries(actors).flatMap(([name, actor]) =>
    typeof actor === "function" ? [] : actor.map((_, index) => operationName(name, index)),
  );
  return [...Object.keys(actors), ...operations];
}

/** A name that a schedule can tell: "io*12", "-io.2". */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]*$/;

/** Throws: an error for an actor whose schedules could not be played again. */
function assertNames({ actors, environment }: Scenario): void {
  for (const name of [...Object.keys(actors), ...Object.keys(environment ?? {})]) {
    if (NAME.test(name)) continue;
    throw new Error(`'${name}' cannot be an actor's name: letters, digits, '-' and '_' can`);
  }
}

export class ScenarioStage implements Stage {
  readonly scenario: Scenario;
  readonly #door: Door;
  readonly #sites: readonly AccessSite[];
  readonly #threads: typeof Threads;
  readonly #shared: unknown;
  readonly #names: readonly string[];
  /** The environment's actors. */
  readonly #environment: readonly Actor[];
  #players: readonly Player[] = [];
  local: unknown;
  /** Told of what actors say. */
  onSay: ((actor: number, sentence: string) => void) | null = null;

  /** What the scenario's actors do not do, here: see `partsOf`. */
  readonly leftOut: readonly string[];

  /** `without`: parts of the scenario, by name. Throws: an error when there is no such part. */
  constructor(door: Door, program: Program, scenario: Scenario, without: readonly string[] = []) {
    assertNames(scenario);
    const parts = partsOf(scenario);
    for (const name of without) {
      if (parts.includes(name)) continue;
      throw new Error(`the scenario has no '${name}' to leave out; it has ${parts.join(", ")}`);
    }
    this.scenario = scenario;
    this.leftOut = without;
    this.#door = door;
    this.#sites = program.sites;
    this.#threads = program.moduleOf("checker/world/threads.js") as typeof Threads;
    this.#names = Object.keys(scenario.actors).filter((name) => !without.includes(name));
    this.#environment = this.#environmentOf(scenario);
    door.alone = true;
    this.#shared = drain(scenario.build());
    door.mark();
  }

  /** Names of all actors, the environment's last. */
  get actorNames(): readonly string[] {
    return [...this.#names, ...this.#environment.map(({ name }) => name)];
  }

  /** What the environment does to actors that are not left out. */
  #environmentOf({ environment = {} }: Scenario): Actor[] {
    const actors: Actor[] = [];
    for (const [name, act] of Object.entries(environment)) {
      if ("passMs" in act) {
        const target = this.#names.length + actors.length;
        actors.push({ name, body: { act: "pass", target, milliseconds: act.passMs } });
        continue;
      }
      const target = this.#names.indexOf(targetOf(act));
      if (target >= 0)
        actors.push({ name, body: { act: "kill" in act ? "kill" : "abort", target } });
    }
    return actors;
  }

  begin(): readonly Actor[] {
    const { scenario } = this;
    const region = drain(scenario.region(this.#shared));
    this.#players = this.#names.map((name, index) => {
      const thread = drain(this.#threads.threadAt(region, index)) as Self["thread"];
      const timeoutMs = scenario.timeoutMs?.[name];
      const { task, abort } = drain(this.#threads.taskOf(thread, timeoutMs)) as ReturnType<
        typeof Threads.taskOf
      >;
      const liveness = drain(this.#threads.livenessOf(thread)) as number;
      const say = (sentence: string): void => this.onSay?.(index, sentence);
      return { name, thread, task, abort, liveness, say };
    });
    for (const { body } of this.#environment) {
      if ("act" in body && body.act === "kill")
        this.#door.expect(this.#players[body.target]!.liveness);
    }
    this.local = callAlone(scenario, "begin", this.#shared, this.#players);
    const actors: Actor[] = this.#players.map((player) => {
      return { name: player.name, body: this.#bodyOf(player) };
    });
    return actors.concat(this.#environment);
  }

  #bodyOf(player: Player): Generator<unknown, void> {
    const { name } = player;
    const actor = this.scenario.actors[name]!;
    if (typeof actor === "function") return started(actor(this.local, player));
    const part = actor.filter((_, index) => !this.leftOut.includes(operationName(name, index)));
    return inTurn(part, this.local, player);
  }

  *reap(actor: number): Generator<unknown, void> {
    yield* this.#players[actor]!.thread.reap() as unknown as Generator<unknown, number>;
  }

  kill(target: number): number {
    const { liveness } = this.#players[target]!;
    endOfThread(this.#door, liveness);
    return liveness;
  }

  describeRace({ word, actor, other, sites }: Race): string {
    const at = (site: number): string => {
      const found = this.#sites[site];
      if (found === undefined) return "a wait";
      return `${found.operation} in ${found.function} (${shownPath(found.path)})`;
    };
    const names = this.actorNames;
    return (
      `${this.nameOf(word)}: ${names[other]}, ${at(sites[0])}, and ${names[actor]}, ${at(sites[1])}: ` +
      "one is a plain write, and nothing orders them"
    );
  }

  /** Whether an access says that it may read something old. */
  readonly isRelaxed = (site: number): boolean => this.#sites[site]?.operation === "loadRelaxed";

  abort(target: number): void {
    this.#players[target]!.abort();
  }

  interruption(actor: number, wait: { what: () => unknown }): Error | null {
    const { task } = this.#players[actor]!;
    if (!task.signal?.aborted && this.#door.nowMs < task.deadline) return null;
    return this.#aside(() => drain(task.interruption(wait as never))) as Error | null;
  }

  deadlineMs(actor: number): number {
    return this.#players[actor]!.task.deadline;
  }

  end(): void {
    callAlone(this.scenario, "end", this.local);
  }

  classify(error: unknown): { kind: FailureKind; message: string } {
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof CheckError) return { kind: error.kind, message };
    if (error instanceof EndlessSchedule) return { kind: "livelock", message };
    if (error instanceof InvariantError) {
      return { kind: message.startsWith("lock order") ? "lock rank" : "invariant", message };
    }
    return { kind: "error", message };
  }

  nameOf(word: number): string {
    const name = this.#aside(() => drain(this.scenario.nameOf?.(this.local, word)));
    return (name as string | null) ?? `word ${word}`;
  }

  watched(): string[] {
    const watch = Object.values(this.scenario.watch ?? {});
    return this.#aside(() => watch.map((value) => String(drain(value(this.local)))));
  }

  /** Looks at the state in the middle of a schedule, without being a part of it. */
  #aside<T>(look: () => T): T {
    const { alone } = this.#door;
    this.#door.alone = true;
    try {
      return look();
    } finally {
      this.#door.alone = alone;
    }
  }
}
