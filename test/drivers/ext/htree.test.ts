// Indexes at their limits: as deep as they go, damaged, and shared with the kernel's own driver.

import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Ino } from "../../../src/base/quantities.ts";
import { HASH_LEGACY, hashName } from "../../../src/drivers/ext/directories/hash.ts";
import {
  e2fsckClean,
  loopMount,
  mkfsExt4,
  runOk,
  skipUnless,
  temporaryDirectory,
} from "../../support/tools.ts";
import { bytesOf, DirectoryImage, errorOf, newInode, rootIno } from "./directory-image.ts";

const megabyte = 1024 * 1024;

function expectClean(path: string): void {
  const { clean, output } = e2fsckClean(path);
  expect(clean, output).toBe(true);
}

/** A directory with `count` names of one file, each padded to `length` bytes. */
function fill(image: DirectoryImage, count: number, length: number): { ino: Ino; names: string[] } {
  const ino = image.create(rootIno, "d", newInode("directory"));
  const file = image.create(rootIno, "file", newInode("file"));
  const names = Array.from({ length: count }, (_, index) => `${index}`.padEnd(length, "x"));
  for (const name of names) image.link(ino, name, file);
  return { ino, names };
}

test("an index that has all its levels says ENOSPC, and keeps what it has", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, 64 * megabyte, ["-b", "1024", "-N", "1024"]);
  const image = new DirectoryImage(path);
  const { ino } = fill(image, 0, 0);
  const file = image.find(rootIno, "file")!.ino;
  let count = 0;
  const nameOf = (index: number) => `${index}`.padEnd(255, "-");
  let error = null;
  while (error === null && count < 60_000) {
    error = errorOf(() => image.link(ino, nameOf(count), file));
    if (error === null) count++;
  }
  expect(error?.code).toBe("ENOSPC");
  expect(error?.message).toMatch(/index of directory/);
  expect(count).toBeGreaterThan(15_000);
  for (let index = 0; index < count; index += 11) {
    expect(image.find(ino, nameOf(index))?.ino).toBe(file);
  }
  image.close();
  expectClean(path);
  expect(runOk("debugfs", ["-R", "htree_dump /d", path])).toMatch(/Indirect levels: 1/);
});

test("an emptied index can be removed, and is empty before", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, 16 * megabyte, ["-b", "1024"]);
  const image = new DirectoryImage(path);
  const { ino, names } = fill(image, 2000, 40);
  for (const name of names) {
    expect(errorOf(() => image.unlink(rootIno, "d"))?.code).toBe("ENOTEMPTY");
    image.unlink(ino, name);
  }
  expect(image.names(ino)).toEqual([]);
  image.unlink(rootIno, "d");
  image.close();
  expectClean(path);
});

test("an index moves with its directory: its '..' is rewritten and sealed", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, 16 * megabyte, ["-b", "1024"]);
  const image = new DirectoryImage(path);
  const { ino } = fill(image, 500, 40);
  const other = image.create(rootIno, "other", newInode("directory"));
  image.rename(rootIno, "d", other, "moved");
  expect(image.find(ino, "..")?.ino).toBe(other);
  expect(image.find(ino, ".")?.ino).toBe(ino);
  image.close();
  expectClean(path);
});

skipUnless("loop mounts")("the kernel and this driver go on with each other's directories", () => {
  for (const blockSize of [1024, 4096]) {
    using directory = temporaryDirectory();
    using place = temporaryDirectory();
    const path = directory.file("image");
    mkfsExt4(path, 64 * megabyte, ["-b", String(blockSize), "-N", "16384"]);
    const expected = new Set<string>();
    const kernelName = (index: number) => `kernel ${index} ü`.padEnd(30 + (index % 200), ".");
    const ourName = (index: number) => `ours ${index}`.padEnd(30 + (index % 200), ".");
    {
      using mounted = loopMount(path, place.path);
      mkdirSync(join(mounted.directory, "d"));
      for (let index = 0; index < 3000; index++) {
        writeFileSync(join(mounted.directory, "d", kernelName(index)), "");
        expected.add(kernelName(index));
      }
    }
    const image = new DirectoryImage(path);
    const { ino } = image.find(rootIno, "d")!;
    const encode = (name: string) => Buffer.from(name).toString("latin1");
    expect(image.names(ino)).toEqual([...expected].map(encode).sort());
    for (let index = 0; index < 3000; index++) {
      expect(image.find(ino, encode(kernelName(index)))?.type).toBe("file");
      image.create(ino, ourName(index), newInode("file"));
      expected.add(ourName(index));
      if (index % 3 !== 0) continue;
      image.unlink(ino, encode(kernelName(index)));
      expected.delete(kernelName(index));
    }
    image.close();
    expectClean(path);
    {
      using mounted = loopMount(path, place.path);
      const d = join(mounted.directory, "d");
      expect(readdirSync(d).sort()).toEqual([...expected].sort());
      for (const name of expected) statSync(join(d, name));
      for (let index = 0; index < 1000; index++) {
        rmSync(join(d, ourName(index)));
        renameSync(join(d, ourName(index + 1000)), join(d, `again ${index}`));
        expected.delete(ourName(index));
        expected.delete(ourName(index + 1000));
        expected.add(`again ${index}`);
      }
    }
    const again = new DirectoryImage(path);
    expect(again.names(ino)).toEqual([...expected].map(encode).sort());
    again.close();
    expectClean(path);
  }
});

