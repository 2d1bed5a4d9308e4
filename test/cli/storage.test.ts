// info, map and blocks: what they tell is what dumpe2fs, debugfs and filefrag tell.

import { closeSync, ftruncateSync, openSync, statSync, writeFileSync, writeSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  loopMount,
  mkfsExt4,
  run,
  runOk,
  skipUnless,
  temporaryDirectory,
  type TemporaryDirectory,
} from "../support/tools.ts";
import { holdfast, holdfastOk, jsonLines } from "./program.ts";

const MIB = 2 ** 20;

describe("info", () => {
  skipUnless("mkfs.ext4", "dumpe2fs").each([
    ["ext4", []],
    ["ext2", ["-t", "ext2"]],
    ["small blocks and a quota", ["-b", "1024", "-O", "quota,^64bit,meta_bg,^resize_inode"]],
    ["inline data", ["-O", "inline_data,metadata_csum_seed,ea_inode,large_dir"]],
  ] as const)("superblock and groups are those of dumpe2fs: %s", (_name, options) => {
    using directory = temporaryDirectory();
    const image = directory.file("disk.img");
    mkfsExt4(image, 64 * MIB, options);
    const dump = runOk("dumpe2fs", [image]);
    const field = (name: string): string =>
      new RegExp(`^${name}:\\s+(.*)$`, "m").exec(dump)?.[1] ?? "";
    const [facts] = jsonLines(holdfastOk("info", "--groups", "--json", image));
    expect(facts.features).toEqual(field("Filesystem features").split(" "));
    expect(facts.uuid).toBe(field("Filesystem UUID"));
    expect(facts).toMatchObject({
      blocks: Number(field("Block count")),
      blocksFree: Number(field("Free blocks")),
      inodes: Number(field("Inode count")),
      inodesFree: Number(field("Free inodes")),
      inodeSize: Number(field("Inode size")),
      isClean: field("Filesystem state") === "clean",
    });
    expect(facts.made * 1000).toBe(Date.parse(`${field("Filesystem created")} UTC`));
    const groups = [
      ...dump.matchAll(/^ +(\d+) free blocks, (\d+) free inodes, (\d+) directories/gm),
    ];
    expect(
      facts.groups.map((each: Record<string, number>) => [
        each["freeBlocks"],
        each["freeInodes"],
        each["directories"],
      ]),
    ).toEqual(groups.map((match) => match.slice(1).map(Number)));
    const tables = [...dump.matchAll(/Inode table at (\d+)/g)].map((match) => Number(match[1]));
    expect(facts.groups.map(({ inodeTable }: { inodeTable: number }) => inodeTable)).toEqual(
      tables,
    );
  });

  skipUnless("mkfs.ext4")(
    "a volume that cannot be mounted is still told of, with the reason",
    () => {
      using directory = temporaryDirectory();
      const image = directory.file("disk.img");
      mkfsExt4(image, 64 * MIB, ["-O", "bigalloc"]);
      const { code, stdout, stderr } = holdfast("info", image);
      expect(stdout).toMatch(/features .*bigalloc/);
      if (code !== 0) expect(stderr).toMatch(/bigalloc/);
      else expect(stdout).toMatch(/for reading only: .*bigalloc/);
    },
  );

  test("what is no volume is an error that says so", () => {
    using directory = temporaryDirectory();
    writeFileSync(directory.file("zeroes"), Buffer.alloc(MIB));
    const { code, stdout, stderr } = holdfast("info", directory.file("zeroes"));
    expect([code, stdout]).toEqual([1, ""]);
    expect(stderr).toMatch(/holds no ext2, ext3 or ext4 volume \(EINVAL\)\n$/);
    expect(holdfast("info").code).toBe(2);
  });
});

/** A volume with a file of several pieces, a hole, and unwritten blocks, made by the kernel. */
function withFile(directory: TemporaryDirectory, options: readonly string[]): string {
  const image = directory.file("disk.img");
  mkfsExt4(image, 64 * MIB, options);
  using place = temporaryDirectory();
  using _mount = loopMount(image, place.path);
  const files = ["file", "other"].map((name) => openSync(`${place.path}/${name}`, "w"));
  for (let at = 0; at < 6; at++) {
    for (const fd of files) {
      writeSync(fd, Buffer.alloc(300_000, at + 1), 0, 300_000, at * 900_000);
      runOk("sync", ["-f", place.path]);
    }
  }
  ftruncateSync(files[0]!, 20 * MIB);
  for (const fd of files) closeSync(fd);
  if (!options.includes("ext2"))
    runOk("fallocate", ["-l", "1M", "-o", "10M", `${place.path}/file`]);
  return image;
}

