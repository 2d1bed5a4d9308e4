/** What a source needs of a volume, and how large one must be for it. */
import { HoldfastError } from "../../base/errors.ts";
import { roundUp } from "../../base/quantities.ts";
import { planVolume, type Recipe, spaceOf, type VolumeRequest } from "../../drivers/ext/index.ts";
import { keyOf, type Source, type SourceEntry } from "../trees/source.ts";

export interface Survey {
  /** Names that get an inode. */
  readonly inodes: number;
  /** Bytes of files, holes left out. */
  readonly bytes: number;
  /**
   * Blocks of the given size that files, directories and symlinks take, with what says where they are, and the
   * extended attributes for which inodes of this size have no room.
   */
  blocks(blockSize: number, inodeSize: number): number;
  /** Different users and groups. */
  readonly owners: number;
}

const BLOCK_SIZES = [1024, 2048, 4096] as const;
/** A symlink's target up to here lies in its inode. */
const TARGET_IN_INODE_MAX = 59;
const RECORD_HEADER = 8;
/** Leaves of an indexed directory are half full after a split. */
const LEAF_SHARE = 0.5;
/** What a file's parts need beyond the file, at most: with block maps a block for each 256. */
const MAP_SHARE = 1.005;
/** Bytes of an inode that are not for attributes: its fields, and what begins and ends those. */
const INODE_FIELDS_BYTES = 160 + 8;
const ATTRIBUTE_HEADER = 16;
const SLACK_BLOCKS = 64;
const STEP_BYTES = 2 ** 20;
const VOLUME_BYTES_MAX = 2 ** 44;
/** What a quota file grows by for another id, at most: three nodes of its tree and a leaf. */
const QUOTA_BYTES_MAX = 4 * 1024;
/** Inodes to be left over, of a volume that is made as large as needed. */
const INODE_SLACK = 1.1;
const INODES_RESERVED = 11;

/** Looks at every entry of a source. Throws: as `Source.entries`. */
export function surveyOf(source: Source): Survey {
  const blocks = new Map<number, number>(BLOCK_SIZES.map((size) => [size, SLACK_BLOCKS]));
  const recordBytes = new Map<string, number>();
  const attributeBytes: number[] = [];
  const [users, groups] = [new Set<number>(), new Set<number>()];
  let inodes = 0;
  let bytes = 0;
  for (const entry of source.entries()) {
    if (entry.linkTo === null) inodes++;
    users.add(entry.uid);
    groups.add(entry.gid);
    if (entry.attributes.length > 0) attributeBytes.push(attributeSpace(entry));
    const parent = keyOf(entry.names.slice(0, -1));
    const length = roundUp(RECORD_HEADER + (entry.names.at(-1)?.length ?? 0), 4);
    recordBytes.set(parent, (recordBytes.get(parent) ?? 0) + length);
    for (const run of entry.data) bytes += run.length;
    for (const size of BLOCK_SIZES) blocks.set(size, blocks.get(size)! + fileBlocks(entry, size));
  }
  for (const size of BLOCK_SIZES) {
    for (const records of recordBytes.values()) {
      blocks.set(size, blocks.get(size)! + directoryBlocks(records, size));
    }
  }
  // Directories that have no entry of their own are made as well.
  inodes += recordBytes.size;
  return {
    inodes,
    bytes,
    owners: users.size + groups.size,
    blocks: (blockSize, inodeSize) => {
      const room = inodeSize - INODE_FIELDS_BYTES;
      return blocks.get(blockSize)! + attributeBytes.filter((size) => size > room).length;
    },
  };
}

function fileBlocks({ data, target, type }: SourceEntry, blockSize: number): number {
  if (type === "directory") return 1;
  if (target !== null) return target.length > TARGET_IN_INODE_MAX ? 1 : 0;
  let count = 0;
  for (const { start, length } of data) {
    count += Math.ceil((start + length) / blockSize) - Math.floor(start / blockSize);
  }
  // Every part may need a place of its own in the map.
  return (
    Math.ceil(count * MAP_SHARE) + Math.ceil((data.length * 12) / blockSize) + (count > 12 ? 2 : 0)
  );
}

/** Bytes that the attributes of an entry take in an inode, at most. */
function attributeSpace({ attributes }: SourceEntry): number {
  return attributes.reduce(
    (sum, { name, value }) =>
      sum + ATTRIBUTE_HEADER + roundUp(name.length, 4) + roundUp(value.length, 4),
    0,
  );
}

function directoryBlocks(recordBytes: number, blockSize: number): number {
  if (recordBytes < blockSize / 2) return 0; // Its first block is counted already.
  return Math.ceil(recordBytes / (blockSize * LEAF_SHARE)) + 1;
}

/** The smallest volume, in whole MiB, that has room for a source. Throws: EINVAL, ENOSPC, EFBIG. */
export function planToFit(request: Omit<VolumeRequest, "bytes">, survey: Survey): Recipe {
  const inodes = Math.ceil(survey.inodes * INODE_SLACK) + INODES_RESERVED;
  for (let bytes = STEP_BYTES; ; ) {
    const recipe = tryPlan({ ...request, bytes }, inodes, bytes >= VOLUME_BYTES_MAX);
    if (recipe === null) {
      bytes *= 2;
      continue;
    }
    const { blockSize, inodeSize } = recipe.geometry;
    const room = spaceOf(recipe);
    if (room.inodes < survey.inodes) {
      const what = `${room.inodes} inodes are asked for, and ${survey.inodes} needed`;
      throw new HoldfastError("ENOSPC", `${what}; give more, or leave the number out`);
    }
    const counted = recipe.quotaKinds.length === 0 ? 0 : survey.owners * QUOTA_BYTES_MAX;
    const wanted = survey.blocks(blockSize, inodeSize) + Math.ceil(counted / blockSize);
    const missing = wanted - room.blocks;
    if (missing <= 0) return recipe;
    bytes += roundUp(Math.max(missing * blockSize, STEP_BYTES), STEP_BYTES);
    if (bytes > VOLUME_BYTES_MAX) {
      throw new HoldfastError("EFBIG", "what is to go into the volume is larger than 16 TiB");
    }
  }
}

/** The plan, with as many inodes as needed where nothing is said of them; null: too small for one. */
function tryPlan(request: VolumeRequest, inodes: number, isLast: boolean): Recipe | null {
  try {
    const recipe = planVolume(request);
    const isChosen = request.inodes !== undefined || request.inodeRatio !== undefined;
    if (isChosen || recipe.geometry.inodes >= inodes) return recipe;
    return planVolume({ ...request, inodes });
  } catch (error) {
    if (isLast || !(error instanceof HoldfastError)) throw error;
    return null;
  }
}
