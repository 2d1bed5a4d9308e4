/**
 * The on-disk structures of a jbd2 journal, one table each, and the constants that go with them.
 *
 * Everything is big-endian, in blocks of the filesystem's size. A journal is a file: its first block is its
 * superblock, the rest a ring in which transactions follow one another:
 *
 *     descriptor, blocks ... | descriptor, blocks ... | revoke ... | commit record
 *
 * Source: Linux Documentation/filesystems/ext4/journal.rst.
 */
import { bytes, struct, u8, u16, u32, u64 } from "../../../base/struct.ts";

export const JOURNAL_MAGIC = 0xc03b3998;
export const JOURNAL_SUPERBLOCK_SIZE = 1024;
/** A journal of fewer blocks is refused, as the kernel does. */
export const JOURNAL_BLOCKS_MIN = 1024;

/** What begins each block that is no image of another one. */
export const DiskHeader = struct(
  "journal_header_s",
  { endian: "big", size: 12 },
  { magic: u32(0), type: u32(4), sequence: u32(8) },
);

export const BLOCK_DESCRIPTOR = 1;
export const BLOCK_COMMIT = 2;
export const BLOCK_SUPERBLOCK_V1 = 3;
export const BLOCK_SUPERBLOCK_V2 = 4;
export const BLOCK_REVOKE = 5;

export const DiskJournalSuperblock = struct(
  "journal_superblock_s",
  { endian: "big", size: JOURNAL_SUPERBLOCK_SIZE },
  {
    magic: u32(0x0),
    type: u32(0x4),
    headerSequence: u32(0x8),
    blockSize: u32(0xc),
    blocks: u32(0x10), // of the journal's file
    first: u32(0x14), // block where the ring begins
    sequence: u32(0x18), // of the first transaction in the ring
    start: u32(0x1c), // block of it; 0: there is none
    errno: u32(0x20), // why the journal was aborted, negative, or 0
    featuresCompatible: u32(0x24), // from here on: version 2 only
    featuresIncompatible: u32(0x28),
    featuresReadOnly: u32(0x2c),
    uuid: bytes(0x30, 16),
    users: u32(0x40),
    dynamicSuperblock: u32(0x44),
    transactionBlocksMax: u32(0x48),
    transactionDataMax: u32(0x4c),
    checksumType: u8(0x50),
    padding: bytes(0x51, 3),
    fastCommitBlocks: u32(0x54), // at the end of the file, not in the ring
    head: u32(0x58), // where the next transaction begins, of a journal that is empty
    reserved: bytes(0x5c, 160),
    checksum: u32(0xfc),
    userUuids: bytes(0x100, 768),
  },
);

/** Features an old driver may ignore. */
export const JOURNAL_COMPATIBLE = { checksum: 0x1 } as const;

/** Features a driver must know. */
export const JOURNAL_INCOMPATIBLE = {
  revoke: 0x1,
  "64bit": 0x2,
  async_commit: 0x4,
  csum_v2: 0x8,
  csum_v3: 0x10,
  fast_commit: 0x20,
} as const;

export const CHECKSUM_CRC32 = 1;
export const CHECKSUM_CRC32C = 4;

/** In a descriptor, what a block that follows is the image of; without csum_v3. */
export const DiskTag = struct(
  "journal_block_tag_s",
  { endian: "big", size: 12 },
  { blockLow: u32(0), checksum: u16(4), flags: u16(6), blockHigh: u32(8) },
);

/** The same with csum_v3. */
export const DiskTag3 = struct(
  "journal_block_tag3_s",
  { endian: "big", size: 16 },
  { blockLow: u32(0), flags: u32(4), blockHigh: u32(8), checksum: u32(12) },
);

/** Bits of a tag's `flags`. */
export const TAG_ESCAPED = 0x1; // the block began with the magic number; zeroes are in its place
export const TAG_SAME_UUID = 0x2; // no uuid follows the tag
export const TAG_LAST = 0x8;
export const TAG_UUID_SIZE = 16;

/** Before the numbers of a revoke block. */
export const DiskRevokeHeader = struct(
  "jbd2_journal_revoke_header_s",
  { endian: "big", size: 16 },
  { header: bytes(0, 12), used: u32(12) }, // bytes of the block, this header included
);

/** At the end of descriptors and revoke blocks, with csum_v2 and csum_v3. */
export const TAIL_SIZE = 4;

export const DiskCommit = struct(
  "commit_header",
  { endian: "big", size: 60 },
  {
    header: bytes(0, 12),
    checksumType: u8(0xc),
    checksumSize: u8(0xd),
    padding: bytes(0xe, 2),
    checksum: u32(0x10),
    checksumRest: bytes(0x14, 28),
    seconds: u64(0x30),
    nanoseconds: u32(0x38),
  },
);
