/**
 * The superblock: read once when a volume is opened, checked field by field, and turned into facts
 * that never change while it is mounted. What does change (state, counts, times, the orphan list) is
 * read from its cached block each time it is needed, and edited there.
 */
import { CorruptionError, HoldfastError } from "../../base/errors.ts";
import { DEVICE_BYTES_MAX } from "../../base/quantities.ts";
import type { IntegerField } from "../../base/struct.ts";
import { checksumSeedOf, superblockChecksum } from "./checksums.ts";
import {
  COMPATIBLE,
  DESCRIPTOR_SIZE_NARROW,
  DESCRIPTOR_SIZE_WIDE,
  DiskSuperblock,
  FLAG_UNSIGNED_HASH,
  getPair,
  INCOMPATIBLE,
  INODE_SIZE_OLD,
  READ_ONLY,
  STATE_CLEAN,
  STATE_ERRORS,
  SUPERBLOCK_BYTE,
  SUPERBLOCK_MAGIC,
  SUPERBLOCK_SIZE,
} from "./format.ts";

export interface Features {
  readonly compatible: number;
  readonly incompatible: number;
  readonly readOnly: number;
}

/** Which filesystem a volume is said to be: the oldest to whose features it keeps, as blkid says it. */
export const EXT_TYPES = ["ext2", "ext3", "ext4"] as const;
export type ExtType = (typeof EXT_TYPES)[number];

/** What the superblock says for good. Blocks are filesystem blocks; sizes are bytes. */
export interface SuperblockFacts {
  readonly type: ExtType;
  readonly features: Features;
  readonly blockSize: number;
  readonly blocks: number;
  /** Blocks that only the superuser may use, and this user and group; group 0 stands for none. */
  readonly reservedBlocks: number;
  readonly reservedUid: number;
  readonly reservedGid: number;
  /** Blocks that never hold file data, as mke2fs counted them; 0 where it did not. */
  readonly overheadBlocks: number;
  readonly firstDataBlock: number;
  readonly blocksPerGroup: number;
  /** Blocks per bit of a block bitmap: 1 without bigalloc. */
  readonly clusterBlocks: number;
  readonly groups: number;
  readonly descriptorSize: number;
  readonly reservedGdtBlocks: number;
  readonly firstMetaGroup: number;
  /** sparse_super2: the groups that have copies of the superblock. */
  readonly backupGroups: readonly number[];
  readonly inodes: number;
  readonly inodesPerGroup: number;
  readonly inodeSize: number;
  readonly extraInodeSizeWanted: number;
  readonly firstIno: number;
  readonly journalIno: number;
  /** Of the file that names orphans; 0: there is none. */
  readonly orphanFileIno: number;
  /** Of users, groups and projects, the inode that has their quotas; 0: they are not counted. */
  readonly quotaInos: readonly number[];
  /** It has a journal, in an inode of its own. */
  readonly hasJournal: boolean;
  /** Its journal may hold what has not reached the rest of it. */
  readonly needsRecovery: boolean;
  readonly uuid: Uint8Array;
  readonly label: string;
  readonly metadataChecksums: boolean;
  /** Group descriptors have checksums, and groups may be uninitialised. */
  readonly groupChecksums: boolean;
  readonly checksumSeed: number;
  readonly hashSeed: Uint32Array;
  readonly hashVersionDefault: number;
  readonly hashUnsigned: boolean;
  /** Why the volume can only be read, or null. */
  readonly readOnlyReason: string | null;
}

/** What the driver knows well enough to read files. */
const INCOMPATIBLE_KNOWN =
  INCOMPATIBLE.filetype |
  INCOMPATIBLE.needs_recovery |
  INCOMPATIBLE.meta_bg |
  INCOMPATIBLE.extents |
  INCOMPATIBLE["64bit"] |
  INCOMPATIBLE.flex_bg |
  INCOMPATIBLE.ea_inode |
  INCOMPATIBLE.inline_data |
  INCOMPATIBLE.metadata_csum_seed |
  INCOMPATIBLE.large_dir;

