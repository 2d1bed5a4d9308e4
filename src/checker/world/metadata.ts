/**
 * Cached metadata blocks and the transactions that change them, with no driver above. The device holds
 * a value a block, which fills it; a block ends with its seal, when it leaves the cache. After every whole transaction two of the
 * blocks and a word agree.
 *
 * Bytes of blocks are no words to the door, so here they are read and written as words where the core
 * leaves that to its callers; and each schedule begins by bringing them back.
 */
import { CorruptionError, HoldfastError } from "../../base/errors.ts";
import {
  BUFFER_WORDS,
  BufferHeader,
  CacheArea,
  CHUNK_BUFFERS,
  CHUNK_TABLE,
  DIRTY,
  type MetadataBlock,
  MetadataCache,
  type MetadataDevice,
  VALID,
} from "../../metadata/cache.ts";
import { createJournalArea } from "../../metadata/journal.ts";
import { readStable } from "../../metadata/sequence.ts";
import {
  beginTransaction,
  createTransactionArea,
  recoverTransactions,
  type Transaction,
  TransactionArea,
  transactionsCommitted,
  TransactionState,
} from "../../metadata/transaction.ts";
import { load, store, type Words } from "../../sync/atomics.ts";
import { recoverLocks } from "../../sync/lock.ts";
import { type Region, REGION_BYTES_MIN, Root } from "../../sync/region.ts";
import type { Sleeps } from "../../sync/sleep.ts";
import type { Thread } from "../../sync/thread.ts";
import { ensure, ensureNoLeak, type Self } from "../scenario.ts";
import { threadWordName } from "./locks.ts";
import { transactionWordName } from "./names.ts";
import { isDead, regionWithThreads } from "./threads.ts";

const BLOCK_BYTES = 1024;
const BLOCK_WORDS = BLOCK_BYTES / 4;
/** Words of a block that are looked at: it is whole when they agree. */
const MIDDLE = BLOCK_WORDS / 2;
const SEAL = BLOCK_WORDS - 1;

/** What the blocks that agree begin with. */
export const START = 100;
/** Those blocks. */
export const PAIR = [1, 2] as const;
/** A block whose number needs two words, and which shares the bucket of block 0. */
export const FAR_BLOCK = 2 ** 32 + 1;
/** The kind of seal that blocks have. */
export const SEALED = 1;
/** In the device's place of a block: no content that has a seal. */
const DAMAGED = 0;
/** Buffers are made so many at a time: a page of headers, then their data. */
const CHUNK_BYTES = 4096 + CHUNK_BUFFERS * BLOCK_BYTES;
/** Chunks that a scenario may make. */
const CHUNKS_MAX = 8;

export interface MetadataShared {
  readonly region: Region;
  /** Blocks that the device has something in, in the order of their words. */
  readonly blocks: readonly number[];
  /** The device's words, then those that transactions change. */
  readonly device: number;
  readonly word: number;
  readonly sequence: number;
  /** Where the device can be removed: whether it was. Else 0. */
  readonly gone: number;
  /** Blocks that are cached from the start. */
  readonly cached: readonly number[];
  /** Of the region, at the start. */
  readonly bytesAtStart: number;
}

/** What a scenario of blocks begins with. */
export interface Blocks {
  /** How many the device has: from 0 on, and the far one. */
  readonly blocks: number;
  /** Before the actors begin; if none is, there are no buffers either. */
  readonly cached: readonly number[];
  readonly removable?: boolean;
  /** Whether changes can join a journal (journal.ts). */
  readonly isJournaled?: boolean;
}

