import { closeSync, openSync, readSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, test } from "vitest";
import { viewMemory } from "../../src/base/libc.ts";
import type { Address } from "../../src/base/quantities.ts";
import type { Device } from "../../src/device/device.ts";
import { memoryDevice, openDevice } from "../../src/device/open.ts";
import { FaultPort, PopulatedPort } from "../../src/window/fault-port.ts";
import { isRoot, runOk, sparseFile, temporaryDirectory } from "../support/tools.ts";
import { Control, GENERATIONS } from "./workers/control.mjs";

const PAGE = 4096;
const opened = FaultPort.open();
const available = !("unavailable" in opened);
if (available) opened.close();
else process.stderr.write(`tests skipped: ${opened.unavailable}\n`);

function openPort(): FaultPort {
  const port = FaultPort.open();
  if ("unavailable" in port) throw new Error(port.unavailable);
  return port;
}

type Plan = "pages" | "holes" | "read-only holes" | "lost" | "generations";

/** A port, a window over a device and the thread that serves its faults. */
class Stage {
  readonly port = openPort();
  readonly control = new Int32Array(new SharedArrayBuffer(64));
  readonly device: Device;
  readonly base: Address;
  readonly length: number;
  readonly view: Uint8Array;
  readonly #exits = { pager: [] as Promise<unknown>[], reader: [] as Promise<unknown>[] };

  constructor(device: Device, length: number) {
    this.device = device;
    this.length = length;
    this.base = this.port.reserveWindow(length);
    this.view = new Uint8Array(viewMemory(this.base, length));
  }

  async start(fixture: "pager" | "reader", plan: Plan): Promise<Worker> {
    const { base, control } = this;
    const worker = new Worker(new URL(`./workers/${fixture}.mjs`, import.meta.url), {
      workerData: { port: this.port.handle(), device: this.device.handle(), base, control, plan },
    });
    this.#exits[fixture].push(new Promise((resolve) => worker.once("exit", resolve)));
    await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
    return worker;
  }

  count(word: keyof typeof Control): number {
    return Atomics.load(this.control, Control[word]);
  }

  set(word: keyof typeof Control, value: number): void {
    Atomics.store(this.control, Control[word], value);
  }