const READ_ONLY_KNOWN =
  READ_ONLY.sparse_super |
  READ_ONLY.large_file |
  READ_ONLY.huge_file |
  READ_ONLY.uninit_bg |
  READ_ONLY.dir_nlink |
  READ_ONLY.extra_isize |
  READ_ONLY.metadata_csum |
  READ_ONLY.quota |
  READ_ONLY.project;

/** The features of ext2; ext3 has a journal, too. */
const INCOMPATIBLE_EXT2 = INCOMPATIBLE.filetype | INCOMPATIBLE.meta_bg;
const READ_ONLY_EXT2 = READ_ONLY.sparse_super | READ_ONLY.large_file | READ_ONLY.btree_dir;

/** In revision 0, where it cannot be chosen, and the least in revision 1. */
export const FIRST_INO_OLD = 11;

const LOG_BLOCK_SIZE_MAX = 2; // 4 KiB: larger blocks cannot be mapped page by page
export const CHECKSUM_CRC32C = 1;

/** Whether these bytes, from byte 1,024 of a device on, look like an ext superblock. */
export function isSuperblock(superblock: Uint8Array): boolean {
  const view = viewOf(superblock);
  return (
    view.byteLength >= SUPERBLOCK_SIZE && DiskSuperblock.magic.get(view, 0) === SUPERBLOCK_MAGIC
  );
}

