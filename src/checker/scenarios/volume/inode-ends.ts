/** How the records of inodes leave: with their last user, when there are too many, at unmount, by dead threads. */
import { HoldfastError } from "../../../base/errors.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Inodes } from "../../world/inodes.ts";
import { inodeStory, openAndClose, openUnlessClosed, reapAndSettle } from "./play.ts";

/** Opens a file, if it can be had at once. */
function* tryAndClose(inodes: Inodes, self: Self): Sleeps<void> {
  const reference = inodes.tryFind(self, "A");
  if (reference === null) return;
  inodes.use(self, reference);
  yield* inodes.close(self, reference);
}

/** Is to free a file without a name, and the driver cannot. Returns whether it was told. */
function* failToFree(inodes: Inodes, self: Self): Sleeps<boolean> {
  inodes.fail(self);
  try {
    yield* inodes.settle(self);
    self.say("leaves it to the other one");
    return false;
  } catch (error) {
    if (!(error instanceof HoldfastError && error.code === "EIO")) throw error;
    self.say("is told");
    return true;
  }
}

export const inodeReferencedAgain = inodeStory({
  name: "inode-referenced-again",
  about:
    "Of two references of a file the first one is given back, and the file's record is to go with its last " +
    "user. It stays for the second one, also when the first one is given back again.",
  from: "volume/inodes.ts, invariant 1",
  names: ["A"],
  stale: ["A"],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(inodes, self) {
      const reference = yield* inodes.find(self, "A");
      const again = reference!.again();
      yield* inodes.close(self, reference!);
      yield* inodes.close(self, reference!);
      inodes.use(self, again);
      yield* inodes.close(self, again);
    },
    opener: openAndClose,
  },
});

export const inodeBucketShared = inodeStory({
  name: "inode-bucket-shared",
  about:
    "The records of several files are in one bucket. One leaves from between the others, which are found as " +
    "before.",
  from: "volume/inodes.ts, invariant 2",
  names: ["A", "B", "C"],
  fresh: true,
  buckets: 1,
  actors: {
    *opener(inodes, self) {
      for (const name of ["A", "B", "C"]) yield* openAndClose(inodes, self, name);
      const { records } = inodes.count(self);
      ensure(records === 3, `there are ${records} records of 3 files`);
      const reference = yield* inodes.find(self, "B");
      yield* inodes.flag(self, reference!, true);
      yield* inodes.close(self, reference!);
      for (const name of ["A", "C"]) {
        const found = inodes.tryFind(self, name);
        ensure(found !== null, `${name} has no record any more`);
        yield* inodes.close(self, found);
      }
    },
  },
});

export const inodeEvicted = inodeStory({
  name: "inode-evicted",
  about:
    "A file's record, which has entries, is to go: a thread takes them out of the file and the record out " +
    "of the table. Others open the file meanwhile: one waits until the record has left, one does not.",
  from: "volume/inodes.ts, invariant 2",
  names: ["A"],
  stale: ["A"],
  present: ["A"],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    settler: (inodes, self) => inodes.settle(self),
    opener: openAndClose,
    trier: tryAndClose,
  },
});

export const inodeEvictedByUser = inodeStory({
  name: "inode-evicted-by-user",
  about:
    "The last user of a file whose record is to go takes out its entries himself, or another one who opens it " +
    "meanwhile is the last.",
  from: "volume/inodes.ts, invariant 2",
  names: ["A"],
  stale: ["A"],
  present: ["A"],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: { first: openAndClose, second: openAndClose },
});

export const inodesKept = inodeStory({
  name: "inodes-kept",
  about:
    "More records are idle than are kept: one of them leaves, with or without entries, and none that " +
    "somebody uses.",
  from: "volume/inodes.ts",
  names: ["A", "B", "C", "D"],
  present: ["B"],
  fresh: true,
  idleMax: 1,
  actors: {
    *user(inodes, self) {
      const used = yield* inodes.find(self, "A");
      for (const name of ["B", "C", "D", "B"]) {
        yield* openAndClose(inodes, self, name);
        const { records, idle } = inodes.count(self);
        ensure(records === 2 && idle === 1, `${idle} of ${records} records are idle`);
      }
      inodes.use(self, used!);
      yield* inodes.close(self, used!);
    },
  },
});

export const inodesCounted = inodeStory({
  name: "inodes-counted",
  about: "A thread counts the records there are, while others open files for the first time.",
  from: "volume/volume.ts, statistics",
  names: ["A", "B"],
  fresh: true,
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    first: openAndClose,
    second: (inodes, self) => openAndClose(inodes, self, "B"),
    counter(inodes, self) {
      const { records } = inodes.count(self);
      ensure(records <= 2, `there are ${records} records of 2 files`);
    },
  },
});

