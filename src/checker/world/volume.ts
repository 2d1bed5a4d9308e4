/**
 * The whole core over the ram filesystem, a simulated device and simulated windows: files with pages,
 * I/Os on pins, touches through windows. Beside it the truth that the core is held to (5.6): whatever
 * uses a block, uses it for the file and the page that it was obtained for.
 */
import { HoldfastError } from "../../base/errors.ts";
import { addressOf } from "../../base/libc.ts";
import { HUGE_PAGES, PAGE_SIZE } from "../../base/quantities.ts";
import type { Dax } from "../../dax/dax.ts";
import { readFile } from "../../dax/file-io.ts";
import { FileWindow, mapWindow } from "../../dax/map-window.ts";
import { recoverRemovals } from "../../dax/remove-pages.ts";
import type { Pin } from "../../dax/pins.ts";
import { HealingDevice, type HeldMapping } from "../../dax/poison.ts";
import { serveFault } from "../../dax/evict.ts";
import { writeBack } from "../../dax/write-back.ts";
import { RamDriver } from "../../drivers/ram/driver.ts";
import { Inode } from "../../drivers/ram/layout.ts";
import { recoverBreaks } from "../../layout/break.ts";
import { recoverLeases } from "../../layout/lease.ts";
import { recoverEntries } from "../../mapping/entries.ts";
import { MappingWord } from "../../mapping/mapping.ts";
import {
  EntryKind,
  forEachEntry,
  isLocked,
  isPageKind,
  kindOf,
  pageOf,
} from "../../mapping/tree.ts";
import { recoverTransactions, TransactionArea } from "../../metadata/transaction.ts";
import type { Pages } from "../../pages/pages.ts";
import { recoverPins } from "../../pin/pin.ts";
import type { Words } from "../../sync/atomics.ts";
import { enterGuard, leaveGuard } from "../../sync/guard.ts";
import { recoverLocks, tryExclusive, unlockExclusive } from "../../sync/lock.ts";
import { Root } from "../../sync/region.ts";
import { objectsInUse } from "../../sync/slab.ts";
import type { Sleeps } from "../../sync/sleep.ts";
import { OWNER_DIED, Slot, type Thread } from "../../sync/thread.ts";
import type { LostPages } from "../../window/window.ts";
import { ensure, ensureNoLeak, type Self } from "../scenario.ts";
import { type Content, contentOf, contentShown, type FailingCall } from "./device.ts";
import {
  type BuiltFile,
  type BuiltWindow,
  type Hand,
  makeHand,
  type VolumeShared,
} from "./build.ts";
import { CachedPages, isShownRight } from "./cached-pages.ts";
import { assertBlocks } from "./blocks.ts";
import { assertGivenBack, assertIdle } from "./leftovers.ts";
import { MetadataMedium } from "./metadata-medium.ts";
import { finishReports, holdFile } from "./poison.ts";
import { finishRemoval } from "./removal.ts";
import {
  blockShown,
  type SimulatedPort,
  TableEntry,
  tableWord,
  windowAddress,
  writesShown,
} from "./port.ts";
import { volumeWordName } from "./volume-names.ts";
import { DriverTables, type Undone } from "./driver-tables.ts";
import { type Changed, WatchedDriver } from "./watched-driver.ts";

const FILE_LOCKS = [MappingWord.ioLock, MappingWord.mapLock, MappingWord.writeBackLock];

/** An I/O under way: it uses a block for a page of a file. */
interface Use {
  readonly self: Self;
  readonly file: BuiltFile;
  readonly page: number;
  readonly block: number;
  readonly writes: boolean;
}

/** A window, with what its program holds of it where that was made in the schedule. */
interface TouchedWindow extends Omit<BuiltWindow, "window"> {
  readonly window: BuiltWindow["window"] | null;
  view: FileWindow | null;
  readonly owner: Self | null;
}

/** The volume in one schedule. */
export class Volume {
  readonly shared: VolumeShared;
  readonly actors: readonly Self[];
  readonly words: Words;
  readonly #hands: readonly Hand[];
  readonly #uses = new Set<Use>();
  readonly #windows: TouchedWindow[];
  readonly #tables: DriverTables;
  readonly cached: CachedPages;
  readonly #medium: MetadataMedium;

