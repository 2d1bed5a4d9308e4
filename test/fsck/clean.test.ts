// Volumes with nothing wrong: as mke2fs makes them with every feature that it knows, and after the kernel and
// the driver have written into them. Our check finds nothing, as e2fsck -fn finds nothing.

import * as fs from "node:fs";
import { describe, expect, test } from "vitest";
import { fsck, fsckSync, mkfsSync, mountSync } from "../../src/index.ts";
import {
  loopMount,
  run,
  runOk,
  skipUnless,
  sparseFile,
  type TemporaryDirectory,
  temporaryDirectory,
} from "../support/tools.ts";
import { referee, shown } from "./referee.ts";

const MIB = 2 ** 20;

const KINDS: readonly (readonly [name: string, args: string])[] = [
  ["ext4", "-t ext4"],
  ["blocks of 1 KiB", "-t ext4 -b 1024"],
  ["blocks of 2 KiB", "-t ext4 -b 2048"],
  ["blocks of 4 KiB", "-t ext4 -b 4096"],
  ["no checksums", "-t ext4 -O ^metadata_csum"],
  ["checksums of groups only", "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg"],
  ["narrow descriptors, no flexible groups", "-t ext4 -O ^64bit,^flex_bg"],
  ["meta groups", "-t ext4 -b 1024 -g 1024 -O meta_bg,^resize_inode"],
  ["two copies of the superblock", "-t ext4 -b 1024 -O sparse_super2,^resize_inode"],
  ["a copy in every group", "-t ext4 -b 1024 -O ^sparse_super,^resize_inode"],
  ["data in inodes", "-t ext4 -O inline_data"],
  ["clusters", "-t ext4 -b 4096 -O bigalloc -C 16384"],
  ["orphan file", "-t ext4 -O orphan_file"],
  ["values in inodes", "-t ext4 -O ea_inode"],
  ["large directories", "-t ext4 -O large_dir"],
  ["names that ignore case", "-t ext4 -O casefold"],
  ["encryption", "-t ext4 -O encrypt"],
  ["quotas of users and groups", "-t ext4 -O quota"],
  [
    "quotas of projects, too",
    "-t ext4 -b 1024 -I 256 -O quota,project -E quotatype=usrquota:grpquota:prjquota",
  ],
  ["multiple mount protection", "-t ext4 -O mmp"],
  ["no journal", "-t ext4 -O ^has_journal"],
  ["a seed for checksums", "-t ext4 -O metadata_csum_seed"],
  ["no indexes of directories", "-t ext4 -O ^dir_index"],
  ["no types in names", "-t ext4 -O ^filetype"],
  ["old inodes", "-t ext4 -I 128"],
  ["large inodes", "-t ext4 -I 1024"],
  ["verity", "-t ext4 -O verity"],
  ["fast commits", "-t ext4 -O fast_commit"],
  ["ext2", "-t ext2"],
  ["ext2 with blocks of 1 KiB", "-t ext2 -b 1024"],
  ["ext3", "-t ext3 -b 4096"],
  ["ext3 with blocks of 1 KiB", "-t ext3 -b 1024"],
];

/** Files of several sorts; `root` is a directory of the system. */
function fill(root: string): void {
  const at = (path: string): string => `${root}/${path}`;
  for (const name of ["many", "deep", "deep/er", "deep/er/still"]) fs.mkdirSync(at(name));
  fs.writeFileSync(at("hub"), "x".repeat(3000));
  for (let index = 0; index < 300; index++) {
    fs.linkSync(at("hub"), at(`many/name-${index}-${"z".repeat(120)}`));
  }
  for (let index = 0; index < 40; index++)
    fs.writeFileSync(at(`deep/${index}`), "y".repeat(index * 7));
  const sparse = fs.openSync(at("sparse"), "w");
  for (const byte of [0, 13 * 1024, 300 * 1024, 5000 * 1024, 70_000 * 1024]) {
    fs.writeSync(sparse, "some bytes", byte);
  }
  fs.closeSync(sparse);
  fs.symlinkSync("short", at("fast"));
  fs.symlinkSync("l".repeat(200), at("slow"));
  for (let index = 0; index < 20; index++) fs.unlinkSync(at(`deep/${index}`));
}

