/**
 * Page records: what is known of the device pages in use.
 *
 * Records come in chunks, one per 2 MiB of device that holds a page in use, so memory follows use.
 * A record's id is its place in the arena: entries name records by id (27 bits), and ids and device
 * pages are turned into one another by arithmetic.
 *
 * Area, in words:
 *
 *     0 guard | 1 chunks made | 2 free chunks' head | 3 chunks max
 *     4 arena | 5 chunk headers | 6 directory: chunk + 1 of each 2 MiB of the device, 0 for none
 *
 * Chunk header: 0 device chunk (free: next free chunk + 1) | 1 pages with an owner (free: 0)
 * Record: 0 pins, with WAITED and TELLS | 1 owner: the mapping's offset; of a shared page, minus the entries that
 * name it | 2 index in the owner | 3 bit 0: huge, of a page with an owner; above it, how often those who
 * waited for the page's pins were woken
 *
 * A folio of 2 MiB is kept in its first page's record, flagged; the others stay free. A page of an
 * extent that may have several owners is shared from its first entry on, and is never part of a folio.
 *
 * State of a page, by its record:
 *
 *     free -- associate --> idle -- first pin --> busy -- last release --> idle -- disassociate --> free
 *     free -- share --> shared by 1 -- share --> by 2 ... by 2 -- leave --> by 1 -- leave --> free
 *
 * Invariants. (1) Pins are counted only on a page with an owner.
 *             (2) Owner and index change only under the owner's entry lock or, exclusively, map lock,
 *                 and within the guard, so that what a dead thread left can be counted.
 *             (3) A page is disassociated only when no pin is counted: the busy canary.
 *             (4) Whoever waits for a page sets WAITED in the very word that the release of the last
 *                 pin takes to zero: tested and waited for are the same. It sleeps until the count of
 *                 wake-ups is another than before that, so never for pins of the page's next owner.
 *             (5) A shared page counts the entries that name it in one word, whichever files they are
 *                 of. An entry comes to name it, or ceases to, in the same step as the count changes
 *                 (sync/atomics.ts, casThenStore): whoever dies leaves a count that is right.
 *             (6) A page in use of a registered type has TELLS in the word of its pins, a free one has not.
 *                 Whoever takes the count to zero tells, and so does who takes its owner, since a record
 *                 that is in use again no longer says which page it was.
 */
import { HoldfastError } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import { HUGE_PAGES, PAGE_SIZE } from "../base/quantities.ts";
import {
  add,
  addThenNote,
  and,
  casThenStore,
  load,
  loadUnsigned,
  or,
  store,
  wakeAll,
} from "../sync/atomics.ts";
import { enterGuard, leaveGuard } from "../sync/guard.ts";
import { Root } from "../sync/region.ts";
import type { Thread } from "../sync/thread.ts";
import { DeviceState } from "../device/state.ts";
import { BadPages } from "./bad-pages.ts";
import { PageTypes } from "./page-types.ts";

export const Area = {
  guard: 0,
  made: 1,
  free: 2,
  chunksMax: 3,
  arena: 4,
  headers: 5,
  directory: 6,
} as const;
const AREA_WORDS = 16;
const HEADER_WORDS = 2;
const RECORD_SHIFT = 2;
const CHUNK_SHIFT = 9;

const Record = { pins: 0, owner: 1, index: 2, wake: 3 } as const;
/** In the pin count: somebody waits for it to fall to zero. */
const WAITED = 0x40000000;
/** In the pin count: the page is of a type whose registrar is told when it falls to zero. */
const TELLS = 0x20000000;
/** What the count itself may be. */
const COUNT = TELLS - 1;
/** In the last word of a record: what it holds beside the wake-ups, and what each of these adds. */
const HUGE = 1;
const WOKEN = 2;

/** Record ids fit an entry: 2^27. */
const CHUNKS_LIMIT = 2 ** 18;

/** The records that so many pages have: a folio's first one stands for all. */
function recordsOf(pages: number): number {
  return pages === HUGE_PAGES ? 1 : pages;
}

/** A page record's id. */
export type PageId = number;

/** Whose a page is: a mapping's, and as which of its pages. */
export interface PageOwner {
  readonly owner: number;
  readonly index: number;
}

/** The damage of the volume by which a page that `has` owns is `wants`'s as well; null: it is a mistake of ours. */
type Judge = (devicePage: number, has: PageOwner, wants: PageOwner) => Error | null;

