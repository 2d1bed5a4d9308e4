/** The lanes of every worker thread, by role. */

/** What a run does: what there always is, or that and all that can go wrong. */
export type Mix = "basic" | "full";

const BASIC = [
  "fileToPages",
  "fileToPages",
  "socketToPages",
  "socketToPages",
  "pagesToFile",
  "pagesToSocket",
  "cpu",
  "cutter",
  "cutter",
] as const;
const FULL = [...BASIC, "longTerm", "scrubber"] as const;

export type Role = (typeof FULL)[number];

export const LANES: Readonly<Record<Mix, readonly Role[]>> = { basic: BASIC, full: FULL };
