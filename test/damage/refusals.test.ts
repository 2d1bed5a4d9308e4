// What is no ext4 volume that Holdfast can use, or not for writing: refused or mounted read-only with a
// reason that names what was found, and the image stays as it was.

import { copyFileSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { crc32c } from "@node-rs/crc32";
import { afterAll, describe, expect, test } from "vitest";
import { CorruptionError, HoldfastError, mountSync } from "../../src/index.ts";
import {
  hasTool,
  mkfsExt4,
  runOk,
  skipUnless,
  sparseFile,
  temporaryDirectory,
} from "../support/tools.ts";
import { randomFrom } from "../support/random.ts";

const REGION_BYTES = 2 ** 24;
const VOLUME_BYTES = 4 * 2 ** 20;
const SUPERBLOCK_BYTE = 1024;
const COMPATIBLE_BYTE = 0x5c;
const INCOMPATIBLE_BYTE = 0x60;
const READ_ONLY_BYTE = 0x64;
const CHECKSUM_BYTE = 0x3fc;

const directory = temporaryDirectory();
afterAll(() => directory[Symbol.dispose]());

const original = directory.file("original");
if (hasTool("mkfs.ext4")) {
  mkfsExt4(original, VOLUME_BYTES, ["-b", "1024", "-L", "a label"]);
  if (hasTool("debugfs")) runOk("debugfs", ["-w", "-R", "mkdir kept", original]);
}

/** A fresh copy of the volume. */
function copy(): string {
  const path = directory.file("copy");
  copyFileSync(original, path);
  return path;
}

/** A copy with its superblock changed and the checksum right for it. */
function withSuperblock(change: (superblock: Buffer) => void): string {
  const path = copy();
  const image = readFileSync(path);
  const superblock = image.subarray(SUPERBLOCK_BYTE, SUPERBLOCK_BYTE + 1024);
  change(superblock);
  // ext4 keeps the CRC without its final inversion.
  superblock.writeUInt32LE(~crc32c(superblock.subarray(0, CHECKSUM_BYTE)) >>> 0, CHECKSUM_BYTE);
  writeFileSync(path, image);
  return path;
}

function withFeature(wordByte: number, bit: number): string {
  return withSuperblock((superblock) => {
    superblock.writeUInt32LE((superblock.readUInt32LE(wordByte) | bit) >>> 0, wordByte);
  });
}

/** The error of a mount for writing, and for reading, neither of which may change the image. */
function refusal(path: string): HoldfastError {
  const before = readFileSync(path);
  const errors = [false, true].map((readOnly) => {
    try {
      mountSync(path, { readOnly, regionBytes: REGION_BYTES }).closeSync();
      throw new Error("the mount was not refused");
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      return error;
    }
  });
  expect(Buffer.compare(readFileSync(path), before)).toBe(0);
  const [writing, reading] = errors as [HoldfastError, HoldfastError];
  expect(reading.message).toBe(writing.message);
  expect(["mount", "open"]).toContain(writing.syscall);
  expect(writing.path).toBe(path);
  return writing;
}

/** Why the volume was mounted read-only; reading works and nothing is changed. */
function readOnlyReason(path: string): string | null {
  const before = readFileSync(path);
  const volume = mountSync(path, { regionBytes: REGION_BYTES });
  try {
    expect(volume.readOnly).toBe(true);
    expect(volume.readdirSync("/").sort()).toEqual(["kept", "lost+found"]);
    expect(() => volume.mkdirSync("/new")).toThrow(
      expect.objectContaining({ code: "EROFS", path: "/new", syscall: "mkdir" }),
    );
    expect(() => volume.openSync("/new", "w")).toThrow(expect.objectContaining({ code: "EROFS" }));
    return volume.readOnlyReason;
  } finally {
    volume.closeSync();
    expect(Buffer.compare(readFileSync(path), before)).toBe(0);
  }
}

const withImage = skipUnless("mkfs.ext4", "debugfs");

describe("features", () => {
  withImage.each([
    ["compression", 0x1],
    ["journal_dev", 0x8],
    ["mmp", 0x100],
    ["dirdata", 0x1000],
    ["encrypt", 0x10000],
    ["casefold", 0x20000],
    ["0x40000", 0x40000],
    ["0x1000000", 0x1000000],
    ["0x80000000", 0x80000000],
  ])("the incompatible feature %s is refused by its name", (name, bit) => {
    const error = refusal(withFeature(INCOMPATIBLE_BYTE, bit));
    expect(error.code).toBe("EOPNOTSUPP");
    expect(error.message).toMatch(new RegExp(`\\b${name}\\b`));
  });

  withImage("several incompatible features are refused by all their names", () => {
    const error = refusal(withFeature(INCOMPATIBLE_BYTE, 0x40000000 | 0x20000 | 0x100));
    expect(error.code).toBe("EOPNOTSUPP");
    expect(error.message).toMatch(/mmp, casefold, 0x40000000/);
  });

  withImage.each([
    ["btree_dir", 0x4],
    ["replica", 0x800],
    ["read-only", 0x1000],
    ["shared_blocks", 0x4000],
    ["verity", 0x8000],
    ["orphan_present", 0x10000],
    ["0x20000", 0x20000],
    ["0x80000000", 0x80000000],
  ])("with the read-only feature %s the volume is read, and says why not written", (name, bit) => {
    expect(readOnlyReason(withFeature(READ_ONLY_BYTE, bit))).toContain(name);
  });

  withImage("unknown compatible features are nobody's concern", () => {
    const path = withFeature(COMPATIBLE_BYTE, 0x40000000);
    const volume = mountSync(path, { regionBytes: REGION_BYTES });
    expect(volume.readOnly).toBe(false);
    volume.mkdirSync("/new");
    volume.closeSync();
  });

  withImage("a later revision of the format is refused by its number", () => {
    const error = refusal(withSuperblock((superblock) => superblock.writeUInt32LE(2, 0x4c)));
    expect(error.code).toBe("EOPNOTSUPP");
    expect(error.message).toMatch(/revision 2/);
  });

  withImage("blocks larger than a page are refused with their size", () => {
    const path = directory.file("large-blocks");
    mkfsExt4(path, 64 * 2 ** 20, ["-b", "8192"]);
    const error = refusal(path);
    expect(error.code).toBe("EOPNOTSUPP");
    expect(error.message).toMatch(/blocks larger than 4 KiB/);
  });
});

describe("state", () => {
  withImage("a volume that needs recovery, and has lost its journal, is not written", () => {
    const path = withSuperblock((superblock) => {
      superblock.writeUInt32LE(superblock.readUInt32LE(COMPATIBLE_BYTE) & ~0x4, COMPATIBLE_BYTE);
      superblock.writeUInt32LE(superblock.readUInt32LE(INCOMPATIBLE_BYTE) | 0x4, INCOMPATIBLE_BYTE);
    });
    expect(readOnlyReason(path)).toMatch(/no journal/);
  });

  withImage("a volume whose journal is elsewhere is not written", () => {
    const path = withSuperblock((superblock) => superblock.writeUInt32LE(0, 0xe0));
    expect(readOnlyReason(path)).toMatch(/another device/);
  });

  withImage("a volume that was not unmounted cleanly is not written", () => {
    const path = withSuperblock((superblock) => superblock.writeUInt16LE(0, 0x3a));
    expect(readOnlyReason(path)).toMatch(/not unmounted cleanly/);
  });

  withImage("a volume whose superblock counts errors is not written", () => {
    const path = withSuperblock((superblock) => superblock.writeUInt16LE(3, 0x3a));
    expect(readOnlyReason(path)).toMatch(/errors/);
  });

  withImage("without a journal, a volume with deleted files that hold space is not written", () => {
    const path = withSuperblock((superblock) => {
      superblock.writeUInt32LE(superblock.readUInt32LE(COMPATIBLE_BYTE) & ~0x4, COMPATIBLE_BYTE);
      superblock.writeUInt32LE(12, 0xe8);
    });
    expect(readOnlyReason(path)).toMatch(/inode 12/);
  });

  withImage("a superblock whose checksum is wrong is refused by the field's name", () => {
    const path = copy();
    const image = readFileSync(path);
    image[SUPERBLOCK_BYTE + 0x78] = 0x41;
    writeFileSync(path, image);
    const error = refusal(path);
    expect(error).toBeInstanceOf(CorruptionError);
    const { damage } = error as CorruptionError;
    expect(damage).toMatchObject({ structure: "ext4_super_block", field: "s_checksum" });
    expect(damage.deviceByte).toBe(SUPERBLOCK_BYTE);
  });
});

describe("other contents", () => {
  withImage("half of a volume is refused by the number of blocks", () => {
    const path = copy();
    truncateSync(path, VOLUME_BYTES / 2);
    const error = refusal(path);
    expect(error.code).toBe("EUCLEAN");
    expect((error as CorruptionError).damage.field).toBe("s_blocks_count");
    expect(error.message).toMatch(/4096.*2048/);
  });

  withImage("a volume cut off inside its first blocks is refused", () => {
    for (const size of [1, 1023, 1024, 1025, 2047, 2048, 4095, 4096, 5000, 8192]) {
      const path = copy();
      truncateSync(path, size);
      expect(["EUCLEAN", "EINVAL"]).toContain(refusal(path).code);
    }
  });

  test("an empty file is refused", () => {
    const path = directory.file("empty");
    sparseFile(path, 0);
    const error = refusal(path);
    expect(error.code).toBe("EINVAL");
    expect(error.message).toMatch(/empty/);
  });

  test("zeroes are refused as zeroes", () => {
    const path = directory.file("zeroes");
    sparseFile(path, 8 * 2 ** 20);
    const error = refusal(path);
    expect(error.code).toBe("EINVAL");
    expect(error.message).toMatch(/zeroes/);
  });

  test("random bytes are refused with what was found for the magic number", () => {
    const path = directory.file("random");
    for (let seed = 1; seed <= 50; seed++) {
      const random = randomFrom(seed);
      const bytes = Uint8Array.from({ length: 70_000 }, () => random.below(256));
      writeFileSync(path, bytes);
      const error = refusal(path);
      expect(error.code).toBe("EINVAL");
      expect(error.message).toMatch(/no ext2, ext3 or ext4 volume, but .*0x[0-9a-f]{4}/);
    }
  });

  test("random bytes behind a right magic number are refused", () => {
    const path = directory.file("random");
    for (let seed = 1; seed <= 50; seed++) {
      const random = randomFrom(seed);
      const bytes = Buffer.from(Uint8Array.from({ length: 70_000 }, () => random.below(256)));
      bytes.writeUInt16LE(0xef53, SUPERBLOCK_BYTE + 0x38);
      if (seed % 2 === 0) bytes.writeUInt32LE(1, SUPERBLOCK_BYTE + 0x4c);
      if (seed % 4 === 0) bytes.writeUInt32LE(0x2c2, SUPERBLOCK_BYTE + INCOMPATIBLE_BYTE);
      if (seed % 8 === 0) bytes.writeUInt32LE(0x7b, SUPERBLOCK_BYTE + READ_ONLY_BYTE);
      writeFileSync(path, bytes);
      expect(["EUCLEAN", "EOPNOTSUPP"]).toContain(refusal(path).code);
    }
  });

  test.each([
    ["XFS", 0, "XFSB"],
    ["btrfs", 0x10040, "_BHRfS_M"],
    ["F2FS", 1024, "\x10\x20\xf5\xf2"],
    ["squashfs", 0, "hsqs"],
    ["NTFS", 3, "NTFS    "],
    ["GPT", 512, "EFI PART"],
    ["qcow2", 0, "QFI\xfb"],
    ["LUKS", 0, "LUKS\xba\xbe"],
    ["gzip", 0, "\x1f\x8b\x08"],
  ])("%s is refused by its name", (name, at, magic) => {
    const path = directory.file("other");
    const bytes = Buffer.alloc(2 ** 20, 0x11);
    bytes.write(magic, at, "latin1");
    writeFileSync(path, bytes);
    const error = refusal(path);
    expect(error.code).toBe("EINVAL");
    expect(error.message).toContain(name);
  });

  skipUnless("mkfs.xfs")("a volume of mkfs.xfs is refused as XFS", () => {
    const path = directory.file("xfs");
    sparseFile(path, 320 * 2 ** 20);
    runOk("mkfs.xfs", ["-q", "-f", path]);
    expect(refusal(path).message).toContain("XFS");
  });

  test("a directory and a missing file say so", () => {
    expect(() => mountSync(directory.path)).toThrow(/EISDIR|EINVAL|directory/);
    expect(() => mountSync(directory.file("missing"))).toThrow(
      expect.objectContaining({ code: "ENOENT" }),
    );
  });
});
