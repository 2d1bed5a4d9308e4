/**
 * Reading a layout without its lock: read, then see that nobody changed it meanwhile. The sequence
 * word is odd while a transaction changes the layout (transaction.ts, rule 3).
 */
import { load } from "../sync/atomics.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";

/**
 * Calls `read` until no change was under way while it ran. `read` may see any bytes in between: it
 * must end, and what it throws counts only if nothing changed.
 * Sleeps: while the layout is being changed. Locks: none needed.
 */
export function* readStable<T>(task: Task, sequence: number, read: () => T): Sleeps<T> {
  const { words } = task.thread;
  for (;;) {
    const before = load(words, sequence);
    if (before & 1) {
      yield {
        word: sequence,
        expected: before,
        kind: "layout",
        what: () => "a layout change to end",
      };
      continue;
    }
    try {
      const value = read();
      if (load(words, sequence) === before) return value;
    } catch (error) {
      if (load(words, sequence) === before) throw error;
    }
  }
}

/** As `readStable`, once: undefined when a change came in between. */
export function tryReadStable<T>(
  words: Int32Array,
  sequence: number,
  read: () => T,
): T | undefined {
  const before = load(words, sequence);
  if (before & 1) return undefined;
  try {
    const value = read();
    return load(words, sequence) === before ? value : undefined;
  } catch (error) {
    if (load(words, sequence) === before) throw error;
    return undefined;
  }
}
