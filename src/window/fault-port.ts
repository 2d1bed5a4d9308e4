/**
 * Ports: how windows are put into the address space, filled, revoked and taken out of it.
 *
 * A window's range shows, page by page, one of
 *
 *     empty         registered with the userfaultfd: the next touch is a fault message
 *     device        a mapping of the device, shared or private
 *     zero          the zero page, in a window that is only read
 *     zero, guarded a write-protected page of zeroes: the first store is a fault message
 *     lost          private zeroes: loads give zero, stores go nowhere
 *
 *     empty --show--> device      empty --showZeroProtected--> zero, guarded
 *     empty --showZero--> zero    zero, guarded --show--> device     any --showLost--> lost
 *     any --revoke--> empty       any --retire--> private zeroes of nobody, for good
 *
 * (1) A thread that touches an empty page sleeps until somebody shows something there and wakes it.
 * (2) From any state to empty there is no moment at which the range is neither (revoke).
 * (3) The thread that reads fault messages never revokes: the revoker sleeps until its own message
 *     is read. For the same reason it never waits for a lock that a revoker may hold.
 */
import { availableParallelism } from "node:os";
import { HoldfastError, systemError } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import {
  bindFunction,
  closeDescriptor,
  lastErrno,
  readDescriptor,
  writeDescriptor,
} from "../base/libc.ts";
import { Poll } from "../base/poll.ts";
import { type Address, HUGE_SIZE, PAGE_SIZE } from "../base/quantities.ts";
import {
  type MapMode,
  mapZeroesOver,
  reserveAddresses,
  systemPageSize,
  unmapAddresses,
} from "../device/address-space.ts";
import type { Device } from "../device/device.ts";
import { Reserve, reserveRegistered } from "./addresses.ts";
import { type FaultHandler, openUserfaultfd, Userfaultfd } from "./userfaultfd.ts";

const eventfd = bindFunction("int eventfd(unsigned int value, int flags)");

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;
const COUNTER_SIZE = 8;

/** Looks of about half a microsecond each; on a single processor they would delay what they await. */
const LOOKS_MAX = availableParallelism() > 1 ? 100 : 0;

/** Zeroes kept mapped as the source of guarded pages: bytes copied by one call. */
const ZEROES_SIZE = HUGE_SIZE;

/** What every port can do with windows. Ranges are whole pages; addresses are the caller's to know. */
export interface WindowPort {
  /** Whether a touch of an empty range is served later. If not, every page is shown beforehand. */
  readonly faults: boolean;
  reserveWindow(length: number, alignment?: number, congruence?: number): Address;
  show(address: Address, device: Device, at: number, length: number, mode: MapMode): void;
  showZero(address: Address, length: number): void;
  showLost(address: Address, length: number): void;
  revoke(address: Address, length: number): void;
  retire(address: Address, length: number): void;
  release(address: Address, length: number): void;
  close(): void;
}

/** What another thread of this process needs to use the port. Plain data. */
export interface FaultPortHandle {
  readonly faultFd: number;
  readonly kickFd: number;
  readonly zeroes: Address;
  readonly kernelFaults: boolean;
}

/** The port over a userfaultfd. One per process and volume, one object of it per thread. */
export class FaultPort implements WindowPort {
  readonly faults = true;
  /**
   * Whether a system call may touch an empty range. If not it answers EFAULT there, and I/O goes
   * through pins.
   */
  readonly kernelFaults: boolean;

  readonly #handle: FaultPortHandle;
  readonly #owner: boolean;
  readonly #userfaultfd: Userfaultfd;
  readonly #reserve: Reserve;
  /** Messages, and kicks. */
  readonly #poll: Poll;
  readonly #counter = new Uint8Array(COUNTER_SIZE);
  /** Whether this thread is the reader. */
  #reads = false;
  /** How often to look for the next message before sleeping for it. */
  #looks = 0;
  #closed = false;

