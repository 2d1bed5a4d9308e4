/** Long-term pins: their leases are recalled, expire, and are recalled while a pin is taken. */
import { HoldfastError } from "../../../base/errors.ts";
import {
  type Lease,
  leaseStatistics,
  longTermText,
  serialOfLease,
  tiePin,
  untiePin,
} from "../../../layout/lease.ts";
import { type PinRecord, releasePin } from "../../../pin/pin.ts";
import { heldPins } from "../../../pin/record.ts";
import { load } from "../../../sync/atomics.ts";
import { clockMs } from "../../../sync/clock.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { forEachRecord } from "../../../sync/table.ts";
import { Slot } from "../../../sync/thread.ts";
import { ensure, type Self } from "../../scenario.ts";
import { type LeaseFile, leaseStory, recallOnly, Told } from "../../world/leases.ts";

export const leaseLongTermPin = leaseStory({
  name: "lease-long-term-pin",
  about:
    "A holder has a long-term pin under its lease, with I/O under way. A truncate recalls the lease: the " +
    "holder ends the I/O, releases the pin and returns the lease, and only then the blocks are free.",
  from: "issue 4, row 7; the RDMA question: FOLL_LONGTERM is refused on a DAX mapping since it has no lease",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(file, self) {
      const lease = yield* file.hold(self, 0, 0);
      const pin = yield* file.pin(self, 0, 1, true);
      const note = tiePin(self.thread, lease, pin);
      file.io(self, pin, 1);
      file.tell(self, Told.granted);
      yield* file.awaitRecall(self, lease);
      untiePin(self.thread, note);
      file.endIo(self, pin);
      file.unhold(self, lease);
    },
    *truncate(file, self) {
      yield* file.waitFor(self, Told.granted);
      yield* file.remove(self, 0, 1);
    },
  },
});

/** A long-term pin with I/O, which ends some time after its lease has expired. */
function* holdsOn(file: LeaseFile, self: Self): Sleeps<void> {
  const lease = yield* file.hold(self, 0, 0);
  const pin = yield* file.pin(self, 0, 1, true);
  const note = tiePin(self.thread, lease, pin);
  file.io(self, pin, 1);
  file.tell(self, Told.granted);
  yield* file.sleepUntil(self, 12);
  yield* file.sleepUntil(self, 30);
  ensure(file.isExpired(self, lease), "a lease that is not returned does not expire");
  try {
    tiePin(self.thread, lease, pin);
    ensure(false, "an expired lease takes a long-term pin");
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== "ESTALE") throw error;
  }
  file.endIo(self, pin);
  untiePin(self.thread, note);
  file.unhold(self, lease);
}

export const leaseExpiredPin = leaseStory({
  name: "lease-expired-pin",
  about:
    "A holder is late: its lease expires while a long-term pin under it has I/O under way. The truncate " +
    "goes on waiting for the pin.",
  from: "issue 4, row 7: after the deadline the pin is fenced as far as memory allows, and the wait goes on",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    holder: holdsOn,
    *truncate(file, self) {
      yield* file.waitFor(self, Told.granted);
      yield* file.remove(self, 0, 0);
      ensure(clockMs() >= 30, "a page is free while a pin of it is held");
    },
  },
});

export const leaseExpiredTold = leaseStory({
  name: "lease-expired-told",
  about:
    "A truncate gives up while it waits for a long-term pin whose lease has expired. It says whose pin " +
    "that is, and under which lease.",
  from: "issue 4, row 7: the wait is reported",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    holder: holdsOn,
    *truncate(file, self) {
      yield* file.waitFor(self, Told.granted);
      try {
        yield* file.remove(self, 0, 0);
        ensure(false, "a page is free while a pin of it is held");
      } catch (error) {
        if (!(error instanceof HoldfastError) || error.code !== "ETIMEDOUT") throw error;
        const named = /pages 0 to 0 by thread .*, long-term under lease \d+, which expired/;
        ensure(named.test(error.message), `nobody is named in "${error.message}"`);
      }
    },
  },
  timeoutMs: { truncate: 20 },
});

export const leasePinNamed = leaseStory({
  name: "lease-pin-named",
  about:
    "A thread has two leases, and a long-term pin under one of them. Who asks is told which one that is, " +
    "and how it stands: granted, recalled, late, expired.",
  from: "issue 4, row 7: the wait is reported; layout/lease.ts, longTermText",
  explore: { strategy: "reduced" },
  actors: {
    *one(file, self) {
      const { thread } = self;
      const lease = yield* file.hold(self, 0, 0);
      const pin = file.tryPin(self, 0, 1);
      const note = tiePin(thread, lease, pin);
      const other = yield* file.hold(self, 1, 1);
      ensure(leaseStatistics(thread).held === 2, "a pin counts as a lease");
      const ensureTold = (standing: string): void => {
        const told = longTermText(thread, heldPins(thread, file.mapping, 0, 0)[0]!);
        const expected = `, long-term under lease ${serialOfLease(thread, lease)}${standing}`;
        ensure(told === expected, `"${told}", and not "${expected}"`);
      };
      ensureTold("");
      recallOnly(file, file.hands[1]!.self); // does nothing itself
      yield* file.sleepUntil(self, 4);
      ensureTold(", recalled, which expires in 6 ms");
      yield* file.sleepUntil(self, 510);
      ensureTold(", which expired 0.5 s ago");
      ensure(file.isExpired(self, lease), "a lease that is not returned does not expire");
      ensureTold(", which expired 0.5 s ago");
      untiePin(thread, note);
      releasePin(thread, file.hand(self).pages, pin);
      file.unhold(self, other);
      file.unhold(self, lease);
    },
    other() {},
  },
});

export const leasePinRecalled = leaseStory({
  name: "lease-pin-recalled",
  about:
    "A long-term pin is asked for while the lease is recalled. Either it is refused, or whoever recalls " +
    "the lease sees it.",
  from: "layout/lease.ts, rule 6",
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    *holder(file, self) {
      const lease = yield* file.hold(self, 0, 0);
      file.tell(self, Told.granted);
      const pin = file.tryPin(self, 0, 1);
      const note = tiedOrRefused(self, lease, pin);
      yield* file.waitFor(self, Told.recalled);
      ensure(note === 0 || file.isTold(self, Told.seen), "a recall has overlooked a long-term pin");
      if (note !== 0) untiePin(self.thread, note);
      releasePin(self.thread, file.hand(self).pages, pin);
      file.unhold(self, lease);
    },
    *recall(file, self) {
      yield* file.waitFor(self, Told.granted);
      recallOnly(file, self);
      const { region, words } = self.thread;
      forEachRecord(words, region.slotBase(0) + Slot.leases, 2, (record) => {
        if (load(words, record + 1) !== 0) file.tell(self, Told.seen);
      });
      file.tell(self, Told.recalled);
    },
  },
});

/** The note that ties the pin to the lease; 0 when it is refused. */
function tiedOrRefused(self: Self, lease: Lease, pin: PinRecord): number {
  try {
    return tiePin(self.thread, lease, pin);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== "EBUSY") throw error;
    return 0;
  }
}
