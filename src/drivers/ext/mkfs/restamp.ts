/** The superblock of a volume that was mounted only to be filled says so no more. */
import { superblockChecksum } from "../checksums.ts";
import { DiskSuperblock, READ_ONLY, setPair } from "../format.ts";
import { viewOf } from "../superblock.ts";

/** Makes a superblock's 1,024 bytes those of a volume never mounted, written at `time` (seconds). */
export function restampSuperblock(superblock: Uint8Array, time: number): void {
  const view = viewOf(superblock);
  const { mountTimeLow, mountTimeHigh, writeTimeLow, writeTimeHigh } = DiskSuperblock;
  setPair(view, 0, mountTimeLow, mountTimeHigh, 0);
  setPair(view, 0, writeTimeLow, writeTimeHigh, time);
  DiskSuperblock.mountCount.set(view, 0, 0);
  const features = DiskSuperblock.featuresReadOnly.get(view, 0);
  if ((features & READ_ONLY.metadata_csum) === 0) return;
  DiskSuperblock.checksum.set(view, 0, superblockChecksum(superblock));
}