/** `names` of the bits of `word` that are not in `known`; unnamed bits as numbers. */
function unknownFeatures(word: number, known: number, names: Record<string, number>): string[] {
  const nameOf = new Map(Object.entries(names).map(([name, bit]) => [bit, name]));
  const found: string[] = [];
  for (let shift = 0; shift < 32; shift++) {
    const bit = (1 << shift) >>> 0;
    if ((word & bit) !== 0 && (known & bit) === 0) {
      found.push(nameOf.get(bit) ?? `0x${bit.toString(16)}`);
    }
  }
  return found;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function damage(field: string, value: number | string, expected: string): CorruptionError {
  const structure = DiskSuperblock.structure.name;
  return new CorruptionError({ structure, field, value, expected, deviceByte: SUPERBLOCK_BYTE });
}

/** Reads a field and checks it against a closed range. */
function inRange(
  view: DataView,
  field: IntegerField,
  name: string,
  least: number,
  most: number,
): number {
  const value = field.get(view, 0);
  if (value < least || value > most) {
    throw damage(name, value, `expected ${least} to ${most}`);
  }
  return value;
}

/**
 * The facts of a volume, from the 1,024 bytes at byte 1,024 of a device of `deviceSize` bytes.
 * `isInUse`: it is mounted by this process already, so that its superblock says "in use" is no
 * reason not to write. `incompatibleKnown`: the features that the caller knows.
 * Throws: EINVAL when it is not ext; EOPNOTSUPP naming what this driver does not know;
 * CorruptionError naming the field that cannot be.
 */
export function parseSuperblock(
  superblock: Uint8Array,
  deviceSize: number,
  isInUse = false,
  incompatibleKnown = INCOMPATIBLE_KNOWN,
): SuperblockFacts {
  if (!isSuperblock(superblock)) {
    throw new HoldfastError("EINVAL", "no ext superblock was found at byte 1024 of the device");
  }
  const view = viewOf(superblock);
  const features = readFeatures(view, incompatibleKnown);
  const metadataChecksums = (features.readOnly & READ_ONLY.metadata_csum) !== 0;
  if (metadataChecksums) verifySuperblockChecksum(superblock);
  const logBlockSize = DiskSuperblock.logBlockSize.get(view, 0);
  if (logBlockSize > LOG_BLOCK_SIZE_MAX) {
    const message = `blocks larger than 4 KiB are not supported (s_log_block_size ${logBlockSize})`;
    throw new HoldfastError("EOPNOTSUPP", message);
  }
  const blockSize = 1024 << logBlockSize;
  const geometry = readGeometry(view, features, blockSize, deviceSize);
  const uuid = superblock.slice(DiskSuperblock.uuid.offset, DiskSuperblock.uuid.offset + 16);
  const hasStoredSeed = (features.incompatible & INCOMPATIBLE.metadata_csum_seed) !== 0;
  const facts = {
    type: typeOf(features),
    features,
    ...geometry,
    journalIno: DiskSuperblock.journalIno.get(view, 0),
    orphanFileIno:
      (features.compatible & COMPATIBLE.orphanFile) !== 0
        ? DiskSuperblock.orphanFileIno.get(view, 0)
        : 0,
    quotaInos: readQuotaInos(view, features),
    hasJournal: hasOwnJournal(view, features),
    needsRecovery: (features.incompatible & INCOMPATIBLE.needs_recovery) !== 0,
    uuid,
    label: textOf(superblock, DiskSuperblock.label.offset, DiskSuperblock.label.size),
    metadataChecksums,
    groupChecksums: (features.readOnly & (READ_ONLY.metadata_csum | READ_ONLY.uninit_bg)) !== 0,
    checksumSeed: hasStoredSeed ? DiskSuperblock.checksumSeed.get(view, 0) : checksumSeedOf(uuid),
    hashSeed: Uint32Array.of(
      DiskSuperblock.hashSeed0.get(view, 0),
      DiskSuperblock.hashSeed1.get(view, 0),
      DiskSuperblock.hashSeed2.get(view, 0),
      DiskSuperblock.hashSeed3.get(view, 0),
    ),
    hashVersionDefault: DiskSuperblock.hashVersionDefault.get(view, 0),
    hashUnsigned: (DiskSuperblock.flags.get(view, 0) & FLAG_UNSIGNED_HASH) !== 0,
  };
  return { ...facts, readOnlyReason: readOnlyReason(view, features, isInUse) };
}

/** Whether two superblocks, each at byte `at`, tell of volumes of the same size. */
export function haveSameSize(one: Uint8Array, other: Uint8Array, at: number): boolean {
  const { blocksCountLow, blocksCountHigh } = DiskSuperblock;
  const [view, others] = [viewOf(one), viewOf(other)];
  return [blocksCountLow, blocksCountHigh].every(
    (field) => field.get(view, at) === field.get(others, at),
  );
}

/**
 * The facts of a mounted volume, `before`, anew from its superblock: it has grown. What growing leaves alone stays.
 * Throws: CorruptionError, also for bytes that are being changed.
 */
export function regrownFacts(
  before: SuperblockFacts,
  superblock: Uint8Array,
  deviceSize: number,
): SuperblockFacts {
  const view = viewOf(superblock);
  const features = readFeatures(view, INCOMPATIBLE_KNOWN);
  return { ...before, features, ...readGeometry(view, features, before.blockSize, deviceSize) };
}

function readFeatures(view: DataView, incompatibleKnown: number): Features {
  const revision = DiskSuperblock.revision.get(view, 0);
  if (revision > 1) {
    const message = `superblock revision ${revision} is not supported, only 0 and 1`;
    throw new HoldfastError("EOPNOTSUPP", message);
  }
  const features = {
    compatible: DiskSuperblock.featuresCompatible.get(view, 0),
    incompatible: DiskSuperblock.featuresIncompatible.get(view, 0),
    readOnly: DiskSuperblock.featuresReadOnly.get(view, 0),
  };
  const { compatible, incompatible, readOnly } = features;
  if (revision === 0 && (compatible | incompatible | readOnly) !== 0) {
    throw damage("s_rev_level", 0, "but there are features, which came with revision 1");
  }
  const unknown = unknownFeatures(incompatible, incompatibleKnown, INCOMPATIBLE);
  if (unknown.length > 0) {
    const message = `the volume uses features that are not supported: ${unknown.join(", ")}`;
    throw new HoldfastError("EOPNOTSUPP", message);
  }
  return features;
}

function typeOf({ compatible, incompatible, readOnly }: Features): ExtType {
  const others =
    (incompatible & ~(INCOMPATIBLE_EXT2 | INCOMPATIBLE.needs_recovery)) |
    (readOnly & ~READ_ONLY_EXT2);
  if (others !== 0) return "ext4";
  return (compatible & COMPATIBLE.hasJournal) !== 0 ? "ext3" : "ext2";
}

export function verifySuperblockChecksum(superblock: Uint8Array): void {
  const view = viewOf(superblock);
  const type = DiskSuperblock.checksumType.get(view, 0);
  if (type !== CHECKSUM_CRC32C) {
    throw damage("s_checksum_type", type, `expected ${CHECKSUM_CRC32C}, CRC32C`);
  }
  const stored = DiskSuperblock.checksum.get(view, 0);
  const computed = superblockChecksum(superblock);
  if (stored !== computed) {
    throw damage("s_checksum", stored, `but the superblock's bytes give ${computed}`);
  }
}

function readGeometry(view: DataView, features: Features, blockSize: number, deviceSize: number) {
  const wide = (features.incompatible & INCOMPATIBLE["64bit"]) !== 0;
  const { blocksCountLow, blocksCountHigh } = DiskSuperblock;
  const { reservedBlocksCountLow, reservedBlocksCountHigh } = DiskSuperblock;
  const blocks = wide
    ? getPair(view, 0, blocksCountLow, blocksCountHigh)
    : blocksCountLow.get(view, 0);
  const reservedBlocks = wide
    ? getPair(view, 0, reservedBlocksCountLow, reservedBlocksCountHigh)
    : reservedBlocksCountLow.get(view, 0);
  const isBigalloc = (features.readOnly & READ_ONLY.bigalloc) !== 0;
  const firstDataBlock = blockSize === 1024 && !isBigalloc ? 1 : 0;
  inRange(
    view,
    DiskSuperblock.firstDataBlock,
    "s_first_data_block",
    firstDataBlock,
    firstDataBlock,
  );
  const blocksMax = Math.floor(Math.min(deviceSize, DEVICE_BYTES_MAX) / blockSize);
  if (blocks <= firstDataBlock || blocks > blocksMax) {
    throw damage("s_blocks_count", blocks, `expected at most ${blocksMax}, the device's size`);
  }
  const clusterBlocks = readClusterBlocks(view, features, blockSize);
  const perGroupMax = blockSize * 8;
  const blocksPerGroup = inRange(
    view,
    DiskSuperblock.blocksPerGroup,
    "s_blocks_per_group",
    256,
    perGroupMax * clusterBlocks,
  );
  if (blocksPerGroup % 8 !== 0) {
    throw damage("s_blocks_per_group", blocksPerGroup, "expected a multiple of 8");
  }
  const groups = Math.ceil((blocks - firstDataBlock) / blocksPerGroup);
  const inodesPerGroup = inRange(
    view,
    DiskSuperblock.inodesPerGroup,
    "s_inodes_per_group",
    8,
    perGroupMax,
  );
  const inodes = inRange(
    view,
    DiskSuperblock.inodesCount,
    "s_inodes_count",
    groups * inodesPerGroup,
    groups * inodesPerGroup,
  );
  return {
    blockSize,
    blocks,
    reservedBlocks: Math.min(reservedBlocks, blocks),
    reservedUid:
      DiskSuperblock.reservedUid.get(view, 0) +
      DiskSuperblock.reservedUidHigh.get(view, 0) * 2 ** 16,
    reservedGid:
      DiskSuperblock.reservedGid.get(view, 0) +
      DiskSuperblock.reservedGidHigh.get(view, 0) * 2 ** 16,
    overheadBlocks: Math.min(DiskSuperblock.overheadBlocks.get(view, 0) * clusterBlocks, blocks),
    firstDataBlock,
    blocksPerGroup,
    clusterBlocks,
    groups,
    descriptorSize: wide ? readDescriptorSize(view, blockSize) : DESCRIPTOR_SIZE_NARROW,
    reservedGdtBlocks: inRange(
      view,
      DiskSuperblock.reservedGdtBlocks,
      "s_reserved_gdt_blocks",
      0,
      blockSize / 4,
    ),
    firstMetaGroup: DiskSuperblock.firstMetaGroup.get(view, 0),
    backupGroups:
      (features.compatible & COMPATIBLE.sparseSuper2) !== 0
        ? [DiskSuperblock.backupGroup0.get(view, 0), DiskSuperblock.backupGroup1.get(view, 0)]
        : [],
    inodes,
    inodesPerGroup,
    ...readInodeSizes(view, blockSize, inodes),
  };
}

function readClusterBlocks(view: DataView, features: Features, blockSize: number): number {
  if ((features.readOnly & READ_ONLY.bigalloc) === 0) return 1;
  const logBlockSize = Math.log2(blockSize) - 10;
  const field = DiskSuperblock.logClusterSize;
  return 2 ** (inRange(view, field, "s_log_cluster_size", logBlockSize, 20) - logBlockSize);
}

function readDescriptorSize(view: DataView, blockSize: number): number {
  const field = DiskSuperblock.descriptorSize;
  const size = inRange(view, field, "s_desc_size", DESCRIPTOR_SIZE_WIDE, blockSize);
  if (blockSize % size !== 0) throw damage("s_desc_size", size, "expected a power of two");
  return size;
}

function readInodeSizes(view: DataView, blockSize: number, inodes: number) {
  if (DiskSuperblock.revision.get(view, 0) === 0) {
    return { inodeSize: INODE_SIZE_OLD, extraInodeSizeWanted: 0, firstIno: FIRST_INO_OLD };
  }
  const inodeSize = inRange(
    view,
    DiskSuperblock.inodeSize,
    "s_inode_size",
    INODE_SIZE_OLD,
    blockSize,
  );
  if (blockSize % inodeSize !== 0)
    throw damage("s_inode_size", inodeSize, "expected a power of two");
  const room = inodeSize - INODE_SIZE_OLD;
  return {
    inodeSize,
    extraInodeSizeWanted: Math.min(DiskSuperblock.extraInodeSizeWanted.get(view, 0), room, 32) & ~3,
    firstIno: inRange(view, DiskSuperblock.firstIno, "s_first_ino", FIRST_INO_OLD, inodes),
  };
}

function readOnlyReason(view: DataView, features: Features, isInUse: boolean): string | null {
  const hasOrphanFile = (features.compatible & COMPATIBLE.orphanFile) !== 0;
  const known = READ_ONLY_KNOWN | (hasOrphanFile ? READ_ONLY.orphan_present : 0);
  const unknown = unknownFeatures(features.readOnly, known, READ_ONLY);
  if (unknown.length > 0) {
    return `the volume uses features that can only be read: ${unknown.join(", ")}`;
  }
  const hasJournal = hasOwnJournal(view, features);
  if (!hasJournal && (features.compatible & COMPATIBLE.hasJournal) !== 0) {
    return "its journal lies on another device, which is not supported";
  }
  if (!hasJournal && (features.incompatible & INCOMPATIBLE.needs_recovery) !== 0) {
    return "it needs recovery, but has no journal; run e2fsck -f";
  }
  if (isInUse) return null;
  const state = DiskSuperblock.state.get(view, 0);
  if ((state & STATE_ERRORS) !== 0) return "its superblock says it has errors; run e2fsck -f";
  if ((state & STATE_CLEAN) === 0) return "it was not unmounted cleanly; run e2fsck -f";
  const orphan = DiskSuperblock.lastOrphan.get(view, 0);
  if (orphan !== 0 && !hasJournal) {
    return `inode ${orphan} was deleted while it was open and still holds space; run e2fsck -f`;
  }
  return null;
}

/** Whether content may lie in inodes. */
export function mayHaveInline({ features }: SuperblockFacts): boolean {
  return (features.incompatible & INCOMPATIBLE.inline_data) !== 0;
}

function readQuotaInos(view: DataView, { readOnly }: Features): number[] {
  const { userQuotaIno, groupQuotaIno, projectQuotaIno } = DiskSuperblock;
  if ((readOnly & READ_ONLY.quota) === 0) return [0, 0, 0];
  return [userQuotaIno, groupQuotaIno, projectQuotaIno].map((field) => field.get(view, 0));
}

function hasOwnJournal(view: DataView, features: Features): boolean {
  const has = (features.compatible & COMPATIBLE.hasJournal) !== 0;
  return has && DiskSuperblock.journalIno.get(view, 0) !== 0;
}

/** Text that ends with a zero byte, or with its field. */
export function textOf(bytes: Uint8Array, at: number, size: number): string {
  const field = bytes.slice(at, at + size);
  const end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
}

/** A uuid's 16 bytes as people write them. */
export function formatUuid(uuid: Uint8Array): string {
  const hex = Array.from(uuid, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const parts = [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ];
  return parts.join("-");
}
