/**
 * Which orphan came before which on the volume's list (orphans.ts), as this thread has last seen it: the list is linked
 * one way, and who takes one from among many would have to walk it.
 *
 * It may be out of date, since others change the list, and transactions are undone; so who asks looks whether the one
 * that is named is still followed by his. New ones come only at the head. So of the inodes that have been before one,
 * nearest first, the first that is still on the list is the one before it.
 */
import type { Ino } from "../../../base/quantities.ts";

/** More than that are forgotten together. */
const NOTED_MAX = 2 ** 20;
/** Of the inodes that have been before one, so many are looked at. */
const STEPS_MAX = 1024;

export class OrphanOrder {
  readonly #before = new Map<Ino, Ino>();

  /** `before` is followed by `ino`. */
  note(ino: Ino, before: Ino): void {
    if (this.#before.size >= NOTED_MAX) this.#before.clear();
    this.#before.set(ino, before);
  }

  /** Nothing comes before it: it is the first, or is not on the list. */
  forget(ino: Ino): void {
    this.#before.delete(ino);
  }

  /** The list is empty. */
  forgetAll(): void {
    this.#before.clear();
  }

  /** The nearest inode that has been before `ino` and is so still; null: none that this thread knows of. */
  find(ino: Ino, isBefore: (candidate: Ino) => boolean): Ino | null {
    let candidate = this.#before.get(ino);
    for (let step = 0; candidate !== undefined && step < STEPS_MAX; step++) {
      if (isBefore(candidate)) return candidate;
      candidate = this.#before.get(candidate);
    }
    return null;
  }
}
