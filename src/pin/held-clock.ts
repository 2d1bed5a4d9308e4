/**
 * Since when a thread holds its pins. A look at the clock costs more than half a pin, so the fast path
 * takes none: at the end of the turn of the event loop in which it was taken, and before its thread
 * blocks in a wait of this library, a pin that is still held gets its time. It so counts as held a
 * little shorter than it is, never longer. In a thread that blocks otherwise it has no time yet.
 */
import { loadOwn, storeOwn } from "../sync/atomics.ts";
import { clockMs } from "../sync/clock.ts";
import { forEachRecord } from "../sync/table.ts";
import { type HeldClock, PIN_RECORD_WORDS, Slot, type Thread } from "../sync/thread.ts";
import { PinWord } from "./record.ts";

/** Has this thread note since when it holds its pins. */
export function keepHeldClock(thread: Thread): void {
  thread.heldClock = new PinClock(thread);
}

class PinClock implements HeldClock {
  armed = false;
  readonly #thread: Thread;
  readonly #onTurnEnd = (): void => this.note();

  constructor(thread: Thread) {
    this.#thread = thread;
  }

  arm(): void {
    this.armed = true;
    queueMicrotask(this.#onTurnEnd);
  }

  note(): void {
    this.armed = false;
    const { words, base, pins } = this.#thread;
    if (pins.count === 0) return;
    const now = clockMs() + 1;
    forEachRecord(words, base + Slot.pins, PIN_RECORD_WORDS, (record) => {
      const since = record + PinWord.since;
      if (loadOwn(words, since) === 0) storeOwn(words, since, now);
    });
  }
}
