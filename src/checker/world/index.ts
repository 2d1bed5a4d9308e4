/** `holdfast/check/core`: the core on a stage, for scenarios of one's own. */
export { BareFile, type BareShared, buildBare, PastTheEnd } from "./bare.ts";
export { wordName } from "./names.ts";
export { regionWithThreads } from "./threads.ts";
