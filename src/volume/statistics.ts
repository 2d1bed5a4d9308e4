/** Figures of a volume: what its threads have done, hold and wait for. */
import { breakStatistics } from "../layout/break.ts";
import { leaseStatistics } from "../layout/lease.ts";
import { transactionsCommitted } from "../metadata/transaction.ts";
import { WAIT_KINDS, type WaitKind } from "../sync/sleep.ts";
import { summariseWaits, type WaitSummary } from "../sync/wait-histograms.ts";
import type { VolumeCore } from "./core.ts";

/** Figures of a volume, over all its threads, since it was mounted. */
export interface VolumeStatistics {
  /** Faults served, ranges revoked, and pages that touches could not reach. */
  readonly faults: number;
  readonly revocations: number;
  readonly pagesLost: number;
  /** Open now. */
  readonly windows: number;
  /** Pins counted on pages now: a pin of n pages counts n times. */
  readonly pinsHeld: number;
  /** Layout changes that broke a range, and how often one had to wait for a pin. */
  readonly breaks: number;
  readonly breakWaits: number;
  /** Leases held now, how often one was recalled, and how often one was not returned in time. */
  readonly leasesHeld: number;
  readonly leaseRecalls: number;
  readonly leasesExpired: number;
  readonly transactions: number;
  /**
   * How long operations slept, by what they waited for: locks ("directory", "io", "writeBack", "map",
   * "transaction", "entry"), a layout change the last "pins" of its range, a new pin an "insisting"
   * layout change, a reader the end of a change of the "layout", "other".
   */
  readonly waits: Readonly<Record<WaitKind, WaitSummary>>;
  /** Blocks that several files own, or several places of one. */
  readonly blocksShared: number;
  /** Inode records in memory, and those of them that nobody uses. */
  readonly inodes: number;
  readonly inodesIdle: number;
  readonly regionBytes: number;
  readonly regionBytesUsed: number;
}

/** See Volume.statistics. */
export function volumeStatistics(core: VolumeCore): VolumeStatistics {
  const { dax, inodes, thread } = core;
  thread.reap();
  const windows = dax.windows.statistics();
  const { breaks, waits } = breakStatistics(thread);
  const leases = leaseStatistics(thread);
  const { records, idle } = inodes.count();
  return {
    faults: windows.faults,
    revocations: windows.revocations,
    pagesLost: windows.pagesLost,
    windows: windows.windows,
    pinsHeld: dax.pages.totalPins(),
    breaks,
    breakWaits: waits,
    leasesHeld: leases.held,
    leaseRecalls: leases.recalls,
    leasesExpired: leases.expired,
    transactions: transactionsCommitted(thread),
    waits: Object.fromEntries(
      WAIT_KINDS.map((kind) => [kind, summariseWaits(thread, kind)]),
    ) as Record<WaitKind, WaitSummary>,
    blocksShared: dax.driver.sharing?.sharedBlocks() ?? 0,
    inodes: records,
    inodesIdle: idle,
    regionBytes: thread.region.buffer.byteLength,
    regionBytesUsed: thread.region.bytesUsed,
  };
}
