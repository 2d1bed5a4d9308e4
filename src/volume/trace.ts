/** Tracing a volume: switching it on, and reading what all its threads tell. */
import { setTimeout as sleep } from "node:timers/promises";
import { load, store } from "../sync/atomics.ts";
import { machineMs } from "../sync/clock.ts";
import { type Region, TRACE_RECORDS_WORD, TRACING_WORD } from "../sync/region.ts";
import { Slot } from "../sync/thread.ts";
import { TraceClass, type TraceClassName } from "../sync/trace.ts";
import { readRing, ringPosition } from "../sync/trace-ring.ts";
import { checkInteger, wrongValue } from "./arguments.ts";
import { recordOf, TRACE_CLASSES, type TraceRecord } from "./trace-events.ts";

export interface TraceOptions {
  /** Classes of events. Default: all. */
  readonly events?: readonly TraceClassName[];
  /** How many of its last records each thread keeps, rounded up to a power of two. Default 4096. */
  readonly recordsPerThread?: number;
}

export interface FollowOptions {
  /** Ends it. */
  readonly signal?: AbortSignal;
  /** Milliseconds between two looks. Default 50. */
  readonly intervalMs?: number;
}

const RECORDS_DEFAULT = 4096;
const RECORDS_MAX = 2 ** 20;
/** What two threads' clocks may differ by, and a record may take to be written. */
const SETTLE_MS = 1;

/** Switches classes of events on, and everything else off. */
export function setTracing(region: Region, { events, recordsPerThread }: TraceOptions): void {
  let mask = 0;
  for (const name of events ?? TRACE_CLASSES) {
    if (!Object.hasOwn(TraceClass, name)) {
      throw wrongValue("options.events", `must be some of ${TRACE_CLASSES.join(", ")}`, name);
    }
    mask |= TraceClass[name];
  }
  const records = recordsPerThread ?? RECORDS_DEFAULT;
  checkInteger("options.recordsPerThread", records, 1, RECORDS_MAX);
  store(region.words, TRACE_RECORDS_WORD, 2 ** Math.ceil(Math.log2(records)));
  store(region.words, TRACING_WORD, mask);
}

/** Reads the rings of a region, each from where it has come to. */
export class TraceReader {
  readonly #region: Region;
  /** By slot. */
  readonly #positions = new Map<number, { ring: number; position: number }>();
  /** Records that were overwritten before they were read. */
  lost = 0;

  constructor(region: Region) {
    this.#region = region;
  }

  /** Leaves out what has been written so far. */
  skip(): void {
    const { words } = this.#region;
    for (let slot = 0; slot < this.#region.slotsUsed; slot++) {
      const ring = load(words, this.#region.slotBase(slot) + Slot.trace);
      if (ring !== 0) this.#positions.set(slot, { ring, position: ringPosition(words, ring) });
    }
  }

  /** What was written since the last read, of all threads, by time. */
  read(): TraceRecord[] {
    const records: TraceRecord[] = [];
    for (let slot = 0; slot < this.#region.slotsUsed; slot++) {
      const ring = load(this.#region.words, this.#region.slotBase(slot) + Slot.trace);
      if (ring === 0) continue;
      const before = this.#positions.get(slot);
      // A larger ring has taken the place of the one read so far: first what is left in that.
      if (before !== undefined && before.ring !== ring) this.#drain(before, records);
      const reading = before?.ring === ring ? before : { ring, position: 0 };
      this.#drain(reading, records);
      this.#positions.set(slot, reading);
    }
    return records.sort((a, b) => a.timeMs - b.timeMs);
  }

  #drain(reading: { readonly ring: number; position: number }, into: TraceRecord[]): void {
    const read = readRing(this.#region.words, reading.ring, reading.position);
    reading.position = read.position;
    this.lost += read.lost;
    for (const fields of read.records) into.push(recordOf(fields));
  }
}

/**
 * A volume's trace: what its threads do, event by event. It is one for all threads of the volume; each
 * thread that has the volume can read it, from where it has come to.
 */
export class VolumeTrace {
  readonly #region: Region;
  readonly #reader: TraceReader;

  /** Use `Volume.trace`. */
  constructor(region: Region) {
    this.#region = region;
    this.#reader = new TraceReader(region);
  }

  /** Whether any class of events is on. */
  get on(): boolean {
    return load(this.#region.words, TRACING_WORD) !== 0;
  }

  /** Records that were overwritten before this thread read them. */
  get lost(): number {
    return this.#reader.lost;
  }

  /**
   * Switches classes of events on, in all threads, and those not named off. What is read from here on
   * was written after this. Throws: ERR_INVALID_ARG_VALUE, ERR_OUT_OF_RANGE.
   */
  start(options: TraceOptions = {}): void {
    this.#reader.skip();
    setTracing(this.#region, options);
  }

  /** Switches all off. What has been written can still be read. */
  stop(): void {
    store(this.#region.words, TRACING_WORD, 0);
  }

  /** What was written since the last read, of all threads, by time. Never waits. */
  read(): TraceRecord[] {
    return this.#reader.read();
  }

  /**
   * Follows the trace until the signal, or until it has been switched off and all is read. Records come
   * by time.
   */
  async *follow({ signal, intervalMs = 50 }: FollowOptions = {}): AsyncGenerator<TraceRecord> {
    let held: TraceRecord[] = [];
    while (!(signal?.aborted ?? false)) {
      const on = this.on;
      const settled = on ? machineMs() - SETTLE_MS : Infinity;
      held = [...held, ...this.read()].sort((a, b) => a.timeMs - b.timeMs);
      const ready = held.filter(({ timeMs }) => timeMs < settled);
      held = held.slice(ready.length);
      yield* ready;
      if (!on) return;
      await sleep(intervalMs, undefined, { signal }).catch(() => {});
    }
  }
}
