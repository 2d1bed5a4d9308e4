/**
 * Sleeping. A function that may sleep is a generator that yields what it waits for; a runner decides
 * how to wait: blocking the thread, or suspended on its event loop. (The checker is the third.)
 *
 * Rules. (1) A wait is "this word still holds this value": whoever changes the word wakes everyone,
 *            and everyone tests again. Wakes for no reason are allowed.
 *        (2) Every wait ends by its operation's signal or deadline, too: the runner throws into the
 *            generator at the yield, whose `finally` blocks give back what it holds.
 *        (3) Waiters look for dead threads every slice of time and recover what those held.
 *        (4) An operation is suspended only while all that it holds, and what it waits for, ranks
 *            above the map lock. Holding or wanting that or anything deeper it waits by blocking: a
 *            page fault of this thread may need what it holds, or queue behind what it wants, and a
 *            thread in a page fault runs no event loop. Such waits are short: nobody keeps these
 *            locks while waiting for a pin.
 *        (5) A thread that blocks goes on with its own suspended operations meanwhile, since what it
 *            waits for may be held by one of them.
 */
import { AbortError, HoldfastError } from "../base/errors.ts";
import { load, sleepWhile, sleepWhileAsync } from "./atomics.ts";
import type { HeldLock } from "./lock.ts";
import { Rank } from "./rank.ts";
import type { Thread } from "./thread.ts";

/** What a sleeping function waits for: `word` to hold something other than `expected`. */
export interface Wait {
  readonly word: number;
  readonly expected: number;
  /** In words, for whoever asks why: "the io lock of inode 12". */
  readonly what: () => string;
  /** Of a lock: its rank. */
  readonly rank?: number;
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
  /** Locks held, in the order taken. */
  readonly held: HeldLock[] = [];

  constructor(thread: Thread, options: SleepOptions | undefined) {
    this.thread = thread;
    this.signal = options?.signal ?? undefined;
    this.deadline =
      options?.timeoutMs === undefined ? Infinity : performance.now() + options.timeoutMs;
  }

  /** The deepest rank held, or 0. */
  get rank(): number {
    let deepest = 0;
    for (const lock of this.held) if (lock.rank > deepest) deepest = lock.rank;
    return deepest;
  }

  /** The error that ends the operation now, or null. */
  interruption(wait: Wait): Error | null {
    if (this.signal?.aborted) {
      return new AbortError(`the wait for ${wait.what()} was aborted`, this.signal.reason);
    }
    if (performance.now() >= this.deadline) {
      return new HoldfastError("ETIMEDOUT", `the deadline passed while waiting for ${wait.what()}`);
    }
    return null;
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
    return Math.max(0, Math.min(slice, this.deadline - performance.now()));
  }
}

/** Goes on with this thread's suspended operations whose waits are over. */
function resumeSuspended(thread: Thread): boolean {
  let resumed = false;
  for (const operation of [...thread.suspended]) resumed = operation.resumeIfDue() || resumed;
  return resumed;
}

/** Blocks the thread until `wait` may be over. Returns the error that ends the operation, or null. */
function blockOn(task: Task, wait: Wait): Error | null {
  const { thread } = task;
  // In a wait that must block, this thread's other operations stay where they are: none of them
  // holds what is waited for (rule 4), and going on they might fault.
  const mayResume = thread.suspended.size > 0 && !task.mustBlock(wait);
  if (mayResume && resumeSuspended(thread)) return null;
  if (load(thread.words, wait.word) !== wait.expected) return null;
  sleepWhile(thread.words, wait.word, wait.expected, task.sliceMs(wait));
  if (load(thread.words, wait.word) === wait.expected) thread.reap();
  return task.interruption(wait);
}

/** Runs a sleeping function, blocking the thread in its waits. */
export function runBlocking<T>(
  thread: Thread,
  operation: (task: Task) => Sleeps<T>,
  options?: SleepOptions,
): T {
  const task = new Task(thread, options);
  const generator = operation(task);
  let step = generator.next();
  while (!step.done) {
    const error = blockOn(task, step.value);
    step = error === null ? generator.next() : generator.throw(error);
  }
  return step.value;
}

/** Runs a sleeping function on the event loop. Its first part runs before this returns. */
export function runAsync<T>(
  thread: Thread,
  operation: (task: Task) => Sleeps<T>,
  options?: SleepOptions,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const suspended = new Suspended(new Task(thread, options), operation, resolve, reject);
    suspended.start();
  });
}

/** Keeps the event loop alive while operations are suspended: waits by themselves do not. */
const keepAlive = new WeakMap<Thread, { count: number; timer: NodeJS.Timeout | undefined }>();

function retain(thread: Thread, change: 1 | -1): void {
  let state = keepAlive.get(thread);
  if (state === undefined) {
    state = { count: 0, timer: undefined };
    keepAlive.set(thread, state);
  }
  state.count += change;
  if (state.count === 1 && change === 1) state.timer = setInterval(() => {}, 2 ** 30);
  if (state.count === 0) clearInterval(state.timer);
}

class Suspended<T> {
  readonly #task: Task;
  readonly #generator: Sleeps<T>;
  readonly #resolve: (value: T) => void;
  readonly #reject: (error: unknown) => void;
  #wait: Wait | null = null;
  /** Tells the wake-ups of earlier waits from the present one's. */
  #turn = 0;
  readonly #onAbort = (): void => {
    this.resumeIfDue();
  };

  constructor(
    task: Task,
    operation: (task: Task) => Sleeps<T>,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
  ) {
    this.#task = task;
    this.#generator = operation(task);
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    this.#run(null);
  }

  /** Goes on if the wait is over, or must end. Called by the wake-up and by whoever blocks. */
  resumeIfDue(): boolean {
    const wait = this.#wait;
    if (wait === null) return false;
    const error = this.#task.interruption(wait);
    if (error === null && load(this.#task.thread.words, wait.word) === wait.expected) return false;
    this.#run(error);
    return true;
  }

  #run(first: Error | null): void {
    const { thread } = this.#task;
    if (this.#wait !== null) this.#leaveWait();
    try {
      let error = first;
      for (;;) {
        const step = error === null ? this.#generator.next() : this.#generator.throw(error);
        if (step.done) {
          this.#resolve(step.value);
          return;
        }
        error = this.#task.interruption(step.value);
        if (error !== null) continue;
        if (this.#task.mustBlock(step.value)) {
          error = blockOn(this.#task, step.value);
          continue;
        }
        if (this.#suspend(step.value)) return;
        if (load(thread.words, step.value.word) === step.value.expected) thread.reap();
      }
    } catch (error) {
      this.#reject(error);
    }
  }

  /** Sleeps for a slice; false when there is nothing to wait for. */
  #suspend(wait: Wait): boolean {
    const { thread, signal } = this.#task;
    const sleep = sleepWhileAsync(
      thread.words,
      wait.word,
      wait.expected,
      Math.max(1, this.#task.sliceMs(wait)),
    );
    if (sleep === null) return false;
    this.#wait = wait;
    const turn = ++this.#turn;
    thread.suspended.add(this);
    retain(thread, 1);
    signal?.addEventListener("abort", this.#onAbort);
    sleep.then(() => {
      if (this.#wait === null || this.#turn !== turn) return;
      if (load(thread.words, wait.word) === wait.expected) thread.reap();
      this.#run(this.#task.interruption(wait));
    });
    return true;
  }

  #leaveWait(): void {
    this.#wait = null;
    this.#task.thread.suspended.delete(this);
    retain(this.#task.thread, -1);
    this.#task.signal?.removeEventListener("abort", this.#onAbort);
  }
}
