// Mounting and closing ext4 images of 16 MiB and of 256 GiB, both as mkfs.ext4 makes them, with blocks of
// 4 KiB. Neither has any files; the large one is sparse.

import { rmSync } from "node:fs";
import { mountSync } from "holdfast";
import { at, takeTurnsOnce } from "../measure.js";
import { formatTime, makeRow } from "../report.js";

/** @typedef {import("holdfast").Volume} Volume */
/** @typedef {import("../measure.js").Contestant} Contestant */
/** @typedef {import("../measure.js").Figure} Figure */
/** @typedef {import("../place.js").Place} Place */

const SMALL_BYTES = 2 ** 24;
const LARGE_BYTES = 2 ** 38;
const NEED_BYTES = 2 ** 27;
/** "Within a few milliseconds". */
const DIFFERENCE_MAX_NS = 5e6;

/**
 * @param {string} name
 * @param {string} image
 * @param {boolean} readOnly
 * @returns {Contestant}
 */
function mounting(name, image, readOnly) {
  /** @type {Volume | null} */
  let volume = null;
  return {
    name,
    run() {
      volume = mountSync(image, { readOnly });
    },
    after() {
      volume?.closeSync();
    },
  };
}

/**
 * @param {string} name
 * @param {string} image
 * @returns {Contestant}
 */
function closing(name, image) {
  /** @type {Volume | null} */
  let volume = null;
  return {
    name,
    before() {
      volume = mountSync(image);
    },
    run: () => volume?.closeSync(),
  };
}

/**
 * @param {Figure} large
 * @param {Figure} small
 * @returns {import("../report.js").Aim}
 */
function aimAtDifference(large, small) {
  const difference = large.wallNs - small.wallNs;
  const byCpu = large.cpuNs - small.cpuNs;
  return {
    text: "mount takes the same time for both sizes, within 5 ms",
    measured: `${formatTime(difference)} more for 256 GiB (${formatTime(byCpu)} by CPU time)`,
    met: Math.abs(difference) <= DIFFERENCE_MAX_NS,
  };
}

/**
 * @param {Place} place
 * @returns {Promise<import("../report.js").GroupReport>}
 */
export async function measureMount(place) {
  place.assertRoom(NEED_BYTES);
  const small = place.makeImage(SMALL_BYTES);
  const large = place.makeImage(LARGE_BYTES);
  const figures = await takeTurnsOnce(
    [
      mounting("256 GiB", large, false),
      mounting("16 MiB", small, false),
      mounting("256 GiB", large, true),
      mounting("16 MiB", small, true),
      closing("256 GiB", large),
      closing("16 MiB", small),
    ],
    place.seconds,
  );
  rmSync(small);
  rmSync(large);
  return {
    title: "mount of an ext4 image, by size",
    rows: [
      makeRow("mountSync", at(figures, 0), [at(figures, 1)]),
      makeRow("mountSync { readOnly: true }", at(figures, 2), [at(figures, 3)]),
      makeRow("closeSync", at(figures, 4), [at(figures, 5)]),
    ],
    aims: [aimAtDifference(at(figures, 0), at(figures, 1))],
    notes: [],
  };
}
