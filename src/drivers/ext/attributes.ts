/**
 * Extended attributes of an inode: those in its own bytes, after the fields it has, and those in a block.
 * An attribute is in one of the two. It goes where there is room, into the inode first, as the kernel does.
 */
import { HoldfastError } from "../../base/errors.ts";
import type { Ino } from "../../base/quantities.ts";
import type { ExtendedAttributes } from "../../iomap/contract.ts";
import type { Transaction } from "../../metadata/transaction.ts";
import { storedAcl, visibleAcl } from "./attribute-acl.ts";
import {
  type AttributeArea,
  attributesSize,
  readAttributeArea,
  type StoredAttribute,
  writeAttributeArea,
} from "./attribute-area.ts";
import {
  areaOfBlock,
  fitInBlock,
  readAttributeBlock,
  writeAttributeBlock,
} from "./attribute-block.ts";
import { isAclIndex, isSameName, storedName, wholeName } from "./attribute-names.ts";
import {
  ATTRIBUTE_BODY_HEADER_SIZE,
  ATTRIBUTE_MAGIC,
  COMPATIBLE,
  DiskInode,
  DiskSuperblock,
  INODE_SIZE_OLD,
} from "./format.ts";
import { attributeBlock, editInode, extraSize, type RawInode, readRaw } from "./inode.ts";
import { FIRST_INO_OLD } from "./superblock.ts";
import { editSuperblock, type ExtVolume, readSuperblock } from "./volume.ts";

/** Both places of an inode's attributes, as they are now. */
interface Places {
  /** Null where the inode has no room for any. */
  readonly bodyArea: AttributeArea | null;
  readonly body: readonly StoredAttribute[];
  readonly block: readonly StoredAttribute[];
}

/** The part of the driver that the contract has for them. */
export class ExtAttributes implements ExtendedAttributes {
  readonly #volume: ExtVolume;

  constructor(volume: ExtVolume) {
    this.#volume = volume;
  }

  get(ino: Ino, name: Uint8Array): Uint8Array | null {
    const wanted = storedName(name);
    const raw = readRaw(this.#volume, ino);
    const { body, block } = readPlaces(this.#volume, ino, raw);
    const found = [...body, ...block].find((each) => isSameName(each, wanted));
    if (found === undefined) return null;
    return isAclIndex(found.index) ? visibleAcl(ino, found.value) : found.value;
  }

  list(ino: Ino): Uint8Array[] {
    const { body, block } = readPlaces(this.#volume, ino, readRaw(this.#volume, ino));
    return [...body, ...block].map(wholeName).filter((name) => name !== null);
  }

  set(transaction: Transaction, ino: Ino, name: Uint8Array, value: Uint8Array): void {
    const stored = storedName(name);
    const kept = isAclIndex(stored.index) ? storedAcl(value) : value;
    setAttribute(this.#volume, transaction, ino, { ...stored, value: kept });
  }

  remove(transaction: Transaction, ino: Ino, name: Uint8Array): boolean {
    const stored = storedName(name);
    const volume = this.#volume;
    const raw = editInode(volume, transaction, ino);
    const { bodyArea, body, block } = readPlaces(volume, ino, raw);
    const isOther = (each: StoredAttribute): boolean => !isSameName(each, stored);
    if (bodyArea !== null && !body.every(isOther)) {
      writeBody(bodyArea, body.filter(isOther));
      return true;
    }
    if (block.every(isOther)) return false;
    writeAttributeBlock(volume, transaction, ino, raw, block.filter(isOther));
    return true;
  }
}

function readPlaces(volume: ExtVolume, ino: Ino, raw: RawInode): Places {
  const bodyArea = areaOfBody(volume, raw);
  const body = bodyArea === null || !hasBody(bodyArea) ? [] : readAttributeArea(volume, bodyArea);
  const at = attributeBlock(volume, raw);
  if (at === 0) return { bodyArea, body, block: [] };
  const area = areaOfBlock(volume, readAttributeBlock(volume, ino, at));
  return { bodyArea, body, block: readAttributeArea(volume, area) };
}

/** The rest of an inode's bytes, its header left out; null where that is nothing. */
function areaOfBody(volume: ExtVolume, raw: RawInode): AttributeArea | null {
  const { block, at } = raw;
  const extra = extraSize(volume, raw);
  if (extra === 0) return null;
  if (extra % 4 !== 0) {
    throw volume.damage(
      raw,
      DiskInode.structure,
      "i_extra_isize",
      extra,
      "expected a multiple of 4",
    );
  }
  const start = at + INODE_SIZE_OLD + extra + ATTRIBUTE_BODY_HEADER_SIZE;
  const end = at + volume.facts.inodeSize;
  if (start + ATTRIBUTE_BODY_HEADER_SIZE > end) return null;
  return { block, start, end, origin: start, isBlock: false };
}

/** Without the magic an inode's rest is unused, whatever it holds. */
function hasBody({ block, start }: AttributeArea): boolean {
  return block.view.getUint32(start - ATTRIBUTE_BODY_HEADER_SIZE, true) === ATTRIBUTE_MAGIC;
}

function writeBody(area: AttributeArea, attributes: readonly StoredAttribute[]): void {
  const magic = attributes.length === 0 ? 0 : ATTRIBUTE_MAGIC;
  area.block.view.setUint32(area.start - ATTRIBUTE_BODY_HEADER_SIZE, magic, true);
  writeAttributeArea(area, attributes);
}

/** Throws: ENOSPC when the attribute fits neither in the inode nor in the block, or no block is free. */
function setAttribute(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  attribute: StoredAttribute,
): void {
  const raw = editInode(volume, transaction, ino);
  const { bodyArea, body, block } = readPlaces(volume, ino, raw);
  const isOther = (each: StoredAttribute): boolean => !isSameName(each, attribute);
  const bodyOthers = body.filter(isOther);
  const blockOthers = block.filter(isOther);
  const newBody = [...bodyOthers, attribute];
  const newBlock = [...blockOthers, attribute];
  if (bodyArea !== null && attributesSize(newBody) <= bodyArea.end - bodyArea.start) {
    writeBody(bodyArea, newBody);
    if (blockOthers.length < block.length) {
      writeAttributeBlock(volume, transaction, ino, raw, blockOthers);
    }
  } else {
    if (!fitInBlock(volume, newBlock)) {
      const { length } = attribute.value;
      const what = `no room for an attribute of ${length} bytes: an inode has one block of them`;
      throw new HoldfastError("ENOSPC", what);
    }
    writeAttributeBlock(volume, transaction, ino, raw, newBlock);
    if (bodyArea !== null && bodyOthers.length < body.length) writeBody(bodyArea, bodyOthers);
  }
  markSuperblock(volume, transaction);
}

/** The superblock says that there are extended attributes, from the first one on. */
function markSuperblock(volume: ExtVolume, transaction: Transaction): void {
  const { featuresCompatible, revision, firstIno, inodeSize } = DiskSuperblock;
  const { block, at } = readSuperblock(volume);
  const features = featuresCompatible.get(block.view, at);
  if ((features & COMPATIBLE.extendedAttributes) !== 0) return;
  const { view } = editSuperblock(volume, transaction).block;
  featuresCompatible.set(view, at, (features | COMPATIBLE.extendedAttributes) >>> 0);
  if (revision.get(view, at) > 0) return;
  // Features count from revision 1 on, where these two can be chosen.
  revision.set(view, at, 1);
  firstIno.set(view, at, FIRST_INO_OLD);
  inodeSize.set(view, at, INODE_SIZE_OLD);
}
