import type { Explanation } from "./explanation.ts";

export const syncSurvivors: readonly Explanation[] = [];
