// Values of extended attributes in inodes of their own (ea_inode), beside debugfs and e2fsck: what the others
// wrote we read, and the other way round; references are counted; nothing is left of what was removed; damage
// is named.

import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Ino } from "../../../src/base/quantities.ts";
import { SEAL } from "../../../src/drivers/ext/volume.ts";
import {
  DiskAttributeEntry,
  DiskAttributeHeader,
  DiskInode,
} from "../../../src/drivers/ext/format.ts";
import {
  addInodeBlocks,
  attributeBlock,
  editInode,
  readRaw,
  setAttributeBlock,
} from "../../../src/drivers/ext/inodes/inode.ts";
import { addOrphan, listOrphans, removeOrphan } from "../../../src/drivers/ext/inodes/orphans.ts";
import { fsckSync, mountSync } from "../../../src/index.ts";
import { e2fsckClean, mkfsExt4, runOk, temporaryDirectory } from "../../support/tools.ts";
import { bytesOf, DirectoryImage, errorOf, newInode, rootIno, textOf } from "./directory-image.ts";

const REGION_BYTES = 2 ** 26;

function makeImage(path: string, options: readonly string[] = []): DirectoryImage {
  mkfsExt4(path, 4 * 2 ** 20, ["-N", "128", "-O", "ea_inode", ...options]);
  return new DirectoryImage(path, REGION_BYTES);
}

function set(image: DirectoryImage, ino: Ino, name: string, value: Uint8Array): void {
  image.change((held) => image.driver.extendedAttributes.set(held, ino, bytesOf(name), value));
}

function remove(image: DirectoryImage, ino: Ino, name: string): boolean {
  return image.change((held) => image.driver.extendedAttributes.remove(held, ino, bytesOf(name)));
}

function get(image: DirectoryImage, ino: Ino, name: string): string | null {
  const value = image.driver.extendedAttributes.get(ino, bytesOf(name));
  return value === null ? null : digest(value);
}

/** Of a value, to be compared and shown. */
function digest(value: Uint8Array): string {
  return `${value.length} bytes ${createHash("sha256").update(value).digest("hex")}`;
}

/** A value that differs from block to block. */
function someValue(size: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length: size }, (_, at) => (at * 31 + (at >> 8) * 7 + seed) & 0xff);
}

function expectClean(path: string): void {
  const { clean, output } = e2fsckClean(path);
  expect(clean, output).toBe(true);
  expect(fsckSync(path).findings).toEqual([]);
}

const spaceOf = ({ driver }: DirectoryImage): [number, number] => {
  const { blocksFree, inodesFree } = driver.spaceInfo();
  return [blocksFree, inodesFree];
};

