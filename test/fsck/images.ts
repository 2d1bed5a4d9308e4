// Images to damage, and the tools to do it: debugfs where it can, else bytes at places that debugfs tells.

import {
  closeSync,
  copyFileSync,
  openSync,
  readSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { makeFilledImage } from "../damage/filled-image.ts";
import {
  run,
  runOk,
  sparseFile,
  type TemporaryDirectory,
  temporaryDirectory,
} from "../support/tools.ts";

/** "plain" has no checksums, so that one damage is one thing wrong; "sums" has them. */
export type Base =
  | "plain"
  | "sums"
  | "ext3"
  | "inline"
  | "values"
  | "orphan-file"
  | "groups"
  | "quotas";

const MIB = 2 ** 20;

const OTHERS: Readonly<Record<Exclude<Base, "plain" | "sums">, readonly string[]>> = {
  ext3: ["-t", "ext3", "-b", "1024", "-J", "size=1"],
  inline: ["-t", "ext4", "-b", "1024", "-O", "inline_data,^metadata_csum,^has_journal"],
  values: ["-t", "ext4", "-b", "1024", "-O", "ea_inode,^metadata_csum,^has_journal"],
  "orphan-file": ["-t", "ext4", "-b", "1024", "-O", "orphan_file,^metadata_csum", "-J", "size=1"],
  quotas: [
    ...["-t", "ext4", "-b", "1024", "-I", "256", "-O", "quota,project,^metadata_csum,^has_journal"],
    ...["-E", "quotatype=usrquota:grpquota:prjquota"],
  ],
  groups: ["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^has_journal"],
};

const bases = temporaryDirectory();
const made = new Map<Base, string>();

/** The undamaged image, made once in each process. */
export function baseImage(base: Base): string {
  const known = made.get(base);
  if (known !== undefined) return known;
  const image = bases.file(base);
  if (base === "plain" || base === "sums") {
    makeFilledImage(image, { type: "ext4", blockSize: 1024, checksums: base === "sums" });
  } else {
    sparseFile(image, 16 * MIB);
    runOk("mke2fs", ["-q", "-F", "-N", "256", ...OTHERS[base], image]);
    const content = bases.file("content");
    writeFileSync(content, Buffer.alloc(400_000, "content "));
    const small = bases.file("small");
    writeFileSync(small, "few bytes");
    const value = bases.file("value");
    writeFileSync(value, Buffer.alloc(3000, "value "));
    const script = ["mkdir directory", `write ${content} large`, `write ${small} directory/small`];
    if (base === "values") script.push(`ea_set -f ${value} large user.value`);
    runOk("debugfs", ["-w", "-f", "-", image], `${script.join("\n")}\n`);
    // debugfs does not count the blocks of values in inodes of their own, nor for quotas.
    if (base === "values" || base === "quotas") run("e2fsck", ["-f", "-y", image]);
    runOk("e2fsck", ["-f", "-n", image]);
  }
  made.set(base, image);
  return image;
}

/** A copy of a base image that is being damaged. */
export class DamagedImage implements Disposable {
  readonly path: string;
  readonly #directory: TemporaryDirectory;

  constructor(base: Base) {
    this.#directory = temporaryDirectory();
    this.path = this.#directory.file("image");
    copyFileSync(baseImage(base), this.path);
  }

  [Symbol.dispose](): void {
    this.#directory[Symbol.dispose]();
  }

  /** Runs commands of debugfs, which keeps checksums right. */
  debugfs(...commands: string[]): string {
    return runOk("debugfs", ["-w", "-f", "-", this.path], `${commands.join("\n")}\n`);
  }

  /** What one command of debugfs says, without changing anything. */
  ask(command: string): string {
    return runOk("debugfs", ["-R", command, this.path]);
  }

  get blockSize(): number {
    return 1024 << this.u32(1024 + 0x18);
  }

  inoOf(path: string): number {
    return Number(/Inode: (\d+)/.exec(this.ask(`stat ${path}`))![1]);
  }

  /** The device byte of an inode. */
  inode(path: string): number {
    const found = /located at block (\d+), offset 0x([0-9a-f]+)/.exec(this.ask(`imap ${path}`))!;
    return Number(found[1]) * this.blockSize + Number.parseInt(found[2]!, 16);
  }

  /** The device byte of a block of a file. */
  block(path: string, index = 0): number {
    return Number(/^\d+$/m.exec(this.ask(`bmap ${path} ${index}`))![0]) * this.blockSize;
  }

  /** The device byte of a group's descriptor; volumes here have 64 bytes for each. */
  group(index: number): number {
    return 2 * 1024 + 64 * index;
  }

  read(byte: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    const file = openSync(this.path, "r");
    readSync(file, bytes, 0, length, byte);
    closeSync(file);
    return bytes;
  }

  write(byte: number, bytes: Uint8Array): void {
    const file = openSync(this.path, "r+");
    writeSync(file, bytes, 0, bytes.length, byte);
    closeSync(file);
  }

  u16(byte: number): number {
    return this.read(byte, 2).readUInt16LE();
  }

  u32(byte: number): number {
    return this.read(byte, 4).readUInt32LE();
  }

  set8(byte: number, value: number): void {
    this.write(byte, Uint8Array.of(value));
  }

  set16(byte: number, value: number): void {
    this.write(byte, Uint8Array.of(value, value >>> 8));
  }

  set32(byte: number, value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value >>> 0);
    this.write(byte, bytes);
  }

  flip(byte: number): void {
    this.set8(byte, this.read(byte, 1)[0]! ^ 0x10);
  }

  /** The record of a name in a block of a directory: its device byte. */
  record(directory: string, name: string, index = 0): number {
    const start = this.block(directory, index);
    const block = this.read(start, this.blockSize);
    for (let at = 0; at < block.length; at += block.readUInt16LE(at + 4)) {
      const length = block[at + 6]!;
      if (block.subarray(at + 8, at + 8 + length).toString() === name) return start + at;
    }
    throw new Error(`${directory} has no name ${name} in block ${index}`);
  }

  /** The first node of an extent tree below its root: its device byte. */
  extentNode(path: string): number {
    return this.u32(this.inode(path) + 0x28 + 12 + 4) * this.blockSize;
  }

  /** The first leaf of an extent tree of depth 2: its device byte. */
  extentLeaf(path: string): number {
    return this.u32(this.extentNode(path) + 12 + 4) * this.blockSize;
  }

  truncate(bytes: number): void {
    truncateSync(this.path, bytes);
  }
}
