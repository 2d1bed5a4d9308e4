/** Address ranges registered for faults: windows, and what is moved over them to revoke. */
import { invariant } from "../base/invariant.ts";
import { type Address, PAGE_SIZE } from "../base/quantities.ts";
import { moveOver, reserveAddresses, unmapAddresses } from "../device/address-space.ts";
import type { Userfaultfd } from "./userfaultfd.ts";

/** A fresh, registered range; see reserveAddresses for its place. Throws: ENOMEM. */
export function reserveRegistered(
  faults: Userfaultfd,
  length: number,
  alignment: number,
  congruence: number,
): Address {
  const address = reserveAddresses(length, alignment, congruence);
  try {
    faults.register(address, length);
  } catch (error) {
    unmapAddresses(address, length);
    throw error;
  }
  return address;
}

/** Bytes reserved at a time: one registration serves 16,384 revocations of a page. */
const RESERVE_SIZE = 2 ** 26;

/**
 * Empty registered memory that one thread moves over what it revokes. Address space is moved, not
 * used up: what a piece leaves behind is unmapped. Each thread has its own, so that none of it is
 * shared state; a thread that dies leaves at most RESERVE_SIZE bytes of empty addresses.
 */
export class Reserve {
  readonly #faults: Userfaultfd;
  #next = 0;
  #end = 0;

  constructor(faults: Userfaultfd) {
    this.#faults = faults;
  }

  /**
   * Puts empty registered memory over [address, address + length), atomically. Sleeps in the
   * kernel until the message of it is read.
   * Throws: ENOMEM naming vm.max_map_count; the range then still shows what it showed.
   */
  moveOver(address: Address, length: number): void {
    invariant(length > 0 && length % PAGE_SIZE === 0, "a revoked range is not whole pages");
    if (length > RESERVE_SIZE) {
      const piece = reserveRegistered(this.#faults, length, PAGE_SIZE, 0);
      this.#move(piece, length, address);
      return;
    }
    if (this.#end - this.#next < length) this.#refill();
    const piece = this.#next as Address;
    moveOver(piece, length, address);
    this.#next = piece + length;
  }

  /** Gives the rest back. */
  close(): void {
    if (this.#end > this.#next) unmapAddresses(this.#next as Address, this.#end - this.#next);
    this.#next = this.#end = 0;
  }

  #refill(): void {
    this.close();
    this.#next = reserveRegistered(this.#faults, RESERVE_SIZE, PAGE_SIZE, 0);
    this.#end = this.#next + RESERVE_SIZE;
  }

  #move(piece: Address, length: number, address: Address): void {
    try {
      moveOver(piece, length, address);
    } catch (error) {
      unmapAddresses(piece, length);
      throw error;
    }
  }
}
