// Discarding free blocks: with `trim`, and as they become free. The images are full of bytes that are not zeroes at
// first, so that what was discarded shows, and what must not be is seen to stay.

import * as fs from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dataRuns } from "../../src/device/index.ts";
import { type MountOptions, mountSync, type Volume } from "../../src/index.ts";
import { e2fsckClean, loopMount, runOk, skipUnless, temporaryDirectory } from "../support/tools.ts";
import { startChurn, startRunner } from "./threads.ts";

const PAGE = 4096;
const MIB = 2 ** 20;
const IMAGE_BYTES = 48 * MIB;
const GARBAGE = 0xa5;
const REGION = { regionBytes: 2 ** 28 } as const;

const needs = ["mkfs.ext4", "e2fsck", "dumpe2fs"] as const;

/** A volume on an image without a hole. */
function makeImage(path: string, args: readonly string[], bytes = IMAGE_BYTES): void {
  fs.writeFileSync(path, Buffer.alloc(bytes, GARBAGE));
  runOk("mkfs.ext4", ["-q", "-F", "-E", "nodiscard", ...args, path]);
  // It makes holes of what it wants to be zeroes.
  fs.writeFileSync(path, fs.readFileSync(path));
}

/** Files of which every second one is removed again, and what the others hold. */
function fill(volume: Volume, files = 24): Map<string, Buffer> {
  const contents = new Map<string, Buffer>();
  volume.mkdirSync("/d");
  for (let file = 0; file < files; file++) {
    const bytes = Buffer.alloc(1000 + ((file * 76_543) % 900_000), file + 1);
    volume.writeFileSync(`/d/${file}`, bytes);
    contents.set(`/d/${file}`, bytes);
  }
  for (let file = 0; file < files; file += 2) {
    volume.unlinkSync(`/d/${file}`);
    contents.delete(`/d/${file}`);
  }
  return contents;
}

function wrongFiles(volume: Volume, contents: Map<string, Buffer>): string[] {
  return [...contents]
    .filter(([path, bytes]) => !bytes.equals(volume.readFileSync(path)))
    .map(([path]) => path);
}

/** The bytes that an unmounted volume's bitmaps call free, from its first byte on. */
function freeRuns(image: string): { start: number; end: number }[] {
  const text = runOk("dumpe2fs", [image]);
  const blockSize = Number(/^Block size: *(\d+)/m.exec(text)![1]);
  const runs: { start: number; end: number }[] = [];
  for (const [, list] of text.matchAll(/^ {2}Free blocks: *(.*)$/gm)) {
    for (const run of list!.split(", ").filter((each) => each !== "")) {
      const [first, last = first] = run.split("-").map(Number) as [number, number?];
      runs.push({ start: first * blockSize, end: (last + 1) * blockSize });
    }
  }
  return runs;
}

/** Pages that are holes of the image. */
function holePages(image: string): Set<number> {
  const fd = fs.openSync(image, "r");
  try {
    const pages = new Set<number>();
    for (let page = 0; page < fs.fstatSync(fd).size / PAGE; page++) pages.add(page);
    for (const { start, length } of dataRuns(fd, fs.fstatSync(fd).size)) {
      for (let page = Math.floor(start / PAGE); page * PAGE < start + length; page++)
        pages.delete(page);
    }
    return pages;
  } finally {
    fs.closeSync(fd);
  }
}

interface Limits {
  readonly start?: number;
  readonly length?: number;
  readonly minimum?: number;
}

/** Whole pages of the free runs, each cut at the limits; of those runs that are long enough. */
function pagesToTrim(
  image: string,
  { start = 0, length = Infinity, minimum = 0 }: Limits,
): Set<number> {
  const pages = new Set<number>();
  for (const run of freeRuns(image)) {
    const from = Math.max(run.start, start);
    const to = Math.min(run.end, start + length);
    if (to - from < minimum) continue;
    for (let page = Math.ceil(from / PAGE); (page + 1) * PAGE <= to; page++) pages.add(page);
  }
  return pages;
}

/** What is in one of the two only. */
function difference(a: Set<number>, b: Set<number>): string[] {
  const only = (set: Set<number>, other: Set<number>, sign: string): string[] =>
    [...set].filter((page) => !other.has(page)).map((page) => `${sign}${page}`);
  return [...only(a, b, "+"), ...only(b, a, "-")];
}

