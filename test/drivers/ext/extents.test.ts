// A file's blocks on real volumes: what others wrote is found, what is asked for is made, and
// e2fsck, debugfs and the kernel agree.

import {
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Ino } from "../../../src/base/quantities.ts";
import type { Extent } from "../../../src/iomap/contract.ts";
import { loopMount, mkfsExt4, runOk, skipUnless, temporaryDirectory } from "../../support/tools.ts";
import {
  bytesOf,
  type DirectoryImage,
  errorOf,
  newInode,
  rootIno,
  withImage,
  useImage,
} from "./directory-image.ts";

function makeFile(image: DirectoryImage, name = "file"): Ino {
  return image.create(rootIno, name, newInode("file"));
}

/** All of [from, to), in bytes. */
function extentsOf(image: DirectoryImage, ino: Ino, from: number, to: number): Extent[] {
  const extents: Extent[] = [];
  for (let at = from; at < to; at += extents.at(-1)!.length) {
    extents.push(image.driver.extentAt(ino, at, to));
  }
  return extents;
}

function allocate(
  image: DirectoryImage,
  ino: Ino,
  from: number,
  to: number,
  mode: "write" | "preallocate" = "write",
): Extent[] {
  const extents: Extent[] = [];
  for (let at = from; at < to; at += extents.at(-1)!.length) {
    extents.push(
      image.change((transaction) => image.driver.allocate(transaction, ino, at, to - at, mode)),
    );
  }
  return extents;
}

function setSize(image: DirectoryImage, ino: Ino, size: number): void {
  image.change((transaction) => image.driver.setSize(transaction, ino, size));
}

/** A file's bytes, read where its extents say they are. */
function contentOf(image: DirectoryImage, ino: Ino): Buffer {
  const { size } = image.driver.readInode(ino);
  const { blockSize } = image.driver;
  const content = Buffer.alloc(Math.ceil(size / blockSize) * blockSize);
  for (const extent of extentsOf(image, ino, 0, content.length)) {
    if (extent.kind !== "mapped") continue;
    image.bytes.copy(content, extent.start, extent.address, extent.address + extent.length);
  }
  return content.subarray(0, size);
}

/** Writes pieces of a pattern with holes between them. */
function writeSparse(path: string, pieces: number, step: number): void {
  const file = openSync(path, "w");
  for (let piece = 0; piece < pieces; piece++) {
    writeSync(file, Buffer.alloc(1500 + piece, piece + 1), 0, 1500 + piece, piece * step);
  }
  ftruncateSync(file, pieces * step + 12345);
  closeSync(file);
}

