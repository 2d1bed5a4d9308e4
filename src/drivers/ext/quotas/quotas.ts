/**
 * What is counted for users, groups and projects on a volume with the feature quota: the space of each inode, as its
 * own count of blocks says it, and the inode itself. Every change of either goes to the quota files in the same
 * transaction, so that they are right at any crash point. Nobody is refused: the image's owner is the superuser,
 * whom the kernel exempts from limits as well.
 *
 * Not counted are the inodes that the volume has for itself: those below the first that is not reserved but the root,
 * the quota files and the orphan file. Inodes with values of attributes count as those of each inode that has the attribute.
 */
import { CorruptionError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { readAttributeArea } from "../attributes/area.ts";
import { areaOfBlock, readAttributeBlock } from "../attributes/block.ts";
import { areaOfBody, readBody } from "../attributes/body.ts";
import { hasOutsideValues, outsideCount } from "../attributes/values.ts";
import { INO_ROOT, INODE_VALUE } from "../format.ts";
import {
  attributeBlock,
  inodeFlags,
  inodeOwner,
  inodeProject,
  inodeSectors,
  type RawInode,
} from "../inodes/inode.ts";
import { QUOTA_KINDS, QuotaFile, type QuotaKind, type Usage } from "./quota-file.ts";
import type { SuperblockFacts } from "../superblock.ts";
import type { ExtVolume, UsageCounter } from "../volume.ts";

/** Whose an inode is, by kind of quota. */
export type QuotaIds = Readonly<Record<QuotaKind, number>>;

export function quotaIdsOf(volume: ExtVolume, raw: RawInode): QuotaIds {
  const { uid, gid } = inodeOwner(raw);
  return { user: uid, group: gid, project: inodeProject(volume, raw) };
}

/** Whether the space of an inode is counted. */
export function isCounted(
  { firstIno, quotaInos, orphanFileIno }: SuperblockFacts,
  ino: number,
  raw: RawInode,
): boolean {
  if ((inodeFlags(raw) & INODE_VALUE) !== 0) return false;
  if (ino < firstIno) return ino === INO_ROOT;
  return ino !== orphanFileIno && !quotaInos.includes(ino);
}

/** The quota files of a volume; none without the feature. */
export function quotaFilesOf(volume: ExtVolume): QuotaFile[] {
  const files: QuotaFile[] = [];
  for (const [index, kind] of QUOTA_KINDS.entries()) {
    const ino = volume.facts.quotaInos[index]!;
    if (ino !== 0) files.push(new QuotaFile(volume, ino as Ino, kind));
  }
  return files;
}

/** How many attributes of an inode have their values in inodes. */
function valuesOutside(volume: ExtVolume, ino: Ino, raw: RawInode): number {
  if (!hasOutsideValues(volume)) return 0;
  const inBody = outsideCount(readBody(volume, areaOfBody(volume, raw)));
  const block = attributeBlock(volume, raw);
  if (block === 0) return inBody;
  const area = areaOfBlock(volume, readAttributeBlock(volume, ino, block));
  return inBody + outsideCount(readAttributeArea(volume, area));
}

/** Why the quota files cannot be kept, so that the volume can only be read; or null. */
export function quotaDamage(volume: ExtVolume): string | null {
  for (const file of quotaFilesOf(volume)) {
    try {
      file.head();
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      return `its ${file.kind} quotas are damaged (${error.message}); run e2fsck -f`;
    }
  }
  return null;
}

/** Counts; null where the volume has no quota files. */
export function usageCounterOf(volume: ExtVolume): UsageCounter | null {
  const files = quotaFilesOf(volume);
  return files.length === 0 ? null : new Quotas(volume, files);
}

class Quotas implements UsageCounter {
  readonly fileCount: number;
  readonly #volume: ExtVolume;
  readonly #files: readonly QuotaFile[];

  constructor(volume: ExtVolume, files: readonly QuotaFile[]) {
    this.#volume = volume;
    this.#files = files;
    this.fileCount = files.length;
  }

  change(transaction: Transaction, ino: Ino, raw: RawInode, usage: Usage): void {
    if (!isCounted(this.#volume.facts, ino, raw)) return;
    const ids = quotaIdsOf(this.#volume, raw);
    for (const file of this.#files) file.change(transaction, ids[file.kind], usage);
  }

  remove(transaction: Transaction, ino: Ino, raw: RawInode): void {
    const { space, inodes } = this.#usageOf(ino, raw);
    this.change(transaction, ino, raw, { space: -space, inodes: -inodes });
  }

  add(transaction: Transaction, ino: Ino, raw: RawInode): void {
    this.change(transaction, ino, raw, this.#usageOf(ino, raw));
  }

  #usageOf(ino: Ino, raw: RawInode): Usage {
    const space = inodeSectors(this.#volume, raw) * 512;
    return { space, inodes: 1 + valuesOutside(this.#volume, ino, raw) };
  }

  changeOwner(transaction: Transaction, ino: Ino, raw: RawInode, change: () => void): void {
    const before = quotaIdsOf(this.#volume, raw);
    change();
    if (!isCounted(this.#volume.facts, ino, raw)) return;
    const after = quotaIdsOf(this.#volume, raw);
    const { space, inodes } = this.#usageOf(ino, raw);
    for (const file of this.#files) {
      const [from, to] = [before[file.kind], after[file.kind]];
      if (from === to) continue;
      file.change(transaction, from, { space: -space, inodes: -inodes });
      file.change(transaction, to, { space, inodes });
    }
  }
}
