/** Write-back after changes of the layout: what is left of what was written, wherever it lies then. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import type { Dax } from "../../../dax/dax.ts";
import {
  collapseRange,
  insertRange,
  punchHole,
  truncateFile,
  zeroRange,
} from "../../../dax/layout-change.ts";
import type { Mapping } from "../../../mapping/mapping.ts";
import type { Sleeps, Task } from "../../../sync/sleep.ts";
import type { Scenario } from "../../scenario.ts";
import type { VolumeShared } from "../../world/build.ts";
import type { Volume } from "../../world/volume.ts";
import {
  ensureShown,
  pinnedIo,
  sync,
  syncsAll,
  truncate,
  volumeStory,
  writePages,
} from "./play.ts";

/** One page is written by a call, or all three by an I/O before; then the layout changes. */
function changeStory(
  name: string,
  what: string,
  change: (task: Task, dax: Dax, mapping: Mapping) => Sleeps<void>,
  holds: string,
  io = false,
): Scenario<VolumeShared, Volume> {
  return volumeStory({
    name: `dax-sync-${name}`,
    about:
      `A page is written by a call${io ? ", and all by an I/O before" : ""}. Before anybody writes the ` +
      `file back, ${what}. What the file holds now, wherever it lies, is persistent after the write-back.`,
    from: "kernel-facts.md, hazard H2: a break must keep what is marked dirty",
    blocks: 5,
    synced: true,
    files: [{ name: "A", pages: "###" }],
    actors: {
      *io(volume, self) {
        if (io) yield* pinnedIo(volume, self, 0, 3);
        yield* writePages(volume, self, "A", 2, 1, "C");
        yield* change(self.task, volume.dax(self), volume.file("A").mapping);
        yield* syncsAll(volume, self);
      },
    },
    finally: (volume) => ensureShown(volume, "A", [holds]),
    explore: { strategy: "reduced" },
  });
}

const HALF = PAGE_SIZE / 2;

export const syncTruncated = changeStory(
  "truncated",
  "the file is truncated to a page and a half",
  (task, dax, mapping) => truncateFile(task, dax, mapping, PAGE_SIZE + HALF),
  "AA.",
);

export const syncPunched = changeStory(
  "punched",
  "a hole is punched from the middle of page 0 to the middle of page 2",
  (task, dax, mapping) => punchHole(task, dax, mapping, HALF, 2 * PAGE_SIZE),
  "W...C",
  true,
);

export const syncZeroed = changeStory(
  "zeroed",
  "half of page 1 is zeroed",
  (task, dax, mapping) => zeroRange(task, dax, mapping, PAGE_SIZE + HALF, HALF, true),
  "AA.C",
);

export const syncCollapsed = changeStory(
  "collapsed",
  "page 0 is cut out of the file",
  (task, dax, mapping) => collapseRange(task, dax, mapping, 0, PAGE_SIZE),
  "AC",
);

export const syncInserted = changeStory(
  "inserted",
  "a hole is put before page 0",
  (task, dax, mapping) => insertRange(task, dax, mapping, 0, PAGE_SIZE),
  ".AAC",
);

export const syncHuge = volumeStory({
  name: "dax-sync-huge",
  about:
    "A page in the middle of an entry of 2 MiB is written by an I/O: a write-back persists the whole " +
    "entry, and the next one finds nothing to do. Then the page after it is written, too, and the file " +
    "is cut behind it.",
  from: "kernel-facts.md, hazard H2; layout/break.ts, wholeFolios: more is broken than goes",
  blocks: 513,
  synced: true,
  files: [{ name: "A", pages: "#".repeat(512) }],
  actors: {
    *io(volume, self) {
      yield* pinnedIo(volume, self, 100, 1);
      yield* syncsAll(volume, self, 0, 128);
      volume.fail(self, "persist");
      yield* sync(volume, self);
      volume.mend(self);
      yield* pinnedIo(volume, self, 101, 1);
      yield* truncate(volume, self, "A", 102 * PAGE_SIZE);
      yield* syncsAll(volume, self);
    },
  },
  explore: { strategy: "reduced" },
});
