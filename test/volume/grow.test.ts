// Volumes made larger while they are used: what comes of it is what resize2fs makes of the same volume, as
// e2fsck, dumpe2fs and the kernel say it.

import { copyFileSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fsckSync, mountRamSync, mountSync, type Volume } from "../../src/index.ts";
import {
  canLoopMount,
  e2fsckClean,
  loopMount,
  mkfsExt4,
  run,
  runOk,
  skipUnless,
  temporaryDirectory,
} from "../support/tools.ts";
import { startRunner } from "./threads.ts";

const MIB = 2 ** 20;

/** Content that tells which file it is of. */
function contentOf(name: string, length: number): Buffer {
  return Buffer.alloc(length, `${name} `);
}

/** Some files, in directories of their own: these are spread over the groups. */
function addFiles(volume: Volume, label: string, count: number, bytes = 20_000): void {
  for (let index = 0; index < count; index++) {
    volume.mkdirSync(`/${label}${index}`);
    volume.writeFileSync(`/${label}${index}/file`, contentOf(label, bytes + index));
  }
}

function expectFiles(
  label: string,
  count: number,
  read: (path: string) => Uint8Array,
  bytes = 20_000,
): void {
  for (let index = 0; index < count; index++) {
    const found = Buffer.from(read(`/${label}${index}/file`));
    expect(found.equals(contentOf(label, bytes + index)), `${label}${index}`).toBe(true);
  }
}

/** What dumpe2fs says of the whole volume. */
function headOf(image: string): Record<string, string> {
  const lines = runOk("dumpe2fs", ["-h", image]).split("\n");
  return Object.fromEntries(lines.map((line) => line.split(/:\s+/) as [string, string]));
}

/** What dumpe2fs says of where each group lies, read by the superblock or by the copies at a block. */
function placesOf(image: string, copy?: { readonly block: number; readonly blockSize: number }) {
  const options =
    copy === undefined
      ? []
      : ["-o", `superblock=${copy.block}`, "-o", `blocksize=${copy.blockSize}`];
  // By a copy, it takes bitmaps that were never written for used ones, and complains of these.
  const lines = run("dumpe2fs", [...options, image]).stdout.split("\n");
  return lines
    .filter((line) => /^Group |superblock at|bitmap at| table at| descriptor at/.test(line))
    .map((line) => line.replace(/,? csum 0x[0-9a-f]+| \[[A-Z_, ]*\]/g, ""));
}

/** Said of a volume that has grown as of one that resize2fs has made larger. */
const SAME = [
  "Block count",
  "Inode count",
  "Reserved block count",
  "Free blocks",
  "Free inodes",
  "Reserved GDT blocks",
  "Filesystem features",
  "First meta block group",
  "Blocks per group",
  "Inodes per group",
];

/** The image is sound, by e2fsck and by our own check. */
function expectSound(image: string): void {
  const { clean, output } = e2fsckClean(image);
  expect(clean ? "" : output).toBe("");
  expect(fsckSync(image).findings).toEqual([]);
}

interface Shape {
  readonly name: string;
  readonly args: readonly string[];
  readonly from: number;
  readonly to: number;
  /** What resize2fs arrives at otherwise, and why. */
  readonly different?: readonly string[];
}

/** resize2fs moves everything behind the descriptors away to make room, which cannot be done with a volume in use. */
const BY_META_BG = ["Filesystem features", "First meta block group", "Free blocks"];

