// The trace of a volume: what all its threads do, by time, and nothing while it is off.

import { describe, expect, test } from "vitest";
import type { TraceRecord } from "../../src/index.ts";
import { describeArgs } from "../../src/volume/trace-events.ts";
import { startRunner } from "./threads.ts";
import { volumeKinds } from "./volumes.ts";

const PAGE = 4096;

const names = (records: readonly TraceRecord[]): string[] => records.map(({ event }) => event);

/** Those of the records that are of an event, with its arguments. */
function argsOf(records: readonly TraceRecord[], event: string): TraceRecord["args"][] {
  return records.filter((each) => each.event === event).map(({ args }) => args);
}

describe.each(volumeKinds.filter((kind) => kind.mappable))("$name", (kind) => {
  test("a trace that is off tells nothing, and one that is on tells only what it was asked for", () => {
    using made = kind.make();
    const { trace } = made.volume;
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(PAGE), 0);
    expect(trace.on).toBe(false);
    expect(trace.read()).toEqual([]);
    trace.start({ events: ["pin"] });
    file.pinSync(0, PAGE, { write: true }).release();
    file.truncateSync(0);
    trace.stop();
    file.writeSync(new Uint8Array(PAGE), 0);
    file.pinSync(0, PAGE).release();
    const records = trace.read();
    expect(names(records)).toEqual(["pin_slow", "unpin"]);
    expect(records[0]).toMatchObject({ ino: file.ino, args: { page: 0, pages: 1, write: true } });
    expect(trace.read()).toEqual([]);
    expect(() => trace.start({ events: ["none" as never] })).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARG_VALUE" }),
    );
  });

  test("faults, pins, breaks, windows and write-back are told in the order in which they happen", () => {
    using made = kind.make();
    const { trace } = made.volume;
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(8 * PAGE).fill(1), 0);
    file.truncateSync(16 * PAGE);
    trace.start();
    using window = file.map({ length: 16 * PAGE });
    const first = window.bytes[2 * PAGE];
    const hole = window.bytes[12 * PAGE];
    file.pinSync(0, 2 * PAGE).release();
    file.pinSync(0, PAGE, { write: true }).release();
    file.syncSync();
    file.truncateSync(4 * PAGE);
    trace.stop();
    expect([first, hole]).toEqual([1, 0]);
    const records = trace.read();
    const times = records.map(({ timeMs }) => timeMs);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    const order = [
      "window_map",
      "pin_slow",
      "unpin",
      "dax_writeback_range",
      "dax_writeback_one",
      "dax_writeback_range_done",
      "break_announce",
      "window_revoke",
      "break_done",
      "transaction_commit",
    ];
    const seen = names(records);
    const places = order.map((name) => seen.lastIndexOf(name));
    expect(places).toEqual([...places].sort((a, b) => a - b));
    expect(places).not.toContain(-1);
    expect(argsOf(records, "window_map")).toEqual([{ page: 0, pages: 16, writable: true }]);
    const [announced] = argsOf(records, "break_announce");
    expect(announced).toMatchObject({ page: 4 });
    const faults = argsOf(records, "dax_pte_fault");
    if (faults.length > 0) {
      expect(faults).toEqual([
        { page: 2, write: false },
        { page: 12, write: false },
      ]);
      expect(argsOf(records, "dax_pte_fault_done")).toHaveLength(2);
      expect(argsOf(records, "dax_load_hole")).toEqual([{ page: 12 }]);
      const [mapped] = argsOf(records, "dax_insert_mapping");
      expect(mapped!["page"]).toBeLessThanOrEqual(2);
      expect((mapped!["page"] as number) + (mapped!["pages"] as number)).toBe(8);
    }
  });

  test("a break that waits for another thread's pin tells what was busy, and that it was woken", async () => {
    using made = kind.make();
    const { trace } = made.volume;
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(8 * PAGE).fill(1), 0);
    await using runner = await startRunner(made.volume.share());
    trace.start({ events: ["pin", "break", "thread"] });
    await runner.run((volume, kept) => {
      Object.assign(kept, { pin: volume.openSync("/data", "r+").pinSync(3 * 4096, 4096) });
    });
    const truncated = file.truncate(0);
    await runner.run((_volume, kept) => (kept["pin"] as { release(): void }).release());
    await truncated;
    const { threadId } = runner.worker;
    const records = trace.read();
    expect(names(records)).toEqual([
      "pin_slow",
      "break_announce",
      "break_busy",
      "unpin",
      "break_wake",
      "break_announce",
      "break_done",
    ]);
    expect(records.filter((each) => each.threadId === threadId).map(({ event }) => event)).toEqual([
      "pin_slow",
      "unpin",
    ]);
    expect(describeArgs(records[2]!)).toBe(`ino ${file.ino} page 0 to the end busyPage 3`);
    await runner.run((volume, kept) => {
      Object.assign(kept, { file: volume.openSync("/data", "r") });
    });
    await runner.terminate();
    expect(file.holders().handles).toHaveLength(1);
    expect(trace.read()).toMatchObject([{ event: "thread_recovered", args: { threadId } }]);
  });

  test("a ring keeps the last records, and counts those that were overwritten unread", () => {
    using made = kind.make();
    const { trace } = made.volume;
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(PAGE), 0);
    file.pinSync(0, PAGE).release();
    trace.start({ events: ["pin"], recordsPerThread: 5 });
    for (let turn = 0; turn < 50; turn++) file.pinSync(0, PAGE).release();
    expect(trace.read()).toHaveLength(8); // the power of two above
    expect(trace.lost).toBe(92);
    trace.start({ events: ["pin"], recordsPerThread: 64 });
    for (let turn = 0; turn < 20; turn++) file.pinSync(0, PAGE).release();
    expect(names(trace.read())).toEqual(Array(20).fill(["pin_fast", "unpin"]).flat());
    expect(trace.lost).toBe(92);
  });

  test("records are read whole while other threads write them", async () => {
    using made = kind.make();
    const { trace } = made.volume;
    made.volume.writeFileSync("/data", new Uint8Array(16 * PAGE).fill(1));
    await using runner = await startRunner(made.volume.share());
    trace.start({ events: ["pin"], recordsPerThread: 16 });
    const stop = new Int32Array(new SharedArrayBuffer(4));
    const churn = runner.run((volume, _kept, halt) => {
      const file = volume.openSync("/data", "r+");
      for (let turn = 0; Atomics.load(halt, 0) === 0; turn++) {
        file.pinSync((turn % 8) * 4096, ((turn % 8) + 1) * 4096).release();
      }
    }, stop);
    let seen = 0;
    const until = performance.now() + 200;
    while (performance.now() < until || seen === 0) {
      for (const { args } of trace.read()) {
        expect(args["pages"]).toBe((args["page"] as number) + 1);
        seen++;
      }
    }
    Atomics.store(stop, 0, 1);
    await churn;
    trace.stop();
  });

  test("follow gives records by time until the trace is switched off", async () => {
    using made = kind.make();
    const { trace } = made.volume;
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(PAGE), 0);
    trace.start({ events: ["pin"] });
    const followed: string[] = [];
    const end = (async () => {
      for await (const { event } of trace.follow({ intervalMs: 5 })) followed.push(event);
    })();
    file.pinSync(0, PAGE).release();
    while (followed.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    file.pinSync(0, PAGE).release();
    trace.stop();
    await end;
    expect(followed).toEqual(["pin_slow", "unpin", "pin_fast", "unpin"]);
    trace.start();
    const abort = new AbortController();
    abort.abort();
    for await (const _record of trace.follow({ signal: abort.signal })) throw new Error("aborted");
  });
});
