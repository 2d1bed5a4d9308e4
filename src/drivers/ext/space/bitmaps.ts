/**
 * Runs of bits in a bitmap, found and changed a 32-bit word at a time. Bit n of a bitmap is bit
 * n % 32 of word n / 32: the format's order on little-endian machines, the only ones we run on.
 * All ranges are [from, to) in bits, inside the words given.
 */
import { invariant } from "../../../base/invariant.ts";

/** The words of a bitmap's bytes: the same memory. */
export function wordsOf(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** The bits of one word that lie in [from, to), where `base` is the word's first bit. */
function maskOf(base: number, from: number, to: number): number {
  const low = from > base ? -1 << (from - base) : -1;
  const high = to - base < 32 ? ~(-1 << (to - base)) : -1;
  return low & high;
}

/** The first bit of [from, to) that differs from the bits of `plain` (0 or -1), else `to`. */
function findDifferent(words: Uint32Array, from: number, to: number, plain: number): number {
  if (from >= to) return to;
  let base = from & ~31;
  let found = (words[base >>> 5]! ^ plain) & (-1 << (from & 31));
  while (found === 0) {
    base += 32;
    if (base >= to) return to;
    found = words[base >>> 5]! ^ plain;
  }
  return Math.min(base + lowestBit(found), to);
}

/** The first clear bit of the range, or `to`. */
export function findClear(words: Uint32Array, from: number, to: number): number {
  return findDifferent(words, from, to, -1);
}

/** The first set bit of the range, or `to`. */
export function findSet(words: Uint32Array, from: number, to: number): number {
  return findDifferent(words, from, to, 0);
}

export function setBits(words: Uint32Array, from: number, to: number): void {
  invariant(
    from <= to && to <= words.length * 32,
    () => `bits ${from} to ${to} are outside the bitmap`,
  );
  for (let base = from & ~31; base < to; base += 32) {
    words[base >>> 5] = words[base >>> 5]! | maskOf(base, from, to);
  }
}

export function clearBits(words: Uint32Array, from: number, to: number): void {
  invariant(
    from <= to && to <= words.length * 32,
    () => `bits ${from} to ${to} are outside the bitmap`,
  );
  for (let base = from & ~31; base < to; base += 32) {
    words[base >>> 5] = words[base >>> 5]! & ~maskOf(base, from, to);
  }
}

export interface Run {
  readonly start: number;
  readonly count: number;
}

/**
 * The first run of `wanted` clear bits in the range, else the longest there is, else null. With
 * `phase` (0 to `alignment` - 1) a run starts at a bit that is `phase` modulo `alignment`, and is
 * shorter than `wanted` only if it still reaches `alignment` bits past the next multiple.
 */
export function findRun(
  words: Uint32Array,
  from: number,
  to: number,
  wanted: number,
  align?: { readonly phase: number; readonly alignment: number },
): Run | null {
  let best: Run | null = null;
  let bit = findClear(words, from, to);
  while (bit < to) {
    // A run longer than the wanted one need not be followed to its end.
    const reach = align === undefined ? wanted : wanted + align.alignment;
    const end = findSet(words, bit, Math.min(to, bit + reach));
    const start = align === undefined ? bit : nextAligned(bit, align);
    const count = Math.min(end - start, wanted);
    const least = align === undefined ? 1 : leastAligned(align, wanted);
    if (count >= least && (best === null || count > best.count)) best = { start, count };
    if (best?.count === wanted) return best;
    bit = findClear(words, end, to);
  }
  return best;
}

function nextAligned(bit: number, align: { phase: number; alignment: number }): number {
  const distance = (((align.phase - bit) % align.alignment) + align.alignment) % align.alignment;
  return bit + distance;
}

function leastAligned(align: { phase: number; alignment: number }, wanted: number): number {
  const toMultiple = (align.alignment - align.phase) % align.alignment;
  return Math.min(wanted, toMultiple + align.alignment);
}
