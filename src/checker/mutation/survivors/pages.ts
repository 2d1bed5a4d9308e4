import type { Explanation } from "./explanation.ts";

export const pagesSurvivors: readonly Explanation[] = [];
