/**
 * What a check remembers of a volume: which blocks have owners, and of each inode its type, its links and
 * the names met. Memory goes by group, to groups that have something in use.
 */
import { findClear, findSet, setBits } from "../space/bitmaps.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { ExtVolume } from "../volume.ts";
import { UsageSeen } from "./quotas.ts";
import type { Share } from "./shares.ts";

/** A number for each inode, 0 to begin with. */
export class NumberOfInode {
  readonly #perGroup: number;
  readonly #make: (length: number) => Uint8Array | Uint16Array | Uint32Array;
  readonly #groups: (Uint8Array | Uint16Array | Uint32Array | undefined)[] = [];

  constructor(perGroup: number, bytes: 1 | 2 | 4) {
    this.#perGroup = perGroup;
    const kinds = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array };
    this.#make = (length) => new kinds[bytes](length);
  }

  get(ino: number): number {
    const slot = (ino - 1) % this.#perGroup;
    return this.#groups[(ino - 1 - slot) / this.#perGroup]?.[slot] ?? 0;
  }

  set(ino: number, value: number): void {
    const slot = (ino - 1) % this.#perGroup;
    const group = (ino - 1 - slot) / this.#perGroup;
    this.#groups[group] ??= this.#make(this.#perGroup);
    this.#groups[group][slot] = value;
  }

  /** Whether any inode of the group has a number. */
  hasGroup(group: number): boolean {
    return this.#groups[group] !== undefined;
  }
}

/** The blocks that have an owner; on a bigalloc volume the clusters. */
export class OwnedBlocks {
  readonly #firstDataBlock: number;
  readonly #clusterBlocks: number;
  readonly #bitsPerGroup: number;
  readonly #groups: (Uint32Array | undefined)[] = [];

  constructor({ facts }: ExtVolume) {
    this.#firstDataBlock = facts.firstDataBlock;
    this.#clusterBlocks = facts.clusterBlocks;
    this.#bitsPerGroup = facts.blocksPerGroup / facts.clusterBlocks;
  }

  #clusterOf(block: number): number {
    return Math.floor((block - this.#firstDataBlock) / this.#clusterBlocks);
  }

  /**
   * Notes an owner of `count` blocks from `start` on, which lie in the volume. `onShared` is told of those
   * that have one already. `lastBlock`: one of the same owner's, whose cluster it may share; or -1.
   */
  add(
    start: number,
    count: number,
    onShared: (start: number, count: number) => void,
    lastBlock = -1,
  ): void {
    const end = this.#clusterOf(start + count - 1) + 1;
    let bit = this.#clusterOf(start);
    if (this.#clusterBlocks > 1 && lastBlock >= 0 && this.#clusterOf(lastBlock) === bit) bit++;
    while (bit < end) {
      const from = bit % this.#bitsPerGroup;
      const group = (bit - from) / this.#bitsPerGroup;
      const to = Math.min(this.#bitsPerGroup, from + end - bit);
      const words = this.words(group);
      for (let set = findSet(words, from, to); set < to; ) {
        const clear = findClear(words, set, to);
        const first = this.#firstDataBlock + (bit - from + set) * this.#clusterBlocks;
        onShared(first, (clear - set) * this.#clusterBlocks);
        set = findSet(words, clear, to);
      }
      setBits(words, from, to);
      bit += to - from;
    }
  }

  /** The bits of a group. */
  words(group: number): Uint32Array {
    this.#groups[group] ??= new Uint32Array(Math.ceil(this.#bitsPerGroup / 32));
    return this.#groups[group];
  }
}

/** The types of inodes in `Census.types`, as directory entries number them; 0: not in use. */
export const TYPE_FILE = 1;
export const TYPE_DIRECTORY = 2;
export const TYPE_SYMLINK = 7;
/** In use, but its mode names no type. */
export const TYPE_BAD = 8;
/** Added to the type of an inode that needs no name: a reserved one, or one that holds an attribute's value. */
export const NEEDS_NO_NAME = 0x10;
export const TYPE_MASK = 0x0f;

/** A block of extended attributes. */
export interface AttributeBlockUse {
  /** What it says itself; -1: it has no right header. */
  readonly referenceCount: number;
  /** The first inode that names it. */
  readonly ino: number;
  /** Blocks of values that its entries keep in inodes of their own. */
  readonly valueBlocks: number;
  /** How many such values there are. */
  readonly values: number;
  found: number;
}

export class Census {
  readonly types: NumberOfInode;
  /** Links as the inode says. */
  readonly links: NumberOfInode;
  /** Names met; a count too large stays at 65,535. */
  readonly names: NumberOfInode;
  /** Of a directory: the first directory that names it, and where its ".." leads. 0: none. */
  readonly namedBy: NumberOfInode;
  readonly parents: NumberOfInode;
  readonly blocks: OwnedBlocks;
  readonly shares: Share[] = [];
  readonly usage = new UsageSeen();
  readonly attributeBlocks = new Map<number, AttributeBlockUse>();
  /** Inodes that hold a value of an extended attribute, by how many use them. */
  readonly valueInodes = new Map<number, number>();
  directories = 0;
  inodesUsed = 0;
  hasLostFound = false;

  constructor(volume: ExtVolume) {
    const { inodesPerGroup } = volume.facts;
    this.types = new NumberOfInode(inodesPerGroup, 1);
    this.links = new NumberOfInode(inodesPerGroup, 2);
    this.names = new NumberOfInode(inodesPerGroup, 2);
    this.namedBy = new NumberOfInode(inodesPerGroup, 4);
    this.parents = new NumberOfInode(inodesPerGroup, 4);
    this.blocks = new OwnedBlocks(volume);
  }

  /** Notes an inode's blocks; `what` they are to it. `lastBlock`: see OwnedBlocks. */
  own(ino: number, start: number, count: number, what: string, lastBlock = -1): void {
    const onShared = (block: number, shared: number) =>
      this.shares.push({ ino, what, block, count: shared });
    this.blocks.add(start, count, onShared, lastBlock);
  }

  typeOf(ino: number): number {
    return this.types.get(ino) & TYPE_MASK;
  }

  isDirectory(ino: number): boolean {
    return this.typeOf(ino) === TYPE_DIRECTORY;
  }

  addName(ino: number): void {
    this.names.set(ino, Math.min(this.names.get(ino) + 1, 0xffff));
  }
}

/** The inodes in use, by number. */
export function* inodesOf({ types }: Census, { facts }: ExtVolume): Generator<Ino, void, void> {
  for (let group = 0; group < facts.groups; group++) {
    if (!types.hasGroup(group)) continue;
    const first = group * facts.inodesPerGroup + 1;
    for (let ino = first; ino < first + facts.inodesPerGroup; ino++) {
      if (types.get(ino) !== 0) yield ino as Ino;
    }
  }
}
