/**
 * Statistics of a volume, in words that any thread reads: counters, and how long waits took.
 *
 * Area, in words: 0 breaks that succeeded | 1 waits for pins that they took (layout/break.ts) | 64..:
 * a histogram for each kind of wait (wait-histograms.ts).
 */
import { add, load } from "./atomics.ts";
import { Root } from "./region.ts";
import { WAIT_KINDS } from "./sleep.ts";
import type { Thread } from "./thread.ts";

export const Counter = { breaks: 0, breakWaits: 1 } as const;
export const HISTOGRAMS = 64;
export const HISTOGRAM_WORDS = 40;

export function createStatistics(thread: Thread): void {
  const { region } = thread;
  const size = HISTOGRAMS + WAIT_KINDS.length * HISTOGRAM_WORDS;
  region.setRoot(Root.statistics, region.allocatePages(size));
}

/** Adds one to a counter. */
export function count(thread: Thread, counter: number): void {
  add(thread.words, thread.region.root(Root.statistics) + counter, 1);
}

export function counted(thread: Thread, counter: number): number {
  return load(thread.words, thread.region.root(Root.statistics) + counter);
}
