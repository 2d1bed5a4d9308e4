/**
 * A journal's file, opened: where its blocks lie on the device, what its superblock says, and the
 * checksums that its features ask for.
 *
 * Places in the log are block numbers of the journal's file, in the ring [first, end). Nothing here can go
 * stale: the file never moves while its volume is mounted.
 */
import { crc32c } from "../../../base/checksum.ts";
import { CorruptionError, HoldfastError } from "../../../base/errors.ts";
import {
  BLOCK_SUPERBLOCK_V1,
  BLOCK_SUPERBLOCK_V2,
  CHECKSUM_CRC32C,
  DiskCommit,
  DiskHeader,
  DiskJournalSuperblock,
  DiskTag,
  DiskTag3,
  JOURNAL_BLOCKS_MIN,
  JOURNAL_INCOMPATIBLE,
  JOURNAL_MAGIC,
  JOURNAL_SUPERBLOCK_SIZE,
  TAIL_SIZE,
} from "./format.ts";

/** What a log needs of a device. */
export interface LogDevice {
  copyOut(at: number, target: Uint8Array): void;
  copyIn(at: number, source: Uint8Array): void;
}

/** A run of the journal's file: `count` blocks from block `index` of it on lie at device block `block`. */
export interface LogRun {
  readonly index: number;
  readonly count: number;
  readonly block: number;
}

/** What every thread needs to know of a journal. Plain data. */
export interface JournalFacts {
  readonly blockSize: number;
  /** Blocks of the volume, or of the device where that is larger: what an image may be of. */
  readonly volumeBlocks: number;
  readonly runs: readonly LogRun[];
  /** The ring: the first block, and the one after the last. */
  readonly first: number;
  readonly end: number;
  /** Where the area of fast commits begins, and its blocks: none, or from the second block behind the ring on. */
  readonly fastCommitFirst: number;
  readonly fastCommitBlocks: number;
  readonly compatible: number;
  readonly incompatible: number;
  readonly uuid: Uint8Array;
}

/** What a journal's superblock says now. */
export interface JournalState {
  /** Of the first transaction in the log, or of the next one where there is none. */
  readonly sequence: number;
  /** Block where it begins; 0: the log is empty. */
  readonly start: number;
  /** Why the journal was aborted; 0: it was not. */
  readonly errno: number;
}

const KNOWN_INCOMPATIBLE = Object.values(JOURNAL_INCOMPATIBLE).reduce((all, bit) => all | bit, 0);

function damage(field: string, value: number | string, expected: string): CorruptionError {
  const structure = DiskJournalSuperblock.structure.name;
  return new CorruptionError({ structure, field, value, expected });
}

/** Copies a block of the log out of, or into, the device. */
export class Log {
  readonly facts: JournalFacts;
  readonly device: LogDevice;
  readonly blockSize: number;
  readonly has64Bit: boolean;
  /** Tags have a checksum of 32 bits. */
  readonly hasTag3: boolean;
  /** Descriptors, revoke blocks and commit records have checksums. */
  readonly hasChecksums: boolean;
  readonly #seed: number;

  constructor(facts: JournalFacts, device: LogDevice) {
    const { incompatible } = facts;
    this.facts = facts;
    this.device = device;
    this.blockSize = facts.blockSize;
    this.has64Bit = (incompatible & JOURNAL_INCOMPATIBLE["64bit"]) !== 0;
    this.hasTag3 = (incompatible & JOURNAL_INCOMPATIBLE.csum_v3) !== 0;
    this.hasChecksums = this.hasTag3 || (incompatible & JOURNAL_INCOMPATIBLE.csum_v2) !== 0;
    this.#seed = crc32c(0xffffffff, facts.uuid);
  }

  /** Bytes of a tag. With csum_v2 two bytes more than it has fields for, as Linux has it. */
  get tagSize(): number {
    if (this.hasTag3) return DiskTag3.structure.size;
    const whole = DiskTag.structure.size + (this.hasChecksums ? 2 : 0);
    return this.has64Bit ? whole : whole - 4;
  }

  /** Bytes of a block's number in a revoke block. */
  get revokeSize(): number {
    return this.has64Bit ? 8 : 4;
  }