function makeImage(directory: TemporaryDirectory, args: string): string {
  const image = directory.file("image");
  const source = directory.file("source");
  fs.mkdirSync(source);
  fill(source);
  sparseFile(image, 64 * MIB);
  runOk("mke2fs", ["-q", "-F", ...args.split(" "), "-d", source, image], "");
  // It counts quotas before it fills the volume.
  if (args.includes("quota")) run("e2fsck", ["-f", "-y", image], "");
  return image;
}

function expectClean(image: string): void {
  const { ours, theirs, report, said } = referee(image);
  expect(theirs, said).toBe("clean");
  expect(shown(report.findings)).toBe("");
  expect(ours, report.reason ?? "").toBe("clean");
}

describe.each(KINDS)("%s", (_name, args) => {
  skipUnless("mke2fs", "e2fsck")("is clean as mke2fs fills it", () => {
    using directory = temporaryDirectory();
    expectClean(makeImage(directory, args));
  });

  // Of these the kernel mounts some only if it was built for them.
  if (/encrypt|casefold|verity|mmp|quota/.test(args)) return;
  skipUnless(
    "mke2fs",
    "e2fsck",
    "root",
    "loop mounts",
  )("is clean when the kernel has written into it", () => {
    using directory = temporaryDirectory();
    const image = makeImage(directory, args);
    const place = directory.file("mount");
    fs.mkdirSync(place);
    {
      using mounted = loopMount(image, place);
      fs.mkdirSync(`${mounted.directory}/more`);
      fill(`${mounted.directory}/more`);
      fs.rmSync(`${mounted.directory}/deep`, { recursive: true });
      fs.truncateSync(`${mounted.directory}/sparse`, 100_000);
    }
    expectClean(image);
  });
});

describe("a journal that waits to be replayed", () => {
  skipUnless("mke2fs", "e2fsck", "root", "loop mounts").each([
    "-t ext4 -b 1024",
    "-t ext4 -b 4096",
    "-t ext4 -b 4096 -O ^metadata_csum",
    "-t ext4 -b 4096 -O orphan_file",
    "-t ext3 -b 1024",
  ])("is replayed in memory, and the volume is clean then: %s", (args) => {
    using directory = temporaryDirectory();
    const image = makeImage(directory, args);
    const [place, crashed] = [directory.file("mount"), directory.file("crashed")];
    fs.mkdirSync(place);
    {
      using mounted = loopMount(image, place);
      fs.mkdirSync(`${mounted.directory}/more`);
      fill(`${mounted.directory}/more`);
      const open = fs.openSync(`${mounted.directory}/hub`, "r");
      const gone = fs.openSync(`${mounted.directory}/sparse`, "r+");
      fs.unlinkSync(`${mounted.directory}/sparse`);
      fs.fsyncSync(gone);
      // What the log has is there; much of it is not yet where it belongs.
      fs.copyFileSync(image, crashed);
      for (const file of [open, gone]) fs.closeSync(file);
    }
    const before = fs.readFileSync(crashed);
    const report = fsckSync(crashed);
    expect(shown(report.findings)).toBe("");
    expect(report.verdict).toBe("clean");
    expect(report.notices.map(({ code }) => code)).toContain("journal-replayed");
    expect(report.notices.map(({ code }) => code)).toContain("orphans");
    expect(before.equals(fs.readFileSync(crashed)), "the image is as it was").toBe(true);
    const { ours, theirs, report: without, said } = referee(crashed);
    expect(without.notices.map(({ code }) => code)).toContain("journal-not-replayed");
    expect(ours, said).toBe(theirs);
    expect(report.volume!.inodesUsed).toBeGreaterThan(without.volume!.inodesUsed);
  });
});

