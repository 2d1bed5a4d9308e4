/** Windows as programs hold them. */
import { HoldfastError } from "../base/errors.ts";
import { copyWindow } from "../dax/copied-window.ts";
import { stableSize } from "../dax/dax.ts";
import { type LostRange, mapWindow, type ShownRange } from "../dax/map-window.ts";
import type { Mapping } from "../mapping/mapping.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import { checkInteger, wrongValue } from "./arguments.ts";
import { newBuffer } from "./buffer.ts";
import type { OpenThing, VolumeCore } from "./core.ts";

export interface MapOptions {
  /** First byte, a multiple of 4096. Default 0. */
  readonly offset?: number;
  /** Bytes. Default: to the file's end. May reach beyond it, for a file that will grow. */
  readonly length?: number;
  /** Whether stores reach the file. Default: whether the file was opened for writing. */
  readonly writable?: boolean;
  /**
   * Copy the range now, into memory of the window's own: stores change the copy, and keep there whatever
   * happens to the file, which they never reach; nor does the window show what is written to the file
   * later. Works with blocks of any size. Default false.
   */
  readonly copy?: boolean;
  /**
   * As MAP_SYNC: a touch returns when the metadata by which its page is found (its block, the file's size) is
   * on the medium, so what is stored there needs no fsync, only `persist`; on persistent memory, the
   * processor's flush instructions will do. The first touch of a page that was allocated or moved since
   * the last sync is as slow as an fsync, and so are other touches of the volume's windows meanwhile. For
   * windows that write, of files with direct access, on systems with userfaultfd. Default false.
   */
  readonly sync?: boolean;
}

/** What is to be mapped, checked. */
interface MapRange {
  readonly offset: number;
  /** Null: to the file's end. */
  readonly length: number | null;
  readonly writable: boolean;
  readonly copy: boolean;
  readonly sync: boolean;
}

/**
 * `opensForWriting`: how the file was opened. Throws: ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE,
 * ERR_OUT_OF_RANGE.
 */
export function checkMapOptions(options: MapOptions, opensForWriting: boolean): MapRange {
  const offset = checkInteger("options.offset", options.offset ?? 0);
  const { length = null, copy = false, sync = false } = options;
  if (length !== null) checkInteger("options.length", length, 1);
  const writable = options.writable ?? (opensForWriting && !copy);
  if (copy && writable) {
    throw wrongValue("options.writable", "must be left out of a copy", writable);
  }
  if (sync && !writable) {
    throw wrongValue("options.sync", "must be left out of a window that does not write", sync);
  }
  return { offset, length, writable, copy, sync };
}

/** Sleeps and throws: as `mapWindow`, and `copyWindow`. */
export function* showRange(
  task: Task,
  core: VolumeCore,
  mapping: Mapping,
  { offset, length, writable, copy, sync }: MapRange,
): Sleeps<ShownRange> {
  const bytes = length ?? (yield* stableSize(task, core.dax, mapping)) - offset;
  if (copy) return yield* copyWindow(task, core.dax, mapping, offset, newBuffer(bytes));
  core.pager?.ensure();
  return yield* mapWindow(task, core.dax, mapping, offset, bytes, writable, sync);
}

/**
 * A range of a file shown as memory. A layout change elsewhere never makes a touch fail: the touch
 * finds the file as it is now. What cannot be reached (beyond the end of the file, a full volume, a
 * damaged extent) reads as zeroes, is not stored, and is told by `lost`.
 */
export class FileWindow implements OpenThing, Disposable {
  readonly #core: VolumeCore;
  readonly #window: ShownRange;
  readonly #path: string;
  #endUse: (() => void) | null;

  /** Use `FileHandle.map`. */
  constructor(core: VolumeCore, window: ShownRange, path: string, endUse: () => void) {
    this.#core = core;
    this.#window = window;
    this.#path = path;
    this.#endUse = endUse;
    core.open.add(this);
  }

  /** The file's bytes from `offset` on. After `close()` they are zeroes of nobody; a copy stays as it is. */
  get bytes(): Uint8Array {
    return this.#window.bytes;
  }

  /** First byte of the window in the file. */
  get offset(): number {
    return this.#window.offset;
  }

  /**
   * Whether stores reach the file; if not, they change this window's own copy of the page. Such a copy is
   * gone, and the file shown again, after a layout change of the page (truncate, punch and so on), or when the
   * page of a copied file leaves the page cache: map with
   * `copy` to keep stores.
   */
  get writable(): boolean {
    return this.#window.writable;
  }

  /** Whether `persist` is enough to keep what is stored (see `MapOptions`). */
  get sync(): boolean {
    return this.#window.sync;
  }

  get closed(): boolean {
    return this.#endUse === null;
  }

  /**
   * What touches could not reach so far: the range of the file around it, in bytes, and how many
   * pages; null when nothing was lost.
   */
  get lost(): LostRange | null {
    return this.closed ? null : this.#window.lostRange();
  }

  /**
   * Puts what was stored to `bytes` from byte `at` on on the medium, in whole pages, as msync does: of a window
   * with `sync` it is found after a crash then. Blocks: for the storage, and for layout changes of the
   * file. Throws: EBADF when closed; EINVAL for a window without `sync`; ERR_OUT_OF_RANGE; EIO, also for
   * bytes that the storage has lost.
   */
  persist(at = 0, length: number = this.bytes.length - at): void {
    const context = { syscall: "msync", path: this.#path };
    checkInteger("at", at, 0, this.bytes.length - 1);
    checkInteger("length", length, 1, this.bytes.length - at);
    if (this.closed) throw new HoldfastError("EBADF", "the window is closed", context);
    if (!this.sync) {
      const message =
        "the window was mapped without sync: its pages may not be found after a crash; call the file's sync()";
      throw new HoldfastError("EINVAL", message, context);
    }
    this.#core.runSync(context, (task) => this.#window.persistWith(task, at, length));
  }

  /** Takes the window away; closing twice does nothing. Blocks, briefly, for the file's map lock. */
  close(): void {
    const endUse = this.#endUse;
    if (endUse === null) return;
    this.#core.runSync({ syscall: "munmap", path: this.#path }, (task) =>
      this.#window.closeWith(task),
    );
    this.#endUse = null;
    this.#core.open.delete(this);
    endUse();
    this.#core.settleSync();
  }

  closeSync(): void {
    this.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
