/** What trace records mean (sync/trace.ts), as data and in words. */
import { PAGE_INDEX_MAX } from "../mapping/mapping.ts";
import { Event, EVENT_BITS, TraceClass, type TraceClassName } from "../sync/trace.ts";

/** The classes of events, by the names that options give them. */
export const TRACE_CLASSES = Object.keys(TraceClass) as TraceClassName[];

/** A trace event. Its name is that of the kernel's fs_dax tracepoint where there is one. */
export interface TraceRecord {
  /** Milliseconds of the machine's monotonic clock, with a fraction. */
  readonly timeMs: number;
  /** Who did it: `threadId` of node:worker_threads. */
  readonly threadId: number;
  readonly event: string;
  /** The file's inode number; null for what belongs to no file. */
  readonly ino: number | null;
  /** What happened: see docs/protocol.md, "Tracing". Pages count from the file's start. */
  readonly args: Readonly<Record<string, number | boolean>>;
}

interface EventKind {
  readonly name: string;
  /** Names of its arguments in order. `write` and `writable` are yes or no. */
  readonly args: readonly string[];
  readonly hasFile: boolean;
}

const RANGE = ["page", "last"] as const;

function file(name: string, ...args: string[]): EventKind {
  return { name, args, hasFile: true };
}

const EVENTS = new Map<number, EventKind>([
  [Event.pteFault, file("dax_pte_fault", "page", "write")],
  [Event.pteFaultDone, file("dax_pte_fault_done", "page", "write")],
  [Event.loadHole, file("dax_load_hole", "page")],
  [Event.insertMapping, file("dax_insert_mapping", "page", "pages", "devicePage")],
  [Event.pin, file("pin_fast", "page", "pages", "write")],
  [Event.pinSlow, file("pin_slow", "page", "pages", "write")],
  [Event.unpin, file("unpin", "page", "pages", "write")],
  [Event.breakAnnounce, file("break_announce", ...RANGE)],
  [Event.breakBusy, file("break_busy", ...RANGE, "busyPage")],
  [Event.breakWake, file("break_wake", ...RANGE, "busyPage")],
  [Event.breakDone, file("break_done", ...RANGE)],
  [Event.writebackRange, file("dax_writeback_range")],
  [Event.writebackOne, file("dax_writeback_one", "page", "pages")],
  [Event.writebackRangeDone, file("dax_writeback_range_done")],
  [Event.transactionBegin, { name: "transaction_begin", args: [], hasFile: false }],
  [Event.transactionCommit, { name: "transaction_commit", args: ["blocks"], hasFile: false }],
  [Event.transactionAbort, { name: "transaction_abort", args: ["blocks"], hasFile: false }],
  [Event.map, file("window_map", "page", "pages", "writable")],
  [Event.unmap, file("window_unmap", "page", "pages")],
  [Event.revoke, file("window_revoke", "page", "pages")],
  [Event.lost, file("window_lost", "page", "pages")],
  [Event.recover, { name: "thread_recovered", args: ["threadId"], hasFile: false }],
]);

/** The record that a ring's words from 1 on tell. */
export function recordOf(fields: readonly number[]): TraceRecord {
  const [timeLow, timeHigh, what, inoLow, inoHigh, ...values] = fields as [
    number,
    number,
    number,
    number,
    number,
    ...number[],
  ];
  const kind = EVENTS.get(what & (2 ** EVENT_BITS - 1));
  const args: Record<string, number | boolean> = {};
  for (const [index, name] of (kind?.args ?? []).entries()) {
    const value = values[index]! >>> 0;
    args[name] = name === "write" || name === "writable" ? value !== 0 : value;
  }
  return {
    timeMs: (timeHigh * 2 ** 32 + (timeLow >>> 0)) / 1e6,
    threadId: what >>> EVENT_BITS,
    event: kind?.name ?? "unknown",
    ino: kind?.hasFile === true ? inoHigh * 2 ** 32 + (inoLow >>> 0) : null,
    args,
  };
}

/** A record's arguments in words: "ino 12 page 3 write". */
export function describeArgs({ ino, args }: TraceRecord): string {
  const words = ino === null ? [] : [`ino ${ino}`];
  for (const [name, value] of Object.entries(args)) {
    if (typeof value === "boolean")
      words.push(value ? name : name === "write" ? "read" : "read-only");
    else if (name === "last") words.push(value >= PAGE_INDEX_MAX ? "to the end" : `to ${value}`);
    else words.push(`${name} ${value}`);
  }
  return words.join(" ");
}