const SHAPES: readonly Shape[] = [
  { name: "blocks of 4 KiB", args: ["-b", "4096"], from: 64, to: 300 },
  { name: "blocks of 2 KiB", args: ["-b", "2048"], from: 40, to: 200 },
  { name: "blocks of 1 KiB", args: ["-b", "1024"], from: 20, to: 150 },
  { name: "^64bit", args: ["-b", "1024", "-O", "^64bit"], from: 20, to: 400 },
  { name: "^flex_bg", args: ["-b", "1024", "-O", "^flex_bg"], from: 20, to: 150 },
  { name: "flex_bg of 4 groups", args: ["-b", "1024", "-G", "4"], from: 20, to: 150 },
  { name: "flex_bg of 64 groups", args: ["-b", "1024", "-G", "64"], from: 20, to: 700 },
  { name: "meta_bg", args: ["-b", "1024", "-O", "meta_bg,^resize_inode"], from: 20, to: 400 },
  {
    name: "^resize_inode, so meta_bg from there on",
    args: ["-b", "1024", "-O", "^resize_inode"],
    from: 20,
    to: 400,
    different: BY_META_BG,
  },
  {
    name: "fewer blocks reserved than are needed, so meta_bg from there on",
    args: ["-b", "1024", "-E", "resize=200M"],
    from: 20,
    to: 900,
    different: [...BY_META_BG, "Reserved GDT blocks"],
  },
  { name: "no checksums", args: ["-b", "1024", "-O", "^metadata_csum"], from: 20, to: 400 },
  {
    name: "uninit_bg",
    args: ["-b", "1024", "-O", "^metadata_csum,^64bit,uninit_bg"],
    from: 20,
    to: 400,
  },
  { name: "ext3", args: ["-t", "ext3", "-b", "1024"], from: 20, to: 400 },
  { name: "ext2", args: ["-t", "ext2", "-b", "4096"], from: 20, to: 400 },
  { name: "no journal", args: ["-b", "4096", "-O", "^has_journal"], from: 100, to: 900 },
  { name: "sparse_super2", args: ["-b", "1024", "-O", "sparse_super2"], from: 20, to: 400 },
  {
    name: "copies in every group",
    args: ["-b", "1024", "-O", "^sparse_super,^resize_inode,meta_bg"],
    from: 20,
    to: 400,
  },
  {
    name: "a seed for checksums, an orphan file, fast commits",
    args: ["-b", "1024", "-O", "metadata_csum,metadata_csum_seed,orphan_file,fast_commit"],
    from: 20,
    to: 150,
  },
  { name: "quotas", args: ["-b", "1024", "-O", "quota"], from: 20, to: 100 },
];

describe.each(SHAPES)("a volume made with $name", ({ args, from, to, different = [] }) => {
  skipUnless(
    "mkfs.ext4",
    "e2fsck",
    "dumpe2fs",
    "resize2fs",
  )("grows to what resize2fs makes of it", { timeout: 120_000 }, () => {
    using directory = temporaryDirectory();
    const [image, other] = [directory.file("image"), directory.file("other")];
    mkfsExt4(image, from * MIB, args);
    let volume = mountSync(image, { growTo: to * MIB });
    addFiles(volume, "before", 5);
    volume.closeSync();
    copyFileSync(image, other);
    volume = mountSync(image, { growTo: to * MIB });
    const size = volume.growSync(to * MIB);
    expect(volume.growSync(to * MIB)).toBe(size);
    expect(volume.statfsSync().blocks).toBeGreaterThan(
      (to - from) * 0.8 * (MIB / volume.statfsSync().bsize),
    );
    volume.closeSync();
    const own = headOf(image);
    const blockSize = Number(own["Block size"]);
    expect(Number(own["Block count"]) * blockSize).toBe(size);
    expectSound(image);
    const block = Number(own["Blocks per group"]) + Number(own["First block"]);
    expect(placesOf(image, { block, blockSize })).toEqual(placesOf(image));
    truncateSync(other, to * MIB);
    runOk("resize2fs", ["-f", other]);
    const theirs = headOf(other);
    const said = SAME.filter((name) => !different.includes(name));
    const pick = (head: Record<string, string>) =>
      Object.fromEntries(said.map((name) => [name, head[name]]));
    expect(pick(own)).toEqual(pick(theirs));
    volume = mountSync(image);
    expectFiles("before", 5, (path) => volume.readFileSync(path));
    addFiles(volume, "after", 60);
    volume.closeSync();
    expectSound(image);
    // The kernel may be without quotas.
    if (!canLoopMount() || args.includes("quota")) return;
    using place = temporaryDirectory();
    {
      using _mount = loopMount(image, place.path);
      const read = (path: string) => readFileSync(place.path + path);
      expectFiles("before", 5, read);
      expectFiles("after", 60, read);
      writeFileSync(`${place.path}/kernel`, contentOf("kernel", 10 * MIB));
    }
    expectSound(image);
  });
});

