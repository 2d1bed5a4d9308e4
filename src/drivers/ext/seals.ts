/**
 * How the checksums of cached blocks are written when they leave the cache (metadata/cache.ts, `Sealer`): what
 * an edit tells of a block, in two numbers, is all that a thread needs which has never seen it.
 */
import type { MetadataBlock, MetadataCache } from "../../metadata/cache.ts";
import { sealAttributeBlock } from "./attributes/block.ts";
import { sealNames } from "./directories/directory-file.ts";
import { NODE_ENTRIES_AT, ROOT_ENTRIES_AT, sealIndex } from "./directories/htree.ts";
import { sealInodes } from "./inodes/inode.ts";
import { sealOrphans } from "./inodes/orphan-file.ts";
import { sealExtents } from "./maps/extent-tree.ts";
import { sealBitmaps } from "./space/group-bitmaps.ts";
import { groupsPerBlock, sealGroup } from "./space/groups.ts";
import { type ExtVolume, SEAL, sealSuperblock } from "./volume.ts";

/** Has `cache` seal a volume's blocks. */
export function sealBlocksOf(volume: ExtVolume, cache: MetadataCache): void {
  cache.sealBy((block, seal, argument, parts) =>
    sealBlock(volume, cache, block, seal, argument >>> 0, parts),
  );
}

function sealBlock(
  volume: ExtVolume,
  cache: MetadataCache,
  block: MetadataBlock,
  seal: number,
  argument: number,
  parts: number,
): void {
  if (seal === SEAL.groups) {
    sealGroups(volume, cache, block, argument, parts);
    return;
  }
  if (!volume.metadataChecksums) return;
  switch (seal) {
    case SEAL.superblock:
      sealSuperblock(block);
      break;
    case SEAL.inodes:
      sealInodes(volume, block, argument, parts);
      break;
    case SEAL.names:
      sealNames(block, argument);
      break;
    case SEAL.indexRoot:
      sealIndex(volume, block, argument, ROOT_ENTRIES_AT);
      break;
    case SEAL.indexNode:
      sealIndex(volume, block, argument, NODE_ENTRIES_AT);
      break;
    case SEAL.extents:
      sealExtents(block, argument);
      break;
    case SEAL.attributes:
      sealAttributeBlock(volume, block);
      break;
    case SEAL.orphans:
      sealOrphans(volume, block, argument);
      break;
  }
}

/** Descriptors, and in them the checksums of the bitmaps that they name. */
function sealGroups(
  volume: ExtVolume,
  cache: MetadataCache,
  block: MetadataBlock,
  first: number,
  parts: number,
): void {
  const { descriptorSize, groups, groupChecksums } = volume.facts;
  if (!groupChecksums) return;
  const count = Math.min(groupsPerBlock(volume), groups - first);
  for (let slot = 0; slot < count; slot++) {
    if ((parts & (1 << slot)) === 0) continue;
    const descriptor = { block, at: slot * descriptorSize };
    if (volume.metadataChecksums) sealBitmaps(volume, cache, descriptor);
    sealGroup(volume, descriptor, first + slot);
  }
}
