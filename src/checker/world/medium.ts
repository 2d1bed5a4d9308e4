/**
 * What a power failure leaves of a device: items that are written whole, each of which was stored and perhaps
 * not persisted. Of what was not, any part may be on the medium.
 *
 * An item that is stored twice without a persist in between is on the medium as before, or as it was stored
 * last. What a persist puts on the medium is what was stored before it began; it counts from its end on.
 *
 * The items are plain JavaScript. They change when `clock` does, a word, so that the exploration knows of what
 * matters: the order of stores, and of the beginnings and ends of persists.
 */
import { HoldfastError } from "../../base/errors.ts";
import { add, load, type Words } from "../../sync/atomics.ts";
import type { Thread } from "../../sync/thread.ts";

interface Item {
  value: number;
  /** What of it is on the medium, at least until `stamp` is persisted. */
  before: number;
  /** When it was stored. */
  stamp: number;
}

export class Medium {
  readonly #words: Words;
  readonly #clock: number;
  readonly #items: Item[];
  /** What was stored until then is on the medium. */
  #persisted: number;
  /** The thread whose persists fail. */
  #failing: Thread | null = null;

  /** `values`: of the items at the start, persistent. `clock`: a word. */
  constructor(words: Words, clock: number, values: readonly number[]) {
    this.#words = words;
    this.#clock = clock;
    this.#items = values.map((value) => ({ value, before: value, stamp: 0 }));
    this.#persisted = words[clock]!;
  }

  /** What was stored last. */
  valueOf(item: number): number {
    return this.#items[item]!.value;
  }

  /** As `valueOf`, for who changes a part of it: an item has changes one after another. */
  read(item: number): number {
    const { value } = this.#items[item]!;
    load(this.#words, this.#clock);
    return value;
  }

  values(): number[] {
    return this.#items.map(({ value }) => value);
  }

  put(item: number, value: number): void {
    const stamp = add(this.#words, this.#clock, 1) + 1;
    const found = this.#items[item]!;
    if (found.stamp <= this.#persisted) found.before = found.value;
    found.value = value;
    found.stamp = stamp;
  }

  /** Persists of this thread fail from now on. */
  failFor(thread: Thread | null): void {
    this.#failing = thread;
  }

  /** Puts all that was stored on the medium. `atEnd`: is called before that counts. Throws: EIO. */
  persist(thread: Thread, atEnd: () => void): void {
    const until = load(this.#words, this.#clock);
    if (thread === this.#failing) throw new HoldfastError("EIO", "the medium fails");
    add(this.#words, this.#clock, 0);
    atEnd();
    this.#persisted = Math.max(this.#persisted, until);
  }

  /** What a crash now may leave, in how many ways. */
  crashes(): Crashes {
    const open = [...this.#items.keys()].filter((item) => {
      const { value, before, stamp } = this.#items[item]!;
      return stamp > this.#persisted && value !== before;
    });
    return new Crashes(this.#items, open);
  }
}

export class Crashes {
  readonly count: number;
  readonly #items: readonly Item[];
  readonly #open: readonly number[];

  constructor(items: readonly Item[], open: readonly number[]) {
    this.count = 2 ** open.length;
    this.#items = items;
    this.#open = open;
  }

  /** What the items are after the crash of this number. */
  held(crash: number): number[] {
    const held = this.#items.map(({ value }) => value);
    for (const [bit, item] of this.#open.entries()) {
      if (((crash >>> bit) & 1) === 0) held[item] = this.#items[item]!.before;
    }
    return held;
  }
}
