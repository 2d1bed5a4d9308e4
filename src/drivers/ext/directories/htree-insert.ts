/**
 * Putting a name into an indexed directory, and making a directory of one block an indexed one.
 *
 * A leaf without room is packed where at least half of it is free, in pieces, and split in two by
 * hash otherwise. That takes a place in the node above it; where there is none, the lowest full
 * node with a parent that has room is split first, or, when all are full up to the root, the root's
 * entries move into a new node below it, which adds a level.
 *
 * A split moves names between blocks and never changes their order by hash, which listings rely on.
 * Locks: the directory's io lock, exclusively; an open transaction. Nothing here sleeps.
 */
import { HoldfastError } from "../../../base/errors.ts";
import { invariant } from "../../../base/invariant.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { FileType } from "../../../iomap/contract.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import type { DirectoryFile } from "./directory-file.ts";
import { INODE_INDEXED_DIRECTORY } from "../format.ts";
import type { NameHash } from "./hash.ts";
import {
  DiskIndexEntry,
  DiskIndexFirst,
  DiskIndexRoot,
  editIndex,
  ENTRY_SIZE,
  entryLimit,
  findPath,
  hashAt,
  hashIn,
  hashVersionOf,
  type IndexNode,
  type IndexPath,
  indirectLevelsMax,
  leafOf,
  NODE_ENTRIES_AT,
  readRoot,
  ROOT_ENTRIES_AT,
  ROOT_INFO_LENGTH,
} from "./htree.ts";
import { editInode, inodeFlags, setInodeFlags } from "../inodes/inode.ts";
import {
  DiskEntry,
  dotDot,
  ENTRY_HEADER_SIZE,
  findName,
  inoAt,
  insertName,
  type NamePlace,
  packNames,
  recordLengthAt,
  recordLengthFor,
} from "./names.ts";
import { SEAL } from "../volume.ts";

/**
 * Adds a name that is not there, and for which the leaf that it belongs to has no room.
 * Throws: ENOSPC when no block is free or the index has all the levels it may have; CorruptionError.
 */
export function insertMakingRoom(
  directory: DirectoryFile,
  transaction: Transaction,
  name: Uint8Array,
  ino: Ino,
  type: FileType,
): void {
  const hash: NameHash = { major: 0, minor: 0 };
  hashIn(directory, hashVersionOf(directory), name, 0, name.length, hash);
  const leaf = makeRoom(directory, transaction, hash.major);
  const place: NamePlace = { at: -1, previousAt: -1, spaceAt: -1 };
  const isThere = findName(leaf, directory, name, place);
  invariant(!isThere && place.spaceAt >= 0, "half a block of names has no room for one");
  insertName(directory.editNames(transaction, leaf), directory, place.spaceAt, name, ino, type);
}

/**
 * Packs or splits the leaf of hash `major`, so that a longest name has room in the block that this
 * hash then belongs to; returns that block.
 */
function makeRoom(
  directory: DirectoryFile,
  transaction: Transaction,
  major: number,
): MetadataBlock {
  for (let attempt = 0; ; attempt++) {
    invariant(attempt <= indirectLevelsMax(directory) + 1, "an index does not grow by being split");
    const path = findPath(directory, readRoot(directory), major);
    const parent = path.at(-1)!;
    const leaf = directory.readNames(leafOf(directory, path));
    const records = recordsByHash(directory, leaf);
    if (bytesOf(records) <= directory.entriesEnd / 2) {
      directory.editNames(transaction, leaf);
      packNames(leaf, directory, leaf.bytes.slice(), offsetsOf(records));
      return leaf;
    }
    if (parent.count < entryLimit(directory.volume, parent.entriesAt)) {
      return splitLeaf(directory, transaction, parent, { leaf, records, major });
    }
    growIndex(directory, transaction, path);
  }
}

interface HashedRecord {
  readonly at: number;
  readonly major: number;
  readonly length: number;
}

