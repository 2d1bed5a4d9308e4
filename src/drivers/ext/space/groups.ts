/**
 * Block groups: where each group and its descriptor lie, and the descriptors' fields.
 *
 * The checksums of all descriptors in a block are verified when the block comes into the cache, and
 * so are the places they name; both hold from then on.
 */
import type { IntegerField } from "../../../base/struct.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { groupChecksum, groupChecksumOld } from "../checksums.ts";
import {
  COMPATIBLE,
  DESCRIPTOR_SIZE_WIDE,
  DiskGroup,
  getPair,
  INCOMPATIBLE,
  READ_ONLY,
  SUPERBLOCK_BYTE,
  setPair,
} from "../format.ts";
import type { SuperblockFacts } from "../superblock.ts";
import { type ExtVolume, type Located, SEAL } from "../volume.ts";

/** What says where groups begin and which of them have copies of the superblock. */
export type GroupFacts = Pick<
  SuperblockFacts,
  | "features"
  | "blockSize"
  | "blocks"
  | "firstDataBlock"
  | "blocksPerGroup"
  | "groups"
  | "descriptorSize"
  | "reservedGdtBlocks"
  | "firstMetaGroup"
  | "backupGroups"
>;

/** A volume, or one that is being made. */
interface Grouped {
  readonly facts: GroupFacts;
}

/** A number of a group, kept in two fields where descriptors have 64 bytes. */
export const GROUP_NUMBERS = {
  blockBitmap: [DiskGroup.blockBitmapLow, DiskGroup.blockBitmapHigh],
  inodeBitmap: [DiskGroup.inodeBitmapLow, DiskGroup.inodeBitmapHigh],
  inodeTable: [DiskGroup.inodeTableLow, DiskGroup.inodeTableHigh],
  freeBlocks: [DiskGroup.freeBlocksLow, DiskGroup.freeBlocksHigh],
  freeInodes: [DiskGroup.freeInodesLow, DiskGroup.freeInodesHigh],
  directories: [DiskGroup.directoriesLow, DiskGroup.directoriesHigh],
  unusedInodes: [DiskGroup.unusedInodesLow, DiskGroup.unusedInodesHigh],
  blockBitmapChecksum: [DiskGroup.blockBitmapChecksumLow, DiskGroup.blockBitmapChecksumHigh],
  inodeBitmapChecksum: [DiskGroup.inodeBitmapChecksumLow, DiskGroup.inodeBitmapChecksumHigh],
} as const satisfies Record<string, readonly [IntegerField, IntegerField]>;

export type GroupNumber = keyof typeof GROUP_NUMBERS;

export function getGroup(volume: ExtVolume, group: Located, name: GroupNumber): number {
  const [low, high] = GROUP_NUMBERS[name];
  return volume.facts.descriptorSize >= DESCRIPTOR_SIZE_WIDE
    ? getPair(group.block.view, group.at, low, high)
    : low.get(group.block.view, group.at);
}

/** Where there is no room for the high half it is dropped, as the format has it for checksums. */
export function setGroup(
  volume: ExtVolume,
  group: Located,
  name: GroupNumber,
  value: number,
): void {
  const [low, high] = GROUP_NUMBERS[name];
  if (volume.facts.descriptorSize >= DESCRIPTOR_SIZE_WIDE) {
    setPair(group.block.view, group.at, low, high, value);
  } else {
    low.set(group.block.view, group.at, value % 2 ** (8 * low.size));
  }
}

/** The group's flags; without group checksums no group is uninitialised, whatever they say. */
export function groupFlags(volume: ExtVolume, { block, at }: Located): number {
  return volume.facts.groupChecksums ? DiskGroup.flags.get(block.view, at) : 0;
}

export function clearGroupFlag({ block, at }: Located, flag: number): void {
  DiskGroup.flags.set(block.view, at, DiskGroup.flags.get(block.view, at) & ~flag);
}

