/**
 * The inode table over the ram filesystem: inodes of one directory, found, made and unlinked by name, and
 * used by those who hold a reference. What the table is held to lies in the driver's words: an inode that
 * somebody uses is the one that he has found, and at the end what has no name is free.
 */
import { HoldfastError } from "../../base/errors.ts";
import { type Ino, PAGE_SIZE } from "../../base/quantities.ts";
import { mapName } from "../../dax/dax.ts";
import { pinRange } from "../../dax/pins.ts";
import { recoverRemovals } from "../../dax/remove-pages.ts";
import { writeBackCopied } from "../../dax/write-back.ts";
import { RamDriver } from "../../drivers/ram/driver.ts";
import { Header, Inode, INODE_WORDS, Node } from "../../drivers/ram/layout.ts";
import type { NewInode } from "../../iomap/contract.ts";
import { recoverBreaks } from "../../layout/break.ts";
import { recoverEntries } from "../../mapping/entries.ts";
import { inoOf, MappingWord, mappingSlab, nodeSlab, sizeOf } from "../../mapping/mapping.ts";
import {
  beginTransaction,
  recoverTransactions,
  type Transaction,
} from "../../metadata/transaction.ts";
import { load, store, type Words } from "../../sync/atomics.ts";
import { lockExclusive, lockShared, recoverLocks } from "../../sync/lock.ts";
import { Root } from "../../sync/region.ts";
import { allocateObject, freeObject, objectsInUse } from "../../sync/slab.ts";
import type { Sleeps, Task } from "../../sync/sleep.ts";
import { forEachRecord } from "../../sync/table.ts";
import { Slot, type Thread } from "../../sync/thread.ts";
import { Area, createInodeArea, type InodeDriver, InodeTable } from "../../volume/inodes.ts";
import { InodeReference, Own } from "../../volume/inode-reference.ts";
import { KernelLookups } from "../../volume/kernel-lookups.ts";
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
import { assertHeader, countLookups, headerOf, makeMount } from "./kernel-mounts.ts";
import { fieldName, LOCK_FIELDS } from "./names.ts";
import { isDead, taskOf, threadAt } from "./threads.ts";
import { volumeWordName } from "./volume-names.ts";

export interface InodesSpec {
  readonly actors: number;
  /** Names of files of one page each, which are there from the start. */
  readonly names: readonly string[];
  /** Of these names, which are no files. */
  readonly types?: Readonly<Record<string, "directory" | "symlink">>;
  /** Those that have lost their name. Nobody has freed them. */
  readonly nameless?: readonly string[];
  /** Those whose record is to go with its last user, who has gone. */
  readonly stale?: readonly string[];
  /** Those that are direct, with an entry for their page. */
  readonly present?: readonly string[];
  /** Those that nobody has used yet, so that they have no records. true: all. */
  readonly fresh?: true | readonly string[];
  readonly readOnly?: boolean;
  /** Of the table: few, so that records share buckets. Default: 2. */
  readonly buckets?: number;
  /** Idle records kept. Default: all there can be here. */
  readonly idleMax?: number;
  /** Whether files are copied, through a page cache of one page. */
  readonly copied?: true;
}

export interface InodesShared {
  readonly spec: InodesSpec;
  readonly volume: VolumeShared;
  readonly region: VolumeShared["region"];
  /** Of the names, as they were built. */
  readonly inos: ReadonlyMap<string, Ino>;
  /** Of the directory: a word of the region. */
  readonly lock: number;
  /** The first that has lost its name, or 0. */
  readonly nameless: Ino;
  /** A word for each inode that is no file: the generation, above 0, whose extents were removed. */
  readonly emptied: number;
  /** A word: whether somebody has seen that nobody uses the volume, and keeps all out. */
  readonly unused: number;
  /** A word: the block of a page that was written to in memory, plus 1. */
  readonly written: number;
  /** A word: whether somebody has a window, made and not yet about to go. */
  readonly mapped: number;
  /** The slabs of two kernel mounts' lookups. */
  readonly mounts: readonly number[];
  /** Of the region, what no layer changes. */
  readonly header: readonly number[];
}

/** What a thread uses of it. */
interface User extends Hand {
  readonly ram: RamDriver;
  readonly table: InodeTable;
  /** Of each kernel mount. */
  readonly lookups: readonly KernelLookups[];
}