/** The records in use of a block of names, by hash. Throws: CorruptionError. */
function recordsByHash(directory: DirectoryFile, block: MetadataBlock): HashedRecord[] {
  const version = hashVersionOf(directory);
  const hash: NameHash = { major: 0, minor: 0 };
  const records: HashedRecord[] = [];
  for (let at = 0; at < directory.entriesEnd; at += recordLengthAt(block, directory, at)) {
    if (inoAt(block, at) === 0) continue;
    const nameLength = DiskEntry.nameLength.get(block.view, at);
    hashIn(directory, version, block.bytes, at + ENTRY_HEADER_SIZE, nameLength, hash);
    records.push({ at, major: hash.major, length: recordLengthFor(nameLength) });
  }
  return records.sort((a, b) => a.major - b.major);
}

function bytesOf(records: readonly HashedRecord[]): number {
  return records.reduce((sum, { length }) => sum + length, 0);
}

function offsetsOf(records: readonly HashedRecord[]): number[] {
  return records.map(({ at }) => at);
}

/**
 * Where to cut records so that both halves are as even in bytes as they can be: each is then at
 * most half of the block and half of a longest record, which leaves room for another longest
 * record.
 */
function middleOf(records: readonly HashedRecord[]): number {
  const total = bytesOf(records);
  let middle = 0;
  let before = 0;
  while (middle < records.length - 1 && before + records[middle]!.length / 2 <= total / 2) {
    before += records[middle]!.length;
    middle++;
  }
  return Math.max(middle, 1);
}

/**
 * Moves the upper half of the leaf at `parent`'s entry into a new block, behind a new entry.
 * Returns the half that hash `major` belongs to.
 */
function splitLeaf(
  directory: DirectoryFile,
  transaction: Transaction,
  parent: IndexNode,
  { leaf, records, major }: { leaf: MetadataBlock; records: HashedRecord[]; major: number },
): MetadataBlock {
  const { block: upper, index } = directory.appendNames(transaction);
  const lower = directory.editNames(transaction, leaf);
  const middle = middleOf(records);
  const upperMajor = records[middle]!.major;
  const isContinuation = records[middle - 1]!.major === upperMajor;
  const source = lower.bytes.slice();
  packNames(upper, directory, source, offsetsOf(records.slice(middle)));
  packNames(lower, directory, source, offsetsOf(records.slice(0, middle)));
  insertEntry(directory, transaction, parent, upperMajor + (isContinuation ? 1 : 0), index);
  return major >= upperMajor ? upper : lower;
}

/** Adds an entry behind the one that `node` is at. There is room for it. */
function insertEntry(
  directory: DirectoryFile,
  transaction: Transaction,
  node: IndexNode,
  hash: number,
  child: number,
): void {
  const { bytes, view } = editIndex(directory, transaction, node.block, node.entriesAt);
  const at = node.entriesAt + (node.slot + 1) * ENTRY_SIZE;
  bytes.copyWithin(at + ENTRY_SIZE, at, node.entriesAt + node.count * ENTRY_SIZE);
  DiskIndexEntry.hash.set(view, at, hash);
  DiskIndexEntry.block.set(view, at, child);
  DiskIndexFirst.count.set(view, node.entriesAt, node.count + 1);
}

/** Makes room in the index on the way that `path` takes. Throws: ENOSPC. */
function growIndex(directory: DirectoryFile, transaction: Transaction, path: IndexPath): void {
  const isFull = (node: IndexNode) => node.count === entryLimit(directory.volume, node.entriesAt);
  let level = path.length - 1;
  while (level >= 0 && isFull(path[level]!)) level--;
  if (level >= 0) {
    splitNode(directory, transaction, path[level]!, path[level + 1]!);
  } else if (path.length <= indirectLevelsMax(directory)) {
    addLevel(directory, transaction, path[0]!);
  } else {
    const message = `the index of directory inode ${directory.ino} is full; use more directories`;
    throw new HoldfastError("ENOSPC", message);
  }
}

/** A new node with the entries of `source` from `slot` on; returns its block in file. */
function makeNode(
  directory: DirectoryFile,
  transaction: Transaction,
  source: IndexNode,
  slot: number,
): number {
  const { block, index } = directory.append(transaction, SEAL.indexNode);
  const start = source.entriesAt + slot * ENTRY_SIZE;
  const end = source.entriesAt + source.count * ENTRY_SIZE;
  DiskEntry.recordLength.set(block.view, 0, directory.blockSize);
  block.bytes.set(source.block.bytes.subarray(start, end), NODE_ENTRIES_AT);
  const limit = entryLimit(directory.volume, NODE_ENTRIES_AT);
  DiskIndexFirst.limit.set(block.view, NODE_ENTRIES_AT, limit);
  DiskIndexFirst.count.set(block.view, NODE_ENTRIES_AT, source.count - slot);
  return index;
}

