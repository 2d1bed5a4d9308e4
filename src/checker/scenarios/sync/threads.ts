/** Slots of threads: who is found dead is dead, also when the slot is used again. */
import { load, store } from "../../../sync/atomics.ts";
import { OWNER_DIED, Slot, Thread } from "../../../sync/thread.ts";
import { ensure, type Self, scenario } from "../../scenario.ts";
import { buildSync, type SyncShared, threadWordName } from "../../world/locks.ts";

const FREE = 0;

/** Slots in one schedule: the thread that made the page has died before it begins. */
class Slots {
  readonly shared: SyncShared;
  readonly actors: readonly Self[];
  /** Where the dead thread's slot begins. */
  readonly base: number;
  /** How often something was given back on behalf of a dead thread. */
  recoveries = 0;
  newcomer: Thread | null = null;

  constructor(shared: SyncShared, actors: readonly Self[]) {
    const { region } = shared;
    this.shared = shared;
    this.actors = actors;
    this.base = region.slotBase(region.slotsUsed - 1);
    store(region.words, this.base + Slot.liveness, OWNER_DIED);
    for (const { thread } of actors) {
      thread.onThreadDeath(() => {
        this.recoveries++;
      });
    }
  }

  nameOf(word: number): string | null {
    const field = Object.entries(Slot).find(([, place]) => this.base + place === word);
    if (field !== undefined) return `${field[0]} of the dead thread's slot`;
    return threadWordName(this.actors, word);
  }
}

/** Two look for the dead, and a new thread takes the slot that has become free. */
export const slotUsedAgain = scenario({
  build: () => buildSync(2),
  region: (shared: SyncShared) => shared.region,
  begin: (shared: SyncShared, actors: readonly Self[]) => new Slots(shared, actors),
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
      if (load(region.words, slots.base + Slot.state) !== FREE) return;
      // Whoever joins makes the liveness mutex anew.
      store(region.words, slots.base + Slot.liveness, 0);
      slots.newcomer = Thread.join(region);
      self.say("starts a thread, which joins");
    },
  },
  end({ recoveries, newcomer }) {
    const isWell = newcomer === null || newcomer.isAlive(newcomer.holder);
    ensure(isWell, "a living thread was taken for dead");
    ensure(recoveries === 1, `the dead thread was recovered ${recoveries} times`);
  },
  nameOf: (slots, word) => slots.nameOf(word),
});
