/**
 * The names inside one directory block. A block is a chain of records:
 *
 *     ino | record length | name length | type | name, padded to a multiple of 4 | slack
 *
 * Rules. (1) The chain begins at byte 0 (`entriesStart`) and ends exactly at `entriesEnd`. (2) A record's length is
 *        a multiple of 4 and holds its header and name. (3) A record whose ino is 0 is free space.
 *        (4) With metadata_csum the block's last 12 bytes are a tail, dressed as a free record.
 *
 * Blocks are verified when they are read from the device (`verifyNames`). The walks check rule 2
 * again at each step all the same: a block that damage gives to two owners was verified for one.
 * Nothing here sleeps. Locks: the directory's io lock; to change a block, an open transaction.
 *
 * Source: Linux Documentation/filesystems/ext4/directory.rst, "Linear (Classic) Directories".
 */
import { CorruptionError } from "../../../base/errors.ts";
import { invariant } from "../../../base/invariant.ts";
import type { Ino } from "../../../base/quantities.ts";
import { struct, u8, u16, u32 } from "../../../base/struct.ts";
import type { FileType } from "../../../iomap/contract.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";

/**
 * A record's head. Without the filetype feature `type` is the high byte of the name's length: 0.
 */
export const DiskEntry = struct(
  "ext4_dir_entry_2",
  { endian: "little", size: 8 },
  { ino: u32(0), recordLength: u16(4), nameLength: u8(6), type: u8(7) },
);

export const DiskEntryTail = struct(
  "ext4_dir_entry_tail",
  { endian: "little", size: 12 },
  {
    zeroIno: u32(0),
    recordLength: u16(4),
    zeroNameLength: u8(6),
    type: u8(7), // TAIL_TYPE, which no file has
    checksum: u32(8),
  },
);

export const ENTRY_HEADER_SIZE = DiskEntry.structure.size;
export const TAIL_SIZE = DiskEntryTail.structure.size;
const TAIL_TYPE = 0xde;
export const NAME_LENGTH_MAX = 255;

/** How a volume lays out its directory blocks; or where in an inode's block the inode has names (inline-data.ts). */
export interface NameFormat {
  readonly blockSize: number;
  /** Where the chain of records begins: 0 in a directory's block. */
  readonly entriesStart: number;
  /** Where the chain of records ends: the block's size, less the tail where there is one. */
  readonly entriesEnd: number;
  /** Records hold a type (the filetype feature). */
  readonly hasTypes: boolean;
  /** The volume's highest inode number. */
  readonly inoMax: number;
}

/** Filled in by a search of a block. All are byte offsets in the block, or -1. */
export interface NamePlace {
  /** The record that holds the name. */
  at: number;
  /** The record before it. */
  previousAt: number;
  /** The first record with room for the name in its slack, among those that were passed. */
  spaceAt: number;
}

const typeOfCode: readonly (FileType | null)[] = [
  null,
  "file",
  "directory",
  "character-device",
  "block-device",
  "fifo",
  "socket",
  "symlink",
];

export const codeOfType: Record<FileType, number> = {
  file: 1,
  directory: 2,
  "character-device": 3,
  "block-device": 4,
  fifo: 5,
  socket: 6,
  symlink: 7,
};

/** Bytes a record needs for a name of this length. */
export function recordLengthFor(nameLength: number): number {
  return (ENTRY_HEADER_SIZE + nameLength + 3) & ~3;
}

function damagedRecord(block: MetadataBlock, at: number, field: string, expected: string): never {
  const table: Record<string, number> = {
    inode: DiskEntry.ino.get(block.view, at),
    rec_len: DiskEntry.recordLength.get(block.view, at),
    name_len: DiskEntry.nameLength.get(block.view, at),
    file_type: DiskEntry.type.get(block.view, at),
  };
  throw new CorruptionError({
    structure: DiskEntry.structure.name,
    field,
    value: table[field] ?? "wrong",
    deviceByte: block.block * block.bytes.length + at,
    expected,
  });
}

/**
 * The length of the record at `at`, checked so that a walk by it stays inside the block and ends.
 * Throws: CorruptionError.
 */
export function recordLengthAt(block: MetadataBlock, format: NameFormat, at: number): number {
  const { view } = block;
  const rest = format.entriesEnd - at;
  if (rest < ENTRY_HEADER_SIZE) {
    damagedRecord(block, at, "place", "expected 8 bytes of header in the block");
  }
  const length = DiskEntry.recordLength.get(view, at);
  const used = ENTRY_HEADER_SIZE + DiskEntry.nameLength.get(view, at);
  if (length < used || length > rest || (length & 3) !== 0) {
    damagedRecord(block, at, "rec_len", `expected a multiple of 4 from ${used} to ${rest}`);
  }
  return length;
}

