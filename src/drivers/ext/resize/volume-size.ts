/**
 * What threads share of a volume's size: how large it is, and who makes it larger.
 *
 * Area, in words: 0 who makes it larger; 0: nobody | 1 the volume's blocks, the low 32 bits
 *
 * Rules. (1) Word 1 changes in the transaction that gives the superblock its new size, after all else of it, and
 *            is undone with it, before all else. So who finds another size there than in the facts that it has
 *            reads these anew, and takes what it reads only if the size is the word's (ExtVolume.facts).
 *        (2) Who makes it larger holds word 0 from before its first store to new blocks until its last
 *            transaction has ended: nobody else stores to these, and all who do nothing so see whole groups.
 *            What one that died has stored there is nobody's; the next one stores anew.
 */
import { HoldfastError } from "../../../base/errors.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { cas, load, loadUnsigned, store } from "../../../sync/atomics.ts";
import { Root } from "../../../sync/region.ts";
import type { Thread } from "../../../sync/thread.ts";

const Area = { grower: 0, blocks: 1 } as const;

/** Makes the area of a new region, for a volume of so many blocks. */
export function createVolumeSize(thread: Thread, blocks: number): void {
  const { region, words } = thread;
  const area = region.allocatePages(2);
  store(words, area + Area.blocks, blocks | 0);
  region.setRoot(Root.volumeSize, area);
}

export class VolumeSize {
  readonly #thread: Thread;
  readonly #area: number;

  constructor(thread: Thread) {
    this.#thread = thread;
    this.#area = thread.region.root(Root.volumeSize);
  }

  /** Whether this is how many blocks the volume has. One load. */
  isOf(blocks: number): boolean {
    return loadUnsigned(this.#thread.words, this.#area + Area.blocks) === blocks % 2 ** 32;
  }

  set(transaction: Transaction, blocks: number): void {
    transaction.setWord(this.#area + Area.blocks, blocks | 0);
  }

  /** Makes this thread the one that makes the volume larger, until the disposal. Throws: EBUSY naming who does. */
  claim(): Disposable {
    const thread = this.#thread;
    const word = this.#area + Area.grower;
    for (let other = 0; !cas(thread.words, word, other, thread.holder); ) {
      other = load(thread.words, word);
      if (other === 0 || (other !== thread.holder && !thread.isAlive(other))) continue;
      const who = thread.describe(other);
      throw new HoldfastError("EBUSY", `the volume is being made larger already, by ${who}`);
    }
    return {
      [Symbol.dispose]: () => {
        cas(thread.words, word, thread.holder, 0);
      },
    };
  }
}
