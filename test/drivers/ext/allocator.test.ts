// Free space: runs of bits, where blocks and inodes are taken from, and what a full volume says.

import { readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import type { Ino } from "../../../src/base/quantities.ts";
import {
  clearBits,
  findClear,
  findRun,
  findSet,
  setBits,
} from "../../../src/drivers/ext/space/bitmaps.ts";
import { attributeChecksum } from "../../../src/drivers/ext/checksums.ts";
import { DiskAttributeHeader } from "../../../src/drivers/ext/format.ts";
import { getGroup, groupFlags, readGroup } from "../../../src/drivers/ext/space/groups.ts";
import { parseSuperblock } from "../../../src/drivers/ext/superblock.ts";
import { e2fsckClean, mkfsExt4, runOk, temporaryDirectory } from "../../support/tools.ts";
import {
  bytesOf,
  DirectoryImage,
  errorOf,
  newInode,
  rootIno,
  someTime,
  withImage,
} from "./directory-image.ts";

const MIB = 2 ** 20;

describe("bitmaps", () => {
  const bits = 256;
  const anyRange = fc
    .tuple(fc.nat(bits), fc.nat(bits))
    .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);

  function make(used: readonly boolean[]): Uint32Array {
    const words = new Uint32Array(bits / 32);
    for (const [bit, isUsed] of used.entries()) if (isUsed) setBits(words, bit, bit + 1);
    return words;
  }

  function read(words: Uint32Array): boolean[] {
    return Array.from({ length: bits }, (_, bit) => ((words[bit >>> 5]! >>> (bit & 31)) & 1) === 1);
  }

  const anyBits = fc.array(fc.oneof(fc.boolean(), fc.constant(true), fc.constant(false)), {
    minLength: bits,
    maxLength: bits,
  });

  test("ranges are set, cleared and searched as bit by bit", () => {
    fc.assert(
      fc.property(anyBits, anyRange, (used, [from, to]) => {
        const words = make(used);
        expect(read(words)).toEqual(used);
        const within = used.slice(from, to);
        const firstClear = within.indexOf(false);
        const firstSet = within.indexOf(true);
        expect(findClear(words, from, to)).toBe(firstClear < 0 ? to : from + firstClear);
        expect(findSet(words, from, to)).toBe(firstSet < 0 ? to : from + firstSet);
        setBits(words, from, to);
        expect(read(words)).toEqual(used.map((bit, at) => bit || (at >= from && at < to)));
        clearBits(words, from, to);
        expect(read(words)).toEqual(used.map((bit, at) => bit && !(at >= from && at < to)));
      }),
    );
  });

  test("a run is the first long enough, else the longest, as bit by bit", () => {
    fc.assert(
      fc.property(
        anyBits,
        anyRange,
        fc.integer({ min: 1, max: 40 }),
        (used, [from, to], wanted) => {
          let best: { start: number; count: number } | null = null;
          for (let at = from; at < to; at++) {
            if (used[at] || (at > from && !used[at - 1])) continue;
            let count = 0;
            while (at + count < to && !used[at + count] && count < wanted) count++;
            if (count > (best?.count ?? 0)) best = { start: at, count };
          }
          expect(findRun(make(used), from, to, wanted)).toEqual(best);
        },
      ),
    );
  });

  test("an aligned run is free, in phase, and reaches one whole stretch", () => {
    fc.assert(
      fc.property(anyBits, anyRange, fc.nat(15), fc.integer({ min: 16, max: 60 }), (...all) => {
        const [used, [from, to], phase, wanted] = all;
        const sparse = used.map((bit, at) => bit && at % 3 === 0 && at % 40 < 9);
        const run = findRun(make(sparse), from, to, wanted, { phase, alignment: 16 });
        const isFree = (start: number, count: number) =>
          start >= from &&
          start + count <= to &&
          !sparse.slice(start, start + count).includes(true);
        const least = Math.min(wanted, ((16 - phase) % 16) + 16);
        const places = sparse.map((_, at) => at).filter((at) => at % 16 === phase);
        if (run === null) {
          expect(places.some((at) => isFree(at, least))).toBe(false);
        } else {
          expect(run.start % 16).toBe(phase);
          expect(run.count).toBeGreaterThanOrEqual(least);
          expect(isFree(run.start, run.count)).toBe(true);
        }
      }),
    );
  });
});

