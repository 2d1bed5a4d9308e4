/**
 * The only door to Atomics. Every access to a shared word goes through here: JavaScript's Atomics
 * are sequentially consistent, so whoever explores interleavings of these calls explores all.
 *
 * A worker can be terminated at any function entry and any loop's turn, but never between two
 * operations in one straight line of a function that calls nothing but Atomics. The functions that
 * end in `ThenStore` rely on it: their two operations happen both or not at all when the thread
 * dies. (A killed process gives no such promise; see docs/architecture.md, "Threads that die".)
 */

/** The shared region as 32-bit words. */
export type Words = Int32Array;

/** How often to look again before sleeping, where what is waited for takes a few instructions. */
export const SPINS_MAX = 200;

export function load(words: Words, word: number): number {
  return Atomics.load(words, word);
}

/** As `load`, for a word that holds an unsigned value (a page index). */
export function loadUnsigned(words: Words, word: number): number {
  return Atomics.load(words, word) >>> 0;
}

export function store(words: Words, word: number, value: number): void {
  Atomics.store(words, word, value);
}

/**
 * Reads a word that others change, after an ordered read or a lock of this thread that makes the value
 * recent enough: it may be older than what an ordered read would give, never older than that. Costs a
 * tenth of `load`.
 */
export function loadRelaxed(words: Words, word: number): number {
  return words[word]!;
}

/**
 * A word that only this thread writes, read without ordering. Cheaper than `load`.
 */
export function loadOwn(words: Words, word: number): number {
  return words[word]!;
}

/**
 * A word that only this thread writes, stored without ordering: others may read it only after an
 * ordered store of this thread that follows, or after its death.
 */
export function storeOwn(words: Words, word: number, value: number): void {
  words[word] = value;
}

/** Returns the value before. */
export function add(words: Words, word: number, delta: number): number {
  return Atomics.add(words, word, delta);
}

/** Returns the value before. */
export function or(words: Words, word: number, bits: number): number {
  return Atomics.or(words, word, bits);
}

/** Returns the value before. */
export function and(words: Words, word: number, bits: number): number {
  return Atomics.and(words, word, bits);
}

export function exchange(words: Words, word: number, value: number): number {
  return Atomics.exchange(words, word, value);
}

/** Stores `value` if the word holds `expected`; returns whether it did. */
export function cas(words: Words, word: number, expected: number, value: number): boolean {
  return Atomics.compareExchange(words, word, expected, value) === expected;
}

/** Adds, and notes it in a word of this thread's own; indivisible when the thread dies. */
export function addThenStore(
  words: Words,
  word: number,
  delta: number,
  note: number,
  value: number,
): number {
  const before = Atomics.add(words, word, delta);
  Atomics.store(words, note, value);
  return before;
}

/**
 * As `addThenStore`, the note without ordering: for a word that others read only after the thread's
 * death, or to name a holder.
 */
export function addThenNote(
  words: Words,
  word: number,
  delta: number,
  note: number,
  value: number,
): number {
  const before = Atomics.add(words, word, delta);
  words[note] = value;
  return before;
}

/** Compare-exchange and, if it took, a note in a word of this thread's own; indivisible likewise. */
export function casThenStore(
  words: Words,
  word: number,
  expected: number,
  desired: number,
  note: number,
  value: number,
): boolean {
  if (Atomics.compareExchange(words, word, expected, desired) !== expected) return false;
  Atomics.store(words, note, value);
  return true;
}

/**
 * Sleeps while the word holds `expected`, at most `milliseconds`. May return early for no reason:
 * always test again.
 */
export function sleepWhile(
  words: Words,
  word: number,
  expected: number,
  milliseconds: number,
): void {
  Atomics.wait(words, word, expected, milliseconds);
}

/**
 * As `sleepWhile`, without blocking: a promise, or null when there is nothing to wait for. A wait
 * that is given up goes on until its time runs out, so wakes always go to everyone.
 */
export function sleepWhileAsync(
  words: Words,
  word: number,
  expected: number,
  milliseconds: number,
): Promise<unknown> | null {
  const result = Atomics.waitAsync(words, word, expected, milliseconds);
  return result.async ? result.value : null;
}

/** Wakes everyone who sleeps on the word. */
export function wakeAll(words: Words, word: number): void {
  Atomics.notify(words, word);
}

/** The one place that makes shared memory. */
export function makeSharedBuffer(byteLength: number): SharedArrayBuffer {
  return new SharedArrayBuffer(byteLength);
}
