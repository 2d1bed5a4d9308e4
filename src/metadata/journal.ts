/**
 * The journal: how the changes of many transactions (transaction.ts) reach the medium all or not at all.
 *
 * Changes of metadata join the *running* journal transaction. A commit seals it: the blocks it has changed
 * are copied into the log, in the format of the driver's `TransactionLog`, and the next one runs. When what
 * was copied is on the medium, a commit record follows it; when that is, the transaction is *durable*.
 *
 *     running --seal--> sealed --persist--> record written --persist--> durable
 *
 * Area, in words:
 *
 *     0 state | 1 running | 2 recorded: the last whose record is written | 3 durable: the last that is
 *     4 the first transaction that the log still holds for the home blocks | 5 where it begins; 0: none
 *     | 6 guard of the log's notes | 16..31, 32..47: a transaction with an even, an odd number:
 *
 *         0 first of its buffers | 1 how many | 2 where the next one begins | 3 where its record goes
 *         | 4, 5 as words 4 and 5, when this one is durable | 6 transactions committed when it was sealed
 *
 * Rules. (1) All words change under the volume's transaction mutex, but `state` when the journal is given up: that
 *            waits for nobody. What the log notes then, and where it begins, is noted under a guard. `running`
 *            rises in one store when all of a sealed transaction is in the log; so a thread that dies in a seal
 *            has not sealed it.
 *        (2) Whoever wants something durable takes the steps that are left. Nobody holds a lock while the
 *            medium is waited for: a step goes on from a stage when the device was persisted after it was
 *            reached, by whomever. So nobody waits for a thread, and a dead one leaves nothing behind.
 *        (3) A sealed transaction's record is written after a persist of the whole device: file data that its
 *            metadata reveals is on the medium first.
 *        (4) Home blocks change from the log only, with what durable transactions hold. Room in the log is used
 *            again when the home blocks, and the journal's note where its log begins, are on the medium:
 *            both ride on the persists of a commit.
 *        (5) Blocks of a transaction are at most a quarter of the log, and when half of the log is in use, what
 *            is durable goes home. So there is room to seal, always.
 */
import { HoldfastError } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import { load, store } from "../sync/atomics.ts";
import { enterGuard, leaveGuard } from "../sync/guard.ts";
import { Root } from "../sync/region.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import type { Thread } from "../sync/thread.ts";
import { BufferHeader, type CachedBlock, DIRTY, type MetadataCache } from "./cache.ts";
import {
  notePersistent,
  takeTransaction,
  type Transaction,
  transactionsCommitted,
} from "./transaction.ts";

/**
 * A log in a driver's format. Sequence numbers are unsigned and go round after 2^32; places are numbers of the
 * log's blocks, from `first` on, in a ring.
 * All methods are called with the transaction held, but `setAborted`: that and `setStart` exclude one another.
 * None waits for the medium. Throw: EIO.
 */
export interface TransactionLog {
  readonly first: number;
  /** Blocks in the ring. */
  readonly blocks: number;
  /** Blocks that a transaction takes that has changed so many blocks, and revoked so many. */
  blocksFor(changed: number, revoked: number): number;
  /** Blocks from one place to another, going round. */
  distance(from: number, to: number): number;
  next(at: number): number;
  /** Writes a transaction to `at`, but for its commit record: returns where that goes. */
  write(
    sequence: number,
    at: number,
    changed: readonly CachedBlock[],
    revoked: readonly number[],
  ): number;
  /** Writes a commit record. */
  record(sequence: number, at: number): void;
  /** Copies home what the log holds from transaction `sequence`, at `at`, through `last`. */
  copyHome(sequence: number, at: number, last: number): void;
  /** Notes where the log begins: with transaction `sequence`, at `at`; 0: it is empty, and that one is the next. */
  setStart(sequence: number, at: number): void;
  /** Notes that the journal was given up. */
  setAborted(errno: number): void;
}

