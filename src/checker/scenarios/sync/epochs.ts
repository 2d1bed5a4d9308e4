/** Epochs: what a reader found without a lock stays what it is until its epoch ends. */
import { exchange, load, store } from "../../../sync/atomics.ts";
import { enterEpoch, leaveEpoch, synchronize } from "../../../sync/guard.ts";
import { ensure, type Self, scenario } from "../../scenario.ts";
import { type Locks, onSharedPage } from "../../world/locks.ts";

const FREED = 0;
const IN_USE = 1;

/** Finds the object that `data` names, and uses it. */
function use(locks: Locks, self: Self): void {
  const { thread } = self;
  enterEpoch(thread);
  const object = load(locks.words, locks.at("data"));
  if (object !== 0) {
    self.say("has found the object");
    const state = load(locks.words, object);
    ensure(state === IN_USE, "a reader uses an object after it was freed");
  }
  leaveEpoch(thread);
}

/** Takes the object away, if it is there, waits for those who may have found it, and frees it. */
function free(locks: Locks, self: Self): void {
  const object = exchange(locks.words, locks.at("data"), 0);
  if (object === 0) return;
  synchronize(self.thread);
  store(locks.words, object, FREED);
  self.say("frees the object");
}

const withObject = (actors: number) =>
  onSharedPage(actors, (locks) => {
    store(locks.words, locks.at("object"), IN_USE);
    store(locks.words, locks.at("data"), locks.at("object"));
  });

/** Readers on both sides of the one who frees: in slots before and after its own. */
export const epoch = scenario({
  ...withObject(3),
  name: "epoch",
  about:
    "Two readers look for an object in an epoch and use it, while a third thread takes the object " +
    "away, waits one epoch and frees it. Nobody uses it after that.",
  from: "sync/guard.ts, synchronize; DESIGN.md 5.4, step 2",
  actors: { reader: use, freer: free, "reader-2": use },
});

/** A reader that comes again and again. */
export const epochAgain = scenario({
  ...withObject(2),
  name: "epoch-again",
  about:
    "A reader goes through four epochs, one after the other, while another thread waits one epoch. " +
    "It waits for the epoch that it found under way, and for no later one.",
  from: "sync/guard.ts, synchronize",
  actors: {
    reader(locks, self) {
      for (let round = 0; round < 4; round++) use(locks, self);
    },
    freer: free,
  },
});

/** Two who wait for each other's epochs, being readers themselves. */
export const epochMutual = scenario({
  ...withObject(2),
  name: "epoch-mutual",
  about: "Two threads use the object and then free it, if the other one has not. Nobody hangs.",
  from: "sync/guard.ts, synchronize",
  actors: {
    first(locks, self) {
      use(locks, self);
      free(locks, self);
    },
    second(locks, self) {
      use(locks, self);
      free(locks, self);
    },
  },
});

/** A reader dies in its epoch. */
export const epochReaderDies = scenario({
  ...withObject(3),
  name: "epoch-reader-dies",
  about:
    "Of two readers in epochs one dies at any point. Whoever waits one epoch waits for the living one " +
    "and goes on.",
  from: "sync/guard.ts, synchronize",
  actors: { reader: use, freer: free, "reader-2": use },
  environment: { terminate: { kill: "reader" } },
});
