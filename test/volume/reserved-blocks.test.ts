// Blocks that are reserved: who is not the superuser, nor named by the superblock, finds the volume full when no more than
// these are free. The kernel says the same of an equal image.

import { spawnSync } from "node:child_process";
import { chmodSync, readFileSync } from "node:fs";
import { expect } from "vitest";
import { mayUseReserved } from "../../src/drivers/ext/space/free-blocks.ts";
import { parseSuperblock } from "../../src/drivers/ext/superblock.ts";
import { mountSync } from "../../src/index.ts";
import {
  builtModule,
  e2fsckClean,
  loopMount,
  mkfsExt4,
  runOk,
  skipUnless,
  temporaryDirectory,
} from "../support/tools.ts";

const SIZE_BYTES = 64 * 2 ** 20;
const NOBODY = 65_534;
/** A block of a name, an inode or a map may be missing to the last one that can be had. */
const SLACK_BLOCKS = 8;

const test = skipUnless("mkfs.ext4", "debugfs", "e2fsck", "root");
const testWithKernel = skipUnless("mkfs.ext4", "debugfs", "e2fsck", "root", "loop mounts");

interface Left {
  readonly code: string;
  readonly free: number;
  readonly available: number;
}

/** What the programs below do: they become a user, fill up a file by pieces, and tell what is left. */
const FILL = `
  function become({ uid, gid, groups }) {
    process.setgroups(groups);
    process.setgid(gid);
    process.setuid(uid);
  }
  function fill(write, statfs) {
    let code = null;
    for (let length = 2 ** 20; length >= 1024; length = length === 1024 ? 0 : length / 2) {
      for (;;) {
        try {
          if (write(new Uint8Array(length).fill(1)) < length) break;
        } catch (error) {
          ({ code } = error);
          break;
        }
      }
    }
    const { bfree, bavail } = statfs();
    return { code, free: bfree, available: bavail };
  }
`;

const OURS = `
  import { mountSync } from ${JSON.stringify(builtModule("index.ts").href)};
  ${FILL}
  const [image, user, isShared] = JSON.parse(process.argv[1]);
  become(user);
  const volume = mountSync(image);
  const file = volume.openSync("/" + user.uid + "-" + user.gid, "w");
  let end = 0;
  const left = fill(
    (bytes) => {
      const written = file.writeSync(bytes, end);
      end += written;
      return written;
    },
    () => volume.statfsSync(),
  );
  const codeOf = (work) => {
    try {
      work();
      return "";
    } catch (error) {
      return error.message;
    }
  };
  const preallocated = codeOf(() => file.fallocateSync("allocate", end, 2 ** 20));
  const directory = codeOf(() => volume.mkdirSync("/d-" + user.uid + "-" + user.gid));
  // What gives space back works still, and takes what it needs for that.
  file.fallocateSync("punch-hole", 2 ** 16, 2 ** 16);
  file.closeSync();
  volume.closeSync();
  console.log(JSON.stringify({ ...left, preallocated, directory }));
`;

const KERNEL = `
  import { constants, openSync, statfsSync, writeSync } from "node:fs";
  ${FILL}
  const [directory, user] = JSON.parse(process.argv[1]);
  become(user);
  const { O_CREAT, O_WRONLY, O_SYNC } = constants;
  const fd = openSync(directory + "/" + user.uid + "-" + user.gid, O_CREAT | O_WRONLY | O_SYNC);
  console.log(JSON.stringify(fill((bytes) => writeSync(fd, bytes), () => statfsSync(directory))));
`;

function runProgram<T>(program: string, ...args: unknown[]): T {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["--input-type=module", "-e", program, "--", JSON.stringify(args)],
    { encoding: "utf8" },
  );
  expect(stderr).toBe("");
  expect(status).toBe(0);
  return JSON.parse(stdout) as T;
}

interface Case {
  readonly name: string;
  readonly user: { readonly uid: number; readonly gid: number; readonly groups: number[] };
  readonly mkfs?: readonly string[];
  readonly tune?: readonly string[];
  readonly isFull: boolean;
}

