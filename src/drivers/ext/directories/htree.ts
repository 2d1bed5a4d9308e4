/**
 * The hash index of a directory: which block of names may hold a name. Names stay in ordinary
 * blocks of names, the leaves; the index lies in blocks that a reader without it takes for free
 * records.
 *
 *     block 0, the root:   "." | ".." over the rest of the block | info | entries [| tail]
 *     a node:              a free record over the whole block    | entries [| tail]
 *     entry:               hash | block in file of the leaf or node below
 *
 * Rules. (1) Entries rise by hash. Below an entry lie the names from its hash up to the next one's.
 *        (2) The first entry has no hash of its own: in its place are the limit and count of
 *        entries. It stands for whatever the entry above it stands for; at the top, for 0.
 *        (3) Names of one hash may fill several leaves. Then the entry of each but the first of
 *        these has its hash's lowest bit set: "continued". Hashes of names are even.
 *        (4) Leaves lie at one depth: `indirectLevels` nodes below the root.
 *
 * Walks check counts and block numbers at every step, as names.ts does, so that they end on any
 * bytes. Nothing here sleeps or changes a block. Locks: the directory's io lock.
 *
 * Source: Linux Documentation/filesystems/ext4/directory.rst, "Hash Tree Directories".
 */
import { crc32c } from "../../../base/checksum.ts";
import { CorruptionError } from "../../../base/errors.ts";
import { bytes, struct, u8, u16, u32 } from "../../../base/struct.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import type { Transaction } from "../../../metadata/transaction.ts";
import { crc32cNumber } from "../checksums.ts";
import type { DirectoryFile } from "./directory-file.ts";
import { INCOMPATIBLE } from "../format.ts";
import { HASH_TEA, HASH_UNSIGNED, hashName, isHashVersion, type NameHash } from "./hash.ts";
import { DiskEntry, dot, dotDot, recordLengthFor } from "./names.ts";
import { type ExtVolume, SEAL } from "../volume.ts";

/** Everything in the root before its entries. */
export const DiskIndexRoot = struct(
  "dx_root",
  { endian: "little", size: 32 },
  {
    dotIno: u32(0),
    dotRecordLength: u16(4),
    dotNameLength: u8(6),
    dotType: u8(7),
    dotName: bytes(8, 4),
    parentIno: u32(12),
    parentRecordLength: u16(16), // to the end of the block, over all that follows
    parentNameLength: u8(18),
    parentType: u8(19),
    parentName: bytes(20, 4),
    zero: u32(24),
    hashVersion: u8(28),
    infoLength: u8(29), // of the 8 bytes from `zero` on
    indirectLevels: u8(30),
    unusedFlags: u8(31),
  },
);

/** The first entry of a root or node; the others are `DiskIndexEntry`. */
export const DiskIndexFirst = struct(
  "dx_countlimit",
  { endian: "little", size: 8 },
  { limit: u16(0), count: u16(2), block: u32(4) },
);

export const DiskIndexEntry = struct(
  "dx_entry",
  { endian: "little", size: 8 },
  { hash: u32(0), block: u32(4) },
);

/** Lies right after the last place for an entry. */
export const DiskIndexTail = struct(
  "dx_tail",
  { endian: "little", size: 8 },
  { reserved: u32(0), checksum: u32(4) },
);

export const ENTRY_SIZE = DiskIndexEntry.structure.size;
export const ROOT_ENTRIES_AT = DiskIndexRoot.structure.size;
export const NODE_ENTRIES_AT = DiskEntry.structure.size;
export const ROOT_INFO_LENGTH = 8;
/** The one of a root's flags that says: do not use this index unless you know why. */
const INCOMPATIBLE_FLAG = 0x1;
/** The upper four bits of an entry's block number are reserved. */
const BLOCK_MASK = 0x0fffffff;

/** A root or node on the way from the root to a leaf, and the entry taken there. */
export interface IndexNode {
  readonly block: MetadataBlock;
  /** The byte of its first entry in the block. */
  readonly entriesAt: number;
  readonly count: number;
  slot: number;
}

/** From the root down; the last one's entry names the leaf. */
export type IndexPath = IndexNode[];