export function buildMetadata(
  actors: number,
  { blocks: blockCount, cached, removable = false, isJournaled = false }: Blocks,
): MetadataShared {
  // So many pages that the region's header, taken for a buffer's, would be that of a changed block.
  const { region, thread } = regionWithThreads(actors, REGION_BYTES_MIN + 3 * 4096);
  const blocks = Array.from({ length: blockCount - 1 }, (_, block) => block);
  blocks.push(FAR_BLOCK);
  const device = region.allocatePages(blockCount + 16);
  const word = device + blockCount;
  for (const [index, block] of blocks.entries()) {
    const inPair = block === PAIR[0] || block === PAIR[1];
    store(region.words, device + index, inPair ? START : START + 1000 + index);
  }
  store(region.words, word, START);
  const gone = removable ? word + 12 : 0;
  const shared = {
    region,
    blocks,
    device,
    word,
    sequence: word + 8,
    gone,
    cached,
    bytesAtStart: 0,
  };
  createTransactionArea(thread);
  if (isJournaled) createJournalArea(thread);
  const cache = MetadataCache.create(thread, new WordDevice(thread, shared, null), BLOCK_BYTES);
  for (const block of cached) cache.read(block, () => {});
  return { ...shared, bytesAtStart: region.bytesUsed };
}

/** What is told of stores to home blocks, and persists, where crashes are looked at. */
export interface CrashModel {
  noteStored(index: number, value: number): void;
  /** Throws: EIO. */
  persist(thread: Thread): void;
}

/** The device in one thread. */
class WordDevice implements MetadataDevice {
  readonly size = 2 * 2 ** 32 * BLOCK_BYTES;
  readonly #words: Words;
  readonly #thread: Thread;
  readonly #shared: MetadataShared;
  readonly #crash: CrashModel | null;

  constructor(thread: Thread, shared: MetadataShared, crash: CrashModel | null) {
    this.#words = thread.words;
    this.#thread = thread;
    this.#shared = shared;
    this.#crash = crash;
  }