/** Checks rules 1 to 3 and every name of a block. Throws: CorruptionError. */
export function verifyNames(block: MetadataBlock, format: NameFormat): void {
  for (let at = format.entriesStart; at < format.entriesEnd; ) {
    at += verifyRecord(block, format, at);
  }
}

/** Checks one record, and its name. Returns its length. Throws: CorruptionError. */
export function verifyRecord(block: MetadataBlock, format: NameFormat, at: number): number {
  const { bytes, view } = block;
  const length = recordLengthAt(block, format, at);
  const ino = DiskEntry.ino.get(view, at);
  if (ino > format.inoMax) damagedRecord(block, at, "inode", `expected at most ${format.inoMax}`);
  if (!format.hasTypes && DiskEntry.type.get(view, at) !== 0) {
    damagedRecord(block, at, "file_type", "expected 0 on a volume without the filetype feature");
  }
  if (ino === 0) return length;
  const nameLength = DiskEntry.nameLength.get(view, at);
  if (nameLength === 0) {
    damagedRecord(block, at, "name_len", "expected more than 0 in a record in use");
  }
  const nameAt = at + ENTRY_HEADER_SIZE;
  for (let index = nameAt; index < nameAt + nameLength; index++) {
    if (bytes[index] === 0x2f || bytes[index] === 0) {
      damagedRecord(block, at, "name", "expected no slash or zero byte");
    }
  }
  return length;
}

/** Whether the last 12 bytes are a tail, whatever its checksum. */
export function hasTail(block: MetadataBlock): boolean {
  const { view } = block;
  const at = block.bytes.length - TAIL_SIZE;
  return (
    DiskEntryTail.zeroIno.get(view, at) === 0 &&
    DiskEntryTail.recordLength.get(view, at) === TAIL_SIZE &&
    DiskEntryTail.zeroNameLength.get(view, at) === 0 &&
    DiskEntryTail.type.get(view, at) === TAIL_TYPE
  );
}

/** An empty block: one free record, and a tail where the format has one. */
export function initNames(block: MetadataBlock, format: NameFormat): void {
  block.bytes.fill(0);
  DiskEntry.recordLength.set(block.view, 0, format.entriesEnd);
  if (format.entriesEnd < format.blockSize) {
    const at = format.entriesEnd;
    DiskEntryTail.recordLength.set(block.view, at, TAIL_SIZE);
    DiskEntryTail.type.set(block.view, at, TAIL_TYPE);
  }
}

export const dot = new Uint8Array([0x2e]);
export const dotDot = new Uint8Array([0x2e, 0x2e]);

/** "." or "..", which name no entry that may be made or removed. */
export function isDots(name: Uint8Array): boolean {
  return areDots(name, 0, name.length);
}

function areDots(bytes: Uint8Array, start: number, length: number): boolean {
  if (length === 1) return bytes[start] === 0x2e;
  return length === 2 && bytes[start] === 0x2e && bytes[start + 1] === 0x2e;
}

/**
 * Looks for `name` in one pass; says in `place` where it is, and where it would fit.
 * Returns: whether it was found; then `place.spaceAt` covers only the records before it.
 * Throws: CorruptionError.
 */
export function findName(
  block: MetadataBlock,
  format: NameFormat,
  name: Uint8Array,
  place: NamePlace,
): boolean {
  const { bytes, view } = block;
  const { entriesStart, entriesEnd } = format;
  const needed = recordLengthFor(name.length);
  let previousAt = -1;
  let spaceAt = -1;
  // A search looks at every record of a block, so this reads them by words, not by DiskEntry's fields.
  for (let at = entriesStart; at < entriesEnd; ) {
    const lengths = view.getInt32(at + 4, true);
    const inUse = view.getInt32(at, true) !== 0;
    const nameLength = (lengths >>> 16) & 0xff;
    let length = lengths & 0xffff;
    if (length < ENTRY_HEADER_SIZE + nameLength || length > entriesEnd - at || length & 3) {
      length = recordLengthAt(block, format, at); // which says what is wrong
    }
    if (inUse && nameLength === name.length && isNameAt(bytes, at + ENTRY_HEADER_SIZE, name)) {
      place.at = at;
      place.previousAt = previousAt;
      place.spaceAt = spaceAt;
      return true;
    }
    if (spaceAt < 0) {
      const slack = inUse ? length - recordLengthFor(nameLength) : length;
      if (slack >= needed) spaceAt = at;
    }
    previousAt = at;
    at += length;
  }
  place.at = -1;
  place.previousAt = previousAt;
  place.spaceAt = spaceAt;
  return false;
}

