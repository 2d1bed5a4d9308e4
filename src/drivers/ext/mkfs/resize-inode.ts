/**
 * The inode that owns the blocks reserved for more group descriptors: a block map of two levels. The map's
 * one block of the first level names the reserved blocks of group 0, and each of those names the block of
 * the same place in every group with copies.
 *
 * Source: Linux Documentation/filesystems/ext4/special_inodes.rst and what resize2fs finds there.
 */
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { CONTENT_SIZE } from "../format.ts";
import { firstBlockOfGroup, hasSuperblock } from "../space/groups.ts";
import { viewOf } from "../superblock.ts";
import { mapPlace } from "./content.ts";
import { blankBlock } from "./images.ts";
import type { Layout } from "./layout.ts";
import type { Recipe } from "./recipe.ts";

export interface ResizeInode {
  readonly content: Uint8Array;
  /** Bytes: the largest that a map of two levels reaches. */
  readonly size: number;
  /** Blocks that it owns. */
  readonly blocks: number;
  /** Blocks to write: the first level, and the reserved ones of group 0. */
  readonly index: readonly MetadataBlock[];
}

const FIRST_LEVEL_BLOCKS = 12;

/** Takes one block more. Throws: ENOSPC. */
export function makeResizeInode(recipe: Recipe, layout: Layout): ResizeInode {
  const { geometry } = recipe;
  const { blockSize, firstDataBlock, descriptorBlocks, reservedGdtBlocks } = geometry;
  const perBlock = blockSize / 4;
  const goal = layout.inodeTables[0]! + geometry.tableBlocks;
  const [place] = layout.take(goal, 1, "the resize inode");
  const top = blankBlock(place!.start, blockSize);
  const index = [top];
  const copies = groupsWithCopies(recipe);
  for (let reserved = 0; reserved < reservedGdtBlocks; reserved++) {
    const number = descriptorBlocks + reserved;
    const map = blankBlock(firstDataBlock + 1 + number, blockSize);
    top.view.setUint32((number % perBlock) * 4, map.block, true);
    for (const [slot, group] of copies.entries()) {
      const copy = firstBlockOfGroup({ facts: geometry }, group) + 1 + number;
      map.view.setUint32(slot * 4, copy, true);
    }
    index.push(map);
  }
  const content = new Uint8Array(CONTENT_SIZE);
  viewOf(content).setUint32(mapPlace(2) * 4, top.block, true);
  return {
    content,
    size: (FIRST_LEVEL_BLOCKS + perBlock + perBlock ** 2) * blockSize,
    blocks: 1 + reservedGdtBlocks * (1 + copies.length),
    index,
  };
}

function groupsWithCopies({ geometry }: Recipe): number[] {
  const copies: number[] = [];
  for (let group = 1; group < geometry.groups; group++) {
    if (hasSuperblock({ facts: geometry }, group)) copies.push(group);
  }
  return copies;
}
