/** Write-back that fails or whose thread dies, and write-back after the death of others. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import type { Dax } from "../../../dax/dax.ts";
import { collapseRange, insertRange } from "../../../dax/layout-change.ts";
import { pinRange } from "../../../dax/pins.ts";
import type { Mapping } from "../../../mapping/mapping.ts";
import type { Sleeps, Task } from "../../../sync/sleep.ts";
import { ensure, type Scenario } from "../../scenario.ts";
import type { VolumeShared } from "../../world/build.ts";
import { contentOf } from "../../world/device.ts";
import type { Volume } from "../../world/volume.ts";
import {
  ensureShown,
  mayFail,
  pinnedIo,
  sync,
  syncsAll,
  truncate,
  volumeStory,
  writePages,
} from "./play.ts";

export const syncKilled = volumeStory({
  name: "dax-sync-killed",
  about:
    "A thread dies at any point of a write-back, with pages that it has taken and not persisted. " +
    "Another one writes the file back, and finds them.",
  from: "DESIGN.md 2, decision 4: worker threads that die; 5.6, invariant 8",
  blocks: 2,
  synced: true,
  files: [{ name: "A", pages: "#=" }],
  actors: {
    sync: (volume, self) => sync(volume, self),
    *next(volume, self) {
      yield* pinnedIo(volume, self, 0, 1);
      yield* writePages(volume, self, "A", 1, 1, "W");
      yield* syncsAll(volume, self);
    },
  },
  environment: { kill: { kill: "sync" } },
  finally: (volume) => ensureShown(volume, "A", ["WW"]),
  explore: { strategy: "pct", depth: 3, schedules: 2000 },
});

export const syncFails = volumeStory({
  name: "dax-sync-fails",
  about:
    "The device fails when a thread writes a file back, at whatever it comes to first. Another thread, " +
    "for which the device does not fail, persists all that the first one had taken.",
  from: "fsync errors must not lose dirty pages: 'fsyncgate', errseq_t; DESIGN.md 5.6, invariant 7",
  blocks: 2,
  synced: true,
  files: [{ name: "A", pages: "#=" }],
  actors: {
    *fails(volume, self) {
      volume.fail(self, "persist");
      yield* mayFail(self, ["EIO"], () => sync(volume, self));
    },
    *next(volume, self) {
      yield* pinnedIo(volume, self, 0, 1);
      yield* writePages(volume, self, "A", 1, 1, "W");
      yield* syncsAll(volume, self);
    },
  },
  explore: { strategy: "pct", depth: 3, schedules: 2000 },
});

export const syncKilledPin = volumeStory({
  name: "dax-sync-killed-pin",
  about:
    "A thread that pins a hole dies at any point. If it has got the block of another file for it, the " +
    "zeroes that are in its place are persistent after a write-back.",
  from: "DESIGN.md 5.6, invariant 8: never another file's bytes; dax/fault.ts, mappedExtent",
  blocks: 1,
  synced: true,
  files: [
    { name: "A", pages: "." },
    { name: "B", pages: "=" },
  ],
  actors: {
    *io(volume, self) {
      yield* truncate(volume, self, "B");
      const { mapping } = volume.file("A");
      const pin = yield* pinRange(self.task, volume.dax(self), mapping, 0, PAGE_SIZE, false);
      pin.release();
    },
    *next(volume, self) {
      yield* sync(volume, self);
      if (volume.isKilled("io")) yield* syncsAll(volume, self);
    },
  },
  environment: { kill: { kill: "io" } },
  explore: { strategy: "pct", depth: 3, schedules: 2000 },
});

export const syncKilledWrite = volumeStory({
  name: "dax-sync-killed-write",
  about:
    "As dax-sync-killed-pin, but the thread dies in a write call. What it was about to write may be " +
    "missing; the other file's bytes are not there.",
  from: "DESIGN.md 5.6, invariant 8: never another file's bytes; dax/file-io.ts, allocateFor",
  blocks: 1,
  synced: true,
  files: [
    { name: "A", pages: "." },
    { name: "B", pages: "=" },
  ],
  actors: {
    *write(volume, self) {
      yield* truncate(volume, self, "B");
      yield* writePages(volume, self, "A", 0, 1, "W");
    },
    *next(volume, self) {
      yield* sync(volume, self);
      if (!volume.isKilled("write")) return;
      yield* sync(volume, self);
      const block = volume.blockHeld(volume.file("A"), 0);
      const found = block < 0 ? 0 : volume.persistent(block);
      ensure(found !== contentOf("B"), "file A has the bytes of file B on the device");
    },
  },
  environment: { kill: { kill: "write" } },
  explore: { strategy: "pct", depth: 3, schedules: 2000 },
});

/** The last page of a file has been written and is noted. It moves, and the thread that moves it dies. */
function killedMove(
  name: string,
  what: string,
  pages: string,
  move: (task: Task, dax: Dax, mapping: Mapping) => Sleeps<void>,
): Scenario<VolumeShared, Volume> {
  return volumeStory({
    name: `dax-sync-killed-${name}`,
    about:
      `The last page of a file has been written and is noted. A thread ${what}, and dies at any ` +
      "point. Wherever the page lies then, it is persistent after a write-back.",
    from: "kernel-facts.md, hazard H2; dax/layout-change.ts, noteMoved",
    blocks: pages.length,
    synced: "noted",
    files: [{ name: "A", pages }],
    actors: {
      *move(volume, self) {
        yield* move(self.task, volume.dax(self), volume.file("A").mapping);
      },
      *next(volume, self) {
        yield* volume.read(self, volume.file("A"), 0, 1);
        if (!volume.isKilled("move")) return;
        yield* volume.read(self, volume.file("A"), 0, 1);
        yield* syncsAll(volume, self);
      },
    },
    environment: { kill: { kill: "move" } },
    explore: { strategy: "bounded", preemptions: 1 },
  });
}

export const syncKilledInsert = killedMove(
  "insert",
  "puts a hole before it",
  "=",
  (task, dax, mapping) => insertRange(task, dax, mapping, 0, PAGE_SIZE),
);

export const syncKilledCollapse = killedMove(
  "collapse",
  "cuts the page before it out",
  "==",
  (task, dax, mapping) => collapseRange(task, dax, mapping, 0, PAGE_SIZE),
);
