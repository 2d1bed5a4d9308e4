// Files with block pointers on real volumes: what others wrote is found, what is asked for is made, and
// e2fsck, debugfs and the kernel agree.

import {
  closeSync,
  mkdirSync,
  openSync,
  readSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Ino } from "../../../src/base/quantities.ts";
import { allocateBlocks } from "../../../src/drivers/ext/space/allocator.ts";
import type { Extent } from "../../../src/iomap/contract.ts";
import type { Transaction } from "../../../src/metadata/transaction.ts";
import { loopMount, mkfsExt4, runOk, skipUnless, temporaryDirectory } from "../../support/tools.ts";
import {
  bytesOf,
  DirectoryImage,
  errorOf,
  newInode,
  rootIno,
  withImage,
  useImage,
} from "./directory-image.ts";

const MIB = 2 ** 20;

/** Has debugfs look at a volume that is open here. */
function debugfs(image: DirectoryImage, path: string, command: string): string {
  image.cache.flush();
  writeFileSync(path, image.bytes);
  return runOk("debugfs", ["-R", command, path]);
}

function makeFile(image: DirectoryImage, name = "file"): Ino {
  return image.create(rootIno, name, newInode("file"));
}

function extentsOf(image: DirectoryImage, ino: Ino, from: number, to: number): Extent[] {
  const extents: Extent[] = [];
  for (let at = from; at < to; at += extents.at(-1)!.length) {
    extents.push(image.driver.extentAt(ino, at, to));
  }
  return extents;
}

function allocate(image: DirectoryImage, ino: Ino, from: number, to: number): Extent[] {
  const extents: Extent[] = [];
  for (let at = from; at < to; at += extents.at(-1)!.length) {
    const write = (transaction: Transaction): Extent =>
      image.driver.allocate(transaction, ino, at, to - at, "write");
    extents.push(image.change(write));
  }
  return extents;
}

function setSize(image: DirectoryImage, ino: Ino, size: number): void {
  image.change((transaction) => image.driver.setSize(transaction, ino, size));
}

function removeFrom(image: DirectoryImage, ino: Ino, from: number, to = Infinity): void {
  while (!image.change((transaction) => image.driver.removeExtents(transaction, ino, from, to)));
}

/** Parts of a file around the places where another level of pointers begins: first byte and bytes. */
function partsFor(blockSize: number): readonly (readonly [start: number, length: number])[] {
  const each = blockSize / 4;
  const triple = 12 + each + each ** 2;
  const blocks = [
    [0, 5],
    [10, 4],
    [12 + each - 2, 4],
    [12 + each * 3 - 1, 2],
    [triple - 1, 3],
    [triple + each ** 2 - 1, 2],
  ] as const;
  return blocks.map(([block, count]) => [block * blockSize, count * blockSize]);
}

function sizeFor(blockSize: number): number {
  const [start, length] = partsFor(blockSize).at(-1)!;
  return start + length - 3;
}

/** What a part holds: each 8 bytes say where they are. */
function contentOf([start, length]: readonly [number, number]): Buffer {
  const content = Buffer.alloc(length);
  for (let at = 0; at < length; at += 8) content.writeDoubleLE(start + at + 1, at);
  return content;
}

/** Calls `check` with what a file should hold: its parts, and the zeroes before each. */
function forAllOf(blockSize: number, check: (at: number, expected: Buffer) => void): void {
  let end = 0;
  for (const part of partsFor(blockSize)) {
    const [start, length] = part;
    if (start > end) check(start - blockSize, Buffer.alloc(blockSize));
    check(start, contentOf(part).subarray(0, Math.min(length, sizeFor(blockSize) - start)));
    end = start + length;
  }
}

function writeParts(path: string, blockSize: number): void {
  const file = openSync(path, "w");
  forAllOf(blockSize, (at, bytes) => {
    if (bytes.some((byte) => byte !== 0)) writeSync(file, bytes, 0, bytes.length, at);
  });
  closeSync(file);
}

function expectParts(path: string, blockSize: number): void {
  const file = openSync(path, "r");
  forAllOf(blockSize, (at, expected) => {
    const found = Buffer.alloc(expected.length);
    readSync(file, found, 0, found.length, at);
    expect([at, found.equals(expected)]).toEqual([at, true]);
  });
  closeSync(file);
}