describe("map and blocks", () => {
  skipUnless("root", "loop mounts", "filefrag", "mkfs.ext4", "fallocate").each([
    ["extents", ["-b", "4096"]],
    ["extents of small blocks", ["-b", "1024"]],
    ["block pointers", ["-t", "ext2", "-b", "1024"]],
  ] as const)("the pieces of a file are those of filefrag: %s", (_name, options) => {
    using directory = temporaryDirectory();
    const image = withFile(directory, options);
    const [found] = jsonLines(holdfastOk("map", "--json", `${image}:/file`));
    using place = temporaryDirectory();
    using _mount = loopMount(image, place.path, ["ro"]);
    const { stdout } = run("filefrag", ["-v", `-b${found.blockSize}`, `${place.path}/file`]);
    const pieces = [
      ...stdout.matchAll(/^ *\d+: +(\d+)\.\. *(\d+): +(\d+)\.\. *\d+: +(\d+):(.*)$/gm),
    ].map((match) => ({
      offset: Number(match[1]) * found.blockSize,
      deviceOffset: Number(match[3]) * found.blockSize,
      length: Number(match[4]) * found.blockSize,
      unwritten: match[5]!.includes("unwritten"),
    }));
    const merged: typeof pieces = [];
    for (const piece of pieces) {
      const last = merged.at(-1);
      const goesOn =
        last !== undefined &&
        last.offset + last.length === piece.offset &&
        last.deviceOffset + last.length === piece.deviceOffset &&
        last.unwritten === piece.unwritten;
      if (goesOn) last.length += piece.length;
      else merged.push({ ...piece });
    }
    expect(found.extents.length).toBeGreaterThan(3);
    expect(found.extents).toEqual(merged.map((each) => ({ ...each, shared: false })));
    expect(found.allocated).toBeLessThan(statSync(`${place.path}/file`).size);
  });

  test("2 MiB in one piece and in place are told as huge, and drawn", () => {
    using directory = temporaryDirectory();
    const image = directory.file("disk.img");
    writeFileSync(directory.file("large"), Buffer.alloc(9 * MIB, 1));
    holdfastOk("mkfs", image, "--size", "128M", "-b", "4096");
    holdfastOk("cp", directory.file("large"), `${image}:/large`);
    const [found] = jsonLines(holdfastOk("map", "--json", `${image}:/large`));
    const counted = found.extents.reduce(
      (sum: number, { offset, deviceOffset, length }: Record<string, number>) => {
        if ((deviceOffset! - offset!) % (2 * MIB) !== 0) return sum;
        const first = Math.ceil(offset! / (2 * MIB));
        const end = Math.floor((offset! + length!) / (2 * MIB));
        return sum + Math.max(0, end - first);
      },
      0,
    );
    expect([found.hugeParts, found.parts]).toEqual([counted, 5]);
    expect(counted).toBeGreaterThan(0);
    const shown = holdfastOk("map", `${image}:/large`);
    expect(shown).toContain(`${counted} of 5 parts of 2 MiB can be huge pages`);
    expect(shown).toMatch(/\n {2}[█▓]{64} {2}144 KiB each\n/);
    expect(holdfast("map", `${image}:/`).stderr).toMatch(/is a directory, and no file \(EINVAL\)/);
  });

  skipUnless(
    "root",
    "loop mounts",
    "debugfs",
    "mkfs.ext4",
  )("owners are those of debugfs", () => {
    using directory = temporaryDirectory();
    const image = withFile(directory, ["-b", "4096"]);
    holdfastOk("ln", `${image}:/file`, `${image}:/second`);
    const [found] = jsonLines(holdfastOk("map", "--json", `${image}:/file`));
    const block = found.extents[1].deviceOffset / found.blockSize;
    const icheck = runOk("debugfs", ["-R", `icheck ${block}`, image]);
    const ino = Number(/^\d+\t(\d+)$/m.exec(icheck)?.[1]);
    const [owned] = jsonLines(holdfastOk("blocks", "--json", image, String(block)));
    expect(owned).toEqual({
      first: block,
      last: block,
      use: "data",
      ino,
      offset: found.extents[1].offset,
      structure: null,
      paths: ["/file", "/second"],
    });
    const byBytes = holdfastOk("blocks", "-b", image, String(block * found.blockSize + 5));
    expect(byBytes).toBe(
      `${block}: block ${found.extents[1].offset / 4096} on of inode ${ino}, /file, /second\n`,
    );
    const dump = runOk("dumpe2fs", [image]);
    const table = Number(/Inode table at (\d+)/.exec(dump)![1]);
    const lines = holdfastOk("blocks", image, "0", `${table}-${table + 1}`).split("\n");
    expect(lines[0]).toBe("0: superblock of group 0");
    expect(lines[1]).toBe(`${table}-${table + 1}: inode table of group 0`);
    const free = /Free blocks: (\d+)/.exec(dump.slice(dump.indexOf("Group 0")))![1]!;
    expect(holdfastOk("blocks", image, free)).toBe(`${free}: free\n`);
  });

  skipUnless("mkfs.ext4").each([
    [["1000000000"], /there is no block 1000000000/, 1],
    [["x"], /a block is a number, or two with a dash between, not 'x'/, 2],
    [["9-3"], /'9-3' ends before it begins/, 2],
    [[], /give an image, and blocks/, 2],
  ] as const)("blocks that cannot be: %j", (args, message, expected) => {
    using directory = temporaryDirectory();
    mkfsExt4(directory.file("disk.img"), 16 * MIB);
    const { code, stdout, stderr } = holdfast("blocks", directory.file("disk.img"), ...args);
    expect([code, stdout]).toEqual([expected, ""]);
    expect(stderr).toMatch(message);
  });
});
