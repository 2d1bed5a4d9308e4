/**
 * Times in the region: milliseconds of the machine's monotonic clock, the same in every thread and
 * process, modulo 2^30.
 */
const MODULUS = 2 ** 30;

/** What this thread's own clock is behind the machine's. Both run at the same pace. */
const OFFSET_MS = Number(process.hrtime.bigint()) / 1e6 - performance.now();

/** Now, for a word of the region. */
export function clockMs(): number {
  return Math.floor(performance.now() + OFFSET_MS) % MODULUS;
}

/** Milliseconds from `now` until `until`; negative when it has passed. */
export function remainingMs(until: number, now: number): number {
  const difference = (until - now + MODULUS) % MODULUS;
  return difference < MODULUS / 2 ? difference : difference - MODULUS;
}
