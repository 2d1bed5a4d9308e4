// Recalls: how long a layout change takes whose range another thread has leased.

import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { at, nextTurn, quantile, timeEach } from "../measure.js";
import { formatTime, makeRow } from "../report.js";

/** @typedef {import("holdfast").FileHandle} FileHandle */
/** @typedef {import("holdfast").Volume} Volume */

const PAGE_BYTES = 4096;
const VOLUME_BYTES = 2 ** 24;
/** What the threads do with a page each: the last one has none. */
const Page = { pinned: 0, leased: 1, free: 2 };
const PAGES = 3;

/**
 * A thread that leases a page whenever it is not recalled.
 * @param {Volume} volume
 * @param {number} page
 * @param {Int32Array} control
 */
async function lessee(volume, page, control) {
  const workerData = {
    handle: volume.share(),
    path: "/file",
    offset: page * PAGE_BYTES,
    length: PAGE_BYTES,
    pins: page === Page.pinned,
    control,
  };
  const worker = new Worker(new URL("../lessee.js", import.meta.url), { workerData });
  await once(worker, "message");
  return worker;
}

/**
 * @param {FileHandle} file
 * @param {number} page
 */
function change(file, page) {
  return file.fallocate("zero-range", page * PAGE_BYTES, PAGE_BYTES);
}

/**
 * A change of a page, begun when it is held by all that are to hold it.
 * @param {FileHandle} file
 * @param {number} page
 */
async function timeChange(file, page) {
  const isHere = (/** @type {{ offset: number }} */ { offset }) => offset === page * PAGE_BYTES;
  for (;;) {
    const { leases, pins } = file.holders();
    const leased = page === Page.free || leases.some(isHere);
    if (leased && (page !== Page.pinned || pins.some(isHere))) break;
    await nextTurn();
  }
  const start = process.hrtime.bigint();
  await change(file, page);
  return Number(process.hrtime.bigint() - start);
}

/**
 * A message to a thread and its answer, which is the least that asking by hand would cost.
 * @param {Worker} worker
 */
async function timeMessage(worker) {
  await nextTurn();
  const answered = once(worker, "message");
  const start = process.hrtime.bigint();
  worker.postMessage(0);
  await answered;
  return Number(process.hrtime.bigint() - start);
}

/**
 * @param {import("../place.js").Place} place
 * @returns {Promise<import("../report.js").GroupReport>}
 */
export async function measureLease(place) {
  place.assertRoom(VOLUME_BYTES);
  return place.withVolume(VOLUME_BYTES, async (volume) => {
    const file = volume.openSync("/file", "w+");
    file.writeSync(new Uint8Array(PAGES * PAGE_BYTES).fill(1), 0);
    const control = new Int32Array(new SharedArrayBuffer(4));
    const pinning = await lessee(volume, Page.pinned, control);
    const leasing = await lessee(volume, Page.leased, control);
    const figures = await timeEach(
      [
        { name: "the lease alone", once: () => timeChange(file, Page.leased) },
        { name: "with a long-term pin", once: () => timeChange(file, Page.pinned) },
        { name: "a message to the thread, and its answer", once: () => timeMessage(leasing) },
        { name: "leased by nobody", once: () => timeChange(file, Page.free) },
      ],
      place.seconds,
    );
    const ended = Promise.all([pinning, leasing].map((worker) => once(worker, "exit")));
    Atomics.store(control, 0, 1);
    // They see that when their leases are recalled.
    await Promise.all([change(file, Page.pinned), change(file, Page.leased)]);
    await ended;
    file.closeSync();
    const leased = at(figures, 0);
    const p99 = quantile(leased.wallSamples, 0.99);
    return {
      title: "layout changes against leases of another thread, which returns them at once",
      rows: [makeRow("zero range of a leased page", leased, figures.slice(1))],
      aims: [],
      notes: [
        `${leased.rounds} recalls of the lease alone: 99 of 100 in ${formatTime(p99)}, the longest ` +
          `in ${formatTime(Math.max(...leased.wallSamples))}`,
      ],
    };
  });
}
