/**
 * The two places where an inode's extended attributes lie, the rest of its own bytes and a block, hold them
 * in one form: entries from the start up, ended by four zero bytes, and values from the end down.
 *
 * An area is read whole and written whole: attributes are few, and no hole is ever left between values.
 *
 * Source: Linux Documentation/filesystems/ext4/attributes.rst; the order of entries and the hashes of
 * attributes with bytes above 127 in their names from what e2fsck accepts.
 */
import type { Ino } from "../../../base/quantities.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { DiskAttributeEntry, INCOMPATIBLE } from "../format.ts";
import type { ExtVolume } from "../volume.ts";

const ENTRY_SIZE = DiskAttributeEntry.structure.size;
const ALIGNMENT = 4;
/** The zero bytes after the last entry. */
const END_SIZE = 4;
/** The largest value that the format knows; calls of Linux take 64 KiB. */
const VALUE_SIZE_MAX = 2 ** 24;

/** A value that lies in an inode of its own (values.ts). */
export interface OutsideValue {
  readonly ino: Ino;
  /** Bytes. */
  readonly size: number;
  /** The entry's: of its name and of the value's own hash. */
  readonly hash: number;
}

/** An attribute as it is stored. */
export interface StoredAttribute {
  /** Number of the prefix that `name` leaves out: names.ts. */
  readonly index: number;
  /** Without the prefix; may be empty. At most 255 bytes. */
  readonly name: Uint8Array;
  /** Empty where it lies outside. */
  readonly value: Uint8Array;
  readonly outside: OutsideValue | null;
}

/** Where attributes lie: bytes [start, end) of a cached block. */
export interface AttributeArea {
  readonly block: MetadataBlock;
  /** The first entry. */
  readonly start: number;
  readonly end: number;
  /** What the entries' value offsets count from. */
  readonly origin: number;
  /** A block: entries are sorted, and each has a hash. In an inode the hash may be 0. */
  readonly isBlock: boolean;
}

function padded(size: number): number {
  return Math.ceil(size / ALIGNMENT) * ALIGNMENT;
}

function entrySize(nameLength: number): number {
  return ENTRY_SIZE + padded(nameLength);
}

/**
 * The attributes of an area, copied out of it. Ends on any bytes whatever.
 * Throws: CorruptionError for an entry or a value that leaves the area, overlaps, or has another hash.
 */
export function readAttributeArea(volume: ExtVolume, area: AttributeArea): StoredAttribute[] {
  const entries = findEntries(volume, area);
  const end = (entries.at(-1)?.next ?? area.start) + END_SIZE;
  for (const { at } of entries) assertValueInside(volume, area, at, end);
  assertNoOverlap(volume, area, entries);
  return entries.map(({ at }) => readEntry(volume, area, at));
}

/** The attribute of the entry at byte `at`, whose value lies in the area. */
function readEntry(volume: ExtVolume, area: AttributeArea, at: number): StoredAttribute {
  const { bytes, view } = area.block;
  const size = DiskAttributeEntry.valueSize.get(view, at);
  const nameStart = at + ENTRY_SIZE;
  const name = bytes.slice(nameStart, nameStart + DiskAttributeEntry.nameLength.get(view, at));
  const index = DiskAttributeEntry.nameIndex.get(view, at);
  const ino = DiskAttributeEntry.valueIno.get(view, at) as Ino;
  if (ino !== 0) {
    const outside = { ino, size, hash: DiskAttributeEntry.hash.get(view, at) };
    return { index, name, value: new Uint8Array(0), outside };
  }
  const from = size === 0 ? area.end : area.origin + DiskAttributeEntry.valueOffset.get(view, at);
  assertHash(volume, area, at, name, bytes.subarray(from, from + padded(size)));
  return { index, name, value: bytes.slice(from, from + size), outside: null };
}