function writePartsHere(image: DirectoryImage, ino: Ino): void {
  const { blockSize } = image.driver;
  for (const part of partsFor(blockSize)) {
    const [start, length] = part;
    const content = contentOf(part);
    for (const extent of allocate(image, ino, start, start + length)) {
      if (extent.kind !== "mapped") throw new Error("not mapped");
      const at = extent.start - start;
      content.copy(image.bytes, extent.address, at, at + extent.length);
    }
  }
  setSize(image, ino, sizeFor(blockSize));
}

/** Bytes of a file, read where its extents say they are. */
function readHere(image: DirectoryImage, ino: Ino, from: number, length: number): Buffer {
  const content = Buffer.alloc(Math.ceil(length / image.driver.blockSize) * image.driver.blockSize);
  for (const extent of extentsOf(image, ino, from, from + content.length)) {
    if (extent.kind !== "mapped") continue;
    const { start, address } = extent;
    image.bytes.copy(content, start - from, address, address + extent.length);
  }
  return content.subarray(0, length);
}

function expectPartsHere(image: DirectoryImage, ino: Ino): void {
  const { blockSize } = image.driver;
  expect(image.driver.readInode(ino).size).toBe(sizeFor(blockSize));
  forAllOf(blockSize, (at, expected) => {
    expect([at, readHere(image, ino, at, expected.length).equals(expected)]).toEqual([at, true]);
  });
}

const kinds: readonly (readonly [type: string, blockSize: number, features: string])[] = [
  ["ext2", 1024, "none,filetype"],
  ["ext2", 2048, "sparse_super"],
  ["ext2", 4096, "dir_index"],
  ["ext3", 1024, "has_journal"],
  ["ext3", 4096, "^resize_inode"],
  ["ext4", 1024, "^extents,^64bit"],
  ["ext4", 4096, "^extents,^64bit,^metadata_csum,uninit_bg"],
];

describe.each(kinds)("%s, blocks of %i bytes, -O %s", (type, blockSize, features) => {
  const options = ["-t", type, "-b", String(blockSize), "-N", "256", "-O", features];

  test("what mke2fs wrote is found where it is", () => {
    using source = temporaryDirectory();
    mkdirSync(source.file("tree"));
    writeParts(source.file("tree/file"), blockSize);
    withImage(24 * MIB, [...options, "-d", source.file("tree")], (image) => {
      const { ino } = image.find(rootIno, "file")!;
      expect(image.driver.readInode(ino).hasExtents).toBe(false);
      expectPartsHere(image, ino);
    });
  });

  test("what is written is found by debugfs, and counted by e2fsck", () => {
    withImage(24 * MIB, options, (image, path) => {
      const ino = makeFile(image);
      writePartsHere(image, ino);
      const expected = partsFor(blockSize).map(([start]) => {
        const extent = image.driver.extentAt(ino, start, start + blockSize);
        return extent.kind === "mapped" ? extent.address / blockSize : extent.kind;
      });
      const found = partsFor(blockSize).map(([start]) =>
        Number(debugfs(image, path, `bmap <${ino}> ${start / blockSize}`)),
      );
      expect(found).toEqual(expected);
    });
  });

  test("removal is bounded, works from the end, and gives everything back", () => {
    withImage(32 * MIB, options, (image) => {
      const { blocksFree } = image.driver.spaceInfo();
      const ino = makeFile(image);
      const count = 900;
      for (let index = 0; index < count; index++) {
        allocate(image, ino, index * 2 * blockSize, (index * 2 + 1) * blockSize);
      }
      let left = count;
      let calls = 1;
      const remove = () =>
        image.change((transaction) => image.driver.removeExtents(transaction, ino, 0, Infinity));
      for (; !remove(); calls++) {
        const found = extentsOf(image, ino, 0, count * 2 * blockSize).map(({ kind }) => kind);
        const mapped = found.filter((kind) => kind === "mapped").length;
        expect(mapped).toBeLessThan(left);
        expect(found.lastIndexOf("mapped")).toBe((mapped - 1) * 2);
        left = mapped;
      }
      expect(calls).toBeGreaterThan(2);
      expect(image.driver.readInode(ino).sectors).toBe(0);
      expect(image.driver.spaceInfo().blocksFree).toBe(blocksFree);
    });
  });

  skipUnless("loop mounts")("the kernel reads what we wrote, and we what it wrote", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    mkdirSync(directory.file("mount"));
    mkfsExt4(path, 24 * MIB, options);
    useImage(path, (image) => writePartsHere(image, makeFile(image, "ours")));
    const [start, length] = partsFor(blockSize).at(-2)!;
    {
      using mount = loopMount(path, directory.file("mount"));
      const ours = join(mount.directory, "ours");
      expectParts(ours, blockSize);
      writeParts(join(mount.directory, "theirs"), blockSize);
      runOk("fallocate", ["-p", "-o", String(start), "-l", String(length), ours]);
    }
    useImage(path, (image) => {
      const ours = image.find(rootIno, "ours")!.ino;
      expect(readHere(image, ours, start, length).every((byte) => byte === 0)).toBe(true);
      const theirs = image.find(rootIno, "theirs")!.ino;
      expectPartsHere(image, theirs);
      removeFrom(image, theirs, start, start + length);
      image.unlink(rootIno, "ours");
    });
    using mount = loopMount(path, directory.file("mount"), ["ro"]);
    const file = openSync(join(mount.directory, "theirs"), "r");
    const found = Buffer.alloc(length, 1);
    readSync(file, found, 0, length, start);
    closeSync(file);
    expect(found.every((byte) => byte === 0)).toBe(true);
  });
});

