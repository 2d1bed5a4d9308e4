/**
 * The files of a new volume that have no name and an inode in its superblock: the quota files, which count what
 * its first two directories have, and the orphan file, which names nothing yet.
 */
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { inodeSeed } from "../checksums.ts";
import {
  DiskOrphanTail,
  ORPHAN_MAGIC,
  orphanChecksum,
  orphanTailByte,
} from "../inodes/orphan-file.ts";
import { newQuotaFile, QUOTA_KINDS, type QuotaKind, type Usage } from "../quotas/quota-file.ts";
import type { BlockRun } from "./block-ranges.ts";
import type { FileContent } from "./content.ts";
import { blankBlock } from "./images.ts";
import type { Recipe } from "./recipe.ts";

export const FIRST_INO = 11;
/** Reserved ones; of projects the file has the first inode behind lost+found's. */
const INO_OF_QUOTA = { user: 3, group: 4 } as const;

export interface HiddenInos {
  /** By kind, in the order of QUOTA_KINDS; 0: it is not counted. */
  readonly quotas: readonly number[];
  /** 0: none. */
  readonly orphanFile: number;
  /** The last inode that a new volume uses. */
  readonly last: number;
}

export function hiddenInosOf({ quotaKinds, orphanFileBlocks }: Recipe): HiddenInos {
  let last = FIRST_INO;
  const inoOf = (kind: QuotaKind): number => {
    if (!quotaKinds.includes(kind)) return 0;
    if (kind !== "project") return INO_OF_QUOTA[kind];
    last++;
    return last;
  };
  const quotas = QUOTA_KINDS.map(inoOf);
  const orphanFile = orphanFileBlocks > 0 ? ++last : 0;
  return { quotas, orphanFile, last };
}

const QUOTA_BLOCK_BYTES = 1024;
/** A new quota file's blocks in the order in which they are written: the root of the tree when its branches are. */
const QUOTA_BLOCK_ORDER = [0, 2, 3, 4, 5, 1];
export const QUOTA_FILE_BYTES = QUOTA_BLOCK_ORDER.length * QUOTA_BLOCK_BYTES;

/** Blocks of the volume that a new quota file takes, in the order in which it takes them. */
export function quotaFileOrder(blockSize: number): number[] {
  const perBlock = blockSize / QUOTA_BLOCK_BYTES;
  return [...new Set(QUOTA_BLOCK_ORDER.map((block) => Math.floor(block / perBlock)))];
}

/** What a quota file holds at first: what the superuser has. */
export function quotaFileBlocks(
  { geometry }: Recipe,
  kind: QuotaKind,
  usage: Usage,
  { data }: FileContent,
): MetadataBlock[] {
  const bytes = newQuotaFile(kind, usage);
  const { blockSize } = geometry;
  return blocksIn(data, blockSize).map((image, index) => {
    image.bytes.set(bytes.subarray(index * blockSize, (index + 1) * blockSize));
    return image;
  });
}

/** An orphan file's blocks: free places, and their tails. */
export function orphanFileBlocks(
  recipe: Recipe,
  ino: number,
  { data }: FileContent,
): MetadataBlock[] {
  const { metadataChecksums, checksumSeed } = recipe;
  const { blockSize } = recipe.geometry;
  const volume = { metadataChecksums, blockSize };
  const seed = inodeSeed(checksumSeed, ino, 0);
  const at = orphanTailByte(volume);
  return blocksIn(data, blockSize).map((image) => {
    DiskOrphanTail.magic.set(image.view, at, ORPHAN_MAGIC);
    DiskOrphanTail.checksum.set(image.view, at, orphanChecksum(volume, image, seed));
    return image;
  });
}

function blocksIn(data: readonly BlockRun[], blockSize: number): MetadataBlock[] {
  return data.flatMap(({ start, count }) =>
    Array.from({ length: count }, (_, index) => blankBlock(start + index, blockSize)),
  );
}
