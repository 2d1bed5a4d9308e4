import type { Explanation } from "./explanation.ts";

export const windowSurvivors: readonly Explanation[] = [];