test("large requests are placed so that 2 MiB of the file lie in 2 MiB of the device", () => {
  withImage(256 * MIB, ["-b", "4096"], (image) => {
    const small = image.create(rootIno, "small", newInode("file"));
    image.change((transaction) =>
      image.driver.allocate(transaction, small, 0, 3 * 4096, "preallocate"),
    );
    for (const start of [0, 3 * MIB, 5 * MIB + 4096 * 7]) {
      const ino = image.create(rootIno, `large-${start}`, newInode("file"));
      const extent = image.change((transaction) =>
        image.driver.allocate(transaction, ino, start, 8 * MIB, "preallocate"),
      );
      if (extent.kind !== "unwritten") throw new Error("not unwritten");
      expect((extent.address - extent.start) % (2 * MIB)).toBe(0);
      expect(extent.length).toBe(8 * MIB);
    }
  });
});

test("a file whose pages are written in any order comes to lie in one piece", () => {
  withImage(64 * MIB, ["-b", "4096"], (image) => {
    const ino = image.create(rootIno, "file", newInode("file"));
    const count = 512;
    for (let index = 0; index < count; index++) {
      const at = ((index * 197) % count) * 4096;
      image.change((transaction) => image.driver.allocate(transaction, ino, at, 4096, "write"));
    }
    image.change((transaction) => image.driver.setSize(transaction, ino, count * 4096));
    expect(image.driver.extentAt(ino, 0, count * 4096).length).toBe(count * 4096);
  });
});

test("files that grow side by side get room instead of every other block", () => {
  withImage(64 * MIB, ["-b", "1024"], (image) => {
    const inos = ["a", "b", "c"].map((name) => image.create(rootIno, name, newInode("file")));
    const count = 3000;
    for (let index = 0; index < count; index++) {
      for (const ino of inos) {
        image.change((transaction) =>
          image.driver.allocate(transaction, ino, index * 1024, 1024, "write"),
        );
      }
    }
    for (const ino of inos) {
      let extents = 0;
      for (let at = 0; at < count * 1024; extents++) {
        at += image.driver.extentAt(ino, at, count * 1024).length;
      }
      expect(extents).toBeLessThan(50);
      image.change((transaction) => image.driver.setSize(transaction, ino, count * 1024));
    }
  });
});

test("a full volume says ENOSPC, is full to its last block, and empties again", () => {
  withImage(16 * MIB, ["-b", "1024"], (image) => {
    const { driver } = image;
    const before = driver.spaceInfo();
    const ino = image.create(rootIno, "file", newInode("file"));
    let at = 0;
    const fill = () => {
      for (;;) {
        at += image.change((transaction) =>
          driver.allocate(transaction, ino, at, 1 << 30, "preallocate"),
        ).length;
      }
    };
    expect(errorOf(fill)?.code).toBe("ENOSPC");
    expect(driver.spaceInfo().blocksFree).toBeLessThanOrEqual(1);
    expect(driver.extentAt(ino, at, at + 1024).kind).toBe("hole");
    const other = image.create(rootIno, "other", newInode("file"));
    while (driver.spaceInfo().blocksFree > 0) {
      image.change((transaction) => driver.allocate(transaction, other, 0, 1024, "preallocate"));
    }
    const directory = () => image.create(rootIno, "directory", newInode("directory"));
    expect(errorOf(directory)?.code).toBe("ENOSPC");
    expect(image.names(rootIno)).toEqual(["file", "lost+found", "other"]);
    image.unlink(rootIno, "file");
    image.unlink(rootIno, "other");
    expect(driver.spaceInfo()).toEqual(before);
  });
});

test("a volume without inodes left says ENOSPC, and uses every group's table", () => {
  withImage(64 * MIB, ["-b", "1024", "-g", "8192", "-N", "1024"], (image) => {
    const { driver, volume } = image;
    const inodesFree = driver.spaceInfo().inodesFree;
    for (let index = 0; index < inodesFree; index++) {
      image.create(rootIno, `file-${index}`, newInode(index % 40 === 0 ? "directory" : "file"));
    }
    expect(driver.spaceInfo().inodesFree).toBe(0);
    const one = () => image.create(rootIno, "one", newInode("file"));
    expect(errorOf(one)?.message).toMatch(/ENOSPC.*inode/);
    for (let group = 0; group < volume.facts.groups; group++) {
      const descriptor = readGroup(volume, group);
      expect(getGroup(volume, descriptor, "unusedInodes")).toBe(0);
      expect(groupFlags(volume, descriptor) & 1).toBe(0);
    }
    image.unlink(rootIno, "file-77");
    expect(driver.spaceInfo().inodesFree).toBe(1);
    const first = one();
    expect(driver.readInode(first).generation).toBe(2);
  });
});

