/**
 * Claims: who may write which blocks of a file, among the threads of a collide run. The volume
 * knows nothing of them. They keep two of our own I/Os from writing one block, which no filesystem
 * would forbid: so whatever is found changed under an I/O is the protocol's fault and not ours.
 *
 * One word per block: 0 free, n > 0 read by n I/Os, n < 0 written by one of thread -n - 1.
 *
 * Rules. (1) A claim never waits: what is taken is left alone. So claims are in no deadlock.
 *        (2) A claim is of an offset range, and blocks move when a range is collapsed or inserted.
 *            It still covers what it must: pinned blocks cannot move, and one copying read or write
 *            of the volume happens between two layout changes, not across one.
 *        (3) Files whose identities share a row exclude each other more than they need to.
 *        (4) A thread that may be killed writes all that it claims, as far as others can tell, so
 *            that what it has at its death can be found and given back.
 */
import { add, cas, load, makeSharedBuffer, store, type Words } from "../../sync/atomics.ts";

const ROWS = 64;

/** A taken range. `release()` or `using` gives it back. */
export interface Claim extends Disposable {
  readonly first: number;
  readonly count: number;
  release(): void;
}

export class Claims {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Words;
  readonly #writing: number;
  readonly #writesOnly: boolean;
  /** Blocks of a file that claims cover; none is given beyond. */
  readonly blocksMax: number;

  private constructor(buffer: SharedArrayBuffer, thread: number, isMortal: boolean) {
    this.buffer = buffer;
    this.#writing = -1 - thread;
    this.#writesOnly = isMortal;
    this.#words = new Int32Array(buffer);
    this.blocksMax = this.#words.length / ROWS;
  }

  static create(blocksMax: number): Claims {
    return new Claims(makeSharedBuffer(4 * ROWS * blocksMax), 0, false);
  }

  /** Those of a thread. A mortal one may be killed at any time. */
  static attach(buffer: SharedArrayBuffer, thread: number, isMortal: boolean): Claims {
    return new Claims(buffer, thread, isMortal);
  }

  /**
   * Claims blocks [first, first + count) of a file, or returns null when somebody has one of them.
   * Sleeps: never.
   */
  take(identity: number, first: number, count: number, use: "read" | "write"): Claim | null {
    if (first < 0 || first + count > this.blocksMax) return null;
    const mode = this.#writesOnly ? "write" : use;
    const row = (identity % ROWS) * this.blocksMax + first;
    for (let taken = 0; taken < count; taken++) {
      if (mode === "write" ? this.#takeToWrite(row + taken) : this.#takeToRead(row + taken))
        continue;
      this.#giveBack(row, taken, mode);
      return null;
    }
    let isHeld = true;
    const release = (): void => {
      if (isHeld) this.#giveBack(row, count, mode);
      isHeld = false;
    };
    return { first, count, release, [Symbol.dispose]: release };
  }

  #takeToWrite(word: number): boolean {
    return cas(this.#words, word, 0, this.#writing);
  }

  #takeToRead(word: number): boolean {
    for (;;) {
      const readers = load(this.#words, word);
      if (readers < 0) return false;
      if (cas(this.#words, word, readers, readers + 1)) return true;
    }
  }

  #giveBack(row: number, count: number, mode: "read" | "write"): void {
    for (let index = 0; index < count; index++) {
      if (mode === "write") store(this.#words, row + index, 0);
      else add(this.#words, row + index, -1);
    }
  }

  /** Gives back what a thread wrote that was killed. */
  giveBackOf(thread: number): void {
    for (let word = 0; word < this.#words.length; word++) cas(this.#words, word, -1 - thread, 0);
  }
}
