/**
 * The numbers of a volume that is to be made: how many groups, how large, how many inodes in each, how many
 * descriptors. Where the structures then lie is layout.ts's.
 *
 * The sizes are those that mke2fs 1.47 arrives at, so that its volumes and ours are alike.
 */
import { HoldfastError } from "../../../base/errors.ts";
import { DESCRIPTOR_SIZE_NARROW, DESCRIPTOR_SIZE_WIDE } from "../format.ts";
import { type GroupFacts, hasSuperblock } from "../space/groups.ts";
import { FLEX_GROUPS } from "./defaults.ts";
import type { FeatureSet } from "./features.ts";

/** What the geometry is worked out from. */
export interface GeometryWish {
  readonly blockSize: number;
  /** Blocks that there are; the volume may end a little before. */
  readonly blocks: number;
  readonly inodeSize: number;
  /** Inodes wanted; there will be as many or a few more. */
  readonly inodes: number;
  /** Blocks for the superuser. */
  readonly reservedBlocks: number;
}

export interface Geometry extends GroupFacts {
  readonly inodeSize: number;
  readonly inodes: number;
  readonly reservedBlocks: number;
  readonly inodesPerGroup: number;
  /** Blocks of one group's inode table. */
  readonly tableBlocks: number;
  readonly descriptorsPerBlock: number;
  /** Blocks that hold all descriptors once. */
  readonly descriptorBlocks: number;
  /** Groups whose bitmaps and tables lie together: 1 without flex_bg. */
  readonly flexGroups: number;
}

/** Groups have at most this many blocks: their counts have 16 bits, and are of whole bytes of the bitmap. */
const BLOCKS_PER_GROUP_MAX = 2 ** 16 - 8;
const INODES_PER_GROUP_MAX = 2 ** 16 - 8;
/** The first group has the ten that are reserved, and lost+found; groups are alike, by eights. */
const INODES_PER_GROUP_MIN = 16;
/** Inodes are numbered in 32 bits. */
const INODES_MAX = 2 ** 32 - 1;
/** A last group that has less than this beyond its own structures is left out. */
const LAST_GROUP_BLOCKS_MIN = 50;
/** Volumes are grown online to this many times their size, at most. */
const GROWTH_MAX = 1024;
const BLOCKS_MAX_NARROW = 2 ** 32 - 1;

/**
 * Works the geometry out; may drop resize_inode from `features`, or add meta_bg.
 * Throws: EINVAL when there are too few blocks, or too many inodes.
 */
export function planGeometry(wish: GeometryWish, features: FeatureSet): Geometry {
  if (wish.blocks > BLOCKS_MAX_NARROW) {
    if (!features.has("64bit")) {
      throw tooLarge(wish, "block numbers of 32 bits do not reach: add the feature 64bit");
    }
    features.drop("resize_inode", "block maps, which it is kept in, end at 2^32 blocks");
  }
  let blocksPerGroup = Math.min(wish.blockSize * 8, BLOCKS_PER_GROUP_MAX);
  let { reservedBlocks } = wish;
  for (let blocks = wish.blocks; ; ) {
    const planned = planWith(wish, features, blocks, blocksPerGroup);
    if (planned === "too many inodes") {
      blocksPerGroup -= 8;
      blocks = wish.blocks;
      reservedBlocks = wish.reservedBlocks;
      if (blocksPerGroup >= 256) continue;
      throw new HoldfastError("EINVAL", `${wish.inodes} inodes are too many for ${blocks} blocks`);
    }
    const rest = (blocks - planned.firstDataBlock) % blocksPerGroup;
    if (rest === 0 || rest >= lastGroupBlocksMin(planned)) return { ...planned, reservedBlocks };
    if (planned.groups === 1) throw tooSmall(wish, lastGroupBlocksMin(planned));
    reservedBlocks = Math.floor((reservedBlocks * (blocks - rest)) / blocks);
    blocks -= rest;
  }
}

