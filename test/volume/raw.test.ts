// Raw devices: all of a device as memory, without a filesystem; byte n of the file is byte n of the device.

import { promises, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { Worker } from "node:worker_threads";
import { once } from "node:events";
import { mountSync, openRaw, openRawSync, type RawDevice } from "../../src/index.ts";
import {
  e2fsckClean,
  mkfsExt4,
  runOk,
  skipUnless,
  sparseFile,
  temporaryDirectory,
} from "../support/tools.ts";

const PAGE = 4096;
const FOLIO = 2 ** 21;
/** Three folios and a tail of two pages and a half. */
const BYTES = 3 * FOLIO + 2 * PAGE + PAGE / 2;
const regionBytes = 2 ** 26;

interface TestDevice extends Disposable {
  readonly image: string;
  readonly raw: RawDevice;
}

function onImage(bytes = BYTES): TestDevice {
  const directory = temporaryDirectory();
  const image = directory.file("image");
  sparseFile(image, bytes);
  const raw = openRawSync(image, { regionBytes });
  return {
    image,
    raw,
    [Symbol.dispose]() {
      raw.closeSync();
      directory[Symbol.dispose]();
    },
  };
}

function pattern(bytes: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, at) => ((at + (at >> 12)) % 251) + seed);
}

describe("a raw device", () => {
  test("is the device byte for byte, to windows, pins, calls and whoever reads the image", () => {
    using made = onImage();
    const { raw, image } = made;
    expect(raw.size).toBe(3 * FOLIO + 2 * PAGE);
    const bytes = pattern(raw.size);
    using window = raw.map();
    expect(raw.writeSync(bytes.subarray(0, FOLIO + 5), 0)).toBe(FOLIO + 5);
    window.bytes.set(bytes.subarray(FOLIO + 5, 2 * FOLIO), FOLIO + 5);
    {
      using pin = raw.pinSync(2 * FOLIO, raw.size - 2 * FOLIO, { write: true });
      let at = 2 * FOLIO;
      for (const buffer of pin.buffers) {
        buffer.set(bytes.subarray(at, at + buffer.length));
        at += buffer.length;
      }
      expect(at).toBe(raw.size);
      expect(pin.verify()).toBe(true);
    }
    const read = new Uint8Array(raw.size + 10);
    expect(raw.readSync(read, 0)).toBe(raw.size);
    expect(Buffer.compare(read.subarray(0, raw.size), bytes)).toBe(0);
    expect(Buffer.compare(window.bytes, bytes)).toBe(0);
    raw.syncSync();
    expect(Buffer.compare(readFileSync(image).subarray(0, raw.size), bytes)).toBe(0);
  });

  test("is shown and pinned 2 MiB at a time", () => {
    using made = onImage();
    const { raw } = made;
    const { trace } = raw.volume;
    trace.start();
    using window = raw.map();
    window.bytes[FOLIO + 5 * PAGE] = 1;
    window.bytes[FOLIO + 500 * PAGE] = 2;
    trace.stop();
    const shown = trace.read().filter(({ event }) => event === "dax_insert_mapping");
    for (const { args } of shown) expect([args["page"], args["pages"]]).toEqual([512, 512]);
    using pin = raw.pinSync(10 * PAGE, PAGE);
    expect(pin.buffers).toHaveLength(1);
    expect(raw.volume.statistics().pinsHeld).toBe(1);
    expect(raw.holders().pins).toMatchObject([{ offset: 10 * PAGE, length: PAGE }]);
  });

  test("is claimed as a mount claims it, and shared by those who only read", () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 8 * 2 ** 20);
    {
      using _raw = openRawSync(image, { regionBytes });
      expect(() => mountSync(image)).toThrow(/EBUSY.*this process already/);
      expect(() => openRawSync(image)).toThrow(/EBUSY.*this process already/);
      expect(() => openRawSync(image, { readOnly: true })).toThrow(/EBUSY/);
    }
    {
      using _volume = mountSync(image, { regionBytes });
      expect(() => openRawSync(image)).toThrow(
        expect.objectContaining({ code: "EBUSY", path: image }),
      );
    }
    using raw = openRawSync(image, { readOnly: true, regionBytes });
    using volume = mountSync(image, { readOnly: true, regionBytes });
    expect(volume.readdirSync("/")).toEqual(["lost+found"]);
    expect(new DataView(raw.map().bytes.buffer).getUint16(1080, true)).toBe(0xef53);
    expect(() => raw.map({ writable: true })).toThrow(/EBADF/);
    expect(() => raw.pinSync(0, 1, { write: true })).toThrow(/EBADF/);
    expect(() => raw.writeSync(new Uint8Array(1), 0)).toThrow(/EBADF/);
  });

  test("changes nothing that is not written: the volume on it is whole, and its image the same", () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 8 * 2 ** 20);
    const before = readFileSync(image);
    {
      using raw = openRawSync(image, { regionBytes });
      using window = raw.map();
      let sum = 0;
      for (let at = 0; at < raw.size; at += PAGE) sum += window.bytes[at]!;
      expect(sum).toBeGreaterThan(0);
      raw.pinSync(0, raw.size, { write: true }).release();
      raw.syncSync();
    }
    expect(Buffer.compare(readFileSync(image), before)).toBe(0);
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
  });

  test("takes data of a pipe that comes late into a pin, which outlives its window and keeps it open", async () => {
    using made = onImage();
    const { raw } = made;
    const window = raw.map({ offset: FOLIO, length: FOLIO });
    const pin = await raw.pin(FOLIO + PAGE, 2 * PAGE, { write: true });
    window.close();
    const bytes = pattern(2 * PAGE, 3);
    const fifo = `${made.image}.fifo`;
    runOk("mkfifo", [fifo]);
    const [from, to] = await Promise.all([promises.open(fifo, "r"), promises.open(fifo, "w")]);
    let done = 0;
    const read = (async () => {
      while (done < bytes.length) {
        done += (await from.read(pin.buffers[0]!, done, bytes.length - done, null)).bytesRead;
      }
    })();
    expect(() => raw.closeSync()).toThrow(/EBUSY.*1 pin/);
    await to.write(bytes.subarray(0, 100));
    await expect(raw.close()).rejects.toMatchObject({ code: "EBUSY" });
    await to.write(bytes.subarray(100));
    await read;
    pin.release();
    await Promise.all([from.close(), to.close()]);
    const found = new Uint8Array(2 * PAGE);
    expect(await raw.read(found, FOLIO + PAGE)).toBe(2 * PAGE);
    expect(Buffer.compare(found, bytes)).toBe(0);
    await raw.close();
    expect(
      Buffer.compare(readFileSync(made.image).subarray(FOLIO + PAGE, FOLIO + 3 * PAGE), bytes),
    ).toBe(0);
  });

  test("has an end and no other layout: what would change one is refused, and changes nothing", () => {
    using made = onImage();
    const { raw } = made;
    expect(raw.writeSync(new Uint8Array(100).fill(7), raw.size - 60)).toBe(60);
    raw.writeSync(new Uint8Array(PAGE).fill(8), FOLIO);
    expect(() => raw.writeSync(new Uint8Array(1), raw.size)).toThrow(
      expect.objectContaining({ code: "ENOSPC" }),
    );
    expect(() => raw.pinSync(raw.size - PAGE, 2 * PAGE)).toThrow(/EINVAL/);
    const { volume } = raw;
    expect(volume.readdirSync("/")).toEqual(["device"]);
    using file = volume.openSync("/device", "r+");
    for (const change of [
      () => file.truncateSync(0),
      () => file.truncateSync(raw.size + PAGE),
      () => file.fallocateSync("punch-hole", 0, FOLIO),
      () => file.fallocateSync("zero-range", 0, FOLIO),
      () => file.fallocateSync("collapse-range", 0, PAGE),
      () => file.fallocateSync("insert-range", 0, PAGE),
      () => volume.openSync("/device", "w"),
      () => file.chmodSync(0o600),
    ]) {
      expect(change).toThrow(expect.objectContaining({ code: "EOPNOTSUPP" }));
    }
    expect(() => volume.unlinkSync("/device")).toThrow(/EPERM/);
    expect(() => volume.renameSync("/device", "/other")).toThrow(/EPERM/);
    expect(() => volume.linkSync("/device", "/other")).toThrow(/EPERM/);
    expect(() => volume.mkdirSync("/d")).toThrow(/EPERM/);
    file.fallocateSync("allocate", 0, raw.size);
    const first = new Uint8Array(PAGE);
    raw.readSync(first, FOLIO);
    expect(first.every((byte) => byte === 8)).toBe(true);
    const tail = new Uint8Array(60);
    raw.readSync(tail, raw.size - 60);
    expect(tail.every((byte) => byte === 7)).toBe(true);
    expect(volume.statSync("/device").size).toBe(raw.size);
  });

  test("tells of lost pages as files do, and a page that is written whole is healed", () => {
    using made = onImage();
    const { raw } = made;
    raw.volume.failure.poisonSync({ deviceOffset: FOLIO + PAGE, length: 10 });
    expect(() => raw.readSync(new Uint8Array(PAGE), FOLIO + PAGE)).toThrow(/EIO/);
    expect(() => raw.pinSync(FOLIO, 2 * PAGE)).toThrow(/EIO/);
    expect(raw.writeSync(pattern(PAGE), FOLIO + PAGE)).toBe(PAGE);
    raw.pinSync(FOLIO, 2 * PAGE).release();
    expect(raw.volume.failure.badRanges()).toEqual([]);
  });

  test("of memory begins as zeroes", async () => {
    await using raw = await openRaw({ size: FOLIO }, { regionBytes });
    using window = raw.map();
    expect(window.bytes.every((byte) => byte === 0)).toBe(true);
    expect(() => openRawSync({ size: 100 })).toThrow(/EINVAL/);
    expect(() => openRawSync(5 as unknown as string)).toThrow(TypeError);
  });

  test("is the same memory in every thread that attaches it", async () => {
    using made = onImage();
    const { raw } = made;
    using window = raw.map();
    const worker = new Worker(new URL("./workers/raw.mjs", import.meta.url), {
      workerData: { handle: raw.share() },
    });
    const [answer] = await once(worker, "message");
    expect(answer).toEqual({ size: raw.size, pins: 1 });
    expect(window.bytes[FOLIO + 1]).toBe(77);
    expect(raw.volume.statistics().pinsHeld).toBe(1);
    worker.postMessage("end");
    await once(worker, "exit");
    expect(raw.volume.statistics().pinsHeld).toBe(0);
  });
});

skipUnless(
  "root",
  "losetup",
  "loop mounts",
)("a loop device is opened as a block device: claimed against a mount of it, and written", () => {
  using directory = temporaryDirectory();
  const image = directory.file("image");
  mkfsExt4(image, 8 * 2 ** 20);
  const loop = runOk("losetup", ["--find", "--show", image]).trim();
  try {
    const place = directory.file("place");
    runOk("mkdir", [place]);
    runOk("mount", [loop, place]);
    try {
      expect(() => openRawSync(loop)).toThrow(/EBUSY.*the mount at/);
    } finally {
      runOk("umount", [place]);
    }
    {
      using raw = openRawSync(loop, { regionBytes });
      expect(raw.size).toBe(8 * 2 ** 20);
      using pin = raw.pinSync(FOLIO, PAGE, { write: true });
      pin.buffers[0]!.fill(0x5a);
      raw.syncSync();
    }
    expect(
      readFileSync(loop)
        .subarray(FOLIO, FOLIO + PAGE)
        .every((byte) => byte === 0x5a),
    ).toBe(true);
  } finally {
    runOk("losetup", ["--detach", loop]);
  }
});
