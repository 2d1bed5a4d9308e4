/**
 * The check's last pass: what quota files say is used, against the inodes that were seen. As e2fsck does it, an id of
 * which nothing is said must have nothing, and how the file's free places hang together is nobody's concern.
 */
import { QUOTA_KINDS, type QuotaFile, type QuotaKind, type Usage } from "../quotas/quota-file.ts";
import { isCounted, quotaFilesOf, quotaIdsOf } from "../quotas/quotas.ts";
import type { Located } from "../volume.ts";
import type { Check } from "./check.ts";
import type { InodeCheck } from "./inodes.ts";

interface Sum {
  space: number;
  inodes: number;
}

/** What the inodes seen so far use, by whose they are. */
export class UsageSeen {
  readonly #sums: Readonly<Record<QuotaKind, Map<number, Sum>>> = {
    user: new Map(),
    group: new Map(),
    project: new Map(),
  };

  of(kind: QuotaKind): ReadonlyMap<number, Usage> {
    return this.#sums[kind];
  }

  /** Notes an inode in use, with so many blocks; and how many inodes it counts for, itself and its values. */
  add({ check, raw, ino }: InodeCheck, blocks: number, inodes: number): void {
    const { volume } = check;
    if (!isCounted(volume.facts, ino, raw)) return;
    const ids = quotaIdsOf(volume, raw);
    for (const kind of QUOTA_KINDS) {
      const sums = this.#sums[kind];
      const sum = sums.get(ids[kind]) ?? { space: 0, inodes: 0 };
      sums.set(ids[kind], sum);
      sum.space += blocks * volume.blockSize;
      sum.inodes += inodes;
    }
  }
}

export function checkQuotas(check: Check): void {
  for (const file of quotaFilesOf(check.volume)) {
    check.about = { ino: file.ino };
    check.attempt(() => checkFile(check, file));
  }
  check.about = {};
}

function checkFile(check: Check, file: QuotaFile): void {
  const { kind } = file;
  const used = check.census.usage.of(kind);
  const told = new Set<number>();
  for (const { id, where, space, inodes } of file.entries()) {
    told.add(id);
    const { space: spaceUsed, inodes: inodesUsed } = used.get(id) ?? { space: 0, inodes: 0 };
    if (space === spaceUsed && inodes === inodesUsed) continue;
    const said = `${space} bytes and ${inodes} inodes`;
    const right = `${spaceUsed} bytes and ${inodesUsed} inodes`;
    tell(check, file, { id, where, said, right });
  }
  const head = file.head();
  for (const [id, { space, inodes }] of used) {
    if (told.has(id)) continue;
    tell(check, file, {
      id,
      where: head,
      said: "nothing",
      right: `${space} bytes and ${inodes} inodes`,
    });
  }
}

function tell(
  check: Check,
  { kind, ino }: QuotaFile,
  { id, where, said, right }: { id: number; where: Located; said: string; right: string },
): void {
  check.tell("quota-usage", {
    structure: "v2r1_disk_dqblk",
    ino,
    field: `${kind} ${id}`,
    value: said,
    expected: right,
    deviceByte: check.volume.byteOf(where.block.block, where.at),
    text: `the ${kind} quotas count ${said} for ${kind} ${id}, which has ${right}`,
  });
}
