/**
 * The on-disk structures of ext4, one table each, and the constants that go with them.
 *
 * Everything is little-endian. A number of 48 or 64 bits that the format keeps in two fields has its
 * accessors here, and only they put the halves together.
 *
 * Source: Linux Documentation/filesystems/ext4 (super.rst, group_descr.rst, inodes.rst, ifork.rst,
 * attributes.rst).
 */
import { bytes, type IntegerField, s32, struct, u8, u16, u32, u64 } from "../../base/struct.ts";

/** The first superblock's place on the device, and its size, both in bytes. */
export const SUPERBLOCK_BYTE = 1024;
export const SUPERBLOCK_SIZE = 1024;
export const SUPERBLOCK_MAGIC = 0xef53;

export const DiskSuperblock = struct(
  "ext4_super_block",
  { endian: "little", size: SUPERBLOCK_SIZE },
  {
    inodesCount: u32(0x0),
    blocksCountLow: u32(0x4),
    reservedBlocksCountLow: u32(0x8), // only the superuser may use these
    freeBlocksCountLow: u32(0xc), // clusters
    freeInodesCount: u32(0x10),
    firstDataBlock: u32(0x14), // where group 0 begins: 1 at 1 KiB blocks, else 0
    logBlockSize: u32(0x18), // block size is 1024 << this
    logClusterSize: u32(0x1c),
    blocksPerGroup: u32(0x20),
    clustersPerGroup: u32(0x24),
    inodesPerGroup: u32(0x28),
    mountTimeLow: u32(0x2c),
    writeTimeLow: u32(0x30),
    mountCount: u16(0x34),
    mountCountMax: u16(0x36),
    magic: u16(0x38),
    state: u16(0x3a),
    errors: u16(0x3c),
    minorRevision: u16(0x3e),
    lastCheckLow: u32(0x40),
    checkInterval: u32(0x44),
    creatorOs: u32(0x48),
    revision: u32(0x4c),
    reservedUid: u16(0x50),
    reservedGid: u16(0x52),
    firstIno: u32(0x54), // first inode that is not reserved
    inodeSize: u16(0x58),
    groupOfCopy: u16(0x5a),
    featuresCompatible: u32(0x5c),
    featuresIncompatible: u32(0x60),
    featuresReadOnly: u32(0x64),
    uuid: bytes(0x68, 16),
    label: bytes(0x78, 16),
    lastMountedPath: bytes(0x88, 64),
    algorithmBitmap: u32(0xc8),
    preallocateBlocks: u8(0xcc),
    preallocateDirectoryBlocks: u8(0xcd),
    reservedGdtBlocks: u16(0xce), // blocks after the group descriptors, kept for growing
    journalUuid: bytes(0xd0, 16),
    journalIno: u32(0xe0),
    journalDevice: u32(0xe4),
    lastOrphan: u32(0xe8), // head of the list that goes on in the inodes' deletion times
    hashSeed0: u32(0xec),
    hashSeed1: u32(0xf0),
    hashSeed2: u32(0xf4),
    hashSeed3: u32(0xf8),
    hashVersionDefault: u8(0xfc),
    journalBackupType: u8(0xfd),
    descriptorSize: u16(0xfe),
    mountOptionsDefault: u32(0x100),
    firstMetaGroup: u32(0x104),
    makeTimeLow: u32(0x108),
    journalBlocks: bytes(0x10c, 68),
    blocksCountHigh: u32(0x150),
    reservedBlocksCountHigh: u32(0x154),
    freeBlocksCountHigh: u32(0x158),
    extraInodeSizeMin: u16(0x15c),
    extraInodeSizeWanted: u16(0x15e),
    flags: u32(0x160),
    raidStride: u16(0x164),
    multipleMountInterval: u16(0x166),
    multipleMountBlock: u64(0x168),
    raidStripeWidth: u32(0x170),
    logGroupsPerFlex: u8(0x174),
    checksumType: u8(0x175),
    encryptionLevel: u8(0x176),
    padding: u8(0x177),
    kibibytesWritten: u64(0x178),
    snapshotIno: u32(0x180),
    snapshotId: u32(0x184),
    snapshotReservedBlocks: u64(0x188),
    snapshotList: u32(0x190),
    errorCount: u32(0x194),
    firstErrorTimeLow: u32(0x198),
    firstErrorIno: u32(0x19c),
    firstErrorBlock: u64(0x1a0),
    firstErrorFunction: bytes(0x1a8, 32),
    firstErrorLine: u32(0x1c8),
    lastErrorTimeLow: u32(0x1cc),
    lastErrorIno: u32(0x1d0),
    lastErrorLine: u32(0x1d4),
    lastErrorBlock: u64(0x1d8),
    lastErrorFunction: bytes(0x1e0, 32),
    mountOptions: bytes(0x200, 64),
    userQuotaIno: u32(0x240),
    groupQuotaIno: u32(0x244),
    overheadBlocks: u32(0x248),
    backupGroup0: u32(0x24c), // sparse_super2: the only two groups with copies
    backupGroup1: u32(0x250),
    encryptionAlgorithms: bytes(0x254, 4),
    encryptionSalt: bytes(0x258, 16),
    lostAndFoundIno: u32(0x268),
    projectQuotaIno: u32(0x26c),
    checksumSeed: u32(0x270), // with metadata_csum_seed
    writeTimeHigh: u8(0x274),
    mountTimeHigh: u8(0x275),
    makeTimeHigh: u8(0x276),
    lastCheckHigh: u8(0x277),
    firstErrorTimeHigh: u8(0x278),
    lastErrorTimeHigh: u8(0x279),
    firstErrorCode: u8(0x27a),
    lastErrorCode: u8(0x27b),
    nameEncoding: u16(0x27c),
    nameEncodingFlags: u16(0x27e),
    orphanFileIno: u32(0x280),
    reservedUidHigh: u16(0x284),
    reservedGidHigh: u16(0x286),
    reserved: bytes(0x288, 372),
    checksum: u32(0x3fc),
  },
);