skipUnless("loop mounts")(
  "blocks of pointers that the kernel left empty go with what is removed",
  () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    mkdirSync(directory.file("mount"));
    mkfsExt4(path, 24 * MIB, ["-t", "ext2", "-b", "1024", "-N", "64"]);
    const count = 300;
    const at = (index: number): number => (12 + 256 + 256 * index + 100) * 1024;
    {
      using mount = loopMount(path, directory.file("mount"));
      const file = join(mount.directory, "file");
      const fd = openSync(file, "w");
      for (let index = 0; index < count; index++)
        writeSync(fd, Buffer.alloc(4096, 1), 0, 4096, at(index));
      closeSync(fd);
      // A punch that takes all that is left of a block of pointers leaves the block in the kernel's files.
      for (let index = 0; index < count; index++) {
        for (const part of [0, 2048]) {
          const start = String(at(index) + part);
          runOk("fallocate", ["--punch-hole", "-o", start, "-l", "2048", file]);
        }
      }
    }
    useImage(path, (image) => {
      const { ino } = image.find(rootIno, "file")!;
      const before = image.driver.readInode(ino).sectors;
      expect(extentsOf(image, ino, 0, at(count)).map(({ kind }) => kind)).toEqual(["hole"]);
      removeFrom(image, ino, 0);
      expect(image.driver.readInode(ino).sectors).toBe(0);
      expect(before).toBeGreaterThan(2 * 128);
    });
  },
);

describe.each([
  ["ext2", 1024, []],
  ["ext2", 2048, []],
  ["ext2", 4096, []],
  ["ext3", 4096, []],
  ["ext4", 4096, ["-O", "^extents,^64bit,huge_file"]],
  ["ext4", 1024, ["-O", "^extents,^64bit,^huge_file"]],
] as const)(
  "the largest file with block pointers: %s, blocks of %i bytes, %j",
  (type, blockSize, more) => {
    const each = blockSize / 4;
    const pointers = 12 + each + each ** 2 + each ** 3;
    const options = ["-t", type, "-b", String(blockSize), "-N", "64", ...more];
    const isCounted = blockSize === 4096 && type !== "ext4";

    /** The largest size this driver gives. */
    function findLimit(image: DirectoryImage, ino: Ino): number {
      let [fits, tooLarge] = [0, (pointers + 1) * blockSize];
      while (tooLarge - fits > 1) {
        const middle = Math.floor((fits + tooLarge) / 2);
        if (errorOf(() => setSize(image, ino, middle))?.code === "EFBIG") tooLarge = middle;
        else fits = middle;
      }
      return fits;
    }

    test("ends with its pointers, or where its sectors can no longer be counted in 32 bits", () => {
      withImage(8 * MIB, options, (image) => {
        const ino = makeFile(image);
        const limit = findLimit(image, ino);
        expect(limit < pointers * blockSize).toBe(isCounted);
        if (isCounted) expect(limit).toBeLessThan(2 ** 32 * 512);
        else expect(limit).toBe(pointers * blockSize);
        const last = limit - blockSize;
        allocate(image, ino, last, limit);
        const [extent] = extentsOf(image, ino, last, limit + 10 * blockSize);
        expect(extent).toMatchObject({ kind: "mapped", length: blockSize });
        expect(errorOf(() => allocate(image, ino, limit, limit + blockSize))?.code).toBe("EFBIG");
        setSize(image, ino, limit);
      });
    });

    skipUnless("loop mounts")("is as large as the kernel has it", () => {
      using directory = temporaryDirectory();
      const path = directory.file("image");
      mkdirSync(directory.file("mount"));
      mkfsExt4(path, 8 * MIB, options);
      let limit = 0;
      useImage(path, (image) => {
        const ino = makeFile(image);
        limit = findLimit(image, ino);
        setSize(image, ino, 0);
      });
      using mount = loopMount(path, directory.file("mount"));
      const file = join(mount.directory, "file");
      truncateSync(file, limit);
      expect(() => truncateSync(file, limit + 1)).toThrow(
        expect.objectContaining({ code: "EFBIG" }),
      );
    });
  },
);