describe.each([1024, 2048, 4096])("with blocks of %i bytes", (blockSize) => {
  const options = ["-b", String(blockSize)];

  test("what mke2fs wrote is found where it is", () => {
    using source = temporaryDirectory();
    mkdirSync(source.file("tree"));
    writeSparse(join(source.file("tree"), "few"), 3, 100_000);
    writeSparse(join(source.file("tree"), "many"), 700, 10_000);
    writeFileSync(join(source.file("tree"), "empty"), "");
    withImage(64 << 20, [...options, "-d", source.file("tree")], (image) => {
      for (const name of ["few", "many", "empty"]) {
        const found = image.find(rootIno, name)!;
        const written = readFileSync(join(source.file("tree"), name));
        expect(contentOf(image, found.ino).equals(written)).toBe(true);
      }
    });
  });

  test("new blocks read as zeroes, whatever was there", () => {
    withImage(16 << 20, options, (image) => {
      const { blocksFree } = image.driver.spaceInfo();
      const ino = makeFile(image);
      const [dirty] = allocate(image, ino, 0, 100 * blockSize);
      if (dirty?.kind !== "mapped") throw new Error("not mapped");
      image.bytes.fill(0xaa, dirty.address, dirty.address + dirty.length);
      image.change((transaction) => image.driver.removeExtents(transaction, ino, 0, Infinity));
      expect(image.driver.readInode(ino).sectors).toBe(0);
      expect(image.driver.spaceInfo().blocksFree).toBe(blocksFree);
      allocate(image, ino, 0, 200 * blockSize);
      setSize(image, ino, 200 * blockSize);
      expect(contentOf(image, ino).equals(Buffer.alloc(200 * blockSize))).toBe(true);
    });
  });

  test("a write into preallocated space converts what was asked for, and no more", () => {
    withImage(16 << 20, options, (image) => {
      const ino = makeFile(image);
      allocate(image, ino, 0, 50 * blockSize, "preallocate");
      const [whole] = extentsOf(image, ino, 0, 60 * blockSize);
      if (whole?.kind !== "unwritten") throw new Error("not unwritten");
      image.bytes.fill(0xbb, whole.address, whole.address + whole.length);
      allocate(image, ino, 10 * blockSize, 12 * blockSize);
      expect(
        extentsOf(image, ino, 0, 60 * blockSize).map(({ kind, length }) => [
          kind,
          length / blockSize,
        ]),
      ).toEqual([
        ["unwritten", 10],
        ["mapped", 2],
        ["unwritten", 38],
        ["hole", 10],
      ]);
      const zeroed = whole.address + 10 * blockSize;
      expect(image.bytes.subarray(zeroed, zeroed + 2 * blockSize).every((byte) => byte === 0));
      expect(image.bytes[zeroed - 1]).toBe(0xbb);
      expect(image.bytes[zeroed + 2 * blockSize]).toBe(0xbb);
      allocate(image, ino, 0, 50 * blockSize);
      expect(extentsOf(image, ino, 0, 50 * blockSize)).toHaveLength(1);
      setSize(image, ino, 50 * blockSize);
    });
  });

  test("removal is bounded, works from the end, and gives everything back", () => {
    withImage(32 << 20, options, (image) => {
      const { blocksFree } = image.driver.spaceInfo();
      const ino = makeFile(image);
      const count = 900;
      for (let index = 0; index < count; index++) {
        allocate(image, ino, index * 2 * blockSize, (index * 2 + 1) * blockSize);
      }
      let calls = 1;
      let left = count;
      const remove = () =>
        image.change((transaction) => image.driver.removeExtents(transaction, ino, 0, Infinity));
      while (!remove()) {
        calls++;
        const kinds = extentsOf(image, ino, 0, count * 2 * blockSize).map(({ kind }) => kind);
        const mapped = kinds.filter((kind) => kind === "mapped").length;
        expect(mapped).toBeLessThan(left);
        expect(kinds.lastIndexOf("mapped")).toBe((mapped - 1) * 2);
        left = mapped;
      }
      expect(calls).toBeGreaterThan(2);
      expect(image.driver.readInode(ino).sectors).toBe(0);
      expect(image.driver.spaceInfo().blocksFree).toBe(blocksFree);
    });
  });

  test("files beyond 4 GiB keep their size and their far blocks", () => {
    withImage(32 << 20, options, (image, path) => {
      const ino = makeFile(image);
      const far = 3 * 2 ** 40;
      const at = far - (far % blockSize);
      allocate(image, ino, 0, blockSize);
      allocate(image, ino, at, at + blockSize);
      setSize(image, ino, at + 5);
      expect(image.driver.readInode(ino).size).toBe(at + 5);
      expect(extentsOf(image, ino, 0, at + 10 * blockSize).map(({ kind }) => kind)).toEqual([
        "mapped",
        "hole",
        "mapped",
        "hole",
      ]);
      image.cache.flush();
      writeFileSync(path, image.bytes);
      expect(runOk("debugfs", ["-R", "stat /file", path])).toMatch(`Size: ${at + 5}`);
      const limit = (2 ** 32 - 1) * blockSize;
      expect(errorOf(() => setSize(image, ino, limit + 1))?.code).toBe("EFBIG");
      expect(errorOf(() => allocate(image, ino, limit, limit + blockSize))?.code).toBe("EFBIG");
      const shift = () =>
        image.change((transaction) => image.driver.shiftExtents(transaction, ino, at, limit - at));
      expect(errorOf(shift)?.code).toBe("EFBIG");
    });
  });
});

test("neighbours that continue each other come back as one extent, across entries and leaves", () => {
  withImage(128 << 20, ["-b", "1024", "-N", "64"], (image, path) => {
    const ino = makeFile(image);
    allocate(image, ino, 0, 90_000 * 1024, "preallocate");
    // Every other block written splits the extents, and filling the gaps makes them whole again.
    for (let at = 0; at < 600; at += 2) allocate(image, ino, at * 1024, (at + 1) * 1024);
    expect(extentsOf(image, ino, 0, 600 * 1024)).toHaveLength(600);
    for (let at = 1; at < 600; at += 2) allocate(image, ino, at * 1024, (at + 1) * 1024);
    expect(extentsOf(image, ino, 0, 600 * 1024)).toHaveLength(1);
    allocate(image, ino, 0, 90_000 * 1024);
    setSize(image, ino, 90_000 * 1024);
    image.cache.flush();
    writeFileSync(path, image.bytes);
    const listed = runOk("debugfs", ["-R", "ex /file", path]).split("\n");
    const leaves = listed.filter((line) => /^ (\d)\/ \1/.test(line)).length;
    expect(leaves).toBeGreaterThan(2);
    expect(extentsOf(image, ino, 0, 90_000 * 1024).length).toBeLessThan(leaves);
  });
});