const TIME = { seconds: LONG_AGO, nanoseconds: 0 };
const NEW: NewInode = { type: "file", mode: 0o644, uid: 0, gid: 0, time: TIME };
/** Of symlinks. */
const TARGET = "somewhere else";
const DIRECTORY = { rankName: "directory", order: 0 } as const;
/** In a block. */
const SECTORS = PAGE_SIZE / 512;
const encoder = new TextEncoder();
const decoder = new TextDecoder();
/** Of two, the first is looked at. */
const LENT_BEFORE_LOOK = 2;
/** Blocks of the device that no file has at the start. */
const BLOCKS_FREE = 2;

export function buildInodes(spec: InodesSpec): InodesShared {
  // In the checked build a generator that is called runs to its end.
  return build(spec) as unknown as InodesShared;
}

function* build(spec: InodesSpec): Sleeps<InodesShared> {
  const { actors, names, nameless = [], fresh = [], readOnly = false } = spec;
  const blocks = names.length + BLOCKS_FREE;
  const cachePages = spec.copied ? 1 : 0;
  const volume = buildVolume({ actors, blocks, cachePages, files: [], readOnly });
  const { region } = volume;
  const thread = threadAt(region, actors);
  createInodeArea(thread, {
    buckets: spec.buckets ?? 2,
    idleMax: spec.idleMax ?? names.length + 1,
  });
  createVolumeArea(thread);
  const emptied = region.allocatePages(1);
  const mounts = [0, 1].map(() => makeMount(thread));
  const user = makeUser(thread, volume, emptied, mounts);
  const { task } = taskOf(thread);
  makeFirstRecords(thread, names.length + actors);
  const inos = new Map<string, Ino>();
  for (const name of names) {
    const ino = yield* inTransaction(task, user, (transaction) =>
      makeInode(user, transaction, name, spec),
    );
    inos.set(name, ino);
    const isFresh = fresh === true || fresh.includes(name);
    if (!isFresh) yield* makeRecord(task, user, ino, name, spec);
    if (!nameless.includes(name)) continue;
    using reference = isFresh ? null : yield* user.table.acquire(ino);
    yield* inTransaction(task, user, (transaction) => {
      user.ram.unlink(transaction, user.ram.rootIno, encoder.encode(name), TIME);
      reference?.setNameless(transaction, true);
    });
  }
  user.table.leaveToOthers();
  const [withoutName = 0 as Ino] = user.ram.orphans();
  const lock = region.allocatePages(1);
  const unused = lock + 16;
  return {
    spec,
    volume,
    region,
    inos,
    lock,
    nameless: withoutName,
    emptied,
    unused,
    written: lock + 32,
    mapped: lock + 48,
    mounts,
    header: headerOf(thread.words),
  };
}

function* makeRecord(
  task: Task,
  user: User,
  ino: Ino,
  name: string,
  { stale = [], present = [] }: InodesSpec,
): Sleeps<void> {
  const { thread, ram, dax, table } = user;
  const reference = yield* table.acquire(ino);
  const { mapping } = reference;
  if (present.includes(name)) (yield* pinRange(task, dax, mapping, 0, PAGE_SIZE, false)).release();
  reference.release();
  if (!stale.includes(name)) return;
  // As the last user leaves it when he dies.
  yield* inTransaction(task, user, (transaction) =>
    ram.setAttributes(transaction, ino, { dax: !present.includes(name) }),
  );
  store(thread.words, mapping + Own.stale, 1);
  store(thread.words, thread.region.root(Root.inodes) + Area.abandoned, 1);
}

function* changeFlag(
  task: Task,
  user: User,
  reference: InodeReference,
  dax: boolean,
): Sleeps<void> {
  const { thread, ram, table } = user;
  yield* inTransaction(task, user, (transaction) => {
    ram.setAttributes(transaction, reference.ino, { dax });
    const access = load(thread.words, reference.mapping + MappingWord.access);
    reference.setStale(transaction, access !== table.accessFor(dax));
  });
}

/** So that no schedule makes the slab's first records. */
function makeFirstRecords(thread: Thread, count: number): void {
  const slab = mappingSlab(thread);
  const records: number[] = [];
  while (records.length < count) records.push(allocateObject(thread, slab));
  for (const record of records) freeObject(thread, slab, record);
}

