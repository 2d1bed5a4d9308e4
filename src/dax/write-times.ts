/**
 * When a file's time of modification was last set by a write: writes set it once in a while, not each time.
 *
 * Rule. Mapping word `timeTick` is odd: the tick (clock.ts) at which a write has set the time, or even: the next write sets
 *       it. Each even number is another than the last one, so that a write that notes its tick after its transaction sees
 *       whether the time was set otherwise meanwhile.
 */
import { type Mapping, MappingWord } from "../mapping/mapping.ts";
import { cas, load, store } from "../sync/atomics.ts";
import { clockMs, remainingMs } from "../sync/clock.ts";
import type { Thread } from "../sync/thread.ts";

/** How exact modification times are: a write within this of the last one does not set them again. */
const TIME_GRAIN_MS = 4;

const wordOf = (mapping: Mapping): number => mapping + MappingWord.timeTick;

/** Whether the modification time was last set by a write so long ago, or otherwise, that a write has to set it. */
export function isTimeStale({ words }: Thread, mapping: Mapping): boolean {
  const tick = load(words, wordOf(mapping));
  return (tick & 1) === 0 || Math.abs(remainingMs(tick, clockMs())) >= TIME_GRAIN_MS;
}

/** What was noted last, for `noteTimeSet`. Locks: the volume's transaction. */
export function timeNoted({ words }: Thread, mapping: Mapping): number {
  return load(words, wordOf(mapping));
}

/**
 * A write has set the time at `tick`, in a transaction in which `timeNoted` answered `noted`, and which is committed:
 * who dies before that has set no time. Locks: the io lock, exclusively.
 */
export function noteTimeSet(
  { words }: Thread,
  mapping: Mapping,
  noted: number,
  tick: number,
): void {
  cas(words, wordOf(mapping), noted, tick | 1);
}

/** The time is set to another one: the next write sets it again, however soon. Locks: the volume's transaction. */
export function noteTimeChanged({ words }: Thread, mapping: Mapping): void {
  const noted = load(words, wordOf(mapping));
  store(words, wordOf(mapping), (noted + 2) & ~1);
}
