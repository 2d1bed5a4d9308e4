/** Inodes in use: their records are found, made, left and freed by several threads at once. */
import { ensure } from "../../scenario.ts";
import { inodeStory, makeAndClose, openAndClose, openUnlessClosed, reapAndSettle } from "./play.ts";

export const inodeRecordMade = inodeStory({
  name: "inode-record-made",
  about:
    "Two threads open a file that nobody has opened yet. Both read the inode; one record stays, and both " +
    "use it.",
  from: "volume/inodes.ts, invariant 2",
  names: ["A"],
  fresh: true,
  actors: { first: openAndClose, second: openAndClose },
});

export const inodeUnlinkedInUse = inodeStory({
  name: "inode-unlinked-in-use",
  about:
    "A file loses its last name while another thread opens and uses it. It stays until it is closed; " +
    "whoever is the last one frees it, once.",
  from: "unlink(2)",
  names: ["A"],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: { user: openAndClose, unlink: (inodes, self) => inodes.unlink(self, "A") },
  finally: (inodes) => ensure(!inodes.has("A"), "the name is still there"),
});

export const inodeUsedAgain = inodeStory({
  name: "inode-used-again",
  about:
    "A file without a name is freed while another thread makes a file, which may get its number. Who " +
    "opens the new one waits until the record of the old one has left.",
  from: "volume/inodes.ts, invariant 3",
  names: ["A"],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    unlink: (inodes, self) => inodes.unlink(self, "A"),
    make: (inodes, self) => makeAndClose(inodes, self, "B"),
  },
  finally: (inodes) => ensure(inodes.has("B"), "the new file is not there"),
});

export const inodeLinkedAgain = inodeStory({
  name: "inode-linked-again",
  about:
    "A file that has lost its name gets one again from somebody who has it open, as linkat(2) gives one " +
    "by a descriptor. It stays.",
  from: "linkat(2), AT_EMPTY_PATH",
  names: ["A"],
  actors: {
    *holder(inodes, self) {
      const reference = yield* inodes.find(self, "A");
      if (reference === null) return;
      yield* inodes.unlink(self, "A");
      yield* inodes.link(self, reference, "B");
      yield* inodes.close(self, reference);
    },
    opener: (inodes, self) => openAndClose(inodes, self, "B"),
  },
  finally: (inodes) => ensure(inodes.has("B"), "the file has gone"),
});

export const inodeStaleRecord = inodeStory({
  name: "inode-stale-record",
  about:
    "A thread changes how a file is to be reached: its record leaves with its last user. Another one " +
    "opens the file for the first time meanwhile, and has read the inode before the change.",
  from: "volume/inodes.ts, invariant 4; volume/access.ts",
  names: ["A"],
  fresh: true,
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *changer(inodes, self) {
      const reference = yield* inodes.find(self, "A");
      if (reference === null) return;
      yield* inodes.flag(self, reference, true);
      yield* inodes.close(self, reference);
    },
    opener: openAndClose,
  },
});

export const inodeSyncWhileLeaving = inodeStory({
  name: "inode-sync-while-leaving",
  about:
    "A page of a copied file was written to, and the file's record is taken out of memory. The whole volume is " +
    "written back meanwhile: what was written is persistent when that returns, whoever copied it home.",
  from: "dax/write-back.ts, writeBackCopied; sync(2), and evict_inodes beside it",
  names: ["A"],
  copied: true,
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *user(inodes, self) {
      const reference = yield* inodes.find(self, "A");
      if (reference === null) return;
      yield* inodes.write(self, reference);
      yield* inodes.flag(self, reference, true);
      yield* inodes.close(self, reference);
    },
    *sync(inodes, self) {
      yield* inodes.sync(self);
      yield* inodes.settle(self);
    },
  },
});

export const inodeVolumeCloses = inodeStory({
  name: "inode-volume-closes",
  about:
    "The volume refuses new users while a thread opens a file. It has opened it, and is seen, or it is " +
    "told that the volume is closed.",
  from: "volume/state.ts, rule 1",
  names: ["A"],
  explore: { strategy: "bounded", preemptions: 3 },
  actors: {
    opener: openUnlessClosed,
    closer: (inodes, self) => inodes.closeForAMoment(self),
  },
});

export const inodeUserDies = inodeStory({
  name: "inode-user-dies",
  about:
    "The last user of a file without a name dies at any point. Its reference is given back, and another " +
    "thread frees the file.",
  from: "DESIGN.md 2, decision 4",
  names: ["A"],
  actors: {
    user: openAndClose,
    *unlink(inodes, self) {
      yield* inodes.unlink(self, "A");
      yield* reapAndSettle(inodes, self);
    },
  },
  environment: { kill: { kill: "user" } },
  finally: (inodes) => ensure(!inodes.has("A"), "the name is still there"),
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

export const inodeUnlinkDies = inodeStory({
  name: "inode-unlink-dies",
  about:
    "The thread that takes a file's last name away, and frees it, dies at any point: the file is there as " +
    "it was, with its name, or it is gone. Another thread makes a file meanwhile, perhaps of the same number.",
  from: "volume/inodes.ts, invariant 3; several-processes.md",
  names: ["A"],
  actors: {
    unlink: (inodes, self) => inodes.unlink(self, "A"),
    make: (inodes, self) => makeAndClose(inodes, self, "B"),
  },
  environment: { kill: { kill: "unlink" } },
  finally(inodes) {
    ensure(inodes.has("B"), "the new file is not there");
    if (!inodes.isKilled("unlink")) ensure(!inodes.has("A"), "the name is still there");
  },
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});
