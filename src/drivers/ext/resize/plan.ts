/**
 * From a volume's size to a larger one: how far it can grow, in which steps, and which numbers it has after each.
 *
 * The last group is filled up first. Then come groups, at most sixteen at a time, which end where a multiple of
 * sixteen does: so the descriptors of a step's groups lie in one block, and so do, with flex_bg, its bitmaps and tables.
 *
 * A block of descriptors that the volume does not have yet is found, in this order: in its meta group (meta_bg); among the
 * blocks kept for that behind the descriptors (resize_inode); or the volume is given meta_bg from there on.
 * Source: Linux Documentation/filesystems/ext4/blockgroup.rst, and what the kernel's and resize2fs's volumes are like.
 */
import { HoldfastError } from "../../../base/errors.ts";
import { COMPATIBLE, DESCRIPTOR_SIZE_WIDE, INCOMPATIBLE } from "../format.ts";
import type { Geometry } from "../mkfs/geometry.ts";
import { blocksInGroup, firstBlockOfGroup, hasSuperblock } from "../space/groups.ts";
import type { SuperblockFacts } from "../superblock.ts";

/** Groups of a step, at most: a power of two that divides the descriptors in a block. */
const STEP_GROUPS = 16;
/** A last group that has less than this beyond its own structures is left out, as mke2fs and resize2fs do. */
const LAST_GROUP_BLOCKS_MIN = 50;
const BLOCKS_MAX_NARROW = 2 ** 32 - 1;
/** Inodes are numbered in 32 bits. */
const INODES_MAX = 2 ** 32 - 1;

/** Blocks of one group's inode table. */
function tableBlocksOf({ inodesPerGroup, inodeSize, blockSize }: SuperblockFacts): number {
  return Math.ceil((inodesPerGroup * inodeSize) / blockSize);
}

/** Blocks that hold the descriptors of so many groups. */
export function descriptorBlocksOf(facts: SuperblockFacts, groups: number): number {
  return Math.ceil(groups / (facts.blockSize / facts.descriptorSize));
}

/**
 * Blocks that a volume comes to have which is to have `bytes`. Throws: EINVAL for less than it has; EFBIG where its
 * format ends before that; EOPNOTSUPP for clusters.
 */
export function planBlocks(facts: SuperblockFacts, bytes: number): number {
  const { blockSize, firstDataBlock, blocksPerGroup } = facts;
  if (facts.clusterBlocks > 1) {
    throw new HoldfastError(
      "EOPNOTSUPP",
      "a volume with bigalloc is not made larger; use resize2fs",
    );
  }
  const blocks = Math.floor(bytes / blockSize);
  if (blocks < facts.blocks) {
    const size = facts.blocks * blockSize;
    const what = `the volume has ${size} bytes, and cannot be made smaller, to ${bytes}; resize2fs can, unmounted`;
    throw new HoldfastError("EINVAL", what);
  }
  if (blocks > BLOCKS_MAX_NARROW && facts.descriptorSize < DESCRIPTOR_SIZE_WIDE) {
    const most = BLOCKS_MAX_NARROW * blockSize;
    const what = `without the feature 64bit the volume ends at ${most} bytes; add it with resize2fs -b, unmounted`;
    throw new HoldfastError("EFBIG", what);
  }
  const rest = (blocks - firstDataBlock) % blocksPerGroup;
  const groups = Math.ceil((blocks - firstDataBlock) / blocksPerGroup);
  if (groups * facts.inodesPerGroup > INODES_MAX) {
    const most = Math.floor(INODES_MAX / facts.inodesPerGroup);
    const what = `${groups} groups of ${facts.inodesPerGroup} inodes are more than 2^32; ${most} groups are not`;
    throw new HoldfastError("EFBIG", what);
  }
  const isTooSmall = rest > 0 && rest < lastGroupBlocksMin(facts, groups);
  return groups > facts.groups && isTooSmall ? blocks - rest : blocks;
}

/** Blocks that a last group must have to be worth making. */
function lastGroupBlocksMin(facts: SuperblockFacts, groups: number): number {
  const head = hasSuperblock({ facts }, groups - 1)
    ? 1 + descriptorBlocksOf(facts, groups) + facts.reservedGdtBlocks
    : 0;
  return 2 + tableBlocksOf(facts) + head + LAST_GROUP_BLOCKS_MIN;
}

/** Blocks that the volume has when its last group is as large as it can be, and the volume has `target` at most. */
export function withLastGroupFull(facts: SuperblockFacts, target: number): number {
  const last = facts.groups - 1;
  if (blocksInGroup({ facts }, last) === facts.blocksPerGroup) return facts.blocks;
  return Math.min(target, firstBlockOfGroup({ facts }, last + 1));
}

/**
 * The volume as it is when the next step's groups are part of it: `target` blocks at most, which is more than it has.
 * `flexGroups`: groups whose bitmaps and tables lie together. Its last group is full.
 */
export function planStep(facts: SuperblockFacts, target: number, flexGroups: number): Geometry {
  const { blockSize, descriptorSize, groups: before } = facts;
  const first = firstBlockOfGroup({ facts }, before - (before % STEP_GROUPS) + STEP_GROUPS);
  const blocks = Math.min(target, first);
  const groups = Math.ceil((blocks - facts.firstDataBlock) / facts.blocksPerGroup);
  const descriptorBlocks = descriptorBlocksOf(facts, groups);
  const { features, reservedGdtBlocks, firstMetaGroup, backupGroups } = facts;
  const at = { features, reservedGdtBlocks, firstMetaGroup };
  return {
    blockSize,
    blocks,
    firstDataBlock: facts.firstDataBlock,
    blocksPerGroup: facts.blocksPerGroup,
    groups,
    descriptorSize,
    backupGroups,
    ...(descriptorBlocks > descriptorBlocksOf(facts, before) ? withOneMore(facts) : at),
    inodeSize: facts.inodeSize,
    inodes: groups * facts.inodesPerGroup,
    reservedBlocks: facts.reservedBlocks,
    inodesPerGroup: facts.inodesPerGroup,
    tableBlocks: tableBlocksOf(facts),
    descriptorsPerBlock: blockSize / descriptorSize,
    descriptorBlocks,
    flexGroups: Math.min(flexGroups, STEP_GROUPS),
  };
}

/** What changes where the descriptors have a block more. */
function withOneMore(
  facts: SuperblockFacts,
): Pick<Geometry, "features" | "reservedGdtBlocks" | "firstMetaGroup"> {
  const { features, reservedGdtBlocks, firstMetaGroup } = facts;
  if ((features.incompatible & INCOMPATIBLE.meta_bg) !== 0) {
    return { features, reservedGdtBlocks, firstMetaGroup };
  }
  if (reservedGdtBlocks > 0) {
    return { features, reservedGdtBlocks: reservedGdtBlocks - 1, firstMetaGroup };
  }
  return {
    features: {
      ...features,
      compatible: features.compatible & ~COMPATIBLE.resizeInode,
      incompatible: (features.incompatible | INCOMPATIBLE.meta_bg) >>> 0,
    },
    reservedGdtBlocks,
    firstMetaGroup: descriptorBlocksOf(facts, facts.groups),
  };
}
