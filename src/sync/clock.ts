/** Times in the region are milliseconds of the machine's monotonic clock, modulo 2^30. */
const MODULUS = 2 ** 30;

/** Now, for a word of the region. */
export function clockMs(): number {
  return Math.floor(Number(process.hrtime.bigint() / 1_000_000n) % MODULUS);
}

/** Milliseconds from `now` until `until`; negative when it has passed. */
export function remainingMs(until: number, now: number): number {
  const difference = (until - now + MODULUS) % MODULUS;
  return difference < MODULUS / 2 ? difference : difference - MODULUS;
}
