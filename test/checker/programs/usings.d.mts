/** What a case does to the words, what it tells, what it returns or throws. */
export const cases: Readonly<Record<string, (words: Int32Array, log: unknown[]) => unknown>>;
