/**
 * Reading the area of fast commits. They are what the kernel writes for an fsync instead of a whole transaction:
 * what has changed since the last one, in a few records.
 *
 * Rules. (1) A fast commit counts when head and tail have the number of the transaction that would follow the log's
 *            last, and its checksum is right. Others are old, or were never finished.
 *        (2) The first that does not count is the end. But where a later one does, it was promised, and is damaged: one
 *            is begun when the one before is on the medium.
 */
import { crc32c } from "../../../base/checksum.ts";
import { CorruptionError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import { extentOf } from "../maps/extent-nodes.ts";
import type { Piece } from "../maps/file-map.ts";
import { INODE_SIZE_OLD } from "../format.ts";
import type { Log } from "../jbd2/log.ts";
import { NAME_LENGTH_MAX } from "../directories/names.ts";
import {
  DiskAddRange,
  DiskDeleteRange,
  DiskHead,
  DiskInodeInfo,
  DiskNameInfo,
  DiskRecord,
  DiskTail,
  TAG_ADD_RANGE,
  TAG_CREATE,
  TAG_DELETE_RANGE,
  TAG_HEAD,
  TAG_INODE,
  TAG_LINK,
  TAG_PADDING,
  TAG_TAIL,
  TAG_UNLINK,
} from "./format.ts";

/** What one record says. `deviceByte`: where it lies. */
export type FastChange = { readonly ino: Ino; readonly deviceByte: number } & (
  | { readonly kind: "add-range"; readonly piece: Piece }
  | { readonly kind: "delete-range"; readonly fileBlock: number; readonly count: number }
  | {
      readonly kind: "create" | "link" | "unlink";
      readonly parent: Ino;
      readonly name: Uint8Array;
    }
  | { readonly kind: "inode"; readonly inode: Uint8Array }
);

/** The fast commits that count. */
export interface FastCommits {
  /** Of the transaction that they are instead of. */
  readonly sequence: number;
  readonly commits: number;
  readonly changes: readonly FastChange[];
  /** Bits of the head that this version does not know: then there are no changes here. */
  readonly unknownFeatures: number;
}

interface FastCommit {
  readonly changes: readonly FastChange[];
  readonly blocks: number;
  readonly unknownFeatures: number;
}

const KIND_OF_NAME_TAG = new Map([
  [TAG_CREATE, "create"],
  [TAG_LINK, "link"],
  [TAG_UNLINK, "unlink"],
] as const);

/** The least and the most bytes of a record's value, by its tag; null: there is no such tag. */
function lengthsOf(tag: number, inodeSize: number): readonly [number, number] | null {
  const of = (size: number): [number, number] => [size, size];
  if (tag === TAG_ADD_RANGE) return of(DiskAddRange.structure.size);
  if (tag === TAG_DELETE_RANGE) return of(DiskDeleteRange.structure.size);
  if (tag === TAG_CREATE || tag === TAG_LINK || tag === TAG_UNLINK) {
    const { size } = DiskNameInfo.structure;
    return [size + 1, size + NAME_LENGTH_MAX];
  }
  if (tag === TAG_INODE) {
    const { size } = DiskInodeInfo.structure;
    return [size + INODE_SIZE_OLD, size + inodeSize];
  }
  if (tag === TAG_HEAD) return of(DiskHead.structure.size);
  if (tag === TAG_TAIL) return [DiskTail.structure.size, Number.POSITIVE_INFINITY];
  return tag === TAG_PADDING ? [0, Number.POSITIVE_INFINITY] : null;
}

/** Reads one fast commit, block by block. */
class Reader {
  readonly #log: Log;
  readonly #inodeSize: number;
  readonly #sequence: number;
  readonly #first: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #changes: FastChange[] = [];
  #unknownFeatures = 0;
  #checksum = 0;
  #block = 0;

  /** One that begins at block `first` of the area. */
  constructor(log: Log, inodeSize: number, sequence: number, first: number) {
    this.#log = log;
    this.#inodeSize = inodeSize;
    this.#sequence = sequence;
    this.#first = first;
    this.#bytes = new Uint8Array(log.blockSize);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** The fast commit, or why there is none. */
  read(): FastCommit | CorruptionError {
    const { fastCommitBlocks, fastCommitFirst } = this.#log.facts;
    for (this.#block = this.#first; this.#block < fastCommitBlocks; this.#block++) {
      this.#log.read(fastCommitFirst + this.#block, this.#bytes);
      const ended = this.#readBlock();
      if (ended instanceof CorruptionError) return ended;
      if (ended === "tail") {
        const blocks = this.#block + 1 - this.#first;
        return { changes: this.#changes, blocks, unknownFeatures: this.#unknownFeatures };
      }
      this.#checksum = crc32c(this.#checksum, this.#bytes);
    }
    this.#block--;
    return this.#damage(this.#log.blockSize, "fc_tag", "no tail", `expected ${TAG_TAIL}`);
  }

  #damage(at: number, field: string, value: number | string, expected: string): CorruptionError {
    const deviceByte = this.#byteOf(at);
    return new CorruptionError({ structure: "fast commit", field, value, expected, deviceByte });
  }

  #byteOf(at: number): number {
    return this.#log.byteOf(this.#log.facts.fastCommitFirst + this.#block) + at;
  }

  /** The records of one block. "more": the fast commit goes on in the next one. */
  #readBlock(): "more" | "tail" | CorruptionError {
    const { blockSize } = this.#log;
    const view = this.#view;
    for (let at = 0; at + DiskRecord.structure.size <= blockSize; ) {
      const tag = DiskRecord.tag.get(view, at);
      const length = DiskRecord.length.get(view, at);
      const value = at + DiskRecord.structure.size;
      const lengths = lengthsOf(tag, this.#inodeSize);
      if (lengths === null) return this.#damage(at, "fc_tag", tag, "expected a known tag");
      const most = Math.min(lengths[1], blockSize - value);
      const least = lengths[0];
      // A tail's length is that of the rest of the block, as far as one can tell from it.
      if (length < least || (length > most && tag !== TAG_TAIL) || least > most) {
        return this.#damage(at, "fc_len", length, `expected ${least} to ${most}`);
      }
      if (tag === TAG_TAIL) return this.#tail(value);
      if (tag === TAG_HEAD) {
        const wrong = this.#head(at, value);
        if (wrong !== null) return wrong;
      } else if (tag !== TAG_PADDING) this.#changes.push(this.#change(tag, value, length));
      at = value + length;
    }
    return "more";
  }

  #head(at: number, value: number): CorruptionError | null {
    if (this.#block > 0 || at > 0) {
      return this.#damage(at, "fc_tag", TAG_HEAD, "expected it in the first place only");
    }
    const found = DiskHead.sequence.get(this.#view, value);
    if (found !== this.#sequence) {
      return this.#damage(value, "fc_tid", found, `expected ${this.#sequence}`);
    }
    this.#unknownFeatures = DiskHead.features.get(this.#view, value);
    return null;
  }

  #tail(value: number): "tail" | CorruptionError {
    const { sequence, checksum } = DiskTail;
    const found = sequence.get(this.#view, value);
    if (found !== this.#sequence) {
      return this.#damage(value, "fc_tid", found, `expected ${this.#sequence}`);
    }
    const stored = checksum.get(this.#view, value);
    const before = this.#bytes.subarray(0, value + checksum.offset);
    const computed = crc32c(this.#checksum, before);
    if (stored === computed) return "tail";
    return this.#damage(value, "fc_crc", stored, `but its records give ${computed}`);
  }

  #change(tag: number, at: number, length: number): FastChange {
    const view = this.#view;
    const deviceByte = this.#byteOf(at);
    if (tag === TAG_ADD_RANGE) {
      const ino = DiskAddRange.ino.get(view, at) as Ino;
      const piece = extentOf(view, at + DiskAddRange.extent.offset);
      return { kind: "add-range", ino, deviceByte, piece };
    }
    if (tag === TAG_DELETE_RANGE) {
      const ino = DiskDeleteRange.ino.get(view, at) as Ino;
      const fileBlock = DiskDeleteRange.fileBlock.get(view, at);
      return {
        kind: "delete-range",
        ino,
        deviceByte,
        fileBlock,
        count: DiskDeleteRange.count.get(view, at),
      };
    }
    const kind = KIND_OF_NAME_TAG.get(tag as typeof TAG_CREATE);
    if (kind === undefined) {
      const ino = DiskInodeInfo.ino.get(view, at) as Ino;
      const inode = this.#bytes.slice(at + DiskInodeInfo.structure.size, at + length);
      return { kind: "inode", ino, deviceByte, inode };
    }
    const ino = DiskNameInfo.ino.get(view, at) as Ino;
    const parent = DiskNameInfo.parent.get(view, at) as Ino;
    const name = this.#bytes.slice(at + DiskNameInfo.structure.size, at + length);
    return { kind, ino, deviceByte, parent, name };
  }
}

/**
 * The fast commits that follow transaction `sequence` - 1, the last of the log; null: there are none.
 * Throws: CorruptionError for one that was promised and is damaged (rule 2).
 */
export function readFastCommits(log: Log, inodeSize: number, sequence: number): FastCommits | null {
  const changes: FastChange[] = [];
  let commits = 0;
  let next = 0;
  while (next < log.facts.fastCommitBlocks) {
    const found = new Reader(log, inodeSize, sequence, next).read();
    if (found instanceof CorruptionError) {
      if (isFollowed(log, inodeSize, sequence, next)) throw found;
      break;
    }
    const { unknownFeatures } = found;
    if (unknownFeatures !== 0) return { sequence, commits: 0, changes: [], unknownFeatures };
    changes.push(...found.changes);
    commits++;
    next += found.blocks;
  }
  return commits === 0 ? null : { sequence, commits, changes, unknownFeatures: 0 };
}

/** Whether a fast commit that counts begins in a block after `block` of the area. */
function isFollowed(log: Log, inodeSize: number, sequence: number, block: number): boolean {
  for (let first = block + 1; first < log.facts.fastCommitBlocks; first++) {
    const found = new Reader(log, inodeSize, sequence, first).read();
    if (!(found instanceof CorruptionError)) return true;
  }
  return false;
}
