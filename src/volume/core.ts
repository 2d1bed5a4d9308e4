/** One thread's use of one volume: what every operation works with, and how operations are run. */
import { readFileSync } from "node:fs";
import { AbortError, type ErrorContext, HoldfastError, withContext } from "../base/errors.ts";
import type { Ino } from "../base/quantities.ts";
import type { Dax } from "../dax/dax.ts";
import type { HeldMapping } from "../dax/poison.ts";
import type { FilesystemDriver, VolumeCondition } from "../iomap/contract.ts";
import { MappingWord } from "../mapping/mapping.ts";
import type { MetadataCache } from "../metadata/cache.ts";
import { transact, type Transaction } from "../metadata/transaction.ts";
import { runAsync, runBlocking } from "../sync/runners.ts";
import type { Sleeps, SleepOptions, Task } from "../sync/sleep.ts";
import type { Thread } from "../sync/thread.ts";
import type { InodeReference } from "./inode-reference.ts";
import type { DaxMode } from "./access-mode.ts";
import { ChangeKind, Changes } from "./changes.ts";
import type { Committer } from "./committer.ts";
import { finishRemoval, finishReports } from "./failure.ts";
import { type InodeDriver, InodeTable } from "./inodes.ts";
import { Recalls } from "./kernel-recalls.ts";
import { NameCache } from "./name-cache.ts";
import type { Service } from "./service.ts";
import { closedError } from "./state.ts";
import { freeUnusedValuesLeft } from "./unused-values.ts";
import { Conclusion, flushMetadata, type Persistence, persistence } from "./sync.ts";

/** An operation on a volume. */
export type Operation<T> = (task: Task) => Sleeps<T>;

/** Something of this thread that is open and holds the volume: a file or a window. */
export interface OpenThing {
  /** Of a file: its inode, and the path it was opened by. */
  readonly ino?: number;
  readonly path?: string;
  /** Closes it, when the volume is closed under it. May block. */
  closeSync(): void;
}

export class VolumeCore {
  readonly thread: Thread;
  readonly dax: Dax;
  readonly driver: FilesystemDriver;
  readonly cache: MetadataCache;
  readonly inodes: InodeTable;
  readonly changes: Changes;
  /** Null in threads that serve a kernel mount. */
  recalls: Recalls | null;
  /** How it was mounted. */
  readonly readOnly: boolean;
  /** Permission bits that new files do not get: the process's when the volume was mounted. */
  readonly umask: number;
  readonly uid: number;
  readonly gid: number;
  /** What this thread has open. */
  readonly open = new Set<OpenThing>();
  /** Null where touches do not fault. */
  readonly pager: Service | null;
  /** Makes room in the page cache for the pager. Null where that has nothing to do. */
  readonly evictor: Service | null;
  /** This thread never settles what it has dropped last. */
  leavesToOthers = false;
  /** In the thread that mounted the volume: its claim on the device, until the unmount. */
  holding: Disposable | null = null;
  /** Null in threads that serve the others. */
  committer: Committer | null = null;
  /** Asynchronous operations of this thread that have not ended. */
  running = 0;
  /** Names that this thread has found. */
  readonly names = new NameCache();
  /** Refuses every further operation of this thread: the volume is being closed, or is. */
  closing = false;
  /** The volume says that it is left as it is: nothing may change it any more. */
  isMarked = false;
  closed = false;

  constructor(
    dax: Dax,
    driver: FilesystemDriver,
    mode: DaxMode,
    services: { readonly pager: Service | null; readonly evictor: Service | null },
  ) {
    this.thread = dax.thread;
    this.dax = dax;
    this.driver = driver;
    this.pager = services.pager;
    this.evictor = services.evictor;
    this.cache = dax.cache;
    this.changes = new Changes(dax.thread);
    this.recalls = new Recalls(dax.thread);
    this.inodes = new InodeTable(dax, tellingOfEnds(driver, this.changes), mode);
    dax.holdMapping = (ino) => this.#held(this.inodes.tryAcquire(ino as Ino));
    dax.acquireMapping = (ino) => this.#acquireMapping(ino);
    dax.flushMetadata = (task) => flushMetadata(task, this);
    this.readOnly = dax.readOnly;
    this.umask = processUmask();
    this.uid = process.getuid?.() ?? 0;
    this.gid = process.getgid?.() ?? 0;
    driver.actFor({ uid: this.uid, gids: [this.gid, ...(process.getgroups?.() ?? [])] });
  }