describe.each([
  [1024, 128, "ext4"],
  [1024, 256, "ext4"],
  [4096, 256, "ext4"],
  [1024, 256, "ext3"],
  [1024, 256, "ext4", "orphan_file"],
])(
  "blocks of %i bytes, inodes of %i, as %s has them, %s",
  (blockSize, inodeSize, type, feature = "") => {
    const options = ["-t", type, "-b", `${blockSize}`, "-I", `${inodeSize}`, "-O", feature];

    test("values of all sizes are set, replaced and removed; nothing is left of them", () => {
      using directory = temporaryDirectory();
      const path = directory.file("image");
      const image = makeImage(path, options);
      const ino = image.create(rootIno, "file", newInode("file"));
      const before = spaceOf(image);
      const sizes = [0, 1, 56, 57, blockSize, 65_536].flatMap((size) =>
        size < blockSize ? [size, blockSize - size] : [size, size - 1],
      );
      for (const size of sizes) {
        set(image, ino, "user.same", someValue(size));
        expect(get(image, ino, "user.same")).toBe(digest(someValue(size)));
        image.freeUnused();
      }
      for (const [index, size] of sizes.entries()) {
        set(image, ino, `trusted.n${index}`, someValue(size, index));
      }
      for (const [index, size] of sizes.entries()) {
        expect(get(image, ino, `trusted.n${index}`)).toBe(digest(someValue(size, index)));
      }
      image.close();
      expectClean(path);
      const again = new DirectoryImage(path, REGION_BYTES);
      for (const index of sizes.keys()) {
        if (index % 2 === 0) expect(remove(again, ino, `trusted.n${index}`)).toBe(true);
      }
      expect(again.driver.extendedAttributes.list(ino).map(textOf)).toHaveLength(
        1 + Math.floor(sizes.length / 2),
      );
      again.freeUnused();
      again.close();
      expectClean(path);
      const last = new DirectoryImage(path, REGION_BYTES);
      for (const name of last.driver.extendedAttributes.list(ino)) remove(last, ino, textOf(name));
      last.freeUnused();
      expect(spaceOf(last)).toEqual(before);
      last.close();
      expectClean(path);
    });

    test("an inode that is freed takes its values with it", () => {
      using directory = temporaryDirectory();
      const path = directory.file("image");
      const image = makeImage(path, options);
      const before = spaceOf(image);
      for (let round = 0; round < 2; round++) {
        const ino = image.create(rootIno, "file", newInode("file"));
        for (let index = 0; index < 12; index++) {
          set(image, ino, `user.n${index}`, someValue(3 * blockSize, index));
        }
        image.unlink(rootIno, "file");
        expect(spaceOf(image)).toEqual(before);
      }
      image.close();
      expectClean(path);
    });

    test("what a mount left unused, on the list or in a file of orphans, the next one frees", () => {
      using directory = temporaryDirectory();
      const path = directory.file("image");
      const image = makeImage(path, options);
      const before = spaceOf(image);
      const ino = image.create(rootIno, "file", newInode("file"));
      for (const name of ["user.listed", "user.filed"])
        set(image, ino, name, someValue(3 * blockSize));
      for (const name of ["user.filed", "user.listed"]) remove(image, ino, name);
      const [listed, filed] = listOrphans(image.volume);
      expect([listed, filed]).not.toContain(undefined);
      image.change((held) => {
        removeOrphan(image.volume, held, filed as Ino); // as the kernel would have noted it
        addOrphan(image.volume, held, filed as Ino);
      });
      image.unlink(rootIno, "file");
      image.close();
      mountSync(path).closeSync();
      expectClean(path);
      const again = new DirectoryImage(path, REGION_BYTES);
      expect(spaceOf(again)).toEqual(before);
      again.close();
    });

    test("what debugfs sets we read, and what we set debugfs reads", () => {
      using directory = temporaryDirectory();
      const path = directory.file("image");
      const image = makeImage(path, options);
      const ino = image.create(rootIno, "file", newInode("file"));
      // debugfs takes a block of a file and no more.
      const [ours, theirs] = [someValue(9000, 3), someValue(blockSize, 4)];
      set(image, ino, "user.ours", ours);
      image.close();
      expectClean(path);
      const [read, write] = [directory.file("read"), directory.file("write")];
      writeFileSync(write, theirs);
      const script = `ea_get -f ${read} /file user.ours\nea_set -f ${write} /file user.theirs\n`;
      runOk("debugfs", ["-w", "-f", "-", path], script);
      expect(digest(readFileSync(read))).toBe(digest(ours));
      const again = new DirectoryImage(path, REGION_BYTES);
      expect(get(again, ino, "user.theirs")).toBe(digest(theirs));
      expect(get(again, ino, "user.ours")).toBe(digest(ours));
    });
  },
);

test("values stand in for what has no room in the block, before an attribute is refused", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  const image = makeImage(path, ["-b", "1024", "-I", "128"]);
  const ino = image.create(rootIno, "file", newInode("file"));
  let count = 0;
  let error = null;
  for (; error === null; count++) {
    error = errorOf(() => set(image, ino, `user.${count}`, someValue(300, count)));
  }
  expect(error.code).toBe("ENOSPC");
  // Two lie in the block: a third would take what is left there to names, of which 19 have room then.
  expect(count - 1).toBe(19);
  for (let index = 0; index < count - 1; index++) {
    expect(get(image, ino, `user.${index}`)).toBe(digest(someValue(300, index)));
  }
  image.close();
  expectClean(path);
});

test("on a full volume a value outside is refused, and nothing has changed", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  const image = makeImage(path, ["-b", "1024"]);
  const ino = image.create(rootIno, "file", newInode("file"));
  set(image, ino, "user.value", someValue(5000));
  const filler = image.create(rootIno, "filler", newInode("file"));
  for (let at = 0; image.driver.spaceInfo().blocksFree > 3; ) {
    const free = (image.driver.spaceInfo().blocksFree - 3) * 1024;
    at += image.change((held) => image.driver.allocate(held, filler, at, free, "write")).length;
    image.change((held) => image.driver.setSize(held, filler, at));
  }
  expect(errorOf(() => set(image, ino, "user.value", someValue(6000)))?.code).toBe("ENOSPC");
  expect(errorOf(() => set(image, ino, "user.other", someValue(6000)))?.code).toBe("ENOSPC");
  expect(get(image, ino, "user.value")).toBe(digest(someValue(5000)));
  expect(get(image, ino, "user.other")).toBeNull();
  image.close();
  expectClean(path);
});

test("a short symlink has its values named in a block, where e2fsck expects them", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  const image = makeImage(path);
  const target = bytesOf("target");
  const ino = image.create(rootIno, "symlink", newInode("symlink", { target }));
  set(image, ino, "trusted.value", someValue(5000));
  image.close();
  expectClean(path);
  const again = new DirectoryImage(path, REGION_BYTES);
  expect(get(again, ino, "trusted.value")).toBe(digest(someValue(5000)));
  expect(textOf(again.driver.readLink(ino))).toBe("target");
});