export const inodeUnmounted = inodeStory({
  name: "inode-unmounted",
  about:
    "An unmount takes everything out of memory. What has lost its name is freed, also where nobody has used " +
    "it since the mount: files, directories and symlinks. What has a name stays as it is.",
  from: "volume/close.ts",
  names: ["A", "B", "C", "D", "E", "F", "G"],
  types: { B: "symlink", C: "directory", E: "symlink", F: "directory" },
  nameless: ["A", "B", "C"],
  fresh: true,
  actors: {
    *closer(inodes, self) {
      for (const name of ["D", "E", "F", "G"]) yield* openAndClose(inodes, self, name);
      yield* inodes.unmount(self);
      yield* openAndClose(inodes, self, "G");
    },
  },
});

export const inodeReadOnly = inodeStory({
  name: "inode-read-only",
  about: "A file without a name stays on a volume that is only read, and its record leaves.",
  from: "mount(8), ro",
  names: ["A", "B"],
  nameless: ["A"],
  readOnly: true,
  actors: { settler: (inodes, self) => inodes.settle(self) },
});

export const inodeFreeingFails = inodeStory({
  name: "inode-freeing-fails",
  about:
    "The driver cannot free a file without a name for one thread, which is told. Another one, which has " +
    "waited for it, uses the file, and frees it, or leaves it to the unmount.",
  from: "volume/inodes.ts, leaving -> idle",
  names: ["A"],
  nameless: ["A"],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *second(inodes, self) {
      const reference = yield* inodes.findNameless(self);
      inodes.use(self, reference);
      yield* inodes.close(self, reference);
    },
    first: failToFree,
  },
});

export const inodesFreeingFails = inodeStory({
  name: "inodes-freeing-fails",
  about:
    "The driver can free none of two files without a name. Who is to free them is told, and can go on.",
  from: "volume/inodes.ts, leaving -> idle",
  names: ["A", "B"],
  nameless: ["A", "B"],
  actors: {
    unmounter() {},
    *user(inodes, self) {
      ensure(yield* failToFree(inodes, self), "nobody tells that the files are not free");
      const { records, idle } = inodes.count(self);
      ensure(records === 2 && idle === 2, `${idle} of ${records} records are idle`);
    },
  },
});

export const inodeLeftToOthers = inodeStory({
  name: "inode-left-to-others",
  about:
    "A thread that never settles uses a file whose record is to go, and leaves it to others. One of them " +
    "takes it out, whenever it looks.",
  from: "volume/core.ts, leavesToOthers",
  names: ["A"],
  present: ["A"],
  stale: ["A"],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    settler: (inodes, self) => inodes.settle(self),
    *user(inodes, self) {
      const reference = yield* inodes.find(self, "A");
      reference!.release();
      inodes.leaveToOthers(self);
    },
  },
});

export const inodesDoomed = inodeStory({
  name: "inodes-doomed",
  about:
    "A thread looks for records that should be gone. Meanwhile one that it has come to leaves, and is " +
    "made another inode's, in another bucket. It misses none of those behind it.",
  from: "volume/inodes.ts, the guard",
  names: ["A", "B", "C", "D"],
  types: { A: "symlink", B: "symlink", C: "symlink", D: "symlink" },
  nameless: ["A"],
  stale: ["B", "C"],
  fresh: ["D"],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    settler: (inodes, self) => inodes.settle(self),
    *user(inodes, self) {
      for (const name of ["B", "D", "C"]) yield* openAndClose(inodes, self, name);
    },
  },
});

export const inodeBucketChanges = inodeStory({
  name: "inode-bucket-changes",
  about:
    "A record leaves its bucket while another one is put there, by who opens a file for the first time.",
  from: "volume/inodes.ts, invariant 2",
  names: ["A", "B"],
  types: { A: "symlink", B: "symlink" },
  nameless: ["A"],
  fresh: ["B"],
  buckets: 1,
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    settler: (inodes, self) => inodes.settle(self),
    opener: (inodes, self) => openAndClose(inodes, self, "B"),
  },
});

export const inodeWaitedFor = inodeStory({
  name: "inode-waited-for",
  about: "A record leaves the table. Who opens the file waits for it, and makes a new one.",
  from: "volume/inodes.ts, invariant 2",
  names: ["A"],
  types: { A: "symlink" },
  stale: ["A"],
  explore: { strategy: "bounded", preemptions: 3 },
  actors: { settler: (inodes, self) => inodes.settle(self), opener: openAndClose },
});

export const inodesKeptBesideUser = inodeStory({
  name: "inodes-kept-beside-user",
  about:
    "More records are idle than are kept, and the first one of their bucket is in use. Another one leaves.",
  from: "volume/inodes.ts",
  names: ["A", "B", "C"],
  fresh: true,
  buckets: 1,
  idleMax: 1,
  actors: {
    *user(inodes, self) {
      const first = yield* inodes.find(self, "A");
      const second = yield* inodes.find(self, "B");
      const used = yield* inodes.find(self, "C");
      yield* inodes.close(self, first!);
      yield* inodes.close(self, second!);
      const again = inodes.tryFind(self, "C");
      ensure(again !== null, "the record of C has gone, and C is in use");
      yield* inodes.close(self, again);
      yield* inodes.close(self, used!);
    },
  },
});

