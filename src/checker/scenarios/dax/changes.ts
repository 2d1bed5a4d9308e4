/** Pins and I/O against every change of a file's layout. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import type { Dax } from "../../../dax/dax.ts";
import {
  collapseRange,
  evictMapping,
  insertRange,
  punchHole,
  truncateFile,
  zeroRange,
} from "../../../dax/layout-change.ts";
import { pinRange } from "../../../dax/pins.ts";
import type { Mapping } from "../../../mapping/mapping.ts";
import type { Sleeps, Task } from "../../../sync/sleep.ts";
import type { Scenario } from "../../scenario.ts";
import type { FileSpec, VolumeShared } from "../../world/build.ts";
import type { Volume } from "../../world/volume.ts";
import { ensureShown, pinnedIo, volumeStory } from "./play.ts";

type Change = (task: Task, dax: Dax, mapping: Mapping) => Sleeps<void>;

interface ChangeStory {
  readonly name: string;
  /** What is done to the file. */
  readonly what: string;
  readonly from: string;
  /** The file; three pages without it. */
  readonly file?: Omit<FileSpec, "name">;
  readonly change: Change;
  /** What the file may hold at the end. */
  readonly holds: readonly string[];
}

/**
 * Page 1 of the file is pinned and written while the layout changes. The I/O ends in the file's own
 * block: before the change, which waits for it, or in what the file has there afterwards.
 */
function changeScenario(story: ChangeStory): Scenario<VolumeShared, Volume> {
  const { name, what, from, file, change, holds } = story;
  return volumeStory({
    name,
    about:
      `Page 1 of a file of ${file === undefined ? "three pages" : "a page and a half"} is pinned and an I/O writes it, while ${what}. The change ` +
      "waits for the I/O, or the I/O finds what is there after the change.",
    from,
    blocks: 5,
    files: [{ name: "A", pages: "###", ...file }],
    actors: {
      io: (volume, self) => pinnedIo(volume, self, 1, 1),
      *change(volume, self) {
        yield* change(self.task, volume.dax(self), volume.file("A").mapping);
      },
    },
    finally: (volume) => ensureShown(volume, "A", holds),
  });
}

const LINUX = "[PATCH v7 00/12] dax: fix dma vs truncate/hole-punch";
const DESIGN = "DESIGN.md 5.4, what must break before it changes a layout";

export const punch = changeScenario({
  name: "dax-punch",
  what: "a hole is punched into it",
  from: LINUX,
  change: (task, dax, mapping) => punchHole(task, dax, mapping, PAGE_SIZE, PAGE_SIZE),
  holds: ["A.A", "AWA"],
});

export const truncateToNothing = changeScenario({
  name: "dax-truncate",
  what: "the file is truncated to nothing",
  from: LINUX,
  change: (task, dax, mapping) => truncateFile(task, dax, mapping, 0),
  holds: [""],
});

export const truncateToPart = changeScenario({
  name: "dax-truncate-part",
  what: "the file is truncated to its first page and a half",
  from: LINUX,
  change: (task, dax, mapping) => truncateFile(task, dax, mapping, PAGE_SIZE + PAGE_SIZE / 2),
  holds: ["AA.", "AW.", "AW"],
});

export const truncateToSame = changeScenario({
  name: "dax-truncate-same",
  what: "the file is truncated to the size that it has, which frees a block beyond its end",
  from: "ext4_setattr, xfs_setattr_size: what is allocated beyond the end goes, also where the size stays",
  file: { pages: "##u", size: PAGE_SIZE + PAGE_SIZE / 2 },
  change: (task, dax, mapping) => truncateFile(task, dax, mapping, PAGE_SIZE + PAGE_SIZE / 2),
  holds: ["AA.", "AW.", "AW"],
});

export const truncatePinned = volumeStory({
  name: "dax-truncate-pinned",
  about:
    "A thread that has the last page of a file pinned truncates it: to the size that it has, and to more. Nothing " +
    "is allocated beyond the end, so neither gives blocks back, and neither waits for the pin.",
  from: "docs/protocol.md: which calls wait for a pinned page",
  blocks: 2,
  files: [{ name: "A", pages: "##", size: PAGE_SIZE + PAGE_SIZE / 2 }],
  actors: {
    *user(volume, self) {
      const dax = volume.dax(self);
      const { mapping } = volume.file("A");
      using _pin = yield* pinRange(self.task, dax, mapping, PAGE_SIZE, PAGE_SIZE / 2, true);
      for (const halves of [3, 4]) {
        yield* truncateFile(self.task, dax, mapping, (halves * PAGE_SIZE) / 2);
      }
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["AA."]),
  explore: { strategy: "reduced" },
});

export const zero = changeScenario({
  name: "dax-zero",
  what: "its range is zeroed",
  from: "FALLOC_FL_ZERO_RANGE; DESIGN.md 5.4",
  change: (task, dax, mapping) => zeroRange(task, dax, mapping, PAGE_SIZE, PAGE_SIZE, true),
  holds: ["A.A", "AWA"],
});

export const collapse = changeScenario({
  name: "dax-collapse",
  what: "it is cut out of the file, and page 2 comes to its place",
  from: "FALLOC_FL_COLLAPSE_RANGE; DESIGN.md 5.4",
  change: (task, dax, mapping) => collapseRange(task, dax, mapping, PAGE_SIZE, PAGE_SIZE),
  holds: ["AA", "AW"],
});

export const insert = changeScenario({
  name: "dax-insert",
  what: "a hole is put before it, so that it becomes page 2",
  from: "FALLOC_FL_INSERT_RANGE; DESIGN.md 5.4",
  change: (task, dax, mapping) => insertRange(task, dax, mapping, PAGE_SIZE, PAGE_SIZE),
  holds: ["A.WA", "AWAA"],
});

export const evict = changeScenario({
  name: "dax-evict",
  what: "all its pages are taken out of memory",
  from: DESIGN,
  change: (task, dax, mapping) => evictMapping(task, dax, mapping, null),
  holds: ["AWA"],
});

export const evictAndFree = changeScenario({
  name: "dax-evict-free",
  what: "it is evicted for good, with its blocks",
  from: DESIGN,
  change: (task, dax, mapping) => evictMapping(task, dax, mapping, () => {}),
  holds: ["...", ".W."],
});
