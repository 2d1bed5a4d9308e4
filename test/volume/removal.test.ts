import { readFileSync } from "node:fs";
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { describe, expect, it, vi } from "vitest";
import {
  attach,
  type DeviceFailure,
  type FileLease,
  mountRamSync,
  mountSync,
} from "../../src/index.ts";
import {
  builtModule,
  e2fsckClean,
  hasTool,
  mkfsExt4,
  temporaryDirectory,
} from "../support/tools.ts";
import { memoryDevice } from "../../src/device/index.ts";
import { assembleMounted } from "../../src/volume/assemble.ts";
import { unmountSync } from "../../src/volume/close.ts";
import { startRunner } from "./threads.ts";
import { volumeKinds } from "./volumes.ts";

const PAGE = 4096;
const mappable = volumeKinds.filter((kind) => kind.mappable);
const GONE = "the device was removed (cable pulled)";
const gone = (syscall: string) =>
  expect.objectContaining({ code: "EIO", syscall, message: expect.stringContaining(GONE) });

const letters = (text: string): Uint8Array =>
  Buffer.concat([...text].map((letter) => Buffer.alloc(PAGE, letter)));

function shown(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += PAGE) {
    text += bytes[at] === 0 ? "." : String.fromCharCode(bytes[at]!);
  }
  return text;
}

describe.each(volumeKinds)("device removal on $name", ({ make }) => {
  it("ends every later operation with EIO that says so", async () => {
    using made = make();
    const { volume } = made;
    volume.writeFileSync("/a", letters("abcd"));
    using file = volume.openSync("/a", "r+");
    file.readSync(new Uint8Array(PAGE), 0); // from now on its extent is known
    expect(volume.failure.removed).toBe(null);
    volume.failure.removeDeviceSync("cable pulled");
    expect(volume.failure.removed).toMatchObject({ code: "EIO" });
    expect(() => file.readSync(new Uint8Array(PAGE), 0)).toThrow(gone("read"));
    expect(() => file.writeSync(letters("x"), 0)).toThrow(gone("write"));
    expect(() => file.writeSync(letters("x"), 9 * PAGE)).toThrow(gone("write"));
    expect(() => file.truncateSync(0)).toThrow(gone("ftruncate"));
    expect(() => file.fallocateSync("punch-hole", 0, PAGE)).toThrow(gone("fallocate"));
    expect(() => file.statSync()).toThrow(gone("fstat"));
    expect(() => file.syncSync()).toThrow(gone("fsync"));
    expect(() => file.leaseSync()).toThrow(gone("lease"));
    await expect(file.read(new Uint8Array(PAGE), 0)).rejects.toThrow(gone("read"));
    await expect(file.sync()).rejects.toThrow(gone("fsync"));
    expect(() => volume.openSync("/a")).toThrow(gone("open"));
    expect(() => volume.writeFileSync("/b", "text")).toThrow(gone("open"));
    expect(() => volume.statSync("/")).toThrow(gone("stat"));
    expect(() => volume.readdirSync("/")).toThrow(gone("scandir"));
    expect(() => volume.unlinkSync("/a")).toThrow(gone("unlink"));
    expect(() => volume.syncSync()).toThrow(gone("sync"));
    await expect(volume.sync()).rejects.toThrow(gone("sync"));
    volume.failure.removeDeviceSync("again");
    expect(() => file.statSync()).toThrow(gone("fstat"));
    file.closeSync();
    expect(() => volume.closeSync()).toThrow(gone("unmount"));
    expect(volume.closed).toBe(true);
  });

  it("leaves a file without a name as it is, when its last user goes", () => {
    using made = make();
    const { volume } = made;
    volume.writeFileSync("/a", letters("abcd"));
    const file = volume.openSync("/a");
    volume.unlinkSync("/a");
    volume.failure.removeDeviceSync("cable pulled");
    file.closeSync();
    expect(() => volume.closeSync()).toThrow(gone("unmount"));
  });
});

