// One directory that grows: names are made, looked at in any order and removed in any order, against the kernel's
// own ext4 in a loop mount of an equal image (root only), else against node:fs on tmpfs. `--seconds 50` is
// a million names.

import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, statSync, unlinkSync } from "node:fs";
import { mountSync } from "holdfast";
import { at, quantile, takeTurnsOnce } from "../measure.js";
import { Unmeasurable } from "../place.js";
import { makeRow } from "../report.js";

/** @typedef {import("../measure.js").Contestant} Contestant */
/** @typedef {import("../measure.js").Figure} Figure */
/** @typedef {import("../place.js").Place} Place */
/** @typedef {import("../report.js").GroupReport} GroupReport */

const NAMES_PER_SECOND = 20_000;
const NAMES_MAX = 1_000_000;
/** The first turn of all is not counted. */
const TURNS = 21;
/** mkfs.ext4 makes an inode for so many bytes. */
const BYTES_PER_INODE = 16_384;
/** Metadata that a name has, in the image and in memory: an inode of 256 bytes, and its record. */
const BYTES_PER_NAME = 1024;
const GROWTH_MAX = 1.5;

/** What is done with a name. `name` says who does it. */
/** @typedef {{ name: string, make(path: string): void, look(path: string): void, remove(path: string): void }} Side */

/** Numbers below `count`, each once, in an order that looks like none. @param {number} count */
function shuffled(count) {
  const order = Array.from({ length: count }, (_, index) => index);
  let seed = 1;
  for (let last = count - 1; last > 0; last--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const other = seed % (last + 1);
    const kept = at(order, last);
    order[last] = at(order, other);
    order[other] = kept;
  }
  return order;
}

/**
 * Each turn goes on where the one before ended.
 * @param {readonly Side[]} sides
 * @param {"make" | "look" | "remove"} what
 * @param {(index: number) => string} nameOf
 * @param {number} perTurn
 */
function turnsOf(sides, what, nameOf, perTurn) {
  const contestants = sides.map((side) => {
    let next = 0;
    const run = (/** @type {number} */ count) => {
      for (const end = next + count; next < end; next++) side[what](nameOf(next));
    };
    return { name: side.name, count: perTurn, run };
  });
  return takeTurnsOnce(contestants, 0, TURNS - 1);
}

/**
 * How many times as long the last turns took as the first ones.
 * @param {Figure} figure
 */
function growthOf({ cpuSamples, wallSamples }) {
  const few = Math.floor(wallSamples.length / 4);
  const growth = (/** @type {readonly number[]} */ samples) =>
    quantile(samples.slice(-few), 0.5) / quantile(samples.slice(0, few), 0.5);
  return { wall: growth(wallSamples), cpu: growth(cpuSamples) };
}

/**
 * @param {string} what
 * @param {readonly Figure[]} figures
 * @returns {import("../report.js").Aim}
 */
function aimAtGrowth(what, figures) {
  const [ours, peers] = [growthOf(at(figures, 0)), growthOf(at(figures, 1))];
  const text = (/** @type {{ wall: number, cpu: number }} */ { wall, cpu }) =>
    `${wall.toFixed(2)} (${cpu.toFixed(2)} by CPU time)`;
  return {
    text: `${what}: in the last turns at most ${GROWTH_MAX} times as long as in the first`,
    measured: `${text(ours)}; the peer's: ${text(peers)}`,
    met: ours.wall <= GROWTH_MAX,
  };
}

/**
 * Mounts an image by the kernel's driver, if this process may. Returns where, or null.
 * @param {string} image
 * @param {string} directory
 */
function mountByKernel(image, directory) {
  mkdirSync(directory);
  const { status } = spawnSync("mount", ["-o", "loop,noatime", image, directory]);
  return status === 0;
}

/** @param {Place} place @returns {Promise<GroupReport>} */
export async function measureDirectory(place) {
  if (place.driver !== "ext4") throw new Unmeasurable("it is about directories of ext4");
  const names = Math.min(NAMES_MAX, Math.round(place.seconds * NAMES_PER_SECOND));
  const perTurn = Math.max(1, Math.floor(names / TURNS));
  place.assertRoom(2 * names * BYTES_PER_NAME + 2 ** 28);
  const sizeBytes = Math.ceil((names * 1.2 + 1000) * BYTES_PER_INODE);
  const [ours, theirs] = [place.makeImage(sizeBytes), place.makeImage(sizeBytes)];
  const directory = place.path("mount");
  const isMounted = mountByKernel(theirs, directory);
  const before = process.cwd();
  process.chdir(directory);
  const volume = mountSync(ours);
  try {
    return await measureOn(volume, isMounted ? "the kernel's ext4" : "node:fs on tmpfs", perTurn);
  } finally {
    await volume.close();
    process.chdir(before);
    if (isMounted) spawnSync("umount", [directory]);
    for (const path of [ours, theirs, directory]) rmSync(path, { recursive: true, force: true });
  }
}

/**
 * @param {import("holdfast").Volume} volume
 * @param {string} peer
 * @param {number} perTurn
 * @returns {Promise<GroupReport>}
 */
async function measureOn(volume, peer, perTurn) {
  mkdirSync("names");
  volume.mkdirSync("names");
  const sides = [
    {
      name: "Holdfast",
      make: (/** @type {string} */ path) => volume.openSync(path, "w").closeSync(),
      look: (/** @type {string} */ path) => volume.statSync(path),
      remove: (/** @type {string} */ path) => volume.unlinkSync(path),
    },
    {
      name: peer,
      make: (/** @type {string} */ path) => closeSync(openSync(path, "w")),
      look: (/** @type {string} */ path) => statSync(path),
      remove: (/** @type {string} */ path) => unlinkSync(path),
    },
  ];
  const order = shuffled(perTurn * TURNS);
  const inOrder = (/** @type {number} */ index) => `names/one-of-many-${index}`;
  const inNone = (/** @type {number} */ index) => inOrder(at(order, index));
  const made = await turnsOf(sides, "make", inOrder, perTurn);
  const looked = await turnsOf(sides, "look", inNone, perTurn);
  const removed = await turnsOf(sides, "remove", inNone, perTurn);
  const row = (/** @type {string} */ what, /** @type {readonly Figure[]} */ figures) =>
    makeRow(what, at(figures, 0), [at(figures, 1)]);
  return {
    title: `a directory that grows to ${perTurn * TURNS} names, and shrinks again`,
    rows: [
      row("create", made),
      row("stat, in any order", looked),
      row("unlink, in any order", removed),
    ],
    aims: [
      aimAtGrowth("create", made),
      aimAtGrowth("stat", looked),
      aimAtGrowth("unlink", removed),
    ],
    notes: [],
  };
}
