/**
 * Segments: the pieces in which a device is mapped, at most 1 GiB each, on first use.
 *
 * (1) A segment is mapped at one address in the whole process, for every thread.
 * (2) Its address is published once and never changes, not even when the device is closed.
 * (3) Once a device is closed, no further segment of it is published.
 */
import { invariant } from "../base/invariant.ts";
import type { Address } from "../base/quantities.ts";

/** Bytes in a segment; the last one of a device may be shorter. */
export const SEGMENT_SIZE = 2 ** 30;

/**
 * Bytes of one ArrayBuffer over a segment. V8 counts the whole of each against its heap's growth, and
 * collects garbage for one of 64 MiB and above as soon as it is made.
 */
export const VIEW_SIZE = 2 ** 25;

/** Published in place of an address when the device was closed before the segment was mapped. */
export const CLOSED_SEGMENT = 1 as Address;

/** Where a device's segments are mapped, known to all threads of the process. */
export interface SegmentTable {
  /** The segment's address, 0 while nobody has mapped it, or CLOSED_SEGMENT. */
  get(index: number): Address | 0;
  /** Enters `address` if the place is still 0. Returns what is there afterwards. */
  publish(index: number, address: Address): Address;
}

/** The table of a device that one thread uses. */
export class LocalSegmentTable implements SegmentTable {
  readonly #addresses: (Address | 0)[];

  constructor(count: number) {
    this.#addresses = new Array<Address | 0>(count).fill(0);
  }

  get(index: number): Address | 0 {
    const address = this.#addresses[index];
    invariant(address !== undefined, () => `segment ${index} of ${this.#addresses.length}`);
    return address;
  }

  publish(index: number, address: Address): Address {
    const present = this.get(index);
    if (present !== 0) return present;
    this.#addresses[index] = address;
    return address;
  }
}

/** How many segments cover `size` bytes. */
export function segmentCountOf(size: number): number {
  return Math.ceil(size / SEGMENT_SIZE);
}
