/**
 * The orphan file: a file without a name, whose blocks are full of inode numbers, those of inodes that are
 * to be freed or cut. A place that is 0 is free. Each block ends with a tail:
 *
 *     ino | ino | 0 | ... | magic | checksum
 *
 * It does what the list does that begins in the superblock (orphans.ts), without one block that all change.
 *
 * Rules. (1) While a volume with an orphan file is mounted for writing, its superblock says "orphan_present",
 *            and still does after that where the file is not empty. (2) The file never grows: who finds no free
 *            place takes the list. (3) Without a journal the list is taken, too: nobody announces the file then.
 *
 * Locks: to change it, an open transaction. Nothing here sleeps.
 * Source: Linux Documentation/filesystems/ext4/orphan.rst.
 */
import { crc32c } from "../../../base/checksum.ts";
import { CorruptionError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import { struct, u32 } from "../../../base/struct.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { wordsOf } from "../space/bitmaps.ts";
import { crc32cNumber } from "../checksums.ts";
import { readFileBlock } from "../maps/file-blocks.ts";
import { inodeChecksumSeed, inodeSize, linkCount, readRaw } from "./inode.ts";
import { type ExtVolume, SEAL } from "../volume.ts";

export const DiskOrphanTail = struct(
  "ext4_orphan_block_tail",
  { endian: "little", size: 8 },
  { magic: u32(0), checksum: u32(4) },
);
export const ORPHAN_MAGIC = 0x0b10ca04;

/** Byte of a block where its tail begins, and its places end. */
export function orphanTailByte({ blockSize }: Pick<ExtVolume, "blockSize">): number {
  return blockSize - DiskOrphanTail.structure.size;
}

/** What the tail's checksum is to be; `seed` is the orphan file's. 0 on a volume without metadata_csum. */
export function orphanChecksum(
  volume: Pick<ExtVolume, "blockSize" | "metadataChecksums">,
  block: MetadataBlock,
  seed: number,
): number {
  if (!volume.metadataChecksums) return 0;
  const low = crc32cNumber(seed, block.block % 2 ** 32, 4);
  const high = crc32cNumber(low, Math.floor(block.block / 2 ** 32), 4);
  return crc32c(high, block.bytes.subarray(0, orphanTailByte(volume)));
}

/** Throws: CorruptionError unless a block's tail is right. */
function verifyTail(volume: ExtVolume, block: MetadataBlock, seed: number): void {
  const at = orphanTailByte(volume);
  const { structure, magic, checksum } = DiskOrphanTail;
  const found = magic.get(block.view, at);
  if (found !== ORPHAN_MAGIC) {
    throw volume.damage({ block, at }, structure, "ob_magic", found, `expected ${ORPHAN_MAGIC}`);
  }
  const stored = checksum.get(block.view, at);
  const computed = orphanChecksum(volume, block, seed);
  if (stored !== computed) {
    const expected = `but the block's entries give ${computed}`;
    throw volume.damage({ block, at }, structure, "ob_checksum", stored, expected);
  }
}

/** A block of the orphan file, and its places: the same memory. */
interface Page {
  readonly block: MetadataBlock;
  readonly places: Uint32Array;
}

/** The file's blocks. Throws: CorruptionError. */
function* pagesOf(volume: ExtVolume): Generator<Page, void, void> {
  const ino = volume.facts.orphanFileIno as Ino;
  const raw = readRaw(volume, ino);
  if (linkCount(raw) === 0) {
    throw new CorruptionError({
      structure: `orphan file, inode ${ino}`,
      field: "i_links_count",
      value: 0,
      expected: "expected 1",
    });
  }
  const count = Math.floor(inodeSize(raw) / volume.blockSize);
  for (let index = 0; index < count; index++) {
    const block = readFileBlock(volume, ino, index, (filled) =>
      verifyTail(volume, filled, inodeChecksumSeed(volume, ino)),
    );
    yield { block, places: wordsOf(block.bytes.subarray(0, orphanTailByte(volume))) };
  }
}

/** Whether orphans of this volume go to its orphan file (rule 3). */
export function usesOrphanFile({ facts }: ExtVolume): boolean {
  return facts.orphanFileIno !== 0 && facts.hasJournal;
}

/** What the file names, in its order; a damaged one may name an inode twice. Throws: CorruptionError. */
export function inosInOrphanFile(volume: ExtVolume): Ino[] {
  const found: Ino[] = [];
  if (volume.facts.orphanFileIno === 0) return found;
  for (const { places } of pagesOf(volume)) {
    for (const ino of places) if (ino !== 0) found.push(ino as Ino);
  }
  return found;
}

/** Puts `to` in the first place that holds `from`. False: none does. */
function replacePlace(
  volume: ExtVolume,
  transaction: Transaction,
  from: number,
  to: number,
): boolean {
  for (const { block, places } of pagesOf(volume)) {
    const index = places.indexOf(from);
    if (index < 0) continue;
    const seed = inodeChecksumSeed(volume, volume.facts.orphanFileIno as Ino);
    transaction.edit(block, SEAL.orphans, seed);
    places[index] = to;
    return true;
  }
  return false;
}

/** Writes the checksum of a block of the file; `seed` is the file's. */
export function sealOrphans(volume: ExtVolume, block: MetadataBlock, seed: number): void {
  const computed = orphanChecksum(volume, block, seed);
  DiskOrphanTail.checksum.set(block.view, orphanTailByte(volume), computed);
}

/** Names an inode that the file does not name yet. False: it is full. Throws: CorruptionError. */
export function addToOrphanFile(volume: ExtVolume, transaction: Transaction, ino: Ino): boolean {
  return usesOrphanFile(volume) && replacePlace(volume, transaction, 0, ino);
}

/** Takes an inode out of the file. False: it did not name it. Throws: CorruptionError. */
export function removeFromOrphanFile(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
): boolean {
  return volume.facts.orphanFileIno !== 0 && replacePlace(volume, transaction, ino, 0);
}
