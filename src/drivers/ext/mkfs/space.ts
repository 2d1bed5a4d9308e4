/** What a volume that is still to be made will have room for. */
import { lostAndFoundBlocks } from "./directories.ts";
import { Layout } from "./layout.ts";
import type { Recipe } from "./recipe.ts";
import { hiddenInosOf, quotaFileOrder } from "./hidden-files.ts";

export interface VolumeRoom {
  /** Blocks that anybody may use: those that are reserved are not counted. */
  readonly blocks: number;
  readonly inodes: number;
}

/** Throws: ENOSPC when not even the volume's own structures fit. */
export function spaceOf(recipe: Recipe): VolumeRoom {
  const { geometry, journalBlocks, quotaKinds, orphanFileBlocks } = recipe;
  const { structureBlocks } = new Layout(geometry);
  const directories = 1 + lostAndFoundBlocks(recipe);
  // Of a journal a hundredth more, for the blocks that say where it is; of the resize inode one.
  const hidden =
    quotaKinds.length * quotaFileOrder(geometry.blockSize).length + orphanFileBlocks + 2;
  const own = structureBlocks + directories + Math.ceil(journalBlocks * 1.01) + 1 + hidden;
  return {
    blocks: Math.max(0, geometry.blocks - geometry.firstDataBlock - own - geometry.reservedBlocks),
    inodes: geometry.inodes - hiddenInosOf(recipe).last,
  };
}
