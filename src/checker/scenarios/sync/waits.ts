/** Waits: "this word still holds this value", and everyone tests again. */
import { Rank } from "../../../sync/rank.ts";
import { AbortError, HoldfastError } from "../../../base/errors.ts";
import { add, load, wakeAll } from "../../../sync/atomics.ts";
import { remainingMs } from "../../../sync/clock.ts";
import { type Held, lockShared } from "../../../sync/lock.ts";
import { type Sleeps, Task, type Wait } from "../../../sync/sleep.ts";
import { ensure, type Self, scenario } from "../../scenario.ts";
import { type Locks, onSharedPage, unlessAborted } from "../../world/locks.ts";

/** Waits until `data` is at least so much. */
function* waitFor(locks: Locks, least: number): Sleeps<void> {
  const word = locks.at("data");
  for (;;) {
    const expected = load(locks.words, word);
    if (expected >= least) return;
    yield { word, expected, what: () => `data to be ${least}` };
  }
}

function raise(locks: Locks, self: Self): void {
  const word = locks.at("data");
  self.say(`makes data ${add(locks.words, word, 1) + 1}`);
  wakeAll(locks.words, word);
}

/** Two wait for different values of one word. */
export const wait = scenario({
  ...onSharedPage(3),
  name: "wait",
  about:
    "Two threads wait for one word, each for another value, while a third raises it step by step. A " +
    "wake-up for what another one waits for does no harm, and none is lost.",
  from: "sync/sleep.ts, rule 1",
  actors: {
    "for-one": (locks) => waitFor(locks, 1),
    "for-two": (locks) => waitFor(locks, 2),
    raiser(locks, self) {
      raise(locks, self);
      raise(locks, self);
    },
  },
});

/** Two raise, one waits: a change between the look and the sleep. */
export const waitForTwo = scenario({
  ...onSharedPage(3),
  name: "wait-for-two",
  about: "A thread waits for a word that two others raise, one step each.",
  from: "sync/sleep.ts, rule 1",
  actors: {
    *waiter(locks) {
      yield* waitFor(locks, 2);
      ensure(load(locks.words, locks.at("data")) === 2, "the wait ends too early");
    },
    raiser: raise,
    "raiser-2": raise,
  },
});

/** A wait that is given up. */
export const abortedWait = scenario({
  ...onSharedPage(3),
  name: "aborted-wait",
  about:
    "Two threads wait for the same; one of them gives up at any point, since nothing else would wake " +
    "it. The other one waits on, and is woken.",
  from: "sync/sleep.ts, rule 2",
  actors: {
    patient: (locks) => waitFor(locks, 1),
    impatient: (locks, self) => unlessAborted(self, () => waitFor(locks, 2)),
    raiser: raise,
  },
  environment: { interrupt: { abort: "impatient" } },
});

/** Which waits block their thread, and what ends them: nothing here is shared. */
export const rulesOfWaits = scenario({
  ...onSharedPage(1),
  name: "rules-of-waits",
  about:
    "An operation may be suspended while what it holds and waits for ranks above the map lock, and " +
    "blocks its thread otherwise. Its signal and its deadline end its waits, but for those that it endures, and " +
    "nothing else does. A thread with suspended operations looks around more often.",
  from: "sync/sleep.ts, rules 2, 4 and 5",
  actors: {
    *user(locks, self) {
      const { task, thread } = self;
      const plain: Wait = { word: locks.at("data"), expected: 0, what: () => "data" };
      const forMap: Wait = { ...plain, rank: Rank.map };
      ensure(!task.mustBlock(plain), "a wait blocks though nothing is held");
      ensure(task.mustBlock(forMap), "a wait for the map lock does not block");
      using _io = yield* lockShared(task, locks.lock(), locks.name());
      ensure(!task.mustBlock(plain), "a wait blocks though only the io lock is held");
      using _map: Held = yield* lockShared(task, locks.lock(2), { rankName: "map", order: 1 });
      ensure(task.mustBlock(plain), "a wait does not block though the map lock is held");

      ensure(task.interruption(plain) === null, "a wait ends for no reason");
      const late = new Task(thread, { timeoutMs: 0 }).interruption(plain);
      ensure(
        late instanceof HoldfastError && late.code === "ETIMEDOUT",
        "the deadline has no effect",
      );
      const early = new Task(thread, { timeoutMs: 5 }).interruption(plain);
      ensure(early === null, "a wait ends before its deadline");
      const aborted = { aborted: true, reason: undefined } as unknown as AbortSignal;
      const given = new Task(thread, { signal: aborted }).interruption(plain);
      ensure(given instanceof AbortError, "the signal has no effect");

      const slice = task.sliceMs(plain);
      const enduring = new Task(thread, { timeoutMs: 0 });
      ensure(enduring.sliceMs(plain) === 0, "a wait goes on though its deadline has passed");
      {
        using _enduring = enduring.endure();
        ensure(enduring.interruption(plain) === null, "a wait that endures ends by its deadline");
        ensure(enduring.sliceMs(plain) === slice, "a wait that endures looks around all the time");
      }
      ensure(enduring.interruption(plain) !== null, "an operation endures for ever");
      const suspended = { resumeIfDue: () => false };
      thread.suspended.add(suspended);
      ensure(task.sliceMs(plain) < slice, "a thread does not look after its suspended operations");
      thread.suspended.delete(suspended);
    },
  },
});

/** Times in the region begin again after 2^30 ms. */
export const clockWraps = scenario({
  ...onSharedPage(1),
  name: "clock-wraps",
  about:
    "A time that is due and the present are compared on both sides of the clock's end: what is due " +
    "soon is not long past, and the other way round.",
  from: "sync/clock.ts, remainingMs",
  actors: {
    user() {
      const end = 2 ** 30;
      for (const [until, now, rest] of [
        [20, 5, 15],
        [5, 20, -15],
        [5, end - 10, 15],
        [end - 10, 5, -15],
      ] as const) {
        const told = remainingMs(until, now);
        ensure(told === rest, `from ${now} until ${until} it is ${told} ms`);
      }
    },
  },
});
