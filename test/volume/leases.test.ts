// Leases: who may rely on a file's layout, how it is recalled, and what becomes of long-term pins.

import { Worker } from "node:worker_threads";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { FileHandle, FileLease, FilePin } from "../../src/index.ts";
import { builtModule, run } from "../support/tools.ts";
import { type Runner, startRunner } from "./threads.ts";
import { volumeKinds } from "./volumes.ts";

const PAGE = 4096;

/** Has the worker take a lease, which it returns when it is recalled, if `returns`. */
function leaseIn(
  worker: Runner,
  options: { kind?: "shared" | "exclusive"; offset?: number; length?: number; graceMs?: number },
  returns: boolean,
): Promise<void> {
  return worker.run(
    async (volume, kept, given, mayReturn) => {
      const file = volume.openSync("/data", "r+");
      const reasons: string[] = [];
      const lease = await file.lease({
        ...given,
        onRecall: (reason: string, recalled: FileLease) => {
          reasons.push(reason);
          if (mayReturn) recalled.release();
        },
      });
      Object.assign(kept, { file, lease, reasons });
    },
    options,
    returns,
  );
}

const reasonsIn = (worker: Runner): Promise<string[]> =>
  worker.run((_volume, kept) => kept["reasons"] as string[]);

/** Sleeps until `condition` holds, for a while at most. */
async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 2000 && !condition(); turn++) await sleep(1);
  expect(condition()).toBe(true);
}

