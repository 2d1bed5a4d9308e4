/**
 * Which of a mount's threads waits for the kernel's next request: one, the reader, while the others are parked. The
 * kernel would wake them in turns, and each of them would find its caches cold, and its code not compiled. So programs
 * that ask one thing after another are served by one thread.
 *
 * Rules. (1) The first thread begins as the reader. A thread that has read a request is that no more; when it has answered
 *            it is that again, unless another one has taken over.
 *        (2) A thread is woken to help by who finds requests waiting whenever he looks, and parks when none is.
 *        (3) A thread is woken to take over by who is about to wait, or has begun to. Of what lasts unforeseen, a parked
 *            thread sees itself that nothing has been read for a while and nobody reads.
 *        (4) A thread that has taken over hands back to one before it, when that is parked: the first threads' code is
 *            compiled, and a cold thread takes as long as tens of thousands of requests to come to that.
 *        (5) Who finds the mount's end wakes all.
 */
import { Poll } from "../base/poll.ts";
import { add, cas, exchange, load, sleepWhile, store, wakeAll } from "../sync/atomics.ts";
import { MountWord, SERVERS_MAX } from "./mount-area.ts";
import type { SharedMount } from "./shared-mount.ts";
import { Spin } from "./spin.ts";

/** What a thread's word says. */
const Parked = { no: 0, yes: 1, takesOver: 2 } as const;
const PARK_MS_MIN = 50;
/** Where nothing is asked. */
const PARK_MS_MAX = 1600;
/** Of so many answers, one is followed by a look whether requests are waiting: no multiple of what a program repeats. */
const ANSWERS_PER_LOOK = 7;
/** Looks of which each has found some, when another thread is wanted: what one program asks is often waiting, not always. */
const LOOKS_BEFORE_WAKE = 8;

/** One thread's turns. */
export class Turns {
  readonly #mount: SharedMount;
  readonly #area: number;
  /** The word in which this thread is parked. */
  readonly #parked: number;
  readonly #requests: Poll;
  readonly #spin = new Spin();
  #answers = 0;
  #looks = 0;
  /** Rule 1: whether it is to read, when it has answered, and nobody else does. */
  #isOnDuty: boolean;

  constructor(mount: SharedMount, fd: number) {
    this.#mount = mount;
    this.#area = mount.area;
    this.#parked = mount.area + MountWord.parked + mount.index;
    this.#isOnDuty = mount.index === 0;
    this.#requests = new Poll([fd]);
  }

  /** Returns when this thread is to read, which may block; or at the mount's end. Blocks. */
  begin(): void {
    const { words, holder } = this.#mount.thread;
    for (;;) {
      this.#isOnDuty &&= cas(words, this.#area + MountWord.reader, 0, holder);
      if (this.#isOnDuty) {
        add(words, this.#area + MountWord.turns, 1);
        this.#spin.look(this.#isWaitedFor);
        return;
      }
      if (this.#isWaitedFor() || this.#mount.isEnding) return;
      this.#isOnDuty = this.#park();
    }
  }

  /** This thread has read. */
  end(): void {
    if (!this.#isOnDuty) return;
    this.#spin.end();
    store(this.#mount.thread.words, this.#area + MountWord.reader, 0);
  }

  /** This thread has answered. */
  noteAnswer(): void {
    if (++this.#answers % ANSWERS_PER_LOOK !== 0) return;
    const parked = this.#someoneParked();
    if (this.#isOnDuty && parked !== 0 && parked < this.#parked) {
      this.#isOnDuty = !this.#wake(parked, Parked.takesOver);
      return;
    }
    this.#looks = parked !== 0 && this.#isWaitedFor() ? this.#looks + 1 : 0;
    if (this.#looks < LOOKS_BEFORE_WAKE) return;
    this.#looks = 0;
    this.#wake(parked, Parked.no);
  }

  /** This thread waits, or is about to: another one takes over, if there is one left. */
  relieve(): void {
    if (load(this.#mount.thread.words, this.#area + MountWord.reader) !== 0) return;
    const parked = this.#someoneParked();
    if (parked !== 0) this.#wake(parked, Parked.takesOver);
  }

  /** The mount has ended. */
  endAll(): void {
    this.#mount.end();
    for (let parked = this.#someoneParked(); parked !== 0; parked = this.#someoneParked()) {
      this.#wake(parked, Parked.no);
    }
  }

  /** Returns whether this thread is to take over. */
  #park(): boolean {
    const { words } = this.#mount.thread;
    let before = load(words, this.#area + MountWord.turns);
    let ms = PARK_MS_MIN;
    store(words, this.#parked, Parked.yes);
    while (load(words, this.#parked) === Parked.yes && !this.#mount.isEnding) {
      sleepWhile(words, this.#parked, Parked.yes, ms);
      const turns = load(words, this.#area + MountWord.turns);
      const isStill = turns === before;
      if (isStill && load(words, this.#area + MountWord.reader) === 0)
        this.#wake(this.#parked, Parked.takesOver);
      ms = isStill ? Math.min(ms * 2, PARK_MS_MAX) : PARK_MS_MIN;
      before = turns;
    }
    return exchange(words, this.#parked, Parked.no) === Parked.takesOver;
  }

  /** The word of the first one, or 0. */
  #someoneParked(): number {
    const { words } = this.#mount.thread;
    const first = this.#area + MountWord.parked;
    for (let word = first; word < first + SERVERS_MAX; word++) {
      if (load(words, word) === Parked.yes) return word;
    }
    return 0;
  }

  /** Returns whether that one is woken by this. */
  #wake(parked: number, how: number): boolean {
    const { words } = this.#mount.thread;
    if (!cas(words, parked, Parked.yes, how)) return false;
    wakeAll(words, parked);
    return true;
  }

  /** Whether a request is waiting to be read, or the mount has ended. */
  readonly #isWaitedFor = (): boolean => this.#requests.wait(0);
}
