// Layout changes against pins: elsewhere in the file, in the range, and saturating it.

import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { at, nextTurn, quantile, takeTurns, timeEach } from "../measure.js";
import { formatTime, makeRow } from "../report.js";

/** @typedef {import("holdfast").FileHandle} FileHandle */
/** @typedef {import("holdfast").Volume} Volume */

const PAGE_BYTES = 4096;
const VOLUME_BYTES = 2 ** 26;
const FILE_PAGES = 2048;
const PINNED_PAGES = 1000;
const HOLD_MS = 1;
const PINNERS = 2;

/** Changes the layout of the last page: it stays allocated, so each time is as the one before. */
function zeroLastPage(/** @type {FileHandle} */ file) {
  file.fallocateSync("zero-range", (FILE_PAGES - 1) * PAGE_BYTES, PAGE_BYTES);
}

/**
 * Breaks with pins elsewhere: what they cost must not grow with those.
 * @param {FileHandle} file
 * @param {number} seconds
 */
async function elsewhere(file, seconds) {
  /** @type {import("holdfast").FilePin[]} */
  let pins = [];
  const figures = await takeTurns(
    [
      {
        name: `${PINNED_PAGES} pages pinned elsewhere`,
        before() {
          for (let page = 0; page < PINNED_PAGES; page++) {
            pins.push(file.pinSync(page * PAGE_BYTES, PAGE_BYTES));
          }
        },
        run(count) {
          for (let done = 0; done < count; done++) zeroLastPage(file);
        },
        after() {
          for (const pin of pins) pin.release();
          pins = [];
        },
      },
      {
        name: "nothing pinned",
        run(count) {
          for (let done = 0; done < count; done++) zeroLastPage(file);
        },
      },
    ],
    seconds,
  );
  return makeRow("zero range of a page", at(figures, 0), [at(figures, 1)]);
}

/**
 * From the release of the pin that a change waits for to the change's end, in this thread.
 * @param {FileHandle} file
 * @param {number} seconds
 */
async function afterRelease(file, seconds) {
  const offset = (FILE_PAGES - 1) * PAGE_BYTES;
  const released = {
    name: "from the release of its pin to its end",
    async once() {
      const pin = file.pinSync(offset, PAGE_BYTES);
      const changed = file.fallocate("zero-range", offset, PAGE_BYTES);
      await nextTurn();
      const start = process.hrtime.bigint();
      pin.release();
      await changed;
      return Number(process.hrtime.bigint() - start);
    },
  };
  return at(await timeEach([released], seconds), 0);
}

/**
 * Changes of a page that other threads pin again and again, each for a millisecond; each change begins when
 * all of them hold it.
 * @param {Volume} volume
 * @param {FileHandle} file
 * @param {number} seconds
 */
async function saturated(volume, file, seconds) {
  const control = new Int32Array(new SharedArrayBuffer(4));
  const offset = (FILE_PAGES - 1) * PAGE_BYTES;
  const workerData = {
    handle: volume.share(),
    path: "/file",
    offset,
    length: PAGE_BYTES,
    holdMs: HOLD_MS,
    control,
  };
  const workers = Array.from(
    { length: PINNERS },
    () => new Worker(new URL("../pinner.js", import.meta.url), { workerData }),
  );
  await Promise.all(workers.map((worker) => once(worker, "message")));
  const zeroed = {
    name: "until its end",
    async once() {
      while (file.holders().pins.length < PINNERS) await nextTurn();
      const start = process.hrtime.bigint();
      zeroLastPage(file);
      return Number(process.hrtime.bigint() - start);
    },
  };
  const figure = at(await timeEach([zeroed], seconds), 0);
  const ends = workers.map((worker) => once(worker, "message"));
  Atomics.store(control, 0, 1);
  const ended = (await Promise.all(ends)).map(([end]) => end);
  const longestMs = Math.max(...ended.map(({ longestMs: each }) => Number(each)));
  const pins = ended.reduce((sum, { pins: each }) => sum + Number(each), 0);
  return { figure, longestMs, pins };
}

/**
 * @param {import("../place.js").Place} place
 * @returns {Promise<import("../report.js").GroupReport>}
 */
export async function measureBreak(place) {
  place.assertRoom(VOLUME_BYTES);
  return place.withVolume(VOLUME_BYTES, async (volume) => {
    const file = volume.openSync("/file", "w+");
    file.writeSync(new Uint8Array(FILE_PAGES * PAGE_BYTES).fill(1), 0);
    const unpinned = await elsewhere(file, place.seconds);
    const released = await afterRelease(file, place.seconds);
    const { figure, longestMs, pins } = await saturated(volume, file, place.seconds);
    file.closeSync();
    const { wallSamples } = figure;
    const p99 = quantile(wallSamples, 0.99);
    return {
      title: "layout changes against pins",
      rows: [
        unpinned,
        makeRow("zero range of a pinned page", released, []),
        makeRow(
          `zero range of a page that ${PINNERS} threads pin for ${HOLD_MS} ms each`,
          figure,
          [],
        ),
      ],
      aims: [],
      notes: [
        `${wallSamples.length} changes against ${pins} pins of at most ${formatTime(longestMs * 1e6)}: 99 ` +
          `of 100 in ${formatTime(p99)}, the longest in ${formatTime(Math.max(...wallSamples))}`,
        `99 of 100 waited at most ${(p99 / 1e6 / longestMs).toFixed(1)} times as long as the longest pin`,
      ],
    };
  });
}