describe.each(volumeKinds)("$name", (kind) => {
  test("a layout change recalls the leases in its range, waits for their return, and no others", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(10 * PAGE).fill(5), 0);
    await using worker = await startRunner(made.volume.share());
    await using other = await startRunner(made.volume.share());
    await leaseIn(worker, { offset: 4 * PAGE, length: PAGE }, true);
    await leaseIn(other, { offset: 0, length: 2 * PAGE }, true);
    expect(made.volume.statistics().leasesHeld).toBe(2);
    await file.truncate(3 * PAGE);
    expect(await reasonsIn(worker)).toEqual(["unmap"]);
    expect(await reasonsIn(other)).toEqual([]);
    expect(made.volume.statistics()).toMatchObject({ leasesHeld: 1, leaseRecalls: 1 });
    file.truncateSync(0); // blocking, too
    expect(await reasonsIn(other)).toEqual(["unmap"]);
    await worker.run((volume) => volume.close());
    await other.run((volume) => volume.close());
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });

  test("a lease that is not returned in time expires, and the change goes on", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(4 * PAGE), 0);
    await using worker = await startRunner(made.volume.share());
    await leaseIn(worker, { graceMs: 200 }, false);
    const start = performance.now();
    file.truncateSync(0);
    const waited = performance.now() - start;
    expect(waited).toBeGreaterThanOrEqual(199);
    expect(waited).toBeLessThan(5000);
    expect(await worker.run((_volume, kept) => (kept["lease"] as FileLease).expired)).toBe(true);
    expect(made.volume.statistics().leasesExpired).toBe(1);
    // It does not count any more.
    const again = performance.now();
    file.writeSync(new Uint8Array(PAGE), 0);
    file.truncateSync(0);
    expect(performance.now() - again).toBeLessThan(150);
  });

  test("a change that is given up names the lease that it waits for and whose it is", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(4 * PAGE).fill(3), 0);
    await using worker = await startRunner(made.volume.share());
    await leaseIn(worker, { kind: "exclusive", length: 2 * PAGE }, false);
    const lease = `the return of the exclusive lease \\d+ of pages 0 to 1 of inode ${file.ino}`;
    const whose = `of thread ${worker.worker.threadId}, recalled for a layout change`;
    await expect(file.truncate(0, { timeoutMs: 30 })).rejects.toMatchObject({
      code: "ETIMEDOUT",
      syscall: "ftruncate",
      message: expect.stringMatching(`${lease}, ${whose}, which expires in \\d+ ms`),
    });
    await expect(file.write(new Uint8Array(1), 0, { timeoutMs: 30 })).rejects.toMatchObject({
      code: "ETIMEDOUT",
      message: expect.stringMatching(lease),
    });
    const controller = new AbortController();
    const aborted = file.truncate(0, { signal: controller.signal });
    controller.abort();
    await expect(aborted).rejects.toMatchObject({ code: "ABORT_ERR" });
    expect(file.statSync().size).toBe(4 * PAGE);
    const target = new Uint8Array(1);
    file.readSync(target, 0);
    expect(target[0]).toBe(3);
  });

  test("who holds a lease, who asks for one and who waits for one is told", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(8 * PAGE), 0);
    await using worker = await startRunner(made.volume.share());
    await leaseIn(worker, { offset: PAGE, length: 2 * PAGE }, false);
    const { threadId } = worker.worker;
    const place = { threadId, offset: PAGE, length: 2 * PAGE };
    expect(file.holders().leases).toMatchObject([
      { ...place, kind: "shared", state: "granted", graceLeftMs: null },
    ]);
    const truncated = file.truncate(2 * PAGE, { timeoutMs: 20_000 });
    const wanted = file.lease({ kind: "exclusive", length: 2 * PAGE, timeoutMs: 20_000 });
    const { breaks, leases } = file.holders();
    expect(breaks).toMatchObject([{ threadId: 0, offset: 2 * PAGE, length: Infinity }]);
    expect(leases).toMatchObject([
      { threadId: 0, offset: 0, length: 2 * PAGE, kind: "exclusive", state: "waiting" },
      { ...place, state: "recalled", graceLeftMs: expect.any(Number) },
    ]);
    await worker.run((_volume, kept) => (kept["lease"] as FileLease).release());
    await truncated;
    (await wanted).release();
    expect(file.holders()).toMatchObject({ breaks: [], leases: [] });
  });

  test("shared leases go together; an exclusive one waits until they are returned, and is waited for", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    await using worker = await startRunner(made.volume.share());
    await leaseIn(worker, { kind: "shared" }, true);
    const shared = file.leaseSync();
    expect(shared.recalled).toBe(null);
    shared.release();
    const lease = await file.lease({ kind: "exclusive", length: PAGE });
    expect(await reasonsIn(worker)).toEqual(["lease"]);
    // Elsewhere in the file nobody is recalled.
    await leaseIn(worker, { kind: "exclusive", offset: PAGE }, true);
    expect(lease.recalled).toBe(null);
    const wanted = leaseIn(worker, { kind: "shared", offset: 100, length: 1 }, true);
    await until(() => lease.recalled !== null);
    expect(lease.recalled).toBe("lease");
    lease.release();
    await wanted;
  });

  test("write calls of others wait for an exclusive lease; its own thread's do not", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(2 * PAGE).fill(1), 0);
    await using worker = await startRunner(made.volume.share());
    await using lease = await file.lease({ kind: "exclusive", length: PAGE });
    await worker.run(async (volume, kept) => {
      const inner = volume.openSync("/data", "r+");
      inner.writeSync(new Uint8Array(10).fill(2), 4096);
      Object.assign(kept, { written: inner.write(new Uint8Array(10).fill(2), 0) });
    });
    await until(() => lease.recalled !== null);
    expect(lease.recalled).toBe("write");
    file.writeSync(new Uint8Array(10).fill(3), 0);
    const target = new Uint8Array(1);
    file.readSync(target, 0);
    expect(target[0]).toBe(3);
    lease.release();
    await worker.run((_volume, kept) => kept["written"] as Promise<number>);
    file.readSync(target, 0);
    expect(target[0]).toBe(2);
  });

  test("a thread's own layout change recalls its lease and does not wait for it", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(2 * PAGE), 0);
    const reasons: string[] = [];
    const lease = file.leaseSync({ onRecall: (reason) => reasons.push(reason) });
    file.truncateSync(0);
    expect(file.statSync().size).toBe(0);
    expect(lease.recalled).toBe("unmap");
    await until(() => reasons.length > 0);
    expect(reasons).toEqual(["unmap"]);
    lease.release();
    expect(lease.recalled).toBe(null);
    lease.release();
    expect(lease.released).toBe(true);
  });

  test("a lease of its own that is in the way is refused to a thread that blocks, and recalled by one that does not", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    const lease = await file.lease({ onRecall: (_reason, recalled) => recalled.release() });
    expect(() => file.leaseSync({ kind: "exclusive" })).toThrow(
      expect.objectContaining({ code: "EDEADLK", syscall: "lease" }),
    );
    expect(lease.recalled).toBe(null);
    await using exclusive = await file.lease({ kind: "exclusive" });
    expect(lease.released).toBe(true);
    expect(exclusive.kind).toBe("exclusive");
  });

  test("two threads that hold what the other one wants both get it", async () => {
    using made = kind.make();
    made.volume.writeFileSync("/data", "");
    await using one = await startRunner(made.volume.share());
    await using other = await startRunner(made.volume.share());
    const wantsBoth = async (worker: Runner, own: number, wanted: number, ready: Int32Array) => {
      await leaseIn(worker, { kind: "exclusive", offset: own, length: 1, graceMs: 200 }, false);
      return () =>
        worker.run(
          (_volume, kept, offset, done) => {
            Atomics.add(done, 0, 1);
            while (Atomics.load(done, 0) < 2);
            // Blocking: nothing can be returned meanwhile.
            const file = kept["file"] as FileHandle;
            file.leaseSync({ kind: "exclusive", offset, length: 1 }).release();
          },
          wanted,
          ready,
        );
    };
    const ready = new Int32Array(new SharedArrayBuffer(4));
    const first = await wantsBoth(one, 0, PAGE, ready);
    const second = await wantsBoth(other, PAGE, 0, ready);
    await Promise.all([first(), second()]);
    expect(made.volume.statistics().leasesExpired).toBeGreaterThan(0);
  });

  test("the leases of a terminated worker are taken away, and its requests", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(2 * PAGE), 0);
    const own = file.leaseSync({ offset: PAGE });
    const worker = await startRunner(made.volume.share());
    await leaseIn(worker, { kind: "exclusive", length: PAGE, graceMs: 3_600_000 }, false);
    await worker.run((_volume, kept) => {
      void (kept["file"] as FileHandle).lease({ kind: "exclusive", offset: 4096 });
    });
    await until(() => own.recalled !== null);
    const truncated = file.truncate(10, { timeoutMs: 20_000 });
    await sleep(20);
    await worker.terminate();
    await truncated;
    own.release();
    expect(made.volume.statistics().leasesHeld).toBe(0);
    expect(made.closeAndCheck()).toBe("");
  });

  test("a lease keeps its file, also one without a name, until it is released", async () => {
    using made = kind.make();
    const free = (): number => made.volume.statfsSync().bfree;
    made.volume.writeFileSync("/other", "");
    const before = free();
    const file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(20 * PAGE), 0);
    const lease = file.leaseSync();
    made.volume.unlinkSync("/data");
    file.closeSync();
    expect(free()).toBeLessThan(before);
    expect(lease.recalled).toBe(null);
    lease.release();
    expect(free()).toBe(before);
  });

  test("unmounting returns this thread's leases; a file that another one leases is in use", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    await using worker = await startRunner(made.volume.share());
    await leaseIn(worker, {}, false);
    const lease = file.leaseSync();
    await expect(made.volume.close()).rejects.toMatchObject({ code: "EBUSY" });
    expect(lease.released).toBe(false);
    await worker.run((_volume, kept) => {
      (kept["lease"] as FileLease).release();
      (kept["file"] as FileHandle).closeSync();
    });
    await made.volume.close();
    expect(lease.released).toBe(true);
    expect(lease.expired).toBe(false);
  });

  test("what is wrong with a request is said", async () => {
    using made = kind.make();
    made.volume.writeFileSync("/data", "");
    using file = made.volume.openSync("/data", "r");
    expect(() => file.leaseSync({ kind: "exclusive" })).toThrow(
      expect.objectContaining({ code: "EBADF" }),
    );
    // @ts-expect-error no such kind
    expect(() => file.leaseSync({ kind: "mine" })).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARG_VALUE" }),
    );
    expect(() => file.leaseSync({ graceMs: -1 })).toThrow(
      expect.objectContaining({ code: "ERR_OUT_OF_RANGE" }),
    );
    await expect(file.lease({ length: 0 })).rejects.toMatchObject({ code: "ERR_OUT_OF_RANGE" });
    using directory = made.volume.openSync("/", "r");
    expect(() => directory.leaseSync()).toThrow(expect.objectContaining({ code: "EISDIR" }));
    file.closeSync();
    expect(() => file.leaseSync()).toThrow(expect.objectContaining({ code: "EBADF" }));
  });
});

