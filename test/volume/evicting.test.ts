import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type FilePin, mountRamSync, type Volume } from "../../src/index.ts";
import { startRunner } from "./threads.ts";
import { copiedKinds } from "./volumes.ts";

const PAGE = 4096;
const CACHE_PAGES = 64;
const FILE_PAGES = 4 * CACHE_PAGES;
const options = { cacheBytes: CACHE_PAGES * PAGE };

/** Whether touches fault here; elsewhere windows are shown whole, and a large one does not fit. */
const faults = (() => {
  using volume = mountRamSync({ size: 2 ** 24, regionBytes: 2 ** 27 });
  using file = volume.openSync("/probe", "w+");
  file.truncateSync(PAGE);
  using window = file.map();
  return window.bytes[0] === 0 && volume.statistics().faults > 0;
})();

interface Played {
  readonly wrong: number;
  readonly lost: unknown;
  /** Bytes of the file and their values, in turn. */
  readonly stored: number[];
}

/**
 * Touches the file at random. Each thread has bytes of its own in every page, so what it finds there is
 * what it stored.
 */
function touchAtRandom(
  volume: Volume,
  _kept: unknown,
  pages: number,
  thread: number,
  threads: number,
): Played {
  const file = volume.openSync("/large", "r+");
  const window = file.map();
  const model = new Uint8Array(pages * 4096);
  let seed = 12345 + thread;
  const random = (below: number): number => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed % below;
  };
  let wrong = 0;
  for (let turn = 0; turn < 3000; turn++) {
    const within = random(Math.floor(4096 / threads)) * threads + thread;
    const at = random(pages) * 4096 + within;
    if (window.bytes[at] !== model[at]) wrong++;
    model[at] = 1 + random(255);
    window.bytes[at] = model[at]!;
  }
  const { lost } = window;
  window.close();
  file.closeSync();
  const stored: number[] = [];
  for (let at = 0; at < model.length; at++) if (model[at] !== 0) stored.push(at, model[at]!);
  volume.closeSync();
  return { wrong, lost, stored };
}

/** Touches every page of the file, again and again, until it is terminated. */
function touchForEver(volume: Volume): void {
  const file = volume.openSync("/large", "r+");
  const { bytes } = file.map();
  for (let turn = 0; ; turn++) bytes[(turn * 4096) % bytes.length] = turn % 251;
}

/** Threads of this process. */
function tasks(): number {
  return readdirSync("/proc/self/task").length;
}

describe.skipIf(!faults).each(copiedKinds)("a window larger than the page cache, $name", (kind) => {
  it("is stored to page by page, and nothing is lost", () => {
    using made = kind.make(undefined, options);
    const { volume } = made;
    using file = volume.openSync("/large", "w+");
    file.truncateSync(FILE_PAGES * PAGE);
    using window = file.map();
    const valueAt = (page: number, round: number): number => (page * 7 + round) % 251;
    for (let round = 0; round < 2; round++) {
      for (let page = 0; page < FILE_PAGES; page++) {
        window.bytes[page * PAGE + round] = valueAt(page, round);
      }
    }
    const wrong: number[] = [];
    for (let page = FILE_PAGES - 1; page >= 0; page--) {
      if (window.bytes[page * PAGE] !== valueAt(page, 0)) wrong.push(page);
      if (window.bytes[page * PAGE + 1] !== valueAt(page, 1)) wrong.push(page);
    }
    expect(wrong).toEqual([]);
    expect(window.lost).toBe(null);
    expect(volume.statistics().waits.room.count).toBeGreaterThan(0);
    window.close();
    file.syncSync();
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });

  it("is touched at random by three threads as a plain array is", {
    timeout: 120_000,
  }, async () => {
    using made = kind.make(undefined, options);
    const { volume } = made;
    using file = volume.openSync("/large", "w+");
    file.truncateSync(FILE_PAGES * PAGE);
    const expected = new Uint8Array(FILE_PAGES * PAGE);
    {
      await using first = await startRunner(volume.share());
      await using second = await startRunner(volume.share());
      await using third = await startRunner(volume.share());
      const runs = [first, second, third].map((runner, thread) =>
        runner.run(touchAtRandom, FILE_PAGES, thread, 3),
      );
      for (let at = 0; at < 10; at++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        await file.sync();
      }
      for (const { wrong, lost, stored } of await Promise.all(runs)) {
        expect({ wrong, lost }).toEqual({ wrong: 0, lost: null });
        for (let at = 0; at < stored.length; at += 2) expected[stored[at]!] = stored[at + 1]!;
      }
    }
    expect(Buffer.compare(volume.readFileSync("/large"), expected)).toBe(0);
    file.syncSync();
    file.closeSync();
    made.remount();
    if (made.image !== null) {
      expect(Buffer.compare(made.volume.readFileSync("/large"), expected)).toBe(0);
    }
    expect(made.closeAndCheck()).toBe("");
  });

  it("is lost only where all of the cache is pinned, and says so", () => {
    using made = kind.make(undefined, options);
    const { volume } = made;
    using file = volume.openSync("/large", "w+");
    file.truncateSync(FILE_PAGES * PAGE);
    using window = file.map();
    const pins: FilePin[] = [];
    for (let page = 0; page < CACHE_PAGES; page++) pins.push(file.pinSync(page * PAGE, PAGE));
    const at = (CACHE_PAGES + 3) * PAGE;
    window.bytes[at] = 1;
    expect(window.lost).toMatchObject({ offset: at, length: PAGE });
    const target = new Uint8Array(1);
    file.readSync(target, at);
    expect(target[0]).toBe(0);
    for (const pin of pins) pin.release();
    window.bytes[at + PAGE] = 2;
    expect(window.bytes[at + PAGE]).toBe(2);
    window.close();
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });
});

