/**
 * The simulated system: what takes the place of `base/libc.ts` in the checked build. Of the system the
 * core uses the robust mutexes that tell of a thread's life (sync/thread.ts). They are kept where the C
 * library keeps them, in the region's memory, and a thread's end marks the one that it holds.
 *
 * What is done to a mutex is no scheduling point: the state of the slot that it is in orders it.
 */
import { OWNER_DIED } from "../../sync/thread.ts";
import type { Door } from "./door.ts";

/** A mutex, in words: 0 whether it is held, or OWNER_DIED | 4 what it was made as. */
const KIND = 4;
const HELD = 1;

/** A mutex attribute's first byte. */
const MADE = 1;
const ROBUST = 2;

/** Numbers of errors, as the C library returns them. */
const EPERM = 1;
const EBUSY = 16;
const EINVAL = 22;

type Argument = number | Uint8Array;

/** The C library's functions that have an effect here, by name. */
function functionsOf(door: Door): Readonly<Record<string, (...args: Argument[]) => number>> {
  const set = (attribute: Argument, bit: number): number => {
    const bytes = attribute as Uint8Array;
    if (bytes[0] === 0 && bit !== MADE) return EINVAL;
    bytes[0]! |= bit;
    return 0;
  };
  return {
    pthread_mutexattr_init: (attribute) => set(attribute!, MADE),
    pthread_mutexattr_setrobust: (attribute) => set(attribute!, ROBUST),
    pthread_mutex_init(mutex, attribute) {
      const word = (mutex as number) / 4;
      door.write(word, 0);
      door.write(word + KIND, (attribute as Uint8Array)[0]!);
      return 0;
    },
    pthread_mutex_lock(mutex) {
      const word = (mutex as number) / 4;
      if (door.words[word] !== 0) return EBUSY;
      door.write(word, HELD);
      return 0;
    },
    pthread_mutex_unlock(mutex) {
      const word = (mutex as number) / 4;
      if (door.words[word] !== HELD) return EPERM;
      door.write(word, 0);
      return 0;
    },
  };
}

/** Where what is viewed lies; its bytes mean nothing here. */
const viewed = new WeakMap<ArrayBufferLike, number>();

/** The exports of `base/libc.ts`. Addresses are offsets in the region, or those of simulated windows. */
export function simulatedSystem(door: Door): Readonly<Record<string, unknown>> {
  const functions = functionsOf(door);
  return {
    bindFunction: (prototype: string) => functions[/(\w+)\(/.exec(prototype)![1]!] ?? (() => 0),
    addressOf: ({ buffer, byteOffset }: Uint8Array) => (viewed.get(buffer) ?? 0) + byteOffset,
    viewMemory(address: number, length: number): ArrayBuffer {
      const buffer = new ArrayBuffer(length);
      viewed.set(buffer, address);
      return buffer;
    },
  };
}

/** A thread has ended: the mutex at `word` is marked if it was the thread's, and made to be marked. */
export function endOfThread(door: Door, word: number): void {
  const isMarked = door.words[word] === HELD && (door.words[word + KIND]! & ROBUST) !== 0;
  if (isMarked) door.write(word, OWNER_DIED);
}