const grown = skipUnless("mkfs.ext4", "e2fsck");

grown("any sizes one after another leave a sound volume", { timeout: 300_000 }, () => {
  const features = fc.constantFrom(
    "64bit",
    "^64bit",
    "^flex_bg",
    "^resize_inode",
    "meta_bg,^resize_inode",
    "^metadata_csum",
    "sparse_super2",
    "^has_journal",
  );
  const blockSizes = fc.constantFrom(1024, 2048, 4096);
  const sizes = fc.array(fc.integer({ min: 1, max: 24_000 }), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(features, blockSizes, sizes, fc.boolean(), (feature, blockSize, more, remounts) => {
      using directory = temporaryDirectory();
      const image = directory.file("image");
      // Small groups: there are many, and the last one is of any size.
      const args = ["-b", String(blockSize), "-g", "1024", "-N", "128", "-O", feature];
      mkfsExt4(image, 8000 * blockSize, [...args, "-J", `size=${(blockSize / 1024) * 2}`]);
      const growTo = 200_000 * blockSize;
      let volume = mountSync(image, { growTo, regionBytes: 2 ** 26 });
      let blocks = 8000;
      for (const [turn, add] of more.entries()) {
        const reached = volume.growSync((blocks + add) * blockSize);
        expect(reached).toBeLessThanOrEqual((blocks + add) * blockSize);
        expect(reached).toBeGreaterThan((blocks + add - 1024) * blockSize);
        blocks = Math.max(blocks, reached / blockSize);
        addFiles(volume, `turn${turn}-`, 8, 5000);
        if (!remounts) continue;
        volume.closeSync();
        expectSound(image);
        volume = mountSync(image, { growTo, regionBytes: 2 ** 26 });
      }
      for (const turn of more.keys()) {
        expectFiles(`turn${turn}-`, 8, (path) => volume.readFileSync(path), 5000);
      }
      volume.closeSync();
      expectSound(image);
    }),
    { numRuns: 25 },
  );
});

grown(
  "threads that write meanwhile see the new size, and use it",
  { timeout: 120_000 },
  async () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 24 * MIB, ["-b", "4096", "-g", "2048"]);
    const volume = mountSync(image, { growTo: 600 * MIB });
    const names = ["a", "b", "c"];
    const workers = await Promise.all(names.map(() => startRunner(volume.share())));
    const writing = workers.map((worker, index) =>
      worker.run(async (inner, _kept, name) => {
        let [files, refused] = [0, 0];
        inner.mkdirSync(`/${name}`);
        // What there is at first takes a fraction of this.
        while (files < 120) {
          try {
            inner.writeFileSync(`/${name}/${files}`, Buffer.alloc(1_000_000, `${name}${files} `));
            files++;
          } catch (error) {
            if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
            refused++;
          }
          await new Promise((resolve) => setImmediate(resolve));
        }
        return { files, refused, blocks: inner.statfsSync().blocks };
      }, names[index]!),
    );
    const sizes: number[] = [];
    for (let size = 50; size <= 600; size += 50) {
      await volume.grow(size * MIB, { onProgress: ({ size: now }) => sizes.push(now) });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const ended = await Promise.all(writing);
    expect(sizes).toEqual(sizes.toSorted((one, other) => one - other));
    expect(sizes.at(-1)).toBe(600 * MIB);
    const { blocks } = volume.statfsSync();
    for (const { files, blocks: seen } of ended) expect([files, seen]).toEqual([120, blocks]);
    for (const name of names) {
      for (let index = 0; index < 120; index++) {
        const found = Buffer.from(volume.readFileSync(`/${name}/${index}`));
        expect(found.equals(Buffer.alloc(1_000_000, `${name}${index} `))).toBe(true);
      }
    }
    for (const worker of workers) await worker.run((inner) => inner.close());
    for (const worker of workers) await worker.terminate();
    volume.closeSync();
    expectSound(image);
  },
);

