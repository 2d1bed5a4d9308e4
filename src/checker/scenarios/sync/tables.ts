/** Thread tables: what a thread holds is found after its death, and given back once. */
import { addThenStore, load, wakeAll } from "../../../sync/atomics.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { forEachRecord } from "../../../sync/table.ts";
import { Slot, type Thread } from "../../../sync/thread.ts";
import { ensureNoLeak, type Self, scenario } from "../../scenario.ts";
import { Locks, onSharedPage, type SyncShared } from "../../world/locks.ts";
import { isDead } from "../../world/threads.ts";

const HELD = 1;

/** Counts a hold in `data`, or takes it back, together with its record. */
function count(locks: Locks, { words }: Thread, record: number, held: boolean): void {
  const delta = held ? 1 : -1;
  addThenStore(words, locks.at("data"), delta, record, held ? HELD : 0);
  if (!held) wakeAll(words, locks.at("data"));
}

/** Gives back what a dead thread counted. */
function recoverHolds(locks: Locks, thread: Thread): void {
  thread.onThreadDeath((_dead, slotBase) => {
    forEachRecord(thread.words, slotBase + Slot.openFiles, 1, (record) => {
      count(locks, thread, record, false);
    });
  });
}

const withHolds = (actors: number) => ({
  ...onSharedPage(actors),
  begin(shared: SyncShared, selves: readonly Self[]): Locks {
    const locks = new Locks(shared, selves);
    for (const { thread } of selves) recoverHolds(locks, thread);
    return locks;
  },
  end(locks: Locks): void {
    locks.end();
    const left = load(locks.words, locks.at("data"));
    ensureNoLeak(left === 0, `${left} holds are left counted`);
    for (const { name, thread } of locks.actors.filter((self) => !isDead(self.thread))) {
      ensureNoLeak(thread.openFiles.count === 0, `${name} still has a record`);
    }
  },
});

/** Holds two things, and gives them back in the order taken. */
function holdTwo(locks: Locks, self: Self): void {
  const { thread } = self;
  const first = thread.openFiles.take();
  count(locks, thread, first, true);
  const second = thread.openFiles.take();
  count(locks, thread, second, true);
  self.say("holds two");
  count(locks, thread, first, false);
  thread.openFiles.give(first);
  count(locks, thread, second, false);
  thread.openFiles.give(second);
}

/** Waits until nobody holds anything. */
function* waitForNone(locks: Locks, self: Self): Sleeps<void> {
  const word = locks.at("data");
  for (;;) {
    const expected = load(locks.words, word);
    if (expected === 0) break;
    yield { word, expected, what: () => "all holds to be given back" };
  }
  self.say("sees that nobody holds anything");
}

/** A thread dies with records. */
export const recordsOfTheDead = scenario({
  ...withHolds(2),
  name: "records-of-the-dead",
  about:
    "A thread that holds up to two things dies at any point. Whoever waits for them finds them by the " +
    "dead thread's records and gives them back, each once.",
  from: "sync/thread.ts, rule 3; sync/table.ts",
  actors: { holder: holdTwo, waiter: waitForNone },
  environment: { terminate: { kill: "holder" } },
});

/** Whoever gives back what a dead thread held dies, too. */
export const recordsRecoveredTwice = scenario({
  ...withHolds(3),
  name: "records-recovered-twice",
  about:
    "A thread that holds up to two things dies at any point, and so does one of two who wait for them " +
    "and give them back. The other one gives back what is left, and nothing twice.",
  from: "sync/thread.ts: while recovering, a dead recoverer is replaced in turn",
  actors: { holder: holdTwo, waiter: waitForNone, "waiter-2": waitForNone },
  environment: { terminate: { kill: "holder" }, "terminate-2": { kill: "waiter" } },
  explore: { strategy: "bounded", preemptions: 2 },
});
