// 1 MiB by file handle, one after another.

import { measureCopying, sequentialPlaces } from "../copying.js";
import { aimAtRatio } from "../report.js";

const SIZE_BYTES = 2 ** 20;

/** @param {import("../place.js").Place} place */
export function measureSequential(place) {
  const title = "1 MiB after another of a file of 256 MiB";
  const places = sequentialPlaces(SIZE_BYTES);
  return measureCopying(place, title, places, SIZE_BYTES, (what, ours, _nodes, bare) =>
    aimAtRatio(`${what} 1 MiB in at most 1.2 times a bare copy`, ours, bare, 1.2),
  );
}
