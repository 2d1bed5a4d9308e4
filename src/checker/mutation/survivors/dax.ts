import type { Explanation } from "./explanation.ts";

export const daxSurvivors: readonly Explanation[] = [];
