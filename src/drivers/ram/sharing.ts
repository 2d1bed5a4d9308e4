/**
 * Blocks of the ram filesystem that several files own. A block counts its owners beyond the first in a
 * word of the table `sharers`; an extent says by a flag that its blocks may have others. The flag stays
 * when the others leave, until the file's own `unshare` finds that out.
 */
import { invariant } from "../../base/invariant.ts";
import type { BlockSharing, Extent, FilePlace } from "../../iomap/contract.ts";
import type { Transaction } from "../../metadata/transaction.ts";
import {
  addSharer,
  extentAt,
  type FillingDevice,
  findFree,
  forEachInside,
  insertExtent,
  type Run,
  setBlocks,
} from "./extents.ts";
import { BLOCK_SIZE, ExtentFlag, Header, Inode, Node, type Tables } from "./layout.ts";

export class RamSharing implements BlockSharing {
  readonly #tables: Tables;
  readonly #device: FillingDevice;

  constructor(tables: Tables, device: FillingDevice) {
    this.#tables = tables;
    this.#device = device;
  }

  reflink(transaction: Transaction, from: FilePlace, to: FilePlace, length: number): void {
    const tables = this.#tables;
    const first = from.start / BLOCK_SIZE;
    const distance = to.start / BLOCK_SIZE - first;
    const shared: { block: number; length: number; device: number }[] = [];
    const end = first + length / BLOCK_SIZE;
    forEachInside(tables, transaction, tables.inode(from.ino), first, end, (node) => {
      if (tables.get(node + Node.d) & ExtentFlag.unwritten) return "keep";
      transaction.setWord(node + Node.d, ExtentFlag.shared);
      shared.push({
        block: tables.unsigned(node + Node.a) + distance,
        length: tables.get(node + Node.b),
        device: tables.unsigned(node + Node.c),
      });
      return "keep";
    });
    const inode = tables.inode(to.ino);
    for (const run of shared) {
      for (let at = 0; at < run.length; at++) addSharer(tables, transaction, run.device + at, 1);
      insertExtent(tables, transaction, inode, { ...run, flags: ExtentFlag.shared });
      tables.add(transaction, inode + Inode.blocks, run.length);
    }
  }

  unshare(transaction: Transaction, place: FilePlace, length: number): Extent {
    const run = this.#runAlike(place, length);
    return this.#own(transaction, place, run.shared ? this.#copy(transaction, run) : run);
  }

  reclaim(transaction: Transaction, place: FilePlace, length: number): Extent {
    const run = this.#runAlike(place, length);
    const { ino, start } = place;
    if (run.shared) return extentAt(this.#tables, ino, start, start + run.length * BLOCK_SIZE);
    return this.#own(transaction, place, run);
  }

  /** The blocks at a place whose extent is shared, as long as all have other owners, or all have none. */
  #runAlike({ ino, start }: FilePlace, length: number): Run & { shared: boolean } {
    const found = extentAt(this.#tables, ino, start, start + length);
    invariant(
      found.kind === "mapped" && found.shared,
      () => `what is to be unshared at ${start} of inode ${ino} is no shared extent`,
    );
    const first = found.address / BLOCK_SIZE;
    const shared = this.#isShared(first);
    let alike = 1;
    while (alike * BLOCK_SIZE < found.length && this.#isShared(first + alike) === shared) alike++;
    return { start: first, length: alike, shared };
  }

  /** Makes blocks a file's own, at a place. Returns the extent there. */
  #own(transaction: Transaction, { ino, start }: FilePlace, run: Run): Extent {
    const tables = this.#tables;
    const first = start / BLOCK_SIZE;
    const end = first + run.length;
    forEachInside(tables, transaction, tables.inode(ino), first, end, (node) => {
      transaction.setWord(node + Node.c, run.start);
      transaction.setWord(node + Node.d, 0);
      return "keep";
    });
    return extentAt(tables, ino, start, end * BLOCK_SIZE);
  }

  #isShared(block: number): boolean {
    return this.#tables.get(this.#tables.sharers + block) > 0;
  }

  /** New blocks with what a run of shared ones holds, as many as there is room for; one owner less there. */
  #copy(transaction: Transaction, { start, length }: Run): Run {
    const tables = this.#tables;
    const run = findFree(tables, length);
    setBlocks(tables, transaction, run, true);
    this.#device.copy(start * BLOCK_SIZE, run.start * BLOCK_SIZE, run.length * BLOCK_SIZE);
    for (let at = 0; at < run.length; at++) addSharer(tables, transaction, start + at, -1);
    return run;
  }

  sharedBlocks(): number {
    return this.#tables.get(this.#tables.header + Header.blocksShared);
  }
}
