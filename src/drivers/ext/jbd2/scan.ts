/**
 * Reading the transactions of a log, and copying home what they hold. Recovery does it when a volume is
 * mounted that was not unmounted; and who makes room in the log does it while the volume is in use.
 *
 * Rules. (1) A transaction counts when its commit record is there and its checksums are right. What follows
 *            the last one that counts was never promised to anybody.
 *        (2) Of a block's images the last one goes home, unless its transaction or a later one revokes the
 *            block: then it is, or may be, another file's data.
 *        (3) Nothing goes home before all that would has been looked at: a damaged log changes nothing.
 */
import { CorruptionError } from "../../../base/errors.ts";
import { isAfter } from "../../../metadata/journal.ts";
import {
  BLOCK_COMMIT,
  BLOCK_DESCRIPTOR,
  BLOCK_REVOKE,
  CHECKSUM_CRC32,
  DiskCommit,
  DiskHeader,
  DiskRevokeHeader,
  DiskTag,
  DiskTag3,
  JOURNAL_COMPATIBLE,
  JOURNAL_INCOMPATIBLE,
  JOURNAL_MAGIC,
  TAG_ESCAPED,
  TAG_LAST,
  TAG_SAME_UUID,
  TAG_UUID_SIZE,
} from "./format.ts";
import { SUPERBLOCK_BYTE } from "../format.ts";
import { haveSameSize } from "../superblock.ts";
import { COMMIT_CHECKSUM_BYTE, type Log } from "./log.ts";

/** An image of a block. */
export interface LoggedImage {
  /** The block of the volume. */
  readonly block: number;
  /** Where its image lies in the log. */
  readonly at: number;
  readonly isEscaped: boolean;
  /** As stored: 32 bits with csum_v3, 16 with csum_v2. */
  readonly checksum: number;
}

export interface LoggedTransaction {
  readonly sequence: number;
  readonly images: readonly LoggedImage[];
  readonly revoked: readonly number[];
  /** Where it begins, and where the next one does. */
  readonly first: number;
  readonly next: number;
}

/** Why a transaction does not count: the log just ends there, or something that was promised is damaged. */
type Reason = "end" | CorruptionError;

function damage(log: Log, at: number, field: string, value: number | string, expected: string) {
  return new CorruptionError({
    structure: "journal",
    field,
    value,
    expected,
    deviceByte: log.byteOf(at),
  });
}

/** Reads one transaction, block by block. */
class Reader {
  readonly #log: Log;
  readonly #sequence: number;
  readonly #first: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly images: LoggedImage[] = [];
  readonly revoked: number[] = [];
  #at: number;
  /** Blocks gone by: more than the ring has is no transaction. */
  #taken = 0;
  /** The CRC32 of its blocks, and how many images are in it. */
  #sum = 0xffffffff;
  #summed = 0;

