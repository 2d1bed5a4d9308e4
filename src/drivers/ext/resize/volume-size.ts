/**
 * What threads share of a volume's size: whether it changes, and who makes it larger.
 *
 * Area, in words: 0 who makes it larger; 0: nobody | 1 sequence: odd while a transaction changes the size
 *
 * Rules. (1) A transaction that gives the volume another size makes word 1 odd before it changes anything; it is even
 *            again, and another one, when all of that is committed, or undone (metadata/transaction.ts, rule 3). What
 *            depends on the size is read anew when the word is even, and not the one that was known. So nobody takes
 *            a size that may still be undone: what it would read of the new groups could be others' tomorrow.
 *        (2) Who makes it larger holds word 0 from before its first store to new blocks until its last
 *            transaction has ended: nobody else stores to these, and all who do nothing so see whole groups.
 *            What one that died has stored there is nobody's; the next one stores anew.
 *        (3) Word 0 is taken under the transaction: by one thread at a time, and what one that died was about to do is
 *            done by then, or undone.
 */
import { HoldfastError } from "../../../base/errors.ts";
import { tryReadStable } from "../../../metadata/sequence.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { cas, load, store } from "../../../sync/atomics.ts";
import { Root } from "../../../sync/region.ts";
import type { Thread } from "../../../sync/thread.ts";

const Area = { grower: 0, sequence: 1 } as const;

/** Makes the area of a new region: what threads are told of the volume when they attach has the sequence 0. */
export function createVolumeSize(thread: Thread): void {
  thread.region.setRoot(Root.volumeSize, thread.region.allocatePages(2));
}

/** How somebody in a thread follows the size: each object that knows something of the volume by it has its own. */
export class VolumeSize {
  readonly #thread: Thread;
  readonly #area: number;
  /** The sequence of what is known. */
  #known = 0;

  constructor(thread: Thread) {
    this.#thread = thread;
    this.#area = thread.region.root(Root.volumeSize);
  }

  /** The same, for somebody else of this thread. */
  another(): VolumeSize {
    return new VolumeSize(this.#thread);
  }

  /** Whether the volume has got another size since `readAnew` has read it, or is being given one. One load. */
  get hasChanged(): boolean {
    return load(this.#thread.words, this.#area + Area.sequence) !== this.#known;
  }

  /**
   * What `read` finds of the volume as it is now: undefined while it is being given another size, or was meanwhile. Then
   * it counts as it was. Throws: what `read` does, of a volume that nobody changes.
   */
  readAnew<T>(read: () => T): T | undefined {
    const { words } = this.#thread;
    const sequence = this.#area + Area.sequence;
    const now = load(words, sequence);
    const found = tryReadStable(words, sequence, read);
    // It may be newer than `now`, or nothing: then the word is another one already, or comes to be.
    this.#known = now;
    return found;
  }

  /** The open transaction is about to give the volume another size. */
  beginChange(transaction: Transaction): void {
    transaction.beginLayoutChange(this.#area + Area.sequence);
  }

  /**
   * Makes this thread the one that makes the volume larger, until the disposal. Locks: the transaction.
   * Throws: EBUSY naming who does.
   */
  claim(): Disposable {
    const thread = this.#thread;
    const word = this.#area + Area.grower;
    const other = load(thread.words, word);
    if (other !== 0 && thread.isAlive(other)) {
      const who = thread.describe(other);
      throw new HoldfastError("EBUSY", `the volume is being made larger already, by ${who}`);
    }
    store(thread.words, word, thread.holder);
    return {
      [Symbol.dispose]: () => {
        cas(thread.words, word, thread.holder, 0);
      },
    };
  }
}
