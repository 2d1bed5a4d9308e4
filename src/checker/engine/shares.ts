/**
 * One exploration by several threads. All schedules begin with one of so many first turns; each
 * thread goes through all of these beginnings in the same order, and explores those that it is the
 * first to come to.
 *
 * The threads must have the same turns. So when one of them finds a further contended word it tells
 * the others, and all begin again.
 *
 * Words: 0 generation | 1 whether a schedule has failed | 2 found words | 3.. those words | beginnings,
 * with the generation that took them | per thread, the generation that it has ended.
 */
import { add, cas, load, makeSharedBuffer, store, type Words } from "../../sync/atomics.ts";

/** Turns of a beginning. */
export const BEGINNING_TURNS = 8;
const FOUND_MAX = 4096;
const BEGINNINGS_MAX = 1 << 16;

const GENERATION = 0;
const FAILED = 1;
const FOUND = 2;
const BEGINNINGS = FOUND + 1 + FOUND_MAX;
const ENDED = BEGINNINGS + BEGINNINGS_MAX;

/** What a thread is given of an exploration that it shares. */
export interface Share {
  readonly words: SharedArrayBuffer;
  readonly part: number;
  readonly parts: number;
}

export function makeShares(parts: number): Share[] {
  const words = makeSharedBuffer((ENDED + parts) * 4);
  store(new Int32Array(words), GENERATION, 1);
  return Array.from({ length: parts }, (_, part) => ({ words, part, parts }));
}

/** A schedule of this thread has failed: the others can stop. */
export function tellFailed({ words }: Share): void {
  store(new Int32Array(words), FAILED, 1);
}

export function hasFailed({ words }: Share): boolean {
  return load(new Int32Array(words), FAILED) !== 0;
}

/** One thread's part of the exploration. */
export class Beginnings {
  readonly #words: Words;
  readonly #part: number;
  readonly #parts: number;
  #generation = 1;
  /** Words of others that are known here. */
  #known = 0;
  #next = 0;
  /** Whether the beginning of the present schedule is this thread's; null before that is known. */
  #isMine: boolean | null = null;

  constructor({ words, part, parts }: Share) {
    this.#words = new Int32Array(words);
    this.#part = part;
    this.#parts = parts;
  }

  /** A schedule begins; its first turns are the last one's, if so many are decided. */
  begin(decided: number): void {
    if (decided <= BEGINNING_TURNS) this.#isMine = null;
  }

  /** At the end of a beginning: whether this thread goes on with it. */
  isMine(): boolean {
    this.#isMine ??= this.#take(this.#next++);
    return this.#isMine;
  }

  #take(beginning: number): boolean {
    if (beginning >= BEGINNINGS_MAX) return beginning % this.#parts === this.#part;
    const at = BEGINNINGS + beginning;
    const before = load(this.#words, at);
    return before !== this.#generation && cas(this.#words, at, before, this.#generation);
  }

  /** Tells the others of words found contended. */
  tell(found: readonly number[]): void {
    for (const word of found) {
      const index = add(this.#words, FOUND, 1);
      if (index < FOUND_MAX) store(this.#words, FOUND + 1 + index, word);
    }
    add(this.#words, GENERATION, 1);
  }

  /** Whether all have to begin again. */
  get isOver(): boolean {
    return load(this.#words, GENERATION) !== this.#generation;
  }

  /** Begins again; returns what others found meanwhile. */
  again(): number[] {
    this.#generation = load(this.#words, GENERATION);
    this.#next = 0;
    this.#isMine = null;
    const count = Math.min(load(this.#words, FOUND), FOUND_MAX);
    const found: number[] = [];
    for (let index = this.#known; index < count; index++) {
      found.push(load(this.#words, FOUND + 1 + index));
    }
    this.#known = count;
    return found;
  }

  /** This thread has explored all that it took. */
  end(): void {
    store(this.#words, ENDED + this.#part, this.#generation);
  }

  /** Whether all threads have. */
  get haveAllEnded(): boolean {
    for (let part = 0; part < this.#parts; part++) {
      if (load(this.#words, ENDED + part) !== this.#generation) return false;
    }
    return !this.isOver;
  }
}