  /** Where the tags of a descriptor, or the numbers of a revoke block, must end. */
  get entriesEnd(): number {
    return this.blockSize - (this.hasChecksums ? TAIL_SIZE : 0);
  }

  /** The place after `at` in the ring. */
  next(at: number): number {
    return at + 1 >= this.facts.end ? this.facts.first : at + 1;
  }

  /** Blocks from `from` to `to`, going round. */
  distance(from: number, to: number): number {
    const { first, end } = this.facts;
    return to >= from ? to - from : to - first + (end - from);
  }

  /** Whether `at` is a place of the ring. */
  has(at: number): boolean {
    return Number.isInteger(at) && at >= this.facts.first && at < this.facts.end;
  }

  /** The byte on the device of block `at` of the journal's file. */
  byteOf(at: number): number {
    const { runs } = this.facts;
    let low = 0;
    let high = runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (runs[middle]!.index <= at) low = middle + 1;
      else high = middle;
    }
    const run = runs[low - 1]!;
    return (run.block + (at - run.index)) * this.blockSize;
  }

  read(at: number, target: Uint8Array): void {
    this.device.copyOut(this.byteOf(at), target);
  }

  write(at: number, source: Uint8Array): void {
    this.device.copyIn(this.byteOf(at), source);
  }

  /** The checksum of a block that ends with it, or (a commit record) has it inside; taken as zero there. */
  checksumOf(block: Uint8Array, at: number): number {
    const before = crc32c(this.#seed, block.subarray(0, at));
    const zeroed = crc32c(before, ZEROES);
    return crc32c(zeroed, block.subarray(at + 4));
  }

  /** The checksum of an image, as it lies in the log, in transaction `sequence`. */
  checksumOfImage(sequence: number, image: Uint8Array): number {
    const number = new Uint8Array(4);
    new DataView(number.buffer).setUint32(0, sequence);
    return crc32c(crc32c(this.#seed, number), image);
  }
}

const ZEROES = new Uint8Array(4);

/** Where the checksum of a commit record lies in its block. */
export const COMMIT_CHECKSUM_BYTE = DiskCommit.checksum.offset;

/**
 * Checks the superblock of a journal, `bytes`: its first block. `runs` are those of its file.
 * Throws: CorruptionError naming the field; EOPNOTSUPP naming the feature.
 */
export function parseJournal(
  bytes: Uint8Array,
  volume: { readonly blockSize: number; readonly blocks: number },
  runs: readonly LogRun[],
): { facts: JournalFacts; state: JournalState } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = DiskHeader.magic.get(view, 0);
  if (magic !== JOURNAL_MAGIC) throw damage("s_header.h_magic", magic, `expected ${JOURNAL_MAGIC}`);
  const type = DiskHeader.type.get(view, 0);
  if (type !== BLOCK_SUPERBLOCK_V1 && type !== BLOCK_SUPERBLOCK_V2) {
    throw damage("s_header.h_blocktype", type, "expected 3 or 4");
  }
  const isNew = type === BLOCK_SUPERBLOCK_V2;
  const compatible = isNew ? DiskJournalSuperblock.featuresCompatible.get(view, 0) : 0;
  const incompatible = isNew ? DiskJournalSuperblock.featuresIncompatible.get(view, 0) : 0;
  const unknown = (incompatible & ~KNOWN_INCOMPATIBLE) >>> 0;
  if (unknown !== 0) {
    const message = `the journal uses features that are not supported: 0x${unknown.toString(16)}`;
    throw new HoldfastError("EOPNOTSUPP", message);
  }
  assertChecksum(view, bytes, incompatible);
  const blockSize = DiskJournalSuperblock.blockSize.get(view, 0);
  if (blockSize !== volume.blockSize) {
    throw damage("s_blocksize", blockSize, `expected ${volume.blockSize}, the volume's`);
  }
  const last = runs[runs.length - 1];
  const length = last === undefined ? 0 : last.index + last.count;
  const blocks = DiskJournalSuperblock.blocks.get(view, 0);
  if (blocks < JOURNAL_BLOCKS_MIN || blocks > length) {
    throw damage("s_maxlen", blocks, `expected ${JOURNAL_BLOCKS_MIN} to ${length}`);
  }
  const blocksBehind = fastCommitBlocksOf(view, incompatible, blocks);
  const end = blocks - blocksBehind;
  const first = DiskJournalSuperblock.first.get(view, 0);
  if (first < 1 || first >= end) throw damage("s_first", first, `expected 1 to ${end - 1}`);
  const start = DiskJournalSuperblock.start.get(view, 0);
  if (start !== 0 && (start < first || start >= end)) {
    throw damage("s_start", start, `expected 0 or ${first} to ${end - 1}`);
  }
  const at = DiskJournalSuperblock.uuid.offset;
  const facts: JournalFacts = {
    blockSize,
    volumeBlocks: volume.blocks,
    runs,
    first,
    end,
    fastCommitFirst: end + 1,
    fastCommitBlocks: Math.max(blocksBehind - 1, 0),
    compatible,
    incompatible,
    uuid: isNew ? bytes.slice(at, at + 16) : new Uint8Array(16),
  };
  const sequence = DiskJournalSuperblock.sequence.get(view, 0);
  return { facts, state: { sequence, start, errno: DiskJournalSuperblock.errno.get(view, 0) | 0 } };
}

function assertChecksum(view: DataView, bytes: Uint8Array, incompatible: number): void {
  if ((incompatible & (JOURNAL_INCOMPATIBLE.csum_v2 | JOURNAL_INCOMPATIBLE.csum_v3)) === 0) return;
  const type = DiskJournalSuperblock.checksumType.get(view, 0);
  if (type !== CHECKSUM_CRC32C)
    throw damage("s_checksum_type", type, `expected ${CHECKSUM_CRC32C}`);
  const stored = DiskJournalSuperblock.checksum.get(view, 0);
  const computed = superblockChecksum(bytes);
  if (stored !== computed) {
    throw damage("s_checksum", stored, `but the superblock's bytes give ${computed}`);
  }
}

function superblockChecksum(bytes: Uint8Array): number {
  const at = DiskJournalSuperblock.checksum.offset;
  const before = crc32c(crc32c(0xffffffff, bytes.subarray(0, at)), ZEROES);
  return crc32c(before, bytes.subarray(at + 4, JOURNAL_SUPERBLOCK_SIZE));
}

/** Blocks at the end of a journal's file that are not of its ring; fast commits have all but the first of them. */
function fastCommitBlocksOf(view: DataView, incompatible: number, blocks: number): number {
  if ((incompatible & JOURNAL_INCOMPATIBLE.fast_commit) === 0) return 0;
  const count = DiskJournalSuperblock.fastCommitBlocks.get(view, 0) || FAST_COMMIT_BLOCKS_DEFAULT;
  if (blocks - count < JOURNAL_BLOCKS_MIN) {
    throw damage("s_num_fc_blks", count, `expected at most ${blocks - JOURNAL_BLOCKS_MIN}`);
  }
  return count;
}

const FAST_COMMIT_BLOCKS_DEFAULT = 256;

/** What a journal's superblock is to say from now on. */
export interface JournalChange extends Partial<JournalState> {
  readonly compatible?: number;
  readonly incompatible?: number;
}

/** Changes the superblock of a journal on the device. It is on the medium when that is persisted. */
export function changeJournal(log: Log, change: JournalChange): void {
  const bytes = new Uint8Array(log.blockSize);
  log.read(0, bytes);
  const view = new DataView(bytes.buffer);
  const { sequence, start, errno, checksumType } = DiskJournalSuperblock;
  const { featuresCompatible, featuresIncompatible } = DiskJournalSuperblock;
  if (change.sequence !== undefined) sequence.set(view, 0, change.sequence);
  if (change.start !== undefined) start.set(view, 0, change.start);
  if (change.errno !== undefined) errno.set(view, 0, change.errno >>> 0);
  if (change.compatible !== undefined) featuresCompatible.set(view, 0, change.compatible);
  if (change.incompatible !== undefined) featuresIncompatible.set(view, 0, change.incompatible);
  if (log.hasChecksums) {
    checksumType.set(view, 0, CHECKSUM_CRC32C);
    DiskJournalSuperblock.checksum.set(view, 0, superblockChecksum(bytes));
  }
  log.write(0, bytes);
}
