/** Variants of locks, guards, epochs and slabs: what two threads must agree on before anything else. */
import { variant } from "../variant.ts";

const LOCK = "sync/lock.ts";
const GUARD = "sync/guard.ts";

export const sharedReleaseForgetsWake = variant({
  name: "shared-release-forgets-wake",
  about: "The last shared holder leaves and does not wake the writer that waits for it.",
  from: "bug 8: mm: fix missing wake-up event for FSDAX pages (2022)",
  edits: [
    {
      file: LOCK,
      find: "if (others === 0 && load(words, lock + Lock.waitingExclusive) > 0)",
      replace: "if (others === 1 && load(words, lock + Lock.waitingExclusive) > 0)",
    },
  ],
  caughtBy: { "writer-after-reader": "deadlock" },
});

export const exclusiveReleaseForgetsReaders = variant({
  name: "exclusive-release-forgets-readers",
  about: "Whoever leaves the lock wakes when a writer waits, and forgets that readers may.",
  from: "bug 5: dax: Fix missed wakeup with PMD faults (2019): a class of sleepers is overlooked",
  edits: [
    {
      file: LOCK,
      find: "if (waitingShared + load(words, lock + Lock.waitingExclusive) > 0)",
      replace: "if (load(words, lock + Lock.waitingExclusive) > 0)",
    },
  ],
  caughtBy: { "reader-after-writer": "deadlock" },
});

export const changedButNotWoken = variant({
  name: "changed-but-not-woken",
  about: "The word that sleepers look at changes, but they are not woken.",
  from: "bug 7: Wake up all waiters after invalidating dax entry (2021)",
  edits: [{ file: LOCK, find: "    wakeAll(thread.words, lock + Lock.wake);\n", replace: "" }],
  caughtBy: { "writer-after-writer": "lost wake-up" },
});

export const wakesBeforeLeaving = variant({
  name: "wakes-before-leaving",
  about:
    "Whoever leaves the lock wakes the others first and lets go then: they look, find the lock taken, " +
    "and sleep again for ever.",
  from: "Wait-queue discipline: the condition changes before the wake-up",
  edits: [
    {
      file: LOCK,
      find: "export function unlockExclusive(thread, lock, record) {\n    const { words } = thread;\n",
      replace:
        "export function unlockExclusive(thread, lock, record) {\n    const { words } = thread;\n    wake(thread, lock);\n",
    },
    {
      file: LOCK,
      find: "    if (waitingShared + load(words, lock + Lock.waitingExclusive) > 0)\n        wake(thread, lock);\n",
      replace: "",
    },
  ],
  caughtBy: { "writer-after-writer": "deadlock" },
});

export const wakesBeforeItChanges = variant({
  name: "wakes-before-it-changes",
  about:
    "Whoever leaves the lock wakes the others before it changes the lock's words, all of it under the " +
    "guard.",
  from: "Wait-queue discipline: the condition changes before the wake-up",
  edits: [
    {
      file: LOCK,
      find: "    store(words, lock + Lock.exclusive, 0);\n    const waitingShared",
      replace:
        "    wake(thread, lock);\n    store(words, lock + Lock.exclusive, 0);\n    const waitingShared",
    },
    {
      file: LOCK,
      find: "    if (waitingShared + load(words, lock + Lock.waitingExclusive) > 0)\n        wake(thread, lock);\n",
      replace: "",
    },
  ],
  caughtBy: {},
  holds:
    "Who is woken looks under the guard, hence after all of the change; and it reads the word that it " +
    "sleeps on under the guard, too. Within the guard the order is free.",
  holdsIn: ["wait", "wait-for-two", "writer-after-writer"],
});

