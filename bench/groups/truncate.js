// Truncating files that are mapped and pinned by nobody. What it costs must not grow with the pages,
// beyond unmapping them; so each is measured at 1 GiB and at a quarter, whole and in the parts that can
// be told apart: taking a touched window away alone; truncating a file whose pages are present and
// shown by no window; truncating a file that was never mapped.

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
const ROUNDS_MIN = 3;
/** What the pages of 768 MiB may add, beyond unmapping them. */
const GROWTH_MAX_NS = 1e6;

/**
 * How a file is before it is truncated. "touched": a window shows all of it. "present": all of its
 * pages have entries, and a window is there that shows none of them. "never": it was never mapped.
 * @typedef {"touched" | "present" | "never"} State
 */

/** @param {number} size */
function nameOf(size) {
  return `Holdfast, ${size / 2 ** 20} MiB`;
}

/**
 * A contestant that truncates a file, which is filled anew for each turn.
 * @param {FileHandle} file
 * @param {number} size
 * @param {State} state
 * @param {{ shifted: boolean }} how `shifted`: by a page against the device, so that no 2 MiB of it can
 *   be one entry
 * @returns {Contestant}
 */
function truncation(file, size, state, { shifted }) {
  /** @type {FileWindow | null} */
  let window = null;
  return {
    name: nameOf(size),
    before() {
      fill(shifted ? size + PAGE_BYTES : size, (bytes, to) => file.writeSync(bytes, to));
      if (shifted) file.fallocateSync("collapse-range", 0, PAGE_BYTES);
      if (state === "never") return;
      window = file.map();
      scan(window.bytes);
      if (state === "touched") return;
      window.close();
      window = file.map();
    },
    run: () => file.truncateSync(0),
    after() {
      window?.close();
    },
  };
}

/**
 * A contestant that takes away a touched window of a file that stays as it is.
 * @param {FileHandle} file
 * @param {number} size
 * @returns {Contestant}
 */
function unmapping(file, size) {
  /** @type {FileWindow | null} */
  let window = null;
  return {
    name: nameOf(size),
    before() {
      window = file.map({ length: size });
      scan(window.bytes);
    },
    run: () => window?.close(),
  };
}

/**
 * @param {number} fd
 * @returns {Contestant}
 */
function truncationOnTmpfs(fd) {
  return {
    name: `node:fs on tmpfs, not mapped, ${LARGE_BYTES / 2 ** 20} MiB`,
    before: () => fill(LARGE_BYTES, (bytes, to) => writeSync(fd, bytes, 0, bytes.length, to)),
    run: () => ftruncateSync(fd, 0),
  };
}

/**
 * @param {string} what
 * @param {Figure} large
 * @param {Figure} small
 * @returns {import("../report.js").Aim}
 */
function growthAim(what, large, small) {
  const growth = large.wallNs - small.wallNs;
  return {
    text: `beyond unmapping, 1 GiB in ${what} costs at most 1 ms more than 256 MiB`,
    measured: `${formatTime(growth)} (${formatTime(large.cpuNs - small.cpuNs)} by CPU time)`,
    met: growth <= GROWTH_MAX_NS,
  };
}

/**
 * @param {Place} place
 * @returns {Promise<import("../report.js").GroupReport>}
 */
export async function measureTruncate(place) {
  place.assertRoom(NEED_BYTES);
  return place.withVolume(VOLUME_BYTES, (volume) =>
    place.withFile((fd) => measureOn(volume.openSync("/file", "w+"), fd, place.seconds)),
  );
}

/**
 * @param {FileHandle} file
 * @param {number} fd
 * @param {number} seconds
 */
async function measureOn(file, fd, seconds) {
  /** @type {(state: State, how: { shifted: boolean }, ...peers: Contestant[]) => Promise<Figure[]>} */
  const pair = (state, how, ...peers) =>
    takeTurnsOnce(
      [
        truncation(file, LARGE_BYTES, state, how),
        truncation(file, SMALL_BYTES, state, how),
        ...peers,
      ],
      seconds,
      ROUNDS_MIN,
    );
  const touched = await pair("touched", { shifted: false }, truncationOnTmpfs(fd));
  const touchedPages = await pair("touched", { shifted: true });
  const present = await pair("present", { shifted: false });
  const presentPages = await pair("present", { shifted: true });
  const never = await pair("never", { shifted: false });
  fill(LARGE_BYTES, (bytes, to) => file.writeSync(bytes, to));
  const unmapped = await takeTurnsOnce(
    [unmapping(file, LARGE_BYTES), unmapping(file, SMALL_BYTES)],
    seconds,
    ROUNDS_MIN,
  );
  file.closeSync();
  /** @type {(name: string, figures: Figure[]) => import("../report.js").Row} */
  const row = (name, figures) => makeRow(name, at(figures, 0), figures.slice(1));
  return {
    title: "truncate to nothing, of a mapped, unpinned file",
    rows: [
      row("all shown by a window, entries of 2 MiB", touched),
      row("all shown by a window, entries of 4 KiB", touchedPages),
      row("unmapping alone: the window is closed instead", unmapped),
      row("none shown by a window, entries of 2 MiB", present),
      row("none shown by a window, entries of 4 KiB", presentPages),
      row("never mapped", never),
    ],
    aims: [
      growthAim("entries of 2 MiB", at(present, 0), at(present, 1)),
      growthAim("entries of 4 KiB", at(presentPages, 0), at(presentPages, 1)),
    ],
    notes: [],
  };
}