describe.each(volumeKinds.filter((kind) => kind.mappable))("$name, long-term pins", (kind) => {
  test("a long-term pin needs a lease of its file and range that is held and not recalled", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    using other = made.volume.openSync("/other", "w+");
    file.writeSync(new Uint8Array(4 * PAGE), 0);
    const refused = (lease: FileLease | undefined, code: string): void => {
      const options = { longTerm: true, ...(lease === undefined ? {} : { lease }) };
      expect(() => file.pinSync(0, 2 * PAGE, options)).toThrow(expect.objectContaining({ code }));
    };
    refused(undefined, "EOPNOTSUPP");
    await expect(file.pin(0, PAGE, { longTerm: true })).rejects.toMatchObject({
      code: "EOPNOTSUPP",
      message: expect.stringContaining("pass a lease"),
    });
    using others = other.leaseSync();
    refused(others, "EINVAL");
    using small = file.leaseSync({ length: PAGE });
    refused(small, "EINVAL");
    const lease = file.leaseSync({ graceMs: 50 });
    {
      using pin = await file.pin(0, 2 * PAGE, { longTerm: true, lease, write: true });
      pin.buffers[0]![0] = 7;
      expect(pin.verify()).toBe(true);
      expect(() => lease.release()).toThrow(expect.objectContaining({ code: "EBUSY" }));
    }
    file.truncateSync(3 * PAGE);
    refused(lease, "EBUSY");
    await sleep(60);
    refused(lease, "ESTALE");
    lease.release();
    refused(lease, "EBADF");
    expect(made.volume.statistics().pinsHeld).toBe(0);
  });

  test("truncate recalls the lease of a long-term pin: its holder ends the I/O, and the blocks are free", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    const before = made.volume.statfsSync().bfree;
    file.writeSync(new Uint8Array(8 * PAGE), 0);
    await using worker = await startRunner(made.volume.share());
    await worker.run(async (volume, kept) => {
      const inner = volume.openSync("/data", "r+");
      let pin: FilePin | null = null;
      const lease = await inner.lease({
        onRecall: (reason: string, recalled: FileLease) => {
          Object.assign(kept, { reason, wasOwn: pin!.verify() });
          pin!.release();
          recalled.release();
        },
      });
      pin = inner.pinSync(0, 8 * 4096, { longTerm: true, lease, write: true });
      pin.buffers[0]!.fill(9);
    });
    expect(made.volume.statistics().pinsHeld).toBeGreaterThan(0);
    file.truncateSync(0);
    expect(made.volume.statistics().pinsHeld).toBe(0);
    expect(made.volume.statfsSync().bfree).toBe(before);
    const told = await worker.run((_volume, kept) => [kept["reason"], kept["wasOwn"]]);
    expect(told).toEqual(["unmap", true]);
    await worker.run((volume) => volume.close());
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });

  test("after the deadline a long-term pin gives no buffers, and truncate waits for it, saying so", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(8 * PAGE), 0);
    await using worker = await startRunner(made.volume.share());
    await leaseIn(worker, { graceMs: 50 }, false);
    await worker.run((_volume, kept) => {
      const lease = kept["lease"] as FileLease;
      const inner = kept["file"] as FileHandle;
      const pin = inner.pinSync(3 * 4096, 5 * 4096, { longTerm: true, lease, write: true });
      Object.assign(kept, { pin, old: pin.buffers[0] });
    });
    const whose = `pages 3 to 7 by thread ${worker.worker.threadId}`;
    await expect(file.truncate(0, { timeoutMs: 1300 })).rejects.toMatchObject({
      code: "ETIMEDOUT",
      message: expect.stringMatching(
        `pinned: ${whose}( for \\d+ ms)?, long-term under lease \\d+, which expired 1\\.\\d s ago`,
      ),
    });
    const ended = file.truncate(0, { timeoutMs: 20_000 });
    await worker.run((_volume, kept) => {
      (kept["old"] as Uint8Array)[0] = 1; // what was given out cannot be taken back: its block stays
    });
    const fenced = worker.run((_volume, kept) => (kept["pin"] as FilePin).buffers.length);
    await expect(fenced).rejects.toMatchObject({
      code: "ESTALE",
      message: expect.stringMatching(/lease \d+ was recalled and expired \d\.\d s ago/),
    });
    expect(file.statSync().size).toBe(8 * PAGE);
    await worker.run((_volume, kept) => {
      (kept["pin"] as FilePin).release();
      (kept["lease"] as FileLease).release();
    });
    await ended;
    expect(file.statSync().size).toBe(0);
    await worker.run((volume) => volume.close());
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });

  test("the long-term pins of a terminated worker go with its lease", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(8 * PAGE), 0);
    const worker = await startRunner(made.volume.share());
    await leaseIn(worker, { graceMs: 3_600_000 }, false);
    await worker.run((_volume, kept) => {
      const lease = kept["lease"] as FileLease;
      const inner = kept["file"] as FileHandle;
      Object.assign(kept, { pin: inner.pinSync(0, 4096, { longTerm: true, lease }) });
    });
    const truncated = file.truncate(0, { timeoutMs: 20_000 });
    await sleep(20);
    await worker.terminate();
    await truncated;
    expect(made.volume.statistics()).toMatchObject({ pinsHeld: 0, leasesHeld: 0 });
  });

  test("a lease that is granted after its handle was closed is given out", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    await using worker = await startRunner(made.volume.share());
    await leaseIn(worker, { kind: "exclusive", graceMs: 100 }, false);
    const closing = made.volume.openSync("/data", "r+");
    const granted = closing.lease();
    await closing.close();
    const lease = await granted;
    expect(lease.released).toBe(false);
    lease.release();
    expect(file.statSync().size).toBe(0);
  });

  // A pin that waited for a layout change while its handle was closed was counted and never given out:
  // whoever truncated the file afterwards waited for ever.
  test("a pin that is granted after its handle was closed is given out", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(4 * PAGE), 0);
    await using worker = await startRunner(made.volume.share());
    await worker.run((volume, kept) => {
      Object.assign(kept, { pin: volume.openSync("/data", "r+").pinSync(0, 4096) });
    });
    const truncated = file.truncate(0, { timeoutMs: 20_000 });
    for (let turn = 0; turn < 10; turn++) {
      await sleep(7); // until the truncate insists: then the pin waits
      const closing = made.volume.openSync("/data", "r+");
      const granted = closing.pin(PAGE, PAGE);
      await closing.close();
      (await granted).release();
    }
    expect(made.volume.statistics().pinsHeld).toBe(1);
    await worker.run((_volume, kept) => (kept["pin"] as FilePin).release());
    await truncated;
  });
});

test("a lease keeps no process and no worker from ending", async () => {
  const program = `
    import { mountRamSync } from ${JSON.stringify(builtModule("index.ts").href)};
    const volume = mountRamSync({ size: 2 ** 24, regionBytes: 2 ** 27 });
    const file = volume.openSync("/data", "w+");
    const lease = await file.lease({ onRecall: () => console.log("recalled") });
    console.log(lease.kind);
  `;
  const start = performance.now();
  const { code, stdout, stderr } = run("node", ["--input-type=module", "--eval", program]);
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "shared\n", stderr: "" });
  expect(performance.now() - start).toBeLessThan(20_000);
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`), {
    stdout: true,
  });
  expect(await new Promise((resolve) => worker.on("exit", resolve))).toBe(0);
});
