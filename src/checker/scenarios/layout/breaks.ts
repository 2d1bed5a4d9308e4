/** Breaks of pages that several files share, of two files at once, and of a device that is gone. */
import { HoldfastError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import {
  announce,
  breakStatistics,
  type BusyPage,
  Patience,
  tryWithBrokenPages,
  waitForPage,
  withBrokenLayout,
  withBrokenLayouts,
} from "../../../layout/break.ts";
import { publishAround } from "../../../mapping/entries.ts";
import { initMapping, type Mapping, MappingWord, mappingSlab } from "../../../mapping/mapping.ts";
import { Mark, pageOf, removeEntries, setMark } from "../../../mapping/tree.ts";
import type { PageId } from "../../../pages/pages.ts";
import { type PinRecord, releasePin, tryPin } from "../../../pin/pin.ts";
import { add, load } from "../../../sync/atomics.ts";
import { clockMs } from "../../../sync/clock.ts";
import { lockExclusive, tryExclusive, unlockExclusive } from "../../../sync/lock.ts";
import { allocateZeroed } from "../../../sync/slab.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, ensureNoLeak, type Plot, type Scenario, type Self } from "../../scenario.ts";
import { INO } from "../../world/bare.ts";
import { playedIn } from "../../world/plots.ts";
import { buildTold, ToldFile, type ToldShared } from "../../world/told.ts";

/** What has come to pass. */
const Told = { ended: 1, announced: 2, pinned: 3, passed: 4 } as const;

const OTHER_INO = (INO + 1) as Ino;
/** The device page that files share. Its record is the first one, whose entry looks most like none. */
const SHARED = 0;
/** Another one, which nobody has. */
const UNUSED = 30;
/** Pages of the file: one beside its first, and the first of a node of its own. */
const NEAR = 1;
const FAR = 5 * 64;

/** A file, beside which there is another one with an entry of its own. */
class SharingFile extends ToldFile {
  readonly other: Mapping;
  /** What was pinned in the other file, in place of a pin. */
  #foreign: PageId | null = null;

  constructor(shared: ToldShared, actors: readonly Self[]) {
    super(shared, actors);
    const { thread } = this.hands[0]!;
    this.other = allocateZeroed(thread, mappingSlab(thread));
    initMapping(thread, this.other, OTHER_INO, 4096, 1);
  }

  /** Has entries of the file and of the other one name the shared page. Runs alone. */
  shareAt(index: number): void {
    const { thread } = this.hands[0]!;
    this.share(this.hands[0]!.self, this.mapping, index);
    this.share(this.hands[0]!.self, this.other, 0);
    setMark(thread, this.mapping, index, Mark.pinned);
    setMark(thread, this.other, 0, Mark.pinned);
  }

  share(self: Self, mapping: Mapping, index: number): void {
    const { thread, pages } = this.hand(self);
    publishAround(thread, pages, mapping, index, 1, SHARED, true);
  }

  /** Puts a page of its own where the shared one was. */
  replace(self: Self, index: number): void {
    const { thread, pages } = this.hand(self);
    publishAround(thread, pages, this.mapping, index, 1, UNUSED);
  }

  sharedPage(self: Self): PageId {
    return this.hand(self).pages.find(SHARED)!;
  }

  /** A layout change of one page, which the file has no more then. */
  *takeOut(self: Self, index: number): Sleeps<void> {
    const hand = this.hand(self);
    const plan = () => ({ first: index, last: index });
    const take = (): void => this.leave(self, index, index);
    yield* withBrokenLayout(self.task, hand, this.mapping, plan, function* () {
      take();
    });
  }

  leave(self: Self, first: number, last: number): void {
    const { thread, pages } = this.hand(self);
    removeEntries(thread, this.mapping, first, last, (entry, _index, count, slot) => {
      const page = pageOf(entry);
      if (pages.sharers(page) > 0) pages.leave(page, slot);
      else pages.disassociate(page, count, this.mapping);
    });
  }

  /** Counts a pin of the shared page, as one through the other file is counted. */
  pinForeign(self: Self): void {
    const { pages } = this.hand(self);
    this.#foreign = this.sharedPage(self);
    add(self.thread.words, pages.pinWord(this.#foreign), 1);
    self.say("pins the page through the other file");
  }

  unpinForeign(self: Self): void {
    const { pages } = this.hand(self);
    pages.releaseNoting(this.#foreign!, this.truthOf(SHARED), 0);
    this.#foreign = null;
  }

  pinOther(self: Self, mapping: Mapping): PinRecord {
    const { thread, pages } = this.hand(self);
    const pin = tryPin(thread, pages, mapping, 0, 1, false);
    ensure(pin !== 0, "a page that is there is not pinned");
    return pin;
  }

  /** Until when new pins of a file wait, or 0. */
  insists({ thread }: Self, mapping: Mapping): number {
    return load(thread.words, mapping + MappingWord.breakInsist);
  }

  override end(): void {
    const { self } = this.hands[0]!;
    if (this.#foreign !== null) this.unpinForeign(self);
    super.end();
    for (const mapping of [this.mapping, this.other]) {
      ensureNoLeak(this.insists(self, mapping) === 0, "a break that has ended still insists");
    }
  }
}

function sharingStory({
  sharedAt,
  ...plot
}: Plot<ToldShared, SharingFile> & { readonly sharedAt?: number }): Scenario<
  ToldShared,
  SharingFile
> {
  return playedIn(
    {
      build: (actors) => buildTold(actors, 1),
      begin(shared, actors) {
        const file = new SharingFile(shared, actors);
        if (sharedAt !== undefined) file.shareAt(sharedAt);
        return file;
      },
      watch: { pins: (file) => file.pinsShown() },
    },
    plot,
  );
}

/** Takes the shared page out of the file. */
function* takesOut(file: SharingFile, self: Self): Sleeps<void> {
  yield* file.takeOut(self, NEAR);
  file.tell(self, Told.ended);
}

/**
 * Pins the shared page through the file, for a moment; takes it out of the file; and pins it through the other
 * one until the layout change has ended.
 */
function* pinsElsewhere(file: SharingFile, self: Self, replaces: boolean): Sleeps<void> {
  const { pages } = file.hand(self);
  const pin = file.tryPin(self, NEAR, 1);
  if (pin !== 0) file.release(self, pin);
  pages.prepareWait(file.sharedPage(self)); // as one who comes late, and leaves his mark
  yield* file.takeOut(self, NEAR);
  if (replaces) file.replace(self, NEAR);
  file.pinForeign(self);
  yield* file.waitFor(self, Told.ended);
  file.unpinForeign(self);
}

export const sharedPinElsewhere = sharingStory({
  name: "shared-pin-elsewhere",
  about:
    "A layout change has found a shared page pinned and is about to wait. Meanwhile the pin ends, the file " +
    "loses the page, and another file that has it pins it, for as long as the change takes. The change does " +
    "not wait for that.",
  from: "layout/break.ts: whoever holds another page by now is not waited for; invariant 5.6 (5)",
  sharedAt: NEAR,
  explore: { strategy: "bounded", preemptions: 1 },
  actors: { change: takesOut, other: (file, self) => pinsElsewhere(file, self, false) },
});

export const sharedPinReplaced = sharingStory({
  name: "shared-pin-replaced",
  about:
    "As shared-pin-elsewhere, but the file has got a page of its own in the place of the shared one.",
  from: "layout/break.ts: whoever holds another page by now is not waited for; invariant 5.6 (5)",
  sharedAt: NEAR,
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *change(file, self) {
      yield* withBrokenLayout(
        self.task,
        file.hand(self),
        file.mapping,
        () => ({ first: NEAR, last: NEAR }),
        function* () {},
      );
      file.tell(self, Told.ended);
    },
    other: (file, self) => pinsElsewhere(file, self, true),
  },
});

export const sharedPinAwaited = sharingStory({
  name: "shared-pin-awaited",
  about:
    "On a volume that nobody writes to, a page that two files share is pinned through one of them, which is to " +
    "lose it. That waits for the pin: it sleeps, once.",
  from: "pin/pin.ts, invariant 6; dax/reclaim.ts",
  sharedAt: NEAR,
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    io(file, self) {
      const pin = file.tryPin(self, NEAR, 1);
      if (pin !== 0) file.release(self, pin);
    },
    *change(file, self) {
      const { waits } = breakStatistics(self.thread);
      yield* takesOut(file, self);
      const waited = breakStatistics(self.thread).waits - waits;
      ensure(waited <= 1, `one pin is waited for ${waited} times`);
    },
  },
});

/** Waits for pins of the shared page as one who has found it busy in the file. */
function* waitsForShared(file: SharingFile, self: Self): Sleeps<void> {
  const range = { first: FAR, last: FAR + 63 };
  const busy: BusyPage = { mapping: file.mapping, page: file.sharedPage(self), index: FAR, range };
  using patience = new Patience(self.thread);
  yield* waitForPage(file.hand(self), busy, patience);
}

export const sharedNodeFreed = sharingStory({
  name: "shared-node-freed",
  about:
    "A page that several files share is pinned through one of them. Who has found it pinned through another " +
    "one, and is about to wait, looks whether that still has it, just when a break takes the page out of it. The " +
    "node that led to the page is used for an entry of a third file, of the same page. It is not taken for the " +
    "file's: nobody waits for the pin.",
  from: "mapping/tree.ts, rule 2: a node is freed inside a broken range, where nobody walks",
  sharedAt: FAR,
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    *waiter(file, self) {
      yield* file.waitFor(self, Told.announced);
      yield* waitsForShared(file, self);
    },
    *change(file, self) {
      const { thread } = self;
      const { mapping } = file;
      file.pinForeign(self);
      using _map = yield* lockExclusive(self.task, mapping + MappingWord.mapLock, {
        rankName: "map",
        order: INO,
      });
      using _announced = announce(thread, new Map([[mapping, { first: FAR, last: FAR + 63 }]]));
      file.tell(self, Told.announced);
      file.leave(self, FAR, FAR + 63);
      const third = allocateZeroed(thread, mappingSlab(thread));
      initMapping(thread, third, (INO + 2) as Ino, 4096, 1);
      file.share(self, third, 0);
    },
  },
});

/** The code with which something fails; "" when it does not. */
function* codeOf(operation: () => Sleeps<unknown>): Sleeps<string> {
  try {
    yield* operation();
    return "";
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    return error.code;
  }
}

export const breakOfTwo = sharingStory({
  name: "break-of-two",
  about:
    "A layout change of two files holds the locks of each, and may give those of one of them back. One of a " +
    "file's pages alone counts as a break, too. None of them goes on when the device is gone.",
  from: "layout/break.ts, rule 6; bug 20: MF_MEM_PRE_REMOVE",
  actors: {
    *one(file, self) {
      const { task, thread } = self;
      const { mapping, other } = file;
      const hand = file.hand(self);
      const plan = () => ({ first: 0, last: 0 });
      const files = [
        { mapping: other, plan },
        { mapping, plan },
      ];
      yield* withBrokenLayouts(task, hand, files, function* (broken) {
        for (const [at, each] of files.entries()) {
          broken[at]!.map.release();
          broken[at]!.io.release();
          for (const lock of [MappingWord.mapLock, MappingWord.ioLock]) {
            const record = tryExclusive(thread, each.mapping + lock);
            ensure(record !== 0, "another file's lock is given back");
            unlockExclusive(thread, each.mapping + lock, record);
          }
        }
      });
      const before = breakStatistics(thread).breaks;
      function* planned() {
        return plan();
      }
      function* unchanged() {}
      yield* tryWithBrokenPages(task, hand, mapping, planned, unchanged);
      ensure(breakStatistics(thread).breaks === before + 1, "a break of pages is not counted");
      hand.pages.deviceState.remove("");
      const fails = [
        () => withBrokenLayouts(task, hand, files, unchanged),
        () => tryWithBrokenPages(task, hand, mapping, planned, unchanged),
      ];
      for (const change of fails) {
        const code = yield* codeOf(change);
        ensure(code === "EIO", `a break of a device that is gone ends with "${code}"`);
      }
    },
  },
});

export const insistingOnTwo = sharingStory({
  name: "insisting-on-two",
  about:
    "A layout change of two files waits long for a pin of the one, and insists; then it waits for a pin of the " +
    "other one. From then on new pins of the first file wait for nobody.",
  from: "layout/break.ts, rule 4: however it ends, it no longer insists",
  sharedAt: NEAR,
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(file, self) {
      const { thread, pages } = file.hand(self);
      const [first, second] = [file.pinOther(self, file.mapping), file.pinOther(self, file.other)];
      file.tell(self, Told.pinned);
      yield* file.sleepUntil(self, 6);
      yield* file.sleepUntil(self, 7);
      ensure(
        file.insists(self, file.mapping) !== 0,
        "a break that has waited long does not insist",
      );
      releasePin(thread, pages, first);
      yield* file.sleepUntil(self, 8);
      ensure(clockMs() === 8, "time has passed otherwise");
      ensure(file.insists(self, file.mapping) === 0, "a break insists on who is not in its way");
      releasePin(thread, pages, second);
    },
    *change(file, self) {
      yield* file.waitFor(self, Told.pinned);
      const plan = () => ({ first: 0, last: 0 });
      const files = [file.mapping, file.other].map((mapping) => ({ mapping, plan }));
      yield* withBrokenLayouts(self.task, file.hand(self), files, function* () {});
    },
  },
});
