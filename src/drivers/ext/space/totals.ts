/** The superblock's counts of what is free on the whole volume. Block counts are in clusters. */
import { DiskSuperblock, getPair, setPair } from "../format.ts";
import { getGroup, readGroup } from "./groups.ts";
import type { ExtVolume } from "../volume.ts";

export type Total = "freeBlocks" | "freeInodes";

/** A count of the superblock at byte `at` of `view`. */
export function getTotal(view: DataView, at: number, name: Total): number {
  const { freeBlocksCountLow, freeBlocksCountHigh, freeInodesCount } = DiskSuperblock;
  return name === "freeBlocks"
    ? getPair(view, at, freeBlocksCountLow, freeBlocksCountHigh)
    : freeInodesCount.get(view, at);
}

export function setTotal(view: DataView, at: number, name: Total, value: number): void {
  const { freeBlocksCountLow, freeBlocksCountHigh, freeInodesCount } = DiskSuperblock;
  if (name === "freeInodes") freeInodesCount.set(view, at, value);
  else setPair(view, at, freeBlocksCountLow, freeBlocksCountHigh, value);
}

/** What the groups' descriptors say together, until `enough` is found. Throws: CorruptionError. */
export function sumOfGroups(
  volume: ExtVolume,
  name: Total,
  enough = Number.POSITIVE_INFINITY,
): number {
  let free = 0;
  for (let index = 0; index < volume.facts.groups && free < enough; index++) {
    free += getGroup(volume, readGroup(volume, index), name);
  }
  return free;
}
