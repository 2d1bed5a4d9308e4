/**
 * Sleeping. A function that may sleep is a generator that yields what it waits for; a runner decides
 * how to wait: blocking the thread, or suspended on its event loop (runners.ts). The checker is the
 * third.
 *
 * Rules. (1) A wait is "this word still holds this value": whoever changes the word wakes everyone,
 *            and everyone tests again. Wakes for no reason are allowed.
 *        (2) Every wait ends by its operation's signal or deadline, too: the runner throws into the
 *            generator at the yield, whose `finally` blocks give back what it holds. But no wait of
 *            `endure`: what has been committed is shown to all, whatever becomes of the operation.
 *        (3) Waiters look for dead threads every slice of time and recover what those held.
 *        (4) An operation is suspended only while all that it holds, and what it waits for, ranks
 *            above the map lock. Holding or wanting that or anything deeper it waits by blocking: a
 *            page fault of this thread may need what it holds, or queue behind what it wants, and a
 *            thread in a page fault runs no event loop. Such waits are short: nobody keeps these
 *            locks while waiting for a pin.
 *        (5) A thread that blocks goes on with its own suspended operations meanwhile, since what it
 *            waits for may be held by one of them.
 */
import { AbortError, HoldfastError, type PinHolder } from "../base/errors.ts";
import type { HeldLock } from "./lock.ts";
import { Rank } from "./rank.ts";
import type { Thread } from "./thread.ts";

/** What waits are told apart by in the statistics: of a lock, its rank's name. */
export const WAIT_KINDS = [
  ...(Object.keys(Rank) as (keyof typeof Rank)[]),
  /** A break, for the last pin of a page. */
  "pins",
  /** A break, or a request of a lease, for leases in its way. */
  "leases",
  /** A new pin, for a break that insists. */
  "insisting",
  /** A touch of a copied file, for room in the page cache. */
  "room",
  /** A reader of a layout, for its change to end. */
  "layout",
  "other",
] as const;
export type WaitKind = (typeof WAIT_KINDS)[number];

/** Pages of a file that a wait is about. */
export interface WaitSubject {
  readonly mapping: number;
  readonly first: number;
  readonly last: number;
}

/** What a sleeping function waits for: `word` to hold something other than `expected`. */
export interface Wait {
  readonly word: number;
  readonly expected: number;
  /** In words, for whoever asks why: "the io lock of inode 12". */
  readonly what: () => string;
  /** Of a lock: its rank. */
  readonly rank?: number;
  /** Default: of a lock its rank's name, else "other". */
  readonly kind?: WaitKind;
  readonly subject?: WaitSubject;
  /** Who holds what is waited for, where the wait is for pins. */
  readonly holders?: () => readonly PinHolder[];
  /** Also returns after this many milliseconds, for waits that watch something else as well. */
  readonly sliceMs?: number;
}

/** A function that may sleep. */
export type Sleeps<T> = Generator<Wait, T, void>;

export interface SleepOptions {
  /** Ends every wait of the operation with an AbortError. */
  readonly signal?: AbortSignal | undefined;
  /** Ends every wait of the operation with ETIMEDOUT, this many milliseconds after its start. */
  readonly timeoutMs?: number | undefined;
  /** Ends a wait of the operation with EINTR where it answers true. Asked every slice of time. */
  readonly isInterrupted?: ((wait: Wait) => boolean) | undefined;
}

/** Between two looks for dead threads. */
const SLICE_MS = 10;
/** As long as the thread has suspended operations of its own to go on with. */
const BUSY_SLICE_MS = 1;

/** One operation: who runs it, what it holds, what ends it. */
export class Task {
  readonly thread: Thread;
  readonly signal: AbortSignal | undefined;
  readonly deadline: number;
  /** Locks held, in the order taken, which is that of their ranks. */
  readonly held: HeldLock[] = [];
  /** What has ended a wait of the operation last. */
  ended: Error | null = null;
  readonly #isInterrupted: ((wait: Wait) => boolean) | undefined;
  #enduring = 0;

  constructor(thread: Thread, options: SleepOptions | undefined) {
    this.thread = thread;
    this.signal = options?.signal ?? undefined;
    this.#isInterrupted = options?.isInterrupted;
    this.deadline =
      options?.timeoutMs === undefined ? Infinity : performance.now() + options.timeoutMs;
  }

  /** The deepest rank held, or 0. */
  get rank(): number {
    return this.held[this.held.length - 1]?.rank ?? 0;
  }

  /** Neither signal nor deadline end the operation's waits until this is disposed. For short waits (rule 4). */
  endure(): Disposable {
    this.#enduring++;
    return {
      [Symbol.dispose]: () => {
        this.#enduring--;
      },
    };
  }

  /** The error that ends the operation now, or null. */
  interruption(wait: Wait): Error | null {
    if (this.#enduring > 0) return null;
    if (this.signal?.aborted) {
      const error = new AbortError(`the wait for ${wait.what()} was aborted`, this.signal.reason);
      error.holders = wait.holders?.() ?? null;
      return this.#endBy(error);
    }
    if (performance.now() >= this.deadline) {
      const message = `the deadline passed while waiting for ${wait.what()}`;
      const error = new HoldfastError("ETIMEDOUT", message);
      error.holders = wait.holders?.() ?? null;
      return this.#endBy(error);
    }
    if (this.#isInterrupted?.(wait)) {
      return this.#endBy(new HoldfastError("EINTR", `the wait for ${wait.what()} was interrupted`));
    }
    return null;
  }

  #endBy(error: Error): Error {
    this.ended = error;
    return error;
  }

  /** Whether the thread must stay in this wait: rule 4. */
  mustBlock(wait: Wait): boolean {
    return (wait.rank ?? 0) >= Rank.map || this.rank >= Rank.map;
  }

  /** How long to sleep before looking around again. */
  sliceMs(wait: Wait): number {
    const slice = Math.min(
      wait.sliceMs ?? SLICE_MS,
      this.thread.suspended.size > 0 ? BUSY_SLICE_MS : SLICE_MS,
    );
    if (this.#enduring > 0) return slice;
    return Math.max(0, Math.min(slice, this.deadline - performance.now()));
  }
}