/** Where the value of an attribute lies in an area that was read: bytes of its block. Null: there is no such attribute. */
export function placeOfValue(
  volume: ExtVolume,
  area: AttributeArea,
  wanted: Pick<StoredAttribute, "index" | "name">,
): { readonly at: number; readonly size: number } | null {
  const { bytes, view } = area.block;
  for (const { at } of findEntries(volume, area)) {
    if (DiskAttributeEntry.nameIndex.get(view, at) !== wanted.index) continue;
    const nameStart = at + ENTRY_SIZE;
    const name = bytes.subarray(nameStart, nameStart + DiskAttributeEntry.nameLength.get(view, at));
    if (Buffer.compare(name, wanted.name) !== 0) continue;
    const ino = DiskAttributeEntry.valueIno.get(view, at);
    if (ino !== 0) {
      const expected = "expected 0, as the inode has its content inside";
      throw damaged(volume, { block: area.block, at }, "e_value_inum", ino, expected);
    }
    const size = DiskAttributeEntry.valueSize.get(view, at);
    return { at: area.origin + DiskAttributeEntry.valueOffset.get(view, at), size };
  }
  return null;
}

interface FoundEntry {
  readonly at: number;
  readonly next: number;
}

/** The entries of an area, up to its end mark, for which each entry that is found leaves room. */
function findEntries(volume: ExtVolume, area: AttributeArea): FoundEntry[] {
  const { block } = area;
  const entries: FoundEntry[] = [];
  let at = area.start;
  while (block.view.getUint32(at, true) !== 0) {
    const nameLength =
      at + ENTRY_SIZE > area.end ? 0 : DiskAttributeEntry.nameLength.get(block.view, at);
    const next = at + entrySize(nameLength);
    if (next + END_SIZE > area.end) {
      const expected = `but ${area.end - at} bytes are left for entry, name and end mark`;
      throw damaged(volume, { block, at }, "e_name_len", nameLength, expected);
    }
    entries.push({ at, next });
    at = next;
  }
  return entries;
}

function damaged(
  volume: ExtVolume,
  where: { block: MetadataBlock; at: number },
  field: string,
  value: number,
  expected: string,
) {
  return volume.damage(where, DiskAttributeEntry.structure, field, value, expected);
}

/** `least`: the first byte after the entries. */
function assertValueInside(
  volume: ExtVolume,
  area: AttributeArea,
  at: number,
  least: number,
): void {
  const { view } = area.block;
  const size = DiskAttributeEntry.valueSize.get(view, at);
  const from = area.origin + DiskAttributeEntry.valueOffset.get(view, at);
  const where = { block: area.block, at };
  const ino = DiskAttributeEntry.valueIno.get(view, at);
  if (ino !== 0 && (volume.features.incompatible & INCOMPATIBLE.ea_inode) === 0) {
    throw damaged(volume, where, "e_value_inum", ino, "expected 0 without the feature ea_inode");
  }
  if (ino !== 0 && size > VALUE_SIZE_MAX) {
    throw damaged(volume, where, "e_value_size", size, `expected at most ${VALUE_SIZE_MAX}`);
  }
  if (size === 0 || ino !== 0) return;
  if (size > area.end - area.start) {
    const expected = `expected at most ${area.end - area.start}, the bytes of the area`;
    throw damaged(volume, where, "e_value_size", size, expected);
  }
  if (from >= least && from + padded(size) <= area.end) return;
  const [first, last] = [least - area.origin, area.end - area.origin - padded(size)];
  const expected = `expected ${first} to ${last}, between the entries and the end`;
  throw damaged(volume, where, "e_value_offs", from - area.origin, expected);
}

function assertNoOverlap(volume: ExtVolume, area: AttributeArea, entries: FoundEntry[]): void {
  const { view } = area.block;
  const values = entries
    .filter(({ at }) => DiskAttributeEntry.valueIno.get(view, at) === 0)
    .map(({ at }) => ({
      at,
      from: DiskAttributeEntry.valueOffset.get(view, at),
      size: padded(DiskAttributeEntry.valueSize.get(view, at)),
    }))
    .filter(({ size }) => size > 0)
    .sort((a, b) => a.from - b.from);
  let end = 0;
  for (const { at, from, size } of values) {
    if (from < end) {
      const where = { block: area.block, at };
      const expected = `but the value of another entry ends at ${end}`;
      throw damaged(volume, where, "e_value_offs", from, expected);
    }
    end = from + size;
  }
}

