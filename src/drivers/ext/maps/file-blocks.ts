/** Blocks of directories and symlinks: files whose content is metadata and goes through the cache. */
import { CorruptionError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { inodeSize } from "../inodes/inode.ts";
import { extentAt, openMap } from "./inode-map.ts";
import { appendBlock, setSize } from "./placement.ts";
import type { ExtVolume } from "../volume.ts";

/** Block `index` of the file. Throws: CorruptionError, also when it is a hole or unwritten. */
export function readFileBlock(
  volume: ExtVolume,
  ino: Ino,
  index: number,
  verify: (block: MetadataBlock) => void,
): MetadataBlock {
  const extent = extentAt(volume, ino, index, index + 1);
  if (extent.kind !== "mapped") {
    throw new CorruptionError({
      structure: `inode ${ino}`,
      field: `block ${index}`,
      value: extent.kind,
      expected: "expected a block with content",
    });
  }
  return volume.cache.read(extent.address / volume.blockSize, verify);
}

/**
 * A new zero-filled block at the end of the file; grows its size and the space it uses. `seal`, `argument`: as
 * `Transaction.edit` takes them.
 */
export function appendFileBlock(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  seal: number,
  argument = 0,
): { block: MetadataBlock; index: number } {
  const map = openMap(volume, transaction, ino);
  const index = Math.ceil(inodeSize(map.raw) / volume.blockSize);
  const block = appendBlock(map, index);
  setSize(volume, transaction, ino, (index + 1) * volume.blockSize);
  return { block: transaction.create(block, seal, argument), index };
}
