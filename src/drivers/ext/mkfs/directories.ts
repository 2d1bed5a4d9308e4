/** The two directories of a new volume: its root, and lost+found, made large so that e2fsck need not grow it. */
import { crc32c } from "../../../base/checksum.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { inodeSeed } from "../checksums.ts";
import {
  DiskEntry,
  DiskEntryTail,
  dot,
  dotDot,
  initNames,
  insertName,
  type NameFormat,
  recordLengthFor,
  TAIL_SIZE,
} from "../directories/names.ts";
import type { FileContent } from "./content.ts";
import { blankBlock } from "./images.ts";
import type { Recipe } from "./recipe.ts";

export const LOST_AND_FOUND = Buffer.from("lost+found");
const LOST_AND_FOUND_BYTES = 16 * 1024;
/** lost+found stays within what a block map names without a block of its own. */
const LOST_AND_FOUND_BLOCKS_MAX = 12;

/** Where directories begin inside their inodes, mke2fs spends one of its enlargements on moving it out. */
export function lostAndFoundBlocks({ geometry, features }: Recipe): number {
  const blocks = Math.min(LOST_AND_FOUND_BYTES / geometry.blockSize, LOST_AND_FOUND_BLOCKS_MAX);
  return features.has("inline_data") ? blocks - 1 : blocks;
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
      if (blocks.length === 0 && names.length === 0 && recipe.features.has("inline_data")) {
        endAfterDots(image, format);
      }
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

/** As a directory is moved out of its inode: the rest of its block is a record of nobody's. */
function endAfterDots({ view }: MetadataBlock, { entriesEnd }: NameFormat): void {
  const dotDotAt = recordLengthFor(dot.length);
  const at = dotDotAt + recordLengthFor(dotDot.length);
  DiskEntry.recordLength.set(view, dotDotAt, at - dotDotAt);
  DiskEntry.recordLength.set(view, at, entriesEnd - at);
}

function seal(recipe: Recipe, ino: Ino, image: MetadataBlock, entriesEnd: number): void {
  const seed = inodeSeed(recipe.checksumSeed, ino, 0);
  const checksum = crc32c(seed, image.bytes.subarray(0, entriesEnd));
  DiskEntryTail.checksum.set(image.view, entriesEnd, checksum);
}