test("a file on an empty volume is one piece, aligned so that 2 MiB can be one page", () => {
  withImage(64 * MIB, ["-t", "ext2", "-b", "4096"], (image) => {
    const ino = makeFile(image);
    allocate(image, ino, 0, 20 * MIB);
    const extents = extentsOf(image, ino, 0, 20 * MIB);
    expect(extents).toHaveLength(1);
    expect(extents[0]).toMatchObject({ kind: "mapped", length: 20 * MIB });
    if (extents[0]?.kind === "mapped") expect(extents[0].address % (2 * MIB)).toBe(0);
    setSize(image, ino, 20 * MIB);
  });
});

test("nothing can be unwritten or moved, and the attempt changes nothing", () => {
  withImage(8 * MIB, ["-t", "ext2"], (image) => {
    const ino = makeFile(image);
    const { blockSize } = image.driver;
    allocate(image, ino, 0, 20 * blockSize);
    setSize(image, ino, 20 * blockSize);
    const before = extentsOf(image, ino, 0, 30 * blockSize);
    const attempts: ((transaction: Transaction) => unknown)[] = [
      (transaction) =>
        image.driver.allocate(transaction, ino, 25 * blockSize, blockSize, "preallocate"),
      (transaction) => image.driver.unwriteExtents(transaction, ino, 0, 5 * blockSize),
      (transaction) => image.driver.shiftExtents(transaction, ino, 5 * blockSize, blockSize),
    ];
    for (const attempt of attempts) {
      const error = errorOf(() => image.change(attempt));
      expect(error?.code).toBe("EOPNOTSUPP");
      expect(error?.message).toMatch(`inode ${ino} has block pointers, not extents`);
    }
    expect(extentsOf(image, ino, 0, 30 * blockSize)).toEqual(before);
  });
});

