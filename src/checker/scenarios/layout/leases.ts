/** Leases: requests, recalls, returns, expiry, and the breaks that wait for them. */
import { AbortError, HoldfastError } from "../../../base/errors.ts";
import {
  LeaseBreak,
  leasesOf,
  LeaseState,
  leaseStatistics,
  Reason,
  reasonOfRecall,
  tiePin,
  untiePin,
} from "../../../layout/lease.ts";
import { MappingWord } from "../../../mapping/mapping.ts";
import { releasePin } from "../../../pin/pin.ts";
import { clockMs } from "../../../sync/clock.ts";
import { lockShared } from "../../../sync/lock.ts";
import { Root } from "../../../sync/region.ts";
import { allocateObject, freeObject } from "../../../sync/slab.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import { INO } from "../../world/bare.ts";
import { type LeaseFile, leaseStory, recallOnly, Told } from "../../world/leases.ts";

/** What a holder may need before it returns: the io lock, as a write, or the map lock, as a fault. */
function* useLocks({ mapping }: LeaseFile, { task }: Self): Sleeps<void> {
  for (const kind of ["io", "map"] as const) {
    const lock = mapping + MappingWord[`${kind}Lock`];
    using _held = yield* lockShared(task, lock, { rankName: kind, order: INO });
  }
}

export const leaseReturn = leaseStory({
  name: "lease-return",
  about:
    "A lease is asked for, and returned some time later, while another thread changes the layout of its " +
    "page: not while it is relied on, and not for ever later.",
  from: "layout/lease.ts, rules 1, 2 and 5; DESIGN.md 5.4: whatever dropped a lock starts over",
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    *holder(file, self) {
      const lease = yield* file.hold(self, 0, 1);
      file.unhold(self, lease);
    },
    change: (file, self) => file.change(self, 1, 2),
  },
});

export const leaseRecall = leaseStory({
  name: "lease-recall",
  about:
    "A layout change recalls a lease. Its holder is told, needs the file's locks before it returns, and has " +
    "returned in time: the change waits for it without a lock.",
  from: "[PATCH v7 09/12] xfs: prepare xfs_break_layouts() for another layout type: what did_unlock is for",
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    *holder(file, self) {
      const lease = yield* file.hold(self, 0, 1);
      file.tell(self, Told.granted);
      yield* file.awaitRecall(self, lease);
      const reason = reasonOfRecall(self.thread, lease);
      ensure(reason === Reason.unmap, `the lease is recalled for reason ${reason}`);
      yield* useLocks(file, self);
      ensure(!file.isExpired(self, lease), "a lease has expired while nobody was late");
      file.unhold(self, lease);
    },
    *change(file, self) {
      yield* file.waitFor(self, Told.granted);
      yield* file.change(self, 1, 2);
      ensure(clockMs() === 0, "nobody tells the change of the return");
    },
  },
});

export const leaseTwoHolders = leaseStory({
  name: "lease-two-holders",
  about:
    "A layout change recalls the leases of two holders, one of which returns at once. It waits for the " +
    "other one as well.",
  from: "layout/lease.ts, rule 5: a lock dropped means everything again",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *quick(file, self) {
      const lease = yield* file.hold(self, 0, 0);
      file.tell(self, Told.granted);
      yield* file.awaitRecall(self, lease);
      file.unhold(self, lease);
    },
    *slow(file, self) {
      yield* file.waitFor(self, Told.granted);
      const lease = yield* file.hold(self, 1, 1, "shared", 20);
      file.tell(self, Told.seen);
      yield* file.awaitRecall(self, lease);
      yield* useLocks(file, self);
      file.unhold(self, lease);
    },
    *change(file, self) {
      yield* file.waitFor(self, Told.seen);
      yield* file.change(self, 0, 1);
    },
  },
});

