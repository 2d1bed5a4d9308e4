/** Breaks that wait long: they insist, and new pins wait for them; for bounded times. */
import { AbortError, HoldfastError } from "../../../base/errors.ts";
import { MappingWord, PAGE_INDEX_MAX } from "../../../mapping/mapping.ts";
import { breakStatistics } from "../../../layout/break.ts";
import { clearMark, Mark } from "../../../mapping/tree.ts";
import { releasePin } from "../../../pin/pin.ts";
import { load, store } from "../../../sync/atomics.ts";
import { clockMs, remainingMs } from "../../../sync/clock.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, ensureNoLeak, type Plot, type Scenario, type Self } from "../../scenario.ts";
import { unlessPastTheEnd } from "../../world/bare.ts";
import { playedIn } from "../../world/plots.ts";
import { buildTold, ToldFile, type ToldShared } from "../../world/told.ts";

/** What has come to pass. */
const Told = { insists: 1, gotThrough: 2, insistsAgain: 3, truncateEnded: 4, pinned: 5 } as const;

class InsistFile extends ToldFile {
  /** Until when new pins wait, or 0. */
  insists({ thread }: Self): number {
    return load(thread.words, this.mapping + MappingWord.breakInsist);
  }

  /** As a break does. */
  insist({ thread }: Self, until: number): void {
    store(thread.words, this.mapping + MappingWord.breakInsist, until);
  }

  /** Pins a page without a lock and gives it back; whether that could be done. */
  triedFast(self: Self, index: number): boolean {
    const { thread, pages } = this.hand(self);
    const pin = this.tryPin(self, index, 1);
    if (pin !== 0) releasePin(thread, pages, pin);
    return pin !== 0;
  }

  /** Pins a page and gives it back, if the file still has it. */
  *pinOnce(self: Self, index: number): Sleeps<void> {
    yield* unlessPastTheEnd(self, () => this.#pinAndRelease(self, index));
  }

  *#pinAndRelease(self: Self, index: number): Sleeps<void> {
    this.release(self, yield* this.pin(self, index, 1));
  }

  override end(): void {
    super.end();
    const { self } = this.hands[0]!;
    ensureNoLeak(this.insists(self) === 0, "a break that has ended still insists");
  }
}

function insistStory(plot: Plot<ToldShared, InsistFile>): Scenario<ToldShared, InsistFile> {
  return playedIn(
    {
      build: (actors) => buildTold(actors, 2),
      begin: (shared, actors) => new InsistFile(shared, actors),
      watch: {
        pins: (file) => file.pinsShown(),
        insists: (file) => file.insists(file.hands[0]!.self),
      },
    },
    plot,
  );
}

function* truncate(file: InsistFile, self: Self): Sleeps<void> {
  yield* file.remove(self, 0, PAGE_INDEX_MAX);
  file.tell(self, Told.truncateEnded);
}

/** The truncate waits from the beginning: the pin it waits for is there before it comes. */
function* truncateOnceHeld(file: InsistFile, self: Self): Sleeps<void> {
  yield* file.waitFor(self, Told.pinned);
  yield* truncate(file, self);
}

export const insistingBreak = insistStory({
  name: "insisting-break",
  about:
    "A truncate waits long for an I/O. After some milliseconds it insists: a thread that holds no pin " +
    "gets none. Then it lets pins pass, then it insists for longer. When it has ended, whoever it held " +
    "back goes on at once.",
  from: "layout/break.ts, rule 4; DESIGN.md 5.4: continuous new pins must not starve it for ever",
  explore: { strategy: "pct", depth: 3, schedules: 2000 },
  actors: {
    *holder(file, self) {
      const pin = file.tryPin(self, 0, 1);
      file.tell(self, Told.pinned);
      yield* file.sleepUntil(self, 3);
      yield* file.sleepUntil(self, 4);
      ensure(file.insists(self) === 0, "a break that has come just now insists");
      yield* file.sleepUntil(self, 6);
      yield* file.sleepUntil(self, 7);
      ensure(file.insists(self) !== 0, "a break that has waited long does not insist");
      ensure(file.triedFast(self, 1), "a thread that holds a pin gets no other one");
      file.tell(self, Told.insists);
      yield* file.sleepUntil(self, 12);
      ensure(!file.isTold(self, Told.gotThrough), "a new pin has overtaken a break that insists");
      yield* file.sleepUntil(self, 20);
      ensure(file.insists(self) === 0, "a break insists for ever");
      ensure(file.isTold(self, Told.gotThrough), "a new pin is held back for ever");
      yield* file.sleepUntil(self, 40);
      yield* file.sleepUntil(self, 41);
      const longer = remainingMs(file.insists(self), clockMs());
      ensure(longer > 15, `a break insists again for ${longer} ms, no longer than before`);
      file.tell(self, Told.insistsAgain);
      file.io(self, pin, 1);
      file.endIo(self, pin);
    },
    *truncate(file, self) {
      yield* truncateOnceHeld(file, self);
      ensure(breakStatistics(self.thread).waits > 0, "a wait for pins is not counted");
    },
    *newcomer(file, self) {
      yield* file.waitFor(self, Told.insists);
      ensure(!file.triedFast(self, 1), "a pin without a lock overtakes a break that insists");
      yield* file.pinOnce(self, 1);
      file.tell(self, Told.gotThrough);
      yield* file.waitFor(self, Told.insistsAgain);
      yield* file.pinOnce(self, 1);
      ensure(clockMs() < 50, "nobody tells a pin that it is held back no longer");
    },
  },
});