/** Bits of `state`. */
export const STATE_CLEAN = 0x1;
export const STATE_ERRORS = 0x2;
export const STATE_ORPHANS = 0x4;

/** Bits of `flags`: how directory hashes take bytes above 127. */
export const FLAG_SIGNED_HASH = 0x1;
export const FLAG_UNSIGNED_HASH = 0x2;

/** Features an old driver may ignore. */
export const COMPATIBLE = {
  hasJournal: 0x4,
  extendedAttributes: 0x8,
  resizeInode: 0x10,
  directoryIndex: 0x20,
  sparseSuper2: 0x200,
  fastCommit: 0x400,
  orphanFile: 0x1000,
} as const;

/** Features without which a driver must not even read, by the names mke2fs gives them. */
export const INCOMPATIBLE = {
  compression: 0x1,
  filetype: 0x2,
  needs_recovery: 0x4,
  journal_dev: 0x8,
  meta_bg: 0x10,
  extents: 0x40,
  "64bit": 0x80,
  mmp: 0x100,
  flex_bg: 0x200,
  ea_inode: 0x400,
  dirdata: 0x1000,
  metadata_csum_seed: 0x2000,
  large_dir: 0x4000,
  inline_data: 0x8000,
  encrypt: 0x10000,
  casefold: 0x20000,
} as const;

/** Features without which a driver must not write, by the names mke2fs gives them. */
export const READ_ONLY = {
  sparse_super: 0x1,
  large_file: 0x2,
  btree_dir: 0x4,
  huge_file: 0x8,
  uninit_bg: 0x10,
  dir_nlink: 0x20,
  extra_isize: 0x40,
  snapshot: 0x80,
  quota: 0x100,
  bigalloc: 0x200,
  metadata_csum: 0x400,
  replica: 0x800,
  "read-only": 0x1000,
  project: 0x2000,
  shared_blocks: 0x4000,
  verity: 0x8000,
  orphan_present: 0x10000,
} as const;