export const leaseExpiry = leaseStory({
  name: "lease-expiry",
  about:
    "A holder does not return its lease before the layout has changed. The change waits until the " +
    "deadline, no longer and no shorter; the lease has expired then, for good.",
  from: "layout/lease.ts, rule 4; issue 4, row 11: expiry",
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    *holder(file, self) {
      const lease = yield* file.hold(self, 0, 0, "exclusive");
      file.tell(self, Told.granted);
      yield* file.waitFor(self, Told.changed);
      ensure(file.isExpired(self, lease), "the layout has changed and the lease is not expired");
      const { held, recalls, expired } = leaseStatistics(self.thread);
      ensure(
        held === 1 && recalls === 1 && expired === 1,
        `${held}, ${recalls}, ${expired} leases`,
      );
      file.unhold(self, lease);
    },
    *change(file, self) {
      yield* file.waitFor(self, Told.granted);
      yield* file.change(self, 0, 0);
      ensure(clockMs() === 10, `the lease of 10 ms has expired after ${clockMs()}`);
      // It does not count any more.
      yield* file.change(self, 0, 0);
      ensure(clockMs() === 10, "a change waits for a lease that has expired");
      file.tell(self, Told.changed);
    },
  },
});

export const leaseTwoChanges = leaseStory({
  name: "lease-two-changes",
  about:
    "A layout change waits for a lease that is not returned; another one comes later and is given up. The " +
    "lease expires when its grace since the first recall is over.",
  from: "layout/lease.ts, rule 4",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(file, self) {
      const lease = yield* file.hold(self, 0, 0);
      file.tell(self, Told.granted);
      yield* file.waitFor(self, Told.changed);
      file.unhold(self, lease);
    },
    *change(file, self) {
      yield* file.waitFor(self, Told.granted);
      yield* file.change(self, 0, 0);
      ensure(clockMs() === 10, `the lease of 10 ms has expired after ${clockMs()}`);
      file.tell(self, Told.changed);
    },
    *later(file, self) {
      yield* file.waitFor(self, Told.granted);
      yield* file.sleepUntil(self, 5);
      if (!file.isTold(self, Told.changed)) recallOnly(file, self);
    },
  },
});

export const leasePlace = leaseStory({
  name: "lease-place",
  about:
    "A break recalls leases here and there. Its place in the queue covers all of that: later requests in " +
    "between wait for it, others do not.",
  from: "layout/lease.ts, rule 3; a write call recalls extent by extent",
  explore: { strategy: "reduced" },
  actors: {
    *one(file, self) {
      const holder = file.hands[1]!.self; // does nothing itself
      const lease = yield* file.hold(holder, 0, 2);
      {
        using leases = new LeaseBreak(self.thread, file.mapping);
        for (const page of [1, 0, 2]) leases.recall(page, page, Reason.unmap);
        const told = leasesOf(self.thread, file.mapping);
        const shown = told.map(
          (each) => `${each.state}:${each.first}-${each.last}:${each.graceLeftMs}`,
        );
        const expected = `${LeaseState.breaking}:0-2:null, ${LeaseState.recalled}:0-2:10`;
        ensure(shown.join(", ") === expected, `the file's leases: ${shown.join(", ")}`);
        ensure(leaseStatistics(self.thread).held === 1, "the place of a break counts as a lease");
        for (const page of [0, 1, 2]) ensure(yield* isRefused(file, holder, page), `page ${page}`);
        ensure(!(yield* isRefused(file, holder, 3)), "a request beside the break waits for it");
      }
      ensure(!(yield* isRefused(file, holder, 1)), "a break that has ended is waited for");
      file.unhold(holder, lease);
    },
    holder() {},
  },
  timeoutMs: { one: 5 },
});

/** Whether a request of a page would have to wait: its time is up as soon as it does. */
function* isRefused(file: LeaseFile, self: Self, page: number): Sleeps<boolean> {
  const refusal = yield* refusalOf(() => holdOnce(file, self, page, page, "shared"));
  ensure(refusal === null || refusal === "ETIMEDOUT", `a request is told ${refusal}`);
  return refusal !== null;
}

/** The code of the error that an operation ends with, or null. */
function* refusalOf(operation: () => Sleeps<unknown>): Sleeps<string | null> {
  try {
    yield* operation();
    return null;
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    return error.code;
  }
}

