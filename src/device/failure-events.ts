/**
 * What every thread that uses a device is told of its failures: a ring in shared memory, which each thread reads at
 * its own pace.
 *
 * Area, in words: 0 guard | 1 events so far | 2.. the last EVENTS_MAX events, EVENT_WORDS each
 * Event: 0 inode, low | 1 high (both 0: none) | 2 first page in the file | 3 first device page
 * | 4 pages less one | 5 reason | 6 use + 1 (0: no owner known) | 7 block group + 1 (0: none)
 *
 * An event is written before it is counted, both within the guard, so a thread that dies there has told
 * nothing or all. Who listens waits for the count to change, without keeping the process alive.
 */
import { BLOCK_USES, type BlockUse } from "../base/block-use.ts";
import { add, load, loadUnsigned, sleepWhileAsync, store, wakeAll } from "../sync/atomics.ts";
import { enterGuard, leaveGuard } from "../sync/guard.ts";
import { Root } from "../sync/region.ts";
import type { Thread } from "../sync/thread.ts";

const Area = { guard: 0, count: 1, events: 8 } as const;
const Event = {
  inoLow: 0,
  inoHigh: 1,
  index: 2,
  devicePage: 3,
  pages: 4,
  reason: 5,
  use: 6,
  group: 7,
} as const;
const EVENT_WORDS = 8;
const EVENTS_MAX = 64;

/** "poisoned": their bytes are lost; "removed": with the whole device. */
export type FailureReason = "poisoned" | "removed";
const REASONS: readonly FailureReason[] = ["poisoned", "removed"];

/** Who has pages. */
export interface PageOwner {
  readonly use: BlockUse;
  /** Null: the volume's own. */
  readonly ino: number | null;
  /** Of "data": the page of the file; else 0. */
  readonly index: number;
  /** The block group whose structure it is, or null. */
  readonly group: number | null;
}

/** Device pages that failed, and whose they are, if that is known. */
export interface FailedPages {
  readonly reason: FailureReason;
  readonly owner: PageOwner | null;
  readonly devicePage: number;
  readonly pages: number;
}

/** Makes the ring. Locks: none; alone. */
export function createFailureEvents(thread: Thread): void {
  const area = thread.region.allocatePages(Area.events + EVENTS_MAX * EVENT_WORDS);
  thread.region.setRoot(Root.failureEvents, area);
}

/** One thread's use of the ring. */
export class FailureEvents {
  readonly #thread: Thread;
  readonly #area: number;
  readonly #listeners = new Set<(failed: FailedPages) => void>();
  /** Events that this thread has seen. */
  #seen = 0;
  #listening = false;
  #ended = false;

  constructor(thread: Thread) {
    this.#thread = thread;
    this.#area = thread.region.root(Root.failureEvents);
  }

  /** Tells the listeners of all threads. */
  tell(failed: FailedPages): void {
    const { words } = this.#thread;
    const { owner } = failed;
    const ino = owner?.ino ?? 0;
    enterGuard(this.#thread, this.#area + Area.guard);
    const event = this.#event(load(words, this.#area + Area.count));
    store(words, event + Event.inoLow, ino | 0);
    store(words, event + Event.inoHigh, Math.floor(ino / 2 ** 32));
    store(words, event + Event.index, (owner?.index ?? 0) | 0);
    store(words, event + Event.devicePage, failed.devicePage | 0);
    store(words, event + Event.pages, (failed.pages - 1) | 0);
    store(words, event + Event.reason, REASONS.indexOf(failed.reason));
    store(words, event + Event.use, owner === null ? 0 : BLOCK_USES.indexOf(owner.use) + 1);
    store(words, event + Event.group, (owner?.group ?? -1) + 1);
    add(words, this.#area + Area.count, 1);
    leaveGuard(this.#thread, this.#area + Area.guard);
    wakeAll(words, this.#area + Area.count);
  }

  /** Has `listener` told of every failure from now on, on the event loop. Returns how to end that. */
  listen(listener: (failed: FailedPages) => void): () => void {
    if (this.#listeners.size === 0) this.#seen = load(this.#thread.words, this.#area + Area.count);
    this.#listeners.add(listener);
    if (!this.#listening) void this.#deliver();
    return () => {
      this.#listeners.delete(listener);
      this.#wake();
    };
  }

  /** Ends listening: the thread ends its use of the device. */
  end(): void {
    this.#ended = true;
    this.#listeners.clear();
    this.#wake();
  }

  /** Has the loops of this process look whether they are wanted. */
  #wake(): void {
    wakeAll(this.#thread.words, this.#area + Area.count);
  }

  #event(number: number): number {
    return this.#area + Area.events + (number % EVENTS_MAX) * EVENT_WORDS;
  }

  /** Tells this thread's listeners what is new, and waits for more, as long as there are any. */
  async #deliver(): Promise<void> {
    const { words } = this.#thread;
    this.#listening = true;
    while (!this.#ended && this.#listeners.size > 0) {
      const count = load(words, this.#area + Area.count);
      for (const failed of this.#takeNew(count)) {
        for (const listener of [...this.#listeners]) tellSafely(listener, failed);
      }
      await sleepWhileAsync(words, this.#area + Area.count, count, Infinity);
    }
    this.#listening = false;
  }

  /** The events up to `count` that this thread has not seen; of very many, the last ones. */
  #takeNew(count: number): FailedPages[] {
    const { words } = this.#thread;
    const failed: FailedPages[] = [];
    enterGuard(this.#thread, this.#area + Area.guard);
    const now = load(words, this.#area + Area.count);
    for (let number = Math.max(this.#seen, now - EVENTS_MAX); number < count; number++) {
      const event = this.#event(number);
      failed.push({
        reason: REASONS[load(words, event + Event.reason)]!,
        owner: this.#ownerIn(event),
        devicePage: loadUnsigned(words, event + Event.devicePage),
        pages: loadUnsigned(words, event + Event.pages) + 1,
      });
    }
    leaveGuard(this.#thread, this.#area + Area.guard);
    this.#seen = count;
    return failed;
  }

  #ownerIn(event: number): PageOwner | null {
    const { words } = this.#thread;
    const use = BLOCK_USES[load(words, event + Event.use) - 1];
    if (use === undefined) return null;
    const ino = load(words, event + Event.inoHigh) * 2 ** 32 + loadUnsigned(words, event);
    const group = load(words, event + Event.group) - 1;
    return {
      use,
      ino: ino === 0 ? null : ino,
      index: loadUnsigned(words, event + Event.index),
      group: group < 0 ? null : group,
    };
  }
}

/** A listener that throws ends as any callback that throws does, and the others are told all the same. */
function tellSafely(listener: (failed: FailedPages) => void, failed: FailedPages): void {
  try {
    listener(failed);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
