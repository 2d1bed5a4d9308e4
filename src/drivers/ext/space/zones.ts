/**
 * The parts of the device that hold the volume's own structures: superblocks, group descriptors,
 * bitmaps and inode tables. No file owns a block of them; an extent that says so is damage, and is
 * caught before its blocks are handed out as memory. They never move while a volume is mounted; a volume that
 * grows has more of them.
 */
import { firstBlockOfGroup, getGroup, headBlocks, inodeTableBlocks, readGroup } from "./groups.ts";
import type { ExtVolume } from "../volume.ts";

/** Sorted, apart from one another: zone i is [starts[i], ends[i]), in blocks. Plain data. */
export interface ZoneFacts {
  readonly starts: readonly number[];
  readonly ends: readonly number[];
}

/** Looks for the zones in every group descriptor. Throws: CorruptionError. */
export function findZones(volume: ExtVolume): ZoneFacts {
  return moreZones(volume, { starts: [0], ends: [volume.facts.firstDataBlock + 1] }, 0);
}

/** `known`, and the zones of all groups from `first` on. Throws: CorruptionError. */
export function moreZones(volume: ExtVolume, known: ZoneFacts, first: number): ZoneFacts {
  const zones = known.starts.map((start, index) => [start, known.ends[index]!] as const);
  for (let index = first; index < volume.facts.groups; index++) {
    const group = readGroup(volume, index);
    const blockBitmap = getGroup(volume, group, "blockBitmap");
    const inodeBitmap = getGroup(volume, group, "inodeBitmap");
    const inodeTable = getGroup(volume, group, "inodeTable");
    const start = firstBlockOfGroup(volume, index);
    zones.push(
      [start, start + headBlocks(volume, index)],
      [blockBitmap, blockBitmap + 1],
      [inodeBitmap, inodeBitmap + 1],
      [inodeTable, inodeTable + inodeTableBlocks(volume)],
    );
  }
  zones.sort((a, b) => a[0] - b[0]);
  const starts: number[] = [];
  const ends: number[] = [];
  for (const [start, end] of zones) {
    const last = ends.length - 1;
    if (start >= end) continue;
    if (last >= 0 && start <= ends[last]!) {
      ends[last] = Math.max(ends[last]!, end);
    } else {
      starts.push(start);
      ends.push(end);
    }
  }
  return { starts, ends };
}

/** Whether any of the blocks [start, end) lies in a zone. */
export function overlapsZone({ starts, ends }: ZoneFacts, start: number, end: number): boolean {
  let low = 0;
  let high = ends.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ends[middle]! <= start) low = middle + 1;
    else high = middle;
  }
  return low < starts.length && starts[low]! < end;
}