const kib = (path: string): number => fs.statSync(path).blocks / 2;

const KINDS = [
  { name: "ext4", args: ["-b", "4096"] },
  { name: "ext4 of 1 KiB blocks", args: ["-b", "1024"] },
  { name: "ext4 of small groups", args: ["-b", "4096", "-g", "1024"] },
  { name: "ext3", args: ["-t", "ext3", "-b", "2048"] },
  { name: "ext2", args: ["-t", "ext2", "-b", "4096"] },
];

describe.each(KINDS)("trim of $name", ({ args }) => {
  skipUnless(...needs)("makes holes of all that is free, and of nothing else", () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    makeImage(image, args);
    let contents: Map<string, Buffer>;
    let trimmed: number;
    {
      using volume = mountSync(image, REGION);
      contents = fill(volume);
      const before = kib(image);
      trimmed = volume.trimSync();
      expect(before - kib(image)).toBeGreaterThanOrEqual(trimmed / 1024);
      expect(wrongFiles(volume, contents)).toEqual([]);
    }
    const holes = holePages(image);
    const free = pagesToTrim(image, {});
    expect(trimmed).toBe(free.size * PAGE);
    expect(difference(holes, free)).toEqual([]);
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
    using volume = mountSync(image, REGION);
    expect(wrongFiles(volume, contents)).toEqual([]);
    // What was discarded is given out again.
    for (let file = 0; file < 8; file++) volume.writeFileSync(`/n${file}`, Buffer.alloc(MIB, file));
    expect(wrongFiles(volume, contents)).toEqual([]);
  });

  skipUnless(...needs)("goes as far as the volume has grown to meanwhile", () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    makeImage(image, args);
    const grown = 3 * IMAGE_BYTES;
    let contents: Map<string, Buffer>;
    let trimmed: number;
    {
      const hasJournal = !args.includes("ext2");
      using volume = mountSync(image, { ...REGION, growTo: grown, discard: hasJournal });
      volume.trimSync();
      volume.growSync(grown);
      volume.writeFileSync("/long", Buffer.alloc(IMAGE_BYTES + 20 * MIB, 7)); // into what it has grown by
      contents = fill(volume);
      volume.unlinkSync("/long");
      trimmed = volume.trimSync();
      expect(wrongFiles(volume, contents)).toEqual([]);
    }
    const free = pagesToTrim(image, {});
    expect(trimmed).toBe(free.size * PAGE);
    // Inode tables that nobody has used are holes as well.
    const holes = holePages(image);
    expect([...free].filter((page) => !holes.has(page))).toEqual([]);
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
  });

  skipUnless(...needs)("keeps to a part of the volume, and to runs that are long enough", () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    makeImage(image, args);
    const contents = (() => {
      using volume = mountSync(image, REGION);
      return fill(volume);
    })();
    const limits = fc.record({
      start: fc.integer({ min: 0, max: IMAGE_BYTES - 1 }),
      length: fc.integer({ min: PAGE, max: IMAGE_BYTES }),
      minimum: fc.constantFrom(0, PAGE, 64 * 1024, MIB, 6 * MIB),
    });
    const copy = directory.file("copy");
    const blockSize = Number(/^Block size: *(\d+)/m.exec(runOk("dumpe2fs", ["-h", image]))![1]);
    fc.assert(
      fc.property(limits, ({ start, length, minimum }) => {
        fs.copyFileSync(image, copy);
        // The limits are those of whole blocks.
        const first = Math.ceil(start / blockSize) * blockSize;
        const end = Math.floor((start + length) / blockSize) * blockSize;
        const wanted = pagesToTrim(copy, { start: first, length: end - first, minimum });
        {
          using volume = mountSync(copy, REGION);
          expect(volume.trimSync({ start, length, minimum })).toBe(wanted.size * PAGE);
          expect(wrongFiles(volume, contents)).toEqual([]);
        }
        expect(difference(holePages(copy), wanted)).toEqual([]);
      }),
      { numRuns: 8 },
    );
  });
});