  constructor(shared: VolumeShared, actors: readonly Self[]) {
    this.shared = shared;
    this.actors = actors;
    this.words = shared.region.words;
    this.#windows = shared.windows.map((window) => ({ ...window, view: null, owner: null }));
    this.#tables = new DriverTables(shared.region);
    this.#hands = actors.map((self) => this.#makeHand(self));
    this.#medium = new MetadataMedium(shared.region, shared);
    this.cached = new CachedPages(shared, this.#hands[0]!.dax.pageCache);
  }

  #makeHand({ thread }: Self): Hand {
    const changed: Changed = (what, windows = true) => {
      this.#assertUses(`when ${what}`);
      if (windows) this.#assertShown(`when ${what}`);
    };
    const hold = (ino: number): HeldMapping | null => holdFile(this, ino);
    const hand = makeHand(thread, this.shared, (device, pages) => {
      const ram = RamDriver.attach(thread, new HealingDevice(device, pages));
      return new WatchedDriver(ram, device, changed, this.shared.spec);
    });
    const { cache, pages } = hand.dax;
    recoverLocks(thread);
    recoverTransactions(cache);
    hand.dax.holdMapping = hold;
    hand.pager.holdMapping = hold;
    hand.dax.acquireMapping = function* (ino) {
      return hold(ino);
    };
    const onShow = (address: number, block: number): void => this.#assertMayShow(address, block);
    for (const dax of [hand.dax, hand.pager]) {
      (dax.windows.port as unknown as SimulatedPort).onShow = onShow;
    }
    hand.dax.pageCache?.recoverFilling(pages);
    recoverEntries(thread, pages);
    recoverPins(thread, pages);
    recoverBreaks(thread);
    recoverRemovals(hand.dax);
    recoverLeases(thread);
    pages.deviceState.recover();
    return hand;
  }

  hand(self: Self): Hand {
    return this.#hands[this.actors.indexOf(self)]!;
  }

  dax(self: Self): Dax {
    return this.hand(self).dax;
  }

  file(name: string): BuiltFile {
    return this.shared.files.find((file) => file.name === name)!;
  }

  // The truth: looked at without being a part of the schedule, so in the words themselves.

  /** The block that a page of the file has, by the driver's tables; -1 for a hole. */
  blockOf({ ino }: BuiltFile, page: number, undone?: Undone): number {
    return this.#tables.blockOf(ino, page, undone);
  }

