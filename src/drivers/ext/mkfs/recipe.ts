/** From what is asked of a volume to every number and place of it, with nothing written yet. */
import { HoldfastError } from "../../../base/errors.ts";
import { checksumSeedOf } from "../checksums.ts";
import { DiskSuperblock, INODE_SIZE_OLD } from "../format.ts";
import {
  INODE_SIZE_DEFAULT,
  JOURNAL_BLOCKS_MAX,
  journalBlocksOf,
  orphanFileBlocksOf,
  RESERVED_PERCENT_DEFAULT,
  sizeClassOf,
} from "./defaults.ts";
import { QUOTA_KINDS, type QuotaKind } from "../quotas/quota-file.ts";
import { JOURNAL_BLOCKS_MIN } from "../jbd2/format.ts";
import type { ExtType } from "../superblock.ts";
import { FeatureSet } from "./features.ts";
import { type Geometry, planGeometry } from "./geometry.ts";

/** What a volume is to be. What is left out is as mke2fs chooses. */
export interface VolumeRequest {
  readonly type: ExtType;
  /** Bytes of the device. */
  readonly bytes: number;
  readonly blockSize?: number | undefined;
  readonly label?: string | undefined;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  /** As mke2fs's -O takes them. */
  readonly features?: readonly string[] | undefined;
  /** Bytes. */
  readonly journalSize?: number | undefined;
  /** How many, or bytes of the volume for each. */
  readonly inodes?: number | undefined;
  readonly inodeRatio?: number | undefined;
  /** Bytes of one. */
  readonly inodeSize?: number | undefined;
  readonly reservedPercent?: number | undefined;
  /** Whose use is counted, of a volume with the feature quota; of projects with their feature as well. */
  readonly quotaKinds?: readonly QuotaKind[] | undefined;
  /** 16 bytes. */
  readonly hashSeed: Uint8Array;
  /** Seconds since 1970. */
  readonly time: number;
}

export interface Recipe {
  readonly type: ExtType;
  readonly features: FeatureSet;
  readonly geometry: Geometry;
  /** All of it, fast commits included; 0: no journal. */
  readonly journalBlocks: number;
  /** Blocks at the journal's end for fast commits; 0 without that feature. */
  readonly fastCommitBlocks: number;
  /** None without the feature quota. */
  readonly quotaKinds: readonly QuotaKind[];
  /** 0 without that feature. */
  readonly orphanFileBlocks: number;
  readonly uuid: Uint8Array;
  /** 16 bytes, filled up with zeroes. */
  readonly label: Uint8Array;
  readonly hashSeed: Uint8Array;
  readonly time: number;
  readonly checksumSeed: number;
  readonly metadataChecksums: boolean;
  /** Descriptors have checksums, so groups may be uninitialised. */
  readonly groupChecksums: boolean;
  /** Bytes of fields after the first 128 of an inode. */
  readonly extraInodeSize: number;
}

const BLOCK_SIZES = [1024, 2048, 4096];
const EXTRA_INODE_SIZE = 32;
/** A volume ends where a page does, so that all of it can be mapped. */
const SIZE_UNIT = 4096;
/** Of the volume. */
const JOURNAL_SHARE_MAX = 0.5;
const LOG_BLOCKS_PER_FAST_COMMIT = 64;

/** Throws: EINVAL naming what cannot be. */
export function planVolume(request: VolumeRequest): Recipe {
  const { type, uuid, hashSeed, time } = request;
  const sizes = sizeClassOf(request.bytes);
  const blockSize = request.blockSize ?? sizes.blockSize;
  if (!BLOCK_SIZES.includes(blockSize)) {
    throw refused(`blocks have 1024, 2048 or 4096 bytes, not ${blockSize}`);
  }
  const inodeSize = checkInodeSize(request.inodeSize ?? INODE_SIZE_DEFAULT, blockSize);
  const features = new FeatureSet(type, request.features ?? []);
  features.settle(inodeSize);
  const quotaKinds = planQuotas(request, features);
  const blocks = (request.bytes - (request.bytes % SIZE_UNIT)) / blockSize;
  const reservedPercent = request.reservedPercent ?? RESERVED_PERCENT_DEFAULT;
  const geometry = planGeometry(
    {
      blockSize,
      blocks,
      inodeSize,
      inodes: inodesWanted(request, sizes.inodeRatio, blocks * blockSize),
      reservedBlocks: planReserved(reservedPercent, blocks),
    },
    features,
  );
  const logBlocks = planJournal(request, features, geometry);
  const fastCommitBlocks = features.has("fast_commit")
    ? Math.floor(logBlocks / LOG_BLOCKS_PER_FAST_COMMIT)
    : 0;
  if (features.has("orphan_file") && logBlocks === 0) {
    features.drop("orphan_file", "it needs a journal, which the volume is too small for");
  }
  // The journal and resize_inode may have gone, and meta_bg come.
  const { words } = features;
  return {
    type,
    features,
    geometry: { ...geometry, features: words },
    journalBlocks: logBlocks + fastCommitBlocks,
    fastCommitBlocks,
    quotaKinds,
    orphanFileBlocks: features.has("orphan_file") ? orphanFileBlocksOf(geometry.blocks) : 0,
    uuid,
    label: labelBytes(request.label ?? ""),
    hashSeed,
    time,
    checksumSeed: checksumSeedOf(uuid),
    metadataChecksums: features.has("metadata_csum"),
    groupChecksums: features.has("metadata_csum") || features.has("uninit_bg"),
    extraInodeSize: inodeSize > INODE_SIZE_OLD ? EXTRA_INODE_SIZE : 0,
  };
}

