// Content in inodes (inline_data), as mke2fs and debugfs make it: read as it is, moved out when it is to be changed,
// e2fsck finding nothing; directories change where they are while there is room, and listings go on
// when there is not; damage is named.

import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Ino } from "../../../src/base/quantities.ts";
import { areaOfBody, writeBody } from "../../../src/drivers/ext/attributes/body.ts";
import { DiskInode } from "../../../src/drivers/ext/format.ts";
import { contentRest } from "../../../src/drivers/ext/maps/inline-data.ts";
import { editInode, readRaw, setInodeSize } from "../../../src/drivers/ext/inodes/inode.ts";
import { fsckSync } from "../../../src/index.ts";
import { e2fsckClean, mkfsExt4, runOk, temporaryDirectory } from "../../support/tools.ts";
import {
  bytesOf,
  DirectoryImage,
  errorOf,
  newInode,
  rootIno,
  someTime,
  textOf,
} from "./directory-image.ts";

const REGION_BYTES = 2 ** 26;
const SIZES = [0, 1, 59, 60, 61, 100, 120];
/** Content that differs from byte to byte. */
function contentOf(size: number): Buffer {
  return Buffer.from(Array.from({ length: size }, (_, at) => 1 + ((at * 7 + size) % 250)));
}

/** An image with small files, directories and symlinks in their inodes. */
function makeImage(path: string, options: readonly string[] = []): DirectoryImage {
  using source = temporaryDirectory();
  const at = (name: string): string => join(source.path, name);
  for (const size of SIZES) writeFileSync(at(`file-${size}`), contentOf(size));
  for (const name of ["empty", "small", "small/inner"]) mkdirSync(at(name));
  for (const name of ["a", "b", "c"]) writeFileSync(at(`small/${name}`), name);
  symlinkSync("t".repeat(59), at("link-59"));
  const wanted = ["-O", "inline_data", "-N", "128", ...options, "-d", source.path];
  mkfsExt4(path, 4 * 2 ** 20, wanted);
  // Longer targets are beyond mke2fs, not beyond debugfs.
  runOk("debugfs", ["-w", "-R", `symlink link-90 ${"t".repeat(90)}`, path]);
  expectClean(path);
  return new DirectoryImage(path, REGION_BYTES);
}

function expectClean(path: string): void {
  const { clean, output } = e2fsckClean(path);
  expect(clean, output).toBe(true);
  expect(fsckSync(path).findings).toEqual([]);
}

function find(image: DirectoryImage, path: string): Ino {
  let ino = rootIno;
  for (const name of path.split("/")) ino = image.find(ino, name)!.ino;
  return ino;
}

function moveOut(image: DirectoryImage, ino: Ino): void {
  image.change((transaction) => image.driver.moveOutOfInode(transaction, ino));
}

/** Gives a directory in its inode room for names in its attribute, which the kernel's have, and mke2fs' have not. */
function giveRest(image: DirectoryImage, ino: Ino): void {
  const record = Buffer.alloc(48);
  record.writeUInt16LE(record.length, 4);
  image.change((transaction) => {
    const raw = editInode(image.volume, transaction, ino);
    const area = areaOfBody(image.volume, raw)!;
    const name = bytesOf("data");
    writeBody(area, [{ index: 7, name, value: Uint8Array.from(record), outside: null }]);
    setInodeSize(raw, 60 + record.length);
  });
}

/** A file's bytes, wherever they lie. */
function bytesOfFile(image: DirectoryImage, ino: Ino): Buffer {
  const { size } = image.driver.readInode(ino);
  const extent = image.driver.extentAt(ino, 0, image.driver.blockSize);
  if (extent.kind === "inline") return Buffer.from(extent.bytes);
  if (extent.kind === "hole") return Buffer.alloc(size);
  return Buffer.from(image.bytes.subarray(extent.address, extent.address + size));
}

