/**
 * Ending the use of a volume: unmounting it in the thread that mounted it, detaching it elsewhere.
 *
 * Unmounting has these steps, and goes back to "live" when one of them fails:
 *
 *     refuse new operations -> see that nobody uses it -> close this thread's files and windows
 *     -> free files without a name, evict the rest -> metadata to the medium, and home -> the journal is
 *     empty, the superblock says clean -> end the pager, close the device, drop the claim
 *
 * Of a device that is gone nothing is freed, flushed or persisted: the rest is done all the same.
 *
 * The mark goes to the medium after everything it vouches for.
 */
import { type ErrorContext, HoldfastError, withContext } from "../base/errors.ts";
import { writeBackCopied } from "../dax/write-back.ts";
import type { Device } from "../device/index.ts";
import { load, store } from "../sync/atomics.ts";
import { runAsync, runBlocking } from "../sync/runners.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { forEachRecord } from "../sync/table.ts";
import { PIN_RECORD_WORDS, Slot } from "../sync/thread.ts";
import type { VolumeCore } from "./core.ts";
import { settleOrphans } from "./orphans.ts";
import { freeUnusedValues } from "./unused-values.ts";
import { VolumeState, VolumeWord, volumeWord } from "./state.ts";
import { persistMetadata } from "./sync.ts";

