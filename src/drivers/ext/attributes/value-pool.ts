/** Values of extended attributes in inodes of their own: making these inodes, and freeing them. */
import type { Ino } from "../../../base/quantities.ts";
import { NO_SEAL, type Transaction } from "../../../metadata/transaction.ts";
import { attributeHash, type OutsideValue } from "./area.ts";
import { hasOutsideValues, setReferences, valueHash } from "./values.ts";
import { appendFileBlock } from "../maps/file-blocks.ts";
import { INODE_VALUE } from "../format.ts";
import {
  initInode,
  inodeFlags,
  inodeOwner,
  inodeTime,
  isValueInode,
  linkCount,
  type RawInode,
  readRaw,
  setInodeFlags,
  setInodeSize,
  setInodeTime,
} from "../inodes/inode.ts";
import { allocateInode, freeInode } from "../inodes/inode-pool.ts";
import { findOrphans, listOrphans } from "../inodes/orphans.ts";
import { removeExtents } from "../maps/placement.ts";
import type { ExtVolume } from "../volume.ts";

/**
 * A new inode with `value`, of at most 64 KiB and not empty, for an attribute of inode `owner`: 80 blocks of metadata change
 * at most. Throws: ENOSPC.
 */
export function createValue(
  volume: ExtVolume,
  transaction: Transaction,
  owner: { readonly ino: Ino; readonly raw: RawInode },
  name: Uint8Array,
  value: Uint8Array,
): OutsideValue {
  const { uid, gid } = inodeOwner(owner.raw);
  // Nobody sees it; no clock is asked, so that a volume that is filled again has the same bytes.
  const time = inodeTime(volume, owner.raw, "birthTime");
  const ino = allocateInode(volume, transaction, owner.ino, false);
  const raw = initInode(volume, transaction, ino, { type: "file", mode: 0o600, uid, gid, time });
  setInodeFlags(raw, inodeFlags(raw) | INODE_VALUE);
  for (let at = 0; at < value.length; at += volume.blockSize) {
    const { block } = appendFileBlock(volume, transaction, ino, NO_SEAL);
    block.bytes.set(value.subarray(at, at + volume.blockSize));
  }
  setInodeSize(raw, value.length);
  const hash = valueHash(volume, value);
  // Signed: as a time, inodes of 128 bytes have no room for more than 31 bits.
  setInodeTime(volume, raw, "accessTime", { seconds: hash | 0, nanoseconds: 0 });
  setReferences(volume, raw, 1);
  return { ino, size: value.length, hash: attributeHash(name, [hash]) };
}

/**
 * An orphan that holds a value nobody has, or null. Ours are on the list of orphans; `everywhere`: looks into the
 * orphan file, too, where the kernel puts them. Throws: CorruptionError.
 */
export function unusedValue(volume: ExtVolume, everywhere: boolean): Ino | null {
  if (!hasOutsideValues(volume)) return null;
  const orphans = everywhere ? findOrphans(volume) : listOrphans(volume);
  return orphans.find((ino) => isUnusedValue(volume, ino)) ?? null;
}

export function isUnusedValue(volume: ExtVolume, ino: Ino): boolean {
  const raw = readRaw(volume, ino);
  return isValueInode(raw) && linkCount(raw) === 0;
}

/** See ExtendedAttributes.freeUnused. */
export function freeUnusedValue(
  volume: ExtVolume,
  transaction: Transaction,
  everywhere: boolean,
): void {
  const ino = unusedValue(volume, everywhere);
  if (ino === null) return;
  if (removeExtents(volume, transaction, ino, 0, Number.POSITIVE_INFINITY)) {
    freeInode(volume, transaction, ino);
  }
}
