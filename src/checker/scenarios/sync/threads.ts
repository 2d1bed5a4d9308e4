/** Slots of threads: who is found dead is dead, also when the slot is used again. */
import { exchange, load, store } from "../../../sync/atomics.ts";
import {
  enterEpoch,
  enterGuard,
  leaveEpoch,
  leaveGuard,
  synchronize,
} from "../../../sync/guard.ts";
import { type Holder, OWNER_DIED, Slot, SLOT_FREE, Thread } from "../../../sync/thread.ts";
import { ensure, ensureNoLeak, type Self, scenario } from "../../scenario.ts";
import { buildSync, Place, type SyncShared, threadWordName } from "../../world/locks.ts";

/** An epoch that somebody is in. */
const INSIDE = 3;
/** States of the object that an epoch protects. */
const FREED = 0;
const IN_USE = 1;

/** Slots in one schedule: the thread that made the page has died before it begins. */
class Slots {
  readonly shared: SyncShared;
  readonly actors: readonly Self[];
  /** Where the dead thread's slot begins. */
  readonly base: number;
  readonly dead: Holder;
  /** How often something was given back on behalf of a dead thread. */
  recoveries = 0;
  newcomer: Thread | null = null;

  constructor(shared: SyncShared, actors: readonly Self[]) {
    const { region } = shared;
    this.shared = shared;
    this.actors = actors;
    this.base = region.slotBase(region.slotsUsed - 1);
    this.dead = load(region.words, this.base + Slot.state);
    store(region.words, this.base + Slot.liveness, OWNER_DIED);
    store(region.words, this.base + Slot.epoch, INSIDE);
    for (const { thread } of actors) {
      thread.onThreadDeath(() => {
        this.recoveries++;
      });
    }
  }

  /** A word of the page. */
  at(place: keyof typeof Place): number {
    return this.shared.page + Place[place];
  }

  /** Gives back what the dead one held. A new thread takes its slot, if it is free then. */
  start(self: Self): void {
    self.thread.reap();
    const { region } = this.shared;
    if (load(region.words, this.base + Slot.state) !== SLOT_FREE) return;
    this.newcomer = Thread.join(region);
    self.say("starts a thread, which joins");
  }

  nameOf(word: number): string | null {
    const field = Object.entries(Slot).find(([, place]) => this.base + place === word);
    if (field !== undefined) return `${field[0]} of the dead thread's slot`;
    return threadWordName(this.actors, word);
  }
}

const withDeadThread = {
  build: () => buildSync(2),
  region: (shared: SyncShared) => shared.region,
  begin: (shared: SyncShared, actors: readonly Self[]) => new Slots(shared, actors),
  nameOf: (slots: Slots, word: number) => slots.nameOf(word),
};

/** Two look for the dead, and a new thread takes the slot that has become free. */
export const slotUsedAgain = scenario({
  ...withDeadThread,
  name: "slot-used-again",
  about:
    "Two threads find that a third has died. One of them gives back what it held, and a new thread " +
    "takes its slot, before the other one acts on what it has seen. Only the dead one is recovered, " +
    "and once.",
  from: "sync/thread.ts, rule 1: a slot that is used again is another holder",
  actors: {
    finder(_slots, self) {
      self.thread.reap();
    },
    starter(slots, self) {
      self.thread.reap();
      const { region } = slots.shared;
      if (load(region.words, slots.base + Slot.state) !== SLOT_FREE) return;
      // Whoever joins makes the liveness mutex anew.
      store(region.words, slots.base + Slot.liveness, 0);
      slots.newcomer = Thread.join(region);
      self.say("starts a thread, which joins");
    },
  },
  end({ recoveries, newcomer, base, dead, shared }) {
    const { words } = shared.region;
    const isWell = newcomer === null || newcomer.isAlive(newcomer.holder);
    ensure(isWell, "a living thread was taken for dead");
    ensure(recoveries === 1, `the dead thread was recovered ${recoveries} times`);
    ensure(newcomer?.holder !== dead, "the slot's next thread is taken for the one before");
    const isFree = load(words, base + Slot.state) === SLOT_FREE;
    ensureNoLeak(isFree || newcomer !== null, "the dead thread's slot cannot be used again");
    const epoch = load(words, base + Slot.epoch);
    ensure((epoch & 1) === 0, "the slot's next thread begins in the epoch of the one before");
  },
});

/** The dead thread's epoch is ended, and not that of the slot's next one. */
export const epochOfTheNext = scenario({
  ...withDeadThread,
  begin(shared: SyncShared, actors: readonly Self[]): Slots {
    const slots = new Slots(shared, actors);
    store(shared.region.words, slots.at("object"), IN_USE);
    store(shared.region.words, slots.at("data"), slots.at("object"));
    return slots;
  },
  name: "epoch-of-the-next",
  about:
    "A thread has died in an epoch. Somebody gives back what it held, then takes an object away, waits " +
    "one epoch and frees it; meanwhile a new thread in the same slot uses the object in an epoch. " +
    "Nobody uses it after it was freed.",
  from: "sync/thread.ts, rule 4; sync/guard.ts, synchronize",
  actors: {
    freer(slots, self) {
      const { words } = slots.shared.region;
      self.thread.reap();
      exchange(words, slots.at("data"), 0);
      synchronize(self.thread);
      store(words, slots.at("object"), FREED);
      self.say("frees the object");
    },
    starter(slots, self) {
      slots.start(self);
      const { newcomer } = slots;
      if (newcomer === null) return;
      enterEpoch(newcomer);
      const object = load(newcomer.words, slots.at("data"));
      if (object !== 0) {
        self.say("has found the object");
        ensure(load(newcomer.words, object) === IN_USE, "an object is used after it was freed");
      }
      leaveEpoch(newcomer);
    },
  },
  end: ({ actors }) => synchronize(actors[0]!.thread),
});

/** The guard of a dead thread is not the next one's in its slot. */
export const guardOfTheOneBefore = scenario({
  ...withDeadThread,
  begin(shared: SyncShared, actors: readonly Self[]): Slots {
    const slots = new Slots(shared, actors);
    store(shared.region.words, slots.at("guard"), slots.dead);
    return slots;
  },
  name: "guard-of-the-one-before",
  about:
    "A thread has died inside a guard, and a new thread uses its slot. Whoever enters the guard does " +
    "not take the new one for its holder, and is told to repair.",
  from: "sync/thread.ts, rule 1: a slot that is used again is another holder",
  actors: {
    entrant(slots, { thread }) {
      const repair = enterGuard(thread, slots.at("guard"));
      ensure(repair, "nothing says that the guard's holder has died inside");
      leaveGuard(thread, slots.at("guard"));
    },
    starter: (slots, self) => slots.start(self),
  },
  end(slots) {
    const guard = load(slots.shared.region.words, slots.at("guard"));
    ensureNoLeak(guard === 0, "the guard is left taken");
  },
});
