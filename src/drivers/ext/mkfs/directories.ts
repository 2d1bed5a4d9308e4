/** The two directories of a new volume: its root, and lost+found, made large so that e2fsck need not grow it. */
import { crc32c } from "../../../base/checksum.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { inodeSeed } from "../checksums.ts";
import {
  DiskEntryTail,
  dot,
  dotDot,
  initNames,
  insertName,
  type NameFormat,
  TAIL_SIZE,
} from "../directories/names.ts";
import type { FileContent } from "./content.ts";
import { blankBlock } from "./images.ts";
import type { Recipe } from "./recipe.ts";

export const LOST_AND_FOUND = Buffer.from("lost+found");
const LOST_AND_FOUND_BYTES = 16 * 1024;
/** lost+found stays within what a block map names without a block of its own. */
const LOST_AND_FOUND_BLOCKS_MAX = 12;

export function lostAndFoundBlocks(blockSize: number): number {
  return Math.min(LOST_AND_FOUND_BYTES / blockSize, LOST_AND_FOUND_BLOCKS_MAX);
}

/** The blocks of a directory that holds ".", ".." and `names`, all directories, in its first block. */
export function directoryBlocks(
  recipe: Recipe,
  content: FileContent,
  { ino, parent }: { readonly ino: Ino; readonly parent: Ino },
  names: readonly (readonly [name: Uint8Array, ino: Ino])[],
): MetadataBlock[] {
  const { blockSize, inodes } = recipe.geometry;
  const format: NameFormat = {
    blockSize,
    entriesStart: 0,
    entriesEnd: recipe.metadataChecksums ? blockSize - TAIL_SIZE : blockSize,
    hasTypes: recipe.features.has("filetype"),
    inoMax: inodes,
  };
  const blocks: MetadataBlock[] = [];
  for (const { start, count } of content.data) {
    for (let block = start; block < start + count; block++) {
      const image = blankBlock(block, blockSize);
      initNames(image, format);
      if (blocks.length === 0) fillFirst(image, format, [[dot, ino], [dotDot, parent], ...names]);
      if (recipe.metadataChecksums) seal(recipe, ino, image, format.entriesEnd);
      blocks.push(image);
    }
  }
  return blocks;
}

/** Puts each name into the slack of the one before it. */
function fillFirst(
  image: MetadataBlock,
  format: NameFormat,
  names: readonly (readonly [name: Uint8Array, ino: Ino])[],
): void {
  let lastAt = 0;
  for (const [name, ino] of names) {
    lastAt = insertName(image, format, lastAt, name, ino, "directory");
  }
}

function seal(recipe: Recipe, ino: Ino, image: MetadataBlock, entriesEnd: number): void {
  const seed = inodeSeed(recipe.checksumSeed, ino, 0);
  const checksum = crc32c(seed, image.bytes.subarray(0, entriesEnd));
  DiskEntryTail.checksum.set(image.view, entriesEnd, checksum);
}
