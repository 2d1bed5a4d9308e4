/**
 * Ranges of a device that have lost their storage while it is in use, told to all threads: what each of them has
 * noted to have storage (backing.ts) may have none any more.
 *
 * Area, in words: 0 sequence | 2.. a ring of the last ranges, two words each: first page | pages
 * The sequence is twice the number of ranges told, and one more while the last one's storage is being taken.
 *
 * Rules. (1) One thread tells at a time: it holds the volume's transaction.
 *        (2) A range is told before its storage goes, and is over when that has gone. Who reads in between forgets
 *            it, and once more when it is over: meanwhile he may have looked at what was there.
 *        (3) A thread that dies in between leaves a range that is not over. It costs readers time, until the next
 *            one is told.
 */
import { load, loadUnsigned, store } from "../sync/atomics.ts";
import { Root } from "../sync/region.ts";
import type { Thread } from "../sync/thread.ts";

const Area = { sequence: 0, ring: 2 } as const;
const RANGE_WORDS = 2;
export const RANGES_MAX = 64;

/** Makes the ring of a new region. Locks: none; alone. */
export function createReleasedRanges(thread: Thread): void {
  const area = thread.region.allocatePages(Area.ring + RANGES_MAX * RANGE_WORDS);
  thread.region.setRoot(Root.released, area);
}

export class ReleasedRanges {
  readonly #thread: Thread;
  readonly #area: number;

  constructor(thread: Thread) {
    this.#thread = thread;
    this.#area = thread.region.root(Root.released);
  }

  /** Differs from what it was where a range has been told, or was over, since. One load. */
  get sequence(): number {
    return load(this.#thread.words, this.#area + Area.sequence);
  }

  /** The storage of `pages` pages is about to go. Locks: the volume's transaction. */
  begin(firstPage: number, pages: number): void {
    const { words } = this.#thread;
    this.end();
    const before = this.sequence;
    const at = this.#rangeAt(before >>> 1);
    store(words, at, firstPage | 0);
    store(words, at + 1, pages | 0);
    store(words, this.#area + Area.sequence, (before + 1) | 0);
  }

  /** It has gone; or the thread has died that had told of it. Locks: as `begin`. */
  end(): void {
    const before = this.sequence;
    if (before & 1) store(this.#thread.words, this.#area + Area.sequence, (before + 1) | 0);
  }

  /**
   * Has `forget` forget every range that was told, or not over, when the sequence was `seen`. Returns what it has
   * seen now; null: they are too many, and anything may have been released. Locks: none.
   */
  readSince(seen: number, forget: (firstPage: number, pages: number) => void): number | null {
    const { words } = this.#thread;
    const first = seen >>> 1;
    const now = this.sequence;
    for (let range = 0; range < told(seen, now) && range < RANGES_MAX; range++) {
      const at = this.#rangeAt(first + range);
      forget(loadUnsigned(words, at), loadUnsigned(words, at + 1));
    }
    // A range is written before it is counted: of so many, the first may be another one's already.
    return told(seen, this.sequence) >= RANGES_MAX ? null : now & ~1;
  }

  #rangeAt(range: number): number {
    return this.#area + Area.ring + (range % RANGES_MAX) * RANGE_WORDS;
  }
}

/** Ranges told since the sequence was `seen`, which is even. */
function told(seen: number, now: number): number {
  return ((now + 1 - seen) | 0) >> 1;
}
