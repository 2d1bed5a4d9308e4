/**
 * Listing a directory in pieces, while names come and go between them.
 *
 * A cursor is the place of the next entry in an order that never changes for a name:
 *
 * - by hash, in a directory that has an index or may get one (one block, on a volume with
 *   dir_index, or none yet): 0 is ".", 1 is "..", and 2 + key the name with that key, its hash's major and minor
 *   word cut to 53 bits. Splits move names between blocks and leave their hashes as they are;
 * - by byte in the file, in all other directories. There records never move. (Of a directory in its inode it is the
 *   byte where its names come to lie when it outgrows that.)
 *
 * So a name that is there all along is given exactly once, whatever happens to others; one that is
 * added or removed meanwhile is given once or not at all; one that is removed and added again may
 * be given twice where the order is by byte. Names whose keys are equal (rare: 53 bits; 31 bits
 * with the legacy hash) cannot be told apart by a cursor, and come together even if that is more
 * than was asked for.
 *
 * Locks: the directory's io lock, shared at least. Nothing here sleeps.
 */
import type { CorruptionError } from "../../../base/errors.ts";
import type { DirectoryEntry } from "../../../iomap/contract.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { findEntry, parentOf } from "./directory.ts";
import type { DirectoryFile } from "./directory-file.ts";
import type { NameHash } from "./hash.ts";
import {
  assertChainEnds,
  findPath,
  hashIn,
  hashVersionOf,
  type IndexPath,
  leafHash,
  leafOf,
  moveToNextLeaf,
  nextLeafHash,
  readRoot,
} from "./htree.ts";
import {
  copyNameAt,
  DiskEntry,
  dot,
  dotDot,
  ENTRY_HEADER_SIZE,
  inoAt,
  isDotsAt,
  type NameFormat,
  recordLengthAt,
  recordLengthFor,
  typeAt,
} from "./names.ts";

export interface Listing {
  entries: DirectoryEntry[];
  cursor: number | null;
}

/** Keys begin here in a cursor by hash. */
const CURSOR_OF_KEY_0 = 2;
/** A key is half of the major word (which is even), 31 bits, and the upper 22 bits of the minor. */
const KEY_MINOR_BITS = 22;
const KEY_MINOR_LIMIT = 2 ** KEY_MINOR_BITS;

/** The hashes that the index promises for some leaves: from `least` on, and below `end`. */
interface HashRange {
  readonly least: number;
  readonly end: number;
}

const ALL_HASHES: HashRange = { least: 0, end: 2 ** 32 };

/** A name's place in the order, and where it lies. */
interface KeyedRecord {
  readonly key: number;
  readonly block: MetadataBlock;
  readonly at: number;
}

/** At most `limit` entries from `cursor` on. Throws: CorruptionError. */
export function listDirectory(directory: DirectoryFile, cursor: number, limit: number): Listing {
  const isSmall = directory.blockCount === 1 || directory.areas !== null;
  const isByHash = directory.isIndexed || (directory.mayBeIndexed && isSmall);
  if (directory.areas !== null && !isByHash) return listAreas(directory, cursor, limit);
  return isByHash ? listByHash(directory, cursor, limit) : listByByte(directory, cursor, limit);
}

function entryAt(
  directory: DirectoryFile,
  block: MetadataBlock,
  at: number,
  cursor: number,
): DirectoryEntry {
  return {
    name: copyNameAt(block, at),
    ino: inoAt(block, at),
    type: typeAt(block, directory, at),
    cursor,
  };
}

/** A cursor inside a record that has since been merged is behind that record: it starts before. */
function listByByte(directory: DirectoryFile, cursor: number, limit: number): Listing {
  const { blockSize, entriesEnd } = directory;
  const entries: DirectoryEntry[] = [];
  let index = Math.floor(cursor / blockSize);
  let from = cursor % blockSize;
  for (; index < directory.blockCount; index++) {
    const block = directory.readNames(index);
    for (let at = 0; at < entriesEnd; at += recordLengthAt(block, directory, at)) {
      if (at < from || inoAt(block, at) === 0) continue;
      const place = index * blockSize + at;
      if (entries.length >= limit) return { entries, cursor: place };
      entries.push(entryAt(directory, block, at, place));
    }
    from = 0;
  }
  return { entries, cursor: null };
}

/** By byte, in a directory in its inode. */
function listAreas(directory: DirectoryFile, cursor: number, limit: number): Listing {
  const entries: DirectoryEntry[] = [];
  const dots = inlineDots(directory);
  for (const [index, entry] of dots.entries()) {
    const place = index * recordLengthFor(dot.length);
    if (place < cursor) continue;
    if (entries.length >= limit) return { entries, cursor: place };
    entries.push({ ...entry, cursor: place });
  }
  for (const { block, format, base } of areasOf(directory)) {
    const { entriesStart, entriesEnd } = format;
    for (let at = entriesStart; at < entriesEnd; at += recordLengthAt(block, format, at)) {
      const place = base + (at - entriesStart);
      if (place < cursor || inoAt(block, at) === 0) continue;
      if (entries.length >= limit) return { entries, cursor: place };
      entries.push(entryAt(directory, block, at, place));
    }
  }
  return { entries, cursor: null };
}

/** The entries "." and "..", for which a directory in its inode has no records. */
function inlineDots(
  directory: DirectoryFile,
): [Omit<DirectoryEntry, "cursor">, Omit<DirectoryEntry, "cursor">] {
  const type = directory.hasTypes ? "directory" : null;
  return [
    { name: dot, ino: directory.ino, type },
    { name: dotDot, ino: parentOf(directory), type },
  ];
}

