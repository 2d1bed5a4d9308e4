/**
 * The bitmaps of a group: which of its blocks and inodes are in use.
 *
 * The bitmap of an uninitialised group was never written; what it would say is worked out, and it is
 * written when the group is first used. A bitmap's checksum lies in the group's descriptor, so it is
 * written when that is sealed.
 */
import type { Ino } from "../../../base/quantities.ts";
import type { MetadataBlock, MetadataCache } from "../../../metadata/cache.ts";
import { NO_SEAL, type Transaction } from "../../../metadata/transaction.ts";
import { findSet, setBits, wordsOf } from "./bitmaps.ts";
import { bitmapChecksum } from "../checksums.ts";
import { DESCRIPTOR_SIZE_WIDE, GROUP_BLOCK_UNINIT, GROUP_INODE_UNINIT } from "../format.ts";
import {
  blocksInGroup,
  clearGroupFlag,
  editGroup,
  firstBlockOfGroup,
  getGroup,
  groupFlags,
  headBlocks,
  inodeTableBlocks,
  readGroup,
  setGroup,
} from "./groups.ts";
import { getTotal, setTotal } from "./totals.ts";
import { editSuperblock, type ExtVolume, type Located } from "../volume.ts";

/** A block bitmap and an inode bitmap differ in these. */
interface Kind {
  readonly structure: { readonly name: string };
  readonly place: "blockBitmap" | "inodeBitmap";
  readonly checksum: "blockBitmapChecksum" | "inodeBitmapChecksum";
  readonly uninitialized: number;
  /** Bits that the checksum covers, the same in every group. */
  bits(volume: ExtVolume): number;
  /** Sets what is in use in a group that was never used. */
  initialize(volume: ExtVolume, group: number, words: Uint32Array): void;
}

const BLOCKS: Kind = {
  structure: { name: "block bitmap" },
  place: "blockBitmap",
  checksum: "blockBitmapChecksum",
  uninitialized: GROUP_BLOCK_UNINIT,
  bits: (volume) => volume.facts.blocksPerGroup / volume.facts.clusterBlocks,
  initialize: initializeBlocks,
};

const INODES: Kind = {
  structure: { name: "inode bitmap" },
  place: "inodeBitmap",
  checksum: "inodeBitmapChecksum",
  uninitialized: GROUP_INODE_UNINIT,
  bits: (volume) => volume.facts.inodesPerGroup,
  initialize: (volume, _, words) => setBits(words, volume.facts.inodesPerGroup, words.length * 32),
};

const KINDS = [BLOCKS, INODES];

/** A bitmap being changed, with its group's descriptor. */
export interface EditedBitmap {
  readonly words: Uint32Array;
  readonly group: Located;
  readonly transaction: Transaction;
}

/** The block bitmap of a group, to be read. Throws: CorruptionError. */
export function readBlockBitmap(volume: ExtVolume, group: number): Uint32Array {
  return readBitmap(volume, group, BLOCKS);
}

/** The inode bitmap of a group, to be read. Throws: CorruptionError. */
export function readInodeBitmap(volume: ExtVolume, group: number): Uint32Array {
  return readBitmap(volume, group, INODES);
}

/** Whether the inode bitmap says that an inode is in use. Throws: CorruptionError. */
export function isInodeUsed(volume: ExtVolume, ino: Ino): boolean {
  const { inodesPerGroup } = volume.facts;
  const slot = (ino - 1) % inodesPerGroup;
  const words = readInodeBitmap(volume, Math.floor((ino - 1) / inodesPerGroup));
  return findSet(words, slot, slot + 1) === slot;
}

/** Has `change` change the block bitmap of a group, and its descriptor's counts. */
export function changeBlockBitmap(
  volume: ExtVolume,
  transaction: Transaction,
  group: number,
  change: (bitmap: EditedBitmap) => void,
): void {
  changeBitmap(volume, transaction, group, BLOCKS, change);
}

/** Has `change` change the inode bitmap of a group, and its descriptor's counts. */
export function changeInodeBitmap(
  volume: ExtVolume,
  transaction: Transaction,
  group: number,
  change: (bitmap: EditedBitmap) => void,
): void {
  changeBitmap(volume, transaction, group, INODES, change);
}