function makeUser(
  thread: Thread,
  volume: VolumeShared,
  emptied: number,
  mounts: readonly number[],
): User {
  const hand = makeHand(thread, volume, (device) => RamDriver.attach(thread, device));
  const { device } = hand;
  const ram = RamDriver.attach(thread, device);
  const driver: InodeDriver = {
    blockSize: ram.blockSize,
    readInode: (ino) => ram.readInode(ino),
    // In two transactions, as of what is long.
    removeExtents(transaction, ino) {
      const { generation } = ram.readInode(ino);
      const isBegun = transaction.getWord(emptied + ino) === -generation;
      transaction.setWord(emptied + ino, isBegun ? generation : -generation);
      return isBegun;
    },
    noteUnused: () => ram.noteUnused(),
    freeInode(transaction, ino) {
      const { type, generation } = ram.readInode(ino);
      const isEmpty = type === "file" || load(thread.words, emptied + ino) === generation;
      ensure(isEmpty, `inode ${ino} is freed, and has its extents still`);
      ram.freeInode(transaction, ino);
      device.failIfAsked("freeInode");
    },
  };
  const table = new InodeTable(hand.dax, driver, "inode");
  hand.dax.holdMapping = (ino) => table.tryAcquire(ino as Ino);
  hand.dax.acquireMapping = (ino) => table.acquireKnown(ino as Ino);
  const lookups = mounts.map((mount) => new KernelLookups(table, mount, LENT_BEFORE_LOOK));
  return { ...hand, ram, table, lookups };
}

/** One of the story's names. */
function makeInode(
  user: User,
  transaction: Transaction,
  name: string,
  { types = {}, present = [] }: InodesSpec,
): Ino {
  const { ram } = user;
  const type = types[name];
  if (type === undefined)
    return makeFile(user, transaction, name, PAGE_SIZE, present.includes(name));
  const made =
    type === "symlink" ? { ...NEW, type, target: encoder.encode(TARGET) } : { ...NEW, type };
  return ram.create(transaction, ram.rootIno, encoder.encode(name), made);
}

function makeFile(
  { ram }: User,
  transaction: Transaction,
  name: string,
  size: number,
  dax = false,
): Ino {
  const ino = ram.create(transaction, ram.rootIno, encoder.encode(name), { ...NEW, dax });
  ram.allocate(transaction, ino, 0, size, "write");
  ram.setSize(transaction, ino, size);
  return ino;
}

