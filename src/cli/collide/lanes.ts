/** The lanes of every worker thread, by role. */
export const LANES = [
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
