// The format's tables pinned against documentation, its facts against dumpe2fs, and what happens to
// volumes that this driver must not touch or that are damaged.

import { readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CorruptionError, HoldfastError } from "../../../src/base/errors.ts";
import type { Ino } from "../../../src/base/quantities.ts";
import {
  DiskAttributeHeader,
  DiskExtent,
  DiskExtentHeader,
  DiskExtentIndex,
  DiskGroup,
  DiskInode,
  DiskSuperblock,
} from "../../../src/drivers/ext/format.ts";
import {
  getGroup,
  hasSuperblock,
  headBlocks,
  readGroup,
} from "../../../src/drivers/ext/space/groups.ts";
import { parseSuperblock, type SuperblockFacts } from "../../../src/drivers/ext/superblock.ts";
import { e2fsckClean, mkfsExt4, run, runOk, temporaryDirectory } from "../../support/tools.ts";
import { DirectoryImage, errorOf, newInode, rootIno } from "./directory-image.ts";

function factsOf(path: string): SuperblockFacts {
  const bytes = readFileSync(path);
  return parseSuperblock(bytes.subarray(1024, 2048), bytes.length);
}

/** Offsets as Linux Documentation/filesystems/ext4 gives them, in its own order. */
test("fields lie where the documentation says", () => {
  const offsets = (table: object, names: readonly string[]) =>
    names.map((name) => (table as Record<string, { offset: number }>)[name]?.offset);
  expect(
    offsets(DiskSuperblock, [
      "inodesCount",
      "blocksCountLow",
      "logBlockSize",
      "blocksPerGroup",
      "inodesPerGroup",
      "magic",
      "state",
      "revision",
      "firstIno",
      "inodeSize",
      "featuresCompatible",
      "featuresIncompatible",
      "featuresReadOnly",
      "uuid",
      "reservedGdtBlocks",
      "journalIno",
      "lastOrphan",
      "hashSeed0",
      "hashVersionDefault",
      "descriptorSize",
      "firstMetaGroup",
      "blocksCountHigh",
      "extraInodeSizeWanted",
      "flags",
      "logGroupsPerFlex",
      "checksumType",
      "kibibytesWritten",
      "mountOptions",
      "overheadBlocks",
      "backupGroup0",
      "checksumSeed",
      "orphanFileIno",
      "checksum",
    ]),
  ).toEqual([
    0x0, 0x4, 0x18, 0x20, 0x28, 0x38, 0x3a, 0x4c, 0x54, 0x58, 0x5c, 0x60, 0x64, 0x68, 0xce, 0xe0,
    0xe8, 0xec, 0xfc, 0xfe, 0x104, 0x150, 0x15e, 0x160, 0x174, 0x175, 0x178, 0x200, 0x248, 0x24c,
    0x270, 0x280, 0x3fc,
  ]);
  expect(
    offsets(DiskGroup, [
      "blockBitmapLow",
      "inodeBitmapLow",
      "inodeTableLow",
      "freeBlocksLow",
      "freeInodesLow",
      "directoriesLow",
      "flags",
      "blockBitmapChecksumLow",
      "inodeBitmapChecksumLow",
      "unusedInodesLow",
      "checksum",
      "blockBitmapHigh",
      "inodeTableHigh",
      "unusedInodesHigh",
      "blockBitmapChecksumHigh",
      "inodeBitmapChecksumHigh",
    ]),
  ).toEqual([
    0x0, 0x4, 0x8, 0xc, 0xe, 0x10, 0x12, 0x18, 0x1a, 0x1c, 0x1e, 0x20, 0x28, 0x32, 0x38, 0x3a,
  ]);
  expect(
    offsets(DiskInode, [
      "mode",
      "uidLow",
      "sizeLow",
      "accessTime",
      "changeTime",
      "modifyTime",
      "deletionTime",
      "linkCount",
      "blocksLow",
      "flags",
      "content",
      "generation",
      "attributeBlockLow",
      "sizeHigh",
      "blocksHigh",
      "attributeBlockHigh",
      "uidHigh",
      "checksumLow",
      "extraSize",
      "checksumHigh",
      "changeTimeExtra",
      "birthTime",
      "birthTimeExtra",
      "projectId",
    ]),
  ).toEqual([
    0x0, 0x2, 0x4, 0x8, 0xc, 0x10, 0x14, 0x1a, 0x1c, 0x20, 0x28, 0x64, 0x68, 0x6c, 0x74, 0x76, 0x78,
    0x7c, 0x80, 0x82, 0x84, 0x90, 0x94, 0x9c,
  ]);
  expect(offsets(DiskExtentHeader, ["magic", "entries", "entriesMax", "depth"])).toEqual([
    0, 2, 4, 6,
  ]);
  expect(offsets(DiskExtent, ["fileBlock", "length", "startHigh", "startLow"])).toEqual([
    0, 4, 6, 8,
  ]);
  expect(offsets(DiskExtentIndex, ["fileBlock", "nodeLow", "nodeHigh"])).toEqual([0, 4, 8]);
  expect(offsets(DiskAttributeHeader, ["magic", "referenceCount", "checksum"])).toEqual([0, 4, 16]);
});

