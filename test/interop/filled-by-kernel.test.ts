// Volumes that the kernel filled are read back equal by Holdfast; and when Holdfast has changed some files,
// all the others are as they were, extended attributes included.

import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { describe, expect } from "vitest";
import type { Volume } from "../../src/index.ts";
import { hasTool, mkfsExt4, runOk, skipUnless } from "../support/tools.ts";
import { getAttribute, setAttribute } from "./libc.ts";
import { Handed, needs } from "./handed.ts";
import { differences, type Tree, treeOf, volumePlace } from "./trees.ts";

const VOLUME_BYTES = 1200 * 2 ** 20;
const NAMES = 20_000;
const GIB = 2 ** 30;
const DOCUMENTS = "/usr/share/doc";

/** Files with attributes: in the inode, in a block of their own, in one that several share. */
const ATTRIBUTES: readonly (readonly [path: string, name: string, value: string])[] = [
  ["/xattr/small", "user.colour", "blue"],
  ["/xattr/small", "user.empty", ""],
  ["/xattr/large", "user.large", "a large value ".repeat(40)],
  ["/xattr/mixed", "user.colour", "green"],
  ["/xattr/mixed", "user.large", "another large value ".repeat(30)],
  ["/xattr/mixed", "trusted.hidden", "secret"],
  ...Array.from(
    { length: 20 },
    (_, index) => [`/xattr/shared-${index}`, "user.shared", "one for all ".repeat(50)] as const,
  ),
  ["/xattr", "user.directory", "directories have them too ".repeat(20)],
  ["/xattr/link", "trusted.of-link", "links too"],
];

function makeAttributes(root: string): void {
  fs.mkdirSync(`${root}/xattr`);
  fs.symlinkSync("small", `${root}/xattr/link`);
  for (const [path, name, value] of ATTRIBUTES) {
    if (!/link|xattr$/.test(path)) fs.writeFileSync(`${root}${path}`, `content of ${path}`);
    setAttribute(`${root}${path}`, name, value);
  }
  if (!hasTool("setfacl")) return;
  fs.writeFileSync(`${root}/xattr/acl`, "access control list");
  runOk("setfacl", ["-m", "u:1234:rwx", `${root}/xattr/acl`]);
}

/** Attributes that are not as they were set, of files that are still there. */
function lostAttributes(root: string, removed: readonly string[]): string[] {
  return ATTRIBUTES.filter(([path]) => !removed.includes(path))
    .filter(([path, name, value]) => getAttribute(`${root}${path}`, name) !== value)
    .map(([path, name]) => `${path} ${name}`);
}

function writeAt(path: string, pieces: readonly (readonly [number, string | Uint8Array])[]): void {
  const file = fs.openSync(path, "w");
  for (const [at, data] of pieces) {
    const bytes = Buffer.from(data);
    fs.writeSync(file, bytes, 0, bytes.length, at);
  }
  fs.closeSync(file);
}

function makeFiles(root: string, hasExtents: boolean): void {
  fs.mkdirSync(`${root}/files`);
  const at = (name: string): string => `${root}/files/${name}`;
  writeAt(at("sparse"), [
    [0, "start"],
    [1_000_000, "middle"],
    [9_999_999, "end"],
  ]);
  writeAt(at("huge"), [
    [4 * GIB - 5, "across 4 GiB"],
    [30 * GIB, "far"],
  ]);
  fs.writeFileSync(at("hole"), "");
  fs.truncateSync(at("hole"), 50 * GIB);
  writeAt(
    at("fragmented"),
    Array.from({ length: 5000 }, (_, index) => [index * 8192, Buffer.alloc(4096, index)] as const),
  );
  writeAt(at("contiguous"), [[0, Buffer.alloc(40 * 2 ** 20, "contiguous data ")]]);
  fs.writeFileSync(at("preallocated"), "");
  fs.writeFileSync(at("preallocated-beyond"), "short");
  if (hasExtents) {
    runOk("fallocate", ["-l", "20000000", at("preallocated")]);
    runOk("fallocate", ["--keep-size", "-l", "20000000", at("preallocated-beyond")]);
  }
  for (let index = 0; index < 200; index++) fs.linkSync(at("sparse"), at(`link-${index}`));
  for (const length of [1, 59, 60, 61, 4000]) {
    const isTooLong = length > Number(fs.statfsSync(root).bsize) - 1;
    if (!isTooLong) fs.symlinkSync("s".repeat(length), at(`symlink-${length}`));
  }
  fs.writeFileSync(at("old"), "long ago");
  fs.utimesSync(at("old"), -1_000_000, -2_000_000_000);
  fs.writeFileSync(at("future"), "in 2200");
  fs.utimesSync(at("future"), 7_258_118_400, 7_258_118_400);
  fs.chownSync(at("future"), 4_000_000_000, 3_000_000_000);
  for (const [name, flag] of Object.entries({ immutable: "+i", "append-only": "+a" })) {
    if (!hasTool("chattr")) continue;
    fs.writeFileSync(at(name), name);
    runOk("chattr", [flag, at(name)]);
  }
}

