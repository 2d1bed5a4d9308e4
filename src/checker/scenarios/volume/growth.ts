/** A volume is made larger while others use it: who sees how large it is, and when; deaths and failures on the way. */
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Scenario, type Self } from "../../scenario.ts";
import { buildGrowth, GrowableVolume } from "../../world/growth.ts";
import { codeOf, type JournalShared } from "../../world/journal.ts";
import { type Story, storyIn } from "../../world/plots.ts";
import { isDead } from "../../world/threads.ts";

function growthStory(
  story: Story<JournalShared, GrowableVolume>,
): Scenario<JournalShared, GrowableVolume> {
  return storyIn(
    {
      build: buildGrowth,
      begin: (shared, actors) => new GrowableVolume(shared, actors),
      watch: { groups: (volume) => volume.groupsCommitted() },
    },
    story,
  );
}

const growTo =
  (groups: number) =>
  (volume: GrowableVolume, self: Self): Sleeps<void> =>
    volume.grow(self, groups);

const look = (volume: GrowableVolume, self: Self): void => volume.look(self);
const lookInto = (volume: GrowableVolume, self: Self): void => volume.lookInto(self);

function* allocate(volume: GrowableVolume, self: Self): Sleeps<void> {
  yield* volume.allocate(self);
  volume.look(self);
}

/** Takes a block, and has that made durable. */
function* allocateAndCommit(volume: GrowableVolume, self: Self): Sleeps<void> {
  const took = yield* volume.allocate(self);
  if (took) yield* volume.journaled.journal(self).commit(self.task);
}

export const growBesideAllocator = growthStory({
  name: "grow-beside-allocator",
  about:
    "A volume is made larger while another thread takes blocks: more than there were. It gets those of the new " +
    "group when they are committed, and from then on always.",
  from: "drivers/ext/resize/volume-size.ts, rule 1; volume/grow.ts",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: { grower: growTo(2), allocator: [allocate, allocate, allocate] },
});

export const growSeen = growthStory({
  name: "grow-seen",
  about:
    "A volume is made larger twice while another thread looks how large it is, without a lock, and into its last " +
    "group. The size that it sees was committed, and never gets smaller.",
  from: "drivers/ext/resize/volume-size.ts, rule 1; Volume.size",
  explore: { strategy: "bounded", preemptions: 2 },
  actors: { grower: [growTo(2), growTo(3)], reader: [lookInto, lookInto, lookInto] },
});

/** Fails to grow to two groups, and grows to three. */
function* growInVain(volume: GrowableVolume, self: Self): Sleeps<void> {
  volume.failing.add(self);
  const code = yield* codeOf(() => volume.grow(self, 2));
  ensure(code === "EIO", `a step that fails ends with "${code}"`);
  yield* volume.grow(self, 3);
}

export const growUndone = growthStory({
  name: "grow-undone",
  about:
    "A step of a growth fails when it has changed all, and is undone. Then the volume is made larger by more at once, so that " +
    "its groups lie elsewhere. Nobody has seen the first one: neither who looks without a lock, nor who takes blocks.",
  from: "drivers/ext/resize/volume-size.ts, rule 1",
  explore: { strategy: "bounded", preemptions: 2 },
  actors: { grower: growInVain, other: [lookInto, lookInto, allocate] },
  finally: (volume) =>
    ensure(
      volume.groupsCommitted() === 3,
      `the volume has ${volume.groupsCommitted()} groups, not 3`,
    ),
});

/** Grows, where another thread may be about it, or have made the volume larger than that. Returns the error's code. */
function* tryToGrow(volume: GrowableVolume, self: Self, groups: number): Sleeps<string> {
  const code = yield* codeOf(() => volume.grow(self, groups));
  if (code !== "") self.say(`is refused: ${code}`);
  volume.look(self);
  return code;
}