test("a written extent of the greatest length becomes two unwritten ones, and back", () => {
  withImage(128 << 20, ["-b", "1024", "-N", "64", "-g", "8192", "-G", "64"], (image) => {
    const ino = makeFile(image);
    const end = 33_000 * 1024;
    allocate(image, ino, 0, end);
    while (!image.change((transaction) => image.driver.unwriteExtents(transaction, ino, 0, end)));
    expect(extentsOf(image, ino, 0, end).every(({ kind }) => kind === "unwritten")).toBe(true);
    allocate(image, ino, 0, end);
    expect(extentsOf(image, ino, 0, end).every(({ kind }) => kind === "mapped")).toBe(true);
    setSize(image, ino, end);
  });
});

test("a collapse into blocks is refused", () => {
  withImage(8 << 20, ["-b", "1024"], (image) => {
    const ino = makeFile(image);
    allocate(image, ino, 0, 10 * 1024);
    setSize(image, ino, 10 * 1024);
    const collapse = () =>
      image.change((transaction) =>
        image.driver.shiftExtents(transaction, ino, 5 * 1024, -2 * 1024),
      );
    expect(errorOf(collapse)?.code).toBe("EINVAL");
  });
});

test("a tree grows to a depth of three and shrinks to nothing", () => {
  withImage(96 << 20, ["-b", "1024", "-N", "64"], (image, path) => {
    const { blocksFree } = image.driver.spaceInfo();
    const ino = makeFile(image);
    const count = 31_000;
    image.change((transaction) => {
      for (let index = 0; index < count; index++) {
        image.driver.allocate(transaction, ino, index * 2048, 1024, "preallocate");
      }
    });
    image.cache.flush();
    writeFileSync(path, image.bytes);
    expect(runOk("debugfs", ["-R", "ex /file", path])).toMatch(/^ 3\/ 3/m);
    expect(image.driver.extentAt(ino, 2048 * 20_001, 2048 * 20_002)).toMatchObject({
      kind: "unwritten",
      length: 1024,
    });
    const remove = (from: number, to: number) =>
      image.change((transaction) => image.driver.removeExtents(transaction, ino, from, to));
    while (!remove(2048 * 100, 2048 * 30_000));
    expect(extentsOf(image, ino, 0, 2048 * count)).toHaveLength(100 * 2 + 1000 * 2 - 1 + 1);
    while (!remove(0, Infinity));
    expect(image.driver.spaceInfo().blocksFree).toBe(blocksFree);
  });
});

skipUnless("loop mounts")("the kernel reads what we wrote, and we what it wrote", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkdirSync(directory.file("mount"));
  mkfsExt4(path, 64 << 20, ["-b", "1024"]);
  useImage(path, (image) => {
    const ino = makeFile(image, "ours");
    for (let index = 0; index < 600; index++) {
      const [extent] = allocate(image, ino, index * 3072, index * 3072 + 1024);
      if (extent?.kind !== "mapped") throw new Error("not mapped");
      image.bytes.fill((index % 250) + 1, extent.address, extent.address + 1024);
    }
    allocate(image, ino, 0, 500 * 1024, "preallocate");
    setSize(image, ino, 600 * 3072);
  });
  const expected = Buffer.alloc(600 * 3072);
  for (let index = 0; index < 600; index++) {
    expected.fill((index % 250) + 1, index * 3072, index * 3072 + 1024);
  }
  {
    using mount = loopMount(path, directory.file("mount"));
    expect(readFileSync(join(mount.directory, "ours")).equals(expected)).toBe(true);
    writeSparse(join(mount.directory, "theirs"), 900, 4096);
    runOk("fallocate", ["-p", "-o", "100K", "-l", "300K", join(mount.directory, "ours")]);
    runOk("fallocate", ["-z", "-o", "700K", "-l", "200K", join(mount.directory, "theirs")]);
    expected.fill(0, 100 * 1024, 400 * 1024);
  }
  useImage(path, (image) => {
    expect(contentOf(image, image.find(rootIno, "ours")!.ino).equals(expected)).toBe(true);
    const theirs = image.find(rootIno, "theirs")!.ino;
    const content = contentOf(image, theirs);
    expect(content[4096 * 10]).toBe(11);
    expect(content.subarray(700 * 1024, 900 * 1024).every((byte) => byte === 0)).toBe(true);
    image.change((transaction) =>
      image.driver.unlink(transaction, rootIno, bytesOf("theirs"), { seconds: 0, nanoseconds: 0 }),
    );
    image.reclaim(theirs);
  });
});