export const readsWakeWordTooLate = variant({
  name: "reads-wake-word-too-late",
  about:
    "A waiting writer looks at the lock under the guard, but reads the word that it will sleep on " +
    "after it: a release in between is not noticed.",
  from: "bug 3: dax: Avoid losing wakeup in dax_lock_mapping_entry (2018)",
  edits: [
    {
      file: LOCK,
      find:
        "                store(words, record, lock + Mode.exclusive);\n            }\n" +
        "            const expected = load(words, lock + Lock.wake);\n            leave(thread, lock);\n",
      replace:
        "                store(words, record, lock + Mode.exclusive);\n            }\n" +
        "            leave(thread, lock);\n            const expected = load(words, lock + Lock.wake);\n",
    },
  ],
  caughtBy: { "writer-after-writer": "deadlock" },
});

export const trustsTheWake = variant({
  name: "trusts-the-wake",
  about: "A writer that has been woken takes the lock without looking whether it is free.",
  from: "sync/sleep.ts, rule 1: wakes for no reason are allowed, and everyone tests again",
  edits: [
    {
      file: LOCK,
      find:
        "    store(words, record, lock + Mode.waitExclusive);\n" +
        "    add(words, lock + Lock.waitingExclusive, 1);\n    leave(thread, lock);\n" +
        "    try {\n        for (;;) {\n            enter(thread, lock);\n" +
        "            const admitted = admitsExclusive(thread, lock);\n",
      replace:
        "    store(words, record, lock + Mode.waitExclusive);\n" +
        "    add(words, lock + Lock.waitingExclusive, 1);\n    leave(thread, lock);\n" +
        "    try {\n        for (let woken = false;; woken = true) {\n            enter(thread, lock);\n" +
        "            const admitted = woken || admitsExclusive(thread, lock);\n",
    },
  ],
  caughtBy: { "both-after-writer": "check" },
});

export const swallowsTheWake = variant({
  name: "swallows-the-wake",
  about:
    "A waiting writer gives up and leaves the queue without waking those who had queued behind it.",
  from: "bug 3: dax: Use non-exclusive wait in wait_entry_unlocked() (2018): a waiter that never locks",
  edits: [
    {
      file: LOCK,
      find: "        add(words, lock + Lock.waitingExclusive, -1);\n        wake(thread, lock);\n",
      replace: "        add(words, lock + Lock.waitingExclusive, -1);\n",
    },
  ],
  caughtBy: { "aborted-writer": "deadlock" },
});

export const abortKeepsItsPlace = variant({
  name: "abort-keeps-its-place",
  about: "A reader of the batch gives up and stays counted in the batch, so no writer gets in.",
  from: "bug 22: an error path that keeps what it took; hazard H7",
  edits: [
    {
      file: LOCK,
      find:
        "        leaveSharedQueue(thread, lock, record, phase);\n        leave(thread, lock);\n" +
        "        thread.heldLocks.giveEmpty(record);\n",
      replace:
        "        store(words, record, 0);\n        add(words, lock + Lock.waitingShared, -1);\n" +
        "        leave(thread, lock);\n        thread.heldLocks.giveEmpty(record);\n",
    },
  ],
  caughtBy: { "aborted-reader": "deadlock" },
});

export const batchDoesNotWake = variant({
  name: "batch-does-not-wake",
  about: "The last of the batch gives up, and does not tell the writer that waited for the batch.",
  from: "bug 7: Wake up all waiters after invalidating dax entry (2021): B wakes nobody, C hangs",
  edits: [
    {
      file: LOCK,
      find: "    if (add(words, lock + Lock.batch, -1) === 1)\n        wake(thread, lock);\n",
      replace: "    add(words, lock + Lock.batch, -1);\n",
    },
  ],
  caughtBy: { "aborted-reader": "deadlock" },
});

export const phaseStays = variant({
  name: "phase-stays",
  about:
    "An exclusive holder leaves and the phase does not change, so nobody knows to be of the batch.",
  from: "sync/lock.ts, rule 4",
  edits: [{ file: LOCK, find: "    add(words, lock + Lock.phase, 1);\n", replace: "" }],
  caughtBy: { "both-after-writer": "deadlock" },
});

