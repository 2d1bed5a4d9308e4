/**
 * Leases: who may write which blocks of a file, among the threads of a collide run. The volume
 * knows nothing of them. They keep two of our own I/Os from writing one block, which no filesystem
 * would forbid: so whatever is found changed under an I/O is the protocol's fault and not ours.
 *
 * One word per block: 0 free, -1 written by one I/O, n > 0 read by n.
 *
 * Rules. (1) A lease never waits: what is taken is left alone. So leases are in no deadlock.
 *        (2) A lease is of an offset range, and blocks move when a range is collapsed or inserted.
 *            It still covers what it must: pinned blocks cannot move, and one copying read or write
 *            of the volume happens between two layout changes, not across one.
 *        (3) Files whose identities share a row exclude each other more than they need to.
 */
import { add, cas, load, makeSharedBuffer, type Words } from "../../sync/atomics.ts";

const ROWS = 64;

/** A taken range. `release()` or `using` gives it back. */
export interface Lease extends Disposable {
  readonly first: number;
  readonly count: number;
  release(): void;
}

export class Leases {
  readonly buffer: SharedArrayBuffer;
  readonly #words: Words;
  /** Blocks of a file that leases cover; none is given beyond. */
  readonly blocksMax: number;

  private constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.#words = new Int32Array(buffer);
    this.blocksMax = this.#words.length / ROWS;
  }

  static create(blocksMax: number): Leases {
    return new Leases(makeSharedBuffer(4 * ROWS * blocksMax));
  }

  static attach(buffer: SharedArrayBuffer): Leases {
    return new Leases(buffer);
  }

  /**
   * Leases blocks [first, first + count) of a file, or returns null when somebody has one of them.
   * Sleeps: never.
   */
  take(identity: number, first: number, count: number, mode: "read" | "write"): Lease | null {
    if (first < 0 || first + count > this.blocksMax) return null;
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
    return cas(this.#words, word, 0, -1);
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
      add(this.#words, row + index, mode === "write" ? 1 : -1);
    }
  }
}
