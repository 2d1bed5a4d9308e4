/**
 * Putting files' data on the medium; and metadata: by a commit of the journal, or, where there is none, by writing it home.
 *
 * Both go step by step: a step does what it can with memory alone, and says whether the device is to be
 * persisted before the next one. So nobody holds a lock, or blocks an event loop, while the medium is waited for.
 */
import type { ErrorContext } from "../base/errors.ts";
import { isCopied, timeNow } from "../dax/dax.ts";
import { type RangeStorage, writeBack } from "../dax/write-back.ts";
import { Commit, type Journal } from "../metadata/journal.ts";
import {
  beginTransaction,
  notePersistent,
  takeTransaction,
  transactionsCommitted,
} from "../metadata/transaction.ts";
import type { VolumeCondition } from "../iomap/contract.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import type { VolumeCore } from "./core.ts";
import { discardFreed } from "./discard.ts";
import type { InodeReference } from "./inode-reference.ts";
import { betweenRecalls } from "./kernel-pages.ts";

/** Steps on the way to the medium. */
export interface Persistence {
  /**
   * Returns true: persist the whole device, and call it again; false: all metadata that was changed before the
   * first step is on the medium. Locks: takes the transaction. Sleeps: for it. Throws: EIO, EROFS.
   */
  step(task: Task): Sleeps<boolean>;
}

/** Without a journal: what has changed goes home, after the file data that it tells of. */
class Flush implements Persistence {
  readonly #core: VolumeCore;
  #next: "data" | "home" | "done" = "data";
  #flushed = 0;

  constructor(core: VolumeCore) {
    this.#core = core;
  }

  *step(task: Task): Sleeps<boolean> {
    if (this.#next === "data") {
      this.#next = "home";
      return true;
    }
    if (this.#next === "done") {
      notePersistent(this.#core.thread, this.#flushed);
      return false;
    }
    this.#flushed = yield* flushMetadata(task, this.#core);
    this.#next = "done";
    return true;
  }
}

/** The way of this volume's metadata to the medium. */
export function persistence(core: VolumeCore): Persistence {
  const { journal } = core.cache;
  return journal?.isLive ? new Commit(journal) : new Flush(core);
}

/**
 * The last steps of a mount: all metadata is home, the journal is empty, and the superblock says how the volume
 * is left. Nobody else uses it.
 */
export class Conclusion implements Persistence {
  readonly #core: VolumeCore;
  readonly #state: VolumeCondition;
  readonly #persistence: Persistence;
  #next: "persist" | "home" | "last" | "end" | "mark" | "done" = "persist";

  constructor(core: VolumeCore, state: VolumeCondition) {
    this.#core = core;
    this.#state = state;
    this.#persistence = persistence(core);
  }

