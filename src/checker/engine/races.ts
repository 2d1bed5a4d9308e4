/**
 * Data races: a plain write, and an access of another actor that nothing orders with it. Looked for
 * with vector clocks, so a race is found in any schedule that has both accesses, whichever came first.
 *
 * What orders: an atomic write of a word, and every later atomic read of that word. A plain access
 * orders nothing, and a relaxed read is none of the two: it says by its name that it may be stale.
 * The end of an actor orders all it did before whoever reads that it is dead.
 */
import { Access, ACTORS_MAX } from "./door.ts";

const N = ACTORS_MAX;

interface WordState {
  /** Joined by who reads the word, to which each atomic write adds. */
  readonly released: Int32Array;
  /** Per actor: its clock at its last plain write and at its last access of any kind, -1 for none. */
  readonly plainWrite: Int32Array;
  readonly accessed: Int32Array;
  readonly site: Int32Array;
  /** The schedule that this is of. */
  schedule: number;
}

export interface Race {
  readonly word: number;
  readonly actor: number;
  readonly other: number;
  /** Sites of the two accesses. */
  readonly sites: readonly [number, number];
}

export class Races {
  readonly #clock = new Int32Array(N * N);
  readonly #words = new Map<number, WordState>();
  readonly #isRelaxed: (site: number) => boolean;
  #schedule = 0;
  found: Race | null = null;

  constructor(isRelaxed: (site: number) => boolean) {
    this.#isRelaxed = isRelaxed;
  }

  /** A schedule begins: what ran before it is ordered before all. */
  begin(): void {
    this.#clock.fill(0);
    for (let actor = 0; actor < N; actor++) this.#clock[actor * N + actor] = 1;
    this.#schedule++;
    this.found = null;
  }

  /** An access, in the order of execution. */
  access(actor: number, word: number, access: number, site: number): void {
    if (access === Access.wake || this.#isRelaxed(site)) return;
    const state = this.#state(word);
    const plainWrite = access === Access.ownWrite;
    const atomic = !plainWrite && access !== Access.ownRead;
    const writes = access === Access.write || access === Access.update;
    if (atomic) this.#join(actor, state.released);
    this.#look(actor, state, word, plainWrite, site);
    const now = this.#clock[actor * N + actor]!;
    state.accessed[actor] = now;
    state.site[actor] = site;
    if (plainWrite) state.plainWrite[actor] = now;
    if (atomic && writes) this.#release(actor, state);
  }

  /** The actor has ended: whoever reads `liveness` comes after it. */
  ended(actor: number, liveness: number): void {
    this.#release(actor, this.#state(liveness));
  }

  #look(actor: number, state: WordState, word: number, plainWrite: boolean, site: number): void {
    for (let other = 0; other < N; other++) {
      if (other === actor) continue;
      const before = plainWrite ? state.accessed[other]! : state.plainWrite[other]!;
      if (before <= this.#clock[actor * N + other]! || this.found !== null) continue;
      this.found = { word, actor, other, sites: [state.site[other]!, site] };
    }
  }

  #join(actor: number, released: Int32Array): void {
    for (let other = 0; other < N; other++) {
      const at = actor * N + other;
      if (released[other]! > this.#clock[at]!) this.#clock[at] = released[other]!;
    }
  }

  /** What the actor did so far comes before whoever reads the word from now on. */
  #release(actor: number, state: WordState): void {
    for (let other = 0; other < N; other++) {
      const mine = this.#clock[actor * N + other]!;
      if (mine > state.released[other]!) state.released[other] = mine;
    }
    this.#clock[actor * N + actor]!++;
  }

  #state(word: number): WordState {
    let state = this.#words.get(word);
    if (state === undefined) {
      state = {
        released: new Int32Array(N),
        plainWrite: new Int32Array(N),
        accessed: new Int32Array(N),
        site: new Int32Array(N),
        schedule: -1,
      };
      this.#words.set(word, state);
    }
    if (state.schedule !== this.#schedule) {
      state.schedule = this.#schedule;
      state.released.fill(0);
      state.plainWrite.fill(-1);
      state.accessed.fill(-1);
    }
    return state;
  }
}
