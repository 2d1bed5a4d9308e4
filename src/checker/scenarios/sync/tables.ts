/** Thread tables: what a thread holds is found after its death, and given back once. */
import { addThenStore, load, store, wakeAll } from "../../../sync/atomics.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { forEachRecord, ThreadTable } from "../../../sync/table.ts";
import { PIN_RECORD_WORDS, Slot, type Thread } from "../../../sync/thread.ts";
import { ensure, ensureNoLeak, type Self, scenario } from "../../scenario.ts";
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
  explore: { strategy: "bounded", preemptions: 1 },
});

/** Records of one word in a block of a table. */
const BLOCK_RECORDS = 1023;

/** A thread dies with records in two blocks. */
export const recordsInTwoBlocks = scenario({
  ...withHolds(2),
  begin(shared: SyncShared, selves: readonly Self[]): Locks {
    const locks = withHolds(2).begin(shared, selves);
    const holder = selves.find(({ name }) => name === "holder");
    // One record is left in the first block.
    for (let taken = 1; holder && taken < BLOCK_RECORDS; taken++) holder.thread.openFiles.take();
    return locks;
  },
  name: "records-in-two-blocks",
  about:
    "A thread that holds up to two things, for the second of which its table needs another block, dies " +
    "at any point. Whoever waits finds what it held in both blocks.",
  from: "sync/table.ts: blocks of records are chained",
  actors: { holder: holdTwo, waiter: waitForNone },
  environment: { terminate: { kill: "holder" } },
  end(locks: Locks): void {
    locks.end();
    const left = load(locks.words, locks.at("data"));
    ensureNoLeak(left === 0, `${left} holds are left counted`);
  },
});

const RECORD_WORDS = PIN_RECORD_WORDS;
const RECORDS = Math.floor(BLOCK_RECORDS / RECORD_WORDS);

/** Takes so many records, marks them, and is told by a visit of each and of those taken before. */
function takeRecords(
  { words }: Locks,
  table: ThreadTable,
  head: number,
  many: number,
  before: readonly number[] = [],
): number[] {
  const taken: number[] = [];
  while (taken.length < many) taken.push(table.take());
  for (const record of taken) store(words, record, HELD);
  ensure(new Set(taken).size === many, "a record is given twice");
  ensureVisited(words, head, [...before, ...taken]);
  return taken;
}

function ensureVisited(words: Locks["words"], head: number, records: readonly number[]): void {
  const visited = new Set<number>();
  forEachRecord(words, head, RECORD_WORDS, (record) => {
    visited.add(record);
  });
  const isSame = visited.size === records.length && records.every((each) => visited.has(each));
  ensure(isSame, `${visited.size} records are found, and ${records.length} are in use`);
}

/** What a thread of the slot takes and gives back, and what the next one finds. */
export const blocksUsedAgain = scenario({
  ...onSharedPage(1),
  name: "blocks-used-again",
  about:
    "A thread takes more records than a block of its table has, gives some back and takes them again. " +
    "The next thread in its slot uses the same blocks, and makes new ones after the last. Nobody is " +
    "given a record twice, and visits find those in use.",
  from: "sync/table.ts: blocks stay with the slot",
  actors: {
    user(locks, { thread }) {
      const { region, words } = thread;
      const head = thread.base + Slot.pins;
      const first = region.bytesUsed;
      const taken = takeRecords(locks, thread.pins, head, RECORDS);
      ensure(region.bytesUsed === first, "the slot's block is not used");
      taken.push(...takeRecords(locks, thread.pins, head, RECORDS, taken));
      const before = region.bytesUsed;
      for (const record of taken.slice(0, 2)) thread.pins.give(record);
      for (const record of taken.slice(2, 4)) thread.pins.giveOwn(record);
      for (const record of taken.slice(4, 6)) {
        store(words, record, 0);
        thread.pins.giveEmpty(record);
      }
      ensureVisited(words, head, taken.slice(6));
      const again = new Set<number>();
      while (again.size < 6) again.add(thread.pins.take());
      ensure(
        taken.slice(0, 6).every((record) => again.has(record)),
        "a record is given twice",
      );
      for (const record of taken) thread.pins.give(record);
      ensure(thread.pins.count === 0, `${thread.pins.count} records count as in use`);

      const next = new ThreadTable(region, head, RECORD_WORDS);
      const kept = takeRecords(locks, next, head, 2 * RECORDS);
      ensure(region.bytesUsed === before, "blocks of the slot are not used again");
      for (const record of kept) store(words, record, 0);
      const more = takeRecords(locks, next, head, 2 * RECORDS);
      ensure(!more.some((record) => kept.includes(record)), "a record is given twice");
    },
  },
});
