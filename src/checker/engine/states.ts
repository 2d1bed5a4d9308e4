/**
 * States that a reduced exploration has come to, so that what follows from one is explored once (Yang,
 * Chen, Gopalakrishnan and Kirby, SPIN 2008, "Efficient stateful dynamic partial order reduction").
 *
 * A state is what the contended words hold, who can go on, the time, and what each actor has seen (in
 * the door, `seen`): by that it stands at the same place, with the same variables. No state follows
 * from itself, and whenever one is come to again all that follows from it has been explored. States
 * are told apart by a hash of 64 bits.
 *
 * What comes after a state may conflict with what came before it, which is another time another. So
 * each state keeps which accesses came after it: a number per contended word, with a byte per group of
 * accesses and a bit of it per actor, as in the door's `touch`.
 */
import { doubled } from "./bits.ts";
import { type Door, GROUP_OF, mixed, mixedOtherwise } from "./door.ts";

/** Turns that may belong to a schedule at first; grows. */
const DEPTH_FIRST = 256;
/** States kept: room at first, which grows, and at most. Powers of 2. */
const STATES_FIRST = 1 << 14;
const STATES_MAX = 1 << 22;
/** Numbers kept of what came after them, at most. */
const AFTER_MAX = 1 << 25;

/** Of a state that is kept: two halves of its hash, who slept there, and where its accesses begin. */
const KEPT = 4;

export class States {
  readonly #door: Door;
  readonly #count: number;
  readonly #contended: Int32Array;
  /** Numbers that tell of accesses: one per contended word, from 1. */
  readonly #width: number;
  /** By state of the present schedule: its hash, if it is kept, and the accesses after it so far. */
  #isKept = new Uint8Array(DEPTH_FIRST);
  #hash = new Int32Array(DEPTH_FIRST * 2);
  #after: Int32Array<ArrayBuffer>;
  #kept = new Int32Array(2 * STATES_FIRST * KEPT);
  #keptCount = 0;
  #keptAfter = new Int32Array(STATES_FIRST);
  /** Of `keptAfter`; the first number is none's. */
  #used = 1;

  /** `count` actors. Which words are contended is known. */
  constructor(door: Door, count: number) {
    this.#door = door;
    this.#count = count;
    this.#contended = Int32Array.from({ length: door.contendedCount }, (_, index) =>
      door.contended.indexOf(index + 1),
    );
    this.#width = door.contendedCount + 1;
    this.#after = new Int32Array(DEPTH_FIRST * this.#width);
  }

  /**
   * Comes to the state before turn `depth`. Where the accesses after it are (`after`), if everybody
   * who slept there when it was explored sleeps there now; or 0: it is to be explored.
   */
  find(depth: number, enabled: number, sleep: number): number {
    this.comeTo(depth);
    const { words, nowMs, history } = this.#door;
    let first = mixed(enabled, nowMs);
    let second = mixedOtherwise(enabled, nowMs);
    for (let actor = 0; actor < this.#count; actor++) {
      first = mixed(first, history[actor * 2]!);
      second = mixedOtherwise(second, history[actor * 2 + 1]!);
    }
    for (let index = 0; index < this.#contended.length; index++) {
      const value = words[this.#contended[index]!]!;
      first = mixed(first, value);
      second = mixedOtherwise(second, value);
    }
    this.#hash[depth * 2] = first;
    this.#hash[depth * 2 + 1] = second;
    const at = this.#placeOf(first, second);
    const found = this.#kept[at + 3]!;
    if (found !== 0 && (this.#kept[at + 2]! & ~sleep) === 0) return found;
    this.#isKept[depth] = 1;
    return 0;
  }

  /** Comes to the state before turn `depth`, which is not one to be kept. */
  comeTo(depth: number): void {
    if (depth === this.#isKept.length) this.#grow();
    this.#isKept[depth] = 0;
    this.#after.fill(0, depth * this.#width, (depth + 1) * this.#width);
  }

  get wordCount(): number {
    return this.#width - 1;
  }

  /** Who accessed a contended word, by its number, after a state that was found. */
  after(found: number, word: number): number {
    return this.#keptAfter[found + word]!;
  }

  /** Turn `depth` and all that follows is explored. */
  tried(depth: number, actor: number, access: number, word: number): void {
    const number = this.#door.contended[word]!;
    this.#after[depth * this.#width + number]! |= 1 << (GROUP_OF[access]! * 8 + actor);
  }

  /** All that follows from the state before turn `depth`, where `sleep` slept, is explored. */
  explored(depth: number, sleep: number): void {
    const from = depth * this.#width;
    const hasRoom = this.#keptCount < STATES_MAX && this.#used + this.#width <= AFTER_MAX;
    if (hasRoom && this.#isKept[depth] !== 0) this.#keep(depth, sleep, from);
    for (let at = from; depth > 0 && at < from + this.#width; at++) {
      this.#after[at - this.#width]! |= this.#after[at]!;
    }
  }

  /** What followed from the state before turn `depth` follows from the one before it, too. */
  foundAgain(depth: number, found: number): void {
    const to = (depth - 1) * this.#width;
    for (let word = 0; depth > 0 && word < this.#width; word++) {
      this.#after[to + word]! |= this.#keptAfter[found + word]!;
    }
  }

  #keep(depth: number, sleep: number, from: number): void {
    const first = this.#hash[depth * 2]!;
    const second = this.#hash[depth * 2 + 1]!;
    let at = this.#placeOf(first, second);
    if (this.#kept[at + 3] === 0 && ++this.#keptCount * 2 * KEPT > this.#kept.length) {
      this.#growKept();
      at = this.#placeOf(first, second);
    }
    this.#kept[at] = first;
    this.#kept[at + 1] = second;
    this.#kept[at + 2] = sleep;
    this.#kept[at + 3] = this.#keepAfter(from);
  }

  /** Mostly the same came after the next state, which was the last one kept. */
  #keepAfter(from: number): number {
    const last = this.#used - this.#width;
    let isSame = last > 0;
    for (let word = 0; isSame && word < this.#width; word++) {
      isSame = this.#keptAfter[last + word] === this.#after[from + word];
    }
    if (isSame) return last;
    while (this.#used + this.#width > this.#keptAfter.length) {
      this.#keptAfter = doubled(this.#keptAfter);
    }
    const at = this.#used;
    for (let word = 0; word < this.#width; word++) {
      this.#keptAfter[at + word] = this.#after[from + word]!;
    }
    this.#used += this.#width;
    return at;
  }

  /** Where a state is kept, or would be. */
  #placeOf(first: number, second: number): number {
    const mask = this.#kept.length - 1;
    for (let at = (first * KEPT) & mask; ; at = (at + KEPT) & mask) {
      const isFree = this.#kept[at + 3] === 0;
      if (isFree || (this.#kept[at] === first && this.#kept[at + 1] === second)) return at;
    }
  }

  #growKept(): void {
    const old = this.#kept;
    this.#kept = new Int32Array(old.length * 2);
    for (let at = 0; at < old.length; at += KEPT) {
      if (old[at + 3] === 0) continue;
      const place = this.#placeOf(old[at]!, old[at + 1]!);
      for (let field = 0; field < KEPT; field++) this.#kept[place + field] = old[at + field]!;
    }
  }

  #grow(): void {
    this.#isKept = doubled(this.#isKept);
    this.#hash = doubled(this.#hash);
    this.#after = doubled(this.#after);
  }
}
