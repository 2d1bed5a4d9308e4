/** Removal of the device while others wait for pins and for leases. */
import { HoldfastError } from "../../../base/errors.ts";
import { expireLeases, leaseStatistics, Reason, reasonOfRecall } from "../../../layout/lease.ts";
import { clockMs } from "../../../sync/clock.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import { type LeaseFile, leaseStory, Told } from "../../world/leases.ts";

/** What handleRemoval (dax/device-removal.ts) does where there are no windows. */
function removes(file: LeaseFile, self: Self): void {
  const { pages, thread } = file.hand(self);
  pages.deviceState.remove("");
  self.say("the device is gone");
  expireLeases(thread);
  pages.wakeAllWaiters();
}

/** Runs a layout change, which may end because the device is gone. Returns whether it did. */
function* endsGone(file: LeaseFile, self: Self, change: () => Sleeps<void>): Sleeps<boolean> {
  try {
    yield* change();
    return false;
  } catch (error) {
    if (!(error instanceof HoldfastError && error.code === "EIO")) throw error;
    ensure(file.hand(self).pages.deviceState.isGone, "a change ends as if the device were gone");
    self.say("the layout change ends with EIO");
    return true;
  }
}

export const removalPinned = leaseStory({
  name: "removal-pinned",
  about:
    "A layout change waits for a pin when the device is removed, and the pin is held on until the change " +
    "has ended. It ends with EIO, without a release, and the block is not free.",
  from: "bug 20: MF_MEM_PRE_REMOVE; removal under a mount hung before 6.7",
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    *io(file, self) {
      const pin = yield* file.pin(self, 0, 1);
      file.io(self, pin, 1);
      file.tell(self, Told.granted);
      yield* file.waitFor(self, Told.changed);
      file.endIo(self, pin);
    },
    *change(file, self) {
      yield* file.waitFor(self, Told.granted);
      const ended = yield* endsGone(file, self, () => file.remove(self, 0, 0));
      ensure(ended, "a layout change does not wait for a pin");
      file.tell(self, Told.changed);
    },
    remover: (file, self) => removes(file, self),
  },
});

export const removalLeased = leaseStory({
  name: "removal-leased",
  about:
    "A lease is granted when the device is removed, or is asked for meanwhile. Its holder is told that " +
    "it has expired; a layout change that waits for it ends with EIO.",
  from: "issue 4, row 17; layout/lease.ts, expireLeases",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(file, self) {
      const lease = yield* file.hold(self, 0, 0, "exclusive", 60_000);
      file.tell(self, Told.granted);
      // As a program that keeps it until it is told; one that asks after the removal is refused.
      const { deviceState } = file.hand(self).pages;
      if (!deviceState.isGone) yield* file.awaitRecall(self, lease);
      const reason = reasonOfRecall(self.thread, lease);
      ensure(deviceState.isGone || reason === Reason.unmap, `the lease is recalled for ${reason}`);
      file.unhold(self, lease);
    },
    *change(file, self) {
      yield* file.waitFor(self, Told.granted);
      yield* endsGone(file, self, () => file.change(self, 0, 0));
    },
    remover: (file, self) => removes(file, self),
  },
});

export const removalLeaseKept = leaseStory({
  name: "removal-lease-kept",
  about:
    "A layout change waits for a lease when the device is removed, and the lease is kept until the change " +
    "has ended. It ends with EIO at once, and not when the lease's grace is over.",
  from: "issue 4, row 17; layout/lease.ts, expireLeases",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(file, self) {
      const lease = yield* file.hold(self, 0, 0, "exclusive", 60_000);
      file.tell(self, Told.granted);
      yield* file.waitFor(self, Told.changed);
      yield* file.waitFor(self, Told.seen);
      ensure(file.isExpired(self, lease), "a lease on a device that is gone has not expired");
      ensure(leaseStatistics(self.thread).expired === 1, "a lease is counted wrong as expired");
      file.unhold(self, lease);
    },
    *change(file, self) {
      yield* file.waitFor(self, Told.granted);
      yield* endsGone(file, self, () => file.change(self, 0, 0));
      ensure(clockMs() === 0, "a layout change waits for a lease on a device that is gone");
      file.tell(self, Told.changed);
    },
    *remover(file, self) {
      yield* file.waitFor(self, Told.granted);
      removes(file, self);
      file.tell(self, Told.seen);
    },
  },
});

export const removalTold = leaseStory({
  name: "removal-told",
  about:
    "The holder of a lease keeps it until it is told: the removal of the device is what tells it.",
  from: "issue 4, row 17; layout/lease.ts, expireLeases",
  explore: { strategy: "reduced" },
  actors: {
    *holder(file, self) {
      const lease = yield* file.hold(self, 0, 0, "exclusive", 60_000);
      file.tell(self, Told.granted);
      yield* file.awaitRecall(self, lease);
      ensure(file.isExpired(self, lease), "a lease on a device that is gone has not expired");
      ensure(reasonOfRecall(self.thread, lease) === Reason.removal, "it is told another reason");
      file.unhold(self, lease);
    },
    *remover(file, self) {
      yield* file.waitFor(self, Told.granted);
      removes(file, self);
    },
  },
});
