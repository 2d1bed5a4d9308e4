// Making, removing and looking at files, against node:fs on tmpfs. Both sides use paths of two names:
// the run's directory is the working directory meanwhile, so that node:fs walks no longer way.

import {
  closeSync,
  mkdirSync,
  openSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { at, takeTurns } from "../measure.js";
import { makeRow } from "../report.js";

/** @typedef {import("../place.js").Place} Place */
/** @typedef {import("../report.js").GroupReport} GroupReport */

const FILES = 1000;
const VOLUME_BYTES = 2 ** 30;
const NEED_BYTES = 2 ** 28;

/**
 * Does one thing per name, and goes on from there at the next turn.
 * @param {string} name
 * @param {readonly string[]} paths
 * @param {(path: string) => unknown} act
 */
function visitor(name, paths, act) {
  let next = 0;
  const run = (/** @type {number} */ count) => {
    for (let done = 0; done < count; done++) {
      act(at(paths, next));
      next = next + 1 === paths.length ? 0 : next + 1;
    }
  };
  return { name, run };
}

/**
 * @param {Place} place
 * @returns {Promise<GroupReport>}
 */
export async function measureNames(place) {
  place.assertRoom(NEED_BYTES);
  const before = process.cwd();
  process.chdir(place.directory);
  try {
    return await place.withVolume(VOLUME_BYTES, (volume) => measureOn(place, volume));
  } finally {
    rmSync("names", { recursive: true, force: true });
    process.chdir(before);
  }
}

/**
 * @param {Place} place
 * @param {import("holdfast").Volume} volume
 * @returns {Promise<GroupReport>}
 */
async function measureOn(place, volume) {
  const there = Array.from({ length: FILES }, (_, index) => `names/file-${index}`);
  const fresh = Array.from({ length: FILES }, (_, index) => `names/new-${index}`);
  mkdirSync("names");
  volume.mkdirSync("names");
  for (const path of there) {
    writeFileSync(path, "");
    volume.writeFileSync(path, "");
  }

  const changes = await takeTurns(
    [
      visitor("Holdfast openSync, closeSync, unlinkSync", fresh, (path) => {
        volume.openSync(path, "w").closeSync();
        volume.unlinkSync(path);
      }),
      visitor("node:fs on tmpfs", fresh, (path) => {
        closeSync(openSync(path, "w"));
        unlinkSync(path);
      }),
    ],
    place.seconds,
  );
  const looks = await takeTurns(
    [
      visitor("Holdfast statSync", there, (path) => volume.statSync(path)),
      visitor("node:fs statSync on tmpfs", there, (path) => statSync(path)),
    ],
    place.seconds,
  );
  return {
    title: `names, in a directory of ${FILES} files`,
    rows: [
      makeRow("create + unlink", at(changes, 0), [at(changes, 1)]),
      makeRow("stat", at(looks, 0), [at(looks, 1)]),
    ],
    aims: [],
    notes: [],
  };
}
