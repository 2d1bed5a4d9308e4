/**
 * What mke2fs 1.47 chooses where nothing is said, as its manual pages (mke2fs(8), mke2fs.conf(5)) and its
 * images have it.
 */
const MIB = 2 ** 20;
const TIB = 2 ** 40;

interface SizeClass {
  readonly name: string;
  /** Sizes below this are in the class, in bytes. */
  readonly below: number;
  readonly blockSize: number;
  /** Bytes of the volume for each inode. */
  readonly inodeRatio: number;
}

const SIZE_CLASSES: readonly SizeClass[] = [
  { name: "floppy", below: 3 * MIB, blockSize: 1024, inodeRatio: 8192 },
  { name: "small", below: 512 * MIB, blockSize: 1024, inodeRatio: 4096 },
  { name: "default", below: 4 * TIB, blockSize: 4096, inodeRatio: 16384 },
  { name: "big", below: 16 * TIB, blockSize: 4096, inodeRatio: 32768 },
  { name: "huge", below: Number.POSITIVE_INFINITY, blockSize: 4096, inodeRatio: 65536 },
];

export function sizeClassOf(bytes: number): SizeClass {
  return SIZE_CLASSES.find(({ below }) => bytes < below)!;
}

/** Blocks of the journal of a volume of fewer blocks than the first number of a row. */
const JOURNAL_BLOCKS: readonly (readonly [below: number, blocks: number])[] = [
  [2048, 0],
  [32 * 1024, 1024],
  [256 * 1024, 4096],
  [512 * 1024, 8192],
  [4096 * 1024, 16384],
  [8192 * 1024, 32768],
  [16384 * 1024, 65536],
  [32768 * 1024, 131072],
  [Number.POSITIVE_INFINITY, 262144],
];

/** Blocks of the journal; 0: the volume is too small for one. */
export function journalBlocksOf(blocks: number): number {
  return JOURNAL_BLOCKS.find(([below]) => blocks < below)![1];
}

const ORPHAN_FILE_BLOCKS_MIN = 32;
const ORPHAN_FILE_BLOCKS_MAX = 512;
const BLOCKS_PER_ORPHAN_BLOCK = 4096;

/** Blocks of the orphan file of a volume of so many blocks. */
export function orphanFileBlocksOf(blocks: number): number {
  const wanted = Math.floor(blocks / BLOCKS_PER_ORPHAN_BLOCK);
  return Math.min(Math.max(wanted, ORPHAN_FILE_BLOCKS_MIN), ORPHAN_FILE_BLOCKS_MAX);
}

/** What a journal may have, in blocks. */
export const JOURNAL_BLOCKS_MAX = 10_240_000;

export const INODE_SIZE_DEFAULT = 256;
export const RESERVED_PERCENT_DEFAULT = 5;
/** Groups of a flexible group. */
export const FLEX_GROUPS = 16;
