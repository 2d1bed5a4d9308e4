// Random numbers that a seed fixes: what a test has found it finds again.

/**
 * Of all that tests draw at random, the properties of fast-check too (`seeded.ts`). The gate takes the same numbers
 * each time; the long form others (docs/testing.md).
 */
export const SEED = Number(process.env["HOLDFAST_SEED"] ?? 1);

export interface Random {
  /** A number from 0 to below 1. */
  fraction(): number;
  /** A whole number from 0 to limit - 1. */
  below(limit: number): number;
  /** One of `items`, which must not be empty. */
  pick<T>(items: readonly T[]): T;
}

/** Mulberry32 over the seed. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  const fraction = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number): number => Math.floor(fraction() * limit);
  return {
    fraction,
    below,
    pick<T>(items: readonly T[]): T {
      if (items.length === 0) throw new Error("there is nothing to pick from");
      return items[below(items.length)] as T;
    },
  };
}