const shapes: readonly (readonly [string, readonly string[]])[] = [
  ["1 KiB blocks", ["-b", "1024"]],
  ["2 KiB blocks", ["-b", "2048"]],
  ["4 KiB blocks", ["-b", "4096"]],
  ["no 64bit", ["-b", "1024", "-O", "^64bit"]],
  ["no checksums", ["-b", "1024", "-O", "^metadata_csum"]],
  ["uninit_bg checksums", ["-b", "1024", "-O", "^metadata_csum,uninit_bg"]],
  ["narrow uninit_bg", ["-b", "1024", "-O", "^metadata_csum,^64bit,uninit_bg"]],
  ["meta_bg", ["-b", "1024", "-O", "meta_bg,^resize_inode"]],
  ["sparse_super2", ["-b", "1024", "-O", "sparse_super2"]],
  ["no flex_bg", ["-b", "1024", "-O", "^flex_bg"]],
  ["stored checksum seed", ["-b", "4096", "-O", "metadata_csum_seed"]],
  ["inodes of 128 bytes", ["-b", "1024", "-I", "128"]],
  ["inodes of 1024 bytes", ["-b", "4096", "-I", "1024"]],
  ["the features of ext2", ["-b", "1024", "-t", "ext2"]],
  ["the features of ext3", ["-b", "4096", "-t", "ext3"]],
  ["those of ext2 long ago", ["-b", "1024", "-t", "ext2", "-I", "128", "-O", "none,filetype"]],
  ["those of ext2 with meta_bg", ["-b", "2048", "-t", "ext2", "-O", "meta_bg,^resize_inode"]],
];

/** The volume is what dumpe2fs printed of it. */
function assertFacts(image: DirectoryImage, dump: string): void {
  const { facts } = image.volume;
  const number = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(dump)?.[1]);
  expect({ ...facts }).toMatchObject({
    blocks: number("Block count"),
    blockSize: number("Block size"),
    reservedBlocks: number("Reserved block count"),
    inodes: number("Inode count"),
    inodesPerGroup: number("Inodes per group"),
    inodeSize: number("Inode size"),
    firstIno: number("First inode"),
    label: "a label",
  });
  expect(image.driver.uuid).toBe(/UUID:\s+(\S+)/.exec(dump)?.[1]);
  expect(image.driver.spaceInfo()).toMatchObject({
    blocksFree: number("Free blocks"),
    inodesFree: number("Free inodes"),
  });
  for (const [group, text] of dump
    .split(/^Group \d+: /m)
    .slice(1)
    .entries()) {
    const descriptor = readGroup(image.volume, group);
    const place = (name: string) => Number(new RegExp(`${name} at (\\d+)`).exec(text)?.[1]);
    expect(getGroup(image.volume, descriptor, "blockBitmap")).toBe(place("Block bitmap"));
    expect(getGroup(image.volume, descriptor, "inodeTable")).toBe(place("Inode table"));
    expect(getGroup(image.volume, descriptor, "freeBlocks")).toBe(
      Number(/(\d+) free blocks/.exec(text)?.[1]),
    );
    expect(hasSuperblock(image.volume, group)).toBe(/superblock at/.test(text));
    expect(headBlocks(image.volume, group) > 0).toBe(/superblock at|descriptors? at/.test(text));
  }
}

