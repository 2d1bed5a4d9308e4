/**
 * Durations in buckets that grow: 16 to an octave from one microsecond up, so a quantile is exact
 * to about 5 %. Plain numbers, so that a worker can post it and the main thread can add it up.
 */
const STEPS_PER_OCTAVE = 16;
const OCTAVES = 32;

export interface HistogramData {
  readonly counts: readonly number[];
  readonly maxMs: number;
}

export class Histogram {
  readonly #counts: number[];
  #maxMs: number;

  constructor(data?: HistogramData) {
    this.#counts = data === undefined ? [] : [...data.counts];
    this.#maxMs = data?.maxMs ?? 0;
  }

  record(durationMs: number): void {
    const bucket = bucketOf(durationMs);
    while (this.#counts.length <= bucket) this.#counts.push(0);
    this.#counts[bucket]!++;
    this.#maxMs = Math.max(this.#maxMs, durationMs);
  }

  add(other: HistogramData): void {
    other.counts.forEach((count, bucket) => {
      while (this.#counts.length <= bucket) this.#counts.push(0);
      this.#counts[bucket]! += count;
    });
    this.#maxMs = Math.max(this.#maxMs, other.maxMs);
  }

  get count(): number {
    return this.#counts.reduce((sum, count) => sum + count, 0);
  }

  get maxMs(): number {
    return this.#maxMs;
  }

  /** The duration, in ms, that a `share` (0 to 1) of all stays at or below; 0 without any. */
  quantileMs(share: number): number {
    const target = Math.max(1, Math.ceil(this.count * share));
    let seen = 0;
    for (const [bucket, count] of this.#counts.entries()) {
      seen += count;
      if (seen >= target) return Math.min(this.#maxMs, upperEdgeMs(bucket));
    }
    return 0;
  }

  data(): HistogramData {
    return { counts: [...this.#counts], maxMs: this.#maxMs };
  }
}

/** Bucket 0 holds what is at most a microsecond; the last one everything beyond. */
function bucketOf(durationMs: number): number {
  const microseconds = durationMs * 1000;
  if (!(microseconds > 1)) return 0;
  const bucket = Math.ceil(Math.log2(microseconds) * STEPS_PER_OCTAVE);
  return Math.min(OCTAVES * STEPS_PER_OCTAVE, bucket);
}

function upperEdgeMs(bucket: number): number {
  return 2 ** (bucket / STEPS_PER_OCTAVE) / 1000;
}
