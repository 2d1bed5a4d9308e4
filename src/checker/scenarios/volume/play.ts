/** What the stories of inodes in use share. */
import { HoldfastError } from "../../../base/errors.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import type { Scenario, Self } from "../../scenario.ts";
import { buildInodes, Inodes, type InodesShared, type InodesSpec } from "../../world/inodes.ts";
import { type Story, storyIn } from "../../world/plots.ts";

type InodeStory = Story<InodesShared, Inodes> & Omit<InodesSpec, "actors">;

export function inodeStory(story: InodeStory): Scenario<InodesShared, Inodes> {
  return storyIn(
    {
      build: (actors) => buildInodes({ ...story, actors }),
      begin: (shared, actors) => new Inodes(shared, actors),
    },
    { explore: { strategy: "bounded", preemptions: 2 }, ...story },
  );
}

/** Opens a file, if there is one of this name, uses it, and closes it. */
export function* openAndClose(inodes: Inodes, self: Self, name = "A"): Sleeps<void> {
  const reference = yield* inodes.find(self, name);
  if (reference === null) return;
  self.say(`uses ${name}, inode ${reference.ino}`);
  inodes.use(self, reference);
  yield* inodes.close(self, reference);
}

/** Makes a file, uses it, and closes it. */
export function* makeAndClose(inodes: Inodes, self: Self, name: string): Sleeps<void> {
  const reference = yield* inodes.make(self, name);
  inodes.use(self, reference);
  yield* inodes.close(self, reference);
}

/** Finds who is dead, and frees what they had dropped last. */
export function* reapAndSettle(inodes: Inodes, self: Self): Sleeps<void> {
  self.thread.reap();
  yield* inodes.settle(self);
}

/** Opens a file, or is told that the volume is closed. */
export function* openUnlessClosed(inodes: Inodes, self: Self): Sleeps<void> {
  try {
    yield* openAndClose(inodes, self);
  } catch (error) {
    if (!(error instanceof HoldfastError && error.code === "EBADF")) throw error;
    self.say("is refused");
  }
}
