/**
 * Transactions: the only way to change metadata. One is open per volume at a time; whatever it
 * changes can be undone from its log in shared memory, by itself (an error, an abort) or by another
 * thread (its own died). So an operation happens whole or not at all.
 *
 * Area, in words:
 *
 *     0 mutex | 1 state | 2 log words used | 3 transactions committed | 4 log size, words
 *     | 5 how many of those are on the medium, at least | 16..: log
 *
 * State: idle -> open -> (committed | rolling back) -> idle. It is the mutex that is taken and
 * dropped; `state` tells a recoverer which of the two to finish.
 *
 * Log record, read from its end: payload | a | b | kind | words. A record is complete before
 * `used` covers it, and `used` covers it before the change it undoes is made.
 *
 * Rules. (1) Undo first, change second. (2) Undoing twice is undoing once. (3) A layout sequence is
 *        odd from before the first change of that layout until the transaction has ended.
 */
import { HoldfastError } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import {
  add,
  addThenStore,
  cas,
  load,
  loadRelaxed,
  store,
  storeOwn,
  wakeAll,
} from "../sync/atomics.ts";
import { breakMutex, type Held, lockMutex } from "../sync/lock.ts";
import { Root } from "../sync/region.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import type { Thread } from "../sync/thread.ts";
import { Event, trace } from "../sync/trace.ts";
import {
  BufferHeader,
  type CachedBlock,
  DIRTY,
  type MetadataBlock,
  type MetadataCache,
  VALID,
} from "./cache.ts";

const Area = {
  mutex: 0,
  state: 1,
  used: 2,
  committed: 3,
  size: 4,
  persistent: 5,
  log: 16,
} as const;
const State = { idle: 0, open: 1, committed: 2 } as const;
const Kind = { word: 1, block: 2, sequence: 3 } as const;
export { Area as TransactionArea, State as TransactionState, Kind as UndoKind };
/** Fits about 8,000 before-images of 4 KiB, or an eighth of the region. Virtual memory until used. */
const LOG_WORDS_MAX = 2 ** 23;
const TRAILER_WORDS = 4;

/** For blocks without a checksum. */
export const NO_SEAL = 0;

/** Makes the transaction area of a new region. */
export function createTransactionArea(thread: Thread): void {
  const { region, words } = thread;
  const size = Math.min(LOG_WORDS_MAX, Math.floor(words.length / 8));
  const area = region.allocatePages(Area.log + size);
  store(words, area + Area.size, size);
  region.setRoot(Root.transaction, area);
}

/** Has this thread undo what threads that die had open. After attaching the cache. */
export function recoverTransactions(cache: MetadataCache): void {
  const { thread } = cache;
  const area = thread.region.root(Root.transaction);
  thread.onThreadDeath((dead) => {
    if (Math.abs(load(thread.words, area + Area.mutex)) !== dead) return;
    if (load(thread.words, area + Area.state) === State.open) rollBack(cache, area);
    endSequences(thread, area);
    store(thread.words, area + Area.used, 0);
    store(thread.words, area + Area.state, State.idle);
    breakMutex(thread, area + Area.mutex, dead);
  });
}

/**
 * Opens the volume's transaction, to change something.
 * Locks: ranks below map and above entry. Sleeps: while another one is open; in the device, where the journal
 * needs room. Throws: EROFS when the journal was given up; EIO.
 */
export function* beginTransaction(task: Task, cache: MetadataCache): Sleeps<Transaction> {
  const { journal } = cache;
  for (;;) {
    if (journal !== null) yield* journal.makeRoom(task);
    const transaction = yield* takeTransaction(task, cache);
    // Others may have changed much while this one waited.
    if (journal === null || !journal.isCrowded) return transaction;
    transaction.abort();
  }
}

/**
 * Has `change` change something in one transaction. Where it finds no space, but blocks were freed by what the
 * journal has not made durable, it is tried once more after a commit. Nothing has happened when it throws.
 * Locks, sleeps: as `beginTransaction`.
 */
export function* transact<T>(
  task: Task,
  cache: MetadataCache,
  change: (transaction: Transaction) => T,
): Sleeps<T> {
  const { journal } = cache;
  let isAllDurable = true;
  try {
    return yield* transactOnce(task, cache, (transaction) => {
      // As it is while there is no space: others may make it durable as soon as this one has failed.
      isAllDurable = isAllPersistent(cache.thread);
      return change(transaction);
    });
  } catch (error) {
    const isFull = error instanceof HoldfastError && error.code === "ENOSPC";
    if (!isFull || journal === null || isAllDurable) throw error;
  }
  yield* journal.commit(task);
  return yield* transactOnce(task, cache, change);
}

