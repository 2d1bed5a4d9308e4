/** Numbers for open files, and where each of them stands. */
import { HoldfastError } from "../../base/errors.ts";
import { checkInteger } from "../arguments.ts";
import type { FileHandle } from "../file.ts";
import type { FsOpenFlags } from "./flags.ts";

/** Above what the system gives (fs.nr_open): one of its own that comes here is nobody's. */
const FIRST_DESCRIPTOR = 2 ** 20;
const DESCRIPTOR_MAX = 2 ** 31 - 1;

/** An open file with its position: bytes, where the next read or write that names none begins. */
export class OpenFile {
  readonly handle: FileHandle;
  readonly flags: FsOpenFlags;
  position = 0;

  constructor(handle: FileHandle, flags: FsOpenFlags) {
    this.handle = handle;
    this.flags = flags;
  }
}

export class Descriptors {
  readonly #files = new Map<number, OpenFile>();
  /** Given back, to be used again. */
  readonly #free: number[] = [];

  add(file: OpenFile): number {
    const descriptor = this.#free.pop() ?? FIRST_DESCRIPTOR + this.#files.size;
    this.#files.set(descriptor, file);
    return descriptor;
  }

  /** Throws: EBADF; ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE for what is no descriptor at all. */
  get(descriptor: unknown, syscall: string): OpenFile {
    const file = this.#files.get(checkInteger("fd", descriptor, 0, DESCRIPTOR_MAX));
    if (file !== undefined) return file;
    const message = `${descriptor} is no descriptor of this volume's open files`;
    throw new HoldfastError("EBADF", message, { syscall });
  }

  /** As `get`; it is nobody's then. */
  take(descriptor: unknown, syscall: string): OpenFile {
    const file = this.get(descriptor, syscall);
    this.#files.delete(descriptor as number);
    this.#free.push(descriptor as number);
    return file;
  }
}
