/** Finding a volume's journal, and making it ready for this mount. */
import { CorruptionError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import { DirectReader } from "../direct-reader.ts";
import { DiskInode, INCOMPATIBLE } from "../format.ts";
import { inodeSize, readRaw } from "../inodes/inode.ts";
import { extentAt } from "../maps/inode-map.ts";
import { orphanDamage } from "../inodes/orphans.ts";
import { quotaDamage } from "../quotas/quotas.ts";
import type { SuperblockFacts } from "../superblock.ts";
import { ExtVolume } from "../volume.ts";
import type { ZoneFacts } from "../space/zones.ts";
import { BLOCK_SUPERBLOCK_V1, DiskHeader, JOURNAL_INCOMPATIBLE } from "./format.ts";
import {
  changeJournal,
  type JournalFacts,
  type JournalState,
  Log,
  type LogDevice,
  type LogRun,
  parseJournal,
} from "./log.ts";

/** A journal that was found. */
export interface FoundJournal {
  readonly facts: JournalFacts;
  readonly state: JournalState;
  /** Why this driver can replay it and not write it, or null. */
  readonly readOnlyReason: string | null;
  /** Where the volume's own structures lie: the journal's blocks were compared with them. */
  readonly zones: ZoneFacts;
}

/** A volume to be read without a mount. */
function volumeOn(
  facts: SuperblockFacts,
  device: LogDevice & { readonly size: number },
): ExtVolume {
  const reader = new DirectReader(device, facts.blockSize);
  return new ExtVolume(facts, reader, { size: device.size, zero: () => {}, copyIn: () => {} });
}

/** Where the journal's file lies. Throws: CorruptionError. */
function findRuns(volume: ExtVolume): LogRun[] {
  const { facts } = volume;
  const ino = facts.journalIno as Ino;
  const raw = readRaw(volume, ino);
  if (DiskInode.linkCount.get(raw.block.view, raw.at) === 0) {
    throw volume.damage(
      raw,
      DiskInode.structure,
      "i_links_count",
      0,
      "expected 1: it is the journal",
    );
  }
  const end = Math.floor(inodeSize(raw) / facts.blockSize);
  const runs: LogRun[] = [];
  for (let index = 0; index < end; ) {
    const extent = extentAt(volume, ino, index, end);
    if (extent.kind !== "mapped") {
      throw new CorruptionError({
        structure: `journal, inode ${ino}`,
        field: `block ${index}`,
        value: extent.kind,
        expected: "expected a block with content",
      });
    }
    const count = extent.length / facts.blockSize;
    runs.push({ index, count, block: extent.address / facts.blockSize });
    index += count;
  }
  return runs;
}

/** The journal of a volume that has one on itself. Throws: CorruptionError, EOPNOTSUPP naming a feature. */
export function findJournal(
  facts: SuperblockFacts,
  device: LogDevice & { readonly size: number },
): FoundJournal {
  const volume = volumeOn(facts, device);
  const runs = findRuns(volume);
  const bytes = new Uint8Array(facts.blockSize);
  const [first] = runs;
  if (first !== undefined) device.copyOut(first.block * facts.blockSize, bytes);
  // What waits to be recovered may be of a volume that has grown since its superblock was written home.
  const blocks = Math.max(facts.blocks, Math.floor(device.size / facts.blockSize));
  const { facts: found, state } = parseJournal(bytes, { ...facts, blocks }, runs);
  const isOld = DiskHeader.type.get(new DataView(bytes.buffer), 0) === BLOCK_SUPERBLOCK_V1;
  const readOnlyReason = isOld
    ? "its journal has a superblock of version 1, which knows no revoke records; mount it once with the kernel"
    : state.errno !== 0
      ? `its journal was given up after an error (errno ${state.errno}); run e2fsck -f`
      : null;
  return { facts: found, state, readOnlyReason, zones: volume.zones };
}

/**
 * Why a volume that was recovered, if that was needed, can only be read; or null.
 */
export function whyReadOnly(
  facts: SuperblockFacts,
  device: LogDevice & { readonly size: number },
): string | null {
  if (facts.readOnlyReason !== null) return facts.readOnlyReason;
  const volume = volumeOn(facts, device);
  return orphanDamage(volume) ?? quotaDamage(volume);
}

/** The facts of an empty journal with the features that this driver writes it with. */
export function withOwnFeatures(facts: JournalFacts, volume: SuperblockFacts): JournalFacts {
  const isWide = (volume.features.incompatible & INCOMPATIBLE["64bit"]) !== 0;
  const kept = facts.incompatible & JOURNAL_INCOMPATIBLE.fast_commit;
  const incompatible =
    kept |
    JOURNAL_INCOMPATIBLE.revoke |
    (isWide ? JOURNAL_INCOMPATIBLE["64bit"] : 0) |
    (volume.metadataChecksums ? JOURNAL_INCOMPATIBLE.csum_v3 : 0);
  return { ...facts, compatible: 0, incompatible };
}

/** Puts the features of an empty journal, and the number of its next transaction, on the device. */
export function beginJournal(facts: JournalFacts, device: LogDevice, sequence: number): void {
  const { compatible, incompatible } = facts;
  changeJournal(new Log(facts, device), { start: 0, sequence, compatible, incompatible });
}
