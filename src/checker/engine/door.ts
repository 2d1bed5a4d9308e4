/**
 * The simulated door to shared memory. Actors run in one thread, one at a time; before each access
 * that may matter to another actor, the door asks whether the actor goes on.
 *
 * Most words matter to nobody else: they belong to one actor, or are only read. An access to such a
 * word commutes with everything the others do, so it is no scheduling point. Which words are
 * contended is found while exploring: `touch` gathers who does what to each word, over all schedules.
 * Once a word proves contended it stays so, and an exhaustive exploration starts again (`discovered`).
 *
 * All words are written through here, so that a schedule can be taken back: `rewind`.
 */
import type { Words } from "../../sync/atomics.ts";
import { doubled } from "./bits.ts";

/** What an access does to its word. The checked build has these numbers in it (colouring.ts). */
export const Access = {
  read: 0,
  write: 1,
  update: 2,
  wake: 3,
  /** Without ordering, of a word that only this thread writes. */
  ownRead: 4,
  ownWrite: 5,
  /** Looks at a word and sleeps on it while it holds the value expected. */
  wait: 6,
  /** Environment: ends an actor. The word is the actor. */
  kill: 7,
  /** Environment: ends an actor's operation. The word is the actor. */
  abort: 8,
} as const;
export type Access = (typeof Access)[keyof typeof Access];

export const ACTORS_MAX = 8;

/** Accesses in a row that are no scheduling points, after which the schedule counts as endless. */
const QUIET_MAX = 1_000_000;
/** Accesses of what runs alone, after which it counts as endless. */
const LONELY_MAX = 2_000_000;

/** Accesses by what they conflict with: reads, writes, waits, wakes. Bit groups in `touch`, too. */
export const GROUP_OF = [0, 1, 1, 3, 0, 1, 2] as const;
export const GROUPS = 4;
/**
 * Per group, those it conflicts with: two such accesses to one word by different actors may not be
 * swapped. Two wakes conflict, since which of them wakes a sleeper says how early it goes on.
 */
export const CONFLICTING = [[1], [0, 1, 2], [1, 3], [2, 3]] as const;

/** Whether two accesses to one word by different actors may not be swapped. */
export function conflicts(a: number, b: number): boolean {
  const others: readonly number[] = CONFLICTING[GROUP_OF[a]!]!;
  return others.includes(GROUP_OF[b]!);
}

const ACTOR_BITS = 0xff;
const bitsOf = (touched: number, group: number): number => (touched >>> (group * 8)) & ACTOR_BITS;

/** Whether different actors were seen to conflict on a word. */
function isContended(touched: number): boolean {
  const writers = bitsOf(touched, 1);
  const waiters = bitsOf(touched, 2);
  const wakers = bitsOf(touched, 3);
  const others = bitsOf(touched, 0) | writers | waiters;
  if (writers !== 0 && differ(writers, others)) return true;
  return waiters !== 0 && wakers !== 0 && differ(wakers, waiters);
}

/** Whether the two sets of actors hold two different ones, one of each. */
function differ(a: number, b: number): boolean {
  const all = a | b;
  return (all & (all - 1)) !== 0;
}

/** Words of a wait by `sleepWhile`: over when the word differs, whoever wakes. */
export interface Poll {
  readonly poll: true;
  readonly word: number;
  readonly expected: number;
}

/** What the run does when an actor comes to a contended access; true: the actor pauses before it. */
export type Arrive = (site: number, word: number, access: number) => boolean;

export class Door {
  words: Words = new Int32Array(0);
  /** Contended words, by number from 1; 0 for others. */
  contended: Uint16Array = new Uint16Array(0);
  contendedCount = 0;
  /** Words found contended since the last look: an exhaustive exploration must start again. */
  discovered = 0;
  /** Nobody schedules: set-up, checks at the end. */
  alone = true;
  /** Every access is a scheduling point: for schedules that are replayed. */
  everyAccess = false;
  /** Actors that may be killed, one bit each: at any access, whoever else it matters to. */
  mortal = 0;
  /** The actor that runs. */
  actor = 0;
  /** Actors between the two halves of a composite: they cannot die there. One bit each. */
  indivisible = 0;
  arrive: Arrive = () => false;
  /** Told of every access, also of words that are not contended, while a story is recorded. */
  observe: ((site: number, word: number, access: number) => void) | null = null;
  /** Told of wakes. */
  onWake: (word: number) => void = () => {};
  /** An actor goes round and round without a scheduling point. Throws. */
  onEndless: () => void = () => {};
  #quiet = 0;
  #lonely = 0;
  #touch = new Uint32Array(0);
  /** Contended words that do not count as such yet. */
  readonly #found: number[] = [];
  #undoWord = new Int32Array(4096);
  #undoValue = new Int32Array(4096);
  #undoCount = 0;
  #recording = false;

