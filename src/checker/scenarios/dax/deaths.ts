/** Threads that die while they truncate a file: what they have begun is ended, or never was. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { pinRange } from "../../../dax/pins.ts";
import { ensure } from "../../scenario.ts";
import { ensureShown, mayFail, truncate, volumeStory, writePages } from "./play.ts";

/** Of all who wait, one ends what the dead one has begun. */
export const killTruncatePinned = volumeStory({
  name: "dax-kill-truncate-pinned",
  about:
    "The thread that truncates a file dies at any point, also after it has announced its break and " +
    "before it has looked for pins. The holder of a pin, who waits for a lock of the dead one, " +
    "keeps the page that it has pinned.",
  from: "DESIGN.md 2, decision 4; dax/layout-change.ts, recoverRemovals",
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
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});