/** One group descriptor. With 32-byte descriptors only the first half is there. */
export const DiskGroup = struct(
  "ext4_group_desc",
  { endian: "little", size: 64 },
  {
    blockBitmapLow: u32(0x0),
    inodeBitmapLow: u32(0x4),
    inodeTableLow: u32(0x8),
    freeBlocksLow: u16(0xc),
    freeInodesLow: u16(0xe),
    directoriesLow: u16(0x10),
    flags: u16(0x12),
    excludeBitmapLow: u32(0x14),
    blockBitmapChecksumLow: u16(0x18),
    inodeBitmapChecksumLow: u16(0x1a),
    unusedInodesLow: u16(0x1c), // at the end of the inode table, never used yet
    checksum: u16(0x1e),
    blockBitmapHigh: u32(0x20),
    inodeBitmapHigh: u32(0x24),
    inodeTableHigh: u32(0x28),
    freeBlocksHigh: u16(0x2c),
    freeInodesHigh: u16(0x2e),
    directoriesHigh: u16(0x30),
    unusedInodesHigh: u16(0x32),
    excludeBitmapHigh: u32(0x34),
    blockBitmapChecksumHigh: u16(0x38),
    inodeBitmapChecksumHigh: u16(0x3a),
    reserved: u32(0x3c),
  },
);

/** Descriptors of this size or more have the second half. */
export const DESCRIPTOR_SIZE_WIDE = 64;
export const DESCRIPTOR_SIZE_NARROW = 32;

/** Bits of a group's `flags`. */
export const GROUP_INODE_UNINIT = 0x1; // the inode bitmap was never written: no inode is in use
export const GROUP_BLOCK_UNINIT = 0x2; // the block bitmap was never written: only metadata is in use
export const GROUP_INODES_ZEROED = 0x4; // the whole inode table was zeroed

/** The first 160 bytes of an inode. With 128-byte inodes the fields from `extraSize` on are missing. */
export const DiskInode = struct(
  "ext4_inode",
  { endian: "little", size: 160 },
  {
    mode: u16(0x0),
    uidLow: u16(0x2),
    sizeLow: u32(0x4),
    accessTime: s32(0x8),
    changeTime: s32(0xc),
    modifyTime: s32(0x10),
    deletionTime: u32(0x14), // of an orphan: the next orphan's inode number
    gidLow: u16(0x18),
    linkCount: u16(0x1a),
    blocksLow: u32(0x1c),
    flags: u32(0x20),
    versionLow: u32(0x24),
    content: bytes(0x28, 60), // the extent tree's root, a short symlink's target or a device number
    generation: u32(0x64),
    attributeBlockLow: u32(0x68),
    sizeHigh: u32(0x6c),
    fragmentAddress: u32(0x70),
    blocksHigh: u16(0x74),
    attributeBlockHigh: u16(0x76),
    uidHigh: u16(0x78),
    gidHigh: u16(0x7a),
    checksumLow: u16(0x7c),
    reserved: u16(0x7e),
    extraSize: u16(0x80), // bytes of fields after the first 128
    checksumHigh: u16(0x82),
    changeTimeExtra: u32(0x84), // nanoseconds << 2 | two high bits of the seconds
    modifyTimeExtra: u32(0x88),
    accessTimeExtra: u32(0x8c),
    birthTime: s32(0x90),
    birthTimeExtra: u32(0x94),
    versionHigh: u32(0x98),
    projectId: u32(0x9c),
  },
);

/** The size of an inode in the oldest format, and of the part that `extraSize` does not count. */
export const INODE_SIZE_OLD = 128;
export const CONTENT_BYTE = DiskInode.content.offset;
export const CONTENT_SIZE = DiskInode.content.size;

/** The type in the upper four bits of an inode's mode. */
export const MODE_TYPE_MASK = 0xf000;
export const MODE_PERMISSION_MASK = 0x0fff;
export const MODE_FIFO = 0x1000;
export const MODE_CHARACTER_DEVICE = 0x2000;
export const MODE_DIRECTORY = 0x4000;
export const MODE_BLOCK_DEVICE = 0x6000;
export const MODE_FILE = 0x8000;
export const MODE_SYMLINK = 0xa000;
export const MODE_SOCKET = 0xc000;

/** Bits of an inode's `flags`. */
export const INODE_IMMUTABLE = 0x10;
export const INODE_APPEND_ONLY = 0x20;
export const INODE_ENCRYPTED = 0x800;
export const INODE_INDEXED_DIRECTORY = 0x1000;
export const INODE_HUGE_FILE = 0x40000; // `blocks` counts filesystem blocks, not sectors
export const INODE_EXTENTS = 0x80000;
export const INODE_VERITY = 0x100000;
export const INODE_VALUE = 0x200000; // it holds the value of an extended attribute (ea_inode)
export const INODE_DAX = 0x2000000; // direct access, where the mount leaves it to the file
export const INODE_INLINE_DATA = 0x10000000;
export const INODE_PROJECT_INHERIT = 0x20000000; // of a directory: what is made in it gets its project
export const INODE_CASEFOLD = 0x40000000; // of a directory whose names ignore case