/** A truncate that gives up, naming who was in its way. */
function* givesUp(file: InsistFile, self: Self, code: string): Sleeps<void> {
  try {
    yield* truncateOnceHeld(file, self);
  } catch (error) {
    const expected = error instanceof AbortError || error instanceof HoldfastError;
    if (!expected || error.code !== code) throw error;
    const waited = error.message.includes("the pins of pages");
    const named = error.message.includes("pinned: pages 0 to 0 by thread");
    ensure(!waited || named, `nobody is named in "${error.message}"`);
    self.say(`gives up with ${code}`);
  }
  file.tell(self, Told.truncateEnded);
}

/** Holds a pin for as long as somebody tries to truncate the file. */
function* holdsOn(file: InsistFile, self: Self): Sleeps<void> {
  const pin = file.tryPin(self, 0, 1);
  file.tell(self, Told.pinned);
  yield* file.waitFor(self, Told.truncateEnded);
  ensure(file.insists(self) === 0, "a break that was given up still insists");
  file.release(self, pin);
}

export const insistingEnd = insistStory({
  name: "insisting-end",
  about:
    "A truncate that insists gets through while a new pin finds that it must wait, and goes to sleep. The " +
    "pin goes on when the truncate has ended, and not by the clock.",
  from: "sync/sleep.ts, rule 1: a wait is a word that still holds its value; changed first, woken second",
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    *holder(file, self) {
      const pin = file.tryPin(self, 0, 1);
      file.tell(self, Told.pinned);
      yield* file.sleepUntil(self, 6);
      yield* file.sleepUntil(self, 7);
      file.release(self, pin);
    },
    truncate: truncateOnceHeld,
    *newcomer(file, self) {
      yield* file.sleepUntil(self, 7);
      yield* file.pinOnce(self, 1);
      ensure(clockMs() < 16, "nobody tells a pin that it is held back no longer");
    },
  },
});

export const insistingAbort = insistStory({
  name: "insisting-abort",
  about:
    "A truncate waits for a pin that is held until it has given up, which it does when it is aborted, at " +
    "any point; it may insist by then. It says who was in its way, and holds nobody back afterwards.",
  from: "invariant 5.6 (7); DESIGN.md 5.4: an aborted break leaves the file as it was and says who held it",
  explore: { strategy: "pct", depth: 3, schedules: 4000 },
  actors: {
    holder: holdsOn,
    truncate: (file, self) => givesUp(file, self, "ABORT_ERR"),
    newcomer: (file, self) => file.pinOnce(self, 1),
  },
  environment: { time: { passMs: 6 }, interrupt: { abort: "truncate" } },
});

export const insistingDeadline = insistStory({
  name: "insisting-deadline",
  about:
    "A truncate with a deadline waits for a pin that is held until it has given up. Its time is up at " +
    "some point; it says who was in its way, and holds nobody back afterwards.",
  from: "DESIGN.md 5.4: waits can be aborted by a signal or a deadline",
  explore: { strategy: "pct", depth: 3, schedules: 4000 },
  actors: {
    holder: holdsOn,
    truncate: (file, self) => givesUp(file, self, "ETIMEDOUT"),
    newcomer: (file, self) => file.pinOnce(self, 1),
  },
  timeoutMs: { truncate: 14 },
  environment: { time: { passMs: 6 }, "time-2": { passMs: 9 } },
});

