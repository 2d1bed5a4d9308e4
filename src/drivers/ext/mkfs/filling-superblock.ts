/**
 * The superblock while a new volume is filled. Nobody needs a journal then: a volume whose filling ends
 * early is no volume. Without one each block is written once, and nothing of the filling stays behind: the
 * journal is as empty, and the superblock as new, as they were made.
 */
import { superblockChecksum } from "../checksums.ts";
import { COMPATIBLE, DiskSuperblock, READ_ONLY } from "../format.ts";
import { viewOf } from "../superblock.ts";

/** A superblock's 1,024 bytes, of the same volume without its journal. */
export function withoutJournal(made: Uint8Array): Uint8Array {
  const superblock = made.slice();
  const view = viewOf(superblock);
  const features = DiskSuperblock.featuresCompatible.get(view, 0);
  const others = features & ~(COMPATIBLE.hasJournal | COMPATIBLE.fastCommit);
  DiskSuperblock.featuresCompatible.set(view, 0, others >>> 0);
  DiskSuperblock.journalIno.set(view, 0, 0);
  return sealed(superblock);
}

/** The superblock as it was made, with what is free of the volume now that it is filled. */
export function withCountsOf(made: Uint8Array, filled: Uint8Array): Uint8Array {
  const superblock = made.slice();
  const { freeBlocksCountLow, freeBlocksCountHigh, freeInodesCount } = DiskSuperblock;
  for (const field of [freeBlocksCountLow, freeBlocksCountHigh, freeInodesCount]) {
    field.set(viewOf(superblock), 0, field.get(viewOf(filled), 0));
  }
  return sealed(superblock);
}

function sealed(superblock: Uint8Array): Uint8Array {
  const view = viewOf(superblock);
  const features = DiskSuperblock.featuresReadOnly.get(view, 0);
  if ((features & READ_ONLY.metadata_csum) !== 0) {
    DiskSuperblock.checksum.set(view, 0, superblockChecksum(superblock));
  }
  return superblock;
}