describe.each([
  ["ext4", 1024, 256],
  ["ext4", 4096, 256],
  ["ext4", 4096, 1024],
  ["ext2", 1024, 512],
])("%s, blocks of %i bytes, inodes of %i", (type, blockSize, inodeSize) => {
  const options = ["-t", type, "-b", `${blockSize}`, "-I", `${inodeSize}`];

  test("files, directories and symlinks are read out of their inodes", () => {
    using directory = temporaryDirectory();
    const image = makeImage(directory.file("image"), options);
    const { driver } = image;
    for (const size of SIZES) {
      const ino = find(image, `file-${size}`);
      expect(bytesOfFile(image, ino)).toEqual(contentOf(size));
      expect(driver.readInode(ino)).toMatchObject({ size, isInline: true });
      // As of what is in blocks: so many bytes are in use.
      expect(driver.readInode(ino).sectors).toBe(size === 0 ? 0 : 1);
    }
    expect(driver.extentAt(find(image, "file-60"), 0, 4 * blockSize)).toMatchObject({
      kind: "inline",
      length: blockSize,
    });
    const beyond = driver.extentAt(find(image, "file-60"), blockSize, 4 * blockSize);
    expect(beyond).toEqual({ kind: "hole", start: blockSize, length: 3 * blockSize });
    const small = find(image, "small");
    expect(image.names(small)).toEqual(["a", "b", "c", "inner"]);
    expect(image.names(find(image, "empty"))).toEqual([]);
    expect(image.find(small, ".")).toEqual({ ino: small, type: "directory" });
    expect(image.find(find(image, "small/inner"), "..")).toEqual({ ino: small, type: "directory" });
    for (const size of [59, 90]) {
      const target = driver.readLink(find(image, `link-${size}`));
      expect(textOf(target)).toBe("t".repeat(size));
    }
    expect(driver.extendedAttributes.list(find(image, "file-100"))).toEqual([]);
  });

  test("a file moves to a block, with its attributes where they were", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const image = makeImage(path, options);
    const { extendedAttributes } = image.driver;
    const name = bytesOf("user.some");
    const value = bytesOf("value of twenty-four byte");
    for (const size of SIZES) {
      const ino = find(image, `file-${size}`);
      image.change((held) => extendedAttributes.set(held, ino, name, value));
      if (size % 2 === 0) moveOut(image, ino);
      else image.change((held) => image.driver.allocate(held, ino, 0, blockSize, "write"));
      expect(bytesOfFile(image, ino)).toEqual(contentOf(size));
      expect(extendedAttributes.get(ino, name)).toEqual(value);
      expect(image.driver.readInode(ino)).toMatchObject({ size, isInline: false });
      moveOut(image, ino);
    }
    image.close();
    expectClean(path);
    const dumped = directory.file("dumped");
    for (const size of SIZES) {
      runOk("debugfs", ["-R", `dump file-${size} ${dumped}`, path]);
      expect(readFileSync(dumped)).toEqual(contentOf(size));
    }
  });

  test("names come and go in a directory, which moves to a block when it is full", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const image = makeImage(path, options);
    const small = find(image, "small");
    const isInline = (): boolean => image.driver.readInode(small).sectors === 0;
    giveRest(image, small);
    image.unlink(small, "b");
    image.create(small, "d", newInode("file"));
    expect(image.names(small)).toEqual(["a", "c", "d", "inner"]);
    expect(isInline()).toBe(true);
    for (const name of ["e", "f", "g"]) image.create(small, name, newInode("file"));
    image.unlink(small, "e");
    expect(isInline()).toBe(true);
    image.save();
    expectClean(path);
    const moved = ["a", "c", "d", "f", "g", "inner"];
    for (let index = 0; isInline(); index++) {
      const name = `name-${index}`.padEnd(20, "x");
      image.create(small, name, newInode(index % 2 === 0 ? "file" : "directory"));
      moved.push(name);
    }
    expect(image.names(small)).toEqual(moved.sort());
    expect(image.find(find(image, "small/inner"), "..")?.ino).toBe(small);
    expect(image.find(small, "..")?.ino).toBe(rootIno);
    image.close();
    expectClean(path);
  });

  test("a directory is renamed into another, and replaces one", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const image = makeImage(path, options);
    const inner = find(image, "small/inner");
    image.rename(find(image, "small"), "inner", rootIno, "empty");
    expect(image.find(inner, "..")?.ino).toBe(rootIno);
    expect(find(image, "empty")).toBe(inner);
    image.rename(find(image, "small"), "a", find(image, "small"), "z");
    expect(image.names(find(image, "small"))).toEqual(["b", "c", "z"]);
    const full = errorOf(() => image.unlink(rootIno, "small"));
    expect(full?.code).toBe("ENOTEMPTY");
    for (const name of ["b", "c", "z"]) image.unlink(find(image, "small"), name);
    image.unlink(rootIno, "small");
    image.close();
    expectClean(path);
  });
});

