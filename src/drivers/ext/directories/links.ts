/**
 * Making, linking, removing and renaming: what changes names and inodes together.
 *
 * Link counts. (1) A file's count is the number of its names. (2) A directory's is two, and one for
 *         the ".." of each directory in it; where it says 1 it is not counted any more (dir_nlink).
 *         (3) An inode whose count falls to zero is an orphan (orphans.ts) until it is freed.
 *
 * Locks: the io locks of all inodes named here, exclusively, and an open transaction, which the
 * caller aborts when one of these throws. Nothing here sleeps.
 */
import { CorruptionError, HoldfastError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { EntryPlace, FileType, NewInode, Time } from "../../../iomap/contract.ts";
import { NO_SEAL, type Transaction } from "../../../metadata/transaction.ts";
import {
  addName,
  findEntry,
  findEntryAgain,
  type FoundName,
  initDirectory,
  isEmpty,
  parentOf,
  removeEntry,
  retargetEntry,
  setParent,
} from "./directory.ts";
import { DirectoryFile } from "./directory-file.ts";
import { appendFileBlock, readFileBlock } from "../maps/file-blocks.ts";
import {
  CONTENT_BYTE,
  CONTENT_SIZE,
  DiskInode,
  INO_ROOT,
  INODE_EXTENTS,
  MODE_SYMLINK,
  MODE_TYPE_MASK,
} from "../format.ts";
import { inlineContent, isInline } from "../maps/inline-data.ts";
import {
  editInode,
  fileTypeOf,
  inheritProject,
  initInode,
  inodeFlags,
  inodeMode,
  inodeSize,
  isDirectory,
  isTargetInInode,
  linkCount,
  type RawInode,
  readRaw,
  refusesProject,
  setInodeFlags,
  setInodeSize,
  setInodeTime,
  setLinkCount,
} from "../inodes/inode.ts";
import { allocateInode } from "../inodes/inode-pool.ts";
import { inoAt, isDots, NAME_LENGTH_MAX } from "./names.ts";
import { addOrphan, removeOrphan } from "../inodes/orphans.ts";
import type { ExtVolume } from "../volume.ts";

function notFound(): HoldfastError {
  return new HoldfastError("ENOENT", "no such name in the directory");
}

/** Throws: ENOENT, ENAMETOOLONG, EINVAL unless a name may be made of these bytes. */
function assertName(name: Uint8Array): void {
  if (name.length === 0) throw new HoldfastError("ENOENT", "a name is empty");
  if (name.length > NAME_LENGTH_MAX) {
    const message = `a name of ${name.length} bytes is longer than ${NAME_LENGTH_MAX}`;
    throw new HoldfastError("ENAMETOOLONG", message);
  }
  if (name.includes(0x2f) || name.includes(0)) {
    throw new HoldfastError("EINVAL", "a name contains a slash or a zero byte");
  }
}

/** Throws: EINVAL for "." and "..", which are not removed or renamed. */
function assertNotDots(name: Uint8Array): void {
  if (isDots(name)) throw new HoldfastError("EINVAL", '"." and ".." stay where they are');
}

/** A directory that names may be put into. Throws: ENOTDIR; ENOENT when it was removed. */
function openForNames(volume: ExtVolume, ino: Ino): DirectoryFile {
  const directory = new DirectoryFile(volume, ino);
  if (linkCount(readRaw(volume, ino)) > 0) return directory;
  throw new HoldfastError("ENOENT", "the directory was removed");
}

/** Throws: EXDEV when the directory passes on a project that is not the inode's. */
function assertSameProject(volume: ExtVolume, directory: Ino, ino: Ino): void {
  if (!refusesProject(volume, readRaw(volume, directory), readRaw(volume, ino))) return;
  throw new HoldfastError("EXDEV", "the directory is another project's; copy the file instead");
}

/** The directory's names changed. */
export function touch(
  volume: ExtVolume,
  transaction: Transaction,
  directory: Ino,
  time: Time,
): RawInode {
  const raw = editInode(volume, transaction, directory);
  setInodeTime(volume, raw, "modifyTime", time);
  setInodeTime(volume, raw, "changeTime", time);
  return raw;
}

/** One ".." more leads to a directory. Throws: EMLINK. */
export function addSubdirectory(volume: ExtVolume, raw: RawInode): void {
  const count = linkCount(raw);
  setLinkCount(volume, raw, count === 1 ? 1 : count + 1);
}

/** One ".." less leads to a directory. */
export function dropSubdirectory(volume: ExtVolume, raw: RawInode): void {
  const count = linkCount(raw);
  if (count > 2) setLinkCount(volume, raw, count - 1);
}

/**
 * Makes an inode under a new name.
 * Throws: EEXIST, ENOSPC, ENAMETOOLONG, EMLINK, ENOENT, EINVAL, CorruptionError.
 */
export function createInode(
  volume: ExtVolume,
  transaction: Transaction,
  { directory: parent, name }: EntryPlace,
  inode: NewInode,
): Ino {
  assertName(name);
  const isNewDirectory = inode.type === "directory";
  const directory = openForNames(volume, parent);
  const ino = allocateInode(volume, transaction, parent, isNewDirectory);
  const made = initInode(volume, transaction, ino, inode);
  inheritProject(volume, made, readRaw(volume, parent));
  volume.usage?.change(transaction, ino, made, { space: 0, inodes: 1 });
  if (isNewDirectory) initDirectory(volume, transaction, ino, parent);
  if (inode.type === "symlink") setTarget(volume, transaction, ino, inode.target);
  addName(directory, transaction, name, ino, inode.type);
  const raw = touch(volume, transaction, parent, inode.time);
  if (isNewDirectory) addSubdirectory(volume, raw);
  return ino;
}

/** Throws: ENOENT when `target` is empty; ENAMETOOLONG; ENOSPC. */
function setTarget(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  target: Uint8Array | undefined,
): void {
  if (target === undefined || target.length === 0) {
    throw new HoldfastError("ENOENT", "a symlink's target is empty");
  }
  // The kernel keeps a zero byte behind the target.
  if (target.length >= volume.blockSize) {
    const message = `a target of ${target.length} bytes is longer than ${volume.blockSize - 1}`;
    throw new HoldfastError("ENAMETOOLONG", message);
  }
  if (target.length < CONTENT_SIZE) {
    const raw = editInode(volume, transaction, ino);
    const { bytes } = raw.block;
    const start = raw.at + CONTENT_BYTE;
    bytes.fill(0, start, start + CONTENT_SIZE);
    bytes.set(target, start);
    setInodeFlags(raw, inodeFlags(raw) & ~INODE_EXTENTS);
    setInodeSize(raw, target.length);
    return;
  }
  const { block } = appendFileBlock(volume, transaction, ino, NO_SEAL);
  block.bytes.set(target);
  setInodeSize(editInode(volume, transaction, ino), target.length);
}

/** A symlink's target. Throws: EINVAL when it is no symlink; CorruptionError. */
export function readTarget(volume: ExtVolume, ino: Ino): Uint8Array {
  const raw = readRaw(volume, ino);
  if ((inodeMode(raw) & MODE_TYPE_MASK) !== MODE_SYMLINK) {
    throw new HoldfastError("EINVAL", `inode ${ino} is not a symlink`);
  }
  const size = inodeSize(raw);
  if (size === 0 || size >= volume.blockSize) {
    const expected = `expected 1 to ${volume.blockSize - 1} bytes of a symlink's target`;
    throw volume.damage(raw, DiskInode.structure, "i_size", size, expected);
  }
  if (isInline(volume, raw)) {
    const target = inlineContent(volume, raw);
    if (target.length === size) return target;
    const expected = `expected at most ${target.length}, as so much of the target is kept inside`;
    throw volume.damage(raw, DiskInode.structure, "i_size", size, expected);
  }
  if (isTargetInInode(raw)) {
    const start = raw.at + CONTENT_BYTE;
    return raw.block.bytes.slice(start, start + size);
  }
  return readFileBlock(volume, ino, 0, () => {}).bytes.slice(0, size);
}

/**
 * Gives `ino` another name. Throws: EEXIST, EMLINK, ENOSPC, ENAMETOOLONG, EINVAL; EPERM for a
 * directory; EXDEV where the directory is another project's.
 */
export function addLink(
  volume: ExtVolume,
  transaction: Transaction,
  { directory: parent, name }: EntryPlace,
  ino: Ino,
  time: Time,
): void {
  assertName(name);
  if (isDirectory(readRaw(volume, ino))) {
    throw new HoldfastError("EPERM", "a directory has one name only");
  }
  const directory = openForNames(volume, parent);
  assertSameProject(volume, parent, ino);
  const raw = editInode(volume, transaction, ino);
  const count = linkCount(raw);
  setLinkCount(volume, raw, count + 1);
  setInodeTime(volume, raw, "changeTime", time);
  if (count === 0) removeOrphan(volume, transaction, ino);
  addName(directory, transaction, name, ino, fileTypeOf(volume, raw));
  touch(volume, transaction, parent, time);
}

/** `ino` lost a name; a directory its only one. Without any it becomes an orphan. */
function dropLink(volume: ExtVolume, transaction: Transaction, ino: Ino, time: Time): void {
  const raw = editInode(volume, transaction, ino);
  const count = linkCount(raw);
  if (count === 0) {
    const expected = "expected at least 1, as a directory names the inode";
    throw volume.damage(raw, DiskInode.structure, "i_links_count", count, expected);
  }
  const left = isDirectory(raw) ? 0 : count - 1;
  setLinkCount(volume, raw, left);
  setInodeTime(volume, raw, "changeTime", time);
  if (left === 0) addOrphan(volume, transaction, ino);
}

function assertEmpty(volume: ExtVolume, ino: Ino): void {
  if (isEmpty(new DirectoryFile(volume, ino))) return;
  throw new HoldfastError("ENOTEMPTY", "the directory is not empty");
}

/**
 * Takes a name away; returns the inode that had it.
 * Throws: ENOENT, ENOTEMPTY; EINVAL for "." and ".."; CorruptionError.
 */
export function removeLink(
  volume: ExtVolume,
  transaction: Transaction,
  { directory: parent, name }: EntryPlace,
  time: Time,
): Ino {
  assertNotDots(name);
  const directory = new DirectoryFile(volume, parent);
  const found = findEntry(directory, name);
  if (found === null) throw notFound();
  const ino = inoAt(found.block, found.at);
  const wasDirectory = isDirectory(readRaw(volume, ino));
  if (wasDirectory) assertEmpty(volume, ino);
  removeEntry(directory, transaction, found);
  dropLink(volume, transaction, ino, time);
  const raw = touch(volume, transaction, parent, time);
  if (wasDirectory) dropSubdirectory(volume, raw);
  return ino;
}

/**
 * Renames, replacing what has the new name. Two names of one inode stay as they are.
 * Returns: the inode that lost its name to the renamed one, or null.
 * Throws: ENOENT, EISDIR, ENOTDIR, ENOTEMPTY, EMLINK, ENOSPC, ENAMETOOLONG; EINVAL for "." and
 * "..", and when a directory would go into itself; EXDEV as `addLink`; CorruptionError.
 */
export function renameLink(
  volume: ExtVolume,
  transaction: Transaction,
  from: EntryPlace,
  to: EntryPlace,
  time: Time,
): Ino | null {
  assertNotDots(from.name);
  assertNotDots(to.name);
  assertName(to.name);
  const source = new DirectoryFile(volume, from.directory);
  const isMove = from.directory !== to.directory;
  const target = isMove ? openForNames(volume, to.directory) : source;
  const found = findEntry(source, from.name);
  if (found === null) throw notFound();
  const ino = inoAt(found.block, found.at);
  const type = fileTypeOf(volume, readRaw(volume, ino));
  const isDirectoryMove = isMove && type === "directory";
  if (isDirectoryMove) assertNotInside(volume, to.directory, ino);
  const replaced = findEntry(target, to.name);
  const replacedIno = replaced === null ? null : inoAt(replaced.block, replaced.at);
  if (replacedIno === ino) return null;
  assertSameProject(volume, to.directory, ino);

  const targetRaw = touch(volume, transaction, to.directory, time);
  let old: FoundName | null = found;
  if (replaced === null || replacedIno === null) {
    const added = addName(target, transaction, to.name, ino, type);
    // A new name may have moved the old one.
    if (!isMove) old = findEntryAgain(source, from.name, found, added);
  } else {
    replaceName(target, transaction, replaced, { ino, type, time });
  }
  if (old === null) throw notFound();
  removeEntry(source, transaction, old);
  if (isDirectoryMove) {
    setParent(new DirectoryFile(volume, ino), transaction, to.directory);
    addSubdirectory(volume, targetRaw);
    dropSubdirectory(volume, editInode(volume, transaction, from.directory));
  }
  setInodeTime(volume, editInode(volume, transaction, ino), "changeTime", time);
  touch(volume, transaction, from.directory, time);
  return replacedIno;
}

/**
 * Two names change places. Throws: ENOENT; EMLINK; EINVAL for "." and "..", and when a directory would go into itself;
 * EXDEV as `addLink`; CorruptionError.
 */
export function exchangeLinks(
  volume: ExtVolume,
  transaction: Transaction,
  one: EntryPlace,
  other: EntryPlace,
  time: Time,
): void {
  const places = [one, other].map((place) => {
    assertNotDots(place.name);
    const directory = new DirectoryFile(volume, place.directory);
    const found = findEntry(directory, place.name);
    if (found === null) throw notFound();
    const ino = inoAt(found.block, found.at);
    return { directory, found, ino, type: fileTypeOf(volume, readRaw(volume, ino)) };
  }) as [Exchanged, Exchanged];
  if (places[0].ino === places[1].ino) return;
  const isMove = one.directory !== other.directory;
  for (const [index, { directory, found, ino, type }] of places.entries()) {
    const from = places[1 - index]!;
    if (isMove && from.type === "directory") assertNotInside(volume, directory.ino, from.ino);
    assertSameProject(volume, directory.ino, from.ino);
    retargetEntry(directory, transaction, found, from.ino, from.type);
    setInodeTime(volume, editInode(volume, transaction, ino), "changeTime", time);
    const raw = touch(volume, transaction, directory.ino, time);
    if (!isMove || from.type === type) continue;
    if (type === "directory") dropSubdirectory(volume, raw);
    if (from.type === "directory") addSubdirectory(volume, raw);
  }
  if (!isMove) return;
  for (const [index, { ino, type }] of places.entries()) {
    if (type !== "directory") continue;
    setParent(new DirectoryFile(volume, ino), transaction, places[1 - index]!.directory.ino);
  }
}

/** One of two names that change places. */
interface Exchanged {
  readonly directory: DirectoryFile;
  readonly found: FoundName;
  readonly ino: Ino;
  readonly type: FileType;
}

/** Gives a name to the renamed inode. Throws: EISDIR, ENOTDIR, ENOTEMPTY, CorruptionError. */
function replaceName(
  directory: DirectoryFile,
  transaction: Transaction,
  replaced: FoundName,
  { ino, type, time }: { ino: Ino; type: FileType; time: Time },
): void {
  const { volume } = directory;
  const loser = inoAt(replaced.block, replaced.at);
  const losesDirectory = isDirectory(readRaw(volume, loser));
  if (losesDirectory && type !== "directory") {
    throw new HoldfastError("EISDIR", "the new name is a directory's, the old one is not");
  }
  if (!losesDirectory && type === "directory") {
    throw new HoldfastError("ENOTDIR", "the old name is a directory's, the new one is not");
  }
  if (losesDirectory) assertEmpty(volume, loser);
  retargetEntry(directory, transaction, replaced, ino, type);
  dropLink(volume, transaction, loser, time);
  if (losesDirectory) {
    dropSubdirectory(volume, editInode(volume, transaction, directory.ino));
  }
}

/**
 * Throws: EINVAL when `directory` is `ancestor` or lies below it; CorruptionError when its chain of
 * ".." never gets to the root.
 */
function assertNotInside(volume: ExtVolume, directory: Ino, ancestor: Ino): void {
  // A chain that comes back to `landmark`, which moves on ever more rarely, goes in a circle.
  let landmark = directory;
  let stepsToMove = 1;
  for (let ino = directory, steps = 1; ; steps++) {
    if (ino === ancestor) {
      throw new HoldfastError("EINVAL", "a directory cannot be moved into itself");
    }
    if (ino === INO_ROOT) return;
    ino = parentOf(new DirectoryFile(volume, ino));
    if (ino === landmark) {
      throw new CorruptionError({
        structure: "ext4 directory",
        field: "..",
        value: ino,
        expected: `expected a way from inode ${directory} up to the root`,
      });
    }
    if (steps === stepsToMove) {
      landmark = ino;
      stepsToMove *= 2;
    }
  }
}