const Area = {
  state: 0,
  running: 1,
  recorded: 2,
  durable: 3,
  tailSequence: 4,
  tail: 5,
  guard: 6,
  even: 16,
  odd: 32,
} as const;
const AREA_WORDS = 64;
const Of = {
  list: 0,
  blocks: 1,
  end: 2,
  recordAt: 3,
  tailSequence: 4,
  tail: 5,
  committed: 6,
} as const;
const State = { off: 0, live: 1, aborted: 2 } as const;
/** Follows the last buffer of a list: 0 follows one that has never joined. No buffer's header lies there. */
const LAST = 1;
export { Area as JournalArea, Of as JournalTransaction, State as JournalState };

const EIO = 5;

/** Makes the journal's area of a new region: off, until `Journal.start`. */
export function createJournalArea(thread: Thread): void {
  thread.region.setRoot(Root.journal, thread.region.allocatePages(AREA_WORDS));
}

/** Whether sequence number `a` comes after `b`: they go round. */
export function isAfter(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}

export class Journal {
  readonly thread: Thread;
  readonly cache: MetadataCache;
  readonly #log: TransactionLog;
  readonly #area: number;
  /** Blocks that a transaction may change. */
  readonly #blocksMax: number;

  constructor(cache: MetadataCache, log: TransactionLog) {
    this.thread = cache.thread;
    this.cache = cache;
    this.#log = log;
    this.#area = cache.thread.region.root(Root.journal);
    this.#blocksMax = Math.floor((log.blocks * 7) / 32);
    invariant(
      log.blocksFor(this.#blocksMax, 0) <= log.blocks / 4,
      "a transaction takes too much of the log",
    );
  }

  #word(name: "state" | "running" | "recorded" | "durable" | "tailSequence" | "tail"): number {
    return load(this.thread.words, this.#area + Area[name]);
  }

  /** Word `name` of transaction `sequence`: this one's or the last one's. */
  #of(sequence: number, name: keyof typeof Of): number {
    return this.#area + ((sequence & 1) === 0 ? Area.even : Area.odd) + Of[name];
  }

  /** Whether changes join transactions of the journal. */
  get isLive(): boolean {
    return this.#word("state") !== State.off;
  }

  /** The number of the transaction that changes join now. Locks: the transaction. */
  get runningSequence(): number {
    return this.#word("running");
  }

