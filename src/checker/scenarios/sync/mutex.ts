/** The mutex: one word, negated while somebody waits. */
import { HoldfastError } from "../../../base/errors.ts";
import { type Sleeps, Task } from "../../../sync/sleep.ts";
import { ensure, type Self, scenario } from "../../scenario.ts";
import { lockMutex } from "../../../sync/lock.ts";
import { type Locks, onSharedPage } from "../../world/locks.ts";

const take = (locks: Locks, self: Self): Sleeps<void> => locks.writeInMutex(self);

/** Two threads, one of them twice. */
export const mutex = scenario({
  ...onSharedPage(2),
  name: "mutex",
  about: "Two threads take a mutex, one of them twice. One is inside at a time, and all get in.",
  from: "sync/lock.ts, lockMutex; Drepper, Futexes Are Tricky",
  actors: {
    first: take,
    *second(locks, self) {
      yield* take(locks, self);
      yield* take(locks, self);
    },
  },
});

/** Three threads: of two that wait, the second is not forgotten. */
export const mutexOfThree = scenario({
  ...onSharedPage(3),
  name: "mutex-of-three",
  about: "Three threads take a mutex. Of two that wait, the second one is not forgotten.",
  from: "sync/lock.ts, lockMutex; Drepper, Futexes Are Tricky, mutex 2",
  actors: { first: take, second: take, third: take },
  explore: { strategy: "bounded", preemptions: 3 },
});

/** The holder dies, and the layer that owns the mutex gives it back. */
export const mutexHolderDies = scenario({
  ...onSharedPage(3, (locks) => locks.recoverMutex()),
  name: "mutex-holder-dies",
  about:
    "Three threads take a mutex; one of them dies at any point. Its mutex is given back, once, and " +
    "the others get it one after the other.",
  from: "sync/lock.ts, breakMutex; metadata/transaction.ts",
  actors: { first: take, second: take, third: take },
  environment: { terminate: { kill: "first" } },
  explore: { strategy: "bounded", preemptions: 2 },
});

/** A thread that wants what another operation of its own holds. */
export const mutexTwice = scenario({
  ...onSharedPage(1),
  name: "mutex-twice",
  about:
    "A thread that has a mutex wants it again, in another operation. It is told so, instead of " +
    "waiting for itself.",
  from: "sync/lock.ts, lockMutex: EDEADLK",
  actors: {
    *user(locks, self) {
      using _held = yield* lockMutex(self.task, locks.at("mutex"), "transaction");
      const other = new Task(self.thread, undefined);
      try {
        yield* lockMutex(other, locks.at("mutex"), "transaction");
      } catch (error) {
        if (!(error instanceof HoldfastError && error.code === "EDEADLK")) throw error;
        self.say("is told that it has the mutex");
        return;
      }
      ensure(false, "a thread is given the mutex that it has");
    },
  },
});
