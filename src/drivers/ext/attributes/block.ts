/**
 * Blocks of extended attributes. Inodes with equal attributes may share one, so a block counts its
 * references. One that is shared is never changed: the inode that changes its attributes gets its own.
 * (We share no more than others did: a copy is never looked for.)
 */
import type { Ino } from "../../../base/quantities.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { allocateBlocks, freeBlocks } from "../space/allocator.ts";
import { countUsableBlocks, noUsableBlock } from "../space/free-blocks.ts";
import {
  type AttributeArea,
  attributesHash,
  attributesSize,
  compareAttributes,
  readAttributeArea,
  type StoredAttribute,
  writeAttributeArea,
} from "./area.ts";
import { addReferences, dropReferences, hasOutsideValues } from "./values.ts";
import { attributeChecksum } from "../checksums.ts";
import { ATTRIBUTE_MAGIC, ATTRIBUTE_REFERENCES_MAX, DiskAttributeHeader } from "../format.ts";
import { firstBlockOfGroup } from "../space/groups.ts";
import {
  addInodeBlocks,
  attributeBlock,
  type RawInode,
  setAttributeBlock,
} from "../inodes/inode.ts";
import { type ExtVolume, SEAL, unownableBlock } from "../volume.ts";

const HEADER_SIZE = DiskAttributeHeader.structure.size;

export function areaOfBlock(volume: ExtVolume, block: MetadataBlock): AttributeArea {
  return { block, start: HEADER_SIZE, end: volume.blockSize, origin: 0, isBlock: true };
}

/** The block `attributes`, which inode `ino` names. Throws: CorruptionError. */
export function readAttributeBlock(volume: ExtVolume, ino: Ino, attributes: number): MetadataBlock {
  if (!volume.isOwnable(attributes, 1)) {
    throw unownableBlock(volume, attributes, `holds the attributes of inode ${ino}`);
  }
  const block = volume.cache.read(attributes, (filled) => {
    verifyHeader(volume, filled);
    verifyChecksum(volume, filled);
  });
  verifyHeader(volume, block); // it may be in the cache as something else
  return block;
}

function verifyHeader(volume: ExtVolume, block: MetadataBlock): void {
  const { structure, magic, blocks, referenceCount } = DiskAttributeHeader;
  const where = { block, at: 0 };
  const found = magic.get(block.view, 0);
  if (found !== ATTRIBUTE_MAGIC) {
    throw volume.damage(where, structure, "h_magic", found, `expected ${ATTRIBUTE_MAGIC}`);
  }
  const count = blocks.get(block.view, 0);
  if (count !== 1) throw volume.damage(where, structure, "h_blocks", count, "expected 1");
  const references = referenceCount.get(block.view, 0);
  if (references < 1 || references > ATTRIBUTE_REFERENCES_MAX) {
    const expected = `expected 1 to ${ATTRIBUTE_REFERENCES_MAX}`;
    throw volume.damage(where, structure, "h_refcount", references, expected);
  }
}

function verifyChecksum(volume: ExtVolume, block: MetadataBlock): void {
  if (!volume.metadataChecksums) return;
  const stored = DiskAttributeHeader.checksum.get(block.view, 0);
  const computed = attributeChecksum(volume.checksumSeed, block.block, block.bytes);
  if (stored === computed) return;
  const expected = `but the block's bytes give ${computed}`;
  const where = { block, at: 0 };
  throw volume.damage(where, DiskAttributeHeader.structure, "h_checksum", stored, expected);
}

/** Writes the checksum of a block of attributes. */
export function sealAttributeBlock(volume: ExtVolume, { block, bytes, view }: MetadataBlock): void {
  const computed = attributeChecksum(volume.checksumSeed, block, bytes);
  DiskAttributeHeader.checksum.set(view, 0, computed);
}

/** One inode fewer has a block of extended attributes; the last one frees it, and its values outside have one reference less. */
export function releaseAttributeBlock(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  attributes: number,
): void {
  const block = readAttributeBlock(volume, ino, attributes);
  const references = DiskAttributeHeader.referenceCount.get(block.view, 0);
  if (references === 1) {
    if (hasOutsideValues(volume)) {
      const area = areaOfBlock(volume, block);
      dropReferences(volume, transaction, readAttributeArea(volume, area));
    }
    freeBlocks(volume, transaction, { start: attributes, count: 1 });
    transaction.revoke(attributes);
    return;
  }
  const { view } = transaction.edit(block, SEAL.attributes);
  DiskAttributeHeader.referenceCount.set(view, 0, references - 1);
}

/** Whether a block has room for these attributes. */
export function fitInBlock(volume: ExtVolume, attributes: readonly StoredAttribute[]): boolean {
  return attributesSize(attributes) <= volume.blockSize - HEADER_SIZE;
}

/**
 * Makes `attributes`, which fit, the content of an inode's attribute block, which was `before`: of its own, which is
 * found, taken from a shared one, or given back when there are none. Values outside of both are the same objects; one
 * that is new here has its reference already. `raw` is being edited.
 * Throws: ENOSPC, CorruptionError.
 */
export function writeAttributeBlock(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  raw: RawInode,
  before: readonly StoredAttribute[],
  attributes: readonly StoredAttribute[],
): void {
  const current = attributeBlock(volume, raw);
  if (attributes.length === 0) {
    if (current === 0) return;
    releaseAttributeBlock(volume, transaction, ino, current);
    setAttributeBlock(volume, raw, 0);
    addInodeBlocks({ volume, transaction, ino, raw }, -1);
    return;
  }
  const sorted = attributes.toSorted(compareAttributes);
  const isShared = current !== 0 && isSharedBlock(volume, ino, current);
  if (isShared) {
    const copied = before.filter((each) => attributes.includes(each));
    addReferences(volume, transaction, copied);
  } else {
    const dropped = before.filter((each) => !attributes.includes(each));
    dropReferences(volume, transaction, dropped);
  }
  const block = ownBlock(volume, transaction, ino, raw, isShared);
  const { view } = block;
  DiskAttributeHeader.magic.set(view, 0, ATTRIBUTE_MAGIC);
  DiskAttributeHeader.referenceCount.set(view, 0, 1);
  DiskAttributeHeader.blocks.set(view, 0, 1);
  DiskAttributeHeader.hash.set(view, 0, attributesHash(sorted));
  writeAttributeArea(areaOfBlock(volume, block), sorted);
}

function isSharedBlock(volume: ExtVolume, ino: Ino, attributes: number): boolean {
  const { view } = readAttributeBlock(volume, ino, attributes);
  return DiskAttributeHeader.referenceCount.get(view, 0) > 1;
}

/** The inode's attribute block, which no other inode has, to be changed; a new one if there is none. */
function ownBlock(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  raw: RawInode,
  isShared: boolean,
): MetadataBlock {
  const current = attributeBlock(volume, raw);
  if (current !== 0 && !isShared) {
    return transaction.edit(readAttributeBlock(volume, ino, current), SEAL.attributes);
  }
  const group = Math.floor((ino - 1) / volume.facts.inodesPerGroup);
  const goal = firstBlockOfGroup(volume, group);
  if (countUsableBlocks(volume, 1) === 0) throw noUsableBlock(volume);
  const { start } = allocateBlocks(volume, transaction, { goal, count: 1 });
  if (current === 0) addInodeBlocks({ volume, transaction, ino, raw }, 1);
  else releaseAttributeBlock(volume, transaction, ino, current);
  setAttributeBlock(volume, raw, start);
  return transaction.create(start, SEAL.attributes);
}
