/**
 * The copies of the superblock and of the descriptors, brought up to date when a volume has grown. Nobody but repair
 * programs reads them, so they are stored to the device past the journal, when what they tell is durable.
 */
import { superblockChecksum } from "../checksums.ts";
import { DiskSuperblock, INCOMPATIBLE, SUPERBLOCK_SIZE } from "../format.ts";
import { descriptorBlock, firstBlockOfGroup, readGroup } from "../space/groups.ts";
import { viewOf } from "../superblock.ts";
import { type ExtVolume, readSuperblock } from "../volume.ts";
import { descriptorBlocksOf } from "./plan.ts";
import { groupsWithCopies } from "./resize-inode.ts";

const GROUP_OF_COPY_MAX = 0xffff;

/** Parts that can be copied one by one: each block of descriptors, and the superblock. */
export function copyParts({ facts }: ExtVolume): number {
  return descriptorBlocksOf(facts, facts.groups) + 1;
}

/** Copies a part to wherever its copies lie. Locks: the transaction. Throws: EIO, ENOSPC; CorruptionError. */
export function copyPart(volume: ExtVolume, part: number): void {
  const { facts, blockSize } = volume;
  const groups = groupsWithCopies(facts, 1, facts.groups);
  if (part === descriptorBlocksOf(facts, facts.groups)) {
    for (const group of groups) {
      const at = firstBlockOfGroup(volume, group) * blockSize;
      volume.device.copyIn(at, superblockFor(volume, group));
    }
    return;
  }
  const perBlock = blockSize / facts.descriptorSize;
  const { bytes } = readGroup(volume, part * perBlock).block;
  const isMeta = (facts.features.incompatible & INCOMPATIBLE.meta_bg) !== 0;
  if (isMeta && part >= facts.firstMetaGroup) {
    // In the second group that it describes, and in the last one.
    for (const group of [part * perBlock + 1, (part + 1) * perBlock - 1]) {
      if (group >= facts.groups) continue;
      const place = firstBlockOfGroup(volume, group) + (groups.includes(group) ? 1 : 0);
      volume.device.copyIn(place * blockSize, bytes);
    }
    return;
  }
  // Groups in meta groups have copies of the superblock alone.
  const end = isMeta ? facts.firstMetaGroup * perBlock : facts.groups;
  const distance = descriptorBlock(volume, part) - facts.firstDataBlock;
  for (const group of groups.filter((each) => each < end)) {
    volume.device.copyIn((firstBlockOfGroup(volume, group) + distance) * blockSize, bytes);
  }
}

/** The superblock's bytes as they are in a group that has a copy. */
function superblockFor(volume: ExtVolume, group: number): Uint8Array {
  const { block, at } = readSuperblock(volume);
  const bytes = block.bytes.slice(at, at + SUPERBLOCK_SIZE);
  const view = viewOf(bytes);
  const { featuresIncompatible, groupOfCopy, checksum } = DiskSuperblock;
  const incompatible = featuresIncompatible.get(view, 0) & ~INCOMPATIBLE.needs_recovery;
  featuresIncompatible.set(view, 0, incompatible >>> 0);
  groupOfCopy.set(view, 0, Math.min(group, GROUP_OF_COPY_MAX));
  if (volume.metadataChecksums) checksum.set(view, 0, superblockChecksum(bytes));
  return bytes;
}
