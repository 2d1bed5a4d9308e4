/**
 * Blocks that a damaged volume gives to two places of files, where no checksum tells of it: found when a page that is one
 * place's is to be another's as well. A page has one owner, so who comes second is refused.
 */
import { CorruptionError, HoldfastError } from "../base/errors.ts";
import { PAGE_SIZE } from "../base/quantities.ts";
import type { Extent } from "../iomap/contract.ts";
import { inoOf } from "../mapping/mapping.ts";
import type { PageOwner } from "../pages/pages.ts";
import type { Dax } from "./dax.ts";

/**
 * The damage by which a device page that `has` owns is `wants`'s as well; null where the file that owns it does not have
 * its block: then the page should have been free, and it is no damage. Locks: none; a map that is just being changed may
 * be taken for one that has not the block, or for a damaged one. Sleeps: never.
 */
export function claimedTwice(
  dax: Dax,
  devicePage: number,
  has: PageOwner,
  wants: PageOwner,
): CorruptionError | null {
  const [ino, other] = [inoOf(dax.thread, wants.owner), inoOf(dax.thread, has.owner)];
  if (ino === other && wants.index === has.index) return null;
  const deviceByte = devicePage * PAGE_SIZE;
  if (addressOf(dax, has) !== deviceByte) return null;
  const block = deviceByte / dax.driver.blockSize;
  return new CorruptionError({
    structure: `map of inode ${ino}`,
    field: `block of byte ${wants.index * PAGE_SIZE}`,
    value: `block ${block}`,
    expected: `which inode ${other} has at byte ${has.index * PAGE_SIZE}`,
    deviceByte,
  });
}

/** The device byte at which a page lies by its file's map; null where it has none, or there is no such file. */
function addressOf(dax: Dax, { owner, index }: PageOwner): number | null {
  const start = index * PAGE_SIZE;
  let extent: Extent;
  try {
    extent = dax.driver.extentAt(inoOf(dax.thread, owner), start, start + PAGE_SIZE);
  } catch (error) {
    if (error instanceof HoldfastError) return null;
    throw error;
  }
  return extent.kind === "mapped" ? extent.address + (start - extent.start) : null;
}
