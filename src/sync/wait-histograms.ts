/**
 * How long waits took, by what was waited for. Histogram, in words: 0..31 waits, by powers of two of
 * microseconds | 32 total microseconds, low | 33 high | 34 longest, microseconds.
 */
import { add, cas, load, loadUnsigned } from "./atomics.ts";
import { Root } from "./region.ts";
import { WAIT_KINDS, type WaitKind } from "./sleep.ts";
import { HISTOGRAM_WORDS, HISTOGRAMS } from "./statistics.ts";
import type { Thread } from "./thread.ts";

const BUCKETS = 32;
const Field = { totalLow: 32, totalHigh: 33, longest: 34 } as const;
/** The longest wait that can be told: 71 minutes. */
const MICROSECONDS_MAX = 2 ** 32 - 1;

/** What waits of one kind took. Percentiles are those of the buckets, whose bounds are powers of two. */
export interface WaitSummary {
  readonly count: number;
  readonly totalMs: number;
  /** At most this; of 100 waits, 50 and 99. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Bucket b holds waits of less than 2^b microseconds, and at least half of that. */
function bucketOf(microseconds: number): number {
  return Math.min(BUCKETS - 1, 32 - Math.clz32(microseconds));
}

function histogram(area: number, kind: WaitKind): number {
  return area + HISTOGRAMS + WAIT_KINDS.indexOf(kind) * HISTOGRAM_WORDS;
}

/** Counts a wait, where the region keeps statistics. */
export function countWait(thread: Thread, kind: WaitKind, milliseconds: number): void {
  const { region, words } = thread;
  const area = region.findRoot(Root.statistics);
  if (area === 0) return;
  const at = histogram(area, kind);
  const microseconds = Math.min(MICROSECONDS_MAX, Math.round(milliseconds * 1000));
  add(words, at + bucketOf(microseconds), 1);
  const before = add(words, at + Field.totalLow, microseconds | 0) >>> 0;
  if (before + microseconds > MICROSECONDS_MAX) add(words, at + Field.totalHigh, 1);
  for (;;) {
    const longest = load(words, at + Field.longest);
    if (longest >>> 0 >= microseconds) return;
    if (cas(words, at + Field.longest, longest, microseconds | 0)) return;
  }
}

/** Sums up the waits of one kind so far. What is counted meanwhile may be there in part. */
export function summariseWaits(thread: Thread, kind: WaitKind): WaitSummary {
  const { words } = thread;
  const at = histogram(thread.region.root(Root.statistics), kind);
  const buckets: number[] = [];
  for (let bucket = 0; bucket < BUCKETS; bucket++) buckets.push(load(words, at + bucket));
  const total =
    load(words, at + Field.totalHigh) * 2 ** 32 + loadUnsigned(words, at + Field.totalLow);
  const longest = loadUnsigned(words, at + Field.longest);
  const waits = buckets.reduce((sum, each) => sum + each, 0);
  const quantile = (part: number): number => {
    let rest = Math.ceil(waits * part);
    const bucket = buckets.findIndex((each) => {
      rest -= each;
      return rest <= 0;
    });
    return Math.min(2 ** bucket, longest) / 1000;
  };
  return {
    count: waits,
    totalMs: total / 1000,
    p50Ms: waits === 0 ? 0 : quantile(0.5),
    p99Ms: waits === 0 ? 0 : quantile(0.99),
    maxMs: longest / 1000,
  };
}
