/**
 * How long a thread looks for the next request before it sleeps for it. To be woken takes a thread, on a machine that has
 * nothing else to do, longer than most requests take to serve; so who was woken soon looks for a while the next time, and
 * for longer as long as that is not enough. It is the way in which Linux's KVM polls before it halts a processor
 * (Documentation/virt/kvm/halt-polling.rst).
 *
 * Where others want the processor, looking takes it from them: who finds that it was taken away from it in between
 * does not look for a while.
 */
import { availableParallelism } from "node:os";

/** Of looking, in ms: at first, and at most. A sleep that is not longer than that could have been looked through. */
const LOOK_MS_MIN = 0.02;
const LOOK_MS_MAX = 0.2;
/** Two looks are not as far apart, unless another one has had the processor. */
const GAP_MS = 0.1;
const PAUSE_MS = 50;

export class Spin {
  readonly #now: () => number;
  #lookMs = 0;
  /** Not before that. */
  #pauseUntil: number;
  #isFound = false;
  #sleepBegan = 0;

  /** `now`: in ms. */
  constructor(now: () => number = () => performance.now(), processors = availableParallelism()) {
    this.#now = now;
    // Alone on its processor, whoever would ask waits for it.
    this.#pauseUntil = processors > 1 ? 0 : Infinity;
  }

  /** Looks for as long as seems worth it. Then the thread sleeps, if it must, and tells when it has what it waits for. */
  look(isThere: () => boolean): void {
    let now = this.#now();
    const end = now < this.#pauseUntil ? now : now + this.#lookMs;
    this.#isFound = false;
    while (now < end) {
      if (isThere()) {
        this.#isFound = true;
        return;
      }
      const before = now;
      now = this.#now();
      if (now - before <= GAP_MS) continue;
      this.#pauseUntil = now + PAUSE_MS;
      break;
    }
    this.#sleepBegan = now;
  }

  /** It has it. */
  end(): void {
    if (this.#isFound) return;
    const isShort = this.#now() - this.#sleepBegan < LOOK_MS_MAX;
    this.#lookMs = isShort ? Math.min(Math.max(this.#lookMs * 2, LOOK_MS_MIN), LOOK_MS_MAX) : 0;
  }
}
