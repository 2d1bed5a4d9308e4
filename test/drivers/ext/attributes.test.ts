// Extended attributes of ext volumes, beside debugfs and e2fsck: what the others wrote we read, and the other
// way round; a full volume changes nothing; damage is named.

import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Ino } from "../../../src/base/quantities.ts";
import { attributeHash, wordsOfValue } from "../../../src/drivers/ext/attributes/area.ts";
import { DiskAttributeEntry, DiskAttributeHeader } from "../../../src/drivers/ext/format.ts";
import { attributeBlock, readRaw } from "../../../src/drivers/ext/inodes/inode.ts";
import {
  type AclEntry,
  formatAcl,
  TAG_GROUP_OBJECT,
  TAG_MASK,
  TAG_OTHER,
  TAG_USER,
  TAG_USER_OBJECT,
} from "../../../src/iomap/posix-acl.ts";
import { e2fsckClean, mkfsExt4, runOk, temporaryDirectory } from "../../support/tools.ts";
import { bytesOf, DirectoryImage, errorOf, newInode, rootIno, textOf } from "./directory-image.ts";

const REGION_BYTES = 2 ** 26;

function makeImage(path: string, options: readonly string[] = []): DirectoryImage {
  mkfsExt4(path, 2 * 2 ** 20, ["-N", "64", ...options]);
  return new DirectoryImage(path, REGION_BYTES);
}

function set(image: DirectoryImage, ino: Ino, name: string, value: string | Uint8Array): void {
  const bytes = typeof value === "string" ? bytesOf(value) : value;
  image.change((held) => image.driver.extendedAttributes.set(held, ino, bytesOf(name), bytes));
}

function get(image: DirectoryImage, ino: Ino, name: string): string | null {
  const value = image.driver.extendedAttributes.get(ino, bytesOf(name));
  return value === null ? null : textOf(value);
}

function expectClean(path: string): void {
  const { clean, output } = e2fsckClean(path);
  expect(clean, output).toBe(true);
}

function debugfs(path: string, commands: string): string {
  return runOk("debugfs", ["-w", "-f", "-", path], commands);
}

const LONG = "v".repeat(700);

describe.each([128, 256])("inodes of %i bytes", (inodeSize) => {
  test("what debugfs sets we read, and what we set debugfs reads", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const image = makeImage(path, ["-I", `${inodeSize}`, "-b", "1024"]);
    const ino = image.create(rootIno, "file", newInode("file"));
    set(image, ino, "user.ours", "small");
    set(image, ino, "trusted.long", LONG);
    image.close();
    expectClean(path);
    const script =
      "ea_get /file user.ours\nea_get /file trusted.long\nea_set /file user.theirs t\n";
    const output = debugfs(path, script);
    expect(output).toContain('user.ours (5) = "small"');
    expect(output).toContain(LONG);
    const again = new DirectoryImage(path, REGION_BYTES);
    expect(get(again, ino, "user.theirs")).toBe("t");
    expect(get(again, ino, "user.ours")).toBe("small");
    expect(get(again, ino, "trusted.long")).toBe(LONG);
    set(again, ino, "user.theirs", "ours now");
    again.close();
    expectClean(path);
    expect(debugfs(path, "ea_list /file\n")).toContain('user.theirs (8) = "ours now"');
  });

  test("a list of access rights is stored in the format's own form", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const image = makeImage(path, ["-I", `${inodeSize}`]);
    const ino = image.create(rootIno, "file", newInode("file"));
    const none = 0xffffffff;
    const acl: AclEntry[] = [
      { tag: TAG_USER_OBJECT, permissions: 6, id: none },
      { tag: TAG_USER, permissions: 5, id: 70_000 },
      { tag: TAG_GROUP_OBJECT, permissions: 4, id: none },
      { tag: TAG_MASK, permissions: 7, id: none },
      { tag: TAG_OTHER, permissions: 0, id: none },
    ];
    const value = formatAcl(acl);
    set(image, ino, "system.posix_acl_access", value);
    expect(get(image, ino, "system.posix_acl_access")).toBe(textOf(value));
    const unsound = formatAcl(acl.filter(({ tag }) => tag !== TAG_MASK));
    const refused = errorOf(() => set(image, ino, "system.posix_acl_access", unsound));
    expect(refused?.code).toBe("EINVAL");
    image.close();
    expectClean(path);
    const shown = debugfs(path, "ea_get -x /file system.posix_acl_access\n").replaceAll(" ", "");
    expect(shown).toContain("(44)=02000000" + "0100060000000000" + "0200050070110100");
  });
});

test("names without a place in the format are refused, each with its own error", () => {
  using directory = temporaryDirectory();
  const image = makeImage(directory.file("image"));
  const codeOf = (name: string) => errorOf(() => get(image, rootIno, name))?.code;
  expect(codeOf(`user.${"n".repeat(250)}`)).toBeUndefined();
  expect(codeOf("user.")).toBe("EINVAL");
  expect(codeOf("other.name")).toBe("EOPNOTSUPP");
  expect(codeOf("system.richacl")).toBe("EOPNOTSUPP");
});

test("a volume of revision 0 becomes one of revision 1 with the feature", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  const image = makeImage(path, ["-t", "ext2", "-r", "0"]);
  const ino = image.create(rootIno, "file", newInode("file"));
  set(image, ino, "user.name", "value");
  image.close();
  expectClean(path);
  expect(runOk("dumpe2fs", ["-h", path])).toMatch(/features: +ext_attr/);
  const again = new DirectoryImage(path, REGION_BYTES);
  expect(get(again, ino, "user.name")).toBe("value");
});

