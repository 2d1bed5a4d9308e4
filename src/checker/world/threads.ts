/** The threads of a scenario's actors, in the checked build. */
import { load, store } from "../../sync/atomics.ts";
import { Region, REGION_BYTES_MIN, Root } from "../../sync/region.ts";
import { allocateObject, freeObject } from "../../sync/slab.ts";
import { Task } from "../../sync/sleep.ts";
import { OWNER_DIED, Slot, Thread } from "../../sync/thread.ts";

/** A region that `count` actors have joined, and a further thread, to build with. */
export function regionWithThreads(
  count: number,
  byteLength = REGION_BYTES_MIN,
): { region: Region; thread: Thread } {
  const region = Region.create(byteLength);
  for (let actor = 0; actor < count; actor++) warmUp(Thread.join(region));
  return { region, thread: Thread.join(region) };
}

/** Makes the first block of each table, so that no schedule allocates them. */
function warmUp(thread: Thread): void {
  for (const table of [
    thread.heldLocks,
    thread.entryLocks,
    thread.pins,
    thread.openFiles,
    thread.leases,
  ]) {
    table.give(table.take());
  }
}

/** Makes the first records of leases, so that no schedule does. Returns where they are. */
export function makeFirstLeases(thread: Thread): number {
  const slab = thread.region.root(Root.leases);
  const record = allocateObject(thread, slab);
  freeObject(thread, slab, record);
  return record;
}

/** The private constructor: the slot was joined when the region was built. */
const Joined = Thread as unknown as new (
  region: Region,
  slot: number,
  incarnation: number,
) => Thread;

/** A new object for a thread that has joined: one for each schedule. */
export function threadAt(region: Region, slot: number): Thread {
  return new Joined(region, slot, 1);
}

/** A task whose signal the environment can set. */
export function taskOf(thread: Thread, timeoutMs?: number): { task: Task; abort(): void } {
  const signal = { aborted: false, reason: undefined };
  const task = new Task(thread, { signal: signal as unknown as AbortSignal, timeoutMs });
  return {
    task,
    abort(): void {
      signal.aborted = true;
    },
  };
}

/** The word in which the kernel marks a thread's end. */
export function livenessOf(thread: Thread): number {
  return thread.base + Slot.liveness;
}

/** Of a mutex as `engine/system.ts` keeps it: what it was made as, and whether its holder's end marks it. */
const KIND = 4;
const ROBUST = 2;

/** Ends a thread that no actor is, as the system does: its liveness is marked if that is robust. */
export function endThread(thread: Thread): void {
  const liveness = livenessOf(thread);
  if ((load(thread.words, liveness + KIND) & ROBUST) === 0) return;
  store(thread.words, liveness, OWNER_DIED);
}

/** Whether the environment has ended a thread. */
export function isDead(thread: Thread): boolean {
  return (load(thread.words, livenessOf(thread)) & OWNER_DIED) !== 0;
}