grown("a thread that attaches after it, and a mapped file, have the new size", async () => {
  using directory = temporaryDirectory();
  const image = directory.file("image");
  mkfsExt4(image, 16 * MIB, ["-b", "4096"]);
  const volume = mountSync(image, { growTo: 200 * MIB });
  const handle = volume.share();
  using file = volume.openSync("/mapped", "w+");
  expect(() => file.fallocateSync("allocate", 0, 64 * MIB)).toThrow(/no free block/);
  volume.growSync(200 * MIB);
  file.fallocateSync("allocate", 0, 64 * MIB);
  {
    using window = file.map();
    window.bytes.fill(7);
  }
  await using worker = await startRunner(handle);
  const seen = await worker.run((inner) => {
    inner.writeFileSync("/other", Buffer.alloc(32 * 2 ** 20, "x"));
    const mapped = inner.readFileSync("/mapped");
    return { blocks: inner.statfsSync().blocks, sevens: mapped.every((byte) => byte === 7) };
  });
  expect(seen).toEqual({ blocks: volume.statfsSync().blocks, sevens: true });
  await worker.run((inner) => inner.close());
  file.closeSync();
  volume.closeSync();
  expectSound(image);
});

grown("one thread at a time does it; the next one goes on where a dead one was", async () => {
  using directory = temporaryDirectory();
  const image = directory.file("image");
  mkfsExt4(image, 20 * MIB, ["-b", "1024", "-g", "1024", "-J", "size=4"]);
  const volume = mountSync(image, { growTo: 200 * MIB });
  let refused: unknown;
  volume.growSync(40 * MIB, {
    onProgress() {
      try {
        volume.growSync(50 * MIB);
      } catch (error) {
        refused = error;
      }
    },
  });
  expect(refused).toMatchObject({ code: "EBUSY", syscall: "grow", path: image });
  const worker = await startRunner(volume.share());
  const steps = new Int32Array(new SharedArrayBuffer(4));
  const ended = worker
    .run((inner, _kept, counter) => {
      const onProgress = () => {
        Atomics.add(counter, 0, 1);
        Atomics.wait(counter, 0, 1); // for ever
      };
      inner.growSync(150 * 2 ** 20, { onProgress });
    }, steps)
    .catch(() => {});
  while (Atomics.load(steps, 0) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(() => volume.growSync(100 * MIB)).toThrow(/made larger already, by/);
  await worker.terminate();
  await ended;
  expect(volume.growSync(100 * MIB)).toBe(100 * MIB);
  volume.closeSync();
  expectSound(image);
});

// The one who unmounts did not know of it: steps that came after the unmount changed what others had by then.
grown("a volume is not unmounted while a thread makes it larger", async () => {
  using directory = temporaryDirectory();
  const image = directory.file("image");
  mkfsExt4(image, 20 * MIB, ["-b", "1024", "-g", "1024", "-J", "size=4"]);
  const volume = mountSync(image, { growTo: 200 * MIB });
  const worker = await startRunner(volume.share());
  const steps = new Int32Array(new SharedArrayBuffer(8));
  const ended = worker.run(
    (inner, _kept, [counter, end]) => {
      const onProgress = () => {
        Atomics.add(counter, 0, 1);
        Atomics.wait(counter, 1, 0);
      };
      return inner.growSync(end, { onProgress });
    },
    [steps, 100 * MIB] as const,
  );
  while (Atomics.load(steps, 0) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(() => volume.closeSync()).toThrow(expect.objectContaining({ code: "EBUSY" }));
  await expect(volume.close()).rejects.toMatchObject({ code: "EBUSY" });
  Atomics.store(steps, 1, 1);
  Atomics.notify(steps, 1);
  expect(await ended).toBe(100 * MIB);
  await worker.run((inner) => inner.close());
  const growing = volume.grow(200 * MIB);
  expect(() => volume.closeSync()).toThrow(expect.objectContaining({ code: "EBUSY" }));
  expect(await growing).toBe(200 * MIB);
  volume.closeSync();
  expectSound(image);
});

grown("it ends early by a signal: the volume is whole, and of a size on the way", async () => {
  using directory = temporaryDirectory();
  const image = directory.file("image");
  mkfsExt4(image, 20 * MIB, ["-b", "1024", "-g", "1024", "-J", "size=4"]);
  const volume = mountSync(image, { growTo: 200 * MIB });
  const ending = new AbortController();
  let reached = 0;
  const growing = volume.grow(200 * MIB, {
    signal: ending.signal,
    onProgress({ size, target }) {
      expect(target).toBe(200 * MIB);
      reached = size;
      if (size > 60 * MIB) ending.abort();
    },
  });
  await expect(growing).rejects.toMatchObject({ name: "AbortError" });
  volume.closeSync();
  expectSound(image);
  expect(Number(headOf(image)["Block count"]) * 1024).toBe(reached);
  expect(reached).toBeLessThan(100 * MIB);
});

describe("refused", () => {
  grown("what it cannot do is said, and nothing has changed", () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 20 * MIB, ["-b", "1024", "-O", "^64bit"]);
    const volume = mountSync(image, { growTo: 40 * MIB });
    expect(() => volume.growSync(10 * MIB)).toThrow(
      expect.objectContaining({ code: "EINVAL", message: expect.stringContaining("smaller") }),
    );
    expect(() => volume.growSync(41 * MIB)).toThrow(
      expect.objectContaining({ code: "EFBIG", message: expect.stringContaining("growTo") }),
    );
    expect(() => volume.growSync(2 ** 43)).toThrow(
      expect.objectContaining({ code: "EFBIG", message: expect.stringContaining("64bit") }),
    );
    expect(() => volume.growSync(1.5)).toThrow(/must be an integer/);
    expect(() => volume.growSync(1, null as never)).toThrow(/must be an object/);
    volume.closeSync();
    expect(statSync(image).size).toBe(20 * MIB);
    const reading = mountSync(image, { readOnly: true, growTo: 40 * MIB });
    expect(() => reading.growSync(30 * MIB)).toThrow(expect.objectContaining({ code: "EROFS" }));
    reading.closeSync();
    expectSound(image);
  });

  test("a ram volume keeps its size", async () => {
    using volume = mountRamSync({ size: MIB });
    expect(() => volume.growSync(2 * MIB)).toThrow(expect.objectContaining({ code: "EOPNOTSUPP" }));
    await expect(volume.grow()).rejects.toMatchObject({ code: "EOPNOTSUPP" });
  });
});

