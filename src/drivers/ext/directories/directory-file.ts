/**
 * One directory as a file of blocks: each is verified when it comes into the cache, and sealed with its
 * checksum when it leaves it. What the blocks mean: names.ts and htree.ts.
 */
import { crc32c } from "../../../base/checksum.ts";
import { CorruptionError, HoldfastError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { appendFileBlock, readFileBlock } from "../maps/file-blocks.ts";
import { COMPATIBLE, DiskInode, INCOMPATIBLE, INODE_INDEXED_DIRECTORY } from "../format.ts";
import { isInline } from "../maps/inline-data.ts";
import { type InlineArea, inlineAreas } from "./inline-areas.ts";
import {
  editInode,
  inodeChecksumSeed,
  inodeFlags,
  inodeSize,
  isDirectory,
  readRaw,
} from "../inodes/inode.ts";
import {
  DiskEntryTail,
  hasTail,
  initNames,
  type NameFormat,
  TAIL_SIZE,
  verifyNames,
} from "./names.ts";
import { type ExtVolume, SEAL } from "../volume.ts";

/** The checksum of a block of names; `seed` is the directory's. */
function namesChecksum({ bytes }: MetadataBlock, seed: number): number {
  return crc32c(seed, bytes.subarray(0, bytes.length - TAIL_SIZE));
}

/** Writes the checksum of a block of names; `seed` is the directory's. */
export function sealNames(block: MetadataBlock, seed: number): void {
  const at = block.bytes.length - TAIL_SIZE;
  DiskEntryTail.checksum.set(block.view, at, namesChecksum(block, seed));
}

/**
 * A directory, opened for one operation: it holds no fact longer than the lock under which it was
 * opened.
 */
export class DirectoryFile implements NameFormat {
  readonly volume: ExtVolume;
  readonly ino: Ino;
  readonly blockSize: number;
  readonly entriesStart = 0;
  readonly entriesEnd: number;
  readonly hasTypes: boolean;
  readonly inoMax: number;
  /** Blocks of the file; grows by `append`. Of one in its inode: its areas of names. */
  blockCount: number;
  /** Its areas of names, where it lies in its inode (inline-directory.ts); else null. */
  areas: readonly InlineArea[] | null;
  /** Its inode is marked as indexed, whether or not the volume has the feature. */
  readonly isMarkedIndexed: boolean;
  /** Its names are found by hash (htree.ts). */
  isIndexed: boolean;
  #checksumSeed = -1;

  /**
   * A new directory (`isNew`) has no blocks yet.
   * Throws: ENOTDIR; CorruptionError when its size is no number of blocks.
   */
  constructor(volume: ExtVolume, ino: Ino, isNew = false) {
    const raw = readRaw(volume, ino);
    if (!isDirectory(raw)) throw new HoldfastError("ENOTDIR", `inode ${ino} is not a directory`);
    this.volume = volume;
    this.ino = ino;
    this.blockSize = volume.blockSize;
    this.entriesEnd = volume.metadataChecksums ? volume.blockSize - TAIL_SIZE : volume.blockSize;
    this.hasTypes = (volume.features.incompatible & INCOMPATIBLE.filetype) !== 0;
    this.inoMax = volume.facts.inodes;
    const size = inodeSize(raw);
    this.areas = isInline(volume, raw) ? inlineAreas(volume, raw) : null;
    this.blockCount = this.areas?.length ?? size / volume.blockSize;
    if ((size === 0 && !isNew) || !Number.isInteger(this.blockCount)) {
      const expected = `expected a number of whole blocks, as inode ${ino} is a directory`;
      throw volume.damage(raw, DiskInode.structure, "i_size", size, expected);
    }
    this.isMarkedIndexed = (inodeFlags(raw) & INODE_INDEXED_DIRECTORY) !== 0;
    this.isIndexed = this.isMarkedIndexed && this.mayBeIndexed && this.areas === null;
  }

  /** The volume uses hashed directories. Where it does not, an index is so many free records. */
  get mayBeIndexed(): boolean {
    return (this.volume.features.compatible & COMPATIBLE.directoryIndex) !== 0;
  }

  /** What the checksums of its blocks start from. */
  get checksumSeed(): number {
    if (this.#checksumSeed < 0) this.#checksumSeed = inodeChecksumSeed(this.volume, this.ino);
    return this.#checksumSeed;
  }

  /**
   * Block `index` of the directory. Throws: CorruptionError, also when it lies past the end.
   */
  read(index: number, verify: (block: MetadataBlock) => void): MetadataBlock {
    if (index >= this.blockCount) {
      throw new CorruptionError({
        structure: "ext4 directory",
        field: "block in file",
        value: index,
        expected: `expected below the ${this.blockCount} blocks of inode ${this.ino}`,
      });
    }
    return readFileBlock(this.volume, this.ino, index, verify);
  }

  /** A block of names, or an area of them: `formatOf(index)` says where they lie. Throws: CorruptionError. */
  readNames(index: number): MetadataBlock {
    if (this.areas === null) return this.read(index, (block) => this.verifyNames(block));
    const { block } = readRaw(this.volume, this.ino);
    verifyNames(block, this.formatOf(index));
    return block;
  }

  /** How the names of block, or area, `index` lie in what `readNames` gives. */
  formatOf(index: number): NameFormat {
    return this.areas?.[index] ?? this;
  }

  /** Throws: CorruptionError unless `block` is a sound block of names. */
  verifyNames(block: MetadataBlock): void {
    this.verifyTail(block);
    verifyNames(block, this);
  }

  /** Write access to a block of names. */
  editNames(transaction: Transaction, block: MetadataBlock): MetadataBlock {
    if (this.areas !== null) return editInode(this.volume, transaction, this.ino).block;
    return transaction.edit(block, SEAL.names, this.checksumSeed);
  }

  /** A new last block, without names. Throws: ENOSPC. */
  appendNames(transaction: Transaction): { block: MetadataBlock; index: number } {
    const added = this.append(transaction, SEAL.names);
    initNames(added.block, this);
    return added;
  }

  /** A new last block, zero-filled. Throws: ENOSPC, also where the directory has the size it may have. */
  append(transaction: Transaction, seal: number): { block: MetadataBlock; index: number } {
    if ((this.blockCount + 1) * this.blockSize >= this.#sizeLimit) {
      const message = `directory inode ${this.ino} has nearly 4 GiB; more take the feature large_dir`;
      throw new HoldfastError("ENOSPC", message);
    }
    const added = appendFileBlock(this.volume, transaction, this.ino, seal, this.checksumSeed);
    this.blockCount = added.index + 1;
    return added;
  }

  /** Without large_dir nobody else reads the high half of a directory's size. */
  get #sizeLimit(): number {
    const isLarge = (this.volume.features.incompatible & INCOMPATIBLE.large_dir) !== 0;
    return isLarge ? Number.POSITIVE_INFINITY : 2 ** 32;
  }

  /** Throws: CorruptionError unless a block of names has the checksum that the volume wants. */
  verifyTail(block: MetadataBlock): void {
    if (!this.volume.metadataChecksums) return;
    const tail = { block, at: this.entriesEnd };
    const { structure, type, checksum } = DiskEntryTail;
    if (!hasTail(block)) {
      const found = type.get(block.view, tail.at);
      const expected = "expected a checksum tail (type 222) at the end of the block";
      throw this.volume.damage(tail, structure, "det_reserved_ft", found, expected);
    }
    const stored = checksum.get(block.view, tail.at);
    const computed = namesChecksum(block, this.checksumSeed);
    if (stored !== computed) {
      const expected = `but the block's bytes give ${computed}`;
      throw this.volume.damage(tail, structure, "det_checksum", stored, expected);
    }
  }
}