function planWith(
  wish: GeometryWish,
  features: FeatureSet,
  blocks: number,
  blocksPerGroup: number,
): Omit<Geometry, "reservedBlocks"> | "too many inodes" {
  const { blockSize, inodeSize } = wish;
  const firstDataBlock = blockSize === 1024 ? 1 : 0;
  if (blocks <= firstDataBlock) throw tooSmall(wish, LAST_GROUP_BLOCKS_MIN);
  const groups = Math.ceil((blocks - firstDataBlock) / blocksPerGroup);
  const descriptorSize = features.has("64bit") ? DESCRIPTOR_SIZE_WIDE : DESCRIPTOR_SIZE_NARROW;
  const descriptorsPerBlock = blockSize / descriptorSize;
  const descriptorBlocks = Math.ceil(groups / descriptorsPerBlock);
  const inodesPerGroup = planInodes(wish, groups);
  if (inodesPerGroup === null) return "too many inodes";
  const growth = { blockSize, blocks, firstDataBlock, blocksPerGroup, descriptorsPerBlock };
  let reservedGdtBlocks = features.has("resize_inode")
    ? planReservedGdt(growth) - descriptorBlocks
    : 0;
  reservedGdtBlocks = Math.max(0, Math.min(reservedGdtBlocks, blockSize / 4));
  // Where descriptors would take most of a group, each block of them goes to the groups it describes.
  if (descriptorBlocks + reservedGdtBlocks > (blocksPerGroup * 3) / 4) {
    features.drop("resize_inode", "the volume has too many groups; add ^resize_inode");
    features.add("meta_bg");
    reservedGdtBlocks = 0;
  }
  return {
    features: features.words,
    blockSize,
    blocks,
    firstDataBlock,
    blocksPerGroup,
    groups,
    descriptorSize,
    descriptorsPerBlock,
    descriptorBlocks,
    reservedGdtBlocks,
    firstMetaGroup: 0,
    backupGroups: features.has("sparse_super2") ? backupsOf(groups) : [],
    inodeSize,
    inodes: inodesPerGroup * groups,
    inodesPerGroup,
    tableBlocks: Math.ceil((inodesPerGroup * inodeSize) / blockSize),
    flexGroups: features.has("flex_bg") ? FLEX_GROUPS : 1,
  };
}

/** The two groups with copies, of sparse_super2: the second and the last, where there are so many. */
function backupsOf(groups: number): number[] {
  return [groups > 1 ? 1 : 0, groups > 2 ? groups - 1 : 0];
}

/** Inodes in each group, a multiple of 8 that fills its blocks where it can; null: more than a bitmap has. */
function planInodes({ blockSize, inodeSize, inodes }: GeometryWish, groups: number): number | null {
  let wanted = Math.max(INODES_PER_GROUP_MIN, Math.ceil(Math.min(inodes, INODES_MAX) / groups));
  if (wanted > blockSize * 8) return null;
  wanted = Math.min(wanted, INODES_PER_GROUP_MAX);
  for (; ; wanted--) {
    const tableBlocks = Math.ceil((wanted * inodeSize) / blockSize);
    const filling = Math.floor((tableBlocks * blockSize) / inodeSize);
    const perGroup = filling - (filling % 8);
    if (perGroup * groups <= INODES_MAX) return perGroup;
  }
}

/** Blocks of descriptors that the volume would have when it is grown as far as it can be. */
function planReservedGdt(at: {
  readonly blocks: number;
  readonly firstDataBlock: number;
  readonly blocksPerGroup: number;
  readonly descriptorsPerBlock: number;
}): number {
  const blocks = Math.min(at.blocks * GROWTH_MAX, BLOCKS_MAX_NARROW);
  const groups = Math.ceil((blocks - at.firstDataBlock) / at.blocksPerGroup);
  return Math.ceil(groups / at.descriptorsPerBlock);
}

/** Blocks that the last group must have to be worth making. */
function lastGroupBlocksMin(geometry: Omit<Geometry, "reservedBlocks">): number {
  const { descriptorBlocks, reservedGdtBlocks, tableBlocks, groups } = geometry;
  const head = hasSuperblock({ facts: geometry }, groups - 1)
    ? 1 + descriptorBlocks + reservedGdtBlocks
    : 0;
  return 2 + tableBlocks + head + LAST_GROUP_BLOCKS_MIN;
}

function tooSmall({ blocks, blockSize }: GeometryWish, least: number): HoldfastError {
  return new HoldfastError(
    "EINVAL",
    `${blocks} blocks of ${blockSize} bytes are too few for a volume with these options; ` +
      `give it ${least + 1} at least, or fewer inodes`,
  );
}

function tooLarge({ blocks }: GeometryWish, what: string): HoldfastError {
  return new HoldfastError("EINVAL", `a volume of ${blocks} blocks cannot be made: ${what}`);
}
