/**
 * What is counted for users, groups and projects on a volume with the feature quota: the space of each inode, as its
 * own count of blocks says it, and the inode itself. Every change of either goes to the quota files in the same
 * transaction, so that they are right at any crash point. Nobody is refused: the image's owner is the superuser,
 * whom the kernel exempts from limits as well.
 *
 * Not counted are the inodes that the volume has for itself: those below the first that is not reserved but the root,
 * and the quota files.
 */
import { CorruptionError } from "../../base/errors.ts";
import type { Ino } from "../../base/quantities.ts";
import type { Transaction } from "../../metadata/transaction.ts";
import { INO_ROOT } from "./format.ts";
import { inodeOwner, inodeProject, inodeSectors, type RawInode } from "./inode.ts";
import { QUOTA_KINDS, QuotaFile, type QuotaKind, type Usage } from "./quota-file.ts";
import type { SuperblockFacts } from "./superblock.ts";
import type { ExtVolume, UsageCounter } from "./volume.ts";

/** Whose an inode is, by kind of quota. */
export type QuotaIds = Readonly<Record<QuotaKind, number>>;

export function quotaIdsOf(volume: ExtVolume, raw: RawInode): QuotaIds {
  const { uid, gid } = inodeOwner(raw);
  return { user: uid, group: gid, project: inodeProject(volume, raw) };
}

/** Whether the space of an inode is counted. */
export function isCounted(facts: SuperblockFacts, ino: number): boolean {
  return (ino >= facts.firstIno || ino === INO_ROOT) && !facts.quotaInos.includes(ino);
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
    if (!isCounted(this.#volume.facts, ino)) return;
    const ids = quotaIdsOf(this.#volume, raw);
    for (const file of this.#files) file.change(transaction, ids[file.kind], usage);
  }

  changeOwner(transaction: Transaction, ino: Ino, raw: RawInode, change: () => void): void {
    const before = quotaIdsOf(this.#volume, raw);
    change();
    if (!isCounted(this.#volume.facts, ino)) return;
    const after = quotaIdsOf(this.#volume, raw);
    const space = inodeSectors(this.#volume, raw) * 512;
    for (const file of this.#files) {
      const [from, to] = [before[file.kind], after[file.kind]];
      if (from === to) continue;
      file.change(transaction, from, { space: -space, inodes: -1 });
      file.change(transaction, to, { space, inodes: 1 });
    }
  }
}