  constructor(log: Log, sequence: number, at: number) {
    this.#log = log;
    this.#sequence = sequence;
    this.#first = at;
    this.#at = at;
    this.#bytes = new Uint8Array(log.blockSize);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** The transaction, or why there is none. */
  read(): LoggedTransaction | Reason {
    const { facts } = this.#log;
    const size = facts.end - facts.first;
    while (this.#taken < size) {
      this.#log.read(this.#at, this.#bytes);
      const view = this.#view;
      if (DiskHeader.magic.get(view, 0) !== JOURNAL_MAGIC) return "end";
      if (DiskHeader.sequence.get(view, 0) !== this.#sequence) return "end";
      const type = DiskHeader.type.get(view, 0);
      if (type === BLOCK_COMMIT) return this.#commit();
      if (type !== BLOCK_DESCRIPTOR && type !== BLOCK_REVOKE) return "end";
      const reason =
        this.#tailError() ?? (type === BLOCK_REVOKE ? this.#revoke() : this.#describe());
      if (reason !== null) return this.#unlessPromised(reason);
      this.#advance();
    }
    return "end";
  }

  #advance(): void {
    this.#at = this.#log.next(this.#at);
    this.#taken++;
  }

  #tailError(): CorruptionError | null {
    const log = this.#log;
    if (!log.hasChecksums) return null;
    const at = log.entriesEnd;
    const stored = this.#view.getUint32(at);
    const computed = log.checksumOf(this.#bytes, at);
    if (stored === computed) return null;
    return damage(log, this.#at, "checksum", stored, `but the block's bytes give ${computed}`);
  }

  #assertBlock(block: number): CorruptionError | null {
    const { volumeBlocks } = this.#log.facts;
    if (block < volumeBlocks) return null;
    return damage(this.#log, this.#at, "block number", block, `expected less than ${volumeBlocks}`);
  }

  /** The tags of a descriptor, and the images that follow it. */
  #describe(): CorruptionError | null {
    const log = this.#log;
    const hasSums = this.#hasBlockSums();
    if (hasSums) this.#sum = crc32(this.#sum, this.#bytes);
    for (let at = DiskHeader.structure.size; at + log.tagSize <= log.entriesEnd; ) {
      const { block, flags, checksum } = this.#tag(at);
      const error = this.#assertBlock(block);
      if (error !== null) return error;
      this.#advance();
      const isEscaped = (flags & TAG_ESCAPED) !== 0;
      this.images.push({ block, at: this.#at, isEscaped, checksum });
      at += log.tagSize + ((flags & TAG_SAME_UUID) !== 0 ? 0 : TAG_UUID_SIZE);
      if ((flags & TAG_LAST) !== 0) break;
    }
    if (hasSums) this.#sumImages();
    return null;
  }

  #tag(at: number): { block: number; flags: number; checksum: number } {
    const view = this.#view;
    const tag = this.#log.hasTag3 ? DiskTag3 : DiskTag;
    const high = this.#log.has64Bit ? tag.blockHigh.get(view, at) : 0;
    return {
      block: high * 2 ** 32 + tag.blockLow.get(view, at),
      flags: tag.flags.get(view, at),
      checksum: tag.checksum.get(view, at),
    };
  }

  #hasBlockSums(): boolean {
    return (this.#log.facts.compatible & JOURNAL_COMPATIBLE.checksum) !== 0;
  }

  /** Adds what follows a descriptor to the sum of the transaction's blocks. */
  #sumImages(): void {
    const image = new Uint8Array(this.#log.blockSize);
    for (const { at } of this.images.slice(this.#summed)) {
      this.#log.read(at, image);
      this.#sum = crc32(this.#sum, image);
    }
    this.#summed = this.images.length;
  }

  #revoke(): CorruptionError | null {
    const log = this.#log;
    const view = this.#view;
    const used = DiskRevokeHeader.used.get(view, 0);
    if (used > log.entriesEnd) {
      return damage(log, this.#at, "r_count", used, `expected at most ${log.entriesEnd}`);
    }
    let at = DiskRevokeHeader.structure.size;
    for (; at + log.revokeSize <= used; at += log.revokeSize) {
      const low = view.getUint32(log.has64Bit ? at + 4 : at);
      this.revoked.push(log.has64Bit ? view.getUint32(at) * 2 ** 32 + low : low);
    }
    return null;
  }

  #commit(): LoggedTransaction | Reason {
    const log = this.#log;
    const view = this.#view;
    const stored = DiskCommit.checksum.get(view, 0);
    let computed = stored;
    if (log.hasChecksums) computed = log.checksumOf(this.#bytes, COMMIT_CHECKSUM_BYTE);
    else if (this.#hasBlockSums() && DiskCommit.checksumType.get(view, 0) === CHECKSUM_CRC32) {
      computed = this.#sum;
    }
    if (stored !== computed) {
      const isAsync = (log.facts.incompatible & JOURNAL_INCOMPATIBLE.async_commit) !== 0;
      // Written together with what it is a record of, a record may be there first.
      if (isAsync || log.hasChecksums) return "end";
      return damage(
        log,
        this.#at,
        "h_chksum",
        stored,
        `but the transaction's blocks give ${computed}`,
      );
    }
    const { images, revoked } = this;
    const next = log.next(this.#at);
    return { sequence: this.#sequence, images, revoked, first: this.#first, next };
  }

  /**
   * A block of a transaction is not what it should be. If the transaction's commit record is there, it was
   * promised, and is damaged; else it is one that was never finished.
   */
  #unlessPromised(error: CorruptionError): Reason {
    const log = this.#log;
    const { facts } = log;
    if (!log.hasChecksums) return error;
    for (; this.#taken < facts.end - facts.first; this.#advance()) {
      log.read(this.#at, this.#bytes);
      const isRecord =
        DiskHeader.magic.get(this.#view, 0) === JOURNAL_MAGIC &&
        DiskHeader.type.get(this.#view, 0) === BLOCK_COMMIT &&
        DiskHeader.sequence.get(this.#view, 0) === this.#sequence &&
        DiskCommit.checksum.get(this.#view, 0) ===
          log.checksumOf(this.#bytes, COMMIT_CHECKSUM_BYTE);
      if (isRecord) return error;
    }
    return "end";
  }
}

/**
 * The transactions in the log from `sequence` at `at` on, up to `last` if it is given.
 * Throws: CorruptionError for damage in one that was promised.
 */
export function readTransactions(
  log: Log,
  sequence: number,
  at: number,
  last?: number,
): LoggedTransaction[] {
  const found: LoggedTransaction[] = [];
  let room = log.facts.end - log.facts.first;
  while (room > 0) {
    const transaction = new Reader(log, sequence, at).read();
    if (transaction === "end") break;
    if (transaction instanceof CorruptionError) throw transaction;
    found.push(transaction);
    if (sequence === last) break;
    room -= log.distance(at, transaction.next);
    at = transaction.next;
    sequence = (sequence + 1) >>> 0;
  }
  return found;
}

/** The images that are to go home (rule 2), by their blocks. */
export function imagesToCopy(
  transactions: readonly LoggedTransaction[],
): Map<number, { readonly image: LoggedImage; readonly sequence: number }> {
  const revokedIn = new Map<number, number>();
  for (const { revoked, sequence } of transactions) {
    for (const block of revoked) revokedIn.set(block, sequence);
  }
  const images = new Map<number, { image: LoggedImage; sequence: number }>();
  for (const { images: logged, sequence } of transactions) {
    for (const image of logged) {
      const revoked = revokedIn.get(image.block);
      if (revoked === undefined || isAfter(sequence, revoked)) {
        images.set(image.block, { image, sequence });
      }
    }
  }
  return images;
}

/** Throws: CorruptionError for an image that is not what its tag says. */
export function verifyImages(log: Log, images: ReturnType<typeof imagesToCopy>): void {
  if (!log.hasChecksums) return;
  const bytes = new Uint8Array(log.blockSize);
  for (const { image, sequence } of images.values()) {
    log.read(image.at, bytes);
    const computed = log.checksumOfImage(sequence, bytes);
    if (image.checksum === (log.hasTag3 ? computed : computed % 2 ** 16)) continue;
    const expected = `but the image of block ${image.block} gives ${computed}`;
    throw damage(log, image.at, "t_checksum", image.checksum, expected);
  }
}

/**
 * Copies images to where their blocks lie: the superblock last, and where that gives the volume another size, when
 * all else is on the medium, by `persist`. For what reads a volume before its journal (the kernel, e2fsck) wants a
 * descriptor for each group that the superblock tells of. Throws: EIO.
 */
export function copyHome(
  log: Log,
  images: ReturnType<typeof imagesToCopy>,
  persist: () => void,
): void {
  const bytes = new Uint8Array(log.blockSize);
  const superblock = Math.floor(SUPERBLOCK_BYTE / log.blockSize);
  let last: LoggedImage | null = null;
  for (const { image } of images.values()) {
    if (image.block === superblock) last = image;
    else copyImage(log, image, bytes);
  }
  if (last === null) return;
  const home = new Uint8Array(log.blockSize);
  log.device.copyOut(superblock * log.blockSize, home);
  readImage(log, last, bytes);
  if (!haveSameSize(home, bytes, SUPERBLOCK_BYTE % log.blockSize)) persist();
  log.device.copyIn(superblock * log.blockSize, bytes);
}

function readImage(log: Log, image: LoggedImage, bytes: Uint8Array): void {
  log.read(image.at, bytes);
  if (image.isEscaped) new DataView(bytes.buffer).setUint32(0, JOURNAL_MAGIC);
}

function copyImage(log: Log, image: LoggedImage, bytes: Uint8Array): void {
  readImage(log, image, bytes);
  log.device.copyIn(image.block * log.blockSize, bytes);
}

const crc32Table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let register = byte << 24;
  for (let bit = 0; bit < 8; bit++) {
    register = register < 0 ? (register << 1) ^ 0x04c11db7 : register << 1;
  }
  return register;
});

/** The CRC32, highest bit first, that the oldest checksums of journals are. */
function crc32(register: number, bytes: Uint8Array): number {
  for (const byte of bytes) {
    register = (register << 8) ^ crc32Table[((register >>> 24) ^ byte) & 0xff]!;
  }
  return register >>> 0;
}
