/** Windows as a program holds them: a Uint8Array that is the file. */
import { HoldfastError } from "../base/errors.ts";
import { type Address, PAGE_SIZE } from "../base/quantities.ts";
import { viewMemory } from "../base/libc.ts";
import { type Mapping, MappingWord } from "../mapping/mapping.ts";
import { lockExclusive } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import type { FaultPort, PopulatedPort } from "../window/fault-port.ts";
import { type Window, WINDOW_BYTES_MAX } from "../window/window.ts";
import { type Dax, isCopied, mapName } from "./dax.ts";
import { showAll } from "./fault.ts";
import { makeRoom } from "./evict.ts";
import { assertSync } from "./sync-fault.ts";
import { findShared, unshareRange } from "./unshare.ts";
import { persistStores } from "./write-back.ts";

/** Address ranges whose window is closed are given back when no view of them is left. */
const closedRanges = new FinalizationRegistry<ClosedRange>(({ port, address, length }) =>
  port.release(address, length),
);

interface ClosedRange {
  readonly port: FaultPort | PopulatedPort;
  readonly address: Address;
  readonly length: number;
}

/** A range of the file that touches of the window did not reach. */
export interface LostRange {
  readonly offset: number;
  readonly length: number;
  readonly pages: number;
  /** Set where bytes of the file on the device are lost, too: not only beyond its end, or for want of room. */
  readonly poisoned?: true;
  /** Set where the device was removed: nothing of the file can be reached any more. */
  readonly removed?: true;
}

/** A range of a file as a program sees it: of the file itself, or a copy. */
export interface ShownRange {
  readonly bytes: Uint8Array;
  readonly offset: number;
  readonly writable: boolean;
  /** Whether what is stored can be persisted by itself (sync-fault.ts). */
  readonly sync: boolean;
  lostRange(): LostRange | null;
  /** Of a range with `sync`: puts bytes of it on the medium. */
  persistWith(task: Task, at: number, length: number): Sleeps<void>;
  closeWith(task: Task): Sleeps<void>;
}

interface FileWindowParts {
  readonly dax: Dax;
  readonly mapping: Mapping;
  readonly window: Window;
  readonly bytes: Uint8Array;
  readonly offset: number;
  readonly writable: boolean;
  readonly sync: boolean;
}

/**
 * A window. `bytes` is the file's storage itself, faulted in by touching it; loads and stores of any
 * thread that has the same file mapped meet there. After `close()` the bytes are zeroes of nobody:
 * touching them does no harm and means nothing.
 */
export class FileWindow implements ShownRange {
  readonly bytes: Uint8Array;
  /** First byte of the window in the file. */
  readonly offset: number;
  readonly writable: boolean;
  readonly sync: boolean;
  readonly mapping: Mapping;
  readonly #dax: Dax;
  #window: Window;

  constructor(parts: FileWindowParts) {
    this.#dax = parts.dax;
    this.mapping = parts.mapping;
    this.#window = parts.window;
    this.bytes = parts.bytes;
    this.offset = parts.offset;
    this.writable = parts.writable;
    this.sync = parts.sync;
  }

  get closed(): boolean {
    return this.#window === 0;
  }

