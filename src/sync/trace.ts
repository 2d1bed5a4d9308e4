/**
 * Trace points: what the core tells of itself while it works. A point costs a load and a branch when
 * its class of events is off. Files named trace.ts only tell: the checker neither instruments nor
 * mutates them, nor calls of functions whose names begin with "trace".
 *
 * Events have the names of the kernel's fs_dax tracepoints where those exist. Every fault is a
 * `dax_pte_fault` here: a touch asks for one page, and the end tells how many it got.
 */
import { threadId } from "node:worker_threads";
import { load, loadRelaxed, store } from "./atomics.ts";
import { machineMs } from "./clock.ts";
import { TRACE_RECORDS_WORD, TRACING_WORD } from "./region.ts";
import type { Thread } from "./thread.ts";
import { makeRing, ringRecords, writeRecord } from "./trace-ring.ts";

/** Classes of events, one bit each in the region's word. */
export const TraceClass = {
  fault: 1,
  pin: 2,
  break: 4,
  writeback: 8,
  transaction: 16,
  window: 32,
  thread: 64,
} as const;
export type TraceClassName = keyof typeof TraceClass;

/** How many bits an event's number has, below its class. */
const NUMBER_BITS = 4;
/** How many bits an event has in a record, below the thread's id. */
export const EVENT_BITS = 12;

function event(className: TraceClassName, number: number): number {
  return (TraceClass[className] << NUMBER_BITS) + number;
}

/** Events: a class and a number within it. */
export const Event = {
  pteFault: event("fault", 0),
  pteFaultDone: event("fault", 1),
  loadHole: event("fault", 2),
  insertMapping: event("fault", 3),
  pin: event("pin", 0),
  pinSlow: event("pin", 1),
  unpin: event("pin", 2),
  breakAnnounce: event("break", 0),
  breakBusy: event("break", 1),
  breakWake: event("break", 2),
  breakDone: event("break", 3),
  writebackRange: event("writeback", 0),
  writebackOne: event("writeback", 1),
  writebackRangeDone: event("writeback", 2),
  transactionBegin: event("transaction", 0),
  transactionCommit: event("transaction", 1),
  transactionAbort: event("transaction", 2),
  map: event("window", 0),
  unmap: event("window", 1),
  revoke: event("window", 2),
  lost: event("window", 3),
  recover: event("thread", 0),
} as const;
export type Event = number;

/** Writes an event into this thread's ring. Its time is taken here. */
export function record(
  thread: Thread,
  event: Event,
  inoLow: number,
  inoHigh: number,
  a: number,
  b: number,
  c: number,
  d: number,
): void {
  const ring = ringOf(thread);
  if (ring === 0) return;
  const time = Math.floor(machineMs() * 1e6);
  const what = event + (threadId << EVENT_BITS);
  const high = Math.floor(time / 2 ** 32);
  writeRecord(thread.words, ring, [
    time | 0,
    high,
    what,
    inoLow,
    inoHigh,
    a | 0,
    b | 0,
    c | 0,
    d | 0,
  ]);
}

/** Whether the event's class is on. */
export function traces(thread: Thread, event: Event): boolean {
  return (loadRelaxed(thread.words, TRACING_WORD) & (event >>> NUMBER_BITS)) !== 0;
}

/** Tells an event that belongs to no file. */
export function trace(thread: Thread, event: Event, a = 0, b = 0): void {
  if (traces(thread, event)) record(thread, event, 0, 0, a, b, 0, 0);
}

/** Tells that a thread had died, and that what it held has been given back; `word` has its id. */
export function traceRecovery(thread: Thread, word: number): void {
  if (traces(thread, Event.recover)) trace(thread, Event.recover, load(thread.words, word));
}

/** This thread's ring, made when it is first needed; 0 when there is no room for one. */
function ringOf(thread: Thread): number {
  const { region, words } = thread;
  const ring = load(words, thread.traceWord);
  const records = load(words, TRACE_RECORDS_WORD);
  if (ring !== 0 && ringRecords(words, ring) >= records) return ring;
  try {
    const made = makeRing(region, records);
    store(words, thread.traceWord, made);
    return made;
  } catch {
    return ring; // the region is used up, and nobody must fail for being watched
  }
}
