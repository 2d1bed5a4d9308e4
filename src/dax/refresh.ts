/** Windows after a change that took no block away: holes were filled, or the file has grown. */
import { type Mapping, MappingWord } from "../mapping/mapping.ts";
import { dropZeroEntries } from "../mapping/tree.ts";
import { type Held, lockExclusive } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { type Dax, mapName } from "./dax.ts";
import { showAll } from "./fault.ts";

/**
 * Takes zero pages and lost pages out of the windows over pages [first, last], so that the next
 * touch finds what is there now. The change is committed, so this ends whether or not the operation is
 * aborted. Locks: takes the map lock, exclusively. Sleeps: for it.
 */
export function* refreshWindows(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  first: number,
  last: number,
): Sleeps<void> {
  if (!dax.windows.hasWindows(mapping)) return;
  using _enduring = task.endure();
  using map = yield* lockExclusive(task, mapping + MappingWord.mapLock, mapName(dax, mapping));
  dax.windows.revoke(mapping, first, last);
  dropZeroEntries(dax.thread.words, mapping, first, last);
  yield* showAgain(task, dax, mapping, map);
}

/** Where windows cannot fault, shows them whole again. The map lock is held exclusively. */
export function* showAgain(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  _held: Held<"map">,
): Sleeps<void> {
  const { windows } = dax;
  if (windows.port.faults) return;
  const all: number[] = [];
  windows.forEachWindow(mapping, (window) => all.push(window));
  for (const window of all) yield* showAll(task, dax, window);
}
