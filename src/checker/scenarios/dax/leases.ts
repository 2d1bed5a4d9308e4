/** Leases and what writes: calls that write in place, calls that need blocks, preallocation, pins. */
import { DEVICE_BYTES_MAX, PAGE_SIZE } from "../../../base/quantities.ts";
import { tryWriteFile, writeFile } from "../../../dax/file-io.ts";
import { preallocate } from "../../../dax/layout-change.ts";
import { pinLongTerm, pinRange } from "../../../dax/pins.ts";
import { cloneRange } from "../../../dax/reflink.ts";
import {
  type Lease,
  LeaseBreak,
  LeaseKind,
  Reason,
  reasonOfRecall,
  requestLease,
  returnLease,
} from "../../../layout/lease.ts";
import { PAGE_INDEX_MAX } from "../../../mapping/mapping.ts";
import { load } from "../../../sync/atomics.ts";
import { clockMs } from "../../../sync/clock.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Volume } from "../../world/volume.ts";
import { ensureShown, mayFail, punch, refused, truncate, volumeStory, writePages } from "./play.ts";
import { takesTime } from "./sharing-play.ts";

function* hold(
  volume: Volume,
  self: Self,
  first: number,
  last: number,
  kind: "shared" | "exclusive",
): Sleeps<Lease> {
  const { mapping } = volume.file("A");
  const request = { first, last, kind: LeaseKind[kind], graceMs: 10, returnsOwn: false };
  const lease = yield* requestLease(self.task, mapping, request);
  self.say(`has ${kind} lease of pages ${first} to ${last}`);
  return lease;
}

function giveBack(self: Self, lease: Lease): void {
  self.say("returns its lease");
  returnLease(self.thread, lease);
}

/** What page 0 of the file holds, looked at as a part of the schedule. */
function contentNow(volume: Volume, self: Self): number {
  const block = volume.blockHeld(volume.file("A"), 0);
  return load(self.thread.words, volume.shared.device + block);
}

const LETTERS = new Uint8Array(PAGE_SIZE).fill("W".charCodeAt(0));

export const leaseWrite = volumeStory({
  name: "dax-lease-write",
  about:
    "An exclusive lease is held while another thread writes its page, by a call that may not wait and " +
    "then by one that may: what the page holds does not change before the lease is returned.",
  from: "issue 4, row 11: local writes recall; xfs_break_layouts(BREAK_WRITE)",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    *holder(volume, self) {
      const lease = yield* hold(volume, self, 0, 0, "exclusive");
      const before = contentNow(volume, self);
      ensure(contentNow(volume, self) === before, "what is leased exclusively is written");
      giveBack(self, lease);
    },
    *write(volume, self) {
      yield* writePages(volume, self, "A", 0, 1, "V");
      yield* volume.read(self, volume.file("A"), 0, 1);
      const dax = volume.dax(self);
      const { mapping } = volume.file("A");
      const written = tryWriteFile(dax, mapping, LETTERS, 0);
      if (written < 0) yield* writeFile(self.task, dax, mapping, LETTERS, 0);
    },
  },
  finally: (volume) => ensureShown(volume, "A", ["W"]),
});

export const leaseHole = volumeStory({
  name: "dax-lease-hole",
  about:
    "Shared leases of a hole and of a page are held while another thread writes both: the hole stays one " +
    "until its lease is returned, the other lease is not recalled.",
  from: "dax/write-lock.ts; RFC 5663: a NONE_DATA extent of a layout is recalled before it is filled",
  blocks: 4,
  files: [{ name: "A", pages: ".#" }],
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    *holder(volume, self) {
      const other = yield* hold(volume, self, 1, 1, "shared");
      const lease = yield* hold(volume, self, 0, 0, "shared");
      const wasHole = volume.blockHeld(volume.file("A"), 0) < 0;
      const { mapping } = volume.file("A");
      const sequence = load(self.thread.words, mapping + SEQUENCE);
      ensure(
        !wasHole || volume.blockHeld(volume.file("A"), 0) < 0,
        `a hole that is leased is filled (sequence ${sequence})`,
      );
      giveBack(self, lease);
      const recalled = reasonOfRecall(self.thread, other);
      ensure(recalled === null, "a shared lease is recalled though its page stays where it is");
      giveBack(self, other);
    },
    write: (volume, self) => writePages(volume, self, "A", 0, 2, "W"),
  },
  finally: (volume) => ensureShown(volume, "A", ["WW"]),
});