export const insistingDeath = insistStory({
  name: "insisting-death",
  about:
    "A thread that truncates dies at any point; it may insist by then. Whoever it held back goes on " +
    "when the time is up, and from then on nobody is held back.",
  from: "layout/break.ts, rule 4: it blocks nobody for ever; several-processes.md",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(file, self) {
      const pin = file.tryPin(self, 0, 1);
      yield* file.sleepUntil(self, 6);
      yield* file.sleepUntil(self, 7);
      if (pin !== 0) file.release(self, pin);
    },
    truncate: (file, self) => file.remove(self, 0, 0),
    *newcomer(file, self) {
      yield* file.sleepUntil(self, 7);
      yield* file.pinOnce(self, 1);
      yield* file.sleepUntil(self, 40);
      yield* file.pinOnce(self, 1);
      ensure(file.triedFast(self, 1), "pins need a lock for ever");
    },
  },
  environment: { death: { kill: "truncate" } },
});

export const insistingNeedsAnother = insistStory({
  name: "insisting-needs-another",
  about:
    "A punch of page 0 waits for a pin and insists. Its holder pins page 1 before it lets go, and needs " +
    "another thread to do so, too. Nobody waits for ever.",
  from: "layout/break.ts, rule 4: the pin it waits for may need another; invariant 5.6 (5)",
  explore: { strategy: "bounded", preemptions: 1 },
  actors: {
    *holder(file, self) {
      const pin = file.tryPin(self, 0, 1);
      if (pin === 0) return file.tell(self, Told.insists);
      yield* file.sleepUntil(self, 6);
      clearMark(self.thread, file.mapping, 1, Mark.pinned); // so it takes the map lock
      const before = clockMs();
      yield* file.pinOnce(self, 1);
      ensure(clockMs() <= before + 6, "a break insists against the pin that it waits for");
      file.tell(self, Told.insists);
      yield* file.waitFor(self, Told.gotThrough);
      file.release(self, pin);
    },
    *punch(file, self) {
      yield* file.remove(self, 0, 0);
    },
    *helper(file, self) {
      yield* file.waitFor(self, Told.insists);
      yield* file.pinOnce(self, 1);
      file.tell(self, Told.gotThrough);
    },
  },
  environment: { time: { passMs: 6 } },
});

export const insistenceLeftBehind = insistStory({
  name: "insistence-left-behind",
  about:
    "A thread has died while its break insisted. New pins wait until the time is up, and no longer: the " +
    "next ones need no lock.",
  from: "layout/break.ts, rule 4; several-processes.md",
  actors: {
    *one(file, self) {
      file.insist(self, 21);
      ensure(!file.triedFast(self, 0), "a pin without a lock overtakes a break that insists");
      yield* file.pinOnce(self, 0);
      ensure(clockMs() === 21, `a pin is held back until ${clockMs()}`);
      ensure(file.triedFast(self, 0), "pins need a lock for ever");
    },
  },
});

/** A millisecond before the clock begins. */
const PASSED = 2 ** 30 - 1;

export const insistingAnew = insistStory({
  name: "insisting-anew",
  about:
    "A break insists anew, just when a pin finds that the time of the last time is up. The pin takes " +
    "that away, and not the new one: the break is let pass until its time is up.",
  from: "layout/break.ts, rule 4: it insists twice as long; sync/atomics.ts, cas",
  actors: {
    *break(file, self) {
      file.insist(self, PASSED);
      file.tell(self, Told.insists);
      file.insist(self, 21);
      yield* file.waitFor(self, Told.gotThrough);
      const lasts = file.insists(self) === 21 || clockMs() >= 21;
      ensure(lasts, "a break no longer insists, before its time is up");
      file.insist(self, 0);
    },
    *newcomer(file, self) {
      yield* file.waitFor(self, Told.insists);
      yield* file.pinOnce(self, 0);
      file.tell(self, Told.gotThrough);
    },
  },
});

export const pinAfterDays = insistStory({
  name: "pin-after-days",
  about:
    "The clock has run for nine days, so that times of the region are in its second half. A pin that " +
    "takes the map lock waits for nobody, since no break insists.",
  from: "sync/clock.ts: times modulo 2^30",
  actors: {
    *one(file, self) {
      for (let part = 1; part <= 3; part++) yield* file.sleepUntil(self, part * 2 ** 28);
      clearMark(self.thread, file.mapping, 0, Mark.pinned);
      yield* file.pinOnce(self, 0);
      ensure(clockMs() === 3 * 2 ** 28, "a pin has waited for a break that does not insist");
    },
  },
});
