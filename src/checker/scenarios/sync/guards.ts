/** Guards: short locks whose holder may die inside. */
import { load, store } from "../../../sync/atomics.ts";
import { enterGuard, leaveGuard } from "../../../sync/guard.ts";
import { ensure, ensureNoLeak, type Self, scenario } from "../../scenario.ts";
import { type Locks, onSharedPage } from "../../world/locks.ts";
import { isDead } from "../../world/threads.ts";

/** Changes two words that are the same outside the guard. */
function changeBoth(locks: Locks, self: Self): void {
  const { thread } = self;
  const { words } = locks;
  const repair = enterGuard(thread, locks.at("guard"));
  locks.room.enter(self, true);
  const data = load(words, locks.at("data"));
  const same = load(words, locks.at("copy")) === data;
  if (repair) {
    self.say("is told to repair");
    ensure(
      locks.actors.some((each) => isDead(each.thread)),
      "a repair is asked for, and nobody has died",
    );
    store(words, locks.at("copy"), data);
  } else {
    ensure(same, "a change is found half done, and nothing said that its maker had died");
  }
  store(words, locks.at("data"), data + 1);
  store(words, locks.at("copy"), data + 1);
  locks.room.leave(self);
  leaveGuard(thread, locks.at("guard"));
}

const guarded = (actors: number) => ({
  ...onSharedPage(actors),
  end(locks: Locks): void {
    const survivor = locks.actors.find((self) => !isDead(self.thread))!;
    const holder = Math.abs(load(locks.words, locks.at("guard")));
    const taken = holder !== 0 && survivor.thread.isAlive(holder);
    ensureNoLeak(!taken, "the guard is left taken");
    locks.end();
  },
});

/** Two threads, one of them twice: all interleavings. */
export const guard = scenario({
  ...guarded(2),
  name: "guard",
  about: "Two threads enter a guard, one of them twice. One is inside at a time.",
  from: "sync/guard.ts",
  actors: {
    first: changeBoth,
    second(locks, self) {
      changeBoth(locks, self);
      changeBoth(locks, self);
    },
  },
});

/** Three threads. */
export const guardOfThree = scenario({
  ...guarded(3),
  name: "guard-of-three",
  about: "Three threads enter a guard. One is inside at a time, and all get in.",
  from: "sync/guard.ts",
  actors: { first: changeBoth, second: changeBoth, third: changeBoth },
  explore: { strategy: "bounded", preemptions: 3 },
});

/** A thread dies inside. */
export const guardHolderDies = scenario({
  ...guarded(2),
  name: "guard-holder-dies",
  about:
    "Two threads enter a guard; one of them dies at any point. If it was inside, the other one is told " +
    "to repair what is half done.",
  from: "sync/guard.ts: the next one takes the guard over",
  actors: { first: changeBoth, second: changeBoth },
  environment: { terminate: { kill: "first" } },
});

/** A thread dies inside, and so does the one that repairs. */
export const guardRepairerDies = scenario({
  ...guarded(3),
  name: "guard-repairer-dies",
  about:
    "Three threads enter a guard; two of them die at any point. Whoever comes after a death inside is " +
    "told to repair, again if the one before had not finished.",
  from: "sync/guard.ts: the next one takes the guard over",
  actors: { first: changeBoth, second: changeBoth, third: changeBoth },
  environment: { terminate: { kill: "first" }, "terminate-2": { kill: "second" } },
  explore: { strategy: "bounded", preemptions: 2 },
});
