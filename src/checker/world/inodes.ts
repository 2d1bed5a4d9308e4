/**
 * The inode table over the ram filesystem: files of one directory, found, made and unlinked by name, and
 * used by those who hold a reference. What the table is held to lies in the driver's words: an inode that
 * somebody uses is the one that he has found, and at the end what has no name is free.
 */
import { type Ino, PAGE_SIZE } from "../../base/quantities.ts";
import { pinRange } from "../../dax/pins.ts";
import { recoverRemovals } from "../../dax/remove-pages.ts";
import { writeBackCopied } from "../../dax/write-back.ts";
import { RamDriver } from "../../drivers/ram/driver.ts";
import { Header } from "../../drivers/ram/layout.ts";
import type { NewInode } from "../../iomap/contract.ts";
import { recoverBreaks } from "../../layout/break.ts";
import { recoverEntries } from "../../mapping/entries.ts";
import { inoOf, MappingWord, mappingSlab, sizeOf } from "../../mapping/mapping.ts";
import {
  beginTransaction,
  recoverTransactions,
  type Transaction,
} from "../../metadata/transaction.ts";
import { load, store } from "../../sync/atomics.ts";
import { lockExclusive, lockShared, recoverLocks } from "../../sync/lock.ts";
import { Root } from "../../sync/region.ts";
import { allocateObject, freeObject, objectsInUse } from "../../sync/slab.ts";
import type { Sleeps, Task } from "../../sync/sleep.ts";
import { forEachRecord } from "../../sync/table.ts";
import { Slot, type Thread } from "../../sync/thread.ts";
import { Area, BUCKETS, createInodeArea, InodeTable } from "../../volume/inodes.ts";
import { type InodeReference, Own } from "../../volume/inode-reference.ts";
import { createVolumeArea, VolumeState, VolumeWord, volumeWord } from "../../volume/state.ts";
import { ensure, ensureNoLeak, type Self } from "../scenario.ts";
import { contentOf, contentShown } from "./device.ts";
import {
  type BuiltFile,
  buildVolume,
  type Hand,
  LONG_AGO,
  makeHand,
  type VolumeShared,
} from "./build.ts";
import { assertGivenBack, assertIdle } from "./leftovers.ts";
import { fieldName, LOCK_FIELDS } from "./names.ts";
import { isDead, taskOf, threadAt } from "./threads.ts";
import { volumeWordName } from "./volume-names.ts";

export interface InodesSpec {
  readonly actors: number;
  /** Names of files of one page each, which are there from the start. */
  readonly names: readonly string[];
  /** Whether nobody has used them yet, so that they have no records. */
  readonly fresh?: boolean;
  /** Whether files are copied, through a page cache of one page. */
  readonly copied?: true;
}

export interface InodesShared {
  readonly spec: InodesSpec;
  readonly volume: VolumeShared;
  readonly region: VolumeShared["region"];
  /** Of the directory: a word of the region. */
  readonly lock: number;
  /** A word: whether somebody has seen that nobody uses the volume, and keeps all out. */
  readonly unused: number;
  /** A word: the block of a page that was written to in memory, plus 1. */
  readonly written: number;
}

/** What a thread uses of it. */
interface User extends Hand {
  readonly ram: RamDriver;
  readonly table: InodeTable;
}

const TIME = { seconds: LONG_AGO, nanoseconds: 0 };
const FILE: NewInode = { type: "file", mode: 0o644, uid: 0, gid: 0, time: TIME };
const DIRECTORY = { rankName: "directory", order: 0 } as const;
/** In a block. */
const SECTORS = PAGE_SIZE / 512;
const encoder = new TextEncoder();
/** Blocks of the device that no file has at the start. */
const BLOCKS_FREE = 2;

export function buildInodes(spec: InodesSpec): InodesShared {
  // In the checked build a generator that is called runs to its end.
  return build(spec) as unknown as InodesShared;
}

