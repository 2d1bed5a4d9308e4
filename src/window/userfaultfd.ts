/**
 * userfaultfd(2): the kernel hands this process's page faults to the process itself.
 *
 * Source: Linux include/uapi/linux/userfaultfd.h; Documentation/admin-guide/mm/userfaultfd.rst.
 */
import { closeSync, constants, openSync } from "node:fs";
import { ERRNO, systemError } from "../base/errors.ts";
import {
  bindFunction,
  closeDescriptor,
  lastErrno,
  readDescriptor,
  throwLastError,
} from "../base/libc.ts";
import { type Address, PAGE_SIZE } from "../base/quantities.ts";
import { bytes, struct, u8, u64 } from "../base/struct.ts";

const syscall = bindFunction("long syscall(long number, int flags)");
const ioctl = bindFunction("int ioctl(int fd, unsigned long request, _Inout_ uint8_t *argument)");
const ioctlNumber = bindFunction("int ioctl(int fd, unsigned long request, int argument)");

const little = { endian: "little" } as const;

const Api = struct(
  "uffdio_api",
  { ...little, size: 24 },
  {
    api: u64(0),
    features: u64(8), // asked for; the answer holds all there are
    ioctls: u64(16),
  },
);

const Range = struct("uffdio_range", { ...little, size: 16 }, { start: u64(0), length: u64(8) });

const Register = struct(
  "uffdio_register",
  { ...little, size: 32 },
  {
    start: u64(0),
    length: u64(8),
    mode: u64(16),
    ioctls: u64(24), // answer: what can be done with the range, a bit each
  },
);

const Copy = struct(
  "uffdio_copy",
  { ...little, size: 40 },
  {
    target: u64(0),
    source: u64(8),
    length: u64(16),
    mode: u64(24),
    copied: u64(32), // answer: bytes, or a negative errno
  },
);

const ZeroPage = struct(
  "uffdio_zeropage",
  { ...little, size: 32 },
  {
    start: u64(0),
    length: u64(8),
    mode: u64(16),
    zeroed: u64(24), // answer: bytes, or a negative errno
  },
);

/** One message read from the descriptor, as a page fault fills it. */
const Message = struct(
  "uffd_msg",
  { ...little, size: 32 },
  {
    event: u8(0),
    reserved: bytes(1, 7),
    flags: u64(8),
    address: u64(16),
    threadId: u64(24),
  },
);

const UFFD_API = 0xaa;
const UFFDIO_API = 0xc018aa3f;
const UFFDIO_REGISTER = 0xc020aa00;
const UFFDIO_WAKE = 0x8010aa02;
const UFFDIO_COPY = 0xc028aa03;
const UFFDIO_ZEROPAGE = 0xc020aa04;
const USERFAULTFD_IOC_NEW = 0xaa00;

const FEATURE_PAGEFAULT_FLAG_WP = 1 << 0;
const FEATURE_EVENT_REMAP = 1 << 2;
const FEATURES = FEATURE_PAGEFAULT_FLAG_WP | FEATURE_EVENT_REMAP;

const REGISTER_MODE_MISSING = 1;
const REGISTER_MODE_WP = 2;
/** What every registered range must allow: WAKE, COPY, ZEROPAGE and WRITEPROTECT. */
const REGISTER_IOCTLS = (1 << 2) | (1 << 3) | (1 << 4) | (1 << 6);
const COPY_MODE_WP = 2;

const EVENT_PAGEFAULT = 0x12;
const FAULT_WRITE = 1;
const FAULT_WP = 2;

const UFFD_USER_MODE_ONLY = 1;
const SYSCALL_USERFAULTFD: Partial<Record<NodeJS.Architecture, number>> = { x64: 323, arm64: 282 };

/** Messages taken by one read. */
const MESSAGES_MAX = 128;

/**
 * What became of a range that was to be filled. "moving": some range of this userfaultfd is being
 * moved and its message not yet read, and until then the kernel fills nothing.
 */
export type FillResult = "filled" | "moving";

/**
 * Told of a page fault: the address (of the page's first byte), whether it is a store, and whether
 * it met a write-protected page.
 */
export type FaultHandler = (address: Address, write: boolean, writeProtected: boolean) => void;

export interface OpenUserfaultfd {
  readonly fd: number;
  /** Whether faults inside system calls are handed over too; if not, those answer EFAULT. */
  readonly kernelFaults: boolean;
}

/**
 * A userfaultfd with the features that windows need, or why there is none. Tried in turn: the
 * system call with faults of the kernel (root), /dev/userfaultfd (whoever may open it), the system
 * call for faults of user code alone.
 */
export function openUserfaultfd(): OpenUserfaultfd | { unavailable: string } {
  const number = SYSCALL_USERFAULTFD[process.arch];
  if (number === undefined) return { unavailable: `no userfaultfd known on ${process.arch}` };
  const flags = constants.O_NONBLOCK | O_CLOEXEC;
  let fd = syscall(number, flags);
  let kernelFaults = fd >= 0;
  if (fd < 0) {
    fd = newFromDevice(flags);
    kernelFaults = fd >= 0;
  }
  if (fd < 0) fd = syscall(number, flags | UFFD_USER_MODE_ONLY);
  if (fd < 0) {
    const { code } = systemError(lastErrno(), "userfaultfd");
    return { unavailable: `userfaultfd answers ${code}` };
  }
  const argument = new Uint8Array(Api.structure.size);
  const view = new DataView(argument.buffer);
  Api.api.set(view, 0, UFFD_API);
  Api.features.set(view, 0, FEATURES);
  if (ioctl(fd, UFFDIO_API, argument) !== 0) {
    closeDescriptor(fd);
    return { unavailable: "this kernel's userfaultfd lacks remap events or write-protect faults" };
  }
  return { fd, kernelFaults };
}

