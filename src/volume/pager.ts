/**
 * Keeping a pager running: a worker thread that serves the faults of this process's windows.
 *
 * It is started when the volume is shared or a file is mapped for the first time, does not keep the
 * process alive, and ends with the volume. It takes its place (VolumeWord.pager) by compare-exchange,
 * so there is one. When it has died with the thread that started it, the next `map` starts another.
 *
 * A thread that starts a worker may block at once: the worker loads its code without its parent.
 */
import { Worker } from "node:worker_threads";
import { HoldfastError } from "../base/errors.ts";
import { add, cas, load, sleepWhile, store, wakeAll } from "../sync/atomics.ts";
import type { Thread } from "../sync/thread.ts";
import type { FaultPort } from "../window/fault-port.ts";
import type { PagerControl } from "./core.ts";
import type { VolumeHandle } from "./handle.ts";
import { closedError, VolumeWord, volumeWord } from "./state.ts";

const START_MS_MAX = 20_000;
const STOP_MS_MAX = 5_000;
const SLICE_MS = 10;

export class Pager implements PagerControl {
  readonly #thread: Thread;
  readonly #port: FaultPort;
  readonly #handle: () => VolumeHandle;

  constructor(thread: Thread, port: FaultPort, handle: () => VolumeHandle) {
    this.#thread = thread;
    this.#port = port;
    this.#handle = handle;
  }

  #word(word: number): number {
    return volumeWord(this.#thread, word);
  }

  get #runs(): boolean {
    const pager = load(this.#thread.words, this.#word(VolumeWord.pager));
    return pager !== 0 && this.#thread.isAlive(pager);
  }

  /** Starts a pager if there is none, without waiting for it. */
  start(): void {
    const { words } = this.#thread;
    if (this.#runs || load(words, this.#word(VolumeWord.pagerStop)) !== 0) return;
    const starter = load(words, this.#word(VolumeWord.pagerStarter));
    if (starter !== 0 && this.#thread.isAlive(starter)) return;
    if (!cas(words, this.#word(VolumeWord.pagerStarter), starter, this.#thread.holder)) return;
    try {
      const url = new URL("pager-worker.js", import.meta.url);
      const worker = new Worker(url, {
        workerData: this.#handle(),
        name: "holdfast pager",
        execArgv: [],
      });
      worker.unref();
      worker.on("error", (error) => {
        cas(words, this.#word(VolumeWord.pagerStarter), this.#thread.holder, 0);
        process.emitWarning(`the volume's pager does not start: ${error.message}`);
      });
    } catch (error) {
      store(words, this.#word(VolumeWord.pagerStarter), 0);
      throw error;
    }
  }

  ensure(): void {
    const { words } = this.#thread;
    const deadline = performance.now() + START_MS_MAX;
    while (!this.#runs) {
      if (load(words, this.#word(VolumeWord.pagerStop)) !== 0) throw closedError();
      if (performance.now() > deadline) {
        throw new HoldfastError("EIO", "the volume's pager does not start; see standard error");
      }
      const wake = load(words, this.#word(VolumeWord.pagerWake));
      this.start();
      if (this.#runs) return;
      sleepWhile(words, this.#word(VolumeWord.pagerWake), wake, SLICE_MS);
    }
  }

  stop(waits = true): void {
    const { words } = this.#thread;
    store(words, this.#word(VolumeWord.pagerStop), 1);
    if (!waits) {
      this.#port.kick();
      return;
    }
    const deadline = performance.now() + STOP_MS_MAX;
    for (;;) {
      const wake = load(words, this.#word(VolumeWord.pagerWake));
      const starter = load(words, this.#word(VolumeWord.pagerStarter));
      const starting = starter !== 0 && this.#thread.isAlive(starter);
      if ((!this.#runs && !starting) || performance.now() > deadline) return;
      this.#port.kick();
      sleepWhile(words, this.#word(VolumeWord.pagerWake), wake, SLICE_MS);
    }
  }
}

/** The worker's part: serves faults until told to stop. Returns whether it was the pager. */
export function servePager(thread: Thread, serve: (stopped: () => boolean) => void): boolean {
  const { words } = thread;
  const word = (name: number): number => volumeWord(thread, name);
  const pagerWord = word(VolumeWord.pager);
  const wake = (): void => {
    add(words, word(VolumeWord.pagerWake), 1);
    wakeAll(words, word(VolumeWord.pagerWake));
  };
  const stopped = (): boolean => load(words, word(VolumeWord.pagerStop)) !== 0;
  const before = load(words, pagerWord);
  const mine =
    !stopped() &&
    (before === 0 || !thread.isAlive(before)) &&
    cas(words, pagerWord, before, thread.holder);
  store(words, word(VolumeWord.pagerStarter), 0);
  wake();
  if (!mine) return false;
  try {
    serve(stopped);
  } finally {
    store(words, pagerWord, 0);
    wake();
  }
  return true;
}