test("trim tells how far it is, and a signal ends it", async () => {
  using directory = temporaryDirectory();
  const image = directory.file("image");
  makeImage(image, ["-b", "4096", "-g", "1024"]);
  await using volume = mountSync(image, REGION);
  const told: number[] = [];
  const trimmed = await volume.trim({
    onProgress: ({ done, total, discarded }) => {
      expect(total).toBe(IMAGE_BYTES);
      expect(discarded).toBeLessThanOrEqual(done);
      told.push(done);
    },
  });
  expect(trimmed).toBeGreaterThan(30 * MIB);
  expect(told).toEqual(told.toSorted((a, b) => a - b));
  expect(told.at(-1)).toBe(IMAGE_BYTES);
  expect(told.length).toBeGreaterThan(1);
  const stop = new AbortController();
  const ended = volume.trim({ signal: stop.signal, onProgress: () => stop.abort() });
  await expect(ended).rejects.toMatchObject({ code: "ABORT_ERR" });
});

test("trim refuses wrong options, and what is read-only", () => {
  using directory = temporaryDirectory();
  const image = directory.file("image");
  makeImage(image, ["-b", "4096"]);
  {
    using volume = mountSync(image, REGION);
    const refused = (options: object) => expect(() => volume.trimSync(options));
    refused({ start: -1 }).toThrow(/options.start/);
    refused({ length: "all" }).toThrow(/options.length/);
    refused({ minimum: 0.5 }).toThrow(/options.minimum/);
    refused({ onProgress: 1 }).toThrow(/options.onProgress/);
    refused({ start: IMAGE_BYTES }).toThrow("EINVAL");
    refused({ length: 4095 }).toThrow("EINVAL");
  }
  using volume = mountSync(image, { ...REGION, readOnly: true });
  expect(() => volume.trimSync()).toThrow("EROFS");
  expect(() => mountSync(image, { discard: 1 as unknown as boolean })).toThrow(/options.discard/);
});

describe("a device that does not discard", () => {
  const refusesNaming = (path: string): void => {
    const refusal = expect.objectContaining({
      code: "EOPNOTSUPP",
      message: expect.stringContaining(`'${path}'`),
    });
    const caught = (run: () => unknown): unknown => {
      try {
        return run();
      } catch (error) {
        return error;
      }
    };
    {
      using volume = mountSync(path, REGION);
      volume.writeFileSync("/file", "kept");
      expect(caught(() => volume.trimSync())).toEqual(refusal);
    }
    expect(caught(() => mountSync(path, { ...REGION, discard: true }))).toEqual(refusal);
    using volume = mountSync(path, REGION);
    expect(volume.readFileSync("/file", "utf8")).toBe("kept");
  };

  skipUnless(
    "root",
    "mount",
    "loop mounts",
    ...needs,
  )("is named: the host's filesystem, a block device", () => {
    using host = temporaryDirectory();
    runOk("mount", ["-t", "ramfs", "ramfs", host.path]);
    try {
      const image = host.file("image");
      makeImage(image, ["-b", "4096"], 16 * MIB);
      refusesNaming(image);
      const loop = runOk("losetup", ["--find", "--show", image]).trim();
      try {
        refusesNaming(loop);
      } finally {
        runOk("losetup", ["--detach", loop]);
      }
    } finally {
      runOk("umount", [host.path]);
    }
  });

  skipUnless(...needs)(
    "a volume without a journal is trimmed when that is asked for, not as it frees",
    () => {
      using directory = temporaryDirectory();
      const image = directory.file("image");
      makeImage(image, ["-t", "ext2", "-b", "4096"]);
      expect(() => mountSync(image, { ...REGION, discard: true })).toThrow(
        /EOPNOTSUPP.*journal.*trim\(\)/,
      );
      using volume = mountSync(image, REGION);
      expect(volume.trimSync()).toBeGreaterThan(30 * MIB);
    },
  );
});

