// Directories past the limits of old: indexes of three levels, and sizes beyond 2 GiB (large_dir). The kernel's
// own driver goes on where this one stopped, and e2fsck looks at what both have left.

import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  statSync,
  unlinkSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { Ino } from "../../../src/base/quantities.ts";
import { lookupName } from "../../../src/drivers/ext/directories/directory.ts";
import { DirectoryFile } from "../../../src/drivers/ext/directories/directory-file.ts";
import { fsckSync } from "../../../src/index.ts";
import { codesOf, referee, shown } from "../../fsck/referee.ts";
import { loopMount, mkfsExt4, runOk, skipUnless, temporaryDirectory } from "../../support/tools.ts";
import { bytesOf, DirectoryImage, errorOf, newInode, rootIno } from "./directory-image.ts";

const MIB = 2 ** 20;
const LARGE = ["-b", "1024", "-N", "1024", "-O", "large_dir"];
const LINKS_MAX = 65_000;
/** Bytes of a name of which a block of 1 KiB holds three. */
const LONG = 255;
/** Enough long names for three levels, whatever their hashes. */
const LONG_NAMES = 32_000;

const longName = (index: number): string => `${index}-`.padEnd(LONG, "long");

/** Both checks agree that the image is clean. */
function expectClean(path: string): void {
  const { ours, theirs, report, said } = referee(path);
  expect(theirs, said).toBe("clean");
  expect(ours, shown(report.findings)).toBe("clean");
}

function levelsOf(path: string, directory: string): number {
  const shown = runOk("debugfs", ["-R", `htree_dump ${directory}`, path]);
  return Number(/Indirect levels: (\d+)/.exec(shown)![1]);
}

/** Gives the directory `count` names, of as few files as may have them. */
function addNames(
  image: DirectoryImage,
  directory: Ino,
  count: number,
  nameOf: (index: number) => string,
): void {
  let file = rootIno;
  for (let index = 0; index < count; index++) {
    if (index % (LINKS_MAX - 1) === 0) {
      file = image.create(rootIno, `file ${index}`, newInode("file"));
    }
    image.link(directory, nameOf(index), file);
  }
}

const shared = temporaryDirectory();
afterAll(() => shared[Symbol.dispose]());

/** An image with three levels of index in "/d", which has the names 0 to LONG_NAMES - 1: a copy of one. */
function makeThreeLevels(path: string): void {
  const original = shared.file("three-levels");
  if (!existsSync(original)) {
    mkfsExt4(original, 64 * MIB, LARGE);
    const image = new DirectoryImage(original);
    addNames(image, image.create(rootIno, "d", newInode("directory")), LONG_NAMES, longName);
    image.close();
    expectClean(original);
    expect(levelsOf(original, "/d")).toBe(2);
  }
  copyFileSync(original, path);
}

/** How many blocks of the directory a look for a name reads. */
function blocksRead(image: DirectoryImage, directory: Ino, name: string): number {
  const blocks = new Set<number>();
  const { blockCount } = new DirectoryFile(image.volume, directory);
  const reader: { read: typeof image.cache.read } = {
    read(block, verify) {
      blocks.add(block);
      return image.cache.read(block, verify);
    },
  };
  const found = lookupName(image.volume.readBy(reader), directory, bytesOf(name));
  expect(found, name).not.toBe(null);
  // What is read beside the directory's own blocks: the descriptor, the inode, and the nodes of its map.
  const others = new Set<number>();
  const own = new Set<number>();
  for (let index = 0; index < blockCount; index++) {
    const extent = image.driver.extentAt(directory, index * 1024, (index + 1) * 1024);
    if (extent.kind === "mapped") own.add(extent.address / 1024);
  }
  for (const block of blocks) if (!own.has(block)) others.add(block);
  expect(others.size).toBeLessThan(6);
  return blocks.size - others.size;
}

