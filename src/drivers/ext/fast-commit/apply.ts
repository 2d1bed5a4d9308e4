/**
 * Applying the changes of fast commits to a volume that is as the log's last transaction left it.
 *
 * They say little: which inode has which fields, which of its blocks lie where, which names came and went. What
 * follows from that is worked out here: nodes of maps, blocks of directories, bitmaps, counts.
 *
 * Rules. (1) Before anything is changed, all blocks that files have whose inodes are named, and all that ranges
 *            name, are marked as used; and nothing but nodes and attributes is freed meanwhile. So what is taken for
 *            nodes and directories is nobody's data, now or later.
 *        (2) In the end what these files have is used, and what else was marked or theirs is free.
 *        (3) What was done already is done once more without harm: whoever replayed a part may have been
 *            interrupted.
 *        (4) What has no name left is an orphan, which the mount sees to as to others. (An inode that is used
 *            again in a later record has another generation.)
 *
 * Source: Linux Documentation/filesystems/ext4/journal.rst, "Fast commits"; what the kernel does with records that it
 * has written was seen in volumes that it recovered.
 */
import { CorruptionError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { Time } from "../../../iomap/contract.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import type { Run } from "../space/bitmaps.ts";
import { addName, findEntry, initDirectory, removeEntry } from "../directories/directory.ts";
import { DirectoryFile } from "../directories/directory-file.ts";
import { type FileMap, type Piece, pieceEnd, slicePiece } from "../maps/file-map.ts";
import { INO_ROOT } from "../format.ts";
import { isInodeUsed } from "../space/group-bitmaps.ts";
import {
  addInodeBlocks,
  attributeBlock,
  editInode,
  fileTypeOf,
  hasMap,
  inodeSectors,
  inodeSize,
  isDirectory,
  isSlotUsed,
  linkCount,
  readRaw,
  setLinkCount,
} from "../inodes/inode.ts";
import { openMap } from "../maps/inode-map.ts";
import { addSubdirectory, dropSubdirectory, touch } from "../directories/links.ts";
import { walkMap } from "../maps/map-walk.ts";
import { inoAt } from "../directories/names.ts";
import { addOrphan, findOrphans } from "../inodes/orphans.ts";
import { lastIn } from "../maps/placement.ts";
import { usageCounterOf } from "../quotas/quotas.ts";
import type { ExtVolume } from "../volume.ts";
import { firstUsedBlock, markBlocks, runsWithout, sortRuns } from "./block-runs.ts";
import { writeInode } from "./inode-record.ts";
import type { FastChange } from "./scan.ts";

/** Has `change` change something in a transaction. */
export type Transact = (change: (transaction: Transaction) => void) => void;

type NameChange = Extract<FastChange, { readonly name: Uint8Array }>;

/** Applies `changes`. Throws: CorruptionError; ENOSPC, EOVERFLOW, EFBIG where something cannot be done here. */
export function applyFastCommits(
  volume: ExtVolume,
  transact: Transact,
  changes: readonly FastChange[],
): void {
  const inodes = inodesOf(volume, changes);
  // Quotas are as of the last transaction: what these inodes had then is taken off, and what they have in the end put in.
  const usage = usageCounterOf(volume);
  for (const ino of inodes) {
    if (usage === null || !isLive(volume, ino)) continue;
    transact((transaction) => usage.remove(transaction, ino, readRaw(volume, ino)));
  }
  const before = sortRuns(blocksOf(volume, inodes));
  const ranges = rangesOf(volume, changes, before);
  const touched = sortRuns([...before, ...ranges]);
  transact((transaction) => markBlocks(volume, transaction, touched, true));
  const now = Date.now();
  const time: Time = { seconds: Math.floor(now / 1000), nanoseconds: (now % 1000) * 1_000_000 };
  for (const change of changes) {
    transact((transaction) => applyChange(volume, transaction, change, time));
  }
  for (const change of changes) assertWhole(volume, change);
  const owned = sortRuns(blocksOf(volume, inodes));
  transact((transaction) => {
    markBlocks(volume, transaction, runsWithout(touched, owned), false);
    markBlocks(volume, transaction, owned, true);
  });
  const orphans = new Set(findOrphans(volume));
  for (const ino of inodes) {
    if (!isLive(volume, ino)) continue;
    transact((transaction) => {
      countBlocks(volume, transaction, ino);
      usage?.add(transaction, ino, readRaw(volume, ino));
      const isNameless = linkCount(readRaw(volume, ino)) === 0;
      if (isNameless && !orphans.has(ino)) addOrphan(volume, transaction, ino);
    });
  }
}

function damage(
  { deviceByte }: FastChange,
  field: string,
  value: number | string,
  expected: string,
): CorruptionError {
  return new CorruptionError({ structure: "fast commit", field, value, expected, deviceByte });
}

/** Throws: CorruptionError for a directory that was made, and got no name: it has no block either. */
function assertWhole(volume: ExtVolume, change: FastChange): void {
  if (!isLive(volume, change.ino)) return;
  const raw = readRaw(volume, change.ino);
  if (!isDirectory(raw) || inodeSize(raw) > 0 || linkCount(raw) === 0) return;
  throw damage(change, "fc_ino", change.ino, "expected a name for this new directory");
}

/** The inodes that are named, directories among them. Throws: CorruptionError for one that is no file's. */
function inodesOf(volume: ExtVolume, changes: readonly FastChange[]): Set<Ino> {
  const { firstIno, inodes, orphanFileIno } = volume.facts;
  const found = new Set<Ino>();
  for (const change of changes) {
    for (const ino of "parent" in change ? [change.ino, change.parent] : [change.ino]) {
      const isFile = ino === INO_ROOT || (ino >= firstIno && ino <= inodes);
      if (!isFile || ino === orphanFileIno) {
        throw damage(change, "fc_ino", ino, `expected ${firstIno} to ${inodes}, a file's`);
      }
      found.add(ino);
    }
  }
  return found;
}

/**
 * The blocks that files get, whether they keep them or not. They were free, or one of these files', since what
 * is freed is not taken again before it is committed. Throws: CorruptionError for others.
 */
function rangesOf(
  volume: ExtVolume,
  changes: readonly FastChange[],
  before: readonly Run[],
): Run[] {
  const ranges: Run[] = [];
  for (const change of changes) {
    if (change.kind !== "add-range") continue;
    const { start, count } = change.piece;
    if (count === 0) throw damage(change, "ee_len", count, "expected at least 1");
    for (const run of runsWithout([{ start, count }], before)) {
      const used = firstUsedBlock(volume, run);
      if (used === null) continue;
      throw damage(
        change,
        "ee_start",
        used,
        "expected blocks that are free, or are of these files",
      );
    }
    ranges.push({ start, count });
  }
  return ranges;
}

/** Whether an inode is in use. One that is not may lie in a part of its table that was never written. */
function isLive(volume: ExtVolume, ino: Ino): boolean {
  return isInodeUsed(volume, ino) && isSlotUsed(readRaw(volume, ino));
}

/** All blocks of these inodes' contents and maps. (Blocks of attributes may be others', too.) Throws: CorruptionError. */
function blocksOf(volume: ExtVolume, inodes: ReadonlySet<Ino>): Run[] {
  const runs: Run[] = [];
  for (const ino of inodes) if (isLive(volume, ino)) runs.push(...runsOf(volume, ino));
  return runs;
}

function runsOf(volume: ExtVolume, ino: Ino): Run[] {
  const raw = readRaw(volume, ino);
  const runs: Run[] = [];
  if (!hasMap(raw)) return runs;
  walkMap(volume, raw, ino, {
    mapBlock: (start) => runs.push({ start, count: 1 }),
    content: ({ start, count }) => runs.push({ start, count }),
    damage: (error) => {
      throw error;
    },
  });
  return runs;
}

/** Brings the space that an inode says it uses in line with its blocks. */
function countBlocks(volume: ExtVolume, transaction: Transaction, ino: Ino): void {
  const raw = readRaw(volume, ino);
  const attributes = attributeBlock(volume, raw) === 0 ? 0 : 1;
  const blocks = runsOf(volume, ino).reduce((sum, { count }) => sum + count, attributes);
  const more = blocks - inodeSectors(volume, raw) / (volume.blockSize / 512);
  if (more === 0) return;
  addInodeBlocks({ volume, transaction, ino, raw: editInode(volume, transaction, ino) }, more);
}

function applyChange(
  volume: ExtVolume,
  transaction: Transaction,
  change: FastChange,
  time: Time,
): void {
  const { ino } = change;
  if (change.kind === "inode") {
    writeInode(volume, transaction, ino, change.inode, change.deviceByte);
    return;
  }
  // Whoever was interrupted may have come past its deletion.
  if (!isLive(volume, ino)) return;
  if (change.kind === "add-range" || change.kind === "delete-range") {
    const raw = readRaw(volume, ino);
    // A directory's blocks are its names', which come one by one.
    if (isDirectory(raw) || !hasMap(raw)) return;
    const map = openMap(volume, transaction, ino);
    if (change.kind === "add-range") addRange(map, change.piece);
    else removeRange(map, change.fileBlock, change.fileBlock + change.count);
    return;
  }
  const directory = parentOf(volume, change);
  if (change.kind === "unlink") removeName(directory, transaction, change, time);
  else putName(directory, transaction, change, time);
}

/** Makes a range of a file lie where `piece` says. */
function addRange(map: FileMap, piece: Piece): void {
  const end = pieceEnd(piece);
  const before = map.lastBefore(end)?.piece;
  const isThere =
    before !== undefined &&
    before.fileBlock <= piece.fileBlock &&
    pieceEnd(before) >= end &&
    before.start - before.fileBlock === piece.start - piece.fileBlock &&
    before.isWritten === piece.isWritten;
  if (isThere) return;
  removeRange(map, piece.fileBlock, end);
  const countMax = map.insertMax(piece.isWritten);
  for (let from = piece.fileBlock; from < end; from += countMax) {
    map.insert(slicePiece(piece, from, Math.min(from + countMax, end)));
  }
}

/** Takes [from, to) out of a file's map. Its blocks stay marked as used (rule 1). */
function removeRange(map: FileMap, from: number, to: number): void {
  let end = Math.min(to, map.blocksMax);
  for (let found = lastIn(map, from, end); found !== null; found = lastIn(map, from, end)) {
    const { piece } = found;
    const cut = slicePiece(piece, from, end);
    map.remove(piece, cut);
    end = cut.fileBlock;
  }
  map.tidy(from, to, Number.POSITIVE_INFINITY);
}

/** The directory that a name is, or was, in. Throws: CorruptionError when it is none. */
function parentOf(volume: ExtVolume, change: NameChange): DirectoryFile {
  const { parent, name } = change;
  if (name.includes(0x2f) || name.includes(0)) {
    throw damage(change, "fc_dname", "a slash or zero byte", "expected a name");
  }
  if (isLive(volume, parent) && isDirectory(readRaw(volume, parent))) {
    return new DirectoryFile(volume, parent);
  }
  throw damage(change, "fc_parent_ino", parent, "expected a directory in use");
}

/** Gives an inode a name; a new directory its first block, too. A name that is there stays. */
function putName(
  directory: DirectoryFile,
  transaction: Transaction,
  change: NameChange,
  time: Time,
): void {
  const { volume } = directory;
  const { ino, parent, name, kind } = change;
  const raw = editInode(volume, transaction, ino);
  const isOfDirectory = isDirectory(raw);
  if (isOfDirectory && kind === "link") {
    throw damage(change, "fc_ino", ino, "expected no directory: it has one name only");
  }
  const isNew = isOfDirectory && inodeSize(raw) === 0;
  if (isNew) {
    initDirectory(volume, transaction, ino, parent);
    setLinkCount(volume, raw, 2);
  }
  if (kind === "create" && !isOfDirectory) setLinkCount(volume, raw, 1);
  if (findEntry(directory, name) !== null) return;
  addName(directory, transaction, name, ino, fileTypeOf(volume, raw));
  const above = touch(volume, transaction, parent, time);
  if (isOfDirectory) addSubdirectory(volume, above);
  if (kind === "link") setLinkCount(volume, raw, linkCount(raw) + 1);
}

/** Takes a name from an inode; it may have become another one's. */
function removeName(
  directory: DirectoryFile,
  transaction: Transaction,
  { ino, parent, name }: NameChange,
  time: Time,
): void {
  const { volume } = directory;
  const found = findEntry(directory, name);
  if (found === null) return;
  const raw = editInode(volume, transaction, ino);
  const isOfDirectory = isDirectory(raw);
  if (inoAt(found.block, found.at) === ino) {
    removeEntry(directory, transaction, found);
    const above = touch(volume, transaction, parent, time);
    if (isOfDirectory) dropSubdirectory(volume, above);
  }
  const count = linkCount(raw);
  if (count > 0) setLinkCount(volume, raw, isOfDirectory ? 0 : count - 1);
}
