/**
 * Writing transactions to a log: the ext half of `metadata/journal.ts`, which says when.
 *
 * Nothing here waits for the medium. A transaction's blocks are on it before its commit record is written
 * (`record`), since the caller persists the device in between.
 */
import { CorruptionError } from "../../../base/errors.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import type { TransactionLog } from "../../../metadata/journal.ts";
import {
  BLOCK_COMMIT,
  BLOCK_DESCRIPTOR,
  BLOCK_REVOKE,
  DiskCommit,
  DiskHeader,
  DiskRevokeHeader,
  DiskTag,
  DiskTag3,
  JOURNAL_MAGIC,
  TAG_ESCAPED,
  TAG_LAST,
  TAG_SAME_UUID,
  TAG_UUID_SIZE,
} from "./format.ts";
import {
  changeJournal,
  COMMIT_CHECKSUM_BYTE,
  type JournalFacts,
  Log,
  type LogDevice,
} from "./log.ts";
import { copyHome, imagesToCopy, readTransactions } from "./scan.ts";

export class Jbd2Log implements TransactionLog {
  readonly #log: Log;
  /** A block being made up: descriptor, revoke block, commit record, or an image with its magic number taken out. */
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #image: Uint8Array;
  readonly #persist: () => void;

  /** `persist` puts all that was stored to `device` on the medium. */
  constructor(facts: JournalFacts, device: LogDevice, persist: () => void) {
    this.#log = new Log(facts, device);
    this.#persist = persist;
    this.#bytes = new Uint8Array(facts.blockSize);
    this.#view = new DataView(this.#bytes.buffer);
    this.#image = new Uint8Array(facts.blockSize);
  }

  get first(): number {
    return this.#log.facts.first;
  }

  get blocks(): number {
    return this.#log.facts.end - this.#log.facts.first;
  }

  get #tagsPerDescriptor(): number {
    const log = this.#log;
    return Math.floor((log.entriesEnd - DiskHeader.structure.size - TAG_UUID_SIZE) / log.tagSize);
  }

  get #numbersPerRevoke(): number {
    const log = this.#log;
    return Math.floor((log.entriesEnd - DiskRevokeHeader.structure.size) / log.revokeSize);
  }

  blocksFor(changed: number, revoked: number): number {
    const descriptors = Math.ceil(changed / this.#tagsPerDescriptor);
    return changed + descriptors + Math.ceil(revoked / this.#numbersPerRevoke) + 1;
  }

  distance(from: number, to: number): number {
    return this.#log.distance(from, to);
  }

  next(at: number): number {
    return this.#log.next(at);
  }

  write(
    sequence: number,
    at: number,
    changed: readonly MetadataBlock[],
    revoked: readonly number[],
  ): number {
    for (let from = 0; from < revoked.length; from += this.#numbersPerRevoke) {
      this.#writeRevoke(sequence, at, revoked.slice(from, from + this.#numbersPerRevoke));
      at = this.#log.next(at);
    }
    for (let from = 0; from < changed.length; from += this.#tagsPerDescriptor) {
      at = this.#writeImages(sequence, at, changed.slice(from, from + this.#tagsPerDescriptor));
    }
    return at;
  }

  record(sequence: number, at: number): void {
    this.#begin(BLOCK_COMMIT, sequence);
    const now = Date.now();
    DiskCommit.seconds.set(this.#view, 0, Math.floor(now / 1000));
    DiskCommit.nanoseconds.set(this.#view, 0, (now % 1000) * 1_000_000);
    if (this.#log.hasChecksums) {
      const checksum = this.#log.checksumOf(this.#bytes, COMMIT_CHECKSUM_BYTE);
      DiskCommit.checksum.set(this.#view, 0, checksum);
    }
    this.#log.write(at, this.#bytes);
  }

  copyHome(sequence: number, at: number, last: number): void {
    const transactions = readTransactions(this.#log, sequence, at, last);
    const found = transactions.at(-1)?.sequence;
    if (found !== last) {
      throw new CorruptionError({
        structure: "journal",
        field: "h_sequence",
        value: found ?? "no transaction",
        expected: `expected transactions ${sequence} to ${last}, which were written there`,
        deviceByte: this.#log.byteOf(at),
      });
    }
    copyHome(this.#log, imagesToCopy(transactions), this.#persist);
  }

  setStart(sequence: number, at: number): void {
    changeJournal(this.#log, { sequence, start: at });
  }

  setAborted(errno: number): void {
    changeJournal(this.#log, { errno });
  }

  #begin(type: number, sequence: number): void {
    this.#bytes.fill(0);
    DiskHeader.magic.set(this.#view, 0, JOURNAL_MAGIC);
    DiskHeader.type.set(this.#view, 0, type);
    DiskHeader.sequence.set(this.#view, 0, sequence);
  }

  /** Writes the block made up, with its checksum at the end, to `at`. */
  #finish(at: number): void {
    const log = this.#log;
    if (log.hasChecksums) {
      this.#view.setUint32(log.entriesEnd, log.checksumOf(this.#bytes, log.entriesEnd));
    }
    log.write(at, this.#bytes);
  }

  #writeRevoke(sequence: number, at: number, blocks: readonly number[]): void {
    const { has64Bit, revokeSize } = this.#log;
    this.#begin(BLOCK_REVOKE, sequence);
    let byte = DiskRevokeHeader.structure.size;
    for (const block of blocks) {
      if (has64Bit) this.#view.setUint32(byte, Math.floor(block / 2 ** 32));
      this.#view.setUint32(byte + revokeSize - 4, block % 2 ** 32);
      byte += revokeSize;
    }
    DiskRevokeHeader.used.set(this.#view, 0, byte);
    this.#finish(at);
  }

  /** Writes a descriptor and the images it describes. Returns the place after them. */
  #writeImages(sequence: number, at: number, blocks: readonly MetadataBlock[]): number {
    const log = this.#log;
    const descriptorAt = at;
    this.#begin(BLOCK_DESCRIPTOR, sequence);
    let byte = DiskHeader.structure.size;
    for (const [index, { block, bytes, view }] of blocks.entries()) {
      at = log.next(at);
      const isEscaped = view.getUint32(0) === JOURNAL_MAGIC;
      const image = isEscaped ? this.#escape(bytes) : bytes;
      log.write(at, image);
      const flags =
        (isEscaped ? TAG_ESCAPED : 0) |
        (index > 0 ? TAG_SAME_UUID : 0) |
        (index === blocks.length - 1 ? TAG_LAST : 0);
      this.#writeTag(
        byte,
        block,
        flags,
        log.hasChecksums ? log.checksumOfImage(sequence, image) : 0,
      );
      byte += log.tagSize;
      if (index === 0) {
        this.#bytes.set(log.facts.uuid, byte);
        byte += TAG_UUID_SIZE;
      }
    }
    this.#finish(descriptorAt);
    return log.next(at);
  }

  /** A copy of an image without the magic number that it begins with. */
  #escape(bytes: Uint8Array): Uint8Array {
    this.#image.set(bytes);
    this.#image.fill(0, 0, 4);
    return this.#image;
  }

  #writeTag(at: number, block: number, flags: number, checksum: number): void {
    const { has64Bit, hasTag3 } = this.#log;
    const view = this.#view;
    const tag = hasTag3 ? DiskTag3 : DiskTag;
    tag.blockLow.set(view, at, block % 2 ** 32);
    tag.flags.set(view, at, flags);
    tag.checksum.set(view, at, hasTag3 ? checksum : checksum % 2 ** 16);
    if (has64Bit) tag.blockHigh.set(view, at, Math.floor(block / 2 ** 32));
  }
}