function busy(what: string): HoldfastError {
  return new HoldfastError("EBUSY", `the volume is in use: ${what}`);
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

/** Throws: EBUSY for what this thread must end itself. */
function assertIdle(core: VolumeCore): void {
  const pins = core.thread.pins.count;
  if (pins > 0) throw busy(`this thread holds ${plural(pins, "pin")}; release them first`);
  if (core.running > 0) {
    throw busy(`${plural(core.running, "operation")} of this thread run; await them first`);
  }
}

/** What other threads use, in words, or null. */
function othersUse(core: VolumeCore): string | null {
  const { thread } = core;
  const { region, words } = thread;
  let uses = 0;
  let pins = 0;
  const threads: string[] = [];
  for (let slot = 0; slot < region.slotsUsed; slot++) {
    const holder = thread.holderIn(slot);
    if (holder === 0 || holder === thread.holder || !thread.isAlive(holder)) continue;
    if (core.evictor?.isServedBy(holder)) continue; // it serves the others
    const base = region.slotBase(slot);
    const before = uses + pins;
    forEachRecord(words, base + Slot.openFiles, 1, () => uses++);
    forEachRecord(words, base + Slot.pins, PIN_RECORD_WORDS, () => pins++);
    if (uses + pins > before) threads.push(thread.describe(holder));
  }
  if (threads.length === 0) return null;
  return (
    `${threads.join(", ")} ${threads.length === 1 ? "has" : "have"} ` +
    `${plural(uses, "file")}, windows included, and ${plural(pins, "pin")} open; close them first`
  );
}

function setState(core: VolumeCore, state: number): void {
  core.inodes.underGuard(() => {
    store(core.thread.words, volumeWord(core.thread, VolumeWord.state), state);
  });
}

/** Keeps everybody else out. Throws: EBUSY, with nothing changed. */
function beginUnmount(core: VolumeCore): void {
  assertIdle(core);
  core.thread.reap();
  setState(core, VolumeState.closing);
  const use = othersUse(core);
  if (use !== null) {
    setState(core, VolumeState.live);
    throw busy(use);
  }
  core.evictor?.stop();
  core.inodes.closing = true;
}

function giveUp(core: VolumeCore): void {
  core.closing = false;
  core.inodes.closing = false;
  core.evictor?.allow();
  setState(core, VolumeState.live);
}

/** Closes this thread's files and windows; windows first: they keep their files. */
function closeOwn(core: VolumeCore): void {
  for (const thing of [...core.open].reverse()) thing.closeSync();
  core.closing = true;
}

/**
 * Frees what has no name any more, and takes everything out of memory. Returns what was met on the way, or
 * null: a damaged file stays as it is, for the format's own checker.
 */
function* settleAll(task: Task, core: VolumeCore): Sleeps<HoldfastError | null> {
  let damage: HoldfastError | null = null;
  try {
    if (!core.readOnly) yield* settleOrphans(task, core);
    yield* core.inodes.evictAll(task);
    if (!core.readOnly) yield* freeUnusedValues(task, core, false);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    damage = error;
  }
  return damage;
}

function finish(core: VolumeCore, device: Device): void {
  core.pager?.stop();
  setState(core, VolumeState.closed);
  endUse(core, device);
}

function endUse(core: VolumeCore, device: Device): void {
  core.closing = true;
  core.holding?.[Symbol.dispose]();
  device.failures.end();
  core.closed = true;
  core.dax.windows.port.close();
  core.dax.pageCache?.memory.close();
  device.close();
  core.thread.leave();
}

/**
 * On the way of an unmount something failed. It goes on without writing where the device is gone, or the journal
 * given up, as nothing could ever be written; and where only the mark was left to do. Returns the error to tell
 * of that, or null when nothing is lost.
 */
function failedOnTheWay(core: VolumeCore, device: Device, error: unknown): HoldfastError | null {
  if (error instanceof HoldfastError && !device.isGone) {
    if (core.isMarked) {
      error.message += "; the volume is unmounted and whole, but may not be marked so";
      return error;
    }
    if (core.cache.journal?.isAborted) {
      error.message += "; the volume is unmounted, and what was not persistent is lost";
      return error;
    }
  }
  if (!device.isGone) {
    giveUp(core);
    throw error;
  }
  if (core.readOnly) return null;
  const lost = device.goneError();
  lost.message += "; the volume is unmounted, and what was not persistent is lost";
  return lost;
}

/**
 * Unmounts, blocking.
 * Throws: EBUSY naming who uses the volume, EIO: it is then still mounted. EUCLEAN for damage met on
 * the way, EIO when the device is gone, or when the journal had to be given up: it is then unmounted, and not
 * marked clean.
 */
export function unmountSync(core: VolumeCore, device: Device, context: ErrorContext): void {
  try {
    beginUnmount(core);
    let damage: HoldfastError | null;
    try {
      closeOwn(core);
      device.assertPresent();
      damage = runBlocking(core.thread, (task) => settleAll(task, core));
      if (!core.readOnly) core.concludeSync(damage === null ? "clean" : "damaged");
    } catch (error) {
      damage = failedOnTheWay(core, device, error);
    }
    finish(core, device);
    if (damage !== null) throw damage;
  } catch (error) {
    throw withContext(error, context);
  }
}

/** As `unmountSync`, waiting for the storage on the event loop. */
export async function unmount(
  core: VolumeCore,
  device: Device,
  context: ErrorContext,
): Promise<void> {
  try {
    beginUnmount(core);
    let damage: HoldfastError | null;
    try {
      closeOwn(core);
      device.assertPresent();
      damage = await runAsync(core.thread, (task) => settleAll(task, core));
      if (!core.readOnly) await core.conclude(damage === null ? "clean" : "damaged");
    } catch (error) {
      damage = failedOnTheWay(core, device, error);
    }
    finish(core, device);
    if (damage !== null) throw damage;
  } catch (error) {
    throw withContext(error, context);
  }
}

/** Ends the use of a volume in a thread that attached it. Throws: EBUSY for its own pins. */
export function detach(core: VolumeCore, device: Device, context: ErrorContext): void {
  try {
    const state = load(core.thread.words, volumeWord(core.thread, VolumeWord.state));
    if (state !== VolumeState.closed) {
      assertIdle(core);
      closeOwn(core);
    }
    endUse(core, device);
  } catch (error) {
    throw withContext(error, context);
  }
}

/** Volumes that this thread has mounted. */
const mounted = new Set<VolumeCore>();

function flushMounted(): void {
  for (const core of mounted) flushAtExit(core);
}

/** From now on, until `forgetAtExit`, the end of the thread flushes the volume. */
export function rememberAtExit(core: VolumeCore): void {
  if (mounted.size === 0) process.on("exit", flushMounted);
  mounted.add(core);
}

export function forgetAtExit(core: VolumeCore): void {
  mounted.delete(core);
  if (mounted.size === 0) process.off("exit", flushMounted);
}

function* flushAll(task: Task, core: VolumeCore): Sleeps<void> {
  yield* writeBackCopied(task, core.dax);
  yield* persistMetadata(task, core);
}

/**
 * The process, or the mounting thread, ends without a close. What has changed is put on the medium; the volume
 * stays marked "in use". Waits at most a moment for a transaction of another thread and for what serves
 * windows to end, and for the storage.
 */
function flushAtExit(core: VolumeCore): void {
  if (core.closed) return;
  core.evictor?.stop();
  core.pager?.stop();
  // Who touches a window from now on finds zeroes: a thread that waits in the kernel cannot be ended.
  core.dax.windows.port.close();
  if (core.readOnly || core.dax.device.isGone) return;
  try {
    runBlocking(core.thread, (task) => flushAll(task, core), { timeoutMs: 100 });
  } catch {
    // Nobody is left to tell: the volume says that it was not closed.
  }
}
