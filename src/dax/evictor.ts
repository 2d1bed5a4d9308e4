/**
 * The evicting thread: makes room in the page cache for touches, which the pager cannot (evict.ts). It has a
 * thread of its own, which touches no window and may sleep: to revoke one is to wait for the pager.
 */
import { HoldfastError } from "../base/errors.ts";
import { load, sleepWhile } from "../sync/atomics.ts";
import { runBlocking } from "../sync/runners.ts";
import { pageCacheOf } from "./copied.ts";
import type { Dax } from "./dax.ts";
import { answerRequests } from "./evict.ts";

/** How often it looks, unasked, whether it should stop. */
const IDLE_MS = 200;

/** Answers requests for room until `stopped` says so. Throws: an invariant that broke meanwhile. */
export function runEvictor(dax: Dax, stopped: () => boolean): void {
  const { words } = dax.thread;
  const { wantedWord } = pageCacheOf(dax);
  while (!stopped()) {
    const wanted = load(words, wantedWord);
    if (!answerOnce(dax)) sleepWhile(words, wantedWord, wanted, IDLE_MS);
  }
}

/** Returns whether it was asked. */
function answerOnce(dax: Dax): boolean {
  try {
    return runBlocking(dax.thread, (task) => answerRequests(task, dax));
  } catch (error) {
    // The volume is closed, or its device gone: the touches that asked are lost, as they would be without.
    if (error instanceof HoldfastError) return true;
    throw error;
  }
}