  /** Whether transaction `sequence` is on the medium: it can be no more undone by a crash. Locks: the transaction. */
  isDurable(sequence: number): boolean {
    return !isAfter(sequence, this.#word("durable"));
  }

  /** Throws: EROFS when the journal was given up; EIO when the device is gone. */
  assertUsable(): void {
    this.cache.device.assertPresent();
    if (this.isAborted) throw new HoldfastError("EROFS", this.abortedReason);
  }

  /** Once, in a new region: from now on changes join transactions; the log is empty, the first one has this number. */
  start(sequence: number): void {
    const { words } = this.thread;
    const before = (sequence - 1) | 0;
    store(words, this.#area + Area.running, sequence | 0);
    store(words, this.#area + Area.recorded, before);
    store(words, this.#area + Area.durable, before);
    store(words, this.#of(before, "end"), this.#log.first);
    store(words, this.#area + Area.state, State.live);
  }

  /**
   * Ends the journal's use: nothing has changed since the last commit, and all is home, on the medium.
   * Locks: the transaction.
   */
  end(): void {
    this.#setStart(this.runningSequence, 0);
    store(this.thread.words, this.#area + Area.state, State.off);
  }

  /** Whether the journal was given up. */
  get isAborted(): boolean {
    return this.#word("state") === State.aborted;
  }

  /** What is said then. */
  get abortedReason(): string {
    return (
      "the volume is read-only since its journal met an I/O error; unmount it, see to the storage, and check " +
      "it with e2fsck -f"
    );
  }

  /** The journal is given up: what is not durable may never be, and nothing changes any more. */
  abort(): void {
    if (!this.isLive) return;
    store(this.thread.words, this.#area + Area.state, State.aborted);
    enterGuard(this.thread, this.#area + Area.guard);
    try {
      this.#log.setAborted(-EIO);
    } catch {
      // Where the storage is gone, nothing can be noted there.
    }
    leaveGuard(this.thread, this.#area + Area.guard);
  }

  #setStart(sequence: number, at: number): void {
    enterGuard(this.thread, this.#area + Area.guard);
    try {
      this.#log.setStart(sequence >>> 0, at);
    } finally {
      leaveGuard(this.thread, this.#area + Area.guard);
    }
  }

  /**
   * A block's buffer is about to change: it becomes one of the running transaction's, whose number is `sequence`.
   * Throws: EOVERFLOW when that has as many as it can.
   */
  join(transaction: Transaction, header: number, sequence: number): void {
    if (this.#hasJoined(transaction, header, sequence)) return;
    const list = this.#of(sequence, "list");
    const blocks = transaction.getWord(this.#of(sequence, "blocks"));
    if (blocks >= this.#blocksMax) {
      throw new HoldfastError(
        "EOVERFLOW",
        `the operation changes more blocks than the journal takes at once (${this.#blocksMax}); make the ` +
          "journal larger (tune2fs -J size=...)",
      );
    }
    transaction.setWord(header + BufferHeader.nextJoined, transaction.getWord(list) || LAST);
    transaction.setWord(list, header);
    transaction.setWord(this.#of(sequence, "blocks"), blocks + 1);
    transaction.setWord(header + BufferHeader.joined, sequence);
  }

  /** A buffer that has joined none yet has a number, too: 0. */
  #hasJoined(transaction: Transaction, header: number, sequence: number): boolean {
    return (
      transaction.getWord(header + BufferHeader.joined) === sequence &&
      transaction.getWord(header + BufferHeader.nextJoined) !== 0
    );
  }

  /** Whether the running transaction is half full: each operation is to find room for as much again. */
  get isCrowded(): boolean {
    const blocks = load(this.thread.words, this.#of(this.runningSequence, "blocks"));
    return blocks >= this.#blocksMax / 2;
  }

  /**
   * Commits when the running transaction is crowded.
   * Locks: ranks below map. Sleeps: for the transaction, and in the device. Throws: EIO, EROFS.
   */
  *makeRoom(task: Task): Sleeps<void> {
    if (!this.isLive) return;
    this.assertUsable();
    if (this.isCrowded) yield* this.commit(task);
  }

  /**
   * Makes all that has been changed durable. Sleeps: for the transaction, and in the device.
   * Throws: EIO, and the journal is given up; EROFS when it was.
   */
  *commit(task: Task): Sleeps<void> {
    const commit = new Commit(this);
    while (yield* commit.step(task)) {
      try {
        this.cache.device.persistAll();
      } catch (error) {
        this.abort();
        throw error;
      }
    }
  }

  /** For Commit. Whether something has joined the running transaction. */
  get hasChanges(): boolean {
    return load(this.thread.words, this.#of(this.runningSequence, "list")) !== 0;
  }

  /** For Commit. The transaction that is sealed and not durable, or null. */
  get committing(): { sequence: number; isRecorded: boolean } | null {
    const sequence = (this.runningSequence - 1) | 0;
    if (this.#word("durable") === sequence) return null;
    return { sequence, isRecorded: this.#word("recorded") === sequence };
  }

  /** For Commit. Copies the running transaction into the log, and begins the next one. */
  seal(): void {
    const { words } = this.thread;
    const log = this.#log;
    const sequence = this.runningSequence;
    const before = (sequence - 1) | 0;
    const { changed, revoked } = this.#collect(sequence);
    const at = load(words, this.#of(before, "end"));
    this.#beginTail(sequence, at, log.blocksFor(changed.length, revoked.length));
    const recordAt = log.write(sequence >>> 0, at, changed, revoked);
    store(words, this.#of(sequence, "recordAt"), recordAt);
    store(words, this.#of(sequence, "end"), log.next(recordAt));
    store(words, this.#of(sequence, "committed"), transactionsCommitted(this.thread));
    // The words of the one before the last: its place is the next one's.
    store(words, this.#of(before, "list"), 0);
    store(words, this.#of(before, "blocks"), 0);
    store(words, this.#area + Area.running, (sequence + 1) | 0);
  }

  /**
   * Where the log is to begin when transaction `sequence`, of `blocks` blocks at `at`, is durable: with it, if
   * the log is empty, or half full. Then what is durable already goes home first.
   */
  #beginTail(sequence: number, at: number, blocks: number): void {
    const { words } = this.thread;
    const log = this.#log;
    const tailSequence = this.#word("tailSequence");
    const tail = this.#word("tail");
    const isFull = tail !== 0 && log.distance(tail, at) + blocks > log.blocks / 2;
    if (isFull) log.copyHome(tailSequence >>> 0, tail, this.#word("durable") >>> 0);
    const moves = isFull || tail === 0;
    store(words, this.#of(sequence, "tailSequence"), moves ? sequence : tailSequence);
    store(words, this.#of(sequence, "tail"), moves ? at : tail);
  }

  /**
   * What has joined the running transaction: it was changed, or revoked since. A block that was revoked may be
   * valid again, where a reader without a lock has filled it; but it is not dirty. What was changed is sealed.
   */
  #collect(sequence: number): { changed: CachedBlock[]; revoked: number[] } {
    const { words } = this.thread;
    const changed: CachedBlock[] = [];
    const revoked: number[] = [];
    let header = load(words, this.#of(sequence, "list"));
    while (header > LAST) {
      const block = this.cache.viewOfHeader(header);
      if (this.cache.flagsOf(header) & DIRTY) {
        this.cache.seal(block);
        changed.push(block);
      } else revoked.push(block.block);
      header = load(words, header + BufferHeader.nextJoined);
    }
    return { changed, revoked };
  }

  /** For Commit. Writes the commit record of a sealed transaction: all of it is on the medium. */
  record(sequence: number): void {
    const { words } = this.thread;
    const tailSequence = load(words, this.#of(sequence, "tailSequence"));
    if (this.#word("tail") === 0 || this.#word("tailSequence") !== tailSequence) {
      this.#setStart(tailSequence, load(words, this.#of(sequence, "tail")));
    }
    this.#log.record(sequence >>> 0, load(words, this.#of(sequence, "recordAt")));
    store(words, this.#area + Area.recorded, sequence);
  }

  /** For Commit. The commit record is on the medium. */
  finish(sequence: number): void {
    const { words } = this.thread;
    store(words, this.#area + Area.tailSequence, load(words, this.#of(sequence, "tailSequence")));
    store(words, this.#area + Area.tail, load(words, this.#of(sequence, "tail")));
    notePersistent(this.thread, load(words, this.#of(sequence, "committed")));
    store(words, this.#area + Area.durable, sequence);
  }
}

/** One caller's way to durability, step by step (rule 2). */
export class Commit {
  readonly #journal: Journal;
  /** The transaction that must be durable; null before the first step. */
  #goal: number | null = null;
  /** What the caller has persisted the device after. */
  #stage: { sequence: number; isRecorded: boolean } | null = null;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  /**
   * Goes as far as it can. Returns true: persist the whole device, and call it again; false: all that was
   * changed before the first step is durable.
   * Locks: takes the transaction. Sleeps: for it. Throws: EROFS when the journal was given up, EIO.
   */
  *step(task: Task): Sleeps<boolean> {
    const journal = this.#journal;
    using _changes = yield* takeTransaction(task, journal.cache);
    journal.assertUsable();
    this.#goal ??= journal.hasChanges ? journal.runningSequence : (journal.runningSequence - 1) | 0;
    for (;;) {
      if (journal.isDurable(this.#goal)) return false;
      const committing = journal.committing;
      if (committing === null) {
        journal.seal();
        this.#stage = journal.committing;
        return true;
      }
      const { sequence, isRecorded } = committing;
      const isPersisted =
        this.#stage?.sequence === sequence && this.#stage.isRecorded === isRecorded;
      if (!isPersisted) {
        this.#stage = committing;
        return true;
      }
      if (!isRecorded) {
        journal.record(sequence);
        this.#stage = journal.committing;
        return true;
      }
      journal.finish(sequence);
    }
  }
}