test("full groups are not passed by again for each inode, and one that is freed there is found", () => {
  withImage(16 * MIB, ["-b", "1024", "-g", "256", "-N", "1024"], (image) => {
    const { groups, inodesPerGroup } = image.volume.facts;
    expect(groups).toBe(64);
    const make = (index: number) => image.create(rootIno, `file-${index}`, newInode("file"));
    const readsOf = (work: () => void): number => {
      const reads = vi.spyOn(image.cache, "read");
      work();
      const { length } = reads.mock.calls;
      reads.mockRestore();
      return length;
    };
    make(0);
    const first = readsOf(() => make(1));
    for (let index = 2; index < 50 * inodesPerGroup; index++) make(index);
    // One of them may split a block of the directory, whose hashes are seeded at random.
    const later = [0, 1, 2, 3].map((more) => readsOf(() => make(50 * inodesPerGroup + more)));
    expect(Math.min(...later)).toBeLessThan(first + 10);

    const freed = image.find(rootIno, "file-20")!.ino;
    image.unlink(rootIno, "file-20");
    expect(make(51 * inodesPerGroup)).toBe(freed);
    // Whatever the hint says, every inode is found in the end.
    const left = image.driver.spaceInfo().inodesFree;
    image.volume.fullGroups.note(0, 63);
    for (let index = 0; index < left; index++) make(60 * inodesPerGroup + index);
    expect(errorOf(() => make(0xffff))?.code).toBe("ENOSPC");
  });
});

test("inode tables that were never written are zeroed as they are used, and blocks too", () => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  const size = 64 * MIB;
  writeFileSync(path, Buffer.alloc(size, 0xee));
  const lazily = ["-E", "lazy_itable_init=1,nodiscard", "-b", "1024", "-g", "8192"];
  runOk("mkfs.ext4", ["-q", "-F", ...lazily, path]);
  const image = new DirectoryImage(path, 2 ** 28);
  const parents: Ino[] = [];
  for (let index = 0; index < 12; index++) {
    parents.push(image.create(rootIno, `directory-${index}`, newInode("directory")));
  }
  const groupOf = (ino: number) => Math.floor((ino - 1) / image.volume.facts.inodesPerGroup);
  expect(new Set(parents.map(groupOf)).size).toBeGreaterThan(4);
  for (let index = 0; index < 400; index++) {
    const ino = image.create(parents[index % 12]!, `file-${index}`, newInode("file"));
    expect(groupOf(ino)).toBe(groupOf(parents[index % 12]!));
    image.change((transaction) => image.driver.allocate(transaction, ino, 0, 2048, "write"));
    image.change((transaction) => image.driver.setSize(transaction, ino, 2048));
    const extent = image.driver.extentAt(ino, 0, 2048);
    if (extent.kind !== "mapped") throw new Error("not mapped");
    const bytes = image.bytes.subarray(extent.address, extent.address + extent.length);
    expect(bytes.every((byte) => byte === 0)).toBe(true);
  }
  image.close();
  const { clean, output } = e2fsckClean(path);
  expect(clean, output).toBe(true);
});

test("a freed inode gives its attribute block back", () => {
  const setAttribute = (path: string) => {
    runOk("debugfs", ["-w", "-f", "-", path], `mkdir a\nea_set a user.long ${"x".repeat(600)}`);
  };
  withImage(
    16 * MIB,
    ["-b", "1024", "-I", "128"],
    (image) => {
      const { blocksFree } = image.driver.spaceInfo();
      image.unlink(rootIno, "a");
      expect(image.driver.spaceInfo().blocksFree).toBe(blocksFree + 2);
    },
    setAttribute,
  );
});

