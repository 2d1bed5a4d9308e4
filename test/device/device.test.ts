import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { type Address, PAGE_SIZE } from "../../src/base/quantities.ts";
import { mapZeroesOver, reserveAddresses, unmapAddresses } from "../../src/device/address-space.ts";
import { memoryDevice, openDevice } from "../../src/device/open.ts";
import { SEGMENT_SIZE, type SegmentTable } from "../../src/device/segments.ts";
import { viewMemory } from "../../src/base/libc.ts";
import { run, runOk, skipUnless, sparseFile, temporaryDirectory } from "../support/tools.ts";

const MiB = 2 ** 20;
const TiB = 2 ** 40;

function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 31 + seed) & 255);
}

describe("an image file", () => {
  test("shows what the file holds, and the file holds what is stored", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    writeFileSync(path, pattern(MiB, 1));
    using device = openDevice(path);
    expect(device).toMatchObject({ kind: "image", path, size: MiB, readOnly: false });

    const target = new Uint8Array(5000);
    device.copyOut(12345, target);
    expect(target).toEqual(pattern(MiB, 1).subarray(12345, 17345));

    device.copyIn(4090, pattern(100, 7));
    device.zero(8192, 10);
    device.bytes(20000, 1)[0] = 99;
    device.persist(4090, 100);
    const expected = pattern(MiB, 1);
    expected.set(pattern(100, 7), 4090);
    expected.fill(0, 8192, 8202);
    expected[20000] = 99;
    expect(readFileSync(path).equals(expected)).toBe(true);
  });

  test("of an odd size keeps its exact size and shows whole pages", () => {
    using directory = temporaryDirectory();
    sparseFile(directory.file("image"), 10000);
    using device = openDevice(directory.file("image"));
    expect(device).toMatchObject({ size: 8192, exactSize: 10000 });
    expect(() => device.bytes(8192, 1)).toThrow("asked for 1 bytes from byte 8192, but has 8192");
  });

  test("is persisted as a whole, waiting or not", async () => {
    using directory = temporaryDirectory(tmpdir());
    sparseFile(directory.file("image"), MiB);
    using device = openDevice(directory.file("image"));
    device.copyIn(0, pattern(100, 3));
    device.persist(0, MiB);
    device.persistAll();
    await device.persistAllAsync();
  });

  test("of 16 TiB costs only what is touched, and copies cross segment boundaries", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    sparseFile(path, 16 * TiB);
    using device = openDevice(path);
    expect(device.segmentCount).toBe(16384);
    const length = 3 * PAGE_SIZE;
    for (const boundary of [SEGMENT_SIZE, 9 * TiB, 16 * TiB - SEGMENT_SIZE]) {
      const at = boundary - 5000;
      device.copyIn(at, pattern(length, boundary % 251));
      const target = new Uint8Array(length);
      device.copyOut(at, target);
      expect(target).toEqual(pattern(length, boundary % 251));
      expect(device.bytesUpTo(at, length).length).toBe(5000);
      expect(() => device.bytes(at, length)).toThrow("cross a view's boundary");
      device.persist(at, length);
      device.zero(at + 1, length - 2);
      device.copyOut(at, target);
      expect(target.subarray(1, -1).every((byte) => byte === 0)).toBe(true);
      expect(target[0]).toBe(boundary % 251);
    }
    expect(statSync(path).blocks * 512).toBeLessThan(MiB);
  });
});

describe("a read-only device", () => {
  test("takes stray stores, which reach nothing", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    writeFileSync(path, pattern(PAGE_SIZE, 1));
    using device = openDevice(path, { readOnly: true });
    device.bytes(0, 1)[0] = 77;
    device.persist(0, PAGE_SIZE);
    expect(readFileSync(path)[0]).toBe(1);
  });

  test("refuses to be changed with EROFS", () => {
    using directory = temporaryDirectory();
    sparseFile(directory.file("image"), PAGE_SIZE);
    using device = openDevice(directory.file("image"), { readOnly: true });
    expect(() => device.copyIn(0, new Uint8Array(1))).toThrow("was opened read-only");
    expect(() => device.zero(0, 1)).toThrow(expect.objectContaining({ code: "EROFS" }));
  });
});

