/**
 * Files that name each of their blocks by a pointer, as in ext2 and ext3, looked into without a lock.
 *
 * An inode has 15 pointers of 32 bits: 12 to blocks of the file, then one each to a block of pointers,
 * to a block of pointers to such blocks, and so on for three levels. Pointer 0 is a hole, however
 * much would lie below it. A block of pointers has no header and no checksum: all that can be checked is
 * where its pointers lead, and that no two of them name one block. That is done as a whole when it comes into the cache; and since reading takes no
 * lock, and another thread may be changing the very bytes, each pointer is checked again where it is used.
 *
 * (1) The level falls by one with every step down from three at most, so a walk down ends.
 * (2) A pointer is 0 or names a block that can belong to a file.
 *
 * Source: Linux Documentation/filesystems/ext4/ifork.rst, "Direct/Indirect Block Addressing".
 */
import { CorruptionError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { Extent } from "../../../iomap/contract.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { CONTENT_BYTE, READ_ONLY } from "../format.ts";
import type { RawInode } from "../inodes/inode.ts";
import { type ExtVolume, unownableBlock } from "../volume.ts";

export const POINTER_SIZE = 4;
const DIRECT_POINTERS = 12;
/** Levels of blocks of pointers. */
const LEVELS = 3;
/** What a file uses is counted in sectors of 512 bytes: in 48 bits, or 32 without huge_file. */
const SECTORS_MAX = 2 ** 48 - 1;
const SECTORS_MAX_OLD = 2 ** 32 - 1;

/** Pointers one after another: some of an inode's, or a block of them. */
export interface PointerRow {
  readonly block: MetadataBlock;
  /** Where in the block the first one lies. */
  readonly at: number;
  readonly count: number;
  /** The file block that the first pointer is for, or begins with. */
  readonly first: number;
  /** File blocks that each pointer is for: 1 where it names a block of the file. */
  readonly span: number;
}

export function pointersPerBlock({ blockSize }: ExtVolume): number {
  return blockSize / POINTER_SIZE;
}

/** An inode's own pointers: the direct ones in a row, and the others each in a row of its own. */
export function rootRows(volume: ExtVolume, { block, at }: RawInode): PointerRow[] {
  const rows: PointerRow[] = [
    { block, at: at + CONTENT_BYTE, count: DIRECT_POINTERS, first: 0, span: 1 },
  ];
  let first = DIRECT_POINTERS;
  for (let level = 1; level <= LEVELS; level++) {
    const pointerAt = at + CONTENT_BYTE + POINTER_SIZE * (DIRECT_POINTERS + level - 1);
    const span = pointersPerBlock(volume) ** level;
    rows.push({ block, at: pointerAt, count: 1, first, span });
    first += span;
  }
  return rows;
}

export function rowEnd({ first, count, span }: PointerRow): number {
  return first + count * span;
}

/** Which pointer of a row is for `fileBlock`. */
export function indexIn({ first, span }: PointerRow, fileBlock: number): number {
  return Math.floor((fileBlock - first) / span);
}

export function pointerAt({ block, at }: PointerRow, index: number): number {
  return block.view.getUint32(at + POINTER_SIZE * index, true);
}

/** The row below a pointer; null where that is 0. Throws: CorruptionError. */
export function rowBelow(
  volume: ExtVolume,
  row: PointerRow,
  index: number,
  ino: Ino,
): PointerRow | null {
  const pointer = pointerAt(row, index);
  if (pointer === 0) return null;
  if (!volume.isOwnable(pointer, 1)) {
    throw unownableBlock(volume, pointer, `holds block pointers of inode ${ino}`);
  }
  const block = volume.cache.read(pointer, (filled) => verifyPointers(volume, filled, ino));
  const first = row.first + index * row.span;
  const count = pointersPerBlock(volume);
  return { block, at: 0, count, first, span: row.span / count };
}

/** Checks a block of pointers as a whole, once, when it is read. Throws: CorruptionError. */
function verifyPointers(volume: ExtVolume, { block, view }: MetadataBlock, ino: Ino): void {
  const named = new Set<number>();
  for (let at = 0; at < volume.blockSize; at += POINTER_SIZE) {
    const pointer = view.getUint32(at, true);
    if (pointer === 0) continue;
    const isOwnable = volume.isOwnable(pointer, 1);
    if (isOwnable && !named.has(pointer)) {
      named.add(pointer);
      continue;
    }
    throw new CorruptionError({
      structure: `indirect block ${block} of inode ${ino}`,
      field: `pointer ${at / POINTER_SIZE}`,
      value: pointer,
      expected: isOwnable
        ? "which a pointer before it is, too"
        : "which lies outside the volume or in its own structures",
      deviceByte: volume.byteOf(block, at),
    });
  }
}

/**
 * Blocks of pointers that [from, to) takes below one pointer for `span` file blocks, counted from the
 * first of these.
 */
export function nodesBelow(volume: ExtVolume, span: number, from: number, to: number): number {
  let nodes = 0;
  for (let each = span; each > 1; each /= pointersPerBlock(volume)) {
    nodes += Math.ceil(to / each) - Math.floor(from / each);
  }
  return nodes;
}

/**
 * Blocks that a file with pointers can have: as many as there are pointers for, and as its space can be
 * counted, the blocks of pointers included. (The kernel's limit is the same.)
 */
export function pointersMax(volume: ExtVolume): number {
  const hasHugeFiles = (volume.features.readOnly & READ_ONLY.huge_file) !== 0;
  const sectorsMax = hasHugeFiles ? SECTORS_MAX : SECTORS_MAX_OLD;
  const countable = Math.floor(sectorsMax / (volume.blockSize / 512));
  let nodes = 0;
  let first = DIRECT_POINTERS;
  for (let level = 1; level <= LEVELS; level++) {
    const span = pointersPerBlock(volume) ** level;
    nodes += nodesBelow(volume, span, 0, Math.max(0, Math.min(span, countable - first)));
    first += span;
  }
  return Math.min(first, countable - nodes);
}

/** Pointers to content, for file blocks up to `end`. Where there are none, null, there is a hole. */
interface Leaf {
  readonly row: PointerRow | null;
  readonly end: number;
}

/** The pointers around `fileBlock`, or the hole that it lies in. Throws: CorruptionError. */
function findLeaf(volume: ExtVolume, raw: RawInode, ino: Ino, fileBlock: number): Leaf {
  let row = rootRows(volume, raw).find((root) => fileBlock < rowEnd(root));
  if (row === undefined) return { row: null, end: Number.POSITIVE_INFINITY };
  while (row.span > 1) {
    const index = indexIn(row, fileBlock);
    const below = rowBelow(volume, row, index, ino);
    if (below === null) return { row: null, end: row.first + (index + 1) * row.span };
    row = below;
  }
  return { row, end: rowEnd(row) };
}

/** As `extentAt` in inode-map.ts, of an inode with pointers. */
export function extentOfPointers(
  volume: ExtVolume,
  raw: RawInode,
  ino: Ino,
  from: number,
  limit: number,
): Extent {
  const { blockSize } = volume;
  const leaf = findLeaf(volume, raw, ino, from);
  const device = leaf.row === null ? 0 : pointerAt(leaf.row, indexIn(leaf.row, from));
  // A hole goes on with pointers that are 0, blocks with those that count on.
  const step = device === 0 ? 0 : 1;
  const end = findEnd(volume, raw, ino, leaf, { from, limit, device, step });
  const start = from * blockSize;
  const length = (end - from) * blockSize;
  if (device === 0) return { start, length, kind: "hole" };
  if (!volume.isOwnable(device, end - from)) {
    const claim = `a run of ${end - from} blocks of inode ${ino} begins with`;
    throw unownableBlock(volume, device, claim);
  }
  return { start, length, kind: "mapped", address: device * blockSize, shared: false };
}

/** The end of what begins at file block `from`, where the pointer is `device`, cut at `limit`. */
function findEnd(
  volume: ExtVolume,
  raw: RawInode,
  ino: Ino,
  leaf: Leaf,
  { from, limit, device, step }: { from: number; limit: number; device: number; step: number },
): number {
  for (let at = from; ; leaf = findLeaf(volume, raw, ino, at)) {
    const end = Math.min(leaf.end, limit);
    if (leaf.row === null) {
      if (device !== 0) return at;
      at = end;
    } else {
      let index = indexIn(leaf.row, at);
      for (; at < end; at++, index++) {
        if (pointerAt(leaf.row, index) !== device + step * (at - from)) return at;
      }
    }
    if (at >= limit) return limit;
  }
}
