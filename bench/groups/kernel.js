// Volumes in the kernel's tree: `holdfast mount`, Debian's fuse2fs and the kernel's own ext4 on equal images, each through
// node:fs, fio and tar. Another process serves each, so CPU time here is the caller's alone.

import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, statSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { at, takeTurnsOnce } from "../measure.js";
import { Unmeasurable } from "../place.js";
import { aimAtRatio, makeRow } from "../report.js";

/** @typedef {import("../measure.js").Contestant} Contestant */
/** @typedef {import("../place.js").Place} Place */

const program = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const IMAGE_BYTES = 2 ** 29;
/** The file that fio reads and writes. */
const BULK_BYTES = 2 ** 27;
/** What is packed into an archive, and unpacked: parts of this repository. */
const TREE = ["src", "test", "bench", "docs"];
const root = fileURLToPath(new URL("../..", import.meta.url));
const FILES_PER_TURN = 100;
const TURNS = 10;
/** How often each side does all that is measured before it is. */
const TIMES_TO_WARM = 4;
const environment = { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` };

/** Throws when the program fails. @param {string} command @param {readonly string[]} args */
function run(command, args) {
  const { error, status, stdout, stderr } = spawnSync(command, args, {
    env: environment,
    encoding: "utf8",
  });
  if (error !== undefined) throw new Unmeasurable(`${command} is not installed`);
  if (status !== 0) throw new Unmeasurable(`${command} ended with ${status}: ${stderr.trim()}`);
  return stdout;
}

/**
 * Who serves an image, and how.
 * @type {readonly { name: string, mount(image: string, on: string): void, unmount(on: string): void }[]}
 */
const SIDES = [
  {
    name: "holdfast mount",
    mount: (image, on) => run(process.execPath, [program, "mount", image, on]),
    unmount: (on) => run(process.execPath, [program, "umount", on]),
  },
  {
    name: "fuse2fs",
    // As ours is: for all users, with the kernel checking what they may do.
    mount: (image, on) => run("fuse2fs", [image, on, "-o", "rw,allow_other,default_permissions"]),
    unmount: (on) => run("umount", [on]),
  },
  {
    name: "the kernel's ext4",
    mount: (image, on) => run("mount", ["-o", "loop,noatime", image, on]),
    unmount: (on) => run("umount", [on]),
  },
];

/** @param {number} size @returns {(path: string) => void} */
function writing(size) {
  const bytes = Buffer.alloc(size, "x");
  return (path) => {
    const fd = openSync(path, "w");
    if (size > 0) writeSync(fd, bytes);
    closeSync(fd);
  };
}

/**
 * What is done with each file of a turn.
 * @type {readonly (readonly [string, (path: string) => void])[]}
 */
const STEPS = [
  ["create and close", writing(0)],
  ["open, write 4 KiB, close", writing(4096)],
  ["stat", statSync],
  ["unlink", unlinkSync],
];

/** Whoever serves the directory has done all of it often enough for its code to be compiled. @param {string} directory */
function warm(directory) {
  for (let time = 0; time < TIMES_TO_WARM; time++) {
    for (const [, act] of STEPS) {
      for (let number = 0; number < TURNS * FILES_PER_TURN; number++) {
        act(join(directory, `warm-${number}`));
      }
    }
  }
}

/** The kernel has all of a file, read anew: in which of its pages is chance, and what reading them costs with it. @param {string} path */
function cacheAnew(path) {
  run("dd", [`of=${path}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0"]);
  run("dd", [`if=${path}`, "of=/dev/null", "bs=1M"]);
}

/**
 * What fio does with one file: its words, what an operation moves, and what comes before.
 * @type {readonly (readonly [string, readonly string[], number, ((path: string) => void)?])[]}
 */
const BULK = [
  ["write by 1 MiB", ["--rw=write", "--bs=1m", "--io_size=32m"], 2 ** 20],
  [
    "read by 1 MiB, past the page cache",
    ["--rw=read", "--bs=1m", "--io_size=32m", "--direct=1"],
    2 ** 20,
  ],
  // fio has the kernel forget the file first.
  ["read by 1 MiB, ahead", ["--rw=read", "--bs=1m", "--io_size=128m"], 2 ** 20],
  [
    "read by 1 MiB, cached",
    ["--rw=read", "--bs=1m", "--io_size=128m", "--invalidate=0"],
    2 ** 20,
    cacheAnew,
  ],
  [
    "write 4 KiB at random, past the page cache",
    ["--rw=randwrite", "--bs=4k", "--io_size=8m", "--direct=1"],
    4096,
  ],
  [
    "read 4 KiB at random, past the page cache",
    ["--rw=randread", "--bs=4k", "--io_size=8m", "--direct=1"],
    4096,
  ],
];