export const leaseExpired = volumeStory({
  name: "dax-lease-expired",
  about:
    "Leases of a page, of a hole and of what lies behind the end are not returned. A write call of the page waits " +
    "until the first one has expired, a preallocation of the hole for the second one, an append for the third one; " +
    "a preallocation of the page and a write that is refused wait for nobody.",
  from: "dax/write-lock.ts; layout/lease.ts, rule 4",
  blocks: 4,
  files: [{ name: "A", pages: "#." }],
  explore: { strategy: "reduced" },
  actors: {
    *one(volume, self) {
      const other = volume.actors[1]!; // does nothing itself
      const dax = volume.dax(self);
      const { mapping } = volume.file("A");
      const page = yield* hold(volume, other, 0, 0, "exclusive");
      yield* preallocate(self.task, dax, mapping, 0, PAGE_SIZE, true);
      ensure(reasonOfRecall(self.thread, page) === null, "a lease is recalled for nothing");
      yield* writePages(volume, other, "A", 0, 1, "V"); // sets the time
      yield* volume.read(self, volume.file("A"), 0, 1);
      ensure(tryWriteFile(dax, mapping, LETTERS, 0) < 0, "a leased page is written");
      yield* writePages(volume, self, "A", 0, 1, "W");
      ensure(clockMs() === 10, `the lease of 10 ms has expired after ${clockMs()}`);
      giveBack(other, page);
      const hole = yield* hold(volume, other, 1, 1, "shared");
      yield* preallocate(self.task, dax, mapping, PAGE_SIZE, PAGE_SIZE, true);
      ensure(clockMs() === 20, `the lease of 10 ms has expired after ${clockMs() - 10}`);
      giveBack(other, hole);
      const behind = yield* hold(volume, other, 2, PAGE_INDEX_MAX, "exclusive");
      const far = () => writeFile(self.task, dax, mapping, LETTERS, DEVICE_BYTES_MAX - 1);
      yield* refused(self, "EFBIG", far, "a write too far");
      ensure(reasonOfRecall(self.thread, behind) === null, "a lease is recalled for nothing");
      yield* writeFile(self.task, dax, mapping, LETTERS, "append");
      ensure(clockMs() === 30, `the lease of 10 ms has expired after ${clockMs() - 20}`);
      giveBack(other, behind);
    },
    other() {},
  },
});

export const leaseBeside = volumeStory({
  name: "dax-lease-beside",
  about:
    "A page is leased while two threads write the pages before it. Each of them has the io lock, although " +
    "it looks for leases first: what is written is of one of them.",
  from: "dax/write-lock.ts: the lock is held on return",
  blocks: 3,
  files: [{ name: "A", pages: "###" }],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *one(volume, self) {
      const lease = yield* hold(volume, self, 2, 2, "exclusive");
      yield* writePages(volume, self, "A", 0, 2, "V");
      giveBack(self, lease);
    },
    other: (volume, self) => writePages(volume, self, "A", 0, 2, "W"),
  },
  finally: (volume) => ensureShown(volume, "A", ["VVA", "WWA"]),
});

export const longTermExpired = volumeStory({
  name: "dax-long-term-expired",
  about:
    "The lease of a long-term pin is recalled: it takes no further pins, and no hole is filled for one in " +
    "vain. Then it expires, and the pin gives no buffers. Nothing is left of it.",
  from: "issue 4, row 7; dax/pins.ts, pinLongTerm",
  blocks: 2,
  files: [{ name: "A", pages: "#." }],
  explore: { strategy: "reduced" },
  actors: {
    *one(volume, self) {
      const other = volume.actors[1]!; // does nothing itself
      const dax = volume.dax(self);
      const file = volume.file("A");
      const lease = yield* hold(volume, self, 0, 1, "shared");
      const pinned = (page: number) =>
        pinLongTerm(self.task, dax, file.mapping, lease, page * PAGE_SIZE, PAGE_SIZE, true);
      const pin = yield* pinned(0);
      {
        using leases = new LeaseBreak(other.thread, file.mapping);
        ensure(leases.recall(0, 0, Reason.unmap), "a lease is not found");
      }
      ensure(pin.buffers.length === 1, "a pin gives no buffers although its lease is in time");
      yield* refused(self, "EBUSY", () => pinned(1), "a pin under a lease that is recalled");
      ensure(volume.blockHeld(file, 1) < 0, "a hole is filled for a pin that is refused");
      const next = yield* hold(volume, other, 0, 0, "exclusive");
      ensure(clockMs() === 10, `the lease of 10 ms has expired after ${clockMs()}`);
      yield* refused(self, "ESTALE", function* () {
        ensure(pin.buffers.length === 0, "a pin gives buffers although its lease has expired");
      });
      pin.release();
      giveBack(self, lease);
      giveBack(other, next);
      ensure(self.thread.leases.count === 0, "a record is left of a pin and its lease");
    },
    other() {},
  },
});