function readBitmap(volume: ExtVolume, group: number, kind: Kind): Uint32Array {
  const descriptor = readGroup(volume, group);
  if ((groupFlags(volume, descriptor) & kind.uninitialized) === 0) {
    return wordsOf(readBitmapBlock(volume, descriptor, kind).bytes);
  }
  const words = new Uint32Array(volume.blockSize / 4);
  kind.initialize(volume, group, words);
  return words;
}

function readBitmapBlock(volume: ExtVolume, descriptor: Located, kind: Kind): MetadataBlock {
  return volume.cache.read(getGroup(volume, descriptor, kind.place), (block) => {
    if (!volume.metadataChecksums) return;
    const stored = getGroup(volume, descriptor, kind.checksum);
    const computed = checksumOf(volume, block, kind);
    if (stored !== computed) {
      const expected = `but its bits give ${computed}`;
      throw volume.damage({ block, at: 0 }, kind.structure, "checksum", stored, expected);
    }
  });
}

/** Narrow descriptors have room for half a checksum. */
function checksumOf(volume: ExtVolume, block: MetadataBlock, kind: Kind): number {
  const computed = bitmapChecksum(volume.checksumSeed, block.bytes, kind.bits(volume));
  const isWide = volume.facts.descriptorSize >= DESCRIPTOR_SIZE_WIDE;
  return isWide ? computed : computed % 2 ** 16;
}

function changeBitmap(
  volume: ExtVolume,
  transaction: Transaction,
  group: number,
  kind: Kind,
  change: (bitmap: EditedBitmap) => void,
): void {
  const descriptor = editGroup(volume, transaction, group);
  let block: MetadataBlock;
  if ((groupFlags(volume, descriptor) & kind.uninitialized) !== 0) {
    block = transaction.create(getGroup(volume, descriptor, kind.place), NO_SEAL);
    kind.initialize(volume, group, wordsOf(block.bytes));
    clearGroupFlag(descriptor, kind.uninitialized);
  } else {
    block = transaction.edit(readBitmapBlock(volume, descriptor, kind), NO_SEAL);
  }
  change({ words: wordsOf(block.bytes), group: descriptor, transaction });
}

/**
 * Writes into a descriptor that was changed the checksums of its bitmaps. One that is not in the cache has not
 * changed since its checksum was last written.
 */
export function sealBitmaps(volume: ExtVolume, cache: MetadataCache, descriptor: Located): void {
  for (const kind of KINDS) {
    if ((groupFlags(volume, descriptor) & kind.uninitialized) !== 0) continue;
    const block = cache.readCached(getGroup(volume, descriptor, kind.place));
    if (block === null) continue;
    setGroup(volume, descriptor, kind.checksum, checksumOf(volume, block, kind));
  }
}

function initializeBlocks(volume: ExtVolume, group: number, words: Uint32Array): void {
  const first = firstBlockOfGroup(volume, group);
  const count = blocksInGroup(volume, group);
  setBits(words, 0, headBlocks(volume, group));
  const descriptor = readGroup(volume, group);
  const setOwn = (start: number, blocks: number) => {
    const from = Math.max(start - first, 0);
    const to = Math.min(start - first + blocks, count);
    if (from < to) setBits(words, from, to);
  };
  setOwn(getGroup(volume, descriptor, "blockBitmap"), 1);
  setOwn(getGroup(volume, descriptor, "inodeBitmap"), 1);
  setOwn(getGroup(volume, descriptor, "inodeTable"), inodeTableBlocks(volume));
  setBits(words, count, words.length * 32);
}

/**
 * Adds to one of a descriptor's counts, and to the whole volume's in the superblock, where there is one: so that
 * each transaction leaves both right. Throws: CorruptionError when the sum cannot be.
 */
export function addToCount(
  volume: ExtVolume,
  { group, transaction }: EditedBitmap,
  name: "freeBlocks" | "freeInodes" | "directories",
  change: number,
): void {
  const before = getGroup(volume, group, name);
  const most = name === "freeBlocks" ? volume.facts.blocksPerGroup : volume.facts.inodesPerGroup;
  const after = before + change;
  if (after < 0 || after > most) {
    const expected = `but its bitmap allows a change by ${change}`;
    throw volume.damage(group, { name: "ext4_group_desc" }, name, before, expected);
  }
  setGroup(volume, group, name, after);
  if (name === "directories") return;
  const { block, at } = editSuperblock(volume, transaction);
  setTotal(block.view, at, name, Math.max(getTotal(block.view, at, name) + change, 0));
}
