/** Trace points of a file's events (sync/trace.ts). */
import { load } from "../sync/atomics.ts";
import { type Event, record, traces } from "../sync/trace.ts";
import type { Thread } from "../sync/thread.ts";
import { type Mapping, MappingWord } from "./mapping.ts";

/** Tells an event of a file. Locks: none. */
export function traceFile(
  thread: Thread,
  event: Event,
  mapping: Mapping,
  a = 0,
  b = 0,
  c = 0,
  d = 0,
): void {
  if (!traces(thread, event)) return;
  const low = load(thread.words, mapping + MappingWord.inoLow);
  const high = load(thread.words, mapping + MappingWord.inoHigh);
  record(thread, event, low, high, a, b, c, d);
}