  *#acquireMapping(ino: number): Sleeps<HeldMapping | null> {
    return this.#held(yield* this.inodes.acquireKnown(ino as Ino));
  }

  /** A record that is in memory, kept: for who evicts a page, handles a lost one, or writes all back. */
  #held(reference: InodeReference | null): HeldMapping | null {
    if (reference === null) return null;
    return {
      mapping: reference.mapping,
      [Symbol.dispose]: () => {
        reference.release();
        if (this.leavesToOthers) this.inodes.leaveToOthers();
      },
    };
  }

  /** Throws: EROFS. */
  assertWritable(): void {
    this.cache.journal?.assertUsable();
    if (this.readOnly) throw new HoldfastError("EROFS", "the volume is mounted read-only");
  }

  /** Throws: EBADF when the volume is closed, or about to be. */
  assertOpen(): void {
    if (this.closing) throw closedError();
  }

  /** Throws: EIO when the device was removed. */
  assertPresent(context: ErrorContext = {}): void {
    const { device } = this.dax;
    if (device.isGone) throw withContext(device.goneError(), context);
  }

  /** Puts the whole device on the medium; what the journal has promised since it failed to is given up. Throws: EIO. */
  persistDevice(): void {
    try {
      this.dax.device.persistAll();
    } catch (error) {
      this.cache.journal?.abort();
      throw error;
    }
  }

  /** As `persistDevice`. The volume may be closed meanwhile: then nothing comes of it. */
  async persistDeviceAsync(): Promise<void> {
    try {
      await this.dax.device.persistAllAsync();
    } catch (error) {
      if (!this.closed) this.cache.journal?.abort();
      throw error;
    }
  }

  /** Nobody closes the volume until the action has ended. */
  async whileRunning<T>(action: () => Promise<T>): Promise<T> {
    this.running++;
    try {
      return await action();
    } finally {
      this.running--;
    }
  }

  /** One step on the way to the medium; nobody closes the volume in it. */
  step(steps: Persistence): Promise<boolean> {
    return this.whileRunning(() => runAsync(this.thread, (task) => steps.step(task)));
  }

  /** Puts all metadata that has been changed on the medium. Sleeps: for it. Throws: EIO, EROFS. */
  persistMetadataSync(context: ErrorContext, steps: Persistence = persistence(this)): void {
    try {
      while (runBlocking(this.thread, (task) => steps.step(task))) this.persistDevice();
    } catch (error) {
      this.settleSync();
      throw withContext(error, context);
    }
  }

  async persistMetadata(context: ErrorContext): Promise<void> {
    await this.whileRunning(async () => {
      try {
        const steps = persistence(this);
        while (await this.step(steps)) await this.persistDeviceAsync();
      } catch (error) {
        await this.settle();
        throw withContext(error, context);
      }
    });
  }

  /** Runs an operation to its end, blocking; what it was the last to use is freed before it returns. */
  runSync<T>(context: ErrorContext, operation: Operation<T>, options?: SleepOptions): T {
    try {
      this.assertOpen();
      try {
        return runBlocking(this.thread, operation, options);
      } finally {
        this.settleSync();
        this.committer?.commitOverdue();
      }
    } catch (error) {
      throw withContext(error, context);
    }
  }

  /** Runs an operation on the event loop. Its first part runs before this returns. */
  async runAsync<T>(
    context: ErrorContext,
    operation: Operation<T>,
    options?: SleepOptions,
  ): Promise<T> {
    this.running++;
    try {
      this.assertOpen();
      if (options?.signal?.aborted) throw new AbortError(undefined, options.signal.reason);
      try {
        return await runAsync(this.thread, operation, options);
      } finally {
        await this.settle();
      }
    } catch (error) {
      throw withContext(error, context);
    } finally {
      this.running--;
    }
  }

  /** Frees what was dropped last, and finishes what dead threads have left. */
  async settle(): Promise<void> {
    if (this.closed || !this.#unsettled) return;
    await runAsync(this.thread, (task) => this.#settle(task));
  }

  settleSync(): void {
    if (this.closed || !this.#unsettled) return;
    runBlocking(this.thread, (task) => this.#settle(task));
  }

  /** Puts all metadata on the medium and home: the volume is left in this state. Throws: EIO, EROFS. */
  concludeSync(state: VolumeCondition): void {
    const steps = new Conclusion(this, state);
    while (runBlocking(this.thread, (task) => steps.step(task))) this.persistDevice();
  }

  async conclude(state: VolumeCondition): Promise<void> {
    const steps = new Conclusion(this, state);
    while (await this.step(steps)) await this.persistDeviceAsync();
  }

  get #unsettled(): boolean {
    const { bad, deviceState } = this.dax.pages;
    return this.inodes.unsettled || bad.hasAbandoned || deviceState.hasUnhandled;
  }

  *#settle(task: Task): Sleeps<void> {
    try {
      yield* finishReports(task, this);
      // What would be freed stays as it is on a device that is gone, or that nothing is written to any more.
      const { journal } = this.cache;
      if (!this.dax.device.isGone && !journal?.isAborted) {
        yield* this.inodes.settle(task);
        if (!this.readOnly) yield* freeUnusedValuesLeft(task, this);
      }
      yield* finishRemoval(task, this);
    } catch (error) {
      // Whoever gives back what it holds of a device that is gone is not to fail for it.
      if (!(error instanceof HoldfastError && this.dax.device.isGone)) throw error;
    }
  }
}

/**
 * Changes metadata: opens the transaction, tells readers of the inodes that they change, and commits.
 * When `change` throws, nothing has happened.
 * Locks: those of `changed`, exclusively. Sleeps: while another transaction is open.
 */
export function* inTransaction<T>(
  task: Task,
  core: VolumeCore,
  changed: readonly InodeReference[],
  change: (transaction: Transaction) => T,
): Sleeps<T> {
  core.assertWritable();
  return yield* transact(task, core.cache, (transaction) => {
    for (const { mapping } of changed) {
      transaction.beginLayoutChange(mapping + MappingWord.sequence);
    }
    return change(transaction);
  });
}

/** What the inode table needs of a driver; that an inode is freed is told. */
function tellingOfEnds(driver: FilesystemDriver, changes: Changes): InodeDriver {
  return {
    blockSize: driver.blockSize,
    readInode: (ino) => driver.readInode(ino),
    removeExtents: (transaction, ino, start, end) =>
      driver.removeExtents(transaction, ino, start, end),
    noteUnused: (ino) => driver.noteUnused(ino),
    freeInode: (transaction, ino) => {
      driver.freeInode(transaction, ino);
      changes.note(ChangeKind.freed, ino);
    },
  };
}

/** The process's umask, read without changing it (process.umask() sets it for a moment). */
function processUmask(): number {
  try {
    const status = readFileSync("/proc/self/status", "latin1");
    return Number.parseInt(/^Umask:\s*([0-7]+)$/m.exec(status)?.[1] ?? "22", 8);
  } catch {
    return 0o022;
  }
}
