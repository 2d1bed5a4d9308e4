/**
 * Recalls: kernels that have a volume mounted (src/fuse) are told to give up what they keep of a file.
 *
 * What a kernel keeps of a file, for programs that have mapped it, is a holder at a distance: neither the entries of the
 * file nor its pins tell of it. Whoever else changes the file has it given up before, so that what programs have stored is
 * not written over the change later, and again afterwards, so that they see the change; whoever reads it, where
 * programs may have stored. Each mount has a thread that passes this on, the recaller: to give up pages a kernel may wait for
 * answers of the threads that serve it.
 *
 * Area, in words:
 *
 *     0 guard | 1 recalls asked so far | 2 bell: what recallers sleep by
 *     8..: each recaller, two words: its holder, or 0, and how many of those asked it has passed on | ring of inode numbers
 *
 * Rules. (1) Who asks holds no lock, and waits until each recaller has passed it on that was there when he asked, or is
 *            gone: a mount whose recaller has died is over.
 *        (2) The ring is written under the guard, and counts once word 1 does. A place in it is written anew when all
 *            recallers have passed on what was there.
 *        (3) A recaller begins and ends under the guard: it passes on what is asked from then on, and until then.
 *        (4) Threads that serve a kernel mount ask nobody: that kernel knows what it asks for.
 */
import { HoldfastError } from "../base/errors.ts";
import type { Ino } from "../base/quantities.ts";
import { add, load, loadUnsigned, store, wakeAll, type Words } from "../sync/atomics.ts";
import { enterGuard, leaveGuard } from "../sync/guard.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import type { Thread } from "../sync/thread.ts";
import { VolumeWord, volumeWord } from "./state.ts";

/** Mounts of one volume that others than their kernels use, too, at a time. */
const RECALLERS_MAX = 8;
/** Recalls that wait to be passed on. */
const RECALLS = 256;
const Area = { guard: 0, asked: 1, bell: 2, recallers: 8 } as const;
const Place = { holder: 0, passed: 1 } as const;
const PLACE_WORDS = 2;
const RING = Area.recallers + RECALLERS_MAX * PLACE_WORDS;

/** Makes the area of a new volume; after that of the volume. */
export function createRecallsArea(thread: Thread): void {
  const area = thread.region.allocatePages(RING + RECALLS);
  store(thread.words, volumeWord(thread, VolumeWord.recalls), area);
}

/** What those who ask and those who pass on work with. */
class RecallsArea {
  readonly thread: Thread;
  readonly words: Words;
  readonly #area: number;
  readonly #recalls: number;

  /** `recalls`: so many may wait. */
  constructor(thread: Thread, recalls: number) {
    this.thread = thread;
    this.words = thread.words;
    this.#area = load(thread.words, volumeWord(thread, VolumeWord.recalls));
    this.#recalls = recalls;
  }

  get bell(): number {
    return this.#area + Area.bell;
  }