/** The descriptor of `group`, to be read. Throws: CorruptionError. */
export function readGroup(volume: ExtVolume, group: number): Located {
  const { descriptorSize } = volume.facts;
  const perBlock = volume.blockSize / descriptorSize;
  const slot = group % perBlock;
  const first = group - slot;
  const block = volume.cache.read(descriptorBlock(volume, first / perBlock), (filled) =>
    verifyDescriptors(volume, filled, first),
  );
  return { block, at: slot * descriptorSize };
}

/** The descriptor of `group`, to be changed in `transaction`. */
export function editGroup(volume: ExtVolume, transaction: Transaction, group: number): Located {
  const descriptor = readGroup(volume, group);
  const slot = descriptor.at / volume.facts.descriptorSize;
  transaction.edit(descriptor.block, SEAL.groups, group - slot, slot);
  return descriptor;
}

/** Descriptors in a block. */
export function groupsPerBlock({ facts }: Grouped): number {
  return facts.blockSize / facts.descriptorSize;
}

/** The first block of a group's inode table; it never moves, so it is remembered. */
export function inodeTableOf(volume: ExtVolume, group: number): number {
  const known = volume.inodeTables[group]!;
  if (known !== 0) return known;
  const table = getGroup(volume, readGroup(volume, group), "inodeTable");
  volume.inodeTables[group] = table;
  return table;
}

/** Blocks of one group's inode table. */
export function inodeTableBlocks({ facts }: ExtVolume): number {
  return Math.ceil((facts.inodesPerGroup * facts.inodeSize) / facts.blockSize);
}

export function firstBlockOfGroup({ facts }: Grouped, group: number): number {
  return facts.firstDataBlock + group * facts.blocksPerGroup;
}

export function groupOfBlock({ facts }: ExtVolume, block: number): number {
  return Math.floor((block - facts.firstDataBlock) / facts.blocksPerGroup);
}

export function groupOfInode({ facts }: ExtVolume, ino: number): number {
  return Math.floor((ino - 1) / facts.inodesPerGroup);
}

/** All groups have the same number of blocks, but for the last. */
export function blocksInGroup(volume: Grouped, group: number): number {
  const { blocks, blocksPerGroup } = volume.facts;
  return Math.min(blocksPerGroup, blocks - firstBlockOfGroup(volume, group));
}

/** Where to look for a block of a file's map: at a group's end, where it is least in the way of data. */
export function goalForNodes(volume: ExtVolume, group: number): number {
  return firstBlockOfGroup(volume, group) + Math.floor(blocksInGroup(volume, group) * 0.98);
}

/** Whether a group starts with a copy of the superblock. */
export function hasSuperblock({ facts }: Grouped, group: number): boolean {
  if (group === 0) return true;
  if ((facts.features.compatible & COMPATIBLE.sparseSuper2) !== 0) {
    return facts.backupGroups.includes(group);
  }
  if ((facts.features.readOnly & READ_ONLY.sparse_super) === 0 || group === 1) return true;
  return isPowerOf(group, 3) || isPowerOf(group, 5) || isPowerOf(group, 7);
}

function isPowerOf(value: number, base: number): boolean {
  let power = base;
  while (power < value) power *= base;
  return power === value;
}

/** Whether descriptors of all groups lie at the start of a group, or, of meta_bg, those of its meta group. */
export function hasDescriptors(volume: Grouped, group: number): boolean {
  const { facts } = volume;
  if (!isInMetaGroup(volume, group)) return hasSuperblock(volume, group);
  const perBlock = facts.blockSize / facts.descriptorSize;
  const inMeta = group % perBlock;
  return inMeta === 0 || inMeta === 1 || inMeta === perBlock - 1;
}

/** Whether a group's descriptor lies in a meta group of its own. */
function isInMetaGroup({ facts }: Grouped, group: number): boolean {
  if ((facts.features.incompatible & INCOMPATIBLE.meta_bg) === 0) return false;
  return group >= facts.firstMetaGroup * (facts.blockSize / facts.descriptorSize);
}

