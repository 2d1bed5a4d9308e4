/** Inodes that a kernel was told of by several threads, and gives back to any of them. */
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Inodes } from "../../world/inodes.ts";
import { inodeStory } from "./play.ts";

/** Tells the kernel of the file; as long as it knows of it, it is in use without a reference. */
function* serve(inodes: Inodes, self: Self): Sleeps<void> {
  const reference = yield* inodes.find(self, "A");
  if (reference === null) return;
  self.say("tells the kernel of A");
  yield* inodes.tell(self, reference);
  inodes.use(self, reference);
  yield* inodes.forget(self, reference);
}

export const inodeLookups = inodeStory({
  name: "inode-lookups",
  about:
    "Two threads tell the kernel of a file, and it gives back what it was told. The reference that one of them " +
    "has lent for both stays until the last is given back, by whom it may be, and not longer.",
  from: "volume/lookups.ts",
  names: ["A"],
  explore: { strategy: "bounded", preemptions: 2 },
  actors: { first: serve, second: serve },
});

export const inodeLookupsUnlinked = inodeStory({
  name: "inode-lookups-unlinked",
  about:
    "A file that the kernel was told of loses its last name. It stays as long as the kernel knows of it; then it is " +
    "freed, once.",
  from: "volume/lookups.ts, rule 2",
  names: ["A"],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: { first: serve, second: serve, unlink: (inodes, self) => inodes.unlink(self, "A") },
  finally: (inodes) => ensure(!inodes.has("A"), "the name is still there"),
});

export const inodeLookupsServerEnds = inodeStory({
  name: "inode-lookups-server-ends",
  about:
    "A thread that has told the kernel of a file serves no more, and gives back what it has lent, while another one " +
    "gives back lookups of the file. It is done once.",
  from: "volume/lookups.ts, rule 2",
  names: ["A"],
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    *ending(inodes, self) {
      const reference = yield* inodes.find(self, "A");
      yield* inodes.tell(self, reference!);
      yield* inodes.endServing(self);
    },
    *other(inodes, self) {
      const reference = yield* inodes.find(self, "A");
      yield* inodes.forget(self, reference!);
      inodes.use(self, reference!);
      yield* inodes.close(self, reference!);
    },
  },
});

export const inodeLookupsLenderDies = inodeStory({
  name: "inode-lookups-lender-dies",
  about:
    "A thread dies that serves the kernel, at any point. What it has lent is given back once: by who gives back the " +
    "last lookup, or by who finds it dead.",
  from: "volume/lookups.ts, rule 3",
  names: ["A"],
  actors: {
    first: serve,
    *second(inodes, self) {
      const reference = yield* inodes.find(self, "A");
      const again = reference!.again();
      yield* inodes.tell(self, reference!);
      yield* inodes.forget(self, again);
      inodes.use(self, again);
      yield* inodes.close(self, again);
    },
    *finder(inodes, self) {
      self.thread.reap();
      yield* inodes.settle(self);
    },
  },
  environment: { kill: { kill: "first" } },
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});
