// Files that grow side by side, 4 KiB by 4 KiB in turn: in how many pieces they come to lie, and how much of them can be
// mapped as huge pages; and what an append costs. Beside the kernel's own ext4 in a loop mount of an equal image
// (root only).

import { spawnSync } from "node:child_process";
import {
  closeSync,
  constants,
  ftruncateSync,
  mkdirSync,
  openSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { mountSync } from "holdfast";
import { at, takeTurnsOnce } from "../measure.js";
import { Unmeasurable } from "../place.js";
import { makeRow } from "../report.js";

/** @typedef {import("../place.js").Place} Place */

const IMAGE_BYTES = 2 ** 31;
const BLOCK_BYTES = 4096;
const FILE_BLOCKS = 1024;
const HUGE_BLOCKS = 512;
const COUNTS = [1, 2, 8, 64];
const APPEND_BLOCKS_MAX = 8192;
const ROUNDS_MIN = 15;

const block = new Uint8Array(BLOCK_BYTES).fill(0x5a);

/** Who appends. `open` gives a function that appends a block to a new file. */
/** @typedef {{ name: string, open(path: string): { append(): void, close(): void } }} Side */

/**
 * As debugfs tells them of the files `f0` and so on of a directory: in how many pieces each is, and which part of its blocks
 * lies in 2 MiB that are one piece, aligned in the file and on the device alike.
 * @param {string} image
 * @param {string} directory
 * @param {number} count
 */
function layoutOf(image, directory, count) {
  const names = Array.from({ length: count }, (_, index) => `/${directory}/f${index}`);
  const { stdout, status } = spawnSync("debugfs", ["-f", "-", image], {
    input: names.map((name) => `ex -l ${name}\n`).join(""),
    encoding: "utf8",
    env: { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` },
  });
  if (status !== 0) throw new Unmeasurable("debugfs (of e2fsprogs) is not installed");
  /** @type {{ start: number, from: number, length: number }[]} */
  const pieces = [];
  const line = /^\s*\d+\/\s*\d+\s+\d+\/\s*\d+\s+(\d+)\s+-\s+\d+\s+(\d+)\s+-\s+\d+\s+(\d+)/gm;
  for (const found of stdout.matchAll(line)) {
    const [from, start, length] = [Number(found[1]), Number(found[2]), Number(found[3])];
    const last = pieces.at(-1);
    const continues =
      last !== undefined && from === last.from + last.length && start === last.start + last.length;
    if (continues) last.length += length;
    else pieces.push({ start, from, length });
  }
  const blocks = pieces.reduce((sum, { length }) => sum + length, 0);
  let huge = 0;
  for (const { start, from, length } of pieces) {
    if ((start - from) % HUGE_BLOCKS !== 0) continue;
    const first = Math.ceil(from / HUGE_BLOCKS);
    huge += Math.max(0, Math.floor((from + length) / HUGE_BLOCKS) - first) * HUGE_BLOCKS;
  }
  if (blocks !== count * FILE_BLOCKS) throw new Error(`${blocks} blocks were found in ${image}`);
  return { pieces: pieces.length / count, huge: huge / blocks };
}

/**
 * @param {Side} side
 * @param {string} directory
 * @param {number} count
 */
function growInTurn(side, directory, count) {
  const files = Array.from({ length: count }, (_, index) =>
    side.open(join(directory, `f${index}`)),
  );
  for (let round = 0; round < FILE_BLOCKS; round++) for (const file of files) file.append();
  for (const file of files) file.close();
}

/** @param {string} root @param {string} name @param {number} flags @returns {Side} */
function kernelSide(root, name, flags) {
  return {
    name,
    open(path) {
      const fd = openSync(join(root, path), constants.O_CREAT | constants.O_RDWR | flags);
      return { append: () => writeSync(fd, block), close: () => closeSync(fd) };
    },
  };
}

/** @param {import("holdfast").Volume} volume @returns {Side} */
function ourSide(volume) {
  return {
    name: "Holdfast",
    open(path) {
      const file = volume.openSync(path, "w");
      let end = 0;
      return {
        append() {
          file.writeSync(block, end);
          end += BLOCK_BYTES;
        },
        close: () => file.closeSync(),
      };
    },
  };
}

/**
 * Appends to one file, from nothing up to 32 MiB, and again.
 * @param {import("holdfast").Volume} volume
 * @param {string} root
 * @param {number} seconds
 */
async function timeAppends(volume, root, seconds) {
  const ours = volume.openSync("grown", "w");
  const theirs = openSync(join(root, "grown"), "w");
  let end = 0;
  const figures = await takeTurnsOnce(
    [
      {
        name: "Holdfast",
        count: APPEND_BLOCKS_MAX,
        before() {
          ours.truncateSync(0);
          end = 0;
        },
        run(count) {
          for (let done = 0; done < count; done++, end += BLOCK_BYTES) ours.writeSync(block, end);
        },
      },
      {
        name: "the kernel's ext4",
        count: APPEND_BLOCKS_MAX,
        before: () => ftruncateSync(theirs, 0),
        run(count) {
          for (let done = 0; done < count; done++) {
            writeSync(theirs, block, 0, BLOCK_BYTES, done * BLOCK_BYTES);
          }
        },
      },
    ],
    seconds,
    ROUNDS_MIN,
  );
  ours.closeSync();
  closeSync(theirs);
  return makeRow("append 4 KiB to one file", at(figures, 0), [at(figures, 1)], BLOCK_BYTES);
}

/** @param {Place} place @returns {Promise<import("../report.js").GroupReport>} */
export async function measureAllocation(place) {
  if (place.driver !== "ext4") throw new Unmeasurable("it is about ext4's blocks");
  const bytes = COUNTS.reduce((sum, count) => sum + count, 0) * FILE_BLOCKS * BLOCK_BYTES;
  place.assertRoom(3.5 * bytes);
  const [ours, theirs] = [place.makeImage(IMAGE_BYTES), place.makeImage(IMAGE_BYTES)];
  const directories = COUNTS.map((count) => `of-${count}`);
  const row = await place.withLoopMount(theirs, async (root) => {
    const volume = mountSync(ours);
    try {
      const buffered = kernelSide(root, "buffered", 0);
      const durable = kernelSide(root, "durable", constants.O_DSYNC);
      for (const [index, count] of COUNTS.entries()) {
        const directory = at(directories, index);
        volume.mkdirSync(directory);
        growInTurn(ourSide(volume), directory, count);
        for (const side of [buffered, durable]) {
          mkdirSync(join(root, `${side.name}-${directory}`));
          growInTurn(side, `${side.name}-${directory}`, count);
        }
      }
      return await timeAppends(volume, root, place.seconds);
    } finally {
      await volume.close();
    }
  });
  const notes = COUNTS.map((count, index) => {
    const directory = at(directories, index);
    const told = [
      { name: "Holdfast", ...layoutOf(ours, directory, count) },
      { name: "the kernel, buffered", ...layoutOf(theirs, `buffered-${directory}`, count) },
      {
        name: "the kernel, each append durable",
        ...layoutOf(theirs, `durable-${directory}`, count),
      },
    ].map(({ name, pieces, huge }) => {
      return `${name} ${pieces.toFixed(1)} (${Math.round(huge * 100)} % in huge pages)`;
    });
    return `${count} files in turn, each of 4 MiB, pieces of a file: ${told.join(", ")}`;
  });
  for (const path of [ours, theirs]) rmSync(path);
  return { title: "files that grow, and where their blocks lie", rows: [row], aims: [], notes };
}
