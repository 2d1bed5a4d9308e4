/**
 * Orphans: inodes without a name that still hold space, and those that were being cut. They are on a list: the
 * superblock names the first, and each names the next in the field of its deletion time. Or a volume has a file
 * that names them (orphan-file.ts): then the list has those that found no place there.
 */
import { CorruptionError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { DiskInode, DiskSuperblock } from "../format.ts";
import { isInodeUsed } from "../space/group-bitmaps.ts";
import { editInode, readRaw } from "./inode.ts";
import { addToOrphanFile, inosInOrphanFile, removeFromOrphanFile } from "./orphan-file.ts";
import { editSuperblock, type ExtVolume, readSuperblock } from "../volume.ts";

/** The inodes on the list, first to last. Throws: CorruptionError when the list goes in a circle. */
function* walkList(volume: ExtVolume): Generator<Ino, void> {
  const { block, at } = readSuperblock(volume);
  const found = new Set<Ino>();
  let ino = DiskSuperblock.lastOrphan.get(block.view, at) as Ino;
  while (ino !== 0) {
    const raw = readRaw(volume, ino);
    if (found.has(ino)) {
      const expected = "but the list of orphans has been there already";
      throw volume.damage(raw, DiskInode.structure, "inode number", ino, expected);
    }
    found.add(ino);
    yield ino;
    ino = DiskInode.deletionTime.get(raw.block.view, raw.at) as Ino;
  }
}

/** As `walkList`, all of them. */
export function listOrphans(volume: ExtVolume): Ino[] {
  return [...walkList(volume)];
}

/** All orphans. Throws: CorruptionError. */
export function findOrphans(volume: ExtVolume): Ino[] {
  return [...listOrphans(volume), ...inosInOrphanFile(volume)];
}

/**
 * Why orphans cannot be seen to, or null. A list or a file that is damaged may name any inode.
 */
export function orphanDamage(volume: ExtVolume): string | null {
  const { firstIno, inodes, orphanFileIno } = volume.facts;
  const seen = new Set<Ino>();
  try {
    for (const ino of findOrphans(volume)) {
      const isFile = ino >= firstIno && ino <= inodes && ino !== orphanFileIno;
      if (!isFile || !isInodeUsed(volume, ino)) {
        return `its list of orphans names inode ${ino}, which is no file's; run e2fsck -f`;
      }
      if (seen.has(ino)) return `its list of orphans names inode ${ino} twice; run e2fsck -f`;
      seen.add(ino);
    }
    return null;
  } catch (error) {
    if (!(error instanceof CorruptionError)) throw error;
    return `its list of orphans is damaged (${error.message}); run e2fsck -f`;
  }
}

/** Makes an inode an orphan, which it is not yet: in the orphan file, else at the head of the list. */
export function addOrphan(volume: ExtVolume, transaction: Transaction, ino: Ino): void {
  if (!addToOrphanFile(volume, transaction, ino)) addToOrphanList(volume, transaction, ino);
}

/** As `addOrphan`, for what is to be found again by `listOrphans`. */
export function addToOrphanList(volume: ExtVolume, transaction: Transaction, ino: Ino): void {
  const superblock = editSuperblock(volume, transaction);
  const raw = editInode(volume, transaction, ino);
  const next = DiskSuperblock.lastOrphan.get(superblock.block.view, superblock.at) as Ino;
  DiskInode.deletionTime.set(raw.block.view, raw.at, next);
  DiskSuperblock.lastOrphan.set(superblock.block.view, superblock.at, ino);
  if (next === 0) volume.orphanOrder.forgetAll();
  else volume.orphanOrder.note(next, ino);
  volume.orphanOrder.forget(ino);
}

/** Makes an inode no orphan any more, if it is one. */
export function removeOrphan(volume: ExtVolume, transaction: Transaction, ino: Ino): void {
  if (removeFromOrphanFile(volume, transaction, ino)) return;
  const { block, at } = readSuperblock(volume);
  if (DiskSuperblock.lastOrphan.get(block.view, at) === ino) {
    takeOff(volume, transaction, ino, null);
    return;
  }
  const before = volume.orphanOrder.find(ino, (each) => isFollowedBy(volume, each, ino));
  if (before !== null) takeOff(volume, transaction, ino, before);
  else removeByWalking(volume, transaction, ino);
}

/** Of an inode that has been on the list: whether it is, and `ino` is the next. Off the list no inode in use names another. */
function isFollowedBy(volume: ExtVolume, before: Ino, ino: Ino): boolean {
  const { block, at } = readRaw(volume, before);
  return DiskInode.deletionTime.get(block.view, at) === ino && isInodeUsed(volume, before);
}

function removeByWalking(volume: ExtVolume, transaction: Transaction, ino: Ino): void {
  let before: Ino | null = null;
  for (const each of walkList(volume)) {
    if (before !== null) volume.orphanOrder.note(each, before);
    if (each === ino) {
      takeOff(volume, transaction, ino, before);
      return;
    }
    before = each;
  }
}

/** Takes an inode off the list, on which `before` comes before it; null: it is the first. */
function takeOff(volume: ExtVolume, transaction: Transaction, ino: Ino, before: Ino | null): void {
  const raw = editInode(volume, transaction, ino);
  const next = DiskInode.deletionTime.get(raw.block.view, raw.at) as Ino;
  DiskInode.deletionTime.set(raw.block.view, raw.at, 0);
  volume.orphanOrder.forget(ino);
  if (before === null) {
    const { block, at } = editSuperblock(volume, transaction);
    DiskSuperblock.lastOrphan.set(block.view, at, next);
    volume.orphanOrder.forget(next);
  } else {
    const { block, at } = editInode(volume, transaction, before);
    DiskInode.deletionTime.set(block.view, at, next);
    if (next !== 0) volume.orphanOrder.note(next, before);
  }
}
