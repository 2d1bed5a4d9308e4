/**
 * Blocks that were freed by transactions which a crash could undo: their files have them again then, so until
 * those transactions are durable nobody gets them.
 *
 * For each group there are two bitmaps, of the blocks freed by a journal transaction with an even and with an
 * odd number. More are never on their way: one runs, and one is being committed.
 *
 * Where freed blocks are to be discarded, a third bitmap holds what durable transactions have freed, until somebody
 * has done it. It may name blocks that are in use again: nobody takes them from there.
 *
 * Table: 0 whether they are to be discarded | 8.. eight words a group: of each of the two, the transaction | its
 * bitmap's word offset, 0: none yet; 4 that of the third one | 5 whether any of the three may name a block
 *
 * What a transaction frees that is undone itself stays noted: the blocks are in use, so that says nothing new.
 */
import type { Journal } from "../../../metadata/journal.ts";
import { load, store } from "../../../sync/atomics.ts";
import { Root } from "../../../sync/region.ts";
import type { Thread } from "../../../sync/thread.ts";
import { setBits, wordsOf } from "./bitmaps.ts";

const HEADER_WORDS = 8;
const GROUP_WORDS = 8;
const Group = { sides: 0, freed: 4, isNoted: 5 } as const;

/** Makes the table of a new region, for so many groups. `discards`: freed blocks are to be discarded. */
export function createPendingFrees(thread: Thread, groups: number, discards: boolean): void {
  const table = thread.region.allocatePages(HEADER_WORDS + groups * GROUP_WORDS);
  thread.region.setRoot(Root.pendingFrees, table);
  store(thread.words, table, discards ? 1 : 0);
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
    const at = this.#groupAt(group) + Group.sides + (running & 1) * 2;
    if (load(words, at + 1) === 0) store(words, at + 1, region.allocatePages(this.#bitmapWords));
    const bitmap = this.#bitmap(load(words, at + 1));
    if (load(words, at) !== running) {
      if (this.discards) this.#keep(group, bitmap);
      bitmap.fill(0);
      store(words, at, running);
    }
    setBits(bitmap, from, to);
    if (this.discards) store(words, this.#groupAt(group) + Group.isNoted, 1);
  }

  /**
   * A group's block bitmap, in which what nobody gets yet counts as used. Locks: the transaction.
   */
  mask(group: number, bitmap: Uint32Array): Uint32Array {
    const { words } = this.#thread;
    let masked = bitmap;
    for (let side = 0; side < 2; side++) {
      const at = this.#groupAt(group) + Group.sides + side * 2;
      const offset = load(words, at + 1);
      if (offset === 0 || this.#journal.isDurable(load(words, at))) continue;
      if (masked === bitmap) this.#masked.set(bitmap);
      masked = this.#masked;
      const pending = this.#bitmap(offset);
      for (let index = 0; index < pending.length; index++) masked[index]! |= pending[index]!;
    }
    return masked;
  }

  /** Whether freed blocks are to be discarded. */
  get discards(): boolean {
    return load(this.#thread.words, this.#table) !== 0;
  }

  /** From now on they are not: the device does not. */
  endDiscards(): void {
    store(this.#thread.words, this.#table, 0);
  }

  /** The first group from `group` on of which blocks may wait to be discarded, else `end`. */
  firstNoted(group: number, end: number): number {
    const { words } = this.#thread;
    while (group < end && load(words, this.#groupAt(group) + Group.isNoted) === 0) group++;
    return group;
  }

  /**
   * Blocks of a group that durable transactions have freed and nobody has discarded, as a bitmap: whoever discards
   * one, or finds it in use, clears its bit. Locks: the transaction. Throws: ENOMEM.
   */
  freed(group: number): Uint32Array {
    const { words } = this.#thread;
    const first = this.#groupAt(group);
    for (let at = first; at < first + Group.freed; at += 2) {
      const offset = load(words, at + 1);
      if (offset === 0 || !this.#journal.isDurable(load(words, at))) continue;
      this.#keep(group, this.#bitmap(offset));
      this.#bitmap(offset).fill(0);
    }
    return this.#freedBitmap(group);
  }

  /** What `freed` has given of a group is discarded. Locks: the transaction, since then. */
  endFreed(group: number): void {
    const { words } = this.#thread;
    const first = this.#groupAt(group);
    for (let at = first; at < first + Group.freed; at += 2) {
      if (load(words, at + 1) !== 0 && !this.#journal.isDurable(load(words, at))) return;
    }
    store(words, first + Group.isNoted, 0);
  }

  /** What a bitmap says that was noted for a durable transaction is kept. */
  #keep(group: number, bitmap: Uint32Array): void {
    const freed = this.#freedBitmap(group);
    for (let index = 0; index < freed.length; index++) freed[index]! |= bitmap[index]!;
  }

  #freedBitmap(group: number): Uint32Array {
    const { words, region } = this.#thread;
    const at = this.#groupAt(group) + Group.freed;
    if (load(words, at) === 0) store(words, at, region.allocatePages(this.#bitmapWords));
    return this.#bitmap(load(words, at));
  }

  #groupAt(group: number): number {
    return this.#table + HEADER_WORDS + group * GROUP_WORDS;
  }

  #bitmap(offset: number): Uint32Array {
    return wordsOf(this.#thread.region.bytes(offset, this.#bitmapWords * 4));
  }
}