/** Node's constants have no O_CLOEXEC; its value is the same on all architectures we know. */
const O_CLOEXEC = 0o2000000;

function newFromDevice(flags: number): number {
  let device: number;
  try {
    device = openSync("/dev/userfaultfd", "r+");
  } catch {
    return -1;
  }
  const fd = ioctlNumber(device, USERFAULTFD_IOC_NEW, flags);
  closeSync(device);
  return fd;
}

/**
 * The calls on one userfaultfd, with argument buffers of their own: one object per thread. Ranges
 * are whole pages.
 */
export class Userfaultfd {
  readonly fd: number;
  readonly #argument = new Uint8Array(64);
  readonly #view = new DataView(this.#argument.buffer);
  readonly #messages = new Uint8Array(MESSAGES_MAX * Message.structure.size);
  readonly #messagesView = new DataView(this.#messages.buffer);

  constructor(fd: number) {
    this.fd = fd;
  }

  /**
   * From now on a touch of a page missing in the range, and a store to a page write-protected by
   * `copyProtected`, is a fault message. Anonymous memory only.
   * Throws: EINVAL where the memory cannot be registered; ENOMEM.
   */
  register(address: Address, length: number): void {
    Register.start.set(this.#view, 0, address);
    Register.length.set(this.#view, 0, length);
    Register.mode.set(this.#view, 0, REGISTER_MODE_MISSING | REGISTER_MODE_WP);
    if (ioctl(this.fd, UFFDIO_REGISTER, this.#argument) !== 0) throwLastError("userfaultfd");
    const ioctls = Register.ioctls.get(this.#view, 0);
    if ((ioctls & REGISTER_IOCTLS) !== REGISTER_IOCTLS) {
      throw systemError(ERRNO.EOPNOTSUPP, "userfaultfd");
    }
  }

  /** Lets every thread that faulted in the range try again. */
  wake(address: Address, length: number): void {
    Range.start.set(this.#view, 0, address);
    Range.length.set(this.#view, 0, length);
    if (ioctl(this.fd, UFFDIO_WAKE, this.#argument) !== 0) throwLastError("userfaultfd");
  }

  /**
   * Fills what is missing in [address, address + length) with zeroes and wakes who waits there:
   * with write-protected pages where `source` gives `sourceLength` bytes of zeroes to copy, so that
   * the first store is a fault too, and with the system's zero page where `source` is 0. Pages that
   * show something already stay as they are. Sleeps: never.
   * Throws: ENOMEM.
   */
  fill(address: Address, length: number, source: Address | 0, sourceLength: number): FillResult {
    const end = address + length;
    let at: number = address;
    let stepMax = sourceLength;
    let skipped = false;
    while (at < end) {
      const step = Math.min(stepMax, end - at);
      const done = source === 0 ? this.#zero(at, step) : this.#copyProtected(at, source, step);
      if (done === -ERRNO.EAGAIN) return "moving";
      if (done === -ERRNO.ENOENT && step > PAGE_SIZE) {
        // The step must lie in one mapping of the kernel's: go by pages.
        stepMax = PAGE_SIZE;
      } else if (done === -ERRNO.EEXIST || done === -ERRNO.ENOENT) {
        skipped = true;
        at += PAGE_SIZE;
      } else if (done < 0) {
        throw systemError(-done, "userfaultfd");
      } else {
        at += done;
      }
    }
    if (skipped) this.wake(address, length);
    return "filled";
  }

  /** Bytes filled, or a negative errno. */
  #copyProtected(at: number, source: Address, length: number): number {
    Copy.target.set(this.#view, 0, at);
    Copy.source.set(this.#view, 0, source);
    Copy.length.set(this.#view, 0, length);
    Copy.mode.set(this.#view, 0, COPY_MODE_WP);
    Copy.copied.set(this.#view, 0, 0);
    if (ioctl(this.fd, UFFDIO_COPY, this.#argument) === 0) return length;
    return partOf(Copy.copied.get(this.#view, 0), length);
  }

  /** Bytes filled, or a negative errno. */
  #zero(at: number, length: number): number {
    ZeroPage.start.set(this.#view, 0, at);
    ZeroPage.length.set(this.#view, 0, length);
    ZeroPage.mode.set(this.#view, 0, 0);
    ZeroPage.zeroed.set(this.#view, 0, 0);
    if (ioctl(this.fd, UFFDIO_ZEROPAGE, this.#argument) === 0) return length;
    return partOf(ZeroPage.zeroed.get(this.#view, 0), length);
  }

  /**
   * Takes the messages that wait, without sleeping, and calls `onFault` for each page fault.
   * Messages of moved ranges are consumed, which lets the thread that moves one go on.
   * Returns how many messages there were; MESSAGES_MAX at most.
   */
  readMessages(onFault: FaultHandler): number {
    const length = readDescriptor(this.fd, this.#messages, this.#messages.length);
    if (length < 0) {
      const errno = lastErrno();
      if (errno === ERRNO.EAGAIN || errno === ERRNO.EINTR) return 0;
      throw systemError(errno, "read");
    }
    const view = this.#messagesView;
    for (let at = 0; at < length; at += Message.structure.size) {
      if (Message.event.get(view, at) !== EVENT_PAGEFAULT) continue;
      const flags = Message.flags.get(view, at);
      const address = Message.address.get(view, at) as Address;
      onFault(address, (flags & FAULT_WRITE) !== 0, (flags & FAULT_WP) !== 0);
    }
    return length / Message.structure.size;
  }
}

/** How far a call came that failed after `done` of `length` bytes; its errno where nowhere. */
function partOf(done: number, length: number): number {
  return done > 0 && done < length ? done : -lastErrno();
}