describe.each(mappable)("device removal with users on $name", ({ make }) => {
  it("shows windows as lost and says so: a touch ends nobody, and no store goes anywhere", () => {
    using made = make();
    const { volume } = made;
    volume.writeFileSync("/a", letters("abcd"));
    const file = volume.openSync("/a", "r+");
    const window = file.map();
    const reader = file.map({ writable: false, offset: PAGE });
    expect(shown(window.bytes)).toBe("abcd");
    expect(reader.bytes[0]).toBe("b".charCodeAt(0));
    expect(volume.failure.removeDeviceSync("cable pulled")).toBe(undefined);
    expect(shown(window.bytes)).toBe("....");
    expect(shown(reader.bytes)).toBe("...");
    window.bytes.fill(7);
    expect(reader.bytes[0]).toBe(0);
    const lost = { offset: 0, length: 4 * PAGE, pages: 4, removed: true };
    expect(window.lost).toEqual(lost);
    expect(reader.lost).toEqual({ ...lost, offset: PAGE, length: 3 * PAGE, pages: 3 });
    expect(() => file.map()).toThrow(gone("mmap"));
    expect(volume.statistics().windows).toBe(2);
    window.close();
    reader.close();
    file.closeSync();
    expect(() => volume.closeSync()).toThrow(gone("unmount"));
    expect(window.bytes[0]).toBe(0);
  });

  it("flags pins, whose buffers are zeroes of nobody from then on", () => {
    using made = make();
    const { volume } = made;
    volume.writeFileSync("/a", letters("abcd"));
    const file = volume.openSync("/a", "r+");
    const pin = file.pinSync(100, 2 * PAGE, { write: true });
    const [buffer] = pin.buffers;
    expect(buffer![0]).toBe("a".charCodeAt(0));
    volume.failure.removeDeviceSync("cable pulled");
    expect(pin.poisoned).toEqual([{ offset: 100, length: 2 * PAGE }]);
    expect(buffer!.every((byte) => byte === 0)).toBe(true);
    buffer!.fill(1);
    expect(() => pin.buffers).toThrow(GONE);
    expect(() => file.pinSync(0, PAGE)).toThrow(gone("pin"));
    expect(() => volume.closeSync()).toThrow(expect.objectContaining({ code: "EBUSY" }));
    pin.release();
    expect(volume.statistics().pinsHeld).toBe(0);
    file.closeSync();
    expect(() => volume.closeSync()).toThrow(gone("unmount"));
  });

  it("ends a truncate that waits for a pin, which is then not given away", async () => {
    using made = make();
    const { volume } = made;
    volume.writeFileSync("/a", letters("abcd"));
    await using file = await volume.open("/a", "r+");
    const pin = file.pinSync(3 * PAGE, PAGE, { write: true });
    const truncate = file.truncate(0);
    await vi.waitFor(() => expect(volume.statistics().breakWaits).toBe(1));
    const ended = expect(truncate).rejects.toThrow(gone("ftruncate"));
    await volume.failure.removeDevice("cable pulled");
    await ended;
    expect(pin.verify()).toBe(true);
    pin.release();
    await file.close();
    await expect(volume.close()).rejects.toThrow(gone("unmount"));
  });

  it("makes leases expire, tells their holders, and ends who waits for them", async () => {
    using made = make();
    const { volume } = made;
    volume.writeFileSync("/a", letters("abcd"));
    await using file = await volume.open("/a", "r+");
    const told: string[] = [];
    const onRecall = (reason: string, { expired }: FileLease): void => {
      told.push(`${reason}, ${expired ? "expired" : "not expired"}`);
    };
    const lease = await file.lease({ kind: "exclusive", graceMs: 60_000, onRecall });
    const other = file.lease({ kind: "exclusive" });
    await vi.waitFor(() => expect(told).toEqual(["lease, not expired"]));
    const ended = expect(other).rejects.toThrow(gone("lease"));
    await volume.failure.removeDevice("cable pulled");
    await ended;
    expect(lease.expired).toBe(true);
    lease.release();
    expect(volume.statistics().leasesHeld).toBe(0);
    await file.close();
    await expect(volume.close()).rejects.toThrow(gone("unmount"));
  });

  it("tells listeners once, with the whole device", async () => {
    using made = make();
    const { volume } = made;
    const told: DeviceFailure[] = [];
    volume.failure.onFailure((failure) => told.push(failure));
    await volume.failure.removeDevice("cable pulled");
    await volume.failure.removeDevice();
    await vi.waitFor(() => expect(told).toHaveLength(1), 10_000);
    const [all] = volume.failure.badRanges();
    expect(told).toEqual([all]);
    expect(all).toEqual({
      reason: "removed",
      deviceOffset: 0,
      length: 24 * 1024 * 1024,
      ino: null,
      offset: null,
      path: null,
      structure: null,
    });
    await expect(volume.close()).rejects.toThrow(gone("unmount"));
  });
});

