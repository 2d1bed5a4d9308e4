/**
 * Storage under a sparse image file. A store into a hole of a mapped file takes storage of the filesystem that holds
 * it, and where that is full, the process is ended by SIGBUS. So holes are given storage by a call before they are
 * stored to, which answers ENOSPC; and in tmpfs, where loads take it, too, they are read by a call.
 *
 * (1) What is noted to have storage has it: where somebody makes holes in the image while it is open, all threads
 *     are told, and forget what they have noted (released.ts), before anybody can store there.
 * (2) Notes are a thread's own: what another one has given is a hole here still, and is given again, at no cost
 *     but the call's.
 *
 * It is no use where the filesystem gives no storage ahead (EOPNOTSUPP: NFS before 4.2, some FUSE), nor where a
 * store takes storage again: a file that is a clone of another, or one that is compressed.
 */
import { readSync } from "node:fs";
import { HoldfastError, systemError } from "../base/errors.ts";
import { bindFunction, lastErrno } from "../base/libc.ts";
import { PAGE_SIZE } from "../base/quantities.ts";
import type { ReleasedRanges } from "./released.ts";
import { VIEW_SIZE } from "./segments.ts";

const fallocate = bindFunction("int fallocate(int fd, int mode, int64_t at, int64_t length)");
const lseek = bindFunction("int64_t lseek(int fd, int64_t at, int whence)");
const fstatfs = bindFunction("int fstatfs(int fd, _Out_ uint8_t *answer)");

/** Source: linux/falloc.h, lseek(2), fstatfs(2) and linux/magic.h. */
const FALLOC_FL_KEEP_SIZE = 1;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const TMPFS_MAGIC = 0x01021994;
const STATFS_BYTES = 256;
const EINTR = 4;
const ENOSPC = 28;
const EDQUOT = 122;

const PAGES_PER_VIEW = VIEW_SIZE / PAGE_SIZE;

/**
 * What takes storage of the filesystem that holds the device: nothing; stores into its holes; in tmpfs, loads of
 * them as well.
 */
export type Sparseness = "whole" | "holes" | "holes in memory";

/** How sparse an image file may be, or become, that was opened for writing: "whole" where holes are not told. */
export function sparsenessOf(fd: number): Sparseness {
  if (Number(lseek(fd, 0, SEEK_HOLE)) < 0) return "whole";
  const answer = new Uint8Array(STATFS_BYTES);
  if (fstatfs(fd, answer) !== 0) return "holes";
  const type = new DataView(answer.buffer).getUint32(0, true);
  return type === TMPFS_MAGIC ? "holes in memory" : "holes";
}

/** The error of a call that found no room in the filesystem that holds a device. */
export function hostFullError(path: string, syscall: string, cause?: unknown): HoldfastError {
  const what = `the filesystem that holds '${path}' is full; make room there`;
  return new HoldfastError("ENOSPC", what, { syscall, path, cause });
}

/** One thread's notes of a sparse image. */
export class Backing {
  readonly #fd: number;
  readonly #path: string;
  readonly #size: number;
  /** Of each view, made on first use, a bit for each page that has storage. */
  readonly #views: (Uint8Array | undefined)[] = [];
  /** Null while no other thread uses the image. */
  #released: ReleasedRanges | null = null;
  /** Up to where those are forgotten. */
  #seen = 0;

  /** `size`: whole pages. */
  constructor(fd: number, path: string, size: number) {
    this.#fd = fd;
    this.#path = path;
    this.#size = size;
  }

  /** From now on it is told here what loses its storage. */
  useReleased(released: ReleasedRanges): void {
    this.#released = released;
    this.#seen = released.sequence & ~1;
    this.#views.length = 0;
  }

