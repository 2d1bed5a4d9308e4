/** Threads that join and leave a region: a slot each, in which everyone finds them. */
import { load } from "../../../sync/atomics.ts";
import { Slot, SLOT_FREE, Thread } from "../../../sync/thread.ts";
import { ensure, ensureNoLeak, type Self, scenario } from "../../scenario.ts";
import { type SyncShared, threadWordName } from "../../world/locks.ts";
import { endThread, regionWithThreads } from "../../world/threads.ts";

const PAGE_WORDS = 1024;

/** The threads that come and go in one schedule. */
class Comers {
  readonly shared: SyncShared;
  readonly actors: readonly Self[];
  readonly inside: Thread[] = [];
  readonly left: Thread[] = [];
  recoveries = 0;

  constructor(shared: SyncShared, actors: readonly Self[]) {
    this.shared = shared;
    this.actors = actors;
    for (const { thread } of actors) {
      thread.onThreadDeath(() => {
        this.recoveries++;
      });
    }
  }

  join(self: Self): void {
    const thread = Thread.join(this.shared.region);
    this.inside.push(thread);
    self.say(`starts a thread, in slot ${thread.slot}`);
  }

  /** The first one that is inside dies. */
  die(self: Self): Thread {
    const thread = this.inside.shift()!;
    endThread(thread);
    self.say(`lets the thread in slot ${thread.slot} die`);
    return thread;
  }

  /** Of the one that is inside from the start. */
  leave(self: Self): void {
    const thread = this.inside.shift()!;
    this.left.push(thread);
    thread.leave();
    self.say(`lets the thread in slot ${thread.slot} leave`);
    thread.leave();
  }

  /** At the end: who is inside is found by all, each in a slot of its own, and nobody else is. */
  end(): void {
    const { region } = this.shared;
    const { words } = region;
    const { thread } = this.actors[0]!;
    const threads = [...this.actors.map((self) => self.thread), ...this.inside];
    const slots = new Set(threads.map(({ slot }) => slot));
    ensure(slots.size === threads.length, "two threads have one slot");
    for (const { slot, holder } of threads) {
      ensure(slot < region.slotsUsed, `nobody looks as far as the thread in slot ${slot}`);
      ensure(thread.isAlive(holder), `the thread in slot ${slot} is taken for dead`);
      ensure(
        thread.holderIn(slot) === holder,
        `the thread in slot ${slot} is taken for another one`,
      );
    }
    for (const { holder } of this.left) {
      ensure(!thread.isAlive(holder), "a thread that has left is taken for one that is inside");
    }
    for (let slot = 0; slot < region.slotsUsed; slot++) {
      const base = region.slotBase(slot);
      const isFree = load(words, base + Slot.state) === SLOT_FREE;
      ensureNoLeak(isFree || slots.has(slot), `slot ${slot} is left taken`);
      ensure(!isFree || thread.holderIn(slot) === 0, `somebody is found in the free slot ${slot}`);
      const isHeld = load(words, base + Slot.liveness) !== 0;
      ensure(isHeld !== isFree, `the liveness of slot ${slot} is ${isHeld ? "" : "not "}held`);
    }
    thread.reap();
    ensure(this.recoveries === 0, "a thread was recovered, and nobody has died");
  }

  nameOf(word: number): string | null {
    return threadWordName([...this.actors], word);
  }
}

/** A region with two actors, a free slot, and a thread after it. */
const withFreeSlot = {
  build(): SyncShared {
    const { region, thread } = regionWithThreads(2);
    const last = Thread.join(region);
    thread.leave();
    last.leave();
    return { region, page: region.allocatePages(PAGE_WORDS) };
  },
  region: (shared: SyncShared) => shared.region,
  begin: (shared: SyncShared, actors: readonly Self[]) => new Comers(shared, actors),
  end: (comers: Comers) => comers.end(),
  nameOf: (comers: Comers, word: number) => comers.nameOf(word),
};

/** More join than there are slots that were used before. */
export const threadsJoin = scenario({
  ...withFreeSlot,
  name: "threads-join",
  about:
    "Four threads join a region at the same time, two of them in slots that were used before. Each has " +
    "a slot of its own, and everyone who looks for threads looks as far as the last one.",
  from: "sync/thread.ts, join; sync/region.ts, noteSlotUsed",
  actors: {
    first(comers, self) {
      comers.join(self);
      comers.join(self);
    },
    second(comers, self) {
      comers.join(self);
      comers.join(self);
    },
  },
  explore: { strategy: "bounded", preemptions: 3 },
});

/** One leaves, another one takes its slot. */
export const threadLeaves = scenario({
  ...withFreeSlot,
  begin(shared: SyncShared, actors: readonly Self[]): Comers {
    const comers = new Comers(shared, actors);
    comers.join(actors[0]!);
    return comers;
  },
  name: "thread-leaves",
  about:
    "A thread leaves the region, and says so twice, while another one joins and may be given its slot. " +
    "The one is gone, and the other is inside.",
  from: "sync/thread.ts, leave",
  actors: {
    leaver: (comers, self) => comers.leave(self),
    starter: (comers, self) => comers.join(self),
  },
});

/** A thread that has only just joined dies, and is found dead. */
export const joinedThreadDies = scenario({
  ...withFreeSlot,
  name: "joined-thread-dies",
  about:
    "A thread joins a region and dies while another one looks for the dead. Somebody finds it, once, and " +
    "its slot can be used again.",
  from: "sync/thread.ts, rule 2: the kernel marks the liveness mutex however the thread ends",
  actors: {
    starter(comers, self) {
      comers.join(self);
      const { holder } = comers.die(self);
      ensure(!self.thread.isAlive(holder), "a thread that has died is taken for alive");
    },
    finder(_comers, self) {
      self.thread.reap();
    },
  },
  end(comers: Comers): void {
    comers.actors[0]!.thread.reap();
    ensure(comers.recoveries === 1, `the dead thread was recovered ${comers.recoveries} times`);
    const { region } = comers.shared;
    const next = Thread.join(region);
    ensureNoLeak(next.slot < region.slotsUsed - 1, "the slot of a thread that died is not free");
    ensure(next.isAlive(next.holder), "the slot's next thread is taken for dead");
  },
});