/** Grows to two groups, unless another thread does so, or has grown further. */
function* growIfSmaller(volume: GrowableVolume, self: Self): Sleeps<void> {
  const code = yield* tryToGrow(volume, self, 2);
  ensure(["", "EBUSY", "EINVAL"].includes(code), `growing ends with "${code}"`);
  ensure(code !== "EINVAL" || volume.facts(self).bitmaps.length === 3, "it is not larger");
}

/** Grows to three groups, where another thread may be about it: not when that is dead. */
function* growAfterDeath(volume: GrowableVolume, self: Self): Sleeps<void> {
  const others = volume.actors.filter((other) => other !== self);
  const isAlone = others.every(({ thread }) => isDead(thread));
  const code = yield* tryToGrow(volume, self, 3);
  ensure(code === "" || (code === "EBUSY" && !isAlone), `growing ends with "${code}"`);
}

export const growDies = growthStory({
  name: "grow-dies",
  about:
    "A thread dies at any point while it makes a volume larger. What is left is the old size or the new one, and " +
    "another thread makes the volume larger still, and takes blocks.",
  from: "drivers/ext/resize/volume-size.ts, rules 1 to 3",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: { dying: growIfSmaller, other: [lookInto, growAfterDeath, allocate, allocate] },
  environment: { death: { kill: "dying" } },
});

export const growPersistFails = growthStory({
  name: "grow-persist-fails",
  about:
    "The device fails when a growth is made durable. The journal is given up: who grows is told so, and another thread " +
    "takes blocks of what there is, or is told that the volume is read-only. A crash leaves the old size or the new one.",
  from: "volume/grow.ts; metadata/journal.ts, abort",
  explore: { strategy: "bounded", preemptions: 1 },
  prepare: (volume) => volume.journaled.medium.failFor(volume.actors[0]!.thread),
  actors: {
    *grower(volume, self) {
      const code = yield* codeOf(() => volume.grow(self, 2));
      ensure(code === "EIO" || code === "EROFS" || code === "", `growing ends with "${code}"`);
      const wasGivenUp = volume.journaled.journal(self).isAborted;
      const again = yield* codeOf(() => volume.grow(self, 3));
      const isRefused = again === "EROFS" && !volume.hasRoomFor(self, 3);
      ensure(!wasGivenUp || isRefused, `growing again ends with "${again}"`);
    },
    *other(volume, self) {
      const code = yield* codeOf(() => allocateAndCommit(volume, self));
      ensure(code === "" || code === "EROFS", `taking a block ends with "${code}"`);
      look(volume, self);
    },
  },
});

export const growByTwo = growthStory({
  name: "grow-by-two",
  about:
    "Two threads make a volume larger, one of them more than the other one. One does so at a time: the other one is told who " +
    "does, or comes later, or is told that the volume is larger than that already.",
  from: "drivers/ext/resize/volume-size.ts, rule 2",
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    less: growIfSmaller,
    *more(volume, self) {
      const code = yield* tryToGrow(volume, self, 3);
      ensure(["", "EBUSY"].includes(code), `growing ends with "${code}"`);
      if (code === "") ensure(volume.facts(self).bitmaps.length === 3, "it has not grown");
    },
  },
  finally: (volume) => ensure(volume.groupsCommitted() > 1, "nobody has made the volume larger"),
});

export const growWithoutRoom = growthStory({
  name: "grow-without-room",
  about:
    "The device has no room for what a volume is to have. Nothing has changed then, and another thread can make the volume " +
    "larger, and so can the same one.",
  from: "volume/grow-steps.ts",
  explore: { strategy: "bounded", preemptions: 2 },
  prepare: (volume) => volume.confined.add(volume.actors[0]!),
  actors: {
    *first(volume, self) {
      const code = yield* tryToGrow(volume, self, 3);
      ensure(code === "ENOSPC" || code === "EBUSY", `growing ends with "${code}"`);
    },
    *second(volume, self) {
      const code = yield* tryToGrow(volume, self, 2);
      ensure(code === "" || code === "EBUSY", `growing ends with "${code}"`);
      const again = yield* tryToGrow(volume, self, 2);
      ensure(again === "" || again === "EBUSY", `growing ends with "${again}"`);
    },
  },
});
