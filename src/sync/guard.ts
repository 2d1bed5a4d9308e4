/**
 * Guards: robust short locks around a few words, and epochs. Inside a guard nothing sleeps, nothing
 * throws and no other guard is taken, except a slab's, which is innermost.
 *
 * The guard word is 0, or its holder, negated when somebody waits. When the holder has died the next
 * one takes the guard over and is told to repair what it guards: everything under a guard can be
 * worked out again from words outside it.
 */
import { cas, exchange, load, SPINS_MAX, sleepWhile, store, wakeAll } from "./atomics.ts";
import { Slot, type Thread } from "./thread.ts";

const SLICE_MS = 2;

/**
 * Takes the guard. Returns true when its former holder died inside: repair first.
 * Sleeps: only as long as another thread is inside.
 */
export function enterGuard(thread: Thread, word: number): boolean {
  if (cas(thread.words, word, 0, thread.holder)) return false;
  return enterContendedGuard(thread, word);
}

function enterContendedGuard(thread: Thread, word: number): boolean {
  const { words, holder } = thread;
  for (let spin = 0; ; spin++) {
    const spins = spin < SPINS_MAX;
    const value = load(words, word);
    if (value === 0) {
      // After a sleep others may wait, too, and this leave must wake them.
      if (cas(words, word, 0, spins ? holder : -holder)) return false;
      continue;
    }
    if (spins) continue;
    if (!thread.isAlive(Math.abs(value))) {
      if (cas(words, word, value, -holder)) return true;
      continue;
    }
    if (value > 0 && !cas(words, word, value, -value)) continue;
    sleepWhile(words, word, -Math.abs(value), SLICE_MS);
  }
}

export function leaveGuard(thread: Thread, word: number): void {
  if (exchange(thread.words, word, 0) < 0) wakeAll(thread.words, word);
}

/**
 * Enters an epoch: until `leaveEpoch`, what this thread read locklessly stays what it is, since
 * whoever changes it waits in `synchronize`. A few instructions only: nothing sleeps inside.
 */
export function enterEpoch(thread: Thread): void {
  store(thread.words, thread.epochWord, ++thread.epochCount);
}

export function leaveEpoch(thread: Thread): void {
  store(thread.words, thread.epochWord, ++thread.epochCount);
}

/**
 * Waits until every other thread that is inside an epoch now has left it.
 * Sleeps: as long as the longest epoch, which is a few instructions unless its thread lost its CPU.
 */
export function synchronize(thread: Thread): void {
  const { region, words } = thread;
  const slots = region.slotsUsed;
  for (let slot = 0; slot < slots; slot++) {
    if (slot === thread.slot) continue;
    const word = region.slotBase(slot) + Slot.epoch;
    const epoch = load(words, word);
    if ((epoch & 1) === 0) continue;
    for (let spin = 0; load(words, word) === epoch; spin++) {
      if (spin < SPINS_MAX) continue;
      const holder = thread.holderIn(slot);
      if (holder === 0 || !thread.isAlive(holder)) break;
      sleepWhile(words, word, epoch, 1);
    }
  }
}
