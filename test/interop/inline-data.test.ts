// Volumes whose small files, directories and symlinks lie in their inodes, as the kernel makes them: both read the
// same, and the same changes give the trees that they give on volumes without that, e2fsck finding nothing.

import { copyFileSync } from "node:fs";
import * as fs from "node:fs";
import fc from "fast-check";
import { describe, expect } from "vitest";
import { fsckSync, type Volume } from "../../src/index.ts";
import { mkfsExt4, skipUnless } from "../support/tools.ts";
import { setAttribute } from "./libc.ts";
import { Handed, needs } from "./handed.ts";
import { differences, type Tree } from "./trees.ts";

const mounted = skipUnless(...needs);
const RUNS = Number(process.env["RUNS"] ?? 6);
const SIZES = [0, 1, 59, 60, 61, 100, 127, 128, 129, 200, 500, 900, 5000];
const DIRECTORIES = ["/", "/empty", "/few", "/few/inner", "/some", "/many"];

function contentOf(size: number, seed = 0): Buffer {
  return Buffer.from(Array.from({ length: size }, (_, at) => (at * 7 + size + seed) & 0xff));
}

/** What the kernel keeps in inodes, and what is just too large. */
function fill(root: string): void {
  for (const size of SIZES) fs.writeFileSync(`${root}/file-${size}`, contentOf(size));
  for (const path of DIRECTORIES) fs.mkdirSync(`${root}${path}`, { recursive: true });
  for (const name of ["a", "b"]) fs.writeFileSync(`${root}/few/${name}`, `content of ${name}`);
  // The kernel keeps names in the attribute, too, where they fit.
  for (const name of ["one", "two", "three", "four", "five"]) {
    fs.writeFileSync(`${root}/some/${name}`, name);
  }
  for (let index = 0; index < 60; index++) fs.writeFileSync(`${root}/many/name-${index}`, "");
  for (const size of [20, 59, 60, 100, 128, 200, 900]) {
    fs.symlinkSync("t".repeat(size), `${root}/link-${size}`);
  }
  for (const size of [0, 60, 100]) {
    setAttribute(`${root}/file-${size}`, "user.small", "beside");
    setAttribute(`${root}/file-${size}`, "user.large", "elsewhere ".repeat(40));
  }
  setAttribute(`${root}/few`, "user.small", "beside");
  const sparse = fs.openSync(`${root}/sparse`, "w");
  fs.ftruncateSync(sparse, 100);
  fs.writeSync(sparse, "in the middle", 40);
  fs.closeSync(sparse);
  const long = fs.openSync(`${root}/long`, "w");
  fs.ftruncateSync(long, 10_000);
  fs.writeSync(long, "in the middle", 40);
  fs.closeSync(long);
}

/** The calls of both sides. */
interface Side {
  write(path: string, at: number, bytes: Buffer): void;
  append(path: string, bytes: Buffer): void;
  truncate(path: string, size: number): void;
  create(path: string): void;
  mkdir(path: string): void;
  rmdir(path: string): void;
  unlink(path: string): void;
  rename(from: string, to: string): void;
  link(from: string, to: string): void;
  symlink(target: string, path: string): void;
  setAttribute(path: string, value: string): void;
}

function ownSide(volume: Volume): Side {
  return {
    write(path, at, bytes) {
      using file = volume.openSync(path, "r+");
      file.writeSync(bytes, at);
    },
    append: (path, bytes) => {
      using file = volume.openSync(path, "a");
      file.writeSync(bytes, 0);
    },
    truncate: (path, size) => volume.truncateSync(path, size),
    create: (path) => volume.openSync(path, "wx").closeSync(),
    mkdir: (path) => volume.mkdirSync(path),
    rmdir: (path) => volume.rmdirSync(path),
    unlink: (path) => volume.unlinkSync(path),
    rename: (from, to) => volume.renameSync(from, to),
    link: (from, to) => volume.linkSync(from, to),
    symlink: (target, path) => volume.symlinkSync(target, path),
    setAttribute: (path, value) =>
      volume.setxattrSync(path, "user.set", value, { followSymlinks: false }),
  };
}

