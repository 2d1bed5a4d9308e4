/**
 * Values of extended attributes in inodes of their own (the feature ea_inode): where a value is too large to lie
 * beside its name. Such an inode has no name; attributes with equal values may share one, so it counts
 * its references: one for each entry, in an inode or in a block of attributes, however many inodes share that block.
 *
 *     i_atime: the value's hash | i_ctime: references, high 32 bits | i_version: their low 32 bits
 *
 * (We share no more than others did: an equal value is never looked for.) Without a reference it is on the list of
 * orphans, as a file without a name is, and freed in transactions of its own: value-pool.ts.
 *
 * Source: Linux Documentation/filesystems/ext4/attributes.rst and ifork.rst; libext2fs, ea_inode fields.
 */
import { crc32c } from "../../../base/checksum.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { attributeHash, type OutsideValue, type StoredAttribute } from "./area.ts";
import { readFileBlock } from "../maps/file-blocks.ts";
import { DiskAttributeEntry, DiskInode, INCOMPATIBLE } from "../format.ts";
import {
  editInode,
  inodeFlags,
  inodeSize,
  isValueInode,
  type RawInode,
  readRaw,
  setInodeTime,
  setLinkCount,
} from "../inodes/inode.ts";
import { addToOrphanList } from "../inodes/orphans.ts";
import type { ExtVolume } from "../volume.ts";

export function hasOutsideValues(volume: ExtVolume): boolean {
  return (volume.features.incompatible & INCOMPATIBLE.ea_inode) !== 0;
}

/** A value's own hash. */
export function valueHash(volume: ExtVolume, value: Uint8Array): number {
  return crc32c(volume.checksumSeed, value);
}

/** Filesystem blocks of values outside: they count as those of the inode that has the attributes. */
export function outsideBlocks(volume: ExtVolume, attributes: readonly StoredAttribute[]): number {
  let blocks = 0;
  for (const { outside } of attributes) {
    if (outside !== null) blocks += Math.ceil(outside.size / volume.blockSize);
  }
  return blocks;
}

export function outsideCount(attributes: readonly StoredAttribute[]): number {
  return attributes.filter(({ outside }) => outside !== null).length;
}

/** The inode of a value, to be read. Throws: CorruptionError where the number is none's. */
function readValueInode(volume: ExtVolume, ino: Ino): RawInode {
  const raw = readRaw(volume, ino);
  if (isValueInode(raw)) return raw;
  const expected = `expected the flag of an attribute's value, as an attribute names inode ${ino}`;
  throw volume.damage(raw, DiskInode.structure, "i_flags", inodeFlags(raw), expected);
}

/** The value of an attribute, wherever it lies. Throws: CorruptionError. */
export function readValue(volume: ExtVolume, attribute: StoredAttribute): Uint8Array {
  const { outside, value } = attribute;
  return outside === null ? value : readOutside(volume, attribute.name, outside);
}

function readOutside(volume: ExtVolume, name: Uint8Array, outside: OutsideValue): Uint8Array {
  const { ino, size, hash } = outside;
  const raw = readValueInode(volume, ino);
  const { structure, accessTime } = DiskInode;
  const found = inodeSize(raw);
  if (found !== size) {
    const expected = `expected ${size}, as its attribute says of inode ${ino}`;
    throw volume.damage(raw, structure, "i_size", found, expected);
  }
  const { blockSize } = volume;
  const value = new Uint8Array(size);
  for (let at = 0; at < size; at += blockSize) {
    const { bytes } = readFileBlock(volume, ino, at / blockSize, () => {});
    value.set(bytes.subarray(0, Math.min(blockSize, size - at)), at);
  }
  const stored = accessTime.get(raw.block.view, raw.at) >>> 0;
  const computed = valueHash(volume, value);
  if (stored !== computed) {
    const expected = `but the value in inode ${ino} has the hash ${computed}`;
    throw volume.damage(raw, structure, "i_atime", stored, expected);
  }
  const right = attributeHash(name, [computed]);
  if (hash !== right && hash !== attributeHash(Int8Array.from(name), [computed])) {
    const expected = `but name and value give ${right}`;
    throw volume.damage(raw, DiskAttributeEntry.structure, "e_hash", hash, expected);
  }
  return value;
}

/** References: beyond 2^53, which no volume can have, inexact. */
export function referencesOf({ block, at }: RawInode): number {
  const high = DiskInode.changeTime.get(block.view, at) >>> 0;
  return high * 2 ** 32 + DiskInode.versionLow.get(block.view, at);
}

export function setReferences(volume: ExtVolume, raw: RawInode, count: number): void {
  const seconds = Math.floor(count / 2 ** 32);
  setInodeTime(volume, raw, "changeTime", { seconds, nanoseconds: 0 });
  DiskInode.versionLow.set(raw.block.view, raw.at, count % 2 ** 32);
}

/** A copy was made of these attributes: their values outside have one reference more. */
export function addReferences(
  volume: ExtVolume,
  transaction: Transaction,
  attributes: readonly StoredAttribute[],
): void {
  for (const { outside } of attributes) {
    if (outside !== null) changeReferences(volume, transaction, outside.ino, 1);
  }
}

/**
 * These attributes are no more: values outside without a reference become orphans. They go to the list, also where
 * there is an orphan file: who frees them looks for them after each change of attributes.
 */
export function dropReferences(
  volume: ExtVolume,
  transaction: Transaction,
  attributes: readonly StoredAttribute[],
): void {
  for (const { outside } of attributes) {
    if (outside === null) continue;
    const raw = changeReferences(volume, transaction, outside.ino, -1);
    if (referencesOf(raw) > 0) continue;
    setLinkCount(volume, raw, 0);
    addToOrphanList(volume, transaction, outside.ino);
  }
}

/** Returns the inode with the value. Throws: CorruptionError where a value says that nobody has it. */
function changeReferences(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  by: 1 | -1,
): RawInode {
  const found = readValueInode(volume, ino);
  const count = referencesOf(found);
  if (count === 0) {
    const expected = `expected at least 1, as an attribute names inode ${ino}`;
    throw volume.damage(found, DiskInode.structure, "i_version", 0, expected);
  }
  const raw = editInode(volume, transaction, ino);
  setReferences(volume, raw, count + by);
  return raw;
}