function damage(
  directory: DirectoryFile,
  block: MetadataBlock,
  field: string,
  value: number,
  expected: string,
): never {
  const where = { block, at: 0 };
  const expectedHere = `${expected} (in directory ${directory.ino})`;
  throw directory.volume.damage(where, { name: "dx_node" }, field, value, expectedHere);
}

/** Places for entries in a root or node. */
export function entryLimit(volume: ExtVolume, entriesAt: number): number {
  const tail = volume.metadataChecksums ? DiskIndexTail.structure.size : 0;
  return Math.floor((volume.blockSize - entriesAt - tail) / ENTRY_SIZE);
}

/** Nodes between the root and the leaves, at most. */
export function indirectLevelsMax(directory: DirectoryFile): number {
  return (directory.volume.features.incompatible & INCOMPATIBLE.large_dir) !== 0 ? 2 : 1;
}

/** The number of entries, checked to lie in the block. Throws: CorruptionError. */
export function countAt(directory: DirectoryFile, block: MetadataBlock, entriesAt: number): number {
  const limit = DiskIndexFirst.limit.get(block.view, entriesAt);
  const limitRight = entryLimit(directory.volume, entriesAt);
  if (limit !== limitRight) damage(directory, block, "limit", limit, `expected ${limitRight}`);
  const count = DiskIndexFirst.count.get(block.view, entriesAt);
  if (count === 0 || count > limit) {
    damage(directory, block, "count", count, `expected 1 to ${limit}`);
  }
  return count;
}

export function hashAt(node: IndexNode, slot: number): number {
  return DiskIndexEntry.hash.get(node.block.view, node.entriesAt + slot * ENTRY_SIZE);
}

/** The leaf or node below an entry; never the root. Throws: CorruptionError. */
export function childAt(directory: DirectoryFile, node: IndexNode): number {
  const at = node.entriesAt + node.slot * ENTRY_SIZE;
  const child = DiskIndexEntry.block.get(node.block.view, at) & BLOCK_MASK;
  if (child === 0) damage(directory, node.block, "block", 0, "expected any block but the root");
  return child;
}

/** The block in file of the leaf that a path leads to. Throws: CorruptionError. */
export function leafOf(directory: DirectoryFile, path: IndexPath): number {
  return childAt(directory, path.at(-1)!);
}

function verifyEntries(directory: DirectoryFile, block: MetadataBlock, entriesAt: number): void {
  const { volume } = directory;
  if (volume.metadataChecksums) {
    const tailAt = entriesAt + entryLimit(volume, entriesAt) * ENTRY_SIZE;
    countAt(directory, block, entriesAt);
    const value = DiskIndexTail.checksum.get(block.view, tailAt);
    const computed = indexChecksum(volume, block, directory.checksumSeed, entriesAt);
    if (value !== computed) {
      damage(directory, block, "dt_checksum", value, `but its bytes give ${computed}`);
    }
  }
  const count = countAt(directory, block, entriesAt);
  let previous = 0;
  for (let slot = 1; slot < count; slot++) {
    const hash = DiskIndexEntry.hash.get(block.view, entriesAt + slot * ENTRY_SIZE);
    if (hash < previous) damage(directory, block, "hash", hash, `expected at least ${previous}`);
    previous = hash;
  }
}

/** The checksum of a root or node: its head, the entries in use, and the tail without itself. */
function indexChecksum(
  volume: ExtVolume,
  block: MetadataBlock,
  seed: number,
  entriesAt: number,
): number {
  const count = DiskIndexFirst.count.get(block.view, entriesAt);
  const tailAt = entriesAt + entryLimit(volume, entriesAt) * ENTRY_SIZE;
  const used = block.bytes.subarray(0, entriesAt + count * ENTRY_SIZE);
  const reserved = DiskIndexTail.reserved.get(block.view, tailAt);
  return crc32cNumber(crc32cNumber(crc32c(seed, used), reserved, 4), 0, 4);
}

/** Write access to the root, or a node, whose entries begin at `entriesAt`. */
export function editIndex(
  directory: DirectoryFile,
  transaction: Transaction,
  block: MetadataBlock,
  entriesAt: number,
): MetadataBlock {
  const seal = entriesAt === ROOT_ENTRIES_AT ? SEAL.indexRoot : SEAL.indexNode;
  return transaction.edit(block, seal, directory.checksumSeed);
}

