/**
 * Blocks that were freed by transactions which a crash could undo: their files have them again then, so until
 * those transactions are durable nobody gets them.
 *
 * For each group there are two bitmaps, of the blocks freed by a journal transaction with an even and with an
 * odd number. More are never on their way: one runs, and one is being committed.
 *
 * Table, four words a group: of each of the two, the transaction | its bitmap's word offset, 0: none yet.
 *
 * What a transaction frees that is undone itself stays noted: the blocks are in use, so that says nothing new.
 */
import type { Journal } from "../../../metadata/journal.ts";
import { load, store } from "../../../sync/atomics.ts";
import { Root } from "../../../sync/region.ts";
import type { Thread } from "../../../sync/thread.ts";
import { setBits, wordsOf } from "./bitmaps.ts";

const GROUP_WORDS = 4;

/** Makes the table of a new region, for so many groups. */
export function createPendingFrees(thread: Thread, groups: number): void {
  thread.region.setRoot(Root.pendingFrees, thread.region.allocatePages(groups * GROUP_WORDS));
}

export class PendingFrees {
  readonly #thread: Thread;
  readonly #journal: Journal;
  readonly #table: number;
  readonly #bitmapWords: number;
  /** What `mask` answers with: good until it is called again. */
  readonly #masked: Uint32Array;

  constructor(journal: Journal, blockSize: number) {
    this.#thread = journal.thread;
    this.#journal = journal;
    this.#table = journal.thread.region.root(Root.pendingFrees);
    this.#bitmapWords = blockSize / 4;
    this.#masked = new Uint32Array(this.#bitmapWords);
  }

  /**
   * Blocks [from, to) of a group, by their bits, are about to be freed. Locks: the transaction. Throws: ENOMEM.
   */
  note(group: number, from: number, to: number): void {
    if (!this.#journal.isLive) return;
    const { words, region } = this.#thread;
    const running = this.#journal.runningSequence;
    const at = this.#table + group * GROUP_WORDS + (running & 1) * 2;
    if (load(words, at + 1) === 0) store(words, at + 1, region.allocatePages(this.#bitmapWords));
    const bitmap = this.#bitmap(load(words, at + 1));
    if (load(words, at) !== running) {
      bitmap.fill(0);
      store(words, at, running);
    }
    setBits(bitmap, from, to);
  }

  /**
   * A group's block bitmap, in which what nobody gets yet counts as used. Locks: the transaction.
   */
  mask(group: number, bitmap: Uint32Array): Uint32Array {
    const { words } = this.#thread;
    let masked = bitmap;
    for (let side = 0; side < 2; side++) {
      const at = this.#table + group * GROUP_WORDS + side * 2;
      const offset = load(words, at + 1);
      if (offset === 0 || this.#journal.isDurable(load(words, at))) continue;
      if (masked === bitmap) this.#masked.set(bitmap);
      masked = this.#masked;
      const pending = this.#bitmap(offset);
      for (let index = 0; index < pending.length; index++) masked[index]! |= pending[index]!;
    }
    return masked;
  }

  #bitmap(offset: number): Uint32Array {
    return wordsOf(this.#thread.region.bytes(offset, this.#bitmapWords * 4));
  }
}
