/** The recorder's thread: see trace-recorder.ts. Loaded by a Worker, never imported. */
import { closeSync, openSync, writeSync } from "node:fs";
import { workerData } from "node:worker_threads";
import { load, sleepWhile, store, wakeAll } from "../sync/atomics.ts";
import { Region } from "../sync/region.ts";
import { TraceReader } from "./trace.ts";
import { type RecorderTask, RecorderWord } from "./trace-recorder.ts";

const INTERVAL_MS = 5;

const { region, words, file, volume } = workerData as RecorderTask;
try {
  const reader = new TraceReader(Region.attach(region));
  const fd = openSync(file, "a");
  const append = (lines: readonly object[]): void => {
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
    const bytes = Buffer.from(text);
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
  };
  append([{ trace: { version: 1, volume, pid: process.pid } }]);
  for (let stopped = false; !stopped; ) {
    stopped = load(words, RecorderWord.stop) !== 0;
    const records = reader.read();
    if (records.length > 0) append(records.map((record) => ({ volume, ...record })));
    if (!stopped) sleepWhile(words, RecorderWord.stop, 0, INTERVAL_MS);
  }
  append([{ end: { volume, lost: reader.lost } }]);
  closeSync(fd);
} finally {
  store(words, RecorderWord.done, 1);
  wakeAll(words, RecorderWord.done);
}
