/** Reclaim: pages go out of memory and come back, beside all that uses them; the file is as it was. */
import { reclaimPages } from "../../../dax/reclaim.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";
import { ensureShown, pinnedIo, sync, truncate, volumeStory } from "./play.ts";

const FROM = "virtiofs: reclaim of one dmap (fuse_dax); dax/reclaim.ts";

/** Reclaims all of file A. Says what it has left. */
function* reclaim(volume: Volume, self: Self, waits: boolean): Sleeps<void> {
  const { mapping } = volume.file("A");
  const all = { first: 0, last: 1 };
  const { kept } = yield* reclaimPages(self.task, volume.dax(self), mapping, all, waits);
  ensure(!waits || kept.length === 0, "a reclaim that waits leaves pages");
  if (kept.length > 0) self.say("pages that are pinned stay");
}

export const reclaimPin = volumeStory({
  name: "dax-reclaim-pin",
  about:
    "A file of two pages is reclaimed while an I/O pins one of them, writes and releases it. Either the " +
    "page stays, or it is brought back; what the I/O has written is in the file.",
  from: FROM,
  blocks: 2,
  files: [{ name: "A", pages: "##" }],
  actors: {
    io: (volume, self) => pinnedIo(volume, self, 0, 1),
    reclaim: (volume, self) => reclaim(volume, self, false),
  },
  finally: (volume) => ensureShown(volume, "A", ["WA"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const reclaimWaits = volumeStory({
  name: "dax-reclaim-waits",
  about:
    "A reclaim waits for the pins of a page, holding nothing, while the file is truncated to nothing. Both " +
    "end, and the page's block is free.",
  from: FROM,
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  actors: {
    io: (volume, self) => pinnedIo(volume, self, 0, 1),
    reclaim: (volume, self) => reclaim(volume, self, true),
    truncate: (volume, self) => truncate(volume, self),
  },
  finally: (volume) => ensureShown(volume, "A", [""]),
  explore: { strategy: "pct", depth: 3, schedules: 500 },
});

export const reclaimStore = volumeStory({
  name: "dax-reclaim-store",
  about:
    "A page is stored to through a window while the file is reclaimed: the store is in the file, whether it " +
    "came before the page was taken out of the window, or brought it back.",
  from: FROM,
  blocks: 2,
  files: [{ name: "A", pages: "##" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: true }],
  actors: {
    store: (volume, self) => volume.store(self, 0, 1, "S"),
    reclaim: (volume, self) => reclaim(volume, self, false),
  },
  finally: (volume) => ensureShown(volume, "A", ["AS"]),
  explore: { strategy: "bounded", preemptions: 1 },
});

export const reclaimSync = volumeStory({
  name: "dax-reclaim-sync",
  about:
    "A page is written by a pin, and reclaimed, while another thread writes the file back. What was written " +
    "is persistent after a write-back that began later: the page's mark is not forgotten with its entry.",
  from: "Linux's invalidate_complete_page2 leaves dirty entries; dax/remove-pages.ts",
  blocks: 2,
  synced: true,
  files: [{ name: "A", pages: "==" }],
  actors: {
    *io(volume, self) {
      yield* pinnedIo(volume, self, 0, 1);
      yield* reclaim(volume, self, false);
    },
    sync: (volume, self) => sync(volume, self),
  },
  explore: { strategy: "bounded", preemptions: 1 },
});