/** Everything a reader and a writer do in a directory. */
function useAll(image: DirectoryImage, ino: Ino, names: readonly string[]): void {
  const uses = [
    () => image.list(ino, 50),
    () => image.unlink(rootIno, "d"),
    ...names.slice(0, 40).map((name) => () => image.find(ino, name)),
    ...names.slice(40, 60).map((name) => () => image.unlink(ino, name)),
    ...names.slice(60, 80).map((name) => () => image.create(ino, `new ${name}`, newInode("file"))),
    () => image.rename(rootIno, "d", rootIno, "e"),
  ];
  for (const use of uses) {
    const error = errorOf(use);
    if (error === null || "errno" in error) continue;
    throw error;
  }
}

test("damaged directories end in errors that name the place, never in anything else", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, 4 * megabyte, ["-b", "1024", "-O", "^metadata_csum,^has_journal"]);
  const made = new DirectoryImage(path);
  const { ino, names } = fill(made, 700, 20);
  made.close();
  const blocks = runOk("debugfs", ["-R", "blocks /d", path]).trim().split(/\s+/).map(Number);
  const damage = fc.array(
    fc.record({
      block: fc.oneof(fc.constant(0), fc.nat(blocks.length - 1)),
      at: fc.oneof(fc.nat(60), fc.nat(1023)),
      value: fc.oneof(fc.constantFrom(0, 1, 255), fc.nat(255)),
    }),
    { minLength: 1, maxLength: 12 },
  );
  fc.assert(
    fc.property(damage, (places) => {
      const image = new DirectoryImage(path, 2 ** 27);
      for (const { block, at, value } of places) image.bytes[blocks[block]! * 1024 + at] = value;
      useAll(image, ino, names);
      image.thread.leave();
    }),
    { numRuns: 300 },
  );
});

test("a changed byte under checksums is found, and its block is named", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, 4 * megabyte, ["-b", "1024"]);
  const made = new DirectoryImage(path);
  const { ino } = fill(made, 700, 20);
  made.close();
  const blocks = runOk("debugfs", ["-R", "blocks /d", path]).trim().split(/\s+/).map(Number);
  for (const [index, block] of blocks.entries()) {
    const image = new DirectoryImage(path, 2 ** 27);
    image.bytes[block * 1024 + 14]! ^= 4;
    const error = errorOf(() => image.list(ino)) as { damage?: { deviceByte: number } } | null;
    expect(error, `block ${index}`).toMatchObject({ code: "EUCLEAN" });
    const { deviceByte } = error!.damage!;
    expect(Math.floor(deviceByte / 1024)).toBe(block);
    image.thread.leave();
  }
});

/**
 * Ends of names that, behind 249 times "p", all have the legacy hash 0x2468ace0. They were searched
 * for exhaustively. A leaf of 1 KiB holds three names of that length, so these fill four.
 */
const equalEnds = "bBwNly cv7uYK cMjj6T e2IR8d hY81DB io3NKv lzyI7O pZjHtq qVtF9V rfW8EU".split(
  " ",
);

test("names whose hashes are equal go on in the next leaf, and are all found", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, 16 * megabyte, ["-b", "1024"]);
  runOk("tune2fs", ["-E", "hash_alg=legacy", path]);
  const names = equalEnds.map((end) => "p".repeat(249) + end);
  for (const name of names) {
    const hash = { major: 0, minor: 0 };
    hashName(HASH_LEGACY, new Uint32Array(4), bytesOf(name), 0, name.length, hash);
    expect(hash.major).toBe(0x2468ace0);
  }

  const image = new DirectoryImage(path);
  const { ino, names: others } = fill(image, 300, 255);
  const file = image.find(rootIno, "file")!.ino;
  for (const name of names) image.link(ino, name, file);
  for (const name of [...names, ...others]) expect(image.find(ino, name)?.ino, name).toBe(file);
  for (const name of names) {
    expect(errorOf(() => image.link(ino, name, file))?.code).toBe("EEXIST");
  }
  for (const limit of [1, 4, 100]) {
    expect(image.names(ino, limit)).toEqual([...names, ...others].sort());
  }
  for (const name of names.slice(3)) image.unlink(ino, name);
  expect(image.names(ino)).toEqual([...names.slice(0, 3), ...others].sort());
  for (const name of names.slice(3)) image.link(ino, name, file);
  image.close();
  expectClean(path);
});
