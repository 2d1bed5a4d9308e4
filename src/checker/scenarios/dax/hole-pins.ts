/** Holes that windows show as zeroes, when pins fill them. */
import { ModelledFile } from "./model.ts";
import { pinnedIo, volumeStory } from "./play.ts";

export const holePinned = volumeStory({
  name: "dax-hole-pinned-windows",
  about:
    "One thread alone: pages of a hole that several windows show as zeroes are pinned and written, " +
    "one after the other. Each window over the page shows what was written, and the others are left " +
    "alone.",
  from: "DESIGN.md 5.2: a later write replaces the zero page and revokes it everywhere first",
  blocks: 4,
  files: [{ name: "A", pages: "...." }],
  windows: [
    { file: "A", first: 0, pages: 2, writable: true, shown: [0, 1] },
    { file: "A", first: 1, pages: 3, writable: false, shown: [1, 2, 3] },
    { file: "A", first: 3, pages: 1, writable: true, shown: [3] },
  ],
  actors: {
    *user(volume, self) {
      const file = new ModelledFile(volume, self);
      for (const page of [1, 0, 3, 2]) {
        yield* pinnedIo(volume, self, page, 1);
        file.model.write(page * 2, "WW");
        yield* file.check();
      }
    },
  },
  explore: { strategy: "reduced" },
});

export const holePinnedPopulated = volumeStory({
  name: "dax-hole-pinned-populated",
  about:
    "The same where touches cannot fault: windows that only read show the holes of a file as zeroes, " +
    "and what is written to a pin afterwards.",
  from: "DESIGN.md 2, decision 3: where userfaultfd is missing, windows are populated",
  blocks: 4,
  faults: false,
  files: [{ name: "A", pages: "#..." }],
  windows: [
    { file: "A", first: 0, pages: 2, writable: false },
    { file: "A", first: 1, pages: 3, writable: false },
  ],
  actors: {
    *user(volume, self) {
      const file = new ModelledFile(volume, self);
      yield* file.check();
      for (const page of [1, 0, 3, 2]) {
        yield* pinnedIo(volume, self, page, 1);
        file.model.write(page * 2, "WW");
        yield* file.check();
      }
    },
  },
  explore: { strategy: "reduced" },
});