export const INO_BAD_BLOCKS = 1;
export const INO_ROOT = 2;
export const INO_USER_QUOTA = 3;
export const INO_GROUP_QUOTA = 4;
export const INO_BOOT_LOADER = 5;
export const INO_RESIZE = 7;
export const INO_JOURNAL = 8;

/** A directory with this many links or more says 1, with dir_nlink. */
export const LINK_COUNT_MAX = 65000;

export const EXTENT_MAGIC = 0xf30a;
export const EXTENT_DEPTH_MAX = 5;
/** Header, extent and index entry have one size. */
export const EXTENT_ENTRY_SIZE = 12;
/** Blocks in one written extent; an unwritten one holds one less, see `length` below. */
export const EXTENT_LENGTH_MAX = 32768;
/** File blocks are numbered below this. */
export const FILE_BLOCKS_MAX = 2 ** 32 - 1;

export const DiskExtentHeader = struct(
  "ext4_extent_header",
  { endian: "little", size: 12 },
  {
    magic: u16(0),
    entries: u16(2),
    entriesMax: u16(4),
    depth: u16(6), // 0: the entries are extents
    generation: u32(8),
  },
);

export const DiskExtent = struct(
  "ext4_extent",
  { endian: "little", size: 12 },
  {
    fileBlock: u32(0), // first file block covered
    length: u16(4), // blocks; above 32768 means unwritten, so subtract 32768
    startHigh: u16(6),
    startLow: u32(8),
  },
);

export const DiskExtentIndex = struct(
  "ext4_extent_idx",
  { endian: "little", size: 12 },
  {
    fileBlock: u32(0), // first file block of the node below
    nodeLow: u32(4),
    nodeHigh: u16(8),
    unused: u16(10),
  },
);

/** A checksum follows the last place for an entry in a node that is a block. */
export const DiskExtentTail = struct(
  "ext4_extent_tail",
  { endian: "little", size: 4 },
  { checksum: u32(0) },
);

export const ATTRIBUTE_MAGIC = 0xea020000;
/** In an inode the magic alone comes before the entries. */
export const ATTRIBUTE_BODY_HEADER_SIZE = 4;

export const DiskAttributeHeader = struct(
  "ext4_xattr_header",
  { endian: "little", size: 32 },
  {
    magic: u32(0x0),
    referenceCount: u32(0x4), // inodes that share the block
    blocks: u32(0x8),
    hash: u32(0xc),
    checksum: u32(0x10),
    reserved: bytes(0x14, 12),
  },
);

/** References of an attribute block, at most. */
export const ATTRIBUTE_REFERENCES_MAX = 1024;

/** One attribute, followed by its name. Entries begin at multiples of 4; four zero bytes end them. */
export const DiskAttributeEntry = struct(
  "ext4_xattr_entry",
  { endian: "little", size: 16 },
  {
    nameLength: u8(0x0),
    nameIndex: u8(0x1), // the prefix that the name leaves out
    valueOffset: u16(0x2), // in a block from its start, in an inode from its first entry
    valueIno: u32(0x4), // with ea_inode: the inode that holds the value
    valueSize: u32(0x8),
    hash: u32(0xc),
  },
);

/** One more than the largest value of a low half, which has 16 or 32 bits. */
function limitOf(low: IntegerField): number {
  return low.size === 2 ? 2 ** 16 : 2 ** 32;
}

/** The value of a number kept in two fields. */
export function getPair(view: DataView, at: number, low: IntegerField, high: IntegerField): number {
  return high.get(view, at) * limitOf(low) + low.get(view, at);
}

/** Sets a number kept in two fields. */
export function setPair(
  view: DataView,
  at: number,
  low: IntegerField,
  high: IntegerField,
  value: number,
): void {
  const limit = limitOf(low);
  low.set(view, at, value % limit);
  high.set(view, at, Math.floor(value / limit));
}
