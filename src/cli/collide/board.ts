/**
 * The board: what the threads of a run share besides the volume. Words:
 *
 *     0 stop | 1 last file identity | 2 last I/O number | 3 lanes per thread | 8.. lanes | clones | inodes
 *
 * A *lane* is one of a thread's concurrent activities: it does one thing at a time and writes here
 * what that is. Cutters of all threads read it to aim at ranges under I/O; the main thread reads it
 * to see that everybody still moves, even when a thread is stuck in a page fault and says nothing.
 *
 * Lane, in words: 0 activity | 1 name | 2 first block | 3 blocks | 4 since, in ms | 5 turns.
 * Inode, one word: identity of the file that has this inode number now. It is written before the
 * file gets a name that others open, and an inode number is used again only after the last close:
 * so whoever has the file open reads the right one.
 * Clone, in words, by identity: 0 the identity of its origin (0: it is none) | 1 the last I/O it has of that.
 */
import { markOf, type FileMark } from "./stamp.ts";
import { add, load, makeSharedBuffer, store, type Words } from "../../sync/atomics.ts";

const Head = { stop: 0, identity: 1, generation: 2, lanes: 3, words: 8 } as const;
const Lane = { activity: 0, name: 1, first: 2, count: 3, since: 4, turns: 5, words: 8 } as const;

/** Inode numbers below this can be told apart. */
export const INODES_MAX = 2 ** 18;

/** Identities below this can be clones'. */
const CLONES_MAX = 2 ** 18;
const CLONE_WORDS = 2;

/** What a lane can be doing, in words that fit "thread 2 has been …". */
export const ACTIVITIES = [
  "idle",
  "opening a file",
  "extending a file",
  "waiting for a pin",
  "waiting for a lease",
  "holding pages under a lease",
  "reporting lost pages",
  "reading from the source file into pinned pages",
  "receiving from a socket into pinned pages",
  "writing pinned pages to a file",
  "sending pinned pages through a socket",
  "reading back what an I/O delivered",
  "reading a file by copying",
  "writing a file by copying",
  "touching a window",
  "truncating",
  "punching a hole",
  "collapsing a range",
  "inserting a range",
  "zeroing a range",
  "allocating",
  "unlinking",
  "creating",
  "renaming",
  "cloning a file",
  "deduping a range",
  "unsharing a range",
  "closing",
  "writing back",
  "checking a file",
] as const;
export type Activity = (typeof ACTIVITIES)[number];

/** What a lane is doing, where, and since when (ms since the run began). */
export interface LaneState {
  readonly activity: Activity;
  /** Index of the file's name. */
  readonly name: number;
  readonly first: number;
  readonly count: number;
  readonly sinceMs: number;
  /** Activities begun so far. */
  readonly turns: number;
}

export class Board {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Words;
  readonly lanesPerThread: number;
  readonly #threads: number;

  private constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
    this.lanesPerThread = load(this.#words, Head.lanes);
    const laneWords = this.#words.length - Head.words - CLONES_MAX * CLONE_WORDS - INODES_MAX;
    this.#threads = laneWords / (Lane.words * this.lanesPerThread);
  }

  static create(threads: number, lanesPerThread: number): Board {
    const lanes = threads * lanesPerThread * Lane.words;
    const words = Head.words + lanes + CLONES_MAX * CLONE_WORDS + INODES_MAX;
    const buffer = makeSharedBuffer(4 * words);
    store(new Int32Array(buffer), Head.lanes, lanesPerThread);
    return new Board(buffer);
  }

  static attach(buffer: SharedArrayBuffer): Board {
    return new Board(buffer);
  }

  get threads(): number {
    return this.#threads;
  }

  get isStopped(): boolean {
    return load(this.#words, Head.stop) !== 0;
  }

  stop(): void {
    store(this.#words, Head.stop, 1);
  }

  nextIdentity(): number {
    return add(this.#words, Head.identity, 1) + 1;
  }

  nextGeneration(): number {
    return add(this.#words, Head.generation, 1) + 1;
  }

  /**
   * An identity for a clone of a file, which has what I/Os wrote up to now; null when all are given away.
   */
  nextClone(origin: FileMark): number | null {
    const identity = this.nextIdentity();
    if (identity >= CLONES_MAX) return null;
    const word = this.#cloneWord(identity);
    store(this.#words, word, origin.identity);
    store(this.#words, word + 1, this.nextGeneration());
    return identity;
  }

  /** What the blocks of a file look like. */
  markOf(identity: number): FileMark {
    if (identity >= CLONES_MAX) return markOf(identity);
    const word = this.#cloneWord(identity);
    const of = load(this.#words, word);
    if (of === 0) return markOf(identity);
    return markOf(identity, { mark: this.markOf(of), generation: load(this.#words, word + 1) });
  }

  #cloneWord(identity: number): number {
    return this.#words.length - INODES_MAX - (CLONES_MAX - identity) * CLONE_WORDS;
  }

  /** The identity of the file that has this inode number, 0 when it was never given one. */
  identityOf(ino: number): number {
    return load(this.#words, this.#inodeWord(ino));
  }

  setIdentity(ino: number, identity: number): void {
    store(this.#words, this.#inodeWord(ino), identity);
  }

  enterActivity(lane: number, activity: Activity, sinceMs: number): void {
    const word = this.#laneWord(lane);
    store(this.#words, word + Lane.since, Math.floor(sinceMs));
    store(this.#words, word + Lane.activity, ACTIVITIES.indexOf(activity));
    add(this.#words, word + Lane.turns, 1);
  }

  /** Says that the lanes of a thread that was killed do nothing. */
  idle(thread: number, sinceMs: number): void {
    const first = thread * this.lanesPerThread;
    for (let lane = first; lane < first + this.lanesPerThread; lane++) {
      this.enterRange(lane, 0, 0, 0);
      this.enterActivity(lane, "idle", sinceMs);
    }
  }

  /** Where the lane is at work, for others to aim at. */
  enterRange(lane: number, name: number, first: number, count: number): void {
    const word = this.#laneWord(lane);
    store(this.#words, word + Lane.name, name);
    store(this.#words, word + Lane.first, first);
    store(this.#words, word + Lane.count, count);
  }

  lane(lane: number): LaneState {
    const word = this.#laneWord(lane);
    const get = (field: number): number => load(this.#words, word + field);
    return {
      activity: ACTIVITIES[get(Lane.activity)]!,
      name: get(Lane.name),
      first: get(Lane.first),
      count: get(Lane.count),
      sinceMs: get(Lane.since),
      turns: get(Lane.turns),
    };
  }

  #laneWord(lane: number): number {
    return Head.words + lane * Lane.words;
  }

  #inodeWord(ino: number): number {
    if (!(ino >= 0 && ino < INODES_MAX)) throw new RangeError(`inode number ${ino} is too large`);
    return this.#words.length - INODES_MAX + ino;
  }
}