function* transactOnce<T>(
  task: Task,
  cache: MetadataCache,
  change: (transaction: Transaction) => T,
): Sleeps<T> {
  using transaction = yield* beginTransaction(task, cache);
  const result = change(transaction);
  transaction.commit();
  return result;
}

/** As `beginTransaction`, for who changes no metadata, or where that joins no journal. */
export function* takeTransaction(task: Task, cache: MetadataCache): Sleeps<Transaction> {
  const { thread } = task;
  const area = thread.region.root(Root.transaction);
  const held = yield* lockMutex(task, area + Area.mutex, "transaction");
  store(thread.words, area + Area.state, State.open);
  trace(thread, Event.transactionBegin);
  return new Transaction(cache, area, held);
}

/** Transactions committed since the region was made. */
export function transactionsCommitted(thread: Thread): number {
  return load(thread.words, thread.region.root(Root.transaction) + Area.committed);
}

/** Notes that the first `committed` transactions are on the medium. */
export function notePersistent(thread: Thread, committed: number): void {
  const { words } = thread;
  const word = thread.region.root(Root.transaction) + Area.persistent;
  for (let before = load(words, word); ((committed - before) | 0) > 0; before = load(words, word)) {
    cas(words, word, before, committed);
  }
}

/** Whether all that was committed is on the medium. */
export function isAllPersistent(thread: Thread): boolean {
  const area = thread.region.root(Root.transaction);
  return load(thread.words, area + Area.persistent) === load(thread.words, area + Area.committed);
}

/** The open transaction. `using`: aborted unless it was committed. */
export class Transaction implements Disposable {
  readonly cache: MetadataCache;
  readonly #area: number;
  readonly #held: Held<"transaction">;
  /** Its number among those of the cache. */
  readonly #serial: number;
  /** Blocks that it has saved. */
  #saved = 0;
  /** The layout sequences that this one has made odd, as its log says, too. */
  readonly #sequences: number[] = [];
  /** The journal's running transaction, which stays while this one is open; null before the first change. */
  #joining: number | null = null;
  readonly #logWords: number;
  /** As the area says. */
  #used = 0;
  #open = true;

  constructor(cache: MetadataCache, area: number, held: Held<"transaction">) {
    this.cache = cache;
    this.#area = area;
    this.#held = held;
    this.#serial = ++cache.opened;
    this.#logWords = load(cache.thread.words, area + Area.size);
  }

  /**
   * Write access to a block: saves its bytes, once, and marks it dirty. Change the bytes after this.
   * Before it leaves the cache the driver's sealer writes its checksum, or that of a `part` of it (an inode of a
   * table's block; numbers with the same remainder by 32 are one), as `seal` and `argument`, 32 bits, tell it.
   * Throws: EOVERFLOW when the transaction is too large.
   */
  edit(block: MetadataBlock, seal: number, argument = 0, part = 0): MetadataBlock {
    const cached = block as CachedBlock;
    if (cached.savedBy !== this.#serial) this.#editFirst(cached);
    if (seal !== NO_SEAL) this.#noteUnsealed(cached.header, seal, argument, 1 << part);
    return block;
  }

  #editFirst(cached: CachedBlock): void {
    const flags = this.cache.flagsOf(cached.header);
    invariant(flags & VALID, () => `block ${cached.block} is not valid`);
    this.#save(cached, flags);
    if (flags !== (VALID | DIRTY)) this.cache.setFlags(cached.header, VALID | DIRTY);
  }