describe.each([
  ["by hash", []],
  ["by byte", ["-O", "^dir_index"]],
])("listed %s", (_name, more) => {
  const steps = fc.array(
    fc.record({ limit: fc.integer({ min: 1, max: 4 }), add: fc.nat(40), remove: fc.nat(40) }),
    { minLength: 1, maxLength: 30 },
  );

  test("a name that stays is given once, though the directory moves out meanwhile", () => {
    fc.assert(
      fc.property(steps, (changes) => {
        using directory = temporaryDirectory();
        const path = directory.file("image");
        const image = makeImage(path, ["-b", "1024", ...more]);
        const small = find(image, "small");
        giveRest(image, small);
        const names = new Set(["a", "b", "c", "inner"]);
        const stayed = new Set(names);
        const given: string[] = [];
        let cursor: number | null = 0;
        for (let step = 0; cursor !== null; step++) {
          const { limit, add, remove } = changes[step % changes.length]!;
          const piece = image.driver.readDirectory(small, cursor, limit);
          given.push(...piece.entries.map(({ name }) => textOf(name)));
          ({ cursor } = piece);
          const added = `added-${add}`;
          if (!names.has(added)) {
            image.create(small, added, newInode("file"));
            names.add(added);
          }
          const removed = `added-${remove}`;
          if (names.delete(removed)) image.unlink(small, removed);
          expect(image.names(small)).toEqual([...names].sort());
        }
        for (const name of [...stayed, ".", ".."]) {
          expect(given.filter((each) => each === name)).toEqual([name]);
        }
        image.close();
        expectClean(path);
      }),
      { numRuns: 15 },
    );
  });
});

test("a file may be longer than what is kept of it: zeroes follow", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  const image = makeImage(path, ["-b", "1024"]);
  const ino = find(image, "file-60");
  image.change((transaction) => {
    setInodeSize(editInode(image.volume, transaction, ino), 5000);
  });
  image.save();
  expectClean(path);
  expect(image.driver.readInode(ino)).toMatchObject({ size: 5000, isInline: true });
  expect(bytesOfFile(image, ino)).toEqual(contentOf(60));
  expect(image.driver.extentAt(ino, 1024, 8192)).toMatchObject({ kind: "hole", length: 7168 });
  moveOut(image, ino);
  const whole = bytesOfFile(image, ino).subarray(0, 1024);
  expect(whole).toEqual(Buffer.concat([contentOf(60), Buffer.alloc(964)]));
  expect(image.driver.extentAt(ino, 1024, 8192).kind).toBe("hole");
  image.close();
  expectClean(path);
});

test("on a full volume nothing moves out, and nothing has changed", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  const image = makeImage(path, ["-b", "1024"]);
  const filler = image.create(rootIno, "filler", newInode("file"));
  for (let at = 0; image.driver.spaceInfo().blocksFree > 0; ) {
    const free = image.driver.spaceInfo().blocksFree * 1024;
    at += image.change((held) => image.driver.allocate(held, filler, at, free, "write")).length;
    image.change((held) => image.driver.setSize(held, filler, at));
  }
  const ino = find(image, "file-100");
  expect(errorOf(() => moveOut(image, ino))?.code).toBe("ENOSPC");
  expect(bytesOfFile(image, ino)).toEqual(contentOf(100));
  const small = find(image, "small");
  const long = errorOf(() =>
    image.change((held) => image.driver.link(held, small, bytesOf("n".repeat(200)), ino, someTime)),
  );
  expect(long?.code).toBe("ENOSPC");
  expect(image.names(small)).toEqual(["a", "b", "c", "inner"]);
  image.close();
  expectClean(path);
});

