/** What runs sleeping functions in production: the rules are in sleep.ts. */
import { load, sleepWhile, sleepWhileAsync } from "./atomics.ts";
import { type SleepOptions, type Sleeps, Task, type Wait } from "./sleep.ts";
import type { Thread } from "./thread.ts";
import { WaitMeter } from "./waits.ts";

/** Goes on with this thread's suspended operations whose waits are over. */
function resumeSuspended(thread: Thread): boolean {
  let resumed = false;
  for (const operation of [...thread.suspended]) resumed = operation.resumeIfDue() || resumed;
  return resumed;
}

/** Blocks the thread until `wait` may be over. Returns the error that ends the operation, or null. */
function blockOn(task: Task, wait: Wait, meter: WaitMeter): Error | null {
  const { thread } = task;
  // In a wait that must block, this thread's other operations stay where they are: none of them
  // holds what is waited for (rule 4), and going on they might fault.
  const mayResume = thread.suspended.size > 0 && !task.mustBlock(wait);
  if (mayResume && resumeSuspended(thread)) return null;
  if (load(thread.words, wait.word) !== wait.expected) return null;
  thread.heldClock?.note();
  meter.begin(wait);
  sleepWhile(thread.words, wait.word, wait.expected, task.sliceMs(wait));
  meter.end();
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
  if (step.done) return step.value;
  const meter = new WaitMeter(thread);
  try {
    while (!step.done) {
      const error = blockOn(task, step.value, meter);
      step = error === null ? generator.next() : generator.throw(error);
    }
    return step.value;
  } finally {
    meter.close();
  }
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

/**
 * Ends once the word no longer holds `expected`, if whoever changes it wakes. Keeps no event loop
 * alive, and costs nothing meanwhile.
 */
export async function untilChanged(thread: Thread, word: number, expected: number): Promise<void> {
  for (;;) {
    const sleep = sleepWhileAsync(thread.words, word, expected, Infinity);
    if (sleep === null) return;
    await sleep;
  }
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
  readonly #meter: WaitMeter;
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
    this.#meter = new WaitMeter(task.thread);
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
          this.#meter.close();
          this.#resolve(step.value);
          return;
        }
        error = this.#task.interruption(step.value);
        if (error !== null) continue;
        if (this.#task.mustBlock(step.value)) {
          error = blockOn(this.#task, step.value, this.#meter);
          continue;
        }
        if (this.#suspend(step.value)) return;
        if (load(thread.words, step.value.word) === step.value.expected) thread.reap();
      }
    } catch (error) {
      this.#meter.close();
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
    this.#meter.begin(wait);
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
    this.#meter.end();
    this.#task.thread.suspended.delete(this);
    retain(this.#task.thread, -1);
    this.#task.signal?.removeEventListener("abort", this.#onAbort);
  }
}
