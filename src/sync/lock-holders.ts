/** Who has locks, and who queues for them: told from the threads' tables, for whoever asks. */
import { load } from "./atomics.ts";
import { Mode } from "./lock.ts";
import { forEachRecord } from "./table.ts";
import { type Holder, Slot, type Thread } from "./thread.ts";

/** One thread's hold of a lock, or its place in the queue. */
export interface LockUse {
  readonly holder: Holder;
  readonly lock: number;
  readonly mode: "shared" | "exclusive";
  readonly waits: boolean;
}

/** The uses of the locks that lie in words [first, end). Locks: none. Sleeps: never. */
export function lockUses(thread: Thread, first: number, end: number): LockUse[] {
  const { region, words } = thread;
  const uses: LockUse[] = [];
  for (let slot = 0; slot < region.slotsUsed; slot++) {
    const holder = thread.holderIn(slot);
    if (holder === 0) continue;
    forEachRecord(words, region.slotBase(slot) + Slot.heldLocks, 1, (record) => {
      const value = load(words, record);
      const mode = value & 7;
      const lock = value - mode;
      if (lock < first || lock >= end) return;
      const exclusive = mode === Mode.exclusive || mode === Mode.waitExclusive;
      const waits = mode !== Mode.exclusive && mode !== Mode.shared;
      uses.push({ holder, lock, mode: exclusive ? "exclusive" : "shared", waits });
    });
  }
  return uses;
}
