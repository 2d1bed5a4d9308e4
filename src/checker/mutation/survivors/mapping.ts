import type { Explanation } from "./explanation.ts";

export const mappingSurvivors: readonly Explanation[] = [];