/** Compares from the end: names in one directory often begin alike. */
function isNameAt(bytes: Uint8Array, at: number, name: Uint8Array): boolean {
  for (let index = name.length - 1; index >= 0; index--) {
    if (bytes[at + index] !== name[index]) return false;
  }
  return true;
}

/** Whether the block holds any name but "." and "..". Throws: CorruptionError. */
export function holdsNames(block: MetadataBlock, format: NameFormat): boolean {
  const { entriesStart, entriesEnd } = format;
  for (let at = entriesStart; at < entriesEnd; at += recordLengthAt(block, format, at)) {
    if (inoAt(block, at) !== 0 && !isDotsAt(block, at)) return true;
  }
  return false;
}

export function inoAt(block: MetadataBlock, at: number): Ino {
  return DiskEntry.ino.get(block.view, at) as Ino;
}

/** Whether the record at `at` is of "." or "..", without a view of its name. */
export function isDotsAt({ bytes, view }: MetadataBlock, at: number): boolean {
  return areDots(bytes, at + ENTRY_HEADER_SIZE, DiskEntry.nameLength.get(view, at));
}

/** The type of the record at `at`; null where the volume or this record does not tell. */
export function typeAt(block: MetadataBlock, format: NameFormat, at: number): FileType | null {
  return format.hasTypes ? (typeOfCode[DiskEntry.type.get(block.view, at)] ?? null) : null;
}

/** The name of the record at `at`, in place: copy it to keep it. */
export function nameAt(block: MetadataBlock, at: number): Uint8Array {
  const start = at + ENTRY_HEADER_SIZE;
  return block.bytes.subarray(start, start + DiskEntry.nameLength.get(block.view, at));
}

/** A copy of that name. */
export function copyNameAt(block: MetadataBlock, at: number): Uint8Array {
  const start = at + ENTRY_HEADER_SIZE;
  return block.bytes.slice(start, start + DiskEntry.nameLength.get(block.view, at));
}

/**
 * Puts a name into the slack of the record at `spaceAt`, which `findName` or `initNames` left. Returns the
 * place of its record.
 */
export function insertName(
  block: MetadataBlock,
  format: NameFormat,
  spaceAt: number,
  name: Uint8Array,
  ino: Ino,
  type: FileType,
): number {
  let at = spaceAt;
  let length = recordLengthAt(block, format, at);
  if (inoAt(block, at) !== 0) {
    const used = recordLengthFor(DiskEntry.nameLength.get(block.view, at));
    DiskEntry.recordLength.set(block.view, at, used);
    at += used;
    length -= used;
  }
  invariant(length >= recordLengthFor(name.length), "a name is put where it does not fit");
  DiskEntry.recordLength.set(block.view, at, length);
  DiskEntry.nameLength.set(block.view, at, name.length);
  block.bytes.set(name, at + ENTRY_HEADER_SIZE);
  setTarget(block, format, at, ino, type);
  return at;
}

/** Makes the name at `at` one of `ino`. */
export function setTarget(
  block: MetadataBlock,
  format: NameFormat,
  at: number,
  ino: Ino,
  type: FileType,
): void {
  DiskEntry.ino.set(block.view, at, ino);
  DiskEntry.type.set(block.view, at, format.hasTypes ? codeOfType[type] : 0);
}

/**
 * Removes the record at `at`: the one before takes its space, or it becomes free space where it is
 * the first. Its name is wiped. No other record moves.
 */
export function removeName(
  block: MetadataBlock,
  format: NameFormat,
  at: number,
  previousAt: number,
): void {
  const length = recordLengthAt(block, format, at);
  const used = recordLengthFor(DiskEntry.nameLength.get(block.view, at));
  block.bytes.fill(0, at, at + used);
  if (previousAt < 0) DiskEntry.recordLength.set(block.view, at, length);
  else DiskEntry.recordLength.set(block.view, previousAt, at + length - previousAt);
}

/**
 * Writes the records at `offsets` of `source` into `target`, tightly and in that order, over
 * whatever it held. `source` must not share memory with `target`.
 */
export function packNames(
  target: MetadataBlock,
  format: NameFormat,
  source: Uint8Array,
  offsets: readonly number[],
): void {
  initNames(target, format);
  let at = 0;
  let lastAt = 0;
  for (const offset of offsets) {
    const nameLength = source[offset + DiskEntry.nameLength.offset]!;
    target.bytes.set(source.subarray(offset, offset + ENTRY_HEADER_SIZE + nameLength), at);
    lastAt = at;
    at += recordLengthFor(nameLength);
    invariant(at <= format.entriesEnd, "names are packed into a block that cannot hold them");
    DiskEntry.recordLength.set(target.view, lastAt, at - lastAt);
  }
  DiskEntry.recordLength.set(target.view, lastAt, format.entriesEnd - lastAt);
}
