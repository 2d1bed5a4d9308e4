// A volume used by several threads: what one does the others see, and what one leaves behind when it
// dies is given back.

import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { FileHandle } from "../../src/index.ts";
import { attach } from "../../src/index.ts";
import { startChurn, startRunner } from "./threads.ts";
import { copiedKinds, volumeKinds } from "./volumes.ts";

/** Direct files, and copied ones: of small blocks, and by choice. */
const kinds = [...volumeKinds, ...copiedKinds.slice(0, 2)];

describe.each(kinds)("$name", (kind) => {
  test("what one thread writes, another reads", async () => {
    using made = kind.make();
    {
      await using runner = await startRunner(made.volume.share());
      await runner.run((volume) => {
        volume.mkdirSync("/from/worker", { recursive: true });
        volume.writeFileSync("/from/worker/file", "written in a worker");
      });
      expect(made.volume.readFileSync("/from/worker/file", "utf8")).toBe("written in a worker");
      made.volume.writeFileSync("/from/worker/file", "changed in main");
      const seen = await runner.run((volume) => volume.readFileSync("/from/worker/file", "utf8"));
      expect(seen).toBe("changed in main");
      await runner.run((volume) => volume.close());
    }
    expect(made.closeAndCheck()).toBe("");
  });

  test("what a thread has found or missed in a directory holds until another thread changes it", async () => {
    using made = kind.make();
    const { volume } = made;
    const missing = expect.objectContaining({ code: "ENOENT" });
    volume.mkdirSync("/many");
    {
      await using runner = await startRunner(volume.share());
      expect(() => volume.statSync("/one")).toThrow(missing);
      await runner.run((other) => other.writeFileSync("/one", "by the worker"));
      expect(() => volume.openSync("/one", "wx")).toThrow(
        expect.objectContaining({ code: "EEXIST" }),
      );
      expect(volume.statSync("/one").size).toBe(13);
      await runner.run((other) => other.renameSync("/one", "/two"));
      expect(() => volume.unlinkSync("/one")).toThrow(missing);
      expect(volume.statSync("/two").size).toBe(13);
      // Where a name would have gone is full by then, or in another block.
      expect(() => volume.statSync("/many/last")).toThrow(missing);
      await runner.run((other) => {
        for (let index = 0; index < 400; index++) other.mkdirSync(`/many/directory-${index}`);
      });
      volume.writeFileSync("/many/last", "");
      expect(volume.readdirSync("/many").length).toBe(401);
      expect(await runner.run((other) => other.statSync("/many/last").size)).toBe(0);
      await runner.run((other) => other.close());
    }
    expect(made.closeAndCheck()).toBe("");
  });

  test("a worker of a worker attaches with the handle it was given", async () => {
    using made = kind.make();
    await using runner = await startRunner(made.volume.share());
    const content = await runner.run(
      async (volume, _kept, url) => {
        const { Worker } = process.getBuiltinModule("node:worker_threads");
        const nested = new Worker(new URL(url), { workerData: { handle: volume.share() } });
        await new Promise((resolve) => nested.once("message", resolve));
        const done = new Promise((resolve) => nested.once("message", resolve));
        const code = String((inner: typeof volume) => inner.writeFileSync("/nested", "deep"));
        nested.postMessage({ id: 1, code, args: [] });
        await done;
        await nested.terminate();
        return volume.readFileSync("/nested", "utf8");
      },
      new URL("./workers/runner.mjs", import.meta.url).href,
    );
    expect(content).toBe("deep");
  });

  test("a second attach in one thread is refused", () => {
    using made = kind.make();
    expect(() => attach(made.volume.share())).toThrow(expect.objectContaining({ code: "EBUSY" }));
  });

  test("unmounting waits for nobody: it names who still has files, and works once they are closed", async () => {
    using made = kind.make();
    await using runner = await startRunner(made.volume.share());
    await runner.run((volume, kept) => {
      Object.assign(kept, { file: volume.openSync("/held", "w+") });
    });
    await expect(made.volume.close()).rejects.toMatchObject({
      code: "EBUSY",
      message: expect.stringMatching(/thread \d+ has 1 file/),
    });
    made.volume.writeFileSync("/still", "mounted");
    await runner.run((_volume, kept) => (kept["file"] as FileHandle).closeSync());
    await made.volume.close();
    await expect(runner.run((volume) => volume.statSync("/"))).rejects.toMatchObject({
      code: "EBADF",
    });
    // What is left to a detached thread does no harm.
    await runner.run((volume) => volume.close());
  });

  test("a file without a name lives as long as a thread has it open, and its blocks come back after", async () => {
    using made = kind.make();
    const free = (): number => made.volume.statfsSync().bfree;
    await using runner = await startRunner(made.volume.share());
    made.volume.writeFileSync("/other", "");
    const before = free();
    await runner.run((volume, kept) => {
      const file = volume.openSync("/gone", "w+");
      file.writeSync(new Uint8Array(1_000_000).fill(7), 0);
      Object.assign(kept, { file });
    });
    made.volume.unlinkSync("/gone");
    expect(made.volume.existsSync("/gone")).toBe(false);
    expect(free()).toBeLessThan(before);
    const byte = await runner.run((_volume, kept) => {
      const target = new Uint8Array(1);
      (kept["file"] as FileHandle).readSync(target, 999_999);
      return target[0];
    });
    expect(byte).toBe(7);
    await runner.run((_volume, kept) => (kept["file"] as FileHandle).closeSync());
    expect(free()).toBe(before);
  });

  test("a file without a name whose only user is terminated is freed", async () => {
    using made = kind.make();
    const free = (): number => made.volume.statfsSync().bfree;
    made.volume.writeFileSync("/other", "");
    const before = free();
    const runner = await startRunner(made.volume.share());
    await runner.run((volume, kept) => {
      Object.assign(kept, { file: volume.openSync("/gone", "w+") });
      (kept["file"] as FileHandle).writeSync(new Uint8Array(1_000_000), 0);
      volume.unlinkSync("/gone");
    });
    expect(free()).toBeLessThan(before);
    await runner.terminate();
    made.remount();
    if (made.image !== null) expect(free()).toBe(before);
    expect(made.closeAndCheck()).toBe("");
  });

  test("terminated in the middle of its operations, a worker stops nobody else", async () => {
    using made = kind.make();
    made.volume.mkdirSync("/churn");
    const handle = made.volume.share();
    const steady = startChurn(handle, "steady", 1);
    const failures: Error[] = [];
    void steady.failure.then((error) => failures.push(error));
    const rounds = Number(process.env["HOLDFAST_TERMINATIONS"] ?? 12);
    for (let round = 0; round < rounds; round++) {
      const victim = startChurn(handle, "victim", round + 2);
      void victim.failure.then((error) => failures.push(error));
      while (victim.turns() < 3 && failures.length === 0) await sleep(2);
      await sleep(round % 7);
      await victim.worker.terminate();
      expect(failures).toEqual([]);
      const turns = steady.turns();
      const deadline = Date.now() + 20_000;
      while (steady.turns() < turns + 3) {
        expect(failures).toEqual([]);
        if (Date.now() > deadline) throw new Error(`the other thread hangs after round ${round}`);
        await sleep(1);
      }
      made.volume.writeFileSync("/churn/main", `round ${round}`);
    }
    await steady.worker.terminate();
    expect(made.volume.readFileSync("/churn/main", "utf8")).toBe(`round ${rounds - 1}`);
    expect(made.closeAndCheck()).toBe("");
  });
});

