import { spawnSync } from "node:child_process";
import { describe, expect, it, vi } from "vitest";
import {
  type DeviceFailure,
  mountRamSync,
  type PoisonTarget,
  type Volume,
} from "../../src/index.ts";
import { startRunner } from "./threads.ts";
import { ext4, volumeKinds } from "./volumes.ts";

const PAGE = 4096;
const kinds = volumeKinds.filter(({ mappable }) => mappable);
const untilTold = (told: readonly DeviceFailure[]) =>
  vi.waitFor(() => expect(told).toHaveLength(1), 10_000);

const letters = (text: string): Uint8Array =>
  Buffer.concat([...text].map((letter) => Buffer.alloc(PAGE, letter)));

function shown(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += PAGE) {
    text += bytes[at] === 0 ? "." : String.fromCharCode(bytes[at]!);
  }
  return text;
}

describe.each(kinds)("memory failure on $name", ({ make }) => {
  it("reads up to a poisoned page and answers EIO at it, naming file, place and device bytes", () => {
    using made = make();
    const { volume } = made;
    volume.writeFileSync("/a", letters("abcd"));
    volume.failure.poisonSync({ path: "/a", offset: 2 * PAGE + 5, length: 1 });
    const [bad] = volume.failure.badRanges();
    using file = volume.openSync("/a", "r+");
    expect(bad).toEqual({
      reason: "poisoned",
      deviceOffset: expect.any(Number),
      length: PAGE,
      ino: file.ino,
      offset: 2 * PAGE,
      path: null,
      structure: null,
    });
    const target = new Uint8Array(4 * PAGE);
    expect(file.readSync(target, 0)).toBe(2 * PAGE);
    expect(shown(target)).toBe("ab..");
    const device = `bytes ${bad!.deviceOffset} to ${bad!.deviceOffset + PAGE - 1}`;
    expect(() => file.readSync(target, 2 * PAGE + 1)).toThrow(device);
    expect(() => file.readSync(target, 2 * PAGE + 1)).toThrow(
      expect.objectContaining({ code: "EIO", syscall: "read", path: "/a" }),
    );
    expect(file.readSync(target, 3 * PAGE)).toBe(PAGE);
    expect(() => volume.readFileSync("/a")).toThrow(expect.objectContaining({ code: "EIO" }));
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });

  it("takes a whole page's write as its cure, and refuses a part of it", () => {
    using made = make();
    const { volume } = made;
    volume.writeFileSync("/a", letters("abcd"));
    volume.failure.poisonSync({ path: "/a", offset: PAGE, length: 2 * PAGE });
    using file = volume.openSync("/a", "r+");
    const eio = expect.objectContaining({ code: "EIO", syscall: "write" });
    expect(() => file.writeSync(new Uint8Array(10), PAGE)).toThrow(eio);
    expect(() => file.writeSync(letters("x"), PAGE + 1)).toThrow(eio);
    expect(file.writeSync(letters("xyz").subarray(0, 2 * PAGE + 100), 0)).toBe(2 * PAGE);
    expect(volume.failure.badRanges()).toMatchObject([{ offset: 2 * PAGE, length: PAGE }]);
    expect(file.writeSync(letters("z"), 2 * PAGE)).toBe(PAGE);
    expect(volume.failure.badRanges()).toEqual([]);
    expect(shown(volume.readFileSync("/a"))).toBe("xyzd");
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });

  it("cures the last page by a write to the file's end", () => {
    using made = make();
    const { volume } = made;
    volume.writeFileSync("/a", letters("ab").subarray(0, PAGE + 100));
    volume.failure.poisonSync({ path: "/a", offset: PAGE, length: 1 });
    using file = volume.openSync("/a", "r+");
    expect(file.writeSync(Buffer.alloc(100, "y"), PAGE)).toBe(100);
    expect(volume.failure.badRanges()).toEqual([]);
    file.truncateSync(2 * PAGE);
    const bytes = volume.readFileSync("/a");
    expect(bytes[PAGE + 99]).toBe("y".charCodeAt(0));
    expect(bytes.subarray(PAGE + 100).every((byte) => byte === 0)).toBe(true);
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });

  it("shows a poisoned page in windows as lost, says so, and shows the file again after the cure", () => {
    using made = make();
    const { volume } = made;
    volume.writeFileSync("/a", letters("abcdef"));
    using file = volume.openSync("/a", "r+");
    using window = file.map();
    using reader = file.map({ writable: false });
    expect(shown(window.bytes)).toBe("abcdef");
    expect(shown(reader.bytes)).toBe("abcdef");
    volume.failure.poisonSync({ path: "/a", offset: PAGE, length: 2 * PAGE });
    expect(shown(window.bytes)).toBe("a..def");
    expect(shown(reader.bytes)).toBe("a..def");
    expect(window.lost).toEqual({ offset: PAGE, length: 2 * PAGE, pages: 2, poisoned: true });
    expect(volume.statistics().pagesLost).toBe(4);
    file.writeSync(letters("BC"), PAGE);
    expect(shown(window.bytes)).toBe("aBCdef");
    window.bytes[PAGE] = 33;
    expect(reader.bytes[PAGE]).toBe(33);
    window.close();
    reader.close();
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });

  it("does not lose what nobody touched: fault-around stops before a poisoned page", () => {
    using made = make();
    const { volume } = made;
    volume.writeFileSync("/a", letters("abcdef"));
    volume.failure.poisonSync({ path: "/a", offset: 3 * PAGE, length: 1 });
    using file = volume.openSync("/a", "r+");
    using window = file.map();
    if (volume.statistics().faults === 0 && window.lost !== null) return; // shown whole: lost at once
    expect(window.bytes[0]).toBe("a".charCodeAt(0));
    expect(window.bytes[5 * PAGE]).toBe("f".charCodeAt(0));
    expect(window.lost).toBe(null);
    expect(window.bytes[3 * PAGE]).toBe(0);
    expect(window.lost).toEqual({ offset: 3 * PAGE, length: PAGE, pages: 1, poisoned: true });
  });

  it("refuses pins of a poisoned page and flags those that exist", async () => {
    using made = make();
    const { volume } = made;
    volume.writeFileSync("/a", letters("abcd"));
    using file = volume.openSync("/a", "r+");
    const pin = file.pinSync(100, 3 * PAGE, { write: true });
    expect(pin.poisoned).toEqual([]);
    volume.failure.poisonSync({ path: "/a", offset: 0, length: 1 });
    volume.failure.poisonSync({ path: "/a", offset: 3 * PAGE, length: 1 });
    expect(pin.poisoned).toEqual([
      { offset: 100, length: PAGE - 100 },
      { offset: 3 * PAGE, length: 100 },
    ]);
    expect(pin.verify()).toBe(true);
    const eio = expect.objectContaining({ code: "EIO", syscall: "pin" });
    expect(() => file.pinSync(0, 2 * PAGE)).toThrow(eio);
    await expect(file.pin(3 * PAGE, 1)).rejects.toThrow(eio);
    file.pinSync(PAGE, 2 * PAGE).release();
    pin.release();
    expect(volume.statistics().pinsHeld).toBe(0);
  });

  it("tells fsync once of pages that cannot be persisted", () => {
    using made = make();
    const { volume } = made;
    using file = volume.openSync("/a", "wx+");
    file.writeSync(letters("abc"), 0);
    volume.failure.poisonSync({ path: "/a", offset: PAGE, length: 1 });
    const eio = expect.objectContaining({ code: "EIO", syscall: "fsync", path: "/a" });
    expect(() => file.syncSync()).toThrow(eio);
    file.syncSync();
    file.writeSync(letters("c"), 2 * PAGE);
    file.syncSync();
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });

  it("punches a poisoned page out; its block is healthy when it is zeroed for its next owner", () => {
    using made = make();
    const { volume } = made;
    volume.writeFileSync("/a", letters("abcd"));
    volume.failure.poisonSync({ path: "/a", offset: PAGE, length: 1 });
    const { deviceOffset } = volume.failure.badRanges()[0]!;
    using file = volume.openSync("/a", "r+");
    file.fallocateSync("punch-hole", PAGE, PAGE);
    expect(shown(volume.readFileSync("/a"))).toBe("a.cd");
    expect(volume.failure.badRanges()).toMatchObject([
      { reason: "poisoned", deviceOffset, length: PAGE, ino: null, offset: null },
    ]);
    volume.syncSync();
    // When nothing can undo the punch, the allocators give the hole its block again. A part of a page is enough: the rest is zeroes.
    expect(file.writeSync(Buffer.alloc(10, "x"), PAGE)).toBe(10);
    expect(volume.failure.badRanges()).toEqual([]);
    expect(shown(volume.readFileSync("/a"))).toBe("axcd");
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });

  it("tells listeners once, with file, place and device bytes, and nobody after the end", async () => {
    using made = make();
    const { volume } = made;
    volume.writeFileSync("/a", letters("abcd"));
    const told: DeviceFailure[] = [];
    const listening = volume.failure.onFailure((failure) => told.push(failure));
    await volume.failure.poison({ path: "/a", offset: PAGE, length: 2 * PAGE });
    await untilTold(told);
    const { ino } = volume.statSync("/a");
    const [range] = volume.failure.badRanges();
    expect(told).toEqual([range]);
    expect(range).toMatchObject({ reason: "poisoned", ino, offset: PAGE, length: 2 * PAGE });
    listening[Symbol.dispose]();
    await volume.failure.poison({ deviceOffset: range!.deviceOffset, length: 1 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(told).toHaveLength(1);
  });

  it("finds the file by a device range, and says when nobody has it", () => {
    using made = make();
    const { volume } = made;
    volume.writeFileSync("/a", letters("ab"));
    using file = volume.openSync("/a", "r+");
    file.pinSync(0, 2 * PAGE).release();
    volume.failure.poisonSync({ path: "/a", offset: PAGE, length: 1 });
    const { deviceOffset } = volume.failure.badRanges()[0]!;
    file.writeSync(letters("b"), PAGE);
    volume.failure.poisonSync({ deviceOffset: deviceOffset + 17, length: 1 });
    expect(volume.failure.badRanges()).toMatchObject([
      { deviceOffset, length: PAGE, ino: file.ino, offset: PAGE, path: "/a", structure: null },
    ]);
    file.truncateSync(0);
    expect(volume.failure.badRanges()).toMatchObject([{ deviceOffset, ino: null }]);
    const outside = () => volume.failure.poisonSync({ deviceOffset: 2 ** 40, length: 1 });
    expect(outside).toThrow(expect.objectContaining({ code: "EFAULT" }));
  });
});

/** Device bytes of a file's page, by the reverse mapping. */
function placeOf(volume: Volume, path: string, offset: number): number {
  const { ino } = volume.statSync(path);
  const owners = volume.blockOwnersSync({ deviceOffset: 0, length: 24 * 2 ** 20 });
  for (const owner of owners) {
    const at = offset - (owner.offset ?? Infinity);
    if (owner.ino === ino && at >= 0 && at < owner.length) return owner.deviceOffset + at;
  }
  throw new Error(`byte ${offset} of ${path} has no block`);
}

async function toldOf(
  volume: Volume,
  target: PoisonTarget,
  count = 1,
): Promise<readonly DeviceFailure[]> {
  const told: DeviceFailure[] = [];
  using _listening = volume.failure.onFailure((failure) => told.push(failure));
  await volume.failure.poison(target);
  await vi.waitFor(() => expect(told).toHaveLength(count), 10_000);
  return told;
}

describe.each(kinds)("memory failure of what nobody has in memory, on $name", ({ make }) => {
  it("names the file and the place, and only that range is lost", async () => {
    using made = make();
    made.volume.writeFileSync("/a", letters("abcd"));
    made.volume.writeFileSync("/b", letters("xyz"));
    const deviceOffset = placeOf(made.volume, "/a", 2 * PAGE);
    made.remount();
    const { volume } = made;
    const told = await toldOf(volume, { deviceOffset: deviceOffset + 5, length: 1 });
    const { ino } = volume.statSync("/a");
    expect(told).toEqual([
      {
        reason: "poisoned",
        deviceOffset,
        length: PAGE,
        ino,
        offset: 2 * PAGE,
        path: null,
        structure: null,
      },
    ]);
    using file = volume.openSync("/a", "r+");
    const target = new Uint8Array(4 * PAGE);
    expect(file.readSync(target, 0)).toBe(2 * PAGE);
    expect(() => file.readSync(target, 2 * PAGE)).toThrow(expect.objectContaining({ code: "EIO" }));
    expect(file.readSync(target, 3 * PAGE)).toBe(PAGE);
    expect(shown(volume.readFileSync("/b"))).toBe("xyz");
    file.writeSync(letters("C"), 2 * PAGE);
    expect(shown(volume.readFileSync("/a"))).toBe("abCd");
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });

  it("tells a thread that has the file open its path, and says so of a window's next touch", async () => {
    using made = make();
    const { volume } = made;
    volume.writeFileSync("/a", letters("abc"));
    const deviceOffset = placeOf(volume, "/a", PAGE);
    using file = volume.openSync("/a", "r+");
    using window = file.map();
    const isShown = volume.statistics().faults === 0 && window.bytes[PAGE] !== 0;
    const told = await toldOf(volume, { deviceOffset, length: PAGE });
    expect(told).toMatchObject([{ ino: file.ino, offset: PAGE, path: "/a" }]);
    expect(isShown && shown(window.bytes) === "abc").toBe(false);
    expect(shown(window.bytes)).toBe("a.c");
    expect(window.lost).toMatchObject({ offset: PAGE, length: PAGE, poisoned: true });
  });

  it("tells first of what is in memory, then of other files, of unwritten blocks and of what is free", async () => {
    using made = make();
    const { volume } = made;
    using file = volume.openSync("/all", "w+");
    file.writeSync(letters("ab"), 0);
    file.fallocateSync("keep-size", 2 * PAGE, PAGE);
    file.pinSync(0, PAGE).release();
    const deviceOffset = placeOf(volume, "/all", 0);
    const owners = volume.blockOwnersSync({ deviceOffset, length: 4 * PAGE });
    expect(owners.map(({ use, offset, length }) => [use, offset, length / PAGE])).toEqual([
      ["data", 0, 2],
      ["unwritten", 2 * PAGE, 1],
    ]);
    const told = await toldOf(volume, { deviceOffset, length: 4 * PAGE }, 4);
    const { ino } = file;
    expect(told).toMatchObject([
      { deviceOffset, length: PAGE, ino, offset: 0 },
      { deviceOffset: deviceOffset + PAGE, length: PAGE, ino, offset: PAGE },
      { ino, offset: null, structure: `unwritten blocks of inode ${ino}`, path: "/all" },
      { deviceOffset: deviceOffset + 3 * PAGE, ino: null, offset: null, structure: null },
    ]);
  });

  it("names a copied file as well, of which what is cached is not lost", async () => {
    using made = make(undefined, { dax: "never" });
    const { volume } = made;
    volume.writeFileSync("/a", letters("abc"));
    const deviceOffset = placeOf(volume, "/a", 0);
    using file = volume.openSync("/a", "r+");
    file.pinSync(0, PAGE).release();
    const told = await toldOf(volume, { deviceOffset, length: 2 * PAGE });
    expect(told).toMatchObject([{ ino: file.ino, offset: 0, length: 2 * PAGE }]);
    const target = new Uint8Array(PAGE);
    expect(file.readSync(target, 0)).toBe(PAGE);
    expect(() => file.readSync(target, PAGE)).toThrow(expect.objectContaining({ code: "EIO" }));
  });
});

describe.skipIf(kinds.length < 2)("memory failure of metadata on ext4", () => {
  it("names the structure, its group or its inode", async () => {
    using made = ext4.make();
    const { volume } = made;
    volume.mkdirSync("/directory");
    volume.symlinkSync("l".repeat(200), "/symlink");
    using file = volume.openSync("/fragmented", "w+");
    for (let at = 0; at < 10; at++) file.writeSync(letters("x"), 2 * at * PAGE);
    const owners = volume.blockOwnersSync({ deviceOffset: 0, length: 24 * 2 ** 20 });
    const directory = volume.statSync("/directory").ino;
    const symlink = volume.lstatSync("/symlink").ino;
    const structures = [
      ["superblock of group 0", null],
      ["group descriptors of group 0", null],
      ["block bitmap of group 0", null],
      ["inode bitmap of group 0", null],
      ["inode table of group 0", null],
      ["journal of inode 8", 8],
      [`directory of inode ${directory}`, directory],
      [`symlink of inode ${symlink}`, symlink],
      [`block map of inode ${file.ino}`, file.ino],
    ] as const;
    const told: DeviceFailure[] = [];
    using _listening = volume.failure.onFailure((failure) => told.push(failure));
    for (const [structure, ino] of structures) {
      const owner = owners.find((each) => each.structure === structure)!;
      const { deviceOffset } = owner;
      await volume.failure.poison({ deviceOffset, length: PAGE });
      const expected = expect.objectContaining({ deviceOffset, structure, ino, offset: null });
      await vi.waitFor(() => expect(told).toContainEqual(expected), 10_000);
    }
    expect(shown(volume.readFileSync("/fragmented").subarray(0, 3 * PAGE))).toBe("x.x");
  });
});

describe("memory failure in several threads", () => {
  it("reaches the listeners and windows of every thread", async () => {
    const volume = mountRamSync({ size: 16 << 20 });
    volume.writeFileSync("/a", letters("abcd"));
    const { ino } = volume.statSync("/a");
    const told: DeviceFailure[] = [];
    using _here = volume.failure.onFailure((failure) => told.push(failure));
    {
      await using runner = await startRunner(volume.share());
      await runner.run((attached, kept) => {
        kept["file"] = attached.openSync("/a", "r+");
        kept["window"] = kept["file"].map();
        kept["told"] = [];
        attached.failure.onFailure((failure) => kept["told"].push(failure));
        return kept["window"].bytes[4096];
      });
      using file = volume.openSync("/a", "r+");
      using window = file.map();
      expect(shown(window.bytes)).toBe("abcd");
      const found = await runner.run((attached, kept) => {
        attached.failure.poisonSync({ path: "/a", offset: 4096, length: 1 });
        return [kept["window"].bytes[4096], kept["window"].bytes[0]];
      });
      expect(found).toEqual([0, "a".charCodeAt(0)]);
      expect(shown(window.bytes)).toBe("a.cd");
      await untilTold(told);
      await vi.waitFor(async () => {
        expect(await runner.run((_attached, kept) => kept["told"])).toEqual(told);
      }, 10_000);
      expect(told).toMatchObject([{ ino, offset: PAGE, length: PAGE }]);
      await runner.run((attached, kept) => {
        kept["window"].close();
        kept["file"].closeSync();
        attached.closeSync();
      });
    }
    await volume.close();
  });

  it("does not keep a process alive that listens", () => {
    const program = `
      import { mountRamSync } from "holdfast";
      const volume = mountRamSync({ size: 16 << 20 });
      volume.failure.onFailure((failure) => console.log(failure.length));
      volume.writeFileSync("/a", "text");
      await volume.failure.poison({ path: "/a", offset: 0, length: 1 });
      await new Promise((resolve) => setTimeout(resolve, 500));
      console.log("end");`;
    const node = ["--input-type=module", "-e", program];
    const { status, stdout } = spawnSync(process.execPath, node, {
      encoding: "utf8",
      timeout: 20_000,
    });
    expect({ status, stdout }).toEqual({ status: 0, stdout: "4096\nend\n" });
  });
});

describe("memory failure", () => {
  it("widens the nearest range when the list is full: too much is bad, never too little", () => {
    const volume = mountRamSync({ size: 16 << 20 });
    volume.writeFileSync("/a", new Uint8Array(1000 * PAGE));
    for (let page = 0; page < 300; page += 2) {
      volume.failure.poisonSync({ path: "/a", offset: page * PAGE, length: 1 });
    }
    const bad = new Set<number>();
    for (const { offset, length } of volume.failure.badRanges()) {
      for (let at = 0; at < length; at += PAGE) bad.add((offset! + at) / PAGE);
    }
    for (let page = 0; page < 300; page += 2) expect(bad.has(page)).toBe(true);
    expect(bad.size).toBeGreaterThan(150);
    expect(bad.has(500)).toBe(false);
    using file = volume.openSync("/a", "r+");
    for (let page = 0; page < 1000; page += 3) file.writeSync(letters("x"), page * PAGE);
    for (const { offset } of volume.failure.badRanges()) expect((offset! / PAGE) % 3).not.toBe(0);
    file.writeSync(new Uint8Array(1000 * PAGE), 0);
    expect(volume.failure.badRanges()).toEqual([]);
    file.closeSync();
    volume.closeSync();
  });

  it("is refused where blocks are smaller than pages", () => {
    const small = volumeKinds.find(({ mappable }) => !mappable);
    if (small === undefined) return;
    using made = small.make();
    const refused = () => made.volume.failure.poisonSync({ deviceOffset: 0, length: 1 });
    expect(refused).toThrow(expect.objectContaining({ code: "EOPNOTSUPP" }));
  });
});
