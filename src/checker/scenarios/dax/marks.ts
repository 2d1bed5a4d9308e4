/** Marks of entries that outlive what they were set for. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { pinRange, tryPinRange } from "../../../dax/pins.ts";
import { punch, volumeStory } from "./play.ts";

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
    punch: (volume, self) => punch(volume, self, 1, 1),
    *next(volume, self) {
      const file = volume.file("A");
      const dax = volume.dax(self);
      yield* volume.load(self, 0, 1);
      const held = yield* pinRange(self.task, dax, file.mapping, 0, PAGE_SIZE, true);
      const tried = tryPinRange(dax, file.mapping, PAGE_SIZE, PAGE_SIZE, false);
      if (tried !== null) volume.io(self, file, tried, "W");
      yield* punch(volume, self, 1, 1);
      volume.io(self, file, held, "W");
    },
  },
  environment: { kill: { kill: "punch" } },
  explore: { strategy: "bounded", preemptions: 1 },
});
