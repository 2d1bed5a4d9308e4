/**
 * The names of a directory, whichever way they are stored: in blocks one after another, or found by
 * hash. Inodes, link counts and times are links.ts's.
 *
 * Locks: the directory's io lock, shared to look and exclusively to change; changes happen in an
 * open transaction. Nothing here sleeps.
 */
import { CorruptionError, HoldfastError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { FileType } from "../../../iomap/contract.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { DirectoryFile } from "./directory-file.ts";
import { INODE_INDEXED_DIRECTORY } from "../format.ts";
import type { NameHash } from "./hash.ts";
import {
  assertChainEnds,
  editIndex,
  findPath,
  hashIn,
  hashVersionOf,
  isContinued,
  leafOf,
  moveToNextLeaf,
  readIfNames,
  readRoot,
  rootPlaceOf,
  ROOT_ENTRIES_AT,
} from "./htree.ts";
import { convertToIndexed, insertMakingRoom } from "./htree-insert.ts";
import { inlineParent, setInlineParent } from "./inline-areas.ts";
import { moveDirectoryOut } from "./inline-directory.ts";
import { editInode, inodeFlags, readRaw, setInodeFlags } from "../inodes/inode.ts";
import {
  DiskEntry,
  dot,
  dotDot,
  findName,
  holdsNames,
  inoAt,
  insertName,
  isDots,
  type NameFormat,
  type NamePlace,
  removeName,
  setTarget,
  typeAt,
} from "./names.ts";
import type { NameSearch } from "./name-searches.ts";
import type { ExtVolume } from "../volume.ts";

/** A name where it lies. Good until the directory changes. */
export interface FoundName {
  readonly block: MetadataBlock;
  readonly format: NameFormat;
  /** Byte offsets in the block; `previousAt` is -1 where there is no record before. */
  readonly at: number;
  readonly previousAt: number;
}

/** Where a name was put: into a record's room, at byte `spaceAt` of the block. */
export interface NewPlace {
  readonly block: MetadataBlock;
  readonly spaceAt: number;
}

/** Where `name` lies, or null; "." and ".." lie nowhere in a directory in its inode. Throws: CorruptionError. */
export function findEntry(directory: DirectoryFile, name: Uint8Array): FoundName | null {
  const { block, format, at, previousAt } =
    directory.volume.nameSearches?.of(directory.ino, name) ?? search(directory, name);
  return block === null ? null : { block, format, at, previousAt };
}

function search(directory: DirectoryFile, name: Uint8Array): NameSearch {
  return directory.isIndexed ? searchIndex(directory, name) : searchBlocks(directory, name);
}

function found(block: MetadataBlock, format: NameFormat, place: NamePlace): NameSearch {
  const { at, previousAt } = place;
  const entry = { ino: inoAt(block, at), type: typeAt(block, format, at) };
  return { block, format, at, previousAt, spaceBlock: null, spaceAt: -1, entry };
}

function notFound(
  spaceBlock: MetadataBlock | null,
  format: NameFormat,
  spaceAt: number,
): NameSearch {
  return { block: null, format, at: -1, previousAt: -1, spaceBlock, spaceAt, entry: null };
}

function searchBlocks(directory: DirectoryFile, name: Uint8Array): NameSearch {
  const place: NamePlace = { at: -1, previousAt: -1, spaceAt: -1 };
  let spaceBlock: MetadataBlock | null = null;
  let spaceFormat: NameFormat = directory;
  let spaceAt = -1;
  const blocks = isDots(name) ? 1 : directory.blockCount;
  for (let index = 0; index < blocks; index++) {
    const block = directory.readNames(index);
    const format = directory.formatOf(index);
    if (findName(block, format, name, place)) return found(block, format, place);
    if (spaceBlock !== null || place.spaceAt < 0) continue;
    spaceBlock = block;
    spaceFormat = format;
    spaceAt = place.spaceAt;
  }
  return notFound(spaceBlock, spaceFormat, spaceAt);
}

function searchIndex(directory: DirectoryFile, name: Uint8Array): NameSearch {
  const place: NamePlace = { at: -1, previousAt: -1, spaceAt: -1 };
  const root = readRoot(directory);
  if (isDots(name)) {
    place.at = rootPlaceOf(name);
    return found(root, directory, place);
  }
  const hash: NameHash = { major: 0, minor: 0 };
  hashIn(directory, hashVersionOf(directory, root), name, 0, name.length, hash);
  const path = findPath(directory, root, hash.major);
  let leaf = directory.readNames(leafOf(directory, path));
  if (findName(leaf, directory, name, place)) return found(leaf, directory, place);
  // A new name goes into the first leaf of its hash.
  const { spaceAt } = place;
  const spaceBlock = spaceAt < 0 ? null : leaf;
  for (let leaves = 1; isContinued(path, hash.major); leaves++) {
    assertChainEnds(directory, leaves);
    moveToNextLeaf(directory, path);
    leaf = directory.readNames(leafOf(directory, path));
    if (findName(leaf, directory, name, place)) return found(leaf, directory, place);
  }
  return notFound(spaceBlock, directory, spaceAt);
}

/** What a name stands for, or null where it is not there. Throws: ENOTDIR, CorruptionError. */
export function lookupName(
  volume: ExtVolume,
  ino: Ino,
  name: Uint8Array,
): { ino: Ino; type: FileType | null } | null {
  if (isDots(name)) {
    const directory = new DirectoryFile(volume, ino);
    if (directory.areas !== null) {
      const isItself = name.length === dot.length;
      return { ino: isItself ? ino : parentOf(directory), type: "directory" };
    }
  }
  const known = volume.nameSearches?.of(ino, name);
  if (known) return known.entry;
  const result = search(new DirectoryFile(volume, ino), name);
  volume.nameSearches?.note(ino, name, result);
  return result.entry;
}

/**
 * Adds a name; the caller has seen that it is a legal one. A directory in its inode moves out where the name does not fit.
 * One of one block becomes indexed
 * when it overflows, if the volume has dir_index.
 * Returns: where it went in behind another record of its block, so that all others stay where they are; else null.
 * Throws: EEXIST, ENOSPC, CorruptionError.
 */
export function addName(
  directory: DirectoryFile,
  transaction: Transaction,
  name: Uint8Array,
  ino: Ino,
  type: FileType,
): NewPlace | null {
  const { nameSearches } = directory.volume;
  let known = nameSearches?.of(directory.ino, name) ?? search(directory, name);
  const isTaken = known.block !== null || (directory.areas !== null && isDots(name));
  if (isTaken) throw new HoldfastError("EEXIST", "the name exists already");
  nameSearches?.forget();
  dropStaleIndex(directory, transaction);
  const isFull = known.spaceBlock === null && directory.blockCount === 1;
  const isConverted =
    isFull && directory.areas === null && directory.mayBeIndexed && !directory.isIndexed;
  if (isConverted) {
    convertToIndexed(directory, transaction);
    known = search(directory, name);
  }
  const { spaceBlock, spaceAt } = known;
  if (spaceBlock !== null) {
    directory.editNames(transaction, spaceBlock);
    insertName(spaceBlock, known.format, spaceAt, name, ino, type);
    return directory.areas === null && !isConverted ? { block: spaceBlock, spaceAt } : null;
  }
  if (directory.areas !== null) {
    moveDirectoryOut(directory, transaction);
    addName(directory, transaction, name, ino, type);
  } else if (directory.isIndexed) {
    insertMakingRoom(directory, transaction, name, ino, type);
  } else {
    const { block } = directory.appendNames(transaction);
    insertName(block, directory, 0, name, ino, type);
  }
  return null;
}

/** Where a name is that `found` was before `added` was put into the directory. */
export function findEntryAgain(
  directory: DirectoryFile,
  name: Uint8Array,
  found: FoundName,
  added: NewPlace | null,
): FoundName | null {
  const isBehindNew = added?.block === found.block && added.spaceAt === found.previousAt;
  return added === null || isBehindNew ? findEntry(directory, name) : found;
}

/**
 * A volume that lost its dir_index feature may have directories that are still marked as indexed.
 * Names go into the index's blocks from here on, so the mark must go.
 */
function dropStaleIndex(directory: DirectoryFile, transaction: Transaction): void {
  if (!directory.isMarkedIndexed || directory.isIndexed) return;
  const raw = editInode(directory.volume, transaction, directory.ino);
  setInodeFlags(raw, inodeFlags(raw) & ~INODE_INDEXED_DIRECTORY);
}

/** Takes a name away. */
export function removeEntry(
  directory: DirectoryFile,
  transaction: Transaction,
  name: FoundName,
): void {
  directory.volume.nameSearches?.forget();
  directory.editNames(transaction, name.block);
  removeName(name.block, name.format, name.at, name.previousAt);
}

/** Makes a name stand for another inode. */
export function retargetEntry(
  directory: DirectoryFile,
  transaction: Transaction,
  name: FoundName,
  ino: Ino,
  type: FileType,
): void {
  directory.volume.nameSearches?.forget();
  directory.editNames(transaction, name.block);
  setTarget(name.block, directory, name.at, ino, type);
}

/** Whether it holds no names but "." and "..". Looks at all blocks. Throws: CorruptionError. */
export function isEmpty(directory: DirectoryFile): boolean {
  for (let index = 0; index < directory.blockCount; index++) {
    const isArea = directory.areas !== null;
    const block = isArea ? directory.readNames(index) : readIfNames(directory, index);
    if (block !== null && holdsNames(block, directory.formatOf(index))) return false;
  }
  return true;
}

/** The first block of a new directory. Throws: ENOSPC. */
export function initDirectory(
  volume: ExtVolume,
  transaction: Transaction,
  ino: Ino,
  parent: Ino,
): void {
  const directory = new DirectoryFile(volume, ino, true);
  const { block } = directory.appendNames(transaction);
  insertName(block, directory, 0, dot, ino, "directory");
  insertName(block, directory, 0, dotDot, parent, "directory");
}

/** Where ".." leads. Throws: CorruptionError when there is no "..". */
export function parentOf(directory: DirectoryFile): Ino {
  const { areas, volume } = directory;
  if (areas !== null) return inlineParent(volume, readRaw(volume, directory.ino));
  const { block, at } = findParent(directory);
  return inoAt(block, at);
}

function findParent(directory: DirectoryFile): FoundName {
  const parent = findEntry(directory, dotDot);
  if (parent !== null) return parent;
  throw new CorruptionError({
    structure: DiskEntry.structure.name,
    field: "name",
    value: "missing",
    expected: `but directory inode ${directory.ino} must have ".."`,
  });
}

/** Makes ".." lead to `parent`. */
export function setParent(directory: DirectoryFile, transaction: Transaction, parent: Ino): void {
  if (directory.areas !== null) {
    setInlineParent(editInode(directory.volume, transaction, directory.ino), parent);
    return;
  }
  const { block, at } = findParent(directory);
  directory.volume.nameSearches?.forget();
  if (directory.isIndexed) editIndex(directory, transaction, block, ROOT_ENTRIES_AT);
  else directory.editNames(transaction, block);
  setTarget(block, directory, at, parent, "directory");
}
