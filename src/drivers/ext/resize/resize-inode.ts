/**
 * The resize inode while the volume grows. It owns the blocks kept for descriptors, in the first group and in each
 * that has copies: one leaves it where descriptors need it, and groups with copies bring it theirs.
 * How it names them: mkfs/resize-inode.ts.
 */
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { NO_SEAL, type Transaction } from "../../../metadata/transaction.ts";
import { COMPATIBLE, CONTENT_BYTE, INO_RESIZE, SUPERBLOCK_BYTE } from "../format.ts";
import { addInodeBlocks, editInode } from "../inodes/inode.ts";
import type { Ino } from "../../../base/quantities.ts";
import { freeBlocks } from "../space/allocator.ts";
import { firstBlockOfGroup, type GroupFacts, hasSuperblock } from "../space/groups.ts";
import type { SuperblockFacts } from "../superblock.ts";
import { type ExtVolume, unownableBlock } from "../volume.ts";
import { descriptorBlocksOf } from "./plan.ts";

/** Its only pointer: of the second level. */
const POINTER_BYTE = CONTENT_BYTE + 13 * 4;

function hasResizeInode({ features }: Pick<GroupFacts, "features">): boolean {
  return (features.compatible & COMPATIBLE.resizeInode) !== 0;
}

/** The groups of [first, end) that have copies, the first group of all apart. */
export function groupsWithCopies(facts: GroupFacts, first: number, end: number): number[] {
  const groups: number[] = [];
  for (let group = Math.max(first, 1); group < end; group++) {
    if (hasSuperblock({ facts }, group)) groups.push(group);
  }
  return groups;
}

/**
 * Brings the resize inode up to date with a step from `before` to `after`. Before the descriptors are written.
 * Throws: CorruptionError.
 */
export function changeResizeInode(
  volume: ExtVolume,
  transaction: Transaction,
  before: SuperblockFacts,
  after: GroupFacts,
): void {
  const copies = groupsWithCopies(before, 0, before.groups);
  const added = groupsWithCopies(after, before.groups, after.groups);
  const isTaken = after.reservedGdtBlocks < before.reservedGdtBlocks;
  const isKept = hasResizeInode(after);
  if (!hasResizeInode(before) || (isKept && !isTaken && added.length === 0)) return;
  const ino = INO_RESIZE as Ino;
  const raw = editInode(volume, transaction, ino);
  const { view } = raw.block;
  const pointer = view.getUint32(raw.at + POINTER_BYTE, true);
  if (!volume.isOwnable(pointer, 1)) throw unownableBlock(volume, pointer, "the resize inode owns");
  const owned = before.reservedGdtBlocks * (1 + copies.length);
  if (!isKept) {
    view.setUint32(raw.at + POINTER_BYTE, 0, true);
    freeBlocks(volume, transaction, { start: pointer, count: 1 });
    transaction.revoke(pointer);
    addInodeBlocks({ volume, transaction, ino, raw }, -(owned + 1));
    return;
  }
  const superblock = Math.floor(SUPERBLOCK_BYTE / volume.blockSize);
  const index = descriptorBlocksOf(before, before.groups);
  const perBlock = volume.blockSize / 4;
  if (isTaken) {
    const map = transaction.edit(readPointers(volume, pointer), NO_SEAL);
    const slot = index % perBlock;
    const named = map.view.getUint32(slot * 4, true);
    const taken = superblock + 1 + index;
    if (named !== taken) {
      const where = { block: map, at: slot * 4 };
      const expected = `expected ${taken}, which is kept for descriptors`;
      throw volume.damage(where, { name: "resize inode" }, `pointer ${slot}`, named, expected);
    }
    map.view.setUint32(slot * 4, 0, true);
  }
  const firstKept = index + (isTaken ? 1 : 0);
  for (let kept = 0; kept < after.reservedGdtBlocks && added.length > 0; kept++) {
    const number = firstKept + kept;
    const block = readPointers(volume, superblock + 1 + number);
    const map = transaction.edit(block, NO_SEAL);
    for (const [place, group] of added.entries()) {
      const copy = firstBlockOfGroup({ facts: after }, group) + 1 + number;
      map.view.setUint32((copies.length + place) * 4, copy, true);
    }
  }
  const owns = after.reservedGdtBlocks * (1 + copies.length + added.length);
  addInodeBlocks({ volume, transaction, ino, raw }, owns - owned);
}

/** A block of block numbers: nothing in it tells whether it is right. */
function readPointers(volume: ExtVolume, block: number): MetadataBlock {
  return volume.cache.read(block, () => {});
}
