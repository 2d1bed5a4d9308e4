/** The shared/exclusive lock: who is inside with whom, and who is woken when one leaves. */
import { InvariantError } from "../../../base/invariant.ts";
import {
  lockExclusive,
  lockMutex,
  lockShared,
  tryLockExclusive,
  tryLockShared,
} from "../../../sync/lock.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self, scenario } from "../../scenario.ts";
import { type Locks, onSharedPage } from "../../world/locks.ts";

const finish = (locks: Locks, self: Self): void => locks.finish(self);
const read = (locks: Locks, self: Self): Sleeps<void> => locks.read(self);
const write = (locks: Locks, self: Self): Sleeps<void> => locks.write(self);

/** A writer comes while another one leaves: all interleavings. */
export const writerAfterWriter = scenario({
  ...onSharedPage(2, (locks) => locks.give("holder", "exclusive")),
  name: "writer-after-writer",
  about:
    "A thread that has a lock exclusively leaves it while another comes. The other gets in after it, " +
    "and is woken if it sleeps.",
  from: "sync/lock.ts, rule 1; filesystem-dax: Avoid losing wakeup in dax_lock_mapping_entry",
  actors: { holder: finish, writer: write },
});

/** A reader comes while a writer leaves: all interleavings. */
export const readerAfterWriter = scenario({
  ...onSharedPage(2, (locks) => locks.give("holder", "exclusive")),
  name: "reader-after-writer",
  about:
    "A thread that has a lock exclusively leaves it while a reader comes. The reader gets in after " +
    "it, and is woken if it sleeps.",
  from: "sync/lock.ts, rules 1 and 4",
  actors: { holder: finish, reader: read },
});

/** A writer comes while the last reader leaves: all interleavings. */
export const writerAfterReader = scenario({
  ...onSharedPage(2, (locks) => locks.give("holder", "shared")),
  name: "writer-after-reader",
  about:
    "A thread that has a lock shared leaves it while a writer comes. The last shared holder's " +
    "leaving wakes the writer.",
  from: "sync/lock.ts, rule 1; mm: fix missing wake-up event for FSDAX pages",
  actors: { holder: finish, writer: write },
});

/** A reader and a writer queue for a lock that a writer leaves. */
export const bothAfterWriter = scenario({
  ...onSharedPage(3, (locks) => locks.give("holder", "exclusive")),
  name: "both-after-writer",
  about:
    "A thread that has a lock exclusively leaves it while a reader and a writer come. Whichever goes " +
    "first, the other follows.",
  from: "sync/lock.ts, rules 3 and 4; Wake up all waiters after invalidating dax entry",
  actors: { holder: finish, reader: read, writer: write },
  explore: { strategy: "bounded", preemptions: 2 },
});

/** Two writers take the lock from the start. */
export const twoWriters = scenario({
  ...onSharedPage(2),
  name: "two-writers",
  about: "Two threads take a lock exclusively, one after the other.",
  from: "sync/lock.ts, rules 1 and 2",
  actors: { writer: write, "writer-2": write },
  explore: { strategy: "bounded", preemptions: 4 },
});

/** Two readers share the lock; the writer has it alone. */
export const readersAndWriter = scenario({
  ...onSharedPage(3),
  name: "readers-and-writer",
  about:
    "Two threads take a lock shared and one exclusively. The readers may be inside together, the " +
    "writer is alone, and the last reader's leaving wakes it.",
  from: "sync/lock.ts, rules 1 to 3",
  actors: { reader: read, "reader-2": read, writer: write },
  explore: { strategy: "bounded", preemptions: 2 },
});

/** A reader between two writers. */
export const writersAndReader = scenario({
  ...onSharedPage(3),
  name: "writers-and-reader",
  about:
    "Two threads take a lock exclusively and one shared. Whoever leaves lets the next ones in, and " +
    "nobody waits for ever.",
  from: "sync/lock.ts, rules 3 and 4",
  actors: { writer: write, reader: read, "writer-2": write },
  explore: { strategy: "bounded", preemptions: 2 },
});

/** Two readers and two writers. */
export const readersAndWriters = scenario({
  ...onSharedPage(4),
  name: "readers-and-writers",
  about: "Two threads take a lock shared and two exclusively; all come in, as the lock allows.",
  from: "sync/lock.ts, rules 3 and 4",
  actors: { writer: write, reader: read, "writer-2": write, "reader-2": read },
  explore: { strategy: "pct", depth: 3, schedules: 20000 },
});

function* takeBoth(locks: Locks, self: Self, first: number, second: number): Sleeps<void> {
  using _first = yield* lockExclusive(self.task, locks.lock(first), locks.name(first));
  using _second = yield* lockExclusive(self.task, locks.lock(second), locks.name(second));
  locks.change(self);
}

/** Two locks, one actor wanting them the wrong way round. */
export const lockOrder = scenario({
  ...onSharedPage(2),
  name: "lock-order",
  about:
    "Two threads take the io locks of two inodes; one of them wants them against the order. It is " +
    "refused before it waits, so nobody waits for ever.",
  from: "DESIGN.md 5.5: the rank is asserted at run time; 5.6, invariant 5",
  actors: {
    forward: (locks, self) => takeBoth(locks, self, 1, 2),
    *backward(locks, self) {
      try {
        yield* takeBoth(locks, self, 2, 1);
      } catch (error) {
        if (!(error instanceof InvariantError)) throw error;
        self.say("is refused: the order of the locks");
      }
    },
  },
  explore: { strategy: "bounded", preemptions: 3 },
});

/** Whether taking a lock is refused for its rank. */
function* isRefused(take: () => Sleeps<unknown>): Sleeps<boolean> {
  try {
    yield* take();
  } catch (error) {
    if (!(error instanceof InvariantError)) throw error;
    return true;
  }
  return false;
}

/** Every way to take a lock looks at the order, also when the lock is free. */
export const orderOfAll = scenario({
  ...onSharedPage(1),
  name: "order-of-all",
  about:
    "A thread that holds the io lock of inode 2 wants that of inode 1, in each way in which locks are " +
    "taken, and is refused; and so it is with a mutex that ranks above what it holds. After it has " +
    "dropped its lock, also out of order, it gets them.",
  from: "sync/rank.ts; DESIGN.md 5.5: the rank is asserted at run time",
  actors: {
    *user(locks, self) {
      const { task } = self;
      const lock = locks.lock(1);
      const name = locks.name(1);
      const ways: (() => Sleeps<unknown>)[] = [
        () => lockShared(task, lock, name),
        () => lockExclusive(task, lock, name),
        function* () {
          tryLockShared(task, lock, name);
        },
        function* () {
          tryLockExclusive(task, lock, name);
        },
        () => lockMutex(task, locks.at("mutex"), "directory"),
      ];
      const second = yield* lockShared(task, locks.lock(2), locks.name(2));
      for (const [index, way] of ways.entries()) {
        ensure(yield* isRefused(way), `way ${index + 1} to take a lock does not look at the order`);
      }
      const mutex = yield* lockMutex(task, locks.at("mutex"), "transaction");
      second.release();
      second.release();
      const map = () => lockShared(task, lock, { rankName: "map" as const, order: 1 });
      ensure(yield* isRefused(map), "the mutex counts as dropped with the lock before it");
      mutex.release();
      using _first = yield* lockExclusive(task, lock, name);
      using _second = yield* lockExclusive(task, locks.lock(2), locks.name(2));
    },
  },
});