  readonly point = (site: number, word: number, access: number): boolean => {
    if (this.alone) {
      if (++this.#lonely > LONELY_MAX) throw new Error("what runs alone goes round and round");
      return false;
    }
    const touched = this.#touch[word];
    if (touched === undefined) throw new RangeError(`word ${word} is outside of the region`);
    const now = touched | (1 << (GROUP_OF[access]! * 8 + this.actor));
    if (now >>> 0 !== touched) this.#note(word, now >>> 0);
    if (this.observe !== null) this.observe(site, word, access);
    if (!this.isTurn(word)) {
      if (++this.#quiet > QUIET_MAX) this.onEndless();
      return false;
    }
    this.#quiet = 0;
    return this.arrive(site, word, access);
  };

  /** Whether an access of the actor that runs to this word is a turn of its own. */
  isTurn(word: number): boolean {
    const matters = this.contended[word] !== 0 || this.everyAccess;
    return matters || (this.mortal & (1 << this.actor)) !== 0;
  }

  #note(word: number, touched: number): void {
    this.#touch[word] = touched;
    if (this.contended[word] !== 0 || !isContended(touched)) return;
    this.#found.push(word);
    this.discovered++;
  }

  /** Whether a word has been found contended, but does not count as such yet. */
  isFound(word: number): boolean {
    return this.#found.includes(word);
  }

  /** Between schedules: words found contended in the last one count as such from now on. */
  settle(): void {
    for (const word of this.#found) {
      if (this.contended[word] === 0) this.contended[word] = ++this.contendedCount;
    }
    this.#found.length = 0;
  }

  /** As `point`, for a wait that the run itself makes. */
  noteWait(word: number): void {
    const touched = this.#touch[word];
    if (touched === undefined) throw new RangeError(`word ${word} is outside of the region`);
    const now = (touched | (1 << (GROUP_OF[Access.wait] * 8 + this.actor))) >>> 0;
    if (now !== touched) this.#note(word, now);
  }

  /** The shared memory of a program: one buffer, that nobody shares. */
  makeBuffer(byteLength: number): ArrayBuffer {
    const buffer = new ArrayBuffer(byteLength);
    this.words = new Int32Array(buffer);
    this.#undoCount = 0;
    this.#lonely = 0;
    this.#recording = false;
    // A program built again has its words where they were: what is known of them stays.
    if (this.#touch.length === this.words.length) return buffer;
    this.#touch = new Uint32Array(this.words.length);
    this.contended = new Uint16Array(this.words.length);
    this.contendedCount = 0;
    return buffer;
  }

  /** From here on writes can be taken back. */
  mark(): void {
    this.#recording = true;
    this.#undoCount = 0;
  }

  /** Takes back every write since `mark`. */
  rewind(): void {
    const { words } = this;
    for (let at = this.#undoCount - 1; at >= 0; at--) {
      words[this.#undoWord[at]!] = this.#undoValue[at]!;
    }
    this.#undoCount = 0;
    this.#lonely = 0;
    this.#quiet = 0;
  }

  /** Writes a word, noting what it was. */
  write(word: number, value: number): void {
    const { words } = this;
    if (this.#recording) {
      const at = this.#undoCount++;
      if (at === this.#undoWord.length) {
        this.#undoWord = doubled(this.#undoWord);
        this.#undoValue = doubled(this.#undoValue);
      }
      this.#undoWord[at] = word;
      this.#undoValue[at] = words[word]!;
    }
    words[word] = value;
  }
}

/** What takes the place of `sync/atomics.ts` in the checked build. The composites are generators. */
export function simulatedAtomics(door: Door): Readonly<Record<string, unknown>> {
  const { point } = door;
  const read = (words: Words, word: number): number => words[word]!;
  const write = (_words: Words, word: number, value: number): void => door.write(word, value);
  const update =
    (combine: (value: number, operand: number) => number) =>
    (words: Words, word: number, operand: number): number => {
      const before = words[word]!;
      door.write(word, combine(before, operand));
      return before;
    };
  const add = update((value, operand) => value + operand);
  /** Expecting NaN: whatever is there (mutation/mutants.ts). */
  const cas = (words: Words, word: number, expected: number, value: number): boolean => {
    if (words[word] !== expected && !Number.isNaN(expected)) return false;
    door.write(word, value);
    return true;
  };
  function* noteAfter(note: number, value: number, access: number, site: number): Generator<void> {
    const self = 1 << door.actor;
    door.indivisible |= self;
    if (point(site, note, access)) yield;
    door.indivisible &= ~self;
    door.write(note, value);
  }
  const addThen = (access: number) =>
    function* (
      words: Words,
      word: number,
      delta: number,
      note: number,
      value: number,
      site: number,
    ): Generator<void, number> {
      if (point(site, word, Access.update)) yield;
      const before = add(words, word, delta);
      yield* noteAfter(note, value, access, site);
      return before;
    };
  return {
    SPINS_MAX: 0,
    load: read,
    loadUnsigned: (words: Words, word: number): number => words[word]! >>> 0,
    loadRelaxed: read,
    loadOwn: read,
    store: write,
    storeOwn: write,
    add,
    or: update((value, operand) => value | operand),
    and: update((value, operand) => value & operand),
    exchange: update((_value, operand) => operand),
    cas,
    addThenStore: addThen(Access.write),
    addThenNote: addThen(Access.ownWrite),
    *casThenStore(
      words: Words,
      word: number,
      expected: number,
      desired: number,
      note: number,
      value: number,
      site: number,
    ): Generator<void, boolean> {
      if (point(site, word, Access.update)) yield;
      if (!cas(words, word, expected, desired)) return false;
      yield* noteAfter(note, value, Access.write, site);
      return true;
    },
    *sleepWhile(
      _words: Words,
      word: number,
      expected: number,
      _milliseconds: number,
      _site: number,
    ): Generator<Poll> {
      if (!door.alone) yield { poll: true, word, expected };
    },
    sleepWhileAsync: () => null,
    wakeAll: (_words: Words, word: number): void => door.onWake(word),
    makeSharedBuffer: (byteLength: number) => door.makeBuffer(byteLength),
  };
}
