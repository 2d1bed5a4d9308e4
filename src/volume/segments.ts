/**
 * Where a device's segments are mapped, in shared memory, for every thread of the process.
 *
 * Area, in words: one per segment: 0 while nobody has mapped it, else its address in units of
 * 2 MiB (segments are aligned so; addresses stay below 2^47), or -1 once the device is closed.
 */
import { invariant } from "../base/invariant.ts";
import { type Address, HUGE_SIZE } from "../base/quantities.ts";
import type { SegmentTable } from "../device/index.ts";
import { CLOSED_SEGMENT } from "../device/segments.ts";
import { cas, load } from "../sync/atomics.ts";
import { Root } from "../sync/region.ts";
import type { Thread } from "../sync/thread.ts";

const CLOSED = -1;

function encode(address: Address): number {
  if (address === CLOSED_SEGMENT) return CLOSED;
  invariant(address % HUGE_SIZE === 0, () => `a segment at ${address} is not aligned to 2 MiB`);
  return address / HUGE_SIZE;
}

function decode(word: number): Address | 0 {
  return word === CLOSED ? CLOSED_SEGMENT : ((word * HUGE_SIZE) as Address | 0);
}

/** The table of a volume's device. Locks: none; a place changes once, by compare-exchange. */
export class SharedSegmentTable implements SegmentTable {
  readonly #thread: Thread;
  readonly #area: number;

  private constructor(thread: Thread, root: number) {
    this.#thread = thread;
    this.#area = thread.region.root(root);
  }

  /** `root`: of the region, for this device. */
  static create(
    thread: Thread,
    segmentCount: number,
    root: number = Root.device,
  ): SharedSegmentTable {
    thread.region.setRoot(root, thread.region.allocatePages(segmentCount));
    return new SharedSegmentTable(thread, root);
  }

  static attach(thread: Thread, root: number = Root.device): SharedSegmentTable {
    return new SharedSegmentTable(thread, root);
  }

  get(index: number): Address | 0 {
    return decode(load(this.#thread.words, this.#area + index));
  }

  publish(index: number, address: Address): Address {
    const word = this.#area + index;
    cas(this.#thread.words, word, 0, encode(address));
    return decode(load(this.#thread.words, word)) as Address;
  }
}
