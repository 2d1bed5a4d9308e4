/**
 * Which inodes are in use: taking them and giving them back.
 *
 * The end of a group's inode table may never have been written: `unusedInodes` slots of it. A block
 * that lies wholly in that part holds anything, is never read, and is zeroed when its first inode is
 * taken. Inodes are taken lowest first, so that part only shrinks from its start.
 */
import type { Ino } from "../../../base/quantities.ts";
import { NO_SEAL, type Transaction } from "../../../metadata/transaction.ts";
import { releaseAttributeBlock } from "../attributes/block.ts";
import { areaOfBody, readBody } from "../attributes/body.ts";
import { dropReferences, hasOutsideValues } from "../attributes/values.ts";
import { clearBits, findClear, setBits } from "../space/bitmaps.ts";
import { DiskInode, INO_ROOT } from "../format.ts";
import { addToCount, changeInodeBitmap, readInodeBitmap } from "../space/group-bitmaps.ts";
import { getGroup, inodeTableOf, readGroup, setGroup } from "../space/groups.ts";
import { attributeBlock, editInode, isDirectory } from "./inode.ts";
import { removeOrphan } from "./orphans.ts";
import { type ExtVolume, type Located, noSpace } from "../volume.ts";

/**
 * Takes a free inode, near `parent`; directories of the root are spread over the groups. Its bytes
 * are then set by `initInode`. Throws: ENOSPC, CorruptionError.
 */
export function allocateInode(
  volume: ExtVolume,
  transaction: Transaction,
  parent: Ino,
  isDirectory: boolean,
): Ino {
  const { groups, inodesPerGroup, firstIno } = volume.facts;
  const isSpread = isDirectory && parent === INO_ROOT;
  const first = isSpread ? emptiestGroup(volume) : Math.floor((parent - 1) / inodesPerGroup);
  const full = volume.fullGroups.behind(first);
  for (let step = 0; step < groups; step++) {
    const group = (first + full + step) % groups;
    if (getGroup(volume, readGroup(volume, group), "freeInodes") === 0) continue;
    const reserved = group === 0 ? firstIno - 1 : 0;
    const slot = findClear(readInodeBitmap(volume, group), reserved, inodesPerGroup);
    if (slot === inodesPerGroup) continue;
    volume.fullGroups.note(first, (full + step) % groups);
    takeSlot(volume, transaction, group, slot, isDirectory);
    return (group * inodesPerGroup + slot + 1) as Ino;
  }
  throw noSpace("inode");
}

/** The group with the fewest directories of those with as much free space as others, or more. */
function emptiestGroup(volume: ExtVolume): number {
  const { groups } = volume.facts;
  const counts = Array.from({ length: groups }, (_, index) => {
    const group = readGroup(volume, index);
    return {
      index,
      inodes: getGroup(volume, group, "freeInodes"),
      blocks: getGroup(volume, group, "freeBlocks"),
      directories: getGroup(volume, group, "directories"),
    };
  });
  const inodesMean = counts.reduce((sum, { inodes }) => sum + inodes, 0) / groups;
  const blocksMean = counts.reduce((sum, { blocks }) => sum + blocks, 0) / groups;
  let best: { index: number; directories: number } | undefined;
  for (const { index, inodes, blocks, directories } of counts) {
    if (inodes < Math.max(inodesMean, 1) || blocks < blocksMean) continue;
    if (best === undefined || directories < best.directories) best = { index, directories };
  }
  return best?.index ?? 0;
}

/** Takes an inode that is free, whichever it is: then as `allocateInode`. Throws: CorruptionError. */
export function takeInode(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  isDirectory: boolean,
): void {
  const { inodesPerGroup } = volume.facts;
  const group = Math.floor((ino - 1) / inodesPerGroup);
  takeSlot(volume, transaction, group, (ino - 1) % inodesPerGroup, isDirectory);
}

/** Marks a free slot as used, in the bitmap and in the descriptor. */
function takeSlot(
  volume: ExtVolume,
  transaction: Transaction,
  group: number,
  slot: number,
  isDirectory: boolean,
): void {
  changeInodeBitmap(volume, transaction, group, (bitmap) => {
    setBits(bitmap.words, slot, slot + 1);
    addToCount(volume, bitmap, "freeInodes", -1);
    if (isDirectory) addToCount(volume, bitmap, "directories", 1);
    if (volume.facts.groupChecksums) useTable(volume, transaction, bitmap.group, group, slot);
  });
}

/** Makes slot `slot` of a group's inode table one that was written, if it never was. */
function useTable(
  volume: ExtVolume,
  transaction: Transaction,
  descriptor: Located,
  group: number,
  slot: number,
): void {
  const { inodesPerGroup, inodeSize } = volume.facts;
  const used = inodesPerGroup - getGroup(volume, descriptor, "unusedInodes");
  if (slot < used) return;
  const perBlock = volume.blockSize / inodeSize;
  for (let index = Math.ceil(used / perBlock); index * perBlock <= slot; index++) {
    // Blank slots have no checksum; each inode made in them is sealed for its own edit.
    transaction.create(inodeTableOf(volume, group) + index, NO_SEAL);
  }
  setGroup(volume, descriptor, "unusedInodes", inodesPerGroup - (slot + 1));
}

/** Gives an inode, its attribute block and its values outside back. Its extents are gone already. */
export function freeInode(volume: ExtVolume, transaction: Transaction, ino: Ino): void {
  removeOrphan(volume, transaction, ino);
  const raw = editInode(volume, transaction, ino);
  const { block, at } = raw;
  const wasDirectory = isDirectory(raw);
  volume.usage?.remove(transaction, ino, raw);
  const attributes = attributeBlock(volume, raw);
  if (hasOutsideValues(volume)) {
    dropReferences(volume, transaction, readBody(volume, areaOfBody(volume, raw)));
  }
  if (attributes !== 0) releaseAttributeBlock(volume, transaction, ino, attributes);
  // The generation stays, so that the next file with this number is told from this one.
  const generation = DiskInode.generation.get(block.view, at);
  block.bytes.fill(0, at, at + volume.facts.inodeSize);
  DiskInode.generation.set(block.view, at, generation);
  const { inodesPerGroup } = volume.facts;
  const slot = (ino - 1) % inodesPerGroup;
  const group = Math.floor((ino - 1) / inodesPerGroup);
  volume.fullGroups.noteFree(group);
  changeInodeBitmap(volume, transaction, group, (bitmap) => {
    if (findClear(bitmap.words, slot, slot + 1) === slot) {
      const expected = `but inode ${ino} is in use`;
      throw volume.damage(bitmap.group, { name: "inode bitmap" }, `bit ${slot}`, 0, expected);
    }
    clearBits(bitmap.words, slot, slot + 1);
    addToCount(volume, bitmap, "freeInodes", 1);
    if (wasDirectory) addToCount(volume, bitmap, "directories", -1);
  });
}
