/**
 * The ram filesystem's file data: a sorted chain of extents per file, and a bitmap of the device's
 * blocks searched from the start (first fit). Freed blocks are given out again at once, which is the
 * point: a block freed too early is overwritten at once, and shows. A block that several files own
 * (sharing.ts) is freed by the last of them.
 */
import { HoldfastError } from "../../base/errors.ts";
import { invariant } from "../../base/invariant.ts";
import type { Extent } from "../../iomap/contract.ts";
import type { Transaction } from "../../metadata/transaction.ts";
import { BLOCK_SIZE, ExtentFlag, Header, Inode, Node, type Tables } from "./layout.ts";

/** What the driver fills new blocks with. */
export interface FillingDevice {
  zero(at: number, length: number): void;
  copy(from: number, to: number, length: number): void;
}

/** Blocks of the device. */
export interface Run {
  readonly start: number;
  readonly length: number;
}

/** The extent, or hole, at a byte. Ends on any words: at most as many steps as there are nodes. */
export function extentAt(tables: Tables, ino: number, byte: number, limit: number): Extent {
  const block = Math.floor(byte / BLOCK_SIZE);
  const end = limit / BLOCK_SIZE;
  let node = tables.get(tables.inode(ino) + Inode.nodes);
  for (let steps = 0; node !== 0 && steps < 65536; steps++) {
    const start = tables.unsigned(node + Node.a);
    const length = tables.get(node + Node.b);
    if (block < start) return hole(block, Math.min(end, start));
    if (block < start + length) {
      const stop = Math.min(end, start + length);
      const flags = tables.get(node + Node.d);
      return {
        kind: flags & ExtentFlag.unwritten ? "unwritten" : "mapped",
        start: block * BLOCK_SIZE,
        length: (stop - block) * BLOCK_SIZE,
        address: (tables.unsigned(node + Node.c) + block - start) * BLOCK_SIZE,
        shared: (flags & ExtentFlag.shared) !== 0,
      };
    }
    node = tables.get(node + Node.next);
  }
  return hole(block, end);
}

function hole(block: number, end: number): Extent {
  return { kind: "hole", start: block * BLOCK_SIZE, length: (end - block) * BLOCK_SIZE };
}

function isFree(tables: Tables, block: number): boolean {
  return ((tables.get(tables.bitmap + (block >>> 5)) >>> (block & 31)) & 1) === 0;
}

/** The first free run, at most `wanted` blocks. Throws: ENOSPC. */
export function findFree(tables: Tables, wanted: number): Run {
  const blocks = tables.get(tables.header + Header.blocks);
  for (let block = 0; block < blocks; block++) {
    if ((block & 31) === 0 && tables.get(tables.bitmap + (block >>> 5)) === -1) {
      block += 31;
      continue;
    }
    if (!isFree(tables, block)) continue;
    let length = 1;
    while (length < wanted && block + length < blocks && isFree(tables, block + length)) length++;
    return { start: block, length };
  }
  throw new HoldfastError("ENOSPC", "the ram filesystem is full; remove files");
}

/** Gives blocks to their first owner, or takes them from the last one. */
export function setBlocks(tables: Tables, transaction: Transaction, run: Run, used: boolean): void {
  for (let block = run.start; block < run.start + run.length; block++) {
    const word = tables.bitmap + (block >>> 5);
    const bit = 1 << (block & 31);
    invariant(
      isFree(tables, block) === used,
      () => `block ${block} is ${used ? "given" : "freed"} twice`,
    );
    transaction.setWord(word, used ? tables.get(word) | bit : tables.get(word) & ~bit);
  }
  tables.add(transaction, tables.header + Header.blocksFree, used ? -run.length : run.length);
}

/** Takes blocks from one of their owners: those that have no other are free. */
export function dropBlocks(tables: Tables, transaction: Transaction, run: Run): void {
  const end = run.start + run.length;
  for (let block = run.start; block < end; ) {
    let length = 0;
    while (block + length < end && tables.get(tables.sharers + block + length) === 0) length++;
    if (length > 0) setBlocks(tables, transaction, { start: block, length }, false);
    else addSharer(tables, transaction, block, -1);
    block += Math.max(1, length);
  }
}

/** Counts the owners of a block beyond its first: one more, or one less. */
export function addSharer(
  tables: Tables,
  transaction: Transaction,
  block: number,
  delta: 1 | -1,
): void {
  const sharers = tables.get(tables.sharers + block) + delta;
  transaction.setWord(tables.sharers + block, sharers);
  if (sharers === Math.max(0, delta)) {
    tables.add(transaction, tables.header + Header.blocksShared, delta);
  }
}

/** Puts an extent into the file's chain, in its place. Nothing of the file overlaps it. */
export function insertExtent(
  tables: Tables,
  transaction: Transaction,
  inode: number,
  extent: { block: number; length: number; device: number; flags: number },
): void {
  let link = inode + Inode.nodes;
  for (let node = tables.get(link); node !== 0; node = tables.get(link)) {
    const start = tables.unsigned(node + Node.a);
    const length = tables.get(node + Node.b);
    if (start > extent.block) break;
    const continues =
      start + length === extent.block &&
      tables.unsigned(node + Node.c) + length === extent.device &&
      tables.get(node + Node.d) === extent.flags;
    if (continues) {
      tables.add(transaction, node + Node.b, extent.length);
      return;
    }
    link = node + Node.next;
  }
  const node = tables.takeNode(transaction);
  transaction.setWord(node + Node.a, extent.block);
  transaction.setWord(node + Node.b, extent.length);
  transaction.setWord(node + Node.c, extent.device);
  transaction.setWord(node + Node.d, extent.flags);
  transaction.setWord(node + Node.next, tables.get(link));
  transaction.setWord(link, node);
}

