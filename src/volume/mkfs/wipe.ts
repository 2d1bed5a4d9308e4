/**
 * What an older filesystem has left on a block device and by which it would be found again. (A file is
 * emptied as a whole.) Most keep their marks in the first and the last MiB; ext has copies of its superblock
 * at the start of some groups, which e2fsck looks for.
 */
import type { NewDevice } from "../../device/index.ts";
import { isSuperblock, SUPERBLOCK_SIZE } from "../../drivers/ext/index.ts";

const MARKS_BYTES = 2 ** 20;
const BLOCK_SIZES = [1024, 2048, 4096];
const COPY_BASES = [3, 5, 7];

/** Throws: EIO. */
export function wipeMarks(device: NewDevice): void {
  const { size } = device;
  device.zero(0, Math.min(size, MARKS_BYTES));
  const end = size - (size % 4096);
  if (end > MARKS_BYTES) {
    const at = Math.max(MARKS_BYTES, end - MARKS_BYTES);
    device.zero(at, end - at);
  }
  const copy = new Uint8Array(SUPERBLOCK_SIZE);
  for (const at of copyPlaces(size)) {
    device.copyOut(at, copy);
    if (isSuperblock(copy)) device.zero(at, SUPERBLOCK_SIZE);
  }
}

/** Bytes at which a volume of any block size may have a copy of its superblock. */
function copyPlaces(size: number): number[] {
  const places: number[] = [];
  for (const blockSize of BLOCK_SIZES) {
    const groupBytes = blockSize * 8 * blockSize;
    const first = blockSize === 1024 ? 1024 : 0;
    for (const group of copyGroups(size / groupBytes)) places.push(first + group * groupBytes);
  }
  return places.filter((at) => at + SUPERBLOCK_SIZE <= size);
}

/** Group 1 and the powers of 3, 5 and 7 below `limit`. */
function copyGroups(limit: number): number[] {
  const groups = [1];
  for (const base of COPY_BASES) {
    for (let group = base; group < limit; group *= base) groups.push(group);
  }
  return groups;
}
