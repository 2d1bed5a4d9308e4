/** References of inodes: what keeps their records (inodes.ts). */
import { invariant } from "../base/invariant.ts";
import type { Ino } from "../base/quantities.ts";
import type { FileType } from "../iomap/contract.ts";
import type { Mapping } from "../mapping/mapping.ts";
import type { Transaction } from "../metadata/transaction.ts";
import { load } from "../sync/atomics.ts";
import type { InodeTable } from "./inodes.ts";

/** The inode table's words in a record. */
export const Own = {
  evictor: 56,
  discarded: 57,
  type: 58,
  nameless: 59,
  stale: 60,
  lookups: 61,
  capabilities: 62,
} as const;

/** The types, by the number in a record. */
export const TYPES: readonly FileType[] = [
  "file",
  "directory",
  "symlink",
  "character-device",
  "block-device",
  "fifo",
  "socket",
];

/** A counted use of an inode: while it is held, the inode's number and record stay. */
export class InodeReference implements Disposable {
  readonly ino: Ino;
  readonly type: FileType;
  readonly mapping: Mapping;
  readonly #table: InodeTable;
  #record: number;

  /** For InodeTable. `record`: of the thread's `openFiles`, which names `mapping`. */
  constructor(table: InodeTable, mapping: Mapping, ino: Ino, type: FileType, record: number) {
    this.#table = table;
    this.#record = record;
    this.mapping = mapping;
    this.ino = ino;
    this.type = type;
  }

  get isDirectory(): boolean {
    return this.type === "directory";
  }

  /** Whether the inode's last name is gone. Locks: for a directory, its own. */
  get isNameless(): boolean {
    return load(this.#table.thread.words, this.mapping + Own.nameless) !== 0;
  }

  /** Notes that the inode's last name is gone, or that it has one again; undone with the transaction. */
  setNameless(transaction: Transaction, nameless: boolean): void {
    transaction.setWord(this.mapping + Own.nameless, nameless ? 1 : 0);
  }

  /** Notes that the record goes with its last user, or need not; undone with the transaction. */
  setStale(transaction: Transaction, stale: boolean): void {
    transaction.setWord(this.mapping + Own.stale, stale ? 1 : 0);
  }

  /** Another reference of the same inode. */
  again(): InodeReference {
    invariant(this.#record !== 0, "a reference is copied after its release");
    return this.#table.referenceAgain(this);
  }

  /** Drops the reference; dropping twice does nothing. Call `InodeTable.settle` afterwards. */
  release(): void {
    if (this.#record === 0) return;
    this.#table.drop(this.mapping, this.ino, this.#record);
    this.#record = 0;
  }

  [Symbol.dispose](): void {
    this.release();
  }
}
