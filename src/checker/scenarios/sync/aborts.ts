/** Waits that are given up: whoever was queued behind goes on, and nothing is left counted. */
import type { Sleeps } from "../../../sync/sleep.ts";
import { type Self, scenario } from "../../scenario.ts";
import { type Locks, onSharedPage, unlessAborted } from "../../world/locks.ts";

const finish = (locks: Locks, self: Self): void => locks.finish(self);
const read = (locks: Locks, self: Self): Sleeps<void> => locks.read(self);
const write = (locks: Locks, self: Self): Sleeps<void> => locks.write(self);

const tryRead = (locks: Locks, self: Self): Sleeps<void> =>
  unlessAborted(self, () => locks.read(self));

const tryWrite = (locks: Locks, self: Self): Sleeps<void> =>
  unlessAborted(self, () => locks.write(self));

const tryMutex = (locks: Locks, self: Self): Sleeps<void> =>
  unlessAborted(self, () => locks.writeInMutex(self));

/** A writer gives up, with a reader queued behind it and a reader inside. */
export const abortedWriter = scenario({
  ...onSharedPage(3, (locks) => locks.give("holder", "shared")),
  name: "aborted-writer",
  about:
    "A thread has a lock shared; a writer waits for it and gives up at any point; a reader that had " +
    "queued behind the writer goes on.",
  from: "sync/lock.ts, rule 3; dax: Use non-exclusive wait in wait_entry_unlocked()",
  actors: { holder: finish, writer: tryWrite, reader: read },
  environment: { interrupt: { abort: "writer" } },
  explore: { strategy: "pct", depth: 3, schedules: 15000 },
});

/** A reader of the batch gives up, with a writer waiting for the batch. */
export const abortedReader = scenario({
  ...onSharedPage(3, (locks) => locks.give("holder", "exclusive")),
  name: "aborted-reader",
  about:
    "A thread leaves a lock that it had exclusively, with a reader waiting, who goes before the " +
    "waiting writer, but gives up at any point. The writer goes on.",
  from: "sync/lock.ts, rules 3 and 4; Wake up all waiters after invalidating dax entry",
  actors: { holder: finish, reader: tryRead, writer: write },
  environment: { interrupt: { abort: "reader" } },
  explore: { strategy: "pct", depth: 3, schedules: 15000 },
});

/** A thread gives up waiting for the mutex. */
export const abortedMutex = scenario({
  ...onSharedPage(3),
  name: "aborted-mutex",
  about:
    "Three threads take a mutex; one of them gives up at any point. The others get it, one after the " +
    "other.",
  from: "sync/lock.ts, lockMutex",
  actors: {
    first: (locks, self) => locks.writeInMutex(self),
    second: tryMutex,
    third: (locks, self) => locks.writeInMutex(self),
  },
  environment: { interrupt: { abort: "second" } },
  explore: { strategy: "bounded", preemptions: 2 },
});

/** A writer gives up while the lock is counted again. */
export const abortedWriterCounted = scenario({
  ...onSharedPage(4, (locks) => locks.give("holder", "shared")),
  name: "aborted-writer-counted",
  about:
    "A thread has a lock shared; of those who wait for it a writer gives up, and a reader dies, each at " +
    "any point, so that the lock is counted again. Whoever has given up is not counted.",
  from: "sync/lock.ts, rule 2: the counts are caches of the records",
  actors: { holder: finish, writer: tryWrite, doomed: read, reader: read },
  environment: { interrupt: { abort: "writer" }, terminate: { kill: "doomed" } },
  explore: { strategy: "pct", depth: 3, schedules: 4000 },
});

/** A reader of the batch gives up while the lock is counted again. */
export const abortedReaderCounted = scenario({
  ...onSharedPage(4, (locks) => locks.give("holder", "exclusive")),
  name: "aborted-reader-counted",
  about:
    "A thread leaves a lock that it had exclusively; of those who wait for it a reader gives up, and a " +
    "writer dies, each at any point, so that the lock is counted again. Whoever has given up is not " +
    "counted.",
  from: "sync/lock.ts, rules 2 and 4",
  actors: { holder: finish, reader: tryRead, doomed: write, writer: write },
  environment: { interrupt: { abort: "reader" }, terminate: { kill: "doomed" } },
  explore: { strategy: "pct", depth: 3, schedules: 4000 },
});