describe("what the driver has written", () => {
  skipUnless("mke2fs", "e2fsck").each([
    "-t ext4 -b 1024",
    "-t ext4 -b 4096",
    "-t ext4 -b 1024 -O ^metadata_csum",
    "-t ext4 -b 2048 -O ^64bit,^flex_bg",
    "-t ext4 -b 4096 -O orphan_file",
    "-t ext2 -b 1024",
    "-t ext3 -b 4096",
    "-t ext4 -b 1024 -O quota",
    "-t ext4 -b 4096 -O quota,project -E quotatype=usrquota:grpquota:prjquota",
  ])("is clean: %s", (args) => {
    using directory = temporaryDirectory();
    const image = makeImage(directory, args);
    {
      using volume = mountSync(image, { regionBytes: 2 ** 28 });
      volume.mkdirSync("/new");
      for (let index = 0; index < 600; index++) {
        volume.writeFileSync(`/new/a-name-that-is-not-short-${index}`, "z".repeat(index));
      }
      for (let index = 0; index < 600; index += 3) {
        volume.unlinkSync(`/new/a-name-that-is-not-short-${index}`);
      }
      volume.renameSync("/deep/er", "/new/er");
      volume.truncateSync("/sparse", 5_000_000);
      using file = volume.openSync("/fragmented", "w+");
      for (let at = 0; at < 300; at++) file.writeSync(Buffer.alloc(4096, 1), at * 8192);
    }
    expectClean(image);
  });

  skipUnless("mke2fs", "e2fsck")("a volume that is in use is not checked", () => {
    using directory = temporaryDirectory();
    const image = makeImage(directory, "-t ext4");
    using _volume = mountSync(image, { regionBytes: 2 ** 28 });
    expect(() => fsckSync(image)).toThrow(/EBUSY/);
  });
});

describe("what our mkfs makes", () => {
  skipUnless("e2fsck").each(["ext2", "ext3", "ext4"] as const)("is clean: %s", (type) => {
    using directory = temporaryDirectory();
    const [image, source] = [directory.file("image"), directory.file("source")];
    fs.mkdirSync(source);
    fill(source);
    mkfsSync(image, { type, size: 64 * MIB, from: source });
    expectClean(image);
  });
});

describe("the call", () => {
  skipUnless("mke2fs")(
    "says where it is, lets the event loop turn, and ends at a signal",
    async () => {
      using directory = temporaryDirectory();
      const image = makeImage(directory, "-t ext4 -b 1024");
      const passes = new Set<string>();
      const report = await fsck(image, { onProgress: ({ pass }) => passes.add(pass) });
      expect(report).toMatchObject({
        verdict: "clean",
        findings: [],
        findingsTotal: 0,
        path: image,
      });
      expect([...passes]).toEqual(["groups", "inodes", "directories", "links", "bitmaps"]);
      const stop = new AbortController();
      const ended = fsck(image, { signal: stop.signal, onProgress: () => stop.abort("enough") });
      await expect(ended).rejects.toMatchObject({ name: "AbortError", cause: "enough" });
      await expect(fsck(image, { signal: AbortSignal.abort() })).rejects.toMatchObject({
        name: "AbortError",
      });
      expect(fsckSync(image).verdict).toBe("clean");
    },
  );

  test("refuses what is no volume with a reason, and what is no device with an error", async () => {
    using directory = temporaryDirectory();
    const file = directory.file("zeroes");
    sparseFile(file, MIB);
    const report = fsckSync(file);
    expect(report).toMatchObject({ verdict: "cannot-check", volume: null, findings: [] });
    expect(report.reason).toMatch(/no ext superblock/);
    expect(() => fsckSync(directory.file("missing"))).toThrow(/ENOENT/);
    await expect(fsck(directory.path)).rejects.toThrow(/EISDIR/);
    expect(() => fsckSync(file, { findingsMax: -1 })).toThrow(/findingsMax/);
    expect(() => fsckSync(7 as unknown as string)).toThrow(/path/);
  });
});