const noDamage: Judge = () => null;

/** A page that is to get an owner, as it was found. */
interface TakenPage extends PageOwner {
  readonly offset: number;
  readonly pins: number;
}

export class Pages {
  readonly thread: Thread;
  /** Pages whose bytes are lost. */
  readonly bad: BadPages;
  /** Whether the device that has the pages is there. */
  readonly deviceState: DeviceState;
  /** Who is told when pages of a type are idle. */
  readonly types: PageTypes;
  readonly #area: number;
  /** Word offset of record 0. */
  readonly arena: number;
  readonly #headers: number;
  readonly #directory: number;
  #judge: Judge = noDamage;

  private constructor(thread: Thread) {
    this.thread = thread;
    this.bad = new BadPages(thread);
    this.deviceState = new DeviceState(thread);
    this.types = new PageTypes(thread);
    this.#area = thread.region.root(Root.pages);
    this.arena = load(thread.words, this.#area + Area.arena);
    this.#headers = load(thread.words, this.#area + Area.headers);
    this.#directory = load(thread.words, this.#area + Area.directory);
  }

  /** Makes the area for a device of `deviceBytes`; an eighth of the region may hold records. */
  static create(thread: Thread, deviceBytes: number): Pages {
    const { region, words } = thread;
    const deviceChunks = Math.ceil(deviceBytes / (PAGE_SIZE * HUGE_PAGES));
    const recordWords = HUGE_PAGES << RECORD_SHIFT;
    const affordable = Math.floor(region.buffer.byteLength / 8 / (recordWords * 4));
    const chunksMax = Math.min(CHUNKS_LIMIT, deviceChunks, affordable);
    const area = region.allocatePages(AREA_WORDS);
    store(words, area + Area.chunksMax, chunksMax);
    store(words, area + Area.arena, region.allocatePages(chunksMax * recordWords));
    store(words, area + Area.headers, region.allocatePages(chunksMax * HEADER_WORDS));
    // One word more, for what the header of a free chunk may hold.
    store(words, area + Area.directory, region.allocatePages(deviceChunks + 1));
    region.setRoot(Root.pages, area);
    BadPages.create(thread);
    DeviceState.create(thread);
    PageTypes.create(thread, deviceChunks);
    return new Pages(thread);
  }

  static attach(thread: Thread): Pages {
    return new Pages(thread);
  }

  /** Whose page it is, and who pins it, in words: for invariants. `dax` knows more than this. */
  describe: (owner: number, index: number) => string = (owner, index) =>
    `page ${index} of mapping ${owner}`;

  /** Has `judge` tell where a page that has an owner is to get another. `dax` can. */
  judgeBy(judge: Judge): void {
    this.#judge = judge;
  }

  /** Word offset of a page's pin count. */
  pinWord(page: PageId): number {
    return this.arena + (page << RECORD_SHIFT);
  }

  /** Word offset of what changes when those who wait for a page's pins are woken. */
  wakeWord(page: PageId): number {
    return this.pinWord(page) + Record.wake;
  }

  /** Pins counted on the page, or on the folio whose first page it is. */
  pinCount(page: PageId): number {
    return load(this.thread.words, this.pinWord(page)) & COUNT;
  }

  /** The mapping that owns the page, 0 for none; of a shared page, minus the entries that name it. */
  owner(page: PageId): number {
    return load(this.thread.words, this.pinWord(page) + Record.owner);
  }

  index(page: PageId): number {
    return loadUnsigned(this.thread.words, this.pinWord(page) + Record.index);
  }

  /** Entries that name a shared page; 0 for a page that is free or has one owner. */
  sharers(page: PageId): number {
    return Math.max(0, -this.owner(page));
  }

  isHuge(page: PageId): boolean {
    return (load(this.thread.words, this.wakeWord(page)) & HUGE) !== 0;
  }

  /** The device page behind a record. */
  devicePage(page: PageId): number {
    return this.#deviceChunk(page) * HUGE_PAGES + (page & (HUGE_PAGES - 1));
  }

  #deviceChunk(page: PageId): number {
    return load(this.thread.words, this.#headers + (page >>> CHUNK_SHIFT) * HEADER_WORDS);
  }

  /** The record of a device page, or null when no page near it is in use. */
  find(devicePage: number): PageId | null {
    const chunk = load(this.thread.words, this.#directory + Math.floor(devicePage / HUGE_PAGES));
    return chunk === 0 ? null : ((chunk - 1) << CHUNK_SHIFT) + (devicePage % HUGE_PAGES);
  }

  /**
   * Who owns a device page, and as which page: of itself, or of the folio that it belongs to; null for
   * none, and for a shared one, whose owners the driver knows.
   */
  ownerOf(devicePage: number): PageOwner | null {
    const page = this.find(devicePage);
    if (page === null) return null;
    const head = page - (page & (HUGE_PAGES - 1));
    const record = this.isHuge(head) && this.owner(head) !== 0 ? head : page;
    const owner = this.owner(record);
    return owner <= 0 ? null : { owner, index: this.index(record) + (page - record) };
  }

  /**
   * Gives `count` device pages from `devicePage` on, all in one 2 MiB of the device, their owner and
   * indexes. `huge`: as one folio, the whole 2 MiB.
   * Locks: the entries are locked. Throws: ENOMEM, or the volume's damage (`judgeBy`), with nothing changed.
   * Invariant: the pages were free, but for that.
   */
  associate(
    devicePage: number,
    count: number,
    owner: number,
    index: number,
    huge: boolean,
  ): PageId {
    const { words } = this.thread;
    const deviceChunk = Math.floor(devicePage / HUGE_PAGES);
    const within = devicePage % HUGE_PAGES;
    invariant(within + count <= HUGE_PAGES, "pages of two device chunks are associated at once");
    const chunk = this.#enterWithChunk(deviceChunk);
    const first = (chunk << CHUNK_SHIFT) + within;
    let taken: TakenPage | null = null;
    const tells = this.types.of(deviceChunk) !== 0;
    for (let offset = 0; offset < recordsOf(count); offset++) {
      const record = this.pinWord(first + offset);
      const pins = load(words, record) & COUNT; // somebody may wait for pins of its last owner
      const before = load(words, record + Record.owner);
      if (before !== 0 || pins !== 0) {
        taken = { offset, pins, owner: before, index: this.index(first + offset) };
        break;
      }
      store(words, record + Record.index, (index + offset) | 0);
      // Turns the bit over; what is carried then is a wake-up too many.
      if (this.isHuge(first + offset) !== huge) add(words, record + Record.wake, HUGE);
      if (tells) or(words, record, TELLS);
      store(words, record + Record.owner, owner);
    }
    if (taken === null) add(words, this.#headers + chunk * HEADER_WORDS + 1, count);
    else for (let offset = 0; offset < taken.offset; offset++) this.#disown(first + offset);
    this.#leave();
    const damage = taken === null ? null : this.#damageOf(devicePage, taken, owner, index);
    if (damage !== null) throw damage;
    invariant(taken === null, () => {
      const { offset, pins, owner: before, index: as } = taken!;
      const what = `device page ${devicePage + offset} gets an owner while it has one, or is pinned`;
      const pinned = `and pinned ${pins} times`;
      const single = before > 0 ? this.describe(before, as) : `nobody's, ${pinned}`;
      const whose = before < 0 ? `shared by ${-before} entries, ${pinned}` : single;
      const whom = this.describe(owner, index + offset);
      return `${what}: ${this.thread.describe(this.thread.holder)} makes it ${whom}; it is ${whose}`;
    });
    return first;
  }

  #damageOf(devicePage: number, taken: TakenPage, owner: number, index: number): Error | null {
    if (taken.owner <= 0) return null;
    const wants = { owner, index: index + taken.offset };
    return this.#judge(devicePage + taken.offset, taken, wants);
  }

  /**
   * Takes the owner from pages that `associate` gave one. Locks: the owner's map lock, exclusively.
   * Invariant: not one of them is pinned (the busy canary).
   */
  disassociate(page: PageId, count: number, owner: number): void {
    const { words } = this.thread;
    for (let offset = 0; offset < recordsOf(count); offset++) {
      const record = this.pinWord(page + offset);
      invariant((load(words, record) & COUNT) === 0, () => {
        const index = this.index(page + offset);
        const taker = this.thread.describe(this.thread.holder);
        const whose = this.describe(owner, index);
        return `page ${index} loses its owner while it is pinned: ${taker} takes it; it is ${whose}`;
      });
      invariant(load(words, record + Record.owner) === owner, "a page has another owner");
    }
    this.#enter();
    for (let offset = 0; offset < recordsOf(count); offset++) this.#disown(page + offset);
    const chunk = page >>> CHUNK_SHIFT;
    const before = add(words, this.#headers + chunk * HEADER_WORDS + 1, -count);
    if (before === count) this.#freeChunk(chunk);
    this.#leave();
  }

  #disown(page: PageId): void {
    const { words } = this.thread;
    const record = this.pinWord(page);
    if ((load(words, record) & TELLS) !== 0) {
      and(words, record, ~TELLS);
      this.types.tell(this.#deviceChunk(page));
    }
    store(words, record + Record.owner, 0);
  }

  /**
   * Makes `count` chunks of the device, from `deviceChunk` on, of a type (page-types.ts), or of none (0).
   * From then on the last release of a pin of them tells its registrar; pins that are held count as well.
   */
  setType(deviceChunk: number, count: number, type: number): void {
    const { words } = this.thread;
    this.#enter();
    for (let each = deviceChunk; each < deviceChunk + count; each++) {
      this.types.set(each, type);
      const chunk = load(words, this.#directory + each) - 1;
      if (chunk >= 0) this.#markType(chunk);
    }
    this.#leave();
  }

  /** Has the pages in use of a chunk tell when they are idle, if they are of a type. The guard is held. */
  #markType(chunk: number): void {
    const { words } = this.thread;
    const first = chunk << CHUNK_SHIFT;
    const tells = this.types.of(this.#deviceChunk(first)) !== 0;
    for (let page = first; page < first + HUGE_PAGES; page++) {
      const record = this.pinWord(page);
      const marked = (load(words, record) & TELLS) !== 0;
      const wanted = tells && load(words, record + Record.owner) !== 0;
      if (marked !== wanted) add(words, record, wanted ? TELLS : -TELLS);
    }
  }

  /** Whether no page of a chunk of the device is pinned. */
  isChunkIdle(deviceChunk: number): boolean {
    const first = this.find(deviceChunk * HUGE_PAGES);
    if (first === null) return true;
    for (let page = first; page < first + HUGE_PAGES; page++) {
      if (this.pinCount(page) !== 0) return false;
    }
    return true;
  }

  /**
   * Has one more entry name a device page that several files may own: stores what `entryOf` makes of
   * its record into `slot`, in the same step as it is counted. Locks: the entry is locked.
   * Throws: ENOMEM with nothing changed. Invariant: the page has no single owner; a free one no pin.
   */
  share(devicePage: number, slot: number, entryOf: (page: PageId) => number): PageId {
    const { words } = this.thread;
    const deviceChunk = Math.floor(devicePage / HUGE_PAGES);
    const chunk = this.#enterWithChunk(deviceChunk);
    const page = (chunk << CHUNK_SHIFT) + (devicePage % HUGE_PAGES);
    const record = this.pinWord(page);
    const before = load(words, record + Record.owner);
    const pins = load(words, record) & COUNT;
    if (before === 0) {
      if (this.isHuge(page)) add(words, record + Record.wake, HUGE); // as in `associate`
      add(words, this.#headers + chunk * HEADER_WORDS + 1, 1);
    }
    casThenStore(words, record + Record.owner, before, before - 1, slot, entryOf(page));
    this.#leave();
    invariant(before <= 0, () => `device page ${devicePage} is to be shared, and has one owner`);
    invariant(
      before < 0 || pins === 0,
      () => `device page ${devicePage} is pinned without an owner`,
    );
    return page;
  }

  /**
   * Has an entry name a shared page no longer: empties `slot` in the same step. Locks: the entry's map
   * lock, exclusively. Invariant: the last one finds no pin (the busy canary); before that, pins are
   * those through other entries.
   */
  leave(page: PageId, slot: number): void {
    const { words } = this.thread;
    const record = this.pinWord(page);
    const chunk = page >>> CHUNK_SHIFT;
    this.#enter();
    const before = load(words, record + Record.owner);
    const isPinned = (load(words, record) & COUNT) !== 0;
    const isLeaving = before < 0 && (before < -1 || !isPinned);
    if (isLeaving) {
      casThenStore(words, record + Record.owner, before, before + 1, slot, 0);
      const last = before === -1;
      const used = last ? add(words, this.#headers + chunk * HEADER_WORDS + 1, -1) : 0;
      if (last && used === 1) this.#freeChunk(chunk);
    }
    this.#leave();
    invariant(before < 0, "a page is left by one of several owners, and has none of them");
    invariant(isLeaving, () => `page ${page} is left by its last owner while it is pinned`);
  }

  /**
   * Takes the owner from pages for a thread that died while it gave or took it: what has no owner, or
   * another, is left alone, and the pages in use are counted again. Locks: the dead thread's.
   */
  takeBack(page: PageId, count: number, owner: number): void {
    this.#enter();
    this.#takeBackUnderGuard(page, count, owner);
    this.#leave();
  }

  /** As `takeBack`, by device page: nothing happens when no page near it is in use. */
  takeBackDevicePages(devicePage: number, count: number, owner: number): void {
    this.#enter();
    const page = this.find(devicePage);
    if (page !== null) this.#takeBackUnderGuard(page, count, owner);
    this.#leave();
  }

  #takeBackUnderGuard(page: PageId, count: number, owner: number): void {
    const { words } = this.thread;
    for (let offset = 0; offset < recordsOf(count); offset++) {
      if (load(words, this.pinWord(page + offset) + Record.owner) === owner) {
        this.#disown(page + offset);
      }
    }
    this.#recountChunk(page >>> CHUNK_SHIFT);
  }

  /** One pin less, noted in `note` (pin/pin.ts, invariant 1); the last one wakes whoever waits. */
  releaseNoting(page: PageId, note: number, value: number): void {
    const { words } = this.thread;
    const before = addThenNote(words, this.pinWord(page), -1, note, value);
    invariant((before & COUNT) > 0, () => `page ${this.index(page)} is released more than pinned`);
    if (before > COUNT && (before & COUNT) === 1) this.#lastRelease(page, before);
  }

  /** The last pin is gone, and the count says that somebody wants to know. */
  #lastRelease(page: PageId, before: number): void {
    if ((before & WAITED) !== 0) this.wakeWaiters(page);
    if ((before & TELLS) !== 0) this.types.tell(this.#deviceChunk(page));
  }

  /**
   * After the last pin is gone: takes the mark away and wakes all who wait. In this order: whoever has
   * read the new count sets a mark that stays.
   */
  wakeWaiters(page: PageId): void {
    const { words } = this.thread;
    and(words, this.pinWord(page), ~WAITED);
    add(words, this.wakeWord(page), WOKEN);
    wakeAll(words, this.wakeWord(page));
  }

  /**
   * Announces a waiter on a busy page. Returns the value to wait on, or null when it is idle: then
   * the mark stays for the next last release, which wakes nobody and takes it away. Whose pins they
   * are has to be looked at after this.
   * Wait while `wakeWord(page)` holds that value, then look again.
   */
  prepareWait(page: PageId): number | null {
    const { words } = this.thread;
    const value = load(words, this.wakeWord(page));
    const pins = or(words, this.pinWord(page), WAITED) & COUNT;
    return pins === 0 ? null : value;
  }

  /**
   * Wakes all who wait for pins, so that they look whether the device is there: who has set its mark
   * before it looked is found here, since the removal was noted before.
   */
  wakeAllWaiters(): void {
    const { words } = this.thread;
    const records = load(words, this.#area + Area.made) * HUGE_PAGES;
    for (let page = 0; page < records; page++) {
      if ((load(words, this.pinWord(page)) & WAITED) !== 0) this.wakeWaiters(page);
    }
  }

  /** Whether a device range may go back to the free pool: no owner and no pin in it. */
  isFree(devicePage: number, count: number): boolean {
    const end = devicePage + count;
    for (let at = devicePage; at < end; ) {
      const chunkEnd = Math.min(end, at - (at % HUGE_PAGES) + HUGE_PAGES);
      const page = this.find(at);
      if (page !== null) {
        const head = page - (page & (HUGE_PAGES - 1));
        if (this.isHuge(head) && this.owner(head) !== 0) return false;
        for (let offset = 0; offset < chunkEnd - at; offset++) {
          if (this.owner(page + offset) !== 0 || this.pinCount(page + offset) !== 0) return false;
        }
      }
      at = chunkEnd;
    }
    return true;
  }

  /**
   * Whether one of several owners, `owner`, may let go of a device range: nothing of it is its alone, and
   * what nobody's entry names is not pinned.
   */
  isLeft(devicePage: number, count: number, owner: number): boolean {
    for (let at = devicePage; at < devicePage + count; at++) {
      const page = this.find(at);
      if (page === null) continue;
      const left = this.owner(page) === 0 ? this.pinCount(page) === 0 : this.owner(page) !== owner;
      if (!left) return false;
    }
    return true;
  }

  /** Chunks that hold a page in use: for figures and leak tests. */
  chunksInUse(): number {
    const { words } = this.thread;
    let count = 0;
    const made = load(words, this.#area + Area.made);
    for (let chunk = 0; chunk < made; chunk++) {
      if (load(words, this.#headers + chunk * HEADER_WORDS + 1) !== 0) count++;
    }
    return count;
  }

  /** Pins counted on all pages: for leak tests. */
  totalPins(): number {
    const { words } = this.thread;
    const end = this.arena + ((load(words, this.#area + Area.made) * HUGE_PAGES) << RECORD_SHIFT);
    let pins = 0;
    for (let record = this.arena; record < end; record += 1 << RECORD_SHIFT) {
      pins += load(words, record) & COUNT;
    }
    return pins;
  }

  #enter(): void {
    if (enterGuard(this.thread, this.#area + Area.guard)) this.#repair();
  }

  #leave(): void {
    leaveGuard(this.thread, this.#area + Area.guard);
  }

  /**
   * After a thread has died inside the guard: a chunk is in use if the directory leads to it and it has
   * pages with an owner; all others are free. Owners and counts change only under the guard, so both
   * can be worked out here.
   */
  #repair(): void {
    const { words } = this.thread;
    const made = load(words, this.#area + Area.made);
    store(words, this.#area + Area.free, 0);
    for (let chunk = 0; chunk < made; chunk++) {
      if (this.#isInUse(chunk)) {
        this.#markType(chunk);
        this.#recountChunk(chunk);
      } else this.#pushFree(chunk);
    }
  }

  #isInUse(chunk: number): boolean {
    const { words } = this.thread;
    const deviceChunk = load(words, this.#headers + chunk * HEADER_WORDS);
    return load(words, this.#directory + deviceChunk) === chunk + 1;
  }

  /**
   * Enters the guard. Returns the chunk of the records of `deviceChunk`, made where it has none.
   * Throws: ENOMEM, the guard left.
   */
  #enterWithChunk(deviceChunk: number): number {
    this.#enter();
    let chunk = load(this.thread.words, this.#directory + deviceChunk) - 1;
    if (chunk < 0) chunk = this.#makeChunk(deviceChunk);
    if (chunk >= 0) return chunk;
    this.#leave();
    throw this.#outOfRecords();
  }

  /** The guard is held. Returns -1 when there is no room. */
  #makeChunk(deviceChunk: number): number {
    const { words } = this.thread;
    let chunk = load(words, this.#area + Area.free) - 1;
    if (chunk >= 0) {
      store(words, this.#area + Area.free, load(words, this.#headers + chunk * HEADER_WORDS));
    } else {
      chunk = load(words, this.#area + Area.made);
      if (chunk >= load(words, this.#area + Area.chunksMax)) return -1;
      store(words, this.#area + Area.made, chunk + 1);
    }
    store(words, this.#headers + chunk * HEADER_WORDS, deviceChunk);
    store(words, this.#directory + deviceChunk, chunk + 1);
    return chunk;
  }

  /** Counts a chunk's pages in use from their records; frees it when there are none. The guard is held. */
  #recountChunk(chunk: number): void {
    const { words } = this.thread;
    if (!this.#isInUse(chunk)) return;
    let used = 0;
    for (let page = 0; page < HUGE_PAGES; page++) {
      const record = this.pinWord((chunk << CHUNK_SHIFT) + page);
      if (load(words, record + Record.owner) === 0) continue;
      used += this.isHuge((chunk << CHUNK_SHIFT) + page) ? HUGE_PAGES : 1;
    }
    store(words, this.#headers + chunk * HEADER_WORDS + 1, used);
    if (used === 0) this.#freeChunk(chunk);
  }

  /** The guard is held. */
  #freeChunk(chunk: number): void {
    const { words } = this.thread;
    const header = this.#headers + chunk * HEADER_WORDS;
    store(words, this.#directory + load(words, header), 0);
    this.#pushFree(chunk);
  }

  #pushFree(chunk: number): void {
    const { words } = this.thread;
    const header = this.#headers + chunk * HEADER_WORDS;
    store(words, header, load(words, this.#area + Area.free));
    store(words, this.#area + Area.free, chunk + 1);
  }

  #outOfRecords(): Error {
    const max = load(this.thread.words, this.#area + Area.chunksMax);
    return new HoldfastError(
      "ENOMEM",
      `page records are used up (${max} chunks of 2 MiB in use); mount with a larger regionBytes`,
    );
  }
}