  private constructor(handle: FaultPortHandle, owner: boolean) {
    this.#handle = handle;
    this.#owner = owner;
    this.kernelFaults = handle.kernelFaults;
    this.#userfaultfd = new Userfaultfd(handle.faultFd);
    this.#reserve = new Reserve(this.#userfaultfd);
    this.#poll = new Poll([handle.faultFd, handle.kickFd]);
  }

  /** A new port, or why this system has none: use PopulatedPort then. Throws: ENOMEM, EMFILE. */
  static open(): FaultPort | { unavailable: string } {
    if (systemPageSize() !== PAGE_SIZE) return { unavailable: "this system's pages are not 4 KiB" };
    const opened = openUserfaultfd();
    if ("unavailable" in opened) return opened;
    const kickFd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    const errno = lastErrno();
    try {
      if (kickFd < 0) throw systemError(errno, "eventfd");
      const zeroes = reserveAddresses(ZEROES_SIZE, HUGE_SIZE);
      const { fd: faultFd, kernelFaults } = opened;
      return new FaultPort({ faultFd, kickFd, zeroes, kernelFaults }, true);
    } catch (error) {
      closeDescriptor(opened.fd);
      if (kickFd >= 0) closeDescriptor(kickFd);
      throw error;
    }
  }

  /** The port of another thread of this process. */
  static attach(handle: FaultPortHandle): FaultPort {
    return new FaultPort(handle, false);
  }

  handle(): FaultPortHandle {
    return this.#handle;
  }

  /**
   * An empty range for a window. Its address is `congruence` modulo `alignment`: give the file
   * offset modulo 2 MiB, so that the two agree and huge pages can be mapped.
   * Throws: ENOMEM naming vm.max_map_count.
   */
  reserveWindow(length: number, alignment: number = HUGE_SIZE, congruence = 0): Address {
    return reserveRegistered(this.#userfaultfd, length, alignment, congruence);
  }

  /**
   * Shows [at, at + length) of the device and wakes who waits there. "shared" for windows that
   * write the file, "private" for those that only read it: their stray stores reach nothing.
   * Throws: ENOMEM naming vm.max_map_count; the threads that wait then still wait.
   */
  show(address: Address, device: Device, at: number, length: number, mode: MapMode): void {
    device.mapFixed(address, at, length, mode, true);
    this.#userfaultfd.wake(address, length);
  }

  /**
   * Shows zeroes whose first store is a fault, for a hole in a window that writes. Pages that show
   * something already stay as they are.
   * While a range is being revoked the kernel refuses; who waits is woken then and faults again.
   * Throws: ENOMEM.
   */
  showZeroProtected(address: Address, length: number): void {
    this.#fill(address, length, this.#handle.zeroes);
  }

  /** Shows the zero page, for a hole in a window that only reads. Otherwise as above. */
  showZero(address: Address, length: number): void {
    this.#fill(address, length, 0);
  }

  #fill(address: Address, length: number, source: Address | 0): void {
    const result = this.#userfaultfd.fill(address, length, source, ZEROES_SIZE);
    if (result === "moving") this.#userfaultfd.wake(address, length);
  }

  /**
   * Shows private zeroes where the file has nothing (any longer), and wakes who waits there. Works
   * on empty ranges even when the process has no mapping left.
   */
  showLost(address: Address, length: number): void {
    try {
      mapZeroesOver(address, length);
    } catch (error) {
      if (!(error instanceof HoldfastError && error.code === "ENOMEM")) throw error;
      this.#fill(address, length, 0);
    }
    this.#userfaultfd.wake(address, length);
  }

  /** Lets every thread that waits in the range touch it again. */
  wake(address: Address, length: number): void {
    this.#userfaultfd.wake(address, length);
  }

