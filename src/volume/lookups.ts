/**
 * What kernels know of inodes, through mounts of their own (src/fuse): each name that one is told of is a lookup, which it
 * gives back some time. While there are any the inode is referenced: it is not freed, and its number is nobody else's.
 *
 * The lookups of an inode through one mount are counted in one entry, in a list at the inode's record (Own.lookups).
 * A reference of the thread that was the first to tell stands for all of them: a record of its table is lent, and
 * who gives back the last lookup, in whatever thread, empties it. The lender takes emptied records back when it looks
 * for them (`LentRecords`).
 *
 * Entry, in words:
 *
 *     0 next | 1 mount: the slab that it is of | 2 lookups, low 30 bits | 3 the rest of them
 *     4 the lender, a holder | 5 the record that it lends
 *     6 how often a program has the inode open, where that counts (kernel-recalls.ts) | 7 of these, to write
 *
 * Rules. (1) Lists and entries are read and changed under the inode table's guard.
 *        (2) An entry lies in its list as long as its reference is held, but for a moment under the guard. Who dies
 *            there leaves an entry whose record is empty: who finds the guard's holder dead takes it out.
 *        (3) A dead lender's references are given back by whoever finds it dead, and its entries go with them, under the
 *            guard. He looks there which they are: one may have been given back, with the last lookup, before.
 */
import type { Mapping } from "../mapping/mapping.ts";
import { load, store, type Words } from "../sync/atomics.ts";
import { allocateObject, freeObject, initSlab } from "../sync/slab.ts";
import type { Holder, Thread } from "../sync/thread.ts";
import { Own } from "./inode-reference.ts";

export const Lookups = {
  next: 0,
  mount: 1,
  low: 2,
  high: 3,
  lender: 4,
  record: 5,
  opens: 6,
  writers: 7,
} as const;
const LOOKUPS_WORDS = 8;
const LOW_BITS = 30;

/** Makes the slab by which a mount's lookups are known, at SLAB_WORDS zeroed words. */
export function initLookups(thread: Thread, mount: number): void {
  initSlab(thread.region, mount, LOOKUPS_WORDS);
}

/** An entry with one lookup, in no list. Throws: ENOMEM. */
export function makeLookups(thread: Thread, mount: number, record: number): number {
  const { words } = thread;
  const entry = allocateObject(thread, mount);
  store(words, entry + Lookups.mount, mount);
  store(words, entry + Lookups.low, 1);
  store(words, entry + Lookups.high, 0);
  store(words, entry + Lookups.lender, thread.holder);
  store(words, entry + Lookups.record, record);
  store(words, entry + Lookups.opens, 0);
  store(words, entry + Lookups.writers, 0);
  return entry;
}

/** The lookups of an inode through a mount, or 0. */
export function findLookups(words: Words, mapping: Mapping, mount: number): number {
  let entry = load(words, mapping + Own.lookups);
  while (entry !== 0 && load(words, entry + Lookups.mount) !== mount) {
    entry = load(words, entry + Lookups.next);
  }
  return entry;
}

/** Whether a program has the inode open through any mount; `toWrite`: to write. Under the guard. */
export function isOpenInKernels(words: Words, mapping: Mapping, toWrite: boolean): boolean {
  const count = toWrite ? Lookups.writers : Lookups.opens;
  let entry = load(words, mapping + Own.lookups);
  while (entry !== 0 && load(words, entry + count) === 0) entry = load(words, entry + Lookups.next);
  return entry !== 0;
}

export function linkLookups(words: Words, mapping: Mapping, entry: number): void {
  store(words, entry + Lookups.next, load(words, mapping + Own.lookups));
  store(words, mapping + Own.lookups, entry);
}

/** Takes an entry out of its list: one store, so that a death leaves the list whole. */
export function unlinkLookups(words: Words, mapping: Mapping, entry: number): void {
  let link = mapping + Own.lookups;
  while (load(words, link) !== entry) link = load(words, link) + Lookups.next;
  store(words, link, load(words, entry + Lookups.next));
}

/** Returns how many lookups are left. */
export function addLookups(words: Words, entry: number, count: number): number {
  const [low, high] = [entry + Lookups.low, entry + Lookups.high];
  const left = load(words, high) * 2 ** LOW_BITS + load(words, low) + count;
  store(words, low, left % 2 ** LOW_BITS);
  store(words, high, Math.floor(left / 2 ** LOW_BITS));
  return left;
}

/** Takes out the entries of an inode that a dead thread has lent to. Its references are the caller's to give back. */
export function removeLookupsOf(thread: Thread, mapping: Mapping, dead: Holder): void {
  removeLookups(thread, mapping, (entry) => load(thread.words, entry + Lookups.lender) === dead);
}

/** Takes out the entries of an inode whose reference is given back: of one who died on the way (rule 2). */
export function removeEmptiedLookups(thread: Thread, mapping: Mapping): void {
  const { words } = thread;
  removeLookups(thread, mapping, (entry) => load(words, load(words, entry + Lookups.record)) === 0);
}

/** Takes out entries of an inode. Their references are the caller's to give back. Under the guard. */
export function removeLookups(
  thread: Thread,
  mapping: Mapping,
  isRemoved: (entry: number) => boolean,
): void {
  const { words } = thread;
  for (let entry = load(words, mapping + Own.lookups); entry !== 0; ) {
    const next = load(words, entry + Lookups.next);
    if (isRemoved(entry)) {
      unlinkLookups(words, mapping, entry);
      freeObject(thread, load(words, entry + Lookups.mount), entry);
    }
    entry = next;
  }
}

/** The records that this thread has lent. */
export class LentRecords {
  readonly #lookAtLeast: number;
  #lent: number[] = [];
  #lookAt: number;

  /** `lookAt`: so many are lent at least, before it looks whether some were emptied. */
  constructor(lookAt: number) {
    this.#lookAtLeast = lookAt;
    this.#lookAt = lookAt;
  }

  /** Adds a record. Returns whether it is time to take emptied ones back. */
  add(record: number): boolean {
    this.#lent.push(record);
    return this.#lent.length >= this.#lookAt;
  }

  /** None is lent any more. */
  clear(): void {
    this.#lent = [];
  }

  /** Those that are empty. They are the thread's own again. */
  takeEmptied(words: Words): number[] {
    const emptied: number[] = [];
    const kept: number[] = [];
    for (const record of this.#lent) (load(words, record) === 0 ? emptied : kept).push(record);
    this.#lent = kept;
    this.#lookAt = Math.max(this.#lookAtLeast, kept.length * 2);
    return emptied;
  }
}