  async stop(): Promise<void> {
    this.set("stop", 1);
    await Promise.all(this.#exits.reader);
    this.set("stopPager", 1);
    this.port.kick();
    await Promise.all(this.#exits.pager);
    this.port.retire(this.base, this.length);
    this.port.close();
    this.device.close();
  }
}

let stage: Stage | null = null;
afterEach(() => stage?.stop().finally(() => (stage = null)));

/** A memory device whose pages begin with their number plus one, as a 32-bit word. */
function numberedDevice(pages: number): Device {
  const device = memoryDevice(pages * PAGE);
  for (let page = 0; page < pages; page++) {
    new Int32Array(device.bytes(page * PAGE, 4).slice().buffer);
    device.copyIn(page * PAGE, new Uint8Array(Int32Array.of(page + 1).buffer));
  }
  return device;
}

describe.skipIf(!available)("a window over a fault port", () => {
  test("shows the right page for each of 1,000 faults", async () => {
    stage = new Stage(numberedDevice(1000), 1000 * PAGE);
    await stage.start("pager", "pages");
    const words = new Int32Array(stage.view.buffer);
    for (let page = 0; page < 1000; page++) expect(words[page * 1024]).toBe(page + 1);
    expect(stage.count("faults")).toBe(1000);
    stage.view[5 * PAGE + 9] = 123;
    expect(stage.device.bytes(5 * PAGE + 9, 1)[0]).toBe(123);
    expect(stage.count("faults")).toBe(1000);
  });

  test("is revoked 20,000 times under loads that never see a zero or a stale word", async () => {
    stage = new Stage(numberedDevice(GENERATIONS), PAGE);
    await stage.start("pager", "generations");
    await stage.start("reader", "generations");
    while (stage.count("touches") === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    for (let generation = 1; generation <= 20_000; generation++) {
      stage.set("generation", generation);
      stage.port.revoke(stage.base, PAGE);
      stage.set("settled", generation);
    }
    expect(stage.count("wrong")).toBe(0);
    expect(stage.count("touches")).toBeGreaterThan(10_000);
    expect(stage.count("faults")).toBeGreaterThan(100);
    expect(stage.count("messages")).toBeGreaterThanOrEqual(20_000);
  });

  test("whose holes are read and then stored to loses no store in 200", async () => {
    stage = new Stage(memoryDevice(200 * PAGE), 200 * PAGE);
    await stage.start("pager", "holes");
    for (let page = 0; page < 200; page++) {
      const at = page * PAGE + 5;
      expect(stage.view[at]).toBe(0);
      stage.view[at] = page + 1;
      expect(stage.view[at]).toBe(page + 1);
      expect(stage.device.bytes(at, 1)[0]).toBe(page + 1);
    }
    expect(stage.count("faults")).toBe(200);
    expect(stage.count("guardedFaults")).toBe(200);
  });

  test("takes a whole range of guarded zeroes around pages that show something", async () => {
    stage = new Stage(numberedDevice(64), 64 * PAGE);
    await stage.start("pager", "pages");
    stage.port.show((stage.base + 8 * PAGE) as Address, stage.device, 8 * PAGE, PAGE, "shared");
    stage.port.showZeroProtected((stage.base + 20 * PAGE) as Address, PAGE);
    stage.port.showZeroProtected(stage.base, 64 * PAGE);
    for (let page = 0; page < 64; page++) {
      expect(stage.view[page * PAGE]).toBe(page === 8 ? 9 : 0);
    }
    expect(stage.count("faults")).toBe(0);
    stage.view[30 * PAGE + 7] = 3; // a store to guarded zeroes shows the device
    expect(stage.view[30 * PAGE]).toBe(31);
    expect(stage.count("guardedFaults")).toBe(1);
  });

  test("that only reads takes the zero page, and stray stores reach nothing", async () => {
    stage = new Stage(numberedDevice(4), 4 * PAGE);
    await stage.start("pager", "read-only holes");
    expect(stage.view[PAGE]).toBe(0);
    stage.view[PAGE] = 9;
    expect(stage.view[PAGE]).toBe(9);
    expect(stage.device.bytes(PAGE, 1)[0]).toBe(2);
    expect(stage.count("faults")).toBe(1);
  });

  test("that shows a lost range reads as zeroes until it is revoked", async () => {
    stage = new Stage(numberedDevice(4), 4 * PAGE);
    const pager = await stage.start("pager", "lost");
    expect(stage.view[PAGE]).toBe(0);
    stage.view[PAGE] = 9;
    expect(stage.device.bytes(PAGE, 1)[0]).toBe(2);
    stage.port.revoke(stage.base, 4 * PAGE);
    expect(stage.view[PAGE]).toBe(0);
    expect(stage.count("faults")).toBe(2);
    expect(pager.threadId).toBeGreaterThan(0);
  });

  test("is served inside a system call too, as root", async () => {
    stage = new Stage(memoryDevice(64 * PAGE), 64 * PAGE);
    if (!stage.port.kernelFaults) return expect(isRoot()).toBe(false);
    await stage.start("pager", "pages");
    const fd = openSync(process.execPath, "r");
    const expected = new Uint8Array(3 * PAGE);
    readSync(fd, expected, 0, 3 * PAGE, 0);
    expect(readSync(fd, stage.view, 10 * PAGE, 3 * PAGE, 0)).toBe(3 * PAGE);
    closeSync(fd);
    expect(stage.device.bytes(10 * PAGE, 3 * PAGE)).toEqual(expected);
    expect(stage.count("faults")).toBe(3);
  });

  test("larger than the reserve is revoked at once", async () => {
    const length = 2 ** 27;
    stage = new Stage(memoryDevice(length), length);
    await stage.start("pager", "pages");
    stage.port.show(stage.base, stage.device, 0, length, "shared");
    stage.view[length - 1] = 5;
    stage.port.revoke(stage.base, length);
    expect(stage.view[length - 1]).toBe(5);
    expect(stage.count("faults")).toBe(1);
  });

  test("over a sparse image shows what is far inside it", async () => {
    using directory = temporaryDirectory();
    sparseFile(directory.file("image"), 2 ** 44);
    stage = new Stage(openDevice(directory.file("image")), 2 ** 21);
    const far = 2 ** 44 - 2 ** 21;
    stage.device.copyIn(far + 77, Uint8Array.of(7));
    stage.port.show(stage.base, stage.device, far, 2 ** 21, "shared");
    expect(stage.view[77]).toBe(7);
    await stage.stop();
    stage = null;
  });

  test("that is retired holds zeroes for good, and a thread that waited there goes on", async () => {
    stage = new Stage(memoryDevice(PAGE), PAGE);
    const { port, base, view } = stage;
    const reader = await stage.start("reader", "generations");
    // The reader sleeps in its first touch: nobody serves it.
    while (!port.waitForEvents(1000));
    expect(stage.count("touches")).toBe(0);
    stage.set("stop", 1);
    port.retire(base, PAGE);
    await new Promise((resolve) => reader.once("exit", resolve));
    expect(stage.count("touches")).toBe(100);
    view[0] = 1;
    expect(view[0]).toBe(1);
    expect(stage.device.bytes(0, 1)[0]).toBe(0);
    stage.port.close();
    expect(view[PAGE - 1]).toBe(0);
    stage.device.close();
    stage = null;
  });
});

describe.skipIf(!available)("a fault port", () => {
  test("wakes its reader when it is kicked, now or before it waits", async () => {
    stage = new Stage(memoryDevice(PAGE), PAGE);
    const pager = await stage.start("pager", "pages");
    stage.set("stopPager", 1);
    stage.port.kick();
    await new Promise((resolve) => pager.once("exit", resolve));
    stage.port.kick();
    expect(stage.port.waitForEvents(-1)).toBe(false);
    expect(stage.port.waitForEvents(0)).toBe(false); // the kick is used up
    await stage.stop();
    stage = null;
  });

  test("says so when the thread that reads messages revokes", () => {
    const port = openPort();
    const base = port.reserveWindow(PAGE);
    port.readEvents(() => {});
    expect(() => port.revoke(base, PAGE)).toThrow("the thread that reads fault messages revokes");
    port.release(base, PAGE);
    port.close();
  });

  test("places windows so that file offset and address agree modulo 2 MiB", () => {
    const port = openPort();
    const base = port.reserveWindow(16 * PAGE, 2 ** 21, 5 * PAGE);
    expect(base % 2 ** 21).toBe(5 * PAGE);
    port.release(base, 16 * PAGE);
    port.close();
  });

  test.skipIf(!isRoot())("without rights serves touches, and system calls answer EFAULT", () => {
    const fixture = fileURLToPath(new URL("./workers/unprivileged.mjs", import.meta.url));
    const told = JSON.parse(runOk(process.execPath, [fixture]));
    expect(told).toEqual({ kernelFaults: false, touched: 7, systemCall: "EFAULT" });
  });

  test("names vm.max_map_count when the process has no mapping left, and can still lose pages", () => {
    const fixture = fileURLToPath(new URL("./workers/crowded.mjs", import.meta.url));
    const told = JSON.parse(runOk(process.execPath, ["--single-threaded", fixture]));
    expect(told.revoked).toMatch(/^ENOMEM: .*vm\.max_map_count/);
    expect(told.shown).toMatch(/^ENOMEM: .*vm\.max_map_count/);
    expect(told.lost).toBe("went well");
  });
});

test("a populated port shows the device and zeroes, with no faults", () => {
  const port = new PopulatedPort();
  const device = numberedDevice(4);
  const base = port.reserveWindow(4 * PAGE, 2 ** 21, 3 * PAGE);
  const words = new Int32Array(viewMemory(base, 4 * PAGE));
  port.show(base, device, PAGE, 2 * PAGE, "shared");
  expect([words[0], words[1024], words[2048]]).toEqual([2, 3, 0]);
  port.revoke(base, PAGE);
  expect([words[0], words[1024]]).toEqual([0, 3]);
  port.show(base, device, 0, PAGE, "private");
  words[1] = 55;
  expect(device.bytes(4, 1)[0]).toBe(0);
  port.retire(base, 4 * PAGE);
  words.fill(7);
  expect(device.bytes(PAGE, 1)[0]).toBe(2);
  device.close();
});
