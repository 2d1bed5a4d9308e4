/**
 * Recording the trace of each volume that this process mounts, where its environment says so
 * (`holdfast trace` does). A worker thread reads the rings and appends to the file, so that threads
 * that block, as most do, lose nothing; it ends with the volume, or with the process.
 *
 * File: a line of JSON for each record (trace-events.ts), with `volume`; a line `{"trace": ...}` when a
 * volume is mounted, and a line `{"end": ...}` with the records lost when it is closed.
 */
import { Worker } from "node:worker_threads";
import { builtModule } from "../base/modules.ts";
import { load, makeSharedBuffer, sleepWhile, store, wakeAll } from "../sync/atomics.ts";
import type { Region } from "../sync/region.ts";
import { TRACE_CLASSES } from "./trace-events.ts";
import { setTracing, type TraceOptions } from "./trace.ts";

/** The environment: where to, which events (names with commas between), records for each thread. */
export const TRACE_FILE = "HOLDFAST_TRACE";
export const TRACE_EVENTS = "HOLDFAST_TRACE_EVENTS";
export const TRACE_RECORDS = "HOLDFAST_TRACE_RECORDS";

const END_MS_MAX = 10_000;
const SLICE_MS = 10;

/** Words that the recorder and its worker share. */
export const RecorderWord = { stop: 0, done: 1 } as const;

/** What the worker is given. */
export interface RecorderTask {
  readonly region: SharedArrayBuffer;
  readonly words: Int32Array;
  readonly file: string;
  /** The volume's path, for the lines. */
  readonly volume: string;
}

function optionsOf({ [TRACE_EVENTS]: events, [TRACE_RECORDS]: records }: NodeJS.ProcessEnv) {
  const names = events === undefined || events === "" ? TRACE_CLASSES : events.split(",");
  const options = { events: names as TraceOptions["events"] & {} };
  return records === undefined ? options : { ...options, recordsPerThread: Number(records) };
}

/**
 * Starts a recorder of the volume if the environment asks for one; returns what ends it, or null.
 * Throws: ERR_INVALID_ARG_VALUE, ERR_OUT_OF_RANGE for what the environment says.
 */
export function startRecorder(region: Region, volume: string): (() => void) | null {
  const file = process.env[TRACE_FILE];
  if (file === undefined || file === "") return null;
  setTracing(region, optionsOf(process.env));
  const words = new Int32Array(makeSharedBuffer(8));
  const task: RecorderTask = { region: region.buffer, words, file, volume };
  const url = builtModule("volume/trace-recorder-worker.js");
  const worker = new Worker(url, { workerData: task, name: "holdfast trace", execArgv: [] });
  worker.unref();
  worker.on("error", (error) => {
    store(words, RecorderWord.done, 1);
    process.emitWarning(`the trace is not recorded: ${error.message}`);
  });
  const stop = (): void => {
    process.off("exit", stop);
    store(words, RecorderWord.stop, 1);
    wakeAll(words, RecorderWord.stop);
    const deadline = performance.now() + END_MS_MAX;
    while (load(words, RecorderWord.done) === 0 && performance.now() < deadline) {
      sleepWhile(words, RecorderWord.done, 0, SLICE_MS);
    }
  };
  process.on("exit", stop);
  return stop;
}
