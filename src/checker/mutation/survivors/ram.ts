import type { Explanation } from "./explanation.ts";

export const ramSurvivors: readonly Explanation[] = [];
