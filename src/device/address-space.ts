/**
 * This process's address space: ranges mapped, moved over one another and given back.
 *
 * Every function takes whole pages. None sleeps for another thread of this process, except
 * `moveOver` where the moved range is registered with a userfaultfd (see window/fault-port.ts).
 */
import { readFileSync } from "node:fs";
import { ERRNO, type ErrorContext, HoldfastError } from "../base/errors.ts";
import { invariant } from "../base/invariant.ts";
import { bindFunction, lastErrno, throwLastError } from "../base/libc.ts";
import { type Address, PAGE_SIZE, roundUp } from "../base/quantities.ts";

// Results are declared signed, so that MAP_FAILED is the number -1.
const mmap = bindFunction(
  "intptr_t mmap(uintptr_t address, size_t length, int protection, int flags, int fd, int64_t at)",
);
const munmap = bindFunction("int munmap(uintptr_t address, size_t length)");
const mremap = bindFunction(
  "intptr_t mremap(uintptr_t from, size_t size, size_t newSize, int flags, uintptr_t to)",
);
const msync = bindFunction("int msync(uintptr_t address, size_t length, int flags)");
const getpagesize = bindFunction("int getpagesize()");

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const MREMAP_MAYMOVE = 1;
const MREMAP_FIXED = 2;
const MS_SYNC = 4;

const ZEROES = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

/** How stores reach storage: "shared" writes it, "private" copies the page for this process. */
export type MapMode = "shared" | "private";

/** The system's page size. Everything here is built for 4096. */
export function systemPageSize(): number {
  return getpagesize();
}

/**
 * Maps `length` bytes of `fd` from byte `at`, over `address`; what was there is gone in one step.
 * Throws: ENOMEM naming vm.max_map_count; EACCES for a shared writable mapping of a descriptor
 * opened read-only; ENODEV where the filesystem cannot be mapped.
 */
export function mapStorageOver(
  address: Address,
  length: number,
  fd: number,
  at: number,
  mode: MapMode,
  writable: boolean,
): void {
  const protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  const sharing = mode === "shared" ? MAP_SHARED : MAP_PRIVATE | MAP_NORESERVE;
  if (mmap(address, length, protection, sharing | MAP_FIXED, fd, at) !== address) {
    throwMapError("mmap", length);
  }
}

/**
 * Puts zeroes over [address, address + length): private memory that belongs to nobody, so that
 * loads give zero and stores go nowhere. Costs memory only where it is written.
 * Throws: ENOMEM naming vm.max_map_count.
 */
export function mapZeroesOver(address: Address, length: number): void {
  if (mmap(address, length, PROT_READ | PROT_WRITE, ZEROES | MAP_FIXED, -1, 0) !== address) {
    throwMapError("mmap", length);
  }
}

/**
 * A fresh range of zeroes whose first address is `congruence` modulo `alignment`. A file offset and
 * an address that agree modulo 2 MiB let the system map huge pages.
 * Throws: ENOMEM naming vm.max_map_count.
 */
export function reserveAddresses(
  length: number,
  alignment: number = PAGE_SIZE,
  congruence = 0,
): Address {
  invariant(
    length > 0 && length % PAGE_SIZE === 0,
    () => `a range of ${length} bytes is no whole pages`,
  );
  invariant(
    congruence % PAGE_SIZE === 0,
    () => `congruence ${congruence} is not a multiple of a page`,
  );
  const slack = alignment > PAGE_SIZE ? alignment : 0;
  const start = mmap(0, length + slack, PROT_READ | PROT_WRITE, ZEROES, -1, 0);
  if (start === -1) throwMapError("mmap", length + slack);
  if (slack === 0) return start as Address;
  const base = roundUp(start - congruence, alignment) + congruence;
  const before = base - start;
  const after = slack - before;
  if (before > 0) unmapAddresses(start as Address, before);
  if (after > 0) unmapAddresses((base + length) as Address, after);
  return base as Address;
}

/**
 * Gives a range back. A later touch kills the process, so no buffer over it may be reachable.
 * Throws: ENOMEM when the hole would split a mapping and vm.max_map_count is reached.
 */
export function unmapAddresses(address: Address, length: number): void {
  if (munmap(address, length) !== 0) throwMapError("munmap", length);
}

/**
 * Moves the range at `from` over the one at `to`, atomically for every other thread: it sees the
 * old mapping of `to` or the moved one, never neither. Nothing stays mapped at `from`.
 * Throws: ENOMEM naming vm.max_map_count; `to` then still shows what it showed.
 */
export function moveOver(from: Address, length: number, to: Address): void {
  if (mremap(from, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, to) !== to) {
    throwMapError("mremap", length);
  }
}

/**
 * Writes a mapped range's dirty pages to storage and waits for it.
 * Throws: EIO and whatever else the storage answers, node-shaped.
 */
export function synchronizeAddresses(
  address: Address,
  length: number,
  context: ErrorContext,
): void {
  if (msync(address, length, MS_SYNC) !== 0) throwLastError("msync", context);
}

function throwMapError(syscall: string, length: number): never {
  if (lastErrno() !== ERRNO.ENOMEM) throwLastError(syscall);
  throw new HoldfastError(
    "ENOMEM",
    `${syscall} of ${length} bytes: this process has no memory or no further mapping left; ` +
      `the system allows ${mapCountMax()} mappings (sysctl vm.max_map_count)`,
    { syscall },
  );
}

function mapCountMax(): string {
  try {
    return readFileSync("/proc/sys/vm/max_map_count", "utf8").trim();
  } catch {
    return "an unknown number of";
  }
}