function* build(spec: InodesSpec): Sleeps<InodesShared> {
  const { actors, names, fresh = false, copied } = spec;
  const blocks = names.length + BLOCKS_FREE;
  const cachePages = copied ? 1 : 0;
  const volume = buildVolume({ actors, blocks, cachePages, files: [] });
  const { region } = volume;
  const thread = threadAt(region, actors);
  createInodeArea(thread);
  createVolumeArea(thread);
  const user = makeUser(thread, volume);
  const { task } = taskOf(thread);
  makeFirstRecords(thread, actors);
  for (const name of names) {
    const ino = yield* inTransaction(task, user, (transaction) =>
      makeFile(user, transaction, name, PAGE_SIZE),
    );
    if (!fresh) (yield* user.table.acquire(ino)).release();
  }
  const lock = region.allocatePages(1);
  return { spec, volume, region, lock, unused: lock + 16, written: lock + 32 };
}

/** So that no schedule makes the slab's first records. */
function makeFirstRecords(thread: Thread, count: number): void {
  const slab = mappingSlab(thread);
  const records: number[] = [];
  while (records.length <= count) records.push(allocateObject(thread, slab));
  for (const record of records) freeObject(thread, slab, record);
}

function makeUser(thread: Thread, volume: VolumeShared): User {
  const hand = makeHand(thread, volume, (device) => RamDriver.attach(thread, device));
  const ram = RamDriver.attach(thread, hand.device);
  const table = new InodeTable(hand.dax, ram, "inode");
  hand.dax.holdMapping = (ino) => table.tryAcquire(ino as Ino);
  hand.dax.acquireMapping = (ino) => table.acquireKnown(ino as Ino);
  return { ...hand, ram, table };
}

function makeFile({ ram }: User, transaction: Transaction, name: string, size: number): Ino {
  const ino = ram.create(transaction, ram.rootIno, encoder.encode(name), FILE);
  ram.allocate(transaction, ino, 0, size, "write");
  ram.setSize(transaction, ino, size);
  return ino;
}

function* inTransaction<T>(
  task: Task,
  { dax }: User,
  change: (transaction: Transaction) => T,
): Sleeps<T> {
  using transaction = yield* beginTransaction(task, dax.cache);
  const result = change(transaction);
  transaction.commit();
  return result;
}

/** The inodes in one schedule. */
export class Inodes {
  readonly shared: InodesShared;
  readonly actors: readonly Self[];
  readonly #users: readonly User[];

