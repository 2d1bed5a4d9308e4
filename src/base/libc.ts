/** The way to system calls: the C library through koffi. The only file that imports koffi. */
import koffi from "koffi";
import { type ErrorContext, systemError } from "./errors.ts";
import type { Address } from "./quantities.ts";

const library = koffi.load("libc.so.6");

/** A C function that takes numbers, strings and byte arrays and returns a number. */
export type NativeFunction = (...args: (number | string | Uint8Array | null)[]) => number;

/**
 * Binds a C function by its prototype, as koffi writes it. Addresses are declared `uintptr_t`, so
 * that they are numbers; they stay below 2^47.
 */
export function bindFunction(prototype: string): NativeFunction {
  return library.func(prototype) as unknown as NativeFunction;
}

/** `errno` as the last C call of this thread left it. Read it before anything else is called. */
export function lastErrno(): number {
  return koffi.errno();
}

/** Throws the last C call's error, node-shaped. */
export function throwLastError(syscall: string, context: ErrorContext = {}): never {
  throw systemError(koffi.errno(), syscall, context);
}

/**
 * An ArrayBuffer over [address, address + length) of this process, at most 4 GiB. The memory must
 * stay mapped for as long as the buffer can be reached. V8 may refuse or duplicate a second buffer
 * over the same address in one thread: make one and keep it.
 */
export function viewMemory(address: Address, length: number): ArrayBuffer {
  return koffi.view(address as unknown as bigint, length) as ArrayBuffer;
}

/** Where `bytes` lies in this process. It must not be moved: shared or external memory only. */
export function addressOf(bytes: Uint8Array): Address {
  return Number(koffi.address(bytes)) as Address;
}

/** read(2) and write(2), at once or blocking as the descriptor is: bytes, or -1 and `lastErrno`. */
export const readDescriptor = bindFunction(
  "intptr_t read(int fd, _Out_ uint8_t *buffer, size_t length)",
);
export const writeDescriptor = bindFunction(
  "intptr_t write(int fd, const uint8_t *buffer, size_t length)",
);

const close = bindFunction("int close(int fd)");

/**
 * Closes a descriptor, whoever opened it. (Node's own closeSync, in a worker, warns about those that
 * it did not open.) Errors of close(2) tell of writes that nobody waited for: there are none here.
 */
export function closeDescriptor(fd: number): void {
  close(fd);
}