function makeSpecial(root: string): void {
  fs.mkdirSync(`${root}/special`);
  const mknod = (name: string, ...numbers: string[]): void => {
    runOk("mknod", [`${root}/special/${name}`, ...numbers]);
  };
  mknod("fifo", "p");
  mknod("null", "c", "1", "3");
  mknod("large-minor", "b", "8", "1048575");
  mknod("large-major", "c", "4095", "255");
  mknod("zero", "c", "0", "0");
}

/** A socket stays when the process that listened is killed. */
function makeSocket(root: string): void {
  const path = JSON.stringify(`${root}/special/socket`);
  const program = `require("net").createServer().listen(${path}, () => process.kill(process.pid, 9))`;
  spawnSync(process.execPath, ["-e", program]);
}

function makeNames(root: string): void {
  fs.mkdirSync(`${root}/names`);
  for (let index = 0; index < NAMES; index++) {
    const name = `${index % 3 === 0 ? "é名" : "name"}-${"pad".repeat(index % 50)}-${index}`;
    if (index % 2 === 0) fs.writeFileSync(`${root}/names/${name}`, "");
    else fs.mkdirSync(`${root}/names/${name}`);
  }
  for (const [index, name] of fs.readdirSync(`${root}/names`).entries()) {
    if (index % 6 !== 0) continue;
    fs.rmSync(`${root}/names/${name}`, { recursive: true });
  }
  fs.mkdirSync(`${root}/odd`);
  for (let length = 1; length <= 255; length++) {
    fs.writeFileSync(`${root}/odd/${"n".repeat(length)}`, "");
  }
  for (let byte = 1; byte < 256; byte++) {
    if (byte === 0x2f || byte === 0x2e || byte === 0x6e) continue;
    fs.writeFileSync(Buffer.concat([Buffer.from(`${root}/odd/`), Buffer.of(byte)]), "");
  }
  let path = `${root}/deep`;
  for (let level = 0; level < 200; level++) path += `/d${level}`;
  fs.mkdirSync(path, { recursive: true });
  fs.writeFileSync(`${path}/bottom`, "bottom");
}

/** What Holdfast removes of the files with attributes. */
const REMOVED = ["/xattr/shared-3", "/xattr/shared-4", "/xattr/large"];
/** Everything else it changes: their attributes of Node's kind differ, and those of their directories. */
const CHANGED = [
  "",
  "/xattr",
  "/files",
  "/xattr/shared-0",
  "/xattr/shared-1",
  "/xattr/shared-2",
  "/xattr/small",
  "/xattr/moved",
  "/xattr/mixed",
  "/files/preallocated",
  "/files/fragmented",
  "/files/new",
];

function changeSome(volume: Volume): void {
  volume.writeFileSync("/xattr/shared-0", "written anew");
  volume.chmodSync("/xattr/shared-1", 0o600);
  volume.truncateSync("/xattr/shared-2", 100_000);
  volume.utimesSync("/xattr/small", 1, 2);
  for (const path of REMOVED) volume.unlinkSync(path);
  volume.linkSync("/xattr/mixed", "/xattr/moved");
  volume.renameSync("/xattr/moved", "/files/moved");
  volume.unlinkSync("/files/moved");
  volume.writeFileSync("/files/new", new Uint8Array(1_000_000).fill(1));
  using preallocated = volume.openSync("/files/preallocated", "r+");
  preallocated.writeSync(new Uint8Array(70_000).fill(7), 5_000_001);
  using fragmented = volume.openSync("/files/fragmented", "r+");
  fragmented.fallocateSync("punch-hole", 1_000_000, 20_000_000);
  expect(() => volume.writeFileSync("/files/immutable", "x")).toThrow(
    expect.objectContaining({ code: "EPERM" }),
  );
}

function without(tree: Tree, paths: readonly string[]): Tree {
  return new Map([...tree].filter(([path]) => !paths.includes(path)));
}

describe.each([
  ["ext4", 1024],
  ["ext4", 2048],
  ["ext4", 4096],
  ["ext2", 4096],
  ["ext3", 2048],
] as const)("%s, blocks of %i bytes", (type, blockSize) => {
  skipUnless(...needs, "mknod")(
    "what the kernel wrote is read equal, and keeps its attributes while Holdfast writes",
    () => {
      using handed = new Handed();
      const shape = ["-t", type, "-b", String(blockSize), "-N", "80000"];
      mkfsExt4(handed.image, VOLUME_BYTES, shape);
      handed.toKernel("the kernel's filling", (root) => {
        if (fs.existsSync(DOCUMENTS)) runOk("cp", ["-a", DOCUMENTS, `${root}/doc`]);
        makeFiles(root, type === "ext4");
        makeSpecial(root);
        makeSocket(root);
        makeNames(root);
        makeAttributes(root);
      });
      const before = handed.assertSame();
      expect(before.has("/special/socket")).toBe(true);

      const changed = handed.toHoldfast("changes", (volume) => {
        changeSome(volume);
        return treeOf(volumePlace(volume));
      });
      const after = handed.assertSame(changed);
      const others = [...CHANGED, ...REMOVED];
      expect(differences(without(before, others), without(after, others))).toEqual([]);
      handed.toKernel("reading attributes", (root) => {
        expect(lostAttributes(root, REMOVED)).toEqual([]);
        expect(fs.readFileSync(`${root}/xattr/shared-0`, "utf8")).toBe("written anew");
      });
    },
    600_000,
  );
});