describe.skipIf(!faults)("the evicting thread", () => {
  const mountCopied = (): Volume =>
    mountRamSync({ size: 2 ** 25, regionBytes: 2 ** 27, dax: "never", ...options });

  function touchAll(volume: Volume, pages: number): void {
    using file = volume.openSync("/large", "w+");
    file.truncateSync(pages * PAGE);
    using window = file.map();
    for (let page = 0; page < pages; page++) window.bytes[page * PAGE] = 1;
    expect(window.lost).toBe(null);
  }

  it("is started when the cache is first found full, and ends with the volume", async () => {
    const volume = mountCopied();
    touchAll(volume, CACHE_PAGES / 2);
    const before = tasks();
    touchAll(volume, CACHE_PAGES / 2);
    expect(tasks()).toBe(before);
    touchAll(volume, FILE_PAGES);
    expect(tasks()).toBeGreaterThan(before);
    await volume.close();
  });

  it("is in nobody's way at an unmount that is refused, nor at one that is not", async () => {
    for (let round = 0; round < 3; round++) {
      const volume = mountCopied();
      touchAll(volume, FILE_PAGES);
      const file = volume.openSync("/large", "r+");
      const pin = file.pinSync(0, PAGE);
      expect(() => volume.closeSync()).toThrow(expect.objectContaining({ code: "EBUSY" }));
      pin.release();
      file.closeSync();
      touchAll(volume, FILE_PAGES);
      await volume.close();
    }
  });

  it("goes on when threads that wait for it are terminated, and files are truncated beside", async () => {
    const volume = mountCopied();
    volume.writeFileSync("/large", new Uint8Array(FILE_PAGES * PAGE));
    for (let round = 0; round < 4; round++) {
      await using runner = await startRunner(volume.share());
      runner.run(touchForEver).catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 100 + 30 * round));
      using file = volume.openSync("/large", "r+");
      await file.truncate((FILE_PAGES / 2) * PAGE);
      await file.truncate(FILE_PAGES * PAGE);
      await runner.terminate();
    }
    touchAll(volume, FILE_PAGES);
    expect(volume.statistics().pinsHeld).toBe(0);
    await volume.close();
  });

  // A thread that waits in the kernel for a page cannot be ended: the process used to hang.
  it("does not keep a process from ending in which a thread goes on touching", () => {
    const worker = new URL("./workers/runner.mjs", import.meta.url).href;
    const program = `
      import { Worker } from "node:worker_threads";
      import { mountRamSync } from "holdfast";
      const volume = mountRamSync({ size: 2 ** 25, dax: "never", cacheBytes: ${options.cacheBytes} });
      volume.writeFileSync("/large", new Uint8Array(${FILE_PAGES * PAGE}));
      const handle = volume.share();
      const worker = new Worker(new URL("${worker}"), { workerData: { handle }, execArgv: [] });
      worker.postMessage({ id: 1, code: ${JSON.stringify(String(touchForEver))}, args: [] });
      const look = () => {
        if (volume.statistics().waits.room.count > 20) process.exit(3);
      };
      setInterval(look, 10);`;
    for (let round = 0; round < 3; round++) {
      const node = ["--input-type=module", "-e", program];
      const { status, stderr } = spawnSync(process.execPath, node, {
        encoding: "utf8",
        timeout: 30_000,
      });
      expect({ status, stderr }).toEqual({ status: 3, stderr: "" });
    }
  });
});
