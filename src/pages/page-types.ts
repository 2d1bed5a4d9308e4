/**
 * Page types that programs register: for parts of a device, of 2 MiB each, somebody is told when a page
 * of them is idle, as a driver was by page_free of its pgmap.
 *
 * Area, in words: 0 guard of the names | 1 chunk tables, 0 while nothing was registered | 2 chunks of the device
 * | 8.. types, TYPE_WORDS each
 * Type: 0 registrar, 0 for none | 1 times it was told | 2 bytes of the name, 0: not in use | 3.. name
 * Chunk tables: the type of each chunk of the device, a word each; then of each type the chunks that were
 * idle, a bit each
 *
 * Invariants. (1) Who takes the last pin of a chunk sets its bit first and wakes second; the registrar takes
 *                 the bits first and looks whether they are idle second. So of each last release that it
 *                 has not seen there is a bit, and somebody who wakes it; how slow it is does not matter.
 *             (2) When a thread dies, which may have been about to tell, all chunks of each type are told;
 *                 so are those of a type that gets another registrar, after its last one has ended.
 * So a registrar is told of an idle chunk once too often at times, and never too seldom.
 */
import { HoldfastError } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import { add, cas, exchange, load, or, store, wakeAll } from "../sync/atomics.ts";
import { enterGuard, leaveGuard } from "../sync/guard.ts";
import { Root } from "../sync/region.ts";
import type { Thread } from "../sync/thread.ts";

export const Area = { guard: 0, chunkTables: 1, chunks: 2, table: 8 } as const;
const Type = { registrar: 0, told: 1, nameBytes: 2, name: 3 } as const;
export const TYPE_NAME_BYTES_MAX = 48;
export const TYPE_WORDS = Type.name + TYPE_NAME_BYTES_MAX / 4;
export const TYPES_MAX = 7;
/** The name of a type that is not in use. */
const NO_NAME = new Uint8Array();

export class PageTypes {
  readonly #thread: Thread;
  readonly #area: number;

  constructor(thread: Thread) {
    this.#thread = thread;
    this.#area = thread.region.root(Root.pageTypes);
  }

  /** Makes the area for a device of so many chunks of 2 MiB. Locks: none; alone. */
  static create(thread: Thread, chunks: number): void {
    const area = thread.region.allocatePages(Area.table + TYPES_MAX * TYPE_WORDS);
    store(thread.words, area + Area.chunks, chunks);
    thread.region.setRoot(Root.pageTypes, area);
  }