  #index(at: number): number {
    const index = this.#shared.blocks.indexOf(at / BLOCK_BYTES);
    ensure(index >= 0, `the device is asked for byte ${at}, where nothing is`);
    return index;
  }

  #isGone(): boolean {
    const { gone } = this.#shared;
    return gone !== 0 && load(this.#words, gone) !== 0;
  }

  persistAll(): void {
    this.#crash?.persist(this.#thread);
  }

  assertPresent(): void {
    if (this.#isGone()) throw new HoldfastError("EIO", "the device is gone");
  }

  /** Of a device that is gone there is no content. */
  copyOut(at: number, target: Uint8Array): void {
    const word = this.#shared.device + this.#index(at);
    const value = this.#isGone() ? DAMAGED : load(this.#words, word);
    const content = wordsOf(target).fill(value);
    if (value !== DAMAGED) content[SEAL] = ~value;
  }

  copyIn(at: number, source: Uint8Array): void {
    const index = this.#index(at);
    const value = wholeValue(at / BLOCK_BYTES, source, "home");
    store(this.#words, this.#shared.device + index, value);
    this.#crash?.noteStored(index, value);
  }
}

/** What a block's bytes hold, which are about to be written to `where`. */
export function wholeValue(block: number, bytes: Uint8Array, where: string): number {
  const content = wordsOf(bytes);
  const value = content[0]!;
  const whole = content[MIDDLE] === value && content[SEAL] === ~value;
  ensure(whole, `block ${block} is written to ${where} half changed`);
  return value;
}

function wordsOf({ buffer, byteOffset, byteLength }: Uint8Array): Int32Array {
  return new Int32Array(buffer, byteOffset, byteLength / 4);
}

/** The blocks in one schedule. */
export class Metadata {
  readonly shared: MetadataShared;
  readonly actors: readonly Self[];
  readonly words: Words;
  readonly #crash: CrashModel | null;
  /** Made per actor. */
  readonly #caches: readonly MetadataCache[];
  /** The newest value that somebody was shown. */
  #seen = START;
  /** How often a block was sealed, and found good when it was read from the device. */
  sealed = 0;
  verified = 0;

  constructor(shared: MetadataShared, actors: readonly Self[], crash: CrashModel | null = null) {
    this.shared = shared;
    this.#crash = crash;
    this.actors = actors;
    this.words = shared.region.words;
    this.#caches = actors.map(({ thread }) => {
      const cache = this.attach(thread);
      recoverLocks(thread);
      recoverTransactions(cache);
      return cache;
    });
    this.#bringBack();
  }

  /** The bytes that earlier schedules have written, behind the door. */
  #bringBack(): void {
    const { shared } = this;
    shared.region.bytes(shared.bytesAtStart / 4, CHUNKS_MAX * CHUNK_BYTES).fill(0);
    const [cache] = this.#caches;
    for (const block of shared.cached) {
      const value = load(this.words, this.#deviceWord(block));
      const { bytes } = cache!.bufferIfCached(block)!;
      wordsOf(bytes).fill(value)[SEAL] = ~value;
    }
  }

  /** A cache as a thread has it that has just attached. */
  attach(thread: Thread): MetadataCache {
    const cache = MetadataCache.attach(thread, new WordDevice(thread, this.shared, this.#crash));
    cache.sealBy((block) => this.seal(block));
    return cache;
  }

  cache(self: Self): MetadataCache {
    return this.#caches[this.actors.indexOf(self)]!;
  }

  #deviceWord(block: number): number {
    return this.shared.device + this.shared.blocks.indexOf(block);
  }

  /** What the device has for a block. */
  onDevice(block: number): number {
    return load(this.words, this.#deviceWord(block));
  }

  /** Puts something else into a block of the device, behind the cache. */
  writeDevice(block: number, value: number): void {
    store(this.words, this.#deviceWord(block), value);
  }

  damage(block: number): void {
    this.writeDevice(block, DAMAGED);
  }

  // Blocks.

  read(self: Self, block: number): MetadataBlock {
    return this.cache(self).read(block, (read) => {
      const seal = load(this.words, read.bytes.byteOffset / 4 + SEAL);
      this.#assertAgree(block, this.valueOf(read), ~seal);
      this.verified++;
    });
  }

  /** As `value`, of a copy that is not cached. */
  valueOfCopy(self: Self, block: number): number {
    const verify = ({ bytes }: MetadataBlock): void => {
      const content = wordsOf(bytes);
      this.#assertAgree(block, content[0]!, content[MIDDLE]!);
      this.#assertAgree(block, content[0]!, ~content[SEAL]!);
    };
    return wordsOf(this.cache(self).readCopy(block, verify).bytes)[0]!;
  }

  /** Takes the device away, and gives it back. */
  removeDevice(): void {
    store(this.words, this.shared.gone, 1);
  }

  putBack(): void {
    store(this.words, this.shared.gone, 0);
  }

  value(self: Self, block: number): number {
    return this.valueOf(this.read(self, block));
  }

  /** What a block holds. Throws: CorruptionError when it is half changed. */
  valueOf({ block, bytes }: MetadataBlock): number {
    const word = bytes.byteOffset / 4;
    const value = load(this.words, word);
    this.#assertAgree(block, value, load(this.words, word + MIDDLE));
    return value;
  }

  #assertAgree(block: number, value: number, other: number): void {
    if (other === value) return;
    const expected = "as the middle and the seal say";
    throw new CorruptionError({ structure: `block ${block}`, field: "value", value, expected });
  }

  /** Writes a block that is edited; its seal is written when it leaves the cache. */
  write({ bytes }: MetadataBlock, value: number): void {
    const word = bytes.byteOffset / 4;
    store(this.words, word, value);
    store(this.words, word + MIDDLE, value);
  }

  seal({ bytes }: MetadataBlock): void {
    const word = bytes.byteOffset / 4;
    this.sealed++;
    store(this.words, word + SEAL, ~load(this.words, word));
  }

  edit(self: Self, transaction: Transaction, block: number, value: number): void {
    const edited = transaction.edit(this.read(self, block), SEALED);
    this.write(edited, value);
  }

  create(transaction: Transaction, block: number, value: number): void {
    const created = transaction.create(block, SEALED);
    const word = created.bytes.byteOffset / 4;
    for (const at of [0, MIDDLE, SEAL]) {
      ensure(load(this.words, word + at) === 0, `block ${block} is created with something in it`);
    }
    this.write(created, value);
  }

  /** Has a block changed, as a transaction would, before the actors begin. */
  changeBefore(block: number, value: number): void {
    const [cache] = this.#caches;
    const cached = cache!.bufferIfCached(block)!;
    this.write(cached, value);
    this.seal(cached);
    cache!.setFlags(cached.header, VALID | DIRTY);
  }

  /** Has a block's buffer be what a transaction that made the block leaves when it is undone. */
  leaveInvalid(block: number): void {
    wordsOf(this.#caches[0]!.buffer(block).bytes).fill(7);
  }

  // Transactions.

  /** Changes something, whole. */
  *transaction(self: Self, change: (transaction: Transaction) => void): Sleeps<void> {
    using transaction = yield* beginTransaction(self.task, this.cache(self));
    this.#assertOpen();
    change(transaction);
    this.#assertOpen();
    transaction.commit();
  }

  /** As `transaction`, but it fails in the end. */
  *undone(self: Self, change: (transaction: Transaction) => void): Sleeps<void> {
    using transaction = yield* beginTransaction(self.task, this.cache(self));
    change(transaction);
    this.#assertOpen();
    self.say("fails, and undoes what it did");
  }

  /** So that whoever finds its owner dead knows to undo it. */
  #assertOpen(): void {
    ensure(this.transactionWord("state") === TransactionState.open, "the transaction is not open");
  }

  /** Makes the pair and the word one more, telling readers. */
  raise(self: Self, transaction: Transaction): void {
    const { word, sequence } = this.shared;
    const value = transaction.getWord(word) + 1;
    this.uncounted(value - 1 - START);
    transaction.beginLayoutChange(sequence);
    for (const block of PAIR) this.edit(self, transaction, block, value);
    transaction.setWord(word, value);
    self.say(`makes the blocks ${value}`);
  }

  /** Reads without a lock, until nothing has changed meanwhile. */
  *stable<T>(self: Self, read: () => T): Sleeps<T> {
    return yield* readStable(self.task, this.shared.sequence, read);
  }

  /** Reads the pair and the word, which agree. */
  *readPair(self: Self): Sleeps<void> {
    const values = yield* this.stable(self, () => [
      this.value(self, PAIR[0]),
      this.value(self, PAIR[1]),
      load(this.words, this.shared.word),
    ]);
    this.assertPair(values);
    self.say(`sees the blocks at ${values[0]}`);
  }

  assertPair([one, two, word]: readonly number[]): void {
    ensure(one === two && two === word, `the blocks are ${one} and ${two}, their word is ${word}`);
    ensure(word! >= this.#seen, `${this.#seen} was to be seen before, now it is ${word}`);
    this.#seen = word!;
  }

  // The end.

  survivor(): Self {
    return this.actors.find(({ thread }) => !isDead(thread))!;
  }

  deaths(): number {
    return this.actors.filter(({ thread }) => isDead(thread)).length;
  }

  transactionWord(field: keyof typeof TransactionArea): number {
    return load(this.words, this.shared.region.root(Root.transaction) + TransactionArea[field]);
  }

  /** At the end: no transaction is open, and the pair agrees. */
  end(): void {
    const survivor = this.survivor();
    survivor.thread.reap();
    ensureNoLeak(this.transactionWord("mutex") === 0, "the volume's transaction is still held");
    ensureNoLeak(this.transactionWord("state") === 0, "a transaction is still open");
    ensureNoLeak(this.transactionWord("used") === 0, "the transaction's log is not empty");
    for (const { task, thread, name } of this.actors) {
      ensureNoLeak(task.held.length === 0 || isDead(thread), `${name} still holds a lock`);
    }
    const { word, sequence } = this.shared;
    ensureNoLeak((load(this.words, sequence) & 1) === 0, "the layout's sequence is left odd");
    const guard = load(this.words, this.shared.region.root(Root.metadata) + CacheArea.guard);
    ensureNoLeak(
      guard === 0 || !survivor.thread.isAlive(Math.abs(guard)),
      "the cache's guard is left taken",
    );
    const pair = PAIR.map((block) => this.value(survivor, block));
    this.assertPair([...pair, load(this.words, word)]);
    this.uncounted(this.raised());
  }

  /** At the very end: all blocks can be read, and no buffer is lost. */
  endOfBuffers(): void {
    for (const block of this.shared.blocks) this.value(this.survivor(), block);
    this.#assertNoneLost(this.#assertBuffers());
  }

  /** How often the blocks were raised. */
  raised(): number {
    return load(this.words, this.shared.word) - START;
  }

  /** How often more than transactions were committed: at most as often. */
  uncounted(raised: number): number {
    const uncounted = raised - transactionsCommitted(this.survivor().thread);
    ensure(uncounted <= 0, "a transaction that was committed does not count as such");
    return uncounted;
  }

  /** Writes home what is changed: `changed` are the blocks, and all of them. */
  assertFlushed(changed: readonly number[]): void {
    const cache = this.cache(this.survivor());
    const values = changed.map((block) => this.value(this.survivor(), block));
    const written = cache.flush();
    ensure(written === changed.length, `${written} blocks are written home, not ${changed.length}`);
    for (const [index, block] of changed.entries()) {
      ensure(this.onDevice(block) === values[index], `block ${block} is not on the device`);
    }
    ensure(cache.flush() === 0, "what was written home still counts as changed");
  }

  /** One buffer a block, the same for all threads. Returns how many there are. */
  #assertBuffers(): number {
    const blocks = new Map<number, number>();
    for (const self of this.actors) {
      for (const block of this.shared.blocks) {
        const at = this.cache(self).bufferIfCached(block)?.bytes.byteOffset;
        if (at === undefined) continue;
        const other = blocks.get(at) ?? block;
        ensure(other === block, `blocks ${other} and ${block} share a buffer`);
        blocks.set(at, block);
      }
    }
    ensure(new Set(blocks.values()).size === blocks.size, "a block has two buffers");
    return blocks.size;
  }

  /** Each buffer that was made has a block or is spare, unless somebody died with it. */
  #assertNoneLost(used: number): void {
    const { words } = this;
    const area = this.shared.region.root(Root.metadata);
    const made = words[area + CacheArea.made]!;
    let spare = 0;
    for (let index = words[area + CacheArea.spare]!; index !== 0; spare++) {
      ensure(spare < made, "spare buffers go round in a circle");
      const at = index - 1;
      const chunk = words[area + CHUNK_TABLE + Math.floor(at / CHUNK_BUFFERS)]!;
      index = words[chunk + (at % CHUNK_BUFFERS) * BUFFER_WORDS + BufferHeader.next]!;
    }
    const lost = made - used - spare;
    ensureNoLeak(lost >= 0 && lost <= CHUNK_BUFFERS * this.deaths(), `${lost} buffers are lost`);
  }

  nameOf(word: number): string | null {
    const { blocks, device, sequence, gone, region } = this.shared;
    if (word === this.shared.word) return "the word";
    if (word === sequence) return "the layout's sequence";
    if (word === gone && gone !== 0) return "the device is gone";
    const index = word - device;
    if (index >= 0 && index < blocks.length) return `block ${blocks[index]} on the device`;
    const inCache = word - region.root(Root.metadata);
    const cacheFields = ["guard", "block size", "buffers made", "spare buffers"];
    if (inCache >= 0 && inCache < 16) return `the cache: ${cacheFields[inCache]}`;
    return (
      transactionWordName(region.root(Root.transaction), word) ?? threadWordName(this.actors, word)
    );
  }
}