export const leaseReturnedLate = leaseStory({
  name: "lease-returned-late",
  about:
    "Time passes at any point: a recalled lease is returned or expires, and which of the two, its holder " +
    "and the change agree.",
  from: "layout/lease.ts, rule 4: recall against expiry",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(file, self) {
      const lease = yield* file.hold(self, 0, 0, "exclusive");
      file.tell(self, Told.granted);
      yield* file.awaitRecall(self, lease);
      const wasExpired = file.isExpired(self, lease);
      if (file.isTold(self, Told.changed)) {
        ensure(file.isExpired(self, lease), "the layout has changed under a lease that is in time");
      }
      ensure(!wasExpired || file.isExpired(self, lease), "an expired lease is in time again");
      file.unhold(self, lease);
    },
    *change(file, self) {
      yield* file.waitFor(self, Told.granted);
      yield* file.change(self, 0, 0);
      file.tell(self, Told.changed);
    },
  },
  environment: { time: { passMs: 10 } },
});

export const leaseLongExpired = leaseStory({
  name: "lease-long-expired",
  about:
    "A lease was recalled by a change that was given up, and then nobody looked at it for nine days, so " +
    "that the clock has gone half round. The next change does not wait for it, and it is " +
    "expired for good, also when the clock has gone all the way round.",
  from: "sync/clock.ts: times modulo 2^30",
  explore: { strategy: "reduced" },
  actors: {
    *holder(file, self) {
      const lease = yield* file.hold(self, 0, 0);
      file.tell(self, Told.granted);
      yield* file.waitFor(self, Told.changed);
      // Once round: the deadline seems to be to come. But the change found the lease expired.
      yield* file.sleepUntil(self, 4 * 2 ** 28);
      ensure(file.isExpired(self, lease), "an expired lease is in time again");
      file.unhold(self, lease);
    },
    *change(file, self) {
      yield* file.waitFor(self, Told.granted);
      recallOnly(file, self);
      const rounds = 3;
      for (let part = 1; part <= rounds; part++) yield* file.sleepUntil(self, part * 2 ** 28);
      yield* file.change(self, 0, 0);
      ensure(clockMs() === rounds * 2 ** 28, "a change waits for a lease that has long expired");
      file.tell(self, Told.changed);
    },
  },
});

export const leaseListed = leaseStory({
  name: "lease-listed",
  about:
    "Two threads take a lease and return it, each, while another one asks who has leases. It is told of " +
    "leases that there were, as they were.",
  from: "layout/lease.ts, rule 1; FileHandle.holders()",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    one: (file, self) => holdOnce(file, self, 0, 0, "shared"),
    other: (file, self) => holdOnce(file, self, 1, 1, "shared"),
    asker(file, self) {
      for (const { holder, first, last, state } of leasesOf(self.thread, file.mapping)) {
        const isOfOne = first === 0 && holder === file.hands[0]!.self.thread.holder;
        const isOfOther = first === 1 && holder === file.hands[1]!.self.thread.holder;
        const isInTime = state === LeaseState.waiting || state === LeaseState.granted;
        ensure((isOfOne || isOfOther) && last === first && isInTime, "told of what nobody has");
      }
    },
  },
});

export const leaseNoMemory = leaseStory({
  name: "lease-no-memory",
  about:
    "There is no memory for the record of a lease: nothing stays behind, and later there is some.",
  from: "layout/lease.ts, enqueue: ENOMEM, with nothing changed",
  explore: { strategy: "reduced" },
  actors: {
    *one(file, self) {
      const { thread } = self;
      const taken = takeAll(self);
      const refusal = yield* refusalOf(() => file.hold(self, 0, 0));
      ensure(refusal === "ENOMEM", `a request without a record is told ${refusal}`);
      ensure(thread.leases.count === 0, "a record of the holder's table is lost");
      for (const lease of taken) freeObject(thread, thread.region.root(Root.leases), lease);
      yield* holdOnce(file, self, 0, 0, "shared");
    },
  },
});

/** All records of leases that there are, and all other memory for good. */
function takeAll({ thread }: Self): number[] {
  const taken: number[] = [];
  const untilFull = (allocate: () => void): void => {
    try {
      for (;;) allocate();
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== "ENOMEM") throw error;
    }
  };
  untilFull(() => thread.region.allocatePages(1));
  untilFull(() => taken.push(allocateObject(thread, thread.region.root(Root.leases))));
  return taken;
}

/** A lease for a moment. */
function* holdOnce(
  file: LeaseFile,
  self: Self,
  first: number,
  last: number,
  kind: "shared" | "exclusive",
): Sleeps<void> {
  const lease = yield* file.hold(self, first, last, kind);
  file.unhold(self, lease);
}