/** Kernels before 6.2 took a name's bytes as signed where the processor does: both hashes count. */
function assertHash(
  volume: ExtVolume,
  area: AttributeArea,
  at: number,
  name: Uint8Array,
  value: Uint8Array,
): void {
  const stored = DiskAttributeEntry.hash.get(area.block.view, at);
  if (stored === 0 && !area.isBlock) return;
  const words = wordsOfValue(value);
  const computed = attributeHash(name, words);
  if (stored === computed || stored === attributeHash(Int8Array.from(name), words)) return;
  const expected = `but name and value give ${computed}`;
  throw damaged(volume, { block: area.block, at }, "e_hash", stored, expected);
}

/** Hash of an attribute: of its name's bytes, without the prefix, then of its value's words. */
export function attributeHash(name: Uint8Array | Int8Array, words: Iterable<number>): number {
  let hash = 0;
  for (const byte of name) hash = (hash << 5) ^ (hash >>> 27) ^ byte;
  for (const word of words) hash = (hash << 16) ^ (hash >>> 16) ^ word;
  return hash >>> 0;
}

/** The little-endian words of a value, zeroes after its last byte. */
export function wordsOfValue(value: Uint8Array): number[] {
  const words: number[] = [];
  for (let at = 0; at < value.length; at += ALIGNMENT) {
    let word = 0;
    for (let byte = 0; byte < ALIGNMENT; byte++) word |= (value[at + byte] ?? 0) << (8 * byte);
    words.push(word);
  }
  return words;
}

function entryHash({ name, value, outside }: StoredAttribute): number {
  return outside?.hash ?? attributeHash(name, wordsOfValue(value));
}

/** Hash of a block of attributes, from its entries'; 0, "not to be shared", where one of them is 0. */
export function attributesHash(attributes: readonly StoredAttribute[]): number {
  let hash = 0;
  for (const attribute of attributes) {
    const each = entryHash(attribute);
    if (each === 0) return 0;
    hash = ((hash << 16) | (hash >>> 16)) ^ each;
  }
  return hash >>> 0;
}

/** Bytes that attributes take in an area, their end mark included. */
export function attributesSize(attributes: readonly StoredAttribute[]): number {
  return attributes.reduce(
    (sum, { name, value }) => sum + entrySize(name.length) + padded(value.length),
    END_SIZE,
  );
}

/** Bytes that their values take of it, which lie at its end. */
export function valuesSize(attributes: readonly StoredAttribute[]): number {
  return attributes.reduce((sum, { value }) => sum + padded(value.length), 0);
}

/** Orders entries as a block has them: by prefix, length of the name, name. */
export function compareAttributes(a: StoredAttribute, b: StoredAttribute): number {
  return a.index - b.index || a.name.length - b.name.length || Buffer.compare(a.name, b.name);
}

/** Makes `attributes`, which fit, an area's content, in their order. */
export function writeAttributeArea(
  area: AttributeArea,
  attributes: readonly StoredAttribute[],
): void {
  const { bytes, view } = area.block;
  bytes.fill(0, area.start, area.end);
  let at = area.start;
  let valueEnd = area.end;
  for (const attribute of attributes) {
    const { index, name, value, outside } = attribute;
    valueEnd -= padded(value.length);
    DiskAttributeEntry.nameLength.set(view, at, name.length);
    DiskAttributeEntry.nameIndex.set(view, at, index);
    const valueOffset = value.length === 0 ? 0 : valueEnd - area.origin;
    DiskAttributeEntry.valueOffset.set(view, at, valueOffset);
    DiskAttributeEntry.valueIno.set(view, at, outside?.ino ?? 0);
    DiskAttributeEntry.valueSize.set(view, at, outside?.size ?? value.length);
    if (area.isBlock || outside !== null) {
      DiskAttributeEntry.hash.set(view, at, entryHash(attribute));
    }
    bytes.set(name, at + ENTRY_SIZE);
    bytes.set(value, valueEnd);
    at += entrySize(name.length);
  }
}