describe("a pointer that cannot be", () => {
  /** A volume with a file of triply indirect blocks, and where its pointers lie. */
  function damaged(damage: (image: DirectoryImage, inodeByte: number) => void): DirectoryImage {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    mkfsExt4(path, 24 * MIB, ["-t", "ext2", "-b", "1024", "-N", "64"]);
    useImage(path, (image) => writePartsHere(image, makeFile(image)));
    const found = /located at block (\d+), offset 0x([0-9a-f]+)/.exec(
      runOk("debugfs", ["-R", "imap /file", path]),
    )!;
    const inodeByte = Number(found[1]) * 1024 + Number.parseInt(found[2]!, 16);
    const image = new DirectoryImage(path, 2 ** 26);
    damage(image, inodeByte);
    return image;
  }

  const pointerByte = (inodeByte: number, index: number): number => inodeByte + 0x28 + 4 * index;

  test.each([
    ["outside the volume", 0x7fffffff],
    ["in the volume's own structures", 3],
  ])("in an indirect block is named with its block, its index and what it is: %s", (_, value) => {
    let block = 0;
    const image = damaged(({ bytes }, inodeByte) => {
      block = bytes.readUInt32LE(pointerByte(inodeByte, 12));
      bytes.writeUInt32LE(value, block * 1024 + 4 * 7);
    });
    const { ino } = image.find(rootIno, "file")!;
    expect(image.driver.extentAt(ino, 0, 1024).kind).toBe("mapped");
    for (const work of [
      () => image.driver.extentAt(ino, 12 * 1024, 13 * 1024),
      () => allocate(image, ino, 14 * 1024, 15 * 1024),
      () => removeFrom(image, ino, 0),
    ]) {
      const error = errorOf(work);
      expect(error?.code).toBe("EUCLEAN");
      expect(error?.message).toMatch(
        new RegExp(`indirect block ${block} of inode ${ino}.*pointer 7 is ${value}`),
      );
    }
    image.thread.leave();
  });

  test("in an indirect block that has the same twice is named with the second one's index", () => {
    let value = 0;
    const image = damaged(({ bytes }, inodeByte) => {
      const block = bytes.readUInt32LE(pointerByte(inodeByte, 12));
      value = bytes.readUInt32LE(block * 1024);
      bytes.writeUInt32LE(value, block * 1024 + 4 * 9);
    });
    const { ino } = image.find(rootIno, "file")!;
    const error = errorOf(() => image.driver.extentAt(ino, 12 * 1024, 13 * 1024));
    expect(error?.code).toBe("EUCLEAN");
    expect(error?.message).toMatch(new RegExp(`pointer 9 is ${value}, which a pointer before`));
    image.thread.leave();
  });

  test.each([0, 12, 13, 14])("in the inode is named: pointer %i", (index) => {
    const image = damaged(({ bytes }, inodeByte) => {
      bytes.writeUInt32LE(0x12345678, pointerByte(inodeByte, index));
    });
    const { ino } = image.find(rootIno, "file")!;
    const first = [0, 12, 268, 65804][index === 0 ? 0 : index - 11]! * 1024;
    for (const work of [
      () => image.driver.extentAt(ino, first, first + 1024),
      () => removeFrom(image, ino, first, first + 1024),
    ]) {
      const error = errorOf(work);
      expect(error?.code).toBe("EUCLEAN");
      expect(error?.message).toMatch(new RegExp(`${0x12345678}.*inode ${ino}`));
    }
    image.thread.leave();
  });

  test("that leads to its own block, or back up, ends in an error or a file", () => {
    for (const [index, target] of [
      [13, 13],
      [14, 14],
      [14, 13],
    ] as const) {
      const image = damaged(({ bytes }, inodeByte) => {
        const block = bytes.readUInt32LE(pointerByte(inodeByte, index));
        const other = bytes.readUInt32LE(pointerByte(inodeByte, target));
        for (let at = 0; at < 1024; at += 4) bytes.writeUInt32LE(other, block * 1024 + at);
      });
      const { ino } = image.find(rootIno, "file")!;
      const end = sizeFor(1024);
      const look = errorOf(() => {
        for (let at = 0, looks = 0; at < end && looks < 1000; looks++) {
          at += image.driver.extentAt(ino, at, end - (end % 1024)).length;
        }
      });
      if (look !== null) expect(look.code).toBe("EUCLEAN");
      const removal = errorOf(() => removeFrom(image, ino, 0));
      if (removal !== null || index === target) expect(removal?.code).toBe("EUCLEAN");
      image.thread.leave();
    }
  });
});

test("files of both kinds live on one volume, and new ones have extents once it has them", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, 24 * MIB, ["-t", "ext3", "-b", "1024", "-N", "1024"]);
  useImage(path, (image) => {
    expect(image.driver.type).toBe("ext3");
    writePartsHere(image, makeFile(image, "old"));
  });
  runOk("tune2fs", ["-O", "extents", path]);
  useImage(path, (image) => {
    expect(image.driver.type).toBe("ext4");
    const old = image.find(rootIno, "old")!.ino;
    const young = makeFile(image, "new");
    expect(image.driver.readInode(old).hasExtents).toBe(false);
    expect(image.driver.readInode(young).hasExtents).toBe(true);
    expectPartsHere(image, old);
    for (let at = 0; at < 300; at++) {
      allocate(image, old, at * 1024, (at + 1) * 1024);
      allocate(image, young, at * 2048, at * 2048 + 1024);
    }
    setSize(image, young, 600 * 1024);
    image.create(rootIno, "directory", newInode("directory"));
    for (let index = 0; index < 200; index++) makeFileIn(image, rootIno, `name-${index}`);
    removeFrom(image, old, 100 * 1024, 200 * 1024);
  });
});

function makeFileIn(image: DirectoryImage, directory: Ino, name: string): Ino {
  return image.create(directory, name, newInode("fifo"));
}

