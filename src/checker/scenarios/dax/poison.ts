/** Pages whose bytes the storage loses, while they are read, shown, pinned, written and given away. */
import { PAGE_SIZE } from "../../../base/quantities.ts";
import { preallocate } from "../../../dax/layout-change.ts";
import { pinRange, tryPinRange } from "../../../dax/pins.ts";
import { dedupeRange } from "../../../dax/reflink.ts";
import type { PoisonReport } from "../../../pages/bad-pages.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import { LOST_BYTES } from "../../world/device.ts";
import type { Volume } from "../../world/volume.ts";
import {
  ensureShown,
  handleReport,
  loads,
  mayFail,
  punch,
  refused,
  sync,
  truncate,
  volumeStory,
  writePages,
} from "./play.ts";
import { clone } from "./sharing-play.ts";

/** The storage loses a block, which is found and listed later, and the report handled. */
function* lose(volume: Volume, self: Self, block = 0, owners = 1): Sleeps<void> {
  volume.hand(self).device.writeBlock(block, LOST_BYTES);
  self.say(`block ${block} is lost`);
  yield* handle(volume, self, volume.dax(self).pages.bad.add(block, block), owners);
}

/** The same, listed before anybody could find bytes that mean nothing: there a processor would refuse. */
function* loseListed(volume: Volume, self: Self, block = 0, owners = 1): Sleeps<void> {
  const report = volume.dax(self).pages.bad.add(block, block);
  volume.hand(self).device.writeBlock(block, LOST_BYTES);
  self.say(`block ${block} is lost`);
  yield* handle(volume, self, report, owners);
}

/** `owners`: at most so many files have the block. */
function* handle(volume: Volume, self: Self, report: PoisonReport, owners = 1): Sleeps<void> {
  const { length } = yield* handleReport(volume, self, report);
  ensure(length >= 1 && length <= owners, `one block is lost, ${length} ranges are told`);
}

/** Reads a page of A: one of these, or EIO. */
function* reads(volume: Volume, self: Self, allowed: readonly string[], page = 0): Sleeps<void> {
  const { bad } = volume.dax(self).pages;
  const known = bad.any;
  const failed = yield* mayFail(self, ["EIO"], function* () {
    const found = yield* volume.read(self, volume.file("A"), page, 1);
    self.say(`it reads ${found}`);
    ensure(allowed.includes(found), `"${found}" is read; it may be "${allowed.join('", "')}"`);
  });
  ensure(!failed || known || bad.any || bad.lastReport > 0, "a healthy page is not read");
}

export const poisonDedupe = volumeStory({
  name: "dax-poison-dedupe",
  about:
    "Two blocks that held the same are compared when one of them is lost: they are not shared.",
  from: "dax/reflink.ts, holdSame; FIDEDUPERANGE with -EIO",
  blocks: 2,
  files: [
    { name: "A", pages: "#" },
    { name: "Aa", pages: "=" },
  ],
  actors: {
    *user(volume, self) {
      yield* loseListed(volume, self);
      const [a, b] = [volume.file("A").mapping, volume.file("Aa").mapping];
      const range = { sourceOffset: 0, offset: 0, length: PAGE_SIZE };
      const dedupe = () => dedupeRange(self.task, volume.dax(self), a, b, range);
      yield* refused(self, "EIO", dedupe, "a dedupe of what is lost");
    },
  },
  explore: { strategy: "reduced" },
});