describe.each(kinds)("$name, mapped", (kind) => {
  test("stores through one thread's window are seen in another's, and by read", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    file.truncateSync(1_000_000);
    using window = file.map();
    await using runner = await startRunner(made.volume.share());
    window.bytes[0] = 1;
    await runner.run((volume, kept) => {
      const inner = volume.openSync("/data", "r+");
      const { bytes } = inner.map();
      Object.assign(kept, { bytes });
      if (bytes[0] !== 1) throw new Error(`the first byte is ${bytes[0]}`);
      bytes[999_999] = 2;
    });
    expect(window.bytes[999_999]).toBe(2);
    const target = new Uint8Array(1);
    file.readSync(target, 999_999);
    expect(target[0]).toBe(2);
    file.truncateSync(10);
    expect(await runner.run((_volume, kept) => (kept["bytes"] as Uint8Array)[999_999])).toBe(0);
    await runner.run((volume) => volume.close());
  });

  test("a worker's window is served while the mounting thread is blocked", async () => {
    using made = kind.make();
    made.volume.writeFileSync("/data", new Uint8Array(100_000).fill(3));
    await using runner = await startRunner(made.volume.share());
    const flag = new Int32Array(new SharedArrayBuffer(8));
    const seen = runner.run((volume, _kept, done) => {
      const { bytes } = volume.openSync("/data", "r").map();
      done[1] = bytes[99_999]!;
      Atomics.store(done, 0, 1);
      Atomics.notify(done, 0);
    }, flag);
    // Blocks this thread's event loop: the worker gets no help from it.
    expect(Atomics.wait(flag, 0, 0, 30_000)).not.toBe("timed-out");
    expect(flag[1]).toBe(3);
    await seen;
  });

  test("truncate waits for another thread's pin, says whose it is, and goes on at its release", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(100_000).fill(5), 0);
    await using runner = await startRunner(made.volume.share());
    await runner.run((volume, kept) => {
      Object.assign(kept, {
        pin: volume.openSync("/data", "r+").pinSync(0, 8192, { write: true }),
      });
    });
    await expect(file.truncate(0, { timeoutMs: 50 })).rejects.toMatchObject({
      code: "ETIMEDOUT",
      syscall: "ftruncate",
      message: expect.stringContaining(`thread ${runner.worker.threadId}`),
    });
    expect(file.statSync().size).toBe(100_000);
    let ended = false;
    const truncated = file.truncate(0).then(() => {
      ended = true;
    });
    await sleep(50);
    expect(ended).toBe(false);
    await runner.run((_volume, kept) => (kept["pin"] as { release(): void }).release());
    await truncated;
    expect(file.statSync().size).toBe(0);
  });

  test("the pins of a terminated worker are given back", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/data", "w+");
    file.writeSync(new Uint8Array(100_000).fill(5), 0);
    const runner = await startRunner(made.volume.share());
    await runner.run((volume, kept) => {
      Object.assign(kept, {
        pin: volume.openSync("/data", "r+").pinSync(0, 8192, { write: true }),
      });
    });
    const truncated = file.truncate(0, { timeoutMs: 20_000 });
    await sleep(20);
    await runner.terminate();
    await truncated;
    expect(made.volume.statistics().pinsHeld).toBe(0);
  });
});
