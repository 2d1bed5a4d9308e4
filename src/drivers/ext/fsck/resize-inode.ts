/**
 * The inode that keeps blocks for more group descriptors, so that a volume can grow. Its second level of
 * pointers names the reserved blocks behind the descriptors of the first group; each of these is in turn a
 * block of pointers, to the same block of every other group that has copies.
 */
import type { MetadataBlock } from "../../../metadata/cache.ts";
import {
  COMPATIBLE,
  CONTENT_BYTE,
  INODE_EXTENTS,
  INODE_INLINE_DATA,
  SUPERBLOCK_BYTE,
} from "../format.ts";
import { firstBlockOfGroup, hasSuperblock } from "../space/groups.ts";
import { inodeFlags, inodeSectors, inodeSize, linkCount } from "../inodes/inode.ts";
import type { InodeCheck } from "./inodes.ts";

/** The only pointer of the inode that it has, of so many. */
const POINTER = 13;
const POINTERS = 15;

export function checkResizeInode(inode: InodeCheck): void {
  const { raw, check } = inode;
  const { volume } = check;
  const { facts } = volume;
  const flags = inodeFlags(raw);
  if (linkCount(raw) === 0) inode.tell("resize-inode", "i_links_count", 0, "expected a link");
  if ((flags & (INODE_EXTENTS | INODE_INLINE_DATA)) !== 0) {
    inode.tell("resize-inode", "i_flags", `0x${flags.toString(16)}`, "expected pointers to blocks");
  }
  const pointerAt = (index: number) =>
    raw.block.view.getUint32(raw.at + CONTENT_BYTE + 4 * index, true);
  const pointer = pointerAt(POINTER);
  for (let index = 0; index < POINTERS; index++) {
    const found = pointerAt(index);
    if (index !== POINTER && found !== 0) inode.tell("resize-inode", `i_block[${index}]`, found, 0);
  }
  if ((facts.features.compatible & COMPATIBLE.resizeInode) === 0) {
    inode.tell("resize-inode", "i_block", pointer, "but the volume has no resize_inode");
    return;
  }
  if (!volume.isOwnable(pointer, 1)) {
    inode.tell("resize-inode", "i_block[13]", pointer, "expected a block that can be its own");
    return;
  }
  check.census.own(inode.ino, pointer, 1, "its map");
  const second = check.attempt(() => check.reader.read(pointer, () => {}));
  if (second === null) return;
  const copies: number[] = [];
  for (let group = 1; group < facts.groups; group++) {
    if (hasSuperblock(volume, group)) copies.push(firstBlockOfGroup(volume, group));
  }
  const perBlock = volume.blockSize / 4;
  const descriptors = Math.ceil((facts.groups * facts.descriptorSize) / volume.blockSize);
  const firstReserved = Math.floor(SUPERBLOCK_BYTE / volume.blockSize) + 1 + descriptors;
  const reserved = new Map<number, number>();
  for (let index = 0; index < facts.reservedGdtBlocks; index++) {
    reserved.set((descriptors + index) % perBlock, firstReserved + index);
  }
  comparePointers(inode, second, (slot) => reserved.get(slot) ?? 0);
  for (const block of reserved.values()) {
    const pointers = check.attempt(() => check.reader.read(block, () => {}));
    if (pointers === null) continue;
    // A reserved block names the same block of every group that has copies, in order.
    const distance = block - facts.firstDataBlock;
    comparePointers(inode, pointers, (slot) => (copies[slot] ?? -distance) + distance);
  }
  checkSectors(inode, 1 + facts.reservedGdtBlocks * (1 + copies.length));
  if (copies.length === 0 || reserved.size === 0) return;
  const last = POINTER - 1 + perBlock * (1 + Math.max(...reserved.keys())) + copies.length - 1;
  const size = inodeSize(raw);
  if (size >= last * volume.blockSize) return;
  inode.tell("inode-size", "i_size", size, `expected more than block ${last}, which it has`);
}

/** Tells of every pointer in a block that is not as `rightAt` says. */
function comparePointers(
  inode: InodeCheck,
  { block, view, bytes }: MetadataBlock,
  rightAt: (slot: number) => number,
): void {
  for (let slot = 0; slot < bytes.length / 4; slot++) {
    const found = view.getUint32(4 * slot, true);
    const right = rightAt(slot);
    if (found === right) continue;
    inode.tell("resize-inode", `pointer ${slot} of block ${block}`, found, right);
  }
}

function checkSectors(inode: InodeCheck, blocks: number): void {
  const { volume } = inode.check;
  if (volume.facts.clusterBlocks > 1) return; // there it is a count of clusters, and some are shared
  const right = blocks * (volume.blockSize / 512);
  const said = inodeSectors(volume, inode.raw);
  if (said !== right) inode.tell("inode-blocks", "i_blocks", said, right);
}