  /**
   * Makes the range empty: every later touch, by any thread, is a fault.
   *
   * Done by moving registered memory over it, not by mapping fresh memory there: fresh memory is
   * registered one call later, and a touch between the two would see zeroes, or keep a store that
   * belongs to the file in memory that belongs to nobody.
   *
   * Sleeps: in the kernel, until another thread has read the message of it; never call it in the
   * thread that reads messages. A thread asleep there cannot be terminated.
   * Throws: ENOMEM naming vm.max_map_count; the range then still shows what it showed.
   */
  revoke(address: Address, length: number): void {
    invariant(!this.#reads, "the thread that reads fault messages revokes");
    this.#reserve.moveOver(address, length);
  }

  /**
   * Takes a closed window's range out of the port: it becomes zeroes of nobody for good, so that a
   * late touch through a view the program kept does no harm. Threads that wait there go on.
   */
  retire(address: Address, length: number): void {
    mapZeroesOver(address, length);
    this.#userfaultfd.wake(address, length);
  }

  /** Unmaps a range. Only where no buffer over it can be reached: a touch ends the process. */
  release(address: Address, length: number): void {
    unmapAddresses(address, length);
  }

  /**
   * Takes the messages that wait, calls `onFault` for each fault, and returns how many there were
   * (call again until 0). Makes this thread the reader: it must not revoke. Sleeps: never.
   */
  readEvents(onFault: FaultHandler): number {
    this.#reads = true;
    return this.#userfaultfd.readMessages(onFault);
  }

  /**
   * Waits until messages wait (true), or `kick` was called or `timeoutMs` has passed (false); -1
   * waits without end. Blocks in the kernel: whoever stops this thread kicks it first.
   */
  waitForEvents(timeoutMs: number): boolean {
    this.#reads = true;
    // Faults come in runs, and waking a thread costs more than serving one.
    for (let looks = this.#looks; looks > 0; looks--) {
      const seen = this.#look(0);
      if (seen !== "nothing") return seen === "messages";
    }
    const seen = this.#look(timeoutMs);
    this.#looks = seen === "messages" ? LOOKS_MAX : 0;
    return seen === "messages";
  }

  #look(timeoutMs: number): "messages" | "kick" | "nothing" {
    if (!this.#poll.wait(timeoutMs)) return "nothing";
    if (this.#poll.has(0)) return "messages";
    readDescriptor(this.#handle.kickFd, this.#counter, COUNTER_SIZE);
    return "kick";
  }

  /** Ends one `waitForEvents`, the present or the next, from any thread. */
  kick(): void {
    writeDescriptor(this.#handle.kickFd, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0), COUNTER_SIZE);
  }

  /**
   * Ends the use of the port. In the thread that opened it: windows are retired and the reader has
   * stopped before; what is still empty becomes zeroes. In a thread that attached: gives only this
   * thread's reserve back. Idempotent.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#reserve.close();
    if (!this.#owner) return;
    closeDescriptor(this.#handle.faultFd);
    closeDescriptor(this.#handle.kickFd);
    unmapAddresses(this.#handle.zeroes, ZEROES_SIZE);
  }
}

/**
 * The port where no userfaultfd is to be had. A touch is never a fault here, so windows are shown
 * whole when they are made and again after a layout change: until then a revoked range reads as
 * zeroes and stores to it are lost. A window that writes has no holes: they are allocated before.
 */
export class PopulatedPort implements WindowPort {
  readonly faults = false;

  /** As FaultPort's, but zeroes until shown. */
  reserveWindow(length: number, alignment: number = HUGE_SIZE, congruence = 0): Address {
    return reserveAddresses(length, alignment, congruence);
  }

  show(address: Address, device: Device, at: number, length: number, mode: MapMode): void {
    device.mapFixed(address, at, length, mode, true);
  }

  showZero(address: Address, length: number): void {
    mapZeroesOver(address, length);
  }

  showLost(address: Address, length: number): void {
    mapZeroesOver(address, length);
  }

  revoke(address: Address, length: number): void {
    mapZeroesOver(address, length);
  }

  retire(address: Address, length: number): void {
    mapZeroesOver(address, length);
  }

  release(address: Address, length: number): void {
    unmapAddresses(address, length);
  }

  close(): void {}
}
