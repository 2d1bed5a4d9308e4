// What tracing costs a fast pin: off, on for other events, and on for pins, each beside a bare addition.

import { at, takeTurns } from "../measure.js";
import { makeRow } from "../report.js";

const PAGE_BYTES = 4096;
const VOLUME_BYTES = 2 ** 26;

/** @typedef {import("holdfast").TraceClassName} TraceClassName */

/**
 * @param {import("../place.js").Place} place
 * @returns {Promise<import("../report.js").GroupReport>}
 */
export async function measureTrace(place) {
  place.assertRoom(VOLUME_BYTES);
  return place.withVolume(VOLUME_BYTES, async (volume) => {
    const file = volume.openSync("/file", "w+");
    file.writeSync(new Uint8Array(16 * PAGE_BYTES).fill(1), 0);
    file.pinSync(0, PAGE_BYTES, { write: true }).release();
    /** @type {(name: string, events: readonly TraceClassName[]) => import("../measure.js").Contestant} */
    const pinning = (name, events) => ({
      name,
      before: () => volume.trace.start({ events }),
      run(count) {
        for (let done = 0; done < count; done++) file.pinSync(0, PAGE_BYTES).release();
      },
      after: () => volume.trace.stop(),
    });
    const words = new Int32Array(new SharedArrayBuffer(64));
    const figures = await takeTurns(
      [
        pinning("tracing off", []),
        pinning("on, for all but pins", ["fault", "break", "writeback", "transaction", "window"]),
        pinning("on, for pins: two records each", ["pin"]),
        {
          name: "Atomics.add",
          run(count) {
            for (let done = 0; done < count; done++) Atomics.add(words, 0, 1);
            return words[0];
          },
        },
      ],
      place.seconds,
    );
    file.closeSync();
    const [off, other, on, add] = [0, 1, 2, 3].map((index) => at(figures, index));
    if (!off || !other || !on || !add) throw new Error("a contestant is missing");
    return {
      title: "what tracing costs: pin + release of one present page",
      rows: [makeRow("traced", on, [other, off, add])],
      aims: [],
      notes: [],
    };
  });
}
