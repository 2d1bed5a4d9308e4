/** Trace points of pins (sync/trace.ts). */
import { traceFile } from "../mapping/trace.ts";
import { loadOwn, loadRelaxed } from "../sync/atomics.ts";
import { TRACING_WORD } from "../sync/region.ts";
import { type Event, TraceClass } from "../sync/trace.ts";
import type { Thread } from "../sync/thread.ts";
import { PinWord } from "./record.ts";

/** Has a new pin of this thread get its time, if it is held longer than a moment. */
export function traceHeld({ heldClock }: Thread): void {
  if (heldClock !== null && !heldClock.armed) heldClock.arm();
}

const PINS = TraceClass.pin;

/** Tells an event of a pin of this thread, which counts its pages. Small, for the fast path. */
export function tracePin(thread: Thread, event: Event, record: number): void {
  if ((loadRelaxed(thread.words, TRACING_WORD) & PINS) !== 0) tellPin(thread, event, record);
}

function tellPin(thread: Thread, event: Event, record: number): void {
  const { words } = thread;
  const write = loadOwn(words, record + PinWord.serial) & 1;
  const first = loadOwn(words, record + PinWord.first);
  const counted = loadOwn(words, record + PinWord.counted);
  traceFile(thread, event, loadOwn(words, record + PinWord.mapping), first, counted, write);
}
