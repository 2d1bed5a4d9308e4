/**
 * Discarding free blocks: telling the device that they hold nothing.
 *
 * Rules. (1) A block that is discarded is free in its group's bitmap, and durably so: pending frees (pending-frees.ts)
 *            are passed by, so that a crash gives no file a block back that has lost its bytes.
 *        (2) It stays free until it is discarded: blocks are taken and freed in the volume's one transaction, which is
 *            held meanwhile. That nobody has a pin or a window of it is rule 1 of every free block.
 *        (3) What the journal's log says of it is over: it was revoked by what has freed it, so that no recovery and
 *            no checkpoint writes there.
 *        (4) A part of the work is bounded, for others wait for the transaction: by time, and the calls by their bytes.
 */
import { PAGE_SIZE, roundDown, roundUp } from "../../../base/quantities.ts";
import type { DiscardedPart, Discarding, DiscardRange } from "../../../iomap/contract.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { type ExtVolume, unownableBlock } from "../volume.ts";
import { committedBitmap } from "./allocator.ts";
import { clearBits, findClear, findSet } from "./bitmaps.ts";
import { blocksInGroup, firstBlockOfGroup, groupOfBlock, readGroup } from "./groups.ts";

/** How long a part begins calls of the device, and how much one of them is told: others wait for both. */
const PART_MS = 4;
const PIECE_BYTES = 2 ** 22;

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
      this.#looked.size = this.#volume.size?.another() ?? null;
    }
    // Many descriptors lie in a block, which is to be read once.
    readGroup(this.#volume, group);
    return committedBitmap(this.#looked, group);
  }

  discardFree(transaction: Transaction, range: DiscardRange, cursor: number): DiscardedPart {
    const { blockSize, facts } = this.#volume;
    const first = Math.max(Math.ceil(range.start / blockSize), facts.firstDataBlock);
    const end = Math.min(Math.floor(range.end / blockSize), facts.blocks);
    const wish = { first, end, minimum: range.minimum / blockSize };
    const part = new Part(this.#volume);
    let at = Math.max(first, cursor / blockSize);
    for (let isFirst = true; at < end && (isFirst || part.hasTime); isFirst = false) {
      at = this.#discardInGroup(transaction, part, wish, at);
    }
    return part.end(at < end ? at * blockSize : null);
  }

  /** Discards free runs of one group, from block `at` on: returns the block up to which it is done. */
  #discardInGroup(
    transaction: Transaction,
    part: Part,
    wish: { readonly first: number; readonly end: number; readonly minimum: number },
    at: number,
  ): number {
    const volume = this.#volume;
    const group = groupOfBlock(volume, at);
    const base = firstBlockOfGroup(volume, group);
    const words = this.#bitmapOf(transaction, group);
    const limit = Math.min(wish.end - base, blocksInGroup(volume, group));
    let from = findClear(words, at - base, limit);
    for (let isFirst = true; from < limit && (isFirst || part.hasTime); isFirst = false) {
      const end = findSet(words, from, limit);
      // What begins in the middle of a free run goes on with one that was long enough.
      const isRest = base + from > wish.first && from > 0 && !isSet(words, from - 1);
      let to = end;
      if (isRest || end - from >= wish.minimum) {
        to = Math.min(end, part.pieceEnd(base + from) - base);
        part.discard(base + from, base + to);
      }
      from = findClear(words, to, limit);
    }
    return base + from;
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
    for (let isFirst = true; from < limit && (isFirst || part.hasTime); isFirst = false) {
      const end = findClear(freed, from, Math.min(limit, part.pieceEnd(base + from) - base));
      const start = findClear(words, from, end);
      const to = findSet(words, start, end);
      if (start < to) part.discardAround(base, words, start, to);
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
  readonly #startMs = performance.now();
  #bytes = 0;

  constructor(volume: ExtVolume) {
    this.#volume = volume;
  }

  get hasTime(): boolean {
    return performance.now() - this.#startMs < PART_MS;
  }

  /** Where a call ends at most that begins with a block: where a page does, so that the next one has all of its own. */
  pieceEnd(start: number): number {
    const { blockSize } = this.#volume;
    return roundDown(start * blockSize + PIECE_BYTES, PAGE_SIZE) / blockSize;
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
}
