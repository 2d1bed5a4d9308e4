/** poll(2) for reading. */
import { ERRNO, systemError } from "./errors.ts";
import { bindFunction, lastErrno } from "./libc.ts";

const poll = bindFunction("int poll(_Inout_ uint8_t *fds, unsigned long count, int timeoutMs)");

/** struct pollfd { int fd; short events; short revents }: its size and what lies where. */
const ENTRY = 8;
const ASKED = 4;
const ANSWER = 6;
const POLLIN = 1;

/** Some descriptors, to be asked again and again: no garbage. */
export class Poll {
  readonly #count: number;
  readonly #argument: Uint8Array;
  readonly #view: DataView;

  constructor(fds: readonly number[]) {
    this.#count = fds.length;
    this.#argument = new Uint8Array(fds.length * ENTRY);
    this.#view = new DataView(this.#argument.buffer);
    for (const [index, fd] of fds.entries()) {
      this.#view.setInt32(index * ENTRY, fd, true);
      this.#view.setInt16(index * ENTRY + ASKED, POLLIN, true);
    }
  }

  /**
   * Returns whether a descriptor has something to read, an end or an error among it; false when `timeoutMs` has passed (-1:
   * never), or a signal came. Blocks in the kernel. Throws: ENOMEM.
   */
  wait(timeoutMs: number): boolean {
    const count = poll(this.#argument, this.#count, timeoutMs);
    if (count >= 0) return count > 0;
    const errno = lastErrno();
    if (errno !== ERRNO.EINTR) throw systemError(errno, "poll");
    return false;
  }

  /** Whether that was so of the descriptor at this index, when `wait` returned true. */
  has(index: number): boolean {
    return this.#view.getInt16(index * ENTRY + ANSWER, true) !== 0;
  }
}
