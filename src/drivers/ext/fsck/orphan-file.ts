/** The check of the orphan file (../orphan-file.ts). */
import type { Ino } from "../../../base/quantities.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { COMPATIBLE, DiskSuperblock, READ_ONLY, SUPERBLOCK_BYTE } from "../format.ts";
import {
  inodeChecksumSeed,
  inodeSize,
  isSlotUsed,
  type RawInode,
  readRaw,
} from "../inodes/inode.ts";
import {
  DiskOrphanTail,
  ORPHAN_MAGIC,
  orphanChecksum,
  orphanTailByte,
} from "../inodes/orphan-file.ts";
import type { Check } from "./check.ts";
import { blocksOf } from "./directories.ts";

/** Adds the inodes that the orphan file names to `orphans`. */
export function readOrphanFile(check: Check, orphans: Set<number>): void {
  const { features } = check.volume;
  if ((features.compatible & COMPATIBLE.orphanFile) === 0) return;
  const ino = DiskSuperblock.orphanFileIno.get(check.superblock, 0) as Ino;
  check.about = { ino };
  const before = orphans.size;
  check.attempt(() => {
    const raw = readRaw(check.volume, ino);
    const seed = inodeChecksumSeed(check.volume, ino);
    const blocks = blocksOf(check, raw, ino);
    checkHoles(check, ino, raw, blocks);
    for (const place of blocks.values()) {
      const block = check.attempt(() => check.reader.read(place, () => {}));
      if (block === null) continue;
      checkTail(check, ino, block, seed);
      for (let at = 0; at < orphanTailByte(check.volume); at += 4) {
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

/** The file has every block that its size says. */
function checkHoles(
  check: Check,
  ino: Ino,
  raw: RawInode,
  blocks: ReadonlyMap<number, number>,
): void {
  const count = inodeSize(raw) / check.volume.blockSize;
  for (let index = 0; index < count; index++) {
    if (blocks.has(index)) continue;
    check.tell("orphan-file", {
      structure: DiskOrphanTail.structure.name,
      ino,
      field: "blocks",
      deviceByte: check.volume.byteOf(raw.block.block, raw.at),
      text: `the orphan file, inode ${ino}, has no block ${index} of ${count}`,
    });
    return;
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
  const at = orphanTailByte(check.volume);
  const magic = DiskOrphanTail.magic.get(block.view, at);
  if (magic !== ORPHAN_MAGIC) {
    tell(check, ino, block, at, "ob_magic", magic, `expected ${ORPHAN_MAGIC}`);
  }
  const stored = DiskOrphanTail.checksum.get(block.view, at);
  const computed = orphanChecksum(check.volume, block, seed);
  if (stored !== computed) {
    tell(check, ino, block, at, "ob_checksum", stored, `but its entries give ${computed}`);
  }
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
