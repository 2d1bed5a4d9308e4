/**
 * Times in the region: milliseconds of the machine's monotonic clock, the same in every thread and
 * process, modulo 2^30.
 */
const MODULUS = 2 ** 30;

const TRIES = 8;

/** What this thread's own clock is behind the machine's. Both run at the same pace. */
const OFFSET_MS = offsetMs();

/** The best of several looks: this thread may lose its CPU between the two clocks. */
function offsetMs(): number {
  let offset = 0;
  let best = Number.POSITIVE_INFINITY;
  for (let look = 0; look < TRIES; look++) {
    const before = performance.now();
    const machine = Number(process.hrtime.bigint()) / 1e6;
    const took = performance.now() - before;
    if (took >= best) continue;
    best = took;
    offset = machine - before - took / 2;
  }
  return offset;
}

/** Milliseconds of the machine's clock, with a fraction: the same in all threads within microseconds. */
export function machineMs(): number {
  return performance.now() + OFFSET_MS;
}

/** Now, for a word of the region. */
export function clockMs(): number {
  return Math.floor(machineMs()) % MODULUS;
}

/** Milliseconds from `now` until `until`; negative when it has passed. */
export function remainingMs(until: number, now: number): number {
  const difference = (until - now + MODULUS) % MODULUS;
  return difference < MODULUS / 2 ? difference : difference - MODULUS;
}