  #idleWords(): number {
    return Math.ceil(load(this.#thread.words, this.#area + Area.chunks) / 32);
  }

  /** Where the chunks of a type that were idle are noted, a bit each. */
  #idleTable(type: number): number {
    const { words } = this.#thread;
    const tables = load(words, this.#area + Area.chunkTables);
    return tables + load(words, this.#area + Area.chunks) + (type - 1) * this.#idleWords();
  }

  #type(type: number): number {
    invariant(type !== 0, "a page without a type is taken for one of a type");
    return this.#area + Area.table + (type - 1) * TYPE_WORDS;
  }

  /** Whether any type was ever registered. */
  get any(): boolean {
    return load(this.#thread.words, this.#area + Area.chunkTables) !== 0;
  }

  /** The type of a chunk of the device; 0 for none. While nothing is registered it costs one load. */
  of(deviceChunk: number): number {
    const { words } = this.#thread;
    const tables = load(words, this.#area + Area.chunkTables);
    return tables === 0 ? 0 : load(words, tables + deviceChunk);
  }

  /** For `Pages.setType`, which marks the pages. `type` is one that `register` gave, or 0. */
  set(deviceChunk: number, type: number): void {
    const { words } = this.#thread;
    store(words, load(words, this.#area + Area.chunkTables) + deviceChunk, type);
  }

  /** Tells the registrar of a chunk's type that a page of it is idle. */
  tell(deviceChunk: number): void {
    const { words } = this.#thread;
    const type = this.of(deviceChunk);
    if (type === 0) return;
    const bit = 1 << (deviceChunk & 31);
    const idle = this.#idleTable(type) + (deviceChunk >>> 5);
    if ((or(words, idle, bit) & bit) === 0) this.#wake(type);
  }

  #wake(type: number): void {
    add(this.#thread.words, this.toldWord(type), 1);
    wakeAll(this.#thread.words, this.toldWord(type));
  }

  /** What changes when a registrar is told. Read it before `takeIdle`, then sleep while it is the same. */
  toldWord(type: number): number {
    return this.#type(type) + Type.told;
  }

  /** The chunks of which the registrar of a type was told since it asked last, ascending. */
  takeIdle(type: number): number[] {
    const { words } = this.#thread;
    const idle = this.#idleTable(type);
    const taken: number[] = [];
    for (let word = 0; word < this.#idleWords(); word++) {
      if (load(words, idle + word) === 0) continue;
      const bits = exchange(words, idle + word, 0);
      for (let bit = 0; bit < 32; bit++) {
        if (((bits >>> bit) & 1) !== 0) taken.push(word * 32 + bit);
      }
    }
    return taken;
  }

  /** A type by its name, or 0. */
  find(name: Uint8Array): number {
    for (let type = 1; type <= TYPES_MAX; type++) if (this.#isNamed(type, name)) return type;
    return 0;
  }

  #isNamed(type: number, name: Uint8Array): boolean {
    const at = this.#type(type);
    if (load(this.#thread.words, at + Type.nameBytes) !== name.length) return false;
    return wordsOf(name).every(
      (word, index) => load(this.#thread.words, at + Type.name + index) === word,
    );
  }

  /**
   * Makes this thread the registrar of a type, which is new, or has lost its last one: then it is told of
   * all that is of the type. `name`: 1 to TYPE_NAME_BYTES_MAX bytes.
   * Throws: EEXIST when somebody is the registrar, ENOSPC when there are TYPES_MAX types, ENOMEM.
   */
  register(name: Uint8Array): number {
    const { words, holder } = this.#thread;
    this.#makeTables();
    const type = this.#named(name);
    if (type === 0) throw new HoldfastError("ENOSPC", `there are ${TYPES_MAX} page types already`);
    const word = this.#type(type) + Type.registrar;
    for (;;) {
      const registrar = load(words, word);
      if (registrar !== 0 && this.#thread.isAlive(registrar)) {
        const who = this.#thread.describe(registrar);
        throw new HoldfastError("EEXIST", `the page type is registered by ${who}`);
      }
      if (cas(words, word, registrar, holder)) break;
    }
    this.#tellAll(type);
    return type;
  }

  /** The type of a name: the one that has it, or a new one; 0 when there are TYPES_MAX. */
  #named(name: Uint8Array): number {
    const { words } = this.#thread;
    enterGuard(this.#thread, this.#area + Area.guard);
    let type = this.find(name);
    if (type === 0) {
      type = this.find(NO_NAME);
      if (type !== 0) {
        const at = this.#type(type);
        for (const [index, word] of wordsOf(name).entries())
          store(words, at + Type.name + index, word);
        store(words, at + Type.nameBytes, name.length);
      }
    }
    leaveGuard(this.#thread, this.#area + Area.guard);
    return type;
  }

  /** The thread is no longer told. What is of the type stays so, for its next registrar. */
  unregister(type: number): void {
    store(this.#thread.words, this.#type(type) + Type.registrar, 0);
    this.#wake(type);
  }

  /** Makes the chunk tables, for the first type. Of two threads that do so at once one makes them in vain. */
  #makeTables(): void {
    const { region, words } = this.#thread;
    const word = this.#area + Area.chunkTables;
    if (load(words, word) !== 0) return;
    const chunks = load(words, this.#area + Area.chunks);
    cas(words, word, 0, region.allocatePages(chunks + TYPES_MAX * this.#idleWords()));
  }

  /** Tells the registrar of all chunks of a type. Wakes it in any case: who has set a bit may have died. */
  #tellAll(type: number): void {
    const { words } = this.#thread;
    const chunks = load(words, this.#area + Area.chunks);
    const idle = this.#idleTable(type);
    for (let chunk = 0; chunk < chunks; chunk++) {
      if (this.of(chunk) === type) or(words, idle + (chunk >>> 5), 1 << (chunk & 31));
    }
    this.#wake(type);
  }

  /** Has the registrars of all types told when a thread has died (invariant 2). */
  recover(): void {
    this.#thread.onThreadDeath(() => {
      for (let type = 1; type <= TYPES_MAX; type++) {
        if (load(this.#thread.words, this.#type(type) + Type.registrar) !== 0) this.#tellAll(type);
      }
    });
  }
}

/** A name's bytes in words, the last one filled up with zeroes. */
function wordsOf(name: Uint8Array): number[] {
  const packed: number[] = [];
  for (let at = 0; at < name.length; at += 4) {
    let word = 0;
    for (let byte = 0; byte < 4; byte++) word |= (name[at + byte] ?? 0) << (8 * byte);
    packed.push(word);
  }
  return packed;
}