  /**
   * What touches could not reach so far, because it lay beyond the file's end or could not be
   * allocated or read: loads gave zeroes there and stores went nowhere. Null: nothing.
   */
  lostRange(): LostRange | null {
    if (this.#window === 0) return null;
    const { windows } = this.#dax;
    const lost = windows.lost(this.#window);
    if (lost === null) return null;
    return {
      offset: lost.first * PAGE_SIZE,
      length: (lost.last - lost.first + 1) * PAGE_SIZE,
      pages: lost.pages,
      ...(lost.poisoned ? { poisoned: true } : {}),
      ...(lost.removed ? { removed: true } : {}),
    };
  }

  /** `at`: of `bytes`. Locks, sleeps, throws: as `persistStores`. */
  *persistWith(task: Task, at: number, length: number): Sleeps<void> {
    const start = this.offset + at;
    const last = Math.floor((start + length - 1) / PAGE_SIZE);
    yield* persistStores(task, this.#dax, this.mapping, Math.floor(start / PAGE_SIZE), last);
  }

  /** Takes the window away. Locks: the map lock, exclusively. Sleeps: for it. Twice does nothing. */
  *closeWith(task: Task): Sleeps<void> {
    if (this.#window === 0) return;
    const { windows } = this.#dax;
    using _map = yield* lockExclusive(
      task,
      this.mapping + MappingWord.mapLock,
      mapName(this.#dax, this.mapping),
    );
    const window = this.#window;
    this.#window = 0;
    if (window === 0) return;
    const address = windows.address(window);
    const length = windows.pages(window) * PAGE_SIZE;
    windows.remove(window);
    closedRanges.register(this.bytes.buffer, { port: windows.port, address, length });
  }
}

/**
 * Shows [offset, offset + length) of a file as memory; `offset` a multiple of 4096. Beyond the
 * file's end touches are lost until it grows. `sync`: what it shows is on the medium (sync-fault.ts).
 * Locks: takes the map lock, exclusively. Sleeps: for it; where nothing can fault, also to show it.
 * Throws: EINVAL, EROFS, ENOMEM, ENFILE, EIO when the device is gone, and where nothing can fault ENOSPC; with
 * `sync` EOPNOTSUPP; no window is left then.
 */
export function* mapWindow(
  task: Task,
  dax: Dax,
  mapping: Mapping,
  offset: number,
  length: number,
  writable: boolean,
  sync = false,
): Sleeps<FileWindow> {
  if (writable) dax.assertWritable();
  if (sync) assertSync(dax, mapping);
  if (offset % PAGE_SIZE !== 0 || length <= 0) {
    throw new HoldfastError(
      "EINVAL",
      `a window of ${length} bytes at ${offset}: offset must be a multiple of ${PAGE_SIZE}, ` +
        "length positive",
    );
  }
  if (length > WINDOW_BYTES_MAX) {
    throw new HoldfastError(
      "EINVAL",
      `a window of ${length} bytes: ${WINDOW_BYTES_MAX} at most, map larger ranges as several`,
    );
  }
  const { windows } = dax;
  const name = mapName(dax, mapping);
  const pages = Math.ceil(length / PAGE_SIZE);
  if (!windows.port.faults && isCopied(dax, mapping)) yield* makeRoom(task, dax, pages);
  let window: Window = 0;
  // Where nothing can fault, what a window is to write has to be the file's own beforehand.
  const own = writable && !windows.port.faults;
  const range = { start: offset, end: offset + length };
  while (window === 0) {
    if (own) yield* unshareRange(task, dax, mapping, range);
    using _map = yield* lockExclusive(task, mapping + MappingWord.mapLock, name);
    if (own && (yield* findShared(task, dax, mapping, range)) !== null) continue;
    window = windows.add(mapping, offset / PAGE_SIZE, pages, writable, sync);
    yield* showFirst(task, dax, window);
  }
  const buffer = viewMemory(windows.address(window), pages * PAGE_SIZE);
  const bytes = new Uint8Array(buffer, 0, length);
  return new FileWindow({ dax, mapping, window, bytes, offset, writable, sync });
}

/**
 * Shows a window that cannot fault; takes the window away again where that fails, or the device is gone:
 * it is listed by now, so a removal that this does not see finds it. The map lock is held exclusively.
 */
function* showFirst(task: Task, dax: Dax, window: Window): Sleeps<void> {
  const { windows } = dax;
  try {
    dax.pages.deviceState.assertPresent();
    if (!windows.port.faults) yield* showAll(task, dax, window);
  } catch (error) {
    const address = windows.address(window);
    const length = windows.pages(window) * PAGE_SIZE;
    windows.remove(window);
    windows.port.release(address, length);
    throw error;
  }
}