  /** How many have been asked for. */
  count(): number {
    return load(this.words, this.#area + Area.asked);
  }

  /** Asks for one more. Under the guard. */
  put(ino: Ino): void {
    const count = this.count();
    store(this.words, this.recall(count), ino);
    store(this.words, this.#area + Area.asked, (count + 1) | 0);
  }

  /** The word of a recaller's place in which its holder is. */
  place(index: number): number {
    return this.#area + Area.recallers + index * PLACE_WORDS;
  }

  /** The word of the recall that is asked as the one after `count` others. */
  recall(count: number): number {
    return this.#area + RING + ((count >>> 0) % this.#recalls);
  }

  /** Whether a recaller has not passed on yet what was asked as one of the first `count`. */
  isBehind(place: number, count: number): boolean {
    return ((load(this.words, place + Place.passed) - count) | 0) < 0;
  }

  isServed(place: number): boolean {
    const holder = load(this.words, place + Place.holder);
    return holder !== 0 && this.thread.isAlive(holder);
  }

  /** The place that `test` is true of, or 0. */
  find(test: (place: number) => boolean): number {
    for (let index = 0; index < RECALLERS_MAX; index++) {
      if (test(this.place(index))) return this.place(index);
    }
    return 0;
  }

  underGuard(action: () => void): void {
    enterGuard(this.thread, this.#area + Area.guard);
    action();
    leaveGuard(this.thread, this.#area + Area.guard);
  }

  /** Wakes the recallers. */
  ring(): void {
    add(this.words, this.bell, 1);
    wakeAll(this.words, this.bell);
  }

  /** How many are to be passed on by everybody before there is room for one more. */
  countBeforeNext(): number {
    return (this.count() - this.#recalls + 1) | 0;
  }
}

/** The recalls of a volume, as one thread asks for them. */
export class Recalls {
  readonly #area: RecallsArea;

  constructor(thread: Thread, recalls = RECALLS) {
    this.#area = new RecallsArea(thread, recalls);
  }

  /**
   * Has all kernels give up what they keep of an inode. Locks: none may be held. Sleeps: until they have; who ends that
   * has asked all the same.
   */
  *recall(task: Task, ino: Ino): Sleeps<void> {
    const area = this.#area;
    for (let behind = this.#ask(ino); behind !== 0; behind = this.#ask(ino)) {
      using _enduring = task.endure();
      yield* this.#untilPassed(behind, area.countBeforeNext(), ino);
    }
    const asked = area.count();
    for (let index = 0; index < RECALLERS_MAX; index++) {
      yield* this.#untilPassed(area.place(index), asked, ino);
    }
  }

  /** Asks. Returns 0; or, where there is no room, the place of a recaller that is behind. */
  #ask(ino: Ino): number {
    const area = this.#area;
    let behind = 0;
    area.underGuard(() => {
      const before = area.countBeforeNext();
      behind = area.find((place) => area.isServed(place) && area.isBehind(place, before));
      if (behind === 0) area.put(ino);
    });
    if (behind === 0) area.ring();
    return behind;
  }

  /** Returns when the recaller at a place has passed on so many, or is gone: another one begins with no fewer. */
  *#untilPassed(place: number, count: number, ino: Ino): Sleeps<void> {
    const area = this.#area;
    const word = place + Place.passed;
    for (;;) {
      const expected = load(area.words, word);
      if (!area.isBehind(place, count) || !area.isServed(place)) return;
      yield { word, expected, what: () => `the kernel to give up pages of inode ${ino}` };
    }
  }
}

/** The thread that passes a volume's recalls on to one kernel mount. */
export class Recaller {
  readonly #area: RecallsArea;
  readonly #place: number;

  /** From now on. Throws: ENFILE where there are too many. */
  constructor(thread: Thread, recalls = RECALLS) {
    const area = new RecallsArea(thread, recalls);
    let free = 0;
    area.underGuard(() => {
      free = area.find((place) => !area.isServed(place));
      if (free === 0) return;
      store(area.words, free + Place.passed, area.count());
      store(area.words, free + Place.holder, thread.holder);
    });
    if (free === 0) {
      const what = `${RECALLERS_MAX} kernel mounts of a volume that others use, too, are the most`;
      throw new HoldfastError("ENFILE", what);
    }
    this.#area = area;
    this.#place = free;
  }

  /** The word that changes when there is something new. */
  get bell(): number {
    return this.#area.bell;
  }

  /** What is to be passed on next, or 0. */
  next(): number {
    const area = this.#area;
    const passed = load(area.words, this.#place + Place.passed);
    return passed === area.count() ? 0 : loadUnsigned(area.words, area.recall(passed));
  }

  /** What was next has been passed on. */
  pass(): void {
    add(this.#area.words, this.#place + Place.passed, 1);
    wakeAll(this.#area.words, this.#place + Place.passed);
  }

  /** Its kernel keeps nothing any more. */
  end(): void {
    const area = this.#area;
    area.underGuard(() => {
      store(area.words, this.#place + Place.holder, 0);
      store(area.words, this.#place + Place.passed, area.count());
    });
    wakeAll(area.words, this.#place + Place.passed);
  }
}

/** Wakes the recallers of a volume, to look whether their mounts have ended. */
export function rouseRecallers(thread: Thread): void {
  const area = new RecallsArea(thread, RECALLS);
  area.ring();
}
