// Every state that a program of operations (machine.mjs) can end in, found without the checker: a
// plain interpreter that tries every actor at every state, one access at a time.
import type { Environment } from "../../../src/checker/engine/run.ts";
import type { Operation } from "./machine.mjs";
import { finalState, type Program, WORDS } from "./playing.ts";

/** As in machine.mjs. */
const DEAD = 3;
const REAPED = 5;
const ABORTED = -9;

type Status = "running" | "asleep" | "woken" | "polling" | "ended" | "killed";

interface ActorState {
  at: number;
  /** Accesses of the operation that are done. */
  done: number;
  /** What the first of two accesses found. */
  kept: number;
  /** Accesses of the reaping under way that are done; -1: none is. */
  reaping: number;
  status: Status;
  /** Somebody died: its next sleep by poll ends at once. */
  looksAgain: boolean;
  /** Somebody died: it reaps before it sleeps. */
  mustReap: boolean;
  seen: number[];
}

interface State {
  words: number[];
  actors: ActorState[];
  /** The environment has acted. */
  acted: boolean;
  aborted: number;
}

export function reachableStates(program: Program): Set<string> {
  return new Oracle(program).finals;
}

class Oracle {
  readonly finals = new Set<string>();
  readonly #programs: readonly (readonly Operation[])[];
  readonly #environment: Environment | null;
  readonly #visited = new Set<string>();

  constructor(program: Program) {
    this.#programs = program.actors;
    this.#environment = program.environment ?? null;
    const actors = program.actors.map(
      (): ActorState => ({
        at: 0,
        done: 0,
        kept: 0,
        reaping: -1,
        status: "running",
        looksAgain: false,
        mustReap: false,
        seen: [],
      }),
    );
    for (const [index, actor] of actors.entries()) this.#settle(actor, index);
    this.#visit({ words: new Array(WORDS).fill(0), actors, acted: false, aborted: -1 });
  }

  #visit(state: State): void {
    const key = JSON.stringify(state);
    if (this.#visited.has(key)) return;
    this.#visited.add(key);
    let some = false;
    for (let index = 0; index < state.actors.length; index++) {
      if (!this.#canGoOn(state, index)) continue;
      some = true;
      const next = copyOf(state);
      this.#step(next, index);
      this.#settle(next.actors[index]!, index);
      this.#visit(next);
    }
    if (this.#canAct(state)) {
      some = true;
      const next = copyOf(state);
      this.#act(next);
      this.#visit(next);
    }
    if (!some) this.finals.add(this.#final(state));
  }

  #operation(state: State, index: number): Operation {
    return this.#programs[index]![state.actors[index]!.at]!;
  }

  #canGoOn(state: State, index: number): boolean {
    const { status, looksAgain } = state.actors[index]!;
    if (status !== "polling") return status === "running" || status === "woken";
    return looksAgain || !this.#holds(state, index);
  }

