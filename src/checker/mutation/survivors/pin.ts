import type { Explanation } from "./explanation.ts";

export const pinSurvivors: readonly Explanation[] = [];