export const writersDoNotWaitForBatch = variant({
  name: "writers-do-not-wait-for-batch",
  about: "A writer goes before the batch: writer after writer, readers wait for ever.",
  from: "sync/lock.ts, rule 3; a writer-preferring lock",
  edits: [
    {
      file: LOCK,
      find: "        load(words, lock + Lock.shared) === 0 &&\n        load(words, lock + Lock.batch) === 0);",
      replace: "        load(words, lock + Lock.shared) === 0);",
    },
  ],
  caughtBy: { "reader-among-writers": "check" },
});

export const readersDoNotQueue = variant({
  name: "readers-do-not-queue",
  about: "A reader goes in whenever readers are inside, though a writer waits: it waits for ever.",
  from: "sync/lock.ts, rule 3; DESIGN.md 5.4: continuous new pins must not starve a break",
  edits: [
    {
      file: LOCK,
      find: "    return load(words, lock + Lock.waitingExclusive) === 0;\n",
      replace: "    return true;\n",
    },
  ],
  caughtBy: { "writer-among-readers": "check" },
});

export const recountForgetsWaiters = variant({
  name: "recount-forgets-waiters",
  about: "When a holder has died, the holders are counted again, but not those who wait.",
  from: "sync/lock.ts, rule 2: every waiter has a record",
  edits: [
    {
      file: LOCK,
      find: "store(words, lock + Lock.waitingExclusive, counts[Mode.waitExclusive]);",
      replace: "store(words, lock + Lock.waitingExclusive, 0);",
    },
  ],
  caughtBy: { "writer-dies": "leak" },
});

export const recountDoesNotWake = variant({
  name: "recount-does-not-wake",
  about: "The lock of a dead holder is free again, and those who wait for it are not woken.",
  from: "sync/lock.ts, rule 1; sync/sleep.ts, rule 3",
  edits: [
    {
      file: LOCK,
      find: "load(words, lock + Lock.phase) & 1 ? even : odd);\n    wake(thread, lock);\n",
      replace: "load(words, lock + Lock.phase) & 1 ? even : odd);\n",
    },
  ],
  caughtBy: { "holder-dies": "deadlock" },
});

export const locksOfTheDeadStay = variant({
  name: "locks-of-the-dead-stay",
  about: "The lock of a dead holder is counted again before its record is cleared.",
  from: "sync/lock.ts, rule 2",
  edits: [
    {
      file: LOCK,
      find: "            store(words, record, 0);\n            recount(thread, lock);\n",
      replace: "            recount(thread, lock);\n            store(words, record, 0);\n",
    },
  ],
  caughtBy: { "writer-dies": "deadlock" },
});

export const noLockOrder = variant({
  name: "no-lock-order",
  about: "The order of locks is not asserted: two threads wait for each other.",
  from: "DESIGN.md 5.6, invariant 5; hazard H7",
  edits: [
    {
      file: LOCK,
      find: "invariant(lock.rank < rank ||",
      replace: "invariant(true || lock.rank < rank ||",
    },
  ],
  caughtBy: { "lock-order": "deadlock" },
});

export const mutexWaiterNotMarked = variant({
  name: "mutex-waiter-not-marked",
  about: "Whoever waits for the mutex does not mark it, so its holder leaves and wakes nobody.",
  from: "Drepper, Futexes Are Tricky, mutex 2: the word must say that somebody waits",
  edits: [
    {
      file: LOCK,
      find: "        if (value > 0 && !cas(words, word, value, -value))\n            continue;\n",
      replace: "",
    },
    { file: LOCK, find: "expected: -Math.abs(value),", replace: "expected: value," },
  ],
  caughtBy: { mutex: "lost wake-up" },
});

export const mutexMarkNotKept = variant({
  name: "mutex-mark-not-kept",
  about: "Who gets the mutex after it waited takes it unmarked, though others may still wait.",
  from: "Drepper, Futexes Are Tricky, mutex 2: a woken waiter must take the lock as contended",
  edits: [{ file: LOCK, find: "        mine = -holder;\n", replace: "" }],
  caughtBy: {},
  holds:
    "A release wakes all who wait, not one as in Drepper's mutex, and each of them marks the word again " +
    "before it sleeps. The mark that is kept saves them that.",
  holdsIn: ["mutex", "mutex-of-three"],
});