describe("opening refuses", () => {
  const make = {
    "an empty file": ["EINVAL", "is empty", (path) => writeFileSync(path, "")],
    "less than a page": ["EINVAL", "smaller than a page", (path) => writeFileSync(path, "abc")],
    "a directory": ["EISDIR", "is a directory", (path) => mkdirSync(path)],
    "a FIFO": ["EINVAL", "neither an image", (path) => runOk("mkfifo", [path])],
    "a character device": ["EINVAL", "neither", (path) => symlinkSync("/dev/zero", path)],
    "a missing file": ["ENOENT", "cannot be opened", () => {}],
    "more than 16 TiB": ["EFBIG", "larger than", (path) => sparseFile(path, 17 * TiB)],
  } satisfies Record<string, [string, string, (path: string) => void]>;

  test.each(Object.entries(make))("%s", (_what, [code, words, prepare]) => {
    using directory = temporaryDirectory();
    const path = directory.file("odd");
    prepare(path);
    const refused = expect(() => openDevice(path));
    refused.toThrow(expect.objectContaining({ code, path, syscall: "open" }));
    refused.toThrow(words);
  });
});

describe("a memory device", () => {
  test("begins with zeroes, keeps what is stored and cannot be resized", () => {
    using device = memoryDevice(4 * MiB);
    const target = new Uint8Array(4 * MiB);
    device.copyOut(0, target);
    expect(target.every((byte) => byte === 0)).toBe(true);
    device.copyIn(MiB, pattern(5000, 2));
    device.persist(MiB, 5000);
    device.copyOut(MiB, target.subarray(0, 5000));
    expect(target.subarray(0, 5000)).toEqual(pattern(5000, 2));
    expect(run("truncate", ["-s", "0", `/proc/${process.pid}/fd/${device.fd}`]).code).not.toBe(0);
  });

  test("of 16 TiB costs only what is touched", () => {
    using device = memoryDevice(16 * TiB);
    device.copyIn(16 * TiB - 1, Uint8Array.of(5));
    expect(device.bytes(16 * TiB - 1, 1)[0]).toBe(5);
  });

  test("is shared with a thread that attaches, at the same addresses", async () => {
    using device = memoryDevice(3 * SEGMENT_SIZE);
    const addresses = new BigInt64Array(new SharedArrayBuffer(8 * device.segmentCount));
    const segments: SegmentTable = {
      get: (index) => Number(Atomics.load(addresses, index)) as Address,
      publish(index, address) {
        const present = Atomics.compareExchange(addresses, index, 0n, BigInt(address));
        return present === 0n ? address : (Number(present) as Address);
      },
    };
    device.bytes(3, 1)[0] = 42; // mapped before it is shared
    device.useSegments(segments);
    const first = segments.get(0);
    const worker = new Worker(new URL("./workers/copy.mjs", import.meta.url), {
      workerData: { device: device.handle(), addresses, from: 3, to: 2 * SEGMENT_SIZE + 9 },
    });
    await new Promise((resolve, reject) => worker.on("exit", resolve).on("error", reject));
    expect(device.bytes(2 * SEGMENT_SIZE + 9, 1)[0]).toBe(42);
    expect(segments.get(0)).toBe(first);
    expect(segments.get(1)).toBe(0);
    expect(segments.get(2)).not.toBe(0);
  });
});

describe("a block device", () => {
  skipUnless("root", "losetup")("is opened with its size, stored to and persisted", () => {
    using directory = temporaryDirectory(tmpdir());
    sparseFile(directory.file("image"), 8 * MiB);
    const path = runOk("losetup", ["--find", "--show", directory.file("image")]).trim();
    try {
      using device = openDevice(path);
      expect(device).toMatchObject({ kind: "block", path, size: 8 * MiB });
      device.copyIn(MiB, pattern(5000, 9));
      device.persist(MiB, 5000);
      device.persistAll();
      const stored = readFileSync(directory.file("image")).subarray(MiB, MiB + 5000);
      expect(new Uint8Array(stored)).toEqual(pattern(5000, 9));
    } finally {
      runOk("losetup", ["--detach", path]);
    }
  });

  skipUnless("root", "loop mounts")("that is mounted is refused, naming the mount", () => {
    using directory = temporaryDirectory(tmpdir());
    using place = temporaryDirectory();
    const image = directory.file("image");
    sparseFile(image, 8 * MiB);
    runOk("mkfs.ext4", ["-q", "-F", image]);
    const path = runOk("losetup", ["--find", "--show", image]).trim();
    try {
      runOk("mount", [path, place.path]);
      const refused = expect(() => openDevice(path));
      refused.toThrow(expect.objectContaining({ code: "EBUSY" }));
      refused.toThrow(`in use by the mount at ${place.path}`);
      runOk("umount", [place.path]);
      openDevice(path).close();
    } finally {
      runOk("losetup", ["--detach", path]);
    }
  });
});

