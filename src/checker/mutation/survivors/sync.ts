import type { Explanation } from "./explanation.ts";

export const syncSurvivors: readonly Explanation[] = [
  {
    file: "sync/guard.ts",
    function: "enterGuard",
    what: ["never: if (cas("],
    why: "The way for a guard that is taken does for a free one as well; it costs time.",
  },
  {
    file: "sync/guard.ts",
    function: "enterContendedGuard",
    what: ["choice (spins)", "never: if (spins)"],
    why:
      "How often to look again before sleeping is 0 in the checker, and a matter of time. A guard taken " +
      "marked makes its holder wake nobody in vain; taken unmarked, those who wait have been woken by " +
      "the one before and mark it again (variant mutex-mark-not-kept).",
  },
  {
    file: "sync/guard.ts",
    function: "enterContendedGuard",
    what: ["if (value > 0 && !cas(", "value > 0 && !cas(words, word, value, -value)"],
    why:
      "Of an unmarked guard the sleep ends at once, since the word is not what it is to hold, and so " +
      "does a turn without a sleep: all is looked at again. A waiter whose mark is lost sleeps for at " +
      "most 2 ms, as in the variant guard-leaves-silently.",
  },
  {
    file: "sync/guard.ts",
    function: "enterContendedGuard",
    what: ["left out: sleepWhile("],
    why: "Whoever does not sleep looks again and again: it costs time.",
  },
  {
    file: "sync/guard.ts",
    function: "synchronize",
    what: ["never: if (slot === thread.slot)"],
    why: "Nobody waits inside an epoch of its own, so its own is even and the next look passes it over.",
  },
  {
    file: "sync/guard.ts",
    function: "synchronize",
    what: ["never: if (spin < SPINS_MAX)", "left out: sleepWhile("],
    why: "How often to look before sleeping, and whether to sleep, is a matter of time.",
  },
  {
    file: "sync/guard.ts",
    function: "synchronize",
    what: ["without holder === 0"],
    why:
      "A slot whose thread has died is free only after its epoch has been ended, so the loop's own " +
      "look at the epoch ends the wait as well.",
  },
  {
    file: "sync/lock.ts",
    function: "release",
    what: ["never: if (held[held.length - 1] === this)"],
    why: "Taking the last one out of a list in the way in which any other is taken out costs time.",
  },
  {
    file: "sync/lock.ts",
    function: "recount",
    what: ["never: if (holder === 0)"],
    why: "A free slot has no records, so going through its table finds nothing; it costs time.",
  },
  ...[
    {
      function: "recount",
      what: [
        "swapped: store(words, lock + Lock.exclusive",
        "swapped: store(words, lock + Lock.waitingShared",
        "swapped: store(words, lock + Lock.waitingExclusive",
        "swapped: store(words, lock + Lock.batch",
      ],
    },
    { function: "tryShared", what: ["swapped: add("] },
    { function: "tryExclusive", what: ["swapped: store("] },
    {
      function: "unlockExclusive",
      what: ["swapped: store(words, record, 0)", "swapped: store(words, lock + Lock.batch"],
    },
    { function: "leaveSharedQueue", what: ["swapped: store(words, record, 0)"] },
    {
      function: "waitShared",
      what: [
        "swapped: store(words, record, lock + Mode.waitShared",
        "swapped: leaveSharedQueue(thread, lock, record, phase); add(",
        "swapped: add(words, lock + Lock.shared, 1)",
      ],
    },
    {
      function: "waitExclusive",
      what: [
        "swapped: store(words, record, lock + Mode.waitExclusive)",
        "swapped: add(words, lock + Lock.waitingExclusive, -1)",
        "swapped: store(words, lock + Lock.exclusive, thread.holder)",
        "swapped: store(words, record, 0)",
      ],
    },
  ].map((each) => ({
    file: "sync/lock.ts",
    ...each,
    why:
      "Both are done under the guard, where nobody else looks at the lock's words or its records. If " +
      "the thread dies between the two, the next one inside works all words out again, whichever came " +
      "first; whoever was woken waits for the guard.",
  })),
  {
    file: "sync/lock.ts",
    function: "waitExclusive",
    what: ["swapped: wake(thread, lock); leave(thread, lock);"],
    why:
      "Whoever waits has read the wake word under the guard, before this change of it, and is woken by " +
      "it; or comes after, and finds the queue without this one. If the thread dies between the two, " +
      "those who wait look around and test again.",
  },
  ...["unlockShared", "unlockExclusive", "waitShared", "waitExclusive"].map((name) => ({
    file: "sync/lock.ts",
    function: name,
    what: ["swapped: leave(thread, lock); thread.heldLocks."],
    why:
      "The record already holds zero, and the list of free ones is this thread's own: nobody sees " +
      "whether it is put there inside the guard or after.",
  })),
  {
    file: "sync/sleep.ts",
    function: "interruption",
    what: ["always: if (this.#isInterrupted?.(", "never: if (this.#isInterrupted?.("],
    why: "no scenario interrupts a wait so; it ends as by a signal, which they do. test/fuse/threads.test.ts sees it",
  },
  {
    file: "sync/lock.ts",
    function: "unlockShared",
    what: [
      "always: if (others === 0",
      "without others === 0",
      "without load(words, lock + Lock.waitingExclusive) > 0",
    ],
    why: "A wake-up too many: whoever is woken tests again (sync/sleep.ts, rule 1).",
  },
  {
    file: "sync/lock.ts",
    function: "unlockExclusive",
    what: ["always: if (waitingShared"],
    why: "A wake-up too many: whoever is woken tests again (sync/sleep.ts, rule 1).",
  },
  {
    file: "sync/lock.ts",
    function: "describe",
    why: "The wording of messages, which test/sync/lock.test.ts reads.",
  },
  {
    file: "sync/region.ts",
    function: "create",
    what: ["swapped: "],
    why: "Nobody else has the buffer before all of its header is written.",
  },
  ...[
    {
      function: "allocateObject",
      what: ["swapped: store(words, slab + Field.free, load(words, object))"],
    },
    { function: "freeObject", what: ["swapped: store(words, slab + Field.free, object)"] },
  ].map((each) => ({
    file: "sync/slab.ts",
    ...each,
    why:
      "Both are done under the guard. If the thread dies between the two, one object is lost or the " +
      "count is wrong by one, in either order, and no more than that is promised.",
  })),
  ...["allocateObject", "freeObject"].map((name) => ({
    file: "sync/slab.ts",
    function: name,
    what: ["swapped: add(words, slab + Field.used"],
    why: "The count of objects is changed by an atomic add, and read without the guard by statistics.",
  })),
  ...["give", "giveOwn"].map((name) => ({
    file: "sync/table.ts",
    function: name,
    what: ["swapped: "],
    why: "The list of free records is this thread's own JavaScript, and nothing is taken meanwhile.",
  })),
  {
    file: "sync/thread.ts",
    function: "join",
    what: [
      "swapped: store(words, base + Slot.incarnation",
      "swapped: store(words, base + Slot.threadId",
      "swapped: holdLiveness(",
    ],
    why: "While a slot's state says that somebody joins, nobody looks at what these write.",
  },
  {
    file: "sync/thread.ts",
    function: "join",
    what: ["swapped: region.noteSlotUsed(slot);"],
    why:
      "The thread holds nothing and is in no epoch before `join` returns, so it does not matter who " +
      "looks as far as its slot before that. If it dies meanwhile its slot is lost, in either order.",
  },
  {
    file: "sync/thread.ts",
    function: "join",
    what: ["left out: store(words, base + Slot.threadId, threadId);"],
    why: "The worker's number is for messages only.",
  },
  {
    file: "sync/thread.ts",
    function: "join",
    what: ["left out: joined.add(thread);"],
    why:
      "Keeps the region from being collected, of which the checker sees nothing; tested by " +
      "test/sync/thread.test.ts.",
  },
  {
    file: "sync/thread.ts",
    function: "leave",
    what: ["joined.delete(this);"],
    why: "Lets the region be collected; tested by test/sync/thread.test.ts.",
  },
  {
    file: "sync/thread.ts",
    function: "holderIn",
    what: ["without state === JOINING"],
    why:
      "A thread that joins has no records and is in no epoch, so that nobody does anything to the " +
      "holder that it is taken for.",
  },
  {
    file: "sync/thread.ts",
    function: "describe",
    why: "The wording of messages, which test/sync/thread.test.ts and test/sync/lock.test.ts read.",
  },
  {
    file: "sync/thread.ts",
    function: "holdLiveness",
    what: ["without mutexAttributeShared(attribute, 1)"],
    why:
      "Threads of one process are marked without it, too; it is for regions that several processes " +
      "will share.",
  },
  {
    file: "sync/clock.ts",
    function: "offsetMs",
    what: ["if (took >= best)"],
    why:
      "Arithmetic over two clocks of the machine, done once when the module is loaded: another look than the " +
      "best one counts, or none, and times of two threads differ by more. Threads of the checker have one clock.",
  },
];
