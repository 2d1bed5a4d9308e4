/** Who holds a file, and where: what keeps a layout change waiting, and what it would revoke. */
import type { PinHolder } from "../base/errors.ts";
import { PAGE_SIZE } from "../base/quantities.ts";
import { LeaseKind, LeaseState, leasesOf } from "../layout/lease.ts";
import { MAPPING_WORDS, type Mapping, MappingWord, PAGE_INDEX_MAX } from "../mapping/mapping.ts";
import { heldPins, pinHolders } from "../pin/record.ts";
import { load, loadUnsigned } from "../sync/atomics.ts";
import { lockUses } from "../sync/lock-holders.ts";
import { forEachRecord } from "../sync/table.ts";
import { Slot } from "../sync/thread.ts";
import { openWaits } from "../sync/waits.ts";
import type { VolumeCore } from "./core.ts";

export interface WindowHolder {
  readonly threadId: number;
  /** Bytes of the file. */
  readonly offset: number;
  readonly length: number;
  readonly writable: boolean;
}

/** Handles, with the windows and pins that outlive them. */
export interface HandleHolder {
  readonly threadId: number;
  readonly count: number;
}

/** A lease, or a request of one that waits. */
export interface LeaseHolder {
  readonly threadId: number;
  /** The lease's `id`. */
  readonly id: number;
  /** Bytes of the file; `length` is Infinity for all to the end. */
  readonly offset: number;
  readonly length: number;
  readonly kind: "shared" | "exclusive";
  readonly state: "waiting" | "granted" | "recalled" | "expired";
  /** Of a recalled one: milliseconds until it expires. */
  readonly graceLeftMs: number | null;
}

/** A layout change that has announced its range, or waits for leases or pins in it; or a write that waits. */
export interface BreakHolder {
  readonly threadId: number;
  /** Bytes of the file; `length` is Infinity for all to the end. */
  readonly offset: number;
  readonly length: number;
  /** For how long it has waited; null: it does not, and will be done soon. */
  readonly waitingMs: number | null;
}

export interface LockHolder {
  readonly threadId: number;
  readonly lock: "io" | "map" | "writeBack";
  readonly mode: "shared" | "exclusive";
  /** Whether it queues for the lock, and does not have it yet. */
  readonly waits: boolean;
}

/** Who holds a file. A thread is told by its `threadId` (node:worker_threads); 0 is the main thread. */
export interface FileHolders {
  readonly ino: number;
  readonly pins: readonly PinHolder[];
  readonly windows: readonly WindowHolder[];
  readonly handles: readonly HandleHolder[];
  readonly leases: readonly LeaseHolder[];
  readonly breaks: readonly BreakHolder[];
  readonly locks: readonly LockHolder[];
}

const LOCKS = new Map<number, LockHolder["lock"]>([
  [MappingWord.ioLock, "io"],
  [MappingWord.mapLock, "map"],
  [MappingWord.writeBackLock, "writeBack"],
]);

/**
 * Who holds the file now. `ownUses`: references of this thread that are the caller's own.
 * Locks: none, so what changes meanwhile is told as it was or as it is. Sleeps: never.
 */
export function holdersOf(
  core: VolumeCore,
  mapping: Mapping,
  ino: number,
  ownUses: number,
): FileHolders {
  const { thread, dax } = core;
  thread.reap();
  const open = dax.windows.windowsOf(mapping).filter(({ holder }) => thread.isAlive(holder));
  const windows = open.map(({ holder, first, pages, writable }) => ({
    threadId: thread.idOf(holder),
    offset: first * PAGE_SIZE,
    length: pages * PAGE_SIZE,
    writable,
  }));
  const locks = lockUses(thread, mapping, mapping + MAPPING_WORDS).map((use) => ({
    threadId: thread.idOf(use.holder),
    lock: LOCKS.get(use.lock - mapping)!,
    mode: use.mode,
    waits: use.waits,
  }));
  return {
    ino,
    pins: pinHolders(thread, heldPins(thread, mapping, 0, PAGE_INDEX_MAX)),
    windows,
    handles: handlesOf(core, mapping, ownUses),
    leases: leaseHolders(core, mapping),
    breaks: [...announced(core, mapping), ...waitingBreaks(core, mapping)],
    locks,
  };
}

const LEASE_STATES: Readonly<Partial<Record<LeaseState, LeaseHolder["state"]>>> = {
  [LeaseState.waiting]: "waiting",
  [LeaseState.granted]: "granted",
  [LeaseState.recalled]: "recalled",
  [LeaseState.expired]: "expired",
};

function leaseHolders({ thread }: VolumeCore, mapping: Mapping): LeaseHolder[] {
  return leasesOf(thread, mapping).flatMap((lease) => {
    const state = LEASE_STATES[lease.state];
    if (state === undefined) return []; // the place of a break
    return {
      threadId: thread.idOf(lease.holder),
      id: lease.serial,
      ...rangeOf(lease.first, lease.last),
      kind: lease.kind === LeaseKind.exclusive ? "exclusive" : "shared",
      state,
      graceLeftMs: lease.graceLeftMs,
    };
  });
}

function handlesOf({ thread }: VolumeCore, mapping: Mapping, ownUses: number): HandleHolder[] {
  const { region, words } = thread;
  const handles: HandleHolder[] = [];
  for (let slot = 0; slot < region.slotsUsed; slot++) {
    const holder = thread.holderIn(slot);
    if (holder === 0) continue;
    let count = holder === thread.holder ? -ownUses : 0;
    forEachRecord(words, region.slotBase(slot) + Slot.openFiles, 1, (record) => {
      if (load(words, record) === mapping) count++;
    });
    if (count > 0) handles.push({ threadId: thread.idOf(holder), count });
  }
  return handles;
}

function rangeOf(first: number, last: number): { offset: number; length: number } {
  const length = last >= PAGE_INDEX_MAX ? Infinity : (last - first + 1) * PAGE_SIZE;
  return { offset: first * PAGE_SIZE, length };
}

/** The break that is announced: with the file's locks held, so it is under way only for a moment. */
function announced({ thread }: VolumeCore, mapping: Mapping): BreakHolder[] {
  const { words } = thread;
  const holder = load(words, mapping + MappingWord.breakHolder);
  const first = loadUnsigned(words, mapping + MappingWord.breakFirst);
  const last = loadUnsigned(words, mapping + MappingWord.breakLast);
  if (holder === 0 || load(words, mapping + MappingWord.breakHolder) !== holder) return [];
  return [{ threadId: thread.idOf(holder), ...rangeOf(first, last), waitingMs: null }];
}

function waitingBreaks({ thread }: VolumeCore, mapping: Mapping): BreakHolder[] {
  return openWaits(thread)
    .filter(({ kind }) => kind === "pins" || kind === "leases")
    .filter((wait) => wait.mapping === mapping) // of the waits for leases, those of breaks
    .map(({ holder, first, last, waitingMs }) => ({
      threadId: thread.idOf(holder),
      ...rangeOf(first, last),
      waitingMs,
    }));
}