describe("device removal in several threads", () => {
  it("ends I/O, faults and pins that other threads are in the middle of", async () => {
    const volume = mountRamSync({ size: 32 << 20 });
    volume.writeFileSync("/a", new Uint8Array(8 << 20).fill(5));
    await using runner = await startRunner(volume.share());
    await runner.run((attached, kept) => {
      kept["told"] = [];
      attached.failure.onFailure(({ reason }) => kept["told"].push(reason));
    });
    const turns = new Int32Array(new SharedArrayBuffer(4));
    const outcome = runner.run((attached, _kept, count: Int32Array) => {
      const file = attached.openSync("/a", "r+");
      const window = file.map();
      const target = new Uint8Array(1 << 20);
      const wrong: string[] = [];
      for (let turn = 0; ; turn++) {
        const at = (turn % 8) << 20;
        window.bytes[at] = 5;
        try {
          const length = file.readSync(target, at);
          if (!target.subarray(0, length).every((byte) => byte === 5)) wrong.push(`turn ${turn}`);
          const pin = file.pinSync(at, 4096);
          const [buffer] = pin.poisoned.length > 0 ? [] : pin.buffers;
          if (buffer?.[0] === 0 && pin.poisoned.length === 0) wrong.push(`pin ${turn}`);
          pin.release();
          Atomics.add(count, 0, 1);
        } catch (error) {
          window.close();
          file.closeSync();
          return { wrong, message: (error as Error).message };
        }
      }
    }, turns);
    await vi.waitFor(() => expect(Atomics.load(turns, 0)).toBeGreaterThan(20), 20_000);
    await volume.failure.removeDevice("cable pulled");
    const { wrong, message } = await outcome;
    expect(wrong).toEqual([]);
    expect(message).toContain(GONE);
    await vi.waitFor(async () => {
      expect(await runner.run((_attached, kept) => kept["told"])).toEqual(["removed"]);
    }, 10_000);
    await runner.run((attached) => attached.closeSync());
    expect(() => volume.closeSync()).toThrow(GONE);
  });

  it("is reported from an attached thread, which may end then", async () => {
    const volume = mountRamSync({ size: 16 << 20 });
    volume.writeFileSync("/a", letters("abcd"));
    const file = volume.openSync("/a", "r+");
    const window = file.map();
    expect(shown(window.bytes)).toBe("abcd");
    {
      await using runner = await startRunner(volume.share());
      await runner.run((attached) => attached.failure.removeDevice("cable pulled"));
    }
    expect(shown(window.bytes)).toBe("....");
    expect(() => file.statSync()).toThrow(gone("fstat"));
    window.close();
    file.closeSync();
    expect(() => volume.closeSync()).toThrow(GONE);
  });
});

describe("a volume whose mounter has ended", () => {
  it("has its removal end with an error, and keeps nobody waiting for it", async () => {
    const worker = new Worker(
      `import { parentPort } from "node:worker_threads";
       import { mountRamSync } from ${JSON.stringify(builtModule("index.ts").href)};
       const volume = mountRamSync({ size: 2 ** 24 });
       volume.writeFileSync("/a", "text");
       parentPort.postMessage(volume.share());
       setInterval(() => {}, 1000);`,
      { eval: true, execArgv: ["--input-type=module"] },
    );
    const [handle] = await once(worker, "message");
    const volume = attach(handle);
    const file = volume.openSync("/a", "r+");
    const window = file.map();
    expect(window.bytes[0]).toBe("t".charCodeAt(0));
    await worker.terminate();
    for (let times = 0; times < 2; times++) {
      const removed = () => volume.failure.removeDeviceSync("cable pulled");
      expect(removed).toThrow(expect.objectContaining({ code: "EIO" }));
    }
    expect(() => file.statSync()).toThrow(expect.objectContaining({ code: "EIO" }));
    file.closeSync();
  });
});

describe("a mounted volume", () => {
  it("is the holder of its device, until it is unmounted", () => {
    const device = memoryDevice(16 << 20);
    const driver = { type: "ram", blockSize: PAGE } as const;
    const access = { readOnly: false, readOnlyReason: null, protect: true, dax: "always" } as const;
    const { core } = assembleMounted(device, { id: "x", driver, ...access }, undefined, 0);
    const silent = { onFailure: () => {}, onRemoval: () => {} };
    const busy = /EBUSY.*held by a mounted volume \(thread 0/;
    expect(() => device.claim("another", silent)).toThrow(busy);
    const { state } = device;
    unmountSync(core, device, {});
    expect(state.isMine).toBe(false);
  });

  it("finishes a removal that was only noted, though nobody calls it", async () => {
    const device = memoryDevice(16 << 20);
    const driver = { type: "ram", blockSize: PAGE } as const;
    const access = { readOnly: false, readOnlyReason: null, protect: true, dax: "always" } as const;
    const { core } = assembleMounted(device, { id: "x", driver, ...access }, undefined, 0);
    const view = device.bytes(0, PAGE);
    view[0] = 7;
    device.remove("noted by a thread that has died since");
    await vi.waitFor(() => expect(view[0]).toBe(0));
    expect(device.state.hasUnhandled).toBe(false);
    expect(() => unmountSync(core, device, {})).toThrow("has died since");
  });
});

describe("a removed device", () => {
  const run = hasTool("mkfs.ext4") ? it : it.skip;

  run("keeps what was persistent, still needs recovery, and can be mounted again", () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 24 << 20, []);
    const volume = mountSync(image);
    volume.writeFileSync("/kept", letters("abcd"));
    volume.syncSync();
    volume.writeFileSync("/lost", letters("efgh"));
    volume.failure.removeDeviceSync("cable pulled");
    expect(() => volume.closeSync()).toThrow("what was not persistent is lost");
    const needsRecovery = (readFileSync(image).readUInt32LE(1024 + 0x60) & 0x4) !== 0; // s_feature_incompat
    expect(needsRecovery).toBe(true);
    const again = mountSync(image);
    expect(shown(again.readFileSync("/kept"))).toBe("abcd");
    expect(again.existsSync("/lost")).toBe(false);
    again.closeSync();
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
  });

  run("is closed without a word where nothing could have been written", () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 24 << 20, []);
    const volume = mountSync(image, { readOnly: true });
    volume.failure.removeDeviceSync("cable pulled");
    volume.closeSync();
    expect(volume.closed).toBe(true);
  });
});