/** Blocks at the start of a group that hold copies of the superblock and the descriptors. */
export function headBlocks(volume: Grouped, group: number): number {
  const { facts } = volume;
  const superblocks = hasSuperblock(volume, group) ? 1 : 0;
  if (isInMetaGroup(volume, group)) return superblocks + (hasDescriptors(volume, group) ? 1 : 0);
  if (superblocks === 0) return 0;
  const all = Math.ceil(facts.groups / (facts.blockSize / facts.descriptorSize));
  const isMeta = (facts.features.incompatible & INCOMPATIBLE.meta_bg) !== 0;
  const descriptors = isMeta ? Math.min(all, facts.firstMetaGroup) : all;
  return superblocks + descriptors + facts.reservedGdtBlocks;
}

/** Where block `index` of the descriptors lies: those of so many groups as a block holds. */
export function descriptorBlock(volume: Grouped, index: number): number {
  const { facts } = volume;
  const isMeta = (facts.features.incompatible & INCOMPATIBLE.meta_bg) !== 0;
  if (!isMeta || index < facts.firstMetaGroup) {
    return Math.floor(SUPERBLOCK_BYTE / facts.blockSize) + 1 + index;
  }
  const group = index * (facts.blockSize / facts.descriptorSize);
  return firstBlockOfGroup(volume, group) + (hasSuperblock(volume, group) ? 1 : 0);
}

function checksumOf(volume: ExtVolume, { block, at }: Located, group: number): number {
  const { descriptorSize, metadataChecksums, uuid } = volume.facts;
  const descriptor = block.bytes.subarray(at, at + descriptorSize);
  return metadataChecksums
    ? groupChecksum(volume.checksumSeed, group, descriptor)
    : groupChecksumOld(uuid, group, descriptor);
}

/** Writes a descriptor's own checksum, on a volume that has them. */
export function sealGroup(volume: ExtVolume, where: Located, group: number): void {
  DiskGroup.checksum.set(where.block.view, where.at, checksumOf(volume, where, group));
}

function verifyDescriptors(volume: ExtVolume, block: MetadataBlock, first: number): void {
  const { descriptorSize, groups } = volume.facts;
  for (let at = 0, group = first; at < volume.blockSize && group < groups; group++) {
    verifyDescriptor(volume, { block, at }, group);
    at += descriptorSize;
  }
}

/** Throws: CorruptionError when a checksum, a place or a count cannot be. */
export function verifyDescriptor(volume: ExtVolume, where: Located, group: number): void {
  const { facts } = volume;
  if (facts.groupChecksums) {
    const stored = DiskGroup.checksum.get(where.block.view, where.at);
    const computed = checksumOf(volume, where, group);
    if (stored !== computed) {
      const expected = `but the bytes of group ${group} give ${computed}`;
      throw volume.damage(where, DiskGroup.structure, "bg_checksum", stored, expected);
    }
  }
  const verifyNumber = (name: GroupNumber, field: string, least: number, most: number) => {
    const value = getGroup(volume, where, name);
    if (value >= least && value <= most) return;
    const expected = `expected ${least} to ${most} in group ${group}`;
    throw volume.damage(where, DiskGroup.structure, field, value, expected);
  };
  const least = facts.firstDataBlock + 1;
  verifyNumber("blockBitmap", "bg_block_bitmap", least, facts.blocks - 1);
  verifyNumber("inodeBitmap", "bg_inode_bitmap", least, facts.blocks - 1);
  verifyNumber("inodeTable", "bg_inode_table", least, facts.blocks - inodeTableBlocks(volume));
  // Before its journal is replayed, the last group may have grown already, and the superblock not.
  const mayBeAhead = facts.needsRecovery;
  const blocksMax = mayBeAhead ? facts.blocksPerGroup : blocksInGroup(volume, group);
  verifyNumber("freeBlocks", "bg_free_blocks_count", 0, blocksMax);
  verifyNumber("freeInodes", "bg_free_inodes_count", 0, facts.inodesPerGroup);
  verifyNumber("directories", "bg_used_dirs_count", 0, facts.inodesPerGroup);
  if (facts.groupChecksums) {
    verifyNumber("unusedInodes", "bg_itable_unused", 0, facts.inodesPerGroup);
  }
}