describe("ranges", () => {
  test("outside the device are refused, naming device, range and size", () => {
    using device = memoryDevice(2 * PAGE_SIZE);
    const outside = expect(() => device.copyOut(8190, new Uint8Array(10)));
    outside.toThrow(expect.objectContaining({ code: "EFAULT", path: "memory" }));
    outside.toThrow("device 'memory' is asked for 10 bytes from byte 8190, but has 8192");
    for (const [at, length] of [
      [-1, 1],
      [0, -1],
      [Number.NaN, 1],
      [0.5, 9000],
    ] as const) {
      expect(() => device.bytes(at, length)).toThrow(expect.objectContaining({ code: "EINVAL" }));
    }
    expect(() => device.persist(0, 8193)).toThrow(expect.objectContaining({ code: "EFAULT" }));
    expect(() => device.zero(8192, 1)).toThrow(expect.objectContaining({ code: "EFAULT" }));
  });

  test("of no bytes are allowed up to the very end", () => {
    using device = memoryDevice(SEGMENT_SIZE);
    expect(device.bytes(SEGMENT_SIZE, 0).length).toBe(0);
    device.copyOut(SEGMENT_SIZE, new Uint8Array(0));
    device.copyIn(SEGMENT_SIZE, new Uint8Array(0));
    device.zero(SEGMENT_SIZE, 0);
    device.persist(SEGMENT_SIZE, 0);
  });
});

describe("mapFixed", () => {
  test("shows a range elsewhere: shared stores reach the device, private ones do not", () => {
    using device = memoryDevice(MiB);
    device.copyIn(3 * PAGE_SIZE, pattern(PAGE_SIZE, 5));
    const address = reserveAddresses(2 * PAGE_SIZE);
    const view = new Uint8Array(viewMemory(address, 2 * PAGE_SIZE));
    device.mapFixed(address, 3 * PAGE_SIZE, PAGE_SIZE, "shared", true);
    expect(view.subarray(0, PAGE_SIZE)).toEqual(pattern(PAGE_SIZE, 5));
    view[1] = 200;
    expect(device.bytes(3 * PAGE_SIZE + 1, 1)[0]).toBe(200);
    device.mapFixed(address, 3 * PAGE_SIZE, PAGE_SIZE, "private", true);
    view[1] = 201;
    expect(device.bytes(3 * PAGE_SIZE + 1, 1)[0]).toBe(200);
    mapZeroesOver(address, 2 * PAGE_SIZE);
    expect(view[1]).toBe(0);
  });

  test("and addresses agree modulo 2 MiB where that is asked for", () => {
    for (const congruence of [0, PAGE_SIZE, 2 * MiB - PAGE_SIZE]) {
      const address = reserveAddresses(PAGE_SIZE, 2 * MiB, congruence);
      expect(address % (2 * MiB)).toBe(congruence);
      unmapAddresses(address, PAGE_SIZE);
    }
  });
});

describe("close", () => {
  test("leaves zeroes under the views that live on, and stores to them go nowhere", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    writeFileSync(path, pattern(MiB, 1));
    const device = openDevice(path);
    const view = device.bytes(0, MiB);
    device.close();
    device.close();
    expect(view.every((byte) => byte === 0)).toBe(true);
    view.fill(9);
    expect(readFileSync(path).equals(pattern(MiB, 1))).toBe(true);
  });

  test("is the end: every use after it is EBADF", () => {
    const device = memoryDevice(MiB);
    device.close();
    const closed = expect.objectContaining({ code: "EBADF" });
    expect(() => device.bytes(0, 1)).toThrow(closed);
    expect(() => device.copyOut(0, new Uint8Array(1))).toThrow(closed);
    expect(() => device.copyIn(0, new Uint8Array(1))).toThrow(closed);
    expect(() => device.persist(0, 1)).toThrow(closed);
    expect(() => device.persistAll()).toThrow("device 'memory' is closed");
    expect(() => device.mapFixed(0 as Address, 0, PAGE_SIZE, "shared", true)).toThrow(closed);
    return expect(device.persistAllAsync()).rejects.toThrow(closed);
  });
});
