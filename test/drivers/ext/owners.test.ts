import { closeSync, openSync, writeFileSync, writeSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type DeviceOwner, mountSync, type Volume } from "../../../src/index.ts";
import {
  hasTool,
  mkfsExt4,
  runOk,
  type TemporaryDirectory,
  temporaryDirectory,
} from "../../support/tools.ts";

const MIB = 2 ** 20;
const mountOptions = { regionBytes: 2 ** 28 };

/** A small part of what debugfs says: block to inode, of every block that `blocks` names. */
function icheck(
  directory: TemporaryDirectory,
  image: string,
  blocks: number[],
): Map<number, number> {
  const script = directory.file("icheck");
  const lines: string[] = [];
  for (let at = 0; at < blocks.length; at += 500) {
    lines.push(`icheck ${blocks.slice(at, at + 500).join(" ")}`);
  }
  writeFileSync(script, `${lines.join("\n")}\n`);
  const found = new Map<number, number>();
  for (const line of runOk("debugfs", ["-f", script, image]).split("\n")) {
    const match = /^(\d+)\t(\d+)$/.exec(line);
    if (match !== null) found.set(Number(match[1]), Number(match[2]));
  }
  return found;
}

/** Free blocks, as dumpe2fs lists them by group. */
function freeBlocks(image: string): Set<number> {
  const free = new Set<number>();
  for (const line of runOk("dumpe2fs", [image]).split("\n")) {
    const list = /^ {2}Free blocks: (.+)$/.exec(line)?.[1];
    for (const range of list?.split(", ") ?? []) {
      const [first, last = first] = range.split("-").map(Number) as [number, number?];
      for (let block = first; block <= (last ?? first); block++) free.add(block);
    }
  }
  return free;
}

/** Structures that debugfs knows no inode of. */
const OF_GROUPS = new Set([
  "superblock",
  "group descriptors",
  "block bitmap",
  "inode bitmap",
  "inode table",
]);

function byBlock(owners: readonly DeviceOwner[], blockSize: number): Map<number, DeviceOwner> {
  const owned = new Map<number, DeviceOwner>();
  for (const owner of owners) {
    for (let at = 0; at < owner.length; at += blockSize) {
      const block = (owner.deviceOffset + at) / blockSize;
      expect(owned.has(block), `block ${block} has two owners`).toBe(false);
      const offset = owner.offset === null ? null : owner.offset + at;
      owned.set(block, { ...owner, offset });
    }
  }
  return owned;
}

/** Compares what a volume says of all its blocks with debugfs and dumpe2fs. The volume is closed. */
function compareAll(
  directory: TemporaryDirectory,
  image: string,
  blockSize: number,
): DeviceOwner[] {
  using volume = mountSync(image, { ...mountOptions, readOnly: true });
  const { size } = volumeSize(image);
  const owners = volume.blockOwnersSync({ deviceOffset: 0, length: size });
  const owned = byBlock(owners, blockSize);
  const blocks = Array.from({ length: size / blockSize }, (_, block) => block);
  const known = icheck(directory, image, blocks);
  const free = freeBlocks(image);
  const wrong: string[] = [];
  for (const block of blocks) {
    const owner = owned.get(block);
    const ino = known.get(block) ?? null;
    if (owner === undefined ? !free.has(block) : free.has(block)) {
      wrong.push(`block ${block}: ${owner?.structure ?? "nobody"}, free ${free.has(block)}`);
    } else if (owner !== undefined && !OF_GROUPS.has(owner.use) && owner.ino !== ino) {
      if (owner.use !== "reserved" || owner.ino !== null) {
        wrong.push(`block ${block}: inode ${owner.ino}, debugfs says ${ino}`);
      }
    }
  }
  expect(wrong).toEqual([]);
  return owners;
}

function volumeSize(image: string): { size: number } {
  const text = runOk("dumpe2fs", ["-h", image]);
  const blocks = Number(/^Block count:\s+(\d+)$/m.exec(text)![1]);
  const blockSize = Number(/^Block size:\s+(\d+)$/m.exec(text)![1]);
  return { size: blocks * blockSize };
}

/** Compares the places of data in files with debugfs, a block in 7. */
function comparePlaces(image: string, owners: readonly DeviceOwner[], blockSize: number): void {
  const commands: string[] = [];
  const expected: number[] = [];
  const places = [...byBlock(owners, blockSize)].filter(([, { use }]) => use === "data");
  for (const [at, [block, { ino, offset }]] of places.entries()) {
    if (at % 7 !== 0) continue;
    commands.push(`bmap <${ino}> ${offset! / blockSize}`);
    expected.push(block);
  }
  const script = `${image}.bmap`;
  writeFileSync(script, `${commands.join("\n")}\n`);
  const found = runOk("debugfs", ["-f", script, image])
    .split("\n")
    .filter((line) => /^\d+$/.test(line))
    .map(Number);
  expect(found).toEqual(expected);
}

/** Files of every sort: fragmented, sparse, preallocated, with blocks of attributes, directories, symlinks. */
function fill(volume: Volume): void {
  volume.mkdirSync("/directory");
  for (let index = 0; index < 300; index++) {
    volume.writeFileSync(`/directory/a-name-that-is-not-short-${index}`, `${index}`);
  }
  volume.symlinkSync("short", "/fast");
  volume.symlinkSync("l".repeat(200), "/slow");
  using fragmented = volume.openSync("/fragmented", "w+");
  using other = volume.openSync("/other", "w+");
  for (let at = 0; at < 400; at++) {
    fragmented.writeSync(Buffer.alloc(4096, 1), at * 8192);
    other.writeSync(Buffer.alloc(4096, 2), at * 8192);
  }
  using unwritten = volume.openSync("/unwritten", "w+");
  unwritten.fallocateSync("allocate", 0, MIB);
  unwritten.writeSync(Buffer.alloc(4096, 3), 300 * 1024 - ((300 * 1024) % 4096));
  volume.unlinkSync("/directory/a-name-that-is-not-short-7");
  volume.unlinkSync("/other");
}