test("files and directories in their inodes are freed", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  const image = makeImage(path);
  const { inodesFree } = image.driver.spaceInfo();
  for (const size of SIZES) image.unlink(rootIno, `file-${size}`);
  for (const name of ["link-59", "link-90", "empty"]) image.unlink(rootIno, name);
  expect(image.driver.spaceInfo().inodesFree).toBe(inodesFree + SIZES.length + 3);
  image.close();
  expectClean(path);
});

describe("damage is named", () => {
  interface Damage {
    readonly field: string;
    readonly path: string;
    /** From the inode's start; or in the rest of the content. */
    readonly at: number | "rest";
    readonly value: number;
    readonly size: 1 | 2 | 4;
    readonly use: (image: DirectoryImage, ino: Ino) => unknown;
  }
  const read = (image: DirectoryImage, ino: Ino): unknown => bytesOfFile(image, ino);
  const list = (image: DirectoryImage, ino: Ino): unknown => image.names(ino);
  const link = (image: DirectoryImage, ino: Ino): unknown => image.driver.readLink(ino);
  const content = DiskInode.content.offset;
  /** In an inode of 256 bytes: behind the fields, the attributes' magic and its first entry. */
  const entry = 128 + 32 + 4;
  const cases: Damage[] = [
    { field: "i_size", path: "link-90", at: 4, value: 1000, size: 2, use: link },
    { field: "system.data", path: "file-100", at: entry + 1, value: 1, size: 1, use: read },
    { field: "system.data", path: "small", at: entry - 4, value: 0, size: 4, use: list },
    { field: "e_value_inum", path: "file-100", at: entry + 4, value: 11, size: 4, use: read },
    { field: "e_value_offs", path: "file-100", at: entry + 2, value: 4000, size: 2, use: read },
    { field: "i_flags", path: "file-100", at: 0x22, value: 0x1008, size: 2, use: read },
    { field: "parent inode", path: "small", at: content, value: 5000, size: 4, use: list },
    { field: "rec_len", path: "small", at: content + 8, value: 7, size: 2, use: list },
    { field: "inode", path: "small", at: content + 4, value: 9999, size: 4, use: list },
    { field: "name", path: "small", at: content + 12, value: 0x2f, size: 1, use: list },
    { field: "rec_len", path: "small", at: "rest", value: 0, size: 2, use: list },
  ];
  test.each(cases)("$field of $path (byte $at set to $value)", (damage) => {
    const { field, path: name, at, value, size, use } = damage;
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const image = makeImage(path, ["-b", "1024", "-O", "^metadata_csum"]);
    const ino = find(image, name);
    if (at === "rest") giveRest(image, ino);
    const raw = readRaw(image.volume, ino);
    const start = raw.block.block * 1024;
    const place =
      at === "rest" ? start + contentRest(image.volume, raw).at + 4 : start + raw.at + at;
    image.close();
    const bytes = readFileSync(path);
    bytes.writeUIntLE(value, place, size);
    writeFileSync(path, bytes);
    const again = new DirectoryImage(path, REGION_BYTES);
    expect(errorOf(() => use(again, ino))).toMatchObject({ code: "EUCLEAN", damage: { field } });
    const isDirectory = use === list;
    const changed = errorOf(() =>
      isDirectory ? again.create(ino, "new", newInode("file")) : moveOut(again, ino),
    );
    if (use === link || field === "parent inode") return;
    expect(changed).toMatchObject({ code: "EUCLEAN", damage: { field } });
  });

  test("content inside, on a volume that has none", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const image = makeImage(path, ["-b", "1024", "-O", "^metadata_csum"]);
    const ino = find(image, "file-100");
    image.close();
    runOk("debugfs", ["-w", "-R", "feature ^inline_data", path]);
    const again = new DirectoryImage(path, REGION_BYTES);
    const error = errorOf(() => again.driver.readInode(ino));
    expect(error).toMatchObject({ code: "EUCLEAN", damage: { field: "i_flags" } });
  });
});
