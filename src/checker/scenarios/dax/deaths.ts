/** Threads that die while they truncate a file: what they have begun is ended, or never was. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { pinRange } from "../../../dax/pins.ts";
import { MappingWord, PAGE_INDEX_MAX } from "../../../mapping/mapping.ts";
import { forEachEntry } from "../../../mapping/tree.ts";
import { load, store } from "../../../sync/atomics.ts";
import { OWNER_DIED, Slot } from "../../../sync/thread.ts";
import { ensure, type Scenario } from "../../scenario.ts";
import type { VolumeShared } from "../../world/build.ts";
import type { Volume } from "../../world/volume.ts";
import { ensureShown, mayFail, truncate, volumeStory, writePages } from "./play.ts";

/** Of all who wait, one ends what the dead one has begun. */
export const killTruncatePinned = volumeStory({
  name: "dax-kill-truncate-pinned",
  about:
    "The thread that truncates a file dies at any point, also after it has announced its break and " +
    "before it has looked for pins. The holder of a pin, who waits for a lock of the dead one, " +
    "keeps the page that it has pinned.",
  from: "DESIGN.md 2, decision 4; dax/remove-pages.ts, recoverRemovals",
  blocks: 3,
  files: [{ name: "A", pages: "##" }],
  actors: {
    *holder(volume, self) {
      const { mapping } = volume.file("A");
      yield* mayFail(self, ["EINVAL"], function* () {
        const pin = yield* pinRange(self.task, volume.dax(self), mapping, 0, PAGE_SIZE, true);
        yield* writePages(volume, self, "A", 1, 1, "V");
        volume.io(self, volume.file("A"), pin, "W");
      });
    },
    truncate: (volume, self) => truncate(volume, self),
  },
  environment: { kill: { kill: "truncate" } },
  finally: (volume) => {
    if (!volume.isKilled("truncate")) ensureShown(volume, "A", ["", ".V"]);
    else ensureShown(volume, "A", ["", ".V", "WV"]);
  },
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

/** Entries of pages and of holes, of which the dead thread has removed some. */
export const killRemoval = volumeStory({
  name: "dax-kill-removal",
  about:
    "The thread that truncates a file to its first page dies at any point, and so may the one that " +
    "ends it for it. A third one does, and nothing is left of the other pages, of a block and of a " +
    "hole: no entry, no owner, no mark that a removal is under way.",
  from: "DESIGN.md 2, decision 4; MappingWord.removing",
  blocks: 3,
  files: [{ name: "A", pages: "##." }],
  windows: [{ file: "A", first: 2, pages: 1, writable: true, shown: [2] }],
  actors: {
    truncate: (volume, self) => truncate(volume, self, "A", PAGE_SIZE),
    next: (volume, self) => truncate(volume, self, "A", PAGE_SIZE),
    last: (volume, self) => truncate(volume, self, "A", PAGE_SIZE),
  },
  environment: { kill: { kill: "truncate" }, "kill-next": { kill: "next" } },
  finally: (volume) => ensureShown(volume, "A", ["A"]),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

/** Has the thread that made the volume be one that has died in a removal of file A's pages from 1 on. */
function leaveRemoval(shared: VolumeShared): VolumeShared {
  const { words } = shared.region;
  const { mapping } = shared.files[0]!;
  const dead = shared.region.slotBase(shared.region.slotsUsed - 1);
  store(words, mapping + MappingWord.breakFirst, 1);
  store(words, mapping + MappingWord.breakLast, PAGE_INDEX_MAX | 0);
  store(words, mapping + MappingWord.breakHolder, load(words, dead + Slot.state));
  store(words, mapping + MappingWord.removing, 1);
  store(words, dead + Slot.breaking, mapping);
  store(words, dead + Slot.liveness, OWNER_DIED);
  return shared;
}

const leftBehind = volumeStory({
  name: "dax-removal-left-behind",
  about:
    "A thread has died when it was about to remove the entries of a page and of a hole. One that removes " +
    "them for it dies at any point, and another one does the rest. The page before them is as it was.",
  from: "dax/layout-change.ts, recoverRemovals; several-processes.md: a repair can be repeated",
  blocks: 2,
  files: [{ name: "A", pages: "##." }],
  windows: [{ file: "A", first: 2, pages: 1, writable: true, shown: [2] }],
  actors: {
    reaper(_volume, self) {
      self.thread.reap();
    },
    survivor: () => {}, // it does the rest at the end
  },
  environment: { kill: { kill: "reaper" } },
  finally(volume) {
    ensureShown(volume, "A", ["AA."]);
    const left: number[] = [];
    const { mapping } = volume.file("A");
    forEachEntry(volume.words, mapping, 0, 2, (_entry, index) => left.push(index));
    ensure(left.join() === "0", `pages ${left.join()} have an entry, where only page 0 should`);
  },
  explore: { strategy: "reduced" },
});

export const removalLeftBehind: Scenario<VolumeShared, Volume> = {
  ...leftBehind,
  build: () => leaveRemoval(leftBehind.build()),
};

/** A large file's blocks are freed in several transactions. */
export const killLongTruncate = volumeStory({
  name: "dax-kill-long-truncate",
  about:
    "A truncate that frees one block a transaction dies at any point. The file is then as long as it " +
    "was, with holes at its end and its first page as it was, or it has its new size: no block lies " +
    "beyond its end.",
  from: "dax/layout-change.ts, truncateFile: the size changes with the last blocks",
  blocks: 3,
  removedAtOnce: 1,
  files: [{ name: "A", pages: "===" }],
  actors: {
    truncate: (volume, self) => truncate(volume, self, "A", PAGE_SIZE / 2),
    *read(volume, self) {
      const read = yield* volume.read(self, volume.file("A"), 0, 3);
      ensure(["AAA", "AA.", "A..", "A"].includes(read), `a read of A finds "${read}"`);
    },
  },
  environment: { kill: { kill: "truncate" } },
  finally(volume) {
    const file = volume.file("A");
    const size = volume.sizeOf(file);
    const shown = volume.fileShown(file, 3);
    const allowed = size === PAGE_SIZE / 2 ? ["A..", "A..."] : ["AAA", "AA.", "A.."];
    ensure(allowed.includes(shown), `file A of ${size} bytes holds "${shown}"`);
    ensure(size === PAGE_SIZE / 2 || size === 3 * PAGE_SIZE, `file A has ${size} bytes`);
  },
  explore: { strategy: "bounded", preemptions: 1 },
});
