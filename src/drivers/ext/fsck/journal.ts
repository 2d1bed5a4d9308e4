/** The check of the journal's file, and of its superblock. Its log is looked at only where it is replayed. */
import { CorruptionError, HoldfastError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import { COMPATIBLE } from "../format.ts";
import { inodeSize, linkCount, readRaw } from "../inodes/inode.ts";
import { parseJournal } from "../jbd2/log.ts";
import type { Check } from "./check.ts";
import { blocksOf } from "./directories.ts";

export function checkJournal(check: Check): void {
  const { facts } = check.volume;
  if ((facts.features.compatible & COMPATIBLE.hasJournal) === 0) return;
  const ino = facts.journalIno as Ino;
  if (ino === 0) {
    check.findings.notice("journal-device", "not checked: the journal, which is on another device");
    return;
  }
  check.about = { ino };
  check.attempt(() => checkJournalInode(check, ino));
  check.about = {};
}

function checkJournalInode(check: Check, ino: Ino): void {
  const { volume } = check;
  const raw = readRaw(volume, ino);
  const deviceByte = volume.byteOf(raw.block.block, raw.at);
  const tellInode = (text: string) =>
    check.tell("journal-inode", {
      structure: "ext4_inode",
      ino,
      deviceByte,
      text: `the journal, inode ${ino}, ${text}`,
    });
  if (linkCount(raw) === 0) {
    tellInode("is not in use");
    return;
  }
  const blocks = blocksOf(check, raw, ino);
  const count = inodeSize(raw) / volume.blockSize;
  for (let index = 0; index < count; index++) {
    if (blocks.has(index)) continue;
    tellInode(`has no block ${index} of ${count}`);
    return;
  }
  const first = blocks.get(0);
  if (first !== undefined) checkSuperblock(check, ino, first, count);
  else tellInode("is empty");
}

function checkSuperblock(check: Check, ino: Ino, first: number, count: number): void {
  const { bytes } = check.reader.read(first, () => {});
  const { volume } = check;
  check.about = { ino, block: first, deviceByte: volume.byteOf(first) };
  try {
    parseJournal(bytes, volume.facts, [{ index: 0, count, block: first }]);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    if (error instanceof CorruptionError) check.tellDamage(error);
    else check.findings.notice("journal-not-known", `not checked: ${error.message}`);
  }
}