describe.each([
  ["none", 1024],
  ["none", 4096],
  ["none,filetype", 1024],
  ["none,dir_index,sparse_super", 1024],
  ["none,filetype,resize_inode,sparse_super,large_file", 2048],
] as const)("with the features %s and blocks of %i bytes", (features, blockSize) => {
  const shape = ["-t", "ext2", "-b", String(blockSize), "-I", "128", "-N", "3000"];
  const options = [...shape, "-O", features];

  test("a directory grows through indirect blocks, and goes again", () => {
    withImage(24 * MIB, options, (image) => {
      const { blocksFree, inodesFree } = image.driver.spaceInfo();
      const directory = image.create(rootIno, "directory", newInode("directory"));
      const target = makeFile(image, "target");
      const names = Array.from({ length: 1500 }, (_, index) => `${"n".repeat(200)}-${index}`);
      for (const name of names) image.link(directory, name, target);
      expect(image.driver.readInode(directory).size).toBeGreaterThan(20 * blockSize);
      expect(image.names(directory)).toEqual([...names].sort());
      expect(image.find(directory, names[777]!)?.ino).toBe(target);
      for (const name of names) image.unlink(directory, name);
      image.unlink(rootIno, "directory");
      image.unlink(rootIno, "target");
      expect(image.driver.spaceInfo()).toMatchObject({ blocksFree, inodesFree });
    });
  });

  test("symlinks lie in the inode or in a block, and owners and times fit", () => {
    withImage(24 * MIB, options, (image, path) => {
      const targets = [1, 59, 60, 61, 1000].map((length) => "t".repeat(length));
      for (const text of targets) {
        const inode = newInode("symlink", {
          target: bytesOf(text),
          uid: 70_000,
          gid: 300_000,
        });
        const ino = image.create(rootIno, `link-${text.length}`, inode);
        expect(Buffer.from(image.driver.readLink(ino)).toString()).toBe(text);
        expect(image.driver.readInode(ino)).toMatchObject({
          uid: 70_000,
          gid: 300_000,
          sectors: text.length < 60 ? 0 : blockSize / 512,
          modifyTime: { seconds: 1_700_000_000, nanoseconds: 0 },
          birthTime: { seconds: 0, nanoseconds: 0 },
        });
      }
      expect(debugfs(image, path, "stat /link-1000")).toMatch(/User: +70000 +Group: +300000/);
      image.unlink(rootIno, "link-59");
      image.unlink(rootIno, "link-60");
    });
  });
});

test("a volume of revision 0 is used, and becomes one of revision 1 with its first large file", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, 16 * MIB, ["-t", "ext2", "-r", "0", "-b", "4096"]);
  const revision = (): string =>
    /revision #: +(\d+)/.exec(runOk("dumpe2fs", ["-h", path]))?.[1] ?? "";
  useImage(path, (image) => {
    expect(image.driver.type).toBe("ext2");
    expect(image.volume.facts).toMatchObject({ firstIno: 11, inodeSize: 128 });
    const ino = makeFile(image, "small");
    allocate(image, ino, 0, 100_000 - (100_000 % 4096));
    setSize(image, ino, 2 ** 31 - 1);
  });
  expect(revision()).toBe("0");
  useImage(path, (image) => setSize(image, image.find(rootIno, "small")!.ino, 2 ** 31));
  expect(revision()).toBe("1");
  expect(runOk("dumpe2fs", ["-h", path])).toMatch(/features: +large_file/);
  useImage(path, (image) => {
    expect(image.driver.readInode(image.find(rootIno, "small")!.ino).size).toBe(2 ** 31);
    makeFile(image, "other");
  });
});

test("blocks come from groups that end before the last block that a map can name", () => {
  withImage(48 * MIB, ["-t", "ext2", "-b", "1024", "-N", "64"], (image) => {
    const end = 2 * 8192 + 100;
    const tryAt = (goal: number): number => {
      let start = 0;
      const take = (transaction: Transaction): never => {
        ({ start } = allocateBlocks(image.volume, transaction, { goal, count: 1, end }));
        throw new Error("given up");
      };
      expect(errorOf(() => image.change(take))?.message).toBe("given up");
      return start;
    };
    expect(tryAt(9000)).toBe(9000);
    for (const goal of [2 * 8192 + 50, 30_000]) expect(tryAt(goal)).toBeLessThan(2 * 8192);
  });
});
