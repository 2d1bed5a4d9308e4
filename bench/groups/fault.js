// Page faults of mapped files. A touch: one load from each 2 MiB of a window that nobody has touched, so
// that each is a fault of its own. A scan: one load from each 64 bytes, in order.

import { readSync, writeSync } from "node:fs";
import { openDevice } from "holdfast/device";
import { mapWhole } from "../mapping.js";
import { at, takeTurnsOnce } from "../measure.js";
import { fill } from "../place.js";
import { makeRow } from "../report.js";

/** @typedef {import("holdfast").FileHandle} FileHandle */
/** @typedef {import("holdfast").FileWindow} FileWindow */
/** @typedef {import("../measure.js").Contestant} Contestant */
/** @typedef {import("../place.js").Place} Place */

const FILE_BYTES = 2 ** 28;
const NEED_BYTES = 4 * FILE_BYTES;
const STRIDE_BYTES = 2 ** 21;
const TOUCHES = FILE_BYTES / STRIDE_BYTES;
const CHUNK_BYTES = 2 ** 20;

/** @param {Uint8Array} bytes */
function touch(bytes) {
  let sum = 0;
  for (let at = STRIDE_BYTES / 2; at < bytes.length; at += STRIDE_BYTES) sum += bytes[at] ?? 0;
  return sum;
}

/** @param {Uint8Array} bytes */
export function scan(bytes) {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  let sum = 0;
  for (let at = 0; at < words.length; at += 16) sum = (sum + (words[at] ?? 0)) | 0;
  return sum;
}

/**
 * A contestant with a fresh window for each turn.
 * @param {string} name
 * @param {FileHandle} file
 * @param {number} count
 * @param {(bytes: Uint8Array) => number} use
 * @returns {Contestant}
 */
function freshWindow(name, file, count, use) {
  /** @type {FileWindow | null} */
  let window = null;
  return {
    name,
    count,
    before() {
      window = file.map();
    },
    run: () => use(window?.bytes ?? new Uint8Array()),
    after() {
      window?.close();
    },
  };
}

/**
 * A contestant with a fresh mapping by the kernel, of the same file on tmpfs, for each turn.
 * @param {string} name
 * @param {string} path
 * @param {number} count
 * @param {(bytes: Uint8Array) => number} use
 * @returns {Contestant}
 */
function freshMapping(name, path, count, use) {
  /** @type {import("holdfast/device").Device | null} */
  let device = null;
  /** @type {Uint8Array} */
  let bytes = new Uint8Array();
  let unmap = () => {};
  return {
    name,
    count,
    before() {
      device = openDevice(path, { readOnly: true });
      ({ bytes, unmap } = mapWhole(device, FILE_BYTES));
    },
    run: () => use(bytes),
    after() {
      bytes = new Uint8Array();
      unmap();
      device?.close();
    },
  };
}

/**
 * @param {FileHandle} file
 * @param {number} fd
 * @param {string} path
 * @param {Place} place
 */
async function touches(file, fd, path, place) {
  const byte = new Uint8Array(1);
  const figures = await takeTurnsOnce(
    [
      freshWindow("Holdfast window, first touch", file, TOUCHES, touch),
      freshMapping("mmap of a tmpfs file, first touch", path, TOUCHES, touch),
      {
        name: "node:fs readSync of 1 byte on tmpfs",
        count: TOUCHES,
        run() {
          for (let from = STRIDE_BYTES / 2; from < FILE_BYTES; from += STRIDE_BYTES) {
            readSync(fd, byte, 0, 1, from);
          }
        },
      },
    ],
    place.seconds,
  );
  return makeRow("single touch, 2 MiB apart", at(figures, 0), figures.slice(1));
}

/**
 * @param {FileHandle} file
 * @param {number} fd
 * @param {string} path
 * @param {Place} place
 */
async function scans(file, fd, path, place) {
  const chunk = new Uint8Array(CHUNK_BYTES);
  const plain = new Uint8Array(FILE_BYTES).fill(0x5a);
  const known = file.map();
  const figures = await takeTurnsOnce(
    [
      freshWindow("Holdfast window, first scan", file, 1, scan),
      { name: "Holdfast window, scanned before", run: () => scan(known.bytes) },
      freshMapping("mmap of a tmpfs file, first scan", path, 1, scan),
      {
        name: "node:fs readSync by 1 MiB on tmpfs, scanned",
        run() {
          let sum = 0;
          for (let from = 0; from < FILE_BYTES; from += CHUNK_BYTES) {
            readSync(fd, chunk, 0, CHUNK_BYTES, from);
            sum += scan(chunk);
          }
          return sum;
        },
      },
      { name: "plain buffer", run: () => scan(plain) },
    ],
    place.seconds,
  );
  known.close();
  const [first, again, mapped, read, buffer] = [0, 1, 2, 3, 4].map((index) => at(figures, index));
  if (!first || !again || !mapped || !read || !buffer) throw new Error("a contestant is missing");
  return [
    makeRow("scan of 256 MiB, faulting in", first, [mapped, read, buffer], FILE_BYTES),
    makeRow("scan of 256 MiB, faulted in", again, [read, buffer], FILE_BYTES),
  ];
}

/**
 * @param {Place} place
 * @returns {Promise<import("../report.js").GroupReport>}
 */
export async function measureFault(place) {
  place.assertRoom(NEED_BYTES);
  return place.withVolume(FILE_BYTES * 4, (volume) =>
    place.withFile(async (fd, path) => {
      const file = volume.openSync("/file", "w+");
      fill(FILE_BYTES, (bytes, to) => file.writeSync(bytes, to));
      fill(FILE_BYTES, (bytes, to) => writeSync(fd, bytes, 0, bytes.length, to));
      const faultsBefore = volume.statistics().faults;
      const window = file.map();
      touch(window.bytes);
      const faults = volume.statistics().faults - faultsBefore;
      window.close();
      const rows = [await touches(file, fd, path, place), ...(await scans(file, fd, path, place))];
      file.closeSync();
      const notes = [`${TOUCHES} touches of a fresh window took ${faults} faults`];
      if (faults === 0) {
        notes.push(
          "no userfaultfd here: windows are filled when they are made, outside the figures",
        );
      }
      return { title: "page faults of a mapped file of 256 MiB", rows, aims: [], notes };
    }),
  );
}