function kernelSide(root: string): Side {
  const withFile = (path: string, flags: string, use: (file: number) => void): void => {
    const file = fs.openSync(`${root}${path}`, flags);
    try {
      use(file);
    } finally {
      fs.closeSync(file);
    }
  };
  return {
    write: (path, at, bytes) =>
      withFile(path, "r+", (file) => fs.writeSync(file, bytes, 0, bytes.length, at)),
    append: (path, bytes) => withFile(path, "a", (file) => fs.writeSync(file, bytes)),
    truncate: (path, size) => fs.truncateSync(`${root}${path}`, size),
    create: (path) => withFile(path, "wx", () => {}),
    mkdir: (path) => fs.mkdirSync(`${root}${path}`),
    rmdir: (path) => fs.rmdirSync(`${root}${path}`),
    unlink: (path) => fs.unlinkSync(`${root}${path}`),
    rename: (from, to) => fs.renameSync(`${root}${from}`, `${root}${to}`),
    link: (from, to) => fs.linkSync(`${root}${from}`, `${root}${to}`),
    symlink: (target, path) => fs.symlinkSync(target, `${root}${path}`),
    setAttribute: (path, value) => setAttribute(`${root}${path}`, "user.set", value),
  };
}

interface Step {
  readonly text: string;
  readonly take: (side: Side) => void;
}

/** What a step answers: nothing, or an error's code. */
function answerOf({ take, text }: Step, side: Side): string {
  try {
    take(side);
    return text;
  } catch (error) {
    return `${text}: ${(error as { code: string }).code}`;
  }
}

const anyFile = fc.constantFrom(
  ...SIZES.map((size) => `/file-${size}`),
  ...["/sparse", "/long", "/few/a", "/few/b", "/some/one", "/some/two", "/new-1", "/few/new-1"],
);
const anyDirectory = fc.constantFrom(...DIRECTORIES.slice(1), "/few/new-2", "/new-2");
const anyName = fc
  .tuple(fc.constantFrom(...DIRECTORIES.slice(1), ""), fc.nat(12), fc.constantFrom(0, 0, 60))
  .map(([directory, number, length]) => `${directory}/new-${number}`.padEnd(length, "x"));
const anySize = fc.constantFrom(0, 1, 30, 60, 61, 100, 129, 300, 1024, 4096, 5000, 9000);
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(anyFile, fc.nat(200), anySize).map(([path, at, size]) => ({
    text: `write ${path} at ${at}: ${size}`,
    take: (side: Side) => side.write(path, at, contentOf(size, 3)),
  })),
  fc.tuple(anyFile, anySize).map(([path, size]) => ({
    text: `append ${path}: ${size}`,
    take: (side: Side) => side.append(path, contentOf(size, 5)),
  })),
  fc.tuple(anyFile, anySize).map(([path, size]) => ({
    text: `truncate ${path} to ${size}`,
    take: (side: Side) => side.truncate(path, size),
  })),
  fc.constantFrom("create" as const, "mkdir" as const).chain((what) =>
    anyName.map((path) => ({
      text: `${what} ${path}`,
      take: (side: Side) => side[what](path),
    })),
  ),
  fc.oneof(anyFile, anyName).map((path) => ({
    text: `unlink ${path}`,
    take: (side: Side) => side.unlink(path),
  })),
  fc.oneof(anyDirectory, anyName).map((path) => ({
    text: `rmdir ${path}`,
    take: (side: Side) => side.rmdir(path),
  })),
  fc.tuple(fc.oneof(anyFile, anyDirectory, anyName), anyName).map(([from, to]) => ({
    text: `rename ${from} to ${to}`,
    take: (side: Side) => side.rename(from, to),
  })),
  fc.tuple(anyFile, anyName).map(([from, to]) => ({
    text: `link ${from} as ${to}`,
    take: (side: Side) => side.link(from, to),
  })),
  fc.tuple(anySize, anyName).map(([size, path]) => ({
    text: `symlink ${path} to ${size}`,
    take: (side: Side) => side.symlink("s".repeat(Math.min(size, 500) + 1), path),
  })),
  fc.tuple(fc.oneof(anyFile, anyDirectory), anySize).map(([path, size]) => ({
    text: `set an attribute of ${path}: ${size}`,
    take: (side: Side) => side.setAttribute(path, "v".repeat(Math.min(size, 500))),
  })),
);

