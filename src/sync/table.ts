/**
 * A thread's table of small records in the region: what it holds, listed so that others can find it
 * after its death. Blocks of records are chained from a word of the thread's slot and stay with the
 * slot. A record is in use when its first word is not zero; only its own thread takes and frees
 * records while it lives, so which are free is that thread's JavaScript: those given back, and those
 * from a cursor on that goes through the blocks once.
 *
 * Block, in words: 0 next block | 1..: records.
 */
import { load, loadRelaxed, store, storeOwn, type Words } from "./atomics.ts";
import type { Region } from "./region.ts";

const BLOCK_WORDS = 1024;

export class ThreadTable {
  readonly #region: Region;
  readonly #words: Words;
  readonly #head: number;
  readonly #recordWords: number;
  readonly #free: number[] = [];
  /** The block of the cursor, its first record never taken, and where its records end. */
  #block: number;
  #next = 0;
  #end = 0;
  /** The chain is used up: blocks are new from here on, and stand before the others. */
  #chainDone = false;
  /** Records in use. */
  count = 0;

  constructor(region: Region, head: number, recordWords: number) {
    this.#region = region;
    this.#words = region.words;
    this.#head = head;
    this.#recordWords = recordWords;
    this.#block = load(this.#words, head);
    if (this.#block !== 0) this.#enter(this.#block);
  }

  /** A free record, its first word zero until the caller sets it. Throws: ENOMEM. */
  take(): number {
    const record = this.#free.pop() ?? this.#takeNew();
    this.count++;
    return record;
  }

  #takeNew(): number {
    if (this.#next === this.#end) this.#enter(this.#followingBlock());
    const record = this.#next;
    this.#next += this.#recordWords;
    return record;
  }

  /** The next block of the chain that an earlier thread of the slot left, or a new one. */
  #followingBlock(): number {
    const words = this.#words;
    const following = this.#block === 0 ? 0 : load(words, this.#block);
    if (following !== 0 && !this.#chainDone) return following;
    this.#chainDone = true;
    const block = this.#region.allocatePages(BLOCK_WORDS);
    store(words, block, load(words, this.#head));
    store(words, this.#head, block);
    return block;
  }

  #enter(block: number): void {
    this.#block = block;
    this.#next = block + 1;
    this.#end = this.#next + recordsPerBlock(this.#recordWords) * this.#recordWords;
  }

  /** Gives a record back. */
  give(record: number): void {
    store(this.#words, record, 0);
    this.giveEmpty(record);
  }

  /** As `give`, for a record whose first word is zero, as it was when it was taken. */
  giveEmpty(record: number): void {
    this.#free.push(record);
    this.count--;
  }

  /** As `give`, for a record whose other words already tell others that it holds nothing. */
  giveOwn(record: number): void {
    storeOwn(this.#words, record, 0);
    this.giveEmpty(record);
  }
}

function recordsPerBlock(recordWords: number): number {
  return Math.floor((BLOCK_WORDS - 1) / recordWords);
}

/**
 * Visits the records in use of a table, of this thread or another's. Of another's that lives, what its
 * owner wrote without ordering may be missed, or seen too long: lock it out first, or only tell of it.
 */
export function forEachRecord(
  words: Words,
  head: number,
  recordWords: number,
  visit: (record: number) => void,
): void {
  for (let block = load(words, head); block !== 0; block = load(words, block)) {
    const records = recordsPerBlock(recordWords);
    for (let index = 0; index < records; index++) {
      const record = block + 1 + index * recordWords;
      if (loadRelaxed(words, record) !== 0) visit(record);
    }
  }
}