describe("beside the kernel", () => {
  // The kernel takes the last run of a group beyond the range's end, so this one ends with a group.
  const limited: Limits[] = [
    {},
    { start: 5 * MIB + 12_288, length: 19 * MIB - 12_288 },
    { minimum: 256 * 1024 },
  ];

  skipUnless("root", "loop mounts", "fstrim", ...needs).each(limited)(
    "the same is discarded as by fstrim on an equal image: %j",
    (limits) => {
      using directory = temporaryDirectory();
      using place = temporaryDirectory();
      const [ours, kernels] = [directory.file("ours"), directory.file("kernels")];
      makeImage(ours, ["-b", "4096", "-g", "2048"]);
      {
        using volume = mountSync(ours, REGION);
        fill(volume);
      }
      fs.copyFileSync(ours, kernels);
      const { start = 0, length, minimum = 0 } = limits;
      let byKernel: number;
      {
        using _mounted = loopMount(kernels, place.path);
        const part = length === undefined ? [] : ["-l", String(length)];
        const said = runOk("fstrim", [
          "-v",
          "-o",
          String(start),
          ...part,
          "-m",
          String(minimum),
          place.path,
        ]);
        byKernel = Number(/\((\d+) bytes\)/.exec(said)![1]);
      }
      {
        using volume = mountSync(ours, REGION);
        expect(volume.trimSync(limits)).toBe(byKernel);
      }
      expect(freeRuns(ours)).toEqual(freeRuns(kernels));
      expect(difference(holePages(ours), holePages(kernels))).toEqual([]);
      for (const image of [ours, kernels])
        expect(e2fsckClean(image)).toMatchObject({ clean: true });
    },
  );

  skipUnless(
    "root",
    "loop mounts",
    ...needs,
  )("a block device is told: the image below a loop device has holes", () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    makeImage(image, ["-b", "4096"]);
    const loop = runOk("losetup", ["--find", "--show", image]).trim();
    let contents: Map<string, Buffer>;
    try {
      using volume = mountSync(loop, { ...REGION, discard: true });
      contents = fill(volume);
      volume.syncSync();
      const freed = kib(image);
      volume.trimSync();
      expect(freed - kib(image)).toBeGreaterThan(20 << 10);
      expect(wrongFiles(volume, contents)).toEqual([]);
    } finally {
      runOk("losetup", ["--detach", loop]);
    }
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
    using volume = mountSync(image, REGION);
    expect(wrongFiles(volume, contents)).toEqual([]);
  });
});

describe("mounted with discard", () => {
  const options: MountOptions = { ...REGION, discard: true, commitSeconds: 0 };

  skipUnless(...needs).each([{ args: ["-b", "4096"] }, { args: ["-b", "1024"] }])(
    "$args: blocks are discarded when the transaction that freed them is durable, not before",
    ({ args }) => {
      using directory = temporaryDirectory();
      const image = directory.file("image");
      makeImage(image, args);
      const bytes = Buffer.alloc(8 * MIB, 7);
      {
        using volume = mountSync(image, options);
        volume.writeFileSync("/gone", bytes);
        volume.writeFileSync("/kept", bytes);
        volume.syncSync();
        const full = kib(image);
        volume.unlinkSync("/gone");
        expect(kib(image)).toBe(full);

        // A crash now gives the file back, with all it holds.
        const crashed = directory.file("crashed");
        fs.copyFileSync(image, crashed);
        {
          using recovered = mountSync(crashed, REGION);
          expect(bytes.equals(recovered.readFileSync("/gone"))).toBe(true);
        }
        volume.syncSync();
        expect(full - kib(image)).toBeGreaterThan(8 * 1024 - 64);
        fs.copyFileSync(image, crashed);
        {
          using recovered = mountSync(crashed, REGION);
          expect(recovered.existsSync("/gone")).toBe(false);
          expect(bytes.equals(recovered.readFileSync("/kept"))).toBe(true);
        }
        volume.unlinkSync("/kept");
      }
      expect(holePages(image).size).toBeGreaterThan((16 * MIB) / PAGE - 32);
      expect(e2fsckClean(image)).toMatchObject({ clean: true });
    },
  );

  skipUnless(...needs)("blocks that have an owner again by then are left alone", () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    makeImage(image, ["-b", "4096"], 24 * MIB);
    using volume = mountSync(image, options);
    const most = Math.floor(volume.statfsSync().bavail * 0.9) * PAGE;
    for (let turn = 1; turn <= 6; turn++) {
      // There is no room for two: the second one commits what has freed the first, and gets its blocks.
      volume.writeFileSync("/file", Buffer.alloc(most, turn));
      volume.unlinkSync("/file");
      volume.writeFileSync("/next", Buffer.alloc(most, 100 + turn));
      volume.syncSync();
      expect(volume.readFileSync("/next").every((byte) => byte === 100 + turn)).toBe(true);
      volume.unlinkSync("/next");
    }
  });

  skipUnless(...needs)("it is done in time, where nobody asks", async () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    makeImage(image, ["-b", "4096"]);
    await using volume = mountSync(image, { ...options, commitSeconds: 1 });
    volume.writeFileSync("/file", Buffer.alloc(8 * MIB, 1));
    volume.syncSync();
    const full = kib(image);
    volume.unlinkSync("/file");
    await expect.poll(() => full - kib(image), { timeout: 10_000 }).toBeGreaterThan(8 * 1000);
  });
});

