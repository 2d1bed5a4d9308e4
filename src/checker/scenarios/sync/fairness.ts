/** The shared/exclusive lock: neither side starves. */
import { lockExclusive, lockShared } from "../../../sync/lock.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self, scenario } from "../../scenario.ts";
import { type Locks, onSharedPage, unlessAborted } from "../../world/locks.ts";

const ROUNDS = 2;

/** Reads again and again, each time noting whether a writer was waiting before. */
function* readAgain(locks: Locks, self: Self): Sleeps<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const behind = locks.waiting("exclusive") > 0;
    if (behind) self.say("sees that a writer waits");
    using _held = yield* lockShared(self.task, locks.lock(), locks.name());
    self.say("has the lock, shared");
    const overtook = behind && locks.room.entriesAlone === 0;
    ensure(!overtook, "a reader that came after the waiting writer went before it");
    locks.look(self);
  }
}

/** Readers without end, and a writer. */
export const writerAmongReaders = scenario({
  ...onSharedPage(3),
  name: "writer-among-readers",
  about:
    "Two threads take a lock shared again and again, while a third wants it exclusively. Once the " +
    "writer waits, no reader that comes goes before it.",
  from: "sync/lock.ts, rule 3; DESIGN.md 5.4: continuous new pins must not starve a break",
  actors: {
    reader: readAgain,
    "reader-2": readAgain,
    writer: (locks, self) => locks.write(self),
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

/** The lock, with what the writers have seen of the reader. */
interface Queue extends Locks {
  /** Somebody has seen it wait. */
  readerSeen?: boolean;
  /** Writers that got in since. */
  overtaken?: number;
}

/** Writes again and again, each time noting whether the reader was waiting before. */
function* writeAgain(locks: Queue, self: Self): Sleeps<void> {
  for (let round = 0; round < ROUNDS; round++) {
    if (locks.waiting("shared") > 0) {
      self.say("sees that the reader waits");
      locks.readerSeen = true;
    }
    using _held = yield* lockExclusive(self.task, locks.lock(), locks.name());
    self.say("has the lock, exclusively");
    if (locks.readerSeen === true && locks.room.entriesShared === 0) {
      locks.overtaken = (locks.overtaken ?? 0) + 1;
      ensure(locks.overtaken <= 1, "two writers went before a reader that was waiting");
    }
    locks.change(self);
  }
}

/** Writers without end, and a reader. */
export const readerAmongWriters = scenario({
  ...onSharedPage(3),
  name: "reader-among-writers",
  about:
    "Two threads take a lock exclusively again and again, while a third wants it shared. At most one " +
    "writer goes before the waiting reader: the one that it queued behind.",
  from: "sync/lock.ts, rule 3: the batch goes before the next exclusive one",
  actors: {
    writer: writeAgain,
    "writer-2": writeAgain,
    reader: (locks, self) => locks.read(self),
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

/** The lock, with what is known of a reader of the batch. */
interface Batch extends Locks {
  /** It waited when the exclusive holder left. */
  readerWaited?: boolean;
  readerIn?: boolean;
}

/** A reader that came after the batch gives up. */
export const latecomerGivesUp = scenario({
  ...onSharedPage(3, (locks) => locks.give("holder", "exclusive")),
  name: "latecomer-gives-up",
  about:
    "A thread leaves a lock that it had exclusively, with a reader waiting, who goes before the waiting " +
    "writer. Then it wants the lock shared, and gives up at any point. The reader still goes first.",
  from: "sync/lock.ts, rules 3 and 4: who belongs to the batch",
  actors: {
    *holder(locks: Batch, self) {
      if (locks.waiting("shared") > 0) {
        self.say("sees that the reader waits");
        locks.readerWaited = true;
      }
      locks.finish(self);
      yield* unlessAborted(self, () => locks.read(self));
    },
    *reader(locks: Batch, self) {
      using _held = yield* lockShared(self.task, locks.lock(), locks.name());
      self.say("has the lock, shared");
      locks.readerIn = true;
      locks.look(self);
    },
    *writer(locks: Batch, self) {
      using _held = yield* lockExclusive(self.task, locks.lock(), locks.name());
      self.say("has the lock, exclusively");
      const overtook = locks.readerWaited === true && locks.readerIn !== true;
      ensure(!overtook, "the writer went before a reader of the batch");
      locks.change(self);
    },
  },
  environment: { interrupt: { abort: "holder" } },
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});