describe("three levels", () => {
  skipUnless("mkfs.ext4", "e2fsck", "debugfs")(
    "names go in, are found and go out, and the volume stays clean",
    () => {
      using directory = temporaryDirectory();
      const path = directory.file("image");
      makeThreeLevels(path);
      const image = new DirectoryImage(path);
      const { ino } = image.find(rootIno, "d")!;
      const expected: string[] = [];
      for (let index = 0; index < LONG_NAMES; index++) {
        if (index % 3 === 0) image.unlink(ino, longName(index));
        else expected.push(longName(index));
      }
      expect(image.names(ino, 500)).toEqual(expected.sort());
      for (let index = 0; index < 3000; index += 3) {
        expect(image.find(ino, longName(index))).toBe(null);
        image.link(ino, longName(index), image.find(ino, longName(1))!.ino);
        expect(errorOf(() => image.link(ino, longName(index), rootIno))?.code).toBe("EPERM");
      }
      for (const name of image.names(ino)) image.unlink(ino, name);
      expect(image.names(ino)).toEqual([]);
      image.unlink(rootIno, "d");
      image.close();
      expectClean(path);
    },
    120_000,
  );

  skipUnless("loop mounts", "e2fsck", "debugfs")(
    "the kernel goes on with ours, and we with the kernel's",
    () => {
      using directory = temporaryDirectory();
      using place = temporaryDirectory();
      const path = directory.file("image");
      makeThreeLevels(path);
      const expected = new Set(Array.from({ length: LONG_NAMES }, (_, index) => longName(index)));
      const kernelName = (index: number) => `kernel ${index}`.padEnd(LONG, ".");
      {
        using mounted = loopMount(path, place.path);
        const d = join(mounted.directory, "d");
        expect(new Set(readdirSync(d))).toEqual(expected);
        for (const name of expected) statSync(join(d, name));
        for (let index = 0; index < 4000; index++) {
          linkSync(join(d, longName(LONG_NAMES - 1)), join(d, kernelName(index)));
          expected.add(kernelName(index));
          unlinkSync(join(d, longName(index)));
          expected.delete(longName(index));
        }
        // One that the kernel takes to three levels itself.
        mkdirSync(join(mounted.directory, "k"));
        linkSync(join(d, kernelName(1)), join(mounted.directory, "k", "first"));
        for (let index = 0; index < LONG_NAMES; index++) {
          linkSync(
            join(mounted.directory, "k", "first"),
            join(mounted.directory, "k", longName(index)),
          );
        }
      }
      expectClean(path);
      expect(levelsOf(path, "/k")).toBe(2);
      const image = new DirectoryImage(path);
      const { ino } = image.find(rootIno, "d")!;
      expect(image.names(ino)).toEqual([...expected].sort());
      const byKernel = image.find(rootIno, "k")!.ino;
      for (let index = 0; index < LONG_NAMES; index++) {
        if (index % 5 === 0) image.unlink(byKernel, longName(index));
        else expect(image.find(byKernel, longName(index)), `${index}`).not.toBe(null);
      }
      const { ino: file } = image.find(byKernel, "first")!;
      for (let index = 0; index < 4000; index++) image.link(byKernel, kernelName(index), file);
      const left = image.names(byKernel);
      image.close();
      expectClean(path);
      using mounted = loopMount(path, place.path);
      expect(readdirSync(join(mounted.directory, "k")).sort()).toEqual(left);
    },
    240_000,
  );

  skipUnless("mkfs.ext4", "e2fsck", "debugfs")(
    "of 300,000 names each is found by reading one block for each level, and its own",
    () => {
      using directory = temporaryDirectory();
      const path = directory.file("image");
      mkfsExt4(path, 64 * MIB, LARGE);
      const image = new DirectoryImage(path);
      const ino = image.create(rootIno, "d", newInode("directory"));
      const nameOf = (index: number) => `one of many ${index}`;
      addNames(image, ino, 300_000, nameOf);
      for (let index = 0; index < 300_000; index += 9973) {
        expect(blocksRead(image, ino, nameOf(index))).toBe(4);
      }
      expect(new Set(image.names(ino)).size).toBe(300_000);
      image.close();
      expectClean(path);
      expect(levelsOf(path, "/d")).toBe(2);
    },
    240_000,
  );

  skipUnless("mkfs.ext4", "e2fsck", "debugfs")(
    "damage in the lower levels is told by both checks, and met by whoever looks there",
    () => {
      using directory = temporaryDirectory();
      const path = directory.file("image");
      makeThreeLevels(path);
      const image = new DirectoryImage(path);
      const { ino } = image.find(rootIno, "d")!;
      const blockOf = (index: number): number => {
        const extent = image.driver.extentAt(ino, index * 1024, (index + 1) * 1024);
        return extent.kind === "mapped" ? extent.address : -1;
      };
      // The root's first entry leads to a node, and that one's to a second.
      const rootAt = blockOf(0);
      const first = image.bytes.readUInt32LE(rootAt + 32 + 4);
      const second = image.bytes.readUInt32LE(blockOf(first) + 8 + 4);
      const places = [
        { at: rootAt + 30, value: 3, field: "indirect_levels" }, // four levels
        { at: blockOf(first) + 8, value: 9, field: "limit" },
        { at: blockOf(second) + 8 + 2, value: 0, field: "count" },
        { at: blockOf(second) + 8 + 8 + 4, value: 0, field: "block" },
      ];
      for (const { at, value, field } of places) {
        const damaged = new DirectoryImage(path);
        damaged.bytes[at] = value;
        if (field === "block") damaged.bytes.fill(0, at, at + 4);
        const error = errorOf(() => damaged.list(ino));
        expect(error, field).toMatchObject({ code: "EUCLEAN" });
        damaged.close();
        const { ours, theirs, report } = referee(path);
        expect([ours, theirs], codesOf(report).join()).toEqual(["errors", "errors"]);
        damaged.bytes[at] = image.bytes[at]!;
        image.bytes.copy(damaged.bytes, at, at, at + 4);
        damaged.thread.leave();
      }
      image.thread.leave();
    },
    240_000,
  );
});

