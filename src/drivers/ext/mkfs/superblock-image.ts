/** The superblock of a new volume, and its copies. */
import { CHECKSUM_CRC32C, viewOf } from "../superblock.ts";
import { superblockChecksum } from "../checksums.ts";
import {
  DESCRIPTOR_SIZE_WIDE,
  DiskSuperblock,
  FLAG_SIGNED_HASH,
  INO_JOURNAL,
  STATE_CLEAN,
  SUPERBLOCK_MAGIC,
  SUPERBLOCK_SIZE,
  setPair,
} from "../format.ts";
import { HASH_HALF_MD4 } from "../directories/hash.ts";
import { FIRST_INO, hiddenInosOf } from "./hidden-files.ts";
import type { Recipe } from "./recipe.ts";

/** What is known when everything else is in place. */
export interface VolumeTotals {
  readonly freeBlocks: number;
  readonly freeInodes: number;
  /** Blocks that never hold file data. */
  readonly overheadBlocks: number;
  /** What the journal's inode says of its blocks, and its size in bytes; null without a journal. */
  readonly journal: { readonly content: Uint8Array; readonly size: number } | null;
}

const REVISION_DYNAMIC = 1;
const ERRORS_CONTINUE = 1;
const MOUNT_COUNT_UNLIMITED = 0xffff;
/** Options a mount has unless told otherwise: user attributes and access control lists. */
const MOUNT_USER_ATTRIBUTES = 0x4;
const MOUNT_ACCESS_LISTS = 0x8;
const JOURNAL_BACKUP_BLOCKS = 1;
const GROUP_OF_COPY_MAX = 0xffff;

/** The 1,024 bytes that belong in `group`: 0 has the superblock itself, others copies of it. */
export function encodeSuperblock(recipe: Recipe, totals: VolumeTotals, group: number): Uint8Array {
  const bytes = new Uint8Array(SUPERBLOCK_SIZE);
  const view = viewOf(bytes);
  putSizes(view, recipe, totals);
  putIdentity(bytes, view, recipe);
  DiskSuperblock.groupOfCopy.set(view, 0, Math.min(group, GROUP_OF_COPY_MAX));
  // A copy does not say whether the volume is clean: only the superblock itself is kept up to date.
  DiskSuperblock.state.set(view, 0, group === 0 ? STATE_CLEAN : 0);
  if (totals.journal !== null) putJournal(bytes, view, totals.journal);
  putHidden(view, recipe);
  if (recipe.metadataChecksums) {
    DiskSuperblock.checksumType.set(view, 0, CHECKSUM_CRC32C);
    DiskSuperblock.checksum.set(view, 0, superblockChecksum(bytes));
  }
  return bytes;
}

function putSizes(view: DataView, recipe: Recipe, totals: VolumeTotals): void {
  const { geometry, extraInodeSize } = recipe;
  const { blocksCountLow, blocksCountHigh } = DiskSuperblock;
  const { reservedBlocksCountLow, reservedBlocksCountHigh } = DiskSuperblock;
  const { freeBlocksCountLow, freeBlocksCountHigh } = DiskSuperblock;
  const set = (field: { set(view: DataView, at: number, value: number): void }, value: number) =>
    field.set(view, 0, value);
  set(DiskSuperblock.inodesCount, geometry.inodes);
  setPair(view, 0, blocksCountLow, blocksCountHigh, geometry.blocks);
  setPair(view, 0, reservedBlocksCountLow, reservedBlocksCountHigh, geometry.reservedBlocks);
  setPair(view, 0, freeBlocksCountLow, freeBlocksCountHigh, totals.freeBlocks);
  set(DiskSuperblock.freeInodesCount, totals.freeInodes);
  set(DiskSuperblock.firstDataBlock, geometry.firstDataBlock);
  set(DiskSuperblock.logBlockSize, Math.log2(geometry.blockSize) - 10);
  set(DiskSuperblock.logClusterSize, Math.log2(geometry.blockSize) - 10);
  set(DiskSuperblock.blocksPerGroup, geometry.blocksPerGroup);
  set(DiskSuperblock.clustersPerGroup, geometry.blocksPerGroup);
  set(DiskSuperblock.inodesPerGroup, geometry.inodesPerGroup);
  set(DiskSuperblock.firstIno, FIRST_INO);
  set(DiskSuperblock.inodeSize, geometry.inodeSize);
  set(DiskSuperblock.extraInodeSizeMin, extraInodeSize);
  set(DiskSuperblock.extraInodeSizeWanted, extraInodeSize);
  set(DiskSuperblock.reservedGdtBlocks, geometry.reservedGdtBlocks);
  const isWide = geometry.descriptorSize >= DESCRIPTOR_SIZE_WIDE;
  set(DiskSuperblock.descriptorSize, isWide ? geometry.descriptorSize : 0);
  set(DiskSuperblock.firstMetaGroup, geometry.firstMetaGroup);
  set(DiskSuperblock.logGroupsPerFlex, Math.log2(geometry.flexGroups));
  set(DiskSuperblock.overheadBlocks, totals.overheadBlocks);
  const [first, second] = geometry.backupGroups;
  set(DiskSuperblock.backupGroup0, first ?? 0);
  set(DiskSuperblock.backupGroup1, second ?? 0);
}