  /** Whether all of [at, at + length) has storage. */
  has(at: number, length: number): boolean {
    this.#forgetReleased();
    const end = Math.ceil((at + length) / PAGE_SIZE);
    for (let page = Math.floor(at / PAGE_SIZE); page < end; page++) {
      if (!this.#isNoted(page)) return false;
    }
    return true;
  }

  /**
   * Gives storage to what has none of the pages of [at, at + length). Sleeps: in the device.
   * Throws: ENOSPC, when some may have got it; EIO.
   */
  give(at: number, length: number): void {
    this.#forgetReleased();
    const end = Math.ceil((at + length) / PAGE_SIZE);
    for (let page = Math.floor(at / PAGE_SIZE); page < end; page++) {
      if (this.#isNoted(page)) continue;
      const first = page;
      while (page + 1 < end && !this.#isNoted(page + 1)) page++;
      this.#allocate(first, page + 1);
    }
  }

  /** Fills `target` from byte `at` on, by a call: as far as the image goes. Throws: EIO. */
  read(at: number, target: Uint8Array): void {
    for (let done = 0; done < target.length; ) {
      try {
        const count = readSync(this.#fd, target, done, target.length - done, at + done);
        if (count === 0) break;
        done += count;
      } catch (error) {
        const { errno = -5 } = error as NodeJS.ErrnoException;
        throw systemError(-errno, "read", { path: this.#path, cause: error });
      }
    }
  }

  #forgetReleased(): void {
    if (this.#released === null || this.#released.sequence === this.#seen) return;
    const seen = this.#released.readSince(this.#seen, (page, pages) =>
      this.#change(page, page + pages, false),
    );
    if (seen !== null) this.#seen = seen;
    else this.useReleased(this.#released);
  }

  /** Notes of pages [first, end) whether they have storage, where anything is noted. */
  #change(first: number, end: number, has: boolean): void {
    for (let page = first; page < end; ) {
      const view = Math.floor(page / PAGES_PER_VIEW);
      const stop = Math.min(end, (view + 1) * PAGES_PER_VIEW);
      const notes = this.#views[view];
      if (notes !== undefined) note(notes, page % PAGES_PER_VIEW, stop - page, has);
      page = stop;
    }
  }

  #allocate(first: number, end: number): void {
    const [at, length] = [first * PAGE_SIZE, (end - first) * PAGE_SIZE];
    while (fallocate(this.#fd, FALLOC_FL_KEEP_SIZE, at, length) !== 0) {
      const errno = lastErrno();
      if (errno === EINTR) continue;
      if (errno === ENOSPC || errno === EDQUOT) throw hostFullError(this.#path, "fallocate");
      const failed = systemError(errno, "fallocate", { path: this.#path });
      if (failed.code !== "EOPNOTSUPP" && failed.code !== "ENOSYS") throw failed;
      break;
    }
    this.#change(first, end, true);
  }

  #isNoted(page: number): boolean {
    const bit = page % PAGES_PER_VIEW;
    return ((this.#viewOf(page)[bit >> 3] as number) & (1 << (bit & 7))) !== 0;
  }

  #viewOf(page: number): Uint8Array {
    const view = Math.floor(page / PAGES_PER_VIEW);
    return this.#views[view] ?? this.#look(view);
  }

  /** Asks what has storage already. What was given ahead and never stored to counts as a hole. */
  #look(view: number): Uint8Array {
    const notes = new Uint8Array(PAGES_PER_VIEW / 8);
    this.#views[view] = notes;
    const end = Math.min((view + 1) * VIEW_SIZE, this.#size);
    for (let at = view * VIEW_SIZE; at < end; ) {
      const data = Number(lseek(this.#fd, at, SEEK_DATA));
      if (data < 0 || data >= end) break;
      at = Math.min(Number(lseek(this.#fd, data, SEEK_HOLE)), end);
      const first = Math.ceil(data / PAGE_SIZE);
      const count = Math.floor(at / PAGE_SIZE) - first;
      if (count > 0) note(notes, first % PAGES_PER_VIEW, count, true);
    }
    return notes;
  }
}

/** Notes of `count` pages from the view's page `from` on whether they have storage. */
function note(notes: Uint8Array, from: number, count: number, has: boolean): void {
  const end = from + count;
  for (let bit = from; bit < end; ) {
    if ((bit & 7) === 0 && end - bit >= 8) {
      const whole = (end - bit) & ~7;
      notes.fill(has ? 0xff : 0, bit >> 3, (bit + whole) >> 3);
      bit += whole;
      continue;
    }
    const others = (notes[bit >> 3] as number) & ~(1 << (bit & 7));
    notes[bit >> 3] = has ? others | (1 << (bit & 7)) : others;
    bit++;
  }
}
