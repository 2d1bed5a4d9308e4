// Pinning one present page and giving it back, against one bare Atomics.add on shared memory. Each loop
// is written out, so that no call of a function is counted with the few nanoseconds of an addition.

import { at, takeTurns } from "../measure.js";
import { aimAtRatio, makeRow } from "../report.js";

const PAGE_BYTES = 4096;
const VOLUME_BYTES = 2 ** 26;

/**
 * @param {import("../place.js").Place} place
 * @returns {Promise<import("../report.js").GroupReport>}
 */
export async function measurePin(place) {
  place.assertRoom(VOLUME_BYTES);
  return place.withVolume(VOLUME_BYTES, async (volume) => {
    const file = volume.openSync("/file", "w+");
    file.writeSync(new Uint8Array(16 * PAGE_BYTES).fill(1), 0);
    // Makes the page present, and marks it: the rest is the fast path.
    file.pinSync(0, PAGE_BYTES, { write: true }).release();
    const figures = await takeTurns(contestants(file), place.seconds);
    file.closeSync();
    const [read, write, used, add] = [0, 1, 2, 3].map((index) => at(figures, index));
    if (!read || !write || !used || !add) throw new Error("a contestant is missing");
    return {
      title: "pins of one present page",
      rows: [
        makeRow("pin + release", read, [add]),
        makeRow("pin for writing + release", write, [add]),
        makeRow("pin, buffers + release", used, [add]),
      ],
      aims: [aimAtRatio("pin + release in at most 12 bare atomic additions", read, add, 12)],
      notes: [],
    };
  });
}

/**
 * @param {import("holdfast").FileHandle} file
 * @returns {import("../measure.js").Contestant[]}
 */
function contestants(file) {
  const words = new Int32Array(new SharedArrayBuffer(64));
  const forWriting = { write: true };
  return [
    {
      name: "Holdfast pinSync, release",
      run(count) {
        for (let done = 0; done < count; done++) file.pinSync(0, PAGE_BYTES).release();
      },
    },
    {
      name: "Holdfast pinSync { write: true }, release",
      run(count) {
        for (let done = 0; done < count; done++) {
          file.pinSync(0, PAGE_BYTES, forWriting).release();
        }
      },
    },
    {
      name: "Holdfast pinSync, buffers, release",
      run(count) {
        let bytes = 0;
        for (let done = 0; done < count; done++) {
          const pin = file.pinSync(0, PAGE_BYTES);
          bytes += pin.buffers.length;
          pin.release();
        }
        return bytes;
      },
    },
    {
      name: "Atomics.add",
      run(count) {
        for (let done = 0; done < count; done++) Atomics.add(words, 0, 1);
        return words[0];
      },
    },
  ];
}
