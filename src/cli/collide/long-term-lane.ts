/** The lane of long-term pins: pages that are held under a lease until it is recalled. */
import { setTimeout as pause } from "node:timers/promises";
import type { FileLease } from "../../index.ts";
import type { Lane } from "./context.ts";
import type { Files } from "./files.ts";
import { fillFromSource } from "./io-lanes.ts";
import { PIN_CODES, type PinnedIo, type TakePin, withPinnedPages } from "./pinned.ts";
import { BLOCK_BYTES } from "./stamp.ts";

const HOLD_MS_MAX = 200;
const GRACE_MS_MAX = 100;
/** Between two I/Os into the pages that are held. */
const PAUSE_MS = 5;
/** Once in so many times a recalled lease is not returned in time. */
const DAWDLE_ONE_IN = 5;
/** A request may wait for the holder of another lease to dawdle. */
const LEASE_CODES = ["ETIMEDOUT"];
const REQUEST_MS_MAX = 2 * GRACE_MS_MAX;

export function longTermLane(files: Files): (lane: Lane) => Promise<void> {
  return async (lane) => {
    const { random, context } = lane;
    const graceMs = random.between(10, GRACE_MS_MAX);
    let lease: FileLease | null = null;
    const pinUnderLease: TakePin = async (_lane, { handle }, { first, count }, mode) => {
      const [offset, length] = [first * BLOCK_BYTES, count * BLOCK_BYTES];
      const kind = random.oneIn(3) ? "exclusive" : "shared";
      lease = await lane.attempt("waiting for a lease", LEASE_CODES, () =>
        handle.lease({
          offset,
          length,
          kind,
          graceMs,
          ...context.waits,
          timeoutMs: REQUEST_MS_MAX,
        }),
      );
      if (lease === null) return null;
      const granted = lease;
      return await lane.attempt("waiting for a pin", [...PIN_CODES, "EBUSY", "ESTALE"], () =>
        handle.pin(offset, length, {
          write: mode === "write",
          longTerm: true,
          lease: granted,
          ...context.waits,
        }),
      );
    };
    try {
      await withPinnedPages(lane, files, "write", (io) => hold(lane, io, lease!), pinUnderLease);
    } finally {
      // Under it no pin is held any more.
      if (lease !== null) {
        const granted: FileLease = lease;
        context.tally.countTrouble(granted.expired ? "leasesExpired" : "leasesReturned");
        granted.release();
      }
    }
  };
}

/** One I/O after another into the same pages, until they are asked for. */
async function hold(lane: Lane, io: PinnedIo, lease: FileLease): Promise<void> {
  const until = performance.now() + lane.random.between(0, HOLD_MS_MAX);
  do {
    await fillFromSource(lane, io);
    lane.enter("holding pages under a lease");
    await pause(PAUSE_MS);
  } while (lease.recalled === null && performance.now() < until && !lane.context.board.isStopped);
  const graceLeftMs = lease.graceLeftMs;
  if (graceLeftMs !== null && lane.random.oneIn(DAWDLE_ONE_IN)) {
    await pause(graceLeftMs + PAUSE_MS);
    // What it was recalled for waits for the pin now, and nobody else has the pages.
    await fillFromSource(lane, io);
  }
  io.conclude("underLease");
}