export const deadMutexUnmarkedOnly = variant({
  name: "dead-mutex-unmarked-only",
  about: "The mutex of a dead holder is given back if nobody had marked it.",
  from: "sync/lock.ts, breakMutex",
  edits: [
    {
      file: LOCK,
      find: "    if (cas(words, word, dead, 0) || cas(words, word, -dead, 0))\n",
      replace: "    if (cas(words, word, dead, 0))\n",
    },
  ],
  caughtBy: { "mutex-holder-dies": "deadlock" },
});

export const guardLeavesSilently = variant({
  name: "guard-leaves-silently",
  about: "Whoever leaves a guard does not wake those who sleep before it.",
  from: "sync/guard.ts, leaveGuard",
  edits: [
    {
      file: GUARD,
      find: "    if (exchange(thread.words, word, 0) < 0)\n        wakeAll(thread.words, word);\n",
      replace: "    exchange(thread.words, word, 0);\n",
    },
  ],
  caughtBy: {},
  holds:
    "A sleep before a guard lasts at most 2 ms, so a wake-up that is forgotten is a delay; the checker " +
    "takes such a sleep to end when the word has changed.",
  holdsIn: ["guard", "guard-of-three", "writer-after-writer"],
});

export const deadGuardKept = variant({
  name: "dead-guard-kept",
  about: "Whoever waits before a guard does not look whether its holder has died.",
  from: "sync/guard.ts: the next one takes the guard over",
  edits: [
    {
      file: GUARD,
      find: "        if (!thread.isAlive(Math.abs(value))) {",
      replace: "        if (false) {",
    },
  ],
  caughtBy: { "guard-holder-dies": "deadlock" },
});

export const repairNotTold = variant({
  name: "repair-not-told",
  about: "A dead holder's guard is taken over, and nobody is told to repair what it guards.",
  from: "sync/guard.ts: the next one is told to repair; pthread_mutex_consistent()",
  edits: [
    {
      file: GUARD,
      find: "            if (cas(words, word, value, -holder))\n                return true;\n",
      replace: "            if (cas(words, word, value, -holder))\n                return false;\n",
    },
  ],
  caughtBy: { "guard-holder-dies": "check" },
});

export const epochNotOdd = variant({
  name: "epoch-not-odd",
  about:
    "A reader enters its epoch without saying so: whoever waits one epoch does not wait for it.",
  from: "sync/guard.ts, enterEpoch; rcu_read_lock without its barrier",
  edits: [
    {
      file: GUARD,
      find: "export function enterEpoch(thread) {\n    store(thread.words, thread.epochWord, ++thread.epochCount);\n",
      replace: "export function enterEpoch(thread) {\n    ++thread.epochCount;\n",
    },
  ],
  caughtBy: { epoch: "check", "pin-truncate": "invariant" },
});

export const epochSkipsThreads = variant({
  name: "epoch-skips-threads",
  about: "Whoever waits one epoch stops at the first thread that is in none.",
  from: "sync/guard.ts, synchronize; bug 10: fs/dax: don't skip locked entries when scanning (6.15)",
  edits: [
    {
      file: GUARD,
      find: "        if ((epoch & 1) === 0)\n            continue;\n",
      replace: "        if ((epoch & 1) === 0)\n            break;\n",
    },
  ],
  caughtBy: { epoch: "check" },
});

export const epochReadAgain = variant({
  name: "epoch-read-again",
  about:
    "Whoever waits one epoch waits until the reader is seen in none, instead of until the epoch that " +
    "it found has ended.",
  from: "sync/guard.ts, synchronize: it waits for those who are inside now",
  edits: [
    {
      file: GUARD,
      find: "for (let spin = 0; load(words, word) === epoch; spin++) {",
      replace: "for (let spin = 0, now = epoch; (now = load(words, word)) & 1; spin++) {",
    },
    {
      file: GUARD,
      find: "            sleepWhile(words, word, epoch, 1);\n",
      replace: "            sleepWhile(words, word, now, 1);\n",
    },
  ],
  caughtBy: {},
  holds:
    "It waits longer, never shorter: nobody uses what was freed. A reader that goes from epoch to epoch " +
    "without end could keep it waiting, which no scenario that ends can show.",
  holdsIn: ["epoch", "epoch-again", "pin-truncate"],
});

