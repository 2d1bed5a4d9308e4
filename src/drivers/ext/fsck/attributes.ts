/**
 * Extended attributes, in inodes and in blocks of their own.
 *
 * Entries follow one another from the front, each naming a place for its value from the back; a word of
 * zeroes ends them. Source: Linux Documentation/filesystems/ext4/attributes.rst.
 */
import { CorruptionError } from "../../../base/errors.ts";
import { attributeHash } from "../attributes/area.ts";
import { attributeChecksum } from "../checksums.ts";
import {
  ATTRIBUTE_MAGIC,
  DiskAttributeEntry,
  DiskAttributeHeader,
  DiskInode,
  INCOMPATIBLE,
  INODE_SIZE_OLD,
  INODE_VALUE,
} from "../format.ts";
import { referencesOf } from "../attributes/values.ts";
import { inodeFlags, type RawInode, readRaw } from "../inodes/inode.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { NEEDS_NO_NAME, TYPE_FILE } from "./census.ts";
import type { Check } from "./check.ts";
import type { FindingCode } from "./findings.ts";
import type { InodeCheck } from "./inodes.ts";

const ENTRY_SIZE = DiskAttributeEntry.structure.size;
const HEADER_SIZE = DiskAttributeHeader.structure.size;
/** Values are at most this long. */
const VALUE_SIZE_MAX = 2 ** 24;
const INDEX_SYSTEM = 7;
const NAME_OF_INLINE_DATA = "data";

const NO_BLOCK = { blocks: 0, values: 0 };

/** Where entries lie, and their values. Bytes in `bytes`. */
interface Region {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly entriesAt: number;
  /** Values' offsets count from here. */
  readonly valuesFrom: number;
  readonly end: number;
  /** Hashes of 0 are not looked at: kernels did not write them in inodes. */
  readonly mayLackHashes: boolean;
  /** Of byte 0 of `bytes`. */
  readonly deviceByte: number;
}

export interface AttributesInside {
  /** Bytes of the attribute in which data of the inode goes on, and where it lies; -1: there is none. */
  readonly dataSize: number;
  readonly dataAt: number;
  /** Blocks of values in inodes of their own, which are counted to the inode that has the attribute. */
  readonly valueBlocks: number;
  /** How many such values there are. */
  readonly values: number;
}

/** The attributes behind the fields of an inode; null: it has none. */
export function checkAttributesInside(inode: InodeCheck): AttributesInside | null {
  const { raw, check } = inode;
  const { inodeSize } = check.volume.facts;
  if (inodeSize === INODE_SIZE_OLD) return null;
  const { view, bytes } = raw.block;
  const extra = DiskInode.extraSize.get(view, raw.at);
  const start = raw.at + INODE_SIZE_OLD + extra;
  const end = raw.at + inodeSize;
  if (extra === 0 || extra % 4 !== 0 || start + 4 > end) return null;
  if (view.getUint32(start, true) !== ATTRIBUTE_MAGIC) return null;
  const region = {
    bytes,
    view,
    entriesAt: start + 4,
    valuesFrom: start + 4,
    end,
    mayLackHashes: true,
    deviceByte: check.volume.byteOf(raw.block.block),
  };
  return checkEntries(inode, region);
}

/** The block of attributes that an inode names. Returns the blocks, and the values in inodes, that the inode has by it. */
export function checkAttributeBlock(
  inode: InodeCheck,
  block: number,
): { readonly blocks: number; readonly values: number } {
  if (block === 0) return NO_BLOCK;
  const { check, ino } = inode;
  const { volume, census } = check;
  const known = census.attributeBlocks.get(block);
  if (known !== undefined) {
    known.found++;
    return { blocks: volume.facts.clusterBlocks + known.valueBlocks, values: known.values };
  }
  if (!volume.isOwnable(block, 1)) {
    // e2fsck tells of a place outside when it comes to the inode's name.
    const { firstDataBlock, blocks } = volume.facts;
    const isOutside = block < firstDataBlock || block >= blocks;
    const hasNoName = ((census.types.get(ino) ?? 0) & NEEDS_NO_NAME) !== 0;
    if (isOutside && hasNoName) return NO_BLOCK;
    inode.tell("attribute-block", "i_file_acl", block, "expected a block that can be its own");
    return NO_BLOCK;
  }
  census.own(ino, block, 1, "its block of attributes");
  const read = check.attempt(() => check.reader.read(block, () => {}));
  const referenceCount = read === null ? -1 : checkHeader(inode, read);
  let inside: Pick<AttributesInside, "valueBlocks" | "values"> = { valueBlocks: 0, values: 0 };
  if (read !== null && referenceCount >= 0) {
    inside = checkEntries(inode, {
      bytes: read.bytes,
      view: read.view,
      entriesAt: HEADER_SIZE,
      valuesFrom: 0,
      end: volume.blockSize,
      mayLackHashes: false,
      deviceByte: volume.byteOf(block),
    });
  }
  const { valueBlocks, values } = inside;
  census.attributeBlocks.set(block, { referenceCount, ino, found: 1, valueBlocks, values });
  return { blocks: volume.facts.clusterBlocks + valueBlocks, values };
}

