/**
 * The ram filesystem's tables in the shared region. Every change of a word goes through the open
 * transaction, so it is undone with it; that is all there is to consistency here.
 *
 * Header: 0 blocks | 1 free blocks | 2 inodes | 3 free inodes | 4 free nodes' head | 5 bitmap
 * | 6 inode table | 7 node table | 8 orphans' head | 9 nodes never used | 10 generation
 * | 11 sharers: owners of each block beyond its first | 12 blocks with several owners
 *
 * Inode: see `Inode`. A free one has mode 0.
 * Node (72 words), of three kinds, all chained by word 0:
 *   extent: 1 file block | 2 blocks | 3 device block | 4 flags (ExtentFlag)
 *   name:   1 inode | 2 length, bytes | 8..: the bytes (a directory entry, or a symlink's target)
 */
import { HoldfastError } from "../../base/errors.ts";
import type { Transaction } from "../../metadata/transaction.ts";
import { load, loadUnsigned, store, type Words } from "../../sync/atomics.ts";
import { Root } from "../../sync/region.ts";
import type { Thread } from "../../sync/thread.ts";

export const BLOCK_SIZE = 4096;
export const ROOT_INO = 1;
const INODES = 16384;
const NODES = 65536;
export const INODE_WORDS = 32;
export const NODE_WORDS = 72;
const HEADER_WORDS = 16;
export const NAME_MAX = 255;

export const Header = {
  blocks: 0,
  blocksFree: 1,
  inodes: 2,
  inodesFree: 3,
  freeNodes: 4,
  bitmap: 5,
  inodeTable: 6,
  nodeTable: 7,
  orphans: 8,
  nodesUsed: 9,
  generation: 10,
  sharers: 11,
  blocksShared: 12,
} as const;

export const Inode = {
  /** Type and permissions as st_mode has them. */
  mode: 0,
  uid: 1,
  gid: 2,
  links: 3,
  sizeLow: 4,
  sizeHigh: 5,
  /** First extent, first entry, or the symlink's target. */
  nodes: 6,
  blocks: 7,
  accessTime: 8,
  modifyTime: 11,
  changeTime: 14,
  birthTime: 17,
  generation: 20,
  nextOrphan: 21,
  deviceMajor: 22,
  deviceMinor: 23,
  dax: 24,
} as const;

export const Node = { next: 0, a: 1, b: 2, c: 3, d: 4, bytes: 8 } as const;

/** Of an extent: it is unwritten; its blocks may have other owners. */
export const ExtentFlag = { unwritten: 1, shared: 2 } as const;

/** Makes the tables for a device of `blocks` blocks. Before any thread shares the region. */
export function createTables(thread: Thread, blocks: number): void {
  const { region, words } = thread;
  const header = region.allocatePages(HEADER_WORDS);
  store(words, header + Header.blocks, blocks);
  store(words, header + Header.blocksFree, blocks);
  store(words, header + Header.inodes, INODES);
  store(words, header + Header.inodesFree, INODES - 1);
  store(words, header + Header.bitmap, region.allocatePages(Math.ceil(blocks / 32)));
  store(words, header + Header.inodeTable, region.allocatePages((INODES + 1) * INODE_WORDS));
  store(words, header + Header.nodeTable, region.allocatePages(NODES * NODE_WORDS));
  store(words, header + Header.sharers, region.allocatePages(blocks));
  region.setRoot(Root.ram, header);
}

/** Word access to the tables: reads as they are, writes through a transaction. */
export class Tables {
  readonly words: Words;
  readonly header: number;
  readonly #inodeTable: number;
  readonly #nodeTable: number;
  readonly bitmap: number;
  readonly sharers: number;

  constructor(thread: Thread) {
    this.words = thread.words;
    this.header = thread.region.root(Root.ram);
    this.#inodeTable = load(this.words, this.header + Header.inodeTable);
    this.#nodeTable = load(this.words, this.header + Header.nodeTable);
    this.bitmap = load(this.words, this.header + Header.bitmap);
    this.sharers = load(this.words, this.header + Header.sharers);
  }

  get(word: number): number {
    return load(this.words, word);
  }

  unsigned(word: number): number {
    return loadUnsigned(this.words, word);
  }

  /** Word offset of an inode in use. Throws: ENOENT. */
  inode(ino: number): number {
    const inode = this.#inodeTable + ino * INODE_WORDS;
    if (!(ino >= 1 && ino <= INODES) || this.get(inode + Inode.mode) === 0) {
      throw new HoldfastError("ENOENT", `inode ${ino} is not in use`);
    }
    return inode;
  }

  /** The lowest free inode. Throws: ENOSPC. */
  findFreeInode(): number {
    for (let ino = ROOT_INO; ino <= INODES; ino++) {
      if (this.get(this.#inodeTable + ino * INODE_WORDS + Inode.mode) === 0) return ino;
    }
    throw new HoldfastError("ENOSPC", `all ${INODES} inodes are in use; remove files`);
  }

  /** Calls `visit` for each inode in use, with its word offset. */
  forEachInode(visit: (ino: number, inode: number) => void): void {
    let left = INODES - this.get(this.header + Header.inodesFree);
    for (let ino = ROOT_INO; ino <= INODES && left > 0; ino++) {
      const inode = this.#inodeTable + ino * INODE_WORDS;
      if (this.get(inode + Inode.mode) === 0) continue;
      visit(ino, inode);
      left--;
    }
  }

  /** Word offset of an inode's record, in use or not. */
  inodeRecord(ino: number): number {
    return this.#inodeTable + ino * INODE_WORDS;
  }

  /** A node, its words zero. Throws: ENOSPC. */
  takeNode(transaction: Transaction): number {
    const free = this.get(this.header + Header.freeNodes);
    if (free !== 0) {
      transaction.setWord(this.header + Header.freeNodes, this.get(free + Node.next));
      transaction.setWord(free + Node.next, 0);
      return free;
    }
    const used = this.get(this.header + Header.nodesUsed);
    if (used >= NODES) throw new HoldfastError("ENOSPC", "the ram filesystem's nodes are used up");
    transaction.setWord(this.header + Header.nodesUsed, used + 1);
    return this.#nodeTable + used * NODE_WORDS;
  }

  giveNode(transaction: Transaction, node: number): void {
    transaction.setWord(node + Node.next, this.get(this.header + Header.freeNodes));
    transaction.setWord(this.header + Header.freeNodes, node);
  }

  add(transaction: Transaction, word: number, delta: number): void {
    transaction.setWord(word, this.get(word) + delta);
  }

  setBytes(transaction: Transaction, node: number, bytes: Uint8Array): void {
    transaction.setWord(node + Node.b, bytes.length);
    for (let at = 0; at < bytes.length; at += 4) {
      let word = 0;
      for (let byte = 0; byte < 4; byte++) word |= (bytes[at + byte] ?? 0) << (byte * 8);
      transaction.setWord(node + Node.bytes + at / 4, word);
    }
  }

  bytes(node: number): Uint8Array {
    const bytes = new Uint8Array(Math.min(NAME_MAX, this.get(node + Node.b)));
    for (let at = 0; at < bytes.length; at++) {
      bytes[at] = this.get(node + Node.bytes + (at >>> 2)) >>> ((at & 3) * 8);
    }
    return bytes;
  }
}
