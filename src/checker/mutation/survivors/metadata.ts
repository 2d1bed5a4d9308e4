import type { Explanation } from "./explanation.ts";

export const metadataSurvivors: readonly Explanation[] = [];