/** Writes the checksum of a root or node; `seed` is the directory's. */
export function sealIndex(
  volume: ExtVolume,
  block: MetadataBlock,
  seed: number,
  entriesAt: number,
): void {
  const tailAt = entriesAt + entryLimit(volume, entriesAt) * ENTRY_SIZE;
  const checksum = indexChecksum(volume, block, seed, entriesAt);
  DiskIndexTail.checksum.set(block.view, tailAt, checksum);
}

/** Checks block 0 of an indexed directory. Throws: CorruptionError. */
export function verifyRoot(directory: DirectoryFile, block: MetadataBlock): void {
  const { view } = block;
  const expect = (field: string, value: number, right: number) => {
    if (value !== right) damage(directory, block, field, value, `expected ${right}`);
  };
  expect("dot.inode", DiskIndexRoot.dotIno.get(view, 0), directory.ino);
  expect("dot.rec_len", DiskIndexRoot.dotRecordLength.get(view, 0), recordLengthFor(dot.length));
  expect("dot.name_len", DiskIndexRoot.dotNameLength.get(view, 0), dot.length);
  expect("dot.name", view.getUint8(DiskIndexRoot.dotName.offset), 0x2e);
  const rest = directory.blockSize - DiskIndexRoot.parentIno.offset;
  expect("dotdot.rec_len", DiskIndexRoot.parentRecordLength.get(view, 0), rest);
  expect("dotdot.name_len", DiskIndexRoot.parentNameLength.get(view, 0), dotDot.length);
  expect("dotdot.name", view.getUint16(DiskIndexRoot.parentName.offset, true), 0x2e2e);
  expect("reserved_zero", DiskIndexRoot.zero.get(view, 0), 0);
  expect("info_length", DiskIndexRoot.infoLength.get(view, 0), ROOT_INFO_LENGTH);
  expect("unused_flags", DiskIndexRoot.unusedFlags.get(view, 0) & INCOMPATIBLE_FLAG, 0);
  verifyEntries(directory, block, ROOT_ENTRIES_AT);
}

/**
 * Block 0 of an indexed directory, and what must hold of it at any time. Throws: CorruptionError.
 */
export function readRoot(directory: DirectoryFile): MetadataBlock {
  const root = directory.read(0, (block) => verifyRoot(directory, block));
  assertRoot(directory, root);
  return root;
}

/** Checks what the walk from a root down relies on. Throws: CorruptionError. */
export function assertRoot(directory: DirectoryFile, root: MetadataBlock): void {
  const version = DiskIndexRoot.hashVersion.get(root.view, 0);
  if (!isHashVersion(version)) damage(directory, root, "hash_version", version, "expected 0 to 5");
  const levels = DiskIndexRoot.indirectLevels.get(root.view, 0);
  const levelsMax = indirectLevelsMax(directory);
  if (levels > levelsMax)
    damage(directory, root, "indirect_levels", levels, `expected at most ${levelsMax}`);
}

/** Where the root keeps "." and "..": their bytes in block 0. */
export function rootPlaceOf(dots: Uint8Array): number {
  return dots.length === dot.length ? DiskIndexRoot.dotIno.offset : DiskIndexRoot.parentIno.offset;
}

/** Whether a block looks like a node: a free record over all of it. */
export function looksLikeNode(directory: DirectoryFile, block: MetadataBlock): boolean {
  return (
    DiskEntry.ino.get(block.view, 0) === 0 &&
    DiskEntry.recordLength.get(block.view, 0) === directory.blockSize
  );
}

/** Checks a node below the root. Throws: CorruptionError. */
export function verifyNode(directory: DirectoryFile, block: MetadataBlock): void {
  if (!looksLikeNode(directory, block)) {
    const value = DiskEntry.ino.get(block.view, 0);
    damage(directory, block, "fake.inode", value, "expected 0 in a free record over the block");
  }
  verifyEntries(directory, block, NODE_ENTRIES_AT);
}

/**
 * Block `index` if it holds names, whoever finds them: null for the index's own blocks, and for a
 * leaf that lost all its names where that looks the same. Throws: CorruptionError.
 */
export function readIfNames(directory: DirectoryFile, index: number): MetadataBlock | null {
  if (!directory.isIndexed) return directory.readNames(index);
  if (index === 0) return null;
  const block = directory.read(index, (filled) => {
    // Without checksums an empty leaf cannot be told from a node.
    if (!looksLikeNode(directory, filled)) directory.verifyNames(filled);
    else if (directory.volume.metadataChecksums) verifyNode(directory, filled);
  });
  return looksLikeNode(directory, block) ? null : block;
}