/** Returns the count of users that the block says; -1: it is no block of attributes. */
function checkHeader({ check, ino }: InodeCheck, block: MetadataBlock): number {
  const { volume } = check;
  const { structure, magic, blocks, checksum, referenceCount } = DiskAttributeHeader;
  const tell = (code: FindingCode, field: string, value: number, expected: number) =>
    check.tell(code, {
      structure: structure.name,
      ino,
      block: block.block,
      field,
      value,
      expected,
      deviceByte: volume.byteOf(block.block),
      text: `inode ${ino}, block of attributes ${block.block}: ${field} is ${value}, expected ${expected}`,
    });
  const magicFound = magic.get(block.view, 0);
  if (magicFound !== ATTRIBUTE_MAGIC) {
    tell("attribute-block", "h_magic", magicFound, ATTRIBUTE_MAGIC);
    return -1;
  }
  const blocksFound = blocks.get(block.view, 0);
  if (blocksFound !== 1) tell("attribute-block", "h_blocks", blocksFound, 1);
  if (volume.metadataChecksums) {
    const stored = checksum.get(block.view, 0);
    const computed = attributeChecksum(volume.checksumSeed, block.block, block.bytes);
    if (stored !== computed) tell("attribute-checksum", "h_checksum", stored, computed);
  }
  return referenceCount.get(block.view, 0);
}

/** Walks entries to their end; tells of the first that cannot be, and of every wrong hash. */
function checkEntries(inode: InodeCheck, region: Region): AttributesInside {
  const { view } = region;
  const values: [start: number, end: number][] = [];
  let data = { dataSize: -1, dataAt: -1, valueBlocks: 0, values: 0 };
  let at = region.entriesAt;
  for (;;) {
    if (at + 4 > region.end || (region.mayLackHashes && at + ENTRY_SIZE > region.end)) break;
    if (view.getUint32(at, true) === 0) break;
    const nameLength = DiskAttributeEntry.nameLength.get(view, at);
    const next = at + ENTRY_SIZE + ((nameLength + 3) & ~3);
    if (next > region.end) {
      tellEntry(inode, region, at, "e_name_len", nameLength, "expected a name that ends inside");
      return data;
    }
    const nameIndex = DiskAttributeEntry.nameIndex.get(view, at);
    if (nameIndex === 0 && !region.mayLackHashes) {
      tellEntry(inode, region, at, "e_name_index", nameIndex, "expected the number of a prefix");
      return data;
    }
    const value = checkValue(inode, region, at);
    if (value === null) return data;
    if (value.end > value.start) values.push([value.start, value.end]);
    if (isInlineData(region, at, nameLength)) {
      const dataSize = DiskAttributeEntry.valueSize.get(view, at);
      data = { ...data, dataSize, dataAt: value.start };
    }
    if (DiskAttributeEntry.valueIno.get(view, at) !== 0) {
      const size = DiskAttributeEntry.valueSize.get(view, at);
      const { blockSize } = inode.check.volume;
      const valueBlocks = data.valueBlocks + Math.ceil(size / blockSize);
      data = { ...data, valueBlocks, values: data.values + 1 };
    }
    at = next;
  }
  checkOverlaps(inode, region, at, values);
  return data;
}

function isInlineData({ view, bytes }: Region, at: number, nameLength: number): boolean {
  if (DiskAttributeEntry.nameIndex.get(view, at) !== INDEX_SYSTEM) return false;
  const name = bytes.subarray(at + ENTRY_SIZE, at + ENTRY_SIZE + nameLength);
  return Buffer.from(name).toString("latin1") === NAME_OF_INLINE_DATA;
}

/** The bytes of an entry's value in the region; null where they cannot be. */
function checkValue(
  inode: InodeCheck,
  region: Region,
  at: number,
): { start: number; end: number } | null {
  const { view } = region;
  const size = DiskAttributeEntry.valueSize.get(view, at);
  const valueIno = DiskAttributeEntry.valueIno.get(view, at);
  const { features } = inode.check.volume;
  if (valueIno !== 0) {
    if ((features.incompatible & INCOMPATIBLE.ea_inode) === 0) {
      tellEntry(inode, region, at, "e_value_inum", valueIno, "expected 0 without ea_inode");
      return null;
    }
    const { valueInodes } = inode.check.census;
    valueInodes.set(valueIno, (valueInodes.get(valueIno) ?? 0) + 1);
    const valueHash = hashOfValueInode(inode.check, valueIno);
    if (valueHash !== null) checkHash(inode, region, at, [valueHash]);
    return { start: 0, end: 0 };
  }
  const offset = DiskAttributeEntry.valueOffset.get(view, at);
  const start = region.valuesFrom + offset;
  const end = start + ((size + 3) & ~3);
  if (size > VALUE_SIZE_MAX || end > region.end) {
    const expected = `expected a value from byte ${offset} on that ends inside`;
    tellEntry(inode, region, at, "e_value_size", size, expected);
    return null;
  }
  const words: number[] = [];
  for (let byte = 0; byte < size; byte += 4) words.push(view.getUint32(start + byte, true));
  checkHash(inode, region, at, words);
  return size === 0 ? { start: 0, end: 0 } : { start, end };
}