/** How many nodes of the driver's hang on one another. */
function chainLength(words: Words, first: number): number {
  let length = 0;
  for (let node = first; node !== 0; node = load(words, node + Node.next)) length++;
  return length;
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
      const user = makeUser(thread, shared.volume, shared.emptied, shared.mounts);
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
    if (found === null) return null;
    const reference = yield* table.acquire(found.ino);
    ensure(reference instanceof InodeReference, `inode ${found.ino} is not had when it is there`);
    return reference;
  }

  /** The inode that has lost its name, by its number: for who knows that it is not free. */
  *findNameless(self: Self): Sleeps<InodeReference> {
    return yield* this.user(self).table.acquire(this.shared.nameless);
  }

  /** Who does not wait. Null: the inode has no record, or it is about to leave. */
  tryFind(self: Self, name: string): InodeReference | null {
    const { ram, table } = this.user(self);
    return table.tryAcquire(ram.lookup(ram.rootIno, encoder.encode(name))!.ino);
  }

  /** From now on the driver does not free inodes for this actor. */
  fail(self: Self): void {
    const failure = new HoldfastError("EIO", "the scenario has this call fail");
    this.user(self).device.failing.set("freeInode", failure);
  }

  /** Takes everything out of memory, as an unmount does. */
  *unmount(self: Self): Sleeps<void> {
    const { ram, table } = this.user(self);
    this.#setState(self, VolumeState.closing);
    table.closing = true;
    for (const ino of ram.orphans()) (yield* table.acquire(ino)).release();
    yield* table.evictAll(self.task);
    ensureNoLeak(table.count().records === 0, "an inode is left in memory");
    const { words, region } = self.thread;
    const windows = objectsInUse(self.thread, region.root(Root.window));
    const isLost = windows > 0 && load(words, this.shared.mapped) !== 0;
    ensureNoLeak(!isLost, `${windows} windows are left of files that are not in memory`);
    table.closing = false;
    this.#setState(self, VolumeState.live);
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
    ensure(reference.isNameless, `${name} is unlinked, and its record says that it has a name`);
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
    yield* changeFlag(self.task, this.user(self), reference, dax);
  }

  /** Somebody who holds a reference: the inode is the file that the record was made from. */
  use(self: Self, { ino, mapping, type }: InodeReference): void {
    const { words } = self.thread;
    const unused = load(words, this.shared.unused) !== 0;
    ensure(!unused, "an inode is in use, and the volume is closed");
    const counted = load(words, mapping + MappingWord.references) > 0;
    ensure(counted, `inode ${ino} is in use, and its record counts no reference`);
    const evictor = load(words, mapping + Own.evictor);
    ensure(evictor === 0, `inode ${ino} is in use, and its record is about to leave`);
    const info = this.user(self).ram.readInode(ino);
    const generation = load(words, mapping + MappingWord.generation);
    ensure(info.generation === generation, `inode ${ino} is another file than the one in use`);
    ensure(info.type === type, `inode ${ino} is a ${info.type}, its record says ${type}`);
    const size = sizeOf(self.thread, mapping);
    ensure(info.size === size, `inode ${ino} has ${info.size} bytes, its record says ${size}`);
  }

  /** Has a window over the file's first page while `body` runs. */
  *mapped(self: Self, { mapping }: InodeReference, body: () => void): Sleeps<void> {
    const { windows } = this.user(self).dax;
    const name = mapName(this.user(self).dax, mapping);
    let lock = yield* lockExclusive(self.task, mapping + MappingWord.mapLock, name);
    const window = windows.add(mapping, 0, 1, true);
    const address = windows.address(window);
    lock.release();
    store(self.thread.words, this.shared.mapped, 1);
    body();
    store(self.thread.words, this.shared.mapped, 0);
    lock = yield* lockExclusive(self.task, mapping + MappingWord.mapLock, name);
    windows.remove(window);
    lock.release();
    windows.port.release(address, PAGE_SIZE);
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

  /** Tells the kernel of an inode that is referenced, and gives the reference back: that it was told keeps the inode. */
  *tell(self: Self, reference: InodeReference, mount = 0): Sleeps<void> {
    this.note(self, reference, mount);
    yield* this.close(self, reference);
  }

  note(self: Self, reference: InodeReference, mount = 0): void {
    this.user(self).lookups[mount]!.note(reference);
  }

  /** As if the first kernel had been told so many times of an inode that it knows. */
  tellOften(self: Self, { mapping }: InodeReference, count: number): void {
    countLookups(this.user(self).table, this.shared.mounts[0]!, mapping, count);
  }

  /** The kernel gives back what this actor, or another one, has told it. */
  *forget(self: Self, { ino }: { readonly ino: Ino }, mount = 0, count = 1): Sleeps<void> {
    this.user(self).lookups[mount]!.forget(ino, count);
    yield* this.settle(self);
  }

  /** Whether the kernel was told of an inode, and has not given that back. */
  isKnown(self: Self, reference: InodeReference, mount = 0): boolean {
    return this.user(self).lookups[mount]!.has(reference);
  }

  /** The actor serves a kernel no more. */
  *endServing(self: Self, mount = 0): Sleeps<void> {
    this.user(self).lookups[mount]!.end();
    yield* this.settle(self);
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

  count(self: Self): { records: number; idle: number } {
    return this.user(self).table.count();
  }

  /** Leaves what was dropped last to whoever settles next. */
  leaveToOthers(self: Self): void {
    this.user(self).table.leaveToOthers();
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
    const before = this.#recordsElsewhere(anybody);
    anybody.thread.reap();
    for (const self of alive) {
      for (const lookups of this.user(self).lookups) lookups.end();
    }
    this.settle(anybody);
    // What could not be freed is left to the unmount.
    const failed = alive.some((self) => this.user(self).device.failing.size > 0);
    if (failed) this.user(anybody).table.evictAll(anybody.task);
    const lost = this.#recordsElsewhere(anybody);
    // One that a dead thread was about to put into the table, or to give back, is lost.
    const dead = this.actors.length - alive.length;
    ensureNoLeak(lost >= 0 && lost <= Math.min(before, dead), `${lost} records are in no table`);
    for (const mount of this.shared.mounts) {
      const lookups = objectsInUse(anybody.thread, mount);
      ensureNoLeak(lookups >= 0 && lookups <= dead, `${lookups} entries of lookups are in use`);
    }
    assertHeader(anybody.thread.words, this.shared.header);
    for (const self of alive) assertIdle(self);
    for (const self of this.actors) {
      const { name, thread } = self;
      if (isDead(thread)) assertGivenBack(thread.words, name, thread.base);
      else ensureNoLeak(thread.openFiles.count === 0, `${name} still has a reference`);
    }
    this.#assertFiles(anybody);
    this.#assertRecords(anybody);
  }

  /** Records that somebody has, and the table does not. */
  #recordsElsewhere(self: Self): number {
    const { table } = this.user(self);
    return objectsInUse(self.thread, mappingSlab(self.thread)) - table.count().records;
  }

  /** Every inode in use has a name, and every block and node in use is of one of those. */
  #assertFiles(self: Self): void {
    const { ram } = this.user(self);
    const { words, region } = self.thread;
    const { spec, volume } = this.shared;
    const nameless = ram.orphans();
    const left = spec.readOnly ? spec.nameless!.length : 0;
    ensureNoLeak(nameless.length === left, `${nameless.length} inodes without a name are not free`);
    const { entries } = ram.readDirectory(ram.rootIno, 0, 100);
    const inodes = [ram.rootIno, ...nameless, ...entries.map(({ ino }) => ino)];
    const header = region.root(Root.ram);
    const used = load(words, header + Header.inodes) - load(words, header + Header.inodesFree);
    ensureNoLeak(used === inodes.length, `${used} inodes are in use, there are ${inodes.length}`);
    let blocks = 0;
    let nodes = 0;
    for (const ino of inodes) {
      const info = ram.readInode(ino);
      blocks += info.sectors / SECTORS;
      const isEmpty = load(words, this.shared.emptied + ino) === info.generation;
      ensure(
        !isEmpty || info.generation === 0 || nameless.includes(ino),
        `inode ${ino} has lost its extents`,
      );
      const inode = load(words, header + Header.inodeTable) + ino * INODE_WORDS;
      nodes += chainLength(words, load(words, inode + Inode.nodes));
      if (info.type !== "symlink") continue;
      ensure(decoder.decode(ram.readLink(ino)) === TARGET, "a symlink leads elsewhere");
    }
    const taken = volume.spec.blocks - load(words, header + Header.blocksFree);
    ensureNoLeak(taken === blocks, `${taken} blocks are in use, files have ${blocks}`);
    const free = chainLength(words, load(words, header + Header.freeNodes));
    const nodesUsed = load(words, header + Header.nodesUsed) - free;
    ensureNoLeak(nodesUsed === nodes, `${nodesUsed} nodes are in use, inodes have ${nodes}`);
  }

  /** The records are those of the table, idle, and say what the driver says. */
  #assertRecords(self: Self): void {
    const { ram, table } = this.user(self);
    const { thread } = self;
    const { records, idle } = table.count();
    ensureNoLeak(idle === records, `${records} records are unused, ${idle} are counted so`);
    let found = 0;
    let entries = 0;
    for (const { ino } of ram.readDirectory(ram.rootIno, 0, 100).entries) {
      const reference = table.tryAcquire(ino);
      if (reference === null) continue;
      found++;
      this.use(self, reference);
      const { words } = thread;
      const stale = load(words, reference.mapping + Own.stale) !== 0;
      ensureNoLeak(!stale, `the record of inode ${ino} is to go, and is there`);
      ensure(!reference.isNameless, `inode ${ino} has a name, and its record says otherwise`);
      const access = load(words, reference.mapping + MappingWord.access);
      const wanted = table.accessFor(ram.readInode(ino).dax);
      ensure(access === wanted, `inode ${ino} is not reached as its flag says`);
      if (load(words, reference.mapping + MappingWord.root) !== 0) entries++;
      reference.release();
    }
    ensureNoLeak(found === records, `${records} records are in the table, ${found} are of files`);
    // A node that a dead thread was about to give back is lost.
    const dead = this.actors.filter((actor) => isDead(actor.thread)).length;
    const trees = objectsInUse(thread, nodeSlab(thread));
    const more = trees - entries;
    ensureNoLeak(
      more >= 0 && more <= dead,
      `${trees} trees of entries are in use, files have ${entries}`,
    );
  }

  nameOf(word: number): string | null {
    const { thread, dax } = this.#users[0]!;
    const { words, region } = thread;
    const { volume, lock } = this.shared;
    const area = region.root(Root.inodes);
    const within = word - area;
    if (within >= 0 && within < Area.buckets) return `inode table: ${fieldName(Area, within)}`;
    const buckets = load(words, area + Area.bucketCount);
    if (within >= 0 && within < Area.buckets + buckets) return "inode table: a bucket";
    if (word >= lock && word < lock + LOCK_FIELDS.length) {
      return `lock of the directory: ${LOCK_FIELDS[word - lock]}`;
    }
    if (word === this.shared.unused) return "whether the volume is closed";
    if (word === this.shared.mapped) return "whether a window is open";
    if (word === this.shared.written) return "the block of what was written";
    if (word - region.root(Root.volume) === VolumeWord.state) return "volume's state";
    const files: BuiltFile[] = [];
    for (let bucket = 0; bucket < buckets; bucket++) {
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
