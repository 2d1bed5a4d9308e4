// What Holdfast puts on a volume for the kernel to read: every operation, and the shapes that are hard.

import type { Volume } from "../../src/index.ts";
import { changeAtRandom, type Changes, Model, openInVolume } from "./contents.ts";

export const NAMES_IN_LARGE_DIRECTORY = 20_000;
/** Single-block extents: more than 4 * 84 * 84 at 1 KiB blocks, so that the tree has depth 3. */
export const FRAGMENTS: Record<number, number> = { 1024: 30_000, 2048: 6000, 4096: 6000 };
/** The depth that many extents need, the root's entries being 4. */
export const DEPTH: Record<number, number> = { 1024: 3, 2048: 2, 4096: 2 };

const GIB = 2 ** 30;

/** Fills one block with a byte that says which it is. */
function stamped(blockSize: number, index: number): Uint8Array {
  return new Uint8Array(blockSize).fill(1 + (index % 255));
}

/** Every other block is written, the even ones first and backwards, so that the tree splits anywhere. */
export function writeFragmented(volume: Volume, path: string, blockSize: number): void {
  const count = FRAGMENTS[blockSize] as number;
  volume.writeFileSync(path, "");
  using file = volume.openSync(path, "r+");
  const order = Array.from({ length: count }, (_, index) => index);
  const even = order.filter((index) => index % 2 === 0).reverse();
  const odd = order.filter((index) => index % 2 === 1);
  for (const index of [...even, ...odd]) {
    file.writeSync(stamped(blockSize, index), index * 2 * blockSize);
  }
}

/** Two files that grow in turn, and a third that takes what is freed between their blocks. */
function writeInterleaved(volume: Volume, blockSize: number): void {
  for (const name of ["a", "b"]) volume.writeFileSync(`/interleaved-${name}`, "");
  using a = volume.openSync("/interleaved-a", "r+");
  using b = volume.openSync("/interleaved-b", "r+");
  for (let index = 0; index < 3000; index++) {
    a.writeSync(stamped(blockSize, index), index * blockSize);
    b.writeSync(stamped(blockSize, index + 7), index * blockSize);
  }
  for (let index = 1; index < 3000; index += 3) {
    a.fallocateSync("punch-hole", index * blockSize, blockSize);
  }
  volume.writeFileSync("/between", new Uint8Array(2000 * blockSize).fill(0x42));
}

/** Sparse files beyond 4 GiB, with data around each border. */
function writeHuge(volume: Volume): void {
  volume.writeFileSync("/huge", "");
  using file = volume.openSync("/huge", "r+");
  for (const at of [0, 2 * GIB - 50, 4 * GIB - 50, 5 * GIB + 12_345, 20 * GIB]) {
    file.writeSync(Buffer.from(`${at} `.repeat(20)), at);
  }
  file.truncateSync(21 * GIB + 5);
  volume.writeFileSync("/huge-hole", "");
  volume.truncateSync("/huge-hole", 100 * GIB);
  volume.writeFileSync("/huge-cut", "");
  using cut = volume.openSync("/huge-cut", "r+");
  cut.writeSync(Buffer.from("far"), 9 * GIB);
  cut.writeSync(Buffer.from("near"), 3 * GIB);
  cut.truncateSync(3 * GIB + 2);
}

function writePreallocated(volume: Volume): void {
  for (const [name, size] of Object.entries({ whole: 3_000_000, kept: 10 })) {
    volume.writeFileSync(`/preallocated-${name}`, new Uint8Array(10).fill(9));
    using file = volume.openSync(`/preallocated-${name}`, "r+");
    file.fallocateSync(size === 10 ? "keep-size" : "allocate", 0, 3_000_000);
    if (size !== 10) file.writeSync(new Uint8Array(5000).fill(8), 1_000_001);
  }
}

/** Names of all lengths and alphabets. */
export function oddNames(): (string | Uint8Array)[] {
  return [
    "x".repeat(255),
    "é".repeat(127),
    "名".repeat(85),
    " leading and trailing ",
    "-rf",
    "...",
    "new\nline",
    "\\back\\slash\\",
    "𝒳-🜨",
    Uint8Array.of(0xff, 0xfe, 0x80, 0x41),
    ...Array.from({ length: 255 }, (_, index) => "abcdefghij".repeat(26).slice(0, index + 1)),
  ];
}