/** Cuts extents at `block`, so that none crosses it. */
function splitAt(tables: Tables, transaction: Transaction, inode: number, block: number): void {
  for (let node = tables.get(inode + Inode.nodes); node !== 0; ) {
    const start = tables.unsigned(node + Node.a);
    const length = tables.get(node + Node.b);
    const next = tables.get(node + Node.next);
    if (start < block && block < start + length) {
      const rest = tables.takeNode(transaction);
      transaction.setWord(rest + Node.a, block);
      transaction.setWord(rest + Node.b, start + length - block);
      transaction.setWord(rest + Node.c, tables.unsigned(node + Node.c) + block - start);
      transaction.setWord(rest + Node.d, tables.get(node + Node.d));
      transaction.setWord(rest + Node.next, next);
      transaction.setWord(node + Node.b, block - start);
      transaction.setWord(node + Node.next, rest);
      return;
    }
    node = next;
  }
}

/** Calls `visit` for each extent wholly inside [first, end), after cutting at both. */
export function forEachInside(
  tables: Tables,
  transaction: Transaction,
  inode: number,
  first: number,
  end: number,
  visit: (node: number, link: number) => "keep" | "remove",
): void {
  splitAt(tables, transaction, inode, first);
  splitAt(tables, transaction, inode, end);
  let link = inode + Inode.nodes;
  for (let node = tables.get(link); node !== 0; node = tables.get(link)) {
    const start = tables.unsigned(node + Node.a);
    if (start >= end) return;
    if (start >= first && visit(node, link) === "remove") {
      transaction.setWord(link, tables.get(node + Node.next));
      tables.giveNode(transaction, node);
    } else {
      link = node + Node.next;
    }
  }
}

/** As the contract's `allocate`. */
export function allocate(
  tables: Tables,
  device: FillingDevice,
  transaction: Transaction,
  ino: number,
  start: number,
  length: number,
  mode: "write" | "preallocate",
): Extent {
  const inode = tables.inode(ino);
  const first = start / BLOCK_SIZE;
  const found = extentAt(tables, ino, start, start + length);
  if (found.kind === "mapped" || (found.kind === "unwritten" && mode === "preallocate")) {
    return found;
  }
  if (found.kind === "unwritten") {
    device.zero(found.address, found.length);
    forEachInside(tables, transaction, inode, first, first + found.length / BLOCK_SIZE, (node) => {
      transaction.setWord(node + Node.d, 0);
      return "keep";
    });
    return { ...found, kind: "mapped" };
  }
  const run = findFree(tables, found.length / BLOCK_SIZE);
  setBlocks(tables, transaction, run, true);
  tables.add(transaction, inode + Inode.blocks, run.length);
  if (mode === "write") device.zero(run.start * BLOCK_SIZE, run.length * BLOCK_SIZE);
  insertExtent(tables, transaction, inode, {
    block: first,
    length: run.length,
    device: run.start,
    flags: mode === "preallocate" ? ExtentFlag.unwritten : 0,
  });
  return extentAt(tables, ino, start, start + run.length * BLOCK_SIZE);
}

/** Blocks freed in one transaction: each changes a few words of its log. */
const REMOVE_BLOCKS_MAX = 65536;

/** As the contract's `removeExtents`: frees from the end, a bounded number of blocks. */
export function removeExtents(
  tables: Tables,
  transaction: Transaction,
  ino: number,
  start: number,
  end: number,
): boolean {
  const inode = tables.inode(ino);
  const last = lastBlock(tables, inode, end / BLOCK_SIZE);
  const wanted = Math.floor(start / BLOCK_SIZE);
  const first = Math.max(wanted, last - REMOVE_BLOCKS_MAX);
  forEachInside(tables, transaction, inode, first, last, (node) => {
    const run = { start: tables.unsigned(node + Node.c), length: tables.get(node + Node.b) };
    dropBlocks(tables, transaction, run);
    tables.add(transaction, inode + Inode.blocks, -run.length);
    return "remove";
  });
  return first === wanted;
}

/** The block after the last mapped one below `end`. */
function lastBlock(tables: Tables, inode: number, end: number): number {
  let last = 0;
  for (let node = tables.get(inode + Inode.nodes); node !== 0; ) {
    const start = tables.unsigned(node + Node.a);
    if (start >= end) break;
    last = Math.min(end, start + tables.get(node + Node.b));
    node = tables.get(node + Node.next);
  }
  return last;
}

/** As the contract's `unwriteExtents`. The blocks are the file's alone. */
export function unwriteExtents(
  tables: Tables,
  transaction: Transaction,
  ino: number,
  start: number,
  end: number,
): void {
  const inode = tables.inode(ino);
  forEachInside(tables, transaction, inode, start / BLOCK_SIZE, end / BLOCK_SIZE, (node) => {
    transaction.setWord(node + Node.d, ExtentFlag.unwritten);
    return "keep";
  });
}

export function shiftExtents(
  tables: Tables,
  transaction: Transaction,
  ino: number,
  start: number,
  distance: number,
): void {
  const inode = tables.inode(ino);
  forEachInside(tables, transaction, inode, start / BLOCK_SIZE, Infinity, (node) => {
    const block = tables.unsigned(node + Node.a) + distance / BLOCK_SIZE;
    if (block >= 2 ** 32) throw new HoldfastError("EFBIG", "a file ends at 16 TiB at most");
    transaction.setWord(node + Node.a, block);
    return "keep";
  });
}