  /** The same, without what an open transaction may yet undo. */
  blockHeld(file: BuiltFile, page: number): number {
    return this.blockOf(file, page, this.#tables.undone());
  }

  /** Whether a block is listed as bad. */
  isBad(block: number): boolean {
    return this.#hands[0]!.dax.pages.bad.find(block, block) !== null;
  }

  /** Whether the device was removed. */
  isGone(): boolean {
    return this.#hands[0]!.dax.pages.deviceState.isGone;
  }

  /** What touches of a window found lost so far. */
  lostIn(self: Self, window: number): LostPages | null {
    return this.dax(self).windows.lost(this.#windows[window]!.window!);
  }

  /** Demands that no window shows anything of the device. */
  ensureNothingShown(when: string): void {
    for (const [window] of this.#windows.entries()) {
      const shown = this.windowShown(window);
      ensure(
        !shown.includes("#"),
        `${when}, window ${window} shows "${shown}" of a removed device`,
      );
    }
  }

  /** Of a block of the device, or a page of the cache. */
  content(block: number): Content {
    return this.words[this.hand(this.actors[0]!).device.word(block)]!;
  }

  /** Where the bytes of a page of the file are: in a page of the cache, or in its block. -1: nowhere. */
  placeOf(file: BuiltFile, page: number, undone?: Undone): number {
    const cached = this.cached.pageOf(file.mapping, page);
    return cached >= 0 ? cached : this.blockOf(file, page, undone);
  }

  /** What the block held when it was last persisted. */
  persistent(block: number): Content {
    return this.content(this.shared.spec.blocks + block);
  }

  /** What the file holds, a letter or two a page: "." are zeroes. Looked at from outside. */
  fileShown(file: BuiltFile, pages: number): string {
    const shown: string[] = [];
    for (let page = 0; page < pages; page++) {
      const place = this.placeOf(file, page);
      shown.push(place < 0 ? "." : contentShown(this.content(place)));
    }
    return shown.join("");
  }

  /** What backs the file's pages: "#" a block, "u" an unwritten one, "." nothing. From outside. */
  backingOf({ ino }: BuiltFile): string {
    return this.#tables.backingOf(ino);
  }

  /** Where the driver's inode of a file is. */
  inodeWord({ ino }: Pick<BuiltFile, "ino">): number {
    return this.#tables.inodeWord(ino);
  }

  sizeOf({ mapping }: BuiltFile): number {
    const high = this.words[mapping + MappingWord.sizeHigh]!;
    return high * 2 ** 32 + (this.words[mapping + MappingWord.sizeLow]! >>> 0);
  }

  /** The pages of a file that are noted as written, for write-back; or null. */
  writtenOf({ mapping }: BuiltFile): { first: number; last: number } | null {
    const first = this.words[mapping + MappingWord.writtenFirst]!;
    const last = this.words[mapping + MappingWord.writtenLast]!;
    return first === -1 ? null : { first: first >>> 0, last: last >>> 0 };
  }

  #isDead({ thread }: Self): boolean {
    return (this.words[thread.base + Slot.liveness]! & OWNER_DIED) !== 0;
  }

  /**
   * Invariants 1 and 2: every I/O under way uses blocks of its own file only. By the tables as they are,
   * after a whole change of the driver's.
   */
  #assertUses(when: string): void {
    for (const use of this.#uses) {
      if (!this.#isDead(use.self)) this.#assertUse(use, when);
    }
  }

  /** The same of every window. */
  #assertShown(when: string): void {
    for (const { file, address, first, pages } of this.#windows) {
      for (let page = 0; page < pages; page++) {
        const word = tableWord(this.shared.port, address + page * PAGE_SIZE);
        const block = blockShown(this.words[word]!);
        if (block < 0 || this.cached.isFilling(block)) continue;
        const mine = this.placeOf(file, first + page) === block;
        ensure(mine, `${when}, a window shows block ${block} as page ${first + page}`);
        const owned = this.blockOf(file, first + page);
        const alone = !writesShown(this.words[word]!) || this.#tables.ownersCounted(owned) === 1;
        ensure(alone, `${when}, a window that writes shows block ${block}, which other files own`);
      }
    }
  }

