// Truncating files that are mapped and touched, and pinned by nobody. What it costs must not grow with
// the pages, beyond unmapping them; so it is measured at 1 GiB and at a quarter, and beside each the
// parts that can be told apart: taking the window away alone, and truncating a file never mapped.

import { ftruncateSync, writeSync } from "node:fs";
import { at, takeTurnsOnce } from "../measure.js";
import { fill } from "../place.js";
import { formatTime, makeRow } from "../report.js";
import { scan } from "./fault.js";

/** @typedef {import("holdfast").FileHandle} FileHandle */
/** @typedef {import("holdfast").FileWindow} FileWindow */
/** @typedef {import("../measure.js").Contestant} Contestant */
/** @typedef {import("../measure.js").Figure} Figure */
/** @typedef {import("../place.js").Place} Place */

const LARGE_BYTES = 2 ** 30;
const SMALL_BYTES = LARGE_BYTES / 4;
const PAGE_BYTES = 4096;
const VOLUME_BYTES = 3 * LARGE_BYTES;
const NEED_BYTES = 3 * LARGE_BYTES;
/** What the pages of 768 MiB may add to the cost that is theirs alone. */
const GROWTH_MAX_NS = 1e6;

/**
 * A contestant that truncates a file, filled anew, and mapped and touched, for each turn.
 * @param {string} name
 * @param {FileHandle} file
 * @param {number} size
 * @param {{ mapped: boolean, shifted?: boolean }} how `shifted`: by a page against the device, so that
 *   no 2 MiB of it can be one entry
 * @returns {Contestant}
 */
function truncation(name, file, size, { mapped, shifted = false }) {
  /** @type {FileWindow | null} */
  let window = null;
  return {
    name,
    before() {
      fill(shifted ? size + PAGE_BYTES : size, (bytes, to) => file.writeSync(bytes, to));
      if (shifted) file.fallocateSync("collapse-range", 0, PAGE_BYTES);
      if (!mapped) return;
      window = file.map();
      scan(window.bytes);
    },
    run: () => file.truncateSync(0),
    after() {
      window?.close();
    },
  };
}

/**
 * A contestant that takes away a touched window of a file that stays as it is.
 * @param {string} name
 * @param {FileHandle} file
 * @param {number} size
 * @returns {Contestant}
 */
function unmapping(name, file, size) {
  /** @type {FileWindow | null} */
  let window = null;
  return {
    name,
    before() {
      window = file.map({ length: size });
      scan(window.bytes);
    },
    run: () => window?.close(),
  };
}

/**
 * @param {Place} place
 * @returns {Promise<import("../report.js").GroupReport>}
 */
export async function measureTruncate(place) {
  place.assertRoom(NEED_BYTES);
  return place.withVolume(VOLUME_BYTES, (volume) =>
    place.withFile(async (fd) => {
      const file = volume.openSync("/file", "w+");
      const figures = await takeTurnsOnce(truncations(file, fd), place.seconds, 3);
      const shifted = await takeTurnsOnce(shiftedTruncations(file), place.seconds, 3);
      fill(LARGE_BYTES, (bytes, to) => file.writeSync(bytes, to));
      const unmappings = await takeTurnsOnce(
        [
          unmapping("its window alone, 1 GiB", file, LARGE_BYTES),
          unmapping("its window alone, 256 MiB", file, SMALL_BYTES),
        ],
        place.seconds,
        3,
      );
      file.closeSync();
      return reportOf(figures, shifted, unmappings);
    }),
  );
}

/**
 * @param {FileHandle} file
 * @param {number} fd
 * @returns {Contestant[]}
 */
function truncations(file, fd) {
  const write = (/** @type {Uint8Array} */ bytes, /** @type {number} */ to) =>
    writeSync(fd, bytes, 0, bytes.length, to);
  return [
    truncation("Holdfast, mapped, 1 GiB", file, LARGE_BYTES, { mapped: true }),
    truncation("Holdfast, mapped, 256 MiB", file, SMALL_BYTES, { mapped: true }),
    truncation("Holdfast, never mapped, 1 GiB", file, LARGE_BYTES, { mapped: false }),
    truncation("Holdfast, never mapped, 256 MiB", file, SMALL_BYTES, { mapped: false }),
    {
      name: "node:fs on tmpfs, 1 GiB",
      before: () => fill(LARGE_BYTES, write),
      run: () => ftruncateSync(fd, 0),
    },
  ];
}

/** @param {FileHandle} file */
function shiftedTruncations(file) {
  const how = { mapped: true, shifted: true };
  return [
    truncation("Holdfast, mapped, 1 GiB", file, LARGE_BYTES, how),
    truncation("Holdfast, mapped, 256 MiB", file, SMALL_BYTES, how),
  ];
}

/**
 * The three figures of one size: truncating it mapped, truncating it never mapped, closing its window.
 * @typedef {{ mapped: Figure, never: Figure, alone: Figure }} Parts
 */

/**
 * What the pages cost beyond unmapping them and freeing the blocks, in ns.
 * @param {Parts} parts
 * @param {"wallNs" | "cpuNs"} time
 */
function costOfPages({ mapped, never, alone }, time) {
  return mapped[time] - never[time] - alone[time];
}

/**
 * @param {string} what
 * @param {Parts} large
 * @param {Parts} small
 * @returns {import("../report.js").Aim}
 */
function growthAim(what, large, small) {
  const [wall, cpu] = /** @type {const} */ (["wallNs", "cpuNs"]).map((time) => {
    const [more, less] = [costOfPages(large, time), costOfPages(small, time)];
    return { growth: more - less, text: `${formatTime(less)} to ${formatTime(more)}` };
  });
  if (wall === undefined || cpu === undefined) throw new Error("there are two times");
  return {
    text: `${what}: beyond unmapping and freeing, 1 GiB costs at most 1 ms more than 256 MiB`,
    measured: `from ${wall.text} (${cpu.text} by CPU time)`,
    met: wall.growth <= GROWTH_MAX_NS,
  };
}

/**
 * @param {readonly Figure[]} figures
 * @param {readonly Figure[]} shifted
 * @param {readonly Figure[]} unmappings
 * @returns {import("../report.js").GroupReport}
 */
function reportOf(figures, shifted, unmappings) {
  const [mapped, never, alone] = [at(figures, 0), at(figures, 2), at(unmappings, 0)];
  const [mappedSmall, neverSmall, aloneSmall] = [at(figures, 1), at(figures, 3), at(unmappings, 1)];
  const large = { mapped, never, alone };
  const small = { mapped: mappedSmall, never: neverSmall, alone: aloneSmall };
  const [pages, pagesSmall] = [at(shifted, 0), at(shifted, 1)];
  return {
    title: "truncate to nothing, of a mapped, touched, unpinned file",
    rows: [
      makeRow("in entries of 2 MiB, where the device allows", mapped, [
        mappedSmall,
        at(figures, 4),
      ]),
      makeRow("in entries of 4 KiB", pages, [pagesSmall]),
      makeRow("freeing the blocks alone", never, [neverSmall]),
      makeRow("closing the window alone", alone, [aloneSmall]),
    ],
    aims: [
      growthAim("in entries of 2 MiB", large, small),
      growthAim(
        "in entries of 4 KiB",
        { ...large, mapped: pages },
        { ...small, mapped: pagesSmall },
      ),
    ],
    notes: [],
  };
}
