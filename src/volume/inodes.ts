/**
 * The inode table: the records (mapping/mapping.ts) of the inodes that are in use in memory, found
 * by number, in every thread the same.
 *
 * Area, in words:
 *
 *     0 guard | 1 idle records | 2 look for idle records that should be gone: a thread has died
 *     3 records that have left the table | 4 clock hand | 5 buckets | 6 idle records kept
 *     16..: the buckets, each a list of records
 *
 * In a record, of the words that `initMapping` clears, this layer has
 *
 *     56 evictor: who takes the record out | 57 discarded | 58 type | 59 no name is left
 *     60 stale: its access is no longer what the inode's flag asks for (access.ts)
 *     61 what kernels know of it: head of a list (lookups.ts)
 *     62 whether it may have capabilities (fuse/capabilities.ts)
 *
 * Life of a record:
 *
 *     (none) --make--> used --last drop--> idle --reference--> used
 *                      idle --claim--> leaving --finish--> (none)
 *                      leaving --its evictor fails or dies--> idle
 *                      leaving, discarded --its evictor dies--> (none)
 *
 * Invariants. (1) A record's references are the records of the threads' `openFiles` tables that name
 *                 it; both change in one step (sync/atomics.ts, ...ThenStore).
 *             (2) References rise from zero, and a record enters and leaves the table, under the
 *                 guard only. So at most one record of an inode is in the table, and a leaving one
 *                 gets no reference: whoever looks it up waits for its evictor, then looks again.
 *             (3) An inode without a name is freed by its evictor only, after all its extents, and
 *                 the record is marked discarded by the same transaction: so a number that the driver
 *                 hands out again never meets the entries of the file before.
 *             (4) A record is made from what the driver read while no record of the inode was in the
 *                 table and none left it: nobody changed the inode in between.
 */
import { invariant } from "../base/invariant.ts";
import type { Ino } from "../base/quantities.ts";
import type { Dax } from "../dax/dax.ts";
import { evictMapping } from "../dax/layout-change.ts";
import type { FileType, FilesystemDriver } from "../iomap/contract.ts";
import {
  type Access,
  initMapping,
  inoOf,
  type Mapping,
  MappingWord,
  mappingSlab,
} from "../mapping/mapping.ts";
import { beginTransaction, type Transaction } from "../metadata/transaction.ts";
import { add, addThenStore, exchange, load, store, wakeAll } from "../sync/atomics.ts";
import { enterGuard, leaveGuard } from "../sync/guard.ts";
import { Root } from "../sync/region.ts";
import { allocateObject, freeObject } from "../sync/slab.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { forEachRecord } from "../sync/table.ts";
import { Slot, type Thread } from "../sync/thread.ts";
import { InodeReference, Own, TYPES } from "./inode-reference.ts";
import { accessOf, type DaxMode } from "./access-mode.ts";
import { removeEmptiedLookups, removeLookupsOf } from "./lookups.ts";
import { unusable } from "./state.ts";

export const Area = {
  guard: 0,
  idle: 1,
  abandoned: 2,
  left: 3,
  hand: 4,
  bucketCount: 5,
  idleMax: 6,
  buckets: 16,
} as const;

const HASH_BITS = 12;

/** How large the table is. */
export interface InodeTableSize {
  /** 4,096 at most. */
  readonly buckets: number;
  /** Idle records kept, with their entries, for the next who opens the file. */
  readonly idleMax: number;
}

const SIZE: InodeTableSize = { buckets: 2 ** HASH_BITS, idleMax: 1024 };

/** Makes the table of a new region. */
export function createInodeArea(thread: Thread, { buckets, idleMax } = SIZE): void {
  const { region, words } = thread;
  const area = region.allocatePages(Area.buckets + buckets);
  store(words, area + Area.bucketCount, buckets);
  store(words, area + Area.idleMax, idleMax);
  region.setRoot(Root.inodes, area);
}

/** Of the driver, what the table needs. */
export type InodeDriver = Pick<
  FilesystemDriver,
  "blockSize" | "readInode" | "removeExtents" | "noteUnused" | "freeInode"
>;

