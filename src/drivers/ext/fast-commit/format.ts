/**
 * The on-disk structures of fast commits. They lie behind the ring of the journal's file, in the area that its
 * superblock names: records one after another, each a tag, a length and that many bytes. Little-endian, unlike the
 * journal. No record crosses the end of a block, and records fill each block, with padding where need be:
 *
 *     | head, records ..., tail | records ..., padding | records ..., tail | ...
 *
 * Each fast commit begins at the start of a block and ends with a tail; the first one alone has a head.
 *
 * Source: Linux Documentation/filesystems/ext4/journal.rst, "Fast commits"; the sizes as debugfs prints and reads
 * them (`logdump -S`).
 */
import { bytes, struct, u16, u32 } from "../../../base/struct.ts";

export const DiskRecord = struct(
  "ext4_fc_tl",
  { endian: "little", size: 4 },
  { tag: u16(0), length: u16(2) },
);

/** Values of `tag`. */
export const TAG_ADD_RANGE = 1;
export const TAG_DELETE_RANGE = 2;
export const TAG_CREATE = 3;
export const TAG_LINK = 4;
export const TAG_UNLINK = 5;
export const TAG_INODE = 6;
export const TAG_PADDING = 7;
export const TAG_TAIL = 8;
export const TAG_HEAD = 9;

export const DiskHead = struct(
  "ext4_fc_head",
  { endian: "little", size: 8 },
  {
    features: u32(0),
    sequence: u32(4), // of the transaction that the fast commits are instead of
  },
);

/** Its length counts the rest of the block, too. */
export const DiskTail = struct(
  "ext4_fc_tail",
  { endian: "little", size: 8 },
  {
    sequence: u32(0),
    checksum: u32(4), // CRC32C, from 0 on, of the fast commit's blocks up to here
  },
);

export const DiskAddRange = struct(
  "ext4_fc_add_range",
  { endian: "little", size: 16 },
  { ino: u32(0), extent: bytes(4, 12) }, // ext4_extent
);

export const DiskDeleteRange = struct(
  "ext4_fc_del_range",
  { endian: "little", size: 12 },
  { ino: u32(0), fileBlock: u32(4), count: u32(8) },
);

/** Followed by the name. */
export const DiskNameInfo = struct(
  "ext4_fc_dentry_info",
  { endian: "little", size: 8 },
  { parent: u32(0), ino: u32(4) },
);

/** Followed by the inode, without what lies behind its extra fields. */
export const DiskInodeInfo = struct(
  "ext4_fc_inode",
  { endian: "little", size: 4 },
  { ino: u32(0) },
);
