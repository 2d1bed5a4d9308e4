// What mkfs refuses, and that the target is as it was then.

import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type MkfsOptions, mkfs, mkfsSync, mountSync } from "../../src/index.ts";
import { loopMount, runOk, skipUnless, sparseFile, temporaryDirectory } from "../support/tools.ts";

const MIB = 2 ** 20;
const SIZE = 16 * MIB;
const mounted = skipUnless("root", "loop mounts");

function digestOf(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

function refusal(code: string, message: RegExp): unknown {
  return expect.objectContaining({ code, message: expect.stringMatching(message) });
}

const wishes: [string, MkfsOptions, string, RegExp][] = [
  ["an unknown feature", { features: "64bits" }, "EINVAL", /'64bits' is not a feature/],
  ["a feature that is not made", { features: "bigalloc" }, "EINVAL", /bigalloc.*mke2fs/],
  ["64bit without extent", { features: "^extent" }, "EINVAL", /64bit needs extent/],
  ["two ways to grow", { features: "meta_bg,resize_inode" }, "EINVAL", /resize_inode.*meta_bg/],
  [
    "a seed without checksums",
    { features: "^metadata_csum,metadata_csum_seed" },
    "EINVAL",
    /metadata_csum_seed needs/,
  ],
  [
    "resize_inode without its copies",
    { features: ["^sparse_super"] },
    "EINVAL",
    /resize_inode needs/,
  ],
  ["blocks of 8 KiB", { blockSize: 8192 }, "EINVAL", /1024, 2048 or 4096 bytes, not 8192/],
  ["inodes of 300 bytes", { inodeSize: 300 }, "EINVAL", /power of two.*not 300/],
  ["a label of 17 bytes", { label: "seventeen bytes!!" }, "EINVAL", /16 bytes.*17/],
  ["two numbers of inodes", { inodes: 100, inodeRatio: 8192 }, "EINVAL", /not both/],
  ["an inode for each byte", { inodeRatio: 1 }, "EINVAL", /1024 at least/],
  ["too many inodes", { inodes: 10_000_000 }, "EINVAL", /inodes/],
  ["a journal larger than half", { journalSize: 9 * MIB }, "EINVAL", /half of the volume/],
  ["a journal of 10 blocks", { journalSize: 10_240 }, "EINVAL", /1024 blocks at least/],
  [
    "a journal where there is none",
    { type: "ext2", journalSize: 2 * MIB },
    "EINVAL",
    /has_journal/,
  ],
  ["all reserved", { reservedPercent: 90 }, "EINVAL", /0 to 50, not 90/],
  ["another type", { type: "ext5" as "ext4" }, "ERR_INVALID_ARG_VALUE", /options.type/],
  ["a uuid that is none", { uuid: "123" }, "ERR_INVALID_ARG_VALUE", /options.uuid/],
  ["a size that is none", { size: 1.5 }, "ERR_OUT_OF_RANGE", /options.size/],
  ["a size of nothing to fit", { size: "auto" }, "ERR_INVALID_ARG_VALUE", /options.from/],
  ["more than can be mapped", { size: 2 ** 45 }, "EFBIG", /larger than/],
  ["less than anything fits in", { size: 20_480 }, "EINVAL", /too few/],
];

describe("mkfs refuses", () => {
  test.each(wishes)("%s, and leaves the file as it was", (_, options, code, message) => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    sparseFile(path, SIZE);
    expect(() => mkfsSync(path, options)).toThrow(refusal(code, message) as Error);
    const bytes = readFileSync(path);
    expect(bytes.length).toBe(SIZE);
    expect(bytes.every((byte) => byte === 0)).toBe(true);
    const missing = directory.file("missing");
    expect(() => mkfsSync(missing, { size: SIZE, ...options })).toThrow();
    expect(existsSync(missing)).toBe(false);
  });

  test("to write over a volume, or over what it does not know, unless it is forced", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    mkfsSync(path, { size: SIZE });
    const before = digestOf(path);
    expect(() => mkfsSync(path)).toThrow(
      refusal("EEXIST", /holds an ext2, ext3 or ext4 volume.*force/) as Error,
    );
    expect(digestOf(path)).toBe(before);
    for (const wrong of [
      { size: 2 ** 45 },
      { size: 20_480 },
      { inodes: 80_000 },
      { from: directory.file("none") },
    ]) {
      expect(() => mkfsSync(path, { force: true, ...wrong })).toThrow();
      expect(digestOf(path)).toBe(before);
    }
    const text = directory.file("letter");
    writeFileSync(text, "Dear reader, ".repeat(1000));
    expect(() => mkfsSync(text)).toThrow(refusal("EEXIST", /something unknown/) as Error);
    const packed = directory.file("packed");
    writeFileSync(packed, Buffer.concat([Buffer.of(0x1f, 0x8b), Buffer.alloc(MIB)]));
    expect(() => mkfsSync(packed)).toThrow(refusal("EEXIST", /gzip-compressed data/) as Error);
    expect(mkfsSync(packed, { force: true }).blocks).toBe(1024);
  });

  test("a file that a mount of this process has", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    mkfsSync(path, { size: SIZE });
    using _volume = mountSync(path, { regionBytes: 2 ** 28 });
    expect(() => mkfsSync(path, { force: true })).toThrow(
      refusal("EBUSY", /this process/) as Error,
    );
  });

  mounted("a file behind a loop device, and a device that is mounted", () => {
    using directory = temporaryDirectory();
    using place = temporaryDirectory();
    const path = directory.file("image");
    mkfsSync(path, { size: SIZE });
    using _mount = loopMount(path, place.path);
    expect(() => mkfsSync(path, { force: true })).toThrow(
      refusal("EBUSY", /loop device loop/) as Error,
    );
    const device = runOk("findmnt", ["-no", "SOURCE", place.path]).trim();
    expect(() => mkfsSync(device, { force: true })).toThrow(
      refusal("EBUSY", /in use by the mount at/) as Error,
    );
  });

  test("a path without a file and without a size, a directory, and what is no file", () => {
    using directory = temporaryDirectory();
    expect(() => mkfsSync(directory.file("missing"))).toThrow(
      refusal("ENOENT", /give a size/) as Error,
    );
    expect(() => mkfsSync(directory.path, { size: SIZE })).toThrow(
      refusal("EISDIR", /directory/) as Error,
    );
    expect(() => mkfsSync("/dev/null", { size: SIZE })).toThrow(
      refusal("EINVAL", /neither/) as Error,
    );
  });

  test("to go on when its signal is set, and removes the file that it made", async () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const stop = new AbortController();
    let steps = 0;
    const made = mkfs(path, {
      size: 100 * 2 ** 30,
      signal: stop.signal,
      onProgress({ step, done, total }) {
        expect(step).toBe("formatting");
        expect(done).toBeLessThanOrEqual(total);
        steps++;
        stop.abort();
      },
    });
    await expect(made).rejects.toMatchObject({ name: "AbortError" });
    expect(steps).toBe(1);
    expect(existsSync(path)).toBe(false);
  });
});