  /** A sync window shows what a crash leaves where it is. */
  #assertMayShow(at: number, block: number): void {
    for (const { file, address, first, pages, sync } of this.#windows) {
      const page = (at - address) / PAGE_SIZE;
      if (!sync || page < 0 || page >= pages) continue;
      this.#medium.assertKept(file, first + page, block, "when a sync window is shown it");
    }
  }

  #assertUse({ self, file, page, block, writes }: Use, when: string, undone?: Undone): void {
    const now = this.placeOf(file, page, undone);
    ensure(
      now === block,
      `${when}, ${self.name} has an I/O under way into block ${block}, which is page ${page} of ` +
        `file ${file.name} no longer`,
    );
    ensure(
      !writes || this.#tables.ownersCounted(block, undone) === 1,
      `${when}, ${self.name} has an I/O under way that writes into block ${block}, which other files own`,
    );
  }

  // What actors do.

  /**
   * An I/O into a pinned range: writes `name` into each of its blocks, and gives the pin back. The
   * blocks must be the file's until then, and its alone. With null it only reads them. Returns what they
   * hold.
   */
  io(self: Self, file: BuiltFile, pin: Pin, name: string | null): string {
    const { device } = this.hand(self);
    const first = pin.offset / PAGE_SIZE;
    const blocks: number[] = [];
    for (const bytes of pin.buffers) {
      const start = device.addressOf(bytes) / PAGE_SIZE;
      for (let page = 0; page * PAGE_SIZE < bytes.length; page++) blocks.push(start + page);
    }
    const writes = name !== null;
    const uses = blocks.map((block, index) => ({ self, file, page: first + index, block, writes }));
    for (const use of uses) this.#uses.add(use);
    for (const use of uses)
      this.#assertUse(use, "at the beginning of an I/O", this.#tables.undone());
    self.say(`I/O into block ${blocks.join(", ")} begins`);
    let held = "";
    for (const block of blocks) {
      if (writes) device.writeBlock(block, contentOf(name));
      held += contentShown(device.readBlock(block));
    }
    for (const use of uses) this.#assertUse(use, "at the end of an I/O", this.#tables.undone());
    ensure(pin.verify(), "a held pin says that its pages are not the file's");
    for (const use of uses) this.#assertUse(use, "when a pin is given back", this.#tables.undone());
    for (const use of uses) this.#uses.delete(use);
    pin.release();
    return held;
  }

  /** Reads whole pages of a file by copy: what each begins with, "" for none. */
  *read(self: Self, file: BuiltFile, first: number, count: number): Sleeps<string> {
    const target = new Uint8Array(count * PAGE_SIZE);
    const dax = this.dax(self);
    const length = yield* readFile(self.task, dax, file.mapping, target, first * PAGE_SIZE);
    let read = "";
    for (let at = 0; at < length; at += PAGE_SIZE) {
      read += target[at] === 0 ? "." : String.fromCharCode(target[at]!);
    }
    return read;
  }

  /** Maps pages of a file. Returns the window's number, for touches, and what the program holds. */
  *mapFile(
    self: Self,
    file: BuiltFile,
    first: number,
    pages: number,
    writable: boolean,
  ): Sleeps<{ window: number; view: FileWindow }> {
    const [offset, length] = [first * PAGE_SIZE, pages * PAGE_SIZE];
    const dax = this.dax(self);
    const view = yield* mapWindow(self.task, dax, file.mapping, offset, length, writable);
    const address = addressOf(view.bytes);
    const made = { window: null, file, address, first, pages, sync: false, view, owner: self };
    return { window: this.#windows.push(made) - 1, view };
  }

  /** Whether the addresses of a window have been given back: by its place among all that were reserved. */
  isGivenBack(reserved: number): boolean {
    const word = tableWord(this.shared.port, windowAddress(reserved));
    return this.words[word] === TableEntry.released;
  }

  /** What a program holds of a window: all actors the same. */
  viewOf(self: Self, number: number): FileWindow {
    const touched = this.#windows[number]!;
    const { file, first, pages, sync, window } = touched;
    touched.view ??= new FileWindow({
      dax: this.dax(self),
      mapping: file.mapping,
      window: window!,
      bytes: new Uint8Array(pages * PAGE_SIZE),
      offset: first * PAGE_SIZE,
      writable: true,
      sync,
    });
    return touched.view;
  }

  /** Loads a page through a window: its content, zeroes where it is lost. Sleeps: in faults. */
  *load(self: Self, window: number, page: number): Sleeps<string> {
    return contentShown(yield* this.#touch(self, window, page, null));
  }

  /** Stores to a whole page through a window. Sleeps: in faults. */
  *store(self: Self, window: number, page: number, name: string): Sleeps<void> {
    yield* this.#touch(self, window, page, contentOf(name));
  }

  *#touch(self: Self, window: number, page: number, stored: Content | null): Sleeps<Content> {
    const { port, device, pager } = this.hand(self);
    const built = this.#windows[window]!;
    const address = built.address + (page - built.first) * PAGE_SIZE;
    const onTouch = (block: number): void => {
      const now = this.placeOf(built.file, page, this.#tables.undone());
      // A copy is shown to windows that do not write before its transaction has ended.
      const next = stored === null ? this.placeOf(built.file, page) : now;
      ensure(
        now === block || next === block || this.cached.isFilling(block),
        `${self.name} touches page ${page} of file ${built.file.name} in block ${block}; the ` +
          `page's block is ${now}`,
      );
      ensure(
        stored === null || this.#tables.ownersCounted(block, this.#tables.undone()) === 1,
        `${self.name} stores to page ${page} of file ${built.file.name} in block ${block}, which other ` +
          "files own",
      );
      const when = `${self.name} stores to it`;
      if (built.sync && stored !== null) this.#medium.assertKept(built.file, page, block, when);
    };
    for (;;) {
      const touched = port.touch(device, address, stored, onTouch);
      if (touched !== "fault") return touched;
      const faulted = built.window ?? pager.windows.at(address);
      if (faulted === null) continue;
      const serial = pager.windows.serial(faulted);
      try {
        yield* serveFault(self.task, pager, faulted, serial, address, stored !== null);
      } catch (error) {
        // As the pager does (dax/pager.ts).
        if (!(error instanceof HoldfastError)) throw error;
        port.showLost(address, PAGE_SIZE);
      }
    }
  }

  /** Has the actor's device fail from now on: with EIO, or another error. */
  fail(self: Self, call: FailingCall, error?: Error): void {
    const failure = error ?? new HoldfastError("EIO", `the simulated device fails at ${call}`);
    this.hand(self).device.failing.set(call, failure);
  }

  /** Has it fail no more. */
  mend(self: Self): void {
    this.hand(self).device.failing.clear();
  }

  /** Pages that a window shows as the file's, "#", as zeroes, ".", or lost, "x"; "-": none of those. */
  windowShown(window: number): string {
    const { address, pages } = this.#windows[window]!;
    let shown = "";
    for (let page = 0; page < pages; page++) {
      const entry = this.words[tableWord(this.shared.port, address + page * PAGE_SIZE)]!;
      if (entry >= TableEntry.block) shown += "#";
      else shown += entry === TableEntry.lost ? "x" : entry === TableEntry.empty ? "-" : ".";
    }
    return shown;
  }

  /** Whether a window shows a page of a file. */
  isShown(file: BuiltFile, page: number): boolean {
    return this.#windows.some(({ file: of, address, first, pages }) => {
      if (of !== file || page < first || page >= first + pages) return false;
      const at = address + (page - first) * PAGE_SIZE;
      return blockShown(this.words[tableWord(this.shared.port, at)]!) >= 0;
    });
  }

  /** Whether the environment has killed an actor. */
  isKilled(name: string): boolean {
    return this.#isDead(this.actors.find((self) => self.name === name)!);
  }

  // The end.

  /** At the end: nobody holds anything, and all agree on what belongs to whom. */
  end(): void {
    const alive = this.actors.filter((self) => !this.#isDead(self));
    const anybody = alive[0];
    if (anybody === undefined) return;
    anybody.thread.reap();
    finishReports(this, anybody);
    finishRemoval(this, anybody);
    if (alive.length < this.actors.length) this.#takeGuards(anybody.thread);
    this.#assertUses("at the end");
    this.#assertShown("at the end");
    for (const self of alive) assertIdle(self);
    this.#assertNothingHeld();
    for (const file of this.shared.files) {
      this.#assertMappingIdle(file);
      this.#assertSize(file);
    }
    assertBlocks(this, this.#tables);
    this.#assertPages(this.dax(anybody).pages);
    if (this.isGone()) {
      this.ensureNothingShown("at the end");
      return;
    }
    const { exhausted, faults = true } = this.shared.spec;
    const isWhole = alive.length === this.actors.length;
    // What a dead thread had broken stays lost in windows that cannot fault, until the next change.
    if (!exhausted && (faults || isWhole)) this.#assertWindows();
    if (!isWhole) return;
    this.#assertWindowsListed(anybody.thread);
    this.#assertWrittenBack(anybody);
  }

  /** Every window record in use is in its file's list, and closed windows show nothing of a file. */
  #assertWindowsListed(thread: Thread): void {
    const { words, shared } = this;
    let listed = 0;
    for (const { mapping } of shared.files) {
      let window = words[mapping + MappingWord.windows]!;
      for (; window !== 0; window = words[window]!) listed++;
    }
    const used = objectsInUse(thread, shared.region.root(Root.window));
    ensureNoLeak(used === listed, `${used} window records are in use, ${listed} are listed`);
    for (const { address, pages, view } of this.#windows) {
      if (!view?.closed) continue;
      for (let page = 0; page < pages; page++) {
        const entry = words[tableWord(shared.port, address + page * PAGE_SIZE)]!;
        ensure(entry === TableEntry.retired, "a window that is closed shows something");
      }
    }
  }

  /** A write-back now persists whatever was written. (What a dead thread was about to note may miss.) */
  #assertWrittenBack(self: Self): void {
    const { dax, device } = this.hand(self);
    device.failing.clear();
    for (const file of this.shared.files) {
      try {
        writeBack(self.task, dax, file.mapping);
      } catch (error) {
        if (!(error instanceof HoldfastError && dax.pages.bad.any)) throw error;
      }
      this.ensurePersistent(file, "after a last write-back");
    }
  }

  /** Demands that all of the file is found after a crash, as far as its size goes. */
  ensureSizeKept(file: BuiltFile, when: string): void {
    this.#medium.assertSizeKept(file, this.sizeOf(file), when);
  }

  /** Demands that what the file holds now is persistent, of these pages or of all. */
  ensurePersistent(file: BuiltFile, when: string, first = 0, count = Infinity): void {
    const end = Math.min(first + count, Math.ceil(this.sizeOf(file) / PAGE_SIZE));
    for (let page = first; page < end; page++) {
      const place = this.placeOf(file, page, this.#tables.undone());
      const block = this.blockOf(file, page, this.#tables.undone());
      if (place < 0 || this.isBad(place)) continue;
      const held = contentShown(this.content(place));
      const kept = block < 0 ? "." : contentShown(this.persistent(block));
      ensure(
        held === kept,
        `${when}, page ${page} of file ${file.name} holds "${held}", and "${kept}" is persistent`,
      );
    }
  }

  /** A guard that somebody died in is repaired by whoever takes it next. */
  #takeGuards(thread: Thread): void {
    for (const { name, mapping } of this.shared.files) {
      for (const lock of FILE_LOCKS) {
        const record = tryExclusive(thread, mapping + lock);
        ensureNoLeak(record !== 0, `a lock of file ${name} is still held`);
        unlockExclusive(thread, mapping + lock, record);
      }
      enterGuard(thread, mapping + MappingWord.treeGuard);
      leaveGuard(thread, mapping + MappingWord.treeGuard);
    }
  }

  /** In the region, where others find it. */
  #assertNothingHeld(): void {
    const { words } = this;
    for (const self of this.actors) {
      const { name, thread } = self;
      if (this.#isDead(self)) assertGivenBack(words, name, thread.base);
      ensureNoLeak(words[thread.base + Slot.breaking] === 0, `${name}'s break is still announced`);
      ensureNoLeak((words[thread.base + Slot.epoch]! & 1) === 0, `${name} is still in an epoch`);
    }
    const transaction = this.shared.region.root(Root.transaction);
    const { mutex, state, used } = TransactionArea;
    ensureNoLeak(words[transaction + mutex] === 0, "the volume's transaction is still held");
    ensureNoLeak(words[transaction + state] === 0, "a transaction is still open");
    ensureNoLeak(words[transaction + used] === 0, "the transaction's log is not empty");
  }

  /** What the driver keeps as the size is found when the file is opened anew, and by a look at its inode. */
  #assertSize(file: BuiltFile): void {
    const { words } = this;
    const inode = this.inodeWord(file);
    const kept = words[inode + Inode.sizeHigh]! * 2 ** 32 + (words[inode + Inode.sizeLow]! >>> 0);
    const size = this.sizeOf(file);
    ensure(kept === size, `file ${file.name} has ${size} bytes, and the driver keeps ${kept}`);
  }

  #assertMappingIdle({ name, mapping }: BuiltFile): void {
    const word = (offset: number): number => this.words[mapping + offset]!;
    for (const lock of FILE_LOCKS) {
      for (const field of [0, 1, 2, 3, 4, 6]) {
        ensureNoLeak(word(lock + field) === 0, `a lock of file ${name} is still held or wanted`);
      }
    }
    ensureNoLeak(word(MappingWord.breakHolder) === 0, `a break of file ${name} is still announced`);
    ensureNoLeak(word(MappingWord.breakInsist) === 0, `a break of file ${name} still insists`);
    ensureNoLeak(word(MappingWord.leases) === 0, `a lease of file ${name} is left`);
    ensureNoLeak(word(MappingWord.removing) === 0, `a removal of file ${name} is not finished`);
    ensureNoLeak(word(MappingWord.treeGuard) === 0, `the tree of file ${name} is still guarded`);
    ensureNoLeak((word(MappingWord.sequence) & 1) === 0, `the sequence of file ${name} is odd`);
  }

  /**
   * Invariant 6: every page with an owner is named by one entry, and every entry by its owner; a shared
   * one by as many as it counts.
   */
  #assertPages(pages: Pages): void {
    let named = 0;
    const sharing = new Map<number, number>();
    for (const file of this.shared.files) {
      forEachEntry(this.words, file.mapping, 0, 2 ** 32 - 1, (entry, index, count) => {
        ensureNoLeak(!isLocked(entry), `the entry of page ${index} of ${file.name} is locked`);
        const kind = kindOf(entry);
        const block = this.blockOf(file, index);
        if (kind === EntryKind.zero) return;
        ensureNoLeak(isPageKind(kind), `the entry of page ${index} of ${file.name} is empty`);
        const page = pageOf(entry);
        const sharers = pages.sharers(page);
        if (sharers > 0) sharing.set(page, (sharing.get(page) ?? 0) + 1);
        else {
          ensure(pages.owner(page) === file.mapping, `page ${index} of ${file.name} is another's`);
          ensure(pages.index(page) === index, `page ${index} of ${file.name} has another index`);
        }
        const isPlace = this.cached.hasPage(file.mapping, pages.devicePage(page), block);
        ensure(
          isPlace && pages.isHuge(page) === (count === HUGE_PAGES),
          `page ${index} of ${file.name} is not its block ${block}, or not noted as its cache page`,
        );
        if (sharers === 0 || sharing.get(page) === 1) named++;
      });
    }
    for (const [page, entries] of sharing) {
      const counted = pages.sharers(page);
      ensure(counted === entries, `${entries} entries name page ${page}, ${counted} are counted`);
    }
    let owned = this.cached.assertPages(pages);
    for (let block = 0; block < this.shared.spec.blocks; block++) {
      const page = pages.find(block);
      if (page === null) continue;
      if (pages.owner(page) !== 0) owned++;
      ensureNoLeak(pages.pinCount(page) === 0, `block ${block} is left pinned`);
    }
    for (const { file, address, pages: count } of this.#windows) {
      for (let page = 0; page < count; page++) {
        const block = blockShown(
          this.words[tableWord(this.shared.port, address + page * PAGE_SIZE)]!,
        );
        ensure(
          block < 0 || (isShownRight(pages, block, file.mapping) && !this.isBad(block)),
          `a window shows block ${block}, which is nobody's, or lost`,
        );
      }
    }
    ensureNoLeak(owned === named, `${owned} pages have an owner, ${named} are named by an entry`);
    ensureNoLeak(named > 0 || pages.chunksInUse() === 0, "page records of nobody are in use");
  }

  /** No window hides what the file has: by the zero page, or as lost. */
  #assertWindows(): void {
    for (const { file, address, first, pages, view, owner } of this.#windows) {
      if (view?.closed || (owner !== null && this.#isDead(owner))) continue;
      for (const at of [address - PAGE_SIZE, address + pages * PAGE_SIZE]) {
        const beside = this.words[tableWord(this.shared.port, at)]!;
        ensure(beside === TableEntry.empty, `a page is shown beside a window of ${file.name}`);
      }
      for (let at = 0; at < pages; at++) {
        const page = first + at;
        const entry = this.words[tableWord(this.shared.port, address + at * PAGE_SIZE)]!;
        const block = this.placeOf(file, page);
        const zero = entry === TableEntry.zero || entry === TableEntry.guarded;
        ensure(
          !zero || block < 0 || this.content(block) === 0,
          `a window keeps the zero page for page ${page} of ${file.name}, which has block ${block}`,
        );
        ensure(
          entry !== TableEntry.lost ||
            block < 0 ||
            page * PAGE_SIZE >= this.sizeOf(file) ||
            this.isBad(block),
          `a window keeps page ${page} of ${file.name} as lost, which has block ${block}`,
        );
      }
    }
  }

  nameOf(word: number): string | null {
    const { thread, dax } = this.#hands[0]!;
    return (
      volumeWordName(this.shared, thread, dax.pages, word) ??
      this.cached.wordName(word) ??
      this.#medium.wordName(word)
    );
  }
}
