// Reading and writing by file handle, at random places and in sequence, against node:fs on tmpfs and
// against a bare copy: the same bytes moved between the same kinds of memory (pages of a memfd, mapped
// as a device is, and a plain buffer), with nothing around it.

import { readSync, writeSync } from "node:fs";
import { memoryDevice } from "holdfast/device";
import { mapWhole } from "./mapping.js";
import { at, takeTurns } from "./measure.js";
import { fill } from "./place.js";
import { makeRow } from "./report.js";

/** @typedef {import("holdfast").FileHandle} FileHandle */
/** @typedef {import("./measure.js").Contestant} Contestant */
/** @typedef {import("./place.js").Place} Place */
/** @typedef {import("./measure.js").Figure} Figure */
/** @typedef {import("./report.js").Aim} Aim */
/** @typedef {import("./report.js").GroupReport} GroupReport */

const FILE_BYTES = 2 ** 28;
const NEED_BYTES = 3 * FILE_BYTES + 2 ** 27;

/**
 * Every place of the file once, in random order that is the same in every run.
 * @param {number} sizeBytes Of one place.
 */
export function shuffledPlaces(sizeBytes) {
  const places = sequentialPlaces(sizeBytes);
  let state = 1;
  for (let left = places.length - 1; left > 0; left--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = state % (left + 1);
    const place = places[left] ?? 0;
    places[left] = places[other] ?? 0;
    places[other] = place;
  }
  return places;
}

/** @param {number} sizeBytes */
export function sequentialPlaces(sizeBytes) {
  return Uint32Array.from({ length: FILE_BYTES / sizeBytes }, (_, index) => index * sizeBytes);
}

/**
 * Goes from place to place, and on from there at the next turn.
 * @param {string} name
 * @param {Uint32Array} places
 * @param {(position: number) => unknown} move
 * @returns {Contestant}
 */
function mover(name, places, move) {
  let next = 0;
  const run = (/** @type {number} */ count) => {
    let place = next;
    for (let done = 0; done < count; done++) {
      move(places[place] ?? 0);
      place = place + 1 === places.length ? 0 : place + 1;
    }
    next = place;
  };
  return { name, run };
}

/**
 * @param {Uint32Array} places
 * @param {Uint8Array} buffer
 * @param {FileHandle} file
 * @param {number} fd
 * @param {Uint8Array} memory
 */
function readers(places, buffer, file, fd, memory) {
  const size = buffer.length;
  return [
    mover("Holdfast readSync", places, (from) => file.readSync(buffer, from)),
    mover("node:fs readSync on tmpfs", places, (from) => readSync(fd, buffer, 0, size, from)),
    mover("bare copy", places, (from) => buffer.set(memory.subarray(from, from + size))),
  ];
}

/**
 * @param {Uint32Array} places
 * @param {Uint8Array} buffer
 * @param {FileHandle} file
 * @param {number} fd
 * @param {Uint8Array} memory
 */
function writers(places, buffer, file, fd, memory) {
  const size = buffer.length;
  return [
    mover("Holdfast writeSync", places, (to) => file.writeSync(buffer, to)),
    mover("node:fs writeSync on tmpfs", places, (to) => writeSync(fd, buffer, 0, size, to)),
    mover("bare copy", places, (to) => memory.set(buffer, to)),
  ];
}

/**
 * Runs `use` with three times the same file: on a volume, on tmpfs, and as bare memory.
 * @template T
 * @param {Place} place
 * @param {(file: FileHandle, fd: number, memory: Uint8Array) => Promise<T>} use
 */
async function withThreeFiles(place, use) {
  place.assertRoom(NEED_BYTES);
  return place.withVolume(FILE_BYTES * 4, (volume) =>
    place.withFile(async (fd) => {
      const file = volume.openSync("/file", "w+");
      const device = memoryDevice(FILE_BYTES);
      const { bytes: memory } = mapWhole(device, FILE_BYTES);
      try {
        // All three by turns: memory that other programs have used before comes in worse order than
        // fresh memory, and is handed out first. It should not all fall on one of them.
        fill(FILE_BYTES, (bytes, to) => {
          memory.set(bytes, to);
          writeSync(fd, bytes, 0, bytes.length, to);
          return file.writeSync(bytes, to);
        });
        return await use(file, fd, memory);
      } finally {
        file.closeSync();
        device.close();
      }
    }),
  );
}

/**
 * Measures reading and writing one buffer at each of `places` in turn.
 * @param {Place} place
 * @param {string} title
 * @param {Uint32Array} places
 * @param {number} sizeBytes Of the buffer.
 * @param {(what: string, ours: Figure, nodes: Figure, bare: Figure) => Aim} aim
 * @returns {Promise<GroupReport>}
 */
export function measureCopying(place, title, places, sizeBytes, aim) {
  return withThreeFiles(place, async (file, fd, memory) => {
    const buffer = new Uint8Array(sizeBytes).fill(0xa5);
    /** @type {GroupReport} */
    const report = { title, rows: [], aims: [], notes: [] };
    for (const [what, contestants] of /** @type {const} */ ([
      ["read", readers(places, buffer, file, fd, memory)],
      ["write", writers(places, buffer, file, fd, memory)],
    ])) {
      const figures = await takeTurns(contestants, place.seconds);
      const [ours, nodes, bare] = [at(figures, 0), at(figures, 1), at(figures, 2)];
      report.rows.push(makeRow(what, ours, [nodes, bare], sizeBytes));
      report.aims.push(aim(what, ours, nodes, bare));
    }
    return report;
  });
}