/** Checks an entry's hash, of its name and of the words of its value. Old writers took the name's bytes as signed. */
function checkHash(inode: InodeCheck, region: Region, at: number, words: readonly number[]): void {
  const { bytes, view } = region;
  const stored = DiskAttributeEntry.hash.get(view, at);
  if (stored === 0 && region.mayLackHashes) return;
  const nameLength = DiskAttributeEntry.nameLength.get(view, at);
  const name = bytes.subarray(at + ENTRY_SIZE, at + ENTRY_SIZE + nameLength);
  const right = attributeHash(name, words);
  if (stored === right || stored === attributeHash(Int8Array.from(name), words)) return;
  tellEntry(inode, region, at, "e_hash", stored, `expected ${right}`, "attribute-hash");
}

/** An inode with a value keeps the value's hash in its time of access. Null: it cannot be read. */
function hashOfValueInode(check: Check, ino: number): number | null {
  try {
    const { block, at } = readRaw(check.volume, ino as Ino);
    return DiskInode.accessTime.get(block.view, at);
  } catch (error) {
    if (error instanceof CorruptionError) return null; // checkValueInode tells
    throw error;
  }
}

/** Values lie behind the entries and apart from one another. */
function checkOverlaps(
  inode: InodeCheck,
  region: Region,
  entriesEnd: number,
  values: [start: number, end: number][],
): void {
  values.sort(([a], [b]) => a - b);
  // A word of zeroes ends the entries.
  let last = Math.min(entriesEnd + 4, region.end);
  for (const [start, end] of values) {
    if (start < last) {
      const expected = `expected at least ${last - region.valuesFrom}, apart from what lies before`;
      tellEntry(
        inode,
        region,
        region.entriesAt,
        "e_value_offs",
        start - region.valuesFrom,
        expected,
      );
      return;
    }
    last = end;
  }
}

function tellEntry(
  { check, ino }: InodeCheck,
  region: Region,
  at: number,
  field: string,
  value: number,
  expected: string,
  code: FindingCode = "attribute-entry",
): void {
  const { structure } = DiskAttributeEntry;
  check.tell(code, {
    structure: structure.name,
    ino,
    field,
    value,
    expected,
    deviceByte: region.deviceByte + at,
    text: `inode ${ino}, an extended attribute: ${field} is ${value}, ${expected}`,
  });
}

/** When all inodes were seen: how often blocks of attributes and inodes with values are named. */
export function checkAttributeUses(check: Check): void {
  const { structure } = DiskAttributeHeader;
  for (const [block, { referenceCount, found, ino }] of check.census.attributeBlocks) {
    if (referenceCount < 0 || referenceCount === found) continue;
    check.tell("attribute-references", {
      structure: structure.name,
      ino,
      block,
      field: "h_refcount",
      value: referenceCount,
      expected: found,
      deviceByte: check.volume.byteOf(block),
      text: `block of attributes ${block}: h_refcount is ${referenceCount}, but ${found} inodes name it`,
    });
  }
  for (const [ino, uses] of check.census.valueInodes) checkValueInode(check, ino, uses);
}

/** One reference for each entry that names the value. */
function checkReferences(check: Check, ino: number, uses: number): void {
  const raw = readRaw(check.volume, ino as Ino);
  const said = referencesOf(raw);
  if (said === uses || isOldValue(raw)) return;
  check.tell("attribute-references", {
    structure: DiskInode.structure.name,
    ino,
    field: "i_version",
    value: said,
    expected: uses,
    deviceByte: check.volume.byteOf(raw.block.block, raw.at),
    text: `inode ${ino}, an attribute's value: has ${said} references, but ${uses} attributes name it`,
  });
}

/** Lustre's values, older than the feature in Linux, count nothing: both times are one. */
function isOldValue({ block, at }: RawInode): boolean {
  return DiskInode.changeTime.get(block.view, at) === DiskInode.accessTime.get(block.view, at);
}

function checkValueInode(check: Check, ino: number, uses: number): void {
  const isInVolume = ino >= 1 && ino <= check.volume.facts.inodes;
  let flags = 0;
  if (isInVolume && check.census.typeOf(ino) === TYPE_FILE) {
    try {
      flags = inodeFlags(readRaw(check.volume, ino as Ino));
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
    }
  }
  if ((flags & INODE_VALUE) !== 0) {
    checkReferences(check, ino, uses);
    return;
  }
  check.tell("attribute-inode", {
    structure: DiskAttributeEntry.structure.name,
    ino,
    field: "e_value_inum",
    value: ino,
    text: `an extended attribute's value is to lie in inode ${ino}, which is not for that`,
  });
}
