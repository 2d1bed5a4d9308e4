/**
 * The names of a directory, whichever way they are stored: in blocks one after another, or found by
 * hash. Inodes, link counts and times are links.ts's.
 *
 * Locks: the directory's io lock, shared to look and exclusively to change; changes happen in an
 * open transaction. Nothing here sleeps.
 */
import { CorruptionError } from "../../base/errors.ts";
import type { Ino } from "../../base/quantities.ts";
import type { FileType } from "../../iomap/contract.ts";
import type { MetadataBlock } from "../../metadata/cache.ts";
import type { Transaction } from "../../metadata/transaction.ts";
import { DirectoryFile } from "./directory-file.ts";
import { INODE_INDEXED_DIRECTORY } from "./format.ts";
import type { NameHash } from "./hash.ts";
import {
  assertChainEnds,
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
  sealOfIndex,
} from "./htree.ts";
import { convertToIndexed, insertIndexed, nameExists } from "./htree-insert.ts";
import { editInode, inodeFlags, setInodeFlags } from "./inode.ts";
import {
  DiskEntry,
  dot,
  dotDot,
  findName,
  holdsNames,
  inoAt,
  insertName,
  isDots,
  type NamePlace,
  removeName,
  setTarget,
  typeAt,
} from "./names.ts";
import type { ExtVolume } from "./volume.ts";

/** A name where it lies. Good until the directory changes. */
export interface FoundName {
  readonly block: MetadataBlock;
  /** Byte offsets in the block; `previousAt` is -1 where there is no record before. */
  readonly at: number;
  readonly previousAt: number;
}

/** Where `name` lies, or null. Throws: CorruptionError. */
export function findEntry(directory: DirectoryFile, name: Uint8Array): FoundName | null {
  const place: NamePlace = { at: -1, previousAt: -1, spaceAt: -1 };
  const block = directory.isIndexed
    ? searchIndex(directory, name, place)
    : searchBlocks(directory, name, place);
  return block === null ? null : { block, at: place.at, previousAt: place.previousAt };
}

function searchBlocks(
  directory: DirectoryFile,
  name: Uint8Array,
  place: NamePlace,
): MetadataBlock | null {
  const blocks = isDots(name) ? 1 : directory.blockCount;
  for (let index = 0; index < blocks; index++) {
    const block = directory.readNames(index);
    if (findName(block, directory, name, place)) return block;
  }
  return null;
}

function searchIndex(
  directory: DirectoryFile,
  name: Uint8Array,
  place: NamePlace,
): MetadataBlock | null {
  const root = readRoot(directory);
  if (isDots(name)) {
    place.at = rootPlaceOf(name);
    place.previousAt = -1;
    return root;
  }
  const hash: NameHash = { major: 0, minor: 0 };
  hashIn(directory, hashVersionOf(directory, root), name, 0, name.length, hash);
  const path = findPath(directory, root, hash.major);
  for (let leaves = 1; ; leaves++) {
    const leaf = directory.readNames(leafOf(directory, path));
    if (findName(leaf, directory, name, place)) return leaf;
    if (!isContinued(path, hash.major)) return null;
    assertChainEnds(directory, leaves);
    moveToNextLeaf(directory, path);
  }
}

/** What a name stands for, or null where it is not there. Throws: ENOTDIR, CorruptionError. */
export function lookupName(
  volume: ExtVolume,
  ino: Ino,
  name: Uint8Array,
): { ino: Ino; type: FileType | null } | null {
  const directory = new DirectoryFile(volume, ino);
  const found = findEntry(directory, name);
  if (found === null) return null;
  return { ino: inoAt(found.block, found.at), type: typeAt(found.block, directory, found.at) };
}

/**
 * Adds a name; the caller has seen that it is a legal one. A directory of one block becomes indexed
 * when it overflows, if the volume has dir_index.
 * Throws: EEXIST, ENOSPC, CorruptionError.
 */
export function addName(
  directory: DirectoryFile,
  transaction: Transaction,
  name: Uint8Array,
  ino: Ino,
  type: FileType,
): void {
  if (directory.isIndexed) {
    insertIndexed(directory, transaction, name, ino, type);
    return;
  }
  const place: NamePlace = { at: -1, previousAt: -1, spaceAt: -1 };
  let spaceBlock: MetadataBlock | null = null;
  let spaceAt = -1;
  for (let index = 0; index < directory.blockCount; index++) {
    const block = directory.readNames(index);
    if (findName(block, directory, name, place)) throw nameExists();
    if (spaceBlock === null && place.spaceAt >= 0) {
      spaceBlock = block;
      spaceAt = place.spaceAt;
    }
  }
  dropStaleIndex(directory, transaction);
  if (spaceBlock !== null) {
    directory.editNames(transaction, spaceBlock);
    insertName(spaceBlock, directory, spaceAt, name, ino, type);
  } else if (directory.mayBeIndexed && directory.blockCount === 1) {
    convertToIndexed(directory, transaction);
    insertIndexed(directory, transaction, name, ino, type);
  } else {
    const { block } = directory.appendNames(transaction);
    insertName(block, directory, 0, name, ino, type);
  }
}

/**
 * A volume that lost its dir_index feature may have directories that are still marked as indexed.
 * Names go into the index's blocks from here on, so the mark must go.
 */
function dropStaleIndex(directory: DirectoryFile, transaction: Transaction): void {
  if (!directory.isMarkedIndexed) return;
  const raw = editInode(directory.volume, transaction, directory.ino);
  setInodeFlags(raw, inodeFlags(raw) & ~INODE_INDEXED_DIRECTORY);
}

/** Takes a name away. */
export function removeEntry(
  directory: DirectoryFile,
  transaction: Transaction,
  found: FoundName,
): void {
  directory.editNames(transaction, found.block);
  removeName(found.block, directory, found.at, found.previousAt);
}

/** Makes a name stand for another inode. */
export function retargetEntry(
  directory: DirectoryFile,
  transaction: Transaction,
  found: FoundName,
  ino: Ino,
  type: FileType,
): void {
  directory.editNames(transaction, found.block);
  setTarget(found.block, directory, found.at, ino, type);
}

/** Whether it holds no names but "." and "..". Looks at all blocks. Throws: CorruptionError. */
export function isEmpty(directory: DirectoryFile): boolean {
  for (let index = 0; index < directory.blockCount; index++) {
    const block = readIfNames(directory, index);
    if (block !== null && holdsNames(block, directory)) return false;
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
  const { block, at } = findParent(directory);
  return inoAt(block, at);
}

function findParent(directory: DirectoryFile): FoundName {
  const found = findEntry(directory, dotDot);
  if (found !== null) return found;
  throw new CorruptionError({
    structure: DiskEntry.structure.name,
    field: "name",
    value: "missing",
    expected: `but directory inode ${directory.ino} must have ".."`,
  });
}

/** Makes ".." lead to `parent`. */
export function setParent(directory: DirectoryFile, transaction: Transaction, parent: Ino): void {
  const { block, at } = findParent(directory);
  if (directory.isIndexed) transaction.edit(block, sealOfIndex(directory, ROOT_ENTRIES_AT));
  else directory.editNames(transaction, block);
  setTarget(block, directory, at, parent, "directory");
}