  /** Parts of a block are about to change. */
  #noteUnsealed(header: number, seal: number, argument: number, parts: number): void {
    const { words } = this.cache.thread;
    const before = loadRelaxed(words, header + BufferHeader.unsealed);
    const isAlike =
      loadRelaxed(words, header + BufferHeader.seal) === seal &&
      loadRelaxed(words, header + BufferHeader.sealArgument) === (argument | 0);
    if (isAlike) {
      if ((before & parts) !== parts) store(words, header + BufferHeader.unsealed, before | parts);
      return;
    }
    this.setWord(header + BufferHeader.seal, seal);
    this.setWord(header + BufferHeader.sealArgument, argument | 0);
    this.setWord(header + BufferHeader.unsealed, parts);
  }

  /** A block that becomes metadata: zero-filled, not read from the device, dirty. `seal`, `argument`: as `edit`. */
  create(block: number, seal: number, argument = 0): MetadataBlock {
    const cached = this.cache.buffer(block);
    this.#save(cached, this.cache.flagsOf(cached.header));
    this.cache.setFlags(cached.header, VALID | DIRTY);
    this.#noteUnsealed(cached.header, seal, argument, seal === NO_SEAL ? 0 : 1);
    cached.bytes.fill(0);
    return cached;
  }

  /** `block` is metadata no longer: its copy is forgotten and never reaches the device. */
  revoke(block: number): void {
    const cached = this.cache.bufferIfCached(block);
    if (cached === null) return;
    this.#save(cached, this.cache.flagsOf(cached.header));
    this.cache.setFlags(cached.header, 0);
    this.#noteUnsealed(cached.header, NO_SEAL, 0, 0);
    cached.savedBy = 0;
  }

  getWord(word: number): number {
    return load(this.cache.thread.words, word);
  }

  /** Changes a word of the region that the open transaction guards. */
  setWord(word: number, value: number): void {
    const { words } = this.cache.thread;
    this.#append(0, word, load(words, word), Kind.word);
    store(words, word, value);
  }

  /** A layout is about to change: those who read it meanwhile, or before, will read it again. */
  beginLayoutChange(sequence: number): void {
    const { words } = this.cache.thread;
    if (load(words, sequence) & 1) return;
    this.#append(0, sequence, 0, Kind.sequence);
    this.#sequences.push(sequence);
    add(words, sequence, 1);
  }

  /** Ends the transaction: its changes stay. */
  commit(): void {
    invariant(this.#open, "a transaction is committed twice");
    const { thread } = this.cache;
    const { words } = thread;
    addThenStore(words, this.#area + Area.committed, 1, this.#area + Area.state, State.committed);
    trace(thread, Event.transactionCommit, this.#saved);
    this.#end();
  }

  /** Ends the transaction: everything is as it was before. */
  abort(): void {
    if (!this.#open) return;
    rollBack(this.cache, this.#area);
    trace(this.cache.thread, Event.transactionAbort, this.#saved);
    this.#end();
  }

  [Symbol.dispose](): void {
    this.abort();
  }

  #end(): void {
    const { thread } = this.cache;
    this.#open = false;
    for (const sequence of this.#sequences) endSequence(thread, sequence);
    store(thread.words, this.#area + Area.used, 0);
    store(thread.words, this.#area + Area.state, State.idle);
    this.#held.release();
  }

  #save(block: CachedBlock, flags: number): void {
    const payload = this.cache.blockSize / 4;
    this.#append(payload, block.header, flags, Kind.block, block);
    block.savedBy = this.#serial;
    this.#saved++;
    const { journal } = this.cache;
    if (journal === null || (this.#joining === null && !journal.isLive)) return;
    this.#joining ??= journal.runningSequence;
    journal.join(this, block.header, this.#joining);
  }

  #append(payload: number, a: number, b: number, kind: number, block?: CachedBlock): void {
    const { thread } = this.cache;
    const { words } = thread;
    invariant(this.#open, "an ended transaction is changed");
    const used = this.#used;
    const length = payload + TRAILER_WORDS;
    if (used + length > this.#logWords) {
      throw new HoldfastError(
        "EOVERFLOW",
        "the operation changes too much for one transaction; mount with a larger regionBytes",
      );
    }
    const record = this.#area + Area.log + used;
    if (block !== undefined) this.cache.copyTo(record, block);
    const trailer = record + payload;
    storeOwn(words, trailer, a);
    storeOwn(words, trailer + 1, b);
    storeOwn(words, trailer + 2, kind);
    storeOwn(words, trailer + 3, length);
    this.#used = used + length;
    store(words, this.#area + Area.used, this.#used);
  }
}

/** Undoes the log's records, last first. Sequences stay odd until all is undone. */
function rollBack(cache: MetadataCache, area: number): void {
  const { thread } = cache;
  const { words } = thread;
  let end = area + Area.log + load(words, area + Area.used);
  while (end > area + Area.log) {
    const [a, b, kind, length] = readTrailer(thread, end);
    const start = end - length;
    if (kind === Kind.word) store(words, a, b);
    if (kind === Kind.block) {
      cache.setFlags(a, b);
      // Else its bytes mean nothing, and a reader may have filled it since it was undone.
      if (b & VALID) {
        cache.viewOfHeader(a).bytes.set(thread.region.bytes(start, cache.blockSize));
      }
    }
    end = start;
  }
}

/** Makes the layout sequences named in the log even again. */
function endSequences(thread: Thread, area: number): void {
  const { words } = thread;
  let end = area + Area.log + load(words, area + Area.used);
  while (end > area + Area.log) {
    const [sequence, , kind, length] = readTrailer(thread, end);
    if (kind === Kind.sequence) endSequence(thread, sequence);
    end -= length;
  }
}

function endSequence({ words }: Thread, sequence: number): void {
  if ((load(words, sequence) & 1) === 0) return;
  add(words, sequence, 1);
  wakeAll(words, sequence);
}

function readTrailer(thread: Thread, end: number): [number, number, number, number] {
  const { words } = thread;
  return [load(words, end - 4), load(words, end - 3), load(words, end - 2), load(words, end - 1)];
}
