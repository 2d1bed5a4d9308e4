/**
 * Extended attributes of an inode: those in its own bytes, after the fields it has, and those in a block.
 * An attribute is in one of the two. It goes where there is room, into the inode first, as the kernel does; its value
 * goes into an inode of its own where it is too large, and the volume has that (values.ts).
 */
import { HoldfastError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { ExtendedAttributes } from "../../../iomap/contract.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { storedAcl, visibleAcl } from "./acl.ts";
import {
  type AttributeArea,
  attributesSize,
  valuesSize,
  readAttributeArea,
  type StoredAttribute,
} from "./area.ts";
import { areaOfBlock, fitInBlock, readAttributeBlock, writeAttributeBlock } from "./block.ts";
import { areaOfBody, readBody, writeBody } from "./body.ts";
import { isAclIndex, isSameName, type StoredName, storedName, wholeName } from "./names.ts";
import {
  dropReferences,
  hasOutsideValues,
  outsideBlocks,
  outsideCount,
  readValue,
} from "./values.ts";
import {
  COMPATIBLE,
  DiskSuperblock,
  INODE_SIZE_OLD,
  MODE_SYMLINK,
  MODE_TYPE_MASK,
} from "../format.ts";
import {
  addInodeBlocks,
  type EditedInode,
  attributeBlock,
  editInode,
  inodeMode,
  isTargetInInode,
  type RawInode,
  readRaw,
} from "../inodes/inode.ts";
import { FIRST_INO_OLD } from "../superblock.ts";
import { createValue, freeUnusedValue, unusedValue } from "./value-pool.ts";
import { editSuperblock, type ExtVolume, readSuperblock } from "../volume.ts";

/** A value that leaves less than this of a block lies in an inode of its own, where the volume has that (as the kernel does). */
const BLOCK_REST_MIN = 56;
/** There, values leave this part of a block to names, so that more can be added (as the kernel does). */
const BLOCK_FOR_NAMES = 1 / 8;
/** In the place of a value outside that is not made yet. */
const noValue = new Uint8Array(0);

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
    const value = readValue(this.#volume, found);
    return isAclIndex(found.index) ? visibleAcl(ino, value) : value;
  }

  list(ino: Ino): Uint8Array[] {
    const { body, block } = readPlaces(this.#volume, ino, readRaw(this.#volume, ino));
    return [...body, ...block].map(wholeName).filter((name) => name !== null);
  }

  set(transaction: Transaction, ino: Ino, name: Uint8Array, value: Uint8Array): void {
    const stored = storedName(name);
    const kept = isAclIndex(stored.index) ? storedAcl(value) : value;
    setAttribute(this.#volume, transaction, ino, stored, kept);
  }

  remove(transaction: Transaction, ino: Ino, name: Uint8Array): boolean {
    const stored = storedName(name);
    const volume = this.#volume;
    const raw = editInode(volume, transaction, ino);
    const places = readPlaces(volume, ino, raw);
    const removed = [...places.body, ...places.block].filter((each) => isSameName(each, stored));
    if (removed.length === 0) return false;
    countOutside({ volume, transaction, ino, raw }, [], removed);
    removeFromBody(volume, transaction, places, stored);
    removeFromBlock(volume, transaction, ino, raw, places, stored);
    return true;
  }

  hasUnused(everywhere: boolean): boolean {
    return unusedValue(this.#volume, everywhere) !== null;
  }

  freeUnused(transaction: Transaction, everywhere: boolean): void {
    freeUnusedValue(this.#volume, transaction, everywhere);
  }
}

function removeFromBody(
  volume: ExtVolume,
  transaction: Transaction,
  { bodyArea, body }: Places,
  name: StoredName,
): void {
  const others = body.filter((each) => !isSameName(each, name));
  if (bodyArea === null || others.length === body.length) return;
  dropReferences(
    volume,
    transaction,
    body.filter((each) => isSameName(each, name)),
  );
  writeBody(bodyArea, others);
}

function removeFromBlock(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  raw: RawInode,
  { block }: Places,
  name: StoredName,
): void {
  const others = block.filter((each) => !isSameName(each, name));
  if (others.length === block.length) return;
  writeAttributeBlock(volume, transaction, ino, raw, block, others);
}

function readPlaces(volume: ExtVolume, ino: Ino, raw: RawInode): Places {
  const bodyArea = areaOfBody(volume, raw);
  const body = readBody(volume, bodyArea);
  const at = attributeBlock(volume, raw);
  if (at === 0) return { bodyArea, body, block: [] };
  const area = areaOfBlock(volume, readAttributeBlock(volume, ino, at));
  return { bodyArea, body, block: readAttributeArea(volume, area) };
}

/** Where an attribute fits, which replaces one of its name; null: nowhere. */
function placeOf(
  volume: ExtVolume,
  { bodyArea, body, block }: Places,
  attribute: StoredAttribute,
): "body" | "block" | null {
  const withIt = (before: readonly StoredAttribute[]): StoredAttribute[] => [
    ...before.filter((each) => !isSameName(each, attribute)),
    attribute,
  ];
  if (bodyArea !== null && attributesSize(withIt(body)) <= bodyArea.end - bodyArea.start) {
    return "body";
  }
  const inBlock = withIt(block);
  if (!fitInBlock(volume, inBlock)) return null;
  if (attribute.value.length === 0 || !hasOutsideValues(volume)) return "block";
  return valuesSize(inBlock) <= volume.blockSize * (1 - BLOCK_FOR_NAMES) ? "block" : null;
}

/** Values outside count as the inode's that has the attributes: their blocks, and themselves. */
function countOutside(
  inode: EditedInode,
  added: readonly StoredAttribute[],
  removed: readonly StoredAttribute[],
): void {
  const { volume, transaction, ino, raw } = inode;
  addInodeBlocks(inode, outsideBlocks(volume, added) - outsideBlocks(volume, removed));
  const inodes = outsideCount(added) - outsideCount(removed);
  if (inodes !== 0) volume.usage?.change(transaction, ino, raw, { space: 0, inodes });
}

function hasTargetInside(raw: RawInode): boolean {
  return (inodeMode(raw) & MODE_TYPE_MASK) === MODE_SYMLINK && isTargetInInode(raw);
}

/** Throws: ENOSPC when the attribute fits neither in the inode nor in the block, or no block is free. */
function setAttribute(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  name: StoredName,
  value: Uint8Array,
): void {
  const raw = editInode(volume, transaction, ino);
  const places = readPlaces(volume, ino, raw);
  const { bodyArea, body, block } = places;
  let attribute: StoredAttribute = { ...name, value, outside: null };
  const mayBeOutside = hasOutsideValues(volume) && value.length > 0;
  const isLarge = mayBeOutside && value.length > volume.blockSize - BLOCK_REST_MIN;
  let place = isLarge ? null : placeOf(volume, places, attribute);
  if (place === null && mayBeOutside) {
    const entry = { ...name, value: noValue };
    // e2fsck takes a target in the inode for block numbers, where blocks are counted and none holds attributes.
    const bodyArea = hasTargetInside(raw) ? null : places.bodyArea;
    place = placeOf(volume, { ...places, bodyArea }, { ...entry, outside: null });
    if (place !== null) {
      const outside = createValue(volume, transaction, { ino, raw }, name.name, value);
      attribute = { ...entry, outside };
    }
  }
  if (place === null) {
    const what = `no room for an attribute of ${value.length} bytes: an inode has one block of them`;
    throw new HoldfastError("ENOSPC", what);
  }
  const replaced = [...body, ...block].filter((each) => isSameName(each, name));
  countOutside({ volume, transaction, ino, raw }, [attribute], replaced);
  if (place === "body") {
    removeFromBody(volume, transaction, places, name);
    const others = body.filter((each) => !isSameName(each, name));
    if (bodyArea !== null) writeBody(bodyArea, [...others, attribute]);
    removeFromBlock(volume, transaction, ino, raw, places, name);
  } else {
    const others = block.filter((each) => !isSameName(each, name));
    writeAttributeBlock(volume, transaction, ino, raw, block, [...others, attribute]);
    removeFromBody(volume, transaction, places, name);
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
