/** From a schedule to its story: replayed with an observer that notes every turn. */
import type { Program } from "../instrument/linker.ts";
import { shownPath } from "../instrument/places.ts";
import type { Failure, Site, Step, StepKind } from "../report/story.ts";
import { lowest } from "./bits.ts";
import { Access, type Door } from "./door.ts";
import { Races } from "./races.ts";
import { type Outcome, Run, type Strategy } from "./run.ts";
import type { ScenarioStage } from "./stage.ts";
import { Replay, type Segment } from "./strategies.ts";

/** A schedule by who has each turn, for the contended words that are known now. */
class Follow implements Strategy {
  readonly #turns: Uint8Array;
  #at = 0;

  constructor(turns: Uint8Array) {
    this.#turns = turns;
  }

  begin(): void {
    this.#at = 0;
  }

  readonly stays = true;

  choose(enabled: number, _current: number): number {
    const next = this.#turns[this.#at++];
    if (next !== undefined && enabled & (1 << next)) return next;
    return lowest(enabled);
  }

  end(): boolean {
    return false;
  }

  progress(): null {
    return null;
  }
}

/**
 * A schedule as segments of accesses, contended or not: so it means the same whatever is known to be
 * contended. What an actor does before its first turn counts with that turn.
 */
export function segmentsOf(
  door: Door,
  stage: ScenarioStage,
  turns: Uint8Array,
  stepsMax: number,
): Segment[] {
  const segments: { actor: number; accesses: number }[] = [];
  const pending = new Map<number, number>();
  const run = new Run(door, stage, new Follow(turns), { stepsMax, settles: false });
  let running = -1;
  const add = (actor: number, accesses: number): void => {
    const last = segments[segments.length - 1];
    if (last !== undefined && last.actor === actor) last.accesses += accesses;
    else segments.push({ actor, accesses });
  };
  door.observe = (_site, word) => {
    if (door.isTurn(word)) return;
    const { actor } = door;
    if (running === actor) {
      add(actor, 1);
      return;
    }
    const accesses = (pending.get(actor) ?? 0) + 1;
    pending.set(actor, accesses);
    if (!door.isFound(word)) return;
    // Before all turns, but not without effect on others: it stays where it was.
    pending.delete(actor);
    add(actor, accesses);
  };
  run.observer = {
    turn(actor) {
      running = actor;
      const accesses = 1 + (pending.get(actor) ?? 0);
      pending.delete(actor);
      add(actor, accesses);
    },
    turnEnded() {},
  };
  run.schedule();
  door.observe = null;
  return segments;
}

export function scheduleString(segments: readonly Segment[], names: readonly string[]): string {
  return segments
    .map(({ actor, accesses }) => `${names[actor]}${accesses > 1 ? `*${accesses}` : ""}`)
    .join(" ");
}

/** Throws: an error that names what cannot be read. */
export function parseSchedule(text: string, names: readonly string[]): Segment[] {
  return text
    .split(/\s+/)
    .filter((part) => part !== "")
    .map((part) => {
      const [name, count] = part.split("*");
      const actor = names.indexOf(name!);
      const accesses = count === undefined ? 1 : Number(count);
      if (actor < 0)
        throw new Error(`the schedule names '${name}'; actors are ${names.join(", ")}`);
      if (!(Number.isInteger(accesses) && accesses > 0)) {
        throw new Error(`'${part}' in the schedule is not an actor with a count, as in io*12`);
      }
      return { actor, accesses };
    });
}

const KIND_OF: Readonly<Record<number, StepKind>> = {
  [Access.read]: "read",
  [Access.ownRead]: "read",
  [Access.write]: "write",
  [Access.ownWrite]: "write",
  [Access.update]: "update",
  [Access.wake]: "wake",
  [Access.wait]: "resume",
  [Access.kill]: "kill",
  [Access.abort]: "abort",
  [Access.pass]: "pass",
};

/** Functions of the core in a stack trace, outermost first. */
function stackNow(): Site[] {
  const sites: Site[] = [];
  const lines = (new Error().stack ?? "").split("\n");
  for (const line of lines) {
    const found = /^\s+at (?:async )?(\S+)(?: \[as [^\]]+\])? \(checked:([^:]+):\d+:\d+\)/.exec(
      line,
    );
    if (found === null || /(^|\.)(next|\$outside\d+)$/.test(found[1]!)) continue;
    sites.unshift({
      function: found[1]!.replace(/^Object\./, "").replace("nodejs.dispose", "Symbol.dispose"),
      file: found[2]!,
    });
  }
  return sites;
}

export interface Recording {
  readonly steps: readonly Step[];
  readonly failure: Failure | null;
}

/** Plays a schedule and notes its contended turns. */
export function record(
  door: Door,
  stage: ScenarioStage,
  program: Program,
  segments: readonly Segment[],
  stepsMax: number,
): Recording {
  const steps: Step[] = [];
  const stacks = new Map<number, Site[]>();
  const said = new Map<number, string[]>();
  const run = new Run(door, stage, new Replay(segments), { stepsMax: stepsMax * 20 });
  run.races = new Races(stage.isRelaxed);
  let open: { -readonly [K in keyof Step]: Step[K] } | null = null;
  let openWord = -1;
  const close = (): void => {
    if (open === null) return;
    if (openWord >= 0) open.after = door.words[openWord]!;
    if (open.kind === "resume" && run.isAsleep(open.actor)) open.kind = "sleep";
    open.state = stage.watched();
    open = null;
  };
  stage.onSay = (actor, sentence) => {
    said.set(actor, [...(said.get(actor) ?? []), sentence]);
  };
  door.everyAccess = true;
  door.observe = (site) => {
    const stack = stackNow();
    const at = program.sites[site]!;
    const named = { function: at.function, file: shownPath(at.path) };
    stacks.set(door.actor, stack.length > 0 ? stack : [named]);
  };
  run.observer = {
    turn(actor) {
      close();
      const access = run.pendingAccess[actor]!;
      const word = run.pendingWord[actor]!;
      const environment = access >= Access.kill;
      if (!environment && door.contended[word] === 0 && access !== Access.wait) return;
      openWord = environment ? -1 : word;
      const before = environment ? 0 : door.words[word]!;
      open = {
        actor,
        kind: KIND_OF[access]!,
        word: environment ? run.actors[word]!.name : stage.nameOf(word),
        before,
        after: before,
        stack: stacks.get(actor) ?? [],
        said: said.get(actor) ?? [],
        target: environment ? word : -1,
        state: [],
      };
      said.delete(actor);
      steps.push(open);
    },
    turnEnded: close,
  };
  let outcome: Outcome;
  try {
    outcome = run.schedule();
    close();
  } finally {
    door.everyAccess = false;
    door.observe = null;
    stage.onSay = null;
  }
  return { steps, failure: outcome.failure };
}