/**
 * One program does one operation after the other, and tells how long one took it.
 * @param {string} directory
 * @param {readonly string[]} words
 * @param {(path: string) => void} [before]
 * @returns {Omit<Contestant, "name">}
 */
function fio(directory, words, before) {
  const file = join(directory, "bulk");
  const args = [
    "--name=turn",
    `--filename=${file}`,
    `--size=${BULK_BYTES}`,
    "--ioengine=psync",
    "--fallocate=none",
    "--overwrite=1",
    "--output-format=json",
    ...words,
  ];
  let took = { wallNs: 0, cpuNs: 0 };
  return {
    before: () => before?.(file),
    run() {
      const [job] = JSON.parse(run("fio", args)).jobs;
      const { total_ios: count, lat_ns: latency } = job.read.total_ios > 0 ? job.read : job.write;
      const cpuMs = ((job.usr_cpu + job.sys_cpu) / 100) * job.job_runtime;
      took = { wallNs: latency.mean, cpuNs: (cpuMs * 1e6) / count };
    },
    took: () => took,
  };
}

/**
 * A tree is unpacked, with its modes and times.
 * @param {string} directory
 * @param {string} archive
 * @returns {Omit<Contestant, "name">}
 */
function unpacking(directory, archive) {
  const to = join(directory, "tree");
  return {
    before: () => mkdirSync(to),
    run: () => run("tar", ["-xf", archive, "-C", to]),
    after: () => rmSync(to, { recursive: true }),
  };
}

/**
 * @param {Place} place
 * @returns {Promise<import("../report.js").GroupReport>}
 */
export async function measureKernel(place) {
  if (process.getuid?.() !== 0) throw new Unmeasurable("this needs root");
  place.assertRoom(3 * (BULK_BYTES + 2 ** 26));
  const archive = place.path("tree.tar");
  run("tar", ["-cf", archive, "-C", root, ...TREE]);
  /** @type {(() => void)[]} */
  const ends = [];
  try {
    const directories = SIDES.map(({ mount, unmount }) => {
      const [image, directory] = [place.makeImage(IMAGE_BYTES), place.path("mount")];
      mkdirSync(directory);
      ends.push(() => rmSync(image));
      mount(image, directory);
      ends.push(() => unmount(directory));
      return directory;
    });
    return await measureOn(directories, archive, place.seconds);
  } finally {
    for (const end of ends.reverse()) end();
  }
}

/** @param {readonly string[]} directories @param {string} archive @param {number} seconds */
async function measureOn(directories, archive, seconds) {
  const rows = [];
  directories.forEach(warm);
  for (const [what, act] of STEPS) {
    const contestants = SIDES.map(({ name }, side) => {
      let next = 0;
      /** @type {Contestant} */
      const contestant = {
        name,
        count: FILES_PER_TURN,
        run(count) {
          for (const end = next + count; next < end; next++) {
            act(join(at(directories, side), `file-${next}`));
          }
        },
      };
      return contestant;
    });
    // As many turns of each, so that each step finds the files of the one before.
    const figures = await takeTurnsOnce(contestants, 0, TURNS);
    rows.push({ what, figures, bytes: undefined });
  }
  const unpackers = SIDES.map(({ name }, side) => ({
    name,
    ...unpacking(at(directories, side), archive),
  }));
  const unpacked = await takeTurnsOnce(unpackers, seconds);
  rows.push({ what: `unpack ${TREE.join(", ")} by tar`, figures: unpacked, bytes: undefined });
  for (const [what, words, bytes, before] of BULK) {
    const contestants = SIDES.map(({ name }, side) => ({
      name,
      ...fio(at(directories, side), words, before),
    }));
    rows.push({ what, figures: await takeTurnsOnce(contestants, seconds), bytes });
  }
  const bulkReads = rows.filter(({ what }) => what.startsWith("read by"));
  return {
    title: "volumes in the kernel's tree of files",
    rows: rows.map(({ what, figures, bytes }) =>
      makeRow(what, at(figures, 0), [at(figures, 1), at(figures, 2)], bytes),
    ),
    aims: [
      ...rows.map(({ what, figures }) =>
        aimAtRatio(`${what}: ahead of fuse2fs`, at(figures, 0), at(figures, 1), 1),
      ),
      ...bulkReads.map(({ what, figures }) =>
        aimAtRatio(`${what}: within 2 times of the kernel`, at(figures, 0), at(figures, 2), 2),
      ),
    ],
    notes: ["fuse2fs writes no journal"],
  };
}