function putIdentity(bytes: Uint8Array, view: DataView, recipe: Recipe): void {
  const { compatible, incompatible, readOnly } = recipe.features.words;
  const { writeTimeLow, writeTimeHigh, lastCheckLow, lastCheckHigh } = DiskSuperblock;
  const { makeTimeLow, makeTimeHigh } = DiskSuperblock;
  DiskSuperblock.magic.set(view, 0, SUPERBLOCK_MAGIC);
  DiskSuperblock.revision.set(view, 0, REVISION_DYNAMIC);
  DiskSuperblock.errors.set(view, 0, ERRORS_CONTINUE);
  DiskSuperblock.mountCountMax.set(view, 0, MOUNT_COUNT_UNLIMITED);
  DiskSuperblock.featuresCompatible.set(view, 0, compatible);
  DiskSuperblock.featuresIncompatible.set(view, 0, incompatible);
  DiskSuperblock.featuresReadOnly.set(view, 0, readOnly);
  setPair(view, 0, writeTimeLow, writeTimeHigh, recipe.time);
  setPair(view, 0, lastCheckLow, lastCheckHigh, recipe.time);
  setPair(view, 0, makeTimeLow, makeTimeHigh, recipe.time);
  bytes.set(recipe.uuid, DiskSuperblock.uuid.offset);
  bytes.set(recipe.label, DiskSuperblock.label.offset);
  bytes.set(recipe.hashSeed, DiskSuperblock.hashSeed0.offset);
  DiskSuperblock.hashVersionDefault.set(view, 0, HASH_HALF_MD4);
  DiskSuperblock.flags.set(view, 0, FLAG_SIGNED_HASH);
  DiskSuperblock.mountOptionsDefault.set(view, 0, MOUNT_USER_ATTRIBUTES | MOUNT_ACCESS_LISTS);
  if (recipe.features.has("metadata_csum_seed")) {
    DiskSuperblock.checksumSeed.set(view, 0, recipe.checksumSeed);
  }
}

function putHidden(view: DataView, recipe: Recipe): void {
  const { userQuotaIno, groupQuotaIno, projectQuotaIno, orphanFileIno } = DiskSuperblock;
  const { quotas, orphanFile } = hiddenInosOf(recipe);
  const fields = [userQuotaIno, groupQuotaIno, projectQuotaIno];
  for (const [kind, field] of fields.entries()) field.set(view, 0, quotas[kind]!);
  orphanFileIno.set(view, 0, orphanFile);
}

/** The journal's inode number, and a copy of what its inode says: e2fsck finds the journal by it. */
function putJournal(
  bytes: Uint8Array,
  view: DataView,
  { content, size }: NonNullable<VolumeTotals["journal"]>,
): void {
  const { offset } = DiskSuperblock.journalBlocks;
  DiskSuperblock.journalIno.set(view, 0, INO_JOURNAL);
  DiskSuperblock.journalBackupType.set(view, 0, JOURNAL_BACKUP_BLOCKS);
  bytes.set(content, offset);
  view.setUint32(offset + content.length, Math.floor(size / 2 ** 32), true);
  view.setUint32(offset + content.length + 4, size % 2 ** 32, true);
}