const pathOf = (directory: string, name: string | Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(name)]);

function makeNames(volume: Volume): void {
  volume.mkdirSync("/names");
  const [first, ...others] = oddNames() as [string, ...(string | Uint8Array)[]];
  volume.writeFileSync(pathOf("/names", first), "named");
  for (const name of others) volume.linkSync(pathOf("/names", first), pathOf("/names", name));
  volume.mkdirSync("/large");
  for (let index = 0; index < NAMES_IN_LARGE_DIRECTORY; index++) {
    const name = `/large/${"entry".repeat(index % 7)}-${index}`;
    if (index % 4 === 0) volume.writeFileSync(name, "");
    else volume.linkSync(pathOf("/names", first), name);
  }
  // Some go again, and others take their place.
  for (let index = 0; index < NAMES_IN_LARGE_DIRECTORY; index += 5) {
    volume.unlinkSync(`/large/${"entry".repeat(index % 7)}-${index}`);
  }
  for (let index = 0; index < 500; index++) volume.symlinkSync("x", `/large/link-${index}`);
}

function makeTree(volume: Volume): void {
  let path = "/deep";
  volume.mkdirSync(path);
  for (let level = 0; level < 60; level++) {
    path += `/level-${level}`;
    volume.mkdirSync(path);
    volume.writeFileSync(`${path}/file`, `at level ${level}`);
  }
  volume.mkdirSync("/from/inner", { recursive: true });
  volume.writeFileSync("/from/inner/moved", "moved");
  volume.mkdirSync("/to");
  volume.renameSync("/from/inner", "/to/inner");
  volume.writeFileSync("/to/replaced", "old");
  volume.writeFileSync("/to/replacing", "new");
  volume.renameSync("/to/replacing", "/to/replaced");
  volume.mkdirSync("/gone");
  volume.writeFileSync("/gone/file", new Uint8Array(100_000).fill(3));
  volume.unlinkSync("/gone/file");
  volume.rmdirSync("/gone");
  volume.rmdirSync("/from");
}

function makeLinks(volume: Volume): void {
  for (const length of [1, 59, 60, 61, 500, 1000]) {
    volume.symlinkSync("t".repeat(length), `/symlink-${length}`);
  }
  volume.symlinkSync("to/inner/moved", "/symlink-inside");
  volume.symlinkSync("/名前/é", "/symlink-unicode");
  volume.writeFileSync("/linked", "many names");
  for (let index = 0; index < 300; index++) volume.linkSync("/linked", `/to/linked-${index}`);
}

function makeAttributes(volume: Volume): void {
  for (const [index, mode] of [0o4755, 0o2711, 0o1777, 0o000, 0o640].entries()) {
    const path = `/attributes-${index}`;
    volume.writeFileSync(path, "attributes");
    volume.chownSync(path, index * 100_000 + 1, index * 70_000 + 2);
    volume.chmodSync(path, mode);
    const times = [-86_400.5, 0, 1_000_000_000.123, 4_294_967_296.5, 15_000_000_000];
    volume.utimesSync(path, times[index] as number, times[4 - index] as number);
  }
  volume.mkdirSync("/attributes-directory");
  volume.chmodSync("/attributes-directory", 0o3750);
  volume.utimesSync("/attributes-directory", 1, 2);
  volume.lchownSync("/symlink-61", 5, 6);
  volume.lutimesSync("/symlink-61", 3, 4);
}

export const CHANGED_PATHS = ["/changed-0", "/changed-1", "/changed-2"];

/** Fills the volume. Answers the models of the files that were changed at random. */
export function fillVolume(volume: Volume, changes: Changes): Map<string, Model> {
  const { blockSize } = changes;
  const models = new Map(CHANGED_PATHS.map((path) => [path, new Model()]));
  changeAtRandom(openInVolume(volume), models, blockSize, 400, changes);
  writeFragmented(volume, "/fragmented", blockSize);
  writeInterleaved(volume, blockSize);
  writeHuge(volume);
  if (changes.modes.includes("allocate")) writePreallocated(volume);
  makeTree(volume);
  makeLinks(volume);
  makeNames(volume);
  makeAttributes(volume);
  return models;
}
