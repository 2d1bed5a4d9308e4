/** Group descriptors and bitmaps of a new volume, as bytes. */
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { setBits, wordsOf } from "../space/bitmaps.ts";
import { bitmapChecksum, groupChecksum, groupChecksumOld } from "../checksums.ts";
import {
  DESCRIPTOR_SIZE_WIDE,
  DiskGroup,
  GROUP_BLOCK_UNINIT,
  GROUP_INODE_UNINIT,
  GROUP_INODES_ZEROED,
  setPair,
} from "../format.ts";
import { GROUP_NUMBERS, type GroupNumber } from "../space/groups.ts";
import { viewOf } from "../superblock.ts";
import { blankBlock } from "./images.ts";
import type { Layout } from "./layout.ts";
import type { Recipe } from "./recipe.ts";

/** What is in use of a group. */
export interface GroupUse {
  readonly inodes: number;
  readonly directories: number;
}

/** What of a recipe says how groups are written. */
type GroupRecipe = Pick<
  Recipe,
  "geometry" | "groupChecksums" | "metadataChecksums" | "checksumSeed" | "uuid"
>;

/** The descriptors of the groups laid out, as blocks of the volume hold them one after another. */
export class GroupImages {
  /** Whole blocks; of all groups, or from the first one that is laid out on. */
  readonly descriptors: Uint8Array;
  readonly #view: DataView;
  readonly #recipe: GroupRecipe;
  readonly #layout: Layout;
  readonly #isBlank: boolean;
  freeBlocks = 0;

  /** `isBlank`: the inode tables hold zeroes, or will. */
  constructor(recipe: GroupRecipe, layout: Layout, isBlank: boolean) {
    const { groups, descriptorsPerBlock, blockSize } = recipe.geometry;
    const descriptorBlocks = Math.ceil((groups - layout.first) / descriptorsPerBlock);
    this.#recipe = recipe;
    this.#layout = layout;
    this.#isBlank = isBlank;
    this.descriptors = new Uint8Array(descriptorBlocks * blockSize);
    this.#view = viewOf(this.descriptors);
  }

  #byteOf(group: number): number {
    return (group - this.#layout.first) * this.#recipe.geometry.descriptorSize;
  }

  #set(group: number, name: GroupNumber, value: number): void {
    const at = this.#byteOf(group);
    const [low, high] = GROUP_NUMBERS[name];
    if (this.#isWide) setPair(this.#view, at, low, high, value);
    else low.set(this.#view, at, value % 2 ** (8 * low.size));
  }

  get #isWide(): boolean {
    return this.#recipe.geometry.descriptorSize >= DESCRIPTOR_SIZE_WIDE;
  }

  /** Fills a group's descriptor in. Returns its bitmaps, those that must be written. */
  describe(group: number, use: GroupUse): MetadataBlock[] {
    const { geometry, groupChecksums } = this.#recipe;
    const layout = this.#layout;
    const freeBlocks = layout.freeBlocksOf(group);
    this.freeBlocks += freeBlocks;
    const slot = group - layout.first;
    this.#set(group, "blockBitmap", layout.blockBitmaps[slot]!);
    this.#set(group, "inodeBitmap", layout.inodeBitmaps[slot]!);
    this.#set(group, "inodeTable", layout.inodeTables[slot]!);
    this.#set(group, "freeBlocks", freeBlocks);
    this.#set(group, "freeInodes", geometry.inodesPerGroup - use.inodes);
    this.#set(group, "directories", use.directories);
    const flags = this.#flagsOf(group, use);
    const bitmaps: MetadataBlock[] = [];
    if ((flags & GROUP_BLOCK_UNINIT) === 0) bitmaps.push(this.#blockBitmap(group));
    if ((flags & GROUP_INODE_UNINIT) === 0) bitmaps.push(this.#inodeBitmap(group, use.inodes));
    const at = this.#byteOf(group);
    DiskGroup.flags.set(this.#view, at, flags);
    if (groupChecksums) {
      this.#set(group, "unusedInodes", geometry.inodesPerGroup - use.inodes);
      DiskGroup.checksum.set(this.#view, at, this.#checksumOf(group));
    }
    return bitmaps;
  }

  /**
   * The last group's bitmap says where the volume ends, so it is always written; so is that of a group in
   * which something lies that is not its own.
   */
  #flagsOf(group: number, { inodes }: GroupUse): number {
    const zeroed = this.#isBlank ? GROUP_INODES_ZEROED : 0;
    if (!this.#recipe.groupChecksums) return zeroed;
    const isLast = group === this.#recipe.geometry.groups - 1;
    const isOwn = !isLast && group !== 0 && this.#layout.holdsOnlyItsOwn(group);
    return zeroed | (inodes === 0 ? GROUP_INODE_UNINIT : 0) | (isOwn ? GROUP_BLOCK_UNINIT : 0);
  }

  #blockBitmap(group: number): MetadataBlock {
    const { blockSize, blocksPerGroup } = this.#recipe.geometry;
    const image = blankBlock(this.#layout.blockBitmaps[group - this.#layout.first]!, blockSize);
    const words = wordsOf(image.bytes);
    const { from, to } = this.#layout.boundsOf(group);
    for (const { start, count } of this.#layout.used.usedWithin(from, to)) {
      setBits(words, start - from, start - from + count);
    }
    setBits(words, to - from, blockSize * 8);
    this.#setChecksum(group, "blockBitmapChecksum", image, blocksPerGroup);
    return image;
  }

  #inodeBitmap(group: number, used: number): MetadataBlock {
    const { blockSize, inodesPerGroup } = this.#recipe.geometry;
    const image = blankBlock(this.#layout.inodeBitmaps[group - this.#layout.first]!, blockSize);
    const words = wordsOf(image.bytes);
    setBits(words, 0, used);
    setBits(words, inodesPerGroup, blockSize * 8);
    this.#setChecksum(group, "inodeBitmapChecksum", image, inodesPerGroup);
    return image;
  }

  #setChecksum(
    group: number,
    name: "blockBitmapChecksum" | "inodeBitmapChecksum",
    { bytes }: MetadataBlock,
    bits: number,
  ): void {
    if (!this.#recipe.metadataChecksums) return;
    this.#set(group, name, bitmapChecksum(this.#recipe.checksumSeed, bytes, bits));
  }

  #checksumOf(group: number): number {
    const { geometry, metadataChecksums, checksumSeed, uuid } = this.#recipe;
    const at = this.#byteOf(group);
    const descriptor = this.descriptors.subarray(at, at + geometry.descriptorSize);
    return metadataChecksums
      ? groupChecksum(checksumSeed, group, descriptor)
      : groupChecksumOld(uuid, group, descriptor);
  }
}
