/** Ways to choose schedules that do not claim to cover all: see dpor.ts for the one that does. */
import { bitCount, lowest } from "./bits.ts";
import type { Outcome, Run, Strategy } from "./run.ts";
import { BEGINNING_TURNS, type Beginnings } from "./shares.ts";

/** Small, fast and repeatable: splitmix32. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** A whole number below `limit`. */
  below(limit: number): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let x = this.#state;
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return ((x ^ (x >>> 15)) >>> 0) % limit;
  }
}

/** One of the actors in `bits`, all alike. */
function anyOf(bits: number, dice: Dice): number {
  let skip = dice.below(bitCount(bits));
  for (; skip > 0; skip--) bits &= bits - 1;
  return lowest(bits);
}

/** At every turn, each actor that can go on is as likely as any other. */
export class Random implements Strategy {
  readonly #dice: Dice;

  constructor(seed: number) {
    this.#dice = new Dice(seed);
  }

  begin(): void {}

  choose(enabled: number): number {
    return anyOf(enabled, this.#dice);
  }

  end(): boolean {
    return true;
  }

  progress(): null {
    return null;
  }
}

/**
 * Probabilistic concurrency testing (Burckhardt and others, ASPLOS 2010): actors have priorities in
 * random order; the highest that can go on does, and at `depth - 1` random turns the one that runs
 * falls below all others. A bug that needs `depth` ordering constraints, in a program of n actors and
 * k turns, is found by each schedule with a probability of at least 1 / (n * k^(depth - 1)).
 */
export class Prioritised implements Strategy {
  readonly #dice: Dice;
  readonly #depth: number;
  readonly #priority = new Int32Array(32);
  #changes: number[] = [];
  #turn = 0;
  /** k: the longest schedule so far. */
  #turnsMax = 64;

  constructor(seed: number, depth: number) {
    this.#dice = new Dice(seed);
    this.#depth = depth;
  }

  begin(run: Run): void {
    this.#turn = 0;
    const order = Array.from({ length: run.count }, (_, actor) => actor);
    for (let at = order.length - 1; at > 0; at--) {
      const other = this.#dice.below(at + 1);
      [order[at], order[other]] = [order[other]!, order[at]!];
    }
    for (const [rank, actor] of order.entries()) this.#priority[actor] = this.#depth + rank;
    this.#changes = Array.from({ length: this.#depth - 1 }, () => this.#dice.below(this.#turnsMax));
  }

  choose(enabled: number, current: number): number {
    const change = this.#changes.indexOf(this.#turn++);
    if (change >= 0 && current >= 0) this.#priority[current] = change;
    let best = lowest(enabled);
    for (let rest = enabled; rest !== 0; rest &= rest - 1) {
      const actor = lowest(rest);
      if (this.#priority[actor]! > this.#priority[best]!) best = actor;
    }
    return best;
  }

  end(outcome: Outcome): boolean {
    this.#turnsMax = Math.max(this.#turnsMax, outcome.steps);
    return true;
  }

  progress(): null {
    return null;
  }
}

/**
 * Every schedule in which an actor that could go on is interrupted at most `preemptions` times
 * (Musuvathi and Qadeer, PLDI 2007). With Infinity: every interleaving of contended accesses, none
 * left out.
 */
export class Bounded implements Strategy {
  readonly #preemptions: number;
  readonly #beginnings: Beginnings | null;
  /** Per turn: who may be chosen, from the first preferred on, and how far we are. */
  readonly #options: number[][] = [];
  readonly #at: number[] = [];
  #depth = 0;
  /** Preemptions before each turn. */
  readonly #spent = [0];

  /** `beginnings`: of an exploration that is shared. */
  constructor(preemptions: number, beginnings: Beginnings | null = null) {
    this.#preemptions = preemptions;
    this.#beginnings = beginnings;
  }

  begin(): void {
    this.#beginnings?.begin(this.#options.length);
    this.#depth = Math.max(0, this.#options.length - 1);
  }

  readonly stays = true;

  plan(turns: Uint8Array): number {
    // All but the last are as they were.
    const last = this.#options.length - 1;
    if (last >= 0) turns[last] = this.#options[last]![this.#at[last]!]!;
    return last + 1;
  }

  choose(enabled: number, current: number): number {
    const depth = this.#depth++;
    const canGoOn = current >= 0 && (enabled & (1 << current)) !== 0;
    if (depth === this.#options.length) {
      if (depth === BEGINNING_TURNS && this.#beginnings?.isMine() === false) return -1;
      const options: number[] = canGoOn ? [current] : [];
      if (!canGoOn || this.#spent[depth]! < this.#preemptions) {
        for (let rest = enabled; rest !== 0; rest &= rest - 1) {
          const actor = lowest(rest);
          if (actor !== current) options.push(actor);
        }
      }
      this.#options.push(options);
      this.#at.push(0);
    }
    const actor = this.#options[depth]![this.#at[depth]!]!;
    this.#spent[depth + 1] = this.#spent[depth]! + (canGoOn && actor !== current ? 1 : 0);
    return actor;
  }

  end(): boolean {
    for (;;) {
      const depth = this.#options.length - 1;
      if (depth < 0) return false;
      if (++this.#at[depth]! < this.#options[depth]!.length) return true;
      this.#options.pop();
      this.#at.pop();
    }
  }

  progress(): number {
    let share = 1;
    let explored = 0;
    for (const [depth, options] of this.#options.entries()) {
      share /= options.length;
      explored += share * this.#at[depth]!;
    }
    return explored;
  }
}

/** So many accesses of one actor, then of the next. */
export interface Segment {
  readonly actor: number;
  readonly accesses: number;
}

/** One schedule, given by its segments. What is left at its end goes on in the order of the actors. */
export class Replay implements Strategy {
  readonly #segments: readonly Segment[];
  #at = 0;
  #left = 0;

  constructor(segments: readonly Segment[]) {
    this.#segments = segments;
  }

  begin(): void {
    this.#at = 0;
    this.#left = this.#segments[0]?.accesses ?? 0;
  }

  readonly stays = true;

  choose(enabled: number, current: number): number {
    while (this.#at < this.#segments.length) {
      const { actor } = this.#segments[this.#at]!;
      if (this.#left > 0 && enabled & (1 << actor)) {
        this.#left--;
        return actor;
      }
      this.#left = this.#segments[++this.#at]?.accesses ?? 0;
    }
    return current >= 0 && enabled & (1 << current) ? current : lowest(enabled);
  }

  end(): boolean {
    return false;
  }

  progress(): null {
    return null;
  }
}
