/** A bare file whose actors tell one another what has come to pass, and can wait for it, or for time. */
import { load, store, wakeAll } from "../../sync/atomics.ts";
import { clockMs, remainingMs } from "../../sync/clock.ts";
import type { Sleeps } from "../../sync/sleep.ts";
import type { Self } from "../scenario.ts";
import { BareFile, type BareShared, buildBare } from "./bare.ts";

export const TOLD_WORDS = 8;

export interface ToldShared extends BareShared {
  /** 0: never changes | then: what actors tell one another. */
  readonly told: number;
}

export function buildTold(actors: number, pageCount: number): ToldShared {
  const bare = buildBare(actors, pageCount);
  return { ...bare, told: bare.region.allocatePages(TOLD_WORDS) };
}

export class ToldFile extends BareFile {
  readonly #told: number;

  constructor(shared: ToldShared, actors: readonly Self[]) {
    super(shared, actors);
    this.#told = shared.told;
  }

  /** Sleeps until the clock shows `until`. As everyone else sleeps by then, it is what happens next. */
  *sleepUntil(_self: Self, until: number): Sleeps<void> {
    for (let rest = until; rest > 0; ) {
      rest = remainingMs(until, clockMs());
      if (rest <= 0) return;
      yield { word: this.#told, expected: 0, what: () => "time to pass", sliceMs: rest };
    }
  }

  tell({ thread }: Self, what: number): void {
    store(thread.words, this.#told + what, 1);
    wakeAll(thread.words, this.#told + what);
  }

  isTold({ thread }: Self, what: number): boolean {
    return load(thread.words, this.#told + what) !== 0;
  }

  *waitFor(self: Self, what: number): Sleeps<void> {
    while (!this.isTold(self, what)) {
      yield { word: this.#told + what, expected: 0, what: () => "another actor" };
    }
  }

  override nameOf(word: number): string | null {
    const told = word - this.#told;
    return told >= 0 && told < TOLD_WORDS ? `what is told: ${told}` : super.nameOf(word);
  }
}
