/** The ram driver's tables, looked at from outside: without being a part of the schedule. */
import type { Ino } from "../../base/quantities.ts";
import { ExtentFlag, Header, Inode, INODE_WORDS, Node } from "../../drivers/ram/layout.ts";
import { TransactionArea, TransactionState, UndoKind } from "../../metadata/transaction.ts";
import type { Words } from "../../sync/atomics.ts";
import { type Region, Root } from "../../sync/region.ts";

/** Words as they are if the open transaction is undone, since its owner may be anywhere in a change. */
export type Undone = ReadonlyMap<number, number>;

const NOTHING: Undone = new Map();

export class DriverTables {
  readonly #words: Words;
  readonly #transaction: number;
  readonly #inodes: number;
  readonly #sharers: number;
  readonly header: number;
  readonly bitmap: number;

  constructor(region: Region) {
    const { words } = region;
    this.#words = words;
    this.#transaction = region.root(Root.transaction);
    this.header = region.root(Root.ram);
    this.#inodes = words[this.header + Header.inodeTable]!;
    this.#sharers = words[this.header + Header.sharers]!;
    this.bitmap = words[this.header + Header.bitmap]!;
  }

  #word(word: number, undone: Undone): number {
    return undone.get(word) ?? this.#words[word]!;
  }

  /** Where a file's inode is. */
  inodeWord(ino: Ino): number {
    return this.#inodes + ino * INODE_WORDS;
  }

  sizeOf(ino: Ino): number {
    const inode = this.inodeWord(ino);
    return (
      this.#words[inode + Inode.sizeHigh]! * 2 ** 32 + (this.#words[inode + Inode.sizeLow]! >>> 0)
    );
  }

  /** The block that a page of a file has; -1 for a hole. */
  blockOf(ino: Ino, page: number, undone: Undone = NOTHING): number {
    let node = this.#word(this.inodeWord(ino) + Inode.nodes, undone);
    while (node !== 0) {
      const within = page - this.#word(node + Node.a, undone);
      if (within >= 0 && within < this.#word(node + Node.b, undone)) {
        const mapped = (this.#word(node + Node.d, undone) & ExtentFlag.unwritten) === 0;
        return mapped ? this.#word(node + Node.c, undone) + within : -1;
      }
      node = this.#word(node + Node.next, undone);
    }
    return -1;
  }

  /** How many places of files own a block that is not free, by the driver's count. */
  ownersCounted(block: number, undone: Undone = NOTHING): number {
    return 1 + this.#word(this.#sharers + block, undone);
  }

  /** What backs a file's pages: "#" a block, "u" an unwritten one, "." nothing. */
  backingOf(ino: Ino): string {
    let backing = "";
    let node = this.#words[this.inodeWord(ino) + Inode.nodes]!;
    for (; node !== 0; node = this.#words[node + Node.next]!) {
      const unwritten = (this.#words[node + Node.d]! & ExtentFlag.unwritten) !== 0;
      const extent = (unwritten ? "u" : "#").repeat(this.#words[node + Node.b]!);
      backing = backing.padEnd(this.#words[node + Node.a]!, ".") + extent;
    }
    return backing;
  }

  /** The words that the open transaction has changed, as they were before it. */
  undone(): Undone {
    const words = this.#words;
    const area = this.#transaction;
    const log = area + TransactionArea.log;
    if (words[area + TransactionArea.state] !== TransactionState.open) return NOTHING;
    const undone = new Map<number, number>();
    for (let end = log + words[area + TransactionArea.used]!; end > log; end -= words[end - 1]!) {
      if (words[end - 2] === UndoKind.word) undone.set(words[end - 4]!, words[end - 3]!);
    }
    return undone;
  }
}
