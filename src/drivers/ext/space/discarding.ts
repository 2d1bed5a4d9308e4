/**
 * Discarding free blocks: telling the device that they hold nothing.
 *
 * Rules. (1) A block that is discarded is free in its group's bitmap, and durably so: pending frees (pending-frees.ts)
 *            are passed by, so that a crash gives no file a block back that has lost its bytes.
 *        (2) It stays free until it is discarded: blocks are taken and freed in the volume's one transaction, which is
 *            held meanwhile. That nobody has a pin or a window of it is rule 1 of every free block.
 *        (3) What the journal's log says of it is over: it was revoked by what has freed it, so that no recovery and
 *            no checkpoint writes there.
 *        (4) A part of the work is bounded, for others wait for the transaction: some runs, of some bytes together.
 */
import { PAGE_SIZE, roundDown, roundUp } from "../../../base/quantities.ts";
import type { DiscardedPart, Discarding, DiscardRange } from "../../../iomap/contract.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { type ExtVolume, unownableBlock } from "../volume.ts";
import { committedBitmap } from "./allocator.ts";
import { clearBits, findClear, findSet } from "./bitmaps.ts";
import { blocksInGroup, firstBlockOfGroup, groupOfBlock } from "./groups.ts";

const PART_BYTES_MAX = 2 ** 25;
const PART_RUNS_MAX = 256;

export class ExtDiscarding implements Discarding {
  readonly #volume: ExtVolume;
  /** The same, of which block bitmaps that are not cached stay so. */
  #looked: ExtVolume | null = null;

  constructor(volume: ExtVolume) {
    this.#volume = volume;
  }

  /** A group's bitmap of what can be allocated. */
  #bitmapOf({ cache }: Transaction, group: number): Uint32Array {
    if (this.#looked === null) {
      this.#looked = this.#volume.readBy({
        read: (block, verify) => cache.readCached(block) ?? cache.readCopy(block, verify),
      });
      this.#looked.pendingFrees = this.#volume.pendingFrees;
    }
    return committedBitmap(this.#looked, group);
  }

  discardFree(transaction: Transaction, range: DiscardRange, cursor: number): DiscardedPart {
    const volume = this.#volume;
    const { blockSize, facts } = volume;
    const firstBlock = Math.max(Math.ceil(range.start / blockSize), facts.firstDataBlock);
    const first = Math.max(firstBlock, cursor / blockSize);
    const end = Math.min(Math.floor(range.end / blockSize), facts.blocks);
    if (first >= end) return { bytes: 0, cursor: null };
    const group = groupOfBlock(volume, first);
    const base = firstBlockOfGroup(volume, group);
    const words = this.#bitmapOf(transaction, group);
    const limit = Math.min(end - base, blocksInGroup(volume, group));
    const part = new Part(volume);
    let from = findClear(words, first - base, limit);
    while (from < limit && part.hasRoom) {
      const runEnd = findSet(words, from, limit);
      const to = Math.min(runEnd, from + PART_BYTES_MAX / blockSize);
      const isRest = base + from > firstBlock && from > 0 && !isSet(words, from - 1);
      if (isRest || (runEnd - from) * blockSize >= range.minimum)
        part.discard(base + from, base + to);
      else part.pass();
      from = findClear(words, to, limit);
    }
    return part.end(base + from < end ? (base + from) * blockSize : null);
  }

  get discardsFreed(): boolean {
    return this.#volume.pendingFrees?.discards ?? false;
  }

  endDiscards(): void {
    this.#volume.pendingFrees?.endDiscards();
  }

  /** The cursor is a group. */
  discardFreed(transaction: Transaction, cursor: number): DiscardedPart {
    const volume = this.#volume;
    const { pendingFrees, facts } = volume;
    const group = pendingFrees?.firstNoted(cursor, facts.groups) ?? facts.groups;
    if (pendingFrees === null || group >= facts.groups) return { bytes: 0, cursor: null };
    const freed = pendingFrees.freed(group);
    const words = this.#bitmapOf(transaction, group);
    const limit = blocksInGroup(volume, group);
    const base = firstBlockOfGroup(volume, group);
    const part = new Part(volume);
    let from = findSet(freed, 0, limit);
    while (from < limit && part.hasRoom) {
      const end = findClear(freed, from, Math.min(limit, from + PART_BYTES_MAX / volume.blockSize));
      const start = findClear(words, from, end);
      const to = findSet(words, start, end);
      if (start < to) part.discardAround(base, words, start, to);
      else part.pass();
      clearBits(freed, from, to);
      from = findSet(freed, to, limit);
    }
    if (from < limit) return part.end(group);
    pendingFrees.endFreed(group);
    return part.end(group + 1);
  }
}

function isSet(words: Uint32Array, bit: number): boolean {
  return findSet(words, bit, bit + 1) === bit;
}

/** What one part of the work has discarded, and whether it may do more. */
class Part {
  readonly #volume: ExtVolume;
  #bytes = 0;
  #looked = 0;
  #runs = 0;

  constructor(volume: ExtVolume) {
    this.#volume = volume;
  }

  get hasRoom(): boolean {
    return this.#runs < PART_RUNS_MAX && this.#looked < PART_BYTES_MAX;
  }

  end(cursor: number | null): DiscardedPart {
    return { bytes: this.#bytes, cursor };
  }

  /** Discards blocks [start, end), as far as they are whole pages. */
  discard(start: number, end: number): void {
    const { blockSize, storage } = this.#volume;
    if (!this.#volume.isOwnable(start, end - start)) {
      throw unownableBlock(this.#volume, start, "is free in its block bitmap");
    }
    const from = roundUp(start * blockSize, PAGE_SIZE);
    const to = roundDown(end * blockSize, PAGE_SIZE);
    this.#runs++;
    this.#looked += (end - start) * blockSize;
    if (from >= to) return;
    storage?.release(from, to - from);
    this.#bytes += to - from;
  }

  /**
   * Discards blocks [from, to) of a group, by their bits, and those beside them that fill a page with them and are
   * free as well.
   */
  discardAround(base: number, words: Uint32Array, from: number, to: number): void {
    const perPage = PAGE_SIZE / this.#volume.blockSize;
    while ((base + from) % perPage !== 0 && from > 0 && !isSet(words, from - 1)) from--;
    const limit = blocksInGroup(this.#volume, groupOfBlock(this.#volume, base));
    while ((base + to) % perPage !== 0 && to < limit && !isSet(words, to)) to++;
    this.discard(base + from, base + to);
  }

  /** A run is left alone. */
  pass(): void {
    this.#runs++;
  }
}