skipUnless(
  "root",
  "loop mounts",
  "mkfs.ext4",
  "e2fsck",
  "losetup",
)("a volume on a block device that is larger grows to its end", () => {
  using directory = temporaryDirectory();
  const image = directory.file("image");
  mkfsExt4(image, 20 * MIB, ["-b", "4096"]);
  // What the device holds beyond the volume is none of its structures.
  writeFileSync(image, Buffer.alloc(60 * MIB, 0xff), { flag: "a" });
  const device = runOk("losetup", ["-f", "--show", image]).trim();
  try {
    const volume = mountSync(device);
    expect(volume.growSync()).toBe(80 * MIB);
    addFiles(volume, "after", 20);
    volume.closeSync();
  } finally {
    runOk("losetup", ["-d", device]);
  }
  expectSound(image);
});

grown("of a sparse image no more is written than structures", { timeout: 120_000 }, () => {
  using directory = temporaryDirectory();
  const image = directory.file("image");
  mkfsExt4(image, 1024 * MIB, ["-b", "4096"]);
  const before = statSync(image).blocks;
  const volume = mountSync(image, { growTo: 2 ** 40 });
  expect(volume.growSync(2 ** 40)).toBe(2 ** 40);
  addFiles(volume, "after", 20);
  volume.closeSync();
  expect((statSync(image).blocks - before) * 512).toBeLessThan(64 * MIB);
  const { clean, output } = e2fsckClean(image);
  expect(clean ? "" : output).toBe("");
});