export const longTermRecalled = volumeStory({
  name: "dax-long-term-recalled",
  about:
    "A long-term pin is taken while a truncate recalls its lease. It is refused, and nothing stays pinned; or " +
    "the truncate waits until it is released.",
  from: "layout/lease.ts, rule 6; dax/pins.ts, pinLongTerm",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(volume, self) {
      const lease = yield* hold(volume, self, 0, 0, "shared");
      const file = volume.file("A");
      yield* mayFail(self, ["EBUSY", "EINVAL"], function* () {
        const dax = volume.dax(self);
        const pin = yield* pinLongTerm(self.task, dax, file.mapping, lease, 0, PAGE_SIZE, true);
        volume.io(self, file, pin, "W");
      });
      giveBack(self, lease);
    },
    change: (volume, self) => truncate(volume, self),
  },
  finally(volume) {
    for (const { thread } of volume.actors) {
      ensure(thread.leases.count === 0, "a record is left of a pin and its lease");
    }
  },
});

export const leaseTouch = volumeStory({
  name: "dax-lease-touch",
  about:
    "A punch has waited for a lease until that expired, and waits for a pin under it. The thread that holds the " +
    "pin touches a shared page of the same range through a window. The touch does not wait for the punch's " +
    "place among the requests: it would wait for its own thread.",
  from: "layout/lease.ts, rule 3, recallAhead",
  blocks: 4,
  files: [
    { name: "A", pages: "#=" },
    { name: "B", pages: ".." },
  ],
  clones: [{ source: "A", target: "B", first: 1, count: 1 }],
  windows: [{ file: "A", first: 0, pages: 2, writable: true }],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(volume, self) {
      const file = volume.file("A");
      const lease = yield* hold(volume, self, 0, 0, "shared");
      const pin = yield* pinRange(self.task, volume.dax(self), file.mapping, 0, PAGE_SIZE, false);
      yield* takesTime(volume, 20);
      yield* volume.store(self, 0, 1, "S");
      volume.io(self, file, pin, null);
      giveBack(self, lease);
    },
    punch: (volume, self) => punch(volume, self, 0, 2),
  },
  finally(volume) {
    ensureShown(volume, "A", ["..", ".S"]);
    ensureShown(volume, "B", [".A"]);
  },
});

/** The word of a mapping that changes with its layout (mapping/mapping.ts). */
const SEQUENCE = 6;

/** Takes a moment, and demands that no page of A gets another block meanwhile. */
function* staysAsItIs(volume: Volume, self: Self): Sleeps<void> {
  const layout = (): number => load(self.thread.words, volume.file("A").mapping + SEQUENCE);
  const before = layout();
  yield* takesTime(volume, 5);
  ensure(layout() === before, "a leased page gets another block");
}

export const leaseTail = volumeStory({
  name: "dax-lease-tail",
  about:
    "A lease of a file's last block, which is shared, is held while another thread clones something beyond the " +
    "file's end: what the block holds behind the end is zeroed, in a copy, when the lease is returned.",
  from: "dax/reflink.ts, growTail; dax/unshare.ts, rule 4",
  blocks: 5,
  files: [
    { name: "A", pages: "." },
    { name: "B", pages: "=" },
    { name: "C", pages: "=" },
  ],
  explore: { strategy: "pct", depth: 2, schedules: 150 },
  actors: {
    *holder(volume, self) {
      const [a, b] = [volume.file("A").mapping, volume.file("B").mapping];
      yield* truncate(volume, self);
      yield* truncate(volume, self, "B", PAGE_SIZE / 2);
      const whole = { sourceOffset: 0, offset: 0, length: null };
      yield* mayFail(self, ["EINVAL"], () => cloneRange(self.task, volume.dax(self), b, a, whole));
      const lease = yield* hold(volume, self, 0, 0, "shared");
      yield* staysAsItIs(volume, self);
      giveBack(self, lease);
    },
    *clone(volume, self) {
      const [a, c] = [volume.file("A").mapping, volume.file("C").mapping];
      const beyond = { sourceOffset: 0, offset: 2 * PAGE_SIZE, length: PAGE_SIZE };
      yield* cloneRange(self.task, volume.dax(self), c, a, beyond);
    },
  },
});

