/** Trace points of windows (sync/trace.ts). */
import { traceFile } from "../mapping/trace.ts";
import { load } from "../sync/atomics.ts";
import { type Event, traces } from "../sync/trace.ts";
import type { Thread } from "../sync/thread.ts";

/** Words of a window's record (window.ts). */
const Record = { mapping: 1, first: 2, pages: 3 } as const;

/** Tells an event of a whole window. */
export function traceWindow(thread: Thread, event: Event, window: number, writable = false): void {
  if (!traces(thread, event)) return;
  const pages = load(thread.words, window + Record.pages);
  traceSlice(thread, event, window, 0, pages, writable ? 1 : 0);
}

/** Tells an event of `count` pages of a window, the first of them counted from the window's start. */
export function traceSlice(
  thread: Thread,
  event: Event,
  window: number,
  from: number,
  count: number,
  detail = 0,
): void {
  if (!traces(thread, event)) return;
  const first = load(thread.words, window + Record.first) + from;
  traceFile(thread, event, load(thread.words, window + Record.mapping), first, count, detail);
}

/** Tells an event of pages [index, index + count) of the file that a window shows. */
export function tracePages(
  thread: Thread,
  event: Event,
  window: number,
  index: number,
  count: number,
  detail = 0,
): void {
  if (!traces(thread, event)) return;
  traceFile(thread, event, load(thread.words, window + Record.mapping), index, count, detail);
}
