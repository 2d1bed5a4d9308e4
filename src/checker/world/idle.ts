/** That an actor which has ended, or died, holds nothing any more. */
import type { Words } from "../../sync/atomics.ts";
import { forEachRecord } from "../../sync/table.ts";
import { PIN_RECORD_WORDS, Slot } from "../../sync/thread.ts";
import { ensureNoLeak, type Self } from "../scenario.ts";

/** The tables of a dead thread are empty. */
export function assertGivenBack(words: Words, name: string, base: number): void {
  const tables = [
    ["a lock", Slot.heldLocks, 1],
    ["an entry", Slot.entryLocks, 4],
    ["a pin", Slot.pins, PIN_RECORD_WORDS],
  ] as const;
  for (const [what, head, size] of tables) {
    forEachRecord(words, base + head, size, () =>
      ensureNoLeak(false, `${name} is dead and still holds ${what}`),
    );
  }
}

/** What a living actor's objects say. */
export function assertIdle({ name, thread, task }: Self): void {
  ensureNoLeak(thread.heldLocks.count === 0, `${name} still holds a lock`);
  ensureNoLeak(thread.pins.count === 0, `${name} still holds a pin`);
  ensureNoLeak(thread.entryLocks.count === 0, `${name} still holds an entry`);
  ensureNoLeak(task.held.length === 0, `${name}'s operation still holds a lock`);
}
