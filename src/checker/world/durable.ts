/**
 * The file of `bare.ts` on a device that keeps two versions of each block: what was written to it
 * last, and what a power failure would leave. They are the truth that fsync is held to.
 */
import { PAGE_SIZE } from "../../base/quantities.ts";
import type { Dax } from "../../dax/dax.ts";
import { writeBack } from "../../dax/write-back.ts";
import type { PinRecord } from "../../pin/pin.ts";
import { add, load, store, type Words } from "../../sync/atomics.ts";
import type { Sleeps } from "../../sync/sleep.ts";
import { ensure, type Self } from "../scenario.ts";
import { BareFile, type BareShared, buildBare, FIRST_BLOCK } from "./bare.ts";

export interface DurableShared extends BareShared {
  /** A word per block: writes to it. Then a word per block: as many as are on the medium. */
  readonly versions: number;
}

const BLOCKS = 64;

export function buildDurable(actors: number, pages: number, marked = true): DurableShared {
  const bare = buildBare(actors, pages, marked);
  return { ...bare, versions: bare.region.allocatePages(2 * BLOCKS) };
}

/** What write-back needs of a device. */
class Medium {
  readonly #words: Words;
  readonly #versions: number;

  constructor(words: Words, versions: number) {
    this.#words = words;
    this.#versions = versions;
  }

  write(block: number): void {
    add(this.#words, this.#versions + block, 1);
  }

  written(block: number): number {
    return load(this.#words, this.#versions + block);
  }

  persisted(block: number): number {
    return load(this.#words, this.#versions + BLOCKS + block);
  }

  persist(at: number, length: number): void {
    for (let block = at / PAGE_SIZE; block * PAGE_SIZE < at + length; block++) {
      store(this.#words, this.#versions + BLOCKS + block, this.written(block));
    }
  }
}

/** The file in one schedule. */
export class DurableFile extends BareFile {
  readonly #shared: DurableShared;

  constructor(shared: DurableShared, actors: readonly Self[]) {
    super(shared, actors);
    this.#shared = shared;
  }

  #medium({ thread }: Self): Medium {
    return new Medium(thread.words, this.#shared.versions);
  }

  /** An I/O that writes its pages. */
  write(self: Self, record: PinRecord, first: number, count: number): void {
    this.io(self, record, count);
    const medium = this.#medium(self);
    for (let index = first; index < first + count; index++) {
      medium.write(FIRST_BLOCK + index);
      self.say(`page ${index} is written`);
    }
    this.endIo(self, record);
  }

  /** What was written to the file before it is on the medium when it returns. */
  *fsync(self: Self): Sleeps<void> {
    const medium = this.#medium(self);
    const before: number[] = [];
    for (let index = 0; index < this.pageCount; index++) {
      before.push(medium.written(FIRST_BLOCK + index));
    }
    yield* this.#writeBack(self);
    for (const [index, version] of before.entries()) {
      const done = this.isFreed(index) || medium.persisted(FIRST_BLOCK + index) >= version;
      ensure(
        done,
        `fsync has returned, and what was written to page ${index} is not on the medium`,
      );
    }
  }

  *#writeBack(self: Self): Sleeps<void> {
    const { thread, pages, windows } = this.hand(self);
    const dax = { thread, pages, windows, device: this.#medium(self) };
    yield* writeBack(self.task, dax as unknown as Dax, this.mapping);
  }

  /** At the end: one more fsync, and all that was written is on the medium. */
  override end(): void {
    super.end();
    const { self } = this.hands[0]!;
    const medium = this.#medium(self);
    this.#writeBack(self); // in the checked build it runs to its end
    for (let index = 0; index < this.pageCount; index++) {
      const block = FIRST_BLOCK + index;
      const done = this.isFreed(index) || medium.persisted(block) === medium.written(block);
      ensure(
        done,
        `page ${index} was written through a pin, and an fsync after that has missed it`,
      );
    }
  }

  override nameOf(word: number): string | null {
    const at = word - this.#shared.versions;
    if (at >= 0 && at < BLOCKS) return `writes to block ${at}`;
    if (at >= BLOCKS && at < 2 * BLOCKS) return `writes to block ${at - BLOCKS} on the medium`;
    return super.nameOf(word);
  }
}