/** A tree, but for what tells where things are kept, and when. */
function treeWithoutPlaces(tree: Tree): Tree {
  return new Map(
    [...tree].map(([path, seen]) => {
      const isDirectory = (seen.mode & 0o170000) === 0o040000;
      const size = isDirectory ? 0 : seen.size;
      const times = { atime: 0n, mtime: 0n, ctime: 0n, birthtime: 0n };
      return [path, { ...seen, ...times, size, ino: 0, blocks: 0 }];
    }),
  );
}

describe.each<[string, readonly string[]]>([
  ["blocks of 4 KiB", []],
  ["blocks of 1 KiB", ["-b", "1024"]],
  ["inodes of 1 KiB, without hashes of names", ["-I", "1024", "-O", "^dir_index"]],
  ["without extents or journal", ["-t", "ext2", "-b", "2048", "-I", "512"]],
  ["with values in inodes", ["-b", "1024", "-O", "ea_inode"]],
  ["without checksums", ["-b", "4096", "-O", "^metadata_csum"]],
])("%s", (_name, options) => {
  const make = (image: string): void =>
    mkfsExt4(image, 16 * 2 ** 20, ["-N", "512", ...options, "-O", "inline_data"]);

  mounted("what the kernel keeps in inodes is read equal, and fsck finds nothing", () => {
    using handed = new Handed();
    make(handed.image);
    handed.toKernel("filling", fill);
    handed.assertSame();
    expect(fsckSync(handed.image).findings).toEqual([]);
    handed.toHoldfast("mounting for writing", () => {});
    handed.assertSame();
  });

  mounted(
    "changes give the answers and the tree that they give where nothing is kept in inodes",
    () => {
      using filled = new Handed();
      using plain = new Handed();
      make(filled.image);
      mkfsExt4(plain.image, 16 * 2 ** 20, ["-N", "512", ...options]);
      for (const each of [filled, plain]) each.toKernel("filling", fill);
      const run = (steps: readonly Step[]): void => {
        using own = new Handed();
        using kernel = new Handed();
        using expected = new Handed();
        for (const { image } of [own, kernel]) copyFileSync(filled.image, image);
        copyFileSync(plain.image, expected.image);
        const answers = own.toHoldfast("Holdfast", (volume) =>
          steps.map((step) => answerOf(step, ownSide(volume))),
        );
        const byKernel = (root: string): string[] =>
          steps.map((step) => answerOf(step, kernelSide(root)));
        expect(answers).toEqual(expected.toKernel("the kernel", byKernel));
        expect(fsckSync(own.image).findings).toEqual([]);
        const wanted = treeWithoutPlaces(expected.assertSame());
        expect(differences(wanted, treeWithoutPlaces(own.assertSame()))).toEqual([]);
        // What the kernel (6.18) itself then has is not always right, but both read the same of it.
        kernel.toKernel("the kernel", byKernel);
        kernel.assertSame();
        expect(fsckSync(kernel.image).findings).toEqual([]);
      };
      fc.assert(fc.property(fc.array(anyStep, { minLength: 30, maxLength: 80 }), run), {
        numRuns: RUNS,
        endOnFailure: true,
      });
    },
  );
});
