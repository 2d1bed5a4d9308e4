// 4 KiB by file handle, at random places.

import { measureCopying, shuffledPlaces } from "../copying.js";
import { aimAtRatio } from "../report.js";

const SIZE_BYTES = 4096;

/** @param {import("../place.js").Place} place */
export function measureRandom(place) {
  const title = "4 KiB at random places of a file of 256 MiB";
  return measureCopying(place, title, shuffledPlaces(SIZE_BYTES), SIZE_BYTES, (what, ours, nodes) =>
    aimAtRatio(`${what} 4 KiB in less time than node:fs on tmpfs`, ours, nodes, 1),
  );
}
