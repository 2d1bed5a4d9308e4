/** How one thread counts what a kernel mount has told of inodes, over the inode table: see lookups.ts. */
import type { Ino } from "../base/quantities.ts";
import { inoOf, type Mapping, mappingSlab } from "../mapping/mapping.ts";
import { add, load } from "../sync/atomics.ts";
import { freeObject } from "../sync/slab.ts";
import type { Thread } from "../sync/thread.ts";
import type { InodeReference } from "./inode-reference.ts";
import type { InodeTable } from "./inodes.ts";
import {
  addLookups,
  findLookups,
  LentRecords,
  linkLookups,
  Lookups,
  makeLookups,
  removeLookups,
  unlinkLookups,
} from "./lookups.ts";

/** Records that a thread has lent, at which it looks whether some were emptied. */
const LENT_BEFORE_LOOK = 1024;

export class KernelLookups {
  readonly #table: InodeTable;
  readonly #thread: Thread;
  /** The mount's slab. */
  readonly #mount: number;
  readonly #lent: LentRecords;

  constructor(table: InodeTable, mount: number, lookAt = LENT_BEFORE_LOOK) {
    this.#table = table;
    this.#thread = table.thread;
    this.#mount = mount;
    this.#lent = new LentRecords(lookAt);
  }

  /** The kernel is told of an inode once more. Throws: ENOMEM. */
  note({ mapping, ino }: InodeReference): void {
    if (this.#add(mapping, 0)) return;
    const record = this.#table.holdAgain(mapping);
    let isLent = false;
    try {
      isLent = this.#lend(mapping, record);
    } finally {
      if (!isLent) this.#table.drop(mapping, ino, record);
    }
    if (isLent && this.#lent.add(record)) this.#takeEmptied();
  }

  /** Returns whether the record stands for the inode's lookups now: another thread may have lent one meanwhile. */
  #lend(mapping: Mapping, record: number): boolean {
    const spare = makeLookups(this.#thread, this.#mount, record);
    if (!this.#add(mapping, spare)) return true;
    freeObject(this.#thread, this.#mount, spare);
    return false;
  }

  /** Counts a lookup where some are counted, and returns true. Else links `spare`, if it is not 0. */
  #add(mapping: Mapping, spare: number): boolean {
    const { words } = this.#thread;
    let known = 0;
    this.#table.underGuard(() => {
      known = findLookups(words, mapping, this.#mount);
      if (known !== 0) addLookups(words, known, 1);
      else if (spare !== 0) linkLookups(words, mapping, spare);
    });
    return known !== 0;
  }

  /** Whether the kernel knows an inode through the mount. */
  has({ mapping }: InodeReference): boolean {
    let known = 0;
    this.#table.underGuard(() => {
      known = findLookups(this.#thread.words, mapping, this.#mount);
    });
    return known !== 0;
  }

  /** A program opens an inode that the kernel knows, or closes it (`change` -1). */
  countOpen(ino: Ino, toWrite: boolean, change: 1 | -1): void {
    const { words } = this.#thread;
    this.#table.underGuard(() => {
      const mapping = this.#table.find(ino);
      const known = mapping === 0 ? 0 : findLookups(words, mapping, this.#mount);
      if (known === 0) return;
      add(words, known + Lookups.opens, change);
      if (toWrite) add(words, known + Lookups.writers, change);
    });
  }

  /** The kernel gives lookups back; those of an inode that it does not know are ignored. Call `settle` afterwards. */
  forget(ino: Ino, count: number): void {
    const { words } = this.#thread;
    let [entry, gone] = [0, 0];
    this.#table.underGuard(() => {
      const mapping = this.#table.find(ino);
      if (mapping === 0) return;
      const known = findLookups(words, mapping, this.#mount);
      if (known === 0 || addLookups(words, known, -count) > 0) return;
      entry = known;
      // Also of a dead lender, as long as nobody has given back what it held: the entry would be gone.
      gone = this.#table.dropHeld(mapping, ino, load(words, entry + Lookups.record));
      unlinkLookups(words, mapping, entry);
    });
    if (entry !== 0) freeObject(this.#thread, this.#mount, entry);
    if (gone !== 0) freeObject(this.#thread, mappingSlab(this.#thread), gone);
  }

  /** This thread serves the mount no more: what it has lent is given back. Call `settle` afterwards. */
  end(): void {
    const { words, holder } = this.#thread;
    const lent: { mapping: Mapping; record: number }[] = [];
    this.#table.underGuard(() => {
      this.#table.visitRecords((mapping) => {
        removeLookups(this.#thread, mapping, (entry) => {
          if (load(words, entry + Lookups.mount) !== this.#mount) return false;
          if (load(words, entry + Lookups.lender) !== holder) return false;
          lent.push({ mapping, record: load(words, entry + Lookups.record) });
          return true;
        });
      });
    });
    this.#takeEmptied();
    this.#lent.clear();
    for (const { mapping, record } of lent) {
      this.#table.drop(mapping, inoOf(this.#thread, mapping), record);
    }
  }

  #takeEmptied(): void {
    const emptied = this.#lent.takeEmptied(this.#thread.words);
    // Whoever has emptied one has left the guard after that, or died in it, and then its entry goes now: rule 2.
    this.#table.underGuard(() => {});
    for (const record of emptied) this.#thread.openFiles.giveEmpty(record);
  }
}
