/**
 * Slabs: objects of one size in the region, allocated and freed.
 *
 * Slab, in words: 0 guard | 1 first free object | 2 objects in use | 3 object size, words.
 * A free object's first word is the next free one. Popping and pushing are one store each, so a
 * thread that dies inside loses at most the one object in its hands.
 */
import { add, load, store } from "./atomics.ts";
import { enterGuard, leaveGuard } from "./guard.ts";
import type { Region } from "./region.ts";
import type { Thread } from "./thread.ts";

export const SLAB_WORDS = 8;
const Field = { guard: 0, free: 1, used: 2, objectWords: 3 } as const;
const CHUNK_WORDS = 16384;

/** Makes a slab at `slab` (SLAB_WORDS zeroed words) for objects of `objectWords`, 8-word aligned. */
export function initSlab(region: Region, slab: number, objectWords: number): void {
  store(region.words, slab + Field.objectWords, Math.ceil(objectWords / 8) * 8);
}

/** An object, its words as they were left. Throws: ENOMEM, with nothing changed. */
export function allocateObject(thread: Thread, slab: number): number {
  const { words } = thread;
  enterGuard(thread, slab + Field.guard);
  let object = load(words, slab + Field.free);
  if (object !== 0) {
    store(words, slab + Field.free, load(words, object));
    add(words, slab + Field.used, 1);
  }
  leaveGuard(thread, slab + Field.guard);
  if (object !== 0) return object;
  const objectWords = load(words, slab + Field.objectWords);
  const count = Math.max(1, Math.floor(CHUNK_WORDS / objectWords));
  object = thread.region.allocatePages(count * objectWords);
  enterGuard(thread, slab + Field.guard);
  for (let index = count - 1; index > 0; index--) {
    const other = object + index * objectWords;
    store(words, other, load(words, slab + Field.free));
    store(words, slab + Field.free, other);
  }
  add(words, slab + Field.used, 1);
  leaveGuard(thread, slab + Field.guard);
  return object;
}

/** As `allocateObject`, with every word zero. */
export function allocateZeroed(thread: Thread, slab: number): number {
  const object = allocateObject(thread, slab);
  const end = object + load(thread.words, slab + Field.objectWords);
  for (let word = object; word < end; word++) store(thread.words, word, 0);
  return object;
}

export function freeObject(thread: Thread, slab: number, object: number): void {
  const { words } = thread;
  enterGuard(thread, slab + Field.guard);
  store(words, object, load(words, slab + Field.free));
  store(words, slab + Field.free, object);
  add(words, slab + Field.used, -1);
  leaveGuard(thread, slab + Field.guard);
}

export function objectsInUse(thread: Thread, slab: number): number {
  return load(thread.words, slab + Field.used);
}
