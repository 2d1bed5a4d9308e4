// What mke2fs makes of the same wish, and where two images differ.

import { closeSync, fstatSync, openSync, readSync, writeFileSync } from "node:fs";
import { dataRuns } from "../../../src/device/host-file.ts";
import { DiskSuperblock, SUPERBLOCK_MAGIC } from "../../../src/drivers/ext/format.ts";
import { type MkfsOptions, mkfsSync } from "../../../src/index.ts";
import { run, runOk, sparseFile, type TemporaryDirectory } from "../../support/tools.ts";

export const UUID = "01234567-89ab-cdef-0123-456789abcdef";
export const HASH_SEED = "fedcba98-7654-3210-fedc-ba9876543210";
export const TIME = 1_700_000_000;

/** As Debian's /etc/mke2fs.conf of e2fsprogs 1.47.0, in what matters here: other systems have others. */
const CONFIGURATION = `[defaults]
  base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
  default_mntopts = acl,user_xattr
  enable_periodic_fsck = 0
  blocksize = 4096
  inode_size = 256
  inode_ratio = 16384
[fs_types]
  ext3 = {
    features = has_journal
  }
  ext4 = {
    features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
  }
  small = {
    blocksize = 1024
    inode_ratio = 4096
  }
  floppy = {
    blocksize = 1024
    inode_ratio = 8192
  }
  big = {
    inode_ratio = 32768
  }
  huge = {
    inode_ratio = 65536
  }
`;

/** mke2fs of another version chooses otherwise: then images are not compared. */
export function isReferee(): boolean {
  return /^mke2fs 1\.47\.0/.test(run("mke2fs", ["-V"]).stderr);
}

/** Makes two images of the same wish in a directory: ours, and mke2fs's with the same arguments. */
export function makeBoth(
  directory: TemporaryDirectory,
  bytes: number,
  options: MkfsOptions,
  args: readonly string[],
): { readonly own: string; readonly other: string } {
  const [own, other] = [directory.file("own"), directory.file("other")];
  const fixed = { uuid: UUID, hashSeed: HASH_SEED, time: TIME, force: true };
  mkfsSync(own, { size: bytes, ...fixed, ...options });
  const configuration = directory.file("mke2fs.conf");
  writeFileSync(configuration, CONFIGURATION);
  sparseFile(other, bytes);
  const environment = [`MKE2FS_CONFIG=${configuration}`, `E2FSPROGS_FAKE_TIME=${TIME}`];
  const type = options.type ?? "ext4";
  const extended = ["-U", UUID, "-E", `hash_seed=${HASH_SEED}`];
  runOk("env", [...environment, "mke2fs", "-q", "-F", "-t", type, ...extended, ...args, other]);
  return { own, other };
}

const PIECE = 2 ** 20;
const SUPERBLOCK_BYTES = 1024;

/** Superblocks keep how much mke2fs itself has written, which no one else has. */
function blankHistory(bytes: Buffer): void {
  for (let at = 0; at + SUPERBLOCK_BYTES <= bytes.length; at += SUPERBLOCK_BYTES) {
    if (bytes.readUInt16LE(at + DiskSuperblock.magic.offset) !== SUPERBLOCK_MAGIC) continue;
    for (const { offset, size } of [DiskSuperblock.kibibytesWritten, DiskSuperblock.checksum]) {
      bytes.fill(0, at + offset, at + offset + size);
    }
  }
}

function readPiece(file: number, at: number): Buffer {
  const bytes = Buffer.alloc(PIECE);
  readSync(file, bytes, 0, PIECE, at);
  return bytes;
}

/** Bytes at which two images differ, by pieces of a block; holes are not read. */
export function differentBlocks(own: string, other: string, blockSize: number): string[] {
  const [a, b] = [openSync(own, "r"), openSync(other, "r")];
  try {
    const { size } = fstatSync(a);
    if (fstatSync(b).size !== size) return [`the sizes are ${size} and ${fstatSync(b).size}`];
    const pieces = new Set<number>();
    for (const file of [a, b]) {
      for (const { start, length } of dataRuns(file, size)) {
        const end = start + length;
        for (let at = start - (start % PIECE); at < end; at += PIECE) pieces.add(at);
      }
    }
    const found: string[] = [];
    for (const at of pieces) {
      const [one, two] = [readPiece(a, at), readPiece(b, at)];
      if (one.equals(two)) continue;
      blankHistory(one);
      blankHistory(two);
      for (let byte = 0; byte < PIECE; byte += blockSize) {
        const isSame = one
          .subarray(byte, byte + blockSize)
          .equals(two.subarray(byte, byte + blockSize));
        if (!isSame) found.push(`block ${(at + byte) / blockSize}`);
      }
    }
    return found;
  } finally {
    closeSync(a);
    closeSync(b);
  }
}