export const inodeRefusedLate = inodeStory({
  name: "inode-refused-late",
  about:
    "The volume refuses new users while a thread opens a file for the first time. It has read the inode " +
    "when it is told.",
  from: "volume/state.ts, rule 1",
  names: ["A"],
  fresh: true,
  actors: {
    opener: openUnlessClosed,
    closer: (inodes, self) => inodes.closeForAMoment(self),
  },
});

export const inodeEvictorDies = inodeStory({
  name: "inode-evictor-dies",
  about:
    "A thread dies while it takes a record out, for which another one waits: that opens the file. Whoever " +
    "notices the death takes the record out.",
  from: "volume/inodes.ts, leaving -> idle",
  names: ["A"],
  stale: ["A"],
  present: ["A"],
  actors: {
    settler: (inodes, self) => inodes.settle(self),
    opener: openAndClose,
    reaper: reapAndSettle,
  },
  environment: { kill: { kill: "settler" } },
  explore: { strategy: "pct", depth: 3, schedules: 1000 },
});

export const inodeFreeingDies = inodeStory({
  name: "inode-freeing-dies",
  about:
    "A thread dies while it frees a file without a name. The file is free with its record, or whoever " +
    "notices the death frees it.",
  from: "volume/inodes.ts, invariant 3",
  names: ["A", "B"],
  types: { A: "symlink" },
  nameless: ["A"],
  buckets: 1,
  explore: { strategy: "bounded", preemptions: 1 },
  actors: { bystander() {}, settler: (inodes, self) => inodes.settle(self) },
  environment: { kill: { kill: "settler" } },
});

export const inodeFailingDies = inodeStory({
  name: "inode-failing-dies",
  about:
    "The driver cannot free a file without a name for a thread, which dies. Whoever notices the death frees " +
    "the file.",
  from: "volume/inodes.ts, leaving -> idle",
  names: ["A"],
  types: { A: "symlink" },
  nameless: ["A"],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: { bystander() {}, failing: failToFree },
  environment: { kill: { kill: "failing" } },
});

export const inodeEvictorNoticed = inodeStory({
  name: "inode-evictor-noticed",
  about:
    "A thread dies while it takes a record out. Another one notices, and a third one looks meanwhile for what " +
    "should be gone.",
  from: "volume/inodes.ts, leaving -> idle",
  names: ["A"],
  types: { A: "symlink" },
  stale: ["A"],
  actors: {
    settler: (inodes, self) => inodes.settle(self),
    reaper: (_inodes, self) => self.thread.reap(),
    other: (inodes, self) => inodes.settle(self),
  },
  environment: { kill: { kill: "settler" } },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const inodeWindowOfTheDead = inodeStory({
  name: "inode-window-of-the-dead",
  about:
    "A thread that has a window over a file dies, and nothing else is left of it. More records are idle than " +
    "are kept: with the file's record the window goes.",
  from: "volume/inodes.ts; window/window.ts, pruneDead",
  names: ["A", "B"],
  fresh: ["A"],
  idleMax: 0,
  buckets: 5,
  actors: {
    *owner(inodes, self) {
      const reference = yield* inodes.find(self, "A");
      yield* inodes.mapped(self, reference!, () => inodes.use(self, reference!));
      yield* inodes.close(self, reference!);
    },
    *user(inodes, self) {
      yield* openAndClose(inodes, self, "B");
      if (!inodes.isKilled("owner")) return;
      self.thread.reap();
      yield* openAndClose(inodes, self, "B");
      yield* openAndClose(inodes, self, "B");
      yield* inodes.unmount(self);
    },
  },
  environment: { kill: { kill: "owner" } },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const inodeFlagSetBack = inodeStory({
  name: "inode-flag-set-back",
  about:
    "How a file is to be reached is changed and changed back while it is in use: its record stays, since it " +
    "says what is so.",
  from: "volume/inodes.ts, invariant 4; volume/access.ts",
  names: ["A"],
  actors: {
    *changer(inodes, self) {
      const reference = yield* inodes.find(self, "A");
      yield* inodes.flag(self, reference!, true);
      yield* inodes.flag(self, reference!, false);
      yield* inodes.close(self, reference!);
      const { records } = inodes.count(self);
      ensure(records === 1, "the record has gone");
    },
  },
});

export const inodesDoomedByTheDead = inodeStory({
  name: "inodes-doomed-by-the-dead",
  about:
    "A thread dies while it takes a record out. Whoever notices looks through the table for it, in which another " +
    "record leaves meanwhile, and is made another inode's, in another bucket. It is found all the same.",
  from: "volume/inodes.ts, the guard",
  names: ["A", "B", "C", "D"],
  types: { A: "symlink", B: "symlink", C: "symlink", D: "symlink" },
  nameless: ["A"],
  stale: ["B", "C"],
  fresh: ["D"],
  actors: {
    settler: (inodes, self) => inodes.settle(self),
    reaper: (_inodes, self) => self.thread.reap(),
    *user(inodes, self) {
      for (const name of ["B", "D", "C"]) yield* openAndClose(inodes, self, name);
    },
  },
  environment: { kill: { kill: "settler" } },
  explore: { strategy: "pct", depth: 3, schedules: 4000 },
});