/** The hash of a name in this directory, whose index says `version`. */
export function hashIn(
  directory: DirectoryFile,
  version: number,
  source: Uint8Array,
  start: number,
  length: number,
  into: NameHash,
): void {
  const { volume } = directory;
  const exact = version <= HASH_TEA && volume.hashUnsigned ? version + HASH_UNSIGNED : version;
  hashName(exact, volume.hashSeed, source, start, length, into);
}

/** The hash version of an indexed directory, or of one that would become indexed. */
export function hashVersionOf(directory: DirectoryFile, root?: MetadataBlock): number {
  if (directory.isIndexed) {
    return DiskIndexRoot.hashVersion.get((root ?? readRoot(directory)).view, 0);
  }
  const version = directory.volume.hashVersionDefault;
  return isHashVersion(version) ? version % HASH_UNSIGNED : HASH_TEA;
}

/** The path to the first leaf that may hold a name of hash `major`. Throws: CorruptionError. */
export function findPath(directory: DirectoryFile, root: MetadataBlock, major: number): IndexPath {
  const levels = DiskIndexRoot.indirectLevels.get(root.view, 0);
  let node = openNode(directory, root, ROOT_ENTRIES_AT, major);
  const path = [node];
  for (let level = 0; level < levels; level++) {
    node = openNode(
      directory,
      readNode(directory, childAt(directory, node)),
      NODE_ENTRIES_AT,
      major,
    );
    path.push(node);
  }
  return path;
}

function readNode(directory: DirectoryFile, index: number): MetadataBlock {
  return directory.read(index, (block) => verifyNode(directory, block));
}

/** A node at its last entry whose hash is not above `major`. */
function openNode(
  directory: DirectoryFile,
  block: MetadataBlock,
  entriesAt: number,
  major: number,
): IndexNode {
  const count = countAt(directory, block, entriesAt);
  let low = 0;
  let high = count;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (DiskIndexEntry.hash.get(block.view, entriesAt + middle * ENTRY_SIZE) > major) high = middle;
    else low = middle;
  }
  return { block, entriesAt, count, slot: low };
}

/** The hash from which on the next leaf holds names (odd: continued), or -1 at the last leaf. */
export function nextLeafHash(path: IndexPath): number {
  for (let level = path.length - 1; level >= 0; level--) {
    const node = path[level]!;
    if (node.slot + 1 < node.count) return hashAt(node, node.slot + 1);
  }
  return -1;
}

/** The hash from which on the leaf at `path` holds names. */
export function leafHash(path: IndexPath): number {
  for (let level = path.length - 1; level >= 0; level--) {
    const node = path[level]!;
    if (node.slot > 0) return (hashAt(node, node.slot) & ~1) >>> 0;
  }
  return 0;
}

/** Whether names of hash `major` go on in the next leaf. */
export function isContinued(path: IndexPath, major: number): boolean {
  const next = nextLeafHash(path);
  return next >= 0 && (next & ~1) >>> 0 === major;
}

/** Moves `path` to the next leaf, which must be there (`nextLeafHash`). Throws: CorruptionError. */
export function moveToNextLeaf(directory: DirectoryFile, path: IndexPath): void {
  const depth = path.length;
  while (path.length > 1 && path.at(-1)!.slot + 1 >= path.at(-1)!.count) path.pop();
  path.at(-1)!.slot++;
  while (path.length < depth) {
    const node = path.at(-1)!;
    const block = readNode(directory, childAt(directory, node));
    const count = countAt(directory, block, NODE_ENTRIES_AT);
    path.push({ block, entriesAt: NODE_ENTRIES_AT, count, slot: 0 });
  }
}

/** Throws: CorruptionError when a walk from leaf to leaf saw more leaves than there are blocks. */
export function assertChainEnds(directory: DirectoryFile, leaves: number): void {
  if (leaves <= directory.blockCount) return;
  throw new CorruptionError({
    structure: "dx_node",
    field: "leaves",
    value: leaves,
    expected: `expected one at most for each block of directory ${directory.ino}`,
  });
}