  /** Whether the word that the actor waits for still holds what it waits on. */
  #holds(state: State, index: number): boolean {
    const { word, expected } = this.#operation(state, index) as { word: number; expected: number };
    return state.words[word] === expected;
  }

  #canAct(state: State): boolean {
    if (this.#environment === null || state.acted) return false;
    const target = state.actors[this.#environment.target]!;
    if (target.status === "ended" || target.status === "killed") return false;
    const kind = this.#operation(state, this.#environment.target).kind;
    const between = target.done === 1 && (kind === "addThenStore" || kind === "casThenStore");
    return this.#environment.act === "abort" || !between;
  }

  #act(state: State): void {
    state.acted = true;
    const { act, target } = this.#environment!;
    if (act === "abort") {
      state.aborted = target;
      if (state.actors[target]!.status === "asleep") state.actors[target]!.status = "woken";
      return;
    }
    state.words[DEAD] = 1;
    state.actors[target]!.status = "killed";
    for (const actor of state.actors) {
      actor.mustReap = true;
      if (actor.status === "asleep") actor.status = "woken";
      actor.looksAgain = true;
    }
  }

  /** Goes past what is no access, up to the next one or the end. */
  #settle(actor: ActorState, index: number): void {
    const operations = this.#programs[index]!;
    for (;;) {
      const operation = operations[actor.at];
      if (operation === undefined) {
        actor.status = "ended";
        return;
      }
      if (operation.kind !== "skipIf") return;
      actor.at += (actor.seen.at(-1) ?? 0) === operation.value ? 2 : 1;
    }
  }

  #wake(state: State, word: number): void {
    for (const [index, actor] of state.actors.entries()) {
      if (actor.status !== "asleep") continue;
      const waits = this.#operation(state, index) as { word: number };
      if (waits.word === word) actor.status = "woken";
    }
  }

  /** One access of one actor. */
  #step(state: State, index: number): void {
    const { words } = state;
    const actor = state.actors[index]!;
    const operation = this.#operation(state, index);
    if (actor.reaping >= 0) this.#reap(state, index);
    else if (operation.kind === "wait" || operation.kind === "poll") this.#wait(state, index);
    else if (operation.kind === "waitUntil") {
      if (actor.done === 1) this.#wait(state, index);
      else if (words[operation.word] === operation.expected) actor.done = 1;
      else finish(actor);
    } else if (operation.kind === "wake") {
      this.#wake(state, operation.word);
      finish(actor);
    } else change(words, actor, operation);
  }

  #wait(state: State, index: number): void {
    const actor = state.actors[index]!;
    const operation = this.#operation(state, index);
    const holds = this.#holds(state, index);
    if (operation.kind === "poll") {
      if (!holds || actor.looksAgain) {
        actor.status = "running";
        actor.looksAgain = false;
        finish(actor);
      } else actor.status = "polling";
      return;
    }
    const woken = actor.status === "woken";
    actor.status = "running";
    if (state.aborted === index) {
      actor.seen.push(ABORTED);
      finish(actor);
    } else if (holds && actor.mustReap) {
      actor.mustReap = false;
      actor.reaping = 0;
    } else if (woken || !holds) this.#waitIsOver(actor, operation);
    else actor.status = "asleep";
  }

  #waitIsOver(actor: ActorState, operation: Operation): void {
    if (operation.kind === "waitUntil") actor.done = 0;
    else finish(actor);
  }

  #reap(state: State, index: number): void {
    const { words } = state;
    const actor = state.actors[index]!;
    const step = actor.reaping++;
    const mine = step > 0 || words[DEAD] === 1;
    if (step === 0 && mine) words[DEAD] = 2;
    if (step === 1) words[0] = REAPED;
    if (step === 2) this.#wake(state, 0);
    if (step === 3) words[DEAD] = 0;
    if (mine && step < 3) return;
    actor.reaping = -1;
    this.#waitIsOver(actor, this.#operation(state, index));
  }

  #final({ words, actors }: State): string {
    const asleep: number[] = [];
    let failure: "deadlock" | "lost wake-up" | null = null;
    for (const [index, { status, at }] of actors.entries()) {
      if (status === "ended" || status === "killed") continue;
      asleep.push(index);
      const { word, expected } = this.#programs[index]![at] as { word: number; expected: number };
      if (words[word] !== expected) failure = "lost wake-up";
      else failure ??= "deadlock";
    }
    const seen = actors.map((actor) => actor.seen);
    return finalState(words, seen, asleep, failure);
  }
}

function finish(actor: ActorState): void {
  actor.at++;
  actor.done = 0;
}

/** The next access of an operation that neither waits nor wakes. */
function change(words: number[], actor: ActorState, operation: Operation): void {
  const { word, value = 0, expected = 0, note = 0 } = operation as Fields;
  const before = words[word]!;
  const { seen } = actor;
  switch (operation.kind) {
    case "load":
      seen.push(before);
      break;
    case "store":
    case "storeOwn":
      words[word] = value;
      break;
    case "storeSeen":
      words[word] = (seen.at(-1) ?? 0) + 1;
      break;
    case "add":
      words[word] = before + value;
      seen.push(before);
      break;
    case "exchange":
      words[word] = value;
      seen.push(before);
      break;
    case "cas":
      if (before === expected) words[word] = value;
      seen.push(before === expected ? 1 : 0);
      break;
    case "addThenStore":
    case "casThenStore":
      if (actor.done === 0 && operation.kind === "casThenStore" && before !== expected) {
        seen.push(0);
        break;
      }
      if (actor.done === 0) {
        words[word] = before + 1;
        actor.kept = operation.kind === "casThenStore" ? 1 : before;
        actor.done = 1;
        return;
      }
      words[note] = 3;
      seen.push(actor.kept);
      actor.kept = 0;
      break;
  }
  finish(actor);
}

/** What operations have, one or another. */
interface Fields {
  readonly word: number;
  readonly value?: number;
  readonly expected?: number;
  readonly note?: number;
}

function copyOf(state: State): State {
  return {
    ...state,
    words: [...state.words],
    actors: state.actors.map((actor) => ({ ...actor, seen: [...actor.seen] })),
  };
}