export const leaseExclusive = leaseStory({
  name: "lease-exclusive",
  about:
    "Two threads ask for exclusive leases that overlap. Each gets its own, one after the other.",
  from: "issue 4, row 11: two requesters",
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    one: (file, self) => holdOnce(file, self, 0, 1, "exclusive"),
    other: (file, self) => holdOnce(file, self, 1, 2, "exclusive"),
  },
});

export const leaseKinds = leaseStory({
  name: "lease-kinds",
  about:
    "Two shared leases and an exclusive one of the same page are asked for at once: the shared ones may " +
    "be held together, the exclusive one alone.",
  from: "issue 4, row 11: shared and exclusive leases on ranges",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    shared: (file, self) => holdOnce(file, self, 0, 0, "shared"),
    another: (file, self) => holdOnce(file, self, 0, 1, "shared"),
    exclusive: (file, self) => holdOnce(file, self, 0, 2, "exclusive"),
  },
});

export const leaseTogether = leaseStory({
  name: "lease-together",
  about:
    "A shared lease is held for long. Another shared one of the page, and an exclusive one of another " +
    "page, are granted at once and recall nobody.",
  from: "layout/lease.ts: what conflicts",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(file, self) {
      const lease = yield* file.hold(self, 0, 1);
      file.tell(self, Told.granted);
      yield* file.waitFor(self, Told.changed);
      ensure(clockMs() === 0, "somebody waits for a lease that does not conflict");
      file.unhold(self, lease);
    },
    *others(file, self) {
      yield* file.waitFor(self, Told.granted);
      yield* holdOnce(file, self, 1, 1, "shared");
      yield* holdOnce(file, self, 2, 2, "exclusive");
      yield* file.change(self, 2, 2);
      file.tell(self, Told.changed);
    },
  },
});

/** Holds a page, then wants the one that the other holds, without letting go. */
function* wantsBoth(
  file: LeaseFile,
  self: Self,
  own: number,
  wanted: number,
  graceMs: number,
): Sleeps<void> {
  const lease = yield* file.hold(self, own, own, "exclusive", graceMs);
  const second = yield* file.hold(self, wanted, wanted, "exclusive", graceMs);
  file.unhold(self, second);
  file.unhold(self, lease);
}

export const leaseRing = leaseStory({
  name: "lease-ring",
  about:
    "Two threads hold a page each and want the other's, without letting go. A deadline ends it, and both " +
    "get through.",
  from: "layout/lease.ts, rule 4; issue 4, row 11: deadlock settled",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    one: (file, self) => wantsBoth(file, self, 0, 1, 10),
    other: (file, self) => wantsBoth(file, self, 1, 0, 20),
  },
});

export const leaseOwn = leaseStory({
  name: "lease-own",
  about:
    "A thread that holds a lease changes the layout itself: the lease is recalled and not waited for. A " +
    "request of it that conflicts, and blocks, is refused, since it would wait for itself, unless the lease " +
    "is recalled already and will expire; one that does not block recalls it.",
  from: "layout/lease.ts, rule 7; break_lease() and the layouts of the same client",
  explore: { strategy: "reduced" },
  actors: {
    *one(file, self) {
      const lease = yield* file.hold(self, 0, 0);
      const refusal = yield* refusalOf(() => file.hold(self, 0, 1, "exclusive"));
      ensure(refusal === "EDEADLK", `a request behind its own lease is told ${refusal}`);
      const before = reasonOfRecall(self.thread, lease);
      ensure(before === null, "a request that is refused has recalled a lease");
      yield* holdOnce(file, self, 0, 1, "shared");
      yield* file.change(self, 0, 0);
      const reason = reasonOfRecall(self.thread, lease);
      ensure(reason === Reason.unmap, "the lease is not recalled for the layout change");
      ensure(clockMs() === 0, "a thread waits for its own lease");
      yield* file.sleepUntil(self, 10);
      ensure(file.isExpired(self, lease), "a lease does not expire as long as nobody else looks");
      file.unhold(self, lease);
      const other = yield* file.hold(self, 0, 0);
      const exclusive = yield* file.hold(self, 0, 0, "exclusive", 10, true);
      ensure(clockMs() === 20, "a thread that can return its own lease is not waited for");
      file.unhold(self, other);
      yield* file.change(self, 0, 0);
      yield* holdOnce(file, self, 0, 0, "exclusive");
      ensure(clockMs() === 30, "a thread does not wait for its own lease, which is recalled");
      file.unhold(self, exclusive);
    },
  },
});

