/** Threads that die with a lock, in its queue, or while they give back what another one held. */
import { lockShared } from "../../../sync/lock.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { type Self, scenario } from "../../scenario.ts";
import { type Locks, onSharedPage } from "../../world/locks.ts";

const finish = (locks: Locks, self: Self): void => locks.finish(self);
const read = (locks: Locks, self: Self): Sleeps<void> => locks.read(self);
const write = (locks: Locks, self: Self): Sleeps<void> => locks.write(self);
const KILL_HOLDER = { terminate: { kill: "holder" } } as const;

/** A holder dies, inside or while it leaves. */
export const writerDies = scenario({
  ...onSharedPage(2, (locks) => locks.give("holder", "exclusive")),
  name: "writer-dies",
  about: "A thread that has a lock exclusively dies at any point. The next writer gets the lock.",
  from: "sync/lock.ts, rule 2; sync/thread.ts, rule 3",
  actors: { holder: finish, writer: write },
  environment: KILL_HOLDER,
  explore: { strategy: "bounded", preemptions: 3 },
});

/** A shared holder dies. */
export const readerDies = scenario({
  ...onSharedPage(3, (locks) => {
    locks.give("holder", "shared");
    locks.give("holder-2", "shared");
  }),
  name: "reader-dies",
  about:
    "Of two threads that have a lock shared, one dies at any point. The writer gets the lock when the " +
    "other one has left, and not before.",
  from: "sync/lock.ts, rule 2",
  actors: { holder: finish, "holder-2": finish, writer: write },
  environment: KILL_HOLDER,
  explore: { strategy: "pct", depth: 3, schedules: 15000 },
});

/** A waiting writer dies, with a reader queued behind it. */
export const waiterDies = scenario({
  ...onSharedPage(3, (locks) => locks.give("holder", "shared")),
  name: "waiter-dies",
  about:
    "A thread has a lock shared; a writer that waits for it dies at any point; a reader that had " +
    "queued behind the writer goes on.",
  from: "sync/lock.ts, rules 2 and 3",
  actors: { holder: finish, writer: write, reader: read },
  environment: { terminate: { kill: "writer" } },
  explore: { strategy: "pct", depth: 3, schedules: 15000 },
});

/** A reader of the batch dies, with a writer waiting for the batch. */
export const batchDies = scenario({
  ...onSharedPage(3, (locks) => locks.give("holder", "exclusive")),
  name: "batch-dies",
  about:
    "A thread leaves a lock that it had exclusively, with a reader waiting, who goes before the " +
    "waiting writer, but dies at any point. The writer goes on.",
  from: "sync/lock.ts, rules 2 and 4",
  actors: { holder: finish, reader: read, writer: write },
  environment: { terminate: { kill: "reader" } },
  explore: { strategy: "pct", depth: 3, schedules: 15000 },
});

/** A holder dies with two waiters of both kinds. */
export const holderDies = scenario({
  ...onSharedPage(3, (locks) => locks.give("holder", "exclusive")),
  name: "holder-dies",
  about:
    "A thread that has a lock exclusively dies at any point, with a reader and a writer waiting. Both " +
    "stay counted, and both get the lock.",
  from: "sync/lock.ts, rule 2: the counts are caches of the records",
  actors: { holder: finish, reader: read, writer: write },
  environment: KILL_HOLDER,
  explore: { strategy: "pct", depth: 3, schedules: 15000 },
});

/** The one who gives back what a dead thread held dies, too. */
export const recovererDies = scenario({
  ...onSharedPage(3, (locks) => locks.give("holder", "exclusive")),
  name: "recoverer-dies",
  about:
    "A thread that has a lock exclusively dies at any point, and so does one of those who wait and " +
    "give back what it held. The last one gets the lock.",
  from: "sync/thread.ts: a dead recoverer is replaced in turn",
  actors: { holder: finish, writer: write, "writer-2": write },
  environment: { terminate: { kill: "holder" }, "terminate-2": { kill: "writer" } },
  explore: { strategy: "pct", depth: 3, schedules: 15000 },
});

/** One of the queue dies in an odd phase: those who stay are counted as they were. */
export const queueCountedAgain = scenario({
  ...onSharedPage(4, (locks) => {
    locks.give("holder", "exclusive");
    const holder = locks.actors.find(({ name }) => name === "holder");
    if (holder !== undefined) locks.finish(holder);
    locks.give("holder", "shared");
  }),
  name: "queue-counted-again",
  about:
    "A thread has a lock shared, and one had it exclusively before; a writer and two readers wait, one " +
    "of whom dies at any point, also while the writer is inside. Those who stay are counted as what " +
    "they are: nobody waits for ever, and nobody is inside with the writer.",
  from: "sync/lock.ts, rules 2 and 4: the batch is counted by the phase's parity",
  actors: { holder: finish, writer: write, reader: read, doomed: read },
  environment: { terminate: { kill: "doomed" } },
  explore: { strategy: "pct", depth: 3, schedules: 4000 },
});

/** The one who gives back what a dead thread held waits for nothing itself, and dies, too. */
export const finderDies = scenario({
  ...onSharedPage(3, (locks) => locks.give("holder", "exclusive")),
  name: "finder-dies",
  about:
    "A thread that has a lock exclusively dies at any point, and so does one that gives back what it " +
    "held but does not wait for the lock. A writer gets the lock.",
  from: "sync/thread.ts: what is given back must be repeatable",
  actors: {
    holder: finish,
    finder(_locks, self) {
      self.thread.reap();
    },
    writer: write,
  },
  environment: { terminate: { kill: "holder" }, "terminate-2": { kill: "finder" } },
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

/** Another lock is held meanwhile. */
export const lockBeside = scenario({
  ...onSharedPage(3, (locks) => locks.give("holder", "exclusive")),
  name: "lock-beside",
  about:
    "A thread that has a lock exclusively dies at any point, and the lock is counted again, while " +
    "somebody has another lock shared. A writer gets the lock that was the dead thread's.",
  from: "sync/lock.ts, rule 2: a record tells which lock it is of",
  actors: {
    holder: finish,
    *other(locks, self) {
      using _held = yield* lockShared(self.task, locks.lock(2), locks.name(2));
      self.say("has the other lock, shared");
    },
    writer: write,
  },
  environment: KILL_HOLDER,
  explore: { strategy: "pct", depth: 3, schedules: 2000 },
});