function splitNode(
  directory: DirectoryFile,
  transaction: Transaction,
  parent: IndexNode,
  node: IndexNode,
): void {
  const kept = node.count >>> 1;
  const hash = hashAt(node, kept);
  const index = makeNode(directory, transaction, node, kept);
  const { view } = editIndex(directory, transaction, node.block, node.entriesAt);
  DiskIndexFirst.count.set(view, node.entriesAt, kept);
  insertEntry(directory, transaction, parent, hash, index);
}

function addLevel(directory: DirectoryFile, transaction: Transaction, root: IndexNode): void {
  const index = makeNode(directory, transaction, root, 0);
  const { view } = editIndex(directory, transaction, root.block, ROOT_ENTRIES_AT);
  DiskIndexFirst.count.set(view, ROOT_ENTRIES_AT, 1);
  DiskIndexFirst.block.set(view, ROOT_ENTRIES_AT, index);
  const levels = DiskIndexRoot.indirectLevels.get(view, 0);
  DiskIndexRoot.indirectLevels.set(view, 0, levels + 1);
}

/**
 * Makes a directory of one full block an indexed one: its names move into a first leaf, and its
 * block becomes the root. Throws: ENOSPC; CorruptionError unless "." and ".." come first.
 */
export function convertToIndexed(directory: DirectoryFile, transaction: Transaction): void {
  invariant(directory.blockCount === 1, "a directory of several blocks stays as it is");
  const version = hashVersionOf(directory);
  const first = directory.readNames(0);
  assertDotsFirst(directory, first);
  const offsets: number[] = [];
  const namesAt = DiskIndexRoot.parentIno.offset;
  let at = namesAt + recordLengthAt(first, directory, namesAt);
  for (; at < directory.entriesEnd; at += recordLengthAt(first, directory, at)) {
    if (inoAt(first, at) !== 0) offsets.push(at);
  }
  const { block: leaf, index } = directory.appendNames(transaction);
  packNames(leaf, directory, first.bytes, offsets);

  const { bytes, view } = editIndex(directory, transaction, first, ROOT_ENTRIES_AT);
  bytes.fill(0, DiskIndexRoot.zero.offset);
  const rest = directory.blockSize - DiskIndexRoot.parentIno.offset;
  DiskIndexRoot.parentRecordLength.set(view, 0, rest);
  DiskIndexRoot.hashVersion.set(view, 0, version);
  DiskIndexRoot.infoLength.set(view, 0, ROOT_INFO_LENGTH);
  const limit = entryLimit(directory.volume, ROOT_ENTRIES_AT);
  DiskIndexFirst.limit.set(view, ROOT_ENTRIES_AT, limit);
  DiskIndexFirst.count.set(view, ROOT_ENTRIES_AT, 1);
  DiskIndexFirst.block.set(view, ROOT_ENTRIES_AT, index);

  const raw = editInode(directory.volume, transaction, directory.ino);
  setInodeFlags(raw, inodeFlags(raw) | INODE_INDEXED_DIRECTORY);
  directory.isIndexed = true;
}

function assertDotsFirst(directory: DirectoryFile, first: MetadataBlock): void {
  const { view } = first;
  const parentAt = DiskIndexRoot.parentIno.offset;
  const isRight =
    inoAt(first, 0) === directory.ino &&
    DiskIndexRoot.dotRecordLength.get(view, 0) === parentAt &&
    DiskIndexRoot.dotNameLength.get(view, 0) === 1 &&
    DiskIndexRoot.parentNameLength.get(view, 0) === dotDot.length;
  if (isRight) return;
  const { volume } = directory;
  const expected = `expected "." and ".." as the first names of directory ${directory.ino}`;
  throw volume.damage({ block: first, at: 0 }, DiskEntry.structure, "name", "another", expected);
}