/** Names that follow one another. */
interface Names {
  readonly block: MetadataBlock;
  readonly format: NameFormat;
}

function areasOf(directory: DirectoryFile): (Names & { readonly base: number })[] {
  const areas = directory.areas ?? [];
  return areas.map((format, index) => {
    return { block: directory.readNames(index), format, base: format.base };
  });
}

function listByHash(directory: DirectoryFile, cursor: number, limit: number): Listing {
  const entries: DirectoryEntry[] = [];
  const first = directory.isIndexed ? readRoot(directory) : directory.readNames(0);
  const dots = directory.areas === null ? null : inlineDots(directory);
  for (; cursor < CURSOR_OF_KEY_0; cursor++) {
    if (entries.length >= limit) return { entries, cursor };
    if (dots !== null) {
      entries.push({ ...dots[cursor === 0 ? 0 : 1], cursor });
      continue;
    }
    const found = findEntry(directory, cursor === 0 ? dot : dotDot);
    if (found !== null) entries.push(entryAt(directory, found.block, found.at, cursor));
  }
  const from = cursor - CURSOR_OF_KEY_0;
  if (!directory.isIndexed) {
    const isInline = directory.areas !== null;
    const names = isInline ? areasOf(directory) : [{ block: first, format: directory }];
    const records = recordsFrom(directory, names, from, ALL_HASHES);
    return { entries, cursor: takeInOrder(directory, records, entries, limit) };
  }
  const major = Math.floor(from / KEY_MINOR_LIMIT) * 2;
  const path = findPath(directory, first, major);
  for (let leaves = 0; ; leaves++) {
    assertChainEnds(directory, leaves);
    const least = leafHash(path);
    const blocks = readContinuedLeaves(directory, path);
    const next = nextLeafHash(path);
    const range = { least, end: next < 0 ? ALL_HASHES.end : next };
    const names = blocks.map((block) => ({ block, format: directory }));
    const records = recordsFrom(directory, names, from, range);
    const end = takeInOrder(directory, records, entries, limit);
    if (end !== null) return { entries, cursor: end };
    if (next < 0) return { entries, cursor: null };
    moveToNextLeaf(directory, path);
  }
}

/** The leaf at `path` and those that continue its last hash; `path` ends at the last of them. */
function readContinuedLeaves(directory: DirectoryFile, path: IndexPath): MetadataBlock[] {
  const blocks = [directory.readNames(leafOf(directory, path))];
  for (let next = nextLeafHash(path); next >= 0 && (next & 1) !== 0; next = nextLeafHash(path)) {
    assertChainEnds(directory, blocks.length);
    moveToNextLeaf(directory, path);
    blocks.push(directory.readNames(leafOf(directory, path)));
  }
  return blocks;
}

/**
 * The names of some blocks whose key is not below `from`, by key. A block of names that damage put
 * in another's place has a right checksum, but not the right hashes.
 * Throws: CorruptionError for a hash outside `range`.
 */
function recordsFrom(
  directory: DirectoryFile,
  names: readonly Names[],
  from: number,
  range: HashRange,
): KeyedRecord[] {
  const version = hashVersionOf(directory);
  const hash: NameHash = { major: 0, minor: 0 };
  const records: KeyedRecord[] = [];
  for (const { block, format } of names) {
    const { entriesStart, entriesEnd } = format;
    for (let at = entriesStart; at < entriesEnd; at += recordLengthAt(block, format, at)) {
      if (inoAt(block, at) === 0 || isDotsAt(block, at)) continue;
      const nameLength = DiskEntry.nameLength.get(block.view, at);
      hashIn(directory, version, block.bytes, at + ENTRY_HEADER_SIZE, nameLength, hash);
      if (hash.major < range.least || hash.major >= range.end) {
        throw misplacedName(directory, block, at, hash.major, range);
      }
      const key = (hash.major / 2) * KEY_MINOR_LIMIT + (hash.minor >>> (32 - KEY_MINOR_BITS));
      if (key >= from) records.push({ key, block, at });
    }
  }
  return records.sort((a, b) => a.key - b.key);
}

function misplacedName(
  directory: DirectoryFile,
  block: MetadataBlock,
  at: number,
  hash: number,
  { least, end }: HashRange,
): CorruptionError {
  const inDirectory = `by the index of directory ${directory.ino}`;
  const expected = `expected at least ${least} and below ${end} ${inDirectory}`;
  return directory.volume.damage(
    { block, at },
    DiskEntry.structure,
    "hash of name",
    hash,
    expected,
  );
}

/**
 * Appends records to `entries` up to `limit`, never between two of one key unless they are first.
 * Returns: the cursor of the first record left over, or null.
 */
function takeInOrder(
  directory: DirectoryFile,
  records: readonly KeyedRecord[],
  entries: DirectoryEntry[],
  limit: number,
): number | null {
  for (let start = 0; start < records.length; ) {
    const { key } = records[start]!;
    let end = start + 1;
    while (end < records.length && records[end]!.key === key) end++;
    if (entries.length > 0 && entries.length + end - start > limit) return CURSOR_OF_KEY_0 + key;
    for (; start < end; start++) {
      const { block, at } = records[start]!;
      entries.push(entryAt(directory, block, at, CURSOR_OF_KEY_0 + key));
    }
  }
  return null;
}
