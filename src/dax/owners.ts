/**
 * Whose blocks are: the driver's reverse mapping, which may be a search of the whole volume. It goes by
 * parts, each within a transaction, so that nobody changes what it looks at, and between them others have
 * their turn: who changes metadata waits for one part at most, who touches, reads or writes does not wait.
 */
import type { BlockOwner, OwnerSearch, OwnersFound } from "../iomap/contract.ts";
import { PAGE_SIZE } from "../base/quantities.ts";
import { beginTransaction } from "../metadata/transaction.ts";
import { load } from "../sync/atomics.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { Slot } from "../sync/thread.ts";
import type { Dax } from "./dax.ts";

/** Between two parts. */
const PAUSE_MS = 1;

/** A search for the owners of device bytes, whole blocks. */
export function searchFor({ pages }: Dax, address: number, length: number): OwnerSearch {
  return {
    address,
    length,
    isLost(at, bytes) {
      const last = Math.floor((at + bytes - 1) / PAGE_SIZE);
      return pages.bad.find(Math.floor(at / PAGE_SIZE), last) !== null;
    },
  };
}

/**
 * Every owner of the blocks, as it was when its part of the volume was looked at. What moves meanwhile
 * from a part that is to come to one that was looked at is missed: so it has been freed, and given away.
 * Locks: none held. Sleeps: for the transaction, and between parts. Throws: EIO when the device is gone.
 */
export function* findOwners(task: Task, dax: Dax, search: OwnerSearch): Sleeps<BlockOwner[]> {
  const owners: BlockOwner[] = [];
  for (let cursor: number | null = 0; cursor !== null; ) {
    const found: OwnersFound = yield* findPart(task, dax, search, cursor);
    owners.push(...found.owners);
    if (dax.driver.sharing === null && lengthOf(owners) >= search.length) break;
    cursor = found.cursor;
    if (cursor !== null) yield* pause(task);
  }
  return owners;
}

function* findPart(task: Task, dax: Dax, search: OwnerSearch, cursor: number): Sleeps<OwnersFound> {
  using transaction = yield* beginTransaction(task, dax.cache);
  return dax.driver.ownersOf(transaction, search, cursor);
}

/** Of blocks that have one owner each. */
function lengthOf(owners: readonly BlockOwner[]): number {
  return owners.reduce((sum, { length }) => sum + length, 0);
}

/** Lets others go on: an event loop its callbacks, other threads the transaction. */
function* pause(task: Task): Sleeps<void> {
  const word = task.thread.base + Slot.threadId; // stays the same
  yield {
    word,
    expected: load(task.thread.words, word),
    what: () => "a search for the owners of blocks to go on",
    sliceMs: PAUSE_MS,
  };
}
