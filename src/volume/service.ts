/**
 * Keeping a worker of the runtime going that serves all threads of this process: the pager, the evicting
 * thread.
 *
 * It does not keep the process alive, and ends with the volume. It takes its place (word 0 below) by
 * compare-exchange, so there is one. When it has died with the thread that started it, whoever needs it
 * next starts another.
 *
 * Words of a service: 0 its holder | 1 start lock, the starter's holder | 2 told to stop | 3 wake
 *
 * A thread that starts a worker may block at once: the worker loads its code without its parent.
 */
import { writeSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { HoldfastError } from "../base/errors.ts";
import { builtModule } from "../base/modules.ts";
import { add, cas, load, sleepWhile, store, wakeAll } from "../sync/atomics.ts";
import type { Holder, Thread } from "../sync/thread.ts";
import type { Assembled } from "./assemble.ts";
import type { VolumeHandle } from "./handle.ts";
import { closedError, volumeWord } from "./state.ts";

const ServiceWord = { holder: 0, starter: 1, stop: 2, wake: 3 } as const;

const START_MS_MAX = 20_000;
const STOP_MS_MAX = 5_000;
const SLICE_MS = 10;

/** What a service is. */
export interface ServiceKind {
  /** "pager". */
  readonly name: string;
  /** Its worker's module, as `builtModule` takes it. */
  readonly module: string;
  /** The first of its words among the volume's. */
  readonly word: number;
}

export class Service {
  readonly #thread: Thread;
  readonly #kind: ServiceKind;
  readonly #rouse: () => void;
  readonly #handle: VolumeHandle;
  /** When this thread last started one, in the time of `performance.now`. */
  #startedAt = -Infinity;
  /** When `hasStopped` gives up, in that time. */
  #stopBefore: number | null = null;

  /** `rouse`: has it look whether it should stop. */
  constructor(thread: Thread, kind: ServiceKind, rouse: () => void, handle: VolumeHandle) {
    this.#thread = thread;
    this.#kind = kind;
    this.#rouse = rouse;
    this.#handle = handle;
  }

  #word(word: number): number {
    return volumeWord(this.#thread, this.#kind.word + word);
  }

  #load(word: number): number {
    return load(this.#thread.words, this.#word(word));
  }

  #isAlive(word: number): boolean {
    const holder = this.#load(word);
    return holder !== 0 && this.#thread.isAlive(holder);
  }

  /** Whether it serves, or one is about to. */
  get runs(): boolean {
    return this.#isAlive(ServiceWord.holder) || this.#isAlive(ServiceWord.starter);
  }

  isServedBy(holder: Holder): boolean {
    return this.#load(ServiceWord.holder) === holder;
  }

  /** As `runs`, starting one if there is none: false where that cannot be, or takes too long. */
  isToCome(): boolean {
    if (this.#isAlive(ServiceWord.holder)) return true;
    try {
      this.start();
    } catch {
      return false;
    }
    return this.runs && performance.now() - this.#startedAt < START_MS_MAX;
  }

  /** Starts one if there is none, without waiting for it. */
  start(): void {
    const { words } = this.#thread;
    if (this.runs || this.#load(ServiceWord.stop) !== 0) return;
    const starter = this.#load(ServiceWord.starter);
    if (!cas(words, this.#word(ServiceWord.starter), starter, this.#thread.holder)) return;
    this.#startedAt = performance.now();
    const { name, module } = this.#kind;
    try {
      const worker = new Worker(builtModule(module), {
        workerData: this.#handle,
        name: `holdfast ${name}`,
        execArgv: [],
      });
      worker.unref();
      worker.on("error", (error) => {
        cas(words, this.#word(ServiceWord.starter), this.#thread.holder, 0);
        process.emitWarning(`the volume's ${name} does not start: ${error.message}`);
      });
    } catch (error) {
      store(words, this.#word(ServiceWord.starter), 0);
      throw error;
    }
  }

  /** Returns when it serves. Blocks while it starts. Throws: EBADF when the volume is closed, EIO. */
  ensure(): void {
    const deadline = performance.now() + START_MS_MAX;
    while (!this.#isAlive(ServiceWord.holder)) {
      if (this.#load(ServiceWord.stop) !== 0) throw closedError();
      if (performance.now() > deadline) {
        const { name } = this.#kind;
        throw new HoldfastError("EIO", `the volume's ${name} does not start; see standard error`);
      }
      const wake = this.#load(ServiceWord.wake);
      this.start();
      if (this.#isAlive(ServiceWord.holder)) return;
      sleepWhile(this.#thread.words, this.#word(ServiceWord.wake), wake, SLICE_MS);
    }
  }

  /** Tells it to end, without waiting, and keeps others from starting. */
  tellToStop(): void {
    store(this.#thread.words, this.#word(ServiceWord.stop), 1);
    this.#rouse();
  }

  /** Tells it to end. Returns whether it has, or too much time has passed since the first call. */
  hasStopped(): boolean {
    this.#stopBefore ??= performance.now() + STOP_MS_MAX;
    this.tellToStop();
    return !this.runs || performance.now() > this.#stopBefore;
  }

  /** Ends it. Blocks until it has ended. */
  stop(): void {
    for (;;) {
      const wake = this.#load(ServiceWord.wake);
      if (this.hasStopped()) return;
      sleepWhile(this.#thread.words, this.#word(ServiceWord.wake), wake, SLICE_MS);
    }
  }

  /** After `stop`: one may be started again. */
  allow(): void {
    this.#stopBefore = null;
    store(this.#thread.words, this.#word(ServiceWord.stop), 0);
  }
}

/** The worker's part: serves until told to stop, if no other one does. */
export function serveAs(
  kind: ServiceKind,
  thread: Thread,
  serve: (stopped: () => boolean) => void,
): void {
  const { words } = thread;
  const word = (name: number): number => volumeWord(thread, kind.word + name);
  const holder = word(ServiceWord.holder);
  const wake = (): void => {
    add(words, word(ServiceWord.wake), 1);
    wakeAll(words, word(ServiceWord.wake));
  };
  const stopped = (): boolean => load(words, word(ServiceWord.stop)) !== 0;
  const before = load(words, holder);
  const mine =
    !stopped() &&
    (before === 0 || !thread.isAlive(before)) &&
    cas(words, holder, before, thread.holder);
  store(words, word(ServiceWord.starter), 0);
  wake();
  if (!mine) return;
  try {
    serve(stopped);
  } finally {
    store(words, holder, 0);
    wake();
  }
}

/** Ends a worker's use of the volume, but for its place among the threads. */
export function endServing({ core, device }: Assembled): void {
  core.dax.windows.port.close();
  core.dax.pageCache?.memory.close();
  device.close();
}

/**
 * A service broke. Whoever touches a window would wait in the kernel for ever, this thread's parent perhaps
 * among them. So the process ends, as by any error that nobody catches; the volume stays marked in use.
 */
export function endProcess(who: string, error: unknown): void {
  writeSync(2, `holdfast: ${who} broke: ${(error as Error).stack}\n`);
  process.kill(process.pid, "SIGABRT");
}