export const leaseOwnBreak = leaseStory({
  name: "lease-own-break",
  about:
    "A thread changes the layout without blocking, and waits for another's lease. Meanwhile it asks for a " +
    "lease that has to wait for the change: it is refused if it blocks, since nobody would go on with the " +
    "change; else it waits.",
  from: "layout/lease.ts, rule 7; fcntl(2), F_SETLKW: EDEADLK",
  explore: { strategy: "reduced" },
  actors: {
    *one(file, self) {
      const holder = file.hands[1]!.self; // does nothing itself
      const lease = yield* file.hold(holder, 0, 0);
      {
        using leases = new LeaseBreak(self.thread, file.mapping);
        ensure(leases.recall(0, 0, Reason.unmap), "a lease is not found");
        const blocking = yield* refusalOf(() => file.hold(self, 0, 0));
        ensure(blocking === "EDEADLK", `a thread that waits for itself is told ${blocking}`);
        ensure(clockMs() === 0, "a thread waits for itself");
        const asking = yield* refusalOf(() => file.hold(self, 0, 0, "shared", 10, true));
        ensure(asking === "ETIMEDOUT", `a request that does not block is told ${asking}`);
      }
      file.unhold(holder, lease);
      yield* holdOnce(file, self, 0, 0, "shared");
    },
    holder() {},
  },
  timeoutMs: { one: 5 },
});

export const leaseOvertaken = leaseStory({
  name: "lease-overtaken",
  about:
    "A layout change waits for a lease. A request that comes later and conflicts with the change waits " +
    "until it has happened.",
  from: "layout/lease.ts, rule 3; issue 4, row 11: starvation",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(file, self) {
      const lease = yield* file.hold(self, 0, 0);
      file.tell(self, Told.granted);
      yield* file.awaitRecall(self, lease);
      file.tell(self, Told.recalled);
      file.unhold(self, lease);
    },
    *change(file, self) {
      yield* file.waitFor(self, Told.granted);
      yield* file.change(self, 0, 1);
      file.tell(self, Told.changed);
    },
    *newcomer(file, self) {
      yield* file.waitFor(self, Told.recalled);
      yield* useLocks(file, self); // the change waits by then, or has been done
      const lease = yield* file.hold(self, 1, 1);
      ensure(file.hasChanged(self), "a request overtakes a change that waits");
      file.unhold(self, lease);
    },
  },
});

export const leaseInTurn = leaseStory({
  name: "lease-in-turn",
  about:
    "An exclusive lease is asked for while a shared one is held. A further shared one, asked for later, " +
    "does not overtake it. The one who waits may be aborted; then nothing of it is left.",
  from: "layout/lease.ts, rule 3: nobody is overtaken",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(file, self) {
      const lease = yield* file.hold(self, 0, 0);
      file.tell(self, Told.granted);
      yield* file.awaitRecall(self, lease);
      file.tell(self, Told.recalled);
      file.unhold(self, lease);
    },
    *exclusive(file, self) {
      yield* file.waitFor(self, Told.granted);
      const lease = yield* file.hold(self, 0, 1, "exclusive");
      file.tell(self, Told.changed);
      yield* file.awaitRecall(self, lease);
      ensure(clockMs() === 0, "nobody recalls a lease that somebody waits for");
      file.unhold(self, lease);
    },
    *shared(file, self) {
      yield* file.waitFor(self, Told.recalled);
      const lease = yield* file.hold(self, 1, 1);
      ensure(file.isTold(self, Told.changed), "a later request is granted first");
      file.unhold(self, lease);
    },
  },
});

