// Volumes in the kernel's tree: `holdfast mount`, Debian's fuse2fs and the kernel's own ext4 on equal images, each through
// node:fs and ordinary programs. Another process serves each, so CPU time here is the caller's alone.

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
const BULK_BYTES = 2 ** 25;
const FILES_PER_TURN = 100;
const TURNS = 10;
/** How often each side does all that is measured before it is. */
const TIMES_TO_WARM = 4;
const environment = { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` };

/** Throws when the program fails. @param {string} command @param {readonly string[]} args */
function run(command, args) {
  const { error, status, stderr } = spawnSync(command, args, {
    env: environment,
    encoding: "utf8",
  });
  if (error !== undefined) throw new Unmeasurable(`${command} is not installed`);
  if (status !== 0) throw new Unmeasurable(`${command} ended with ${status}: ${stderr.trim()}`);
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
    mount: (image, on) => run("fuse2fs", [image, on, "-o", "rw"]),
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

/** @param {string} directory @param {readonly string[]} args */
function dd(directory, args) {
  run("dd", [`${args[0]}=${join(directory, "bulk")}`, "bs=1M", "status=none", ...args.slice(1)]);
}

/** @type {readonly (readonly [string, (directory: string) => void])[]} */
const BULK = [
  ["write 32 MiB by 1 MiB", (on) => dd(on, ["of", "if=/dev/zero", "count=32", "conv=notrunc"])],
  [
    "read 32 MiB by 1 MiB, past the page cache",
    (on) => dd(on, ["if", "of=/dev/null", "iflag=direct"]),
  ],
  ["read 32 MiB by 1 MiB", (on) => dd(on, ["if", "of=/dev/null"])],
];

/**
 * @param {Place} place
 * @returns {Promise<import("../report.js").GroupReport>}
 */
export async function measureKernel(place) {
  if (process.getuid?.() !== 0) throw new Unmeasurable("this needs root");
  place.assertRoom(3 * (BULK_BYTES + 2 ** 26));
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
    return await measureOn(directories, place.seconds);
  } finally {
    for (const end of ends.reverse()) end();
  }
}

/** @param {readonly string[]} directories @param {number} seconds */
async function measureOn(directories, seconds) {
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
  for (const [what, act] of BULK) {
    const contestants = SIDES.map(({ name }, side) => ({
      name,
      run: () => act(at(directories, side)),
    }));
    rows.push({ what, figures: await takeTurnsOnce(contestants, seconds), bytes: BULK_BYTES });
  }
  const read = at(rows, rows.length - 1).figures;
  return {
    title: "volumes in the kernel's tree of files",
    rows: rows.map(({ what, figures, bytes }) =>
      makeRow(what, at(figures, 0), [at(figures, 1), at(figures, 2)], bytes),
    ),
    aims: [
      ...rows.map(({ what, figures }) =>
        aimAtRatio(`${what}: ahead of fuse2fs`, at(figures, 0), at(figures, 1), 1),
      ),
      aimAtRatio("bulk reads: within 2 times of the kernel", at(read, 0), at(read, 2), 2),
    ],
    notes: ["fuse2fs writes no journal"],
  };
}
