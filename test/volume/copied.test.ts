// Direct or copied: what the mount and the file's flag choose, how a file is switched, and what copied files keep.

import { copyFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { attach, type FileHandle, mountSync, type Volume } from "../../src/index.ts";
import { run, skipUnless, temporaryDirectory } from "../support/tools.ts";
import { copiedKinds, ext4, ram, volumeKinds } from "./volumes.ts";

const PAGE = 4096;
const code = (name: string): unknown => expect.objectContaining({ code: name });
const direct = volumeKinds.filter(({ mappable }) => mappable);

function inEffect(volume: Volume, path: string): boolean {
  return volume.statSync(path).dax;
}

describe.each(direct)("$name", (kind) => {
  test("the mount decides which files are direct: always, never, or each file's flag", () => {
    for (const [mode, plain, flagged] of [
      [undefined, true, true],
      ["always", true, true],
      ["never", false, false],
      ["inode", false, true],
    ] as const) {
      using made = kind.make(undefined, mode === undefined ? {} : { dax: mode });
      const { volume } = made;
      volume.mkdirSync("/d");
      volume.setDaxSync("/d", true);
      volume.writeFileSync("/plain", "x");
      volume.writeFileSync("/d/flagged", "x");
      expect([inEffect(volume, "/plain"), inEffect(volume, "/d/flagged")]).toEqual([
        plain,
        flagged,
      ]);
      expect(volume.statSync("/d/flagged").daxFlag).toBe(true);
      expect(volume.statSync("/plain").daxFlag).toBe(false);
      // Directories have the flag, and are never reached directly.
      expect(volume.statSync("/d")).toMatchObject({ dax: false, daxFlag: true });
    }
  });

  test("files and directories inherit the flag where they are made, and keep it where they are moved", () => {
    using made = kind.make(undefined, { dax: "inode" });
    const { volume } = made;
    for (const path of ["/yes", "/no"]) volume.mkdirSync(path);
    volume.setDaxSync("/yes", true);
    volume.mkdirSync("/yes/sub");
    volume.writeFileSync("/yes/sub/file", "x");
    volume.symlinkSync("/no", "/yes/link");
    volume.writeFileSync("/no/file", "x");
    const flagOf = (path: string): boolean => volume.lstatSync(path).daxFlag;
    expect(["/yes/sub", "/yes/sub/file", "/yes/link", "/no/file"].map(flagOf)).toEqual([
      true,
      true,
      false,
      false,
    ]);
    volume.renameSync("/yes/sub/file", "/no/moved");
    volume.renameSync("/no/file", "/yes/moved");
    expect(["/no/moved", "/yes/moved"].map(flagOf)).toEqual([true, false]);
    volume.setDaxSync("/yes", false);
    volume.writeFileSync("/yes/later", "x");
    expect(flagOf("/yes/later")).toBe(false);
    expect(made.closeAndCheck()).toBe("");
  });

  test("a change of the flag takes effect when the last user is gone, and what was stored survives it", () => {
    using made = kind.make(undefined, { dax: "inode" });
    const { volume } = made;
    const file = volume.openSync("/file", "w+");
    file.writeSync(new Uint8Array(3 * PAGE).fill(1), 0);
    const window = file.map();
    window.bytes.fill(2, 0, PAGE);
    const pin = file.pinSync(PAGE, PAGE, { write: true });
    pin.buffers[0]!.fill(3);
    volume.setDaxSync("/file", true);
    expect(volume.statSync("/file")).toMatchObject({ dax: false, daxFlag: true });
    file.closeSync();
    expect(inEffect(volume, "/file")).toBe(false);
    window.close();
    expect(inEffect(volume, "/file")).toBe(false);
    pin.release();
    expect(inEffect(volume, "/file")).toBe(true);
    const contents = (): Uint8Array => volume.readFileSync("/file");
    const expected = Buffer.concat([2, 3, 1].map((tag) => new Uint8Array(PAGE).fill(tag)));
    expect(Buffer.compare(contents(), expected)).toBe(0);
    {
      using again = volume.openSync("/file", "r+");
      using direct = again.map();
      direct.bytes.fill(4, 0, PAGE);
      volume.setDaxSync("/file", false);
      expect(inEffect(volume, "/file")).toBe(true);
    }
    expect(inEffect(volume, "/file")).toBe(false);
    expected.fill(4, 0, PAGE);
    expect(Buffer.compare(contents(), expected)).toBe(0);
    // There and back again, while it is used: nothing to switch.
    {
      using again = volume.openSync("/file", "r+");
      volume.setDaxSync("/file", true);
      volume.setDaxSync("/file", false);
      expect(again.statSync().dax).toBe(false);
    }
    expect(inEffect(volume, "/file")).toBe(false);
    expect(made.closeAndCheck()).toBe("");
  });

  test("what has no such flag, and wrong arguments, are refused", () => {
    using made = kind.make();
    const { volume } = made;
    volume.writeFileSync("/file", "x");
    // @ts-expect-error: no boolean
    expect(() => volume.setDaxSync("/file", 1)).toThrow(code("ERR_INVALID_ARG_TYPE"));
    expect(() => volume.setDaxSync("/none", true)).toThrow(code("ENOENT"));
    // @ts-expect-error: no mode of access
    expect(() => kind.make(undefined, { dax: "sometimes" })).toThrow(code("ERR_INVALID_ARG_VALUE"));
    const options = { dax: "never", cacheBytes: 1000 } as const;
    expect(() => kind.make(undefined, options)).toThrow(code("ERR_OUT_OF_RANGE"));
  });
});

const extTest = skipUnless("mkfs.ext4", "debugfs");

extTest("the flag is ext4's, on the volume: debugfs sees it, and it is there after a mount", () => {
  using made = ext4.make(undefined, { dax: "inode" });
  made.volume.writeFileSync("/file", "x");
  made.volume.setDaxSync("/file", true);
  made.remount();
  expect(made.volume.statSync("/file")).toMatchObject({ dax: true, daxFlag: true });
  made.volume.setDaxSync("/file", false);
  made.volume.setDaxSync("/file", true);
  expect(made.closeAndCheck()).toBe("");
  expect(run("debugfs", ["-R", "stat /file", made.image!]).stdout).toMatch(/Flags: 0x2080000/);
});

describe.each(copiedKinds)("$name", (kind) => {
  test("files are copied, and windows, pins and calls still meet in one file", () => {
    using made = kind.make();
    const { volume } = made;
    using file = volume.openSync("/file", "w+");
    expect(file.statSync().dax).toBe(false);
    file.writeSync(new Uint8Array(10 * PAGE).fill(1), 0);
    using window = file.map();
    using other = file.map({ offset: PAGE });
    window.bytes[PAGE + 1] = 2;
    using pin = file.pinSync(PAGE, PAGE, { write: true });
    pin.buffers[0]![2] = 3;
    file.writeSync(Uint8Array.of(4), PAGE + 3);
    const expected = [1, 2, 3, 4];
    expect([...window.bytes.subarray(PAGE, PAGE + 4)]).toEqual(expected);
    expect([...other.bytes.subarray(0, 4)]).toEqual(expected);
    expect([...pin.buffers[0]!.subarray(0, 4)]).toEqual(expected);
    expect([...file.readFileSync().subarray(PAGE, PAGE + 4)]).toEqual(expected);
    expect(pin.verify()).toBe(true);
  });

  test("a hole that is read gets no blocks; stores to it get them at once, and reach the file", () => {
    using made = kind.make();
    using file = made.volume.openSync("/file", "w+");
    file.truncateSync(64 * PAGE);
    using window = file.map();
    expect(window.bytes.every((byte) => byte === 0)).toBe(true);
    expect(file.statSync().blocks).toBe(0);
    window.bytes[5 * PAGE] = 7;
    const { blocks } = file.statSync();
    expect(blocks).toBeGreaterThan(0);
    file.syncSync();
    expect(file.statSync().blocks).toBe(blocks);
    expect(file.readFileSync()[5 * PAGE]).toBe(7);
  });

  test("on a full volume whoever stores is told, and fsync succeeds", () => {
    using made = kind.make(kind.name.startsWith("ram") ? 64 * PAGE : 4 * 2 ** 20);
    const { volume } = made;
    using file = volume.openSync("/file", "w+");
    file.truncateSync(16 * PAGE);
    using window = file.map();
    window.bytes[0] = 1;
    {
      using filler = volume.openSync("/filler", "w");
      try {
        for (let at = 0; ; at += 64 * 1024) {
          if (filler.writeSync(new Uint8Array(64 * 1024), at) < 64 * 1024) break;
        }
      } catch (error) {
        expect(error).toEqual(code("ENOSPC"));
      }
    }
    window.bytes[8 * PAGE] = 2;
    expect(window.lost).toMatchObject({ offset: 8 * PAGE, pages: 1 });
    expect(() => file.pinSync(9 * PAGE, PAGE, { write: true })).toThrow(code("ENOSPC"));
    expect(() => file.writeSync(new Uint8Array(PAGE), 10 * PAGE)).toThrow(code("ENOSPC"));
    file.syncSync();
    expect(file.readFileSync()[0]).toBe(1);
    volume.unlinkSync("/filler");
    window.close();
    file.writeSync(Uint8Array.of(3), 8 * PAGE);
    expect(made.closeAndCheck()).toBe("");
  });

  test("more than the page cache holds goes through it, and what was stored is in the file", () => {
    using made = kind.make(undefined, { cacheBytes: 16 * PAGE });
    using file = made.volume.openSync("/file", "w+");
    file.truncateSync(200 * PAGE);
    for (let page = 0; page < 200; page++) {
      if (page % 2 === 0) {
        using pin = file.pinSync(page * PAGE, PAGE, { write: true });
        pin.buffers[0]!.fill(page + 1);
      } else {
        using window = file.map({ offset: page * PAGE, length: PAGE });
        window.bytes.fill(page + 1);
        expect(window.lost).toBeNull();
      }
    }
    const bytes = file.readFileSync();
    for (let page = 0; page < 200; page++) {
      expect([bytes[page * PAGE], bytes[(page + 1) * PAGE - 1]]).toEqual([page + 1, page + 1]);
    }
    expect(made.closeAndCheck()).toBe("");
  });

  test("pages that are pinned stay: a pin that finds no room says what to do", async () => {
    using made = kind.make(undefined, { cacheBytes: 16 * PAGE });
    using file = made.volume.openSync("/file", "w+");
    file.truncateSync(64 * PAGE);
    using held = file.pinSync(0, 12 * PAGE, { write: true });
    held.buffers[0]![0] = 9;
    const refusal = { code: "ENOMEM", message: expect.stringContaining("cacheBytes") };
    await expect(file.pin(20 * PAGE, 5 * PAGE)).rejects.toMatchObject(refusal);
    expect(() => file.pinSync(0, 20 * PAGE)).toThrow(expect.objectContaining(refusal));
    {
      using fits = file.pinSync(30 * PAGE, 4 * PAGE, { write: true });
      fits.buffers[0]![0] = 8;
      using window = file.map({ offset: 40 * PAGE, length: PAGE });
      window.bytes[0] = 1;
      expect(window.lost).toMatchObject({ offset: 40 * PAGE, pages: 1 });
    }
    held.release();
    using later = file.pinSync(40 * PAGE, 16 * PAGE);
    expect(later.buffers[0]![0]).toBe(0);
    expect([file.readFileSync()[0], file.readFileSync()[30 * PAGE]]).toEqual([9, 8]);
  });

  test("a truncate waits for a pin, and the page of the new end keeps what was stored", async () => {
    using made = kind.make();
    using file = made.volume.openSync("/file", "w+");
    file.writeSync(new Uint8Array(8 * PAGE).fill(1), 0);
    const pin = file.pinSync(2 * PAGE, 2 * PAGE, { write: true });
    for (const buffer of pin.buffers) buffer.fill(2);
    await expect(file.truncate(PAGE, { timeoutMs: 20 })).rejects.toEqual(code("ETIMEDOUT"));
    const truncated = file.truncate(2 * PAGE + 100);
    pin.release();
    await truncated;
    file.truncateSync(8 * PAGE);
    const bytes = file.readFileSync();
    expect([bytes[2 * PAGE], bytes[2 * PAGE + 99], bytes[2 * PAGE + 100]]).toEqual([2, 2, 0]);
  });

  test("stores beyond the file's end are zeroes when it grows, also under a pin", () => {
    using made = kind.make();
    using file = made.volume.openSync("/file", "w+");
    file.writeSync(new Uint8Array(100).fill(1), 0);
    {
      using window = file.map({ length: PAGE });
      window.bytes.fill(7, 50);
      using pin = file.pinSync(0, PAGE, { write: true });
      pin.buffers[0]!.fill(8, 60);
      file.writeSync(Uint8Array.of(5), 3000);
      expect([...pin.buffers[0]!.subarray(98, 102)]).toEqual([8, 8, 0, 0]);
      // The pin is older than these bytes of the file, and reaches them.
      pin.buffers[0]!.fill(6, 2000, 2100);
    }
    const bytes = file.readFileSync();
    expect([bytes[49], bytes[55], bytes[99], bytes[100], bytes[2050], bytes[3000]]).toEqual([
      1, 7, 8, 0, 6, 5,
    ]);
    expect(made.closeAndCheck()).toBe("");
  });

  test("another thread's windows, pins and calls see one file", { timeout: 30_000 }, async () => {
    using made = kind.make();
    using file = made.volume.openSync("/file", "w+");
    file.writeSync(new Uint8Array(4 * PAGE).fill(1), 0);
    using window = file.map();
    const { Worker } = await import("node:worker_threads");
    const worker = new Worker(new URL("./workers/copied.mjs", import.meta.url), {
      workerData: made.volume.share(),
    });
    const done = new Promise<unknown>((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
    expect(await done).toEqual([1, 1, 1]);
    await new Promise((resolve) => worker.once("exit", resolve));
    expect([window.bytes[0], window.bytes[PAGE], window.bytes[2 * PAGE]]).toEqual([2, 3, 4]);
    expect(() => attach(made.volume.share())).toThrow(code("EBUSY"));
  });
});

describe.each(copiedKinds.filter(({ name }) => name !== "ram, copied"))("$name", (kind) => {
  test("what was stored is on the device after an fsync, and after the volume's sync", () => {
    using made = kind.make();
    using directory = temporaryDirectory();
    using file = made.volume.openSync("/file", "w+");
    file.writeSync(new Uint8Array(4 * PAGE), 0);
    made.volume.syncSync();
    using window = file.map();
    const found = (): number[] => {
      const copy = directory.file("copy");
      copyFileSync(made.image!, copy);
      using volume = mountSync(copy, { readOnly: true, regionBytes: 2 ** 26 });
      return [...volume.readFileSync("/file")].filter((_byte, index) => index % PAGE === 0);
    };
    window.bytes[0] = 1;
    file.syncSync();
    expect(found()).toEqual([1, 0, 0, 0]);
    window.bytes[PAGE] = 2;
    expect(found()).toEqual([1, 0, 0, 0]);
    made.volume.syncSync();
    expect(found()).toEqual([1, 2, 0, 0]);
    using pin = file.pinSync(2 * PAGE, PAGE, { write: true });
    pin.buffers[0]![0] = 3;
    const target = new Uint8Array(1);
    using direct = made.volume.openSync("/file", "r+", undefined, { direct: true });
    expect([direct.readSync(target, 2 * PAGE), target[0]]).toEqual([1, 3]);
    window.bytes[3 * PAGE] = 4;
    direct.writeSync(Uint8Array.of(5, 5), 3 * PAGE - 1);
    expect([window.bytes[3 * PAGE - 1], window.bytes[3 * PAGE]]).toEqual([5, 5]);
    expect(found()).toEqual([1, 2, 3, 5]);
  });

  test("a volume that is mounted for reading only is mapped and pinned without a change", () => {
    using made = kind.make();
    made.volume.writeFileSync("/file", new Uint8Array(3 * PAGE).fill(6));
    made.volume.truncateSync("/file", 10 * PAGE);
    made.volume.closeSync();
    using volume = mountSync(made.image!, { readOnly: true, dax: "never", regionBytes: 2 ** 26 });
    using file = volume.openSync("/file", "r");
    using window = file.map();
    expect([window.bytes[0], window.bytes[9 * PAGE]]).toEqual([6, 0]);
    using pin = file.pinSync(2 * PAGE, 2 * PAGE);
    expect(Buffer.concat(pin.buffers).subarray(PAGE - 1, PAGE + 1)).toEqual(Buffer.from([6, 0]));
  });
});

test("a lost page of the device is no loss of what is cached, and is healed by writing it back", () => {
  using made = ram.make(undefined, { dax: "never" });
  const { volume } = made;
  using file = volume.openSync("/file", "w+");
  file.writeSync(new Uint8Array(3 * PAGE).fill(1), 0);
  using pin = file.pinSync(0, PAGE, { write: true });
  volume.failure.poisonSync({ path: "/file", offset: 0, length: 2 * PAGE });
  const target = new Uint8Array(PAGE);
  expect(file.readSync(target, 0)).toBe(PAGE);
  expect(() => file.readSync(target, PAGE)).toThrow(code("EIO"));
  expect(() => file.pinSync(PAGE, PAGE)).toThrow(code("EIO"));
  {
    using window = file.map({ offset: PAGE, length: PAGE });
    expect(window.bytes[0]).toBe(0);
    expect(window.lost).toMatchObject({ offset: PAGE, pages: 1 });
  }
  pin.buffers[0]!.fill(2);
  file.writeSync(new Uint8Array(PAGE).fill(3), PAGE);
  file.syncSync();
  expect(volume.failure.badRanges()).toEqual([]);
  expect([...file.readFileSync()].filter((_byte, index) => index % PAGE === 0)).toEqual([2, 3, 1]);
});

test.each(["never", "inode"] as const)(
  "copied files that share blocks with others keep their bytes apart (dax: %s)",
  (dax) => {
    using made = ram.make(undefined, { dax });
    const { volume } = made;
    using file = volume.openSync("/file", "w+");
    volume.writeFileSync("/twin", "");
    volume.setDaxSync("/twin", true);
    using twin = volume.openSync("/twin", "r+");
    expect(twin.statSync().dax).toBe(dax === "inode");
    file.writeSync(new Uint8Array(4 * PAGE).fill(1), 0);
    using window = file.map();
    window.bytes.fill(2, 0, PAGE);
    twin.cloneRangeSync(file);
    const letters = (each: FileHandle): number[] =>
      [...each.readFileSync()].filter((_byte, index) => index % PAGE === 0);
    expect([letters(file), letters(twin)]).toEqual([
      [2, 1, 1, 1],
      [2, 1, 1, 1],
    ]);
    const { blocksShared } = volume.statistics();
    using read = file.pinSync(2 * PAGE, PAGE);
    expect(volume.statistics().blocksShared).toBe(blocksShared);
    using seen = twin.map({ writable: false });
    window.bytes.fill(3, PAGE, 2 * PAGE);
    twin.writeSync(new Uint8Array(PAGE).fill(4), 2 * PAGE);
    using written = twin.pinSync(3 * PAGE, PAGE, { write: true });
    written.buffers[0]!.fill(5);
    file.syncSync();
    twin.syncSync();
    expect([letters(file), letters(twin)]).toEqual([
      [2, 3, 1, 1],
      [2, 1, 4, 5],
    ]);
    expect([seen.bytes[PAGE], seen.bytes[2 * PAGE], read.buffers[0]![0]]).toEqual([1, 4, 1]);
    expect([window.bytes[PAGE], window.bytes[2 * PAGE]]).toEqual([3, 1]);
  },
);
