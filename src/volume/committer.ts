/**
 * Commits by time: what changes a volume becomes durable some seconds later, also if nobody asks for it. Without a
 * journal it is written home then.
 *
 * The thread that mounted the volume does it, whenever its event loop turns. Where that is kept busy, a blocking
 * operation of any thread does, before it returns. One takes it on at a time, by compare-exchange of the time when
 * that was done last. What fails gives the journal up, and is told to whoever changes something next. Then what was freed
 * is discarded, by the thread that mounted the volume, where the mount has asked for that.
 *
 * Words of the volume (state.ts): seconds between commits, 0: never | when one began last, as clockMs
 */
import { isAllPersistent } from "../metadata/transaction.ts";
import { cas, load, store } from "../sync/atomics.ts";
import { clockMs, remainingMs } from "../sync/clock.ts";
import { runBlocking } from "../sync/runners.ts";
import type { VolumeCore } from "./core.ts";
import { discardFreedAsync } from "./discard.ts";
import { unusable, VolumeWord, volumeWord } from "./state.ts";
import { persistence } from "./sync.ts";

/** As the kernel's `commit=`. */
export const COMMIT_SECONDS_DEFAULT = 5;

/** For who mounts, before others attach. 0: never. */
export function setCommitSeconds(core: VolumeCore, seconds: number): void {
  const { thread } = core;
  store(thread.words, volumeWord(thread, VolumeWord.committedMs), clockMs());
  store(thread.words, volumeWord(thread, VolumeWord.commitSeconds), seconds);
}

export class Committer implements Disposable {
  readonly #core: VolumeCore;
  readonly #periodMs: number;
  readonly #timer: NodeJS.Timeout | null;
  /** This thread's clock, before which it need not look again whether a commit is due. */
  #lookAt: number;
  #isEnded = false;
  #isBusy = false;

  /** `isMounter`: with a timer, which never keeps the process alive. */
  constructor(core: VolumeCore, isMounter: boolean) {
    const { thread } = core;
    this.#core = core;
    this.#periodMs = 1000 * load(thread.words, volumeWord(thread, VolumeWord.commitSeconds));
    this.#lookAt = performance.now() + this.#periodMs;
    const isNeeded = this.#periodMs > 0 && !core.readOnly;
    if (!isNeeded) this.#lookAt = Number.POSITIVE_INFINITY;
    const hasTimer = isNeeded && isMounter;
    this.#timer = hasTimer ? setInterval(() => void this.#commit(), this.#periodMs) : null;
    this.#timer?.unref();
  }

  [Symbol.dispose](): void {
    this.#isEnded = true;
    this.#lookAt = Number.POSITIVE_INFINITY;
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /**
   * Whether it is for this thread to commit: something has changed, and nobody took it on for longer than `ms`.
   * Who is told so has taken it on.
   */
  #takeOn(ms: number): boolean {
    const { closing, thread, cache } = this.#core;
    if (closing || unusable(thread) !== null || cache.journal?.isAborted || isAllPersistent(thread))
      return false;
    const word = volumeWord(thread, VolumeWord.committedMs);
    const [last, now] = [load(thread.words, word), clockMs()];
    return remainingMs(now, last) >= ms && cas(thread.words, word, last, now);
  }

  /** For the end of a blocking operation of a thread that holds nothing. Blocks where a commit is overdue. */
  commitOverdue(): void {
    const now = performance.now();
    if (now < this.#lookAt) return;
    this.#lookAt = now + this.#periodMs / 8;
    const core = this.#core;
    if (core.running > 0 || !this.#takeOn(1.5 * this.#periodMs)) return;
    try {
      // Keeps the volume mounted, where another thread does not unmount it already: that commits, too.
      using _root = runBlocking(core.thread, () => core.inodes.acquire(core.driver.rootIno));
      const steps = persistence(core);
      while (runBlocking(core.thread, (task) => steps.step(task))) core.persistDevice();
    } catch (error) {
      if (unusable(core.thread) === null) process.emitWarning(error as Error);
    }
  }

  async #commit(): Promise<void> {
    if (this.#isBusy) return;
    this.#isBusy = true;
    const core = this.#core;
    try {
      const steps = this.#takeOn(this.#periodMs / 2) ? persistence(core) : null;
      while (steps !== null && (await core.step(steps))) {
        // An unmount waits for no storage that this waits for: it commits itself.
        await core.persistDeviceAsync();
        if (this.#isEnded) return;
      }
      if (!core.closing && core.cache.journal?.isLive) await discardFreedAsync(core);
    } catch (error) {
      if (!this.#isEnded) process.emitWarning(error as Error);
    } finally {
      this.#isBusy = false;
    }
  }
}