  *step(task: Task): Sleeps<boolean> {
    const core = this.#core;
    const { journal } = core.cache;
    if (this.#next === "done") return false;
    if (this.#next === "persist") {
      if (yield* this.#persistence.step(task)) return true;
      yield* discardFreed(task, core);
      this.#next = journal === null ? "mark" : "home";
    }
    if (this.#next === "home") {
      const last = core.driver.growth?.lastHome ?? null;
      yield* flushHome(task, core, last);
      this.#next = last === null ? "end" : "last";
      return true;
    }
    if (this.#next === "last") {
      yield* flushHome(task, core);
      this.#next = "end";
      return true;
    }
    core.isMarked = true;
    if (this.#next === "end" && journal !== null) {
      // Before the superblock says that there is nothing to recover: e2fsck finds fault with a log that is not empty then.
      yield* endJournal(task, journal);
      this.#next = "mark";
      return true;
    }
    yield* updateSuperblock(task, core, this.#state);
    yield* flushHome(task, core);
    this.#next = "done";
    return true;
  }
}

function* endJournal(task: Task, journal: Journal): Sleeps<void> {
  using _changes = yield* takeTransaction(task, journal.cache);
  journal.end();
}

/** Brings the superblock's times up to date, and says in it how the volume is. */
export function* updateSuperblock(
  task: Task,
  core: VolumeCore,
  state: VolumeCondition,
): Sleeps<void> {
  using transaction = yield* beginTransaction(task, core.cache);
  core.driver.updateSuperblock(transaction, { state, time: timeNow() });
  transaction.commit();
}

/**
 * Writes all changed metadata home, but for block `kept`. Not while the journal is behind: rule 4 of
 * metadata/journal.ts. Returns the number of transactions that are on the medium when the device is persisted next.
 */
function* flushHome(task: Task, core: VolumeCore, kept: number | null = null): Sleeps<number> {
  using _unchanged = yield* beginTransaction(task, core.cache);
  core.cache.flush(kept);
  return transactionsCommitted(core.thread);
}

/**
 * Puts metadata where it is found after a crash, once the device is persisted next: file data that it tells of
 * is on the medium already. Returns the number of transactions that are there then.
 * Locks: takes the transaction. Sleeps: for it; with a journal, in the device. Throws: EIO, EROFS.
 */
export function* flushMetadata(task: Task, core: VolumeCore): Sleeps<number> {
  const { journal } = core.cache;
  if (journal?.isLive) {
    const committed = transactionsCommitted(core.thread);
    yield* journal.commit(task);
    return committed;
  }
  yield* updateSuperblock(task, core, "in use");
  return yield* flushHome(task, core);
}

/** All steps, blocking in the device: for who ends. */
export function* persistMetadata(task: Task, core: VolumeCore): Sleeps<void> {
  const steps = persistence(core);
  while (yield* steps.step(task)) core.persistDevice();
}

/** Puts a file's data on the medium, where anything may be written. Sleeps: for the storage. Throws: EIO. */
export function* writeBackFile(task: Task, core: VolumeCore, inode: InodeReference): Sleeps<void> {
  if (core.readOnly) return;
  yield* betweenRecalls(task, core, inode, writeBack(task, core.dax, inode.mapping));
}

/**
 * An fsync that blocks in the device. The first step of the metadata comes before the write-back, and the persist of the whole
 * device that is due then puts the file's data on the medium, too: a flush of the storage less. Not so where there is no
 * metadata to persist, nor of a copied file, whose write-back may change some.
 */
export class FileSync implements RangeStorage {
  readonly #core: VolumeCore;
  readonly #inode: InodeReference;
  readonly #isReadOnly: boolean;
  #steps: Persistence;
  /** Whether the whole device is to be persisted before the next step. */
  #isDue = false;
  #isCopied = false;

  constructor(core: VolumeCore, inode: InodeReference) {
    this.#core = core;
    this.#inode = inode;
    this.#isReadOnly = core.readOnly;
    this.#steps = persistence(core);
  }

  /** Locks: takes the transaction; after that as `writeBack`. Sleeps: for them, and in the device. Throws: EIO, EROFS. */
  *writeBack(task: Task): Sleeps<void> {
    if (this.#isReadOnly) return;
    yield* betweenRecalls(task, this.#core, this.#inode, this.#writeBack(task));
  }

  *#writeBack(task: Task): Sleeps<void> {
    const core = this.#core;
    const begins = core.cache.journal?.isAborted !== true && (yield* this.#steps.step(task));
    this.#isDue = begins;
    yield* writeBack(task, core.dax, this.#inode.mapping, begins ? this : core.dax.device);
    if (!begins || this.#isCopied) this.#steps = persistence(core);
    else if (this.#isDue) core.persistDevice();
  }

  /**
   * For the write-back, which holds its locks. Storage that fails for the range alone is found before the journal has to
   * be given up for it.
   */
  persist(at: number, length: number): void {
    const core = this.#core;
    const { device } = core.dax;
    this.#isCopied = isCopied(core.dax, this.#inode.mapping);
    if (!this.#isDue || this.#isCopied) {
      device.persist(at, length);
      return;
    }
    device.writeOut(at, length);
    core.persistDevice();
    this.#isDue = false;
  }

  /** After the write-back: takes the steps that are left. Sleeps, throws: as `VolumeCore.persistMetadataSync`. */
  persistMetadata(context: ErrorContext): void {
    if (!this.#isReadOnly) this.#core.persistMetadataSync(context, this.#steps);
  }
}