  constructor(shared: InodesShared, actors: readonly Self[]) {
    this.shared = shared;
    this.actors = actors;
    this.#users = actors.map(({ thread }) => {
      const user = makeUser(thread, shared.volume);
      // In the order of volume/assemble.ts.
      user.table.recoverInodes();
      recoverLocks(thread);
      recoverTransactions(user.dax.cache);
      recoverEntries(thread, user.dax.pages);
      recoverBreaks(thread);
      recoverRemovals(user.dax);
      return user;
    });
  }

  user(self: Self): User {
    return this.#users[this.actors.indexOf(self)]!;
  }

  // What actors do.

  /** Finds a file by its name. Null: there is none. */
  *find(self: Self, name: string): Sleeps<InodeReference | null> {
    const { ram, table } = this.user(self);
    using _lock = yield* lockShared(self.task, this.shared.lock, DIRECTORY);
    const found = ram.lookup(ram.rootIno, encoder.encode(name));
    return found === null ? null : yield* table.acquire(found.ino);
  }

  /** Makes a file. The inode's number may be that of one that is about to leave. */
  *make(self: Self, name: string): Sleeps<InodeReference> {
    const user = this.user(self);
    using _lock = yield* lockExclusive(self.task, this.shared.lock, DIRECTORY);
    const ino = yield* inTransaction(self.task, user, (transaction) =>
      makeFile(user, transaction, name, 2 * PAGE_SIZE),
    );
    self.say(`makes ${name}, inode ${ino}`);
    return yield* user.table.acquire(ino);
  }

  /** Takes a file's name away, and what was dropped last with it. */
  *unlink(self: Self, name: string): Sleeps<void> {
    yield* this.#unlink(self, name);
    yield* this.settle(self);
  }

  *#unlink(self: Self, name: string): Sleeps<void> {
    const user = this.user(self);
    const { ram, table } = user;
    using _lock = yield* lockExclusive(self.task, this.shared.lock, DIRECTORY);
    const found = ram.lookup(ram.rootIno, encoder.encode(name));
    if (found === null) return;
    using reference = yield* table.acquire(found.ino);
    yield* inTransaction(self.task, user, (transaction) => {
      ram.unlink(transaction, ram.rootIno, encoder.encode(name), TIME);
      reference.setNameless(transaction, true);
    });
    self.say(`${name} has no name any more`);
  }

  /** Gives a file without a name one again. */
  *link(self: Self, reference: InodeReference, name: string): Sleeps<void> {
    const user = this.user(self);
    const { ram } = user;
    using _lock = yield* lockExclusive(self.task, this.shared.lock, DIRECTORY);
    yield* inTransaction(self.task, user, (transaction) => {
      ram.link(transaction, ram.rootIno, encoder.encode(name), reference.ino, TIME);
      reference.setNameless(transaction, false);
    });
  }

  /** Sets or clears the flag that says how the file is reached: its record is out of date then. */
  *flag(self: Self, reference: InodeReference, dax: boolean): Sleeps<void> {
    const user = this.user(self);
    yield* inTransaction(self.task, user, (transaction) => {
      user.ram.setAttributes(transaction, reference.ino, { dax });
      const access = load(self.thread.words, reference.mapping + MappingWord.access);
      reference.setStale(transaction, access !== user.table.accessFor(dax));
    });
  }

  /** Somebody who holds a reference: the inode is the file that the record was made from. */
  use(self: Self, { ino, mapping }: InodeReference): void {
    const unused = load(self.thread.words, this.shared.unused) !== 0;
    ensure(!unused, "an inode is in use, and the volume is closed");
    const info = this.user(self).ram.readInode(ino);
    const generation = load(self.thread.words, mapping + MappingWord.generation);
    ensure(info.generation === generation, `inode ${ino} is another file than the one in use`);
    const size = sizeOf(self.thread, mapping);
    ensure(info.size === size, `inode ${ino} has ${info.size} bytes, its record says ${size}`);
  }

  /** Writes to the first page of a file through a pin. */
  *write(self: Self, { ino, mapping }: InodeReference): Sleeps<void> {
    const { dax, device, ram } = this.user(self);
    const pin = yield* pinRange(self.task, dax, mapping, 0, PAGE_SIZE, true);
    device.writeBlock(device.addressOf(pin.buffers[0]!) / PAGE_SIZE, contentOf("W"));
    pin.release();
    const extent = ram.extentAt(ino, 0, PAGE_SIZE);
    ensure(extent.kind === "mapped", "a page that was written to has no block");
    store(self.thread.words, this.shared.written, extent.address / PAGE_SIZE + 1);
  }

  /** As sync(2): what was written before is persistent. */
  *sync(self: Self): Sleeps<void> {
    const { dax, device } = this.user(self);
    const written = load(self.thread.words, this.shared.written);
    yield* writeBackCopied(self.task, dax);
    device.persist(0, device.size);
    if (written === 0) return;
    const kept = contentShown(device.readBlock(device.size / PAGE_SIZE + written - 1));
    ensure(kept === "W", `after a sync, "${kept}" is persistent of what was written`);
  }

  /** Gives a reference back, and frees what was dropped last. */
  *close(self: Self, reference: InodeReference): Sleeps<void> {
    reference.release();
    yield* this.settle(self);
  }

  *settle(self: Self): Sleeps<void> {
    const { table } = this.user(self);
    if (table.unsettled) yield* table.settle(self.task);
  }

  /** Keeps everybody else out, as an unmount does, and comes back. */
  closeForAMoment(self: Self): void {
    const { words } = self.thread;
    this.#setState(self, VolumeState.closing);
    let uses = 0;
    for (const { thread } of this.actors) {
      forEachRecord(words, thread.base + Slot.openFiles, 1, () => uses++);
    }
    if (uses === 0) {
      self.say("nobody uses the volume");
      store(words, this.shared.unused, 1);
      store(words, this.shared.unused, 0);
    }
    this.#setState(self, VolumeState.live);
  }

  #setState(self: Self, state: number): void {
    this.user(self).table.underGuard(() => {
      store(self.thread.words, volumeWord(self.thread, VolumeWord.state), state);
    });
  }

  // The end.

  /** Whether the directory has a name. Looked at alone. */
  has(name: string): boolean {
    const { ram } = this.#users[0]!;
    return ram.lookup(ram.rootIno, encoder.encode(name)) !== null;
  }

  isKilled(name: string): boolean {
    return isDead(this.actors.find((self) => self.name === name)!.thread);
  }

  /** At the end: nobody uses anything, what has a name is there, and what has none is free. */
  end(): void {
    const alive = this.actors.filter(({ thread }) => !isDead(thread));
    const anybody = alive[0];
    if (anybody === undefined) return;
    anybody.thread.reap();
    this.settle(anybody);
    for (const self of alive) assertIdle(self);
    for (const self of this.actors) {
      const { name, thread } = self;
      if (isDead(thread)) assertGivenBack(thread.words, name, thread.base);
      else ensureNoLeak(thread.openFiles.count === 0, `${name} still has a reference`);
    }
    this.#assertFiles(anybody);
    this.#assertRecords(anybody);
  }

  /** Every inode in use has a name, and every block in use is one of those. */
  #assertFiles(self: Self): void {
    const { ram } = this.user(self);
    const { words, region } = self.thread;
    ensureNoLeak(ram.orphans().length === 0, "a file without a name is not free");
    const { entries } = ram.readDirectory(ram.rootIno, 0, 100);
    const header = region.root(Root.ram);
    const used = load(words, header + Header.inodes) - load(words, header + Header.inodesFree);
    const named = entries.length + 1;
    ensureNoLeak(used === named, `${used} inodes are in use, ${named} have a name`);
    let blocks = 0;
    for (const { ino } of entries) blocks += ram.readInode(ino).sectors / SECTORS;
    const taken = this.shared.volume.spec.blocks - load(words, header + Header.blocksFree);
    ensureNoLeak(taken === blocks, `${taken} blocks are in use, files have ${blocks}`);
  }

  /** The records are those of the table, idle, and say what the driver says. */
  #assertRecords(self: Self): void {
    const { ram, table } = this.user(self);
    const { thread } = self;
    const { records, idle } = table.count();
    const made = objectsInUse(thread, mappingSlab(thread));
    // One that a dead thread was about to put into the table, or to give back, is lost.
    const lost = this.actors.filter((actor) => isDead(actor.thread)).length;
    const leaked = made - records;
    ensureNoLeak(leaked >= 0 && leaked <= lost, `${made} records, ${records} are in the table`);
    ensureNoLeak(idle === records, `${records} records are unused, ${idle} are counted so`);
    let found = 0;
    for (const { ino } of ram.readDirectory(ram.rootIno, 0, 100).entries) {
      const reference = table.tryAcquire(ino);
      if (reference === null) continue;
      found++;
      this.use(self, reference);
      const { words } = thread;
      ensure(!reference.isNameless, `inode ${ino} has a name, and its record says otherwise`);
      const access = load(words, reference.mapping + MappingWord.access);
      const wanted = table.accessFor(ram.readInode(ino).dax);
      ensure(access === wanted, `inode ${ino} is not reached as its flag says`);
      reference.release();
    }
    ensureNoLeak(found === records, `${records} records are in the table, ${found} are of files`);
  }

  nameOf(word: number): string | null {
    const { thread, dax } = this.#users[0]!;
    const { words, region } = thread;
    const { volume, lock } = this.shared;
    const area = region.root(Root.inodes);
    const within = word - area;
    if (within >= 0 && within < Area.buckets) return `inode table: ${fieldName(Area, within)}`;
    if (within >= 0 && within < Area.buckets + BUCKETS) return "inode table: a bucket";
    if (word >= lock && word < lock + LOCK_FIELDS.length) {
      return `lock of the directory: ${LOCK_FIELDS[word - lock]}`;
    }
    if (word === this.shared.unused) return "whether the volume is closed";
    if (word === this.shared.written) return "the block of what was written";
    if (word - region.root(Root.volume) === VolumeWord.state) return "volume's state";
    const files: BuiltFile[] = [];
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      let mapping = words[area + Area.buckets + bucket]!;
      for (; mapping !== 0; mapping = words[mapping + MappingWord.next]!) {
        const ino = inoOf(thread, mapping);
        const own = Object.values(Own).find((offset) => word === mapping + offset);
        if (own !== undefined) return `inode ${ino}: ${fieldName(Own, own)}`;
        files.push({ name: `of inode ${ino}`, ino, mapping });
      }
    }
    return volumeWordName({ ...volume, files }, thread, dax.pages, word);
  }
}
