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
  /** Environment: time passes. The word is the environment's actor itself. */
  pass: 9,
} as const;
export type Access = (typeof Access)[keyof typeof Access];

export const ACTORS_MAX = 8;

/** Accesses in a row that are no scheduling points, after which the schedule counts as endless. */
const QUIET_MAX = 1_000_000;
/** Accesses of what runs alone, after which it counts as endless. */
const LONELY_MAX = 2_000_000;
/** Places of mutants that a schedule comes to, after which it counts as endless. */
const PLACES_MAX = 30_000_000;

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

/** Two hashes, as different as can be. */
export function mixed(hash: number, value: number): number {
  const product = Math.imul((hash ^ value) + 1, 0x9e3779b1);
  return product ^ (product >>> 15);
}

export function mixedOtherwise(hash: number, value: number): number {
  const product = Math.imul(hash + value + 1, 0x85ebca6b);
  return product ^ (product >>> 13);
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
  /** Plain calls are allowed: a schedule is run, and nobody looks at each access. */
  mayCallPlainly = false;
  /** A plain call would have had to pause: the schedule is to be run again. */
  refused = false;
  /** Turns of the schedule so far. */
  turns = 0;
  /** The turn up to which the actor goes on, as it did in an earlier schedule: they begin alike. */
  certain = 0;
  /** The turn up to which it goes on as far as is known or likely. */
  likely = 0;
  /** By call: how many turns in a row it takes at least, by where it had to pause. */
  #turnsOf = new Int32Array(0);
  /** The plain call that is under way, and the turns when it began. */
  #call = 0;
  #callBegan = 0;
  /** Whether `history` is kept. */
  keepsHistory = false;
  /** All that each actor has seen in this schedule, hashed twice. */
  readonly history = new Int32Array(ACTORS_MAX * 2);
  /** What the program's clock shows, in milliseconds: time passes when the environment lets it. */
  nowMs = 0;
  #quiet = 0;
  #lonely = 0;
  #places = 0;
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
    if (this.turns < this.certain) {
      if (this.isTurn(word)) this.turns++;
      return false;
    }
    if (this.refused) throw REFUSED;
    const touched = this.#touch[word];
    if (touched === undefined) throw new RangeError(`word ${word} is outside the region`);
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

  /** A place of a mutant: loops without an access come to those, too (mutation/mutants.ts). */
  readonly place = (): void => {
    if (++this.#places > PLACES_MAX) throw new Error("the mutant goes round and round");
  };

  /** As `point`, in a plain function: it cannot pause, so if another actor comes next the schedule is run again. */
  readonly pass = (site: number, word: number, access: number): void => {
    if (!this.point(site, word, access)) return;
    const turns = this.turns - this.#callBegan + 1;
    this.#refuse(Math.max(this.#turnsOf[this.#call]!, turns));
  };

  /** The present call is to be plain only with so many turns in a row. */
  #refuse(turns: number): never {
    this.#turnsOf[this.#call] = turns;
    this.refused = true;
    this.certain = 0;
    throw REFUSED;
  }

  /** Whether a call may be plain: if the actor has as many turns in a row as the call is known to need. */
  readonly calm = (call: number): boolean => {
    if (!this.mayCallPlainly || this.#turnsOf[call]! > this.likely - this.turns) return false;
    this.#call = call;
    this.#callBegan = this.turns;
    return true;
  };

  /** There are so many calls that may be plain. */
  calls(count: number): void {
    this.#turnsOf = new Int32Array(count);
  }

  /** A plain call has come to a wait: it is never plain from now on. */
  refuse(): never {
    this.#refuse(NEVER);
  }

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
    if (this.#found.length === 0) return;
    for (const word of this.#found) {
      if (this.contended[word] === 0) this.contended[word] = ++this.contendedCount;
    }
    this.#found.length = 0;
  }

  /** Words found contended that do not count as such yet. */
  get found(): readonly number[] {
    return this.#found;
  }

  /** From the next schedule on these words are contended, too. */
  learn(words: readonly number[]): void {
    this.#found.push(...words);
  }

  /** The environment writes to this word, so that reads of it are turns, whichever actors make them. */
  expect(word: number): void {
    if (this.contended[word] === 0) this.contended[word] = ++this.contendedCount;
  }

  /** As `point`, for a wait that the run itself makes. */
  noteWait(word: number): void {
    const touched = this.#touch[word];
    if (touched === undefined) throw new RangeError(`word ${word} is outside the region`);
    const now = (touched | (1 << (GROUP_OF[Access.wait] * 8 + this.actor))) >>> 0;
    if (now !== touched) this.#note(word, now);
  }

  /** What is known of the words, which another scenario will use for other things. */
  forget(): void {
    this.#touch = new Uint32Array(0);
    this.contended = new Uint16Array(0);
    this.contendedCount = 0;
    this.discovered = 0;
    this.#found.length = 0;
    this.#turnsOf.fill(0);
  }

  /** The shared memory of a program: one buffer, that nobody shares. */
  makeBuffer(byteLength: number): ArrayBuffer {
    const buffer = new ArrayBuffer(byteLength);
    this.words = new Int32Array(buffer);
    this.#undoCount = 0;
    this.#lonely = 0;
    this.#quiet = 0;
    this.#places = 0;
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
    this.#places = 0;
    this.nowMs = 0;
    this.history.fill(0);
  }

  /** The actor that runs sees something of what all share, or goes on by an access of it. Returns the value. */
  seen(value: number): number {
    if (this.keepsHistory && !this.alone) {
      const { history } = this;
      const at = this.actor * 2;
      history[at] = mixed(history[at]!, value);
      history[at + 1] = mixedOtherwise(history[at + 1]!, value);
    }
    return value;
  }

  /** Writes a word, noting what it was. */
  write(word: number, value: number): void {
    const { words } = this;
    this.seen(1);
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

/** Turns of a call that sleeps: more than there is ever room for. */
const NEVER = 0x7fffffff;
const REFUSED = new Error("a plain call has come to a turn");