export const leaseCopied = volumeStory({
  name: "dax-lease-copied",
  about:
    "A lease of a shared page is held while another thread stores to it through a window, which takes a copy: " +
    "not before the lease is returned.",
  from: "dax/unshare.ts, rule 4; layout/lease.ts, recallAhead",
  blocks: 2,
  files: [
    { name: "A", pages: "=" },
    { name: "B", pages: "." },
  ],
  clones: [{ source: "A", target: "B", first: 0, count: 1 }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true }],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(volume, self) {
      const lease = yield* hold(volume, self, 0, 0, "shared");
      yield* staysAsItIs(volume, self);
      giveBack(self, lease);
    },
    store: (volume, self) => volume.store(self, 0, 0, "S"),
  },
  finally: (volume) => ensureShown(volume, "A", ["S"]),
});

export const leaseInPlace = volumeStory({
  name: "dax-lease-in-place",
  about:
    "Shared leases of all pages are held for long. A write in place, a preallocation of what has blocks, " +
    "and a pin that fills the hole wait for nobody and recall nobody; and a thread's own write does not " +
    "concern its own exclusive lease.",
  from: "dax/write-lock.ts",
  blocks: 4,
  files: [{ name: "A", pages: "#u." }],
  explore: { strategy: "reduced" },
  actors: {
    *one(volume, self) {
      const lease = yield* hold(volume, self, 0, 2, "shared");
      const other = volume.actors[1]!; // does nothing itself
      const dax = volume.dax(other);
      const { mapping } = volume.file("A");
      yield* writePages(volume, other, "A", 0, 1, "W");
      yield* preallocate(other.task, dax, mapping, 0, 2 * PAGE_SIZE, true);
      const pin = yield* pinRange(other.task, dax, mapping, 2 * PAGE_SIZE, PAGE_SIZE, true);
      pin.release();
      ensure(reasonOfRecall(self.thread, lease) === null, "a shared lease is recalled for nothing");
      giveBack(self, lease);
      const own = yield* hold(volume, self, 0, 0, "exclusive");
      yield* writePages(volume, self, "A", 0, 1, "X");
      ensure(reasonOfRecall(self.thread, own) === null, "a write recalls the writer's own lease");
      giveBack(self, own);
      ensure(clockMs() === 0, "somebody waits for a lease that is not in his way");
    },
    other() {},
  },
});

export const leaseShared = volumeStory({
  name: "dax-lease-shared",
  about:
    "Shared leases of a file's pages are not returned. Where a write copies shared blocks it waits until the " +
    "lease of each has expired, and recalls no other.",
  from: "dax/write-lock.ts: copies move blocks, so all leases over them are recalled",
  blocks: 8,
  files: [
    { name: "A", pages: "###" },
    { name: "B", pages: "..." },
  ],
  clones: [
    { source: "A", target: "B", first: 0, count: 1 },
    { source: "A", target: "B", first: 2, count: 1 },
  ],
  explore: { strategy: "reduced" },
  actors: {
    *one(volume, self) {
      const other = volume.actors[1]!; // does nothing itself
      const first = yield* hold(volume, other, 0, 0, "shared");
      const second = yield* hold(volume, other, 1, 1, "shared");
      yield* writePages(volume, self, "A", 0, 3, "W");
      ensure(clockMs() === 10, `the lease of 10 ms has expired after ${clockMs()}`);
      ensure(reasonOfRecall(self.thread, second) === null, "a lease is recalled for nothing");
      giveBack(other, first);
      giveBack(other, second);
    },
    other() {},
  },
  finally(volume) {
    ensureShown(volume, "A", ["WWW"]);
    ensureShown(volume, "B", ["A.A"]);
  },
});

export const leaseUnshared = volumeStory({
  name: "dax-lease-unshared",
  about:
    "Where the format cannot share blocks, a write waits for an exclusive lease of its page all the same.",
  from: "dax/write-lock.ts",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  shares: false,
  explore: { strategy: "reduced" },
  actors: {
    *one(volume, self) {
      const other = volume.actors[1]!; // does nothing itself
      const lease = yield* hold(volume, other, 0, 0, "exclusive");
      yield* writePages(volume, self, "A", 0, 1, "W");
      ensure(clockMs() === 10, `the lease of 10 ms has expired after ${clockMs()}`);
      giveBack(other, lease);
    },
    other() {},
  },
  finally: (volume) => ensureShown(volume, "A", ["W"]),
});
