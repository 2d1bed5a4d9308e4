// A small ext image with every kind of metadata in it, made by mke2fs and debugfs alone: no root needed,
// and nothing of Holdfast's writing in it.

import {
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { run, runOk, sparseFile, temporaryDirectory } from "../support/tools.ts";
import { randomFrom } from "../support/random.ts";

export interface ImageShape {
  readonly type: "ext2" | "ext3" | "ext4";
  readonly blockSize: 1024 | 2048 | 4096;
  /** Without metadata checksums (ext2 and ext3 have none) only the structures themselves can show damage. */
  readonly checksums: boolean;
  /** Small content lies in inodes (inline_data), large values of attributes in inodes of their own (ea_inode). */
  readonly inInodes?: boolean;
}

export const IMAGE_BYTES: Record<ImageShape["blockSize"], number> = {
  1024: 8 * 2 ** 20,
  2048: 10 * 2 ** 20,
  4096: 16 * 2 ** 20,
};

/** Single-block extents of the fragmented file: more than a tree of depth 1 holds. */
const FRAGMENTS: Record<ImageShape["blockSize"], number> = { 1024: 500, 2048: 800, 4096: 1450 };

/** Names of the large directory: at 1 and 2 KiB blocks its hash tree has inner nodes. */
const NAMES: Record<ImageShape["blockSize"], number> = { 1024: 900, 2048: 2200, 4096: 600 };
const NAME_LENGTH = 200;

function content(seed: number, length: number): Uint8Array {
  const random = randomFrom(seed);
  const bytes = new Uint8Array(length);
  // Never zero: mke2fs would leave a hole.
  for (let at = 0; at < length; at++) bytes[at] = 1 + random.below(255);
  return bytes;
}

/** Every other block is a hole, so that every block is an extent of its own. */
function fragmentedFile(path: string, blockSize: number, blocks: number): void {
  const file = openSync(path, "w");
  for (let block = 0; block < blocks; block++) {
    writeSync(file, content(1000 + block, blockSize), 0, blockSize, block * 2 * blockSize);
  }
  closeSync(file);
}

function sparse(path: string, sizeBytes: number, islands: readonly number[]): void {
  const file = openSync(path, "w");
  ftruncateSync(file, sizeBytes);
  for (const at of islands) writeSync(file, content(at, 3000), 0, 3000, at);
  closeSync(file);
}

/** The large directory's names, in order of number. */
export function largeDirectoryNames(blockSize: ImageShape["blockSize"]): string[] {
  return Array.from({ length: NAMES[blockSize] }, (_, index) =>
    `name-${index}-`.padEnd(NAME_LENGTH, "abcdefghij"),
  );
}

/** What the image is filled with. */
function fillSource(root: string, blockSize: ImageShape["blockSize"]): void {
  const at = (path: string): string => join(root, path);
  for (const name of ["large", "small", "deep", "deep/er", "deep/er/still", "medium"]) {
    mkdirSync(at(name));
  }
  writeFileSync(at("hub"), content(7, 5000));
  for (const name of largeDirectoryNames(blockSize)) linkSync(at("hub"), at(`large/${name}`));
  for (let index = 0; index < 60; index++) {
    const name = `medium/a rather long name, so that one block is not enough ${index}`;
    writeFileSync(at(name), content(index, (index * 37) % 900));
  }
  for (let index = 0; index < 5; index++) {
    writeFileSync(at(`small/file-${index}`), content(50 + index, 1 + index * 7000));
  }
  writeFileSync(at("small/empty"), "");
  writeFileSync(at("small/Ünïcödé-名前"), "text");
  writeFileSync(at("deep/er/still/leaf"), content(90, 20_000));
  fragmentedFile(at("fragmented"), blockSize, FRAGMENTS[blockSize]);
  sparse(at("sparse"), 3_000_000, [0, 500_000, 1_234_567, 2_900_000]);
  sparse(at("hole"), 70_000, []);
  symlinkSync("small/file-1", at("short-link"));
  symlinkSync("missing", at("dangling-link"));
  symlinkSync(`${"deep/../".repeat(12)}small/file-2`, at("long-link"));
  symlinkSync(`deep/${"x".repeat(900)}`, at("longer-link"));
}

const DEBUGFS_SCRIPT = [
  "ea_set small/file-1 user.colour blue",
  "ea_set small/file-2 user.long LONG",
  "ea_set small/file-3 user.long LONG",
  "ea_set deep user.long LONG",
  "mknod pipe p",
  "mknod null c 1 3",
  "mknod wide b 300 70000",
];
/** Attributes with values of a block, of what lies in its inode and of what does not. */
const VALUES = ["small/empty", "small/file-1", "deep"].map(
  (path) => `ea_set -f VALUE ${path} user.value`,
);
/** Of a file with extents. */
const PREALLOCATE = "fallocate small/file-4 40 90";

/** Makes the image. Throws when a tool of e2fsprogs fails, or its checker finds something wrong. */
export function makeFilledImage(
  image: string,
  { type, blockSize, checksums, inInodes = false }: ImageShape,
): void {
  using source = temporaryDirectory();
  fillSource(source.path, blockSize);
  sparseFile(image, IMAGE_BYTES[blockSize]);
  const wanted = [`${checksums ? "" : "^"}metadata_csum`];
  if (inInodes) wanted.push("inline_data", "ea_inode");
  const features = type === "ext4" ? ["-O", wanted.join(",")] : [];
  // The smallest journal there is: 1,024 blocks.
  const journal = type === "ext2" ? [] : ["-J", `size=${blockSize / 1024}`];
  // mke2fs gives the identifiers out at random: fixed ones make every image the same.
  const fixed = ["-U", "6f6c6466-6173-7421-8000-000000000001"];
  const extended = "hash_seed=6f6c6466-6173-7421-8000-000000000002,lazy_itable_init=0";
  // Small groups, so that there are several.
  const group = String(blockSize === 4096 ? 2048 : 4096);
  const shape = ["-t", type, "-b", String(blockSize), "-g", group, "-N", "512", ...journal];
  const args = [...fixed, "-E", extended, ...shape, ...features, "-d", source.path];
  runOk("mkfs.ext4", ["-q", "-F", ...args, image]);
  const long = "value ".repeat(90);
  using values = temporaryDirectory();
  const value = values.file("value");
  writeFileSync(value, content(91, blockSize));
  const commands = [
    ...DEBUGFS_SCRIPT,
    ...(type === "ext4" ? [PREALLOCATE] : []),
    ...(inInodes ? VALUES : []),
  ];
  const script = commands
    .map((line) => line.replace("LONG", `"${long}"`).replace("VALUE", value))
    .join("\n");
  runOk("debugfs", ["-w", "-f", "-", image], `${script}\n`);
  // Hash trees for the directories: mke2fs fills them without.
  const { code, stdout } = run("e2fsck", ["-f", "-y", "-D", image]);
  if (code === null || code > 1) throw new Error(`e2fsck -D ended with ${code}\n${stdout}`);
  runOk("e2fsck", ["-f", "-n", image]);
}
