/**
 * Every block that an inode's content has: the map itself, be it extents or pointers, and what it names. For
 * whoever looks at a volume as a whole: the search for owners (owners.ts) and the check (fsck).
 *
 * Rules. (1) The walk comes to each block of a map once, so it ends on any bytes. (2) Where the map is damaged
 *            it says so and goes on with what lies beside.
 */
import { CorruptionError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import { pointerAt, type PointerRow, POINTER_SIZE, rootRows, rowBelow } from "./block-pointers.ts";
import {
  entryByte,
  entryChild,
  entryCount,
  entryKey,
  type Node,
  nodeDepth,
  nodeEntriesMax,
  readChild,
  readPiece,
  ROOT_ENTRIES_MAX,
  rootDepth,
  rootOf,
} from "./extent-nodes.ts";
import type { Piece } from "./file-map.ts";
import { DiskExtent, DiskExtentHeader, DiskExtentIndex, FILE_BLOCKS_MAX } from "../format.ts";
import type { RawInode } from "../inodes/inode.ts";
import { hasExtents } from "./inode-map.ts";
import type { ExtVolume, Located } from "../volume.ts";

/** What is told while a map is walked. */
export interface MapVisitor {
  /** A block of the map, which is then gone into. */
  mapBlock(block: number): void;
  /** Blocks of the content, unchecked: nothing is known of where they lie. */
  content(piece: Piece, where: Located): void;
  /** What is wrong in the map. */
  damage(error: CorruptionError): void;
}

/** Walks the map of an inode that has one (`hasMap`). */
export function walkMap(volume: ExtVolume, raw: RawInode, ino: Ino, visitor: MapVisitor): void {
  const walk = new MapWalk(volume, raw, ino, visitor);
  if (hasExtents(raw)) walk.walkExtents();
  else walk.walkPointers();
}

class MapWalk {
  readonly #volume: ExtVolume;
  readonly #raw: RawInode;
  readonly #ino: Ino;
  readonly #visitor: MapVisitor;
  /** Blocks of the map that it has come to (rule 1). */
  readonly #seen = new Set<number>();

  constructor(volume: ExtVolume, raw: RawInode, ino: Ino, visitor: MapVisitor) {
    this.#volume = volume;
    this.#raw = raw;
    this.#ino = ino;
    this.#visitor = visitor;
  }

  /** Runs what may meet damage. */
  #pastDamage(look: () => void): void {
    try {
      look();
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      this.#visitor.damage(error);
    }
  }

  walkExtents(): void {
    this.#pastDamage(() => {
      const root = rootOf(this.#raw);
      rootDepth(this.#volume, root); // throws where it cannot be
      this.#walkNode(root, 0, FILE_BLOCKS_MAX);
    });
  }

  /** A node whose entries are to lie in the file blocks [floor, ceiling). */
  #walkNode(node: Node, floor: number, ceiling: number): void {
    this.#checkRoom(node);
    const isLeaf = nodeDepth(node) === 0;
    const count = entryCount(node);
    let next = floor;
    for (let index = 0; index < count; index++) {
      const key = entryKey(node, index);
      if (key < next) this.#tell(node, index, "ee_block", key, `expected at least ${next}`);
      if (isLeaf) next = this.#tellPiece(node, index, ceiling);
      else {
        const end = index + 1 < count ? Math.min(entryKey(node, index + 1), ceiling) : ceiling;
        this.#pastDamage(() => this.#walkChild(node, index, key, end));
        next = key + 1;
      }
    }
  }

  /** A node says for how many entries it has room; writers may leave up to two places. */
  #checkRoom(node: Node): void {
    const isRoot = node.block === this.#raw.block;
    const most = isRoot ? ROOT_ENTRIES_MAX : nodeEntriesMax(this.#volume);
    const max = DiskExtentHeader.entriesMax.get(node.block.view, node.at);
    if (max >= most - 2) return;
    const { structure } = DiskExtentHeader;
    const expected = `expected ${most - 2} to ${most}`;
    this.#visitor.damage(this.#volume.damage(node, structure, "eh_max", max, expected));
  }

  /** Returns the file block behind the piece. */
  #tellPiece(leaf: Node, index: number, ceiling: number): number {
    const piece = readPiece(leaf, index);
    const end = piece.fileBlock + piece.count;
    if (piece.count === 0 || end > ceiling) {
      const expected = `expected a length that ends at or before file block ${ceiling}`;
      this.#tell(leaf, index, "ee_len", piece.count, expected);
    }
    this.#visitor.content(piece, { block: leaf.block, at: entryByte(leaf, index) });
    return Math.max(end, piece.fileBlock + 1);
  }

  #walkChild(parent: Node, index: number, key: number, ceiling: number): void {
    if (!this.#enter(entryChild(parent, index))) return;
    const child = readChild(this.#volume, parent, index, this.#raw, this.#ino);
    const first = entryKey(child, 0);
    if (entryCount(child) > 0 && first !== key) {
      const where = { block: parent.block, at: entryByte(parent, index) };
      const expected = `expected ${first}, with which the node below begins`;
      const { structure } = DiskExtentIndex;
      this.#visitor.damage(this.#volume.damage(where, structure, "ei_block", key, expected));
    }
    this.#walkNode(child, Math.min(key, first), ceiling);
  }

  #tell(node: Node, index: number, field: string, value: number, expected: string): void {
    const where = { block: node.block, at: entryByte(node, index) };
    const { structure } = DiskExtent;
    this.#visitor.damage(this.#volume.damage(where, structure, field, value, expected));
  }

  walkPointers(): void {
    for (const row of rootRows(this.#volume, this.#raw)) this.#walkRow(row);
  }

  #walkRow(row: PointerRow): void {
    for (let index = 0; index < row.count; index++) {
      const start = pointerAt(row, index);
      if (start === 0) continue;
      if (row.span > 1) {
        this.#pastDamage(() => this.#walkBelow(row, index, start));
        continue;
      }
      let count = 1;
      while (index + count < row.count && pointerAt(row, index + count) === start + count) count++;
      const piece = { fileBlock: row.first + index, count, start, isWritten: true };
      this.#visitor.content(piece, { block: row.block, at: row.at + POINTER_SIZE * index });
      index += count - 1;
    }
  }

  #walkBelow(row: PointerRow, index: number, pointer: number): void {
    if (this.#volume.isOwnable(pointer, 1) && !this.#enter(pointer)) return;
    const below = rowBelow(this.#volume, row, index, this.#ino);
    if (below !== null) this.#walkRow(below);
  }

  /** A block of the map; false when it was met before. */
  #enter(block: number): boolean {
    if (this.#seen.has(block)) {
      this.#visitor.damage(
        new CorruptionError({
          structure: `block map of inode ${this.#ino}`,
          field: "block number",
          value: block,
          expected: "which the map names twice",
        }),
      );
      return false;
    }
    this.#seen.add(block);
    this.#visitor.mapBlock(block);
    return true;
  }
}