export const leaseAborted = leaseStory({
  name: "lease-aborted",
  about:
    "A request that waits for a lease is aborted at any point. Nothing of it is left, and who waits " +
    "behind it goes on.",
  from: "DESIGN.md 5.6 (7): a failed or aborted operation changes nothing",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(file, self) {
      const lease = yield* file.hold(self, 0, 0);
      file.tell(self, Told.granted);
      yield* file.waitFor(self, Told.changed);
      file.unhold(self, lease);
    },
    *exclusive(file, self) {
      yield* mayBeAborted(self, function* () {
        yield* file.waitFor(self, Told.granted);
        yield* holdOnce(file, self, 0, 1, "exclusive");
      });
    },
    *behind(file, self) {
      yield* file.waitFor(self, Told.granted);
      yield* holdOnce(file, self, 1, 1, "shared");
      file.tell(self, Told.changed);
    },
  },
  environment: { interrupt: { abort: "exclusive" } },
});

function* mayBeAborted(self: Self, operation: () => Sleeps<void>): Sleeps<void> {
  try {
    yield* operation();
  } catch (error) {
    if (!(error instanceof AbortError)) throw error;
    const isNamed = !error.message.includes("lease") || error.message.includes("of thread");
    ensure(isNamed, `nobody is named in "${error.message}"`);
    self.say("is aborted");
  }
}

export const leaseDeath = leaseStory({
  name: "lease-death",
  about:
    "A holder dies at any point, or a thread that asks for a lease. Its lease and its request go with " +
    "it, and a layout change that waits for them goes on.",
  from: "issue 4, row 11: expiry of a dead holder",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(file, self) {
      const lease = yield* file.hold(self, 0, 0, "exclusive");
      yield* file.awaitRecall(self, lease);
      file.unhold(self, lease);
    },
    *change(file, self) {
      yield* file.change(self, 0, 0);
      ensure(clockMs() === 0, "a change waits for the lease of a dead thread");
    },
  },
  environment: { death: { kill: "holder" } },
});

export const leaseRecordsDeath = leaseStory({
  name: "lease-records-death",
  about:
    "A holder of two leases, with a long-term pin under one of them, dies at any point: its leases and " +
    "its pin go with it, each once.",
  from: "layout/lease.ts: the holder's table; several-processes.md",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(file, self) {
      const { pages } = file.hand(self);
      const lease = yield* file.hold(self, 0, 0);
      const pin = file.tryPin(self, 0, 1);
      untiePin(self.thread, tiePin(self.thread, lease, pin));
      const other = yield* file.hold(self, 1, 1);
      const note = tiePin(self.thread, lease, pin);
      untiePin(self.thread, note);
      releasePin(self.thread, pages, pin);
      file.unhold(self, other);
      file.unhold(self, lease);
    },
    heir(_file, self) {
      self.thread.reap();
    },
  },
  environment: { death: { kill: "holder" } },
});

export const leaseBreakDeath = leaseStory({
  name: "lease-break-death",
  about:
    "A thread that changes the layout dies at any point, also while it waits for a lease. A request of " +
    "the lease's holder, which waits behind it, goes on.",
  from: "layout/lease.ts, rule 3; several-processes.md",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(file, self) {
      const lease = yield* file.hold(self, 0, 0);
      file.tell(self, Told.granted);
      yield* holdOnce(file, self, 1, 1, "shared");
      file.unhold(self, lease);
    },
    *change(file, self) {
      yield* file.waitFor(self, Told.granted);
      yield* file.change(self, 0, 1);
    },
  },
  environment: { death: { kill: "change" } },
});

/** Recalls the lease of page 0 as a change that waits for no request, and gives up. */
function recallsAhead(file: LeaseFile, self: Self): void {
  using leases = new LeaseBreak(self.thread, file.mapping);
  leases.recallAhead(0, 0);
}

export const leaseRecalledAhead = leaseStory({
  name: "lease-recalled-ahead",
  about:
    "Two changes that wait for no request recall a lease at once, one of them its holder's own. It is recalled " +
    "once.",
  from: "layout/lease.ts, recallAhead",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(file, self) {
      const lease = yield* file.hold(self, 0, 0);
      file.tell(self, Told.granted);
      recallsAhead(file, self);
      yield* file.waitFor(self, Told.recalled);
      const { recalls } = leaseStatistics(self.thread);
      ensure(recalls === 1, `a lease is recalled ${recalls} times`);
      file.unhold(self, lease);
    },
    *other(file, self) {
      yield* file.waitFor(self, Told.granted);
      recallsAhead(file, self);
      file.tell(self, Told.recalled);
    },
  },
});
