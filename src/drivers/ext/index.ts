/** The driver of ext2, ext3 and ext4 on its own. */
export { ExtDriver } from "./driver.ts";
export {
  describeGroups,
  describeSuperblock,
  type GroupText,
  type SuperblockText,
} from "./describe.ts";
export {
  beginJournal,
  findJournal,
  type FoundJournal,
  whyReadOnly,
  withOwnFeatures,
} from "./jbd2/open.ts";
export type { JournalFacts } from "./jbd2/log.ts";
export { Recovery } from "./jbd2/recovery.ts";
export { Jbd2Log } from "./jbd2/write.ts";
export { createGrowthRooms, GrowthRooms } from "./space/growth-rooms.ts";
export { createPendingFrees, PendingFrees } from "./space/pending-frees.ts";
export { sealBlocksOf } from "./seals.ts";
export { SUPERBLOCK_BYTE, SUPERBLOCK_SIZE } from "./format.ts";
export {
  type CheckResult,
  checkVolume,
  FINDING_CODES,
  type Finding,
  type FindingCode,
  type FsckNotice,
  type FsckProgress,
  type FsckVolume,
} from "./fsck/index.ts";
export {
  formatVolume,
  type LaidOut,
  layOutVolume,
  previewSuperblock,
  planVolume,
  type Recipe,
  spaceOf,
  type VolumeRequest,
  withCountsOf,
  withoutJournal,
} from "./mkfs/index.ts";
export {
  EXT_TYPES,
  type ExtType,
  formatUuid,
  isSuperblock,
  mayHaveInline,
  parseSuperblock,
  type SuperblockFacts,
} from "./superblock.ts";
export { createVolumeSize, VolumeSize } from "./resize/volume-size.ts";
export { QUOTA_KINDS, type QuotaKind } from "./quotas/quota-file.ts";
export { NameSearches } from "./directories/name-searches.ts";
export type { ZoneFacts } from "./space/zones.ts";
export { type DataDevice, ExtVolume } from "./volume.ts";