describe("beyond 2 GiB", () => {
  /** Blocks of a directory behind 3 GiB that are not there: only what is appended is. */
  const BLOCKS_BEFORE = 3 * 2 ** 20;

  function makeFar(path: string, options: readonly string[], size: number): DirectoryImage {
    mkfsExt4(path, 16 * MIB, options);
    const image = new DirectoryImage(path);
    addNames(image, image.create(rootIno, "d", newInode("directory")), 50, longName);
    image.close();
    runOk("debugfs", ["-w", "-R", `set_inode_field /d size ${size}`, path]);
    return new DirectoryImage(path);
  }

  skipUnless("loop mounts", "e2fsck", "debugfs")(
    "blocks are appended, found, and given back; the kernel finds their names",
    () => {
      using directory = temporaryDirectory();
      using place = temporaryDirectory();
      const path = directory.file("image");
      const image = makeFar(path, LARGE, BLOCKS_BEFORE * 1024);
      const { ino } = image.find(rootIno, "d")!;
      expect(image.driver.readInode(ino).size).toBe(BLOCKS_BEFORE * 1024);
      const { ino: file } = image.find(ino, longName(0))!;
      for (let index = 50; index < 500; index++) image.link(ino, longName(index), file);
      const names = Array.from({ length: 500 }, (_, index) => longName(index)).sort();
      expect(image.names(ino)).toEqual(names);
      expect(image.driver.readInode(ino).size).toBeGreaterThan((BLOCKS_BEFORE + 100) * 1024);
      image.close();
      // The hole before them is the only thing wrong. (e2fsck says so, too, of each of its blocks.)
      expect(codesOf(fsckSync(path))).toEqual(["directory-hole"]);
      {
        using mounted = loopMount(path, place.path);
        const d = join(mounted.directory, "d");
        expect(readdirSync(d).sort()).toEqual(names);
        for (let index = 0; index < 200; index++) {
          linkSync(join(d, longName(0)), join(d, `kernel ${index}`.padEnd(LONG, "k")));
        }
      }
      const again = new DirectoryImage(path);
      expect(again.names(ino).length).toBe(700);
      for (const name of again.names(ino)) again.unlink(ino, name);
      // Whether it is empty is told by all its blocks, and some are missing.
      expect(errorOf(() => again.unlink(rootIno, "d"))?.code).toBe("EUCLEAN");
      again.close();
    },
    120_000,
  );

  test.each([
    ["large_dir", LARGE, null],
    ["without it", ["-b", "1024", "-N", "1024"], "ENOSPC"],
  ] as const)("4 GiB are passed with large_dir only: %s", (_name, options, code) => {
    using directory = temporaryDirectory();
    const image = makeFar(directory.file("image"), options, 2 ** 32 - 1024);
    const { ino } = image.find(rootIno, "d")!;
    const { ino: file } = image.find(ino, longName(0))!;
    const error = errorOf(() => {
      for (let index = 50; index < 100; index++) image.link(ino, longName(index), file);
    });
    expect(error?.code ?? null).toBe(code);
    image.thread.leave();
  });
});