test("a block that inodes share has one reference of each value, its copies have more", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  const image = makeImage(path, ["-b", "1024", "-I", "128"]);
  const before = spaceOf(image);
  const names = ["one", "two", "three"];
  const [one, two, three] = names.map((name) => image.create(rootIno, name, newInode("file"))) as [
    Ino,
    Ino,
    Ino,
  ];
  set(image, one, "user.a", someValue(5000, 1));
  set(image, one, "user.b", someValue(6000, 2));
  image.change((transaction) => {
    const block = attributeBlock(image.volume, readRaw(image.volume, one));
    const held = image.cache.read(block, () => {});
    transaction.edit(held, SEAL.attributes);
    DiskAttributeHeader.referenceCount.set(held.view, 0, 3);
    for (const ino of [two, three]) {
      const raw = editInode(image.volume, transaction, ino);
      setAttributeBlock(image.volume, raw, block);
      addInodeBlocks({ volume: image.volume, transaction, ino, raw }, 1 + 5 + 6);
    }
  });
  const isSound = (): void => {
    image.save();
    expectClean(path);
  };
  isSound();
  set(image, two, "user.a", someValue(5000, 3));
  expect(get(image, two, "user.b")).toBe(digest(someValue(6000, 2)));
  expect(get(image, one, "user.a")).toBe(digest(someValue(5000, 1)));
  isSound();
  remove(image, three, "user.a");
  isSound();
  image.unlink(rootIno, "one");
  isSound();
  expect(get(image, two, "user.a")).toBe(digest(someValue(5000, 3)));
  for (const ino of [two, three])
    expect(get(image, ino, "user.b")).toBe(digest(someValue(6000, 2)));
  image.unlink(rootIno, "two");
  image.unlink(rootIno, "three");
  isSound();
  expect(spaceOf(image)).toEqual(before);
});

test("a name that leads to an inode with a value is damage", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  const image = makeImage(path);
  const ino = image.create(rootIno, "file", newInode("file"));
  set(image, ino, "user.value", someValue(5000));
  const error = errorOf(() => image.driver.readInode((ino + 1) as Ino));
  expect(error).toMatchObject({ code: "EUCLEAN", damage: { field: "i_flags" } });
});

describe("damage of a value outside is named", () => {
  interface Places {
    readonly entry: number;
    readonly value: number;
    readonly content: number;
  }
  const field = (name: keyof typeof DiskInode): number =>
    (DiskInode[name] as { offset: number }).offset;
  const entryField = (name: keyof typeof DiskAttributeEntry): number =>
    (DiskAttributeEntry[name] as { offset: number }).offset;
  test.each<[string, (places: Places) => number, number, boolean]>([
    ["i_flags", ({ value }) => value + field("flags"), 0x80000, true],
    ["i_size", ({ value }) => value + field("sizeLow"), 4999, false],
    ["i_atime", ({ value }) => value + field("accessTime"), 5, false],
    ["i_atime", ({ content }) => content + 700, 0x11223344, false],
    ["i_version", ({ value }) => value + field("versionLow"), 0, true],
    ["e_hash", ({ entry }) => entry + entryField("hash"), 5, false],
    ["e_value_size", ({ entry }) => entry + entryField("valueSize"), 0x7fffffff, true],
    ["inode number", ({ entry }) => entry + entryField("valueIno"), 100_000, true],
    ["i_flags", ({ entry }) => entry + entryField("valueIno"), 2, true],
  ])("%s (%s set to %i)", (name, place, value, onRemove) => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const image = makeImage(path, ["-I", "128", "-b", "1024", "-O", "^metadata_csum"]);
    const ino = image.create(rootIno, "file", newInode("file"));
    set(image, ino, "user.a", someValue(5000));
    const raw = readRaw(image.volume, (ino + 1) as Ino);
    const extent = image.driver.extentAt((ino + 1) as Ino, 0, 1024);
    const places = {
      entry: attributeBlock(image.volume, readRaw(image.volume, ino)) * 1024 + 32,
      value: raw.block.block * 1024 + raw.at,
      content: extent.kind === "mapped" ? extent.address : 0,
    };
    image.close();
    expectClean(path);
    const bytes = readFileSync(path);
    bytes.writeUInt32LE(value, place(places));
    writeFileSync(path, bytes);
    const again = new DirectoryImage(path, REGION_BYTES);
    const damage = { code: "EUCLEAN", damage: { field: name } };
    const isCount = name === "i_version";
    const read = errorOf(() => get(again, ino, "user.a"));
    if (isCount) expect(read).toBeNull();
    else expect(read).toMatchObject(damage);
    const removed = errorOf(() => remove(again, ino, "user.a"));
    if (onRemove) expect(removed).toMatchObject(damage);
    else expect(removed).toBeNull();
  });
});
