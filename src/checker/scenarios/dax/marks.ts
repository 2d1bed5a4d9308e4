/** Marks of entries that outlive what they were set for. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { punchHole } from "../../../dax/layout-change.ts";
import { pinRange, tryPinRange } from "../../../dax/pins.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import type { Self } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";
import { volumeStory } from "./play.ts";

function* punch(volume: Volume, self: Self): Sleeps<void> {
  const { mapping } = volume.file("A");
  yield* punchHole(self.task, volume.dax(self), mapping, PAGE_SIZE, PAGE_SIZE);
}

export const killPunchMark = volumeStory({
  name: "dax-kill-punch-mark",
  about:
    "A thread that punches page 1 dies at any point, also where the entry is gone and its dirty mark is " +
    "not. A zero page takes its place. It is not taken for a page that is pinned, nor for one that can be.",
  from: "mapping/tree.ts, rule 3: a mark costs a look, no more; bug 14: zero page entries",
  blocks: 3,
  files: [{ name: "A", pages: "##" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: false }],
  actors: {
    punch,
    *next(volume, self) {
      const file = volume.file("A");
      const dax = volume.dax(self);
      yield* volume.load(self, 0, 1);
      const held = yield* pinRange(self.task, dax, file.mapping, 0, PAGE_SIZE, true);
      const tried = tryPinRange(dax, file.mapping, PAGE_SIZE, PAGE_SIZE, false);
      if (tried !== null) volume.io(self, file, tried, "W");
      yield* punch(volume, self);
      volume.io(self, file, held, "W");
    },
  },
  environment: { kill: { kill: "punch" } },
  explore: { strategy: "bounded", preemptions: 1 },
});
