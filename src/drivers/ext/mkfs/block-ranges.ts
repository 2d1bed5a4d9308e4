/**
 * The blocks that a volume being made uses, as ranges: a bitmap of 2^32 blocks would be half a gigabyte,
 * and nearly all of it clear.
 */
import { invariant } from "../../../base/invariant.ts";

/** Blocks [start, start + count). */
export interface BlockRun {
  readonly start: number;
  readonly count: number;
}

export class BlockRanges {
  /** Sorted, apart from one another: range i is [starts[i], ends[i]). */
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];

  /** The first range that ends after `block`. */
  #indexAfter(block: number): number {
    let low = 0;
    let high = this.#ends.length;
    // Nearly every question is about the end.
    if (high > 0 && this.#ends[high - 1]! <= block) return high;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ends[middle]! <= block) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Adds blocks that are all free. */
  add(start: number, count: number): void {
    if (count === 0) return;
    const end = start + count;
    const index = this.#indexAfter(start);
    const [starts, ends] = [this.#starts, this.#ends];
    invariant(
      index === starts.length || end <= starts[index]!,
      () => `block ${start} is used twice`,
    );
    const joinsBefore = index > 0 && ends[index - 1] === start;
    const joinsAfter = index < starts.length && starts[index] === end;
    if (joinsBefore && joinsAfter) {
      ends[index - 1] = ends[index]!;
      starts.splice(index, 1);
      ends.splice(index, 1);
    } else if (joinsBefore) ends[index - 1] = end;
    else if (joinsAfter) starts[index] = start;
    else {
      starts.splice(index, 0, start);
      ends.splice(index, 0, end);
    }
  }

  /** The first free run in [from, to), as long as it is there; null where there is none. */
  firstFree(from: number, to: number): BlockRun | null {
    let index = this.#indexAfter(from);
    let at = from;
    for (; at < to; index++) {
      const end = Math.min(this.#starts[index] ?? to, to);
      if (end > at) return { start: at, count: end - at };
      at = this.#ends[index]!;
    }
    return null;
  }

  /** The first block of the first run of `count` free blocks in [from, to), or null. */
  findFree(from: number, to: number, count: number): number | null {
    for (let at = from; ; ) {
      const run = this.firstFree(at, to);
      if (run === null) return null;
      if (run.count >= count) return run.start;
      at = run.start + run.count;
    }
  }

  /** What is used of [from, to), in order. */
  usedWithin(from: number, to: number): BlockRun[] {
    const found: BlockRun[] = [];
    for (let index = this.#indexAfter(from); index < this.#starts.length; index++) {
      const start = Math.max(this.#starts[index]!, from);
      if (start >= to) break;
      found.push({ start, count: Math.min(this.#ends[index]!, to) - start });
    }
    return found;
  }
}
