/**
 * The parts of the device that hold the volume's own structures: superblocks, group descriptors,
 * bitmaps and inode tables. No file owns a block of them; an extent that says so is damage, and is
 * caught before its blocks are handed out as memory. They never move while a volume is mounted.
 */
import { firstBlockOfGroup, getGroup, headBlocks, inodeTableBlocks, readGroup } from "./groups.ts";
import type { ExtVolume } from "./volume.ts";

export class MetadataZones {
  /** Sorted, apart from one another: zone i is [starts[i], ends[i]), in blocks. */
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];

  /** Reads every group descriptor. Throws: CorruptionError. */
  constructor(volume: ExtVolume) {
    const zones: (readonly [start: number, end: number])[] = [[0, volume.facts.firstDataBlock + 1]];
    for (let index = 0; index < volume.facts.groups; index++) {
      const group = readGroup(volume, index);
      const blockBitmap = getGroup(volume, group, "blockBitmap");
      const inodeBitmap = getGroup(volume, group, "inodeBitmap");
      const inodeTable = getGroup(volume, group, "inodeTable");
      const first = firstBlockOfGroup(volume, index);
      zones.push(
        [first, first + headBlocks(volume, index)],
        [blockBitmap, blockBitmap + 1],
        [inodeBitmap, inodeBitmap + 1],
        [inodeTable, inodeTable + inodeTableBlocks(volume)],
      );
    }
    zones.sort((a, b) => a[0] - b[0]);
    for (const [start, end] of zones) this.#append(start, end);
  }

  #append(start: number, end: number): void {
    const last = this.#ends.length - 1;
    if (start >= end) return;
    if (last >= 0 && start <= this.#ends[last]!) {
      this.#ends[last] = Math.max(this.#ends[last]!, end);
    } else {
      this.#starts.push(start);
      this.#ends.push(end);
    }
  }

  /** Whether any of the blocks [start, end) lies in a zone. */
  overlaps(start: number, end: number): boolean {
    let low = 0;
    let high = this.#ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ends[middle]! <= start) low = middle + 1;
      else high = middle;
    }
    return low < this.#starts.length && this.#starts[low]! < end;
  }
}
