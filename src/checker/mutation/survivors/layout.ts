import type { Explanation } from "./explanation.ts";

export const layoutSurvivors: readonly Explanation[] = [];
