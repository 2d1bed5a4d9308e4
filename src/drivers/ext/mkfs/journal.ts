/** The journal of a new volume: its superblock, version 2, says that it is empty; the rest is zeroes. */
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { BLOCK_SUPERBLOCK_V2, DiskJournalSuperblock, JOURNAL_MAGIC } from "../jbd2/format.ts";
import { blankBlock } from "./images.ts";
import type { Layout } from "./layout.ts";
import type { Recipe } from "./recipe.ts";

export function journalSuperblock(recipe: Recipe, block: number): MetadataBlock {
  const { blockSize } = recipe.geometry;
  const image = blankBlock(block, blockSize);
  const { view } = image;
  DiskJournalSuperblock.magic.set(view, 0, JOURNAL_MAGIC);
  DiskJournalSuperblock.type.set(view, 0, BLOCK_SUPERBLOCK_V2);
  DiskJournalSuperblock.blockSize.set(view, 0, blockSize);
  DiskJournalSuperblock.blocks.set(view, 0, recipe.journalBlocks);
  DiskJournalSuperblock.first.set(view, 0, 1);
  DiskJournalSuperblock.sequence.set(view, 0, 1);
  DiskJournalSuperblock.fastCommitBlocks.set(view, 0, recipe.fastCommitBlocks);
  DiskJournalSuperblock.users.set(view, 0, 1);
  image.bytes.set(recipe.uuid, DiskJournalSuperblock.uuid.offset);
  return image;
}

/**
 * Where the journal is looked for first. With extents: in the middle of the volume, in the emptiest group
 * at the beginning of a flexible group, so that it is near everything. A mapped one is at the start.
 */
export function journalGoal(recipe: Recipe, layout: Layout): number {
  const { blocks, firstDataBlock, blocksPerGroup, groups, flexGroups } = recipe.geometry;
  if (!recipe.features.has("extent")) return firstDataBlock;
  const middle = Math.floor((blocks - firstDataBlock) / 2);
  const group = Math.floor((middle - firstDataBlock) / blocksPerGroup);
  const isFlexible = flexGroups > 1 && group > flexGroups;
  const first = isFlexible ? group - (group % flexGroups) : Math.max(group - 1, 0);
  const last = Math.min((isFlexible ? first : group) + 1, groups - 1);
  let best = first;
  for (let other = first + 1; other <= last; other++) {
    if (layout.freeBlocksOf(other) > layout.freeBlocksOf(best)) best = other;
  }
  return layout.boundsOf(best).from;
}