function checkInodeSize(inodeSize: number, blockSize: number): number {
  const isPower = Number.isInteger(Math.log2(inodeSize));
  if (isPower && inodeSize >= INODE_SIZE_OLD && inodeSize <= blockSize) return inodeSize;
  throw refused(
    `an inode has a power of two of bytes, 128 to ${blockSize} (a block), not ${inodeSize}`,
  );
}

function inodesWanted(request: VolumeRequest, ratioOfSize: number, bytes: number): number {
  if (request.inodes !== undefined) {
    if (request.inodeRatio !== undefined) throw refused("give inodes or inodeRatio, not both");
    return request.inodes;
  }
  const ratio = request.inodeRatio ?? ratioOfSize;
  if (!(ratio >= 1024)) {
    throw refused(`inodeRatio is bytes for each inode, 1024 at least, not ${ratio}`);
  }
  return Math.floor(bytes / ratio);
}

/** Throws: EINVAL for kinds that the features do not allow. */
function planQuotas({ quotaKinds }: VolumeRequest, features: FeatureSet): readonly QuotaKind[] {
  if (!features.has("quota")) {
    if (quotaKinds === undefined) return [];
    throw refused("quotas are asked for, but the volume counts none: add the feature quota");
  }
  const hasProjects = features.has("project");
  if (quotaKinds === undefined) {
    return QUOTA_KINDS.filter((kind) => kind !== "project" || hasProjects);
  }
  if (quotaKinds.length === 0) throw refused("quotas are of user, group or project: name one");
  if (quotaKinds.includes("project") && !hasProjects) {
    throw refused("quotas of projects need the feature project: add it");
  }
  return QUOTA_KINDS.filter((kind) => quotaKinds.includes(kind));
}

function planReserved(percent: number, blocks: number): number {
  if (percent >= 0 && percent <= 50) return Math.floor((percent * blocks) / 100);
  throw refused(`reservedPercent is 0 to 50, not ${percent}`);
}

/** Blocks of the journal's log. Drops has_journal where the volume is too small, if it was not asked for. */
function planJournal(request: VolumeRequest, features: FeatureSet, geometry: Geometry): number {
  const { journalSize } = request;
  const { blocks, blockSize } = geometry;
  if (!features.has("has_journal")) {
    if (journalSize === undefined) return 0;
    throw refused(
      "journalSize is given, but the volume has no journal: add the feature has_journal",
    );
  }
  if (journalSize === undefined) {
    const chosen = journalBlocksOf(blocks);
    if (chosen === 0) {
      features.drop("has_journal", `a volume of ${blocks} blocks is too small for a journal`);
    }
    return chosen;
  }
  const wanted = Math.floor(journalSize / blockSize);
  const most = Math.min(JOURNAL_BLOCKS_MAX, Math.floor(blocks * JOURNAL_SHARE_MAX));
  if (wanted >= JOURNAL_BLOCKS_MIN && wanted <= most) return wanted;
  throw refused(
    `journalSize is ${JOURNAL_BLOCKS_MIN * blockSize} to ${most * blockSize} bytes here ` +
      `(${JOURNAL_BLOCKS_MIN} blocks at least, half of the volume at most), not ${journalSize}`,
  );
}

function labelBytes(label: string): Uint8Array {
  const field = new Uint8Array(DiskSuperblock.label.size);
  const bytes = Buffer.from(label, "utf8");
  if (bytes.length > field.length) {
    throw refused(`a label has ${field.length} bytes at most; '${label}' has ${bytes.length}`);
  }
  if (bytes.includes(0)) throw refused("a label has no zero byte");
  field.set(bytes);
  return field;
}

function refused(message: string): HoldfastError {
  return new HoldfastError("EINVAL", message);
}
