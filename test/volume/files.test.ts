// Open files: contents, sizes, the shapes of errors, and how waits end.

import { describe, expect, test } from "vitest";
import type { FileHandle, Volume } from "../../src/index.ts";
import { copiedKinds, type TestVolume, volumeKinds } from "./volumes.ts";

const code = (name: string): unknown => expect.objectContaining({ code: name });

function open(made: TestVolume, flags: Parameters<Volume["openSync"]>[1] = "w+"): FileHandle {
  return made.volume.openSync("/file", flags);
}

const kinds = [...volumeKinds, ...copiedKinds.filter(({ name }) => name.endsWith("copied"))];

describe.each(kinds)("$name", (kind) => {
  test("a handle does what its mode allows, and says EBADF to the rest", () => {
    using made = kind.make();
    made.volume.writeFileSync("/file", "0123456789");
    const byte = new Uint8Array(1);
    {
      using file = open(made, "r");
      expect(() => file.writeSync(byte, 0)).toThrow(code("EBADF"));
      expect(() => file.writeFileSync("x")).toThrow(code("EBADF"));
      expect(() => file.fallocateSync("allocate", 0, 10)).toThrow(code("EBADF"));
      expect(() => file.truncateSync(0)).toThrow(code("EINVAL"));
    }
    {
      using file = open(made, "a");
      expect(() => file.readSync(byte, 0)).toThrow(code("EBADF"));
      expect(file.writeSync(Buffer.from("ab"), 3)).toBe(2);
    }
    expect(made.volume.readFileSync("/file", "utf8")).toBe("0123456789ab");
    const file = open(made, "r");
    file.closeSync();
    file.closeSync();
    for (const use of [
      () => file.readSync(byte, 0),
      () => file.statSync(),
      () => file.map(),
      () => file.pinSync(0, 1),
      () => file.syncSync(),
    ]) {
      expect(use).toThrow(expect.objectContaining({ code: "EBADF", path: "/file" }));
    }
  });

  test("errors carry code, errno, syscall and path", async () => {
    using made = kind.make();
    await expect(made.volume.open("/no/file")).rejects.toMatchObject({
      name: "HoldfastError",
      code: "ENOENT",
      errno: -2,
      syscall: "open",
      path: "/no/file",
      message: "ENOENT: no such file or directory, open '/no/file'",
    });
    expect(() => made.volume.renameSync("/a", "/b")).toThrow(
      expect.objectContaining({
        syscall: "rename",
        path: "/a",
        dest: "/b",
        message: "ENOENT: no such file or directory, rename '/a' -> '/b'",
      }),
    );
    expect(() => made.volume.readdirSync("/nothing")).toThrow(
      expect.objectContaining({ syscall: "scandir" }),
    );
  });

  test("wrong arguments are named with their value", async () => {
    using made = kind.make();
    using file = open(made);
    const byte = new Uint8Array(1);
    expect(() => file.readSync(byte, -1)).toThrow(
      /The value of "position" is out of range. It must be >= 0 .* Received -1/,
    );
    expect(() => file.readSync(byte, 0.5)).toThrow(code("ERR_OUT_OF_RANGE"));
    expect(() => file.readSync(byte, Number.NaN)).toThrow(code("ERR_OUT_OF_RANGE"));
    expect(() => file.readSync(byte, "0" as never)).toThrow(code("ERR_INVALID_ARG_TYPE"));
    expect(() => file.readSync("x" as never, 0)).toThrow(code("ERR_INVALID_ARG_TYPE"));
    expect(() => file.fallocateSync("melt" as never, 0, 1)).toThrow(code("ERR_INVALID_ARG_VALUE"));
    expect(() => file.fallocateSync("allocate", 0, 0)).toThrow(code("ERR_OUT_OF_RANGE"));
    expect(() => file.truncateSync(2 ** 53)).toThrow(code("ERR_OUT_OF_RANGE"));
    expect(() => made.volume.openSync("/file", "rx" as never)).toThrow(
      code("ERR_INVALID_ARG_VALUE"),
    );
    expect(() => made.volume.statSync("/a\0b")).toThrow(code("ERR_INVALID_ARG_VALUE"));
    await expect(made.volume.chmod("/file", "9")).rejects.toEqual(code("ERR_INVALID_ARG_VALUE"));
    await expect(made.volume.utimes("/file", Number.NaN, 0)).rejects.toEqual(
      code("ERR_INVALID_ARG_TYPE"),
    );
  });

  test("reads end at the file's end, and holes read as zeroes", () => {
    using made = kind.make();
    using file = open(made);
    expect(file.readSync(new Uint8Array(10), 0)).toBe(0);
    file.writeSync(Buffer.from("end"), 100_000);
    const target = new Uint8Array(10).fill(9);
    expect(file.readSync(target, 99_998)).toBe(5);
    expect([...target.subarray(0, 5)]).toEqual([0, 0, ...Buffer.from("end")]);
    expect(file.readSync(target, 100_003)).toBe(0);
    expect(file.readSync(target, 2 ** 50)).toBe(0);
    expect(() => file.writeSync(target, 2 ** 50)).toThrow(code("EFBIG"));
  });

  test("fallocate changes what backs a range, and the content as fallocate(2) says", async () => {
    using made = kind.make();
    using file = open(made);
    const block = 4096;
    const content = Buffer.concat([1, 2, 3, 4].map((fill) => Buffer.alloc(block, fill)));
    await file.writeFile(content);
    const bytesAt = async (): Promise<number[]> => {
      const bytes = await file.readFile();
      return Array.from({ length: bytes.length / block }, (_, index) => bytes[index * block]!);
    };
    const backed = file.statSync().blocks;
    await file.fallocate("punch-hole", block, block);
    expect(await bytesAt()).toEqual([1, 0, 3, 4]);
    expect(file.statSync().blocks).toBe(backed - block / 512);
    await file.fallocate("collapse-range", block, block);
    expect(await bytesAt()).toEqual([1, 3, 4]);
    await file.fallocate("insert-range", block, 2 * block);
    expect(await bytesAt()).toEqual([1, 0, 0, 3, 4]);
    await file.fallocate("zero-range", 3 * block, block);
    expect(await bytesAt()).toEqual([1, 0, 0, 0, 4]);
    await file.fallocate("keep-size", 0, 10 * block);
    expect(file.statSync().size).toBe(5 * block);
    await file.fallocate("allocate", 0, 6 * block);
    expect(await bytesAt()).toEqual([1, 0, 0, 0, 4, 0]);
    expect(() => file.fallocateSync("collapse-range", 1, block)).toThrow(code("EINVAL"));
    expect(made.closeAndCheck()).toBe("");
  });

  test("a file without a name can be used until its last handle is closed", async () => {
    using made = kind.make();
    made.volume.writeFileSync("/other", "");
    const before = made.volume.statfsSync().bfree;
    const first = open(made);
    const second = open(made, "r");
    await first.write(new Uint8Array(500_000).fill(1), 0);
    await made.volume.unlink("/file");
    expect(second.statSync()).toMatchObject({ nlink: 0, size: 500_000 });
    using again = open(made, "wx");
    expect(again.ino).not.toBe(first.ino);
    await first.close();
    expect(second.readSync(new Uint8Array(10), 499_995)).toBe(5);
    expect(made.volume.statfsSync().bfree).toBeLessThan(before);
    await second.close();
    expect(made.volume.statfsSync().bfree).toBe(before);
    expect(made.volume.statistics().inodes).toBeLessThan(10);
  });

  test("a close while an operation of the handle runs takes effect after it", async () => {
    using made = kind.make();
    const file = open(made);
    const written = file.write(new Uint8Array(300_000).fill(1), 0);
    const closed = file.close();
    expect(await written).toBe(300_000);
    await closed;
    expect(made.volume.statSync("/file").size).toBe(300_000);
    await expect(file.write(new Uint8Array(1), 0)).rejects.toEqual(code("EBADF"));
  });

  test("a write right after a time was set is one at its own time", async () => {
    using made = kind.make();
    using file = open(made);
    const now = Date.now();
    for (let time = 1; time <= 20; time++) {
      file.writeSync(Buffer.from("x"), 0);
      if (time % 2 === 0) file.utimesSync(time, time);
      else await made.volume.utimes("/file", time, time);
      expect(file.statSync().mtimeMs).toBe(time * 1000);
      file.writeSync(Buffer.from("y"), 0);
      expect(file.statSync().mtimeMs).toBeGreaterThan(now - 1000);
    }
  });

  test("directories are opened for reading only, and have no bytes", () => {
    using made = kind.make();
    made.volume.mkdirSync("/directory");
    using directory = made.volume.openSync("/directory");
    expect(directory.statSync().isDirectory()).toBe(true);
    expect(() => directory.readSync(new Uint8Array(1), 0)).toThrow(code("EISDIR"));
    expect(() => made.volume.openSync("/directory", "r+")).toThrow(code("EISDIR"));
    expect(() => made.volume.openSync("/new/", "w")).toThrow(code("EISDIR"));
  });

  test("paths: symlinks to symlinks, loops, long names, and dots", () => {
    using made = kind.make();
    const { volume } = made;
    volume.mkdirSync("/a/b", { recursive: true });
    volume.writeFileSync("/a/b/file", "found");
    volume.symlinkSync("/a", "/absolute");
    volume.symlinkSync("../../absolute/b/", "/a/b/up");
    expect(volume.readFileSync("/absolute/b/up/file", "utf8")).toBe("found");
    expect(volume.readFileSync("../../a/./b/../b//file", "utf8")).toBe("found");
    expect(volume.readFileSync("a/b/up/../b/file", "utf8")).toBe("found");
    volume.symlinkSync("loop2", "/loop1");
    volume.symlinkSync("loop1", "/loop2");
    expect(() => volume.statSync("/loop1")).toThrow(code("ELOOP"));
    expect(volume.lstatSync("/loop1").isSymbolicLink()).toBe(true);
    expect(() => volume.statSync(`/${"n".repeat(256)}`)).toThrow(code("ENAMETOOLONG"));
    expect(() => volume.statSync(`/${"n".repeat(255)}`)).toThrow(code("ENOENT"));
    expect(() => volume.statSync("/x".repeat(2048))).toThrow(code("ENAMETOOLONG"));
    expect(() => volume.statSync("")).toThrow(code("ENOENT"));
    expect(() => volume.rmdirSync("/")).toThrow(code("EBUSY"));
    expect(() => volume.unlinkSync("/")).toThrow(code("EISDIR"));
    expect(() => volume.mkdirSync("/")).toThrow(code("EEXIST"));
    expect(volume.mkdirSync("/", { recursive: true })).toBeUndefined();
    expect(volume.mkdirSync("/a/c/d", { recursive: true })).toBe("/a/c");
  });

  test("names are bytes: one that is not UTF-8 can be made, listed and removed", () => {
    using made = kind.make();
    const { volume } = made;
    const name = Uint8Array.of(0x2f, 0xff, 0xfe, 0x61);
    volume.writeFileSync(name, "odd");
    const [entry] = volume
      .readdirSync("/", { withFileTypes: true })
      .filter((each) => each.name !== "lost+found");
    expect([...entry!.nameBytes]).toEqual([0xff, 0xfe, 0x61]);
    expect(volume.readFileSync(name, "utf8")).toBe("odd");
    volume.unlinkSync(name);
    expect(volume.existsSync(name)).toBe(false);
  });

  test("a directory of two thousand names lists each once, and all go", async () => {
    using made = kind.make();
    const { volume } = made;
    volume.mkdirSync("/many");
    const names = Array.from({ length: 2000 }, (_, index) => `name number ${index}`);
    for (const name of names) volume.writeFileSync(`/many/${name}`, "");
    expect((await volume.readdir("/many")).sort()).toEqual([...names].sort());
    expect(() => volume.rmdirSync("/many")).toThrow(code("ENOTEMPTY"));
    await Promise.all(names.map((name) => volume.unlink(`/many/${name}`)));
    volume.rmdirSync("/many");
    expect(made.closeAndCheck()).toBe("");
  });

  test("asynchronous operations on one file take turns, and a blocking one among them goes through", async () => {
    using made = kind.make();
    using file = open(made);
    const turns = Array.from({ length: 20 }, (_, index) =>
      file.write(new Uint8Array(50_000).fill(index + 1), 0),
    );
    file.writeSync(Uint8Array.of(77), 100_000);
    await Promise.all(turns);
    const bytes = file.readFileSync();
    expect(bytes.length).toBe(100_001);
    expect(new Set(bytes.subarray(0, 50_000)).size).toBe(1);
  });

  test("a window is the file: stores are read, writes are seen, and it may be larger than the file", () => {
    using made = kind.make();
    using file = open(made);
    file.writeSync(new Uint8Array(10_000).fill(1), 0);
    using window = file.map({ length: 20_000 });
    window.bytes[9_999] = 5;
    const target = new Uint8Array(2);
    expect(file.readSync(target, 9_999)).toBe(1);
    expect(target[0]).toBe(5);
    file.writeSync(Uint8Array.of(6), 0);
    expect(window.bytes[0]).toBe(6);
    expect(window.lost).toBeNull();
    expect(window.bytes[16_384]).toBe(0);
    expect(window.lost).toMatchObject({ offset: 16_384 });
    file.writeSync(new Uint8Array(5_000).fill(8), 14_000);
    expect([window.bytes[12_000], window.bytes[16_384]]).toEqual([0, 8]);
    using readable = made.volume.openSync("/file", "r");
    using copy = readable.map({ offset: 4096, length: 4096 });
    copy.bytes[0] = 99;
    expect(window.bytes[4096]).toBe(1);
    expect(() => readable.map({ writable: true })).toThrow(code("EBADF"));
    expect(() => file.map({ offset: 100 })).toThrow(code("EINVAL"));
    window.close();
    window.close();
    expect(window.bytes[0]).toBe(0);
  });

  test("a pin is the storage: stores into it are the file, and a truncate waits for it", async () => {
    using made = kind.make();
    using file = open(made);
    file.truncateSync(100_000);
    const pin = await file.pin(5_000, 50_000, { write: true });
    expect([pin.offset, pin.length]).toEqual([5_000, 50_000]);
    expect(pin.buffers.reduce((sum, buffer) => sum + buffer.length, 0)).toBe(50_000);
    for (const buffer of pin.buffers) buffer.fill(3);
    const bytes = file.readFileSync();
    expect([bytes[4_999], bytes[5_000], bytes[54_999], bytes[55_000]]).toEqual([0, 3, 3, 0]);
    expect(pin.verify()).toBe(true);
    expect(made.volume.statistics().pinsHeld).toBeGreaterThan(0);

    await expect(file.truncate(0, { timeoutMs: 20 })).rejects.toEqual(code("ETIMEDOUT"));
    const controller = new AbortController();
    const aborted = file.truncate(0, { signal: controller.signal });
    setTimeout(() => controller.abort(), 20);
    await expect(aborted).rejects.toMatchObject({ name: "AbortError", code: "ABORT_ERR" });
    expect(file.statSync().size).toBe(100_000);
    await expect(file.truncate(0, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: "AbortError",
    });

    file.truncateSync(60_000);
    const truncated = file.truncate(0);
    pin.release();
    pin.release();
    await truncated;
    expect(() => pin.buffers.length + Number(pin.verify())).toThrow(code("EBADF"));
    await expect(file.pin(0, 1)).rejects.toEqual(code("EINVAL"));
    expect(made.volume.statistics().pinsHeld).toBe(0);
  });

  test("windows and pins keep a file without a name, the last of them frees it", async () => {
    using made = kind.make();
    made.volume.writeFileSync("/other", "");
    const before = made.volume.statfsSync().bfree;
    const file = open(made);
    file.writeSync(new Uint8Array(100_000).fill(4), 0);
    const window = file.map();
    const pin = file.pinSync(0, 4096);
    made.volume.unlinkSync("/file");
    await file.close();
    expect(window.bytes[99_999]).toBe(4);
    window.close();
    expect(pin.buffers[0]![0]).toBe(4);
    expect(made.volume.statfsSync().bfree).toBeLessThan(before);
    pin.release();
    expect(made.volume.statfsSync().bfree).toBe(before);
    expect(made.closeAndCheck()).toBe("");
  });
});