test("a shared attribute block loses a reference with each inode, and goes with the last", () => {
  const share = (path: string) => {
    const long = "x".repeat(600);
    runOk("debugfs", ["-w", "-f", "-", path], `mkdir a\nea_set a user.long ${long}\nmkdir b`);
    const stat = runOk("debugfs", ["-R", "stat a", path]);
    const block = Number(/File ACL: (\d+)/.exec(stat)?.[1]);
    runOk("debugfs", ["-w", "-f", "-", path], `sif b file_acl ${block}\nsif b blocks 4`);
    const bytes = readFileSync(path);
    const attributes = bytes.subarray(block * 1024, (block + 1) * 1024);
    attributes.writeUInt32LE(2, DiskAttributeHeader.referenceCount.offset);
    const { checksumSeed } = parseSuperblock(bytes.subarray(1024, 2048), bytes.length);
    const checksum = attributeChecksum(checksumSeed, block, attributes);
    attributes.writeUInt32LE(checksum, DiskAttributeHeader.checksum.offset);
    writeFileSync(path, bytes);
    expect(e2fsckClean(path).clean).toBe(true);
  };
  using directory = temporaryDirectory();
  const path = directory.file("image");
  mkfsExt4(path, 16 * MIB, ["-b", "1024"]);
  share(path);
  for (const [name, blocks] of [
    ["a", 1],
    ["b", 2],
  ] as const) {
    const image = new DirectoryImage(path, 2 ** 28);
    const { blocksFree } = image.driver.spaceInfo();
    image.unlink(rootIno, name);
    expect(image.driver.spaceInfo().blocksFree).toBe(blocksFree + blocks);
    image.close();
    const { clean, output } = e2fsckClean(path);
    expect(clean, output).toBe(true);
  }
});

test("orphans are listed until they are freed, in any order", () => {
  withImage(8 * MIB, [], (image) => {
    const inos = ["a", "b", "c", "d"].map((name) => image.create(rootIno, name, newInode("file")));
    for (const name of ["a", "b", "c", "d"]) {
      image.change((transaction) =>
        image.driver.unlink(transaction, rootIno, bytesOf(name), someTime),
      );
    }
    expect(image.driver.orphans()).toEqual([...inos].reverse());
    expect(image.driver.readInode(inos[0]!).linkCount).toBe(0);
    for (const index of [1, 3, 0, 2]) {
      image.change((transaction) => image.driver.freeInode(transaction, inos[index]!));
      expect(errorOf(() => image.driver.readInode(inos[index]!))?.code).toBe("ENOENT");
    }
    expect(image.driver.orphans()).toEqual([]);
  });
});

test("attributes are set, and times keep nanoseconds and four centuries", () => {
  withImage(8 * MIB, [], (image) => {
    const ino = image.create(rootIno, "file", newInode("file"));
    const time = (seconds: number) => ({ seconds, nanoseconds: 987_654_321 });
    image.change((transaction) =>
      image.driver.setAttributes(transaction, ino, {
        mode: 0o4711,
        uid: 100_000,
        gid: 2 ** 31,
        accessTime: time(-5),
        modifyTime: time(2 ** 33),
        changeTime: time(2 ** 40),
      }),
    );
    expect(image.driver.readInode(ino)).toMatchObject({
      type: "file",
      mode: 0o4711,
      uid: 100_000,
      gid: 2 ** 31,
      accessTime: time(-5),
      modifyTime: time(2 ** 33),
      changeTime: { seconds: 2 ** 34 - 2 ** 31 - 1, nanoseconds: 0 },
      birthTime: someTime,
    });
    const least = { seconds: -(2 ** 31), nanoseconds: 0 };
    for (const seconds of [-(2 ** 40), -(2 ** 31) - 1, -(2 ** 31)]) {
      image.change((transaction) =>
        image.driver.setAttributes(transaction, ino, { modifyTime: time(seconds) }),
      );
      expect(image.driver.readInode(ino).modifyTime).toEqual(least);
    }
    for (const [deviceMajor, deviceMinor] of [
      [5, 1],
      [259, 3],
      [4095, 0xfffff],
    ] as const) {
      const name = `device-${deviceMajor}`;
      const device = image.create(
        rootIno,
        name,
        newInode("block-device", { deviceMajor, deviceMinor }),
      );
      expect(image.driver.readInode(device)).toMatchObject({ deviceMajor, deviceMinor });
    }
  });
});
