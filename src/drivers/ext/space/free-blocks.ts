/**
 * How many blocks are free, and for whom: a volume has a number of blocks that are reserved. When no more than these are
 * free, only the superuser gets some, and the user and the group that the superblock names.
 *
 * What a file, a directory or an attribute is given is held to it, with the nodes of the map that name it; not the nodes
 * that a map needs when blocks of it are taken away or change their state: space could not be freed else.
 *
 * Source: tune2fs(8), -m, -r, -u and -g; that group 0 stands for none is what the kernel was seen to do.
 */
import type { HoldfastError } from "../../../base/errors.ts";
import type { User } from "../../../iomap/contract.ts";
import type { SuperblockFacts } from "../superblock.ts";
import { type ExtVolume, noSpace, readSuperblock } from "../volume.ts";
import { getTotal, sumOfGroups } from "./totals.ts";

/** Whether a user may take blocks that are reserved. */
export function mayUseReserved(
  { reservedUid, reservedGid }: Pick<SuperblockFacts, "reservedUid" | "reservedGid">,
  { uid, gids }: User,
): boolean {
  return uid === 0 || uid === reservedUid || (reservedGid !== 0 && gids.includes(reservedGid));
}

/** Free blocks of the volume, counted only until `enough` are found. Throws: CorruptionError. */
export function countFreeBlocks(volume: ExtVolume, enough = Number.POSITIVE_INFINITY): number {
  const { clusterBlocks } = volume.facts;
  return sumOfGroups(volume, "freeBlocks", enough / clusterBlocks) * clusterBlocks;
}

/** Of these, what may be taken by whom the volume is used, `enough` likewise. Throws: CorruptionError. */
export function countUsableBlocks(volume: ExtVolume, enough: number): number {
  const { usesReserved, facts } = volume;
  const reserved = usesReserved ? 0 : facts.reservedBlocks;
  // The superblock says at once that there is much.
  const isMuch = reserved === 0 || freeTotal(volume) - reserved >= enough;
  if (isMuch) return countFreeBlocks(volume, enough);
  return Math.max(countFreeBlocks(volume, enough + reserved) - reserved, 0);
}

/** Free blocks, as the superblock has it. */
export function freeTotal(volume: ExtVolume): number {
  const { block, at } = readSuperblock(volume);
  return getTotal(block.view, at, "freeBlocks") * volume.facts.clusterBlocks;
}

/** There is no block that may be taken. */
export function noUsableBlock(volume: ExtVolume): HoldfastError {
  const isReserved = !volume.usesReserved && countFreeBlocks(volume, 1) > 0;
  return noSpace(isReserved ? "block that is not reserved for the superuser" : "block");
}
