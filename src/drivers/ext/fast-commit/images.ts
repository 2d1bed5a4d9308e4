/**
 * The blocks that fast commits change, in memory: a volume's metadata is changed in a cache of its own, which nobody
 * else sees, and whose blocks go nowhere.
 */
import { invariant } from "../../../base/invariant.ts";
import { MetadataCache, type MetadataDevice } from "../../../metadata/cache.ts";
import { beginTransaction, createTransactionArea } from "../../../metadata/transaction.ts";
import { Region } from "../../../sync/region.ts";
import { runBlocking } from "../../../sync/runners.ts";
import { Thread } from "../../../sync/thread.ts";
import type { SuperblockFacts } from "../superblock.ts";
import { sealBlocksOf } from "../seals.ts";
import { ExtVolume } from "../volume.ts";
import { applyFastCommits } from "./apply.ts";
import type { FastChange } from "./scan.ts";

/** Room for the metadata that is looked at, and for what undoes a change. Virtual memory until used. */
const REGION_BYTES = 2 ** 28;

/** New contents of blocks, by their numbers. */
export type BlockImages = ReadonlyMap<number, Uint8Array>;

/**
 * What the volume's blocks hold when `changes` are applied to it: of those that differ.
 * Throws: CorruptionError; ENOSPC, ENOMEM, EOVERFLOW, EFBIG where it cannot be done here.
 */
export function imagesOfChanges(
  facts: SuperblockFacts,
  device: { readonly size: number; copyOut(at: number, target: Uint8Array): void },
  changes: readonly FastChange[],
): BlockImages {
  const { blockSize } = facts;
  const images = new Map<number, Uint8Array>();
  const source: MetadataDevice = {
    size: device.size,
    copyOut: (at, target) => device.copyOut(at, target),
    copyIn: (at, bytes) => images.set(at / blockSize, bytes.slice()),
    assertPresent: () => {},
    persistAll: () => {},
  };
  const thread = Thread.join(Region.create(REGION_BYTES));
  try {
    createTransactionArea(thread);
    const cache = MetadataCache.create(thread, source, blockSize);
    const refuse = () => invariant(false, "no data is written where fast commits are applied");
    const volume = new ExtVolume(facts, cache, { size: device.size, zero: refuse, copyIn: refuse });
    sealBlocksOf(volume, cache);
    applyFastCommits(
      volume,
      (change) =>
        runBlocking(thread, function* (task) {
          using transaction = yield* beginTransaction(task, cache);
          change(transaction);
          transaction.commit();
        }),
      changes,
    );
    cache.flush();
  } finally {
    thread.leave();
  }
  return images;
}