export const poisonRead = volumeStory({
  name: "dax-poison-read",
  about:
    "A page is read while the storage loses it. The reader gets what was there, or EIO; never what the " +
    "block holds afterwards.",
  from: "dax/poison.ts, copyOutHealthy; dax_iomap_iter with -EHWPOISON",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  actors: {
    read: (volume, self) => reads(volume, self, ["A"]),
    *report(volume, self) {
      yield* loseListed(volume, self);
      const file = volume.file("A");
      yield* refused(self, "EIO", () => volume.read(self, file, 0, 1), "a read of a lost page");
    },
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const poisonOverwritten = volumeStory({
  name: "dax-poison-overwritten",
  about:
    "A lost page is overwritten by a write call, while another thread touches it: it finds the page lost, " +
    "or what was written. The page is taken off the list when its new bytes are there, not before.",
  from: "pmem_recovery_write: data first, badblock record last; pages/bad-pages.ts, invariant 3",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  windows: [{ file: "A", first: 0, pages: 1, writable: false }],
  actors: {
    write: [
      (volume, self) => loseListed(volume, self),
      (volume, self) => writePages(volume, self, "A", 0, 1, "B"),
    ],
    *touch(volume, self) {
      if (volume.dax(self).pages.bad.any) yield* loads(volume, self, 0, 0, [".", "B"]);
    },
  },
  finally(volume) {
    ensureShown(volume, "A", ["B"]);
    ensure(!volume.isBad(0), "a page that was overwritten stays listed");
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const poisonHealed = volumeStory({
  name: "dax-poison-healed",
  about: "A lost page is overwritten: the window that showed it as lost shows the file again.",
  from: "dax/file-io.ts, showWritten",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  windows: [{ file: "A", first: 0, pages: 1, writable: false, shown: [0] }],
  actors: {
    *write(volume, self) {
      yield* lose(volume, self);
      yield* loads(volume, self, 0, 0, ["."]);
      yield* writePages(volume, self, "A", 0, 1, "B");
      yield* loads(volume, self, 0, 0, ["B"]);
    },
  },
  explore: { strategy: "reduced" },
});

export const poisonTwice = volumeStory({
  name: "dax-poison-twice",
  about:
    "A lost page is overwritten, and lost again meanwhile. The second report is not taken off the list " +
    "by the write that began before it.",
  from: "pages/bad-pages.ts, invariant 3",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  actors: {
    write: [
      (volume, self) => lose(volume, self),
      (volume, self) => mayFail(self, ["EIO"], () => writePages(volume, self, "A", 0, 1, "B")),
    ],
    again: (volume, self) => lose(volume, self),
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const poisonFault = volumeStory({
  name: "dax-poison-fault",
  about:
    "A page is touched for the first time while the storage loses it. Nothing stays mapped: in the end " +
    "no window shows the page, and a touch finds it lost.",
  from: "hazard H11; memory_failure against a fault; pages/bad-pages.ts, invariant 2",
  blocks: 3,
  files: [{ name: "A", pages: "==" }],
  windows: [{ file: "A", first: 0, pages: 2, writable: true }],
  actors: {
    touch: (volume, self) => loads(volume, self, 0, 0, ["A", ".", "!"]),
    *report(volume, self) {
      yield* lose(volume, self);
      yield* loads(volume, self, 0, 0, ["."]);
      yield* loads(volume, self, 0, 1, ["A"]);
    },
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const poisonHole = volumeStory({
  name: "dax-poison-hole",
  about:
    "A hole is stored to, which takes the only free block, while the storage loses that block: before it " +
    "is zeroed it is whole again; after that no window keeps it.",
  from: "pages/bad-pages.ts, invariants 2 and 3; dax/fault.ts, hidePoisoned",
  blocks: 1,
  knowsOwners: false,
  files: [{ name: "A", pages: "." }],
  windows: [
    { file: "A", first: 0, pages: 1, writable: true, shown: [0] },
    { file: "A", first: 0, pages: 1, writable: true, shown: [0] },
  ],
  actors: {
    store: (volume, self) => volume.store(self, 0, 0, "S"),
    report: (volume, self) => lose(volume, self),
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const poisonHolePopulated = volumeStory({
  name: "dax-poison-hole-populated",
  about: "The same by a pin of the hole, where windows cannot fault.",
  from: "dax/fault.ts, hidePoisoned",
  blocks: 1,
  knowsOwners: false,
  faults: false,
  files: [{ name: "A", pages: "." }],
  windows: [{ file: "A", first: 0, pages: 1, writable: false }],
  actors: {
    *pin(volume, self) {
      yield* mayFail(self, ["EIO"], function* () {
        const { mapping } = volume.file("A");
        (yield* pinRange(self.task, volume.dax(self), mapping, 0, PAGE_SIZE, true)).release();
      });
    },
    report: (volume, self) => lose(volume, self),
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

/** Takes a pin, which is refused if the page was listed before. */
function* pins(volume: Volume, self: Self): Sleeps<void> {
  const { mapping } = volume.file("A");
  const dax = volume.dax(self);
  const listed = dax.pages.bad.any;
  const failed = yield* mayFail(self, ["EIO"], function* () {
    using pin = yield* pinRange(self.task, dax, mapping, 0, PAGE_SIZE, true);
    ensure(!listed, "a page that is lost is pinned");
    const lost = dax.pages.bad.any;
    ensure(!lost || pin.poisonedRanges.length === 1, "a pin does not say that its page is lost");
  });
  ensure(!failed || dax.pages.bad.any, "a healthy page is not pinned");
}

export const poisonPin = volumeStory({
  name: "dax-poison-pin",
  about:
    "A page that is present is pinned without a lock while the storage loses it. A pin that was there " +
    "first says so; afterwards the page is not pinned any more.",
  from: "dax/pins.ts, tryPinRange",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  actors: {
    pin: (volume, self) => pins(volume, self),
    *report(volume, self) {
      yield* lose(volume, self);
      const { mapping } = volume.file("A");
      const dax = volume.dax(self);
      const fast = tryPinRange(dax, mapping, 0, PAGE_SIZE, false);
      ensure(fast === null, "a lost page is pinned without waiting");
      const slow = () => pinRange(self.task, dax, mapping, 0, PAGE_SIZE, false);
      yield* refused(self, "EIO", slow, "a pin of a lost page");
    },
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const poisonPinSlow = volumeStory({
  name: "dax-poison-pin-slow",
  about: "The same of a page that is not present yet, which the pin finds under the map lock.",
  from: "dax/pins.ts, assertHealthy",
  blocks: 2,
  files: [{ name: "A", pages: "=" }],
  actors: {
    pin: (volume, self) => pins(volume, self),
    report: (volume, self) => lose(volume, self),
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const poisonReuse = volumeStory({
  name: "dax-poison-reuse",
  about:
    "A lost page is A's. While the report waits for A's locks, A is truncated and B gets the block, " +
    "zeroed. B's window does not lose its page for it.",
  from: "Linux's bug 2: memory failure sleeps, the inode goes; dax/poison.ts, rule 2",
  blocks: 1,
  faults: false,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "." },
  ],
  windows: [{ file: "B", first: 0, pages: 1, writable: false }],
  actors: {
    report: (volume, self) => lose(volume, self),
    *change(volume, self) {
      yield* truncate(volume, self);
      yield* mayFail(self, ["ENOSPC"], () => writePages(volume, self, "B", 0, 1));
    },
  },
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

export const poisonMoved = volumeStory({
  name: "dax-poison-moved",
  about:
    "A lost page is punched out while the report waits for its owner, another file is given the block " +
    "unwritten, and the page gets a healthy one. The window does not lose that.",
  from: "Linux's bug 2; dax/poison.ts, rule 2: the owner and the place",
  blocks: 2,
  faults: false,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "." },
  ],
  windows: [{ file: "A", first: 0, pages: 1, writable: false }],
  actors: {
    report: (volume, self) => lose(volume, self),
    *change(volume, self) {
      yield* punch(volume, self, 0, 1);
      const { mapping } = volume.file("B");
      yield* preallocate(self.task, volume.dax(self), mapping, 0, PAGE_SIZE, false);
      yield* writePages(volume, self, "A", 0, 1, "C");
    },
  },
  explore: { strategy: "pct", depth: 3, schedules: 2000 },
});

export const poisonPunched = volumeStory({
  name: "dax-poison-punched",
  about:
    "A lost page is punched out while the report is handled, and the block comes back to the same file " +
    "at another place: the window keeps no page that is lost, and loses none that is not.",
  from: "dax/poison.ts, rule 2: the owner and the place",
  blocks: 1,
  faults: false,
  files: [{ name: "A", pages: "#." }],
  windows: [{ file: "A", first: 0, pages: 2, writable: false }],
  actors: {
    report: (volume, self) => lose(volume, self),
    *change(volume, self) {
      yield* punch(volume, self, 0, 1);
      yield* mayFail(self, ["ENOSPC"], () => writePages(volume, self, "A", 1, 1, "C"));
    },
  },
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

export const poisonSearched = volumeStory({
  name: "dax-poison-searched",
  about:
    "The storage loses a page of A, which nobody has in memory, and the driver is asked whose it is. Meanwhile A " +
    "is truncated, and B gets the block, zeroed. A is named while it has the block, or nobody is; never B.",
  from: "debugfs icheck of a mounted volume: what it says may be old; dax/poison.ts, rule 4",
  blocks: 1,
  files: [
    { name: "A", pages: "=" },
    { name: "B", pages: "." },
  ],
  actors: {
    *report(volume, self) {
      const { bad } = volume.dax(self).pages;
      volume.hand(self).device.writeBlock(0, LOST_BYTES);
      const report = bad.add(0, 0);
      const told = yield* handleReport(volume, self, report, () => null);
      const names = told.map(({ owner }) => owner?.ino ?? null);
      ensure(told.length === 1, `one block is lost, ${told.length} ranges are told`);
      ensure(
        !names.includes(volume.file("B").ino),
        "a block that was zeroed for B is told as lost",
      );
    },
    *change(volume, self) {
      if (volume.dax(self).pages.bad.lastReport === 0) return;
      yield* truncate(volume, self);
      yield* mayFail(self, ["ENOSPC"], () => writePages(volume, self, "B", 0, 1));
    },
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const poisonSync = volumeStory({
  name: "dax-poison-sync",
  about:
    "A file is written back while one of its pages is lost. What is healthy is persistent; of the lost " +
    "page at most one write-back tells.",
  from: "dax/write-back.ts, rule 4; errseq_t",
  blocks: 3,
  synced: "noted",
  files: [{ name: "A", pages: "##" }],
  actors: {
    *sync(volume, self) {
      const first = yield* mayFail(self, ["EIO"], () => sync(volume, self));
      const second = yield* mayFail(self, ["EIO"], () => sync(volume, self));
      ensure(!first || !second, "two write-backs tell of one lost page");
    },
    report: (volume, self) => lose(volume, self, 1),
  },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const poisonKilled = volumeStory({
  name: "dax-poison-killed",
  about:
    "The thread that handles a report dies on the way. Whoever finds it dead handles the report: in the " +
    "end no window shows the page.",
  from: "pages/bad-pages.ts, takeAbandoned",
  blocks: 2,
  files: [{ name: "A", pages: "#" }],
  windows: [{ file: "A", first: 0, pages: 1, writable: true, shown: [0] }],
  actors: {
    report: (volume, self) => loseListed(volume, self),
    touch: (volume, self) => loads(volume, self, 0, 0, ["A", ".", "!"]),
  },
  environment: { death: { kill: "report" } },
  explore: { strategy: "bounded", preemptions: 2 },
});

/** One block of two files. Only A's entry names it. */
const SHARED = {
  blocks: 2,
  files: [
    { name: "A", pages: "=" },
    { name: "B", pages: "." },
  ],
  clones: [{ source: "A", target: "B", first: 0, count: 1, present: ["A"] }],
} as const;

export const poisonShared = volumeStory({
  name: "dax-poison-shared",
  about:
    "The storage loses a block that A and B share, while B's window is touched for the first time. It is " +
    "lost in both: in the end neither window shows it.",
  from: "xfs_dax_notify_failure: every owner by reverse mapping; hazard H11; dax/poison.ts, loseShared",
  ...SHARED,
  windows: [
    { file: "A", first: 0, pages: 1, writable: false, shown: [0] },
    { file: "B", first: 0, pages: 1, writable: false },
  ],
  actors: {
    touch: (volume, self) => loads(volume, self, 1, 0, ["A", ".", "!"]),
    *report(volume, self) {
      yield* lose(volume, self, 0, 2);
      yield* loads(volume, self, 0, 0, ["."]);
      yield* loads(volume, self, 1, 0, ["."]);
    },
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const poisonCloned = volumeStory({
  name: "dax-poison-cloned",
  about:
    "The storage loses a block of A, which windows show, while B is given a share of it. Whether the report " +
    "comes first or the clone: no window shows the block in the end, and A cannot be read.",
  from: "hazard H8; a page that has one owner when a report looks, and several a moment later",
  blocks: 2,
  files: [
    { name: "A", pages: "#" },
    { name: "B", pages: "." },
  ],
  windows: [
    { file: "A", first: 0, pages: 1, writable: false, shown: [0] },
    { file: "B", first: 0, pages: 1, writable: false },
  ],
  actors: {
    *clone(volume, self) {
      yield* mayFail(self, ["EIO"], () => clone(volume, self, "A", "B"));
      yield* loads(volume, self, 1, 0, ["A", ".", "!"]);
    },
    *report(volume, self) {
      yield* lose(volume, self, 0, 2);
      yield* loads(volume, self, 0, 0, ["."]);
      yield* reads(volume, self, []);
    },
  },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const poisonCopied = volumeStory({
  name: "dax-poison-copied",
  about:
    "A block that A and B share is lost while A is given a copy of it. The copy holds what the block " +
    "held, or there is none: bytes that are lost never become healthy ones.",
  from: "dax/poison.ts, HealingDevice.copy; dax_iomap_copy_around: copy_mc_to_kernel",
  ...SHARED,
  actors: {
    *unshare(volume, self) {
      const { mapping } = volume.file("A");
      yield* mayFail(self, ["EIO"], () =>
        preallocate(self.task, volume.dax(self), mapping, 0, PAGE_SIZE, false, true),
      );
      yield* reads(volume, self, ["A"]);
    },
    report: (volume, self) => loseListed(volume, self, 0, 2),
  },
  explore: { strategy: "bounded", preemptions: 1 },
});