export class InodeTable {
  readonly thread: Thread;
  readonly #dax: Dax;
  readonly #driver: InodeDriver;
  readonly #mode: DaxMode;
  readonly #area: number;
  readonly #buckets: number;
  readonly #idleMax: number;
  /** What this thread has dropped last, and has to evict. Also found by their state. */
  #doomed: { mapping: Mapping; ino: Ino }[] = [];
  /** Set in the thread that closes the volume: it goes on when others are refused. */
  closing = false;

  constructor(dax: Dax, driver: InodeDriver, mode: DaxMode) {
    this.thread = dax.thread;
    this.#dax = dax;
    this.#driver = driver;
    this.#mode = mode;
    this.#area = dax.thread.region.root(Root.inodes);
    this.#buckets = load(dax.thread.words, this.#area + Area.bucketCount);
    this.#idleMax = load(dax.thread.words, this.#area + Area.idleMax);
  }

  /**
   * A reference of inode `ino`, its record made if there is none.
   * Locks: whatever keeps the inode in use (its directory's), if the caller has no reference of it.
   * Sleeps: while the inode's former record is being evicted. Throws: CorruptionError, ENOMEM, EBADF
   * when the volume is closed.
   */
  *acquire(ino: Ino): Sleeps<InodeReference> {
    const { words } = this.thread;
    for (;;) {
      const known = yield* this.acquireKnown(ino);
      if (known !== null) return known;
      const left = load(words, this.#area + Area.left);
      const spare = this.#makeRecord(ino);
      let linked: InodeReference | Mapping | null = null;
      try {
        linked = this.#lookUp(ino, spare, left);
        if (linked instanceof InodeReference) return linked;
      } finally {
        const used = linked instanceof InodeReference && linked.mapping === spare;
        if (!used) freeObject(this.thread, mappingSlab(this.thread), spare);
      }
    }
  }

  /** As `acquire`, if there is a record, or its evictor fails; else null. */
  *acquireKnown(ino: Ino): Sleeps<InodeReference | null> {
    for (;;) {
      const found = this.#lookUp(ino, 0, 0);
      if (found === null || found instanceof InodeReference) return found;
      const evictor = load(this.thread.words, found + Own.evictor);
      // Zero: it has left meanwhile, or become idle again.
      if (evictor === 0) continue;
      yield {
        word: found + Own.evictor,
        expected: evictor,
        what: () => `inode ${ino} to be freed by ${this.thread.describe(evictor)}`,
      };
    }
  }

  /** As `acquire`, if there is a record that can be had at once; else null. Sleeps: never. */
  tryAcquire(ino: Ino): InodeReference | null {
    const found = this.#lookUp(ino, 0, 0);
    return found instanceof InodeReference ? found : null;
  }

  /** Another reference of a record that has one, of this thread: lock-free (invariant 2). */
  referenceAgain({ mapping, ino, type }: InodeReference): InodeReference {
    return new InodeReference(this, mapping, ino, type, this.holdAgain(mapping));
  }

  /** As `referenceAgain`. Returns the reference's record of the thread's `openFiles`, for `drop`. */
  holdAgain(mapping: Mapping): number {
    const { thread } = this;
    const record = thread.openFiles.take();
    addThenStore(thread.words, mapping + MappingWord.references, 1, record, mapping);
    return record;
  }

  /**
   * Looks the inode up and references it, linking `spare` where there is no record. Returns the
   * leaving record if that is what is there; null when there is none, or `spare` is out of date.
   */
  #lookUp(ino: Ino, spare: Mapping, left: number): InodeReference | Mapping | null {
    const { thread } = this;
    const { words } = thread;
    const record = thread.openFiles.take();
    this.#enter();
    const refusal = this.closing ? null : unusable(thread);
    let mapping = refusal === null ? this.find(ino) : 0;
    if (mapping === 0 && spare !== 0 && refusal === null) {
      if (load(words, this.#area + Area.left) === left) {
        const bucket = this.#bucket(ino);
        store(words, spare + MappingWord.next, load(words, bucket));
        add(words, this.#area + Area.idle, 1);
        store(words, bucket, spare);
        mapping = spare;
      }
    }
    const free = mapping !== 0 && load(words, mapping + Own.evictor) === 0;
    if (free) {
      const before = addThenStore(words, mapping + MappingWord.references, 1, record, mapping);
      if (before === 0) add(words, this.#area + Area.idle, -1);
    }
    this.#leave();
    if (free) {
      const type = TYPES[load(words, mapping + Own.type)] as FileType;
      return new InodeReference(this, mapping, ino, type, record);
    }
    thread.openFiles.giveEmpty(record);
    if (refusal !== null) throw refusal;
    return mapping === 0 ? null : mapping;
  }

  /** A record, in no bucket, from what the driver reads. */
  #makeRecord(ino: Ino): Mapping {
    const { thread } = this;
    const info = this.#driver.readInode(ino);
    const mapping = allocateObject(thread, mappingSlab(thread));
    initMapping(thread, mapping, ino, info.size, info.generation);
    store(thread.words, mapping + Own.type, TYPES.indexOf(info.type));
    store(thread.words, mapping + Own.nameless, info.linkCount === 0 ? 1 : 0);
    store(thread.words, mapping + MappingWord.access, this.accessFor(info.dax, info.isInline));
    return mapping;
  }

  /** How a file with this flag is reached, once its record is made. */
  accessFor(flag: boolean, isInline = false): Access {
    return accessOf(this.#mode, this.#driver.blockSize, flag, isInline);
  }

  /** For InodeReference.release, and for what was held again. */
  drop(mapping: Mapping, ino: Ino, record: number): void {
    const { thread } = this;
    this.#enter();
    const gone = this.dropHeld(mapping, ino, record);
    this.#leave();
    thread.openFiles.giveEmpty(record);
    if (gone !== 0) freeObject(thread, mappingSlab(thread), gone);
  }

  /** Empties the record of a reference. Returns what has left the table and is to be freed, or 0. Under the guard. */
  dropHeld(mapping: Mapping, ino: Ino, record: number): Mapping {
    const { words } = this.thread;
    const before = addThenStore(words, mapping + MappingWord.references, -1, record, 0);
    if (before !== 1) return 0;
    this.#driver.noteUnused(ino);
    const idle = add(words, this.#area + Area.idle, 1) + 1;
    if (this.#leavesIdle(mapping)) return this.#retire(mapping);
    return idle > this.#idleMax ? this.#retire(this.#nextIdle()) : 0;
  }

  /** Takes an idle record out of the table and returns it, or 0: `settle` has to. Under the guard. */
  #retire(mapping: Mapping): Mapping {
    const { thread } = this;
    if (this.#needsEviction(mapping)) {
      this.#doomed.push({ mapping, ino: inoOf(thread, mapping) });
      return 0;
    }
    this.#unlink(mapping);
    add(thread.words, this.#area + Area.idle, -1);
    return mapping;
  }

  /** Whether a record that nobody uses any more is to go at once. */
  #leavesIdle(mapping: Mapping): boolean {
    const { words } = this.thread;
    return load(words, mapping + Own.nameless) !== 0 || load(words, mapping + Own.stale) !== 0;
  }

  /** Whether an idle record can go only with the help of the layers below. */
  #needsEviction(mapping: Mapping): boolean {
    const { words } = this.thread;
    return (
      load(words, mapping + Own.nameless) !== 0 ||
      load(words, mapping + MappingWord.root) !== 0 ||
      load(words, mapping + MappingWord.windows) !== 0
    );
  }

  /** The next idle record after the clock hand; there is one. Under the guard. */
  #nextIdle(): Mapping {
    const { words } = this.thread;
    const start = load(words, this.#area + Area.hand);
    for (let step = 1; ; step++) {
      invariant(step <= this.#buckets, "no record is idle");
      const bucket = (start + step) % this.#buckets;
      let mapping = load(words, this.#area + Area.buckets + bucket);
      while (mapping !== 0) {
        if (this.#isIdle(mapping)) {
          store(words, this.#area + Area.hand, bucket);
          return mapping;
        }
        mapping = load(words, mapping + MappingWord.next);
      }
    }
  }

  #isIdle(mapping: Mapping): boolean {
    const { words } = this.thread;
    return (
      load(words, mapping + MappingWord.references) === 0 &&
      load(words, mapping + Own.evictor) === 0
    );
  }

  /** Whether this thread has dropped a last reference and not settled since. */
  get hasDoomed(): boolean {
    return this.#doomed.length > 0;
  }

  /** Whether `settle` has something to do: one load, when nothing was dropped last. */
  get unsettled(): boolean {
    return this.hasDoomed || load(this.thread.words, this.#area + Area.abandoned) !== 0;
  }

  /**
   * Evicts what was dropped last, by this thread or by dead ones: files without a name are freed.
   * Run it as an operation of its own, without a signal: no reference is left, so no pin is waited
   * for. Locks: none held. Sleeps: for locks and the transaction.
   */
  *settle(task: Task): Sleeps<void> {
    if (exchange(this.thread.words, this.#area + Area.abandoned, 0) !== 0) this.#doomAbandoned();
    let failure: { error: unknown } | null = null;
    for (let next = this.#doomed.pop(); next !== undefined; next = this.#doomed.pop()) {
      try {
        yield* this.#evict(task, next.mapping, next.ino);
      } catch (error) {
        failure ??= { error };
      }
    }
    if (failure !== null) throw failure.error;
  }

  /** Leaves what this thread has dropped last to whoever settles next: for a thread that never does. */
  leaveToOthers(): void {
    if (this.#doomed.length === 0) return;
    this.#doomed = [];
    store(this.thread.words, this.#area + Area.abandoned, 1);
  }

  #doomAbandoned(): void {
    this.#enter();
    this.visitRecords((mapping) => {
      if (!this.#isIdle(mapping)) return;
      if (!this.#leavesIdle(mapping)) return;
      this.#doomed.push({ mapping, ino: inoOf(this.thread, mapping) });
    });
    this.#leave();
  }

  /** At unmount: evicts every idle record. Nothing else may be in use. */
  *evictAll(task: Task): Sleeps<void> {
    this.#enter();
    this.visitRecords((mapping) => {
      if (this.#isIdle(mapping)) this.#doomed.push({ mapping, ino: inoOf(this.thread, mapping) });
    });
    this.#leave();
    yield* this.settle(task);
  }

  /** Takes an idle record out of the table, with all that hangs on it. */
  *#evict(task: Task, mapping: Mapping, ino: Ino): Sleeps<void> {
    const { words } = this.thread;
    if (!this.#claim(mapping, ino)) return;
    try {
      const isFreed = load(words, mapping + Own.nameless) !== 0 && !this.#dax.readOnly;
      const free = (transaction: Transaction) => this.#freeInode(transaction, mapping, ino);
      // Only files have pages; what directories and symlinks hold is metadata.
      if (load(words, mapping + Own.type) === TYPES.indexOf("file")) {
        yield* evictMapping(task, this.#dax, mapping, isFreed ? free : null);
      } else if (isFreed) {
        yield* this.#removeExtents(task, ino, free);
      }
    } catch (error) {
      this.#enter();
      store(words, mapping + Own.evictor, 0);
      add(words, this.#area + Area.idle, 1);
      this.#leave();
      wakeAll(words, mapping + Own.evictor);
      throw error;
    }
    this.#enter();
    this.#unlink(mapping);
    this.#leave();
    store(words, mapping + Own.evictor, 0);
    wakeAll(words, mapping + Own.evictor);
    freeObject(this.thread, mappingSlab(this.thread), mapping);
  }

  /** `finish` runs in the last transaction. */
  *#removeExtents(task: Task, ino: Ino, finish: (transaction: Transaction) => void): Sleeps<void> {
    for (let done = false; !done; ) {
      using transaction = yield* beginTransaction(task, this.#dax.cache);
      done = this.#driver.removeExtents(transaction, ino, 0, Number.POSITIVE_INFINITY);
      if (done) finish(transaction);
      transaction.commit();
    }
  }

  /** What the record stands for is gone, as soon as the transaction is committed: recoverers look at its mark. */
  #freeInode(transaction: Transaction, mapping: Mapping, ino: Ino): void {
    transaction.setWord(mapping + Own.discarded, 1);
    this.#driver.freeInode(transaction, ino);
  }

  /** Makes this thread the evictor of a record, if it is still an idle one of this inode. */
  #claim(mapping: Mapping, ino: Ino): boolean {
    const { words } = this.thread;
    this.#enter();
    const mine = this.find(ino) === mapping && this.#isIdle(mapping);
    if (mine) {
      add(words, this.#area + Area.idle, -1);
      store(words, mapping + Own.evictor, this.thread.holder);
    }
    this.#leave();
    return mine;
  }

  /** Runs `change` under the table's guard: for the volume's state (state.ts, rule 1), and what hangs on records. */
  underGuard(change: () => void): void {
    this.#enter();
    change();
    this.#leave();
  }

  /** Records in the table, and how many of them are idle: for figures and leak tests. */
  count(): { records: number; idle: number } {
    let records = 0;
    this.#enter();
    this.visitRecords(() => records++);
    const idle = load(this.thread.words, this.#area + Area.idle);
    this.#leave();
    return { records, idle };
  }

  /** Registers how references and evictions of dead threads are given back. */
  recoverInodes(): void {
    const { thread } = this;
    const { words } = thread;
    thread.onThreadDeath((dead, slotBase) => {
      forEachRecord(words, slotBase + Slot.openFiles, 1, (record) => {
        this.#enter();
        const mapping = load(words, record);
        // Zero: it was lent for lookups, and the last one was given back meanwhile.
        if (mapping !== 0) this.#recoverReference(mapping, record, dead);
        this.#leave();
      });
      this.#recoverEvictions(dead);
      // Also for what it had dropped last and not yet evicted.
      store(words, this.#area + Area.abandoned, 1);
    });
  }

  #recoverReference(mapping: Mapping, record: number, dead: number): void {
    const { thread } = this;
    const { words } = thread;
    removeLookupsOf(thread, mapping, dead);
    if (addThenStore(words, mapping + MappingWord.references, -1, record, 0) !== 1) return;
    add(words, this.#area + Area.idle, 1);
    this.#driver.noteUnused(inoOf(thread, mapping));
  }

  #recoverEvictions(dead: number): void {
    const { words } = this.thread;
    const discarded: Mapping[] = [];
    this.#enter();
    this.visitRecords((mapping) => {
      if (load(words, mapping + Own.evictor) !== dead) return;
      if (load(words, mapping + Own.discarded) !== 0) {
        discarded.push(mapping);
        return;
      }
      store(words, mapping + Own.evictor, 0);
      wakeAll(words, mapping + Own.evictor);
      add(words, this.#area + Area.idle, 1);
    });
    for (const mapping of discarded) this.#unlink(mapping);
    this.#leave();
    for (const mapping of discarded) {
      store(words, mapping + Own.evictor, 0);
      wakeAll(words, mapping + Own.evictor);
      freeObject(this.thread, mappingSlab(this.thread), mapping);
    }
  }

  #enter(): void {
    if (!enterGuard(this.thread, this.#area + Area.guard)) return;
    let idle = 0;
    this.visitRecords((mapping) => {
      removeEmptiedLookups(this.thread, mapping);
      if (this.#isIdle(mapping)) idle++;
    });
    store(this.thread.words, this.#area + Area.idle, idle);
  }

  #leave(): void {
    leaveGuard(this.thread, this.#area + Area.guard);
  }

  #bucket(ino: Ino): number {
    const mixed = Math.imul((ino ^ (ino / 2 ** 32)) >>> 0, 0x9e3779b1) >>> (32 - HASH_BITS);
    return this.#area + Area.buckets + (mixed % this.#buckets);
  }

  /** The record of an inode, or 0. Under the guard. */
  find(ino: Ino): Mapping {
    const { words } = this.thread;
    let mapping = load(words, this.#bucket(ino));
    while (mapping !== 0 && inoOf(this.thread, mapping) !== ino) {
      mapping = load(words, mapping + MappingWord.next);
    }
    return mapping;
  }

  /** Takes a record out of its bucket: one store, so that a death leaves the list whole. */
  #unlink(mapping: Mapping): void {
    const { words } = this.thread;
    let link = this.#bucket(inoOf(this.thread, mapping));
    while (load(words, link) !== mapping) {
      link = load(words, link) + MappingWord.next;
      invariant(link !== MappingWord.next, "an inode's record is not in its bucket");
    }
    store(words, link, load(words, mapping + MappingWord.next));
    add(words, this.#area + Area.left, 1);
  }

  /** Every record; the visitor may take it out. Under the guard. */
  visitRecords(visit: (mapping: Mapping) => void): void {
    const { words } = this.thread;
    for (let bucket = 0; bucket < this.#buckets; bucket++) {
      let mapping = load(words, this.#area + Area.buckets + bucket);
      while (mapping !== 0) {
        const next = load(words, mapping + MappingWord.next);
        visit(mapping);
        mapping = next;
      }
    }
  }
}
