/**
 * The orphan file: a file of inode numbers, of those that were deleted while they were open, as the list is
 * that begins in the superblock. Each block ends with a tail.
 * Source: Linux Documentation/filesystems/ext4/orphan.rst.
 */
import { crc32c } from "../../../base/checksum.ts";
import type { Ino } from "../../../base/quantities.ts";
import { struct, u32 } from "../../../base/struct.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { crc32cNumber } from "../checksums.ts";
import { COMPATIBLE, DiskSuperblock, READ_ONLY, SUPERBLOCK_BYTE } from "../format.ts";
import { inodeChecksumSeed, isSlotUsed, readRaw } from "../inode.ts";
import type { Check } from "./check.ts";
import { blocksOf } from "./directories.ts";

const DiskOrphanTail = struct(
  "ext4_orphan_block_tail",
  { endian: "little", size: 8 },
  { magic: u32(0), checksum: u32(4) },
);
const MAGIC = 0x0b10ca04;

/** Adds the inodes that the orphan file names to `orphans`. */
export function readOrphanFile(check: Check, orphans: Set<number>): void {
  const { features, facts } = check.volume;
  if ((features.compatible & COMPATIBLE.orphanFile) === 0) return;
  const ino = DiskSuperblock.orphanFileIno.get(check.superblock, 0) as Ino;
  check.about = { ino };
  const before = orphans.size;
  check.attempt(() => {
    const raw = readRaw(check.volume, ino);
    const seed = inodeChecksumSeed(check.volume, ino);
    for (const place of blocksOf(check, raw, ino).values()) {
      const block = check.attempt(() => check.reader.read(place, () => {}));
      if (block === null) continue;
      checkTail(check, ino, block, seed);
      for (let at = 0; at < facts.blockSize - DiskOrphanTail.structure.size; at += 4) {
        const orphan = block.view.getUint32(at, true);
        if (orphan !== 0) noteOrphan(check, ino, block, at, orphan, orphans);
      }
    }
  });
  check.about = {};
  // Of a volume in use it is set all the time.
  const isMarked = (features.readOnly & READ_ONLY.orphan_present) !== 0;
  if (isMarked && orphans.size === before && !check.isReplayed) {
    check.tell("orphan-file", {
      structure: DiskSuperblock.structure.name,
      ino,
      field: "s_feature_ro_compat",
      deviceByte: SUPERBLOCK_BYTE,
      text: `the superblock says that the orphan file, inode ${ino}, names inodes, but it names none`,
    });
  }
}

function tell(
  check: Check,
  ino: Ino,
  block: MetadataBlock,
  at: number,
  field: string,
  value: number,
  expected: string,
): void {
  check.tell("orphan-file", {
    structure: DiskOrphanTail.structure.name,
    ino,
    block: block.block,
    field,
    value,
    expected,
    deviceByte: check.volume.byteOf(block.block, at),
    text: `orphan file, inode ${ino}, block ${block.block}: ${field} is ${value}, ${expected}`,
  });
}

function checkTail(check: Check, ino: Ino, block: MetadataBlock, seed: number): void {
  const at = block.bytes.length - DiskOrphanTail.structure.size;
  const magic = DiskOrphanTail.magic.get(block.view, at);
  if (magic !== MAGIC) tell(check, ino, block, at, "ob_magic", magic, `expected ${MAGIC}`);
  const stored = DiskOrphanTail.checksum.get(block.view, at);
  const computed = check.volume.metadataChecksums ? checksumOf(block, at, seed) : 0;
  if (stored !== computed) {
    tell(check, ino, block, at, "ob_checksum", stored, `but its entries give ${computed}`);
  }
}

/** Of the block's number and its entries, which end at byte `end`; `seed` is the orphan file's. */
function checksumOf({ block, bytes }: MetadataBlock, end: number, seed: number): number {
  const low = crc32cNumber(seed, block % 2 ** 32, 4);
  const high = crc32cNumber(low, Math.floor(block / 2 ** 32), 4);
  return crc32c(high, bytes.subarray(0, end));
}

/** Inodes may be named only while the superblock says that there are some. */
function noteOrphan(
  check: Check,
  ino: Ino,
  block: MetadataBlock,
  at: number,
  orphan: number,
  orphans: Set<number>,
): void {
  const { features, facts } = check.volume;
  if ((features.readOnly & READ_ONLY.orphan_present) === 0) {
    tell(
      check,
      ino,
      block,
      at,
      "entry",
      orphan,
      "expected 0, as the superblock says that there are none",
    );
  } else if (orphan > facts.inodes || !isSlotUsed(readRaw(check.volume, orphan as Ino))) {
    tell(check, ino, block, at, "entry", orphan, "expected an inode in use");
  } else orphans.add(orphan);
}
