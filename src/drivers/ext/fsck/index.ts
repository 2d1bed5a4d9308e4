/** The check of ext2, ext3 and ext4 volumes. */
export { type CheckResult, checkVolume, type FsckProgress, type FsckVolume } from "./check.ts";
export { FINDING_CODES, type Finding, type FindingCode, type FsckNotice } from "./findings.ts";