const plain = { uid: NOBODY, gid: NOBODY, groups: [] };
const cases: readonly Case[] = [
  { name: "a user", user: plain, isFull: false },
  { name: "a user, of a tenth", user: plain, mkfs: ["-m", "10"], isFull: false },
  { name: "a user, where none are reserved", user: plain, mkfs: ["-m", "0"], isFull: true },
  { name: "the superuser", user: { uid: 0, gid: 0, groups: [] }, isFull: true },
  {
    name: "a user of the superuser's group",
    user: { uid: NOBODY, gid: 0, groups: [0] },
    isFull: false,
  },
  { name: "the user that is named", user: plain, tune: ["-u", String(NOBODY)], isFull: true },
  { name: "the group that is named", user: plain, tune: ["-g", String(NOBODY)], isFull: true },
  {
    name: "another group of the user that is named",
    user: { uid: NOBODY, gid: NOBODY, groups: [77, 4321] },
    tune: ["-g", "4321"],
    isFull: true,
  },
  { name: "another user than is named", user: plain, tune: ["-u", "77"], isFull: false },
];

function makeImage(path: string, { mkfs = [], tune = [] }: Case): number {
  mkfsExt4(path, SIZE_BYTES, ["-b", "1024", "-E", `root_owner=${NOBODY}:${NOBODY}`, ...mkfs]);
  if (tune.length > 0) runOk("tune2fs", [...tune, path]);
  runOk("debugfs", ["-w", "-R", "sif / mode 040777", path]);
  return Number(/^Reserved block count:\s+(\d+)/m.exec(runOk("dumpe2fs", ["-h", path]))![1]);
}

test("users and groups of 32 bits are named, as Linux has it since 6.18", () => {
  using directory = temporaryDirectory();
  const image = directory.file("image");
  mkfsExt4(image, SIZE_BYTES, ["-O", "^metadata_csum"]);
  runOk("tune2fs", ["-u", "5", "-g", "6", image]);
  const superblock = readFileSync(image).subarray(1024, 2048);
  superblock.writeUInt16LE(1, 0x284);
  superblock.writeUInt16LE(2, 0x286);
  const facts = parseSuperblock(superblock, SIZE_BYTES);
  expect([facts.reservedUid, facts.reservedGid]).toEqual([0x1_0005, 0x2_0006]);
  const may = (uid: number, ...gids: number[]) => mayUseReserved(facts, { uid, gids });
  expect([may(5, 6), may(0x1_0005, 6), may(5, 1, 0x2_0006), may(0, 1)]).toEqual([
    false,
    true,
    true,
    true,
  ]);
});

for (const each of cases) {
  const { name, user, tune = [], isFull } = each;

  test(`${name} ${isFull ? "gets every block" : "finds only reserved blocks left"}`, () => {
    using directory = temporaryDirectory();
    chmodSync(directory.path, 0o777);
    const image = directory.file("image");
    const reserved = makeImage(image, each);
    chmodSync(image, 0o666);
    const left = runProgram<Left & { preallocated: string; directory: string }>(OURS, image, user);
    expect(left.code).toBe("ENOSPC");
    expect(left.available).toBeLessThanOrEqual(SLACK_BLOCKS);
    if (isFull) {
      expect(left.free).toBeLessThanOrEqual(SLACK_BLOCKS);
    } else {
      expect(left.free).toBeGreaterThanOrEqual(reserved);
      expect(left.free).toBeLessThanOrEqual(reserved + SLACK_BLOCKS);
      expect(left.preallocated).toMatch(/ENOSPC.*reserved for the superuser/);
      expect(left.directory).toMatch(/ENOSPC/);
    }
    const { clean, output } = e2fsckClean(image);
    expect(clean, output).toBe(true);
    // This process is the superuser.
    const volume = mountSync(image);
    const { bfree, bavail } = volume.statfsSync();
    expect(bavail).toBe(Math.max(0, bfree - reserved));
    volume.writeFileSync("/more", new Uint8Array(32 * 1024));
    expect(volume.statfsSync().bfree).toBe(bfree - 32);
    volume.closeSync();
  });

  testWithKernel(`${name}: the kernel says the same`, () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    const reserved = makeImage(image, each);
    using place = temporaryDirectory();
    chmodSync(directory.path, 0o777);
    chmodSync(place.path, 0o777);
    // Linux 6.18 does not find the group in the superblock (/proc/mounts says resgid=0 then), so it is told.
    const group = tune[0] === "-g" ? [`resgid=${tune[1]}`] : [];
    using mounted = loopMount(image, place.path, group);
    const left = runProgram<Left>(KERNEL, mounted.directory, user);
    expect(left.code).toBe("ENOSPC");
    if (!isFull) expect(left.free).toBeGreaterThanOrEqual(reserved);
    if (isFull && reserved > 0) expect(left.free).toBeLessThan(reserved / 2);
  });
}
