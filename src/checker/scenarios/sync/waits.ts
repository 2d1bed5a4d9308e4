/** Waits: "this word still holds this value", and everyone tests again. */
import { add, load, wakeAll } from "../../../sync/atomics.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
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
