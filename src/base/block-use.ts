/** What a block of a volume can hold. The order is that of the numbers in shared memory. */
export const BLOCK_USES = [
  /** Bytes of a file. */
  "data",
  /** Nothing yet: it is a file's, which reads as zeroes there. */
  "unwritten",
  // Structures of the filesystem.
  "superblock",
  "group descriptors",
  "block bitmap",
  "inode bitmap",
  "inode table",
  "journal",
  "reserved",
  // Structures of one inode. "block map": where its blocks lie, extents or indirect blocks.
  "block map",
  "directory",
  "symlink",
  "attributes",
] as const;
export type BlockUse = (typeof BLOCK_USES)[number];
