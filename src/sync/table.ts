/**
 * A thread's table of small records in the region: what it holds, listed so that others can find it
 * after its death. Blocks of records are chained from a word of the thread's slot and stay with the
 * slot. A record is in use when its first word is not zero; only its own thread takes and frees
 * records while it lives, so the list of free ones is that thread's JavaScript.
 *
 * Block, in words: 0 next block | 1..: records.
 */
import { load, store, storeOwn, type Words } from "./atomics.ts";
import type { Region } from "./region.ts";

const BLOCK_WORDS = 1024;

export class ThreadTable {
  readonly #region: Region;
  readonly #words: Words;
  readonly #head: number;
  readonly #recordWords: number;
  readonly #free: number[] = [];
  /** Records in use. */
  count = 0;

  constructor(region: Region, head: number, recordWords: number) {
    this.#region = region;
    this.#words = region.words;
    this.#head = head;
    this.#recordWords = recordWords;
    for (let block = load(this.#words, head); block !== 0; block = load(this.#words, block)) {
      this.#addFree(block);
    }
  }

  /** A free record, its first word zero until the caller sets it. Throws: ENOMEM. */
  take(): number {
    let record = this.#free.pop();
    if (record === undefined) {
      const block = this.#region.allocatePages(BLOCK_WORDS);
      store(this.#words, block, load(this.#words, this.#head));
      store(this.#words, this.#head, block);
      this.#addFree(block);
      record = this.#free.pop()!;
    }
    this.count++;
    return record;
  }

  /** Gives a record back. */
  give(record: number): void {
    store(this.#words, record, 0);
    this.#free.push(record);
    this.count--;
  }

  /** As `give`, for a record whose other words already tell others that it holds nothing. */
  giveOwn(record: number): void {
    storeOwn(this.#words, record, 0);
    this.#free.push(record);
    this.count--;
  }

  #addFree(block: number): void {
    const first = block + 1;
    const records = Math.floor((BLOCK_WORDS - 1) / this.#recordWords);
    for (let index = records - 1; index >= 0; index--) {
      this.#free.push(first + index * this.#recordWords);
    }
  }
}

/** Visits the records in use of a table, of this thread or another's. */
export function forEachRecord(
  words: Words,
  head: number,
  recordWords: number,
  visit: (record: number) => void,
): void {
  for (let block = load(words, head); block !== 0; block = load(words, block)) {
    const records = Math.floor((BLOCK_WORDS - 1) / recordWords);
    for (let index = 0; index < records; index++) {
      const record = block + 1 + index * recordWords;
      if (load(words, record) !== 0) visit(record);
    }
  }
}
