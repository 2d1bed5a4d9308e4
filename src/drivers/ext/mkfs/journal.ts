/**
 * The journal's own superblock: of an empty journal, version 2. What else the journal holds is zeroes.
 *
 * Source: Linux Documentation/filesystems/ext4/journal.rst, "Super Block". Big-endian.
 */
import { bytes, struct, u8, u32 } from "../../../base/struct.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { blankBlock } from "./images.ts";
import type { Layout } from "./layout.ts";
import type { Recipe } from "./recipe.ts";

const DiskJournalSuperblock = struct(
  "journal_superblock_s",
  { endian: "big", size: 1024 },
  {
    magic: u32(0x0),
    blockType: u32(0x4),
    headerSequence: u32(0x8),
    blockSize: u32(0xc),
    blocks: u32(0x10),
    first: u32(0x14), // of the log, which begins behind this block
    sequence: u32(0x18), // of the first transaction that recovery would look for
    start: u32(0x1c), // 0: the journal is empty
    error: u32(0x20),
    featuresCompatible: u32(0x24),
    featuresIncompatible: u32(0x28),
    featuresReadOnly: u32(0x2c),
    uuid: bytes(0x30, 16),
    users: u32(0x40),
    superblockCopy: u32(0x44),
    transactionBlocksMax: u32(0x48),
    transactionDataMax: u32(0x4c),
    checksumType: u8(0x50),
    padding: bytes(0x51, 3),
    fastCommitBlocks: u32(0x54),
    head: u32(0x58),
    reserved: bytes(0x5c, 160),
    checksum: u32(0xfc),
    userUuids: bytes(0x100, 768),
  },
);

const JOURNAL_MAGIC = 0xc03b3998;
const TYPE_SUPERBLOCK_V2 = 4;

export function journalSuperblock(recipe: Recipe, block: number): MetadataBlock {
  const { blockSize } = recipe.geometry;
  const image = blankBlock(block, blockSize);
  const { view } = image;
  DiskJournalSuperblock.magic.set(view, 0, JOURNAL_MAGIC);
  DiskJournalSuperblock.blockType.set(view, 0, TYPE_SUPERBLOCK_V2);
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