test("on a full volume an attribute that needs a block is refused, and nothing has changed", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  const image = makeImage(path, ["-b", "1024"]);
  const ino = image.create(rootIno, "file", newInode("file"));
  set(image, ino, "user.small", "in the inode");
  const filler = image.create(rootIno, "filler", newInode("file"));
  for (let at = 0; image.driver.spaceInfo().blocksFree > 0; ) {
    const free = image.driver.spaceInfo().blocksFree * 1024;
    at += image.change((held) => image.driver.allocate(held, filler, at, free, "write")).length;
    image.change((held) => image.driver.setSize(held, filler, at));
  }
  expect(errorOf(() => set(image, ino, "user.small", LONG))?.code).toBe("ENOSPC");
  expect(errorOf(() => set(image, ino, "user.other", LONG))?.code).toBe("ENOSPC");
  expect(get(image, ino, "user.small")).toBe("in the inode");
  expect(get(image, ino, "user.other")).toBeNull();
  image.close();
  expectClean(path);
});

test("the hash takes a name's bytes as unsigned, and one of signed bytes is read", () => {
  const name = bytesOf("caf\xe9");
  const words = wordsOfValue(bytesOf("abcd"));
  const signed = attributeHash(Int8Array.from(name), words);
  expect(signed).not.toBe(attributeHash(name, words));
  using directory = temporaryDirectory();
  const path = directory.file("image");
  const image = makeImage(path, ["-I", "128", "-O", "^metadata_csum"]);
  const ino = image.create(rootIno, "file", newInode("file"));
  set(image, ino, "user.caf\xe9", "abcd");
  const block = attributeBlock(image.volume, readRaw(image.volume, ino));
  const { blockSize } = image.driver;
  image.close();
  const bytes = readFileSync(path);
  const hashAt = block * blockSize + 32 + DiskAttributeEntry.hash.offset;
  expect(bytes.readUInt32LE(hashAt)).toBe(attributeHash(name, words));
  bytes.writeUInt32LE(signed, hashAt);
  writeFileSync(path, bytes);
  const again = new DirectoryImage(path, REGION_BYTES);
  expect(get(again, ino, "user.caf\xe9")).toBe("abcd");
});

describe("damage in a block of attributes is named", () => {
  const header = (field: keyof typeof DiskAttributeHeader) =>
    (DiskAttributeHeader[field] as { offset: number }).offset;
  const entry = (field: keyof typeof DiskAttributeEntry) =>
    32 + (DiskAttributeEntry[field] as { offset: number }).offset;
  test.each<[string, number, number, 1 | 2 | 4]>([
    ["h_magic", header("magic"), 1, 4],
    ["h_blocks", header("blocks"), 2, 4],
    ["h_refcount", header("referenceCount"), 0, 4],
    ["h_refcount", header("referenceCount"), 1025, 4],
    ["e_value_offs", entry("valueOffset"), 1021, 2],
    ["e_value_offs", entry("valueOffset"), 40, 2],
    ["e_value_offs", entry("valueOffset"), 1024 - 108, 2],
    ["e_value_size", entry("valueSize"), 0x7fffffff, 4],
    ["e_value_inum", entry("valueIno"), 12, 4],
    ["e_hash", entry("hash"), 7, 4],
  ])("%s (byte %i set to %i)", (field, at, value, size) => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const image = makeImage(path, ["-I", "128", "-b", "1024", "-O", "^metadata_csum"]);
    const ino = image.create(rootIno, "file", newInode("file"));
    set(image, ino, "user.a", "one two three four");
    set(image, ino, "user.b", "x".repeat(100));
    const block = attributeBlock(image.volume, readRaw(image.volume, ino));
    image.close();
    const bytes = readFileSync(path);
    bytes.writeUIntLE(value, block * 1024 + at, size);
    writeFileSync(path, bytes);
    const again = new DirectoryImage(path, REGION_BYTES);
    const error = errorOf(() => get(again, ino, "user.a"));
    expect(error).toMatchObject({ code: "EUCLEAN", damage: { field } });
    expect(errorOf(() => set(again, ino, "user.a", "other"))).toMatchObject({ damage: { field } });
  });

  test.each([
    ["e_name_len", 0, 255],
    ["e_value_offs", 2, 90],
  ])("%s of an inode's own (byte %i set to %i)", (field, at, value) => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const image = makeImage(path, ["-I", "256", "-b", "1024", "-O", "^metadata_csum"]);
    const ino = image.create(rootIno, "file", newInode("file"));
    set(image, ino, "user.a", "value");
    const raw = readRaw(image.volume, ino);
    const first = raw.block.block * 1024 + raw.at + 128 + 32 + 4;
    image.close();
    const bytes = readFileSync(path);
    bytes.writeUInt8(value, first + at);
    writeFileSync(path, bytes);
    const again = new DirectoryImage(path, REGION_BYTES);
    const error = errorOf(() => get(again, ino, "user.a"));
    expect(error).toMatchObject({ code: "EUCLEAN", damage: { field } });
  });

  test("h_checksum", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const image = makeImage(path, ["-I", "128", "-b", "1024"]);
    const ino = image.create(rootIno, "file", newInode("file"));
    set(image, ino, "user.a", "value");
    const block = attributeBlock(image.volume, readRaw(image.volume, ino));
    image.close();
    const bytes = readFileSync(path);
    bytes.writeUInt8(1, block * 1024 + 500);
    writeFileSync(path, bytes);
    const again = new DirectoryImage(path, REGION_BYTES);
    const error = errorOf(() => get(again, ino, "user.a"));
    expect(error).toMatchObject({ code: "EUCLEAN", damage: { field: "h_checksum" } });
  });
});