describe.each(shapes)("a volume with %s", (_, options) => {
  test("has the facts that dumpe2fs prints, group by group", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    mkfsExt4(path, 200 << 20, [...options, "-L", "a label"]);
    withVolume(path, (image) => assertFacts(image, runOk("dumpe2fs", [path])));
  });

  test("is clean after files and directories came and went", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    mkfsExt4(path, 48 << 20, options);
    withVolume(path, (image) => {
      const { driver } = image;
      const { blockSize } = driver;
      for (let index = 0; index < 60; index++) {
        const parent = image.create(rootIno, `directory-${index}`, newInode("directory"));
        const ino = image.create(parent, "file", newInode("file"));
        for (const at of [0, 2, 4, 6, 8, 300]) {
          image.change((transaction) =>
            driver.allocate(transaction, ino, at * blockSize, blockSize, "write"),
          );
        }
        image.change((transaction) => driver.setSize(transaction, ino, 301 * blockSize));
        if (index % 3 !== 0) continue;
        image.unlink(parent, "file");
        image.unlink(rootIno, `directory-${index}`);
      }
      image.close();
    });
    const { clean, output } = e2fsckClean(path);
    expect(clean, output).toBe(true);
  });
});

describe("a volume that cannot be used", () => {
  const refused = (options: readonly string[], change?: (bytes: Buffer) => void) => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    mkfsExt4(path, 16 << 20, options);
    if (change !== undefined) {
      const bytes = readFileSync(path);
      change(bytes);
      writeFileSync(path, bytes);
    }
    return errorOf(() => factsOf(path));
  };

  test("is refused with the names of the features that are unknown", () => {
    expect(refused(["-O", "encrypt"])?.message).toMatch(/EOPNOTSUPP.*encrypt/);
    expect(refused(["-O", "casefold"])?.message).toMatch(/casefold/);
    expect(refused(["-O", "mmp"])?.message).toMatch(/mmp/);
    const future = (bytes: Buffer) => bytes.writeUInt32LE(0x80000000, 1024 + 0x60);
    expect(refused(["-O", "^metadata_csum"], future)?.message).toMatch(/0x80000000/);
  });

  test("is refused with the field that cannot be", () => {
    const damaged = (byte: number, value: number) =>
      refused(["-O", "^metadata_csum"], (bytes) => bytes.writeUInt32LE(value, 1024 + byte))
        ?.message;
    expect(damaged(0x38, 0)).toMatch(/EINVAL.*no ext superblock/);
    expect(damaged(0x4c, 0)).toMatch(/s_rev_level is 0/);
    expect(damaged(0x18, 31)).toMatch(/s_log_block_size 31/);
    expect(damaged(0x18, 6)).toMatch(/larger than 4 KiB/);
    expect(damaged(0x4, 0)).toMatch(/s_blocks_count is 0/);
    expect(damaged(0x4, 0xffffffff)).toMatch(/s_blocks_count/);
    expect(damaged(0x14, 7)).toMatch(/s_first_data_block is 7/);
    expect(damaged(0x20, 0)).toMatch(/s_blocks_per_group is 0/);
    expect(damaged(0x28, 0)).toMatch(/s_inodes_per_group is 0/);
    expect(damaged(0x0, 5)).toMatch(/s_inodes_count is 5/);
    expect(damaged(0x58, 77)).toMatch(/s_inode_size is 77/);
    expect(damaged(0x54, 0)).toMatch(/s_first_ino is 0/);
    const flip = (bytes: Buffer) => bytes.writeUInt8(bytes.readUInt8(1024 + 0x80) ^ 1, 1024 + 0x80);
    expect(refused([], flip)?.message).toMatch(/s_checksum/);
  });

  test("can be read, and says why it cannot be written", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const reasonAfter = (options: readonly string[], ...commands: string[]) => {
      mkfsExt4(path, 16 << 20, options);
      for (const command of commands) runOk("debugfs", ["-w", "-R", command, path]);
      return factsOf(path).readOnlyReason;
    };
    expect(reasonAfter([])).toBe(null);
    expect(reasonAfter(["-O", "quota"])).toBe(null);
    expect(reasonAfter(["-O", "project"])).toBe(null);
    expect(reasonAfter(["-O", "bigalloc"])).toMatch(/bigalloc/);
    expect(reasonAfter(["-O", "bigalloc", "-b", "4096"])).toMatch(/bigalloc/);
    expect(reasonAfter([], "ssv state 0")).toMatch(/unmounted cleanly/);
    expect(reasonAfter([], "ssv state 3")).toMatch(/errors/);
    expect(reasonAfter(["-O", "^has_journal"], "ssv last_orphan 12")).toMatch(/inode 12/);
    expect(reasonAfter(["-O", "^has_journal"], "feature needs_recovery")).toMatch(/no journal/);
    expect(reasonAfter([], "ssv journal_inum 0")).toMatch(/another device/);
  });
});