describe.skipIf(!hasTool("debugfs"))("owners of blocks", () => {
  it.each([
    ["4 KiB blocks", 4096, []],
    ["1 KiB blocks, several groups", 1024, []],
    ["2 KiB blocks, no flex groups, no 64bit", 2048, ["-O", "^flex_bg,^64bit"]],
    ["no metadata checksums", 4096, ["-O", "^metadata_csum"]],
    ["meta groups", 1024, ["-O", "meta_bg,^resize_inode"]],
  ] as const)("agree with debugfs and dumpe2fs on every block: %s", (_name, blockSize, args) => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 24 * MIB, ["-b", String(blockSize), ...args]);
    {
      using volume = mountSync(image, mountOptions);
      fill(volume);
    }
    const value = directory.file("value");
    writeFileSync(value, Buffer.alloc(800, "v"));
    runOk("debugfs", ["-w", "-R", `ea_set -f ${value} /fragmented user.large`, image]);
    const owners = compareAll(directory, image, blockSize);
    comparePlaces(image, owners, blockSize);
    const uses = new Set(owners.map(({ use }) => use));
    for (const use of ["data", "unwritten", "directory", "symlink", "block map", "journal"]) {
      expect(uses, use).toContain(use);
    }
    expect(uses).toContain("attributes");
  });

  it("finds what an ext2 volume's block pointers name", () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 24 * MIB, ["-t", "ext2", "-b", "1024"]);
    const large = directory.file("large");
    writeFileSync(large, Buffer.alloc(2 * MIB, "x"));
    const sparse = directory.file("sparse");
    const fd = openSync(sparse, "w");
    // A block behind 12 + 256 + 256 * 256 others: three levels of pointers.
    for (const at of [0, 100 * 1024, 70_000 * 1024])
      writeSync(fd, Buffer.alloc(1024, "y"), 0, 1024, at);
    closeSync(fd);
    const commands = directory.file("commands");
    writeFileSync(commands, `write ${large} large\nwrite ${sparse} sparse\nmkdir directory\n`);
    runOk("debugfs", ["-w", "-f", commands, image]);
    const owners = compareAll(directory, image, 1024);
    comparePlaces(image, owners, 1024);
    expect(owners.filter(({ use }) => use === "block map").length).toBeGreaterThan(3);
  });

  it("passes over what is damaged, and finds the rest", () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 24 * MIB, ["-b", "4096"]);
    {
      using volume = mountSync(image, mountOptions);
      fill(volume);
    }
    const before = compareAll(directory, image, 4096);
    const node = before.find(({ use }) => use === "block map")!;
    const fd = openSync(image, "r+");
    writeSync(fd, Buffer.alloc(4096, 0x5a), 0, 4096, node.deviceOffset);
    closeSync(fd);
    using volume = mountSync(image, { ...mountOptions, readOnly: true });
    const owners = volume.blockOwnersSync({ deviceOffset: 0, length: 24 * MIB });
    const expected = before.filter(({ ino, use }) => ino !== node.ino || use === "block map");
    expect(owners.filter(({ ino, use }) => ino !== node.ino || use === "block map")).toEqual(
      expected,
    );
    expect(owners.filter(({ ino, use }) => ino === node.ino && use === "data")).toEqual([]);
  });

  it("lets others go on between the parts of a search, and leaves nothing of it in memory", async () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 2048 * MIB, ["-E", "lazy_itable_init=1"]);
    using volume = mountSync(image, mountOptions);
    fill(volume);
    // 16 groups; the last block is nobody's, so all of them are looked at.
    volume.blockOwnersSync({ deviceOffset: 0, length: 1 });
    const before = volume.statistics().regionBytesUsed;
    let turns = 0;
    const ticking = setInterval(() => {
      volume.writeFileSync(`/beside-${turns++}`, "text");
    }, 0);
    const owners = await volume.blockOwners({ deviceOffset: 2048 * MIB - 4096, length: 4096 });
    clearInterval(ticking);
    expect(owners).toEqual([]);
    expect(turns).toBeGreaterThan(3);
    expect(volume.statistics().regionBytesUsed - before).toBeLessThan(2 * MIB);
  });

  it("names no other owner while files come and go", async () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 64 * MIB);
    using volume = mountSync(image, mountOptions);
    volume.writeFileSync("/kept", Buffer.alloc(MIB, 1));
    const { ino } = volume.statSync("/kept");
    const all = await volume.blockOwners({ deviceOffset: 0, length: 64 * MIB });
    const kept = all.filter((owner) => owner.ino === ino);
    expect(kept.reduce((sum, { length }) => sum + length, 0)).toBe(MIB);
    const [first] = kept;
    for (let round = 0; round < 20; round++) {
      const found = volume.blockOwners({
        deviceOffset: first!.deviceOffset,
        length: first!.length,
      });
      volume.writeFileSync(`/other-${round % 3}`, Buffer.alloc(100_000, 2));
      if (round % 2 === 0) volume.unlinkSync(`/other-${round % 3}`);
      expect(await found).toEqual([first]);
    }
    const outside = { deviceOffset: 64 * MIB, length: 1 };
    expect(() => volume.blockOwnersSync(outside)).toThrow(
      expect.objectContaining({ code: "EFAULT" }),
    );
  });
});