export const epochOfTheDead = variant({
  name: "epoch-of-the-dead",
  about: "Whoever waits one epoch waits for readers that have died in theirs.",
  from: "sync/guard.ts, synchronize",
  edits: [
    {
      file: GUARD,
      find: "            if (holder === 0 || !thread.isAlive(holder))\n                break;\n",
      replace: "            if (holder === 0)\n                break;\n",
    },
  ],
  caughtBy: { "epoch-reader-dies": "deadlock" },
});

export const slabWithoutGuard = variant({
  name: "slab-without-guard",
  about: "An object is taken off the slab's list without the guard: two threads take the same one.",
  from: "sync/slab.ts; the free list of a lock-free stack without a generation",
  edits: [
    {
      file: "sync/slab.ts",
      find: "    enterGuard(thread, slab + Field.guard);\n    let object = load(words, slab + Field.free);\n",
      replace: "    let object = load(words, slab + Field.free);\n",
    },
    {
      file: "sync/slab.ts",
      find: "        add(words, slab + Field.used, 1);\n    }\n    leaveGuard(thread, slab + Field.guard);\n",
      replace: "        add(words, slab + Field.used, 1);\n    }\n",
    },
  ],
  caughtBy: { slab: "check" },
});

export const pagesLoadedThenStored = variant({
  name: "pages-loaded-then-stored",
  about:
    "The region's next page is read and then written, not exchanged: two threads get one page.",
  from: "style: a shared word changes by compare-exchange, never by load and store",
  edits: [
    {
      file: "sync/region.ts",
      find: "            if (cas(this.words, Header.nextPage, next, next + pages))\n",
      replace: "            if (store(this.words, Header.nextPage, next + pages) || true)\n",
    },
  ],
  caughtBy: { pages: "check", slab: "check" },
});

export const reapsTheNextHolder = variant({
  name: "reaps-the-next-holder",
  about:
    "A finder marks the slot of a dead thread as recovered by it although the slot has been recovered and " +
    "joined again meanwhile: a live slot's state does not tell one thread from the next.",
  from: "our own core, before the scenario slot-used-again was written",
  edits: [
    {
      file: "sync/thread.ts",
      find: "            if (!cas(words, base + Slot.state, state, -this.holder))\n",
      replace:
        "            const now = load(words, base + Slot.state);\n" +
        "            if (now !== state && !(now > JOINING && state > JOINING))\n                continue;\n" +
        "            if (!cas(words, base + Slot.state, now, -this.holder))\n",
    },
  ],
  caughtBy: { "slot-used-again": "check" },
});

export const recordGivenBackPlainly = variant({
  name: "record-given-back-plainly",
  about:
    "Whoever leaves a lock gives its record back with a plain write, while another thread counts the " +
    "holders of another lock. It does no harm.",
  from: "our own core, before lock-beside found it; DESIGN.md: plain writes are ordered by something",
  edits: [
    {
      file: LOCK,
      find:
        "    store(words, record, 0);\n    const others = add(words, lock + Lock.shared, -1) - 1;\n" +
        "    if (others === 0 && load(words, lock + Lock.waitingExclusive) > 0)\n        wake(thread, lock);\n" +
        "    leave(thread, lock);\n    thread.heldLocks.giveEmpty(record);\n",
      replace:
        "    store(words, record, 0);\n    const others = add(words, lock + Lock.shared, -1) - 1;\n" +
        "    if (others === 0 && load(words, lock + Lock.waitingExclusive) > 0)\n        wake(thread, lock);\n" +
        "    leave(thread, lock);\n    thread.heldLocks.giveOwn(record);\n",
    },
  ],
  caughtBy: { "lock-beside": "data race" },
});