test("a volume that is in use can be written by who uses it, and by nobody else", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, 16 << 20, ["-O", "^has_journal"]);
  const image = new DirectoryImage(path);
  image.cache.flush();
  const superblock = image.bytes.subarray(1024, 2048);
  expect(parseSuperblock(superblock, image.bytes.length).readOnlyReason).toMatch(/cleanly/);
  expect(parseSuperblock(superblock, image.bytes.length, true).readOnlyReason).toBe(null);
  image.close();
  expect(factsOf(path).readOnlyReason).toBe(null);
});

test("damage anywhere in the metadata ends in an error that names it, never in anything else", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  for (const checksums of ["metadata_csum", "^metadata_csum"]) {
    mkfsExt4(path, 8 << 20, ["-b", "1024", "-N", "64", "-O", checksums]);
    const image = new DirectoryImage(path);
    const ino = image.create(rootIno, "file", newInode("file"));
    for (let at = 0; at < 1000; at += 2) {
      image.change((transaction) =>
        image.driver.allocate(transaction, ino, at * 1024, 1024, "write"),
      );
    }
    image.close();
    const sound = readFileSync(path);
    const nodes = runOk("debugfs", ["-R", "ex /file", path])
      .split("\n")
      .map((line) => /^ [01]\/ 2 +\d+\/ *\d+ +\d+ - +\d+ +(\d+) /.exec(line)?.[1])
      .filter((block) => block !== undefined)
      .map(Number);
    expect(nodes.length).toBeGreaterThan(4);
    const table = Number(/Inode table at (\d+)/.exec(runOk("dumpe2fs", [path]))?.[1]);
    const blocks = [2, table, table + 2, ...nodes];
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(...blocks), fc.nat(1023), fc.nat(255)), {
          minLength: 1,
          maxLength: 4,
        }),
        (changes) => {
          const bytes = Buffer.from(sound);
          for (const [block, byte, value] of changes) bytes[block * 1024 + byte] = value;
          writeFileSync(path, bytes);
          const error = errorOf(() => withVolume(path, (opened) => useEverything(opened, ino)));
          if (error !== null) expect(error).toBeInstanceOf(HoldfastError);
          const isChanged = changes.some(
            ([block, byte, value]) => nodes.includes(block) && sound[block * 1024 + byte] !== value,
          );
          const isChecked = checksums === "metadata_csum" && isChanged;
          if (isChecked && changes.length === 1) expect(error).toBeInstanceOf(CorruptionError);
        },
      ),
      { numRuns: Number(process.env["RUNS"] ?? 60) },
    );
  }
});

/** Opens an image, and lets go of it without a change to its file. */
function withVolume<T>(path: string, work: (image: DirectoryImage) => T): T {
  const image = new DirectoryImage(path, 2 ** 27);
  try {
    return work(image);
  } finally {
    image.thread.leave();
  }
}

/** Walks a file, takes blocks from it and gives it some. */
function useEverything(image: DirectoryImage, ino: Ino): void {
  const { driver } = image;
  driver.readInode(ino);
  let at = 0;
  while (at < 2000 * 1024) at += driver.extentAt(ino, at, 2000 * 1024).length;
  image.change((transaction) => driver.allocate(transaction, ino, 1024, 99 * 1024, "preallocate"));
  image.change((transaction) => driver.unwriteExtents(transaction, ino, 0, 500 * 1024));
  image.change((transaction) => driver.shiftExtents(transaction, ino, 40 * 1024, 4096));
  let calls = 0;
  const remove = () =>
    image.change((transaction) => driver.removeExtents(transaction, ino, 0, Infinity));
  while (!remove()) expect(++calls).toBeLessThan(100);
  image.change((transaction) => driver.freeInode(transaction, ino));
}

test("a volume with a single damaged inode checksum names the inode", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, 16 << 20);
  runOk("debugfs", ["-w", "-R", `write /etc/hostname file`, path]);
  expect(run("debugfs", ["-w", "-R", "sif <12> checksum 0x1234", path]).code).toBe(0);
  const error = errorOf(() => withVolume(path, ({ driver }) => driver.readInode(12 as Ino)));
  expect(error?.message).toMatch(/EUCLEAN.*ext4_inode at device byte \d+.*inode 12/);
});