/** Files of one thread, of known bytes: written, read, mapped, pinned, removed, again and again. */
function work(volume: Volume, _kept: object, name: string, turns: number): string[] {
  const wrong: string[] = [];
  const held = new Map<string, { size: number; byte: number }>();
  const look = (path: string): void => {
    const { size, byte } = held.get(path)!;
    const bytes = volume.readFileSync(path);
    const bad = bytes.findIndex((each) => each !== byte);
    if (bytes.length !== size || bad >= 0)
      wrong.push(`${path}: ${bytes[bad]} at ${bad} of ${size}`);
  };
  for (let turn = 0; turn < turns; turn++) {
    const path = `/${name}${turn % 7}`;
    if (held.has(path)) {
      look(path);
      volume.unlinkSync(path);
      held.delete(path);
    }
    const size = 1 + ((turn * 48_611) % 700_000);
    const byte = 1 + (turn % 250);
    const file = volume.openSync(path, "w+");
    if (turn % 3 === 0) file.writeSync(new Uint8Array(size).fill(byte), 0);
    else {
      file.truncateSync(size);
      if (turn % 3 === 1) {
        const view = file.map();
        view.bytes.fill(byte, 0, size);
        view.close();
      } else {
        const pin = file.pinSync(0, size, { write: true });
        for (const buffer of pin.buffers) buffer.fill(byte);
        pin.release();
      }
    }
    if (turn % 5 === 0) file.syncSync();
    file.closeSync();
    held.set(path, { size, byte });
    if (turn % 4 === 0) look(path);
  }
  for (const path of held.keys()) look(path);
  return wrong;
}

describe.each([
  { name: "ext4", args: ["-b", "4096"], discard: false },
  { name: "ext4 of 1 KiB blocks, discard", args: ["-b", "1024"], discard: true },
  { name: "ext4, discard", args: ["-b", "4096"], discard: true },
])("threads of $name", ({ args, discard }) => {
  skipUnless(...needs)(
    "they find what they have written, however often a thread trims meanwhile",
    { timeout: 240_000 },
    async () => {
      using directory = temporaryDirectory();
      const image = directory.file("image");
      makeImage(image, args, 32 * MIB);
      const volume = mountSync(image, { ...REGION, discard });
      {
        await using a = await startRunner(volume.share());
        await using b = await startRunner(volume.share());
        let isOver = false;
        const working = Promise.all([a.run(work, "a", 120), b.run(work, "b", 120)]).finally(() => {
          isOver = true;
        });
        let trims = 0;
        for (; !isOver; trims++) {
          if (discard && trims % 2 === 0) await volume.sync();
          else await volume.trim();
        }
        expect(await working).toEqual([[], []]);
        expect(trims).toBeGreaterThan(2);
        for (const each of [a, b]) await each.run((inner) => inner.close());
      }
      volume.closeSync();
      expect(e2fsckClean(image)).toMatchObject({ clean: true });
    },
  );
});

skipUnless(...needs)(
  "a thread that dies in the middle of a trim leaves the volume usable, and whole",
  { timeout: 240_000 },
  async () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    makeImage(image, ["-b", "4096", "-g", "1024"], 32 * MIB);
    const volume = mountSync(image, { ...REGION, discard: true });
    volume.mkdirSync("/churn");
    const churn = startChurn(volume.share(), "survivor", 1);
    for (let round = 0; round < 8; round++) {
      const doomed = await startRunner(volume.share());
      // Once before: what a thread does with the FFI library for the first time is not to be interrupted.
      await doomed.run((inner) => void inner.trimSync());
      const trimming = doomed.run((inner) => {
        for (;;) inner.trimSync();
      });
      trimming.catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 5 + round * 7));
      await doomed.terminate();
      volume.writeFileSync("/after", Buffer.alloc(300_000, round));
      expect(volume.readFileSync("/after").every((byte) => byte === round)).toBe(true);
      expect(volume.trimSync()).toBeGreaterThan(0);
    }
    expect(churn.turns()).toBeGreaterThan(0);
    await churn.worker.terminate();
    volume.closeSync();
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
  },
);
